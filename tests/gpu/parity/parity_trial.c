#include "parity_trial.h"

#include <math.h>
#include <stdlib.h>

enum { SPARE = 3 }; /* rows behind those in use */

/* --- Drawing --- */

uint64_t trial_draw(struct trial *t)
{
    uint64_t z = t->seed += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

size_t trial_below(struct trial *t, size_t limit)
{
    return (size_t)((trial_draw(t) >> 32) * (uint64_t)limit >> 32);
}

size_t trial_size(struct trial *t, size_t small, size_t big)
{
    size_t most = t->large ? big : small;
    size_t kind = trial_below(t, 8);
    return kind == 0 ? 1 : kind == 1 ? most : 1 + trial_below(t, most);
}

double trial_uniform(struct trial *t)
{
    return (double)(trial_draw(t) >> 11) * 0x1p-52 - 1.0;
}

void *trial_get(size_t count, size_t bytes)
{
    void *memory = calloc(count ? count : 1, bytes);
    if (!memory)
        abort();
    return memory;
}

float *trial_floats(struct trial *t, size_t count, double scale)
{
    float *out = trial_get(count, sizeof *out);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(trial_uniform(t) * scale);
    return out;
}

/* --- Results --- */

void trial_emit(struct trial *t, double value)
{
    if (t->count == t->capacity) {
        t->capacity = t->capacity ? 2 * t->capacity : 1024;
        t->values = realloc(t->values, t->capacity * sizeof *t->values);
        if (!t->values)
            abort();
    }
    t->values[t->count++] = value;
}

void trial_label(struct trial *t, uint32_t value)
{
    if (t->labels_count == t->labels_capacity) {
        t->labels_capacity = t->labels_capacity ? 2 * t->labels_capacity : 1024;
        t->labels = realloc(t->labels, t->labels_capacity * sizeof *t->labels);
        if (!t->labels)
            abort();
    }
    t->labels[t->labels_count++] = value;
}

/* --- Tensors --- */

struct tensor *trial_empty(struct trial *t, enum tensor_kind kind, size_t rows, size_t columns)
{
    struct tensor *out = NULL;
    (void)!t->b->ops->tensor_new(t->b, &out, kind, rows, columns, &t->err);
    return out;
}

struct tensor *trial_put(struct trial *t, size_t rows, size_t columns, const float *values)
{
    struct tensor *out = trial_empty(t, TENSOR_F32, rows, columns);
    if (out)
        (void)!t->b->ops->upload(t->b, out, 0, rows, SOURCE_F32, values, &t->err);
    return out;
}

struct tensor *trial_working(struct trial *t, size_t rows, size_t columns, const float *values)
{
    float *all = trial_get((rows + SPARE) * columns, sizeof *all);
    for (size_t i = 0; i < (rows + SPARE) * columns; i++)
        all[i] = values && i < rows * columns ? values[i] : NAN;
    struct tensor *out = trial_put(t, rows + SPARE, columns, all);
    free(all);
    return out;
}

void trial_take(struct trial *t, struct tensor *x, size_t rows, size_t columns)
{
    float *out = trial_get((rows + SPARE) * columns, sizeof *out);
    if (x && !t->err.code)
        (void)!t->b->ops->download(t->b, x, 0, rows + SPARE, out, &t->err);
    for (size_t i = 0; !t->err.code && i < (rows + SPARE) * columns; i++)
        if (i < rows * columns)
            trial_emit(t, out[i]);
        else
            t->spilled = t->spilled || !isnan(out[i]);
    t->b->ops->tensor_free(t->b, x);
    free(out);
}

void trial_drop(struct trial *t, struct tensor *x)
{
    t->b->ops->tensor_free(t->b, x);
}

/* --- Tokens that choose experts --- */

static void choose(struct trial *t, struct backend_groups *g, size_t tokens, size_t experts,
                   size_t top_k)
{
    *g = (struct backend_groups){.tokens = tokens, .experts = experts, .top_k = top_k};
    if (backend_groups_alloc(g, &t->err) < 0)
        abort();
    for (size_t i = 0; i < tokens; i++)
        for (size_t k = 0; k < top_k; k++) {
            bool taken = true;
            for (uint16_t e = 0; taken; e++) {
                e = (uint16_t)(trial_below(t, experts) * (1 + trial_below(t, experts)) / experts);
                taken = false;
                for (size_t j = 0; j < k; j++)
                    taken = taken || g->expert[i * top_k + j] == e;
                g->expert[i * top_k + k] = e;
            }
            g->gate[i * top_k + k] = (float)(0.6 + 0.5 * trial_uniform(t));
        }
    if (backend_groups_sort(g, &t->err) < 0)
        abort();
}

void trial_crowd(struct trial *t, struct crowd *c)
{
    c->n = trial_size(t, 120, 4096);
    c->experts = 1 + trial_size(t, 20, 64);
    c->top_k = 1 + trial_below(t, c->experts < 5 ? c->experts - 1 : 4);
    c->slots = c->n * c->top_k;
    choose(t, &c->g, c->n, c->experts, c->top_k);
}

double *trial_positive(struct trial *t, size_t d)
{
    size_t n = d + 8;
    float *x = trial_floats(t, n * d, 1.0);
    double *h = trial_get(d * d, sizeof *h);
    for (size_t k = 0; k < n; k++)
        for (size_t r = 0; r < d; r++)
            for (size_t c = 0; c <= r; c++)
                h[r * d + c] += (double)x[k * d + r] * x[k * d + c] / (double)n;
    for (size_t r = 0; r < d; r++) {
        h[r * d + r] += 0.05;
        for (size_t c = 0; c < r; c++)
            h[c * d + r] = h[r * d + c];
    }
    free(x);
    return h;
}
