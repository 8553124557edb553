/*
 * What figures and reports are made from, for commands: trace, analysis, model, plan, similarity
 * and runs, opened as far as they are given.
 */
#ifndef MOQA_SRC_CLI_CLI_SOURCE_H
#define MOQA_SRC_CLI_CLI_SOURCE_H

#include "src/cli/cli.h"
#include "src/session.h"
#include "ui/app/result_texts.h"
#include "ui/figure/figures.h"

struct cli_source {
    const char *trace_path, *model_dir; /* borrowed; model_dir may be NULL */
    struct session session;
    struct figure_source figures; /* what was opened so far */
    bool plan_given;              /* plan is that of a file */
    struct plan plan;
    double *cosine;
    struct app_result *result; /* [results] */
    size_t results;
    struct result_texts texts; /* of the results */
    struct result_figures drawn;
    struct losses losses;
    struct budget_front curve;
    struct figure_mark mark[2 + FIGURE_UNIFORM_MAX];
    struct figure_front front;
};

/* Trace, model and analysis with these settings; with those of a plan where one is given
 * (plan_path, else NULL), under what the command line names: what is shown together is of one set
 * of settings. analysis_result() has them. */
ERR_CHECK int cli_source_open(struct cli_source *out, const char *trace_path, const char *model_dir,
                              const char *plan_path, const struct settings *settings,
                              struct err *err);
void cli_source_release(struct cli_source *s);

/* The plan that was given, or the one that the settings make for the model; without both: none. */
ERR_CHECK int cli_source_plan(struct cli_source *s, struct err *err);
/* The runs of a folder (NULL: moqa-runs) for the model; without a model: none. */
ERR_CHECK int cli_source_runs(struct cli_source *s, const char *runs_dir, struct err *err);
/* The front of all budgets by the losses of a file (NULL: none is made), with the plan that was
 * given, MoQa's of these settings, and uniform ones. */
ERR_CHECK int cli_source_front(struct cli_source *s, const char *losses_path, struct err *err);
/* Similarity of the model's experts; without a model: none. */
ERR_CHECK int cli_source_cosine(struct cli_source *s, const struct cli_count *threads,
                                const char *progress, struct err *err);

#endif
