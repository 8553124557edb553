/* Batched Cholesky: one matrix an item, each factorized by one thread. */
#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"

/* LAPACK, as OpenBLAS brings it. Column-major: the upper triangle that it fills is the lower one
 * of a row-major matrix. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);
void spotrf_(const char *uplo, const int *n, float *a, const int *lda, int *info);

struct cholesky_batch {
    struct cpu_backend *self;
    double *const *matrices;
    const size_t *d;
    enum backend_precision precision;
    bool *failed;
};

static bool factor_f64(double *a, size_t d)
{
    int n = (int)d, info = 0;
    dpotrf_("U", &n, a, &n, &info);
    return info == 0;
}

static bool factor_f32(double *a, size_t d, float *work)
{
    int n = (int)d, info = 0;
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j <= i; j++)
            work[i * d + j] = (float)a[i * d + j];
    spotrf_("U", &n, work, &n, &info);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j <= i; j++)
            a[i * d + j] = (double)work[i * d + j];
    return info == 0;
}

/* A NaN passes LAPACK's test for a positive pivot in some kernels, so the pivots are looked at. */
static bool pivots_good(const double *a, size_t d)
{
    for (size_t i = 0; i < d; i++)
        if (!(a[i * d + i] > 0.0) || !isfinite(a[i * d + i]))
            return false;
    return true;
}

static void cholesky_item(void *context, size_t item, size_t worker)
{
    struct cholesky_batch *batch = context;
    double *a = batch->matrices[item];
    size_t d = batch->d[item];
    bool good = batch->precision == BACKEND_FP64 ? factor_f64(a, d)
                                                 : factor_f32(a, d, batch->self->scratch[worker]);
    batch->failed[item] = !good || !pivots_good(a, d);
    for (size_t i = 0; i < d; i++)
        for (size_t j = i + 1; j < d; j++)
            a[i * d + j] = 0.0;
}

int cpu_cholesky(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                 enum backend_precision precision, bool *failed, struct err *err)
{
    struct cholesky_batch batch = {cpu_self(b), matrices, d, precision, failed};
    size_t largest = 0;
    for (size_t i = 0; i < count; i++)
        if (d[i] > largest)
            largest = d[i];
    if (largest > 32768)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a Hessian of %zu inputs; at most 32768",
                       largest);
    if (precision == BACKEND_FP32) {
        int rc = cpu_scratch(batch.self, largest * largest, err);
        if (rc < 0)
            return rc;
    }
    parallel_for(batch.self->pool, count, cholesky_item, &batch);
    return 0;
}
