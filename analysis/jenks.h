/*
 * Exact natural breaks of Jenks in one dimension (Eq. 8): classes of the sorted values with the
 * least sum of squares within them.
 */
#ifndef MOQA_ANALYSIS_JENKS_H
#define MOQA_ANALYSIS_JENKS_H

#include <stddef.h>

#include "data/base/err.h"

/* Room for values of one size; jenks_breaks() allocates nothing. */
struct jenks {
    size_t capacity;
    double *memory;
    double *value, *weight;         /* distinct values less their mean, and how often each occurs */
    double *sum_w, *sum_x, *sum_xx; /* [capacity + 1] running sums */
    double *cost, *next_cost;       /* least sum of squares of a prefix */
    size_t *cut;                    /* [class][prefix] where its last class begins */
};

ERR_CHECK int jenks_init(struct jenks *j, size_t capacity, struct err *err);
void jenks_release(struct jenks *j);

/*
 * Cuts `sorted` (rising, count >= 1) into `classes` classes. break_at[] gets the largest value of
 * every class but the highest, rising; returns how many: classes - 1, or fewer where there are
 * fewer distinct values. A class never splits equal values. Of partitions with the same sum the
 * one with the lowest breaks is taken, the highest break first. gvf: goodness of variance fit,
 * 1 where all values are equal.
 */
size_t jenks_breaks(struct jenks *j, double *break_at, double *gvf, const double *sorted,
                    size_t count, size_t classes);

#endif
