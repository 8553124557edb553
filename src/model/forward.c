/* The forward pass: hidden states of all chunks, workspaces for one. */
#include "src/model/forward.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "src/model/weights.h"

/* Whole windows, at least one; less where memory is short. */
enum { CHUNK_TOKENS_MIN = 1024, CHUNK_TOKENS_MAX = 4096 };

/* What one chunk needs; rows are positions, or slots (position, chosen expert). */
enum work {
    WORK_NORM,     /* [position][hidden] */
    WORK_OUT,      /* the same */
    WORK_Q,        /* [position][heads * head_dim] */
    WORK_K,        /* [position][kv_heads * head_dim] */
    WORK_V,        /* the same */
    WORK_MID,      /* [position][heads * head_dim] attention before o */
    WORK_ROUTER,   /* [position][experts] */
    WORK_SLOTS,    /* [slot][hidden] gathered inputs, later the experts' outputs */
    WORK_GATE,     /* [slot][expert_size] */
    WORK_UP,       /* the same */
    WORK_MLP_GATE, /* [position][shared_size] of the shared expert */
    WORK_MLP_UP,   /* the same */
    WORK_DENSE_GATE,
    WORK_DENSE_UP,
    WORK_LOGIT, /* [position][1] weight of the shared expert */
    WORK_COUNT,
    /* Attention's and the MLP's parts exist while they run: they are never needed together. */
    WORK_ATTENTION_FIRST = WORK_Q,
    WORK_ATTENTION_LAST = WORK_MID,
    WORK_MLP_FIRST = WORK_ROUTER,
    WORK_MLP_LAST = WORK_LOGIT
};

struct forward {
    const struct model *model;
    struct backend *b;
    const struct backend_ops *ops;
    const uint32_t *ids;
    const size_t *starts;
    size_t windows, window;
    size_t chunk_windows, chunks;
    struct tensor **hidden; /* [chunk] of [chunk_windows * window][hidden] */
    struct tensor *work[WORK_COUNT];
    const atomic_bool *cancel;
    void (*between)(void *context); /* chunks */
    void *between_context;
};

static size_t chunk_rows(const struct forward *f, size_t chunk)
{
    size_t left = f->windows - chunk * f->chunk_windows;
    return (left < f->chunk_windows ? left : f->chunk_windows) * f->window;
}

static int next_chunk(const struct forward *f, struct err *err)
{
    if (f->between)
        f->between(f->between_context);
    if (f->cancel && atomic_load(f->cancel))
        return err_set(err, ERR_CANCELLED, NULL, "stopped");
    return 0;
}

/* Tensors first .. last of the workspace. */
static int make_work(struct forward *f, enum work first, enum work last, struct err *err)
{
    const struct model_config *c = f->model->config;
    size_t n = chunk_rows(f, 0), slots;
    if (!mem_mul(&slots, n, c->top_k))
        return err_set(err, ERR_NOMEM, NULL, "a window of %zu tokens is too long", f->window);
    size_t wide = c->heads * c->head_dim, narrow = c->kv_heads * c->head_dim;
    const struct {
        size_t rows, columns;
    } shape[WORK_COUNT] = {
        [WORK_NORM] = {n, c->hidden},
        [WORK_Q] = {n, wide},
        [WORK_K] = {n, narrow},
        [WORK_V] = {n, narrow},
        [WORK_MID] = {n, wide},
        [WORK_OUT] = {n, c->hidden},
        [WORK_ROUTER] = {n, c->experts},
        [WORK_SLOTS] = {slots, c->hidden},
        [WORK_GATE] = {slots, c->expert_size},
        [WORK_UP] = {slots, c->expert_size},
        [WORK_MLP_GATE] = {n, c->shared_size},
        [WORK_MLP_UP] = {n, c->shared_size},
        [WORK_DENSE_GATE] = {n, c->dense_size},
        [WORK_DENSE_UP] = {n, c->dense_size},
        [WORK_LOGIT] = {n, 1},
    };
    int rc = 0;
    for (size_t i = first; rc == 0 && i <= last; i++)
        if (shape[i].columns)
            rc = f->ops->tensor_new(f->b, &f->work[i], TENSOR_F32, shape[i].rows, shape[i].columns,
                                    err);
    return rc;
}

