/* One layer: Hessians from the original weights, all linears of a kind as one batch, and the
 * hidden states on to the next layer. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "src/quant/channels.h"
#include "src/quant/pass_internal.h"
#include "src/quant/pass_learn.h"
#include "src/quant/shifts.h"

enum { GROUP_LINEARS_MAX = 3 };

/* Linears that share their inputs and so a Hessian. */
struct linear_group {
    enum hessians_kind kind;
    size_t count;
    enum model_linear linear[GROUP_LINEARS_MAX];
};

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

/* Weights, codes and Hessians of a batch in the host's memory; the cut changes no result. Where
 * Hessians stay on a device, batches are larger, so that it has enough to do. */
static const size_t batch_bytes = (size_t)512 << 20, device_batch_bytes = (size_t)2 << 30;

struct layer_job {
    struct pass *p;
    struct model_layer *layer;
    struct model_layer *original; /* as it was, where the original runs beside; else NULL */
    struct hessians *hessians;
    struct shifts *shifts;       /* of the same kinds, or NULL */
    struct pass_learner learner; /* what waits for learning; zeroed where nothing is learned */
    struct writer_list *list;
    struct pass_layer_result *result;
};

/* One linear in a batch. */
struct part {
    char name[MODEL_NAME_MAX];
    enum model_linear linear;
    size_t unit;
    size_t in, out;
    enum dtype dtype;
    float *weights;   /* [out][in], later the dequantized ones */
    double *absolute; /* [in] mean |x|, where channels are chosen by it; else NULL */
    struct packed_linear packed;
    struct pass_bits bits;
    bool learned;   /* goes to the learner instead of the shard's list */
    size_t place;   /* in that list */
    struct err err; /* of the thread that works on it */
};

struct batch {
    size_t units;             /* with a Hessian */
    size_t *unit;             /* [units] */
    double **h;               /* [units] Hessians, or the diagonals of those on the device */
    double **shift, **factor; /* [units] of shifts_apply(), or NULL */
    bool *singular;           /* [units] no factor: no shift */
    struct quantizer_hessian *hessians;
    size_t count; /* linears */
    struct part *parts;
    struct quantizer_item *items;
};

static struct pass_expert *stats_of(const struct layer_job *j, enum hessians_kind kind, size_t unit)
{
    if (kind == HESSIANS_IN || kind == HESSIANS_MID)
        return &j->result->expert[unit];
    return kind == HESSIANS_ATTENTION_IN || kind == HESSIANS_ATTENTION_MID ? &j->result->attention
                                                                           : &j->result->shared;
}

static void batch_release(struct batch *b)
{
    for (size_t i = 0; b->h && i < b->units; i++)
        free(b->h[i]);
    for (size_t i = 0; b->shift && i < b->units; i++)
        free(b->shift[i]);
    for (size_t i = 0; b->factor && i < b->units; i++)
        free(b->factor[i]);
    free(b->shift);
    free(b->factor);
    free(b->singular);
    for (size_t i = 0; i < b->count; i++) {
        free(b->parts[i].weights);
        free(b->parts[i].absolute);
        packed_release(&b->parts[i].packed);
        grid_release(&b->items[i].grid);
    }
    free(b->unit);
    free(b->h);
    free(b->hessians);
    free(b->parts);
    free(b->items);
}

static int batch_init(struct batch *b, size_t units, const struct linear_group *group,
                      struct err *err)
{
    *b = (struct batch){0};
    b->unit = mem_array(units, sizeof *b->unit, err);
    b->h = mem_array(units, sizeof *b->h, err);
    b->shift = mem_array(units, sizeof *b->shift, err);
    b->factor = mem_array(units, sizeof *b->factor, err);
    b->singular = mem_array(units, sizeof *b->singular, err);
    b->hessians = mem_array(units, sizeof *b->hessians, err);
    b->parts = mem_array(units * group->count, sizeof *b->parts, err);
    b->items = mem_array(units * group->count, sizeof *b->items, err);
    return b->unit && b->h && b->shift && b->factor && b->singular && b->hessians && b->parts &&
                   b->items
               ? 0
               : ERR_NOMEM;
}

