#include "analysis/partition.h"

#include <math.h>
#include <string.h>

#include <gsl/gsl_sort_double.h>

#include "analysis/gaussian.h"

struct range {
    double min, max, sum;
};

static double norm_max(double s, const struct range *r)
{
    return r->max > 0 ? s / r->max : 0;
}

static double norm_minmax(double s, const struct range *r)
{
    if (r->max > r->min)
        return (s - r->min) / (r->max - r->min);
    return r->max > 0 ? 1 : 0;
}

static double norm_sum(double s, const struct range *r)
{
    return r->sum > 0 ? s / r->sum : 0;
}

static double (*const norms[])(double, const struct range *) = {
    [NORM_MAX] = norm_max,
    [NORM_MINMAX] = norm_minmax,
    [NORM_SUM] = norm_sum,
};

void partition_channels(double *share, const double *significance, const size_t *group,
                        size_t experts, int norm, double beta_ch)
{
    struct range range = {HUGE_VAL, 0, 0};
    for (size_t e = 0; e < experts; e++) {
        if (group[e] != 1)
            continue;
        range.min = fmin(range.min, significance[e]);
        range.max = fmax(range.max, significance[e]);
        range.sum += significance[e];
    }
    for (size_t e = 0; e < experts; e++)
        share[e] = group[e] == 1 ? beta_ch * norms[norm](significance[e], &range) : 0;
}

/* Group 1 is the highest class: one more for every break that the value does not exceed. */
static size_t jenks_group(const struct analysis_layer *l, double value)
{
    size_t group = 1;
    for (size_t b = 0; b < l->breaks; b++)
        group += value <= l->break_at[b];
    return group;
}

static void choose_rule(struct analysis_layer *l, size_t index, const struct settings *s)
{
    bool own = index < SETTINGS_LAYERS_MAX;
    double variation = l->mu > 0 ? l->sigma / l->mu : 0;
    l->pattern = variation >= s->pattern_cv ? 1 : 2;
    l->rule = own && s->layer[index].has_rule ? s->layer[index].rule : s->rule;
    if (l->rule == RULE_AUTO)
        l->rule = l->pattern == 1 ? RULE_THRESHOLD : RULE_JENKS;
    if (own && s->layer[index].has_threshold)
        l->threshold = s->layer[index].threshold;
    else if (s->threshold.given)
        l->threshold = s->threshold.value;
    else
        l->threshold = l->mu + s->threshold_sigmas * l->sigma;
}

void partition_layer(struct analysis_layer *l, size_t index, size_t experts,
                     const struct settings *s, struct jenks *jenks, double *sorted)
{
    memcpy(sorted, l->significance, experts * sizeof *sorted);
    gsl_sort(sorted, 1, experts); /* in place; qsort() may allocate */
    gaussian_moments(&l->mu, &l->sigma, l->significance, experts);
    l->anderson_darling_valid =
        gaussian_anderson_darling(&l->anderson_darling, &l->anderson_darling_p, sorted, experts);
    l->breaks = jenks_breaks(jenks, l->break_at, &l->gvf, sorted, experts, s->classes);
    choose_rule(l, index, s);
    for (size_t e = 0; e < experts; e++) {
        double value = l->significance[e];
        if (l->rule == RULE_THRESHOLD)
            l->group[e] = value >= l->threshold ? 1 : 2;
        else
            l->group[e] = jenks_group(l, value);
    }
    partition_channels(l->channel_share, l->significance, l->group, experts, s->norm, s->beta_ch);
}
