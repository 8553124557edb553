/*
 * Every stage of a layer's quantization at the size of OLMoE-1B-7B on one backend, on data drawn at
 * random: a line of JSON each, with seconds, TFLOP/s and the ratio to the floor of one H100 (bf16
 * 800, tf32 400, fp32 60 TFLOP/s; 2 GB/s from the disk).
 *
 *     bench_gpu [cuda|cpu [TOKENS [EXPERTS [tf32|full]]]]      cuda, 262144 tokens, 64 experts,
 * tf32
 *
 * Exit status 77: there is no GPU. Fewer tokens or experts scale the floors.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/device.h"

enum {
    HIDDEN = 2048,
    INNER = 1024,
    TOP_K = 8,
    HEADS = 16,
    HEAD = 128,
    WINDOW = 2048,
    CHUNK_MIN = 4096,
    KINDS = 3
};

static double seconds_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

struct bench {
    struct backend *b;
    struct err err;
    size_t tokens, experts, chunk;
    float *random;            /* HIDDEN * chunk of them */
    struct tensor **w[KINDS]; /* gate, up, down */
    struct tensor **h[2];     /* of gate and up, of down */
    struct tensor *attention[4];
    double *matrix[2];         /* of the host: [expert][d][d] */
    struct tensor **factor[2]; /* or of the device: [expert] */
};

static void check(struct bench *s, int rc)
{
    char line[2048];
    if (rc == 0)
        return;
    err_format(line, sizeof line, &s->err);
    fprintf(stderr, "bench_gpu: %s\n", line);
    exit(1);
}

static void *get(size_t bytes)
{
    void *memory = malloc(bytes);
    if (!memory) {
        fprintf(stderr, "bench_gpu: no memory\n");
        exit(1);
    }
    return memory;
}

static void fill(float *out, size_t count, uint64_t seed)
{
    for (size_t i = 0; i < count; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        out[i] = (float)((double)(seed >> 40) * 0x1p-23 - 1.0);
    }
}

/* Behind the name of a stage whose products have all bits of float32. */
static const char *precision = "";

/* rate: TFLOP/s of the floor. */
static void print(const char *stage, double seconds, double flop, double rate)
{
    double floor = flop / rate * 1e-12;
    printf("{\"stage\": \"%s%s\", \"seconds\": %.5f, \"tflops\": %.2f, \"floor\": %.5f, "
           "\"ratio\": %.2f}\n",
           stage, precision, seconds, flop / seconds * 1e-12, floor, seconds / floor);
    fflush(stdout);
}

static struct tensor *new_tensor(struct bench *s, enum tensor_kind kind, size_t rows,
                                 size_t columns)
{
    struct tensor *t;
    check(s, s->b->ops->tensor_new(s->b, &t, kind, rows, columns, &s->err));
    return t;
}

/* A download waits for all that was queued. */
static void wait(struct bench *s, const struct tensor *t)
{
    float *row = get(sizeof *row * HIDDEN * 4);
    check(s, s->b->ops->download(s->b, t, 0, 1, row, &s->err));
    free(row);
}

static void load_weights(struct bench *s)
{
    const struct backend_ops *ops = s->b->ops;
    size_t cells = (size_t)HIDDEN * INNER;
    uint16_t *bf16 = get(cells * 2 * sizeof *bf16);
    for (size_t i = 0; i < cells * 2; i++) {
        uint32_t bits;
        memcpy(&bits, &s->random[i], sizeof bits);
        bf16[i] = (uint16_t)(bits >> 16);
    }
    double started = seconds_now();
    for (size_t e = 0; e < s->experts; e++)
        for (size_t k = 0; k < KINDS; k++) {
            size_t rows = k == 2 ? HIDDEN : INNER, columns = k == 2 ? INNER : HIDDEN;
            s->w[k][e] = new_tensor(s, TENSOR_F32, rows, columns);
            check(s, ops->upload(s->b, s->w[k][e], 0, rows, SOURCE_BF16, bf16, &s->err));
        }
    for (size_t i = 0; i < 4; i++) {
        s->attention[i] = new_tensor(s, TENSOR_F32, HIDDEN, HIDDEN);
        check(s, ops->upload(s->b, s->attention[i], 0, HIDDEN, SOURCE_BF16, bf16, &s->err));
    }
    wait(s, s->attention[3]);
    double seconds = seconds_now() - started;
    double bytes = ((double)s->experts * KINDS * (double)cells + 4.0 * HIDDEN * HIDDEN) * 2.0;
    printf("{\"stage\": \"weights to the device%s\", \"seconds\": %.5f, \"gb_per_second\": %.2f, "
           "\"floor\": %.5f, \"ratio\": %.2f}\n",
           precision, seconds, bytes / seconds * 1e-9, bytes / 2e9, seconds / (bytes / 2e9));
    free(bf16);
}