static int read_weights(struct part *t, const struct model *m, struct err *err)
{
    char tensor[MODEL_NAME_MAX + sizeof ".weight"];
    snprintf(tensor, sizeof tensor, "%s.weight", t->name);
    const struct tensor_info *info = checkpoint_find(m->checkpoint, tensor);
    t->dtype = info ? info->dtype : DTYPE_F32;
    size_t count = t->in * t->out;
    t->weights = mem_aligned(count, sizeof *t->weights, err);
    if (!t->weights)
        return ERR_NOMEM;
    int rc = model_read_linear(m, t->name, t->in, t->out, t->weights, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        if (!isfinite(t->weights[i]))
            rc = err_set(err, ERR_INPUT, checkpoint_dir(m->checkpoint),
                         "tensor \"%s\": the value at [%zu][%zu] is not finite", tensor, i / t->in,
                         i % t->in);
    return rc;
}

static int pick_channels(const struct layer_job *j, struct part *t,
                         const struct quantizer_hessian *h, struct err *err)
{
    double *diagonal = mem_array(t->in, sizeof *diagonal, err);
    double *score = mem_array(t->in, sizeof *score, err);
    int rc = diagonal && score ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < t->in; i++)
        diagonal[i] = h->h ? h->h[i * t->in + i] : h->diagonal[i];
    struct channels_input in = {
        .score = (enum setting_channel_score)j->p->o.plan->settings.channel_score,
        .rule = &j->p->rule.grid,
        .bits = t->bits.bits,
        .channel_bits = t->bits.channel_bits,
        .weights = t->weights,
        .rows = t->out,
        .columns = t->in,
        .diagonal = diagonal,
        .mean_absolute = t->absolute};
    if (rc == 0)
        rc = channels_score(score, &in, err);
    if (rc == 0)
        rc = channels_pick(t->packed.channel_index, t->bits.channels, score, t->in, err);
    free(diagonal);
    free(score);
    return rc;
}

static bool propagates(const struct pass *p)
{
    return p->o.plan->settings.propagation == PROPAGATION_QUANT;
}

/* Do the Hessians stay on the device? Only where nothing on the host needs more than diagonals. */
static bool stays(const struct layer_job *j)
{
    return hessians_stay(j->hessians) && !j->shifts && !j->p->rule.refine;
}

/* Room for a linear; what it holds follows on all threads. */
static int add_part(struct layer_job *j, struct batch *b, const struct linear_group *group,
                    enum model_linear linear, size_t unit, struct err *err)
{
    const struct pass_options *o = &j->p->o;
    struct part *t = &b->parts[b->count];
    struct quantizer_item *item = &b->items[b->count++];
    t->linear = linear;
    t->unit = unit;
    t->bits = pass_bits_of(o, j->layer->index, linear, unit);
    model_linear_name(t->name, j->p->config, j->layer->index, linear, unit);
    model_linear_shape(j->p->config, linear, &t->in, &t->out);
    int rc = packed_alloc(&t->packed, t->in, t->out, t->bits.bits, o->plan->settings.group_size,
                          t->bits.channel_bits, t->bits.channels, err);
    if (rc == 0 && t->bits.channels && o->plan->settings.channel_score == SCORE_AWQ) {
        t->absolute = mem_array(t->in, sizeof *t->absolute, err);
        rc = t->absolute ? hessians_absolute(j->hessians, group->kind, unit, t->absolute, err)
                         : ERR_NOMEM;
    }
    *item = (struct quantizer_item){
        .rows = t->out,
        .hessian = b->units - 1,
        .bits = {t->bits.bits, t->bits.channel_bits, t->bits.channels, t->packed.channel_index},
        .codes = t->packed.codes};
    if (stays(j)) { /* until it is rounded it has the checkpoint's weights */
        item->device_weights = model_layer_linear(j->layer, linear, unit);
        item->restore = propagates(j->p) && !pass_learner_takes(&j->learner, linear, t->bits.bits);
    }
    return rc;
}

