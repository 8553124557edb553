#include <stdlib.h>
#include <string.h>

#include "analysis/counts.h"
#include "data/base/mem.h"

enum {
    SUPER = 8, /* blocks whose member types are counted together */
    LINE = 64  /* columns that are searched together */
};

int counts_workspace_init(struct counts_workspace *w, const struct counts *c, struct err *err)
{
    size_t supers = (c->blocks + SUPER - 1) / SUPER;
    w->popcount = mem_array(supers, c->width, err);
    return w->popcount ? 0 : ERR_NOMEM;
}

void counts_workspace_release(struct counts_workspace *w)
{
    free(w->popcount);
    memset(w, 0, sizeof *w);
}

/* out[i] += number of bits of row[i], eight bytes at a time. */
static void add_popcounts(uint8_t *out, const uint8_t *row, size_t width)
{
    for (size_t i = 0; i < width; i += 8) {
        uint64_t x, n;
        memcpy(&x, row + i, 8);
        memcpy(&n, out + i, 8);
        x -= x >> 1 & 0x5555555555555555u;
        x = (x & 0x3333333333333333u) + (x >> 2 & 0x3333333333333333u);
        n += (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fu;
        memcpy(out + i, &n, 8);
    }
}

/* Rank of the `nth` (from 1) member of a column within the blocks of one super-block. */
static size_t find_member(const struct counts *c, const uint8_t *members, size_t column,
                          size_t super, size_t nth)
{
    for (size_t b = super * SUPER;; b++) {
        unsigned bits = members[b * c->width + column];
        for (size_t i = 0; i < COUNTS_BLOCK; i++)
            if (bits >> i & 1 && --nth == 0)
                return b * COUNTS_BLOCK + i + 1;
    }
}

enum { QUANTILES = 5 };

/* The ceil(q n)-th of n, in integers. */
static size_t target(size_t quantile, size_t n)
{
    const size_t nth[QUANTILES] = {1, (n + 9) / 10, (n + 1) / 2, n - n / 10, n};
    return nth[quantile];
}

/* Where the search of one column stands. */
struct search {
    size_t n;     /* members */
    size_t seen;  /* of them, in the super-blocks so far */
    size_t found; /* quantiles */
    size_t rank[QUANTILES];
};

/* Columns of one cache line together: their popcounts are read line by line, twice. */
static void search_line(struct analysis_interval *out, const struct counts *c,
                        const uint8_t *members, const struct counts_workspace *w, size_t first,
                        size_t count)
{
    struct search search[LINE] = {0};
    size_t supers = (c->blocks + SUPER - 1) / SUPER;
    for (size_t s = 0; s < supers; s++)
        for (size_t i = 0; i < count; i++)
            search[i].n += w->popcount[s * c->width + first + i];
    for (size_t s = 0; s < supers; s++)
        for (size_t i = 0; i < count; i++) {
            struct search *x = &search[i];
            size_t upto = x->seen + w->popcount[s * c->width + first + i];
            for (; x->found < QUANTILES && x->n && target(x->found, x->n) <= upto; x->found++)
                x->rank[x->found] =
                    find_member(c, members, first + i, s, target(x->found, x->n) - x->seen);
            x->seen = upto;
        }
    for (size_t i = 0; i < count; i++) {
        const size_t *rank = search[i].rank;
        out[first + i] = (struct analysis_interval){search[i].n > 0, rank[0], rank[1],
                                                    rank[2],         rank[3], rank[4]};
    }
}

void counts_intervals(struct analysis_interval *interval, const struct counts *c,
                      const uint8_t *members, struct counts_workspace *w)
{
    size_t supers = (c->blocks + SUPER - 1) / SUPER;
    memset(w->popcount, 0, supers * c->width);
    for (size_t b = 0; b < c->blocks; b++)
        add_popcounts(w->popcount + b / SUPER * c->width, members + b * c->width, c->width);
    for (size_t first = 0; first < c->columns; first += LINE) {
        size_t left = c->columns - first;
        search_line(interval, c, members, w, first, left < LINE ? left : LINE);
    }
}
