/*
 * cuBLAS on the CPU, plain and slow. Sums of float32 are float32, one product after the other. With
 * TF32 it is as coarse as tensor cores may be: operands lose their 13 lowest bits, eight products
 * are added at a time, and what does not fit into the float32 sum is cut off. The device may round
 * to nearest; emulation_set_tf32() does so.
 */
#include <cublas_v2.h>

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "emulation_mma.h"
#include "emulation_runtime.h"

struct cublasContext {
    cudaStream_t stream;
};

static enum emulation_rounding rounding;
static size_t tf32_products;

void emulation_set_tf32(enum emulation_rounding how)
{
    rounding = how;
}

size_t emulation_tf32_products(void)
{
    return tf32_products;
}

static cublasStatus_t gate(const char *what)
{
    cudaError_t code = emulation_gate(what);
    return code == cudaSuccess                 ? CUBLAS_STATUS_SUCCESS
           : code == cudaErrorMemoryAllocation ? CUBLAS_STATUS_ALLOC_FAILED
           : code == cudaErrorInvalidValue     ? CUBLAS_STATUS_INVALID_VALUE
                                               : CUBLAS_STATUS_EXECUTION_FAILED;
}

static size_t size_of(cudaDataType type)
{
    return type == CUDA_R_64F ? 8 : type == CUDA_R_32F ? 4 : 2;
}

static float half_to_float(uint16_t bits)
{
    int exponent = bits >> 10 & 31, mantissa = bits & 1023;
    float value = exponent == 0    ? ldexpf((float)mantissa, -24)
                  : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                   : ldexpf((float)(mantissa + 1024), exponent - 25);
    return bits >> 15 ? -value : value;
}

static double load(const void *memory, cudaDataType type, size_t i)
{
    if (type == CUDA_R_64F)
        return ((const double *)memory)[i];
    if (type == CUDA_R_32F)
        return ((const float *)memory)[i];
    uint16_t bits = ((const uint16_t *)memory)[i];
    if (type == CUDA_R_16F)
        return half_to_float(bits);
    uint32_t wide = (uint32_t)bits << 16;
    float value;
    memcpy(&value, &wide, sizeof value);
    return value;
}

static bool store(void *memory, cudaDataType type, size_t i, double value)
{
    if (type == CUDA_R_64F)
        ((double *)memory)[i] = value;
    else if (type == CUDA_R_32F)
        ((float *)memory)[i] = (float)value;
    else
        return false;
    return true;
}

/* Bytes from the first to the last value of a matrix of rows x columns. */
static size_t extent(size_t rows, size_t columns, int ld, cudaDataType type)
{
    return rows && columns ? ((columns - 1) * (size_t)ld + rows) * size_of(type) : 0;
}

struct product {
    bool turn_a, turn_b;
    int m, n, k, lda, ldb, ldc;
    double alpha, beta;
    cudaDataType type_a, type_b, type_c;
    cublasComputeType_t compute;
    int triangle; /* 0: all of c; -1: its lower one; 1: its upper one */
};

static cublasStatus_t check(const struct product *p)
{
    int rows_a = p->turn_a ? p->k : p->m, rows_b = p->turn_b ? p->n : p->k;
    bool good = p->m >= 0 && p->n >= 0 && p->k >= 0 && p->lda >= (rows_a > 1 ? rows_a : 1) &&
                p->ldb >= (rows_b > 1 ? rows_b : 1) && p->ldc >= (p->m > 1 ? p->m : 1);
    return good ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_INVALID_VALUE;
}

static void check_operands(const struct product *p, const void *a, const void *b, const void *c)
{
    size_t m = (size_t)p->m, n = (size_t)p->n, k = (size_t)p->k;
    if (m == 0 || n == 0)
        return;
    emulation_check_device("cuBLAS, a", a,
                           extent(p->turn_a ? k : m, p->turn_a ? m : k, p->lda, p->type_a));
    emulation_check_device("cuBLAS, b", b,
                           extent(p->turn_b ? n : k, p->turn_b ? k : n, p->ldb, p->type_b));
    emulation_check_device("cuBLAS, c", c, extent(m, n, p->ldc, p->type_c));
}

/* 8 bits of exponent and 10 of mantissa. */
static float to_tf32(float value, bool nearest)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7f800000u) != 0x7f800000u) {
        bits += nearest ? 0x0fffu + (bits >> 13 & 1u) : 0u;
        bits &= ~0x1fffu;
    }
    memcpy(&value, &bits, sizeof bits);
    return value;
}

