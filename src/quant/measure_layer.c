/* All linears of a layer's experts at all widths. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "src/quant/channels.h"
#include "src/quant/measure_internal.h"

/* --- What tokens leave behind --- */

static int on_routing(void *context, size_t first, const struct backend_groups *g, struct err *err)
{
    const struct measure_layer *l = context;
    return l->from_hessians.routing(l->from_hessians.context, first, g, err);
}

static int on_expert_in(void *context, const struct tensor *x, const struct backend_groups *g,
                        struct err *err)
{
    const struct measure_layer *l = context;
    return l->from_hessians.expert_in(l->from_hessians.context, x, g, err);
}

static int on_expert_act(void *context, const struct tensor *gate, const struct tensor *up,
                         const struct backend_groups *g, struct err *err)
{
    struct measure_layer *l = context;
    return slopes_add_routed(&l->slopes, gate, up, g, err);
}

static int on_expert_mid(void *context, const struct tensor *x, const struct backend_groups *g,
                         struct err *err)
{
    const struct measure_layer *l = context;
    return l->from_hessians.expert_mid(l->from_hessians.context, x, g, err);
}

static int on_shared_in(void *context, const struct tensor *x, size_t n, struct err *err)
{
    struct measure_layer *l = context;
    int rc = slopes_note_shared(&l->slopes, x, n, err);
    return rc == 0 ? l->from_hessians.shared_in(l->from_hessians.context, x, n, err) : rc;
}

static int on_shared_act(void *context, const struct tensor *gate, const struct tensor *up,
                         size_t n, struct err *err)
{
    struct measure_layer *l = context;
    return slopes_add_shared(&l->slopes, gate, up, n, err);
}

static int on_shared_mid(void *context, const struct tensor *x, size_t n, struct err *err)
{
    const struct measure_layer *l = context;
    return l->from_hessians.shared_mid(l->from_hessians.context, x, n, err);
}

struct forward_tap measure_tap(struct measure_layer *l)
{
    l->from_hessians = hessians_tap(&l->hessians);
    return (struct forward_tap){.context = l,
                                .routing = on_routing,
                                .expert_in = on_expert_in,
                                .expert_act = on_expert_act,
                                .expert_mid = on_expert_mid,
                                .shared_in = on_shared_in,
                                .shared_act = on_shared_act,
                                .shared_mid = on_shared_mid};
}

/* --- One batch: the linears of some units that share a kind of input --- */

struct group {
    enum hessians_kind kind;
    enum model_linear first; /* gate of the expert that the group belongs to */
    size_t from, to;         /* enum plan_linear */
};

static const struct group groups[] = {
    {HESSIANS_IN, LINEAR_GATE, PLAN_GATE, PLAN_UP},
    {HESSIANS_MID, LINEAR_GATE, PLAN_DOWN, PLAN_DOWN},
    {HESSIANS_SHARED_IN, LINEAR_SHARED_GATE, PLAN_GATE, PLAN_UP},
    {HESSIANS_SHARED_MID, LINEAR_SHARED_GATE, PLAN_DOWN, PLAN_DOWN},
};

/* Weights, codes and Hessians of a batch; the cut changes no result. */
static const size_t batch_bytes = (size_t)512 << 20;

/* One linear. Each row is multiplied by the root of what its squared error counts, so that the
 * loss that the rounding tells is the one wanted; codes are those of the row as it was. */
struct part {
    enum model_linear linear;
    size_t kind, unit; /* kind: enum plan_linear */
    size_t in, out;
    float *weights;    /* [out][in] multiplied */
    double *row_scale; /* [out] by what */
    double factor;     /* of the loss */
    double outlier;
    double *absolute;  /* [in] mean |x|, where channels are chosen by it; else NULL */
    uint32_t *channel; /* [widths below bits_channel][shares][most], or NULL */
    size_t most;       /* channels of the largest share */
    struct err err;    /* of the thread that works on it */
};

