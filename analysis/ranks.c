#include "analysis/ranks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

struct type_count {
    uint64_t count;
    uint32_t id;
};

static int compare(const void *x, const void *y)
{
    const struct type_count *a = x, *b = y;
    if (a->count != b->count)
        return a->count > b->count ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

/* Every id that occurs with its count, in rank order; r->rank serves as the table of counts. */
static struct type_count *count_types(struct ranks *r, const uint32_t *ids, struct err *err)
{
    for (size_t p = 0; p < r->positions; p++)
        r->types += r->rank[ids[p]]++ == 0;
    struct type_count *list = mem_array(r->types, sizeof *list, err);
    if (!list)
        return NULL;
    for (size_t id = 0, t = 0; id < r->ids; id++)
        if (r->rank[id])
            list[t++] = (struct type_count){r->rank[id], (uint32_t)id};
    qsort(list, r->types, sizeof *list, compare);
    return list;
}

int ranks_init(struct ranks *r, const uint32_t *ids, size_t positions, struct err *err)
{
    memset(r, 0, sizeof *r);
    if (positions == 0 || positions > UINT32_MAX)
        return err_set(err, ERR_UNSUPPORTED, NULL, "%zu token positions, expected 1 to %u",
                       positions, UINT32_MAX);
    r->positions = positions;
    for (size_t p = 0; p < positions; p++)
        if (ids[p] >= r->ids)
            r->ids = (size_t)ids[p] + 1;
    r->rank = mem_array(r->ids, sizeof *r->rank, err);
    struct type_count *list = r->rank ? count_types(r, ids, err) : NULL;
    if (!list)
        return ERR_NOMEM;
    r->id = mem_array(r->types, sizeof *r->id, err);
    r->count = mem_array(r->types, sizeof *r->count, err);
    r->log_rank = mem_array(r->types, sizeof *r->log_rank, err);
    r->log_frequency = mem_array(r->types, sizeof *r->log_frequency, err);
    if (!r->id || !r->count || !r->log_rank || !r->log_frequency) {
        free(list);
        return ERR_NOMEM;
    }
    for (size_t t = 0; t < r->types; t++) {
        r->id[t] = list[t].id;
        r->count[t] = list[t].count;
        r->log_rank[t] = log((double)(t + 1));
        r->log_frequency[t] = log((double)list[t].count / (double)positions);
        r->rank[list[t].id] = (uint32_t)(t + 1);
    }
    free(list);
    return 0;
}

void ranks_release(struct ranks *r)
{
    free(r->id);
    free(r->count);
    free(r->log_rank);
    free(r->log_frequency);
    free(r->rank);
    memset(r, 0, sizeof *r);
}

size_t ranks_of(const struct ranks *r, uint32_t id)
{
    return id < r->ids ? r->rank[id] : 0;
}
