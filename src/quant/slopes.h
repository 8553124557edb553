/*
 * How far an error in one linear of an expert moves the layer's output, collected while calibration
 * tokens pass. An expert adds gate g times down (silu(a) b) to its token's hidden state, with
 * a = gate x and b = up x, so an error of size one in
 *     output i of down          moves it by g (large g and large inputs go together),
 *     output i of gate, of up   by g |down's column i| times silu'(a_i) b_i, silu(a_i)
 * Held are the sums of the squares over the tokens, without the columns of down.
 */
#ifndef MOQA_SRC_QUANT_SLOPES_H
#define MOQA_SRC_QUANT_SLOPES_H

#include "src/quant/gates.h"

struct slopes_set {
    size_t units, size; /* experts, or 1; outputs of gate and up */
    size_t *tokens;     /* [units] */
    double *mid;       /* [units] sum of v |silu(a) b|^2: the squared inputs of down, as its Hessian
                          counts them */
    double *weight;    /* [units] sum of g^2 |silu(a) b|^2 */
    double *gate, *up; /* [units][size] */
};

struct slopes {
    struct backend *b;
    const struct model_layer *layer;
    const struct gates *gates; /* v of a token in the Hessians; borrowed; NULL: 1 */
    struct slopes_set routed, shared;
    struct tensor *logit; /* of the shared expert's gate, one chunk of rows */
    size_t logit_rows;
    float *shared_gate; /* [logit_rows] g of the chunk in work */
};

ERR_CHECK int slopes_init(struct slopes *s, struct backend *b, const struct model_config *c,
                          const struct model_layer *layer, size_t chunk_rows,
                          const struct gates *gates, struct err *err);
void slopes_release(struct slopes *s);

/* What a tap hands on, chunk by chunk. */
ERR_CHECK int slopes_add_routed(struct slopes *s, const struct tensor *gate,
                                const struct tensor *up, const struct backend_groups *g,
                                struct err *err);
ERR_CHECK int slopes_note_shared(struct slopes *s, const struct tensor *x, size_t n,
                                 struct err *err);
ERR_CHECK int slopes_add_shared(struct slopes *s, const struct tensor *gate,
                                const struct tensor *up, size_t n, struct err *err);

/*
 * What a squared error of one of a unit's outputs counts, summed over its tokens, with the mean
 * token of its layer added once, so that an expert that no calibration token reached does not count
 * for nothing. down: one figure for all outputs; gate, up: [size], may be NULL.
 */
void slopes_get(const struct slopes_set *s, size_t unit, double *down, double *gate, double *up);

#endif
