/*
 * Speed of the allocation at the size of OLMoE-1B-7B: 1,024 experts of three linears, five widths.
 * Losses fall with the width as measured ones do, by a factor that differs from linear to linear,
 * over four decades between the linears. Prints one JSON line a case: median and slowest of all
 * budgets from 2.02 to 7.9 bits, in milliseconds.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "analysis/allocate.h"

enum { ITEMS = 3072, WIDTHS = 5, BUDGETS = 294 };

static const unsigned widths[WIDTHS] = {2, 3, 4, 8, 16};
static uint64_t cost[ITEMS * WIDTHS];
static double loss[ITEMS * WIDTHS];
static uint8_t choice[ITEMS];

static uint64_t seed_state = 88172645463325252u;

static double random_unit(void)
{
    seed_state ^= seed_state << 13;
    seed_state ^= seed_state >> 7;
    seed_state ^= seed_state << 17;
    return (double)(seed_state >> 11) * 0x1p-53;
}

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

/* mixed: down has other groups than gate and up, so that costs have no large common unit. */
static void fill(bool mixed)
{
    for (size_t i = 0; i < ITEMS; i++) {
        double scale = exp(-9.0 * random_unit());
        for (size_t w = 0; w < WIDTHS; w++) {
            size_t cells = (size_t)2048 * 1024, groups = mixed && i % 3 == 2 ? 11 : 16;
            cost[i * WIDTHS + w] =
                cells * widths[w] + (widths[w] < 16 ? 1024 * groups * (16 + widths[w]) : 0);
            loss[i * WIDTHS + w] = widths[w] == 16 ? 0 : scale * exp2(-2.0 * widths[w]);
            scale *= 0.7 + 0.6 * random_unit();
        }
    }
}

static int run(const char *name, bool mixed)
{
    double ms[BUDGETS];
    size_t exact = 0;
    fill(mixed);
    struct allocate_problem p = {.items = ITEMS, .choices = WIDTHS, .cost = cost, .loss = loss};
    for (size_t b = 0; b < BUDGETS; b++) {
        struct allocate_result r;
        struct err err = {0};
        p.budget = (uint64_t)(ITEMS * 2048.0 * 1024.0 * (2.15 + 0.02 * (double)b));
        double start = now();
        if (allocate_solve(&r, choice, &p, &err) < 0) {
            fprintf(stderr, "bench_allocate: %s\n", err.message);
            return 1;
        }
        ms[b] = now() - start;
        exact += r.exact;
    }
    qsort(ms, BUDGETS, sizeof *ms, compare);
    printf("{\"bench\":\"allocate\",\"case\":\"%s\",\"median_ms\":%.3f,\"max_ms\":%.3f,"
           "\"exact\":%zu,\"of\":%d}\n",
           name, ms[BUDGETS / 2], ms[BUDGETS - 1], exact, BUDGETS);
    return 0;
}

static int run_front(void)
{
    struct allocate_front front;
    struct allocate_problem p = {.items = ITEMS, .choices = WIDTHS, .cost = cost, .loss = loss};
    double start = now();
    if (allocate_front_make(&front, &p, NULL) < 0)
        return 1;
    printf("{\"bench\":\"allocate\",\"case\":\"front\",\"ms\":%.3f,\"steps\":%zu}\n", now() - start,
           front.steps);
    allocate_front_release(&front);
    return 0;
}

int main(void)
{
    int rc = run("equal-costs", false);
    rc = rc ? rc : run("mixed-costs", true);
    return rc ? rc : run_front();
}
