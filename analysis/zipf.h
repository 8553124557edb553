/*
 * Zipf's law D(r) = C r^-beta over the ranks r = 1 .. T (stage 1), and how well it fits.
 */
#ifndef MOQA_ANALYSIS_ZIPF_H
#define MOQA_ANALYSIS_ZIPF_H

#include "analysis/analysis.h"
#include "analysis/ranks.h"

/*
 * The two fits; they depend on the counts alone. beta is the maximum-likelihood exponent to full
 * double precision with C = 1/H_T(beta), or the slope of the least-squares line through
 * ln(n_r/n) over ln r with C from its intercept. One type, or types that all occur equally often,
 * have no slope: beta = 0 and C = 1/T.
 */
ERR_CHECK int zipf_fit_mle(double *beta, double *c, const struct ranks *r, struct err *err);
void zipf_fit_ols(double *beta, double *c, const struct ranks *r);

/* C = 1/H_T(beta), for an exponent set by hand. */
double zipf_constant(double beta, const struct ranks *r);

/* log_d[T] = ln D(r). */
void zipf_log_density(double *log_d, double beta, double c, const struct ranks *r);

/* r2 of ln D against ln(n_r/n) over all ranks, and the Kolmogorov-Smirnov distance of the two
 * cumulative sums. Equal counts leave no variance: r2 is 1 if D matches them, else 0. */
void zipf_quality(double *r2, double *ks, const double *log_d, const struct ranks *r);

#endif
