/* Many small arrays in one piece of device memory, with one upload. */
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

enum { ALIGNMENT = 16 };

void *cuda_table_take(struct cuda_table *t, const void *data, size_t bytes)
{
    size_t at = t->used;
    t->used += (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    if (!t->host)
        return NULL;
    if (data)
        memcpy(t->host + at, data, bytes);
    return t->device + at;
}

void *cuda_table_at(const struct cuda_table *t, size_t at)
{
    return t->host ? t->host + at : NULL;
}

int cuda_table_make(struct cuda_backend *c, struct cuda_table *t, cuda_table_fill fill,
                    void *context, struct err *err)
{
    *t = (struct cuda_table){0};
    fill(t, context);
    t->bytes = t->used;
    t->used = 0;
    int rc = cuda_alloc(c, &t->device, t->bytes, err);
    if (rc < 0)
        return rc;
    t->host = mem_aligned(t->bytes, 1, err);
    if (!t->host)
        return ERR_NOMEM;
    memset(t->host, 0, t->bytes);
    fill(t, context);
    return cuda_put(c, t->device, t->host, t->bytes, err);
}

void cuda_table_release(struct cuda_backend *c, struct cuda_table *t)
{
    cuda_release(c, t->device, t->bytes);
    free(t->host);
    *t = (struct cuda_table){0};
}