/* The shift of a unit, and its damped Hessian to be factorized. */
static int add_shift(const struct layer_job *j, struct batch *b, enum hessians_kind kind,
                     struct err *err)
{
    const struct settings *s = &j->p->o.plan->settings;
    size_t i = b->units - 1, d = b->hessians[i].d;
    const double *h = b->h[i];
    double mean = 0;
    b->shift[i] = mem_aligned(d * d, sizeof **b->shift, err);
    b->factor[i] = mem_aligned(d * d, sizeof **b->factor, err);
    if (!b->shift[i] || !b->factor[i])
        return ERR_NOMEM;
    for (size_t k = 0; k < d; k++)
        mean += h[k * d + k] / (double)d;
    memcpy(b->factor[i], h, d * d * sizeof *h);
    for (size_t k = 0; k < d; k++)
        b->factor[i][k * d + k] += h[k * d + k] == 0.0 ? 1.0 : s->damping * mean;
    return shifts_take(j->shifts, kind, b->unit[i], s->shrink, b->shift[i], err);
}

static int add_unit(struct layer_job *j, struct batch *b, const struct linear_group *group,
                    size_t unit, struct err *err)
{
    const struct hessians_set *set = &j->hessians->set[group->kind];
    double shrink = j->p->o.plan->settings.shrink;
    double *h = mem_aligned(stays(j) ? set->d : set->d * set->d, sizeof *h, err);
    if (!h)
        return ERR_NOMEM;
    b->h[b->units] = h;
    b->unit[b->units] = unit;
    struct quantizer_hessian *q = &b->hessians[b->units++];
    *q = (struct quantizer_hessian){
        .d = set->d, .h = stays(j) ? NULL : h, .diagonal = stays(j) ? h : NULL};
    int rc = stays(j) ? hessians_borrow(j->hessians, group->kind, unit, shrink, &q->device, err)
                      : hessians_take(j->hessians, group->kind, unit, shrink, h, err);
    if (rc == 0 && j->shifts)
        rc = add_shift(j, b, group->kind, err);
    for (size_t i = 0; rc == 0 && i < group->count; i++)
        if (pass_bits_of(&j->p->o, j->layer->index, group->linear[i], unit).bits < 16)
            rc = add_part(j, b, group, group->linear[i], unit, err);
    return rc;
}

static void fill_packed(struct part *t, const struct quantizer_item *item)
{
    struct packed_linear *p = &t->packed;
    const struct grid *g = &item->grid;
    for (size_t r = 0; r < p->out; r++)
        for (size_t i = 0; i < g->grids; i++) {
            uint16_t scale = dtype_float_to_f16((float)g->scale[r * g->grids + i]);
            uint8_t zero = g->zero[r * g->grids + i];
            size_t at = r * p->groups + i % p->groups;
            (i < p->groups ? p->scales : p->channel_scales)[at] = scale;
            (i < p->groups ? p->zeros : p->channel_zeros)[at] = zero;
        }
}

/* A batch on all threads, a linear an item. */
struct parts_job {
    struct layer_job *j;
    struct batch *b;
};

static void prepare_part(void *context, size_t i, size_t worker)
{
    (void)worker;
    const struct parts_job *job = context;
    struct part *t = &job->b->parts[i];
    size_t unit = job->b->items[i].hessian;
    bool applied;
    int rc = read_weights(t, job->j->p->o.model, &t->err);
    job->b->items[i].weights = t->weights;
    if (rc == 0 && job->b->shift[unit] && !job->b->singular[unit])
        rc = shifts_apply(&applied, t->weights, t->out, t->in, job->b->shift[unit],
                          job->b->factor[unit], &t->err);
    if (rc == 0 && t->bits.channels)
        (void)!pick_channels(job->j, t, &job->b->hessians[unit], &t->err);
}

