/* Seeded numbers and small traces for the tests of this folder. */
#ifndef MOQA_TESTS_ANALYSIS_HELPERS_H
#define MOQA_TESTS_ANALYSIS_HELPERS_H

#include "data/trace.h"

/* 0 <= x < 1: the top 53 bits of x <- 6364136223846793005 x + 1442695040888963407 mod 2^64. */
double helper_uniform(uint64_t *state);

/* A trace of random routing: types with skewed counts, experts with skewed popularity, a slot in
 * `holes` of a hundred not routed. Released by trace_release(). */
void helper_trace(struct trace *out, size_t layers, size_t experts, size_t top_k, size_t positions,
                  size_t vocab, unsigned holes, bool gates, uint64_t seed);

#endif
