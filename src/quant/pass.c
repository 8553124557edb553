#include "src/quant/pass.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "src/quant/pass_internal.h"

const char *const pass_format_names[PASS_FORMAT_COUNT] = {
    [PASS_MOQA] = "moqa", [PASS_GPTQ] = "gptq", [PASS_GPTQ_V2] = "gptq_v2", [PASS_HF] = "hf"};

size_t pass_steps(const struct pass *p)
{
    return PASS_STEPS + (p->o.plan->settings.learn ? PASS_LEARNING_STEPS : 0);
}

static void set_rule(struct pass *p)
{
    const struct settings *s = &p->o.plan->settings;
    p->quantizer = quantizer_find(p->o.plan->quantizer);
    p->rule = (struct quantizer_rule){
        .grid = {.group_size = s->group_size,
                 .symmetric = s->grid == GRID_SYMMETRIC,
                 .search = s->scale_search,
                 .half = true,
                 .avoid_zero = writer_formats[p->o.format].avoid_zero},
        .order = s->order,
        .damping = s->damping,
        .refine = s->refine,
        .precision = p->o.precision,
    };
}

/* Beside a device threads have little to do: a part of them encodes the layer before. */
static int make_lane(struct pass *p, struct err *err)
{
    enum { SHARE = 4 };
    size_t threads = parallel_threads(backend_pool(p->o.backend)) / SHARE;
    if (p->o.backend->ops->memory && threads > 1 && parallel_new(&p->lane_pool, threads, NULL) < 0)
        log_write(LOG_DEBUG, "no threads for the lane that writes");
    return lane_new(&p->lane, err);
}

/* What the screen shows before the first layer is done: the plan's bits. */
static int make_experts(struct pass *p, struct err *err)
{
    const struct plan *plan = p->o.plan;
    p->expert = mem_array(plan->layers_count * plan->experts, sizeof *p->expert, err);
    if (!p->expert)
        return ERR_NOMEM;
    for (size_t i = 0; i < plan->layers_count; i++)
        for (size_t e = 0; e < plan->experts; e++) {
            const struct plan_expert *x = &plan->layers[i].experts[e];
            struct pass_expert *out = &p->expert[i * plan->experts + e];
            out->bits = plan->quantizer == PLAN_NONE ? 16 : x->bits;
            out->mixed = plan->quantizer != PLAN_NONE && plan_expert_is_mixed(x);
        }
    return 0;
}

/* The forward pass runs only while some layer from here on changes. */
bool pass_forward_needed(const struct pass *p)
{
    return pass_quantizes_from(&p->o, p->next);
}

/* The original's hidden states before layer p->next; a resumed run computes them again. */
static int make_original(struct pass *p, struct err *err)
{
    const struct pass_options *o = &p->o;
    if (!pass_pairs(o))
        return 0;
    int rc = forward_new(&p->original, o->model, o->backend, o->ids, o->starts, o->windows,
                         o->window, err);
    if (rc == 0 && o->progress)
        forward_set_cancel(p->original, &o->progress->cancel);
    for (size_t i = 0; rc == 0 && i < p->next; i++) {
        struct model_layer layer = {0};
        rc = model_layer_load(&layer, o->model, o->backend, i, err);
        if (rc == 0)
            rc = forward_attention(p->original, &layer, NULL, true, err);
        if (rc == 0)
            rc = forward_mlp(p->original, &layer, NULL, true, err);
        model_layer_release(&layer, o->backend);
    }
    return rc;
}

static int take_hidden(void *context, size_t part, const float *values, struct err *err)
{
    return forward_set_chunk(context, part, values, err);
}

static void between_chunks(void *context)
{
    const struct pass *p = context;
    ahead_step(p->ahead);
}

static int make_forward(struct pass *p, struct err *err)
{
    const struct pass_options *o = &p->o;
    int rc = forward_new(&p->forward, o->model, o->backend, o->ids, o->starts, o->windows,
                         o->window, err);
    if (rc < 0)
        return rc;
    forward_set_between(p->forward, between_chunks, p);
    if (o->progress)
        forward_set_cancel(p->forward, &o->progress->cancel);
    rc = make_original(p, err);
    if (rc < 0 || p->next == 0)
        return rc;
    struct journal_loader loader = {.count = p->positions * p->config->hidden,
                                    .part_count =
                                        forward_chunk_positions(p->forward) * p->config->hidden,
                                    .context = p->forward,
                                    .take = take_hidden};
    return journal_load_hidden(&p->journal, &loader, err);
}

