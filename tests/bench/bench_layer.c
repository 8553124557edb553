/*
 * Every stage of a pass over one MoE layer, a line of JSON each: seconds, and where a stage is
 * products, GFLOP/s and the ratio to OpenBLAS's own sgemm on all threads in the same process.
 *
 *     make_checkpoint olmoe-1b-7b 1 MODEL TOKENIZER && bench_layer MODEL [THREADS [TOKENS]]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"
#include "src/quant/channels.h"
#include "src/quant/hessians.h"
#include "src/quant/quantizer.h"
#include "src/quant/writer.h"

enum { PEAK_SIDE = 1024, PEAK_ITEMS = 32, WINDOW = 2048, EXPERTS = 16, GROUP = 128, CHANNELS = 32 };

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void check(int rc, const struct err *err)
{
    char line[2048];
    if (rc == 0)
        return;
    err_format(line, sizeof line, err);
    fprintf(stderr, "bench_layer: %s\n", line);
    exit(1);
}

struct bench {
    struct backend *b;
    struct parallel *pool;
    struct err err;
    double peak; /* GFLOP/s */
    struct model model;
    const struct model_config *c;
    struct model_layer layer;
    struct forward *forward;
    size_t tokens;
    struct hessians hessians;
    struct forward_tap inner; /* what the Hessians' own tap is */
    double hessian_seconds;   /* spent in it */
    struct expert {
        double *h[2]; /* of gate and up, of down */
        float *w[3];  /* gate, up, down */
        struct grid grid[3];
        struct packed_linear packed[3];
        struct packed_tensors tensors[3];
    } expert[EXPERTS];
    size_t experts; /* of them */
};

static void report(const struct bench *s, const char *stage, double seconds, double flop)
{
    printf("{\"stage\": \"%s\", \"seconds\": %.4f", stage, seconds);
    if (flop > 0.0)
        printf(", \"gflops\": %.1f, \"of_sgemm\": %.3f", flop * 1e-9 / seconds,
               s->peak ? flop * 1e-9 / seconds / s->peak : 1.0);
    printf("}\n");
    fflush(stdout);
}

static void peak_item(void *context, size_t item, size_t worker)
{
    (void)item;
    float *area = ((float **)context)[worker];
    size_t n = PEAK_SIDE;
    cpu_gemm_nt(n, n, n, area, n, area + n * n, n, area + 2 * n * n, n);
}

static void measure_peak(struct bench *s)
{
    struct cpu_backend *c = cpu_self(s->b);
    double best = INFINITY, flop = 2.0 * PEAK_ITEMS * PEAK_SIDE * PEAK_SIDE * (double)PEAK_SIDE;
    check(cpu_scratch(c, (size_t)3 * PEAK_SIDE * PEAK_SIDE, &s->err), &s->err);
    for (size_t t = 0; t < c->threads; t++)
        for (size_t i = 0; i < (size_t)3 * PEAK_SIDE * PEAK_SIDE; i++)
            c->scratch[t][i] = (float)(i % 1013) * 1e-3f;
    for (int i = 0; i < 16; i++) {
        double start = seconds_now();
        parallel_for(c->pool, PEAK_ITEMS, peak_item, c->scratch);
        best = fmin(best, seconds_now() - start);
    }
    report(s, "sgemm", best, flop);
    s->peak = flop * 1e-9 / best;
}

/* --- Forward pass and Hessians --- */

static int timed_in(void *context, const struct tensor *x, const struct backend_groups *g,
                    struct err *err)
{
    struct bench *s = context;
    double start = seconds_now();
    int rc = s->inner.expert_in(s->inner.context, x, g, err);
    s->hessian_seconds += seconds_now() - start;
    return rc;
}

static int timed_mid(void *context, const struct tensor *x, const struct backend_groups *g,
                     struct err *err)
{
    struct bench *s = context;
    double start = seconds_now();
    int rc = s->inner.expert_mid(s->inner.context, x, g, err);
    s->hessian_seconds += seconds_now() - start;
    return rc;
}

static int on_routing(void *context, size_t first, const struct backend_groups *g, struct err *err)
{
    struct bench *s = context;
    return s->inner.routing(s->inner.context, first, g, err);
}

