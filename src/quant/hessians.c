#include "src/quant/hessians.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"

static bool routed(enum hessians_kind kind)
{
    return kind == HESSIANS_IN || kind == HESSIANS_MID;
}

static int set_init(struct hessians *h, enum hessians_kind kind, size_t d, bool absolute,
                    struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    const struct backend_ops *ops = h->b->ops;
    s->d = d;
    s->units = routed(kind) ? h->experts : 1;
    s->sum = mem_array(s->units, sizeof *s->sum, err);
    if (!s->sum)
        return ERR_NOMEM;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->units; i++)
        rc = ops->tensor_new(h->b, &s->sum[i], TENSOR_F64, d, d, err);
    if (rc == 0 && absolute && routed(kind))
        rc = ops->tensor_new(h->b, &s->absolute, TENSOR_F64, s->units, d, err);
    return rc;
}

int hessians_init(struct hessians *h, struct backend *b, const struct model_config *c,
                  unsigned wanted, bool absolute, struct gates *gates, struct err *err)
{
    const size_t sizes[HESSIANS_KINDS] = {
        [HESSIANS_IN] = c->hidden,           [HESSIANS_MID] = c->expert_size,
        [HESSIANS_SHARED_IN] = c->hidden,    [HESSIANS_SHARED_MID] = c->shared_size,
        [HESSIANS_ATTENTION_IN] = c->hidden, [HESSIANS_ATTENTION_MID] = c->heads * c->head_dim};
    *h = (struct hessians){.b = b, .experts = c->experts, .gates = gates};
    h->tokens = mem_array(c->experts, sizeof *h->tokens, err);
    int rc = h->tokens ? 0 : ERR_NOMEM;
    for (int i = 0; rc == 0 && i < HESSIANS_KINDS; i++)
        if (wanted >> i & 1u)
            rc = set_init(h, (enum hessians_kind)i, sizes[i], absolute, err);
    if (rc < 0)
        hessians_release(h);
    return rc;
}

void hessians_release(struct hessians *h)
{
    for (int i = 0; i < HESSIANS_KINDS; i++) {
        struct hessians_set *s = &h->set[i];
        for (size_t e = 0; s->sum && e < s->units; e++)
            h->b->ops->tensor_free(h->b, s->sum[e]);
        if (s->absolute)
            h->b->ops->tensor_free(h->b, s->absolute);
        if (s->device_mean)
            h->b->ops->tensor_free(h->b, s->device_mean);
        free(s->sum);
        free(s->mean);
    }
    free(h->tokens);
    *h = (struct hessians){0};
}

static int add_routed(struct hessians *h, enum hessians_kind kind, const struct tensor *x,
                      const struct backend_groups *g, struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    if (!s->sum)
        return 0;
    const struct tensor *weighted = x;
    int rc = h->gates ? gates_scale(h->gates, &weighted, x, g, s->d, err) : 0;
    if (rc == 0)
        rc = h->b->ops->grouped_gram(h->b, s->sum, weighted, g, err);
    if (rc == 0 && s->absolute)
        rc = h->b->ops->grouped_abs(h->b, s->absolute, x, g, err);
    return rc;
}

static int add_all(struct hessians *h, enum hessians_kind kind, const struct tensor *x, size_t n,
                   struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    return s->sum ? h->b->ops->gram(h->b, s->sum[0], x, n, err) : 0;
}

static int on_routing(void *context, size_t first, const struct backend_groups *g, struct err *err)
{
    struct hessians *h = context;
    (void)first;
    (void)err;
    for (size_t e = 0; e < g->experts; e++)
        h->tokens[e] += g->offset[e + 1] - g->offset[e];
    h->positions += g->tokens;
    return 0;
}

static int on_expert_in(void *context, const struct tensor *x, const struct backend_groups *g,
                        struct err *err)
{
    return add_routed(context, HESSIANS_IN, x, g, err);
}

static int on_expert_mid(void *context, const struct tensor *x, const struct backend_groups *g,
                         struct err *err)
{
    return add_routed(context, HESSIANS_MID, x, g, err);
}

static int on_shared_in(void *context, const struct tensor *x, size_t n, struct err *err)
{
    return add_all(context, HESSIANS_SHARED_IN, x, n, err);
}

static int on_shared_mid(void *context, const struct tensor *x, size_t n, struct err *err)
{
    return add_all(context, HESSIANS_SHARED_MID, x, n, err);
}

static int on_attention_in(void *context, const struct tensor *x, size_t n, struct err *err)
{
    struct hessians *h = context;
    h->positions += n;
    return add_all(h, HESSIANS_ATTENTION_IN, x, n, err);
}

static int on_attention_mid(void *context, const struct tensor *x, size_t n, struct err *err)
{
    return add_all(context, HESSIANS_ATTENTION_MID, x, n, err);
}

