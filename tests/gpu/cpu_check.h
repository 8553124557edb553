/* Inputs, tensors and comparisons for tests of the CPU backend. */
#ifndef MOQA_TESTS_GPU_CPU_CHECK_H
#define MOQA_TESTS_GPU_CPU_CHECK_H

#include "gpu/backend.h"

/* Uniform in -scale .. scale; the same for the same seed. Freed by free(). */
float *check_floats(uint64_t seed, size_t count, double scale);
uint32_t check_random(uint64_t *state, uint32_t below);

/* A float32 tensor with these values, or with NaN everywhere. */
struct tensor *check_put(struct backend *b, size_t rows, size_t columns, const float *values);
struct tensor *check_poisoned(struct backend *b, size_t rows, size_t columns);

/* The first `rows` rows to `out`, and asserts that all further rows are still NaN; frees t. */
void check_take(struct backend *b, struct tensor *t, size_t rows, size_t columns, float *out);

/*
 * Runs `op` with 1, 2 and 3 threads. Its `count` results must be the same bytes each time and lie
 * within tolerance * (1 + |reference|) of the reference.
 */
typedef void (*check_op)(struct backend *b, float *out);
void check_run(check_op op, size_t count, const double *reference, double tolerance);

/* Groups for tokens that choose top_k of `experts` at random, never expert `unused`. */
void check_groups(struct backend_groups *g, size_t tokens, size_t experts, size_t top_k,
                  size_t unused, uint64_t seed);

#endif
