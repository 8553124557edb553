#include "parity.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPARE = 3 }; /* rows behind those in use */

/* One trial on one backend. The same seed draws the same shapes and inputs. */
struct trial {
    struct backend *b;
    struct backend *cpu; /* prepares inputs */
    uint64_t seed;
    bool large;
    double *values; /* results */
    size_t count, capacity;
    uint32_t *labels; /* results that are whole numbers */
    size_t labels_count, labels_capacity;
    struct err err;
    bool spilled; /* wrote behind the rows in use */
};

/* --- Drawing --- */

static uint64_t draw(struct trial *t)
{
    uint64_t z = t->seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static size_t below(struct trial *t, size_t limit)
{
    return (size_t)((draw(t) >> 32) * (uint64_t)limit >> 32);
}

/* 1 .. small, or up to `big` on a device; now and then the ends. */
static size_t size(struct trial *t, size_t small, size_t big)
{
    size_t most = t->large ? big : small;
    size_t kind = below(t, 8);
    return kind == 0 ? 1 : kind == 1 ? most : 1 + below(t, most);
}

static double uniform(struct trial *t)
{
    return (double)(draw(t) >> 11) * 0x1p-52 - 1.0;
}

static void *get(size_t count, size_t bytes)
{
    void *memory = calloc(count ? count : 1, bytes);
    if (!memory)
        abort();
    return memory;
}

static float *floats(struct trial *t, size_t count, double scale)
{
    float *out = get(count, sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(uniform(t) * scale);
    return out;
}

/* --- Results --- */

static void emit(struct trial *t, double value)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 1024;
        t->values = realloc(t->values, t->capacity * sizeof *t->values);
        if (!t->values)
            abort();
    }
    t->values[t->count++] = value;
}

static void label(struct trial *t, uint32_t value)
{
    if (t->labels_count == t->labels_capacity) {
        t->labels_capacity = t->labels_capacity ? 2 * t->labels_capacity : 1024;
        t->labels = realloc(t->labels, t->labels_capacity * sizeof *t->labels);
        if (!t->labels)
            abort();
    }
    t->labels[t->labels_count++] = value;
}

/* --- Tensors --- */

static struct tensor *empty(struct trial *t, enum tensor_kind kind, size_t rows, size_t columns)
{
    struct tensor *out = NULL;
    (void)!t->b->ops->tensor_new(t->b, &out, kind, rows, columns, &t->err);
    return out;
}

static struct tensor *put(struct trial *t, size_t rows, size_t columns, const float *values)
{
    struct tensor *out = empty(t, TENSOR_F32, rows, columns);
    if (out)
        (void)!t->b->ops->upload(t->b, out, 0, rows, SOURCE_F32, values, &t->err);
    return out;
}

/* rows + SPARE rows; NaN where `values` is NULL, and in the spare ones. */
static struct tensor *working(struct trial *t, size_t rows, size_t columns, const float *values)
{
    float *all = get((rows + SPARE) * columns, sizeof *all);
    for (size_t i = 0; i < (rows + SPARE) * columns; i++)
        all[i] = values && i < rows * columns ? values[i] : NAN;
    struct tensor *out = put(t, rows + SPARE, columns, all);
    free(all);
    return out;
}

/* Emits the rows in use and frees the tensor. */
static void take(struct trial *t, struct tensor *x, size_t rows, size_t columns)
{
    float *out = get((rows + SPARE) * columns, sizeof *out);
    if (x && !t->err.code)
        (void)!t->b->ops->download(t->b, x, 0, rows + SPARE, out, &t->err);
    for (size_t i = 0; !t->err.code && i < (rows + SPARE) * columns; i++)
        if (i < rows * columns)
            emit(t, out[i]);
        else
            t->spilled = t->spilled || !isnan(out[i]);
    t->b->ops->tensor_free(t->b, x);
    free(out);
}

static void drop(struct trial *t, struct tensor *x)
{
    t->b->ops->tensor_free(t->b, x);
}

/* Tokens that choose experts at random, low ones more often; some experts get none. */
static void choose(struct trial *t, struct backend_groups *g, size_t tokens, size_t experts,
                   size_t top_k)
{
    *g = (struct backend_groups){.tokens = tokens, .experts = experts, .top_k = top_k};
    if (backend_groups_alloc(g, &t->err) < 0)
        abort();
    for (size_t i = 0; i < tokens; i++)
        for (size_t k = 0; k < top_k; k++) {
            bool taken = true;
            for (uint16_t e = 0; taken; e++) {
                e = (uint16_t)(below(t, experts) * (1 + below(t, experts)) / experts);
                taken = false;
                for (size_t j = 0; j < k; j++)
                    taken = taken || g->expert[i * top_k + j] == e;
                g->expert[i * top_k + k] = e;
            }
            g->gate[i * top_k + k] = (float)(0.6 + 0.5 * uniform(t));
        }
    if (backend_groups_sort(g, &t->err) < 0)
        abort();
}

