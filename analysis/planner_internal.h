/* Inside of the planner: shared by planner.c and planner_share.c alone. */
#ifndef MOQA_ANALYSIS_PLANNER_INTERNAL_H
#define MOQA_ANALYSIS_PLANNER_INTERNAL_H

#include "analysis/planner.h"

struct planner_job {
    struct plan *plan;
    const struct analysis_result *result;
    const struct planner_request *request;
    const struct model_config *config;
    unsigned bits; /* of a method with one width */
};

/* Part of all routed experts at 4 bits, the rest at 2, so that the request's average comes out.
 * Who gets 4: a seeded random part; the first layers; those that most positions of the trace were
 * routed to; those with the largest outliers; those of the layers that turn the hidden states
 * most. Ties go to the lower layer, then the smaller expert. */
ERR_CHECK int planner_assign_random(const struct planner_job *j, struct err *err);
ERR_CHECK int planner_assign_first(const struct planner_job *j, struct err *err);
ERR_CHECK int planner_assign_frequent(const struct planner_job *j, struct err *err);
ERR_CHECK int planner_assign_outlier(const struct planner_job *j, struct err *err);
ERR_CHECK int planner_assign_importance(const struct planner_job *j, struct err *err);

#endif