struct forward_tap hessians_tap(struct hessians *h)
{
    struct forward_tap tap = {.context = h, .routing = on_routing};
    if (h->set[HESSIANS_IN].sum)
        tap.expert_in = on_expert_in;
    if (h->set[HESSIANS_MID].sum)
        tap.expert_mid = on_expert_mid;
    if (h->set[HESSIANS_SHARED_IN].sum)
        tap.shared_in = on_shared_in;
    if (h->set[HESSIANS_SHARED_MID].sum)
        tap.shared_mid = on_shared_mid;
    if (h->set[HESSIANS_ATTENTION_IN].sum)
        tap.attention_in = on_attention_in;
    if (h->set[HESSIANS_ATTENTION_MID].sum)
        tap.attention_mid = on_attention_mid;
    return tap;
}

size_t hessians_tokens(const struct hessians *h, enum hessians_kind kind, size_t unit)
{
    return routed(kind) ? h->tokens[unit] : h->positions;
}

/* --- Arithmetic on whole matrices, in items of cells --- */

enum { ITEM_CELLS = 1 << 16 };

struct cells_job {
    double *out;      /* [cells] */
    const double *in; /* [cells]; NULL: none */
    size_t cells;
    double factor, divisor;
    bool *finite; /* [items] or NULL */
};

/* out += in */
static void add_cells(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct cells_job *j = context;
    size_t first = item * ITEM_CELLS;
    for (size_t i = first; i < j->cells && i < first + ITEM_CELLS; i++)
        j->out[i] += j->in[i];
}

/* out = (out + factor * in) / divisor */
static void blend_cells(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct cells_job *j = context;
    size_t first = item * ITEM_CELLS;
    bool finite = true;
    for (size_t i = first; i < j->cells && i < first + ITEM_CELLS; i++) {
        double in = j->in ? j->in[i] : 0.0;
        j->out[i] = (j->out[i] + j->factor * in) / j->divisor;
        finite = finite && isfinite(j->out[i]);
    }
    if (j->finite)
        j->finite[item] = finite;
}

enum { MIRROR_ROWS = 64, MIRROR_SIDE = 16 };

struct mirror_job {
    double *h; /* [d][d], its lower triangle is copied into the upper one */
    size_t d;
};

/* In small squares: rows lie a power of two apart, and only a few of them fit in the cache. */
static void mirror_rows(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct mirror_job *j = context;
    size_t first = item * MIRROR_ROWS;
    for (size_t r = first; r < j->d && r < first + MIRROR_ROWS; r += MIRROR_SIDE)
        for (size_t c = r; c < j->d; c += MIRROR_SIDE)
            for (size_t row = r; row < j->d && row < r + MIRROR_SIDE; row++)
                for (size_t column = c > row ? c : row + 1;
                     column < j->d && column < c + MIRROR_SIDE; column++)
                    j->h[row * j->d + column] = j->h[column * j->d + row];
}

static void mirror(struct hessians *h, double *matrix, size_t d)
{
    struct mirror_job job = {matrix, d};
    parallel_for(backend_pool(h->b), (d + MIRROR_ROWS - 1) / MIRROR_ROWS, mirror_rows, &job);
}

static void run_cells(struct hessians *h, parallel_fn fn, struct cells_job *job)
{
    parallel_for(backend_pool(h->b), (job->cells + ITEM_CELLS - 1) / ITEM_CELLS, fn, job);
}

/* Sum over the units' raw sums by the sum of their tokens: the token-weighted mean (of the lower
 * triangles; the upper one means nothing). */
static int layer_mean(struct hessians *h, enum hessians_kind kind, struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    if (s->mean)
        return 0;
    size_t cells = s->d * s->d, tokens = 0;
    double *part = mem_array(cells, sizeof *part, err);
    double *mean = mem_array(cells, sizeof *mean, err);
    struct cells_job job = {.out = mean, .in = part, .cells = cells};
    int rc = part && mean ? 0 : ERR_NOMEM;
    for (size_t e = 0; rc == 0 && e < s->units; e++) {
        tokens += h->tokens[e];
        if (h->tokens[e] == 0)
            continue;
        rc = h->b->ops->download_f64(h->b, s->sum[e], 0, s->d, part, err);
        if (rc == 0)
            run_cells(h, add_cells, &job);
    }
    job = (struct cells_job){.out = mean, .cells = cells, .divisor = (double)tokens};
    if (rc == 0 && tokens)
        run_cells(h, blend_cells, &job);
    free(part);
    if (rc < 0)
        free(mean);
    else
        s->mean = mean;
    return rc;
}

/* out = (out + borrowed * mean) / divisor; ERR_NUMERIC where that is not finite. */
static int blend(struct hessians *h, const struct hessians_set *s, double *out, double borrowed,
                 double divisor, struct err *err)
{
    size_t cells = s->d * s->d, items = (cells + ITEM_CELLS - 1) / ITEM_CELLS;
    bool *finite = mem_array(items, sizeof *finite, err);
    if (!finite)
        return ERR_NOMEM;
    struct cells_job job = {out, s->mean, cells, borrowed, divisor, finite};
    run_cells(h, blend_cells, &job);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < items; i++)
        if (!finite[i])
            rc = err_set(err, ERR_NUMERIC, NULL,
                         "the activations of the calibration text are not finite");
    free(finite);
    return rc;
}