static void free_work(struct forward *f, enum work first, enum work last)
{
    for (size_t i = first; i <= last; i++) {
        f->ops->tensor_free(f->b, f->work[i]);
        f->work[i] = NULL;
    }
}

static int embed_chunk(struct forward *f, size_t chunk, const struct tensor *table, uint32_t *ids,
                       struct err *err)
{
    size_t n = chunk_rows(f, chunk);
    for (size_t w = 0; w < n / f->window; w++)
        memcpy(ids + w * f->window, f->ids + f->starts[chunk * f->chunk_windows + w],
               f->window * sizeof *ids);
    return f->ops->embed(f->b, f->hidden[chunk], table, ids, n, err);
}

static int embed_all(struct forward *f, struct err *err)
{
    struct tensor *table = NULL;
    uint32_t *ids = mem_array(chunk_rows(f, 0), sizeof *ids, err);
    int rc = ids ? weights_load_embedding(&table, f->model, f->b, err) : ERR_NOMEM;
    for (size_t c = 0; rc == 0 && c < f->chunks; c++) {
        rc = f->ops->tensor_new(f->b, &f->hidden[c], TENSOR_F32, chunk_rows(f, c),
                                f->model->config->hidden, err);
        if (rc == 0)
            rc = embed_chunk(f, c, table, ids, err);
    }
    f->ops->tensor_free(f->b, table);
    free(ids);
    return rc;
}

/* Tokens of a chunk: as many as give its slots the size of a layer's experts, since larger chunks
 * save no more of their traffic; or as many as the device wants. */
static size_t chunk_tokens(const struct model_config *c, const struct backend *b)
{
    if (b->chunk_tokens)
        return b->chunk_tokens;
    size_t experts = 3 * c->experts * c->hidden * c->expert_size;
    size_t token = 2 * c->top_k * (c->hidden + c->expert_size);
    size_t tokens = token ? experts / token : CHUNK_TOKENS_MAX;
    return tokens < CHUNK_TOKENS_MIN   ? CHUNK_TOKENS_MIN
           : tokens > CHUNK_TOKENS_MAX ? CHUNK_TOKENS_MAX
                                       : tokens;
}

int forward_new(struct forward **out, const struct model *m, struct backend *b, const uint32_t *ids,
                const size_t *starts, size_t windows, size_t window, struct err *err)
{
    *out = NULL;
    if (windows == 0 || window == 0)
        return err_set(err, ERR_USAGE, NULL, "%zu windows of %zu tokens: nothing to compute",
                       windows, window);
    struct forward *f = mem_array(1, sizeof *f, err);
    if (!f)
        return ERR_NOMEM;
    f->model = m;
    f->b = b;
    f->ops = b->ops;
    f->ids = ids;
    f->starts = starts;
    f->windows = windows;
    f->window = window;
    size_t chunk = chunk_tokens(m->config, b) >> b->halvings;
    f->chunk_windows = window < chunk ? chunk / window : 1;
    f->chunks = (windows + f->chunk_windows - 1) / f->chunk_windows;
    f->hidden = mem_array(f->chunks, sizeof(struct tensor *), err);
    int rc = f->hidden ? make_work(f, WORK_NORM, WORK_OUT, err) : ERR_NOMEM;
    if (rc == 0)
        rc = embed_all(f, err);
    if (rc < 0)
        forward_free(f);
    else
        *out = f;
    return rc;
}

void forward_free(struct forward *f)
{
    if (!f)
        return;
    for (size_t c = 0; f->hidden && c < f->chunks; c++)
        f->ops->tensor_free(f->b, f->hidden[c]);
    for (size_t i = 0; i < WORK_COUNT; i++)
        f->ops->tensor_free(f->b, f->work[i]);
    free(f->hidden);
    free(f);
}

