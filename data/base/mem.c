#include "data/base/mem.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

bool mem_mul(size_t *out, size_t a, size_t b)
{
    return !__builtin_mul_overflow(a, b, out);
}

bool mem_add(size_t *out, size_t a, size_t b)
{
    return !__builtin_add_overflow(a, b, out);
}

static void *refuse(size_t count, size_t size, struct err *err)
{
    err_set(err, ERR_NOMEM, NULL, "no memory for %zu elements of %zu bytes", count, size);
    return NULL;
}

void *mem_array(size_t count, size_t size, struct err *err)
{
    void *p = calloc(count ? count : 1, size ? size : 1);
    return p ? p : refuse(count, size, err);
}

enum { HUGE_PAGE = 2 << 20 };

void *mem_aligned(size_t count, size_t size, struct err *err)
{
    size_t bytes, rounded;
    if (!mem_mul(&bytes, count, size) || !mem_add(&rounded, bytes, 63))
        return refuse(count, size, err);
    rounded &= ~(size_t)63;
    if (rounded < HUGE_PAGE) {
        void *p = aligned_alloc(64, rounded ? rounded : 64);
        return p ? p : refuse(count, size, err);
    }
    /* A fault a page is a good part of the time of filling gigabytes. Only whole huge pages are
     * asked for, so that no memory is held beyond the end. */
    void *p = NULL;
    if (posix_memalign(&p, HUGE_PAGE, rounded) != 0)
        return refuse(count, size, err);
    madvise(p, rounded & ~(size_t)(HUGE_PAGE - 1), MADV_HUGEPAGE);
    return p;
}

char *mem_strdup(const char *text, struct err *err)
{
    char *copy = strdup(text);
    return copy ? copy : refuse(strlen(text) + 1, 1, err);
}

int mem_grow(void **array, size_t *capacity, size_t count, size_t size, struct err *err)
{
    if (count <= *capacity)
        return 0;
    size_t wanted = *capacity < 8 ? 8 : *capacity, bytes;
    while (wanted < count) {
        if (!mem_mul(&wanted, wanted, 2)) {
            refuse(count, size, err);
            return ERR_NOMEM;
        }
    }
    void *p = mem_mul(&bytes, wanted, size) ? realloc(*array, bytes) : NULL;
    if (!p) {
        refuse(count, size, err);
        return ERR_NOMEM;
    }
    *array = p;
    *capacity = wanted;
    return 0;
}
