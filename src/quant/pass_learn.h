/*
 * Learned rounding within the pass: what learn_run() needs of a layer. Inside of the pass.
 *
 *     pass_learner_init(&l, ...);
 *     pass_learner_add(&l, ...);         every linear that GPTQ has rounded and that is learned
 *     pass_learner_run(&l, ...);         inputs, target, learning; into the shard's list
 *     pass_learner_release(&l);
 */
#ifndef MOQA_SRC_QUANT_PASS_LEARN_H
#define MOQA_SRC_QUANT_PASS_LEARN_H

#include "src/quant/learn.h"
#include "src/quant/pass_internal.h"

/* A rounded linear whose codes may still change. */
struct pass_learned {
    char name[MODEL_NAME_MAX];
    enum dtype dtype; /* of the plain tensor */
    struct packed_linear packed;
    float *weights; /* [out][in] that were rounded, or NULL: no linear here */
};

struct pass_learner {
    struct pass *p;
    struct model_layer *layer;
    size_t units;                /* experts, and the shared expert */
    struct pass_learned *linear; /* [units][LEARN_LINEARS] */
    float *x, *target;           /* [positions][hidden] */
    uint16_t *expert;            /* [positions][top_k] */
    float *gate;                 /* [positions][top_k] */
    size_t first;                /* position of the chunk in work */
};

/* Are linears of this layer of the model learned? */
bool pass_learns(const struct pass *p, size_t layer);

ERR_CHECK int pass_learner_init(struct pass_learner *l, struct pass *p, struct model_layer *layer,
                                struct err *err);
void pass_learner_release(struct pass_learner *l);

/* Does this linear wait for learning? Widths above 4 bits have nothing to gain. */
bool pass_learner_takes(const struct pass_learner *l, enum model_linear linear, unsigned bits);

/* Takes over packed and weights (zeroed in the caller's) and puts what was rounded in place. */
ERR_CHECK int pass_learner_add(struct pass_learner *l, enum model_linear linear, size_t unit,
                               const char *name, enum dtype dtype, struct packed_linear *packed,
                               float **weights, struct err *err);

/*
 * Learns; then encodes the linears for the shard and, where the next layer shall see them, puts
 * them in place. original: the original's hidden states, already behind this layer: what the
 * quantized model's own shall become. NULL (propagation = fp): the layer's own, which this moves
 * behind it. result: its `learn` is filled.
 */
ERR_CHECK int pass_learner_run(struct pass_learner *l, struct forward *original,
                               struct writer_list *list, struct pass_layer_result *result,
                               struct err *err);

#endif
