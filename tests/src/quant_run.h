/* Models, plans and whole passes for the tests of src/quant. */
#ifndef MOQA_TESTS_SRC_QUANT_RUN_H
#define MOQA_TESTS_SRC_QUANT_RUN_H

#include "data/trace.h"
#include "src/quant/pass.h"

/* A model with its golden trace as calibration. */
struct quant_run {
    struct model model;
    struct trace trace;
    struct backend *backend;
    struct plan plan;
    size_t *starts;
    struct pass_options options;
    char folder[64]; /* fresh, removed by quant_run_close() */
    char out[96];    /* folder/out */
};

/* name: "tiny-olmoe" or "tiny-qwen2moe". windows: of 256 tokens, 0: all 64 of the trace. The plan
 * is `method`'s with group_size 64; options are complete, precision fp64. */
void quant_run_open(struct quant_run *r, const char *name, const char *method, size_t windows,
                    size_t threads);
void quant_run_close(struct quant_run *r);

/* Another plan for the same model; settings in text, "name=value,name=value", may be NULL. */
void quant_run_plan(struct quant_run *r, const char *method, const char *settings);

/* The whole pass; fails the test on an error. */
void quant_run_pass(struct quant_run *r);
/* Its return code, for passes that shall fail. */
int quant_run_try(struct quant_run *r, struct err *err);

/* A copy of the model's folder that can be changed. */
void quant_run_copy_model(char out[128], const struct quant_run *r);
/* r->model becomes such a copy with other two bytes at [row][column] of a tensor; the caller keeps
 * the original, releases the copy and puts the original back. */
void quant_run_patch(struct quant_run *r, const char *tensor, size_t row, size_t column,
                     uint16_t value);

/* One hash over names and bytes of all files in a folder. */
void quant_run_hash(char out[HASH_HEX_SIZE], const char *folder);
void quant_run_remove(const char *folder);

/* Perplexity of a checkpoint folder on files joined; at most max_windows windows of 256, 0: all. */
double quant_run_perplexity(struct backend *b, const char *folder, const char *const *texts,
                            size_t count, size_t max_windows);

#endif
