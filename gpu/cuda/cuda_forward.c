/* The forward pass's operations on whole matrices. */
#include <limits.h>
#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

int cuda_embed(struct backend *b, struct tensor *out, const struct tensor *table,
               const uint32_t *ids, size_t n, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, out, "embed: out", TENSOR_F32, n, table->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, table, "embed: table", TENSOR_F32, 1, table->columns, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (ids[i] >= table->rows)
            rc = err_set(err, ERR_USAGE, NULL,
                         "token id %lu at position %zu, the model's embedding has %zu rows",
                         (unsigned long)ids[i], i, table->rows);
    if (rc < 0 || n == 0)
        return rc;
    uint32_t *row;
    rc = cuda_copy_of(c, &row, ids, n * sizeof *row, err);
    if (rc == 0)
        rc = cuda_check(c, cuda_k_rows(c->compute, out->f, table->f, row, n, out->columns), "embed",
                        err);
    cuda_release(c, row, n * sizeof *row);
    return rc;
}

int cuda_rms_norm(struct backend *b, struct tensor *out, const struct tensor *x,
                  const struct tensor *weight, size_t n, size_t group, double eps, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, out, "rms_norm: out", TENSOR_F32, n, x->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, x, "rms_norm: x", TENSOR_F32, n, x->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, weight, "rms_norm: weight", TENSOR_F32, 1, group, err);
    if (rc == 0 && (group == 0 || x->columns % group))
        rc = err_set(err, ERR_USAGE, NULL, "rms_norm: groups of %zu in rows of %zu", group,
                     x->columns);
    if (rc < 0 || n == 0)
        return rc;
    return cuda_check(c,
                      cuda_k_rms_norm(c->compute, out->f, x->f, weight->f, n * (x->columns / group),
                                      group, (float)eps),
                      "rms_norm", err);
}

static int matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                  const struct tensor *w, const struct tensor *bias, size_t n, bool full,
                  struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t in = w->columns, columns = w->rows;
    int rc = cuda_expect(c, x, "matmul: x", TENSOR_F32, n, in, err);
    if (rc == 0)
        rc = cuda_expect(c, out, "matmul: out", TENSOR_F32, n, columns, err);
    if (rc == 0)
        rc = cuda_expect(c, w, "matmul: w", TENSOR_F32, 0, in, err);
    if (rc == 0 && bias)
        rc = cuda_expect(c, bias, "matmul: bias", TENSOR_F32, 1, columns, err);
    if (rc == 0)
        rc = cuda_product(c, out->f, x->f, w->f, n, columns, in, full, err);
    if (rc == 0 && bias && n)
        rc = cuda_check(c, cuda_k_bias(c->compute, out->f, bias->f, n, columns), "matmul", err);
    return rc;
}

int cuda_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                const struct tensor *w, const struct tensor *bias, size_t n, struct err *err)
{
    return matmul(b, out, x, w, bias, n, false, err);
}

int cuda_matmul_full(struct backend *b, struct tensor *out, const struct tensor *x,
                     const struct tensor *w, const struct tensor *bias, size_t n, struct err *err)
{
    return matmul(b, out, x, w, bias, n, true, err);
}

int cuda_product(struct cuda_backend *c, float *out, const float *x, const float *w, size_t n,
                 size_t columns, size_t in, bool full, struct err *err)
{
    static const float one = 1, zero = 0;
    if (n == 0 || columns == 0)
        return 0;
    if (n > INT_MAX || columns > INT_MAX || in > INT_MAX)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a product of %zu x %zu x %zu", n, columns, in);
    /* Row-major out = x w^T is column-major out^T = (w^T)^T x^T. */
    return cuda_check_blas(
        c,
        cublasGemmEx(c->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)columns, (int)n, (int)in, &one, w,
                     CUDA_R_32F, (int)in, x, CUDA_R_32F, (int)in, &zero, out, CUDA_R_32F,
                     (int)columns,
                     c->tf32 && !full ? CUBLAS_COMPUTE_32F_FAST_TF32 : CUBLAS_COMPUTE_32F,
                     CUBLAS_GEMM_DEFAULT),
        "product", err);
}

int cuda_clamp(struct backend *b, struct tensor *x, size_t n, double limit, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, x, "clamp: x", TENSOR_F32, n, x->columns, err);
    if (rc < 0 || n == 0)
        return rc;
    return cuda_check(c, cuda_k_clamp(c->compute, x->f, n * x->columns, (float)limit), "clamp",
                      err);
}