/* Twice, the faster counts: the first round touches memory that a pass has from its last layer. */
static void run_forward(struct bench *s)
{
    const struct model_config *c = s->c;
    double n = (double)s->tokens, d = (double)c->hidden, inner = (double)c->expert_size;
    double slots = n * (double)c->top_k;
    double attention = INFINITY, half = INFINITY, gram = INFINITY, whole = INFINITY;
    unsigned kinds = 1u << HESSIANS_IN | 1u << HESSIANS_MID;
    check(hessians_init(&s->hessians, s->b, c, kinds, false, NULL, &s->err), &s->err);
    s->inner = hessians_tap(&s->hessians);
    struct forward_tap tap = {s,    NULL,      NULL, on_routing, timed_in,
                              NULL, timed_mid, NULL, NULL,       NULL};
    for (int round = 0; round < 2; round++) {
        double start = seconds_now();
        check(forward_attention(s->forward, &s->layer, NULL, true, &s->err), &s->err);
        attention = fmin(attention, seconds_now() - start);
        s->hessian_seconds = 0.0;
        start = seconds_now();
        check(forward_mlp(s->forward, &s->layer, &tap, false, &s->err), &s->err);
        half = fmin(half, seconds_now() - start - s->hessian_seconds);
        gram = fmin(gram, s->hessian_seconds);
        start = seconds_now();
        check(forward_mlp(s->forward, &s->layer, NULL, true, &s->err), &s->err);
        whole = fmin(whole, seconds_now() - start);
    }
    report(s, "attention", attention, 8.0 * n * d * d + 2.0 * n * WINDOW * d);
    report(s, "experts, gate and up", half, 4.0 * slots * d * inner);
    report(s, "hessians", gram, slots * (d * d + inner * inner));
    report(s, "experts", whole, 6.0 * slots * d * inner);
}

static void take_hessians(struct bench *s)
{
    double start = seconds_now();
    s->experts = s->c->experts < EXPERTS ? s->c->experts : EXPERTS;
    for (size_t e = 0; e < s->experts; e++)
        for (int k = 0; k < 2; k++) {
            size_t d = k ? s->c->expert_size : s->c->hidden;
            double **h = &s->expert[e].h[k];
            *h = mem_aligned(d * d, sizeof **h, &s->err);
            check(*h ? 0 : ERR_NOMEM, &s->err);
            check(hessians_take(&s->hessians, k ? HESSIANS_MID : HESSIANS_IN, e, 0.25, *h, &s->err),
                  &s->err);
        }
    report(s, "mean and shrinkage of 16 experts' Hessians", seconds_now() - start, 0.0);
    hessians_release(&s->hessians);
}

/* --- Linears: gate, up, down --- */

static size_t inputs(const struct bench *s, size_t k)
{
    return k == 2 ? s->c->expert_size : s->c->hidden;
}

static size_t outputs(const struct bench *s, size_t k)
{
    return k == 2 ? s->c->hidden : s->c->expert_size;
}

static const struct grid_rule grid_rule = {.group_size = GROUP, .half = true};

static void read_linear(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct bench *s = context;
    struct err err = {0};
    size_t e = item / 3, k = item % 3;
    char name[MODEL_NAME_MAX];
    model_linear_name(name, s->c, 0, (enum model_linear)(LINEAR_GATE + k), e);
    float **w = &s->expert[e].w[k];
    *w = mem_aligned(inputs(s, k) * outputs(s, k), sizeof **w, &err);
    check(*w ? 0 : ERR_NOMEM, &err);
    check(model_read_linear(&s->model, name, inputs(s, k), outputs(s, k), *w, &err), &err);
}

static void fit_linear(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct bench *s = context;
    struct err err = {0};
    struct expert *x = &s->expert[item / 3];
    size_t k = item % 3;
    struct grid_bits bits = {.bits = 4};
    check(
        grid_fit(&x->grid[k], &grid_rule, &bits, x->w[k], outputs(s, k), inputs(s, k), NULL, &err),
        &err);
}

static void choose_channels(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct bench *s = context;
    struct err err = {0};
    struct expert *x = &s->expert[item / 3];
    size_t k = item % 3, d = inputs(s, k);
    double *diagonal = mem_array(d, sizeof *diagonal, &err),
           *score = mem_array(d, sizeof *score, &err);
    uint32_t index[CHANNELS];
    check(diagonal && score ? 0 : ERR_NOMEM, &err);
    for (size_t j = 0; j < d; j++)
        diagonal[j] = x->h[k == 2][j * d + j];
    struct channels_input in = {SCORE_ERROR,   &grid_rule, 4,        8,   x->w[k],
                                outputs(s, k), d,          diagonal, NULL};
    check(channels_score(score, &in, &err), &err);
    check(channels_pick(index, CHANNELS, score, d, &err), &err);
    free(diagonal);
    free(score);
}

static void pack_linear(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct bench *s = context;
    struct err err = {0};
    struct expert *x = &s->expert[item / 3];
    size_t k = item % 3;
    packed_tensors_release(&x->tensors[k]);
    check(packed_encode(&x->tensors[k], &x->packed[k], "linear", CHECKPOINT_GPTQ_V2, &err), &err);
}

