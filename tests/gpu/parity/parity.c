/* Runs the cases on both backends and compares what they hand over. */
#include "parity.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "parity_trial.h"

static const struct parity_family *const families[] = {&parity_forward,   &parity_experts,
                                                       &parity_calibrate, &parity_factor,
                                                       &parity_grid,      &parity_sweep};
enum { FAMILIES = sizeof families / sizeof *families };

size_t parity_count(void)
{
    size_t count = 0;
    for (size_t f = 0; f < FAMILIES; f++)
        count += families[f]->count;
    return count;
}

static const struct parity_case *case_of(size_t index)
{
    size_t f = 0;
    for (; index >= families[f]->count; f++)
        index -= families[f]->count;
    return &families[f]->cases[index];
}

const char *parity_name(size_t index)
{
    return case_of(index)->name;
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

static void run_trial(struct trial *t, const struct parity_case *which)
{
    uint64_t before = 0, after = 0, room;
    if (t->b->ops->memory)
        t->b->ops->memory(t->b, &room, &before);
    which->run(t);
    if (t->b->ops->memory)
        t->b->ops->memory(t->b, &room, &after);
    if (after != before)
        err_set(&t->err, ERR_DEVICE, NULL, "%lld bytes of device memory were not freed",
                (long long)(after - before));
}

struct parity_result parity_run(size_t index, struct backend *cpu, struct backend *other,
                                size_t trials, enum parity_sizes sizes, bool tf32)
{
    const struct parity_case *which = case_of(index);
    bool large = sizes == PARITY_LARGE, coarse = tf32 && which->tf32 > 0.0;
    struct parity_result r = {.name = which->name,
                              .trials = trials,
                              .tolerance = coarse ? which->tf32 : which->tolerance,
                              .allowed = which->allowed,
                              .good = true};
    for (size_t i = 0; i < trials; i++) {
        uint64_t seed = (index + 1) * 1000003 + i;
        struct trial want = {.b = cpu, .cpu = cpu, .seed = seed, .large = large};
        struct trial got = {.b = other, .cpu = cpu, .seed = seed, .large = large};
        run_trial(&want, which);
        run_trial(&got, which);
        compare(&r, i, &want, &got);
        free(want.values);
        free(want.labels);
        free(got.values);
        free(got.labels);
    }
    return r;
}
