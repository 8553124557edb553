/*
 * Log-likelihood of a continuation after a context, with the tokenization rule of
 * lm-evaluation-harness 0.4.13: white space at the end of the context moves to the front of the
 * continuation; both are encoded as one string, the context alone as another, and the
 * continuation's tokens are what is left of the first after as many tokens as the second has. No
 * token is put in front. An empty context is the model's BOS token, or its EOS if it has none.
 */
#ifndef MOQA_SRC_EVAL_LOGLIKELIHOOD_H
#define MOQA_SRC_EVAL_LOGLIKELIHOOD_H

#include "src/model/model.h"
#include "src/progress.h"

struct loglikelihood_pair {
    const char *context, *continuation; /* UTF-8 */
};

struct loglikelihood {
    double value;  /* natural log, summed over the continuation's tokens */
    size_t tokens; /* of the continuation that counted */
};

/*
 * out[i] of pairs[i]. Of a pair that is longer than the model's context the last max_positions + 1
 * tokens count. ERR_INPUT names the pair (from 0) whose continuation has no token of its own, whose
 * context is white space alone, or whose context is empty where the model has neither BOS nor EOS.
 */
ERR_CHECK int loglikelihood_run(struct loglikelihood *out, const struct model *m, struct backend *b,
                                const struct loglikelihood_pair *pairs, size_t count,
                                struct progress *progress, struct err *err);

#endif
