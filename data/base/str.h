/*
 * A growing string. `{0}` is a valid empty one. A failed append is remembered: appends become
 * no-ops and str_ok() tells it once at the end, so that builders need no check at each step.
 */
#ifndef MOQA_DATA_BASE_STR_H
#define MOQA_DATA_BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

struct str {
    char *data; /* NUL-terminated once anything was appended, else NULL */
    size_t length;
    size_t capacity;
    bool failed;
};

void str_append(struct str *s, const char *text);
void str_append_bytes(struct str *s, const void *bytes, size_t count);
void str_appendf(struct str *s, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *str_get(const struct str *s); /* never NULL */
ERR_CHECK int str_ok(const struct str *s, struct err *err);
void str_clear(struct str *s); /* empties, keeps the memory */
void str_release(struct str *s);

/* "12.3 MiB", "1.50 GiB". */
void str_bytes(char *out, size_t size, uint64_t bytes);

/* "dir/name" as a new string, freed by free(). */
char *str_path(const char *dir, const char *name, struct err *err);

/* Reads a whole file of at most `limit` bytes. The buffer is NUL-terminated after `*size` bytes. */
ERR_CHECK int str_read_file(char **out, size_t *size, const char *path, size_t limit,
                            struct err *err);

#endif