/* --- Operations --- */

#define OPS (t->b->ops)
#define RUN(call) (t->err.code ? 0 : (call))

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static void move_data(struct trial *t)
{
    size_t rows = size(t, 60, 3000), columns = size(t, 130, 3000), first = below(t, rows);
    size_t part = 1 + below(t, rows - first), count = rows * columns;
    float *x = floats(t, count, 100.0);
    uint16_t *half = get(count, sizeof *half), *brief = get(count, sizeof *brief);
    double *wide = get(count, sizeof *wide);
    for (size_t i = 0; i < count; i++) {
        half[i] = (uint16_t)(below(t, 0x7c00) | (draw(t) & 0x8000)); /* finite, subnormal too */
        brief[i] = to_bf16(x[i]);
        wide[i] = uniform(t) * 1e3;
    }
    const struct {
        enum backend_source source;
        const void *data;
        size_t bytes;
    } from[] = {
        {SOURCE_F64, wide, 8}, {SOURCE_F32, x, 4}, {SOURCE_F16, half, 2}, {SOURCE_BF16, brief, 2}};
    for (size_t i = 0; i < 4; i++) {
        struct tensor *a = working(t, rows, columns, x);
        (void)!RUN(OPS->upload(t->b, a, first, part, from[i].source, from[i].data, &t->err));
        take(t, a, rows, columns);
    }
    struct tensor *d = empty(t, TENSOR_F64, rows, columns); /* zeroed */
    (void)!RUN(OPS->upload(t->b, d, first, part, SOURCE_F64, wide, &t->err));
    (void)!RUN(OPS->download_f64(t->b, d, 0, rows, wide, &t->err));
    for (size_t i = 0; i < count; i++)
        emit(t, wide[i]);
    (void)!RUN(OPS->fill_zero(t->b, d, &t->err));
    (void)!RUN(OPS->download_f64(t->b, d, 0, rows, wide, &t->err));
    for (size_t i = 0; i < count; i++)
        emit(t, wide[i]);
    drop(t, d);
    free(wide);
    free(brief);
    free(half);
    free(x);
}

static void embed(struct trial *t)
{
    size_t vocab = size(t, 300, 50304), columns = size(t, 100, 2048), n = size(t, 150, 3000);
    float *table = floats(t, vocab * columns, 1.0);
    uint32_t *ids = get(n, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint32_t)below(t, vocab);
    struct tensor *w = put(t, vocab, columns, table), *out = working(t, n, columns, NULL);
    (void)!RUN(OPS->embed(t->b, out, w, ids, n, &t->err));
    take(t, out, n, columns);
    drop(t, w);
    free(ids);
    free(table);
}

static void rms_norm(struct trial *t)
{
    size_t group = size(t, 150, 4096), heads = below(t, 2) ? 1 : size(t, 8, 16);
    size_t n = size(t, 100, 2000), columns = group * heads;
    float *x = floats(t, n * columns, 3.0), *weight = floats(t, group, 2.0);
    struct tensor *a = working(t, n, columns, x), *w = put(t, 1, group, weight);
    struct tensor *out = below(t, 2) ? a : working(t, n, columns, NULL);
    (void)!RUN(OPS->rms_norm(t->b, out, a, w, n, group, 1e-5, &t->err));
    if (out != a)
        drop(t, a);
    take(t, out, n, columns);
    drop(t, w);
    free(weight);
    free(x);
}

static void multiply(struct trial *t, bool full)
{
    size_t n = size(t, 90, 3000), in = size(t, 120, 3000), columns = size(t, 140, 3000);
    bool biased = below(t, 2);
    float *x = floats(t, n * in, 1.0), *w = floats(t, columns * in, 1.0);
    float *bias = floats(t, columns, 4.0);
    struct tensor *a = working(t, n, in, x), *b = put(t, columns, in, w);
    struct tensor *c = put(t, 1, columns, bias), *out = working(t, n, columns, NULL);
    (void)!RUN(
        (full ? OPS->matmul_full : OPS->matmul)(t->b, out, a, b, biased ? c : NULL, n, &t->err));
    take(t, out, n, columns);
    drop(t, a);
    drop(t, b);
    drop(t, c);
    free(bias);
    free(w);
    free(x);
}

static void matmul(struct trial *t)
{
    multiply(t, false);
}

static void matmul_full(struct trial *t)
{
    multiply(t, true);
}