struct batch {
    const struct group *group;
    struct measure_layer *l;
    size_t widths, first_width; /* how many of the widths, from which on */
    size_t mixed, shares;       /* how many of these with channels, too, and with how many shares */
    size_t each;                /* items a linear: [widths], then [mixed][shares] */
    size_t units, count;
    double **h;
    struct quantizer_hessian *hessians;
    struct part *parts;
    struct quantizer_item *items; /* [count][each] */
};

static void batch_release(struct batch *b)
{
    for (size_t i = 0; b->h && i < b->units; i++)
        free(b->h[i]);
    for (size_t i = 0; i < b->count; i++) {
        free(b->parts[i].weights);
        free(b->parts[i].row_scale);
        free(b->parts[i].absolute);
        free(b->parts[i].channel);
    }
    for (size_t i = 0; i < b->count * b->each; i++) {
        grid_release(&b->items[i].grid);
        free(b->items[i].codes);
    }
    free(b->h);
    free(b->hessians);
    free(b->parts);
    free(b->items);
}

static int batch_init(struct batch *b, struct measure_layer *l, const struct group *group,
                      size_t units, struct err *err)
{
    size_t linears = units * (group->to - group->from + 1);
    const struct losses *losses = &l->m->losses;
    *b = (struct batch){.group = group, .l = l, .widths = losses->widths_count};
    if (!l->out) {
        b->first_width = l->m->probe_width;
        b->widths = 1;
    } else if (group->first == LINEAR_GATE) {
        b->mixed = losses_channel_widths(losses);
        b->shares = losses->shares_count;
    }
    b->each = b->widths + b->mixed * b->shares;
    b->h = mem_array(units, sizeof *b->h, err);
    b->hessians = mem_array(units, sizeof *b->hessians, err);
    b->parts = mem_array(linears, sizeof *b->parts, err);
    b->items = mem_array(linears * b->each, sizeof *b->items, err);
    return b->h && b->hessians && b->parts && b->items ? 0 : ERR_NOMEM;
}

/* The place of a width's channels at a share, in part.channel and behind the widths' items. */
static size_t mixed_at(const struct batch *b, size_t width, size_t share)
{
    return width * b->shares + share;
}

/* Room for the channels, which are chosen on all threads. */
static int add_channels(struct batch *b, struct part *t, struct err *err)
{
    const struct losses *l = &b->l->m->losses;
    if (!b->mixed)
        return 0;
    t->most = losses_channels(l->shares[b->shares - 1], t->in);
    t->channel = mem_array(b->mixed * b->shares * t->most, sizeof *t->channel, err);
    if (!t->channel)
        return ERR_NOMEM;
    if (l->settings.channel_score != SCORE_AWQ)
        return 0;
    t->absolute = mem_array(t->in, sizeof *t->absolute, err);
    return t->absolute
               ? hessians_absolute(&b->l->hessians, b->group->kind, t->unit, t->absolute, err)
               : ERR_NOMEM;
}

static struct grid_bits bits_of(const struct batch *b, const struct part *t, size_t item)
{
    const struct losses *l = &b->l->m->losses;
    if (item < b->widths)
        return (struct grid_bits){.bits = l->widths[b->first_width + item]};
    size_t at = item - b->widths;
    return (struct grid_bits){.bits = l->widths[at / b->shares],
                              .channel_bits = l->settings.bits_channel,
                              .channels = losses_channels(l->shares[at % b->shares], t->in),
                              .channel = t->channel + at * t->most};
}

static int add_part(struct batch *b, size_t kind, size_t unit, struct err *err)
{
    struct part *t = &b->parts[b->count++];
    *t = (struct part){
        .linear = (enum model_linear)(b->group->first + kind), .kind = kind, .unit = unit};
    model_linear_shape(b->l->m->config, t->linear, &t->in, &t->out);
    int rc = add_channels(b, t, err);
    for (size_t i = 0; rc == 0 && i < b->each; i++) {
        struct quantizer_item *item = &b->items[(b->count - 1) * b->each + i];
        *item = (struct quantizer_item){.rows = t->out,
                                        .hessian = b->units - 1,
                                        .bits = bits_of(b, t, i),
                                        .codes = mem_aligned(t->in * t->out, 1, err)};
        rc = item->codes ? 0 : ERR_NOMEM;
    }
    return rc;
}

