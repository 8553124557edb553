/* Texts to token ids: several files joined in the order given, then encoded as one string. An HDF5
 * file, a trace most likely, is refused: its bytes would pass for a text. */
#ifndef MOQA_SRC_MODEL_TEXTS_H
#define MOQA_SRC_MODEL_TEXTS_H

#include "data/tokenizer.h"

ERR_CHECK int texts_encode(struct token_ids *out, const struct tokenizer *t,
                           const char *const *paths, size_t count, struct err *err);

#endif
