#include "src/quant/shifts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/simd.h"
#include "src/quant/vectors.h"

static bool is_routed(int kind)
{
    return kind == HESSIANS_IN || kind == HESSIANS_MID;
}

static int set_init(struct shifts *s, int kind, size_t d, size_t units, size_t rows,
                    struct err *err)
{
    struct shifts_set *set = &s->set[kind];
    set->d = d;
    set->units = units;
    set->sum = mem_array(units, sizeof(struct tensor *), err);
    int rc = set->sum ? s->b->ops->tensor_new(s->b, &set->both, TENSOR_F32, rows, 2 * d, err)
                      : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < units; i++)
        rc = s->b->ops->tensor_new(s->b, &set->sum[i], TENSOR_F64, 2 * d, 2 * d, err);
    return rc;
}

int shifts_init(struct shifts *s, struct backend *b, const struct model_config *c, unsigned wanted,
                size_t chunk_rows, const struct gates *gates, struct err *err)
{
    const size_t sizes[HESSIANS_KINDS] = {[HESSIANS_IN] = c->hidden,
                                          [HESSIANS_MID] = c->expert_size,
                                          [HESSIANS_SHARED_IN] = c->hidden,
                                          [HESSIANS_SHARED_MID] = c->shared_size};
    *s = (struct shifts){.b = b, .gates = gates};
    s->tokens = mem_array(c->experts, sizeof *s->tokens, err);
    int rc = s->tokens ? 0 : ERR_NOMEM;
    for (int i = 0; rc == 0 && i < HESSIANS_KINDS; i++)
        if ((wanted >> i & 1u) && sizes[i])
            rc = set_init(s, i, sizes[i], is_routed(i) ? c->experts : 1,
                          is_routed(i) ? chunk_rows * c->top_k : chunk_rows, err);
    if (rc < 0)
        shifts_release(s);
    return rc;
}

void shifts_release(struct shifts *s)
{
    for (int i = 0; i < HESSIANS_KINDS; i++) {
        struct shifts_set *set = &s->set[i];
        for (size_t u = 0; set->sum && u < set->units; u++)
            s->b->ops->tensor_free(s->b, set->sum[u]);
        if (set->both)
            s->b->ops->tensor_free(s->b, set->both);
        free(set->sum);
    }
    free(s->tokens);
    *s = (struct shifts){0};
}

/* --- Collecting --- */

/* Rows of both side by side into set->both, times `root` ([rows], NULL: as they are). */
static int join(struct shifts *s, struct shifts_set *set, const struct tensor *original,
                const struct tensor *x, size_t rows, const float *root, struct err *err)
{
    size_t d = set->d;
    float *side = mem_array(rows, d * sizeof *side, err);
    float *both = mem_array(rows, 2 * d * sizeof *both, err);
    int rc = side && both ? s->b->ops->download(s->b, original, 0, rows, side, err) : ERR_NOMEM;
    for (size_t r = 0; rc == 0 && r < rows; r++)
        memcpy(both + 2 * d * r, side + d * r, d * sizeof *both);
    if (rc == 0)
        rc = s->b->ops->download(s->b, x, 0, rows, side, err);
    for (size_t r = 0; rc == 0 && r < rows; r++)
        memcpy(both + 2 * d * r + d, side + d * r, d * sizeof *both);
    for (size_t r = 0; rc == 0 && root && r < rows; r++)
        for (size_t j = 0; j < 2 * d; j++)
            both[2 * d * r + j] *= root[r];
    if (rc == 0)
        rc = s->b->ops->upload(s->b, set->both, 0, rows, SOURCE_F32, both, err);
    free(side);
    free(both);
    return rc;
}

static int add_routed(struct shifts *s, int kind, const struct tensor *original,
                      const struct tensor *x, const struct backend_groups *g, struct err *err)
{
    struct shifts_set *set = &s->set[kind];
    if (!set->sum)
        return 0;
    size_t slots = g->tokens * g->top_k;
    float *root = s->gates ? mem_array(slots, sizeof *root, err) : NULL;
    if (s->gates && !root)
        return ERR_NOMEM;
    if (root)
        gates_roots(s->gates, g, set->d, root);
    int rc = join(s, set, original, x, slots, root, err);
    free(root);
    return rc == 0 ? s->b->ops->grouped_gram(s->b, set->sum, set->both, g, err) : rc;
}

static int add_all(struct shifts *s, int kind, const struct tensor *original,
                   const struct tensor *x, size_t n, struct err *err)
{
    struct shifts_set *set = &s->set[kind];
    if (!set->sum)
        return 0;
    int rc = join(s, set, original, x, n, NULL, err);
    return rc == 0 ? s->b->ops->gram(s->b, set->sum[0], set->both, n, err) : rc;
}

