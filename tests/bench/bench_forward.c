/*
 * Parts of one OLMoE-shaped layer (hidden 2048, 64 experts of 1024, top-8) on the CPU, one JSON
 * line a part: GFLOP/s, and the ratio to what OpenBLAS reaches on big square products with the
 * same threads. Argument: number of threads (default: all).
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"

enum {
    HIDDEN = 2048,
    INNER = 1024,
    EXPERTS = 64,
    TOP_K = 8,
    HEADS = 16,
    WINDOW = 2048,
    TOKENS = 2 * WINDOW,
    SLOTS = TOKENS * TOP_K,
    PEAK_SIDE = 1024,
    PEAK_ITEMS = 32
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_forward: %s\n", err->message);
    exit(1);
}

struct bench {
    struct backend *b;
    const struct backend_ops *ops;
    struct err err;
    double peak; /* GFLOP/s */
    struct tensor *x, *q, *k, *v, *mid, *w, *logits, *slots, *gate, *up;
    struct tensor *experts[3][EXPERTS], *hessian[EXPERTS], *hessian_down[EXPERTS];
    struct backend_groups groups;
};

static struct tensor *make(struct bench *s, size_t rows, size_t columns, double scale)
{
    static uint64_t state = 1;
    struct tensor *t;
    float *values = mem_aligned(rows * columns, sizeof *values, &s->err);
    check(values ? 0 : ERR_NOMEM, &s->err);
    for (size_t i = 0; i < rows * columns; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        values[i] = (float)(((double)(state >> 11) * 0x1p-52 - 1) * scale);
    }
    check(s->ops->tensor_new(s->b, &t, TENSOR_F32, rows, columns, &s->err), &s->err);
    check(s->ops->upload(s->b, t, 0, rows, SOURCE_F32, values, &s->err), &s->err);
    free(values);
    return t;
}

static struct tensor *make_hessian(struct bench *s, size_t side)
{
    struct tensor *t;
    check(s->ops->tensor_new(s->b, &t, TENSOR_F64, side, side, &s->err), &s->err);
    return t;
}

static void prepare(struct bench *s)
{
    s->x = make(s, TOKENS, HIDDEN, 1);
    s->q = make(s, TOKENS, HIDDEN, 1);
    s->k = make(s, TOKENS, HIDDEN, 1);
    s->v = make(s, TOKENS, HIDDEN, 1);
    s->mid = make(s, TOKENS, HIDDEN, 1);
    s->w = make(s, HIDDEN, HIDDEN, 0.02);
    s->logits = make(s, TOKENS, EXPERTS, 3);
    s->slots = make(s, SLOTS, HIDDEN, 1);
    s->gate = make(s, SLOTS, INNER, 1);
    s->up = make(s, SLOTS, INNER, 1);
    for (size_t e = 0; e < EXPERTS; e++) {
        s->experts[0][e] = make(s, INNER, HIDDEN, 0.02);
        s->experts[1][e] = make(s, INNER, HIDDEN, 0.02);
        s->experts[2][e] = make(s, HIDDEN, INNER, 0.02);
        s->hessian[e] = make_hessian(s, HIDDEN);
        s->hessian_down[e] = make_hessian(s, INNER);
    }
}

static void peak_item(void *context, size_t item, size_t worker)
{
    (void)item;
    float *area = ((float **)context)[worker];
    size_t n = PEAK_SIDE;
    cpu_gemm_nt(n, n, n, area, n, area + n * n, n, area + 2 * n * n, n);
}

static void run_peak(struct bench *s)
{
    struct cpu_backend *c = cpu_self(s->b);
    check(cpu_scratch(c, (size_t)3 * PEAK_SIDE * PEAK_SIDE, &s->err), &s->err);
    for (size_t t = 0; t < c->threads; t++)
        for (size_t i = 0; i < (size_t)3 * PEAK_SIDE * PEAK_SIDE; i++)
            c->scratch[t][i] = (float)(i % 1013) * 1e-3f;
    parallel_for(c->pool, PEAK_ITEMS, peak_item, c->scratch);
}

