#include "src/quant/pass_learn.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

static size_t positions_of(const struct pass_learner *l)
{
    return l->p->positions;
}

/* Widths above 4 bits have nothing to gain. */
static bool learnable(unsigned bits)
{
    return bits <= 4;
}

bool pass_learns(const struct pass *p, size_t layer)
{
    const struct model_config *c = p->config;
    if (!p->o.plan->settings.learn || !c->is_moe[layer] || !p->quantizer)
        return false;
    for (size_t e = 0; e < c->experts; e++)
        for (int i = LINEAR_GATE; i <= LINEAR_DOWN; i++)
            if (learnable(pass_bits_of(&p->o, layer, (enum model_linear)i, e).bits))
                return true;
    for (int i = LINEAR_SHARED_GATE; c->shared_size && i <= LINEAR_SHARED_DOWN; i++)
        if (learnable(pass_bits_of(&p->o, layer, (enum model_linear)i, 0).bits))
            return true;
    return false;
}

int pass_learner_init(struct pass_learner *l, struct pass *p, struct model_layer *layer,
                      struct err *err)
{
    const struct model_config *c = p->config;
    *l = (struct pass_learner){.p = p, .layer = layer, .units = c->experts + (c->shared_size > 0)};
    l->linear = mem_array(l->units * LEARN_LINEARS, sizeof *l->linear, err);
    l->x = mem_array(p->positions, c->hidden * sizeof *l->x, err);
    l->target = mem_array(p->positions, c->hidden * sizeof *l->target, err);
    l->expert = mem_array(p->positions, c->top_k * sizeof *l->expert, err);
    l->gate = mem_array(p->positions, c->top_k * sizeof *l->gate, err);
    return l->linear && l->x && l->target && l->expert && l->gate ? 0 : ERR_NOMEM;
}

void pass_learner_release(struct pass_learner *l)
{
    for (size_t i = 0; l->linear && i < l->units * LEARN_LINEARS; i++) {
        packed_release(&l->linear[i].packed);
        free(l->linear[i].weights);
    }
    free(l->linear);
    free(l->x);
    free(l->target);
    free(l->expert);
    free(l->gate);
    *l = (struct pass_learner){0};
}

bool pass_learner_takes(const struct pass_learner *l, enum model_linear linear, unsigned bits)
{
    return l->linear && linear >= LINEAR_GATE && learnable(bits);
}

static struct pass_learned *entry(const struct pass_learner *l, enum model_linear linear,
                                  size_t unit)
{
    size_t u = linear >= LINEAR_SHARED_GATE ? l->units - 1 : unit;
    size_t i = linear - (linear >= LINEAR_SHARED_GATE ? LINEAR_SHARED_GATE : LINEAR_GATE);
    return &l->linear[u * LEARN_LINEARS + i];
}

static enum model_linear linear_of(const struct pass_learner *l, size_t i)
{
    bool shared = i / LEARN_LINEARS >= l->p->config->experts;
    return (enum model_linear)((shared ? LINEAR_SHARED_GATE : LINEAR_GATE) +
                               (int)(i % LEARN_LINEARS));
}

static struct tensor *tensor_of(const struct pass_learner *l, size_t i)
{
    return model_layer_linear(l->layer, linear_of(l, i), i / LEARN_LINEARS);
}

int pass_learner_add(struct pass_learner *l, enum model_linear linear, size_t unit,
                     const char *name, enum dtype dtype, struct packed_linear *packed,
                     float **weights, struct err *err)
{
    struct backend *b = l->p->o.backend;
    struct pass_learned *e = entry(l, linear, unit);
    *e = (struct pass_learned){.dtype = dtype, .packed = *packed, .weights = *weights};
    memcpy(e->name, name, sizeof e->name);
    *packed = (struct packed_linear){0};
    *weights = NULL;
    if (!pass_propagates(&l->p->o))
        return 0;
    float *rounded = mem_aligned(e->packed.out * e->packed.in, sizeof *rounded, err);
    if (!rounded)
        return ERR_NOMEM;
    writer_dequantize(rounded, l->p->o.format, &e->packed, e->dtype);
    int rc = b->ops->upload(b, model_layer_linear(l->layer, linear, unit), 0, e->packed.out,
                            SOURCE_F32, rounded, err);
    free(rounded);
    return rc;
}

/* --- Inputs and routing --- */

static int on_routing(void *context, size_t first, const struct backend_groups *g, struct err *err)
{
    struct pass_learner *l = context;
    (void)err;
    l->first = first;
    memcpy(l->expert + first * g->top_k, g->expert, g->tokens * g->top_k * sizeof *l->expert);
    memcpy(l->gate + first * g->top_k, g->gate, g->tokens * g->top_k * sizeof *l->gate);
    return 0;
}

