#include "src/quant/grid.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/safetensors.h"

enum { SEARCH_STEPS = 13 };

struct cell {
    double scale;
    int zero;
};

/* Scales that fp16 cannot hold become its smallest or largest positive number. */
static double as_stored(double scale, bool half)
{
    if (!half)
        return scale;
    double stored = (double)dtype_f16_to_float(dtype_float_to_f16((float)scale));
    if (!(stored > 0.0))
        return 0x1p-24;
    return isfinite(stored) ? stored : 65504.0;
}

static struct cell make_cell(const struct grid_rule *rule, double low, double high, int top)
{
    struct cell c;
    if (rule->symmetric) {
        c.scale = as_stored(2.0 * fmax(-low, high) / top, rule->half);
        c.zero = (top + 1) / 2;
        return c;
    }
    c.scale = as_stored((high - low) / top, rule->half);
    double zero = rint(-low / c.scale);
    c.zero = zero > top ? top : (int)zero;
    if (c.zero == 0 && rule->avoid_zero) {
        c.scale = as_stored(high / (top - 1), rule->half);
        c.zero = 1;
    }
    return c;
}

static double round_error(double w, struct cell c, int top)
{
    double code = rint(w / c.scale) + c.zero;
    code = code < 0.0 ? 0.0 : code;
    code = code > top ? (double)top : code;
    return (code - c.zero) * c.scale - w;
}

struct columns {
    size_t first, end; /* of the group */
    uint32_t grid;     /* only columns of this grid count */
    const uint32_t *column;
    const double *importance;
};

static double cell_error(struct cell c, int top, const float *row, const struct columns *cols)
{
    double sum = 0.0;
    for (size_t j = cols->first; j < cols->end; j++) {
        if (cols->column[j] != cols->grid)
            continue;
        double e = round_error((double)row[j], c, top);
        sum += e * e * (cols->importance ? cols->importance[j] : 1.0);
    }
    return sum;
}

static struct cell fit_cell(const struct grid_rule *rule, int top, const float *row,
                            const struct columns *cols)
{
    double low = 0.0, high = 0.0;
    for (size_t j = cols->first; j < cols->end; j++) {
        if (cols->column[j] != cols->grid)
            continue;
        low = fmin(low, (double)row[j]);
        high = fmax(high, (double)row[j]);
    }
    if (low == high) {
        low = -1.0;
        high = 1.0;
    }
    struct cell best = make_cell(rule, low, high, top);
    if (!rule->search)
        return best;
    double least = cell_error(best, top, row, cols);
    for (int i = 1; i < SEARCH_STEPS; i++) {
        double shrink = 1.0 - 0.04 * i;
        struct cell c = make_cell(rule, low * shrink, high * shrink, top);
        double error = cell_error(c, top, row, cols);
        if (error < least) {
            least = error;
            best = c;
        }
    }
    return best;
}

static int allocate(struct grid *g, struct err *err)
{
    size_t cells;
    if (!mem_mul(&cells, g->rows, g->grids))
        return err_set(err, ERR_USAGE, NULL, "%zu rows of %zu grids overflow", g->rows, g->grids);
    g->column = mem_array(g->columns, sizeof *g->column, err);
    g->max_code = mem_array(g->grids, sizeof *g->max_code, err);
    g->scale = mem_array(cells, sizeof *g->scale, err);
    g->zero = mem_array(cells, sizeof *g->zero, err);
    if (g->column && g->max_code && g->scale && g->zero)
        return 0;
    grid_release(g);
    return ERR_NOMEM;
}

int grid_fit(struct grid *out, const struct grid_rule *rule, const struct grid_bits *bits,
             const float *w, size_t rows, size_t columns, const double *importance, struct err *err)
{
    size_t size = rule->group_size && rule->group_size < columns ? rule->group_size : columns;
    *out = (struct grid){.rows = rows, .columns = columns, .group_size = size};
    if (rows == 0 || columns == 0)
        return err_set(err, ERR_USAGE, NULL, "a linear of %zu inputs, %zu outputs", columns, rows);
    out->groups = (columns - 1) / size + 1;
    out->grids = bits->channels ? 2 * out->groups : out->groups;
    int rc = allocate(out, err);
    if (rc < 0)
        return rc;
    for (size_t j = 0; j < columns; j++)
        out->column[j] = (uint32_t)(j / size);
    for (size_t i = 0; i < bits->channels; i++)
        out->column[bits->channel[i]] += (uint32_t)out->groups;
    for (size_t i = 0; i < out->grids; i++) {
        unsigned width = i < out->groups ? bits->bits : bits->channel_bits;
        out->max_code[i] = (uint8_t)((1u << width) - 1);
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t i = 0; i < out->grids; i++) {
            size_t first = i % out->groups * size;
            size_t end = columns - first < size ? columns : first + size;
            struct columns cols = {first, end, (uint32_t)i, out->column, importance};
            struct cell c = fit_cell(rule, out->max_code[i], w + r * columns, &cols);
            out->scale[r * out->grids + i] = c.scale;
            out->zero[r * out->grids + i] = (uint8_t)c.zero;
        }
    return 0;
}

void grid_release(struct grid *g)
{
    free(g->column);
    free(g->max_code);
    free(g->scale);
    free(g->zero);
    *g = (struct grid){0};
}

void grid_column_errors(const struct grid *g, const float *w, double *error)
{
    for (size_t j = 0; j < g->columns; j++)
        error[j] = 0.0;
    for (size_t r = 0; r < g->rows; r++)
        for (size_t j = 0; j < g->columns; j++) {
            size_t grid = g->column[j], at = r * g->grids + grid;
            struct cell c = {g->scale[at], g->zero[at]};
            double e = round_error((double)w[r * g->columns + j], c, g->max_code[grid]);
            error[j] += e * e;
        }
}
