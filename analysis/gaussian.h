/*
 * A normal distribution through the significances of a layer (Eq. 6), and how well it fits.
 */
#ifndef MOQA_ANALYSIS_GAUSSIAN_H
#define MOQA_ANALYSIS_GAUSSIAN_H

#include <stdbool.h>
#include <stddef.h>

enum { GAUSSIAN_AD_MIN = 8 }; /* fewer values say nothing about their distribution */

/* Mean and standard deviation of the population. Equal values: exactly their value and 0. */
void gaussian_moments(double *mu, double *sigma, const double *values, size_t count);

/*
 * Anderson-Darling A* = A^2 (1 + 0.75/N + 2.25/N^2) with estimated mean and (N-1) deviation, and
 * its p by D'Agostino and Stephens. `sorted` rises. False for fewer than GAUSSIAN_AD_MIN values
 * or equal ones.
 */
bool gaussian_anderson_darling(double *statistic, double *p, const double *sorted, size_t count);

#endif
