/*
 * The one sanitizer before every sink (screen, stderr, log, report). Names, paths and tokens
 * that come from files may hold escapes, bidi overrides, invalid UTF-8 or combining marks that
 * break columns; what leaves here does not.
 */
#ifndef MOQA_DATA_BASE_SANITIZE_H
#define MOQA_DATA_BASE_SANITIZE_H

#include <stddef.h>

/*
 * Writes a printable form of `size` bytes of `text` to `out` (`out_size` >= 1, NUL-terminated):
 * line feed, tab and carriage return as \n \t \r, other controls and invalid bytes as \xHH,
 * bidi and other invisible format characters as \u{HEX}. Stops at a character border when `out`
 * is full. Returns the width in terminal columns of what was written.
 */
size_t sanitize(char *out, size_t out_size, const char *text, size_t size);

/* Columns that a sanitized, NUL-terminated UTF-8 string takes. */
size_t sanitize_width(const char *text);

#endif
