/*
 * What a token counts in a routed expert's Hessian (`hessian_weight`, docs/method.md,
 * "Quantization"). An expert adds its gate value g times its output to a token, so an error on that
 * token weighs g^2. Weights of an expert's n tokens, their mean is 1:
 *
 *     v = 1 + a (g^2 / mean g^2 - 1),  a = 1/2 m / (m + d),  m = (sum g^2)^2 / sum g^4
 *
 * m tells how many tokens of equal weight the weighted ones are worth. The part a guards: where few
 * tokens carry all of the weight, m is far below the inputs d, and all tokens count about alike. It
 * never exceeds a half, as another text has other gate values.
 */
#ifndef MOQA_SRC_QUANT_GATES_H
#define MOQA_SRC_QUANT_GATES_H

#include "src/model/forward.h"

struct gates {
    struct backend *b;
    size_t experts;
    size_t *tokens;          /* [experts] n */
    double *square, *fourth; /* [experts] sums of g^2, g^4 */
    struct tensor *scaled;   /* F32 of the latest shape asked for */
    size_t rows, d;
};

ERR_CHECK int gates_init(struct gates *g, struct backend *b, size_t experts, struct err *err);
void gates_release(struct gates *g);

/* Watches the routing alone, over all calibration tokens, before anything is weighted. */
struct forward_tap gates_tap(struct gates *g);

/* v of a gate value of an expert with d inputs; 1 where all its gate values are 0. */
double gates_weight(const struct gates *g, size_t expert, double gate, size_t d);

/* root[slots]: the roots of v in the order of the slots. */
void gates_roots(const struct gates *g, const struct backend_groups *groups, size_t d, float *root);

/* *out: x[slots][d] with each row times its root, owned by g until the next call. */
ERR_CHECK int gates_scale(struct gates *g, const struct tensor **out, const struct tensor *x,
                          const struct backend_groups *groups, size_t d, struct err *err);

#endif
