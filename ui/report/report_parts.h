/* What the sections of a report share. Only report_build.c and report_plan.c include this. */
#ifndef MOQA_UI_REPORT_REPORT_PARTS_H
#define MOQA_UI_REPORT_REPORT_PARTS_H

#include "ui/report/report_build.h"

struct report_builder {
    struct report *r;
    const struct report_source *s;
    const struct analysis_result *a;
    struct err *err;
};

/* A figure by its name: of a source, or of the report's own with a layer. */
ERR_CHECK int report_add_figure_of(struct report_builder *b, const char *name,
                                   const struct figure_source *source);
ERR_CHECK int report_add_figure(struct report_builder *b, const char *name, size_t layer);

/* Sections; nothing where there is no plan, no front, no run. */
ERR_CHECK int report_add_plan(struct report_builder *b);
ERR_CHECK int report_add_budgets(struct report_builder *b);
ERR_CHECK int report_add_runs(struct report_builder *b);

#endif
