/* Rounding with a factor. */
#include <stdlib.h>

#include "parity_trial.h"

struct rounding {
    struct backend_sweep s;
    double loss, square, nearest_loss, nearest_square;
    float *weights;
    double *factor, *scale;
    uint32_t *order, *grid;
    uint8_t *max_code, *zero, *codes;
};

static void make_rounding(struct trial *t, struct rounding *r, const struct rounding *shares)
{
    static const uint8_t widths[] = {3, 7, 15, 255};
    size_t d = shares ? shares->s.columns : trial_size(t, 160, 600), rows = trial_size(t, 60, 600);
    size_t group = 1 + trial_below(t, d), grids = (d + group - 1) / group;
    bool failed = false;
    *r = (struct rounding){.weights = trial_floats(t, rows * d, 1.0),
                           .factor = shares ? shares->factor : trial_positive(t, d),
                           .scale = trial_get(rows * grids, sizeof(double)),
                           .order = trial_get(d, sizeof(uint32_t)),
                           .grid = trial_get(d, sizeof(uint32_t)),
                           .max_code = trial_get(grids, 1),
                           .zero = trial_get(rows * grids, 1),
                           .codes = trial_get(rows * d, 1)};
    if (!shares &&
        t->cpu->ops->cholesky(t->cpu, &r->factor, &d, 1, BACKEND_FP64, &failed, &t->err) < 0)
        abort();
    for (size_t i = 0; i < d; i++) {
        size_t j = trial_below(t, i + 1);
        r->order[i] = r->order[j];
        r->order[j] = (uint32_t)i;
        r->grid[i] = (uint32_t)(i / group);
    }
    for (size_t g = 0; g < grids; g++)
        r->max_code[g] = widths[trial_below(t, 4)];
    for (size_t i = 0; i < rows * grids; i++) {
        r->scale[i] = (1.5 + 0.5 * trial_uniform(t)) / r->max_code[i % grids];
        r->zero[i] = (uint8_t)(r->max_code[i % grids] / 2 + trial_below(t, 2));
    }
    r->s = (struct backend_sweep){.rows = rows,
                                  .columns = d,
                                  .grids = grids,
                                  .weights = r->weights,
                                  .factor = r->factor,
                                  .order = r->order,
                                  .grid = r->grid,
                                  .max_code = r->max_code,
                                  .scale = r->scale,
                                  .zero = r->zero,
                                  .codes = r->codes,
                                  .nearest = trial_below(t, 4) == 0};
}

/* Addresses of the results, once the struct lies where it stays. */
static void tie_rounding(struct trial *t, struct rounding *r)
{
    r->s.loss = &r->loss;
    r->s.square = &r->square;
    if (trial_below(t, 2)) {
        r->s.nearest_loss = &r->nearest_loss;
        r->s.nearest_square = &r->nearest_square;
    }
}

static void round_columns(struct trial *t, enum backend_precision precision)
{
    enum { MOST = 4 };
    struct rounding r[MOST];
    struct backend_sweep s[MOST];
    size_t count = 1 + trial_below(t, MOST);
    for (size_t i = 0; i < count; i++) {
        make_rounding(t, &r[i], i && trial_below(t, 2) ? &r[i - 1] : NULL);
        tie_rounding(t, &r[i]);
        s[i] = r[i].s;
    }
    (void)!RUN(OPS->sweep(t->b, s, count, precision, &t->err));
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < s[i].rows * s[i].columns; k++)
            trial_label(t, r[i].codes[k]);
        trial_emit(t, r[i].loss);
        trial_emit(t, r[i].square);
        trial_emit(t, r[i].nearest_loss);
        trial_emit(t, r[i].nearest_square);
    }
    for (size_t i = count; i-- > 0;) {
        free(r[i].weights);
        if (i == 0 || r[i].factor != r[i - 1].factor)
            free(r[i].factor);
        free(r[i].scale);
        free(r[i].order);
        free(r[i].grid);
        free(r[i].max_code);
        free(r[i].zero);
        free(r[i].codes);
    }
}

static void sweep_fp32(struct trial *t)
{
    round_columns(t, BACKEND_FP32);
}

static void sweep_fp64(struct trial *t)
{
    round_columns(t, BACKEND_FP64);
}

/* Codes follow errors that pile up along a row, so one near a half may fall to the other side, and
 * those behind it. */
static const struct parity_case cases[] = {
    {"sweep, fp32", sweep_fp32, 2e-2, 2e-2, 0.0},
    {"sweep, fp64", sweep_fp64, 1e-9, 1e-4, 0.0},
};

const struct parity_family parity_sweep = PARITY_FAMILY(cases);
