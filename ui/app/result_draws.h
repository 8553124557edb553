/*
 * Draws of one method: runs that differ in nothing but the seed, so that their spread says which
 * differences between methods mean something.
 */
#ifndef MOQA_UI_APP_RESULT_DRAWS_H
#define MOQA_UI_APP_RESULT_DRAWS_H

#include "ui/app/app_host.h"

struct result_draws {
    size_t n;
    double mean, deviation; /* of the perplexities; deviation: of a sample, over n - 1 */
};

/* The draws that `x` is one of, with a perplexity on the text and windows of `on`. False where
 * fewer than two are known, or where two have one seed: then they differ in something else. */
bool result_draws(struct result_draws *out, const struct app_result *x,
                  const struct app_result *list, size_t n, const struct app_evaluation *on);

#endif
