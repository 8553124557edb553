/*
 * tokenizer.json of byte-level BPE tokenizers (GPT-NeoX/OLMo and Qwen2 style): normalizer,
 * pre-tokenizer patterns, added tokens, merges as strings or as pairs. What it does not know it
 * refuses by name. Encoding and decoding equal the tokenizers library's, without special tokens
 * being added.
 */
#ifndef MOQA_DATA_TOKENIZER_H
#define MOQA_DATA_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"

struct tokenizer;

ERR_CHECK int tokenizer_load(struct tokenizer **out, const char *path, struct err *err);
void tokenizer_free(struct tokenizer *t);

size_t tokenizer_vocab(const struct tokenizer *t);       /* highest id + 1 */
const char *tokenizer_sha256(const struct tokenizer *t); /* of the file's bytes */

/* Appends the ids of `text` (UTF-8; invalid bytes become U+FFFD as the reference does) to *ids,
 * which grows; start with {NULL, 0, 0}. Added tokens inside the text are recognised. */
struct token_ids {
    uint32_t *data;
    size_t count;
    size_t capacity;
};
ERR_CHECK int tokenizer_encode(const struct tokenizer *t, const char *text, size_t size,
                               struct token_ids *ids, struct err *err);
void token_ids_release(struct token_ids *ids);

/* Decoded text, special tokens kept; NUL-terminated, freed by free(). */
ERR_CHECK int tokenizer_decode(const struct tokenizer *t, const uint32_t *ids, size_t count,
                               char **out, size_t *size, struct err *err);

/* Raw bytes of one token (may be part of a UTF-8 sequence); false for an unused id. Borrowed. */
int tokenizer_token_bytes(const struct tokenizer *t, uint32_t id, const uint8_t **bytes,
                          size_t *size);

#endif
