/* Inside of learned rounding: some windows' tokens, their slots unit by unit, and the way from
 * inputs to the loss and back. */
#ifndef MOQA_SRC_QUANT_LEARN_BATCH_H
#define MOQA_SRC_QUANT_LEARN_BATCH_H

#include "src/quant/learn_unit.h"

struct learn_batch {
    const struct learn_block *block;
    struct parallel *pool;
    size_t *first;             /* [units][windows + 1] slot of the unit's first token in a window */
    size_t size;               /* largest of the units */
    size_t count, limit;       /* windows */
    size_t *window;            /* [limit] */
    size_t *place;             /* [units][limit + 1] slots of the batch */
    float *x, *y;              /* [slots][hidden] */
    float *a, *b, *m;          /* [slots][size] */
    float *residual;           /* [limit * block window][hidden] output - target */
    double *loss;              /* [limit] sums over the window's tokens */
    float **space;             /* [threads] */
    struct learn_step step;    /* of learn_batch_backward() */
    struct learn_state *state; /* [units][LEARN_LINEARS], borrowed */
};

/* Room for `tokens` tokens, at least one window. Borrows block and state. */
ERR_CHECK int learn_batch_init(struct learn_batch *b, const struct learn_block *block,
                               struct learn_state *state, struct parallel *pool, size_t tokens,
                               struct err *err);
void learn_batch_release(struct learn_batch *b);

/* The windows to work on, at most `limit`. */
void learn_batch_set(struct learn_batch *b, const size_t *windows, size_t count);
/* Residuals; returns the sum of losses over the tokens. */
double learn_batch_forward(struct learn_batch *b);
/* After it: gradients and one step of every unit. */
void learn_batch_backward(struct learn_batch *b);

/* Rows of unit u in the batch. */
struct learn_rows learn_batch_rows(const struct learn_batch *b, size_t u);

/* Slots of unit u in window w: first[0] .. first[1] - 1. */
static inline const size_t *learn_slots(const struct learn_batch *b, size_t u, size_t w)
{
    return b->first + u * (b->block->windows + 1) + w;
}

#endif
