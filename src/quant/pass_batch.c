#include "src/quant/pass_batch.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "src/quant/channels.h"

/* Weights, codes and Hessians of a batch in the host's memory; the cut changes no result. Where
 * Hessians stay on a device, batches are larger, so that it has enough to do. */
static const size_t batch_bytes = (size_t)512 << 20, device_batch_bytes = (size_t)2 << 30;

/* One linear in a batch. */
struct part {
    char name[MODEL_NAME_MAX];
    enum model_linear linear;
    size_t unit;
    size_t in, out;
    enum dtype dtype;
    float *weights;   /* [out][in], later the dequantized ones; NULL: the device alone has them */
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

static int weights_alloc(struct part *t, struct err *err)
{
    if (!t->weights)
        t->weights = mem_aligned(t->in * t->out, sizeof *t->weights, err);
    return t->weights ? 0 : ERR_NOMEM;
}

static int read_weights(struct part *t, const struct model *m, struct err *err)
{
    int rc = weights_alloc(t, err);
    if (rc == 0)
        rc = model_read_linear(m, t->name, t->in, t->out, t->weights, err);
    for (size_t i = 0; rc == 0 && i < t->in * t->out; i++)
        if (!isfinite(t->weights[i]))
            rc = err_set(err, ERR_INPUT, checkpoint_dir(m->checkpoint),
                         "tensor \"%s.weight\": the value at [%zu][%zu] is not finite", t->name,
                         i / t->in, i % t->in);
    return rc;
}

/* Type of the tensor that the linear replaces. */
static enum dtype stored_type(const struct part *t, const struct model *m)
{
    char tensor[MODEL_NAME_MAX + sizeof ".weight"];
    snprintf(tensor, sizeof tensor, "%s.weight", t->name);
    const struct tensor_info *info = checkpoint_find(m->checkpoint, tensor);
    return info ? info->dtype : DTYPE_F32;
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
    t->dtype = stored_type(t, o->model);
    t->learned = pass_learner_takes(&j->learner, linear, t->bits.bits);
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
        item->restore =
            pass_propagates(o) && !t->learned && writer_keeps_codes(o->format, t->dtype);
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
    /* Where the device has them, grids are fitted there, too; all else looks at them here. */
    bool here = !stays(job->j) || t->bits.channels || t->learned;
    int rc = here ? read_weights(t, job->j->p->o.model, &t->err) : 0;
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
    bool wanted = pass_propagates(&p->o) && !job->b->items[i].restored;
    int rc = wanted ? weights_alloc(t, &t->err) : 0;
    if (rc == 0 && wanted)
        writer_dequantize(t->weights, p->o.format, &t->packed, t->dtype);
    /* A device is at the next layer while the lane encodes this one's linears. */
    if (rc == 0 && p->o.backend->ops->memory)
        writer_list_defer(job->j->list, t->place, &t->packed, t->name, t->dtype);
    else if (rc == 0)
        (void)!writer_list_encode(job->j->list, t->place, p->o.format, &t->packed, t->name,
                                  t->dtype, &t->err);
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
        if (rc < 0 || t->learned || b->items[i].restored || !pass_propagates(&j->p->o))
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

/* The device found a weight that is not finite: the file says which. */
static void name_infinite(const struct layer_job *j, struct batch *b, struct err *err)
{
    for (size_t i = 0; i < b->count; i++) {
        struct err own = {0};
        if (b->items[i].infinite && read_weights(&b->parts[i], j->p->o.model, &own) < 0 && err) {
            *err = own;
            return;
        }
    }
}

static int check_losses(const struct layer_job *j, const struct batch *b, struct err *err)
{
    size_t i = quantizer_not_finite(b->items, b->count);
    return i == b->count
               ? 0
               : quantizer_refuse(checkpoint_dir(j->p->o.model->checkpoint), b->parts[i].name, err);
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
    if (rc == 0) {
        rc = p->quantizer->run(p->o.backend, &p->rule, b->hessians, b->units, b->items, b->count,
                               err);
        if (rc < 0)
            name_infinite(j, b, err);
    }
    if (rc == 0)
        rc = check_losses(j, b, err);
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

bool pass_group_quantizes(const struct pass *p, size_t layer, const struct linear_group *group,
                          size_t unit)
{
    for (size_t i = 0; i < group->count; i++)
        if (pass_bits_of(&p->o, layer, group->linear[i], unit).bits < 16)
            return true;
    return false;
}

int pass_group_run(struct layer_job *j, const struct linear_group *group, size_t steps,
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
            if (pass_group_quantizes(j->p, j->layer->index, group, unit))
                rc = add_unit(j, &b, group, unit, err);
        if (rc == 0 && b.units)
            rc = finish_batch(j, &b, group, err);
        batch_release(&b);
        progress_step(j->p->o.progress, unit * steps / set->units - told);
    }
    return rc;
}
