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
    char stage[160];     /* "layer 3 of 16: Hessians" */
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
    /* Several works after one another, each of them a part: */
    size_t part, parts; /* parts 0: one work alone */
    char part_name[80];
    double parts_started;
    double expected, later; /* progress_expect(); < 0: not known */
    /* Called by the worker after each change, outside the lock; may be NULL. */
    void (*changed)(void *context, const struct progress_state *state);
    /* The same for progress_note(). */
    void (*noted)(void *context, const char *text);
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
/*
 * Of several works one after another: progress_parts() says how many there are, progress_part()
 * which one comes now, counted from 0, and what it is called. What listeners see from then on is
 * how far all of them are (PROGRESS_PART_STEPS steps each), "NAME: STAGE", and the time of all; the
 * works themselves know nothing of it. progress_parts(p, 0): one work alone again.
 */
enum { PROGRESS_PART_STEPS = 1000 };
void progress_parts(struct progress *p, size_t parts);
void progress_part(struct progress *p, size_t part, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* What the owner knows better than by counting parts: seconds that the part in work takes in all,
 * and those behind it. Until the next part begins. */
void progress_expect(struct progress *p, double part, double later);
/* Something to be said once, beside how far the work is: "3 of 8 runs are kept". */
void progress_note(struct progress *p, const char *text);
bool progress_cancelled(const struct progress *p);
void progress_get(struct progress *p, struct progress_state *out);

#endif