static void encode_part(void *context, size_t i, size_t worker)
{
    (void)worker;
    const struct parts_job *job = context;
    struct part *t = &job->b->parts[i];
    const struct pass *p = job->j->p;
    fill_packed(t, &job->b->items[i]);
    if (t->learned)
        return;
    if (writer_list_encode(job->j->list, t->place, p->o.format, &t->packed, t->name, t->dtype,
                           &t->err) == 0 &&
        propagates(p) && !job->b->items[i].restored)
        packed_dequantize(&t->packed, t->weights);
}

static int run_parts(struct parts_job *job, parallel_fn fn, struct err *err)
{
    const struct batch *b = job->b;
    parallel_for(backend_pool(job->j->p->o.backend), b->count, fn, job);
    for (size_t i = 0; i < b->count; i++)
        if (b->parts[i].err.code) {
            if (err)
                *err = b->parts[i].err;
            return b->parts[i].err.code;
        }
    return 0;
}

/* Encodes the linears for the shard and, where the next layer shall see them, puts them in place.
 */
static int take_parts(struct layer_job *j, struct batch *b, struct err *err)
{
    struct backend *device = j->p->o.backend;
    struct parts_job job = {j, b};
    size_t first = j->list->count, count = 0;
    for (size_t i = 0; i < b->count; i++) {
        struct part *t = &b->parts[i];
        t->learned = pass_learner_takes(&j->learner, t->linear, t->bits.bits);
        t->place = first + count;
        count += !t->learned;
    }
    int rc = writer_list_reserve(j->list, count, err);
    if (rc == 0)
        rc = run_parts(&job, encode_part, err);
    for (size_t i = 0; rc == 0 && i < b->count; i++) {
        struct part *t = &b->parts[i];
        if (t->learned)
            rc = pass_learner_add(&j->learner, t->linear, t->unit, t->name, t->dtype, &t->packed,
                                  &t->weights, err);
        if (rc < 0 || t->learned || b->items[i].restored || !propagates(j->p))
            continue;
        struct tensor *tensor = model_layer_linear(j->layer, t->linear, t->unit);
        rc = device->ops->upload(device, tensor, 0, t->out, SOURCE_F32, t->weights, err);
    }
    return rc;
}

static void note_unit(struct layer_job *j, const struct batch *b, enum hessians_kind kind, size_t i)
{
    struct pass_expert *e = stats_of(j, kind, b->unit[i]);
    size_t tokens = hessians_tokens(j->hessians, kind, b->unit[i]);
    e->tokens = tokens;
    e->damping = fmax(e->damping, b->hessians[i].damping);
    e->fallback = e->fallback || b->hessians[i].fallback;
    e->shrunk_to_layer = tokens == 0;
    for (size_t k = 0; k < b->count; k++) {
        if (b->items[k].hessian != i)
            continue;
        e->loss += b->items[k].loss;
        e->loss_rtn += b->items[k].loss_rtn;
    }
}

static int factorize_shifts(const struct layer_job *j, struct batch *b, struct err *err)
{
    struct backend *device = j->p->o.backend;
    size_t *d = mem_array(b->units, sizeof *d, err);
    if (!d)
        return ERR_NOMEM;
    for (size_t i = 0; i < b->units; i++)
        d[i] = b->hessians[i].d;
    int rc = device->ops->cholesky(device, b->factor, d, b->units, BACKEND_FP64, b->singular, err);
    free(d);
    return rc;
}

