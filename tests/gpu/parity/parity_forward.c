/* Tensors to the device and back, and the forward pass on whole matrices. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "parity_trial.h"

static uint16_t to_bf16(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return (uint16_t)(bits >> 16);
}

static void move_data(struct trial *t)
{
    size_t rows = trial_size(t, 60, 3000), columns = trial_size(t, 130, 3000),
           first = trial_below(t, rows);
    size_t part = 1 + trial_below(t, rows - first), count = rows * columns;
    float *x = trial_floats(t, count, 100.0);
    uint16_t *half = trial_get(count, sizeof *half), *brief = trial_get(count, sizeof *brief);
    double *wide = trial_get(count, sizeof *wide);
    for (size_t i = 0; i < count; i++) {
        half[i] = (uint16_t)(trial_below(t, 0x7c00) |
                             (trial_draw(t) & 0x8000)); /* finite, subnormal too */
        brief[i] = to_bf16(x[i]);
        wide[i] = trial_uniform(t) * 1e3;
    }
    const struct {
        enum backend_source source;
        const void *data;
        size_t bytes;
    } from[] = {
        {SOURCE_F64, wide, 8}, {SOURCE_F32, x, 4}, {SOURCE_F16, half, 2}, {SOURCE_BF16, brief, 2}};
    for (size_t i = 0; i < 4; i++) {
        struct tensor *a = trial_working(t, rows, columns, x);
        (void)!RUN(OPS->upload(t->b, a, first, part, from[i].source, from[i].data, &t->err));
        trial_take(t, a, rows, columns);
    }
    struct tensor *d = trial_empty(t, TENSOR_F64, rows, columns); /* zeroed */
    (void)!RUN(OPS->upload(t->b, d, first, part, SOURCE_F64, wide, &t->err));
    (void)!RUN(OPS->download_f64(t->b, d, 0, rows, wide, &t->err));
    for (size_t i = 0; i < count; i++)
        trial_emit(t, wide[i]);
    (void)!RUN(OPS->fill_zero(t->b, d, &t->err));
    (void)!RUN(OPS->download_f64(t->b, d, 0, rows, wide, &t->err));
    for (size_t i = 0; i < count; i++)
        trial_emit(t, wide[i]);
    trial_drop(t, d);
    free(wide);
    free(brief);
    free(half);
    free(x);
}

static void embed(struct trial *t)
{
    size_t vocab = trial_size(t, 300, 50304), columns = trial_size(t, 100, 2048),
           n = trial_size(t, 150, 3000);
    float *table = trial_floats(t, vocab * columns, 1.0);
    uint32_t *ids = trial_get(n, sizeof *ids);
    for (size_t i = 0; i < n; i++)
        ids[i] = (uint32_t)trial_below(t, vocab);
    struct tensor *w = trial_put(t, vocab, columns, table),
                  *out = trial_working(t, n, columns, NULL);
    (void)!RUN(OPS->embed(t->b, out, w, ids, n, &t->err));
    trial_take(t, out, n, columns);
    trial_drop(t, w);
    free(ids);
    free(table);
}

static void rms_norm(struct trial *t)
{
    size_t group = trial_size(t, 150, 4096), heads = trial_below(t, 2) ? 1 : trial_size(t, 8, 16);
    size_t n = trial_size(t, 100, 2000), columns = group * heads;
    float *x = trial_floats(t, n * columns, 3.0), *weight = trial_floats(t, group, 2.0);
    struct tensor *a = trial_working(t, n, columns, x), *w = trial_put(t, 1, group, weight);
    struct tensor *out = trial_below(t, 2) ? a : trial_working(t, n, columns, NULL);
    (void)!RUN(OPS->rms_norm(t->b, out, a, w, n, group, 1e-5, &t->err));
    if (out != a)
        trial_drop(t, a);
    trial_take(t, out, n, columns);
    trial_drop(t, w);
    free(weight);
    free(x);
}

static void multiply(struct trial *t, bool full)
{
    size_t n = trial_size(t, 90, 3000), in = trial_size(t, 120, 3000),
           columns = trial_size(t, 140, 3000);
    bool biased = trial_below(t, 2);
    float *x = trial_floats(t, n * in, 1.0), *w = trial_floats(t, columns * in, 1.0);
    float *bias = trial_floats(t, columns, 4.0);
    struct tensor *a = trial_working(t, n, in, x), *b = trial_put(t, columns, in, w);
    struct tensor *c = trial_put(t, 1, columns, bias), *out = trial_working(t, n, columns, NULL);
    (void)!RUN(
        (full ? OPS->matmul_full : OPS->matmul)(t->b, out, a, b, biased ? c : NULL, n, &t->err));
    trial_take(t, out, n, columns);
    trial_drop(t, a);
    trial_drop(t, b);
    trial_drop(t, c);
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
    size_t n = trial_size(t, 100, 3000), columns = trial_size(t, 100, 3000);
    float *x = trial_floats(t, n * columns, 20.0);
    struct tensor *a = trial_working(t, n, columns, x);
    (void)!RUN(OPS->clamp(t->b, a, n, 7.5, &t->err));
    trial_take(t, a, n, columns);
    free(x);
}