void forward_set_between(struct forward *f, void (*between)(void *context), void *context)
{
    f->between = between;
    f->between_context = context;
}

void forward_set_cancel(struct forward *f, const atomic_bool *cancel)
{
    f->cancel = cancel;
}

/* q, k or v from the normalized input: projection, norm, clipping, positions. */
static int project(struct forward *f, const struct model_layer *l, size_t which, size_t n,
                   struct err *err)
{
    const struct model_config *c = f->model->config;
    const struct tensor *norm = which == 0 ? l->q_norm : which == 1 ? l->k_norm : NULL;
    size_t heads = which == 0 ? c->heads : c->kv_heads;
    struct tensor *x = f->work[WORK_Q + which];
    int rc = f->ops->matmul(f->b, x, f->work[WORK_NORM], l->attention[which],
                            l->attention_bias[which], n, err);
    if (rc == 0 && norm)
        rc = f->ops->rms_norm(f->b, x, x, norm, n,
                              c->qk_norm == QK_NORM_HEAD ? c->head_dim : heads * c->head_dim,
                              c->rms_norm_eps, err);
    if (rc == 0 && c->has_clip_qkv)
        rc = f->ops->clamp(f->b, x, n, c->clip_qkv, err);
    if (rc == 0 && which < 2)
        rc = f->ops->rope(f->b, x, n, heads, c->head_dim, f->window, c->rope_theta, err);
    return rc;
}

static int attend(struct forward *f, const struct model_layer *l, size_t n, struct err *err)
{
    const struct model_config *c = f->model->config;
    struct backend_attention shape = {.window = f->window,
                                      .heads = c->heads,
                                      .kv_heads = c->kv_heads,
                                      .head_dim = c->head_dim,
                                      .sliding = c->is_sliding[l->index] ? c->sliding_window : 0};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 3; i++)
        rc = project(f, l, i, n, err);
    if (rc == 0)
        rc = f->ops->attention(f->b, f->work[WORK_MID], f->work[WORK_Q], f->work[WORK_K],
                               f->work[WORK_V], n, &shape, err);
    return rc;
}

static int attention_chunk(struct forward *f, const struct model_layer *l,
                           const struct forward_tap *tap, bool apply, size_t chunk, struct err *err)
{
    size_t n = chunk_rows(f, chunk);
    int rc = f->ops->rms_norm(f->b, f->work[WORK_NORM], f->hidden[chunk], l->input_norm, n,
                              f->model->config->hidden, f->model->config->rms_norm_eps, err);
    if (rc == 0 && tap->attention_in)
        rc = tap->attention_in(tap->context, f->work[WORK_NORM], n, err);
    if (rc < 0 || (!apply && !tap->attention_mid))
        return rc;
    rc = attend(f, l, n, err);
    if (rc == 0 && tap->attention_mid)
        rc = tap->attention_mid(tap->context, f->work[WORK_MID], n, err);
    if (rc < 0 || !apply)
        return rc;
    rc = f->ops->matmul(f->b, f->work[WORK_OUT], f->work[WORK_MID], l->attention[3],
                        l->attention_bias[3], n, err);
    if (rc == 0)
        rc = f->ops->add(f->b, f->hidden[chunk], f->work[WORK_OUT], n, err);
    return rc;
}

static const struct forward_tap no_tap = {0};

int forward_attention(struct forward *f, const struct model_layer *l, const struct forward_tap *tap,
                      bool apply, struct err *err)
{
    int rc = make_work(f, WORK_ATTENTION_FIRST, WORK_ATTENTION_LAST, err);
    for (size_t c = 0; rc == 0 && c < f->chunks; c++) {
        rc = next_chunk(f, err);
        if (rc == 0)
            rc = attention_chunk(f, l, tap ? tap : &no_tap, apply, c, err);
    }
    free_work(f, WORK_ATTENTION_FIRST, WORK_ATTENTION_LAST);
    return rc;
}

