/*
 * What the Results screen lists: the runs of a folder (runs_watch.h), and the original model,
 * which always has a row. Where texts are given and the original was not measured on them, a
 * thread does it (original.h) and the row says how far it is.
 */
#ifndef MOQA_SRC_RUNS_RESULTS_H
#define MOQA_SRC_RUNS_RESULTS_H

#include "ui/app/app_host.h"

struct results_options { /* borrowed while the results live */
    const char *model_dir, *runs_dir, *config_sha256;
    const char *const *texts; /* count 0: nothing is measured */
    size_t texts_count;
    const char *const *calib; /* as a job takes them: they say how long a window is; count 0: */
    size_t calib_count;
    size_t window; /* the one of the trace in view */
    size_t threads;
};

struct results;

/* Starts reading the folder. */
ERR_CHECK int results_new(struct results **out, const struct results_options *options,
                          struct err *err);
/* Stops the measurement and waits for it. */
void results_free(struct results *r);

/* Borrowed until the next call. Returns at once. idle: nothing else needs the machine, so that a
 * measurement may begin. */
size_t results_get(struct results *r, const struct app_result **out, bool idle);
/* Losses of the newest run of results_get(), borrowed until its next call; false: none is known. */
bool results_losses(struct results *r, struct app_run_losses *out);
/* True until everything is listed that was there when this was first called, and the measurement
 * that can begin has ended. */
bool results_pending(struct results *r, bool idle);

/* Stops the measurement; false: none goes on. It begins again by itself if `pause`, else only
 * after results_measure(). */
bool results_stop(struct results *r, bool pause);
/* ERR_USAGE without texts. */
ERR_CHECK int results_measure(struct results *r, struct err *err);

#endif