static int save_plan(const struct pass *p, const char *dir, const char *name, struct err *err)
{
    char *path = str_path(dir, name, err);
    int rc = path ? plan_save(p->o.plan, path, err) : ERR_NOMEM;
    free(path);
    return rc;
}

/* Has the device memory for a layer's weights beyond what a pass takes there? A third more, so that
 * batches, which are cut by what is free, never depend on how far the weights have come. */
static bool has_room_ahead(const struct pass_options *o, const struct pass_estimate *e)
{
    uint64_t room, used;
    if (!o->backend->ops->memory)
        return false;
    o->backend->ops->memory(o->backend, &room, &used);
    return room / 4 * 3 >= e->device_memory + e->layer_weights;
}

static int open_run(struct pass *p, struct err *err)
{
    struct pass_estimate e;
    int rc = journal_open(&p->journal, p->o.out, p->o.resume, err);
    if (rc < 0)
        return rc;
    char stamp[HASH_HEX_SIZE];
    rc = pass_report_digest(&p->digest, &p->o, err);
    if (rc == 0)
        rc = checkpoint_stamp(stamp, p->o.model->checkpoint, err);
    if (rc == 0 && !journal_begun(&p->journal))
        rc = save_plan(p, p->journal.dir, "plan.json", err);
    if (rc == 0)
        rc = journal_begin(&p->journal, p->digest, stamp, err);
    if (rc == 0 && journal_layers(&p->journal) > p->config->layers)
        rc = err_set(err, ERR_INPUT, p->journal.dir, "%zu finished layers, the model has %zu",
                     journal_layers(&p->journal), p->config->layers);
    if (rc < 0)
        return rc;
    struct journal_state written = {.layers = journal_layers(&p->journal),
                                    .hidden_layers = journal_hidden_layers(&p->journal),
                                    .complete = p->journal.complete};
    rc = pass_restore(p, err);
    if (rc == 0 && p->next)
        log_write(LOG_INFO, "%s: going on behind layer %zu of %zu", p->o.out, p->next,
                  p->config->layers);
    if (rc == 0)
        rc = pass_estimate(&e, &p->o, err);
    p->ahead_fits = rc == 0 && has_room_ahead(&p->o, &e);
    if (rc == 0)
        rc = pass_check_space(&p->o, &e, &written, err);
    p->prefetch = prefetch_new(p->o.model->checkpoint);
    progress_start(p->o.progress, (p->config->layers + 1) * pass_steps(p));
    progress_skip(p->o.progress, p->next * pass_steps(p));
    return rc;
}

int pass_is_finished(bool *finished, const struct pass_options *options, struct err *err)
{
    json_t *digest = NULL;
    struct plan made = {0};
    struct pass_options o = *options;
    char *path = str_path(o.out, "moqa_plan.json", err);
    *finished = false;
    int rc = path ? 0 : ERR_NOMEM;
    if (rc == 0 && plan_load(&made, path, NULL) == 0 && plan_equal(&made, o.plan))
        o.plan = &made; /* other names in it, or other significances, make no other run */
    if (rc == 0)
        rc = pass_report_digest(&digest, &o, err);
    if (rc == 0)
        rc = journal_finished(finished, o.out, digest, err);
    json_decref(digest);
    plan_release(&made);
    free(path);
    return rc;
}

int pass_new(struct pass **out, const struct pass_options *options, struct err *err)
{
    *out = NULL;
    bool unfinished;
    int rc = pass_check(options, err);
    if (rc == 0)
        rc = pass_check_out(options, err);
    /* Before anything is made, so that a refused run leaves no folder behind. */
    if (rc == 0)
        rc = journal_probe(options->out, options->resume, &unfinished, err);
    if (rc == 0 && !unfinished) {
        struct pass_estimate e;
        rc = pass_estimate(&e, options, err);
        if (rc == 0)
            rc = pass_check_space(options, &e, &(struct journal_state){0}, err);
    }
    if (rc < 0)
        return rc;
    struct pass *p = mem_array(1, sizeof *p, err);
    if (!p)
        return ERR_NOMEM;
    p->o = *options;
    p->config = options->model->config;
    p->positions = options->windows * options->window;
    p->journal.lock = -1;
    pthread_mutex_init(&p->lock, NULL);
    set_rule(p);
    rc = make_experts(p, err);
    if (rc == 0)
        rc = make_lane(p, err);
    if (rc == 0)
        rc = open_run(p, err);
    if (rc < 0)
        pass_free(p);
    else
        *out = p;
    return rc;
}