static int add_unit(struct batch *b, size_t unit, struct err *err)
{
    struct hessians *h = &b->l->hessians;
    size_t d = h->set[b->group->kind].d;
    double *matrix = mem_aligned(d * d, sizeof *matrix, err);
    if (!matrix)
        return ERR_NOMEM;
    b->h[b->units] = matrix;
    b->hessians[b->units++] = (struct quantizer_hessian){.d = d, .h = matrix};
    int rc = hessians_take(h, b->group->kind, unit, b->l->m->losses.settings.shrink, matrix, err);
    for (size_t k = b->group->from; rc == 0 && k <= b->group->to; k++)
        rc = add_part(b, k, unit, err);
    return rc;
}

/* --- On all threads: weights in, losses out --- */

static float *read_linear(const struct measure *m, size_t layer, enum model_linear linear,
                          size_t unit, struct err *err)
{
    char name[MODEL_NAME_MAX];
    size_t in, out;
    model_linear_name(name, m->config, layer, linear, unit);
    model_linear_shape(m->config, linear, &in, &out);
    float *w = mem_aligned(in * out, sizeof *w, err);
    int rc = w ? model_read_linear(m->o->model, name, in, out, w, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < in * out; i++)
        if (!isfinite(w[i]))
            rc = err_set(err, ERR_INPUT, checkpoint_dir(m->o->model->checkpoint),
                         "tensor \"%s.weight\": the value at [%zu][%zu] is not finite", name,
                         i / in, i % in);
    if (rc < 0) {
        free(w);
        return NULL;
    }
    return w;
}

/* Largest of max_i |W_ij| / mean_i |W_ij| over the inputs j. */
static double outlier_score(const float *w, size_t in, size_t out)
{
    double score = 0;
    for (size_t j = 0; j < in; j++) {
        double most = 0, sum = 0;
        for (size_t i = 0; i < out; i++) {
            double size = fabs((double)w[i * in + j]);
            most = fmax(most, size);
            sum += size;
        }
        if (sum > 0)
            score = fmax(score, most * (double)out / sum);
    }
    return score;
}

/* What a squared error of one in each row of gate or up does to the layer's output. */
static int row_effects(double *effect, const struct batch *b, const struct part *t, struct err *err)
{
    const struct measure_layer *l = b->l;
    const struct slopes_set *set =
        b->group->first == LINEAR_GATE ? &l->slopes.routed : &l->slopes.shared;
    double weight, *slope = t->kind == PLAN_GATE ? effect : NULL;
    slopes_get(set, t->unit, &weight, slope, slope ? NULL : effect);
    float *down = read_linear(l->m, l->layer->index,
                              (enum model_linear)(b->group->first + PLAN_DOWN), t->unit, err);
    if (!down)
        return ERR_NOMEM;
    size_t hidden = l->m->config->hidden;
    for (size_t i = 0; i < t->out; i++) {
        double norm = 0;
        for (size_t r = 0; r < hidden; r++)
            norm += (double)down[r * t->out + i] * (double)down[r * t->out + i];
        effect[i] *= norm;
    }
    free(down);
    return 0;
}

