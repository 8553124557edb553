/*
 * Zero-shot tasks as lm-evaluation-harness 0.4.13 defines them (docs/method.md, "Evaluation"): a
 * question is a context and a few continuations; the model's choice is the likeliest one. The data
 * are JSON lines with the data sets' own published fields.
 */
#ifndef MOQA_SRC_EVAL_TASK_H
#define MOQA_SRC_EVAL_TASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "src/eval/loglikelihood.h"

struct task_choice {
    char *continuation;
    size_t characters; /* Unicode code points of the choice, the divisor of acc_norm */
    struct loglikelihood result;
};

struct task_item {
    char *context;
    struct task_choice *choices;
    size_t count;
    size_t right;
    size_t predicted, predicted_norm; /* filled by task_run(); the first of equals */
};

struct task_info {
    const char *name; /* "arc_easy" */
    const char *help; /* fields of a line */
    bool scored;      /* has a right choice; else only log-likelihoods are wanted */
    bool has_norm;    /* acc_norm is reported */
    bool has_f1;      /* the mean F1 over the labels is reported */
    ERR_CHECK int (*read)(struct task_item *item, const json_t *line, struct err *err);
};

/* arc_easy, arc_challenge, piqa, rte, copa, cb, and pairs (any context and continuation). */
size_t task_count(void);
const struct task_info *task_info(size_t i);
const struct task_info *task_find(const char *name); /* or NULL */

struct task {
    const struct task_info *info;
    struct task_item *items;
    size_t count;
    double acc, acc_error; /* standard error of the mean, sd / sqrt(n) with n - 1 */
    double acc_norm, acc_norm_error;
    double f1;
    double seconds;
};

/* ERR_INPUT names file, line, field, what was found and what was expected. Empty lines are passed
 * over. */
ERR_CHECK int task_load(struct task *out, const struct task_info *info, const char *path,
                        struct err *err);
void task_release(struct task *t);

/* Log-likelihoods and scores. */
ERR_CHECK int task_run(struct task *t, const struct model *m, struct backend *b,
                       struct progress *progress, struct err *err);

/* As `moqa eval --task --json` prints it (docs/formats.md); details: with every item. */
ERR_CHECK int task_json(json_t **out, const struct task *t, bool details, struct err *err);

#endif
