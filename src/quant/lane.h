/*
 * The lane that writes: one thread, one piece of work at a time, in the order of submission. While
 * it stores a layer the next one is computed; nobody gets further ahead than that, which bounds
 * memory and what a failure of the machine costs.
 *
 *     lane_new(&lane, err);
 *     rc = lane_wait(lane, err);              the error of what was submitted before
 *     if (rc == 0) lane_submit(lane, fn, context);
 *     lane_free(lane);                        waits
 */
#ifndef MOQA_SRC_QUANT_LANE_H
#define MOQA_SRC_QUANT_LANE_H

#include "data/base/err.h"

struct lane;

/* Does the work and frees `context`, in every case. */
typedef int (*lane_fn)(void *context, struct err *err);

ERR_CHECK int lane_new(struct lane **out, struct err *err);
void lane_free(struct lane *l); /* waits; NULL is legal */

/* Waits until nothing is under way. The error of the last work, from then on every time. */
ERR_CHECK int lane_wait(struct lane *l, struct err *err);

/* Only after a lane_wait() that returned 0. Where the system gives no thread, `fn` runs at once. */
void lane_submit(struct lane *l, lane_fn fn, void *context);

#endif
