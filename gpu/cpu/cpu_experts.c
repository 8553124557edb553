/* Routing of tokens to experts, and the way back. */
#include <math.h>
#include <string.h>

#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum { ROUTE_ROWS = 64, MOVE_ROWS = 64, TOP_K_MAX = 256 };

struct route_job {
    struct cpu_backend *backend;
    struct backend_groups *groups;
    const float *logits;
    bool normalize;
};

CPU_VECTOR static void exp_span(float *out, const float *x, float shift, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = cpu_exp(x[i] - shift);
}

static void route_softmax(float *out, const float *logits, size_t experts)
{
    float max = logits[0], sum = 0;
    for (size_t e = 1; e < experts; e++)
        max = logits[e] > max ? logits[e] : max;
    exp_span(out, logits, max, experts);
    for (size_t e = 0; e < experts; e++)
        sum += out[e];
    for (size_t e = 0; e < experts; e++)
        out[e] /= sum;
}

/* Takes the largest left, K times; a taken one becomes -1, below every probability. */
static void route_row(const struct route_job *j, size_t row, float *p)
{
    struct backend_groups *g = j->groups;
    route_softmax(p, j->logits + row * g->experts, g->experts);
    float sum = 0;
    for (size_t k = 0; k < g->top_k; k++) {
        size_t best = 0;
        for (size_t e = 1; e < g->experts; e++)
            if (p[e] > p[best])
                best = e;
        g->expert[row * g->top_k + k] = (uint16_t)best;
        g->gate[row * g->top_k + k] = p[best];
        sum += p[best];
        p[best] = -1;
    }
    for (size_t k = 0; j->normalize && k < g->top_k; k++)
        g->gate[row * g->top_k + k] /= sum;
}

static void route_item(void *context, size_t item, size_t worker)
{
    const struct route_job *j = context;
    size_t last = (item + 1) * ROUTE_ROWS;
    for (size_t row = item * ROUTE_ROWS; row < last && row < j->groups->tokens; row++)
        route_row(j, row, j->backend->scratch[worker]);
}

static int check_gates(const struct backend_groups *g, struct err *err)
{
    for (size_t i = 0; i < g->tokens * g->top_k; i++)
        if (!isfinite(g->gate[i]) || g->gate[i] < 0)
            return err_set(err, ERR_NUMERIC, NULL,
                           "the router's output for row %zu of the chunk is not a number",
                           i / g->top_k);
    return 0;
}

int cpu_route(struct backend *b, struct backend_groups *groups, const struct tensor *logits,
              size_t n, size_t top_k, bool normalize, struct err *err)
{
    size_t experts = logits->columns;
    int rc = cpu_expect(logits, "route: logits", TENSOR_F32, n, experts, err);
    if (rc < 0)
        return rc;
    if (experts == 0 || experts >= UINT16_MAX || top_k == 0 || top_k > experts || top_k > TOP_K_MAX)
        return err_set(err, ERR_USAGE, NULL, "route: %zu of %zu experts", top_k, experts);
    *groups = (struct backend_groups){.tokens = n, .experts = experts, .top_k = top_k};
    rc = backend_groups_alloc(groups, err);
    if (rc < 0)
        return rc;
    rc = cpu_scratch(cpu_self(b), experts, err);
    if (rc == 0) {
        struct route_job job = {cpu_self(b), groups, logits->f, normalize};
        parallel_for(cpu_self(b)->pool, (n + ROUTE_ROWS - 1) / ROUTE_ROWS, route_item, &job);
        rc = check_gates(groups, err);
    }
    if (rc == 0)
        rc = backend_groups_sort(groups, err);
    if (rc < 0)
        backend_groups_release(groups);
    return rc;
}

struct move_job {
    float *out;
    const float *x;
    const struct backend_groups *groups;
    size_t columns, n;
};

static void gather_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct move_job *j = context;
    size_t last = (item + 1) * MOVE_ROWS;
    for (size_t slot = item * MOVE_ROWS; slot < last && slot < j->n; slot++)
        memcpy(j->out + slot * j->columns, j->x + j->groups->row[slot] * j->columns,
               j->columns * sizeof *j->out);
}

int cpu_gather(struct backend *b, struct tensor *out, const struct tensor *x,
               const struct backend_groups *groups, struct err *err)
{
    size_t slots = groups->offset[groups->experts];
    int rc = cpu_expect(x, "gather: x", TENSOR_F32, groups->tokens, x->columns, err);
    if (rc == 0)
        rc = cpu_expect(out, "gather: out", TENSOR_F32, slots, x->columns, err);
    if (rc < 0)
        return rc;
    struct move_job job = {out->f, x->f, groups, x->columns, slots};
    parallel_for(cpu_self(b)->pool, (slots + MOVE_ROWS - 1) / MOVE_ROWS, gather_item, &job);
    return 0;
}

enum { COMBINE_SPAN = 256 }; /* columns summed at a time */

CPU_VECTOR static void combine_span(float *out, const float *const *y, const float *gate,
                                    size_t count, size_t k)
{
    float sum[COMBINE_SPAN];
    for (size_t i = 0; i < count; i++)
        sum[i] = gate[0] * y[0][i];
    for (size_t s = 1; s < k; s++)
        for (size_t i = 0; i < count; i++)
            sum[i] += gate[s] * y[s][i];
    for (size_t i = 0; i < count; i++)
        out[i] += sum[i];
}

static void combine_token(const struct move_job *j, size_t token)
{
    const struct backend_groups *g = j->groups;
    const float *y[TOP_K_MAX];
    float gate[TOP_K_MAX];
    size_t slot[TOP_K_MAX];
    for (size_t k = 0; k < g->top_k; k++) { /* slots rise with experts: sorts by expert */
        size_t value = g->slot[token * g->top_k + k], at = k;
        for (; at > 0 && slot[at - 1] > value; at--) {
            slot[at] = slot[at - 1];
            gate[at] = gate[at - 1];
        }
        slot[at] = value;
        gate[at] = g->gate[token * g->top_k + k];
    }
    for (size_t from = 0; from < j->columns; from += COMBINE_SPAN) {
        for (size_t k = 0; k < g->top_k; k++)
            y[k] = j->x + slot[k] * j->columns + from;
        size_t left = j->columns - from;
        combine_span(j->out + token * j->columns + from, y, gate,
                     left < COMBINE_SPAN ? left : COMBINE_SPAN, g->top_k);
    }
}

static void combine_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct move_job *j = context;
    size_t last = (item + 1) * MOVE_ROWS;
    for (size_t token = item * MOVE_ROWS; token < last && token < j->n; token++)
        combine_token(j, token);
}

int cpu_combine(struct backend *b, struct tensor *x, const struct tensor *y,
                const struct backend_groups *groups, struct err *err)
{
    if (groups->top_k == 0 || groups->top_k > TOP_K_MAX)
        return err_set(err, ERR_USAGE, NULL, "combine: %zu experts a token, at most %d",
                       groups->top_k, TOP_K_MAX);
    size_t slots = groups->offset[groups->experts];
    int rc = cpu_expect(x, "combine: x", TENSOR_F32, groups->tokens, y->columns, err);
    if (rc == 0)
        rc = cpu_expect(y, "combine: y", TENSOR_F32, slots, y->columns, err);
    if (rc < 0)
        return rc;
    struct move_job job = {x->f, y->f, groups, x->columns, groups->tokens};
    parallel_for(cpu_self(b)->pool, (job.n + MOVE_ROWS - 1) / MOVE_ROWS, combine_item, &job);
    return 0;
}
