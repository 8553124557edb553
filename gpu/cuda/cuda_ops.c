/* The CUDA backend's table and its life. */
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"
#include "gpu/cuda/cuda_module.h"

enum { BLAS_WORKSPACE = 32 << 20 }; /* what cuBLAS advises for the newest devices */

static void cuda_free(struct backend *b)
{
    struct cuda_backend *c = cuda_self(b);
    if (!c)
        return;
    (void)cudaSetDevice(c->device);
    if (c->compute)
        (void)cudaStreamSynchronize(c->compute);
    if (c->blas)
        (void)cublasDestroy(c->blas);
    cuda_release(c, c->blas_workspace, BLAS_WORKSPACE);
    cuda_slots_release(c);
    if (c->compute) {
        (void)cudaStreamSynchronize(c->compute);
        (void)cudaStreamDestroy(c->compute);
    }
    if (c->copy)
        (void)cudaStreamDestroy(c->copy);
    cudaMemPool_t pool;
    if (c->pools && cudaDeviceGetDefaultMemPool(&pool, c->device) == cudaSuccess)
        (void)cudaMemPoolTrimTo(pool, 0);
    (void)cudaGetLastError();
    parallel_free(c->pool);
    free(c);
}

static void cuda_describe(const struct backend *b, char *out, size_t size)
{
    snprintf(out, size, "%s", ((const struct cuda_backend *)b)->description);
}

static struct parallel *cuda_pool(struct backend *b)
{
    return cuda_self(b)->pool;
}

static void cuda_memory(struct backend *b, uint64_t *free_bytes, uint64_t *used)
{
    *free_bytes = cuda_room(cuda_self(b));
    *used = cuda_self(b)->used;
}

static const struct backend_ops cuda_ops = {
    .name = "cuda",
    .free = cuda_free,
    .describe = cuda_describe,
    .pool = cuda_pool,
    .memory = cuda_memory,
    .tensor_new = cuda_tensor_new,
    .tensor_free = cuda_tensor_free,
    .upload = cuda_upload,
    .upload_waits = cuda_upload_waits,
    .download = cuda_download,
    .download_f64 = cuda_download_f64,
    .fill_zero = cuda_fill_zero,
    .embed = cuda_embed,
    .rms_norm = cuda_rms_norm,
    .matmul = cuda_matmul,
    .matmul_full = cuda_matmul_full,
    .clamp = cuda_clamp,
    .rope = cuda_rope,
    .attention = cuda_attention,
    .add = cuda_add,
    .swiglu = cuda_swiglu,
    .add_gated = cuda_add_gated,
    .route = cuda_route,
    .gather = cuda_gather,
    .grouped_matmul = cuda_grouped_matmul,
    .combine = cuda_combine,
    .grouped_gram = cuda_grouped_gram,
    .gram = cuda_gram,
    .grouped_abs = cuda_grouped_abs,
    .cholesky = cuda_cholesky,
    .sweep = cuda_sweep,
    .hessian_mean = cuda_hessian_mean,
    .hessian_diagonals = cuda_hessian_diagonals,
    .hessian_factorize = cuda_hessian_factorize,
    .fit_grids = cuda_fit_grids,
    .nll = cuda_nll,
};

/* Memory that was freed stays with the process until cuda_free(): matrices come and go in equal
 * sizes, and the driver takes its time to map memory anew. */
static cudaError_t set_up_pool(struct cuda_backend *c)
{
    uint64_t all = UINT64_MAX;
    cudaMemPool_t pool;
    cudaError_t code = cudaDeviceGetDefaultMemPool(&pool, c->device);
    return code == cudaSuccess
               ? cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &all)
               : code;
}

static cudaError_t try_pool(struct cuda_backend *c)
{
    enum { SMALL = 512 };
    void *memory;
    cudaError_t code = cudaMallocAsync(&memory, SMALL, c->compute);
    if (code == cudaSuccess)
        code = cudaFreeAsync(memory, c->compute);
    return code == cudaSuccess ? cudaStreamSynchronize(c->compute) : code;
}

