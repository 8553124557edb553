/*
 * Inside of the tokenizer, shared by its files: tokenizer_load.h builds it, tokenizer_text.c
 * normalizes, tokenizer_split.c cuts a text into words, tokenizer_bpe.c turns a word into ids,
 * tokenizer.c is what others call.
 */
#ifndef MOQA_DATA_TOKENIZER_PARTS_H
#define MOQA_DATA_TOKENIZER_PARTS_H

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/str.h"
#include "data/tokenizer.h"

#define TOKENIZER_NO_ID UINT32_MAX

enum { TOKENIZER_NORMALIZERS_MAX = 8, TOKENIZER_SPLITS_MAX = 16 };

struct tokenizer_token {
    bool used;
    bool added;          /* an added token: its bytes are its content, normalized where it is */
    size_t offset, size; /* raw bytes, in `bytes` */
};

/* A token that is found in the text before anything else is done to it. */
struct tokenizer_added {
    char *content; /* normalized where `normalized` */
    size_t size;
    uint32_t id;
    bool single_word, lstrip, rstrip, normalized;
};

struct tokenizer_merge {
    uint32_t left, right; /* TOKENIZER_NO_ID in `left`: an empty slot */
    uint32_t rank, id;
};

enum tokenizer_behavior {
    SPLIT_ISOLATED,
    SPLIT_REMOVED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
};

struct tokenizer_split {
    pcre2_code *pattern; /* NULL: no cut here, only prefix_space */
    enum tokenizer_behavior behavior;
    bool invert;
    bool prefix_space; /* a word that does not begin with a space gets one */
};

struct tokenizer {
    char *path;
    char sha256[HASH_HEX_SIZE];
    size_t vocab;                   /* highest id + 1 */
    struct tokenizer_token *tokens; /* [vocab] */
    struct str bytes;
    uint32_t byte_id[256]; /* token of a single byte; without one, the byte is left out */
    uint32_t *words;       /* hash of raw bytes -> id, TOKENIZER_NO_ID: empty slot */
    size_t words_mask;
    struct tokenizer_merge *merges; /* hash of (left, right) */
    size_t merges_mask;
    bool ignore_merges;
    int normalizers[TOKENIZER_NORMALIZERS_MAX]; /* options of utf8proc_map */
    size_t normalizers_count;
    struct tokenizer_split splits[TOKENIZER_SPLITS_MAX];
    size_t splits_count;
    struct tokenizer_added *added; /* by falling size, so that the longest is found first */
    size_t added_count;
    bool added_first[256]; /* bytes that an added token begins with */
};

uint32_t tokenizer_hash(const void *bytes, size_t size);
uint32_t tokenizer_hash_pair(uint32_t left, uint32_t right);

/* Token of exactly these raw bytes, or TOKENIZER_NO_ID. */
uint32_t tokenizer_find_word(const struct tokenizer *t, const uint8_t *bytes, size_t size);
/* NULL if the two do not merge. */
const struct tokenizer_merge *tokenizer_find_merge(const struct tokenizer *t, uint32_t left,
                                                   uint32_t right);

/* Appends the bytes that a text of the byte-level alphabet stands for. False if a character is
 * none of the alphabet: the text itself is then appended. */
bool tokenizer_append_raw(struct str *out, const char *text, size_t size);

/* Appends the UTF-8 text with each maximal invalid part replaced by U+FFFD. */
void tokenizer_append_lossy(struct str *out, const char *text, size_t size);

/* Applies the normalizers; the text must be valid UTF-8. */
ERR_CHECK int tokenizer_normalize(const struct tokenizer *t, struct str *out, const char *text,
                                  size_t size, struct err *err);

/* --- One run of encode(): scratch memory and what words gave before. --- */

struct tokenizer_run;
/* `size`: bytes of text to come; small texts are not worth a large memory of words. */
ERR_CHECK int tokenizer_run_new(struct tokenizer_run **out, const struct tokenizer *t, size_t size,
                                struct token_ids *ids, struct err *err);
void tokenizer_run_free(struct tokenizer_run *r);
/* Appends the ids of one word (raw bytes). */
ERR_CHECK int tokenizer_run_word(struct tokenizer_run *r, const char *word, size_t size,
                                 struct err *err);

ERR_CHECK int tokenizer_push(struct token_ids *ids, uint32_t id, struct err *err);

/* Cuts valid UTF-8 text at added tokens and patterns, and feeds the run with the words. */
ERR_CHECK int tokenizer_split_text(const struct tokenizer *t, struct tokenizer_run *r,
                                   struct token_ids *ids, const char *text, size_t size,
                                   struct err *err);

#endif