/* --- A layer --- */

static int step_layer(struct pass *p, struct err *err)
{
    struct writer_list list = {0};
    struct pass_layer_result result = {0};
    result.expert = mem_array(p->config->experts, sizeof *result.expert, err);
    int rc = result.expert ? 0 : ERR_NOMEM;
    if (rc == 0 && progress_cancelled(p->o.progress))
        rc = err_set(err, ERR_CANCELLED, NULL, "stopped");
    if (rc == 0 && p->needs_forward && !p->forward) {
        rc = lane_wait(p->lane, err); /* hidden states are those of the journal */
        if (rc == 0)
            rc = make_forward(p, err);
    }
    if (rc == 0 && p->forward)
        rc = pass_layer_run(p, &list, &result, err);
    else if (rc == 0)
        progress_step(p->o.progress, pass_steps(p) - PASS_WRITING_STEPS);
    if (rc == 0)
        rc = lane_wait(p->lane, err); /* the layer before */
    if (rc == 0)
        rc = pass_store(p, &list, &result, err);
    if (rc == 0) {
        str_release(&p->note);
        p->next++;
    } else {
        pass_withdraw(p, p->next);
    }
    writer_list_release(&list);
    free(result.expert);
    free(result.learn.unit_kept);
    return rc;
}

/* --- The end --- */

/* Modules whose names follow once they are all known. */
struct module_list {
    const struct pass *p;
    struct quant_module *module;
    size_t count, changed;
    struct str names; /* one after another, each with its 0 */
};

static void add_module(struct module_list *list, const char *name, const char *leaf,
                       struct pass_bits bits)
{
    str_append_bytes(&list->names, name, strlen(name) + 1);
    list->module[list->count++] =
        (struct quant_module){.leaf = leaf, .bits = bits.bits, .channel_bits = bits.channel_bits};
    list->changed += bits.bits < 16;
}

/* An expert as one module, or where its linears differ as three. first: its gate. */
static void add_expert(struct module_list *list, size_t layer, const char *name,
                       enum model_linear first, size_t expert)
{
    struct pass_bits bits[PLAN_LINEARS];
    for (size_t i = 0; i < PLAN_LINEARS; i++)
        bits[i] = pass_bits_of(&list->p->o, layer, (enum model_linear)(first + i), expert);
    if (bits[PLAN_GATE].bits == bits[PLAN_UP].bits && bits[PLAN_UP].bits == bits[PLAN_DOWN].bits) {
        for (size_t i = 0; i < PLAN_LINEARS; i++)
            if (bits[i].channels)
                bits[PLAN_GATE].channel_bits = bits[i].channel_bits;
        add_module(list, name, NULL, bits[PLAN_GATE]);
        return;
    }
    for (size_t i = 0; i < PLAN_LINEARS; i++)
        add_module(list, name, model_linear_leaf(list->p->config, (enum model_linear)(first + i)),
                   bits[i]);
}

/* The parts of a layer as modules: attention, experts, shared expert or dense MLP. */
static void add_layer(struct module_list *list, size_t layer)
{
    char name[MODEL_NAME_MAX];
    const struct model_config *c = list->p->config;
    struct pass_bits bits = pass_bits_of(&list->p->o, layer, LINEAR_Q, 0);
    snprintf(name, sizeof name, "model.layers.%zu.self_attn", layer);
    if (bits.bits < 16)
        add_module(list, name, NULL, bits);
    snprintf(name, sizeof name, "model.layers.%zu.mlp", layer);
    if (!c->is_moe[layer])
        add_module(list, name, NULL, (struct pass_bits){.bits = 16});
    for (size_t e = 0; c->is_moe[layer] && e < c->experts; e++) {
        model_expert_name(name, c, layer, e);
        add_expert(list, layer, name, LINEAR_GATE, e);
    }
    snprintf(name, sizeof name, "model.layers.%zu.mlp.shared_expert", layer);
    if (c->is_moe[layer] && c->shared_size)
        add_expert(list, layer, name, LINEAR_SHARED_GATE, 0);
}

