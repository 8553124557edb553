/*
 * Passes that outlive the screen: `moqa quantize` in a process of its own, watched through its
 * record (src/runs/run_record.h). A thread starts, watches and reads; all functions but
 * detached_new(), which reads the records, return at once.
 */
#ifndef MOQA_SRC_RUNS_DETACHED_H
#define MOQA_SRC_RUNS_DETACHED_H

#include "src/runs/run_record.h"

struct detached;

/* Begins to watch: a pass of this model that runs already, or the one that was cut last, is
 * taken up. program: what is started; NULL: this program itself. Strings are copied. */
ERR_CHECK int detached_new(struct detached **out, const char *program, const char *config_sha256,
                           const char *trace_sha256, struct err *err);
/* Leaves a running pass alone. NULL is legal. */
void detached_free(struct detached *d);

/* Starts `quantize` with these arguments (copied; no --resume, which is added) for an output
 * folder, with a copy of the plan beside its record, whose name replaces the argument "PLAN".
 * ERR_USAGE: a pass runs already. What fails later is told by detached_poll(). */
ERR_CHECK int detached_start(struct detached *d, const struct plan *plan, const char *out,
                             const char *const *arguments, size_t count, struct err *err);
/* Goes on with the pass that was cancelled, cut or failed, as it was started. ERR_USAGE: none. */
ERR_CHECK int detached_resume(struct detached *d, struct err *err);
void detached_cancel(struct detached *d);

bool detached_active(struct detached *d); /* a pass runs, or is about to */

/* The state as it is known; keeps out->expert's memory up to date. */
void detached_poll(struct detached *d, struct app_run *out);

#endif
