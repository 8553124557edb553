/*
 * Which input channels of a linear get more bits (Eq. 9): the p largest scores, ties by smaller
 * channel. docs/method.md, "Strategy".
 *     error    H_jj * (squared error of column j at the expert's bits - at the channel bits)
 *     hessian  H_jj
 *     awq      mean |x_j|
 */
#ifndef MOQA_SRC_QUANT_CHANNELS_H
#define MOQA_SRC_QUANT_CHANNELS_H

#include "data/settings.h"
#include "src/quant/grid.h"

struct channels_input {
    enum setting_channel_score score;
    const struct grid_rule *rule;
    unsigned bits, channel_bits;
    const float *weights; /* [rows][columns] */
    size_t rows, columns;
    const double *diagonal;      /* [columns] of H, undamped */
    const double *mean_absolute; /* [columns], SCORE_AWQ only */
};

/* score: [columns] */
ERR_CHECK int channels_score(double *score, const struct channels_input *in, struct err *err);

/* index: [count], filled in rising order. NaN scores count as the smallest. */
ERR_CHECK int channels_pick(uint32_t *index, size_t count, const double *score, size_t columns,
                            struct err *err);

#endif
