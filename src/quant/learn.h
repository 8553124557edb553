/*
 * Learned rounding: codes and scales of an MoE layer's linears, moved by gradient descent until
 * the layer's output, summed over a token's experts, lies as close as it can to a target.
 * docs/method.md, "Learned rounding".
 *
 * For a token t with inputs x_t:  y_t = sum over its units u of g_tu down_u(silu(a) b),
 * a = gate_u x_t, b = up_u x_t;  loss = mean over tokens of |y_t - target_t|^2. Zero points stay.
 *
 * An eighth of the windows is held out. Kept is the state with the least loss there of those
 * that were looked at, the given one among them, and of it the codes of those units alone whose old
 * ones would lose more: the held-out loss never rises. A unit without held-out tokens keeps the
 * codes it was given.
 *
 * The work is the host's, whatever backend the pass has; the result is the same at any number of
 * threads. It takes 17 bytes for every learned weight beside what it is given.
 */
#ifndef MOQA_SRC_QUANT_LEARN_H
#define MOQA_SRC_QUANT_LEARN_H

#include "data/base/parallel.h"
#include "data/packed.h"
#include "src/progress.h"

enum { LEARN_LINEARS = 3 };         /* gate, up, down */
enum { LEARN_BATCH_TOKENS = 2048 }; /* that an iteration looks at, at least one window */

struct learn_linear {
    struct packed_linear *packed; /* learned in place; NULL: the weights stay as they are */
    /* [out][in]. Of a learned one: what was rounded to its codes, which says how far from the next
     * code each starts. */
    const float *weights;
};

/* An expert, or the shared expert. */
struct learn_unit {
    size_t size; /* rows of gate and up, inputs of down */
    struct learn_linear linear[LEARN_LINEARS];
};

struct learn_block {
    size_t windows, window; /* positions = windows * window */
    size_t hidden;
    const float *x;      /* [positions][hidden] inputs of the experts */
    const float *target; /* [positions][hidden] */
    size_t units;
    struct learn_unit *unit;
    /* Tokens of unit u: row[offset[u]] .. row[offset[u + 1] - 1], rising, and their gates. */
    const size_t *offset; /* [units + 1] */
    const uint32_t *row;
    const float *gate;
};

struct learn_rule {
    size_t iterations;
    uint64_t seed; /* of the order of windows */
};

struct learn_result {
    double before, after; /* held-out loss a token, with the codes as given and as left */
    size_t kept;          /* units whose new codes stay */
    bool *unit_kept;      /* [units], the caller's memory */
};

/* pool and progress may be NULL; `steps` of progress pass. After an error, ERR_CANCELLED too, the
 * codes are those given. ERR_USAGE for less than two windows. */
ERR_CHECK int learn_run(struct learn_result *out, const struct learn_block *block,
                        const struct learn_rule *rule, struct parallel *pool,
                        struct progress *progress, size_t steps, struct err *err);

#endif