static void clamp(struct trial *t)
{
    size_t n = size(t, 100, 3000), columns = size(t, 100, 3000);
    float *x = floats(t, n * columns, 20.0);
    struct tensor *a = working(t, n, columns, x);
    (void)!RUN(OPS->clamp(t->b, a, n, 7.5, &t->err));
    take(t, a, n, columns);
    free(x);
}

static void rope(struct trial *t)
{
    size_t heads = size(t, 5, 32), head = 2 * size(t, 40, 64), window = size(t, 40, 4096);
    size_t n = window * (1 + below(t, 3)), columns = heads * head;
    float *x = floats(t, n * columns, 2.0);
    struct tensor *a = working(t, n, columns, x);
    (void)!RUN(OPS->rope(t->b, a, n, heads, head, window, 10000.0, &t->err));
    take(t, a, n, columns);
    free(x);
}

static void attention(struct trial *t)
{
    size_t kv = size(t, 3, 8), heads = kv * (1 + below(t, 3)), head = 2 * size(t, 33, 64);
    size_t window = size(t, 70, 1000), n = window * (1 + below(t, 3));
    float *q = floats(t, n * heads * head, 2.0), *k = floats(t, n * kv * head, 2.0);
    float *v = floats(t, n * kv * head, 1.0);
    struct backend_attention shape = {.window = window,
                                      .heads = heads,
                                      .kv_heads = kv,
                                      .head_dim = head,
                                      .sliding = below(t, 2) ? 0 : 1 + below(t, window)};
    struct tensor *a = working(t, n, heads * head, q), *b = working(t, n, kv * head, k);
    struct tensor *c = working(t, n, kv * head, v), *out = working(t, n, heads * head, NULL);
    (void)!RUN(OPS->attention(t->b, out, a, b, c, n, &shape, &t->err));
    take(t, out, n, heads * head);
    drop(t, a);
    drop(t, b);
    drop(t, c);
    free(v);
    free(k);
    free(q);
}

static void sums(struct trial *t)
{
    size_t n = size(t, 100, 3000), columns = size(t, 120, 3000), kind = below(t, 4);
    float *x = floats(t, n * columns, 4.0), *y = floats(t, n * columns, 4.0);
    float *logit = floats(t, n, 30.0);
    struct tensor *a = working(t, n, columns, x), *b = working(t, n, columns, y);
    struct tensor *c = working(t, n, 1, logit), *out = a;
    if (kind == 0)
        (void)!RUN(OPS->add(t->b, a, b, n, &t->err));
    else if (kind == 1)
        (void)!RUN(OPS->add_gated(t->b, a, b, NULL, n, &t->err));
    else if (kind == 2)
        (void)!RUN(OPS->add_gated(t->b, a, b, c, n, &t->err));
    else
        (void)!RUN(OPS->swiglu(t->b, out = below(t, 2) ? a : working(t, n, columns, NULL), a, b, n,
                               &t->err));
    if (out != a)
        drop(t, a);
    take(t, out, n, columns);
    drop(t, b);
    drop(t, c);
    free(logit);
    free(y);
    free(x);
}

static void route(struct trial *t)
{
    size_t n = size(t, 150, 5000), experts = size(t, 70, 256);
    size_t top_k = 1 + below(t, experts < 8 ? experts : 8);
    bool normalize = below(t, 2);
    float *logits = floats(t, n * experts, 9.0);
    struct tensor *a = working(t, n, experts, logits);
    struct backend_groups g = {0};
    (void)!RUN(OPS->route(t->b, &g, a, n, top_k, normalize, &t->err));
    for (size_t i = 0; !t->err.code && i < n * top_k; i++) {
        label(t, g.expert[i]);
        label(t, g.row[i]);
        label(t, g.slot[i]);
        emit(t, g.gate[i]);
    }
    for (size_t e = 0; !t->err.code && e <= experts; e++)
        label(t, (uint32_t)g.offset[e]);
    backend_groups_release(&g);
    drop(t, a);
    free(logits);
}

struct crowd {
    struct backend_groups g;
    size_t n, experts, top_k, slots;
};

static void make_crowd(struct trial *t, struct crowd *c)
{
    c->n = size(t, 120, 4096);
    c->experts = 1 + size(t, 20, 64);
    c->top_k = 1 + below(t, c->experts < 5 ? c->experts - 1 : 4);
    c->slots = c->n * c->top_k;
    choose(t, &c->g, c->n, c->experts, c->top_k);
}

static void gather(struct trial *t)
{
    struct crowd c;
    make_crowd(t, &c);
    size_t columns = size(t, 100, 2048);
    float *x = floats(t, c.n * columns, 1.0);
    struct tensor *a = working(t, c.n, columns, x), *out = working(t, c.slots, columns, NULL);
    (void)!RUN(OPS->gather(t->b, out, a, &c.g, &t->err));
    take(t, out, c.slots, columns);
    drop(t, a);
    free(x);
    backend_groups_release(&c.g);
}