struct chunk {
    struct tensor *x, *out, *qkv[3], *logits, *slots, *gate, *up;
};

static void project(struct bench *s, struct chunk *c)
{
    const struct backend_ops *ops = s->b->ops;
    for (size_t i = 0; i < 3; i++)
        check(s, ops->matmul(s->b, c->qkv[i], c->x, s->attention[i], NULL, s->chunk, &s->err));
    for (size_t i = 0; i < 2; i++)
        check(s, ops->rope(s->b, c->qkv[i], s->chunk, HEADS, HEAD, WINDOW, 10000.0, &s->err));
    check(s, ops->matmul(s->b, c->out, c->x, s->attention[3], NULL, s->chunk, &s->err));
}

static void attend(struct bench *s, struct chunk *c)
{
    struct backend_attention shape = {
        .window = WINDOW, .heads = HEADS, .kv_heads = HEADS, .head_dim = HEAD};
    check(s, s->b->ops->attention(s->b, c->out, c->qkv[0], c->qkv[1], c->qkv[2], s->chunk, &shape,
                                  &s->err));
}

static void experts(struct bench *s, struct chunk *c, struct backend_groups *g, double *hessians)
{
    const struct backend_ops *ops = s->b->ops;
    check(s, ops->route(s->b, g, c->logits, s->chunk, TOP_K, false, &s->err));
    check(s, ops->gather(s->b, c->slots, c->x, g, &s->err));
    check(s, ops->grouped_matmul(s->b, c->gate, c->slots, s->w[0], g, &s->err));
    check(s, ops->grouped_matmul(s->b, c->up, c->slots, s->w[1], g, &s->err));
    check(s, ops->swiglu(s->b, c->gate, c->gate, c->up, s->chunk * TOP_K, &s->err));
    if (hessians) {
        wait(s, c->gate);
        double started = seconds_now();
        check(s, ops->grouped_gram(s->b, s->h[0], c->slots, g, &s->err));
        check(s, ops->grouped_gram(s->b, s->h[1], c->gate, g, &s->err));
        float *cell = get(sizeof *cell * HIDDEN);
        double *wide = get(sizeof *wide * HIDDEN);
        check(s, ops->download_f64(s->b, s->h[1][0], 0, 1, wide, &s->err));
        *hessians += seconds_now() - started;
        free(wide);
        free(cell);
    }
    check(s, ops->grouped_matmul(s->b, c->slots, c->gate, s->w[2], g, &s->err));
    check(s, ops->combine(s->b, c->out, c->slots, g, &s->err));
    backend_groups_release(g);
}

