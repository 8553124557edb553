/*
 * A pool of threads and a parallel loop. Work is cut into items by the caller, never by the
 * number of threads, and every item is done by one thread: results do not depend on how many
 * threads there are. Workers block all signals.
 */
#ifndef MOQA_DATA_BASE_PARALLEL_H
#define MOQA_DATA_BASE_PARALLEL_H

#include <stddef.h>

#include "data/base/err.h"

struct parallel;

/* `item` in 0..count-1; `worker` in 0..parallel_threads()-1, for per-thread workspaces. */
typedef void (*parallel_fn)(void *context, size_t item, size_t worker);

/* threads = 0: as many as this process may use (affinity mask). 1: the caller's thread alone. */
ERR_CHECK int parallel_new(struct parallel **out, size_t threads, struct err *err);
void parallel_free(struct parallel *p);

size_t parallel_threads(const struct parallel *p);

/* Runs fn for every item and returns when all are done. Items are handed out in order. Must not
 * be called from inside an item. p = NULL: runs in the caller's thread. */
void parallel_for(struct parallel *p, size_t count, parallel_fn fn, void *context);

/* Workspaces that parallel_for() over `count` items needs, at most one an item and one a thread,
 * and which of them belongs to an item while a worker is at it. */
size_t parallel_spaces(const struct parallel *p, size_t count);
size_t parallel_space(const struct parallel *p, size_t count, size_t item, size_t worker);

#endif
