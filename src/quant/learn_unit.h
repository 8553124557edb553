/*
 * Inside of learned rounding: the linears of one unit, their gradients and steps. A weight is
 * s (rint(v) - z); Adam moves v, counting rint as the identity, and ln s goes a fixed step against
 * the sign of its gradient.
 */
#ifndef MOQA_SRC_QUANT_LEARN_UNIT_H
#define MOQA_SRC_QUANT_LEARN_UNIT_H

#include "src/quant/learn.h"

/* A linear while it is learned; a fixed one has `w` alone. grids: groups, or twice as many, grid
 * groups + g being that of group g's channels. */
struct learn_state {
    size_t in, out, grids;
    struct packed_linear *packed; /* as given until learn_state_store(); NULL: fixed */
    const float *w;               /* [out][in] in force */
    float *own;                   /* memory of w where it is learned */
    float *v;                     /* [out][in] */
    float *first, *second;        /* [out][in] moments of v's gradient */
    float *scale;                 /* [out][grids] before rounding to fp16 */
    float *zero;                  /* [out][grids] */
    uint32_t *column;             /* [in] -> grid */
    float *top;                   /* [in] largest code */
    float *reach;                 /* [grids] what ln s can go in all steps together */
    float *row, *sum;             /* [2][in], [grids]: workspace */
    uint8_t *kept_codes;          /* [out][in] of learn_state_keep() */
    uint16_t *kept_scales;        /* [out][grids] fp16 */
};

/* Rows of one unit in a batch. */
struct learn_rows {
    size_t count, hidden, size;
    const float *x; /* [count][hidden] */
    float *a, *b;   /* [count][size] gate x and up x; behind the backward pass their gradients */
    float *m;       /* [count][size] silu(a) b */
    float *y;       /* [count][hidden] down m; before the backward pass its gradient */
};

struct learn_step {
    float rate;                        /* part of the way that all steps together can go */
    float first_factor, second_factor; /* 1 / (1 - decay^steps) of the moments */
};

/* Decay of the moments. */
static const float learn_first_decay = 0.9f, learn_second_decay = 0.99f;

ERR_CHECK int learn_state_init(struct learn_state *s, const struct learn_linear *l, size_t in,
                               size_t out, struct err *err);
void learn_state_release(struct learn_state *s);

/* What is in force becomes what is kept. Nothing happens to fixed linears, here and below. */
void learn_state_keep(struct learn_state *s);
/* What was kept, or given at first, is in force. */
void learn_state_use_kept(struct learn_state *s);
void learn_state_use_given(struct learn_state *s);
/* What is in force goes into the packed linear. */
void learn_state_store(struct learn_state *s);

/* Floats of workspace for learn_backward(). */
size_t learn_space(const struct learn_state s[LEARN_LINEARS], size_t rows);

/* a, b, m and y from x. */
void learn_forward(const struct learn_state s[LEARN_LINEARS], struct learn_rows *r);
/* gradient[i]: [out][in] by the weights of linear i, NULL where it is not asked for; of the loss
 * whose gradient by y is in r->y. space: rows * size floats. */
void learn_gradient(const struct learn_state s[LEARN_LINEARS], struct learn_rows *r, float *space,
                    float *const gradient[LEARN_LINEARS]);
/* Gradients and one step of all learned linears. */
void learn_backward(struct learn_state s[LEARN_LINEARS], struct learn_rows *r,
                    const struct learn_step *step, float *space);

#endif
