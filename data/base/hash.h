/* SHA-256 as 64 lower-case hexadecimal digits. */
#ifndef MOQA_DATA_BASE_HASH_H
#define MOQA_DATA_BASE_HASH_H

#include <stddef.h>

#include "data/base/err.h"
#include "data/base/watch.h"

enum { HASH_HEX_SIZE = 65 }; /* with the NUL */

ERR_CHECK int hash_bytes(char out[HASH_HEX_SIZE], const void *bytes, size_t count, struct err *err);
ERR_CHECK int hash_file(char out[HASH_HEX_SIZE], const char *path, struct err *err);
/* The same, watched: tells WATCH_HASH, and gives ERR_CANCELLED when it is stopped. */
ERR_CHECK int hash_file_watched(char out[HASH_HEX_SIZE], const char *path,
                                const struct watch *watch, struct err *err);

/* In pieces. */
struct hash;
ERR_CHECK int hash_new(struct hash **out, struct err *err);
ERR_CHECK int hash_update(struct hash *h, const void *bytes, size_t count, struct err *err);
ERR_CHECK int hash_finish(struct hash *h, char out[HASH_HEX_SIZE], struct err *err);
void hash_free(struct hash *h);

#endif
