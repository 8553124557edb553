/*
 * How long work tells how far it is and hears that nobody wants it any more. The owner fills it;
 * those who work pass it on. A NULL watch is legal everywhere: nobody listens, nothing stops.
 */
#ifndef MOQA_DATA_BASE_WATCH_H
#define MOQA_DATA_BASE_WATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum watch_step {
    WATCH_READ,  /* bytes of the file */
    WATCH_CHECK, /* layers of routing taken over and checked */
    WATCH_HASH,  /* bytes of the file */
    WATCH_INDEX, /* layers counted */
    WATCH_STEPS
};

struct watch {
    const atomic_bool *cancel; /* NULL: cannot be stopped */
    /* Called from the thread that works, whichever; total 0: not known. NULL: nobody listens. */
    void (*tell)(void *context, enum watch_step step, uint64_t done, uint64_t total);
    void *context;
};

bool watch_cancelled(const struct watch *w);
void watch_tell(const struct watch *w, enum watch_step step, uint64_t done, uint64_t total);

#endif
