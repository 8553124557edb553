#include "src/quant/grid.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/simd.h"
#include "gpu/grid_cell.h"

struct backend_grid_rule grid_cell_rule(const struct grid_rule *rule)
{
    return (struct backend_grid_rule){.symmetric = rule->symmetric,
                                      .search = rule->search,
                                      .half = rule->half,
                                      .avoid_zero = rule->avoid_zero};
}

double grid_stored_scale(double scale, bool half)
{
    return half ? grid_cell_half(scale) : scale;
}

/* Columns of one grid in one row, side by side. */
struct span {
    const float *w;
    const double *importance; /* NULL: all alike */
    size_t count;
};

SIMD_CLONES static double span_error(const struct span *s, double scale, double zero, double top)
{
    double lanes[GRID_LANES] = {0}, sum = 0.0;
    size_t whole = s->count - s->count % GRID_LANES;
    for (size_t j = 0; j < whole; j += GRID_LANES)
        for (size_t l = 0; l < GRID_LANES; l++) {
            double e = grid_cell_error((double)s->w[j + l], scale, zero, top);
            lanes[l] += s->importance ? e * e * s->importance[j + l] : e * e;
        }
    for (size_t j = whole; j < s->count; j++) {
        double e = grid_cell_error((double)s->w[j], scale, zero, top);
        lanes[j - whole] += s->importance ? e * e * s->importance[j] : e * e;
    }
    for (size_t l = 0; l < GRID_LANES; l++)
        sum += lanes[l];
    return sum;
}

/* Smallest and largest, and 0. */
SIMD_CLONES static void span_range(const struct span *s, double *low, double *high)
{
    float least[GRID_LANES] = {0}, most[GRID_LANES] = {0};
    size_t whole = s->count - s->count % GRID_LANES;
    for (size_t j = 0; j < whole; j += GRID_LANES)
        for (size_t l = 0; l < GRID_LANES; l++) {
            least[l] = s->w[j + l] < least[l] ? s->w[j + l] : least[l];
            most[l] = s->w[j + l] > most[l] ? s->w[j + l] : most[l];
        }
    for (size_t j = whole; j < s->count; j++) {
        least[0] = s->w[j] < least[0] ? s->w[j] : least[0];
        most[0] = s->w[j] > most[0] ? s->w[j] : most[0];
    }
    for (size_t l = 1; l < GRID_LANES; l++) {
        least[0] = least[l] < least[0] ? least[l] : least[0];
        most[0] = most[l] > most[0] ? most[l] : most[0];
    }
    *low = (double)least[0];
    *high = (double)most[0];
}

static struct grid_cell fit_cell(const struct backend_grid_rule *rule, int top,
                                 const struct span *s)
{
    double low, high;
    span_range(s, &low, &high);
    if (low == high) {
        low = -1.0;
        high = 1.0;
    }
    struct grid_cell best = grid_cell_make(rule, low, high, top);
    if (!rule->search)
        return best;
    double least = span_error(s, best.scale, best.zero, top);
    for (int i = 1; i < GRID_SEARCH_STEPS; i++) {
        double part = grid_cell_part(i);
        struct grid_cell c = grid_cell_make(rule, low * part, high * part, top);
        double error = span_error(s, c.scale, c.zero, top);
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
    g->member = mem_array(g->columns, sizeof *g->member, err);
    g->start = mem_array(g->grids + 1, sizeof *g->start, err);
    if (g->column && g->max_code && g->scale && g->zero && g->member && g->start)
        return 0;
    grid_release(g);
    return ERR_NOMEM;
}

/* Counting sort of the columns by their grids. */
static void list_members(struct grid *g)
{
    for (size_t j = 0; j < g->columns; j++)
        g->start[g->column[j] + 1]++;
    for (size_t i = 0; i < g->grids; i++)
        g->start[i + 1] += g->start[i];
    for (size_t j = 0; j < g->columns; j++)
        g->member[g->start[g->column[j]]++] = (uint32_t)j;
    for (size_t i = g->grids; i > 0; i--) /* each start has moved on to the next one's */
        g->start[i] = g->start[i - 1];
    g->start[0] = 0;
}

int grid_init(struct grid *out, const struct grid_rule *rule, const struct grid_bits *bits,
              size_t rows, size_t columns, struct err *err)
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
    list_members(out);
    return 0;
}

/* A row in the order of the grids, in `space` where that is not the row itself. */
static const float *sorted_row(const struct grid *g, const float *row, float *space)
{
    if (g->grids == g->groups)
        return row;
    for (size_t i = 0; i < g->columns; i++)
        space[i] = row[g->member[i]];
    return space;
}

int grid_fit_rows(struct grid *g, const struct grid_rule *rule, const float *w,
                  const double *importance, size_t first, size_t count, struct err *err)
{
    const struct backend_grid_rule cell = grid_cell_rule(rule);
    float *space = mem_aligned(g->columns, sizeof *space, err);
    double *weighed = importance ? mem_aligned(g->columns, sizeof *weighed, err) : NULL;
    int rc = space && (weighed || !importance) ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && importance && i < g->columns; i++)
        weighed[i] = importance[g->member[i]];
    for (size_t r = first; rc == 0 && r < first + count; r++) {
        const float *row = sorted_row(g, w + r * g->columns, space);
        for (size_t i = 0; i < g->grids; i++) {
            size_t at = g->start[i];
            struct span s = {row + at, weighed ? weighed + at : NULL, g->start[i + 1] - at};
            struct grid_cell c = fit_cell(&cell, g->max_code[i], &s);
            g->scale[r * g->grids + i] = c.scale;
            g->zero[r * g->grids + i] = (uint8_t)c.zero;
        }
    }
    free(space);
    free(weighed);
    return rc;
}

int grid_fit(struct grid *out, const struct grid_rule *rule, const struct grid_bits *bits,
             const float *w, size_t rows, size_t columns, const double *importance, struct err *err)
{
    int rc = grid_init(out, rule, bits, rows, columns, err);
    if (rc == 0)
        rc = grid_fit_rows(out, rule, w, importance, 0, rows, err);
    if (rc < 0)
        grid_release(out);
    return rc;
}

void grid_release(struct grid *g)
{
    free(g->column);
    free(g->max_code);
    free(g->scale);
    free(g->zero);
    free(g->member);
    free(g->start);
    *g = (struct grid){0};
}

SIMD_CLONES static void add_errors(double *sum, const float *w, size_t count, double scale,
                                   double zero, double top)
{
    for (size_t j = 0; j < count; j++) {
        double e = grid_cell_error((double)w[j], scale, zero, top);
        sum[j] += e * e;
    }
}

int grid_column_errors(const struct grid *g, const float *w, double *error, struct err *err)
{
    float *space = mem_aligned(g->columns, sizeof *space, err);
    double *sum = mem_array(g->columns, sizeof *sum, err); /* in the order of the grids */
    int rc = space && sum ? 0 : ERR_NOMEM;
    for (size_t r = 0; rc == 0 && r < g->rows; r++) {
        const float *row = sorted_row(g, w + r * g->columns, space);
        for (size_t i = 0; i < g->grids; i++) {
            size_t at = g->start[i], cell = r * g->grids + i;
            add_errors(sum + at, row + at, g->start[i + 1] - at, g->scale[cell], g->zero[cell],
                       g->max_code[i]);
        }
    }
    for (size_t i = 0; rc == 0 && i < g->columns; i++)
        error[g->member[i]] = sum[i];
    free(space);
    free(sum);
    return rc;
}
