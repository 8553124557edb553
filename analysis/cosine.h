/*
 * Cosine similarity of experts (stage 3): gate, up and down weights of each flattened into one
 * vector. Accumulated slice by slice while weights stream by; fp64 sums.
 */
#ifndef MOQA_ANALYSIS_COSINE_H
#define MOQA_ANALYSIS_COSINE_H

#include <stdbool.h>
#include <stddef.h>

#include "data/base/err.h"

/* gram[i][j] += sum_k rows[i][k] * rows[j][k], [experts][experts]; rows: [experts] pointers to
 * `width` floats each. */
void cosine_add(double *gram, const float *const *rows, size_t experts, size_t width);

/* gram -> cosine in place; exactly symmetric, 1 on the diagonal, 0 for an expert that is all
 * zero. */
void cosine_finish(double *gram, size_t experts);

/* Eight (or `count`) experts at equal quantiles of S, rising (Fig. 5). */
ERR_CHECK int cosine_pick(size_t *out, size_t count, const double *significance, size_t experts,
                          struct err *err);

/* Pearson correlation of |S_i - S_j| and cosine over all pairs i < j; false if undefined. */
bool cosine_correlation(double *out, const double *cosine, const double *significance,
                        size_t experts);

#endif
