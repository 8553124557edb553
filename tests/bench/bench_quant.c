/*
 * Speed of quantization at the size of one expert of OLMoE-1B-7B: gate and up of 1024 x 2048 on
 * one Hessian. One JSON line a case: seconds, and the ratio to the floor, which is the operation's
 * floating point work at the rate of this machine's own matrix product in single precision.
 *
 *     bench_quant [THREADS]
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "src/quant/quantizer.h"

enum { D = 2048, ROWS = 1024, EXPERTS = 4, REPEATS = 3 };

static uint64_t random_state = 88172645463325252u;

static float random_value(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (float)(random_state >> 40) * 0x1p-23f - 1.0f;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void stop_on(int rc, const struct err *err)
{
    if (rc == 0)
        return;
    fprintf(stderr, "bench_quant: %s\n", err->message);
    exit(1);
}

/* Floating point operations a second of the backend's matrix product. */
static double product_rate(struct backend *b)
{
    struct err err = {0};
    struct tensor *x, *w, *y;
    double best = INFINITY;
    float *values = malloc(sizeof(float) * D * D);
    if (!values)
        exit(1);
    for (size_t i = 0; i < (size_t)D * D; i++)
        values[i] = random_value();
    stop_on(b->ops->tensor_new(b, &x, TENSOR_F32, D, D, &err), &err);
    stop_on(b->ops->tensor_new(b, &w, TENSOR_F32, D, D, &err), &err);
    stop_on(b->ops->tensor_new(b, &y, TENSOR_F32, D, D, &err), &err);
    stop_on(b->ops->upload(b, x, 0, D, SOURCE_F32, values, &err), &err);
    stop_on(b->ops->upload(b, w, 0, D, SOURCE_F32, values, &err), &err);
    for (int i = 0; i < REPEATS; i++) {
        double start = now();
        stop_on(b->ops->matmul(b, y, x, w, NULL, D, &err), &err);
        best = fmin(best, now() - start);
    }
    b->ops->tensor_free(b, x);
    b->ops->tensor_free(b, w);
    b->ops->tensor_free(b, y);
    free(values);
    return 2.0 * D * D * D / best;
}

/* Diagonally heavy and symmetric: positive definite at any size. */
static double *make_hessian(void)
{
    double *h = malloc(sizeof(double) * D * D);
    if (!h)
        exit(1);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j <= i; j++)
            h[i * D + j] = h[j * D + i] =
                i == j ? 2.0 + (double)random_value() : 0.01 * (double)random_value();
    return h;
}

static void bench_cholesky(struct backend *b, const double *h, enum backend_precision precision,
                           double rate)
{
    struct err err = {0};
    double *copy[EXPERTS], best = INFINITY;
    size_t d[EXPERTS];
    bool failed[EXPERTS];
    for (int i = 0; i < EXPERTS; i++) {
        copy[i] = malloc(sizeof(double) * D * D);
        d[i] = D;
    }
    for (int r = 0; r < REPEATS; r++) {
        for (int i = 0; i < EXPERTS; i++)
            memcpy(copy[i], h, sizeof(double) * D * D);
        double start = now();
        stop_on(b->ops->cholesky(b, copy, d, EXPERTS, precision, failed, &err), &err);
        best = fmin(best, now() - start);
    }
    for (int i = 0; i < EXPERTS; i++)
        free(copy[i]);
    double floor = EXPERTS * (double)D * D * D / 3.0 / rate;
    printf("{\"case\": \"cholesky-%s\", \"seconds\": %.4f, \"floor\": %.4f, \"ratio\": %.2f}\n",
           precision == BACKEND_FP64 ? "fp64" : "fp32", best, floor, best / floor);
}

static void bench_gptq(struct backend *b, const double *h, const float *weights, unsigned bits,
                       enum backend_precision precision, bool search, size_t refine, double rate)
{
    struct err err = {0};
    struct quantizer_hessian hessians[EXPERTS];
    struct quantizer_item items[2 * EXPERTS];
    uint8_t *codes = malloc((size_t)ROWS * D);
    double best = INFINITY;
    struct quantizer_rule rule = {
        .grid = {.group_size = 128, .half = true, .search = search},
        .order = ORDER_ACT,
        .damping = 0.01,
        .precision = precision,
        .refine = refine,
    };
    for (int r = 0; r < REPEATS; r++) {
        for (int i = 0; i < EXPERTS; i++)
            hessians[i] = (struct quantizer_hessian){.d = D, .h = h};
        for (int i = 0; i < 2 * EXPERTS; i++)
            items[i] = (struct quantizer_item){.rows = ROWS,
                                               .weights = weights,
                                               .hessian = (size_t)i / 2,
                                               .bits = {.bits = bits},
                                               .codes = codes};
        double start = now();
        stop_on(quantizer_gptq.run(b, &rule, hessians, EXPERTS, items, 2 * EXPERTS, &err), &err);
        best = fmin(best, now() - start);
        for (int i = 0; i < 2 * EXPERTS; i++)
            grid_release(&items[i].grid);
    }
    free(codes);
    /* Factor and one sweep: the second one, for the loss of plain rounding, is not in the floor. */
    double floor = EXPERTS * ((double)D * D * D / 3.0 + 2.0 * ROWS * D * (double)D) / rate;
    printf("{\"case\": \"gptq-%u-%s%s%s\", \"seconds\": %.4f, \"floor\": %.4f, \"ratio\": %.2f}\n",
           bits, precision == BACKEND_FP64 ? "fp64" : "fp32", search ? "-search" : "",
           refine ? "-refine" : "", best, floor, best / floor);
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct backend *b = NULL;
    stop_on(backend_cpu_new(&b, argc > 1 ? strtoul(argv[1], NULL, 10) : 0, &err), &err);
    double rate = product_rate(b);
    double *h = make_hessian();
    float *weights = malloc(sizeof(float) * ROWS * D);
    if (!weights)
        return 1;
    for (size_t i = 0; i < (size_t)ROWS * D; i++)
        weights[i] = 0.02f * (random_value() + random_value() + random_value());
    printf("{\"case\": \"product\", \"gflops\": %.1f}\n", rate / 1e9);
    for (int precision = BACKEND_FP32; precision <= BACKEND_FP64; precision++) {
        bench_cholesky(b, h, (enum backend_precision)precision, rate);
        bench_gptq(b, h, weights, 4, (enum backend_precision)precision, false, 0, rate);
    }
    bench_gptq(b, h, weights, 2, BACKEND_FP32, true, 0, rate);
    bench_gptq(b, h, weights, 2, BACKEND_FP32, true, 2, rate);
    free(weights);
    free(h);
    backend_free(b);
    return 0;
}
