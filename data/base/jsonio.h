/*
 * Jansson with limits and with errors that name the file and the path of a value.
 * Getters report "layers[3].mu: found a string, expected a number".
 */
#ifndef MOQA_DATA_BASE_JSONIO_H
#define MOQA_DATA_BASE_JSONIO_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"
#include "data/base/str.h"

/* Parses a file of at most `limit` bytes; duplicate keys are errors. Freed by json_decref(). */
ERR_CHECK int jsonio_load(json_t **out, const char *path, size_t limit, struct err *err);

/* The same from memory; `name` stands for the file in messages. */
ERR_CHECK int jsonio_parse(json_t **out, const char *text, size_t size, const char *name,
                           struct err *err);

/* Appends the text of a file: indented, floats with 17 digits, keys in the order of insertion, a
 * final newline. `name` stands for the file in messages. */
ERR_CHECK int jsonio_write(struct str *out, const json_t *value, const char *name, struct err *err);
/* The same to a file, atomically (temporary file, fsync, rename). */
ERR_CHECK int jsonio_save(const json_t *value, const char *path, struct err *err);
/* hash_file() of what jsonio_save() would write; `name` stands for the file in messages. */
ERR_CHECK int jsonio_hash(char out[HASH_HEX_SIZE], const json_t *value, const char *name,
                          struct err *err);

/*
 * Names and messages may be any bytes, a string of JSON may not: those that are no UTF-8, and
 * backslashes before an x, are written as \xHH. NULL: no memory.
 */
json_t *jsonio_bytes(const char *text);
/* The same text as a key. */
void jsonio_escape(struct str *out, const char *text);
/* The bytes again, in place. */
void jsonio_unescape(char *text);

/* Where in a document we are, for messages: file and the path so far. */
struct jsonio_at {
    const char *file;
    const char *path; /* "" at the root, "layers[3]" below */
};

/* Required values of an object. Numbers: an integer is accepted where a real is wanted. */
ERR_CHECK int jsonio_object(json_t **out, const json_t *object, const char *key,
                            struct jsonio_at at, struct err *err);
ERR_CHECK int jsonio_array(json_t **out, const json_t *object, const char *key, struct jsonio_at at,
                           struct err *err);
ERR_CHECK int jsonio_string(const char **out, const json_t *object, const char *key,
                            struct jsonio_at at, struct err *err);
/* A copy in out[size], of bytes as jsonio_bytes() has them; one that does not fit is refused. */
ERR_CHECK int jsonio_text(char *out, size_t size, const json_t *object, const char *key,
                          struct jsonio_at at, struct err *err);
ERR_CHECK int jsonio_size(size_t *out, const json_t *object, const char *key, size_t max,
                          struct jsonio_at at, struct err *err);
ERR_CHECK int jsonio_real(double *out, const json_t *object, const char *key, struct jsonio_at at,
                          struct err *err);
ERR_CHECK int jsonio_bool(bool *out, const json_t *object, const char *key, struct jsonio_at at,
                          struct err *err);

/* True if the key is there and not null. */
bool jsonio_has(const json_t *object, const char *key);

/* Checks the keys "schema" and "schema_version": ERR_INPUT for another schema, ERR_UNSUPPORTED for
 * another version; both name found and expected. */
ERR_CHECK int jsonio_check_schema(const json_t *object, const char *schema, size_t version,
                                  const char *file, struct err *err);

#endif
