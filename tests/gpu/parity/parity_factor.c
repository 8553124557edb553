/* Factorizations of Hessians, on the host's memory and on the device's. */
#include <math.h>
#include <stdlib.h>

#include "parity_trial.h"

static void factorize(struct trial *t, enum backend_precision precision)
{
    enum { MOST = 5 };
    double *h[MOST];
    size_t d[MOST], count = 1 + trial_below(t, MOST), bad = trial_below(t, 2 * MOST);
    bool failed[MOST] = {false};
    for (size_t i = 0; i < count; i++) {
        d[i] = trial_size(t, 150, 600);
        h[i] = trial_positive(t, d[i]);
        if (i == bad) /* somewhere inside, so that columns before it are fine */
            h[i][trial_below(t, d[i]) * (d[i] + 1)] = -1.0;
    }
    (void)!RUN(OPS->cholesky(t->b, h, d, count, precision, failed, &t->err));
    for (size_t i = 0; i < count; i++) {
        trial_label(t, failed[i]);
        for (size_t k = 0; !failed[i] && k < d[i] * d[i]; k++)
            trial_emit(t, h[i][k]);
        free(h[i]);
    }
}

static void cholesky_fp32(struct trial *t)
{
    factorize(t, BACKEND_FP32);
}

static void cholesky_fp64(struct trial *t)
{
    factorize(t, BACKEND_FP64);
}

/* --- Hessians that stay on the device; where they lie in the host's memory, the same there. --- */

struct stay {
    size_t d, count;
    struct tensor *mean, *sum[3], *factor[3];
    double *host_sum[3], *host_mean;
    double borrowed[3], divisor[3];
    uint32_t *order;
    bool bad; /* the last one has no factor */
};

static double stay_value(const struct stay *s, size_t i, size_t a, size_t b)
{
    size_t at = a > b ? a * s->d + b : b * s->d + a;
    return (s->host_sum[i][at] + s->borrowed[i] * s->host_mean[at]) / s->divisor[i];
}

static void stay_init(struct trial *t, struct stay *s)
{
    *s = (struct stay){.d = trial_size(t, 150, 600), .count = 3, .bad = trial_below(t, 2)};
    size_t d = s->d;
    s->order = trial_get(d, sizeof *s->order);
    s->host_mean = trial_get(d * d, sizeof *s->host_mean);
    for (size_t i = 0; i < d; i++) {
        size_t j = trial_below(t, i + 1);
        s->order[i] = s->order[j];
        s->order[j] = (uint32_t)i;
    }
    for (size_t i = 0; i < s->count; i++) {
        s->host_sum[i] = trial_positive(t, d);
        s->borrowed[i] = i ? 0.25 * (double)i : 0.0;
        s->divisor[i] = 2.0 + trial_uniform(t);
        for (size_t k = 0; k < d * d; k++)
            s->host_mean[k] += s->host_sum[i][k] / 7.0;
        /* What lies above the diagonal must not matter. */
        for (size_t r = 0; r < d; r++)
            for (size_t c = r + 1; c < d; c++)
                s->host_sum[i][r * d + c] = NAN;
        s->sum[i] = trial_empty(t, TENSOR_F64, d, d);
        s->factor[i] = trial_empty(t, TENSOR_F64, d, d);
        (void)!RUN(OPS->upload(t->b, s->sum[i], 0, d, SOURCE_F64, s->host_sum[i], &t->err));
    }
    s->mean = trial_empty(t, TENSOR_F64, d, d);
}

static void stay_release(struct trial *t, struct stay *s)
{
    for (size_t i = 0; i < s->count; i++) {
        trial_drop(t, s->sum[i]);
        trial_drop(t, s->factor[i]);
        free(s->host_sum[i]);
    }
    trial_drop(t, s->mean);
    free(s->host_mean);
    free(s->order);
}

/* diagonal[i][d]; factor[i][d][d] */
static void stay_on_device(struct trial *t, struct stay *s, double *const *diagonal,
                           double *const *factor, bool *failed)
{
    struct backend_hessian h[3];
    struct backend_factor f[3];
    double *damped[3];
    (void)!RUN(OPS->hessian_mean(t->b, s->mean, s->sum, s->count, 7.0, &t->err));
    for (size_t i = 0; i < s->count; i++)
        h[i] = (struct backend_hessian){s->d, s->sum[i], i ? s->mean : NULL, s->borrowed[i],
                                        s->divisor[i]};
    (void)!RUN(OPS->hessian_diagonals(t->b, diagonal, h, s->count, &t->err));
    for (size_t i = 0; i < s->count; i++) {
        damped[i] = trial_get(s->d, sizeof *damped[i]);
        for (size_t j = 0; j < s->d; j++)
            damped[i][j] = s->bad && i == 2 && j == s->d / 2 ? -1.0 : diagonal[i][j] + 0.01;
        f[i] = (struct backend_factor){&h[i], s->order, damped[i], s->factor[i]};
    }
    (void)!RUN(OPS->hessian_factorize(t->b, f, s->count, failed, &t->err));
    for (size_t i = 0; i < s->count; i++) {
        (void)!RUN(OPS->download_f64(t->b, s->factor[i], 0, s->d, factor[i], &t->err));
        free(damped[i]);
    }
}

