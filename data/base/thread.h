/* Threads beside the one that signals are for. */
#ifndef MOQA_DATA_BASE_THREAD_H
#define MOQA_DATA_BASE_THREAD_H

#include <pthread.h>

/* pthread_create() of a thread that blocks all signals: they reach the thread that waits for them.
 * 0, or the number of the error. */
int thread_start(pthread_t *out, void *(*run)(void *), void *argument);

#endif
