/* A finished layer on its way to the disk: hidden states, then in the lane what is left to encode,
 * shard and journal (in this order, see journal.h), while the next layer is computed. */
#include <stdlib.h>
#include <string.h>

#include "data/base/clock.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "src/quant/pass_internal.h"

/* What pass_options leave open. */
static const uint64_t hidden_always = (uint64_t)256 << 20;
static const double hidden_share = 10;
static const double assumed_rate = 1e9; /* bytes a second, until one is measured */

/* A layer that is computed; the lane owns it. */
struct store {
    struct pass *p;
    size_t layer;
    struct writer_list list;
    struct pass_layer_result result;
    json_t *report;
};

static void store_free(struct store *s)
{
    writer_list_release(&s->list);
    free(s->result.expert);
    free(s->result.learn.unit_kept);
    json_decref(s->report);
    free(s);
}

/* --- Hidden states --- */

static uint64_t hidden_bytes(const struct pass *p)
{
    return (uint64_t)p->positions * p->config->hidden * sizeof(float);
}

/* Saving stays a small part of a run: a GPU is done with a layer before its hidden states are
 * written. */
static bool hidden_due(const struct pass *p)
{
    const struct pass_options *o = &p->o;
    uint64_t bytes = hidden_bytes(p);
    if (!p->forward || p->next + 1 == p->config->layers)
        return false;
    double took = p->hidden_seconds > 0 ? p->hidden_seconds : (double)bytes / assumed_rate;
    double share = o->hidden_share > 0 ? o->hidden_share : hidden_share;
    return bytes <= (o->hidden_always ? o->hidden_always : hidden_always) ||
           clock_seconds() - p->hidden_saved >= share * took;
}

static int read_hidden(void *context, size_t part, float *out, size_t *count, struct err *err)
{
    struct pass *p = context;
    int rc = forward_get_chunk(p->forward, part, out, count, err);
    *count *= p->config->hidden;
    return rc;
}

/* Not in the lane: a copy for it to save would be as large as they are. */
static int save_hidden(struct pass *p, struct err *err)
{
    double started = clock_seconds();
    if (!hidden_due(p))
        return 0;
    struct journal_hidden hidden = {.parts = forward_chunks(p->forward),
                                    .part_count =
                                        forward_chunk_positions(p->forward) * p->config->hidden,
                                    .context = p,
                                    .read = read_hidden};
    progress_stage(p->o.progress, "layer %zu of %zu: writing", p->next + 1, p->config->layers);
    int rc = journal_save_hidden(&p->journal, p->next + 1, &hidden, err);
    if (rc == 0) {
        p->hidden_saved = clock_seconds();
        p->hidden_seconds = p->hidden_saved - started;
    }
    return rc;
}

/* --- The snapshot --- */

/* Under the lock. The bits stay: those of the plan. */
static void set_expert(struct pass_expert *to, const struct pass_expert *from)
{
    unsigned bits = to->bits;
    bool mixed = to->mixed;
    *to = *from;
    to->bits = bits;
    to->mixed = mixed;
    to->done = true;
}

void pass_publish_expert(struct pass *p, size_t layer, size_t expert, const struct pass_expert *e)
{
    const struct plan_layer *l = pass_plan_layer(&p->o, layer);
    if (!l)
        return;
    pthread_mutex_lock(&p->lock);
    set_expert(&p->expert[(size_t)(l - p->o.plan->layers) * p->o.plan->experts + expert], e);
    pthread_mutex_unlock(&p->lock);
}

static void publish(struct pass *p, size_t layer, const struct pass_layer_result *result)
{
    const struct plan_layer *l = pass_plan_layer(&p->o, layer);
    if (!l)
        return;
    size_t index = (size_t)(l - p->o.plan->layers), experts = p->o.plan->experts;
    pthread_mutex_lock(&p->lock);
    for (size_t e = 0; e < experts; e++) {
        set_expert(&p->expert[index * experts + e], &result->expert[e]);
        p->fallbacks += result->expert[e].fallback;
    }
    p->layers_done++;
    p->layer = index + 1;
    pthread_mutex_unlock(&p->lock);
}

void pass_withdraw(struct pass *p, size_t layer)
{
    const struct plan_layer *l = pass_plan_layer(&p->o, layer);
    size_t experts = p->o.plan->experts;
    pthread_mutex_lock(&p->lock);
    for (size_t e = 0; l && e < experts; e++)
        p->expert[(size_t)(l - p->o.plan->layers) * experts + e].done = false;
    pthread_mutex_unlock(&p->lock);
}

static void warn_fallbacks(const struct pass *p, size_t layer,
                           const struct pass_layer_result *result)
{
    for (size_t e = 0; e < p->config->experts; e++) {
        if (result->expert[e].fallback)
            log_write(LOG_WARN,
                      "layer %zu, expert %zu: its Hessian is not positive definite at damping %g; "
                      "rounded to nearest",
                      layer, e, result->expert[e].damping);
        else if (result->expert[e].damping > p->rule.damping)
            log_write(LOG_INFO, "layer %zu, expert %zu: damping raised to %g", layer, e,
                      result->expert[e].damping);
    }
}

/* --- In the lane --- */

static int run_store(void *context, struct err *err)
{
    struct store *s = context;
    struct pass *p = s->p;
    int rc = writer_list_encode_deferred(&s->list, p->o.format, p->lane_pool, err);
    if (rc == 0)
        rc = writer_shard(p->o.model->checkpoint, p->o.out, s->layer, &s->list, err);
    if (rc == 0) {
        rc = journal_commit(&p->journal, s->report, err);
        s->report = NULL;
    }
    if (rc == 0)
        publish(p, s->layer, &s->result);
    else
        pass_withdraw(p, s->layer);
    store_free(s);
    return rc;
}

int pass_store(struct pass *p, struct writer_list *list, struct pass_layer_result *result,
               struct err *err)
{
    struct store *s = mem_array(1, sizeof *s, err);
    if (!s)
        return ERR_NOMEM;
    *s = (struct store){.p = p, .layer = p->next};
    int rc = save_hidden(p, err);
    if (rc == 0)
        rc = pass_report_layer(&s->report, p, p->next, result, err);
    if (rc < 0) {
        store_free(s);
        return rc;
    }
    warn_fallbacks(p, p->next, result);
    s->list = *list;
    s->result = *result;
    *list = (struct writer_list){0};
    *result = (struct pass_layer_result){0};
    lane_submit(p->lane, run_store, s);
    progress_step(p->o.progress, PASS_WRITING_STEPS);
    return 0;
}

/* --- Going on --- */

int pass_restore(struct pass *p, struct err *err)
{
    int rc = 0;
    p->next = journal_layers(&p->journal);
    /* Layers without hidden states behind them are done again where others follow. */
    if (pass_forward_needed(p) && journal_hidden_layers(&p->journal) < p->next) {
        p->next = journal_hidden_layers(&p->journal);
        rc = journal_rewind(&p->journal, p->next, err);
    }
    pthread_mutex_lock(&p->lock);
    p->layers_done = p->fallbacks = 0;
    for (size_t i = 0; i < p->next; i++) {
        pass_report_restore(p, journal_layer(&p->journal, i));
        p->layers_done += p->config->is_moe[i];
    }
    p->layer = p->layers_done;
    pthread_mutex_unlock(&p->lock);
    for (size_t i = p->next; i < p->config->layers; i++)
        pass_withdraw(p, i);
    p->needs_forward = pass_forward_needed(p);
    p->hidden_saved = clock_seconds();
    return rc;
}