static void grouped_matmul(struct trial *t)
{
    struct crowd c;
    make_crowd(t, &c);
    size_t in = size(t, 70, 1024), columns = size(t, 80, 1024);
    float *x = floats(t, c.slots * in, 1.0);
    struct tensor *a = working(t, c.slots, in, x), *out = working(t, c.slots, columns, NULL);
    struct tensor **w = get(c.experts, sizeof *w);
    for (size_t e = 0; e < c.experts; e++) {
        float *values = floats(t, columns * in, 1.0);
        w[e] = put(t, columns, in, values);
        free(values);
    }
    (void)!RUN(OPS->grouped_matmul(t->b, out, a, w, &c.g, &t->err));
    take(t, out, c.slots, columns);
    for (size_t e = 0; e < c.experts; e++)
        drop(t, w[e]);
    drop(t, a);
    free(w);
    free(x);
    backend_groups_release(&c.g);
}

static void combine(struct trial *t)
{
    struct crowd c;
    make_crowd(t, &c);
    size_t columns = size(t, 100, 2048);
    float *x = floats(t, c.n * columns, 1.0), *y = floats(t, c.slots * columns, 1.0);
    struct tensor *a = working(t, c.n, columns, x), *b = working(t, c.slots, columns, y);
    (void)!RUN(OPS->combine(t->b, a, b, &c.g, &t->err));
    take(t, a, c.n, columns);
    drop(t, b);
    free(y);
    free(x);
    backend_groups_release(&c.g);
}

/* Emits the lower triangle and frees. */
static void take_gram(struct trial *t, struct tensor *h, size_t d)
{
    double *values = get(d * d, sizeof *values);
    (void)!RUN(OPS->download_f64(t->b, h, 0, d, values, &t->err));
    for (size_t r = 0; !t->err.code && r < d; r++)
        for (size_t c = 0; c <= r; c++)
            emit(t, values[r * d + c]);
    drop(t, h);
    free(values);
}

static void grouped_gram(struct trial *t)
{
    struct crowd c;
    make_crowd(t, &c);
    size_t d = size(t, 90, 1500);
    float *x = floats(t, c.slots * d, 2.0);
    struct tensor *a = working(t, c.slots, d, x), **h = get(c.experts, sizeof *h);
    struct tensor *sum = empty(t, TENSOR_F64, c.experts, d);
    for (size_t e = 0; e < c.experts; e++)
        h[e] = empty(t, TENSOR_F64, d, d);
    for (size_t again = 0; again < 2; again++) {
        (void)!RUN(OPS->grouped_gram(t->b, h, a, &c.g, &t->err));
        (void)!RUN(OPS->grouped_abs(t->b, sum, a, &c.g, &t->err));
    }
    for (size_t e = 0; e < c.experts; e++)
        take_gram(t, h[e], d);
    double *values = get(c.experts * d, sizeof *values);
    (void)!RUN(OPS->download_f64(t->b, sum, 0, c.experts, values, &t->err));
    for (size_t i = 0; i < c.experts * d; i++)
        emit(t, values[i]);
    drop(t, sum);
    drop(t, a);
    free(values);
    free(h);
    free(x);
    backend_groups_release(&c.g);
}

static void gram(struct trial *t)
{
    size_t n = size(t, 200, 5000), d = size(t, 120, 2048);
    float *x = floats(t, n * d, 2.0);
    struct tensor *a = working(t, n, d, x), *h = empty(t, TENSOR_F64, d, d);
    for (size_t again = 0; again < 2; again++)
        (void)!RUN(OPS->gram(t->b, h, a, n, &t->err));
    take_gram(t, h, d);
    drop(t, a);
    free(x);
}

/* X^T X / n + a little of the unit matrix. */
static double *positive(struct trial *t, size_t d)
{
    size_t n = d + 8;
    float *x = floats(t, n * d, 1.0);
    double *h = get(d * d, sizeof *h);
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < d; r++)
            for (size_t c = 0; c <= r; c++)
                h[r * d + c] += (double)x[k * d + r] * x[k * d + c] / (double)n;
    for (size_t r = 0; r < d; r++) {
        h[r * d + r] += 0.05;
        for (size_t c = 0; c < r; c++)
            h[c * d + r] = h[r * d + c];
    }
    free(x);
    return h;
}

