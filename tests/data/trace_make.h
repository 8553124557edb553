/* Traces for tests: random but valid, and compared field by field. */
#ifndef MOQA_TESTS_DATA_TRACE_MAKE_H
#define MOQA_TESTS_DATA_TRACE_MAKE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/trace.h"

/* xorshift64*, so that a test's data do not depend on the C library. */
uint64_t trace_make_random(uint64_t *state);

/* A valid trace with distinct random experts, some slots not routed where `holes`, a vocabulary
 * of random bytes, and the sizes given; released by trace_release(). Fails the test on error. */
void trace_make(struct trace *out, size_t layers, size_t positions, size_t experts, size_t top_k,
                bool gates, bool holes, uint64_t seed);

/* Fails the test at the first difference. */
void trace_make_assert_equal(const struct trace *a, const struct trace *b);

#endif
