/* Routing, the experts' products and the way back. */
#include <stdlib.h>

#include "parity_trial.h"

static void route(struct trial *t)
{
    size_t n = trial_size(t, 150, 5000), experts = trial_size(t, 70, 256);
    size_t top_k = 1 + trial_below(t, experts < 8 ? experts : 8);
    bool normalize = trial_below(t, 2);
    float *logits = trial_floats(t, n * experts, 9.0);
    struct tensor *a = trial_working(t, n, experts, logits);
    struct backend_groups g = {0};
    (void)!RUN(OPS->route(t->b, &g, a, n, top_k, normalize, &t->err));
    for (size_t i = 0; !t->err.code && i < n * top_k; i++) {
        trial_label(t, g.expert[i]);
        trial_label(t, g.row[i]);
        trial_label(t, g.slot[i]);
        trial_emit(t, g.gate[i]);
    }
    for (size_t e = 0; !t->err.code && e <= experts; e++)
        trial_label(t, (uint32_t)g.offset[e]);
    backend_groups_release(&g);
    trial_drop(t, a);
    free(logits);
}

static void gather(struct trial *t)
{
    struct crowd c;
    trial_crowd(t, &c);
    size_t columns = trial_size(t, 100, 2048);
    float *x = trial_floats(t, c.n * columns, 1.0);
    struct tensor *a = trial_working(t, c.n, columns, x),
                  *out = trial_working(t, c.slots, columns, NULL);
    (void)!RUN(OPS->gather(t->b, out, a, &c.g, &t->err));
    trial_take(t, out, c.slots, columns);
    trial_drop(t, a);
    free(x);
    backend_groups_release(&c.g);
}

static void grouped_matmul(struct trial *t)
{
    struct crowd c;
    trial_crowd(t, &c);
    size_t in = trial_size(t, 70, 1024), columns = trial_size(t, 80, 1024);
    float *x = trial_floats(t, c.slots * in, 1.0);
    struct tensor *a = trial_working(t, c.slots, in, x),
                  *out = trial_working(t, c.slots, columns, NULL);
    struct tensor **w = trial_get(c.experts, sizeof *w);
    for (size_t e = 0; e < c.experts; e++) {
        float *values = trial_floats(t, columns * in, 1.0);
        w[e] = trial_put(t, columns, in, values);
        free(values);
    }
    (void)!RUN(OPS->grouped_matmul(t->b, out, a, w, &c.g, &t->err));
    trial_take(t, out, c.slots, columns);
    for (size_t e = 0; e < c.experts; e++)
        trial_drop(t, w[e]);
    trial_drop(t, a);
    free(w);
    free(x);
    backend_groups_release(&c.g);
}

static void combine(struct trial *t)
{
    struct crowd c;
    trial_crowd(t, &c);
    size_t columns = trial_size(t, 100, 2048);
    float *x = trial_floats(t, c.n * columns, 1.0), *y = trial_floats(t, c.slots * columns, 1.0);
    struct tensor *a = trial_working(t, c.n, columns, x),
                  *b = trial_working(t, c.slots, columns, y);
    (void)!RUN(OPS->combine(t->b, a, b, &c.g, &t->err));
    trial_take(t, a, c.n, columns);
    trial_drop(t, b);
    free(y);
    free(x);
    backend_groups_release(&c.g);
}

static const struct parity_case cases[] = {
    {"route", route, 1e-5, 1e-3, 0.0},
    {"gather", gather, 0.0, 0.0, 0.0},
    {"grouped_matmul", grouped_matmul, 2e-5, 0.0, PARITY_TF32},
    {"combine", combine, 2e-6, 0.0, 0.0},
};

const struct parity_family parity_experts = PARITY_FAMILY(cases);
