/* How alike two orders are. */
#ifndef MOQA_ANALYSIS_CORRELATION_H
#define MOQA_ANALYSIS_CORRELATION_H

#include <stddef.h>

#include "data/base/err.h"

/* Spearman's rank correlation of x and y, [n]; equal values share the mean of their ranks. NaN for
 * fewer than 3 pairs, or where all of x or all of y are equal. */
ERR_CHECK int correlation_ranks(double *out, const double *x, const double *y, size_t n,
                                struct err *err);

#endif