static void run_forward(struct bench *s)
{
    struct chunk c = {0};
    struct backend_groups g = {0};
    const struct backend_ops *ops = s->b->ops;
    size_t chunks = (s->tokens + s->chunk - 1) / s->chunk;
    double n = (double)chunks * s->chunk, hessians = 0.0, d = HIDDEN, m = INNER;
    c.x = new_tensor(s, TENSOR_F32, s->chunk, HIDDEN);
    c.out = new_tensor(s, TENSOR_F32, s->chunk, HIDDEN);
    for (size_t i = 0; i < 3; i++)
        c.qkv[i] = new_tensor(s, TENSOR_F32, s->chunk, HIDDEN);
    c.logits = new_tensor(s, TENSOR_F32, s->chunk, s->experts);
    c.slots = new_tensor(s, TENSOR_F32, s->chunk * TOP_K, HIDDEN);
    c.gate = new_tensor(s, TENSOR_F32, s->chunk * TOP_K, INNER);
    c.up = new_tensor(s, TENSOR_F32, s->chunk * TOP_K, INNER);
    check(s, ops->upload(s->b, c.x, 0, s->chunk, SOURCE_F32, s->random, &s->err));
    check(s, ops->upload(s->b, c.logits, 0, s->chunk, SOURCE_F32, s->random, &s->err));
    project(s, &c); /* the first use of a kernel loads it */
    attend(s, &c);
    experts(s, &c, &g, NULL);
    wait(s, c.out);
    double started = seconds_now();
    for (size_t i = 0; i < chunks; i++)
        project(s, &c);
    wait(s, c.out);
    print("projections", seconds_now() - started, n * 8.0 * d * d, 800.0);
    started = seconds_now();
    for (size_t i = 0; i < chunks; i++)
        attend(s, &c);
    wait(s, c.out);
    print("attention", seconds_now() - started, n * 2.0 * d * WINDOW, 800.0);
    started = seconds_now();
    for (size_t i = 0; i < chunks; i++)
        experts(s, &c, &g, NULL);
    wait(s, c.out);
    print("experts", seconds_now() - started, n * TOP_K * 6.0 * d * m, 800.0);
    for (size_t i = 0; i < chunks; i++)
        experts(s, &c, &g, &hessians);
    print("Hessians", hessians, n * TOP_K * (d * d + m * m), 400.0);
    struct tensor *all[] = {c.x,      c.out,   c.qkv[0], c.qkv[1], c.qkv[2],
                            c.logits, c.slots, c.gate,   c.up};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        ops->tensor_free(s->b, all[i]);
}

static void fetch_hessians(struct bench *s)
{
    double started = seconds_now(), bytes = 0.0;
    for (size_t k = 0; k < 2; k++) {
        size_t d = k ? INNER : HIDDEN;
        s->matrix[k] = get(s->experts * d * d * sizeof(double));
        for (size_t e = 0; e < s->experts; e++)
            check(s, s->b->ops->download_f64(s->b, s->h[k][e], 0, d, s->matrix[k] + e * d * d,
                                             &s->err));
        bytes += (double)(s->experts * d * d) * sizeof(double);
    }
    double seconds = seconds_now() - started;
    printf("{\"stage\": \"Hessians to the host\", \"seconds\": %.5f, \"gb_per_second\": %.2f}\n",
           seconds, bytes / seconds * 1e-9);
}

static void factorize(struct bench *s)
{
    size_t count = 2 * s->experts;
    double **h = get(count * sizeof *h), flop = 0.0;
    size_t *d = get(count * sizeof *d);
    bool *failed = get(count * sizeof *failed);
    for (size_t i = 0; i < count; i++) {
        size_t k = i / s->experts;
        d[i] = k ? INNER : HIDDEN;
        h[i] = s->matrix[k] + i % s->experts * d[i] * d[i];
        double mean = 0.0;
        for (size_t r = 0; r < d[i]; r++)
            mean += h[i][r * d[i] + r] / (double)d[i];
        for (size_t r = 0; r < d[i]; r++) {
            h[i][r * d[i] + r] += 0.01 * mean + 1e-6;
            for (size_t c = r + 1; c < d[i]; c++)
                h[i][r * d[i] + c] = h[i][c * d[i] + r];
        }
        flop += (double)d[i] * (double)d[i] * (double)d[i] / 3.0;
    }
    double started = seconds_now();
    check(s, s->b->ops->cholesky(s->b, h, d, count, BACKEND_FP32, failed, &s->err));
    print("factorization", seconds_now() - started, flop, 60.0);
    free(failed);
    free(d);
    free(h);
}

