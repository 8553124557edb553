/*
 * From an analysis and the user's choices to a plan: bits and channels for every expert, and the
 * baselines it is compared with (docs/method.md, "Strategy", "Baselines").
 */
#ifndef MOQA_ANALYSIS_PLANNER_H
#define MOQA_ANALYSIS_PLANNER_H

#include "analysis/analysis.h"
#include "data/model_config.h"
#include "data/plan.h"

/* The user's pins: bits[layer * experts + expert], 0 = not pinned. bits may be NULL. */
struct planner_pins {
    const uint8_t *bits;
};

enum { PLANNER_METHOD_MAX = 64 };

struct planner_request {
    const char *method; /* "moqa", "gptq-4", "rtn-3", "moeptq-r", "fp16" */
    double
        average_bits; /* moeptq-r: wanted nominal average over the routed experts; 0: not given */
    struct planner_pins pins;
    const char *trace_name;
    const char *trace_sha256;
};

/* Fills a released or zeroed plan. ERR_USAGE for an unknown method (the known ones are named) or
 * a missing average. The trace must fit the model (layers, experts, top-k). */
ERR_CHECK int planner_make(struct plan *out, const struct analysis *a,
                           const struct planner_request *request, const struct model_config *config,
                           struct err *err);

/* NULL-terminated list of the method names for help and errors. */
const char *const *planner_methods(void);

/* Bits of each class, low to high, for the settings in force: class_bits, or bits_low ..
 * bits_high spread over the classes. */
void planner_class_bits(const struct settings *s, unsigned out[SETTINGS_CLASSES_MAX]);

/* Refuses a trace of another model than the config's. */
ERR_CHECK int planner_check_trace(const struct trace *t, const char *file,
                                  const struct model_config *config, struct err *err);

#endif