/* Operands of one value of the product: k of them, so far apart. */
struct dot {
    const void *a, *b;
    size_t at_a, step_a, at_b, step_b, k;
};

static double dot_tf32(const struct dot *d)
{
    enum { AT_ONCE = 8 };
    const float *a = (const float *)d->a + d->at_a, *b = (const float *)d->b + d->at_b;
    bool near_a = rounding == EMULATION_NEAREST, near_b = rounding != EMULATION_CUT;
    float sum = 0.0f;
    for (size_t l = 0; l < d->k; l += AT_ONCE) {
        double part = 0.0;
        for (size_t i = l; i < l + AT_ONCE && i < d->k; i++)
            part += (double)to_tf32(a[i * d->step_a], near_a) *
                    (double)to_tf32(b[i * d->step_b], near_b);
        sum = emulation_cut((double)sum + part);
    }
    return sum;
}

static double dot_f32(const struct dot *d)
{
    const float *a = (const float *)d->a + d->at_a, *b = (const float *)d->b + d->at_b;
    float sum = 0.0f;
    for (size_t l = 0; l < d->k; l++)
        sum += a[l * d->step_a] * b[l * d->step_b];
    return sum;
}

/* Other types: sums in double precision over values of the operands' types. */
static double dot_other(const struct product *p, const struct dot *d)
{
    double sum = 0.0;
    for (size_t l = 0; l < d->k; l++)
        sum += load(d->a, p->type_a, d->at_a + l * d->step_a) *
               load(d->b, p->type_b, d->at_b + l * d->step_b);
    return sum;
}

static cublasStatus_t multiply(const struct product *p, const void *a, const void *b, void *c)
{
    check_operands(p, a, b, c);
    size_t lda = (size_t)p->lda, ldb = (size_t)p->ldb, ldc = (size_t)p->ldc;
    bool stored = true, single = p->type_a == CUDA_R_32F && p->type_b == CUDA_R_32F;
    bool tf32 = single && p->compute == CUBLAS_COMPUTE_32F_FAST_TF32;
    tf32_products += tf32;
    for (size_t j = 0; j < (size_t)p->n; j++)
        for (size_t i = 0; i < (size_t)p->m; i++) {
            if ((p->triangle < 0 && i < j) || (p->triangle > 0 && i > j))
                continue;
            struct dot d = {a,
                            b,
                            p->turn_a ? i * lda : i,
                            p->turn_a ? 1 : lda,
                            p->turn_b ? j : j * ldb,
                            p->turn_b ? ldb : 1,
                            (size_t)p->k};
            double sum = p->alpha * (tf32 ? dot_tf32(&d) : single ? dot_f32(&d) : dot_other(p, &d));
            /* As BLAS has it, beta = 0 does not read c. */
            if (p->beta != 0.0)
                sum += p->beta * load(c, p->type_c, j * ldc + i);
            stored = store(c, p->type_c, j * ldc + i, sum) && stored;
        }
    return stored ? CUBLAS_STATUS_SUCCESS : CUBLAS_STATUS_NOT_SUPPORTED;
}

static double scalar(const void *value, cublasComputeType_t compute)
{
    bool wide = compute == CUBLAS_COMPUTE_64F || compute == CUBLAS_COMPUTE_64F_PEDANTIC;
    return load(value, wide ? CUDA_R_64F : CUDA_R_32F, 0);
}

const char *cublasGetStatusString(cublasStatus_t status)
{
    return status == CUBLAS_STATUS_SUCCESS        ? "CUBLAS_STATUS_SUCCESS"
           : status == CUBLAS_STATUS_ALLOC_FAILED ? "CUBLAS_STATUS_ALLOC_FAILED"
                                                  : "CUBLAS_STATUS_EXECUTION_FAILED";
}

cublasStatus_t cublasCreate(cublasHandle_t *out)
{
    *out = NULL;
    cublasStatus_t status = gate("cublasCreate");
    if (status == CUBLAS_STATUS_SUCCESS) {
        *out = calloc(1, sizeof **out);
        emulation_made(1);
    }
    return status;
}

cublasStatus_t cublasDestroy(cublasHandle_t handle)
{
    cublasStatus_t status = gate("cublasDestroy");
    if (!handle)
        return CUBLAS_STATUS_NOT_INITIALIZED;
    free(handle);
    emulation_made(-1);
    return status;
}

