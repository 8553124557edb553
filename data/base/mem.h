/*
 * Memory and checked arithmetic. Every size that comes from a file goes through these.
 */
#ifndef MOQA_DATA_BASE_MEM_H
#define MOQA_DATA_BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

/* out = a * b or a + b; false on overflow, out is then unspecified. */
ERR_CHECK bool mem_mul(size_t *out, size_t a, size_t b);
ERR_CHECK bool mem_add(size_t *out, size_t a, size_t b);

/*
 * Zeroed array of `count` elements of `size` bytes; never NULL on success, also for count 0.
 * NULL and ERR_NOMEM in `err` when the product overflows or memory is short. Freed by free().
 */
void *mem_array(size_t count, size_t size, struct err *err);

/* The same, aligned to 64 bytes, NOT zeroed: for the operands of vector code. Freed by free(). */
void *mem_aligned(size_t count, size_t size, struct err *err);

/* Copy of a NUL-terminated string; freed by free(). */
char *mem_strdup(const char *text, struct err *err);

/* Grows `*array` (elements of `size` bytes, `*capacity` of them) to hold `count`; keeps contents.
 */
ERR_CHECK int mem_grow(void **array, size_t *capacity, size_t count, size_t size, struct err *err);

#endif
