/* One layer: Hessians from the original weights, the groups of linears on them, and the hidden
 * states on to the next layer. */
#include "data/base/log.h"
#include "src/quant/pass_batch.h"

static const struct linear_group attention_groups[] = {
    {HESSIANS_ATTENTION_IN, 3, {LINEAR_Q, LINEAR_K, LINEAR_V}},
    {HESSIANS_ATTENTION_MID, 1, {LINEAR_O}},
};
static const struct linear_group mlp_groups[] = {
    {HESSIANS_IN, 2, {LINEAR_GATE, LINEAR_UP}},
    {HESSIANS_MID, 1, {LINEAR_DOWN}},
    {HESSIANS_SHARED_IN, 2, {LINEAR_SHARED_GATE, LINEAR_SHARED_UP}},
    {HESSIANS_SHARED_MID, 1, {LINEAR_SHARED_DOWN}},
};
enum {
    ATTENTION_GROUPS = sizeof attention_groups / sizeof *attention_groups,
    MLP_GROUPS = sizeof mlp_groups / sizeof *mlp_groups
};

/* Kinds of Hessian that some linear of the layer needs. */
static unsigned wanted_kinds(const struct pass *p, size_t layer, const struct linear_group *groups,
                             size_t count)
{
    unsigned wanted = 0;
    for (size_t g = 0; g < count; g++) {
        bool routed = groups[g].kind == HESSIANS_IN || groups[g].kind == HESSIANS_MID;
        bool shared = groups[g].kind == HESSIANS_SHARED_IN || groups[g].kind == HESSIANS_SHARED_MID;
        if (shared && p->config->shared_size == 0)
            continue;
        for (size_t e = 0; e < (routed ? p->config->experts : 1); e++)
            if (pass_group_quantizes(p, layer, &groups[g], e))
                wanted |= 1u << groups[g].kind;
    }
    return wanted;
}

static int run_attention(struct layer_job *j, bool move, struct err *err)
{
    struct pass *p = j->p;
    struct hessians h = {0};
    unsigned wanted = wanted_kinds(p, j->layer->index, attention_groups, ATTENTION_GROUPS);
    int rc = 0;
    if (wanted) {
        rc = hessians_init(&h, p->o.backend, p->config, wanted, false, NULL, err);
        struct forward_tap tap = hessians_tap(&h);
        j->hessians = &h;
        if (rc == 0)
            rc = forward_attention(p->forward, j->layer, &tap, false, err);
        for (size_t i = 0; rc == 0 && i < ATTENTION_GROUPS; i++)
            rc = pass_group_run(j, &attention_groups[i], 0, err);
        hessians_release(&h);
    }
    if (rc == 0 && move)
        rc = forward_attention(p->forward, j->layer, NULL, true, err);
    return rc;
}

static void note_tokens(struct layer_job *j)
{
    size_t least = SIZE_MAX, short_of = 0;
    for (size_t e = 0; e < j->p->config->experts; e++) {
        size_t n = j->hessians->tokens[e];
        j->result->expert[e].tokens = n;
        least = n < least ? n : least;
        short_of += n < j->p->config->hidden;
        log_write(LOG_DEBUG, "layer %zu, expert %zu: %zu tokens, %.2f an input", j->layer->index, e,
                  n, (double)n / (double)j->p->config->hidden);
    }
    j->result->shared.tokens = j->hessians->positions;
    /* With fewer tokens than inputs a Hessian of the expert's own has no full rank. */
    if (short_of)
        log_write(
            LOG_INFO,
            "layer %zu: %zu of %zu experts saw fewer calibration tokens than they have inputs "
            "(%zu); the least used one saw %zu",
            j->layer->index, short_of, j->p->config->experts, j->p->config->hidden, least);
}

/* Kinds that are the inputs of gate and up, and all. */
static const unsigned first_kinds = 1u << HESSIANS_IN | 1u << HESSIANS_SHARED_IN;
static const unsigned all_kinds = (1u << HESSIANS_KINDS) - 1;

/* Where tokens count by their gate values, those of all tokens. */
static int weigh_tokens(const struct layer_job *j, struct gates *gates, struct err *err)
{
    struct pass *p = j->p;
    if (p->o.plan->settings.hessian_weight == WEIGHT_NONE)
        return 0;
    int rc = gates_init(gates, p->o.backend, p->config->experts, err);
    struct forward_tap tap = gates_tap(gates);
    return rc == 0 ? forward_mlp(p->forward, j->layer, &tap, false, err) : rc;
}

/* Hessians of the wanted kinds, and shifts, from the layer as it is now; then the linears on
 * them. */
