/*
 * Grids: scale and zero point of every output row and group of inputs, fixed from the original
 * weights before anything is rounded (static groups). docs/method.md, "Quantization".
 *
 *     asymmetric: the range [min(w, 0), max(w, 0)] on 2^b - 1 steps, zero point rint(-min / scale)
 *     symmetric:  scale 2 max|w| / (2^b - 1), zero point 2^(b-1)
 *
 * Mixed channels have a grid of their own in each group, made from those columns alone; the other
 * columns' grid leaves them out. A group without weights, or of zeros alone, gets the range -1..1.
 */
#ifndef MOQA_SRC_QUANT_GRID_H
#define MOQA_SRC_QUANT_GRID_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "gpu/backend.h"

struct grid_rule {
    size_t group_size; /* inputs a group; 0: the whole row */
    bool symmetric;
    bool search; /* shrink each range by 1.00, 0.96 .. 0.52 and keep the least error */
    bool half;   /* scales are rounded to fp16, as files hold them; codes fit the rounded ones */
    bool avoid_zero; /* no zero point of 0: such a grid gets zero point 1 and a scale that still
                        covers its range */
};

/* One linear layer's bits. channel: [channels], rising, NULL where there are none. */
struct grid_bits {
    unsigned bits;
    unsigned channel_bits;
    size_t channels;
    const uint32_t *channel;
};

struct grid {
    size_t rows, columns;
    size_t group_size; /* > 0 */
    size_t groups;     /* ceil(columns / group_size) */
    size_t grids;      /* groups, or 2 * groups: grid groups + g is that of group g's channels */
    uint32_t *column;  /* [column] -> grid */
    uint8_t *max_code; /* [grid] */
    double *scale;     /* [rows][grids] */
    uint8_t *zero;     /* [rows][grids] */
    uint32_t *member;  /* [columns] columns in the order of their grids, rising in each */
    uint32_t *start;   /* [grids + 1] grid i has member[start[i]] .. member[start[i + 1] - 1] */
};

/* Memory and columns; scales and zero points follow by grid_fit_rows(). */
ERR_CHECK int grid_init(struct grid *out, const struct grid_rule *rule,
                        const struct grid_bits *bits, size_t rows, size_t columns, struct err *err);

/* Fits rows first .. first + count - 1; rows are independent, so threads can share a grid.
 * w: [rows][columns], finite. importance: [columns], what the search weighs squared errors with
 * (the Hessian's diagonal), NULL: all alike. */
ERR_CHECK int grid_fit_rows(struct grid *g, const struct grid_rule *rule, const float *w,
                            const double *importance, size_t first, size_t count, struct err *err);

/* Both, for all rows. */
ERR_CHECK int grid_fit(struct grid *out, const struct grid_rule *rule, const struct grid_bits *bits,
                       const float *w, size_t rows, size_t columns, const double *importance,
                       struct err *err);
void grid_release(struct grid *g);

/* What a cell depends on, for gpu/grid_cell.h and devices. */
struct backend_grid_rule grid_cell_rule(const struct grid_rule *rule);

/* A scale > 0 as files hold it: rounded to fp16 where `half`; one that fp16 cannot hold becomes its
 * smallest or largest positive number. */
double grid_stored_scale(double scale, bool half);

/* error[column] = sum over rows of (w - w rounded to nearest)^2. */
ERR_CHECK int grid_column_errors(const struct grid *g, const float *w, double *error,
                                 struct err *err);

#endif
