#include "src/quant/slopes.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"

static int set_init(struct slopes_set *s, size_t units, size_t size, struct err *err)
{
    size_t cells;
    s->units = units;
    s->size = size;
    if (!mem_mul(&cells, units, size))
        return err_set(err, ERR_USAGE, NULL, "%zu experts of %zu overflow", units, size);
    s->tokens = mem_array(units, sizeof *s->tokens, err);
    s->mid = mem_array(units, sizeof *s->mid, err);
    s->weight = mem_array(units, sizeof *s->weight, err);
    s->gate = mem_array(cells, sizeof *s->gate, err);
    s->up = mem_array(cells, sizeof *s->up, err);
    return s->tokens && s->mid && s->weight && s->gate && s->up ? 0 : ERR_NOMEM;
}

static void set_release(struct slopes_set *s)
{
    free(s->tokens);
    free(s->mid);
    free(s->weight);
    free(s->gate);
    free(s->up);
}

int slopes_init(struct slopes *s, struct backend *b, const struct model_config *c,
                const struct model_layer *layer, size_t chunk_rows, const struct gates *gates,
                struct err *err)
{
    *s = (struct slopes){.b = b, .layer = layer, .gates = gates};
    int rc = set_init(&s->routed, c->experts, c->expert_size, err);
    if (rc == 0 && c->shared_size) {
        rc = set_init(&s->shared, 1, c->shared_size, err);
        s->logit_rows = chunk_rows;
        s->shared_gate = mem_array(chunk_rows, sizeof *s->shared_gate, err);
        if (rc == 0 && !s->shared_gate)
            rc = ERR_NOMEM;
        if (rc == 0)
            rc = b->ops->tensor_new(b, &s->logit, TENSOR_F32, chunk_rows, 1, err);
    }
    if (rc < 0)
        slopes_release(s);
    return rc;
}

void slopes_release(struct slopes *s)
{
    set_release(&s->routed);
    set_release(&s->shared);
    if (s->logit)
        s->b->ops->tensor_free(s->b, s->logit);
    free(s->shared_gate);
    *s = (struct slopes){0};
}

/* One chunk of products; unit e has the rows first[e] .. first[e + 1] - 1. */
struct chunk {
    struct slopes_set *set;
    const size_t *first;
    const struct gates *gates; /* of routed experts, or NULL */
    const float *weight;       /* [rows] g */
    float *gate, *up;          /* [rows][size] */
};

static void add_unit(void *context, size_t unit, size_t worker)
{
    (void)worker;
    const struct chunk *c = context;
    struct slopes_set *s = c->set;
    double *gate = s->gate + unit * s->size, *up = s->up + unit * s->size;
    for (size_t r = c->first[unit]; r < c->first[unit + 1]; r++) {
        double g2 = (double)c->weight[r] * (double)c->weight[r];
        double mid = 0;
        for (size_t i = 0; i < s->size; i++) {
            double a = (double)c->gate[r * s->size + i], b = (double)c->up[r * s->size + i];
            double sigmoid = 1.0 / (1.0 + exp(-a)), silu = a * sigmoid;
            double slope = sigmoid * (1.0 + a * (1.0 - sigmoid)) * b;
            gate[i] += g2 * slope * slope;
            up[i] += g2 * silu * silu;
            mid += silu * silu * b * b;
        }
        s->mid[unit] +=
            mid * (c->gates ? gates_weight(c->gates, unit, (double)c->weight[r], s->size) : 1.0);
        s->weight[unit] += g2 * mid;
    }
    s->tokens[unit] += c->first[unit + 1] - c->first[unit];
}

static int add_chunk(struct slopes *s, struct slopes_set *set, const size_t *first,
                     const float *weight, const struct tensor *gate, const struct tensor *up,
                     struct err *err)
{
    size_t rows = first[set->units];
    const struct gates *gates = set == &s->routed ? s->gates : NULL;
    struct chunk c = {.set = set, .first = first, .gates = gates, .weight = weight};
    c.gate = mem_array(rows, set->size * sizeof *c.gate, err);
    c.up = mem_array(rows, set->size * sizeof *c.up, err);
    int rc = c.gate && c.up ? s->b->ops->download(s->b, gate, 0, rows, c.gate, err) : ERR_NOMEM;
    if (rc == 0)
        rc = s->b->ops->download(s->b, up, 0, rows, c.up, err);
    if (rc == 0)
        parallel_for(backend_pool(s->b), set->units, add_unit, &c);
    free(c.gate);
    free(c.up);
    return rc;
}

int slopes_add_routed(struct slopes *s, const struct tensor *gate, const struct tensor *up,
                      const struct backend_groups *g, struct err *err)
{
    size_t slots = g->tokens * g->top_k;
    float *weight = mem_array(slots, sizeof *weight, err);
    if (!weight)
        return ERR_NOMEM;
    for (size_t i = 0; i < slots; i++)
        weight[g->slot[i]] = g->gate[i];
    int rc = add_chunk(s, &s->routed, g->offset, weight, gate, up, err);
    free(weight);
    return rc;
}

int slopes_note_shared(struct slopes *s, const struct tensor *x, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        s->shared_gate[i] = 1.0f;
    if (!s->layer->shared_gate)
        return 0;
    int rc = s->b->ops->matmul_full(s->b, s->logit, x, s->layer->shared_gate, NULL, n, err);
    if (rc == 0)
        rc = s->b->ops->download(s->b, s->logit, 0, n, s->shared_gate, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        s->shared_gate[i] = 1.0f / (1.0f + expf(-s->shared_gate[i]));
    return rc;
}

int slopes_add_shared(struct slopes *s, const struct tensor *gate, const struct tensor *up,
                      size_t n, struct err *err)
{
    const size_t first[2] = {0, n};
    return add_chunk(s, &s->shared, first, s->shared_gate, gate, up, err);
}

static double column(const double *sums, size_t units, size_t size, size_t i)
{
    double sum = 0;
    for (size_t u = 0; u < units; u++)
        sum += sums[u * size + i];
    return sum;
}

void slopes_get(const struct slopes_set *s, size_t unit, double *down, double *gate, double *up)
{
    size_t tokens = 0;
    for (size_t u = 0; u < s->units; u++)
        tokens += s->tokens[u];
    double share = tokens ? 1.0 / (double)tokens : 0.0;
    double mid = s->mid[unit] + column(s->mid, s->units, 1, 0) * share;
    double weight = s->weight[unit] + column(s->weight, s->units, 1, 0) * share;
    *down = mid > 0 ? weight * (double)(s->tokens[unit] + 1) / mid : 0.0;
    for (size_t i = 0; i < s->size; i++) {
        size_t at = unit * s->size + i;
        if (gate)
            gate[i] = s->gate[at] + column(s->gate, s->units, s->size, i) * share;
        if (up)
            up[i] = s->up[at] + column(s->up, s->units, s->size, i) * share;
    }
}
