/*
 * Speed of the analysis at the size of OLMoE-1B-7B: 16 layers, 64 experts, top-8, 50,304 token
 * types, 262,144 positions. Prints one JSON line a case: the median of several repeats in
 * milliseconds, and for slider moves the part of a 16 ms frame. The trace: synthetic.h.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "analysis/analysis.h"
#include "analysis/cosine.h"
#include "synthetic.h"

enum { LAYERS = SYNTHETIC_LAYERS, EXPERTS = SYNTHETIC_EXPERTS, REPEATS = 15 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

static void print_case(const char *name, double *ms, size_t count, double floor_ms)
{
    qsort(ms, count, sizeof *ms, compare);
    printf("{\"bench\":\"analysis\",\"case\":\"%s\",\"median_ms\":%.3f,\"max_ms\":%.3f", name,
           ms[count / 2], ms[count - 1]);
    if (floor_ms > 0)
        printf(",\"of_frame\":%.3f", ms[count / 2] / floor_ms);
    printf("}\n");
    fflush(stdout);
}

static void fail(const struct err *err)
{
    char line[2048];
    err_format(line, sizeof line, err);
    fprintf(stderr, "bench_analysis: %s\n", line);
    exit(1);
}

/* A slider held down: every step is another value of the setting. */
struct slider {
    const char *name, *setting, *mapping;
    const char *values[4];
};

static void run_slider(struct analysis *a, const struct slider *s)
{
    double ms[REPEATS];
    struct settings settings;
    struct err err = {0};
    settings_defaults(&settings);
    if (settings_set(&settings, "mapping", s->mapping, &err) < 0 ||
        analysis_update(a, &settings, &err) < 0)
        fail(&err);
    for (size_t i = 0; i < REPEATS; i++) {
        if (settings_set(&settings, s->setting, s->values[i % 4], &err) < 0)
            fail(&err);
        double start = now();
        if (analysis_update(a, &settings, &err) < 0)
            fail(&err);
        ms[i] = now() - start;
    }
    print_case(s->name, ms, REPEATS, 16);
}

static void bench_cosine(void)
{
    enum { WIDTH = 1 << 18 };
    double ms[3], *gram = calloc(EXPERTS * EXPERTS, sizeof *gram);
    float *weights = malloc(sizeof *weights * EXPERTS * WIDTH);
    const float *rows[EXPERTS];
    for (size_t i = 0; i < (size_t)EXPERTS * WIDTH; i++)
        weights[i] = (float)(synthetic_uniform() - 0.5);
    for (size_t e = 0; e < EXPERTS; e++)
        rows[e] = weights + e * WIDTH;
    for (size_t i = 0; i < 3; i++) {
        double start = now();
        cosine_add(gram, rows, EXPERTS, WIDTH);
        ms[i] = now() - start;
    }
    /* 6,291,456 weights an expert in 16 layers. */
    double whole = ms[1] * 1e-3 * LAYERS * 6291456.0 / WIDTH;
    print_case("cosine of 64 experts, 262,144 weights each", ms, 3, 0);
    printf("{\"bench\":\"analysis\",\"case\":\"cosine of OLMoE-1B-7B, one "
           "thread\",\"seconds\":%.2f}\n",
           whole);
    free(gram);
    free(weights);
}

int main(void)
{
    static const struct slider sliders[] = {
        {"alpha", "alpha", "types", {"0.31", "0.32", "0.33", "0.34"}},
        {"beta", "beta", "types", {"0.8", "0.81", "0.82", "0.83"}},
        {"min_count", "min_count", "types", {"2", "3", "4", "1"}},
        {"min_count, far", "min_count", "types", {"1", "100", "3", "1000"}},
        {"mapping", "mapping", "types", {"majority", "occurrences", "gate", "types"}},
        {"threshold", "threshold_sigmas", "types", {"0.05", "0.1", "0.15", "0.2"}},
        {"classes", "classes", "types", {"3", "4", "3", "2"}},
        {"alpha, majority", "alpha", "majority", {"0.31", "0.32", "0.33", "0.34"}},
        {"alpha, occurrences", "alpha", "occurrences", {"0.31", "0.32", "0.33", "0.34"}},
        {"alpha, gate", "alpha", "gate", {"0.31", "0.32", "0.33", "0.34"}},
    };
    struct trace t;
    struct err err = {0};
    struct analysis *a;
    if (synthetic_trace(&t, &err) < 0)
        fail(&err);
    double start = now();
    if (analysis_new(&a, &t, &err) < 0)
        fail(&err);
    double load = now() - start;
    print_case("index", &load, 1, 0);
    for (size_t i = 0; i < sizeof sliders / sizeof sliders[0]; i++)
        run_slider(a, &sliders[i]);
    analysis_free(a);
    trace_release(&t);
    bench_cosine();
    return 0;
}
