/*
 * The program around the workbench: computes similarity and runs jobs in threads of its own, and
 * answers the screen's questions at once (ui/app/app_host.h).
 */
#ifndef MOQA_SRC_WORKBENCH_OPEN_HOST_H
#define MOQA_SRC_WORKBENCH_OPEN_HOST_H

#include "src/session.h"
#include "ui/app/app_host.h"

struct open_host_options {
    const char *trace_path;
    const char *model_dir;    /* NULL: no similarity, no runs */
    const char *losses_path;  /* measured losses; NULL: those that are found */
    const char *const *calib; /* to calibrate on; count 0: the trace's own tokens */
    size_t calib_count;
    const char *const *texts; /* to evaluate each run on; count 0: no evaluation */
    size_t texts_count;
    const char *runs_dir; /* folder of the runs */
    size_t threads;
};

struct open_host;

ERR_CHECK int open_host_new(struct open_host **out, const struct open_host_options *options,
                            const struct session *session, struct err *err);
/* Cancels and waits for what runs. */
void open_host_free(struct open_host *h);
/* Reads measured losses and what runs are made from, once the session is there: before
 * open_host_callbacks(). */
ERR_CHECK int open_host_read(struct open_host *h, struct err *err);
void open_host_callbacks(struct open_host *h, struct app_host *out);

#endif
