/* Perplexity over non-overlapping windows of one token stream (docs/method.md, "Evaluation"). */
#ifndef MOQA_SRC_EVAL_PERPLEXITY_H
#define MOQA_SRC_EVAL_PERPLEXITY_H

#include "src/model/model.h"
#include "src/progress.h"

struct perplexity {
    double value;  /* exp(nll / predicted) */
    double nll;    /* sum, natural log */
    size_t tokens; /* in the text */
    size_t windows;
    size_t window;
    size_t predicted; /* windows * (window - 1) */
    double seconds;
};

/* At most `max_windows` windows from the start (0: all). Windows go through the model in batches
 * of bounded memory; `window_nll` [windows], if not NULL, gets each window's sum. */
ERR_CHECK int perplexity_run(struct perplexity *out, const struct model *m, struct backend *b,
                             const uint32_t *ids, size_t tokens, size_t window, size_t max_windows,
                             double *window_nll, struct progress *progress, struct err *err);

#endif
