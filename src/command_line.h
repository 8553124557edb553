/*
 * The command line that repeats what a screen or a report shows.
 */
#ifndef MOQA_SRC_COMMAND_LINE_H
#define MOQA_SRC_COMMAND_LINE_H

#include "analysis/budget.h"
#include "data/base/str.h"
#include "data/plan.h"

/* What a plan within a budget was made from. */
struct command_budget {
    const char *losses; /* file; NULL: not known */
    double bits;
    uint64_t bytes; /* instead of the bits; 0: none */
    enum budget_grain grain;
};

/* Appends "moqa VERB TRACE --model DIR" and every setting that differs from its default; for
 * "plan" also the method, the pins and -o PLAN. Names are quoted for a shell. model_dir may be
 * NULL; budget: of a plan of this method, may be NULL. */
void command_line(struct str *out, const char *verb, const char *trace_path, const char *model_dir,
                  const struct plan *plan, const struct command_budget *budget);

/* The settings alone, as " --alpha 0.5 --rule 3:jenks". */
void command_line_settings(struct str *out, const struct settings *s);

#endif
