/* Grids of weights that lie on the device; where they lie in the host's memory, cell by cell here.
 */
#include <math.h>
#include <stdlib.h>

#include "gpu/grid_cell.h"
#include "parity_trial.h"

struct linear {
    struct backend_grid g;
    float *weights;
    uint32_t *member, *start;
    uint8_t *top;
    double *importance;
};

/* Groups of any sizes, also empty ones; as they lie, or inputs in any order. */
static void make_linear(struct trial *t, struct linear *l, const struct linear *shares)
{
    static const uint8_t widths[] = {3, 7, 15, 255};
    size_t columns = shares ? shares->g.columns : trial_size(t, 150, 3000);
    size_t rows = trial_size(t, 40, 1000), grids = 1 + trial_below(t, columns);
    bool sorted = trial_below(t, 2);
    *l = (struct linear){.weights = trial_floats(t, rows * columns, 0.5),
                         .member = trial_get(columns, sizeof(uint32_t)),
                         .start = trial_get(grids + 1, sizeof(uint32_t)),
                         .top = trial_get(grids, 1),
                         .importance =
                             shares ? shares->importance : trial_get(columns, sizeof(double))};
    for (size_t i = 0; i < columns; i++) {
        size_t j = trial_below(t, i + 1);
        l->member[i] = l->member[j];
        l->member[j] = (uint32_t)i;
        if (!shares)
            l->importance[i] = exp(4.0 * trial_uniform(t));
    }
    for (size_t g = 0; g < grids; g++) {
        l->top[g] = widths[trial_below(t, 4)];
        l->start[g + 1] = (uint32_t)((g + 1) * columns / grids);
        if (g && trial_below(t, 9) == 0)
            l->start[g] = l->start[g - 1];
    }
    for (size_t r = 0; r < rows; r++) /* large, small, all zero, of one sign */
        for (size_t i = 0, kind = trial_below(t, 8); i < columns; i++) {
            float *w = &l->weights[r * columns + i];
            *w = kind == 0 ? 0.0f : kind == 1 ? *w * 1e-9f : kind == 2 ? fabsf(*w) * 1e8f : *w;
        }
    if (trial_below(t, 12) == 0)
        l->weights[trial_below(t, rows * columns)] = trial_below(t, 2) ? NAN : -INFINITY;
    l->g = (struct backend_grid){.rows = rows,
                                 .columns = columns,
                                 .grids = grids,
                                 .weights = trial_put(t, rows, columns, l->weights),
                                 .importance = l->importance,
                                 .member = sorted ? l->member : NULL,
                                 .start = l->start,
                                 .max_code = l->top,
                                 .scale = trial_get(rows * grids, sizeof(double)),
                                 .zero = trial_get(rows * grids, 1)};
}

static double error_of(const struct linear *l, size_t row, size_t grid, const struct grid_cell *c)
{
    double part[GRID_LANES] = {0}, sum = 0.0;
    for (size_t j = l->start[grid]; j < l->start[grid + 1]; j++) {
        size_t input = l->g.member ? l->member[j] : j;
        double e = grid_cell_error((double)l->weights[row * l->g.columns + input], c->scale,
                                   c->zero, l->top[grid]);
        part[(j - l->start[grid]) % GRID_LANES] += e * e * l->importance[input];
    }
    for (size_t i = 0; i < GRID_LANES; i++)
        sum += part[i];
    return sum;
}

static void fit_cell(const struct backend_grid_rule *rule, struct linear *l, size_t row,
                     size_t grid)
{
    double low = 0.0, high = 0.0, least = INFINITY;
    struct grid_cell best = {0};
    for (size_t j = l->start[grid]; j < l->start[grid + 1]; j++) {
        float w = l->weights[row * l->g.columns + (l->g.member ? l->member[j] : j)];
        l->g.infinite = l->g.infinite || !isfinite(w);
        low = (double)w < low ? (double)w : low;
        high = (double)w > high ? (double)w : high;
    }
    if (low == high) {
        low = -1.0;
        high = 1.0;
    }
    for (int i = 0; !l->g.infinite && i < (rule->search ? GRID_SEARCH_STEPS : 1); i++) {
        double part = grid_cell_part(i);
        struct grid_cell c = grid_cell_make(rule, low * part, high * part, l->top[grid]);
        double error = error_of(l, row, grid, &c);
        if (error < least) {
            least = error;
            best = c;
        }
    }
    l->g.scale[row * l->g.grids + grid] = best.scale;
    l->g.zero[row * l->g.grids + grid] = (uint8_t)best.zero;
}

static void fit_here(const struct backend_grid_rule *rule, struct linear *l)
{
    for (size_t row = 0; row < l->g.rows; row++)
        for (size_t grid = 0; grid < l->g.grids; grid++)
            fit_cell(rule, l, row, grid);
}

static void fit_grids(struct trial *t)
{
    enum { MOST = 4 };
    struct linear l[MOST];
    struct backend_grid problems[MOST];
    size_t count = 1 + trial_below(t, MOST);
    bool shares[MOST] = {false};
    struct backend_grid_rule rule = {.symmetric = trial_below(t, 3) == 0,
                                     .search = trial_below(t, 2),
                                     .half = trial_below(t, 4) > 0,
                                     .avoid_zero = trial_below(t, 3) == 0};
    for (size_t i = 0; i < count; i++) {
        shares[i] = i && trial_below(t, 2);
        make_linear(t, &l[i], shares[i] ? &l[i - 1] : NULL);
        problems[i] = l[i].g;
    }
    if (OPS->fit_grids)
        (void)!RUN(OPS->fit_grids(t->b, &rule, problems, count, &t->err));
    for (size_t i = 0; i < count; i++) {
        if (OPS->fit_grids)
            l[i].g.infinite = problems[i].infinite;
        else
            fit_here(&rule, &l[i]);
        trial_label(t, l[i].g.infinite);
        for (size_t k = 0; !l[i].g.infinite && k < l[i].g.rows * l[i].g.grids; k++) {
            trial_emit(t, l[i].g.scale[k]);
            trial_label(t, l[i].g.zero[k]);
        }
    }
    for (size_t i = count; i-- > 0;) {
        t->b->ops->tensor_free(t->b, (struct tensor *)(uintptr_t)l[i].g.weights);
        free(l[i].weights);
        free(l[i].member);
        free(l[i].start);
        free(l[i].top);
        free(l[i].g.scale);
        free(l[i].g.zero);
        if (!shares[i])
            free(l[i].importance);
    }
}

static const struct parity_case cases[] = {
    {"fit_grids", fit_grids, 0.0, 0.0, 0.0},
};

const struct parity_family parity_grid = PARITY_FAMILY(cases);
