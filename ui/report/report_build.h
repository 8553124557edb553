/* The content of a report on one trace: what was measured, with all figures, tables and settings.
 */
#ifndef MOQA_UI_REPORT_REPORT_BUILD_H
#define MOQA_UI_REPORT_REPORT_BUILD_H

#include "data/model_config.h"
#include "ui/figure/figures.h"
#include "ui/report/report.h"

struct report_source {
    const char *title; /* NULL: from the trace */
    const struct trace *trace;
    const char *trace_path, *trace_sha256;
    const char *model_dir;             /* NULL: none given */
    const struct model_config *config; /* NULL: none given */
    struct figure_source figures;      /* analysis; plan, similarity and runs where there are any */
    double predicted_loss;             /* of the plan (analysis/predict.h) */
    const char *command;               /* that repeats the analysis */
    const char *plan_command;          /* that writes the plan; NULL: none */
};

ERR_CHECK int report_build(struct report *out, const struct report_source *s, struct err *err);

#endif
