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
    BUDGET_CHANNELS, /* and each may have mixed channels; the losses must know some */
    BUDGET_GRAINS
};

/* "linear", "expert", "channel" */
extern const char *const budget_grain_names[BUDGET_GRAINS];
/* False for an unknown name. */
bool budget_grain_find(enum budget_grain *out, const char *name);

struct budget_options {
    enum budget_grain grain;
    bool bytes;          /* the budget counts what the moqa layout holds, not the weights' bits */
    double sensitivity;  /* a layer's losses count its sensitivity to this power */
    double significance; /* an expert's (S_e / mean S of its layer) to this power */
    const uint8_t *pins; /* [layers][experts] bits, 0: free; NULL: none */
    /* As in struct allocate_problem. */
    size_t states_max;
    bool (*stop)(void *context);
    void *stop_context;
};

void budget_defaults(struct budget_options *o);

/* What a linear can have: a width, and the share of its inputs at the channels' bits. */
struct budget_choice {
    unsigned bits;
    double share;              /* 0: no mixed channels */
    size_t width, share_index; /* in the losses; width: none at 16 bits */
};

struct budget {
    struct allocate_problem problem;
    uint64_t *cost; /* in bits */
    double *loss;
    bool *allowed;
    uint8_t *choice; /* [items] */
    struct budget_choice offer[ALLOCATE_CHOICES_MAX];
    size_t hidden, expert_size; /* inputs of gate and up, and of down, of a routed expert */
    size_t layers, units,
        parts; /* units a layer: experts and the shared one; parts: items a unit */
    bool shared;
    double weights; /* of all items */
    struct allocate_result result;
};

/* plan: shape, settings (group size) and significance; its bits are not looked at. ERR_USAGE where
 * channels shall be chosen and the losses know none that the settings choose. */
ERR_CHECK int budget_init(struct budget *b, const struct plan *plan, const struct losses *losses,
                          const struct model_config *config, const struct budget_options *options,
                          struct err *err);
void budget_release(struct budget *b);

/* Average bits a weight -> the plan's bits and channels. With options.bytes the budget is
 * `bits` times the number of weights, too: 8 * bytes / b.weights. ERR_USAGE where the narrowest
 * widths do not fit. */
ERR_CHECK int budget_solve(struct budget *b, struct plan *plan, double bits, struct err *err);

/* Rise of the mean negative log-likelihood that the losses predict for any plan. With mixed
 * channels a linear's loss lies on the straight lines between the shares that were measured; from
 * the last of them, or where the plan's channels are chosen in another way from none, to all inputs
 * at the channels' bits. False where the plan has a width that was not measured. */
bool budget_predict(double *rise, const struct plan *plan, const struct losses *losses,
                    const struct model_config *config);
/* The same for all experts, shared ones too, at one width. */
bool budget_predict_uniform(double *rise, unsigned bits, const struct losses *losses);

/*
 * The front of all budgets: least loss against bits. Its points are the steps of the convex hull,
 * each of them the optimum for its own size; a plan between two steps lies at most one linear (or
 * expert) off the curve. Losses are told as the predicted rise, whatever power of the sensitivity
 * they were weighed by.
 */
struct budget_front {
    size_t points;
    double *bits; /* [points] on average a weight, rising; with options.bytes those of the file */
    double *rise; /* [points] falling */
};

ERR_CHECK int budget_front_make(struct budget_front *out, const struct budget *b,
                                const struct losses *losses, struct err *err);
void budget_front_release(struct budget_front *f);
/* Average bits of the plan that has every weight at one width, counted as the budget counts. False
 * where the width is none of the choices. */
bool budget_uniform_bits(double *bits, const struct budget *b, unsigned width);
/* Rise at these bits, on the last point that has no more; NaN below the first. */
double budget_front_rise(const struct budget_front *f, double bits);
/* Bits at which the front first has no more than this rise; NaN where it never has. */
double budget_front_bits(const struct budget_front *f, double rise);

#endif