/* silu(x gate^T) * (x up^T) into `gate_out`, for a dense MLP or a shared expert. */
static int gated(struct forward *f, struct tensor *const w[3], struct tensor *gate,
                 struct tensor *up, size_t n, const struct forward_tap *tap, struct err *err)
{
    int rc = f->ops->matmul(f->b, gate, f->work[WORK_NORM], w[0], NULL, n, err);
    if (rc == 0)
        rc = f->ops->matmul(f->b, up, f->work[WORK_NORM], w[1], NULL, n, err);
    if (rc == 0 && tap->shared_act)
        rc = tap->shared_act(tap->context, gate, up, n, err);
    if (rc == 0)
        rc = f->ops->swiglu(f->b, gate, gate, up, n, err);
    return rc;
}

static int dense_chunk(struct forward *f, const struct model_layer *l, bool apply, size_t chunk,
                       struct err *err)
{
    if (!apply)
        return 0;
    size_t n = chunk_rows(f, chunk);
    struct tensor *mid = f->work[WORK_DENSE_GATE];
    int rc = gated(f, l->dense, mid, f->work[WORK_DENSE_UP], n, &no_tap, err);
    if (rc == 0)
        rc = f->ops->matmul(f->b, f->work[WORK_OUT], mid, l->dense[2], NULL, n, err);
    if (rc == 0)
        rc = f->ops->add(f->b, f->hidden[chunk], f->work[WORK_OUT], n, err);
    return rc;
}

static int shared_chunk(struct forward *f, const struct model_layer *l,
                        const struct forward_tap *tap, bool apply, size_t chunk, struct err *err)
{
    size_t n = chunk_rows(f, chunk);
    struct tensor *mid = f->work[WORK_MLP_GATE],
                  *logit = l->shared_gate ? f->work[WORK_LOGIT] : NULL;
    int rc = 0;
    if (tap->shared_in)
        rc = tap->shared_in(tap->context, f->work[WORK_NORM], n, err);
    if (rc < 0 || (!apply && !tap->shared_mid))
        return rc;
    rc = gated(f, l->shared, mid, f->work[WORK_MLP_UP], n, tap, err);
    if (rc == 0 && tap->shared_mid)
        rc = tap->shared_mid(tap->context, mid, n, err);
    if (rc < 0 || !apply)
        return rc;
    rc = f->ops->matmul(f->b, f->work[WORK_OUT], mid, l->shared[2], NULL, n, err);
    if (rc == 0 && logit)
        rc = f->ops->matmul_full(f->b, logit, f->work[WORK_NORM], l->shared_gate, NULL, n, err);
    if (rc == 0)
        rc = f->ops->add_gated(f->b, f->hidden[chunk], f->work[WORK_OUT], logit, n, err);
    return rc;
}

static int experts_chunk(struct forward *f, const struct model_layer *l,
                         const struct forward_tap *tap, bool apply, size_t chunk,
                         const struct backend_groups *g, struct err *err)
{
    struct tensor *slots = f->work[WORK_SLOTS], *gate = f->work[WORK_GATE], *up = f->work[WORK_UP];
    if (!apply && !tap->expert_in && !tap->expert_mid)
        return 0;
    int rc = f->ops->gather(f->b, slots, f->work[WORK_NORM], g, err);
    if (rc == 0 && tap->expert_in)
        rc = tap->expert_in(tap->context, slots, g, err);
    if (rc < 0 || (!apply && !tap->expert_mid))
        return rc;
    rc = f->ops->grouped_matmul(f->b, gate, slots, l->gate, g, err);
    if (rc == 0)
        rc = f->ops->grouped_matmul(f->b, up, slots, l->up, g, err);
    if (rc == 0 && tap->expert_act)
        rc = tap->expert_act(tap->context, gate, up, g, err);
    if (rc == 0)
        rc = f->ops->swiglu(f->b, gate, gate, up, g->tokens * g->top_k, err);
    if (rc == 0 && tap->expert_mid)
        rc = tap->expert_mid(tap->context, gate, g, err);
    if (rc < 0 || !apply)
        return rc;
    rc = f->ops->grouped_matmul(f->b, slots, gate, l->down, g, err);
    if (rc == 0)
        rc = f->ops->combine(f->b, f->hidden[chunk], slots, g, err);
    return rc;
}