static void run_linears(struct bench *s, const char *stage, parallel_fn fn)
{
    double start = seconds_now();
    parallel_for(s->pool, 3 * s->experts, fn, s);
    report(s, stage, seconds_now() - start, 0.0);
}

/* --- Factorization and rounding --- */

static double cube(const struct bench *s, int kind)
{
    double d = (double)(kind ? s->c->expert_size : s->c->hidden);
    return d * d * d;
}

static void factorize(struct bench *s)
{
    double *copy[2 * EXPERTS], seconds = INFINITY;
    size_t d[2 * EXPERTS];
    bool failed[2 * EXPERTS];
    for (size_t i = 0; i < 2 * s->experts; i++) {
        d[i] = i % 2 ? s->c->expert_size : s->c->hidden;
        copy[i] = mem_aligned(d[i] * d[i], sizeof **copy, &s->err);
        check(copy[i] ? 0 : ERR_NOMEM, &s->err);
    }
    for (int repeat = 0; repeat < 3; repeat++) {
        for (size_t i = 0; i < 2 * s->experts; i++) {
            double mean = 0.0;
            memcpy(copy[i], s->expert[i / 2].h[i % 2], d[i] * d[i] * sizeof **copy);
            for (size_t j = 0; j < d[i]; j++)
                mean += copy[i][j * (d[i] + 1)] / (double)d[i];
            for (size_t j = 0; j < d[i]; j++)
                copy[i][j * (d[i] + 1)] += 0.01 * mean;
        }
        double start = seconds_now();
        check(s->b->ops->cholesky(s->b, copy, d, 2 * s->experts, BACKEND_FP32, failed, &s->err),
              &s->err);
        seconds = fmin(seconds, seconds_now() - start);
    }
    for (size_t i = 0; i < 2 * s->experts; i++) {
        check(failed[i] ? ERR_NUMERIC : 0, &s->err);
        free(copy[i]);
    }
    report(s, "factorization", seconds, (double)s->experts * (cube(s, 0) + cube(s, 1)) / 3.0);
}

/* kind 0: gate and up on their Hessian, 1: down. Everything that the pass does to a batch. */
static void round_linears(struct bench *s, int kind)
{
    struct quantizer_hessian hessians[EXPERTS];
    struct quantizer_item items[2 * EXPERTS];
    size_t d = kind ? s->c->expert_size : s->c->hidden, count = 0;
    const struct quantizer_rule rule = {
        .grid = grid_rule, .order = ORDER_ACT, .damping = 0.01, .precision = BACKEND_FP32};
    for (size_t e = 0; e < s->experts; e++) {
        hessians[e] = (struct quantizer_hessian){.d = d, .h = s->expert[e].h[kind]};
        for (size_t k = kind ? 2 : 0; k < (kind ? 3u : 2u); k++)
            items[count++] = (struct quantizer_item){.rows = outputs(s, k),
                                                     .weights = s->expert[e].w[k],
                                                     .hessian = e,
                                                     .bits = {.bits = 4},
                                                     .codes = s->expert[e].packed[k].codes};
    }
    double start = seconds_now(), product = 0.0;
    check(quantizer_gptq.run(s->b, &rule, hessians, s->experts, items, count, &s->err), &s->err);
    double seconds = seconds_now() - start;
    for (size_t i = 0; i < count; i++) {
        product += (double)items[i].rows * (double)d * (double)d;
        grid_release(&items[i].grid);
    }
    /* Of each linear: the compensation, and the report's loss of rounding to nearest. */
    report(s, kind ? "gptq of down, whole" : "gptq of gate and up, whole", seconds,
           2.0 * product + (double)s->experts * cube(s, kind) / 3.0);
}

