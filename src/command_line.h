/*
 * The command line that repeats what a screen or a report shows.
 */
#ifndef MOQA_SRC_COMMAND_LINE_H
#define MOQA_SRC_COMMAND_LINE_H

#include "data/base/str.h"
#include "data/plan.h"

/* Appends "moqa VERB TRACE --model DIR" and every setting that differs from its default; for
 * "plan" also the pins and -o PLAN. Names are quoted for a shell. model_dir may be NULL. */
void command_line(struct str *out, const char *verb, const char *trace_path, const char *model_dir,
                  const struct plan *plan);

/* The settings alone, as " --alpha 0.5 --rule 3:jenks". */
void command_line_settings(struct str *out, const struct settings *s);

#endif
