/* The runs in the order of the Results screen, which of them is selected, and how the settings of
 * one come back to the sliders. Only app*.c and view_*.c include this. */
#ifndef MOQA_UI_APP_APP_RESULT_H
#define MOQA_UI_APP_APP_RESULT_H

#include "ui/app/app_state.h"
#include "ui/app/result_texts.h"

/* What they can be sorted by. The original stays on top, what is not known comes last. */
enum app_result_sort {
    RESULT_BY_RUN,
    RESULT_BY_METHOD,
    RESULT_BY_BITS,
    RESULT_BY_EFFECTIVE,
    RESULT_BY_SIZE,
    RESULT_BY_PERPLEXITY,
    RESULT_BY_TIME, /* when it was */
    RESULT_SORTS
};
const char *app_result_sort_name(size_t sort);

struct app_results {
    const struct app_result *list; /* the host's */
    size_t *order;                 /* [n] places in the list */
    size_t n;
    struct result_texts texts;
    size_t text;                     /* the one that is looked at */
    const struct app_evaluation *on; /* an evaluation on it; NULL: there is no text */
};

/* The results as they are now. A selected run stays selected where others come and go, and so does
 * a text; without memory there are none. */
void app_results_get(struct app_results *out, struct app *a);
void app_results_release(struct app_results *r);
const struct app_result *app_results_at(const struct app_results *r, size_t i);
void app_results_select(struct app *a, const struct app_results *r, size_t i);
/* What an evaluation is set against: the original's on the same text and windows; NULL: none is
 * known. */
const struct app_evaluation *app_results_original(const struct app_results *r,
                                                  const struct app_evaluation *e);
/* The last part of its folder's path, or the model's name. */
const char *app_result_name(const struct app_result *x);

void app_results_next_text(struct app *a, int by);
void app_results_sort(struct app *a, int by);        /* by the next column */
void app_results_reverse(struct app *a, int unused); /* the other way round */
/* Settings and pins of the selected run onto the sliders: one step of undo. */
void app_results_load(struct app *a, int unused);
/* Measures the original after a failure or a cancellation. */
void app_results_measure(struct app *a, int unused);
/* Cancels that; false: nothing is measured. */
bool app_results_cancel(struct app *a);

/* The sliders as a run of this method would set them: channels of plans within a budget are none of
 * the rule's. */
struct settings app_result_settings(const struct app *a, const char *method,
                                    const struct settings *of_run);
/* "alpha 0.3 -> 0.5, rule auto -> jenks": what `to` has otherwise than `from`; returns how many.
 * The last ones are left out where there is no room. */
size_t app_settings_changes(char *out, size_t size, const struct settings *from,
                            const struct settings *to);

#endif
