#include "analysis/significance.h"

size_t significance_members_key(int mapping, size_t min_count)
{
    if (mapping == MAPPING_MAJORITY)
        return 0; /* no count: min_count is at least 1 */
    return mapping == MAPPING_TYPES ? min_count : 1;
}

const uint8_t *significance_members(uint8_t *room, const struct counts *c, int mapping,
                                    size_t min_count)
{
    if (mapping == MAPPING_MAJORITY)
        return c->majority;
    counts_members(room, c, significance_members_key(mapping, min_count));
    return room;
}

static void divide(double *values, size_t count, double by)
{
    for (size_t i = 0; i < count; i++)
        values[i] = by > 0 ? values[i] / by : 0;
}

static void apply_members(double *s, const struct counts *c, const struct ranks *r,
                          const uint8_t *members, const double *weight)
{
    double total = 0;
    for (size_t t = 0; t < r->types; t++)
        total += weight[t];
    counts_sum_members(s, c, members, weight);
    divide(s, c->columns, total);
}

static void apply_occurrences(double *s, const struct counts *c, const struct ranks *r,
                              const uint8_t *members, const double *weight)
{
    (void)members;
    double total = 0;
    for (size_t t = 0; t < r->types; t++)
        total += (double)r->count[t] * weight[t];
    counts_sum_occurrences(s, c, weight);
    divide(s, c->columns, total);
}

static void apply_gates(double *s, const struct counts *c, const struct ranks *r,
                        const uint8_t *members, const double *weight)
{
    (void)r;
    (void)members;
    counts_sum_gates(s, c, weight);
    for (size_t first = 0; first < c->columns; first += c->experts) {
        double total = 0;
        for (size_t e = 0; e < c->experts; e++)
            total += s[first + e];
        divide(s + first, c->experts, total);
    }
}

static void (*const kinds[])(double *, const struct counts *, const struct ranks *, const uint8_t *,
                             const double *) = {
    [MAPPING_TYPES] = apply_members,
    [MAPPING_MAJORITY] = apply_members,
    [MAPPING_OCCURRENCES] = apply_occurrences,
    [MAPPING_GATE] = apply_gates,
};

void significance_apply(double *significance, const struct counts *c, const struct ranks *r,
                        int mapping, const uint8_t *members, const double *weight)
{
    kinds[mapping](significance, c, r, members, weight);
}
