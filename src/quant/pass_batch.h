/*
 * Inside of the pass: linears of one layer that share a kind of inputs, rounded in batches of as
 * many units (experts, or the one shared expert) as memory holds.
 */
#ifndef MOQA_SRC_QUANT_PASS_BATCH_H
#define MOQA_SRC_QUANT_PASS_BATCH_H

#include "src/quant/pass_internal.h"
#include "src/quant/pass_learn.h"
#include "src/quant/shifts.h"

enum { GROUP_LINEARS_MAX = 3 };

/* Linears that share their inputs and so a Hessian. */
struct linear_group {
    enum hessians_kind kind;
    size_t count;
    enum model_linear linear[GROUP_LINEARS_MAX];
};

/* What the groups of a layer are rounded with. */
struct layer_job {
    struct pass *p;
    struct model_layer *layer;
    struct model_layer *original; /* as it was, where the original runs beside; else NULL */
    struct hessians *hessians;
    struct shifts *shifts;       /* of the same kinds, or NULL */
    struct pass_learner learner; /* what waits for learning; zeroed where nothing is learned */
    struct writer_list *list;
    struct pass_layer_result *result;
};

/* Is any linear of the group quantized in this unit? */
bool pass_group_quantizes(const struct pass *p, size_t layer, const struct linear_group *group,
                          size_t unit);

/* Rounds the group's linears of all units on j->hessians and j->shifts: what is ready goes to the
 * shard's list or to the learner, and in place of the layer's weights where the next layer shall
 * see it. steps: of progress, spread over the units. */
ERR_CHECK int pass_group_run(struct layer_job *j, const struct linear_group *group, size_t steps,
                             struct err *err);

#endif
