/*
 * How far a model's output is from the original's: the Kullback-Leibler divergence of the next
 * token's distribution, of every position of non-overlapping windows (docs/method.md,
 * "Evaluation"). Of what a text happens to say it asks nothing, so that it tells models apart on
 * much less text than perplexity does.
 */
#ifndef MOQA_SRC_EVAL_DIVERGENCE_H
#define MOQA_SRC_EVAL_DIVERGENCE_H

#include "data/base/parallel.h"
#include "src/model/model.h"
#include "src/progress.h"

/* out[rows]: sum p (ln p - ln q) of the distributions that two sets of logits, [rows][vocab],
 * stand for; p is the original's. pool may be NULL. */
void divergence_rows(double *out, const float *original, const float *other, size_t rows,
                     size_t vocab, struct parallel *pool);

struct divergence {
    double mean;  /* a position, natural logarithm */
    double error; /* standard error of the mean, over windows; 0: a single one */
    size_t windows, window;
    double seconds;
};

/* The arguments are perplexity_run()'s; ERR_INPUT for models of different vocabularies. */
ERR_CHECK int divergence_run(struct divergence *out, const struct model *m,
                             const struct model *original, struct backend *b, const uint32_t *ids,
                             size_t tokens, size_t window, size_t max_windows,
                             struct progress *progress, struct err *err);

#endif
