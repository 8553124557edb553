#include "analysis/counts.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"

enum { AHEAD = 12 /* positions that are fetched before their turn */ };

/* Tallies of one type in one layer. */
struct tally {
    uint32_t *count;   /* [expert] */
    double *gate;      /* [expert] */
    uint32_t *touched; /* experts with a count */
    size_t touched_count;
    uint32_t *top; /* [top_k] experts with most, for the majority */
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
                            const uint32_t *order, size_t positions)
{
    const uint16_t *routed = trace_routed(t, layer);
    const float *gates = trace_gates(t, layer);
    uint32_t *restrict count = y->count, *restrict touched = y->touched;
    double *restrict gate = y->gate;
    size_t top_k = t->top_k, found = 0;
    for (size_t i = 0; i < positions; i++) {
        size_t at = (size_t)order[i] * top_k;
        /* `order` goes on beyond this type; the jumps through the trace are what takes the time. */
        size_t ahead = (size_t)order[i + AHEAD] * top_k;
        __builtin_prefetch(routed + ahead);
        if (gates)
            __builtin_prefetch(gates + ahead);
        for (size_t k = at; k < at + top_k; k++) {
            uint32_t e = routed[k];
            if (e == TRACE_NOT_ROUTED)
                continue;
            if (count[e]++ == 0)
                touched[found++] = e;
            if (gates)
                gate[e] += (double)gates[k];
        }
    }
    y->touched_count = found;
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
    const uint32_t *restrict count = y->count, *restrict touched = y->touched;
    uint32_t *restrict top = y->top;
    size_t found = 0;
    if (y->touched_count <= k) {
        memcpy(top, touched, y->touched_count * sizeof *top);
        return y->touched_count;
    }
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = touched[i];
        size_t at = found < k ? found++ : k;
        for (; at > 0; at--) {
            uint32_t other = top[at - 1];
            if (count[e] < count[other] || (count[e] == count[other] && e > other))
                break;
            if (at < k)
                top[at] = other;
        }
        if (at < k)
            top[at] = e;
    }
    return found;
}

static void store(struct counts *c, struct tally *y, size_t layer, size_t type, size_t top_k)
{
    size_t block = type / COUNTS_BLOCK, first = layer * c->experts, width = c->width;
    unsigned shift = type % COUNTS_BLOCK;
    uint8_t *restrict planes = c->planes + c->row[block] * width + first;
    uint8_t *restrict majority = c->majority + block * width + first;
    size_t *restrict tokens = c->tokens + first;
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = y->touched[i], count = y->count[e];
        tokens[e] += count;
        uint8_t *plane = planes + e;
        for (uint32_t n = count; n; n >>= 1, plane += width)
            *plane |= (uint8_t)((n & 1) << shift);
    }
    size_t top = tally_top(y, top_k);
    for (size_t i = 0; i < top; i++)
        majority[y->top[i]] |= (uint8_t)(1u << shift);
}

/* --- Gate sums --- */

/* The types of the last entries of a layer. */
struct gates_end {
    size_t single, wide;
};

/* Code of an entry whose type is at most UINT16_MAX behind the one before; empty entries carry it
 * there. Their number is part of gates_init()'s room. */
static uint32_t next_code(struct counts_entries *x, size_t *last, size_t type, uint32_t expert)
{
    for (; type - *last > UINT16_MAX; *last += UINT16_MAX)
        x->code[x->count++] = (uint32_t)UINT16_MAX << 16;
    uint32_t code = expert | (uint32_t)(type - *last) << 16;
    *last = type;
    return code;
}

static void keep_gates(struct counts_gates *g, struct gates_end *end, const struct tally *y,
                       size_t type)
{
    for (size_t i = 0; i < y->touched_count; i++) {
        uint32_t e = y->touched[i];
        double sum = y->gate[e];
        struct counts_entries *x = (double)(float)sum == sum ? &g->single : &g->wide;
        uint32_t code = next_code(x, x == &g->single ? &end->single : &end->wide, type, e);
        x->code[x->count] = code;
        if (x->single)
            x->single[x->count++] = (float)sum;
        else
            x->wide[x->count++] = sum;
    }
}

/* Room for all that a layer can have; most of it is never touched and is given back. */
static int gates_init(struct counts_gates *g, const struct trace *t, size_t types, struct err *err)
{
    size_t empty = types / UINT16_MAX, room;
    if (!mem_mul(&room, t->positions, t->top_k) || !mem_add(&room, room, empty))
        return err_set(err, ERR_NOMEM, NULL, "too many positions");
    g->single.code = mem_array(room, sizeof *g->single.code, err);
    g->single.single = mem_array(room, sizeof *g->single.single, err);
    room = room / 2 + empty; /* a sum that is no single has two positions at least */
    g->wide.code = mem_array(room, sizeof *g->wide.code, err);
    g->wide.wide = mem_array(room, sizeof *g->wide.wide, err);
    bool complete = g->single.code && g->single.single && g->wide.code && g->wide.wide;
    return complete ? 0 : ERR_NOMEM;
}

static void *trim(void *array, size_t count, size_t size)
{
    void *less = realloc(array, count ? count * size : size);
    return less ? less : array;
}

static void gates_trim(struct counts_gates *g)
{
    struct counts_entries *s = &g->single, *w = &g->wide;
    s->code = trim(s->code, s->count, sizeof *s->code);
    s->single = trim(s->single, s->count, sizeof *s->single);
    w->code = trim(w->code, w->count, sizeof *w->code);
    w->wide = trim(w->wide, w->count, sizeof *w->wide);
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
    struct gates_end end = {0};
    /* The code is in the error itself. */
    if (c->gates && gates_init(&c->gates[layer], b->trace, c->types, &b->err[layer]) < 0)
        return;
    for (size_t type = 0; type < c->types; type++) {
        if (type % 1024 == 0 && watch_cancelled(b->watch)) {
            err_set(&b->err[layer], ERR_CANCELLED, NULL, "the analysis was cancelled");
            return;
        }
        size_t count = b->begin[type + 1] - b->begin[type];
        tally_positions(y, b->trace, layer, b->order + b->begin[type], count);
        store(c, y, layer, type, b->trace->top_k);
        if (c->gates)
            keep_gates(&c->gates[layer], &end, y, type);
        tally_clear(y);
    }
    if (c->gates)
        gates_trim(&c->gates[layer]);
    watch_tell(b->watch, WATCH_INDEX, atomic_fetch_add(&b->layers_done, 1) + 1, b->trace->layers);
}

static int tally_init(struct tally *y, const struct trace *t, struct err *err)
{
    y->count = mem_array(t->experts, sizeof *y->count, err);
    y->gate = mem_array(t->experts, sizeof *y->gate, err);
    y->touched = mem_array(t->experts, sizeof *y->touched, err);
    y->top = mem_array(t->top_k, sizeof *y->top, err);
    bool complete = y->count && y->gate && y->touched && y->top;
    return complete ? 0 : ERR_NOMEM;
}

static void tally_release(struct tally *y)
{
    free(y->count);
    free(y->gate);
    free(y->touched);
    free(y->top);
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