static int moe_chunk(struct forward *f, const struct model_layer *l, const struct forward_tap *tap,
                     bool apply, size_t chunk, struct err *err)
{
    const struct model_config *c = f->model->config;
    size_t n = chunk_rows(f, chunk);
    struct backend_groups g = {0};
    int rc = f->ops->matmul_full(f->b, f->work[WORK_ROUTER], f->work[WORK_NORM], l->router, NULL, n,
                                 err);
    if (rc == 0)
        rc = f->ops->route(f->b, &g, f->work[WORK_ROUTER], n, c->top_k, c->norm_topk_prob, err);
    if (rc == 0 && tap->routing)
        rc = tap->routing(tap->context, chunk * f->chunk_windows * f->window, &g, err);
    if (rc == 0)
        rc = experts_chunk(f, l, tap, apply, chunk, &g, err);
    if (rc == 0 && c->shared_size)
        rc = shared_chunk(f, l, tap, apply, chunk, err);
    backend_groups_release(&g);
    return rc;
}

int forward_mlp(struct forward *f, const struct model_layer *l, const struct forward_tap *tap,
                bool apply, struct err *err)
{
    const struct model_config *c = f->model->config;
    if (!tap)
        tap = &no_tap;
    int rc = make_work(f, WORK_MLP_FIRST, WORK_MLP_LAST, err);
    for (size_t i = 0; rc == 0 && i < f->chunks; i++) {
        rc = next_chunk(f, err);
        if (rc == 0)
            rc = f->ops->rms_norm(f->b, f->work[WORK_NORM], f->hidden[i], l->post_norm,
                                  chunk_rows(f, i), c->hidden, c->rms_norm_eps, err);
        if (rc == 0)
            rc = l->is_moe ? moe_chunk(f, l, tap, apply, i, err) : dense_chunk(f, l, apply, i, err);
    }
    free_work(f, WORK_MLP_FIRST, WORK_MLP_LAST);
    return rc;
}

/* --- Two passes side by side --- */

/* One of the two, with its own weights. */
struct side {
    struct forward *f;
    const struct model_layer *l;
};

static int side_mid(const struct side *s, const struct backend_groups *g, struct err *err)
{
    struct forward *f = s->f;
    struct tensor *slots = f->work[WORK_SLOTS], *gate = f->work[WORK_GATE], *up = f->work[WORK_UP];
    int rc = f->ops->grouped_matmul(f->b, gate, slots, s->l->gate, g, err);
    if (rc == 0)
        rc = f->ops->grouped_matmul(f->b, up, slots, s->l->up, g, err);
    return rc == 0 ? f->ops->swiglu(f->b, gate, gate, up, g->tokens * g->top_k, err) : rc;
}

static int pair_experts(const struct side s[2], const struct forward_pair_tap *tap,
                        const struct backend_groups *g, struct err *err)
{
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = s[i].f->ops->gather(s[i].f->b, s[i].f->work[WORK_SLOTS], s[i].f->work[WORK_NORM], g,
                                 err);
    if (rc == 0)
        rc = tap->expert_in(tap->context, s[0].f->work[WORK_SLOTS], s[1].f->work[WORK_SLOTS], g,
                            err);
    for (int i = 0; rc == 0 && tap->expert_mid && i < 2; i++)
        rc = side_mid(&s[i], g, err);
    if (rc == 0 && tap->expert_mid)
        rc =
            tap->expert_mid(tap->context, s[0].f->work[WORK_GATE], s[1].f->work[WORK_GATE], g, err);
    return rc;
}

