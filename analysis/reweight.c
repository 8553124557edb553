#include "analysis/reweight.h"

#include <math.h>

static const struct {
    double constant, alpha;
} exponents[] = {
    [REWEIGHT_INVERSE] = {0, -1},
    [REWEIGHT_PRODUCT] = {1, -1},
    [REWEIGHT_STEEP] = {1, 1},
    [REWEIGHT_UNIFORM] = {0, 0},
};

double reweight_exponent(int kind, double alpha)
{
    return exponents[kind].constant + exponents[kind].alpha * alpha;
}

void reweight_apply(double *utilization, double *reweighted, const double *log_d, size_t top_k,
                    const struct settings *s, const struct ranks *r)
{
    const double *log_density = s->utilization == UTILIZATION_FIT ? log_d : r->log_frequency;
    double log_k = log((double)top_k), power = reweight_exponent(s->reweight, s->alpha);
    for (size_t t = 0; t < r->types; t++) {
        double log_u = log_k + log_density[t];
        utilization[t] = exp(log_u);
        reweighted[t] = exp(power * log_u);
    }
}

enum analysis_direction reweight_direction(const double *reweighted, size_t types)
{
    double first = reweighted[0], last = reweighted[types - 1];
    return last > first ? DIRECTION_RISES : last < first ? DIRECTION_FALLS : DIRECTION_FLAT;
}

void reweight_share(double share[3], const double *reweighted, size_t types)
{
    double sum[3] = {0, 0, 0};
    for (size_t t = 0; t < types; t++) {
        /* 3 ln r / ln T >= k is r^3 >= T^k: exact in integers, where logarithms would round. */
        unsigned __int128 rank = t + 1, cube = rank * rank * rank;
        size_t third = (cube >= types) + (cube >= (unsigned __int128)types * types);
        sum[rank == types ? 2 : third] += reweighted[t];
    }
    double total = sum[0] + sum[1] + sum[2];
    for (size_t i = 0; i < 3; i++)
        share[i] = sum[i] / total;
}
