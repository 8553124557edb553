/*
 * What long work tells its owner while it runs, and how the owner stops it. The worker writes,
 * any thread may read a copy at any time.
 */
#ifndef MOQA_SRC_PROGRESS_H
#define MOQA_SRC_PROGRESS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress_state {
    char stage[64];      /* "layer 3 of 16: Hessians" */
    size_t done, total;  /* steps of the whole work */
    double seconds;      /* since progress_start() */
    double seconds_left; /* < 0: not known yet */
};

struct progress {
    atomic_bool cancel; /* set by the owner, from any thread or signal handler */
    pthread_mutex_t lock;
    struct progress_state state;
    double started;
    size_t skipped; /* steps of an earlier run */
    /* Called by the worker after each change, outside the lock; may be NULL. */
    void (*changed)(void *context, const struct progress_state *state);
    void *context;
};

void progress_init(struct progress *p);
void progress_release(struct progress *p);
void progress_start(struct progress *p, size_t total);
/* p may be NULL in all of these. */
void progress_stage(struct progress *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void progress_step(struct progress *p, size_t steps); /* done += steps */
void progress_back(struct progress *p, size_t done);  /* work is done again: done = `done` */
/* Steps that an earlier run has done: they count for how far it is, not for how fast. */
void progress_skip(struct progress *p, size_t steps);
bool progress_cancelled(const struct progress *p);
void progress_get(struct progress *p, struct progress_state *out);

#endif
