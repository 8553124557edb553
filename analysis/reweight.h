/*
 * Utilization U(r) = K D(r) (Eq. 1) and its re-weighting R = W(U) (Eq. 2): every kind is a power
 * of U, so R rises or falls with rank according to the power's sign.
 */
#ifndef MOQA_ANALYSIS_REWEIGHT_H
#define MOQA_ANALYSIS_REWEIGHT_H

#include "analysis/analysis.h"
#include "analysis/ranks.h"

/* The exponent of U: inverse -alpha, product 1 - alpha, steep 1 + alpha, uniform 0. */
double reweight_exponent(int kind, double alpha);

/* utilization[T], reweighted[T]. log_d: ln D(r) of the fit, used unless the settings say
 * empirical. */
void reweight_apply(double *utilization, double *reweighted, const double *log_d, size_t top_k,
                    const struct settings *s, const struct ranks *r);

enum analysis_direction reweight_direction(const double *reweighted, size_t types);

/* Share of the sum of R in the ranks with floor(3 ln r / ln T) = 0, 1, 2; the last rank counts
 * to 2, also where it is the only one. */
void reweight_share(double share[3], const double *reweighted, size_t types);

#endif
