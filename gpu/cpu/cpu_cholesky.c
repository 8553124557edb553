/*
 * Batched Cholesky: one matrix an item, each factorized by one thread.
 *
 * BACKEND_FP32: panels of columns from left to right. What earlier panels contribute is one product
 * in single precision, taken from the matrix in double precision; inside a panel all is double. The
 * error is that of a Hessian stored in single precision, whatever its size.
 */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"
#include "gpu/cpu/cpu_math.h"

enum {
    PANEL = 128, /* columns */
    STEP = 8,    /* columns whose sums are held in registers */
    STRIP = 8    /* rows that fill a register of the widest kind */
};

typedef double strip_vec __attribute__((vector_size(STRIP * sizeof(double))));

/* LAPACK, as OpenBLAS brings it. Column-major: the upper triangle that it fills is the lower one
 * of a row-major matrix. */
void dpotrf_(const char *uplo, const int *n, double *a, const int *lda, int *info);

struct cholesky_batch {
    struct cpu_backend *self;
    double *const *matrices;
    const size_t *d;
    size_t count;
    enum backend_precision precision;
    bool *failed;
};

static bool factor_f64(double *a, size_t d, size_t stride)
{
    int n = (int)d, lda = (int)stride, info = 0;
    dpotrf_("U", &n, a, &lda, &info);
    return info == 0;
}

CPU_VECTOR static void subtract(double *a, size_t stride, const float *product, size_t rows,
                                size_t width)
{
    for (size_t r = 0; r < rows; r++)
        for (size_t c = 0; c < width; c++)
            a[r * stride + c] -= (double)product[r * PANEL + c];
}

/* A panel's own factor, [step][PANEL][STEP], and the inverses of its pivots. */
struct tile {
    double l[PANEL * PANEL];
    double inverse[PANEL];
};

static void tile_fill(struct tile *t, const double *a, size_t stride)
{
    for (size_t k = 0; k < PANEL; k++) {
        t->inverse[k] = 1.0 / a[k * stride + k];
        for (size_t j = 0; j < PANEL; j++)
            t->l[k / STEP * STEP * PANEL + j * STEP + k % STEP] = j <= k ? a[k * stride + j] : 0.0;
    }
}

/* x L^T = the strip, in place; rows in the lanes. */
CPU_VECTOR static void solve_strip(strip_vec x[PANEL], const struct tile *t)
{
    for (size_t c = 0; c < PANEL; c += STEP) {
        const double *l = t->l + c * PANEL;
        strip_vec sum[STEP];
#pragma GCC unroll 8
        for (size_t i = 0; i < STEP; i++)
            sum[i] = x[c + i];
        for (size_t j = 0; j < c; j++) {
            strip_vec known = x[j];
#pragma GCC unroll 8
            for (size_t i = 0; i < STEP; i++)
                sum[i] -= known * l[j * STEP + i];
        }
#pragma GCC unroll 8
        for (size_t i = 0; i < STEP; i++) {
            strip_vec found = sum[i] * t->inverse[c + i];
            x[c + i] = found;
#pragma GCC unroll 8
            for (size_t n = 0; n < STEP; n++)
                if (n > i)
                    sum[n] -= found * l[(c + i) * STEP + n];
        }
    }
}

/* The rows below a panel's own factor: a[rows][PANEL] L^-T, and the same in single precision. */
static void solve_rows(double *a, float *single, size_t stride, size_t rows, const struct tile *t)
{
    strip_vec x[PANEL];
    for (size_t first = 0; first < rows; first += STRIP) {
        size_t count = rows - first < STRIP ? rows - first : STRIP;
        double *at = a + first * stride;
        for (size_t c = 0; c < PANEL; c++)
            for (size_t r = 0; r < STRIP; r++)
                x[c][r] = r < count ? at[r * stride + c] : 0.0;
        solve_strip(x, t);
        for (size_t r = 0; r < count; r++)
            for (size_t c = 0; c < PANEL; c++) {
                at[r * stride + c] = x[c][r];
                single[(first + r) * stride + c] = (float)x[c][r];
            }
    }
}

/* work: the factor so far in single precision [d][d], and a product [d][PANEL]. */
static bool factor_f32(double *a, size_t d, float *work)
{
    float *product = work + d * d;
    struct tile tile;
    for (size_t first = 0; first < d; first += PANEL) {
        size_t width = d - first < PANEL ? d - first : PANEL, below = d - first - width;
        double *corner = a + first * (d + 1);
        float *known = work + first * d;
        if (first) {
            cpu_gemm_nt(d - first, width, first, known, d, known, d, product, PANEL);
            subtract(corner, d, product, d - first, width);
        }
        if (!factor_f64(corner, width, d))
            return false;
        if (below == 0)
            break;
        tile_fill(&tile, corner, d);
        solve_rows(corner + PANEL * d, known + PANEL * d + first, d, below, &tile);
    }
    return true;
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
    size_t space = parallel_space(batch->self->pool, batch->count, item, worker);
    bool good = batch->precision == BACKEND_FP64 ? factor_f64(a, d, d)
                                                 : factor_f32(a, d, batch->self->scratch[space]);
    batch->failed[item] = !good || !pivots_good(a, d);
    for (size_t i = 0; i < d; i++)
        for (size_t j = i + 1; j < d; j++)
            a[i * d + j] = 0.0;
}

int cpu_cholesky(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                 enum backend_precision precision, bool *failed, struct err *err)
{
    struct cholesky_batch batch = {cpu_self(b), matrices, d, count, precision, failed};
    size_t largest = 0;
    for (size_t i = 0; i < count; i++)
        if (d[i] > largest)
            largest = d[i];
    if (largest > 32768)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a Hessian of %zu inputs; at most 32768",
                       largest);
    if (precision == BACKEND_FP32) {
        size_t spaces = parallel_spaces(batch.self->pool, count);
        int rc = cpu_scratch_spaces(batch.self, spaces, largest * (largest + PANEL), err);
        if (rc < 0)
            return rc;
    }
    parallel_for(batch.self->pool, count, cholesky_item, &batch);
    return 0;
}