static void factorize(struct trial *t, enum backend_precision precision)
{
    enum { MOST = 5 };
    double *h[MOST];
    size_t d[MOST], count = 1 + below(t, MOST), bad = below(t, 2 * MOST);
    bool failed[MOST] = {false};
    for (size_t i = 0; i < count; i++) {
        d[i] = size(t, 150, 600);
        h[i] = positive(t, d[i]);
        if (i == bad) /* somewhere inside, so that columns before it are fine */
            h[i][below(t, d[i]) * (d[i] + 1)] = -1.0;
    }
    (void)!RUN(OPS->cholesky(t->b, h, d, count, precision, failed, &t->err));
    for (size_t i = 0; i < count; i++) {
        label(t, failed[i]);
        for (size_t k = 0; !failed[i] && k < d[i] * d[i]; k++)
            emit(t, h[i][k]);
        free(h[i]);
    }
}

static void cholesky_fp32(struct trial *t)
{
    factorize(t, BACKEND_FP32);
}

static void cholesky_fp64(struct trial *t)
{
    factorize(t, BACKEND_FP64);
}

/* --- Hessians that stay on the device; where they lie in the host's memory, the same there. --- */

struct stay {
    size_t d, count;
    struct tensor *mean, *sum[3], *factor[3];
    double *host_sum[3], *host_mean;
    double borrowed[3], divisor[3];
    uint32_t *order;
    bool bad; /* the last one has no factor */
};

static double stay_value(const struct stay *s, size_t i, size_t a, size_t b)
{
    size_t at = a > b ? a * s->d + b : b * s->d + a;
    return (s->host_sum[i][at] + s->borrowed[i] * s->host_mean[at]) / s->divisor[i];
}

static void stay_init(struct trial *t, struct stay *s)
{
    *s = (struct stay){.d = size(t, 150, 600), .count = 3, .bad = below(t, 2)};
    size_t d = s->d;
    s->order = get(d, sizeof *s->order);
    s->host_mean = get(d * d, sizeof *s->host_mean);
    for (size_t i = 0; i < d; i++) {
        size_t j = below(t, i + 1);
        s->order[i] = s->order[j];
        s->order[j] = (uint32_t)i;
    }
    for (size_t i = 0; i < s->count; i++) {
        s->host_sum[i] = positive(t, d);
        s->borrowed[i] = i ? 0.25 * (double)i : 0.0;
        s->divisor[i] = 2.0 + uniform(t);
        for (size_t k = 0; k < d * d; k++)
            s->host_mean[k] += s->host_sum[i][k] / 7.0;
        /* What lies above the diagonal must not matter. */
        for (size_t r = 0; r < d; r++)
            for (size_t c = r + 1; c < d; c++)
                s->host_sum[i][r * d + c] = NAN;
        s->sum[i] = empty(t, TENSOR_F64, d, d);
        s->factor[i] = empty(t, TENSOR_F64, d, d);
        (void)!RUN(OPS->upload(t->b, s->sum[i], 0, d, SOURCE_F64, s->host_sum[i], &t->err));
    }
    s->mean = empty(t, TENSOR_F64, d, d);
}

static void stay_release(struct trial *t, struct stay *s)
{
    for (size_t i = 0; i < s->count; i++) {
        drop(t, s->sum[i]);
        drop(t, s->factor[i]);
        free(s->host_sum[i]);
    }
    drop(t, s->mean);
    free(s->host_mean);
    free(s->order);
}

/* diagonal[i][d]; factor[i][d][d] */
static void stay_on_device(struct trial *t, struct stay *s, double *const *diagonal,
                           double *const *factor, bool *failed)
{
    struct backend_hessian h[3];
    struct backend_factor f[3];
    double *damped[3];
    (void)!RUN(OPS->hessian_mean(t->b, s->mean, s->sum, s->count, 7.0, &t->err));
    for (size_t i = 0; i < s->count; i++)
        h[i] = (struct backend_hessian){s->d, s->sum[i], i ? s->mean : NULL, s->borrowed[i],
                                        s->divisor[i]};
    (void)!RUN(OPS->hessian_diagonals(t->b, diagonal, h, s->count, &t->err));
    for (size_t i = 0; i < s->count; i++) {
        damped[i] = get(s->d, sizeof *damped[i]);
        for (size_t j = 0; j < s->d; j++)
            damped[i][j] = s->bad && i == 2 && j == s->d / 2 ? -1.0 : diagonal[i][j] + 0.01;
        f[i] = (struct backend_factor){&h[i], s->order, damped[i], s->factor[i]};
    }
    (void)!RUN(OPS->hessian_factorize(t->b, f, s->count, failed, &t->err));
    for (size_t i = 0; i < s->count; i++) {
        (void)!RUN(OPS->download_f64(t->b, s->factor[i], 0, s->d, factor[i], &t->err));
        free(damped[i]);
    }
}

