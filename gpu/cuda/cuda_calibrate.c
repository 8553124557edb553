/* Sums over tokens: Gram matrices, means of |x|, and the losses that end the forward pass. */
#include "gpu/cuda/cuda_backend.h"

enum { GRAM_ROWS = 2048 }; /* summed in single precision before they go to double precision */

/* Workspace of Gram matrices. */
struct gram {
    struct cuda_backend *c;
    size_t d;
    float *part;    /* device [d][d] */
    float *rounded; /* device [GRAM_ROWS][d] */
    size_t part_bytes, rounded_bytes;
};

/* part = X^T X, at least its lower triangle. On tensor cores the whole product is faster than half
 * of it elsewhere. */
static cublasStatus_t multiply(const struct gram *g, const float *x, int rows)
{
    static const float one = 1, zero = 0;
    int d = (int)g->d;
    if (g->c->tf32)
        return cublasGemmEx(g->c->blas, CUBLAS_OP_N, CUBLAS_OP_T, d, d, rows, &one, x, CUDA_R_32F,
                            d, x, CUDA_R_32F, d, &zero, g->part, CUDA_R_32F, d,
                            CUBLAS_COMPUTE_32F_FAST_TF32, CUBLAS_GEMM_DEFAULT);
    /* The lower triangle of a row-major matrix is the upper one for cuBLAS. */
    return cublasSsyrk(g->c->blas, CUBLAS_FILL_MODE_UPPER, CUBLAS_OP_N, d, rows, &one, x, d, &zero,
                       g->part, d);
}

/* Rounding X, and not its products, keeps the matrix positive semidefinite, if both sides are
 * rounded alike. cuBLAS does not say how it rounds either of them: X is rounded before. */
static int round_rows(const struct gram *g, const float **x, size_t rows, struct err *err)
{
    if (!g->c->tf32)
        return 0;
    const float *exact = *x;
    *x = g->rounded;
    return cuda_check(g->c, cuda_k_round_tf32(g->c->compute, g->rounded, exact, rows * g->d),
                      "gram", err);
}

/* h += X^T X over rows first .. last - 1, in chunks. */
static int add_gram(const struct gram *g, double *h, const float *x, size_t first, size_t last,
                    struct err *err)
{
    int rc = 0;
    for (size_t row = first; rc == 0 && row < last; row += GRAM_ROWS) {
        size_t rows = last - row < GRAM_ROWS ? last - row : GRAM_ROWS;
        const float *chunk = x + row * g->d;
        rc = round_rows(g, &chunk, rows, err);
        if (rc == 0)
            rc = cuda_check_blas(g->c, multiply(g, chunk, (int)rows), "gram", err);
        if (rc == 0)
            rc = cuda_check(g->c, cuda_k_add_lower(g->c->compute, h, g->part, g->d), "gram", err);
    }
    return rc;
}

static int gram_alloc(struct gram *g, size_t rows, struct err *err)
{
    g->part_bytes = g->d * g->d * sizeof *g->part;
    g->rounded_bytes = (rows < GRAM_ROWS ? rows : GRAM_ROWS) * g->d * sizeof *g->rounded;
    int rc = cuda_alloc(g->c, &g->part, g->part_bytes, err);
    return rc == 0 && g->c->tf32 ? cuda_alloc(g->c, &g->rounded, g->rounded_bytes, err) : rc;
}

static void gram_release(struct gram *g)
{
    cuda_release(g->c, g->part, g->part_bytes);
    cuda_release(g->c, g->rounded, g->rounded_bytes);
}

static int run_gram(struct cuda_backend *c, struct tensor *const *h, const struct tensor *x,
                    const size_t *offset, size_t matrices, struct err *err)
{
    struct gram g = {.c = c, .d = x->columns};
    if (g.d > UINT16_MAX)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a Hessian of %zu inputs; at most %d", g.d,
                       UINT16_MAX);
    int rc = 0;
    for (size_t e = 0; rc == 0 && e < matrices; e++)
        rc = cuda_expect(c, h[e], "gram: h", TENSOR_F64, g.d, g.d, err);
    if (rc == 0)
        rc = gram_alloc(&g, offset[matrices] - offset[0], err);
    for (size_t e = 0; rc == 0 && e < matrices; e++)
        rc = add_gram(&g, h[e]->d, x->f, offset[e], offset[e + 1], err);
    gram_release(&g);
    return rc;
}

