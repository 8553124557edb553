/*
 * Hessians of one layer's linears, collected while calibration tokens pass: means of x x^T over
 * the positions that reach a linear. Raw sums stay on the backend until they are asked for.
 *
 * Few tokens: H_e <- (n_e H_e + n0 H_layer) / (n_e + n0), n0 = shrink * d, H_layer = token-weighted
 * mean over the layer's experts; no tokens: H_layer. docs/method.md, "Quantization".
 */
#ifndef MOQA_SRC_QUANT_HESSIANS_H
#define MOQA_SRC_QUANT_HESSIANS_H

#include "src/quant/gates.h"

enum hessians_kind {
    HESSIANS_IN,  /* of gate and up, each routed expert */
    HESSIANS_MID, /* of down, each routed expert */
    HESSIANS_SHARED_IN,
    HESSIANS_SHARED_MID,
    HESSIANS_ATTENTION_IN,  /* of q, k and v */
    HESSIANS_ATTENTION_MID, /* of o */
    HESSIANS_KINDS
};

struct hessians_set {
    size_t d, units;            /* units: experts, or 1 */
    struct tensor **sum;        /* [unit] F64 [d][d]; NULL: not collected */
    struct tensor *absolute;    /* F64 [units][d] sums of |x|, or NULL */
    double *mean;               /* [d][d] over all units, once computed */
    struct tensor *device_mean; /* the same on the device, for hessians_borrow() */
};

struct hessians {
    struct backend *b;
    struct hessians_set set[HESSIANS_KINDS];
    size_t experts;
    size_t *tokens;      /* [expert] n_e */
    size_t positions;    /* all tokens that passed */
    struct gates *gates; /* what tokens count in routed experts; borrowed; NULL: all the same */
};

/* wanted: bits 1 << kind. absolute: collect |x| of the routed experts as well. gates: borrowed;
 * NULL: every token counts the same. */
ERR_CHECK int hessians_init(struct hessians *h, struct backend *b, const struct model_config *c,
                            unsigned wanted, bool absolute, struct gates *gates, struct err *err);
void hessians_release(struct hessians *h);

/* What forward_attention() and forward_mlp() feed. Borrows h. */
struct forward_tap hessians_tap(struct hessians *h);

/* Positions that reached a unit. */
size_t hessians_tokens(const struct hessians *h, enum hessians_kind kind, size_t unit);

/* out[d][d]: the unit's H after shrinkage (routed experts only). Each unit once: its sum is
 * released. ERR_NUMERIC where it is not finite. */
ERR_CHECK int hessians_take(struct hessians *h, enum hessians_kind kind, size_t unit, double shrink,
                            double *out, struct err *err);

/* The same without leaving the device, where the backend can go on from there: *out is valid until
 * hessians_drop() or hessians_release(). */
bool hessians_stay(const struct hessians *h);
ERR_CHECK int hessians_borrow(struct hessians *h, enum hessians_kind kind, size_t unit,
                              double shrink, struct backend_hessian *out, struct err *err);
void hessians_drop(struct hessians *h, enum hessians_kind kind, size_t unit);
/* out[d][d], both triangles, of one that lies on the device. */
ERR_CHECK int hessians_fetch(struct backend *b, const struct backend_hessian *h, double *out,
                             struct err *err);

/* out[d] = mean |x| of the unit; of the whole layer where it has no tokens. */
ERR_CHECK int hessians_absolute(const struct hessians *h, enum hessians_kind kind, size_t unit,
                                double *out, struct err *err);

#endif
