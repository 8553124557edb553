#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/backend.h"

int backend_groups_alloc(struct backend_groups *g, struct err *err)
{
    size_t slots;
    if (!mem_mul(&slots, g->tokens, g->top_k) || slots > UINT32_MAX)
        return err_set(err, ERR_USAGE, NULL, "%zu tokens with %zu experts each are too many",
                       g->tokens, g->top_k);
    g->offset = mem_array(g->experts + 1, sizeof *g->offset, err);
    g->row = mem_array(slots, sizeof *g->row, err);
    g->slot = mem_array(slots, sizeof *g->slot, err);
    g->expert = mem_array(slots, sizeof *g->expert, err);
    g->gate = mem_array(slots, sizeof *g->gate, err);
    if (g->offset && g->row && g->slot && g->expert && g->gate)
        return 0;
    backend_groups_release(g);
    return ERR_NOMEM;
}

void backend_groups_release(struct backend_groups *g)
{
    free(g->offset);
    free(g->row);
    free(g->slot);
    free(g->expert);
    free(g->gate);
    g->offset = NULL;
    g->row = g->slot = NULL;
    g->expert = NULL;
    g->gate = NULL;
}

int backend_groups_sort(struct backend_groups *g, struct err *err)
{
    size_t slots = g->tokens * g->top_k;
    size_t *next = mem_array(g->experts, sizeof *next, err);
    if (!next)
        return ERR_NOMEM;
    for (size_t e = 0; e <= g->experts; e++)
        g->offset[e] = 0;
    for (size_t i = 0; i < slots; i++)
        g->offset[g->expert[i] + 1]++;
    for (size_t e = 0; e < g->experts; e++) {
        g->offset[e + 1] += g->offset[e];
        next[e] = g->offset[e];
    }
    for (size_t i = 0; i < slots; i++) {
        size_t slot = next[g->expert[i]]++;
        g->row[slot] = (uint32_t)(i / g->top_k);
        g->slot[i] = (uint32_t)slot;
    }
    free(next);
    return 0;
}
