#include "src/quant/measure.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/atomic_file.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "src/calibration.h"
#include "src/quant/measure_internal.h"
#include "src/quant/probe.h"

const double measure_shares[MEASURE_SHARES] = {0.125, 0.25, 0.5};

enum { PROBE_BITS = 3, STEPS = 4 }; /* of progress, a layer */

struct run {
    struct measure m;
    struct forward *forward;
    struct probe probe;
    size_t done; /* MoE layers that the file held */
    size_t moe;  /* next MoE layer */
};

static void set_rule(struct measure *m)
{
    const struct settings *s = m->o->settings;
    /* Scales stay as they are computed: rows are multiplied, which fp16 would round elsewhere. */
    m->rule = (struct quantizer_rule){.grid = {.group_size = s->group_size,
                                               .symmetric = s->grid == GRID_SYMMETRIC,
                                               .search = s->scale_search},
                                      .order = s->order,
                                      .damping = s->damping,
                                      .refine = s->refine,
                                      .precision = m->o->precision};
    m->probe_width = 0;
    for (size_t i = 0; i < m->losses.widths_count; i++)
        if (m->losses.widths[i] <= PROBE_BITS)
            m->probe_width = i;
}

/* What the file will say about the measurement. */
static int describe(struct losses *l, const struct measure_options *o, const struct probe *probe,
                    struct err *err)
{
    const struct model_config *c = o->model->config;
    const char *dir = checkpoint_dir(o->model->checkpoint), *slash = strrchr(dir, '/');
    int rc = losses_alloc(l, model_config_moe_layers(c), c->experts, err);
    if (rc < 0)
        return rc;
    snprintf(l->model_name, sizeof l->model_name, "%s", slash && slash[1] ? slash + 1 : dir);
    snprintf(l->model_type, sizeof l->model_type, "%s", c->type_name);
    snprintf(l->config_sha256, sizeof l->config_sha256, "%s", c->sha256);
    snprintf(l->model_sha256, sizeof l->model_sha256, "%s",
             checkpoint_fingerprint(o->model->checkpoint));
    l->positions = o->windows * o->window;
    l->probe_positions = probe_positions(probe);
    l->settings = *o->settings;
    l->widths_count = o->widths_count;
    memcpy(l->widths, o->widths, o->widths_count * sizeof *o->widths);
    l->shares_count = o->shares_count;
    if (o->shares_count)
        memcpy(l->shares, o->shares, o->shares_count * sizeof *o->shares);
    for (size_t i = 0; i < l->layers_count; i++)
        l->layers[i].layer = model_config_moe_layer(c, i);
    return calibration_hash(l->calibration_sha256, o->ids, o->starts, o->windows, o->window, err);
}

/* Takes the layers over that an earlier run has measured. */
static int take_over(struct run *r, struct err *err)
{
    const struct measure_options *o = r->m.o;
    struct losses found = {0};
    if (access(o->out, F_OK) < 0)
        return 0;
    if (!o->resume)
        return err_set(err, ERR_USAGE, o->out, "is there already; --resume goes on with it");
    int rc = losses_load(&found, o->out, err);
    if (rc == 0)
        rc = losses_check_same(&found, o->out, &r->m.losses, err);
    if (rc == 0 &&
        (found.layers_count != r->m.losses.layers_count || found.experts != r->m.losses.experts))
        rc = err_set(err, ERR_INPUT, o->out, "holds losses of another model");
    if (rc == 0) {
        struct losses fresh = r->m.losses;
        r->m.losses = found;
        found = fresh;
        r->done = r->m.losses.layers_done;
        for (size_t i = r->done; i < found.layers_count; i++)
            r->m.losses.layers[i].layer = found.layers[i].layer;
        if (r->done && !r->m.losses.complete)
            log_write(LOG_INFO, "%s: %zu of %zu layers are measured", o->out, r->done,
                      r->m.losses.layers_count);
    }
    losses_release(&found);
    return rc;
}

static int check_shares(const struct measure_options *o, struct err *err)
{
    unsigned most = o->settings->bits_channel;
    if (o->shares_count == 0)
        return 0;
    if (!losses_are_shares(o->shares, o->shares_count))
        return err_set(err, ERR_USAGE, NULL,
                       "shares of channels: expected 1 to %d numbers above 0, at most 0.5, rising",
                       LOSSES_SHARES_MAX);
    if (most > 8 || o->widths[0] >= most)
        return err_set(err, ERR_USAGE, NULL,
                       "bits_channel: found %u, expected at most 8 and more than %u, the least of "
                       "the widths",
                       most, o->widths[0]);
    return 0;
}

static int open_run(struct run *r, const struct measure_options *o, struct err *err)
{
    r->m.o = o;
    r->m.config = o->model->config;
    if (checkpoint_quantization(o->model->checkpoint) != CHECKPOINT_PLAIN)
        return err_set(err, ERR_UNSUPPORTED, checkpoint_dir(o->model->checkpoint),
                       "is quantized already; losses are measured on the original checkpoint");
    int rc = check_shares(o, err);
    if (rc == 0)
        rc = atomic_file_probe(o->out, err);
    if (rc == 0)
        rc = probe_init(&r->probe, o->model, o->backend, o->ids, o->starts, o->windows, o->window,
                        err);
    if (rc == 0)
        rc = describe(&r->m.losses, o, &r->probe, err);
    if (rc == 0)
        rc = take_over(r, err);
    if (rc < 0 || r->m.losses.complete)
        return rc;
    set_rule(&r->m);
    rc = forward_new(&r->forward, o->model, o->backend, o->ids, o->starts, o->windows, o->window,
                     err);
    if (rc == 0 && o->progress)
        forward_set_cancel(r->forward, &o->progress->cancel);
    progress_start(o->progress, r->m.config->layers * STEPS + STEPS);
    return rc;
}