cublasStatus_t cublasSetStream(cublasHandle_t handle, cudaStream_t stream)
{
    handle->stream = stream;
    return gate("cublasSetStream");
}

cublasStatus_t cublasSetWorkspace(cublasHandle_t handle, void *workspace, size_t size)
{
    (void)handle;
    cublasStatus_t status = gate("cublasSetWorkspace");
    if (status == CUBLAS_STATUS_SUCCESS)
        emulation_check_device("cublasSetWorkspace", workspace, size);
    return status;
}

cublasStatus_t cublasSetMathMode(cublasHandle_t handle, cublasMath_t mode)
{
    (void)handle;
    (void)mode;
    return gate("cublasSetMathMode");
}

cublasStatus_t cublasSetPointerMode(cublasHandle_t handle, cublasPointerMode_t mode)
{
    (void)handle;
    return mode == CUBLAS_POINTER_MODE_HOST ? gate("cublasSetPointerMode")
                                            : CUBLAS_STATUS_NOT_SUPPORTED;
}

cublasStatus_t cublasGetVersion(cublasHandle_t handle, int *version)
{
    (void)handle;
    *version = 130000;
    return gate("cublasGetVersion");
}

cublasStatus_t cublasGemmStridedBatchedEx(cublasHandle_t handle, cublasOperation_t on_a,
                                          cublasOperation_t on_b, int m, int n, int k,
                                          const void *alpha, const void *a, cudaDataType type_a,
                                          int lda, long long stride_a, const void *b,
                                          cudaDataType type_b, int ldb, long long stride_b,
                                          const void *beta, void *c, cudaDataType type_c, int ldc,
                                          long long stride_c, int count,
                                          cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    (void)handle;
    (void)algorithm;
    struct product p = {.turn_a = on_a != CUBLAS_OP_N,
                        .turn_b = on_b != CUBLAS_OP_N,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .alpha = scalar(alpha, compute),
                        .beta = scalar(beta, compute),
                        .type_a = type_a,
                        .type_b = type_b,
                        .type_c = type_c,
                        .compute = compute};
    cublasStatus_t status = gate("cublasGemm");
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check(&p);
    for (long long i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; i++)
        status = multiply(&p, (const char *)a + i * stride_a * (long long)size_of(type_a),
                          (const char *)b + i * stride_b * (long long)size_of(type_b),
                          (char *)c + i * stride_c * (long long)size_of(type_c));
    return status;
}

cublasStatus_t cublasGemmEx(cublasHandle_t handle, cublasOperation_t on_a, cublasOperation_t on_b,
                            int m, int n, int k, const void *alpha, const void *a,
                            cudaDataType type_a, int lda, const void *b, cudaDataType type_b,
                            int ldb, const void *beta, void *c, cudaDataType type_c, int ldc,
                            cublasComputeType_t compute, cublasGemmAlgo_t algorithm)
{
    return cublasGemmStridedBatchedEx(handle, on_a, on_b, m, n, k, alpha, a, type_a, lda, 0, b,
                                      type_b, ldb, 0, beta, c, type_c, ldc, 0, 1, compute,
                                      algorithm);
}

cublasStatus_t cublasGemmBatchedEx(cublasHandle_t handle, cublasOperation_t on_a,
                                   cublasOperation_t on_b, int m, int n, int k, const void *alpha,
                                   const void *const a[], cudaDataType type_a, int lda,
                                   const void *const b[], cudaDataType type_b, int ldb,
                                   const void *beta, void *const c[], cudaDataType type_c, int ldc,
                                   int count, cublasComputeType_t compute,
                                   cublasGemmAlgo_t algorithm)
{
    (void)handle;
    (void)algorithm;
    struct product p = {.turn_a = on_a != CUBLAS_OP_N,
                        .turn_b = on_b != CUBLAS_OP_N,
                        .m = m,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = ldb,
                        .ldc = ldc,
                        .alpha = scalar(alpha, compute),
                        .beta = scalar(beta, compute),
                        .type_a = type_a,
                        .type_b = type_b,
                        .type_c = type_c,
                        .compute = compute};
    cublasStatus_t status = gate("cublasGemmBatched");
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check(&p);
    if (status != CUBLAS_STATUS_SUCCESS)
        return status;
    emulation_check_device("cublasGemmBatched, pointers", a, (size_t)count * sizeof *a);
    emulation_check_device("cublasGemmBatched, pointers", b, (size_t)count * sizeof *b);
    emulation_check_device("cublasGemmBatched, pointers", c, (size_t)count * sizeof *c);
    for (int i = 0; status == CUBLAS_STATUS_SUCCESS && i < count; i++)
        status = multiply(&p, a[i], b[i], c[i]);
    return status;
}

