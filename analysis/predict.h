/*
 * What a plan may be expected to lose, before any weight has been looked at: docs/method.md,
 * "Predicted loss". Good for comparing plans of one trace while sliders move; for a decision
 * between close plans, measured losses or an evaluation are needed.
 */
#ifndef MOQA_ANALYSIS_PREDICT_H
#define MOQA_ANALYSIS_PREDICT_H

#include "data/model_config.h"
#include "data/plan.h"

/* Mean squared error of round-to-nearest on a grid of 2^bits evenly spaced values, against that of
 * 4 bits on the same range: (15 / (2^bits - 1))^2. 16 bits and more: 0. */
double predict_error(unsigned bits);

/* Mean over the MoE layers of sum_e S_e E_e / sum_e S_e, where S is the significance that the plan
 * was made from and E_e the error of expert e's weights: that of each linear, by its number of
 * weights, and of channels at their own width. 1: every routed expert at 4 bits. A layer whose
 * significance is 0 counts its experts alike. */
double predict_plan_loss(const struct plan *p, const struct model_config *config);

#endif
