/* Time: how long something takes, and until when to wait. */
#ifndef MOQA_DATA_BASE_CLOCK_H
#define MOQA_DATA_BASE_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Seconds, and whole milliseconds, since some moment in the past; a clock that is set does not
 * move them. */
double clock_seconds(void);
int64_t clock_ms(void);

/* The moment in so many milliseconds, for pthread_cond_timedwait(). */
struct timespec clock_deadline(long milliseconds);

#endif