static int scale_rows(const struct batch *b, struct part *t, struct err *err)
{
    const struct measure_layer *l = b->l;
    double positions = (double)l->m->losses.positions, most = 0;
    t->row_scale = mem_array(t->out, sizeof *t->row_scale, err);
    if (!t->row_scale)
        return ERR_NOMEM;
    if (t->kind == PLAN_DOWN) {
        slopes_get(b->group->first == LINEAR_GATE ? &l->slopes.routed : &l->slopes.shared, t->unit,
                   &t->factor, NULL, NULL);
        t->factor /= positions;
        for (size_t i = 0; i < t->out; i++)
            t->row_scale[i] = 1.0;
        return 0;
    }
    int rc = row_effects(t->row_scale, b, t, err);
    for (size_t i = 0; i < t->out; i++)
        most = fmax(most, t->row_scale[i]);
    t->factor = most / positions;
    for (size_t i = 0; i < t->out; i++) {
        t->row_scale[i] = most > 0 ? sqrt(t->row_scale[i] / most) : 0.0;
        for (size_t j = 0; j < t->in; j++)
            t->weights[i * t->in + j] *= (float)t->row_scale[i];
    }
    return rc;
}

/* The channels of one width at every share, as the pass chooses them: by the weights as they are,
 * on grids whose scales are rounded. */
static int pick_channels(const struct batch *b, struct part *t, size_t width, double *score,
                         const double *diagonal, struct err *err)
{
    const struct losses *l = &b->l->m->losses;
    struct grid_rule rule = b->l->m->rule.grid;
    rule.half = true;
    struct channels_input in = {.score = (enum setting_channel_score)l->settings.channel_score,
                                .rule = &rule,
                                .bits = l->widths[width],
                                .channel_bits = l->settings.bits_channel,
                                .weights = t->weights,
                                .rows = t->out,
                                .columns = t->in,
                                .diagonal = diagonal,
                                .mean_absolute = t->absolute};
    int rc = channels_score(score, &in, err);
    for (size_t s = 0; rc == 0 && s < b->shares; s++)
        rc = channels_pick(t->channel + mixed_at(b, width, s) * t->most,
                           losses_channels(l->shares[s], t->in), score, t->in, err);
    return rc;
}

static int choose_channels(const struct batch *b, struct part *t, const double *h, struct err *err)
{
    double *score = mem_array(t->in, sizeof *score, err);
    double *diagonal = mem_array(t->in, sizeof *diagonal, err);
    int rc = score && diagonal ? 0 : ERR_NOMEM;
    for (size_t j = 0; rc == 0 && j < t->in; j++)
        diagonal[j] = h[j * t->in + j];
    for (size_t w = 0; rc == 0 && w < b->mixed; w++)
        rc = pick_channels(b, t, w, score, diagonal, err);
    free(score);
    free(diagonal);
    return rc;
}

static void prepare_part(void *context, size_t i, size_t worker)
{
    (void)worker;
    struct batch *b = context;
    struct part *t = &b->parts[i];
    struct quantizer_item *items = b->items + i * b->each;
    t->weights = read_linear(b->l->m, b->l->layer->index, t->linear, t->unit, &t->err);
    if (!t->weights)
        return;
    t->outlier = outlier_score(t->weights, t->in, t->out);
    if (choose_channels(b, t, b->h[items[0].hessian], &t->err) == 0)
        (void)!scale_rows(b, t, &t->err);
    for (size_t k = 0; k < b->each; k++)
        items[k].weights = t->weights;
}

/* The weights of the probe's width as they would be in the quantized model. */
static void dequantize(struct part *t, const struct quantizer_item *item)
{
    const struct grid *g = &item->grid;
    for (size_t r = 0; r < t->out; r++)
        for (size_t j = 0; j < t->in && t->row_scale[r] > 0; j++) {
            size_t at = r * g->grids + g->column[j], cell = r * t->in + j;
            double code = item->codes[cell] - (double)g->zero[at];
            t->weights[cell] = (float)(code * g->scale[at] / t->row_scale[r]);
        }
}

static void finish_part(void *context, size_t i, size_t worker)
{
    (void)worker;
    struct batch *b = context;
    dequantize(&b->parts[i], &b->items[i * b->each + b->l->m->probe_width - b->first_width]);
}

static int run_parts(struct batch *b, parallel_fn fn, struct err *err)
{
    parallel_for(backend_pool(b->l->m->o->backend), b->count, fn, b);
    for (size_t i = 0; i < b->count; i++)
        if (b->parts[i].err.code) {
            if (err)
                *err = b->parts[i].err;
            return b->parts[i].err.code;
        }
    return 0;
}