static int on_routing(void *context, size_t first, const struct backend_groups *g, struct err *err)
{
    struct shifts *s = context;
    (void)first;
    (void)err;
    for (size_t e = 0; e < g->experts; e++)
        s->tokens[e] += g->offset[e + 1] - g->offset[e];
    s->positions += g->tokens;
    return 0;
}

static int on_expert_in(void *context, const struct tensor *original, const struct tensor *x,
                        const struct backend_groups *g, struct err *err)
{
    return add_routed(context, HESSIANS_IN, original, x, g, err);
}

static int on_expert_mid(void *context, const struct tensor *original, const struct tensor *x,
                         const struct backend_groups *g, struct err *err)
{
    return add_routed(context, HESSIANS_MID, original, x, g, err);
}

static int on_shared_in(void *context, const struct tensor *original, const struct tensor *x,
                        size_t n, struct err *err)
{
    return add_all(context, HESSIANS_SHARED_IN, original, x, n, err);
}

static int on_shared_mid(void *context, const struct tensor *original, const struct tensor *x,
                         size_t n, struct err *err)
{
    return add_all(context, HESSIANS_SHARED_MID, original, x, n, err);
}

struct forward_pair_tap shifts_tap(struct shifts *s)
{
    bool mid = s->set[HESSIANS_MID].sum, shared_mid = s->set[HESSIANS_SHARED_MID].sum;
    return (struct forward_pair_tap){.context = s,
                                     .routing = on_routing,
                                     .expert_in = on_expert_in,
                                     .expert_mid = mid ? on_expert_mid : NULL,
                                     .shared_in = on_shared_in,
                                     .shared_mid = shared_mid ? on_shared_mid : NULL};
}

int shifts_take(struct shifts *s, enum hessians_kind kind, size_t unit, double shrink, double *out,
                struct err *err)
{
    struct shifts_set *set = &s->set[kind];
    size_t d = set->d;
    double n = (double)(is_routed(kind) ? s->tokens[unit] : s->positions);
    double *low = mem_aligned(2 * d * d, sizeof *low, err);
    int rc = low ? s->b->ops->download_f64(s->b, set->sum[unit], d, d, low, err) : ERR_NOMEM;
    if (is_routed(kind))
        n += shrink * (double)d;
    for (size_t i = 0; rc == 0 && i < d; i++)
        for (size_t j = 0; j < d; j++) {
            double own = low[(i > j ? i : j) * 2 * d + d + (i > j ? j : i)];
            out[i * d + j] = n > 0 ? (low[i * 2 * d + j] - own) / n : 0.0;
        }
    free(low);
    s->b->ops->tensor_free(s->b, set->sum[unit]);
    set->sum[unit] = NULL;
    return rc;
}

/* --- Applying --- */

SIMD_CLONES static void subtract(double *y, const double *x, double factor, size_t count)
{
    for (size_t j = 0; j < count; j++)
        y[j] -= factor * x[j];
}

/* y <- (L L^T)^-1 y */
static void solve(double *y, const double *factor, size_t d)
{
    for (size_t i = 0; i < d; i++)
        y[i] = (y[i] - vectors_dot(factor + i * d, y, i)) / factor[i * d + i];
    for (size_t i = d; i > 0; i--) {
        y[i - 1] /= factor[(i - 1) * d + i - 1];
        subtract(y, factor + (i - 1) * d, y[i - 1], i - 1);
    }
}

int shifts_apply(bool *applied, float *weights, size_t rows, size_t d, const double *shift,
                 const double *factor, struct err *err)
{
    double *row = mem_aligned(d, sizeof *row, err), *y = mem_aligned(d, sizeof *y, err);
    float *moved = mem_aligned(rows * d, sizeof *moved, err);
    double moves = 0, size = 0;
    int rc = row && y && moved ? 0 : ERR_NOMEM;
    for (size_t r = 0; rc == 0 && r < rows; r++) {
        for (size_t j = 0; j < d; j++)
            row[j] = (double)weights[r * d + j];
        for (size_t i = 0; i < d; i++)
            y[i] = vectors_dot(row, shift + i * d, d);
        solve(y, factor, d);
        moves += vectors_dot(y, y, d);
        size += vectors_dot(row, row, d);
        for (size_t j = 0; j < d; j++)
            moved[r * d + j] = (float)(row[j] + y[j]);
    }
    *applied = rc == 0 && moves <= 0.25 * size;
    if (*applied)
        memcpy(weights, moved, rows * d * sizeof *weights);
    free(row);
    free(y);
    free(moved);
    return rc;
}