static int round_kinds(struct layer_job *j, unsigned wanted, unsigned turn, bool apply,
                       struct err *err)
{
    struct pass *p = j->p;
    struct hessians h = {0};
    struct shifts s = {0};
    struct gates gates = {0};
    bool absolute = p->o.plan->settings.channel_score == SCORE_AWQ;
    int rc = weigh_tokens(j, &gates, err);
    struct gates *weights = gates.b ? &gates : NULL;
    if (rc == 0)
        rc = hessians_init(&h, p->o.backend, p->config, wanted & turn, absolute, weights, err);
    struct forward_tap tap = hessians_tap(&h);
    j->hessians = &h;
    j->shifts = NULL;
    if (rc == 0)
        rc = forward_mlp(p->forward, j->layer, &tap, apply, err);
    if (rc == 0 && pass_shifts(&p->o)) {
        rc = shifts_init(&s, p->o.backend, p->config, wanted & turn,
                         forward_chunk_positions(p->forward), weights, err);
        struct forward_pair_tap pair = shifts_tap(&s);
        j->shifts = &s;
        if (rc == 0)
            rc = forward_mlp_pair(p->forward, j->layer, p->original, j->original, &pair, err);
    }
    if (rc == 0 && (turn & first_kinds)) {
        note_tokens(j);
        progress_step(p->o.progress, PASS_HESSIAN_STEPS);
        progress_stage(p->o.progress, "layer %zu of %zu: rounding", p->next + 1, p->config->layers);
    }
    for (size_t i = 0; rc == 0 && i < MLP_GROUPS; i++)
        if (turn >> mlp_groups[i].kind & 1u)
            rc = pass_group_run(j, &mlp_groups[i], PASS_ROUNDING_STEPS / MLP_GROUPS, err);
    hessians_release(&h);
    shifts_release(&s);
    gates_release(&gates);
    return rc;
}

static int run_mlp(struct layer_job *j, bool move, struct err *err)
{
    struct pass *p = j->p;
    unsigned wanted =
        j->layer->is_moe ? wanted_kinds(p, j->layer->index, mlp_groups, MLP_GROUPS) : 0;
    bool learns = pass_learns(p, j->layer->index);
    bool shifts = pass_shifts(&p->o), moved = move && wanted && !pass_propagates(&p->o);
    int rc = learns ? pass_learner_init(&j->learner, p, j->layer, err) : 0;
    if (!learns)
        progress_step(p->o.progress, pass_steps(p) - PASS_STEPS);
    if (!wanted)
        progress_step(p->o.progress, PASS_HESSIAN_STEPS + PASS_ROUNDING_STEPS);
    else if (rc == 0)
        rc = round_kinds(j, wanted, shifts ? first_kinds : all_kinds, moved && !learns, err);
    /* Down makes up for the rounding of gate and up, too. */
    if (rc == 0 && wanted && shifts)
        rc = round_kinds(j, wanted, all_kinds & ~first_kinds, false, err);
    if (rc == 0 && (move || learns) && j->original)
        rc = forward_mlp(p->original, j->original, NULL, true, err);
    if (rc == 0 && learns)
        rc = pass_learner_run(&j->learner, j->original ? p->original : NULL, j->list, j->result,
                              err);
    if (rc == 0 && move && !moved)
        rc = forward_mlp(p->forward, j->layer, NULL, true, err);
    pass_learner_release(&j->learner);
    return rc;
}

int pass_layer_run(struct pass *p, struct writer_list *list, struct pass_layer_result *result,
                   struct err *err)
{
    struct model_layer layer = {0}, original = {0};
    struct layer_job job = {.p = p, .layer = &layer, .list = list, .result = result};
    size_t layers = p->config->layers;
    bool last = p->next + 1 == layers;
    progress_stage(p->o.progress, "layer %zu of %zu: attention", p->next + 1, layers);
    if (p->ahead)
        log_write(LOG_DEBUG, "layer %zu: %zu linears came ahead", p->next, ahead_count(p->ahead));
    int rc = model_layer_load_ahead(&layer, p->o.model, p->o.backend, p->next, p->ahead, err);
    p->ahead = NULL;
    if (!last)
        prefetch_layer(p->prefetch, p->next + 1);
    if (rc == 0 && !last && p->ahead_fits && p->o.backend->halvings == 0)
        p->ahead = ahead_new(p->o.model, p->o.backend, p->next + 1);
    if (rc == 0 && p->original) {
        job.original = &original;
        rc = model_layer_load(&original, p->o.model, p->o.backend, p->next, err);
    }
    if (rc == 0 && p->original)
        rc = forward_attention(p->original, &original, NULL, true, err);
    /* Behind the last layer nobody looks at the hidden states; its own MLP still does. */
    if (rc == 0)
        rc = run_attention(&job, true, err);
    progress_step(p->o.progress, PASS_ATTENTION_STEPS);
    progress_stage(p->o.progress, "layer %zu of %zu: Hessians", p->next + 1, layers);
    if (rc == 0)
        rc = run_mlp(&job, !last, err);
    model_layer_release(&layer, p->o.backend);
    model_layer_release(&original, p->o.backend);
    return rc;
}