static void time_sweep(struct bench *s, bool with_nearest)
{
    struct backend_sweep problem[2 * EXPERTS];
    double losses[4], *factor[EXPERTS], product = 0.0, seconds = INFINITY;
    size_t d = s->c->hidden, rows = s->c->expert_size, cells = d * d;
    uint32_t *order = mem_array(d, sizeof *order, &s->err);
    check(order ? 0 : ERR_NOMEM, &s->err);
    for (size_t j = 0; j < d; j++)
        order[j] = (uint32_t)(d - 1 - j);
    for (size_t e = 0; e < s->experts; e++) {
        bool failed;
        factor[e] = mem_aligned(cells, sizeof **factor, &s->err);
        check(factor[e] ? 0 : ERR_NOMEM, &s->err);
        memcpy(factor[e], s->expert[e].h[0], cells * sizeof **factor);
        for (size_t j = 0; j < d; j++)
            factor[e][j * (d + 1)] *= 1.01;
        check(s->b->ops->cholesky(s->b, &factor[e], &d, 1, BACKEND_FP32, &failed, &s->err),
              &s->err);
        for (size_t k = 0; k < 2; k++) {
            const struct grid *g = &s->expert[e].grid[k];
            problem[2 * e + k] =
                (struct backend_sweep){.rows = rows,
                                       .columns = d,
                                       .grids = g->grids,
                                       .weights = s->expert[e].w[k],
                                       .factor = factor[e],
                                       .order = order,
                                       .grid = g->column,
                                       .max_code = g->max_code,
                                       .scale = g->scale,
                                       .zero = g->zero,
                                       .codes = s->expert[e].packed[k].codes,
                                       .loss = losses,
                                       .square = losses + 1,
                                       .nearest_loss = with_nearest ? losses + 2 : NULL,
                                       .nearest_square = with_nearest ? losses + 3 : NULL};
            product += (double)rows * (double)cells * (with_nearest ? 2.0 : 1.0);
        }
    }
    for (int repeat = 0; repeat < 3; repeat++) {
        double start = seconds_now();
        check(s->b->ops->sweep(s->b, problem, 2 * s->experts, BACKEND_FP32, &s->err), &s->err);
        seconds = fmin(seconds, seconds_now() - start);
    }
    report(s, with_nearest ? "gptq sweep and loss of plain rounding" : "gptq sweep", seconds,
           product);
    for (size_t e = 0; e < s->experts; e++)
        free(factor[e]);
    free(order);
}

static void write_linears(struct bench *s)
{
    struct atomic_file f;
    double start = seconds_now();
    check(atomic_file_open(&f, "bench_layer.tmp", &s->err), &s->err);
    for (size_t i = 0; i < 3 * s->experts; i++)
        for (size_t k = 0; k < s->expert[i / 3].tensors[i % 3].count; k++)
            check(atomic_file_write(&f, s->expert[i / 3].tensors[i % 3].data[k],
                                    s->expert[i / 3].tensors[i % 3].bytes[k], &s->err),
                  &s->err);
    check(atomic_file_commit(&f, &s->err), &s->err);
    remove("bench_layer.tmp");
    report(s, "write", seconds_now() - start, 0.0);
}

int main(int argc, char **argv)
{
    static struct bench s;
    if (argc < 2) {
        fprintf(stderr, "usage: bench_layer MODEL [THREADS [TOKENS]]\n");
        return 2;
    }
    backend_cpu_prepare(argv);
    check(backend_cpu_new(&s.b, argc > 2 ? strtoul(argv[2], NULL, 10) : 0, &s.err), &s.err);
    s.pool = backend_pool(s.b);
    measure_peak(&s);
    check(model_open(&s.model, argv[1], &s.err), &s.err);
    s.c = s.model.config;
    size_t windows = (argc > 3 ? strtoul(argv[3], NULL, 10) : 16384) / WINDOW;
    windows = windows ? windows : 1;
    s.tokens = windows * WINDOW;
    uint32_t *ids = mem_array(s.tokens, sizeof *ids, &s.err);
    size_t *starts = mem_array(windows, sizeof *starts, &s.err);
    check(ids && starts ? 0 : ERR_NOMEM, &s.err);
    for (size_t i = 0; i < s.tokens; i++) /* small ids are the common ones */
        ids[i] = (uint32_t)(i * 2654435761u >> 8) % ((uint32_t)i % (uint32_t)s.c->vocab + 1);
    for (size_t w = 0; w < windows; w++)
        starts[w] = w * WINDOW;
    double start = seconds_now();
    check(model_layer_load(&s.layer, &s.model, s.b, 0, &s.err), &s.err);
    report(&s, "read", seconds_now() - start, 0.0);
    check(forward_new(&s.forward, &s.model, s.b, ids, starts, windows, WINDOW, &s.err), &s.err);
    run_forward(&s);
    forward_free(s.forward);
    model_layer_release(&s.layer, s.b);
    take_hessians(&s);
    for (size_t i = 0; i < 3 * s.experts; i++)
        check(packed_alloc(&s.expert[i / 3].packed[i % 3], inputs(&s, i % 3), outputs(&s, i % 3), 4,
                           GROUP, 0, 0, &s.err),
              &s.err);
    run_linears(&s, "weights of 16 experts", read_linear);
    run_linears(&s, "grids of 16 experts", fit_linear);
    run_linears(&s, "channels of 16 experts", choose_channels);
    factorize(&s);
    time_sweep(&s, false);
    time_sweep(&s, true);
    round_linears(&s, 0);
    round_linears(&s, 1);
    run_linears(&s, "packing of 16 experts", pack_linear);
    write_linears(&s);
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"stage\": \"all\", \"tokens\": %zu, \"peak_mib\": %ld}\n", s.tokens,
           usage.ru_maxrss / 1024);
    return 0; /* what is left goes with the process */
}
