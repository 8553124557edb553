/* Gram matrices, magnitudes and losses. */
#include <stdlib.h>

#include "parity_trial.h"

/* Emits the lower triangle and frees. */
static void take_gram(struct trial *t, struct tensor *h, size_t d)
{
    double *values = trial_get(d * d, sizeof *values);
    (void)!RUN(OPS->download_f64(t->b, h, 0, d, values, &t->err));
    for (size_t r = 0; !t->err.code && r < d; r++)
        for (size_t c = 0; c <= r; c++)
            trial_emit(t, values[r * d + c]);
    trial_drop(t, h);
    free(values);
}

static void grouped_gram(struct trial *t)
{
    struct crowd c;
    trial_crowd(t, &c);
    size_t d = trial_size(t, 90, 1500);
    float *x = trial_floats(t, c.slots * d, 2.0);
    struct tensor *a = trial_working(t, c.slots, d, x), **h = trial_get(c.experts, sizeof *h);
    struct tensor *sum = trial_empty(t, TENSOR_F64, c.experts, d);
    for (size_t e = 0; e < c.experts; e++)
        h[e] = trial_empty(t, TENSOR_F64, d, d);
    for (size_t again = 0; again < 2; again++) {
        (void)!RUN(OPS->grouped_gram(t->b, h, a, &c.g, &t->err));
        (void)!RUN(OPS->grouped_abs(t->b, sum, a, &c.g, &t->err));
    }
    for (size_t e = 0; e < c.experts; e++)
        take_gram(t, h[e], d);
    double *values = trial_get(c.experts * d, sizeof *values);
    (void)!RUN(OPS->download_f64(t->b, sum, 0, c.experts, values, &t->err));
    for (size_t i = 0; i < c.experts * d; i++)
        trial_emit(t, values[i]);
    trial_drop(t, sum);
    trial_drop(t, a);
    free(values);
    free(h);
    free(x);
    backend_groups_release(&c.g);
}

static void gram(struct trial *t)
{
    size_t n = trial_size(t, 200, 5000), d = trial_size(t, 120, 2048);
    float *x = trial_floats(t, n * d, 2.0);
    struct tensor *a = trial_working(t, n, d, x), *h = trial_empty(t, TENSOR_F64, d, d);
    for (size_t again = 0; again < 2; again++)
        (void)!RUN(OPS->gram(t->b, h, a, n, &t->err));
    take_gram(t, h, d);
    trial_drop(t, a);
    free(x);
}

static void nll(struct trial *t)
{
    size_t n = trial_size(t, 80, 1500), in = trial_size(t, 60, 1024),
           vocab = trial_size(t, 400, 50304);
    float *x = trial_floats(t, n * in, 1.0), *w = trial_floats(t, vocab * in, 1.0);
    int64_t *target = trial_get(n, sizeof *target);
    double *out = trial_get(n, sizeof *out);
    for (size_t i = 0; i < n; i++)
        target[i] = trial_below(t, 9) ? (int64_t)trial_below(t, vocab) : -1;
    struct tensor *a = trial_working(t, n, in, x), *b = trial_put(t, vocab, in, w);
    (void)!RUN(OPS->nll(t->b, out, a, b, target, n, &t->err));
    for (size_t i = 0; i < n; i++)
        if (target[i] >= 0)
            trial_emit(t, out[i]);
    trial_drop(t, a);
    trial_drop(t, b);
    free(out);
    free(target);
    free(w);
    free(x);
}

static const struct parity_case cases[] = {
    {"gram", gram, 2e-5, 0.0, PARITY_TF32},
    {"grouped_gram, grouped_abs", grouped_gram, 2e-5, 0.0, PARITY_TF32},
    {"nll", nll, 2e-5, 0.0, PARITY_TF32},
};

const struct parity_family parity_calibrate = PARITY_FAMILY(cases);
