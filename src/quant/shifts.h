/*
 * How far rounding so far has shifted the inputs of a layer's linears: means of x_q (x_o - x_q)^T,
 * x_q as the quantized model sees an input and x_o as the original does, for the same token and
 * expert. Weights that are moved by W D (H + damping)^-1 before they are rounded, D the transposed
 * mean and H that of x_q x_q^T, aim at the original's outputs instead of their own
 * (docs/method.md, "Quantization").
 */
#ifndef MOQA_SRC_QUANT_SHIFTS_H
#define MOQA_SRC_QUANT_SHIFTS_H

#include "src/quant/hessians.h"

struct shifts_set {
    size_t d, units;
    struct tensor **sum; /* [unit] F64 [2d][2d], lower triangle of (x_o, x_q) (x_o, x_q)^T */
    struct tensor *both; /* F32 [rows][2d] one chunk of both, side by side */
};

struct shifts {
    struct backend *b;
    struct shifts_set set[HESSIANS_KINDS];
    size_t *tokens; /* [experts] */
    size_t positions;
    const struct gates *gates; /* as in struct hessians */
};

/* wanted: bits 1 << enum hessians_kind, none of attention. chunk_rows: of a forward pass.
 * gates: borrowed, what the Hessians were collected with; NULL: every token counts the same. */
ERR_CHECK int shifts_init(struct shifts *s, struct backend *b, const struct model_config *c,
                          unsigned wanted, size_t chunk_rows, const struct gates *gates,
                          struct err *err);
void shifts_release(struct shifts *s);

/* What forward_mlp_pair() feeds. Borrows s. */
struct forward_pair_tap shifts_tap(struct shifts *s);

/* out[i][j]: mean of x_q,i (x_o,j - x_q,j) over the unit's tokens, of which a routed expert has
 * shrink * d more that are not shifted, as in hessians_take(). */
ERR_CHECK int shifts_take(struct shifts *s, enum hessians_kind kind, size_t unit, double shrink,
                          double *out, struct err *err);

/*
 * weights[rows][d] += weights D (H + damping)^-1. factor: lower Cholesky factor of the damped H.
 * Leaves them as they are, and returns false, where they would move by more than half their size:
 * then the shift is no small error of earlier layers any more.
 */
ERR_CHECK int shifts_apply(bool *applied, float *weights, size_t rows, size_t d,
                           const double *shift, const double *factor, struct err *err);

#endif