static int check_losses(const struct batch *b, struct err *err)
{
    const struct measure *m = b->l->m;
    char name[MODEL_NAME_MAX];
    size_t i = quantizer_not_finite(b->items, b->count * b->each);
    if (i == b->count * b->each)
        return 0;
    const struct part *t = &b->parts[i / b->each];
    model_linear_name(name, m->config, b->l->layer->index, t->linear, t->unit);
    return quantizer_refuse(checkpoint_dir(m->o->model->checkpoint), name, err);
}

/* Rounding can make a loss of nothing negative. */
static void note_losses(struct batch *b)
{
    struct losses_layer *out = b->l->out;
    bool routed = b->group->first == LINEAR_GATE;
    for (size_t i = 0; out && i < b->count; i++) {
        const struct part *t = &b->parts[i];
        struct losses_expert *x = routed ? &out->experts[t->unit] : &out->shared;
        x->tokens = hessians_tokens(&b->l->hessians, b->group->kind, t->unit);
        x->outlier = fmax(x->outlier, t->outlier);
        const struct quantizer_item *items = b->items + i * b->each;
        for (size_t w = 0; w < b->widths; w++)
            x->loss[t->kind][w] = t->factor * fmax(items[w].loss, 0.0);
        for (size_t k = 0; k < b->mixed * b->shares; k++)
            x->channel_loss[t->kind][k / b->shares][k % b->shares] =
                t->factor * fmax(items[b->widths + k].loss, 0.0);
    }
}

static int run_batch(struct batch *b, struct err *err)
{
    const struct measure_options *o = b->l->m->o;
    if (progress_cancelled(o->progress))
        return err_set(err, ERR_CANCELLED, NULL, "stopped");
    int rc = run_parts(b, prepare_part, err);
    if (rc == 0)
        rc = quantizer_gptq.run(o->backend, &b->l->m->rule, b->hessians, b->units, b->items,
                                b->count * b->each, err);
    if (rc == 0)
        rc = check_losses(b, err);
    if (rc < 0)
        return rc;
    note_losses(b);
    rc = run_parts(b, finish_part, err);
    for (size_t i = 0; rc == 0 && i < b->count; i++) {
        const struct part *t = &b->parts[i];
        struct tensor *tensor = model_layer_linear(b->l->layer, t->linear, t->unit);
        rc = o->backend->ops->upload(o->backend, tensor, 0, t->out, SOURCE_F32, t->weights, err);
    }
    return rc;
}

static size_t unit_bytes(const struct measure *m, const struct group *group)
{
    size_t in, out, linears = group->to - group->from + 1;
    model_linear_shape(m->config, (enum model_linear)(group->first + group->from), &in, &out);
    size_t codes =
        m->losses.widths_count + losses_channel_widths(&m->losses) * m->losses.shares_count;
    return linears * in * out * (2 * sizeof(float) + codes) + in * in * sizeof(double);
}

static int run_group(struct measure_layer *l, const struct group *group, struct err *err)
{
    const struct hessians_set *set = &l->hessians.set[group->kind];
    if (!set->sum)
        return 0;
    size_t room = batch_bytes / unit_bytes(l->m, group);
    int rc = 0;
    for (size_t unit = 0; rc == 0 && unit < set->units;) {
        struct batch b;
        size_t units = set->units - unit;
        units = units < room ? units : room ? room : 1;
        rc = batch_init(&b, l, group, units, err);
        for (size_t i = 0; rc == 0 && i < units; i++)
            rc = add_unit(&b, unit++, err);
        if (rc == 0)
            rc = run_batch(&b, err);
        batch_release(&b);
    }
    return rc;
}

int measure_layer_run(struct measure_layer *l, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < sizeof groups / sizeof *groups; i++)
        rc = run_group(l, &groups[i], err);
    return rc;
}
