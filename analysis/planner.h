/*
 * From an analysis and the user's choices to a plan: bits and channels for every expert, and the
 * baselines it is compared with (docs/method.md, "Strategy", "Baselines").
 */
#ifndef MOQA_ANALYSIS_PLANNER_H
#define MOQA_ANALYSIS_PLANNER_H

#include "analysis/analysis.h"
#include "analysis/budget.h"
#include "data/model_config.h"
#include "data/plan.h"

/* The user's pins: bits[layer * experts + expert], 0 = not pinned. bits may be NULL. */
struct planner_pins {
    const uint8_t *bits;
};

enum { PLANNER_METHOD_MAX = 64 };

struct planner_request {
    const char *method; /* "moqa", "gptq-4", "rtn-3", "moeptq-r", "budget", "fp16" */
    /* Wanted nominal average, 0: not given. moeptq-r and the heuristics: over the routed experts;
     * budget: over all experts. */
    double average_bits;
    uint64_t budget_bytes; /* budget: instead, of all experts in the moqa layout; 0: not given */
    const struct losses *losses;       /* budget, importance and outlier need it; else NULL */
    const char *losses_path;           /* for messages */
    struct budget_options budget;      /* its pins and bytes are set here */
    struct allocate_result *allocated; /* budget: what came out; may be NULL */
    struct planner_pins pins;
    const char *model_name; /* NULL: as the trace has it */
    const char *trace_name;
    const char *trace_sha256;
};

/*
 * gptq-B and rtn-B give shared experts B bits too, fp16 16; the others settings.bits_shared. The
 * plan's settings say so, and beta_ch = 0 where a method has no mixed channels. Pins hold for
 * every method but fp16.
 *
 * Fills a released or zeroed plan. ERR_USAGE for an unknown method (the known ones are named) or
 * a missing average. The trace must fit the model (layers, experts, top-k).
 */
ERR_CHECK int planner_make(struct plan *out, const struct analysis *a,
                           const struct planner_request *request, const struct model_config *config,
                           struct err *err);

/*
 * The widths of MoQa's rule and the pins, from the trace alone: without a model's shapes there are
 * no channels, no shared experts and no bytes. summary.nominal_bits is the average over the routed
 * experts, which are of one size; the rest of the summary is 0. Such a plan is to be looked at, not
 * to be run. Fills a released or zeroed plan.
 */
ERR_CHECK int planner_widths(struct plan *out, const struct analysis *a,
                             const struct planner_pins *pins, struct err *err);

/* What a method asks for. */
struct planner_method {
    const char *name;
    enum plan_quantizer quantizer;
    bool average; /* average_bits */
    bool routed;  /* which is that of the routed experts, not of all */
    bool losses;
};

/* NULL-terminated list of the method names for help and errors. */
const char *const *planner_methods(void);
/* NULL for an unknown one. */
const struct planner_method *planner_method_find(const char *name);

/* Bits of each class, low to high, for the settings in force: class_bits, or class c of k takes
 * the legal width number low + round((high - low) c / (k - 1)), halves up, where low and high are
 * the places of bits_low and bits_high in 2, 3, 4, 8, 16: 2,3,4 and 2,3,3,4 by default. */
void planner_class_bits(const struct settings *s, unsigned out[SETTINGS_CLASSES_MAX]);

/* Refuses a trace of another model than the config's. */
ERR_CHECK int planner_check_trace(const struct trace *t, const char *file,
                                  const struct model_config *config, struct err *err);

/* False where the trace says which config.json it was made with, and it is not this one: of the
 * same shape, perhaps, but not the same model. */
bool planner_has_config_of(const struct trace *t, const struct model_config *config);

#endif