int cuda_rope(struct backend *b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
              size_t window, double theta, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, x, "rope: x", TENSOR_F32, n, heads * head_dim, err);
    if (rc < 0)
        return rc;
    if (head_dim == 0 || head_dim % 2 || window == 0)
        return err_set(err, ERR_UNSUPPORTED, NULL, "rope: heads of %zu, expected an even number",
                       head_dim);
    if (n == 0)
        return 0;
    size_t half = head_dim / 2, bytes = half * sizeof(float);
    float *host = mem_array(half, sizeof *host, err), *frequency = NULL;
    if (!host)
        return ERR_NOMEM;
    for (size_t i = 0; i < half; i++)
        host[i] = 1.0f / powf((float)theta, (float)(2 * i) / (float)head_dim);
    rc = cuda_copy_of(c, &frequency, host, bytes, err);
    if (rc == 0)
        rc = cuda_check(c, cuda_k_rope(c->compute, x->f, frequency, n, heads, half, window), "rope",
                        err);
    cuda_release(c, frequency, bytes);
    free(host);
    return rc;
}

int cuda_attention(struct backend *b, struct tensor *out, const struct tensor *q,
                   const struct tensor *k, const struct tensor *v, size_t n,
                   const struct backend_attention *shape, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    if (shape->window == 0 || n % shape->window || shape->kv_heads == 0 ||
        shape->heads % shape->kv_heads)
        return err_set(err, ERR_USAGE, NULL,
                       "attention: %zu rows in windows of %zu, %zu heads over %zu", n,
                       shape->window, shape->heads, shape->kv_heads);
    if (shape->head_dim > CUDA_HEAD_MAX || shape->heads > UINT16_MAX ||
        shape->window > CUDA_WINDOW_MAX)
        return err_set(err, ERR_UNSUPPORTED, NULL,
                       "attention: %zu heads of %zu over windows of %zu, at most %d of %d over %d "
                       "on this device",
                       shape->heads, shape->head_dim, shape->window, UINT16_MAX, CUDA_HEAD_MAX,
                       CUDA_WINDOW_MAX);
    size_t wide = shape->heads * shape->head_dim, narrow = shape->kv_heads * shape->head_dim;
    int rc = cuda_expect(c, out, "attention: out", TENSOR_F32, n, wide, err);
    if (rc == 0)
        rc = cuda_expect(c, q, "attention: q", TENSOR_F32, n, wide, err);
    if (rc == 0)
        rc = cuda_expect(c, k, "attention: k", TENSOR_F32, n, narrow, err);
    if (rc == 0)
        rc = cuda_expect(c, v, "attention: v", TENSOR_F32, n, narrow, err);
    if (rc < 0 || n == 0 || wide == 0)
        return rc;
    struct cuda_attention_args args = {.out = out->f,
                                       .q = q->f,
                                       .k = k->f,
                                       .v = v->f,
                                       .windows = n / shape->window,
                                       .window = shape->window,
                                       .heads = shape->heads,
                                       .kv_heads = shape->kv_heads,
                                       .head_dim = shape->head_dim,
                                       .sliding = shape->sliding,
                                       .scale = 1.0f / sqrtf((float)shape->head_dim)};
    return cuda_check(c, (c->tf32 ? cuda_k_attention_tf32 : cuda_k_attention)(c->compute, &args),
                      "attention", err);
}

int cuda_add(struct backend *b, struct tensor *x, const struct tensor *y, size_t n, struct err *err)
{
    return cuda_add_gated(b, x, y, NULL, n, err);
}

int cuda_swiglu(struct backend *b, struct tensor *out, const struct tensor *gate,
                const struct tensor *up, size_t n, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, out, "swiglu: out", TENSOR_F32, n, gate->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, gate, "swiglu: gate", TENSOR_F32, n, gate->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, up, "swiglu: up", TENSOR_F32, n, gate->columns, err);
    if (rc < 0 || n == 0)
        return rc;
    return cuda_check(c, cuda_k_swiglu(c->compute, out->f, gate->f, up->f, n * gate->columns),
                      "swiglu", err);
}

int cuda_add_gated(struct backend *b, struct tensor *x, const struct tensor *y,
                   const struct tensor *logit, size_t n, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_expect(c, x, "add: x", TENSOR_F32, n, y->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, y, "add: y", TENSOR_F32, n, y->columns, err);
    if (rc == 0 && logit)
        rc = cuda_expect(c, logit, "add: logit", TENSOR_F32, n, 1, err);
    if (rc < 0 || n == 0)
        return rc;
    return cuda_check(c, cuda_k_add(c->compute, x->f, y->f, logit ? logit->f : NULL, n, x->columns),
                      "add", err);
}