static int write_config(struct pass *p, struct err *err)
{
    const struct pass_options *o = &p->o;
    struct module_list list = {.p = p};
    size_t most = p->config->layers * (p->config->experts + 1) * PLAN_LINEARS + p->config->layers;
    list.module = mem_array(most, sizeof *list.module, err);
    if (!list.module)
        return ERR_NOMEM;
    for (size_t i = 0; i < p->config->layers; i++)
        add_layer(&list, i);
    int rc = str_ok(&list.names, err);
    const char *at = str_get(&list.names);
    for (size_t i = 0; rc == 0 && i < list.count; i++) {
        list.module[i].name = at;
        at += strlen(at) + 1;
    }
    if (rc == 0)
        rc = writer_config(checkpoint_dir(o->model->checkpoint), o->out, o->format,
                           o->plan->settings.group_size, list.module, list.changed ? list.count : 0,
                           err);
    str_release(&list.names);
    free(list.module);
    return rc;
}

static int finish(struct pass *p, struct err *err)
{
    const struct pass_options *o = &p->o;
    pass_detach(p); /* what follows may need the backend's memory */
    int rc = lane_wait(p->lane, err);
    if (rc < 0)
        return rc;
    progress_stage(o->progress, "embeddings, head and configuration");
    if (!p->journal.complete) {
        rc = writer_shard(o->model->checkpoint, o->out, p->config->layers, NULL, err);
        if (rc == 0)
            rc = writer_index(o->out, p->config->layers + 1, err);
        if (rc == 0)
            rc = writer_copy(checkpoint_dir(o->model->checkpoint), o->out, err);
        if (rc == 0)
            rc = save_plan(p, o->out, "moqa_plan.json", err);
        if (rc == 0)
            rc = pass_report_save(p, err);
        if (rc == 0)
            rc = write_config(p, err);
    }
    if (rc == 0)
        rc = journal_remove(&p->journal, err);
    progress_step(o->progress, pass_steps(p));
    p->finished = rc == 0;
    return rc;
}

int pass_step(struct pass *p, struct err *err)
{
    if (p->broken)
        return err_set(err, (enum err_code)p->broken, p->o.out,
                       "an earlier step failed; open the run again to go on");
    if (p->finished)
        return 0;
    int rc = p->next < p->config->layers ? step_layer(p, err) : finish(p, err);
    if (rc < 0)
        p->broken = rc;
    return rc < 0 ? rc : !p->finished;
}

void pass_detach(struct pass *p)
{
    ahead_free(p->ahead);
    p->ahead = NULL;
    forward_free(p->forward);
    forward_free(p->original);
    p->forward = p->original = NULL;
}

void pass_attach(struct pass *p, struct backend *backend, const char *note)
{
    struct err err = {0};
    /* What the lane still has comes into the journal, or its error out of the next step. */
    p->broken = lane_wait(p->lane, &err) == 0 ? pass_restore(p, &err) : 0;
    p->o.backend = backend;
    str_appendf(&p->note, "%s%s", p->note.length ? "; " : "", note);
    progress_back(p->o.progress, p->next * pass_steps(p));
}

void pass_snapshot(struct pass *p, struct pass_snapshot *out)
{
    const struct plan *plan = p->o.plan;
    pthread_mutex_lock(&p->lock);
    out->layers = plan->layers_count;
    out->experts = plan->experts;
    out->layer = p->layer < plan->layers_count ? p->layer : plan->layers_count - 1;
    out->layers_done = p->layers_done;
    out->fallbacks = p->fallbacks;
    if (out->expert)
        memcpy(out->expert, p->expert, plan->layers_count * plan->experts * sizeof *p->expert);
    pthread_mutex_unlock(&p->lock);
}

void pass_free(struct pass *p)
{
    if (!p)
        return;
    prefetch_free(p->prefetch);
    pass_detach(p);
    lane_free(p->lane);
    parallel_free(p->lane_pool);
    journal_close(&p->journal);
    json_decref(p->digest);
    str_release(&p->note);
    free(p->expert);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