static void stay_on_host(struct trial *t, const struct stay *s, double *const *diagonal,
                         double *const *factor, bool *failed)
{
    size_t d[3] = {s->d, s->d, s->d};
    for (size_t i = 0; i < s->count; i++) {
        for (size_t j = 0; j < s->d; j++)
            diagonal[i][j] = stay_value(s, i, j, j);
        for (size_t r = 0; r < s->d; r++)
            for (size_t c = 0; c <= r; c++) {
                double value = stay_value(s, i, s->order[r], s->order[c]);
                bool bad = s->bad && i == 2 && s->order[r] == s->d / 2;
                factor[i][r * s->d + c] = r != c ? value : bad ? -1.0 : value + 0.01;
            }
    }
    (void)!RUN(OPS->cholesky(t->b, factor, d, s->count, BACKEND_FP64, failed, &t->err));
}

/* The order that the factor has takes the weights; codes follow. */
static void stay_sweep(struct trial *t, const struct stay *s, const double *factor)
{
    size_t rows = size(t, 40, 500), d = s->d;
    float *weights = floats(t, rows * d, 1.0);
    double *scale = get(rows, sizeof *scale), loss = 0.0, square = 0.0;
    uint8_t *zero = get(rows, 1), *codes = get(rows * d, 1), top = 15;
    uint32_t *grid = get(d, sizeof *grid);
    bool stays = OPS->hessian_factorize;
    struct tensor *w = stays ? put(t, rows, d, weights) : NULL;
    for (size_t r = 0; r < rows; r++) {
        scale[r] = 2.0 / 15.0;
        zero[r] = 8;
    }
    struct backend_sweep p = {.rows = rows,
                              .columns = d,
                              .grids = 1,
                              .weights = stays ? NULL : weights,
                              .factor = stays ? NULL : factor,
                              .device_weights = w,
                              .device_factor = stays ? s->factor[0] : NULL,
                              .restored = w,
                              .order = s->order,
                              .grid = grid,
                              .max_code = &top,
                              .scale = scale,
                              .zero = zero,
                              .codes = codes,
                              .loss = &loss,
                              .square = &square};
    (void)!RUN(OPS->sweep(t->b, &p, 1, BACKEND_FP64, &t->err));
    if (stays)
        (void)!RUN(OPS->download(t->b, w, 0, rows, weights, &t->err));
    for (size_t i = 0; i < rows * d; i++) {
        label(t, codes[i]);
        /* What the code stands for, which takes the weight's place. */
        float value = (float)scale[i / d] * (float)((int)codes[i] - (int)zero[i / d]);
        emit(t, stays ? weights[i] == value : 1.0);
    }
    emit(t, loss);
    emit(t, square);
    drop(t, w);
    free(weights);
    free(scale);
    free(zero);
    free(codes);
    free(grid);
}

static void hessians_stay(struct trial *t)
{
    struct stay s;
    double *diagonal[3], *factor[3];
    bool failed[3] = {false};
    stay_init(t, &s);
    for (size_t i = 0; i < s.count; i++) {
        diagonal[i] = get(s.d, sizeof *diagonal[i]);
        factor[i] = get(s.d * s.d, sizeof *factor[i]);
    }
    if (OPS->hessian_factorize)
        stay_on_device(t, &s, diagonal, factor, failed);
    else
        stay_on_host(t, &s, diagonal, factor, failed);
    for (size_t i = 0; i < s.count; i++) {
        label(t, failed[i]);
        for (size_t j = 0; j < s.d; j++)
            emit(t, diagonal[i][j]);
        for (size_t k = 0; !failed[i] && k < s.d * s.d; k++)
            emit(t, factor[i][k]);
    }
    stay_sweep(t, &s, factor[0]);
    for (size_t i = 0; i < s.count; i++) {
        free(diagonal[i]);
        free(factor[i]);
    }
    stay_release(t, &s);
}

struct rounding {
    struct backend_sweep s;
    double loss, square, nearest_loss, nearest_square;
    float *weights;
    double *factor, *scale;
    uint32_t *order, *grid;
    uint8_t *max_code, *zero, *codes;
};

