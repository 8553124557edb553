/* The table of the Results screen, and the words that it shares with the facts beside it. Only
 * view_*.c include this. */
#ifndef MOQA_UI_APP_RESULTS_TABLE_H
#define MOQA_UI_APP_RESULTS_TABLE_H

#include "ui/app/app_result.h"

/* Sets a->scroll and a->result_rows. */
void results_table_draw(struct app *a, struct cells *c, struct rect r, const struct app_results *x);

/* "2026-11-30 05:31" */
void results_time_text(char *out, size_t size, int64_t when);
/* In this program, in another one or in a comparison. */
bool results_is_running(const struct app *a, const struct app_result *x);
/* In place of a perplexity that is not there. on: the text that is looked at; NULL: none. */
void results_missing_text(char *out, size_t size, const struct app *a, const struct app_result *x,
                          const struct app_evaluation *on);
double results_change_percent(const struct app_evaluation *e,
                              const struct app_evaluation *original);
/* "72.027 +- 1.113"; returns the number of draws, 0 with "" where the run is alone. */
size_t results_draws_text(char *out, size_t size, const struct app *a, const struct app_results *r,
                          const struct app_result *x);

#endif
