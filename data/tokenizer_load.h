/*
 * Inside of the tokenizer: what reads tokenizer.json. tokenizer_load.c reads vocabulary, merges
 * and added tokens, tokenizer_steps.c normalizer and pre-tokenizer, tokenizer_pattern.c compiles
 * a pattern.
 */
#ifndef MOQA_DATA_TOKENIZER_LOAD_H
#define MOQA_DATA_TOKENIZER_LOAD_H

#include "data/base/jsonio.h"
#include "data/tokenizer_parts.h"

struct tokenizer_loader {
    struct tokenizer *t;
    bool byte_level; /* the pre-tokenizer that makes bytes was seen */
    struct err *err;
};

/* Records an error in the tokenizer's file; returns `code`. */
int tokenizer_refuse(struct tokenizer_loader *l, enum err_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* NULL and null: none. */
ERR_CHECK int tokenizer_load_normalizer(struct tokenizer_loader *l, json_t *node);
ERR_CHECK int tokenizer_load_pretokenizer(struct tokenizer_loader *l, json_t *node);

/*
 * Compiles a pattern of the reference's dialect (Oniguruma with Ruby's syntax), or a literal text.
 * What the two dialects read alike is passed on, classes that differ are spelled out, and what is
 * left is refused by name: \b \B \G \K \R \X, back references, groups other than (?: (?= (?!
 * (?> (?< and (?i:, sets in sets, && in sets, possessive and optional intervals.
 */
ERR_CHECK int tokenizer_compile(pcre2_code **out, const char *pattern, bool literal,
                                const char *file, struct err *err);

#endif
