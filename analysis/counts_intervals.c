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

/* Where the searches of a line of columns stand; rows of popcounts are added to all of them. */
struct search {
    uint32_t n[LINE];    /* members */
    uint32_t seen[LINE]; /* of them, in the super-blocks so far */
    uint32_t next[LINE]; /* number of the member that the next quantile is */
    uint8_t found[LINE]; /* quantiles */
    size_t rank[LINE][QUANTILES];
};

static void add_row(uint32_t *restrict sum, const uint8_t *restrict row)
{
    for (size_t i = 0; i < LINE; i++)
        sum[i] += row[i];
}

static bool any_reached(const uint32_t *restrict seen, const uint32_t *restrict next)
{
    uint32_t any = 0;
    for (size_t i = 0; i < LINE; i++)
        any |= seen[i] >= next[i];
    return any;
}

/* The quantiles of a column that lie in a super-block, whose members are counted already. */
static void find_reached(struct search *x, size_t i, const struct counts *c, const uint8_t *members,
                         size_t column, size_t super, size_t in_super)
{
    size_t before = x->seen[i] - in_super;
    while (x->seen[i] >= x->next[i]) {
        x->rank[i][x->found[i]++] = find_member(c, members, column, super, x->next[i] - before);
        x->next[i] = x->found[i] < QUANTILES ? (uint32_t)target(x->found[i], x->n[i]) : UINT32_MAX;
    }
}

/* Columns first .. first + LINE; rows are as wide, also where there are fewer columns. */
static void search_line(struct search *x, const struct counts *c, const uint8_t *members,
                        const struct counts_workspace *w, size_t first)
{
    size_t supers = (c->blocks + SUPER - 1) / SUPER;
    *x = (struct search){0};
    for (size_t s = 0; s < supers; s++)
        add_row(x->n, w->popcount + s * c->width + first);
    for (size_t i = 0; i < LINE; i++)
        x->next[i] = x->n[i] ? 1 : UINT32_MAX;
    for (size_t s = 0; s < supers; s++) {
        const uint8_t *row = w->popcount + s * c->width + first;
        add_row(x->seen, row);
        if (any_reached(x->seen, x->next))
            for (size_t i = 0; i < LINE; i++)
                find_reached(x, i, c, members, first + i, s, row[i]);
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
        struct search x;
        search_line(&x, c, members, w, first);
        for (size_t i = 0; i < LINE && first + i < c->columns; i++)
            interval[first + i] = (struct analysis_interval){
                x.n[i] > 0, x.rank[i][0], x.rank[i][1], x.rank[i][2], x.rank[i][3], x.rank[i][4]};
    }
}