static void make_rounding(struct trial *t, struct rounding *r, const struct rounding *shares)
{
    static const uint8_t widths[] = {3, 7, 15, 255};
    size_t d = shares ? shares->s.columns : size(t, 160, 600), rows = size(t, 60, 600);
    size_t group = 1 + below(t, d), grids = (d + group - 1) / group;
    bool failed = false;
    *r = (struct rounding){.weights = floats(t, rows * d, 1.0),
                           .factor = shares ? shares->factor : positive(t, d),
                           .scale = get(rows * grids, sizeof(double)),
                           .order = get(d, sizeof(uint32_t)),
                           .grid = get(d, sizeof(uint32_t)),
                           .max_code = get(grids, 1),
                           .zero = get(rows * grids, 1),
                           .codes = get(rows * d, 1)};
    if (!shares &&
        t->cpu->ops->cholesky(t->cpu, &r->factor, &d, 1, BACKEND_FP64, &failed, &t->err) < 0)
        abort();
    for (size_t i = 0; i < d; i++) {
        size_t j = below(t, i + 1);
        r->order[i] = r->order[j];
        r->order[j] = (uint32_t)i;
        r->grid[i] = (uint32_t)(i / group);
    }
    for (size_t g = 0; g < grids; g++)
        r->max_code[g] = widths[below(t, 4)];
    for (size_t i = 0; i < rows * grids; i++) {
        r->scale[i] = (1.5 + 0.5 * uniform(t)) / r->max_code[i % grids];
        r->zero[i] = (uint8_t)(r->max_code[i % grids] / 2 + below(t, 2));
    }
    r->s = (struct backend_sweep){.rows = rows,
                                  .columns = d,
                                  .grids = grids,
                                  .weights = r->weights,
                                  .factor = r->factor,
                                  .order = r->order,
                                  .grid = r->grid,
                                  .max_code = r->max_code,
                                  .scale = r->scale,
                                  .zero = r->zero,
                                  .codes = r->codes,
                                  .nearest = below(t, 4) == 0};
}

/* Addresses of the results, once the struct lies where it stays. */
static void tie_rounding(struct trial *t, struct rounding *r)
{
    r->s.loss = &r->loss;
    r->s.square = &r->square;
    if (below(t, 2)) {
        r->s.nearest_loss = &r->nearest_loss;
        r->s.nearest_square = &r->nearest_square;
    }
}

static void round_columns(struct trial *t, enum backend_precision precision)
{
    enum { MOST = 4 };
    struct rounding r[MOST];
    struct backend_sweep s[MOST];
    size_t count = 1 + below(t, MOST);
    for (size_t i = 0; i < count; i++) {
        make_rounding(t, &r[i], i && below(t, 2) ? &r[i - 1] : NULL);
        tie_rounding(t, &r[i]);
        s[i] = r[i].s;
    }
    (void)!RUN(OPS->sweep(t->b, s, count, precision, &t->err));
    for (size_t i = 0; i < count; i++) {
        for (size_t k = 0; k < s[i].rows * s[i].columns; k++)
            label(t, r[i].codes[k]);
        emit(t, r[i].loss);
        emit(t, r[i].square);
        emit(t, r[i].nearest_loss);
        emit(t, r[i].nearest_square);
    }
    for (size_t i = count; i-- > 0;) {
        free(r[i].weights);
        if (i == 0 || r[i].factor != r[i - 1].factor)
            free(r[i].factor);
        free(r[i].scale);
        free(r[i].order);
        free(r[i].grid);
        free(r[i].max_code);
        free(r[i].zero);
        free(r[i].codes);
    }
}

static void sweep_fp32(struct trial *t)
{
    round_columns(t, BACKEND_FP32);
}

static void sweep_fp64(struct trial *t)
{
    round_columns(t, BACKEND_FP64);
}

