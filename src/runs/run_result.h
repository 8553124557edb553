/*
 * What is known of a run: what it was made from, how large it is, and every evaluation of it. A
 * small file in its folder (docs/formats.md, "Result"), which stays when the weights are removed.
 */
#ifndef MOQA_SRC_RUNS_RUN_RESULT_H
#define MOQA_SRC_RUNS_RUN_RESULT_H

#include "data/base/hash.h"
#include "src/eval/divergence.h"
#include "src/eval/eval_text.h"
#include "src/eval/perplexity.h"
#include "src/eval/task.h"

#define RUN_RESULT_FILE "moqa_result.json"

struct run_result_text {
    struct eval_text text;
    struct perplexity perplexity;
    bool has_divergence; /* from the original; records of older versions have none */
    struct divergence divergence;
};

struct run_result_task {
    char name[32];
    char sha256[HASH_HEX_SIZE]; /* of its file */
    size_t questions;
    double acc;
    bool has_norm;
    double acc_norm;
    double seconds;
};

struct run_result {
    char key[HASH_HEX_SIZE];     /* of what it was made from */
    char program[HASH_HEX_SIZE]; /* the moqa that made it: of its file */
    char method[64];
    double nominal_bits, effective_bits;
    uint64_t bytes;         /* of its safetensors files */
    uint64_t experts_bytes; /* of its routed and shared experts */
    bool has_seconds;       /* false: the pass was interrupted, or nothing was quantized */
    double seconds;         /* of the pass */
    struct run_result_text *text;
    size_t texts, texts_capacity;
    struct run_result_task *task;
    size_t tasks, tasks_capacity;
};

void run_result_release(struct run_result *r);

/* The evaluation on a text over so many windows of this length, or NULL. */
const struct perplexity *run_result_text(const struct run_result *r, const char *sha256,
                                         size_t window, size_t windows);
/* Of the same, or NULL where it was not measured. */
const struct divergence *run_result_divergence(const struct run_result *r, const char *sha256,
                                               size_t window, size_t windows);
const struct run_result_task *run_result_task(const struct run_result *r, const char *name,
                                              const char *sha256);
ERR_CHECK int run_result_add_text(struct run_result *r, const struct eval_text *text,
                                  const struct perplexity *p, struct err *err);
/* To the evaluation on this text, which has to be there, over d's windows. */
void run_result_set_divergence(struct run_result *r, const char *sha256,
                               const struct divergence *d);
ERR_CHECK int run_result_add_task(struct run_result *r, const char *sha256, const struct task *t,
                                  struct err *err);

/* Of a run's folder. On failure *out is released. */
ERR_CHECK int run_result_load(struct run_result *out, const char *dir, struct err *err);
ERR_CHECK int run_result_save(const struct run_result *r, const char *dir, struct err *err);

#endif
