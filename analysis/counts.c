#include "analysis/counts.h"

#include <stdlib.h>
#include <string.h>

static size_t bit_length(uint64_t n)
{
    return n ? 64 - (size_t)__builtin_clzll(n) : 0;
}

void counts_release(struct counts *c)
{
    free(c->row);
    free(c->planes);
    free(c->majority);
    free(c->tokens);
    for (size_t l = 0; c->gates && l < c->columns / c->experts; l++) {
        free(c->gates[l].single.code);
        free(c->gates[l].single.single);
        free(c->gates[l].wide.code);
        free(c->gates[l].wide.wide);
    }
    free(c->gates);
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
    size_t width = c->width;
    for (size_t b = 0; b < c->blocks; b++) {
        size_t planes = c->row[b + 1] - c->row[b];
        uint8_t *restrict row = members + b * width;
        const uint8_t *restrict plane = c->planes + c->row[b] * width;
        bool reachable = bit_length(min_count) <= planes;
        memset(row, reachable ? 0xff : 0, width);
        for (size_t j = 0; reachable && j < planes; j++, plane += width) {
            if (min_count >> j & 1)
                for (size_t i = 0; i < width; i++)
                    row[i] &= plane[i];
            else
                for (size_t i = 0; i < width; i++)
                    row[i] |= plane[i];
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

void counts_sum_members(double *restrict sum, const struct counts *c, const uint8_t *members,
                        const double *weight)
{
    double table[2][256];
    size_t columns = c->columns, pairs = c->blocks / 2 * 2;
    memset(sum, 0, c->width * sizeof *sum);
    for (size_t b = 0; b < pairs; b += 2) {
        const uint8_t *x = members + b * c->width, *y = x + c->width;
        fill_table(table[0], weight + b * COUNTS_BLOCK, 1);
        fill_table(table[1], weight + (b + 1) * COUNTS_BLOCK, 1);
        for (size_t i = 0; i < columns; i++)
            sum[i] += table[0][x[i]] + table[1][y[i]];
    }
    if (pairs < c->blocks) {
        const uint8_t *x = members + pairs * c->width;
        fill_table(table[0], weight + pairs * COUNTS_BLOCK, 1);
        for (size_t i = 0; i < columns; i++)
            sum[i] += table[0][x[i]];
    }
}

void counts_sum_occurrences(double *restrict sum, const struct counts *c, const double *weight)
{
    double table[256];
    size_t columns = c->columns;
    memset(sum, 0, c->width * sizeof *sum);
    for (size_t b = 0; b < c->blocks; b++) {
        double scale = 1;
        for (size_t r = c->row[b]; r < c->row[b + 1]; r++, scale *= 2) {
            const uint8_t *x = c->planes + r * c->width;
            fill_table(table, weight + b * COUNTS_BLOCK, scale);
            for (size_t i = 0; i < columns; i++)
                sum[i] += table[x[i]];
        }
    }
}

static void add_single(double *sum, const struct counts_entries *x, const double *weight)
{
    const uint32_t *code = x->code;
    const float *value = x->single;
#pragma GCC unroll 4
    for (size_t i = 0; i < x->count; i++) {
        weight += code[i] >> 16;
        sum[code[i] & UINT16_MAX] += *weight * (double)value[i];
    }
}

static void add_wide(double *sum, const struct counts_entries *x, const double *weight)
{
    const uint32_t *code = x->code;
    const double *value = x->wide;
#pragma GCC unroll 4
    for (size_t i = 0; i < x->count; i++) {
        weight += code[i] >> 16;
        sum[code[i] & UINT16_MAX] += *weight * value[i];
    }
}

void counts_sum_gates(double *sum, const struct counts *c, const double *weight)
{
    memset(sum, 0, c->width * sizeof *sum);
    for (size_t first = 0; first < c->columns; first += c->experts) {
        const struct counts_gates *g = &c->gates[first / c->experts];
        add_single(sum + first, &g->single, weight);
        add_wide(sum + first, &g->wide, weight);
    }
}