cublasStatus_t cublasSgemm(cublasHandle_t handle, cublasOperation_t on_a, cublasOperation_t on_b,
                           int m, int n, int k, const float *alpha, const float *a, int lda,
                           const float *b, int ldb, const float *beta, float *c, int ldc)
{
    return cublasGemmEx(handle, on_a, on_b, m, n, k, alpha, a, CUDA_R_32F, lda, b, CUDA_R_32F, ldb,
                        beta, c, CUDA_R_32F, ldc, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasDgemm(cublasHandle_t handle, cublasOperation_t on_a, cublasOperation_t on_b,
                           int m, int n, int k, const double *alpha, const double *a, int lda,
                           const double *b, int ldb, const double *beta, double *c, int ldc)
{
    return cublasGemmEx(handle, on_a, on_b, m, n, k, alpha, a, CUDA_R_64F, lda, b, CUDA_R_64F, ldb,
                        beta, c, CUDA_R_64F, ldc, CUBLAS_COMPUTE_64F, CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasSgemmStridedBatched(cublasHandle_t handle, cublasOperation_t on_a,
                                         cublasOperation_t on_b, int m, int n, int k,
                                         const float *alpha, const float *a, int lda,
                                         long long stride_a, const float *b, int ldb,
                                         long long stride_b, const float *beta, float *c, int ldc,
                                         long long stride_c, int count)
{
    return cublasGemmStridedBatchedEx(handle, on_a, on_b, m, n, k, alpha, a, CUDA_R_32F, lda,
                                      stride_a, b, CUDA_R_32F, ldb, stride_b, beta, c, CUDA_R_32F,
                                      ldc, stride_c, count, CUBLAS_COMPUTE_32F,
                                      CUBLAS_GEMM_DEFAULT);
}

cublasStatus_t cublasDgemmStridedBatched(cublasHandle_t handle, cublasOperation_t on_a,
                                         cublasOperation_t on_b, int m, int n, int k,
                                         const double *alpha, const double *a, int lda,
                                         long long stride_a, const double *b, int ldb,
                                         long long stride_b, const double *beta, double *c, int ldc,
                                         long long stride_c, int count)
{
    return cublasGemmStridedBatchedEx(handle, on_a, on_b, m, n, k, alpha, a, CUDA_R_64F, lda,
                                      stride_a, b, CUDA_R_64F, ldb, stride_b, beta, c, CUDA_R_64F,
                                      ldc, stride_c, count, CUBLAS_COMPUTE_64F,
                                      CUBLAS_GEMM_DEFAULT);
}

static cublasStatus_t syrk(cublasFillMode_t fill, cublasOperation_t on_a, int n, int k,
                           double alpha, const void *a, int lda, double beta, void *c, int ldc,
                           cudaDataType type)
{
    bool turned = on_a != CUBLAS_OP_N;
    struct product p = {.turn_a = turned,
                        .turn_b = !turned,
                        .m = n,
                        .n = n,
                        .k = k,
                        .lda = lda,
                        .ldb = lda,
                        .ldc = ldc,
                        .alpha = alpha,
                        .beta = beta,
                        .type_a = type,
                        .type_b = type,
                        .type_c = type,
                        .compute = type == CUDA_R_64F ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F,
                        .triangle = fill == CUBLAS_FILL_MODE_LOWER ? -1 : 1};
    cublasStatus_t status = gate("cublasSyrk");
    if (status == CUBLAS_STATUS_SUCCESS)
        status = check(&p);
    return status == CUBLAS_STATUS_SUCCESS ? multiply(&p, a, a, c) : status;
}

cublasStatus_t cublasSsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t on_a,
                           int n, int k, const float *alpha, const float *a, int lda,
                           const float *beta, float *c, int ldc)
{
    (void)handle;
    return syrk(fill, on_a, n, k, *alpha, a, lda, *beta, c, ldc, CUDA_R_32F);
}

cublasStatus_t cublasDsyrk(cublasHandle_t handle, cublasFillMode_t fill, cublasOperation_t on_a,
                           int n, int k, const double *alpha, const double *a, int lda,
                           const double *beta, double *c, int ldc)
{
    (void)handle;
    return syrk(fill, on_a, n, k, *alpha, a, lda, *beta, c, ldc, CUDA_R_64F);
}
