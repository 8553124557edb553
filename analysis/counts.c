#include "analysis/counts.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

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
    *order = mem_array(t->positions, sizeof **order, err);
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
        if (c->gate_begin)
            c->gate_begin[first + e + 2]++;
        uint8_t *plane = planes + e;
        for (uint32_t n = y->count[e]; n; n >>= 1, plane += c->width)
            *plane |= (uint8_t)((n & 1) << shift);
    }
    size_t top = tally_top(y, top_k);
    for (size_t i = 0; i < top; i++)
        majority[y->top[i]] |= (uint8_t)(1u << shift);
}

/* Column sizes were tallied at gate_begin[column + 2]; their running sum leaves the beginnings at
 * [column + 1], and filling moves each on to where it belongs. */
static int allocate_gates(struct counts *c, struct err *err)
{
    size_t *size = c->gate_begin + 2;
    for (size_t i = 1; i < c->columns; i++)
        size[i] += size[i - 1];
    size_t total = size[c->columns - 1];
    c->gate_type = mem_array(total, sizeof *c->gate_type, err);
    c->gate_sum = mem_array(total, sizeof *c->gate_sum, err);
    return c->gate_type && c->gate_sum ? 0 : ERR_NOMEM;
}

static void store_gates(struct counts *c, const struct tally *y, size_t layer, size_t type)
{
    size_t *next = c->gate_begin + 1 + layer * c->experts;
    for (size_t i = 0; i < y->touched_count; i++) {
        size_t at = next[y->touched[i]]++;
        c->gate_type[at] = (uint32_t)type;
        c->gate_sum[at] = y->gate[y->touched[i]];
    }
}

static int fill(struct counts *c, struct tally *y, const struct trace *t, const uint32_t *order,
                const size_t *begin, struct err *err)
{
    for (size_t l = 0; l < t->layers; l++)
        for (size_t type = 0; type < c->types; type++) {
            tally_positions(y, t, l, order + begin[type], begin[type + 1] - begin[type]);
            store(c, y, l, type, t->top_k);
            tally_clear(y);
        }
    if (!c->gate_begin)
        return 0;
    int rc = allocate_gates(c, err);
    for (size_t l = 0; rc == 0 && l < t->layers; l++)
        for (size_t type = 0; type < c->types; type++) {
            tally_positions(y, t, l, order + begin[type], begin[type + 1] - begin[type]);
            store_gates(c, y, l, type);
            tally_clear(y);
        }
    return rc;
}

int counts_init(struct counts *c, const struct trace *t, const struct ranks *r, struct err *err)
{
    struct tally y = {0};
    uint32_t *order = NULL;
    size_t *begin = NULL;
    memset(c, 0, sizeof *c);
    int rc = allocate(c, t, r, err);
    if (rc == 0)
        rc = sort_positions(&order, &begin, t, r, err);
    if (rc == 0 && t->gates && !(c->gate_begin = mem_array(c->columns + 2, sizeof(size_t), err)))
        rc = ERR_NOMEM;
    y.count = mem_array(t->experts, sizeof *y.count, err);
    y.gate = mem_array(t->experts, sizeof *y.gate, err);
    y.touched = mem_array(t->experts, sizeof *y.touched, err);
    y.top = mem_array(t->top_k, sizeof *y.top, err);
    if (!y.count || !y.gate || !y.touched || !y.top)
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = fill(c, &y, t, order, begin, err);
    free(y.count);
    free(y.gate);
    free(y.touched);
    free(y.top);
    free(order);
    free(begin);
    return rc;
}

void counts_release(struct counts *c)
{
    free(c->row);
    free(c->planes);
    free(c->majority);
    free(c->tokens);
    free(c->gate_begin);
    free(c->gate_type);
    free(c->gate_sum);
    memset(c, 0, sizeof *c);
}