/* The way of a pass: shrunk to their mean, damped, permuted and factorized on the device. */
static void factorize_there(struct bench *s)
{
    const struct backend_ops *ops = s->b->ops;
    struct backend_hessian *h = get(s->experts * sizeof *h);
    struct backend_factor *f = get(s->experts * sizeof *f);
    uint32_t order[HIDDEN];
    bool *failed = get(s->experts * sizeof *failed);
    double **diagonal = get(s->experts * sizeof *diagonal), flop = 0.0, prepared = 0.0, whole = 0.0;
    for (uint32_t i = 0; i < HIDDEN; i++)
        order[i] = i;
    for (size_t k = 0; k < 2; k++) {
        size_t d = k ? INNER : HIDDEN;
        struct tensor *mean = new_tensor(s, TENSOR_F64, d, d);
        double started = seconds_now();
        check(s, ops->hessian_mean(s->b, mean, s->h[k], s->experts, (double)s->tokens * TOP_K,
                                   &s->err));
        s->factor[k] = get(s->experts * sizeof(struct tensor *));
        for (size_t e = 0; e < s->experts; e++) {
            h[e] = (struct backend_hessian){d, s->h[k][e], mean, (double)d, 32768.0};
            diagonal[e] = get(d * sizeof **diagonal);
            s->factor[k][e] = new_tensor(s, TENSOR_F64, d, d);
        }
        check(s, ops->hessian_diagonals(s->b, diagonal, h, s->experts, &s->err));
        prepared += seconds_now() - started;
        for (size_t e = 0; e < s->experts; e++) {
            double total = 1e-6;
            for (size_t i = 0; i < d; i++)
                total += diagonal[e][i];
            for (size_t i = 0; i < d; i++)
                diagonal[e][i] += 0.01 * total / (double)d;
            f[e] = (struct backend_factor){&h[e], order, diagonal[e], s->factor[k][e]};
            flop += (double)d * (double)d * (double)d / 3.0;
        }
        started = seconds_now();
        check(s, ops->hessian_factorize(s->b, f, s->experts, failed, &s->err));
        whole += seconds_now() - started;
        for (size_t e = 0; e < s->experts; e++) {
            if (failed[e])
                fprintf(stderr, "bench_gpu: Hessian %zu has no factor\n", e);
            free(diagonal[e]);
        }
        ops->tensor_free(s->b, mean);
    }
    printf("{\"stage\": \"means and diagonals%s\", \"seconds\": %.5f}\n", precision, prepared);
    print("factorization", whole, flop, 60.0);
    free(diagonal);
    free(failed);
    free(f);
    free(h);
}

static void sweep(struct bench *s)
{
    enum { GROUP = 128, LEVELS = 15 };
    size_t count = KINDS * s->experts, cells = (size_t)HIDDEN * INNER, most = cells / GROUP;
    struct backend_sweep *p = get(count * sizeof *p);
    double *scale = get(most * sizeof *scale), *sums = get(2 * count * sizeof *sums), flop = 0.0;
    uint32_t *order = get(HIDDEN * sizeof *order), *grid = get(HIDDEN * sizeof *grid);
    uint8_t *zero = get(most), *codes = get(count * cells), max_code[HIDDEN / GROUP];
    for (size_t i = 0; i < most; i++) {
        scale[i] = 2.0 / LEVELS;
        zero[i] = 8;
    }
    for (uint32_t i = 0; i < HIDDEN; i++) {
        order[i] = i;
        grid[i] = i / GROUP;
    }
    memset(max_code, LEVELS, sizeof max_code);
    for (size_t i = 0; i < count; i++) {
        bool down = i >= 2 * s->experts;
        size_t d = down ? INNER : HIDDEN, rows = down ? HIDDEN : INNER;
        size_t e = down ? i - 2 * s->experts : i / 2; /* gate and up of an expert follow */
        p[i] = (struct backend_sweep){.rows = rows,
                                      .columns = d,
                                      .grids = d / GROUP,
                                      .weights = s->factor[0] ? NULL : s->random,
                                      .factor = s->factor[0] ? NULL : s->matrix[down] + e * d * d,
                                      .device_weights =
                                          s->factor[0] ? s->w[down ? 2 : i % 2][e] : NULL,
                                      .device_factor = s->factor[0] ? s->factor[down][e] : NULL,
                                      .order = order,
                                      .grid = grid,
                                      .max_code = max_code,
                                      .scale = scale,
                                      .zero = zero,
                                      .codes = codes + i * cells,
                                      .loss = &sums[2 * i],
                                      .square = &sums[2 * i + 1]};
        flop += (double)rows * (double)d * (double)d;
    }
    double started = seconds_now();
    check(s, s->b->ops->sweep(s->b, p, count, BACKEND_FP32, &s->err));
    print("rounding", seconds_now() - started, flop, 60.0);
    free(codes);
    free(zero);
    free(grid);
    free(order);
    free(sums);
    free(scale);
    free(p);
}