int hessians_take(struct hessians *h, enum hessians_kind kind, size_t unit, double shrink,
                  double *out, struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    double n = (double)hessians_tokens(h, kind, unit);
    double borrowed = routed(kind) ? shrink * (double)s->d : 0.0;
    int rc = routed(kind) ? layer_mean(h, kind, err) : 0;
    if (rc == 0)
        rc = h->b->ops->download_f64(h->b, s->sum[unit], 0, s->d, out, err);
    if (rc < 0)
        return rc;
    h->b->ops->tensor_free(h->b, s->sum[unit]);
    s->sum[unit] = NULL;
    if (n == 0.0)
        borrowed = 1.0;
    rc = blend(h, s, out, borrowed, n + borrowed, err);
    mirror(h, out, s->d);
    return rc;
}

/* --- On the device --- */

bool hessians_stay(const struct hessians *h)
{
    return h->b->ops->hessian_factorize != NULL;
}

static int device_mean(struct hessians *h, struct hessians_set *s, struct err *err)
{
    size_t count = 0, tokens = 0;
    if (s->device_mean)
        return 0;
    struct tensor **sums = mem_array(s->units, sizeof(struct tensor *), err);
    for (size_t e = 0; sums && e < s->units; e++) {
        tokens += h->tokens[e];
        if (h->tokens[e])
            sums[count++] = s->sum[e];
    }
    int rc = sums ? h->b->ops->tensor_new(h->b, &s->device_mean, TENSOR_F64, s->d, s->d, err)
                  : ERR_NOMEM;
    if (rc == 0)
        rc = h->b->ops->hessian_mean(h->b, s->device_mean, sums, count, tokens ? (double)tokens : 1,
                                     err);
    free(sums);
    return rc;
}

int hessians_borrow(struct hessians *h, enum hessians_kind kind, size_t unit, double shrink,
                    struct backend_hessian *out, struct err *err)
{
    struct hessians_set *s = &h->set[kind];
    double n = (double)hessians_tokens(h, kind, unit);
    double borrowed = routed(kind) ? shrink * (double)s->d : 0.0;
    int rc = routed(kind) ? device_mean(h, s, err) : 0;
    borrowed = n == 0.0 ? 1.0 : borrowed;
    *out = (struct backend_hessian){
        .d = s->d, .sum = s->sum[unit], .mean = s->device_mean, borrowed, n + borrowed};
    return rc;
}

void hessians_drop(struct hessians *h, enum hessians_kind kind, size_t unit)
{
    struct hessians_set *s = &h->set[kind];
    h->b->ops->tensor_free(h->b, s->sum[unit]);
    s->sum[unit] = NULL;
}

int hessians_fetch(struct backend *b, const struct backend_hessian *h, double *out, struct err *err)
{
    size_t cells = h->d * h->d;
    double *mean = h->mean ? mem_array(cells, sizeof *mean, err) : NULL;
    int rc = !h->mean || mean ? b->ops->download_f64(b, h->sum, 0, h->d, out, err) : ERR_NOMEM;
    if (rc == 0 && mean)
        rc = b->ops->download_f64(b, h->mean, 0, h->d, mean, err);
    for (size_t i = 0; rc == 0 && i < cells; i++)
        out[i] = (out[i] + (mean ? h->borrowed * mean[i] : 0.0)) / h->divisor;
    free(mean);
    struct mirror_job job = {out, h->d};
    if (rc == 0)
        parallel_for(backend_pool(b), (h->d + MIRROR_ROWS - 1) / MIRROR_ROWS, mirror_rows, &job);
    return rc;
}

int hessians_absolute(const struct hessians *h, enum hessians_kind kind, size_t unit, double *out,
                      struct err *err)
{
    const struct hessians_set *s = &h->set[kind];
    bool own = h->tokens[unit] > 0;
    size_t tokens = 0;
    double *row = mem_array(s->d, sizeof *row, err);
    int rc = row ? 0 : ERR_NOMEM;
    for (size_t j = 0; j < s->d; j++)
        out[j] = 0.0;
    for (size_t e = own ? unit : 0; rc == 0 && e < (own ? unit + 1 : s->units); e++) {
        tokens += h->tokens[e];
        rc = h->b->ops->download_f64(h->b, s->absolute, e, 1, row, err);
        for (size_t j = 0; rc == 0 && j < s->d; j++)
            out[j] += row[j];
    }
    for (size_t j = 0; rc == 0 && tokens && j < s->d; j++)
        out[j] /= (double)tokens;
    free(row);
    return rc;
}
