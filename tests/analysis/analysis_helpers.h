/* Seeded numbers and small traces for the tests of this folder. */
#ifndef MOQA_TESTS_ANALYSIS_HELPERS_H
#define MOQA_TESTS_ANALYSIS_HELPERS_H

#include "data/losses.h"
#include "data/model_config.h"
#include "data/trace.h"

/* 0 <= x < 1: the top 53 bits of x <- 6364136223846793005 x + 1442695040888963407 mod 2^64. */
double helper_uniform(uint64_t *state);

/* A trace of random routing: types with skewed counts, experts with skewed popularity, a slot in
 * `holes` of a hundred not routed. Released by trace_release(). */
void helper_trace(struct trace *out, size_t layers, size_t experts, size_t top_k, size_t positions,
                  size_t vocab, unsigned holes, bool gates, uint64_t seed);

/* Complete losses at 2, 3, 4 and 8 bits for a model's shape, over four decades, mostly falling
 * with the width; sensitivities differ by layer. Released by losses_release(). */
void helper_losses(struct losses *out, const struct model_config *config, size_t group_size,
                   uint64_t seed);
/* Three shares of channels for them, up to a quarter, at all widths below 8; they lose less the
 * more inputs they are. */
void helper_channels(struct losses *out, uint64_t seed);

#endif