static void stay_on_host(struct trial *t, const struct stay *s, double *const *diagonal,
                         double *const *factor, bool *failed)
{
    size_t d[3] = {s->d, s->d, s->d};
    for (size_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < s->d; j++)
            diagonal[i][j] = stay_value(s, i, j, j);
        for (size_t r = 0; r < s->d; r++)
            for (size_t c = 0; c <= r; c++) {
                double value = stay_value(s, i, s->order[r], s->order[c]);
                bool bad = s->bad && i == 2 && s->order[r] == s->d / 2;
                factor[i][r * s->d + c] = r != c ? value : bad ? -1.0 : value + 0.01;
            }
    }
    (void)!RUN(OPS->cholesky(t->b, factor, d, s->count, BACKEND_FP64, failed, &t->err));
}

/* The order that the factor has takes the weights; codes follow. */
static void stay_sweep(struct trial *t, const struct stay *s, const double *factor)
{
    size_t rows = trial_size(t, 40, 500), d = s->d;
    float *weights = trial_floats(t, rows * d, 1.0);
    double *scale = trial_get(rows, sizeof *scale), loss = 0.0, square = 0.0;
    uint8_t *zero = trial_get(rows, 1), *codes = trial_get(rows * d, 1), top = 15;
    uint32_t *grid = trial_get(d, sizeof *grid);
    bool stays = OPS->hessian_factorize;
    struct tensor *w = stays ? trial_put(t, rows, d, weights) : NULL;
    for (size_t r = 0; r < rows; r++) {
        scale[r] = 2.0 / 15.0;
        zero[r] = 8;
    }
    struct backend_sweep p = {.rows = rows,
                              .columns = d,
                              .grids = 1,
                              .weights = stays ? NULL : weights,
                              .factor = stays ? NULL : factor,
                              .device_weights = w,
                              .device_factor = stays ? s->factor[0] : NULL,
                              .restored = w,
                              .order = s->order,
                              .grid = grid,
                              .max_code = &top,
                              .scale = scale,
                              .zero = zero,
                              .codes = codes,
                              .loss = &loss,
                              .square = &square};
    (void)!RUN(OPS->sweep(t->b, &p, 1, BACKEND_FP64, &t->err));
    if (stays)
        (void)!RUN(OPS->download(t->b, w, 0, rows, weights, &t->err));
    for (size_t i = 0; i < rows * d; i++) {
        trial_label(t, codes[i]);
        /* What the code stands for, which takes the weight's place. */
        float value = (float)scale[i / d] * (float)((int)codes[i] - (int)zero[i / d]);
        trial_emit(t, stays ? weights[i] == value : 1.0);
    }
    trial_emit(t, loss);
    trial_emit(t, square);
    trial_drop(t, w);
    free(weights);
    free(scale);
    free(zero);
    free(codes);
    free(grid);
}

static void hessians_stay(struct trial *t)
{
    struct stay s;
    double *diagonal[3], *factor[3];
    bool failed[3] = {false};
    stay_init(t, &s);
    for (size_t i = 0; i < s.count; i++) {
        diagonal[i] = trial_get(s.d, sizeof *diagonal[i]);
        factor[i] = trial_get(s.d * s.d, sizeof *factor[i]);
    }
    if (OPS->hessian_factorize)
        stay_on_device(t, &s, diagonal, factor, failed);
    else
        stay_on_host(t, &s, diagonal, factor, failed);
    for (size_t i = 0; i < s.count; i++) {
        trial_label(t, failed[i]);
        for (size_t j = 0; j < s.d; j++)
            trial_emit(t, diagonal[i][j]);
        for (size_t k = 0; !failed[i] && k < s.d * s.d; k++)
            trial_emit(t, factor[i][k]);
    }
    stay_sweep(t, &s, factor[0]);
    for (size_t i = 0; i < s.count; i++) {
        free(diagonal[i]);
        free(factor[i]);
    }
    stay_release(t, &s);
}

static const struct parity_case cases[] = {
    {"cholesky, fp32", cholesky_fp32, 1e-5, 0.0, 0.0},
    {"cholesky, fp64", cholesky_fp64, 1e-9, 0.0, 0.0},
    {"hessian_mean, _diagonals, _factorize", hessians_stay, 1e-9, 1e-4, 0.0},
};

const struct parity_family parity_factor = PARITY_FAMILY(cases);
