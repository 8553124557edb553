#include "analysis/windows_balanced.h"

#include <stdlib.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "data/base/mem.h"

/* A cell is an expert of a layer. */
struct cover {
    const struct trace *t;
    const struct windows_balanced_request *r;
    size_t cells, windows; /* windows of the right length */
    size_t *number;        /* [windows] in the trace */
    uint32_t *serves;      /* [windows][cells] tokens */
    size_t *have, *left;   /* [cells] tokens in chosen windows, in the others */
    bool *chosen;          /* [windows] */
};

static void cover_release(struct cover *c)
{
    free(c->number);
    free(c->serves);
    free(c->have);
    free(c->left);
    free(c->chosen);
}

static void count_tokens(struct cover *c)
{
    const struct trace *t = c->t;
    for (size_t w = 0; w < c->windows; w++) {
        size_t first = (size_t)t->window_starts[c->number[w]];
        for (size_t l = 0; l < t->layers; l++) {
            const uint16_t *routed = trace_routed(t, l) + first * t->top_k;
            for (size_t i = 0; i < c->r->length * t->top_k; i++)
                if (routed[i] != TRACE_NOT_ROUTED)
                    c->serves[w * c->cells + l * t->experts + routed[i]]++;
        }
        for (size_t k = 0; k < c->cells; k++)
            c->left[k] += c->serves[w * c->cells + k];
    }
}

static int cover_init(struct cover *c, const struct trace *t,
                      const struct windows_balanced_request *r, struct err *err)
{
    size_t all;
    *c = (struct cover){.t = t, .r = r, .cells = t->layers * t->experts};
    c->number = mem_array(t->windows, sizeof *c->number, err);
    c->chosen = mem_array(t->windows, sizeof *c->chosen, err);
    c->have = mem_array(c->cells, sizeof *c->have, err);
    c->left = mem_array(c->cells, sizeof *c->left, err);
    if (!c->number || !c->chosen || !c->have || !c->left)
        return ERR_NOMEM;
    for (size_t w = 0; w < t->windows; w++)
        if (trace_window_length(t, w) == r->length)
            c->number[c->windows++] = w;
    if (c->windows == 0)
        return err_set(err, ERR_INPUT, NULL, "holds no window of %zu tokens", r->length);
    if (!mem_mul(&all, c->windows, c->cells))
        return err_set(err, ERR_INPUT, NULL, "%zu windows of %zu experts overflow", c->windows,
                       c->cells);
    c->serves = mem_array(all, sizeof *c->serves, err);
    if (!c->serves)
        return ERR_NOMEM;
    count_tokens(c);
    return 0;
}

static void take(struct cover *c, size_t w)
{
    c->chosen[w] = true;
    for (size_t k = 0; k < c->cells; k++) {
        c->have[k] += c->serves[w * c->cells + k];
        c->left[k] -= c->serves[w * c->cells + k];
    }
}

/* The least served cell that lacks tokens and could get some; c->cells: none. */
static size_t neediest(const struct cover *c)
{
    size_t best = c->cells;
    for (size_t k = 0; k < c->cells; k++)
        if (c->have[k] < c->r->enough && c->left[k] &&
            (best == c->cells || c->have[k] < c->have[best]))
            best = k;
    return best;
}

/* Missing tokens that a window brings. */
static size_t gain(const struct cover *c, size_t w)
{
    size_t sum = 0;
    for (size_t k = 0; k < c->cells; k++) {
        size_t missing = c->have[k] < c->r->enough ? c->r->enough - c->have[k] : 0;
        size_t serves = c->serves[w * c->cells + k];
        sum += serves < missing ? serves : missing;
    }
    return sum;
}

static size_t best_window(const struct cover *c, size_t cell)
{
    size_t best = c->windows, best_gain = 0;
    uint32_t most = 0;
    for (size_t w = 0; w < c->windows; w++) {
        uint32_t serves = c->serves[w * c->cells + cell];
        if (c->chosen[w] || serves < most || serves == 0)
            continue;
        size_t brings = gain(c, w);
        if (serves > most || brings > best_gain) {
            best = w;
            best_gain = brings;
            most = serves;
        }
    }
    return best;
}

/* `wanted` more, by seed, of those not yet chosen. */
static int draw_rest(struct cover *c, size_t wanted, struct err *err)
{
    size_t open = 0;
    size_t *all = mem_array(c->windows, sizeof *all, err);
    size_t *drawn = mem_array(wanted, sizeof *drawn, err);
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    int rc = all && drawn ? 0 : ERR_NOMEM;
    if (rc == 0 && !rng)
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for random numbers");
    for (size_t w = 0; rc == 0 && w < c->windows; w++)
        if (!c->chosen[w])
            all[open++] = w;
    if (rc == 0 && wanted) {
        gsl_rng_set(rng, (unsigned long)c->r->seed);
        gsl_ran_choose(rng, drawn, wanted, all, open, sizeof *all);
        for (size_t i = 0; i < wanted; i++)
            c->chosen[drawn[i]] = true;
    }
    free(all);
    free(drawn);
    gsl_rng_free(rng);
    return rc;
}

int windows_balanced_choose(size_t *number, size_t *count, const struct trace *t,
                            const struct windows_balanced_request *request, struct err *err)
{
    struct cover c;
    size_t taken = 0, cell;
    *count = 0;
    gsl_set_error_handler_off();
    int rc = cover_init(&c, t, request, err);
    size_t wanted = request->samples < c.windows ? request->samples : c.windows;
    while (rc == 0 && taken < wanted && (cell = neediest(&c)) < c.cells) {
        take(&c, best_window(&c, cell));
        taken++;
    }
    if (rc == 0)
        rc = draw_rest(&c, wanted - taken, err);
    for (size_t w = 0; rc == 0 && w < c.windows; w++)
        if (c.chosen[w])
            number[(*count)++] = c.number[w];
    cover_release(&c);
    return rc;
}