static void free_tensors(struct bench *s)
{
    const struct backend_ops *ops = s->b->ops;
    for (size_t e = 0; e < s->experts; e++) {
        for (size_t k = 0; k < KINDS; k++)
            ops->tensor_free(s->b, s->w[k][e]);
        for (size_t k = 0; k < 2; k++) {
            ops->tensor_free(s->b, s->h[k][e]);
            if (s->factor[k])
                ops->tensor_free(s->b, s->factor[k][e]);
        }
    }
    for (size_t i = 0; i < 4; i++)
        ops->tensor_free(s->b, s->attention[i]);
}

int main(int argc, char **argv)
{
    struct bench s = {.tokens = argc > 2 ? strtoul(argv[2], NULL, 10) : 262144,
                      .experts = argc > 3 ? strtoul(argv[3], NULL, 10) : 64};
    struct device device;
    bool full = argc > 4 && strcmp(argv[4], "full") == 0;
    struct device_request request = {.backend = argc > 1 ? argv[1] : "cuda",
                                     .full_precision = full};
    int rc = device_open(&device, &request, &s.err);
    if (rc == ERR_DEVICE) {
        fprintf(stderr, "bench_gpu: skipped: %s\n", s.err.message);
        return 77;
    }
    if (s.tokens == 0 || s.experts <= TOP_K || s.experts > HIDDEN) {
        fprintf(stderr, "usage: bench_gpu [cuda|cpu [TOKENS [EXPERTS [tf32|full]]]]\n");
        return 2;
    }
    check(&s, rc);
    precision = full ? ", float32" : "";
    s.b = device.backend;
    s.chunk = s.b->chunk_tokens ? s.b->chunk_tokens : CHUNK_MIN;
    s.random = get(sizeof *s.random * HIDDEN * s.chunk);
    fill(s.random, (size_t)HIDDEN * s.chunk, 7);
    for (size_t k = 0; k < KINDS; k++)
        s.w[k] = get(s.experts * sizeof(struct tensor *));
    load_weights(&s);
    for (size_t k = 0; k < 2; k++) {
        size_t d = k ? INNER : HIDDEN;
        s.h[k] = get(s.experts * sizeof(struct tensor *));
        for (size_t e = 0; e < s.experts; e++)
            s.h[k][e] = new_tensor(&s, TENSOR_F64, d, d);
    }
    run_forward(&s);
    if (s.b->ops->hessian_factorize) {
        factorize_there(&s);
    } else {
        fetch_hessians(&s);
        factorize(&s);
    }
    sweep(&s);
    free_tensors(&s);
    for (size_t k = 0; k < KINDS; k++)
        free(s.w[k]);
    for (size_t k = 0; k < 2; k++) {
        free(s.h[k]);
        free(s.matrix[k]);
        free(s.factor[k]);
    }
    free(s.random);
    device_close(&device);
    return 0;
}
