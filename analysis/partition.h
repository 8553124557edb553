/*
 * The strategy for one layer (Eq. 7 to 9): pattern, threshold, Jenks breaks, groups and the share
 * of channels, from its significances.
 */
#ifndef MOQA_ANALYSIS_PARTITION_H
#define MOQA_ANALYSIS_PARTITION_H

#include "analysis/analysis.h"
#include "analysis/jenks.h"

/*
 * Fills everything of `out` but layer, significance (read), interval and tokens. `index`: among
 * the layers of the trace, for the settings' overrides. `sorted`: room for `experts` doubles.
 *
 * A layer without significance (mu = 0) has the coefficient of variation 0. Fewer distinct values
 * than classes: the groups are counted from the highest, so equal significances are all group 1
 * under either rule.
 */
void partition_layer(struct analysis_layer *out, size_t index, size_t experts,
                     const struct settings *s, struct jenks *jenks, double *sorted);

/* channel_share[e] = beta_ch * norm(S_e) in group 1, else 0 (Eq. 9). Where the highest group's
 * values are equal, minmax gives 1; a group whose significances are all 0 gives 0. */
void partition_channels(double *share, const double *significance, const size_t *group,
                        size_t experts, int norm, double beta_ch);

#endif
