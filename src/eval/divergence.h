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

/*
 * The original's hidden states behind all layers: the same for every model that is set against it
 * on the same windows, so that the second one and those after it need not run it. They are kept
 * where they take at most `most` bytes.
 */
struct divergence_kept {
    uint64_t most;
    float *hidden;  /* [windows * window][hidden size]; owned; NULL: nothing is kept */
    size_t windows; /* that are known, from the first on */
};
void divergence_kept_release(struct divergence_kept *k);

/* The arguments are perplexity_run()'s; kept: of these windows, or NULL. ERR_INPUT for models of
 * different vocabularies, ERR_NUMERIC for a divergence that is no number. */
ERR_CHECK int divergence_run(struct divergence *out, const struct model *m,
                             const struct model *original, struct divergence_kept *kept,
                             struct backend *b, const uint32_t *ids, size_t tokens, size_t window,
                             size_t max_windows, struct progress *progress, struct err *err);

#endif