static void rope(struct trial *t)
{
    size_t heads = trial_size(t, 5, 32), head = 2 * trial_size(t, 40, 64),
           window = trial_size(t, 40, 4096);
    size_t n = window * (1 + trial_below(t, 3)), columns = heads * head;
    float *x = trial_floats(t, n * columns, 2.0);
    struct tensor *a = trial_working(t, n, columns, x);
    (void)!RUN(OPS->rope(t->b, a, n, heads, head, window, 10000.0, &t->err));
    trial_take(t, a, n, columns);
    free(x);
}

static void attention(struct trial *t)
{
    /* Both sides of the sizes at which kernels change; where heads are long, windows are short. */
    static const size_t most[] = {33, 33, 64, 128};
    size_t kind = trial_below(t, 4), kv = trial_size(t, 3, 8), heads = kv * (1 + trial_below(t, 3));
    size_t head = 2 * trial_size(t, most[kind], most[kind]),
           window = trial_size(t, kind == 0 ? 300 : 70, 1000);
    size_t n = window * (1 + trial_below(t, 3));
    float *q = trial_floats(t, n * heads * head, 2.0), *k = trial_floats(t, n * kv * head, 2.0);
    float *v = trial_floats(t, n * kv * head, 1.0);
    struct backend_attention shape = {.window = window,
                                      .heads = heads,
                                      .kv_heads = kv,
                                      .head_dim = head,
                                      .sliding =
                                          trial_below(t, 2) ? 0 : 1 + trial_below(t, window)};
    struct tensor *a = trial_working(t, n, heads * head, q), *b = trial_working(t, n, kv * head, k);
    struct tensor *c = trial_working(t, n, kv * head, v),
                  *out = trial_working(t, n, heads * head, NULL);
    (void)!RUN(OPS->attention(t->b, out, a, b, c, n, &shape, &t->err));
    trial_take(t, out, n, heads * head);
    trial_drop(t, a);
    trial_drop(t, b);
    trial_drop(t, c);
    free(v);
    free(k);
    free(q);
}

static void sums(struct trial *t)
{
    size_t n = trial_size(t, 100, 3000), columns = trial_size(t, 120, 3000),
           kind = trial_below(t, 4);
    float *x = trial_floats(t, n * columns, 4.0), *y = trial_floats(t, n * columns, 4.0);
    float *logit = trial_floats(t, n, 30.0);
    struct tensor *a = trial_working(t, n, columns, x), *b = trial_working(t, n, columns, y);
    struct tensor *c = trial_working(t, n, 1, logit), *out = a;
    if (kind == 0)
        (void)!RUN(OPS->add(t->b, a, b, n, &t->err));
    else if (kind == 1)
        (void)!RUN(OPS->add_gated(t->b, a, b, NULL, n, &t->err));
    else if (kind == 2)
        (void)!RUN(OPS->add_gated(t->b, a, b, c, n, &t->err));
    else
        (void)!RUN(OPS->swiglu(t->b,
                               out = trial_below(t, 2) ? a : trial_working(t, n, columns, NULL), a,
                               b, n, &t->err));
    if (out != a)
        trial_drop(t, a);
    trial_take(t, out, n, columns);
    trial_drop(t, b);
    trial_drop(t, c);
    free(logit);
    free(y);
    free(x);
}

/* Scores reach 8 / sqrt(2) here, and an error of theirs multiplies the probability. */
#define TF32_ATTENTION 6e-3
static const struct parity_case cases[] = {
    {"upload and download", move_data, 0.0, 0.0, 0.0},
    {"embed", embed, 0.0, 0.0, 0.0},
    {"rms_norm", rms_norm, 2e-6, 0.0, 0.0},
    {"matmul", matmul, 2e-5, 0.0, PARITY_TF32},
    {"matmul_full", matmul_full, 2e-5, 0.0, 0.0},
    {"clamp", clamp, 0.0, 0.0, 0.0},
    {"rope", rope, 2e-4, 0.0, 0.0},
    {"attention", attention, 2e-5, 0.0, TF32_ATTENTION},
    {"add, add_gated, swiglu", sums, 2e-6, 0.0, 0.0},
};

const struct parity_family parity_forward = PARITY_FAMILY(cases);