static void nll(struct trial *t)
{
    size_t n = size(t, 80, 1500), in = size(t, 60, 1024), vocab = size(t, 400, 50304);
    float *x = floats(t, n * in, 1.0), *w = floats(t, vocab * in, 1.0);
    int64_t *target = get(n, sizeof *target);
    double *out = get(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        target[i] = below(t, 9) ? (int64_t)below(t, vocab) : -1;
    struct tensor *a = working(t, n, in, x), *b = put(t, vocab, in, w);
    (void)!RUN(OPS->nll(t->b, out, a, b, target, n, &t->err));
    for (size_t i = 0; i < n; i++)
        if (target[i] >= 0)
            emit(t, out[i]);
    drop(t, a);
    drop(t, b);
    free(out);
    free(target);
    free(w);
    free(x);
}

/* Tolerances: a few units of single precision times the length of the sums. TF32 takes up to 2^-10
 * of each operand; where both have all their bits, as here, a product of one term loses up to 2^-9.
 * Codes follow errors that pile up along a row, so one near a half may fall to the other side, and
 * those behind it. */
#define TF32 3e-3
static const struct {
    const char *name;
    void (*run)(struct trial *t);
    double tolerance, allowed;
    double tf32; /* tolerance with TF32; 0: the same */
} cases[] = {
    {"upload and download", move_data, 0.0, 0.0, 0.0},
    {"embed", embed, 0.0, 0.0, 0.0},
    {"rms_norm", rms_norm, 2e-6, 0.0, 0.0},
    {"matmul", matmul, 2e-5, 0.0, TF32},
    {"matmul_full", matmul_full, 2e-5, 0.0, 0.0},
    {"clamp", clamp, 0.0, 0.0, 0.0},
    {"rope", rope, 2e-4, 0.0, 0.0},
    {"attention", attention, 2e-5, 0.0, 0.0},
    {"add, add_gated, swiglu", sums, 2e-6, 0.0, 0.0},
    {"route", route, 1e-5, 1e-3, 0.0},
    {"gather", gather, 0.0, 0.0, 0.0},
    {"grouped_matmul", grouped_matmul, 2e-5, 0.0, TF32},
    {"combine", combine, 2e-6, 0.0, 0.0},
    {"gram", gram, 2e-5, 0.0, TF32},
    {"grouped_gram, grouped_abs", grouped_gram, 2e-5, 0.0, TF32},
    {"cholesky, fp32", cholesky_fp32, 1e-5, 0.0, 0.0},
    {"cholesky, fp64", cholesky_fp64, 1e-9, 0.0, 0.0},
    {"hessian_mean, _diagonals, _factorize", hessians_stay, 1e-9, 1e-4, 0.0},
    {"sweep, fp32", sweep_fp32, 2e-2, 2e-2, 0.0},
    {"sweep, fp64", sweep_fp64, 1e-9, 1e-4, 0.0},
    {"nll", nll, 2e-5, 0.0, TF32},
};

size_t parity_count(void)
{
    return sizeof cases / sizeof *cases;
}

static void __attribute__((format(printf, 2, 3)))
complain(struct parity_result *r, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    if (r->good)
        vsnprintf(r->message, sizeof r->message, format, args);
    r->good = false;
    va_end(args);
}

static void compare(struct parity_result *r, size_t trial, const struct trial *want,
                    const struct trial *got)
{
    if (want->err.code || got->err.code) {
        complain(r, "trial %zu: %.200s", trial,
                 want->err.code ? want->err.message : got->err.message);
        return;
    }
    if (want->spilled || got->spilled)
        complain(r, "trial %zu: wrote behind the rows in use", trial);
    if (want->count != got->count || want->labels_count != got->labels_count) {
        complain(r, "trial %zu: %zu results, the CPU has %zu", trial,
                 got->count + got->labels_count, want->count + want->labels_count);
        return;
    }
    double square = 0.0;
    for (size_t i = 0; i < want->count; i++)
        square += want->values[i] * want->values[i];
    double rms = want->count ? sqrt(square / (double)want->count) : 0.0;
    for (size_t i = 0; i < want->count; i++) {
        double a = want->values[i], b = got->values[i];
        double error = a == b ? 0.0 : fabs(a - b) / (rms + fabs(a));
        if (!(error <= r->tolerance))
            complain(r, "trial %zu: result %zu is %.9g, on the CPU %.9g", trial, i, b, a);
        r->worst = !(error <= r->worst) ? error : r->worst;
    }
    size_t differ = 0;
    for (size_t i = 0; i < want->labels_count; i++)
        differ += want->labels[i] != got->labels[i];
    double part = want->labels_count ? (double)differ / (double)want->labels_count : 0.0;
    if (part > r->allowed)
        complain(r, "trial %zu: %zu of %zu whole numbers differ", trial, differ,
                 want->labels_count);
    r->unequal = part > r->unequal ? part : r->unequal;
}

static void run_trial(struct trial *t, size_t index)
{
    uint64_t before = 0, after = 0, room;
    if (t->b->ops->memory)
        t->b->ops->memory(t->b, &room, &before);
    cases[index].run(t);
    if (t->b->ops->memory)
        t->b->ops->memory(t->b, &room, &after);
    if (after != before)
        err_set(&t->err, ERR_DEVICE, NULL, "%lld bytes of device memory were not freed",
                (long long)(after - before));
}

struct parity_result parity_run(size_t index, struct backend *cpu, struct backend *other,
                                size_t trials, enum parity_sizes sizes, bool tf32)
{
    bool large = sizes == PARITY_LARGE, coarse = tf32 && cases[index].tf32 > 0.0;
    struct parity_result r = {.name = cases[index].name,
                              .trials = trials,
                              .tolerance = coarse ? cases[index].tf32 : cases[index].tolerance,
                              .allowed = cases[index].allowed,
                              .good = true};
    for (size_t i = 0; i < trials; i++) {
        uint64_t seed = (index + 1) * 1000003 + i;
        struct trial want = {.b = cpu, .cpu = cpu, .seed = seed, .large = large};
        struct trial got = {.b = other, .cpu = cpu, .seed = seed, .large = large};
        run_trial(&want, index);
        run_trial(&got, index);
        compare(&r, i, &want, &got);
        free(want.values);
        free(want.labels);
        free(got.values);
        free(got.labels);
    }
    return r;
}
