#include "analysis/counts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"

enum { AHEAD = 12 /* positions that are fetched before their turn */ };

struct gate_entry {
    double sum;
    uint32_t type, expert;
};

/* Tallies of one type in one layer. */
struct tally {
    uint32_t *count;   /* [expert] */
    double *gate;      /* [expert] */
    uint32_t *touched; /* experts with a count */
    size_t touched_count;
    uint32_t *top;            /* [top_k] experts with most, for the majority */
    size_t *gate_size;        /* [expert] entries */
    struct gate_entry *entry; /* [positions * top_k] gate sums of the layer so far */
    size_t entries;
};

static size_t bit_length(uint64_t n)
{
    return n ? 64 - (size_t)__builtin_clzll(n) : 0;
}

static int allocate(struct counts *c, const struct trace *t, const struct ranks *r, struct err *err)
{
    size_t rows = 0, size;
    c->types = r->types;
    c->experts = t->experts;
    c->blocks = (r->types + COUNTS_BLOCK - 1) / COUNTS_BLOCK;
    if (!mem_mul(&c->columns, t->layers, t->experts) || !mem_add(&c->width, c->columns, 63))
        return err_set(err, ERR_NOMEM, NULL, "too many layers and experts");
    c->width &= ~(size_t)63;
    c->row = mem_array(c->blocks + 1, sizeof *c->row, err);
    if (!c->row)
        return ERR_NOMEM;
    for (size_t b = 0; b < c->blocks; b++) {
        c->row[b] = rows;
        rows += bit_length(r->count[b * COUNTS_BLOCK]);
    }
    c->row[c->blocks] = rows;
    if (!mem_mul(&size, rows, c->width))
        return err_set(err, ERR_NOMEM, NULL, "too many token types and experts");
    c->planes = mem_array(rows, c->width, err);
    c->majority = mem_array(c->blocks, c->width, err);
    c->tokens = mem_array(c->columns, sizeof *c->tokens, err);
    return c->planes && c->majority && c->tokens ? 0 : ERR_NOMEM;
}

/* Positions of every type together, in rank order: order[begin[t] .. begin[t + 1]). */
static int sort_positions(uint32_t **order, size_t **begin, const struct trace *t,
                          const struct ranks *r, struct err *err)
{
    *order = mem_array(t->positions + AHEAD, sizeof **order, err);
    *begin = mem_array(r->types + 2, sizeof **begin, err);
    if (!*order || !*begin)
        return ERR_NOMEM;
    size_t *next = *begin + 1; /* next[t] walks from the type's begin to the following one's */
    for (size_t i = 1; i < r->types; i++)
        next[i] = next[i - 1] + (size_t)r->count[i - 1];
    for (size_t p = 0; p < t->positions; p++)
        (*order)[next[r->rank[t->ids[p]] - 1]++] = (uint32_t)p;
    return 0;
}

static void tally_positions(struct tally *y, const struct trace *t, size_t layer,
                            const uint32_t *order, size_t count)
{
    const uint16_t *routed = trace_routed(t, layer);
    const float *gates = trace_gates(t, layer);
    y->touched_count = 0;
    for (size_t i = 0; i < count; i++) {
        size_t at = (size_t)order[i] * t->top_k;
        /* `order` goes on beyond this type; the jumps through the trace are what takes the time. */
        size_t ahead = (size_t)order[i + AHEAD] * t->top_k;
        __builtin_prefetch(routed + ahead);
        if (gates)
            __builtin_prefetch(gates + ahead);
        for (size_t k = at; k < at + t->top_k; k++) {
            if (routed[k] == TRACE_NOT_ROUTED)
                continue;
            if (y->count[routed[k]]++ == 0)
                y->touched[y->touched_count++] = routed[k];
            if (gates)
                y->gate[routed[k]] += (double)gates[k];
        }
    }
}

static void tally_clear(struct tally *y)
{
    for (size_t i = 0; i < y->touched_count; i++) {
        y->count[y->touched[i]] = 0;
        y->gate[y->touched[i]] = 0;
    }
}

/* The `k` experts with most, ties by smaller id; an expert that got none is never among them. */
static size_t tally_top(struct tally *y, size_t k)
{
    size_t found = 0;
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = y->touched[i];
        size_t at = found < k ? found++ : k;
        for (; at > 0; at--) {
            uint32_t other = y->top[at - 1];
            bool ahead =
                y->count[e] > y->count[other] || (y->count[e] == y->count[other] && e < other);
            if (!ahead)
                break;
            if (at < k)
                y->top[at] = other;
        }
        if (at < k)
            y->top[at] = e;
    }
    return found;
}

static void store(struct counts *c, struct tally *y, size_t layer, size_t type, size_t top_k)
{
    size_t block = type / COUNTS_BLOCK, first = layer * c->experts;
    unsigned shift = type % COUNTS_BLOCK;
    uint8_t *planes = c->planes + c->row[block] * c->width + first;
    uint8_t *majority = c->majority + block * c->width + first;
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = y->touched[i];
        c->tokens[first + e] += y->count[e];
        uint8_t *plane = planes + e;
        for (uint32_t n = y->count[e]; n; n >>= 1, plane += c->width)
            *plane |= (uint8_t)((n & 1) << shift);
    }
    size_t top = tally_top(y, top_k);
    for (size_t i = 0; i < top; i++)
        majority[y->top[i]] |= (uint8_t)(1u << shift);
}