static int on_expert_in(void *context, const struct tensor *x, const struct backend_groups *g,
                        struct err *err)
{
    struct pass_learner *l = context;
    struct backend *b = l->p->o.backend;
    size_t d = l->p->config->hidden, slots = g->tokens * g->top_k;
    float *rows = mem_array(slots, d * sizeof *rows, err);
    int rc = rows ? b->ops->download(b, x, 0, slots, rows, err) : ERR_NOMEM;
    for (size_t t = 0; rc == 0 && t < g->tokens; t++)
        memcpy(l->x + (l->first + t) * d, rows + g->slot[t * g->top_k] * d, d * sizeof *rows);
    free(rows);
    return rc;
}

/* Slots of a block: offset, row and gate of every unit, by counting. */
struct slots {
    size_t *offset;
    uint32_t *row;
    float *gate;
};

static int shared_gates(const struct pass_learner *l, float *gate, struct err *err)
{
    const struct model_config *c = l->p->config;
    struct backend *b = l->p->o.backend;
    float *w = mem_array(c->hidden, sizeof *w, err);
    int rc = w ? 0 : ERR_NOMEM;
    if (rc == 0 && l->layer->shared_gate)
        rc = b->ops->download(b, l->layer->shared_gate, 0, 1, w, err);
    for (size_t t = 0; rc == 0 && t < positions_of(l); t++) {
        double sum = 0;
        for (size_t j = 0; j < c->hidden; j++)
            sum += (double)w[j] * (double)l->x[t * c->hidden + j];
        gate[t] = l->layer->shared_gate ? (float)(1.0 / (1.0 + exp(-sum))) : 1.0f;
    }
    free(w);
    return rc;
}

static int slots_init(struct slots *s, const struct pass_learner *l, struct err *err)
{
    size_t n = positions_of(l), k = l->p->config->top_k, experts = l->p->config->experts;
    size_t count = n * (k + (l->units > experts));
    s->offset = mem_array(l->units + 2, sizeof *s->offset, err);
    s->row = mem_array(count, sizeof *s->row, err);
    s->gate = mem_array(count, sizeof *s->gate, err);
    if (!s->offset || !s->row || !s->gate)
        return ERR_NOMEM;
    /* Two further on, so that filling moves each start to where the next one shall be. */
    for (size_t i = 0; i < n * k; i++)
        s->offset[l->expert[i] + 2]++;
    for (size_t u = 2; u <= experts; u++)
        s->offset[u] += s->offset[u - 1];
    for (size_t i = 0; i < n * k; i++) {
        size_t at = s->offset[l->expert[i] + 1]++;
        s->row[at] = (uint32_t)(i / k);
        s->gate[at] = l->gate[i];
    }
    s->offset[experts] = n * k;
    if (l->units == experts)
        return 0;
    s->offset[l->units] = count;
    for (size_t t = 0; t < n; t++)
        s->row[n * k + t] = (uint32_t)t;
    return shared_gates(l, s->gate + n * k, err);
}

static void slots_release(struct slots *s)
{
    free(s->offset);
    free(s->row);
    free(s->gate);
}

/* --- Learning --- */

/* Weights of linears that are not learned are those of the layer. */
static int fill_linear(struct learn_linear *out, float **owned, const struct pass_learner *l,
                       size_t i, struct err *err)
{
    struct pass_learned *e = &l->linear[i];
    struct backend *b = l->p->o.backend;
    size_t rows, columns;
    if (e->weights) {
        *out = (struct learn_linear){&e->packed, e->weights};
        return 0;
    }
    model_linear_shape(l->p->config, linear_of(l, i), &columns, &rows);
    *owned = mem_aligned(rows * columns, sizeof **owned, err);
    out->weights = *owned;
    return *owned ? b->ops->download(b, tensor_of(l, i), 0, rows, *owned, err) : ERR_NOMEM;
}

