/*
 * Quantizers: linear layers and the Hessians of their inputs -> codes. One table; a batch is all
 * linears of a layer that share a kind of input. docs/method.md, "Quantization".
 *
 * H = L L^T (damped). GPTQ rounds column after column and lets the columns still to come make up
 * for the error; here from the last to the first of a permutation that puts the column to be
 * rounded first at the end (gpu/backend.h, sweep), which gives the codes of the usual form with the
 * inverse's factor. act: by falling diagonal.
 */
#ifndef MOQA_SRC_QUANT_QUANTIZER_H
#define MOQA_SRC_QUANT_QUANTIZER_H

#include "data/plan.h"
#include "gpu/backend.h"
#include "src/quant/grid.h"

enum { QUANTIZER_LADDER = 8 };       /* times that damping may be doubled */
#define QUANTIZER_LEAST_DAMPING 1e-4 /* where it begins if damping is 0 */

struct quantizer_rule {
    struct grid_rule grid;
    int order;      /* enum setting_order */
    double damping; /* of the mean diagonal */
    size_t refine;  /* passes over the codes of compensated rounding (src/quant/refine.h) */
    enum backend_precision precision;
};

/* Mean of x x^T over the inputs of one or several linears. */
struct quantizer_hessian {
    size_t d;
    const double *h; /* [d][d], both triangles; NULL: it lies on the device, */
    struct backend_hessian device;
    const double *diagonal; /* and this is [d] of it; else NULL */
    double damping;         /* out: in force, of the mean diagonal */
    bool fallback; /* out: not positive definite after the ladder; its linears were rounded to
                      nearest */
};

struct quantizer_item {
    size_t rows;
    const float *weights;          /* [rows][d], finite; NULL: only the device has them */
    struct tensor *device_weights; /* the same; NULL unless the Hessian lies there, too */
    bool infinite;                 /* out, of an error: some weight on the device is not finite */
    bool restore;   /* asks for the rounded weights in device_weights, in place of those */
    bool restored;  /* out: they are there */
    size_t hessian; /* index; rises or stays from item to item */
    struct grid_bits bits;
    struct grid grid; /* out: owned by the caller (grid_release) */
    uint8_t *codes;   /* [rows][d], the caller's memory */
    double loss;      /* out: tr(E H E^T), H without damping */
    double loss_rtn;  /* out: the same for round to nearest */
};

struct quantizer {
    const char *name;
    int (*run)(struct backend *b, const struct quantizer_rule *rule,
               struct quantizer_hessian *hessians, size_t hessian_count,
               struct quantizer_item *items, size_t count, struct err *err);
};

extern const struct quantizer quantizer_gptq, quantizer_rtn;

/* First of the items whose loss is not finite, or `count`. */
size_t quantizer_not_finite(const struct quantizer_item *items, size_t count);
/* ERR_NUMERIC: a linear (its name without ".weight") has such a loss. dir: of the model. */
ERR_CHECK int quantizer_refuse(const char *dir, const char *linear, struct err *err);

/* NULL for PLAN_NONE. */
const struct quantizer *quantizer_find(enum plan_quantizer kind);

/* --- What the quantizers share (rounding.c). --- */

/* How a batch is rounded. */
enum rounding {
    ROUNDING_NEAREST,     /* each weight by itself */
    ROUNDING_COMPENSATED, /* GPTQ */
};

/* Fits every grid, factorizes every Hessian with the damping ladder and rounds. Work is cut so
 * that the factors in memory stay bounded. */
ERR_CHECK int rounding_run(struct backend *b, const struct quantizer_rule *rule,
                           enum rounding rounding, struct quantizer_hessian *hessians,
                           size_t hessian_count, struct quantizer_item *items, size_t count,
                           struct err *err);

/* Order of rounding: order[0] is rounded first. diagonal: [d], damped. */
ERR_CHECK int rounding_order(size_t *order, const double *diagonal, size_t d, int setting,
                             struct err *err);

#endif
