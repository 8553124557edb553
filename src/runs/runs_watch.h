/*
 * The list of runs (runs.h), kept up to date by a thread: reading the plans of a study takes
 * longer than a frame. The folder is looked at while somebody asks, and read again when it has
 * changed.
 */
#ifndef MOQA_SRC_RUNS_RUNS_WATCH_H
#define MOQA_SRC_RUNS_RUNS_WATCH_H

#include "src/runs/runs.h"

struct runs_watch;

/* All are borrowed. Starts reading at once, the headers of the model first. */
ERR_CHECK int runs_watch_new(struct runs_watch **out, const char *dir, const char *model_dir,
                             const char *config_sha256, struct err *err);
void runs_watch_free(struct runs_watch *w);

/* The runs as last seen, borrowed until the next call. Returns at once. *version changes with
 * them. */
size_t runs_watch_get(struct runs_watch *w, const struct app_result **out, unsigned long *version);
/* For those who need the list as it is now: true until a look at the folder that began after the
 * first such call is done; then false, and the next runs_watch_get() has it. */
bool runs_watch_pending(struct runs_watch *w);
/* Of the newest run of runs_watch_get(), borrowed until its next call; false: none. */
bool runs_watch_losses(struct runs_watch *w, struct app_run_losses *out);
/* Name, bits and size of the model, once they are read. */
void runs_watch_model(struct runs_watch *w, struct app_result *row);

#endif
