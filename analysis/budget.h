/*
 * Plans within a budget: measured losses -> the widths of all experts that lose least at a given
 * size (docs/method.md, "Budget"). No files, no model: a slider can ask for plan after plan.
 *
 *     budget_init(&b, plan, losses, config, &options, err);    the table of costs and losses
 *     budget_solve(&b, plan, bits, err);                       as often as wanted
 *     budget_release(&b);
 */
#ifndef MOQA_ANALYSIS_BUDGET_H
#define MOQA_ANALYSIS_BUDGET_H

#include "analysis/allocate.h"
#include "data/losses.h"
#include "data/model_config.h"

enum budget_grain {
    BUDGET_LINEARS, /* gate, up and down of an expert may differ */
    BUDGET_EXPERTS,
    BUDGET_GRAINS
};

extern const char *const budget_grain_names[BUDGET_GRAINS]; /* "linear", "expert" */

struct budget_options {
    enum budget_grain grain;
    bool bytes;          /* the budget counts what the moqa layout holds, not the weights' bits */
    double sensitivity;  /* a layer's losses count its sensitivity to this power */
    double significance; /* an expert's (S_e / mean S of its layer) to this power */
    const uint8_t *pins; /* [layers][experts] bits, 0: free; NULL: none */
};

void budget_defaults(struct budget_options *o);

struct budget {
    struct allocate_problem problem;
    uint64_t *cost; /* in bits */
    double *loss;
    bool *allowed;
    uint8_t *choice; /* [items] */
    unsigned width[ALLOCATE_CHOICES_MAX];
    size_t layers, units,
        parts; /* units a layer: experts and the shared one; parts: items a unit */
    bool shared;
    double weights; /* of all items */
    struct allocate_result result;
};

/* plan: shape, settings (group size) and significance; its bits are not looked at. */
ERR_CHECK int budget_init(struct budget *b, const struct plan *plan, const struct losses *losses,
                          const struct model_config *config, const struct budget_options *options,
                          struct err *err);
void budget_release(struct budget *b);

/* Average bits a weight -> the plan's bits; channels are removed. With options.bytes the budget is
 * `bits` times the number of weights, too: 8 * bytes / b.weights. ERR_USAGE where the narrowest
 * widths do not fit. */
ERR_CHECK int budget_solve(struct budget *b, struct plan *plan, double bits, struct err *err);

/* Rise of the mean negative log-likelihood that the losses predict for any plan without channels.
 * False where the plan has a width that was not measured. */
bool budget_predict(double *rise, const struct plan *plan, const struct losses *losses);

#endif
