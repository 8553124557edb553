#include "src/model/tracer.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/base/mem.h"
#include "src/model/forward.h"

struct recorder {
    struct trace *trace;
    size_t layer; /* among the MoE layers */
};

static int record_routing(void *context, size_t first, const struct backend_groups *g,
                          struct err *err)
{
    (void)err;
    const struct recorder *r = context;
    struct trace *t = r->trace;
    size_t at = (r->layer * t->positions + first) * t->top_k, count = g->tokens * g->top_k;
    memcpy(t->routed + at, g->expert, count * sizeof *t->routed);
    memcpy(t->gates + at, g->gate, count * sizeof *t->gates);
    return 0;
}

static int collect_vocabulary(struct trace *t, const struct tokenizer *k, struct err *err)
{
    const uint8_t *bytes;
    size_t size, total = 0;
    t->vocab_offsets = mem_array(t->vocab + 1, sizeof *t->vocab_offsets, err);
    if (!t->vocab_offsets)
        return ERR_NOMEM;
    for (size_t id = 0; id < t->vocab; id++) {
        if (tokenizer_token_bytes(k, (uint32_t)id, &bytes, &size))
            total += size;
        t->vocab_offsets[id + 1] = total;
    }
    t->vocab_bytes = mem_array(total, 1, err);
    if (!t->vocab_bytes)
        return ERR_NOMEM;
    for (size_t id = 0; id < t->vocab; id++)
        if (tokenizer_token_bytes(k, (uint32_t)id, &bytes, &size) && size)
            memcpy(t->vocab_bytes + t->vocab_offsets[id], bytes, size);
    return 0;
}

static int describe(struct trace *t, const struct model *m, struct err *err)
{
    const struct model_config *c = m->config;
    time_t now = time(NULL);
    struct tm utc;
    gmtime_r(&now, &utc);
    strftime(t->created, sizeof t->created, "%Y-%m-%dT%H:%M:%SZ", &utc);
    snprintf(t->creator, sizeof t->creator, "moqa %s", MOQA_VERSION);
    snprintf(t->model_name, sizeof t->model_name, "%s", checkpoint_name(m->checkpoint));
    snprintf(t->model_type, sizeof t->model_type, "%s", c->type_name);
    snprintf(t->config_sha256, sizeof t->config_sha256, "%s", c->sha256);
    for (size_t i = 0; i < t->layers; i++)
        t->layer_index[i] = (uint16_t)model_config_moe_layer(c, i);
    if (!m->tokenizer)
        return 0;
    snprintf(t->tokenizer_sha256, sizeof t->tokenizer_sha256, "%s", tokenizer_sha256(m->tokenizer));
    return collect_vocabulary(t, m->tokenizer, err);
}

static int prepare(struct trace *t, const struct model *m, const uint32_t *ids,
                   const size_t *starts, size_t windows, size_t window, struct err *err)
{
    const struct model_config *c = m->config;
    *t = (struct trace){.windows = windows,
                        .layers = model_config_moe_layers(c),
                        .experts = c->experts,
                        .top_k = c->top_k,
                        .shared_experts = c->shared_size ? 1 : 0,
                        .vocab = c->vocab,
                        .window = window,
                        .norm_topk_prob = c->norm_topk_prob};
    if (!mem_mul(&t->positions, windows, window))
        return err_set(err, ERR_USAGE, NULL, "%zu windows of %zu tokens are too many", windows,
                       window);
    int rc = trace_alloc(t, true, err);
    for (size_t w = 0; rc == 0 && w < windows; w++) {
        t->window_starts[w] = w * window;
        memcpy(t->ids + w * window, ids + starts[w], window * sizeof *ids);
    }
    return rc < 0 ? rc : describe(t, m, err);
}

static int run_layer(struct forward *f, const struct model *m, struct backend *b, size_t layer,
                     struct recorder *r, struct err *err)
{
    const struct forward_tap tap = {.context = r, .routing = record_routing};
    struct model_layer l = {0};
    /* Nothing reads what the last MoE layer's experts would add. */
    bool last = r->layer + 1 == r->trace->layers && m->config->is_moe[layer];
    int rc = model_layer_load(&l, m, b, layer, err);
    if (rc == 0)
        rc = forward_attention(f, &l, NULL, true, err);
    if (rc == 0)
        rc = forward_mlp(f, &l, &tap, !last, err);
    if (rc == 0 && l.is_moe)
        r->layer++;
    model_layer_release(&l, b);
    return rc;
}

int tracer_run(struct trace *out, const struct model *m, struct backend *b, const uint32_t *ids,
               const size_t *starts, size_t windows, size_t window, struct progress *progress,
               struct err *err)
{
    struct forward *f = NULL;
    struct recorder recorder = {.trace = out};
    progress_start(progress, m->config->layers);
    progress_stage(progress, "reading the embedding");
    int rc = prepare(out, m, ids, starts, windows, window, err);
    if (rc == 0)
        rc = forward_new(&f, m, b, ids, starts, windows, window, err);
    if (rc == 0 && progress)
        forward_set_cancel(f, &progress->cancel);
    for (size_t l = 0; rc == 0 && recorder.layer < out->layers; l++) {
        progress_stage(progress, "layer %zu of %zu", l + 1, m->config->layers);
        rc = run_layer(f, m, b, l, &recorder, err);
        progress_step(progress, 1);
    }
    if (rc == 0)
        rc = trace_validate(out, "the trace just made", err);
    forward_free(f);
    if (rc < 0)
        trace_release(out);
    return rc;
}
