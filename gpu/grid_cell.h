/*
 * One cell of a grid: scale and zero point of the weights of one output row in one group of inputs
 * (docs/method.md, "Quantization"). One text for the host (src/quant/grid.c) and for kernels
 * (gpu/cuda/cuda_grid.cu), which give the same bits as long as no compiler contracts a product and
 * a sum, and errors are summed in GRID_LANES parts, value j in part j % GRID_LANES.
 */
#ifndef MOQA_GPU_GRID_CELL_H
#define MOQA_GPU_GRID_CELL_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "gpu/backend.h"

#ifdef __CUDACC__
#define GRID_CELL_FN static __device__ inline
#else
#define GRID_CELL_FN static inline
#endif

enum {
    GRID_SEARCH_STEPS = 13,
    GRID_LANES = 16 /* partial results of a reduction: the same at any width of the vector unit */
};

struct grid_cell {
    double scale;
    int zero;
};

/* A scale > 0 as files hold it: rounded to fp16; one that fp16 cannot hold becomes its smallest or
 * largest positive number. */
GRID_CELL_FN double grid_cell_half(double scale)
{
    float value = (float)scale;
    uint32_t bits;
    if (!(value > 0.0f))
        return 0x1p-24;
    if (value < 0x1p-14f) { /* subnormal: multiples of 2^-24 */
        value = (value + 0.5f) - 0.5f;
        return value > 0.0f ? (double)value : 0x1p-24;
    }
    memcpy(&bits, &value, sizeof bits);
    bits += 0x0fffu + (bits >> 13 & 1u);
    bits &= ~0x1fffu;
    memcpy(&value, &bits, sizeof value);
    return value < 65536.0f ? (double)value : 65504.0;
}

GRID_CELL_FN double grid_cell_stored(const struct backend_grid_rule *rule, double scale)
{
    return rule->half ? grid_cell_half(scale) : scale;
}

/* The cell whose codes 0 .. top cover low .. high; low <= 0 <= high, not both 0. */
GRID_CELL_FN struct grid_cell grid_cell_make(const struct backend_grid_rule *rule, double low,
                                             double high, int top)
{
    struct grid_cell c;
    if (rule->symmetric) {
        c.scale = grid_cell_stored(rule, 2.0 * fmax(-low, high) / top);
        c.zero = (top + 1) / 2;
        return c;
    }
    c.scale = grid_cell_stored(rule, (high - low) / top);
    double zero = rint(-low / c.scale);
    c.zero = zero < top ? (int)zero : top;
    if (c.zero == 0 && rule->avoid_zero) {
        c.scale = grid_cell_stored(rule, high / (top - 1));
        c.zero = 1;
    }
    return c;
}

/* Part of the range that step i of the search tries; step 0 is all of it. */
GRID_CELL_FN double grid_cell_part(int i)
{
    return 1.0 - 0.04 * i;
}

/* What rounding to nearest does to w. */
GRID_CELL_FN double grid_cell_error(double w, double scale, double zero, double top)
{
    /* Adding and subtracting it rounds to an integer, halves to even; larger numbers are integers
     * already, and stay beyond every code. */
    const double rounding = 6755399441055744.0;
    double code = ((w / scale + rounding) - rounding) + zero;
    code = code < 0.0 ? 0.0 : code;
    code = code > top ? top : code;
    return (code - zero) * scale - w;
}

#endif
