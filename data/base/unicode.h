/* The few properties of Unicode text that formats depend on, as Python's str has them. Invalid
 * UTF-8 counts byte by byte. */
#ifndef MOQA_DATA_BASE_UNICODE_H
#define MOQA_DATA_BASE_UNICODE_H

#include <stddef.h>

#include "data/base/str.h"

/* Code points. */
size_t unicode_length(const char *text);
/* Bytes of white space at the end and at the start of the first `size` bytes (str.isspace). */
size_t unicode_space_tail(const char *text, size_t size);
size_t unicode_space_head(const char *text, size_t size);
/* Bytes of the first and of the last code point; 0 for an empty text. */
size_t unicode_first(const char *text, size_t size);
size_t unicode_last(const char *text, size_t size);
/* Appends the text with its first code point in lower case (str.lower of that one). */
void unicode_append_lower_first(struct str *out, const char *text);

#endif