static int pair_shared(const struct side s[2], const struct forward_pair_tap *tap, size_t n,
                       struct err *err)
{
    int rc = tap->shared_in(tap->context, s[0].f->work[WORK_NORM], s[1].f->work[WORK_NORM], n, err);
    for (int i = 0; rc == 0 && tap->shared_mid && i < 2; i++)
        rc = gated(s[i].f, s[i].l->shared, s[i].f->work[WORK_MLP_GATE], s[i].f->work[WORK_MLP_UP],
                   n, &no_tap, err);
    if (rc == 0 && tap->shared_mid)
        rc = tap->shared_mid(tap->context, s[0].f->work[WORK_MLP_GATE], s[1].f->work[WORK_MLP_GATE],
                             n, err);
    return rc;
}

static int pair_chunk(const struct side s[2], const struct forward_pair_tap *tap, size_t chunk,
                      struct err *err)
{
    struct forward *f = s[1].f;
    const struct model_config *c = f->model->config;
    size_t n = chunk_rows(f, chunk);
    struct backend_groups g = {0};
    int rc = 0;
    for (int i = 0; rc == 0 && i < 2; i++)
        rc = s[i].f->ops->rms_norm(s[i].f->b, s[i].f->work[WORK_NORM], s[i].f->hidden[chunk],
                                   s[i].l->post_norm, n, c->hidden, c->rms_norm_eps, err);
    if (rc == 0)
        rc = f->ops->matmul_full(f->b, f->work[WORK_ROUTER], f->work[WORK_NORM], s[1].l->router,
                                 NULL, n, err);
    if (rc == 0)
        rc = f->ops->route(f->b, &g, f->work[WORK_ROUTER], n, c->top_k, c->norm_topk_prob, err);
    if (rc == 0)
        rc = tap->routing(tap->context, chunk * f->chunk_windows * f->window, &g, err);
    if (rc == 0)
        rc = pair_experts(s, tap, &g, err);
    if (rc == 0 && c->shared_size)
        rc = pair_shared(s, tap, n, err);
    backend_groups_release(&g);
    return rc;
}

int forward_mlp_pair(struct forward *f, const struct model_layer *l, struct forward *original,
                     const struct model_layer *original_layer, const struct forward_pair_tap *tap,
                     struct err *err)
{
    const struct side sides[2] = {{original, original_layer}, {f, l}};
    int rc = make_work(f, WORK_MLP_FIRST, WORK_MLP_LAST, err);
    if (rc == 0)
        rc = make_work(original, WORK_MLP_FIRST, WORK_MLP_LAST, err);
    for (size_t i = 0; rc == 0 && i < f->chunks; i++) {
        rc = next_chunk(f, err);
        if (rc == 0)
            rc = pair_chunk(sides, tap, i, err);
    }
    free_work(f, WORK_MLP_FIRST, WORK_MLP_LAST);
    free_work(original, WORK_MLP_FIRST, WORK_MLP_LAST);
    return rc;
}

static int nll_chunk(struct forward *f, const struct tensor *norm, const struct tensor *head,
                     size_t chunk, int64_t *target, double *row_nll, double *nll, struct err *err)
{
    const struct model_config *c = f->model->config;
    size_t n = chunk_rows(f, chunk), length = f->window;
    for (size_t i = 0; i < n; i++) {
        size_t w = chunk * f->chunk_windows + i / length, at = i % length;
        target[i] = at + 1 < length ? (int64_t)f->ids[f->starts[w] + at + 1] : -1;
    }
    int rc = f->ops->rms_norm(f->b, f->work[WORK_NORM], f->hidden[chunk], norm, n, c->hidden,
                              c->rms_norm_eps, err);
    if (rc == 0)
        rc = f->ops->nll(f->b, row_nll, f->work[WORK_NORM], head, target, n, err);
    for (size_t w = 0; rc == 0 && w < n / length; w++)
        memcpy(nll + (chunk * f->chunk_windows + w) * (length - 1), row_nll + w * length,
               (length - 1) * sizeof *nll);
    return rc;
}