static void run_projections(struct bench *s)
{
    struct tensor *const out[4] = {s->q, s->k, s->v, s->mid};
    for (size_t i = 0; i < 4; i++)
        check(s->ops->matmul(s->b, out[i], s->x, s->w, NULL, TOKENS, &s->err), &s->err);
}

static void run_attention(struct bench *s)
{
    const struct backend_attention shape = {WINDOW, HEADS, HEADS, HIDDEN / HEADS, 0};
    check(s->ops->attention(s->b, s->mid, s->q, s->k, s->v, TOKENS, &shape, &s->err), &s->err);
}

static void run_experts(struct bench *s)
{
    const struct backend_ops *ops = s->ops;
    const struct backend_groups *g = &s->groups;
    check(ops->gather(s->b, s->slots, s->x, g, &s->err), &s->err);
    check(ops->grouped_matmul(s->b, s->gate, s->slots, s->experts[0], g, &s->err), &s->err);
    check(ops->grouped_matmul(s->b, s->up, s->slots, s->experts[1], g, &s->err), &s->err);
    check(ops->swiglu(s->b, s->gate, s->gate, s->up, SLOTS, &s->err), &s->err);
    check(ops->grouped_matmul(s->b, s->slots, s->gate, s->experts[2], g, &s->err), &s->err);
    check(ops->combine(s->b, s->mid, s->slots, g, &s->err), &s->err);
}

static void run_hessians(struct bench *s)
{
    check(s->ops->grouped_gram(s->b, s->hessian, s->slots, &s->groups, &s->err), &s->err);
    check(s->ops->grouped_gram(s->b, s->hessian_down, s->gate, &s->groups, &s->err), &s->err);
}

static void run_attention_hessians(struct bench *s)
{
    check(s->ops->gram(s->b, s->hessian[0], s->x, TOKENS, &s->err), &s->err);
    check(s->ops->gram(s->b, s->hessian[1], s->mid, TOKENS, &s->err), &s->err);
}

/* Products counted as two operations a multiplication; of a symmetric result one half. */
static const struct {
    const char *name;
    double flop;
    void (*run)(struct bench *s);
} cases[] = {
    {"peak", 2.0 * PEAK_ITEMS *PEAK_SIDE *PEAK_SIDE *PEAK_SIDE, run_peak},
    {"projections", 8.0 * TOKENS *HIDDEN *HIDDEN, run_projections},
    {"attention", 2.0 * TOKENS *WINDOW *HIDDEN, run_attention},
    {"experts", 6.0 * SLOTS *HIDDEN *INNER, run_experts},
    {"expert hessians", 1.0 * SLOTS *(1.0 * HIDDEN * HIDDEN + 1.0 * INNER * INNER), run_hessians},
    {"attention hessians", 2.0 * TOKENS *HIDDEN *HIDDEN, run_attention_hessians},
};

int main(int argc, char **argv)
{
    static struct bench s;
    char line[128];
    backend_cpu_prepare(argv);
    check(backend_cpu_new(&s.b, argc > 1 ? strtoul(argv[1], NULL, 10) : 0, &s.err), &s.err);
    s.ops = s.b->ops;
    s.ops->describe(s.b, line, sizeof line);
    fprintf(stderr, "%s\n", line);
    prepare(&s);
    check(s.ops->route(s.b, &s.groups, s.logits, TOKENS, TOP_K, false, &s.err), &s.err);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double best = 1e30;
        for (size_t pass = 0; pass < 3; pass++) {
            double start = seconds_now();
            cases[i].run(&s);
            double seconds = seconds_now() - start;
            best = seconds < best ? seconds : best;
        }
        double rate = cases[i].flop * 1e-9 / best;
        s.peak = i == 0 ? rate : s.peak;
        printf("{\"case\": \"%s\", \"threads\": %zu, \"seconds\": %.4f, \"gflops\": %.1f, "
               "\"of_peak\": %.3f}\n",
               cases[i].name, cpu_self(s.b)->threads, best, rate, rate / s.peak);
    }
    backend_groups_release(&s.groups);
    return 0; /* the tensors go with the process */
}