/* Quantizes the experts of an MoE layer behind the calibration tokens; hidden states move on. */
static int measure_experts(struct run *r, struct model_layer *layer, struct err *err)
{
    struct measure *m = &r->m;
    const struct measure_options *o = m->o;
    struct measure_layer l = {.m = m, .layer = layer};
    struct gates gates = {0};
    unsigned wanted = 1u << HESSIANS_IN | 1u << HESSIANS_MID;
    if (m->config->shared_size)
        wanted |= 1u << HESSIANS_SHARED_IN | 1u << HESSIANS_SHARED_MID;
    if (r->moe >= r->done)
        l.out = &m->losses.layers[r->moe];
    bool weigh = o->settings->hessian_weight == WEIGHT_GATE;
    int rc = weigh ? gates_init(&gates, o->backend, m->config->experts, err) : 0;
    struct forward_tap routing = gates_tap(&gates);
    struct gates *weights = weigh ? &gates : NULL;
    if (rc == 0 && weigh)
        rc = forward_mlp(r->forward, layer, &routing, false, err);
    bool absolute = l.out && o->shares_count && o->settings->channel_score == SCORE_AWQ;
    if (rc == 0)
        rc = hessians_init(&l.hessians, o->backend, m->config, wanted, absolute, weights, err);
    if (rc == 0)
        rc = slopes_init(&l.slopes, o->backend, m->config, layer,
                         forward_chunk_positions(r->forward), weights, err);
    struct forward_tap tap = measure_tap(&l);
    if (rc == 0)
        rc = forward_mlp(r->forward, layer, &tap, true, err);
    progress_step(o->progress, 1);
    progress_stage(o->progress, "layer %zu of %zu: rounding", layer->index + 1, m->config->layers);
    if (rc == 0)
        rc = measure_layer_run(&l, err);
    hessians_release(&l.hessians);
    slopes_release(&l.slopes);
    gates_release(&gates);
    return rc;
}

static int run_mlp(struct run *r, struct model_layer *layer, struct err *err)
{
    double importance = 0;
    size_t moe = layer->is_moe ? r->moe : SIZE_MAX;
    int rc = probe_mlp(&r->probe, layer, moe, &importance, err);
    if (rc < 0 || !layer->is_moe) {
        progress_step(r->m.o->progress, 1);
        return rc < 0 ? rc : forward_mlp(r->forward, layer, NULL, true, err);
    }
    rc = measure_experts(r, layer, err);
    if (rc == 0)
        rc = probe_mlp_quantized(&r->probe, layer, r->moe, err);
    if (rc == 0 && r->moe >= r->done) {
        r->m.losses.layers[r->moe].importance = importance;
        r->m.losses.layers_done = r->moe + 1;
        rc = losses_save(&r->m.losses, r->m.o->out, err);
    }
    r->moe++;
    return rc;
}

static int run_layer(struct run *r, size_t index, struct err *err)
{
    const struct measure_options *o = r->m.o;
    struct model_layer layer = {0};
    size_t layers = r->m.config->layers;
    if (progress_cancelled(o->progress))
        return err_set(err, ERR_CANCELLED, NULL, "stopped");
    progress_stage(o->progress, "layer %zu of %zu: attention", index + 1, layers);
    int rc = model_layer_load(&layer, o->model, o->backend, index, err);
    if (rc == 0)
        rc = forward_attention(r->forward, &layer, NULL, true, err);
    if (rc == 0)
        rc = probe_attention(&r->probe, &layer, err);
    progress_step(o->progress, 1);
    progress_stage(o->progress, "layer %zu of %zu: Hessians", index + 1, layers);
    if (rc == 0)
        rc = run_mlp(r, &layer, err);
    progress_step(o->progress, 2);
    model_layer_release(&layer, o->backend);
    return rc;
}

/* Loss of the layer at the probe's width, as the file counts it. */
static double probed_loss(const struct losses *l, size_t layer, size_t width)
{
    double sum = 0;
    for (size_t k = 0; k < PLAN_LINEARS; k++) {
        sum += l->layers[layer].shared.loss[k][width];
        for (size_t e = 0; e < l->experts; e++)
            sum += l->layers[layer].experts[e].loss[k][width];
    }
    return sum;
}

static int finish(struct run *r, struct err *err)
{
    struct losses *l = &r->m.losses;
    double *divergence = mem_array(l->layers_count, sizeof *divergence, err);
    if (!divergence)
        return ERR_NOMEM;
    progress_stage(r->m.o->progress, "effect of the layers on the output");
    int rc = probe_divergence(&r->probe, divergence, err);
    for (size_t i = 0; rc == 0 && i < l->layers_count; i++) {
        double loss = probed_loss(l, i, r->m.probe_width);
        l->layers[i].sensitivity = loss > 0 && divergence[i] > 0 ? divergence[i] / loss : 0.0;
    }
    l->complete = true;
    if (rc == 0)
        rc = losses_save(l, r->m.o->out, err);
    progress_step(r->m.o->progress, STEPS);
    free(divergence);
    return rc;
}

int measure_run(const struct measure_options *options, struct err *err)
{
    struct run r = {0};
    int rc = open_run(&r, options, err);
    bool done = rc == 0 && r.m.losses.complete;
    for (size_t i = 0; rc == 0 && !done && i < r.m.config->layers; i++)
        rc = run_layer(&r, i, err);
    if (rc == 0 && !done)
        rc = finish(&r, err);
    forward_free(r.forward);
    probe_release(&r.probe);
    losses_release(&r.m.losses);
    return rc;
}