/* Virtual devices and sandboxes may announce pools and refuse to use them: those do without. */
static int choose_pools(struct cuda_backend *c, struct err *err)
{
    int supported = 0;
    cudaError_t code =
        cudaDeviceGetAttribute(&supported, cudaDevAttrMemoryPoolsSupported, c->device);
    if (code == cudaSuccess && supported)
        code = set_up_pool(c);
    if (code == cudaSuccess && supported)
        code = try_pool(c);
    c->pools = code == cudaSuccess && supported;
    if (code == cudaErrorMemoryAllocation)
        return cuda_check(c, code, "memory pool", err);
    cudaGetLastError();
    return 0;
}

/* An expert gets an eighth or so of a chunk's tokens, and its product alone shall fill the device:
 * 132 multiprocessors with squares of 128 x 128. From the device's memory, so that its results do
 * not depend on what else runs there. */
static size_t chunk_tokens(uint64_t memory)
{
    const uint64_t gib = (uint64_t)1 << 30;
    return memory >= 60 * gib ? 32768 : memory >= 30 * gib ? 16384 : memory >= 14 * gib ? 8192 : 0;
}

static int open_device(struct cuda_backend *c, const struct cuda_options *o, struct err *err)
{
    struct cudaDeviceProp p;
    size_t free_bytes, total;
    cudaError_t code = cudaSetDevice(c->device);
    if (code == cudaSuccess)
        code = cudaGetDeviceProperties(&p, c->device);
    if (code == cudaSuccess)
        code = cudaMemGetInfo(&free_bytes, &total);
    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&c->compute, cudaStreamNonBlocking);
    if (code == cudaSuccess)
        code = cudaStreamCreateWithFlags(&c->copy, cudaStreamNonBlocking);
    int rc = cuda_check(c, code, "start", err);
    if (rc < 0)
        return rc;
    c->base.chunk_tokens =
        chunk_tokens(o->memory_limit && o->memory_limit < total ? o->memory_limit : total);
    uint64_t usable = cuda_usable(free_bytes);
    c->limit = o->memory_limit && o->memory_limit < usable ? o->memory_limit : usable;
    snprintf(c->description, sizeof c->description,
             "%.120s (device %d, compute capability %d.%d), %.1f GiB free, CUDA %d.%d, products "
             "in %s",
             p.name, c->device, p.major, p.minor, (double)free_bytes / 0x1p30,
             CUDART_VERSION / 1000, CUDART_VERSION % 1000 / 10, c->tf32 ? "TF32" : "float32");
    return choose_pools(c, err);
}

/* The same result every time: cuBLAS promises that for one stream and a workspace of its own. What
 * may be rounded to TF32 is said product by product. */
static int open_blas(struct cuda_backend *c, struct err *err)
{
    static const char what[] = "start of cuBLAS";
    int rc = cuda_check_blas(c, cublasCreate(&c->blas), what, err);
    if (rc == 0)
        rc = cuda_alloc(c, &c->blas_workspace, BLAS_WORKSPACE, err);
    if (rc == 0)
        rc = cuda_check_blas(c, cublasSetStream(c->blas, c->compute), what, err);
    if (rc == 0)
        rc = cuda_check_blas(c, cublasSetWorkspace(c->blas, c->blas_workspace, BLAS_WORKSPACE),
                             what, err);
    if (rc == 0)
        rc = cuda_check_blas(c, cublasSetMathMode(c->blas, CUBLAS_DEFAULT_MATH), what, err);
    return rc;
}

int cuda_backend_new(struct backend **out, const struct cuda_options *options, struct err *err)
{
    *out = NULL;
    struct cuda_backend *c = mem_array(1, sizeof *c, err);
    if (!c)
        return ERR_NOMEM;
    c->base.ops = &cuda_ops;
    c->device = options->device;
    c->tf32 = !options->full_precision;
    int rc = parallel_new(&c->pool, options->threads, err);
    if (rc == 0)
        rc = open_device(c, options, err);
    if (rc == 0)
        rc = cuda_slots_init(c, err);
    if (rc == 0)
        rc = open_blas(c, err);
    if (rc < 0) {
        cuda_free(&c->base);
        return rc;
    }
    *out = &c->base;
    return 0;
}