int forward_nll(struct forward *f, double *nll, struct err *err)
{
    struct tensor *norm = NULL, *head = NULL;
    size_t n = chunk_rows(f, 0);
    int64_t *target = mem_array(n, sizeof *target, err);
    double *row_nll = mem_array(n, sizeof *row_nll, err);
    int rc = target && row_nll ? weights_load_head(&norm, &head, f->model, f->b, err) : ERR_NOMEM;
    for (size_t c = 0; rc == 0 && c < f->chunks; c++) {
        rc = next_chunk(f, err);
        if (rc == 0)
            rc = nll_chunk(f, norm, head, c, target, row_nll, nll, err);
    }
    f->ops->tensor_free(f->b, norm);
    f->ops->tensor_free(f->b, head);
    free(target);
    free(row_nll);
    return rc;
}

int forward_logits(struct forward *f, size_t w, size_t count, float *out, struct err *err)
{
    const struct model_config *c = f->model->config;
    if (w >= f->windows || count > f->window)
        return err_set(err, ERR_USAGE, NULL,
                       "logits of %zu positions of window %zu, there are %zu "
                       "windows of %zu",
                       count, w, f->windows, f->window);
    struct tensor *norm = NULL, *head = NULL, *logits = NULL;
    float *rows = mem_array(count, c->hidden * sizeof *rows, err);
    int rc = rows ? weights_load_head(&norm, &head, f->model, f->b, err) : ERR_NOMEM;
    if (rc == 0)
        rc = f->ops->tensor_new(f->b, &logits, TENSOR_F32, count, c->vocab, err);
    if (rc == 0)
        rc = f->ops->download(f->b, f->hidden[w / f->chunk_windows],
                              w % f->chunk_windows * f->window, count, rows, err);
    if (rc == 0)
        rc = f->ops->upload(f->b, f->work[WORK_NORM], 0, count, SOURCE_F32, rows, err);
    if (rc == 0)
        rc = f->ops->rms_norm(f->b, f->work[WORK_NORM], f->work[WORK_NORM], norm, count, c->hidden,
                              c->rms_norm_eps, err);
    if (rc == 0)
        rc = f->ops->matmul(f->b, logits, f->work[WORK_NORM], head, NULL, count, err);
    if (rc == 0)
        rc = f->ops->download(f->b, logits, 0, count, out, err);
    f->ops->tensor_free(f->b, logits);
    f->ops->tensor_free(f->b, norm);
    f->ops->tensor_free(f->b, head);
    free(rows);
    return rc;
}

int forward_get_hidden(struct forward *f, float *out, struct err *err)
{
    int rc = 0;
    for (size_t c = 0; rc == 0 && c < f->chunks; c++)
        rc = f->ops->download(f->b, f->hidden[c], 0, chunk_rows(f, c),
                              out + c * chunk_rows(f, 0) * f->model->config->hidden, err);
    return rc;
}

size_t forward_chunks(const struct forward *f)
{
    return f->chunks;
}

size_t forward_chunk_positions(const struct forward *f)
{
    return chunk_rows(f, 0);
}

int forward_get_chunk(struct forward *f, size_t chunk, float *out, size_t *positions,
                      struct err *err)
{
    *positions = chunk_rows(f, chunk);
    return f->ops->download(f->b, f->hidden[chunk], 0, *positions, out, err);
}

int forward_set_chunk(struct forward *f, size_t chunk, const float *in, struct err *err)
{
    return f->ops->upload(f->b, f->hidden[chunk], 0, chunk_rows(f, chunk), SOURCE_F32, in, err);
}

int forward_set_hidden(struct forward *f, const float *in, struct err *err)
{
    int rc = 0;
    for (size_t c = 0; rc == 0 && c < f->chunks; c++)
        rc = forward_set_chunk(f, c, in + c * chunk_rows(f, 0) * f->model->config->hidden, err);
    return rc;
}
