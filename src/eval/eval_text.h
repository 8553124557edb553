/*
 * Which text an evaluation is of. Perplexities are comparable on the same tokens alone: another
 * file, another order of the files or another tokenizer is another text.
 */
#ifndef MOQA_SRC_EVAL_EVAL_TEXT_H
#define MOQA_SRC_EVAL_EVAL_TEXT_H

#include "data/base/err.h"
#include "data/base/hash.h"

enum { EVAL_TEXT_NAME_MAX = 64 };

struct eval_text {
    char name[EVAL_TEXT_NAME_MAX]; /* "letters-1.txt", "letters-1.txt +2"; sanitized; "": unknown */
    char sha256[HASH_HEX_SIZE];    /* eval_text_hash(); "": unknown */
};

/* Over the sizes and bytes of the model's tokenizer.json, if it has one, and of the texts, in
 * their order. */
ERR_CHECK int eval_text_hash(char out[HASH_HEX_SIZE], const char *model_dir,
                             const char *const *texts, size_t count, struct err *err);
/* The hash, and the first file's name with the number of those behind it. */
ERR_CHECK int eval_text_read(struct eval_text *out, const char *model_dir, const char *const *texts,
                             size_t count, struct err *err);

#endif