/* --- Gate sums: gathered in rank order, then dealt out to the experts --- */

static void keep_gates(struct tally *y, size_t type)
{
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = y->touched[i];
        y->gate_size[e]++;
        y->entry[y->entries++] = (struct gate_entry){y->gate[e], (uint32_t)type, e};
    }
}

static int deal_gates(struct counts_gates *g, struct tally *y, size_t experts, struct err *err)
{
    g->begin = mem_array(experts + 1, sizeof *g->begin, err);
    g->type = mem_array(y->entries, sizeof *g->type, err);
    g->sum = mem_array(y->entries, sizeof *g->sum, err);
    if (!g->begin || !g->type || !g->sum)
        return ERR_NOMEM;
    for (size_t e = 0; e < experts; e++) {
        g->begin[e + 1] = g->begin[e] + y->gate_size[e];
        y->gate_size[e] = g->begin[e]; /* from here on where the next one goes */
    }
    for (size_t i = 0; i < y->entries; i++) {
        size_t at = y->gate_size[y->entry[i].expert]++;
        g->type[at] = y->entry[i].type;
        g->sum[at] = y->entry[i].sum;
    }
    memset(y->gate_size, 0, experts * sizeof *y->gate_size);
    y->entries = 0;
    return 0;
}

/* --- A layer is one piece of work: columns of different layers never share a byte --- */

struct build {
    struct counts *counts;
    const struct trace *trace;
    const uint32_t *order;
    const size_t *begin;
    struct tally *tally; /* [worker] */
    struct err *err;     /* [layer] */
    const struct watch *watch;
    atomic_size_t layers_done;
};

static void fill_layer(void *context, size_t layer, size_t worker)
{
    struct build *b = context;
    struct counts *c = b->counts;
    struct tally *y = &b->tally[worker];
    for (size_t type = 0; type < c->types; type++) {
        if (type % 1024 == 0 && watch_cancelled(b->watch)) {
            err_set(&b->err[layer], ERR_CANCELLED, NULL, "the analysis was cancelled");
            return;
        }
        size_t count = b->begin[type + 1] - b->begin[type];
        tally_positions(y, b->trace, layer, b->order + b->begin[type], count);
        store(c, y, layer, type, b->trace->top_k);
        if (c->gates)
            keep_gates(y, type);
        tally_clear(y);
    }
    /* The code is in the error itself. */
    if (c->gates && deal_gates(&c->gates[layer], y, c->experts, &b->err[layer]) < 0)
        err_set(&b->err[layer], ERR_NOMEM, NULL, "no memory for the gate values");
    watch_tell(b->watch, WATCH_INDEX, atomic_fetch_add(&b->layers_done, 1) + 1, b->trace->layers);
}

static int tally_init(struct tally *y, const struct trace *t, struct err *err)
{
    size_t entries;
    if (!mem_mul(&entries, t->positions, t->top_k))
        return err_set(err, ERR_NOMEM, NULL, "too many positions");
    y->count = mem_array(t->experts, sizeof *y->count, err);
    y->gate = mem_array(t->experts, sizeof *y->gate, err);
    y->touched = mem_array(t->experts, sizeof *y->touched, err);
    y->top = mem_array(t->top_k, sizeof *y->top, err);
    y->gate_size = mem_array(t->experts, sizeof *y->gate_size, err);
    y->entry = mem_array(t->gates ? entries : 0, sizeof *y->entry, err);
    bool complete = y->count && y->gate && y->touched && y->top && y->gate_size && y->entry;
    return complete ? 0 : ERR_NOMEM;
}

static void tally_release(struct tally *y)
{
    free(y->count);
    free(y->gate);
    free(y->touched);
    free(y->top);
    free(y->gate_size);
    free(y->entry);
}

static int run(struct build *b, size_t layers, struct err *err)
{
    struct parallel *pool = NULL;
    int rc = parallel_new(&pool, 0, err);
    if (rc < 0)
        return rc;
    size_t threads = parallel_threads(pool);
    b->tally = mem_array(threads, sizeof *b->tally, err);
    b->err = mem_array(layers, sizeof *b->err, err);
    if (!b->tally || !b->err)
        rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < threads; i++)
        rc = tally_init(&b->tally[i], b->trace, err);
    if (rc == 0)
        parallel_for(pool, layers, fill_layer, b);
    for (size_t l = 0; rc == 0 && l < layers; l++)
        if (b->err[l].code)
            rc = err_set(err, b->err[l].code, NULL, "%s", b->err[l].message);
    for (size_t i = 0; b->tally && i < threads; i++)
        tally_release(&b->tally[i]);
    free(b->tally);
    free(b->err);
    parallel_free(pool);
    return rc;
}

int counts_init(struct counts *c, const struct trace *t, const struct ranks *r,
                const struct watch *watch, struct err *err)
{
    uint32_t *order = NULL;
    size_t *begin = NULL;
    memset(c, 0, sizeof *c);
    int rc = allocate(c, t, r, err);
    if (rc == 0)
        rc = sort_positions(&order, &begin, t, r, err);
    if (rc == 0 && t->gates && !(c->gates = mem_array(t->layers, sizeof *c->gates, err)))
        rc = ERR_NOMEM;
    if (rc == 0) {
        struct build b = {.counts = c, .trace = t, .order = order, .begin = begin, .watch = watch};
        rc = run(&b, t->layers, err);
    }
    free(order);
    free(begin);
    return rc;
}
