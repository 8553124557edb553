/*
 * Speed of the allocation at the size of OLMoE-1B-7B: 1,024 experts of three linears, five widths.
 * Losses fall with the width as measured ones do, by a factor that differs from linear to linear,
 * over four decades between the linears. Then with channels: at 2, 3 and 4 bits each of them also
 * with three shares of its inputs at 8 bits. Prints one JSON line a case: median and slowest of all
 * budgets from 2.15 to 8 bits, in milliseconds of processor time.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "analysis/allocate.h"

enum { ITEMS = 3072, WIDTHS = 5, BUDGETS = 294 };
enum { MIXED_WIDTHS = 3, SHARES = 3, CHOICES_MOST = WIDTHS + MIXED_WIDTHS * SHARES };

static const unsigned widths[WIDTHS] = {2, 3, 4, 8, 16};
static uint64_t cost[ITEMS * CHOICES_MOST];
static double loss[ITEMS * CHOICES_MOST];
static size_t choices;
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
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int compare(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* A linear with `channels` of its inputs at 8 bits, packed in `groups` groups. */
static uint64_t packed_cost(size_t in, size_t out, size_t groups, unsigned bits, size_t channels)
{
    uint64_t grids = out * groups * (16 + bits), second = out * groups * (16 + 8) + 32 * channels;
    return ((in - channels) * bits + channels * 8) * out + (bits < 16 ? grids : 0) +
           (channels ? second : 0);
}

/* mixed: down has other groups than gate and up, so that costs have no large common unit. */
static void fill(bool mixed, bool channels)
{
    static const size_t shift[SHARES] = {4, 3, 2};
    choices = channels ? CHOICES_MOST : WIDTHS;
    for (size_t i = 0; i < ITEMS; i++) {
        double scale = exp(-9.0 * random_unit());
        bool down = i % 3 == 2;
        size_t groups = !down   ? 16
                        : mixed ? 5
                                : 8,
               in = down ? 1024 : 2048, out = down ? 2048 : 1024;
        for (size_t w = 0; w < WIDTHS; w++) {
            double plain = widths[w] == 16 ? 0 : scale * exp2(-2.0 * widths[w]);
            cost[i * choices + w] = packed_cost(in, out, groups, widths[w], 0);
            loss[i * choices + w] = plain;
            scale *= 0.7 + 0.6 * random_unit();
            for (size_t s = 0; channels && w < MIXED_WIDTHS && s < SHARES; s++) {
                size_t at = i * choices + WIDTHS + w * SHARES + s, some = in >> shift[s];
                cost[at] = packed_cost(in, out, groups, widths[w], some);
                loss[at] = plain * pow(1 - exp2(-(double)shift[s]), 4 + 4 * random_unit());
            }
        }
    }
}

static int run(const char *name, bool mixed, bool channels)
{
    double ms[BUDGETS];
    size_t exact = 0;
    fill(mixed, channels);
    struct allocate_problem p = {.items = ITEMS, .choices = choices, .cost = cost, .loss = loss};
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
    struct allocate_problem p = {.items = ITEMS, .choices = choices, .cost = cost, .loss = loss};
    double start = now();
    if (allocate_front_make(&front, &p, NULL) < 0)
        return 1;
    printf(
        "{\"bench\":\"allocate\",\"case\":\"front\",\"choices\":%zu,\"ms\":%.3f,\"steps\":%zu}\n",
        choices, now() - start, front.steps);
    allocate_front_release(&front);
    return 0;
}

int main(void)
{
    int rc = run("equal-costs", false, false);
    rc = rc ? rc : run("mixed-costs", true, false);
    rc = rc ? rc : run_front();
    rc = rc ? rc : run("channels", true, true);
    return rc ? rc : run_front();
}
