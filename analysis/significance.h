/*
 * Significance of experts (Eq. 3 to 5): which types are an expert's own, and their share of R.
 */
#ifndef MOQA_ANALYSIS_SIGNIFICANCE_H
#define MOQA_ANALYSIS_SIGNIFICANCE_H

#include "analysis/counts.h"

/*
 * The member types A_e of a mapping as rows of `counts`: types: count >= min_count; majority:
 * among the K experts that got most; occurrences and gate: every type that was routed to the
 * expert. `room`: [blocks][width], used unless the rows exist already; the result is borrowed.
 */
const uint8_t *significance_members(uint8_t *room, const struct counts *c, int mapping,
                                    size_t min_count);

/* Equal for choices that have the same members. */
size_t significance_members_key(int mapping, size_t min_count);

/*
 * significance[column] = S_e. types and majority: sum of R over A_e / sum of R over all types;
 * occurrences: over positions, in both; gate: positions weighted by the gate value, divided by
 * the sum over all positions and experts of the layer. A layer to which nothing is routed has
 * S = 0. weight: R by type, [blocks * 8], zero beyond the types.
 */
void significance_apply(double *significance, const struct counts *c, const struct ranks *r,
                        int mapping, const uint8_t *members, const double *weight);

#endif
