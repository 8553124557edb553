/*
 * Batched Cholesky, left-looking in panels: what earlier panels contribute to one is a batched
 * product, its corner and the rows below are kernels (gpu/cuda/cuda_cholesky.cu). In double
 * precision whatever is asked for: devices for computing are as fast in it, and the factorization
 * is 1 % of a pass.
 */
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

enum { LARGEST = 32768 };

static const uint64_t batch_bytes = (uint64_t)4 << 30;

uint64_t cuda_cholesky_room(const struct cuda_backend *c)
{
    return cuda_batch_room(c, batch_bytes);
}

/* Panel by panel. */
int cuda_factorize(struct cuda_backend *c, double *a, int *failed, size_t count, size_t d,
                   struct err *err)
{
    static const double minus = -1, one = 1;
    int rc = 0;
    for (size_t first = 0; rc == 0 && first < d; first += CUDA_PANEL) {
        size_t width = d - first < CUDA_PANEL ? d - first : CUDA_PANEL;
        const double *known = a + first * d;
        /* Row-major A[first ..][panel] -= L[first ..][.. first] L[panel][.. first]^T. */
        if (first)
            rc = cuda_check_blas(c,
                                 cublasDgemmStridedBatched(
                                     c->blas, CUBLAS_OP_T, CUBLAS_OP_N, (int)width,
                                     (int)(d - first), (int)first, &minus, known, (int)d,
                                     (long long)(d * d), known, (int)d, (long long)(d * d), &one,
                                     a + first * (d + 1), (int)d, (long long)(d * d), (int)count),
                                 "cholesky", err);
        if (rc == 0)
            rc = cuda_check(c, cuda_k_factor_corner(c->compute, a, failed, count, d, first, width),
                            "cholesky", err);
        if (rc == 0 && first + CUDA_PANEL < d)
            rc = cuda_check(c, cuda_k_solve_panel(c->compute, a, count, d, first), "cholesky", err);
    }
    return rc == 0 ? cuda_check(c, cuda_k_zero_upper(c->compute, a, count, d), "cholesky", err)
                   : rc;
}

/* `count` matrices of one size. */
static int run_batch(struct cuda_backend *c, double *const *matrices, size_t count, size_t d,
                     int *flags, bool *failed, struct err *err)
{
    size_t bytes = d * d * sizeof(double), flag_bytes = count * sizeof *flags;
    double *a;
    int *device_flags = NULL;
    int rc = cuda_alloc(c, &a, count * bytes, err);
    if (rc == 0)
        rc = cuda_alloc(c, &device_flags, flag_bytes, err);
    if (rc == 0)
        rc = cuda_check(c, cudaMemsetAsync(device_flags, 0, flag_bytes, c->compute), "cholesky",
                        err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        rc = cuda_put(c, a + i * d * d, matrices[i], bytes, err);
    if (rc == 0)
        rc = cuda_factorize(c, a, device_flags, count, d, err);
    if (rc == 0)
        rc = cuda_get(c, flags, device_flags, flag_bytes, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        failed[i] = flags[i] != 0;
        if (!failed[i])
            rc = cuda_get(c, matrices[i], a + i * d * d, bytes, err);
    }
    cuda_release(c, a, count * bytes);
    cuda_release(c, device_flags, flag_bytes);
    return rc;
}

int cuda_cholesky(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                  enum backend_precision precision, bool *failed, struct err *err)
{
    (void)precision;
    struct cuda_backend *c = cuda_self(b);
    uint64_t room = cuda_cholesky_room(c);
    int *flags = mem_array(count, sizeof *flags, err);
    int rc = flags ? cuda_ready(c, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (d[i] > LARGEST)
            rc = err_set(err, ERR_UNSUPPORTED, NULL, "a Hessian of %zu inputs; at most %d", d[i],
                         LARGEST);
    for (size_t at = 0, end; rc == 0 && at < count; at = end) {
        uint64_t bytes = (uint64_t)d[at] * d[at] * sizeof(double);
        for (end = at + 1; end < count && d[end] == d[at] && end - at < CUDA_CHOLESKY_MAX &&
                           (end - at + 1) * bytes <= room;
             end++)
            ;
        if (d[at])
            rc = run_batch(c, matrices + at, end - at, d[at], flags, failed + at, err);
        else
            for (size_t i = at; i < end; i++)
                failed[i] = false;
    }
    free(flags);
    return rc;
}
