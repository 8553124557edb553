/*
 * tokenizer.json of byte-level BPE tokenizers (GPT-NeoX/OLMo and Qwen2 style): normalizer,
 * pre-tokenizer patterns, added tokens, merges as strings or as pairs. What it does not know it
 * refuses by name. Encoding and decoding equal the tokenizers library's, without special tokens
 * being added.
 *
 * normalizer       NFC, NFD, NFKC, NFKD, a Sequence of them, or none; by Unicode 9, as the library
 * pre_tokenizer    Split (Regex or String, each behavior, invert), Digits, ByteLevel (last), or a
 *                  Sequence of them
 * model            BPE with dropout, unk_token, byte_fallback and affixes off; ignore_merges; a
 *                  byte without a token is left out
 * added_tokens     with all flags; the id in the file counts, unused ids in between are allowed,
 *                  an id of two texts or a text of two ids is refused
 * decoder          ByteLevel or none
 * post_processor   of any type: it would only add special tokens. truncation and padding are
 *                  passed over: texts are neither cut nor filled here
 */
#ifndef MOQA_DATA_TOKENIZER_H
#define MOQA_DATA_TOKENIZER_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"

struct tokenizer;

/* Errors: ERR_INPUT for a malformed file, ERR_UNSUPPORTED for a part named in the message. */
ERR_CHECK int tokenizer_load(struct tokenizer **out, const char *path, struct err *err);
void tokenizer_free(struct tokenizer *t);

size_t tokenizer_vocab(const struct tokenizer *t);       /* highest id + 1 */
const char *tokenizer_sha256(const struct tokenizer *t); /* of the file's bytes */

/* Appends the ids of `text` (UTF-8; invalid bytes become U+FFFD as the reference does) to *ids,
 * which grows; start with {NULL, 0, 0}. Added tokens inside the text are recognised. On an error
 * (a pattern that takes too many steps on this text: ERR_INPUT) the ids are as before. */
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

/* Raw bytes of one token (may be part of a UTF-8 sequence), of an added token its content (in
 * normal form where the token is "normalized", as the library has it); false for an unused id.
 * Borrowed. */
int tokenizer_token_bytes(const struct tokenizer *t, uint32_t id, const uint8_t **bytes,
                          size_t *size);

#endif