int cuda_grouped_gram(struct backend *b, struct tensor *const *h, const struct tensor *x,
                      const struct backend_groups *groups, struct err *err)
{
    size_t slots = groups->offset[groups->experts];
    int rc = cuda_expect(cuda_self(b), x, "gram: x", TENSOR_F32, slots, x->columns, err);
    return rc < 0 ? rc : run_gram(cuda_self(b), h, x, groups->offset, groups->experts, err);
}

int cuda_gram(struct backend *b, struct tensor *h, const struct tensor *x, size_t n,
              struct err *err)
{
    size_t offset[2] = {0, n};
    int rc = cuda_expect(cuda_self(b), x, "gram: x", TENSOR_F32, n, x->columns, err);
    return rc < 0 ? rc : run_gram(cuda_self(b), &h, x, offset, 1, err);
}

int cuda_grouped_abs(struct backend *b, struct tensor *sum, const struct tensor *x,
                     const struct backend_groups *groups, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t slots = groups->offset[groups->experts];
    size_t bytes = (groups->experts + 1) * sizeof(uint64_t);
    _Static_assert(sizeof(uint64_t) == sizeof *groups->offset, "offsets go to the device as is");
    int rc = cuda_expect(c, x, "grouped_abs: x", TENSOR_F32, slots, x->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, sum, "grouped_abs: sum", TENSOR_F64, groups->experts, x->columns, err);
    if (rc < 0 || slots == 0)
        return rc;
    uint64_t *offset;
    rc = cuda_copy_of(c, &offset, groups->offset, bytes, err);
    if (rc == 0)
        rc =
            cuda_check(c, cuda_k_abs(c->compute, sum->d, x->f, offset, groups->experts, x->columns),
                       "grouped_abs", err);
    cuda_release(c, offset, bytes);
    return rc;
}

/* --- Losses. --- */

static const size_t logits_bytes = (size_t)512 << 20;

/* Logits of a block of rows, then their losses. */
static int run_nll(struct cuda_backend *c, double *out, float *logits, size_t step,
                   const struct tensor *x, const struct tensor *head, const int64_t *target,
                   size_t n, struct err *err)
{
    int rc = 0;
    for (size_t row = 0; rc == 0 && row < n; row += step) {
        size_t rows = n - row < step ? n - row : step;
        rc = cuda_product(c, logits, x->f + row * x->columns, head->f, rows, head->rows, x->columns,
                          false, err);
        if (rc == 0)
            rc = cuda_check(
                c, cuda_k_nll(c->compute, out + row, logits, target + row, rows, head->rows), "nll",
                err);
    }
    return rc;
}

/* nll has a value for every row; those without a target keep what they had. */
static int take_losses(struct cuda_backend *c, double *nll, const double *losses,
                       const int64_t *target, size_t n, struct err *err)
{
    enum { TAKEN = 1024 };
    double taken[TAKEN];
    int rc = 0;
    for (size_t row = 0; rc == 0 && row < n; row += TAKEN) {
        size_t rows = n - row < TAKEN ? n - row : TAKEN;
        rc = cuda_get(c, taken, losses + row, rows * sizeof *taken, err);
        for (size_t i = 0; rc == 0 && i < rows; i++)
            if (target[row + i] >= 0)
                nll[row + i] = taken[i];
    }
    return rc;
}

int cuda_nll(struct backend *b, double *nll, const struct tensor *x, const struct tensor *head,
             const int64_t *target, size_t n, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, x, "nll: x", TENSOR_F32, n, head->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, head, "nll: head", TENSOR_F32, 1, head->columns, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (target[i] >= 0 && (uint64_t)target[i] >= head->rows)
            rc = err_set(err, ERR_USAGE, NULL, "token id %lld to predict, the model has %zu",
                         (long long)target[i], head->rows);
    if (rc < 0 || n == 0)
        return rc;
    size_t row_bytes = head->rows * sizeof(float), step = logits_bytes / row_bytes;
    step = step < 1 ? 1 : step > n ? n : step;
    int64_t *wanted;
    double *losses = NULL;
    float *logits = NULL;
    rc = cuda_copy_of(c, &wanted, target, n * sizeof *wanted, err);
    if (rc == 0)
        rc = cuda_alloc(c, &losses, n * sizeof *losses, err);
    if (rc == 0)
        rc = cuda_alloc(c, &logits, step * row_bytes, err);
    if (rc == 0)
        rc = run_nll(c, losses, logits, step, x, head, wanted, n, err);
    if (rc == 0)
        rc = take_losses(c, nll, losses, target, n, err);
    cuda_release(c, wanted, n * sizeof *wanted);
    cuda_release(c, losses, n * sizeof *losses);
    cuda_release(c, logits, step * row_bytes);
    return rc;
}
