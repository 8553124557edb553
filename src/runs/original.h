/*
 * The original model's perplexity: what every run is compared with. It is measured once for a
 * text and a window and kept in a small file beside the runs (docs/formats.md, "Original"), under
 * the checkpoint's fingerprint, the texts' hash and the window.
 */
#ifndef MOQA_SRC_RUNS_ORIGINAL_H
#define MOQA_SRC_RUNS_ORIGINAL_H

#include "data/base/hash.h"
#include "src/eval/eval_text.h"
#include "src/eval/perplexity.h"
#include "src/progress.h"

/* What is known of a model without running it. */
struct original_model {
    char name[256]; /* its folder's */
    char config_sha256[HASH_HEX_SIZE];
    char checkpoint[HASH_HEX_SIZE]; /* checkpoint_fingerprint() */
    double bits;                    /* of a weight as it is stored */
    uint64_t bytes;                 /* of its safetensors files */
};

struct original {
    struct original_model model;
    struct eval_text text;
    struct perplexity perplexity;
};

ERR_CHECK int original_model_read(struct original_model *out, const char *dir, struct err *err);

/* True for the name of a record: "original-1a2b3c4d.json". */
bool original_is_record(const char *name);
/* Into `dir`, under a name made from the key. */
ERR_CHECK int original_save(const struct original *o, const char *dir, struct err *err);
ERR_CHECK int original_load(struct original *out, const char *path, struct err *err);

struct original_request {
    const char *model_dir;
    const char *runs_dir; /* made when it is missing */
    const char *const *texts;
    size_t texts_count; /* at least 1 */
    size_t window;      /* as a job takes it: a trace's own, 0: the default */
    size_t threads;
    struct progress *progress;
};

/* Reads the record if there is one. */
ERR_CHECK int original_find(struct original *out, bool *found, const struct original_request *r,
                            struct err *err);
/* The same, or measures and writes it. */
ERR_CHECK int original_measure(struct original *out, const struct original_request *r,
                               struct err *err);

#endif