static int learn(struct pass_learner *l, const struct slots *s, struct learn_result *result,
                 struct err *err)
{
    struct pass *p = l->p;
    const struct model_config *c = p->config;
    struct learn_unit *unit = mem_array(l->units, sizeof *unit, err);
    float **owned = mem_array(l->units * LEARN_LINEARS, sizeof *owned, err);
    int rc = unit && owned ? 0 : ERR_NOMEM;
    for (size_t u = 0; rc == 0 && u < l->units; u++) {
        unit[u].size = u < c->experts ? c->expert_size : c->shared_size;
        for (size_t i = 0; rc == 0 && i < LEARN_LINEARS; i++)
            rc = fill_linear(&unit[u].linear[i], &owned[u * LEARN_LINEARS + i], l,
                             u * LEARN_LINEARS + i, err);
    }
    struct learn_block block = {.windows = p->o.windows,
                                .window = p->o.window,
                                .hidden = c->hidden,
                                .x = l->x,
                                .target = l->target,
                                .units = l->units,
                                .unit = unit,
                                .offset = s->offset,
                                .row = s->row,
                                .gate = s->gate};
    struct learn_rule rule = {.iterations = p->o.plan->settings.learn,
                              .seed = p->o.plan->settings.seed + p->next};
    if (rc == 0)
        rc = learn_run(result, &block, &rule, backend_pool(p->o.backend), p->o.progress,
                       PASS_LEARNING_STEPS, err);
    for (size_t i = 0; owned && i < l->units * LEARN_LINEARS; i++)
        free(owned[i]);
    free(owned);
    free(unit);
    return rc;
}

/* Inputs, routing, and the target: what leads from the hidden states before this layer's experts
 * to those behind the original's. */
static int watch(struct pass_learner *l, struct forward *original, struct err *err)
{
    struct forward_tap tap = {.context = l, .routing = on_routing, .expert_in = on_expert_in};
    size_t count = positions_of(l) * l->p->config->hidden;
    float *before = mem_array(count, sizeof *before, err);
    int rc = before ? forward_get_hidden(l->p->forward, before, err) : ERR_NOMEM;
    if (rc == 0)
        rc = forward_mlp(l->p->forward, l->layer, &tap, original == NULL, err);
    if (rc == 0)
        rc = forward_get_hidden(original ? original : l->p->forward, l->target, err);
    for (size_t i = 0; rc == 0 && i < count; i++)
        l->target[i] -= before[i];
    free(before);
    return rc;
}

/* --- Writing --- */

struct write_job {
    struct pass_learner *l;
    struct writer_list *list;
    size_t *item;      /* [count] entries that hold a linear */
    size_t first;      /* of the list's places */
    struct err *error; /* [count] */
};

static void write_item(void *context, size_t i, size_t worker)
{
    (void)worker;
    const struct write_job *job = context;
    struct pass_learned *e = &job->l->linear[job->item[i]];
    if (writer_list_encode(job->list, job->first + i, job->l->p->o.format, &e->packed, e->name,
                           e->dtype, &job->error[i]) == 0)
        writer_dequantize(e->weights, job->l->p->o.format, &e->packed, e->dtype);
}

/* Encodes all for the shard and, where the next layer shall see them, puts them in place. */
static int write_all(struct pass_learner *l, struct writer_list *list, struct err *err)
{
    struct backend *b = l->p->o.backend;
    struct write_job job = {.l = l, .list = list, .first = list->count};
    size_t count = 0;
    job.item = mem_array(l->units * LEARN_LINEARS, sizeof *job.item, err);
    job.error = mem_array(l->units * LEARN_LINEARS, sizeof *job.error, err);
    int rc = job.item && job.error ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < l->units * LEARN_LINEARS; i++)
        if (l->linear[i].weights)
            job.item[count++] = i;
    if (rc == 0)
        rc = writer_list_reserve(list, count, err);
    if (rc == 0)
        parallel_for(backend_pool(b), count, write_item, &job);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        const struct pass_learned *e = &l->linear[job.item[i]];
        rc = job.error[i].code;
        if (rc < 0 && err)
            *err = job.error[i];
        if (rc == 0 && pass_propagates(&l->p->o))
            rc = b->ops->upload(b, tensor_of(l, job.item[i]), 0, e->packed.out, SOURCE_F32,
                                e->weights, err);
    }
    free(job.item);
    free(job.error);
    return rc;
}

int pass_learner_run(struct pass_learner *l, struct forward *original, struct writer_list *list,
                     struct pass_layer_result *result, struct err *err)
{
    struct slots s = {0};
    struct learn_result *learn_result = &result->learn;
    progress_stage(l->p->o.progress, "layer %zu of %zu: learning", l->p->next + 1,
                   l->p->config->layers);
    learn_result->unit_kept = mem_array(l->units, sizeof *learn_result->unit_kept, err);
    int rc = learn_result->unit_kept ? watch(l, original, err) : ERR_NOMEM;
    if (rc == 0)
        rc = slots_init(&s, l, err);
    if (rc == 0)
        rc = learn(l, &s, learn_result, err);
    slots_release(&s);
    result->learned = rc == 0;
    return rc == 0 ? write_all(l, list, err) : rc;
}