uint64_t counts_at(const struct counts *c, size_t column, size_t type)
{
    size_t block = type / COUNTS_BLOCK;
    uint64_t n = 0;
    for (size_t r = c->row[block]; r < c->row[block + 1]; r++) {
        uint64_t bit = c->planes[r * c->width + column] >> (type % COUNTS_BLOCK) & 1;
        n |= bit << (r - c->row[block]);
    }
    return n;
}

/*
 * n >= m for bit-sliced n, from the lowest bit up: where m has a 1, n must have one and be no
 * less in the lower bits; where m has a 0, a 1 of n decides for it.
 */
void counts_members(uint8_t *members, const struct counts *c, size_t min_count)
{
    for (size_t b = 0; b < c->blocks; b++, members += c->width) {
        size_t planes = c->row[b + 1] - c->row[b];
        const uint8_t *plane = c->planes + c->row[b] * c->width;
        bool reachable = bit_length(min_count) <= planes;
        memset(members, reachable ? 0xff : 0, c->width);
        for (size_t j = 0; reachable && j < planes; j++, plane += c->width) {
            if (min_count >> j & 1)
                for (size_t i = 0; i < c->width; i++)
                    members[i] &= plane[i];
            else
                for (size_t i = 0; i < c->width; i++)
                    members[i] |= plane[i];
        }
    }
}

/* table[m] = scale * sum of weight[i] over the bits i of m. */
static void fill_table(double table[256], const double *weight, double scale)
{
    table[0] = 0;
    for (size_t bit = 0; bit < COUNTS_BLOCK; bit++) {
        size_t half = (size_t)1 << bit;
        double value = scale * weight[bit];
        for (size_t m = 0; m < half; m++)
            table[half + m] = table[m] + value;
    }
}

void counts_sum_members(double *sum, const struct counts *c, const uint8_t *members,
                        const double *weight)
{
    double table[2][256];
    size_t pairs = c->blocks / 2 * 2;
    memset(sum, 0, c->width * sizeof *sum);
    for (size_t b = 0; b < pairs; b += 2) {
        const uint8_t *x = members + b * c->width, *y = x + c->width;
        fill_table(table[0], weight + b * COUNTS_BLOCK, 1);
        fill_table(table[1], weight + (b + 1) * COUNTS_BLOCK, 1);
        for (size_t i = 0; i < c->columns; i++)
            sum[i] += table[0][x[i]] + table[1][y[i]];
    }
    if (pairs < c->blocks) {
        const uint8_t *x = members + pairs * c->width;
        fill_table(table[0], weight + pairs * COUNTS_BLOCK, 1);
        for (size_t i = 0; i < c->columns; i++)
            sum[i] += table[0][x[i]];
    }
}

void counts_sum_occurrences(double *sum, const struct counts *c, const double *weight)
{
    double table[256];
    memset(sum, 0, c->width * sizeof *sum);
    for (size_t b = 0; b < c->blocks; b++) {
        double scale = 1;
        for (size_t r = c->row[b]; r < c->row[b + 1]; r++, scale *= 2) {
            const uint8_t *x = c->planes + r * c->width;
            fill_table(table, weight + b * COUNTS_BLOCK, scale);
            for (size_t i = 0; i < c->columns; i++)
                sum[i] += table[x[i]];
        }
    }
}

void counts_sum_gates(double *sum, const struct counts *c, const double *weight)
{
    for (size_t i = 0; i < c->columns; i++) {
        /* Four running sums, so that an addition need not wait for the one before it. */
        double part[4] = {0, 0, 0, 0};
        size_t at = c->gate_begin[i], end = c->gate_begin[i + 1];
        for (; at + 4 <= end; at += 4)
            for (size_t k = 0; k < 4; k++)
                part[k] += weight[c->gate_type[at + k]] * c->gate_sum[at + k];
        for (; at < end; at++)
            part[0] += weight[c->gate_type[at]] * c->gate_sum[at];
        sum[i] = (part[0] + part[1]) + (part[2] + part[3]);
    }
}