static int read_diagonals(const struct layer_job *j, const struct batch *b, struct err *err)
{
    struct backend *device = j->p->o.backend;
    struct backend_hessian *list = mem_array(b->units, sizeof *list, err);
    if (!list)
        return ERR_NOMEM;
    for (size_t i = 0; i < b->units; i++)
        list[i] = b->hessians[i].device;
    int rc = device->ops->hessian_diagonals(device, b->h, list, b->units, err);
    free(list);
    return rc;
}

static int finish_batch(struct layer_job *j, struct batch *b, const struct linear_group *group,
                        struct err *err)
{
    struct pass *p = j->p;
    if (progress_cancelled(p->o.progress))
        return err_set(err, ERR_CANCELLED, NULL, "stopped");
    struct parts_job job = {j, b};
    int rc = j->shifts ? factorize_shifts(j, b, err) : stays(j) ? read_diagonals(j, b, err) : 0;
    if (rc == 0)
        rc = run_parts(&job, prepare_part, err);
    if (rc == 0)
        rc = p->quantizer->run(p->o.backend, &p->rule, b->hessians, b->units, b->items, b->count,
                               err);
    if (rc == 0)
        rc = take_parts(j, b, err);
    for (size_t i = 0; rc == 0 && i < b->units; i++) {
        note_unit(j, b, group->kind, i);
        hessians_drop(j->hessians, group->kind, b->unit[i]);
        if (group->kind == HESSIANS_MID) /* the last of an expert's linears */
            pass_publish_expert(p, j->layer->index, b->unit[i], &j->result->expert[b->unit[i]]);
    }
    return rc;
}

static size_t unit_bytes(const struct layer_job *j, const struct linear_group *group)
{
    const struct pass *p = j->p;
    size_t bytes = 0, in = 0, out;
    for (size_t i = 0; i < group->count; i++) {
        model_linear_shape(p->config, group->linear[i], &in, &out);
        bytes += in * out * (sizeof(float) + 1);
    }
    size_t matrices = stays(j) ? 0 : j->shifts ? 3 : 1;
    return bytes + matrices * in * in * sizeof(double);
}

static bool any_quantized(const struct pass *p, size_t layer, const struct linear_group *group,
                          size_t unit)
{
    for (size_t i = 0; i < group->count; i++)
        if (pass_bits_of(&p->o, layer, group->linear[i], unit).bits < 16)
            return true;
    return false;
}

/* steps: of progress, spread over the units. */
static int run_group(struct layer_job *j, const struct linear_group *group, size_t steps,
                     struct err *err)
{
    const struct hessians_set *set = &j->hessians->set[group->kind];
    if (!set->sum) {
        progress_step(j->p->o.progress, steps);
        return 0;
    }
    size_t most = stays(j) ? device_batch_bytes : batch_bytes;
    size_t room = (most >> j->p->o.backend->halvings) / unit_bytes(j, group);
    int rc = 0;
    for (size_t unit = 0; rc == 0 && unit < set->units;) {
        struct batch b;
        size_t told = unit * steps / set->units;
        rc = batch_init(&b, set->units, group, err);
        for (; rc == 0 && unit < set->units && (b.units == 0 || b.units < room); unit++)
            if (any_quantized(j->p, j->layer->index, group, unit))
                rc = add_unit(j, &b, group, unit, err);
        if (rc == 0 && b.units)
            rc = finish_batch(j, &b, group, err);
        batch_release(&b);
        progress_step(j->p->o.progress, unit * steps / set->units - told);
    }
    return rc;
}

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
            if (any_quantized(p, layer, &groups[g], e))
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
            rc = run_group(j, &attention_groups[i], 0, err);
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
            rc = run_group(j, &mlp_groups[i], PASS_ROUNDING_STEPS / MLP_GROUPS, err);
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
    bool shifts = pass_shifts(&p->o), moved = move && wanted && !propagates(p);
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
    int rc = model_layer_load(&layer, p->o.model, p->o.backend, p->next, err);
    if (!last)
        prefetch_layer(p->prefetch, p->next + 1);
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
