/* Weights of one layer, from the checkpoint to a backend. */
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "src/model/ahead.h"
#include "src/model/model.h"
#include "src/model/weights.h"

static const char *const projections[3] = {"gate_proj", "up_proj", "down_proj"};

static int load_vector(struct tensor **out, struct weights *w, size_t layer, const char *name,
                       size_t size, struct err *err)
{
    char full[MODEL_NAME_MAX];
    snprintf(full, sizeof full, "model.layers.%zu.%s", layer, name);
    return weights_load(out, w, full, 1, size, err);
}

static int load_linear(struct tensor **out, struct weights *w, size_t layer,
                       enum model_linear linear, size_t expert, struct err *err)
{
    char name[MODEL_NAME_MAX];
    size_t in, columns;
    model_linear_name(name, w->model->config, layer, linear, expert);
    model_linear_shape(w->model->config, linear, &in, &columns);
    return weights_load_linear(out, w, name, columns, in, err);
}

static int load_attention(struct model_layer *l, struct weights *w, struct err *err)
{
    static const char *const biases[4] = {"self_attn.q_proj.bias", "self_attn.k_proj.bias",
                                          "self_attn.v_proj.bias", "self_attn.o_proj.bias"};
    const struct model_config *c = w->model->config;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < 4; i++)
        rc = load_linear(&l->attention[i], w, l->index, (enum model_linear)(LINEAR_Q + i), 0, err);
    size_t with_bias = !c->attention_bias ? 0 : c->output_bias ? 4 : 3;
    for (size_t i = 0; rc == 0 && i < with_bias; i++) {
        size_t in, out;
        model_linear_shape(c, (enum model_linear)(LINEAR_Q + i), &in, &out);
        rc = load_vector(&l->attention_bias[i], w, l->index, biases[i], out, err);
    }
    if (c->qk_norm == QK_NORM_NONE)
        return rc;
    bool row = c->qk_norm == QK_NORM_ROW;
    if (rc == 0)
        rc = load_vector(&l->q_norm, w, l->index, "self_attn.q_norm.weight",
                         row ? c->heads * c->head_dim : c->head_dim, err);
    if (rc == 0)
        rc = load_vector(&l->k_norm, w, l->index, "self_attn.k_norm.weight",
                         row ? c->kv_heads * c->head_dim : c->head_dim, err);
    return rc;
}

static void name_linear(struct weights_linear *out, const struct model_config *c, size_t layer,
                        enum model_linear linear, size_t expert)
{
    model_linear_name(out->name, c, layer, linear, expert);
    model_linear_shape(c, linear, &out->columns, &out->rows);
}

int weights_list_experts(struct weights_linear **out, struct model_layer *l, const struct model *m,
                         struct err *err)
{
    size_t experts = m->config->experts;
    struct tensor ***sets[3] = {&l->gate, &l->up, &l->down};
    *out = NULL;
    for (size_t s = 0; s < 3; s++) {
        if (!*sets[s])
            *sets[s] = mem_array(experts, sizeof **sets[s], err);
        if (!*sets[s])
            return ERR_NOMEM;
    }
    struct weights_linear *list = mem_array(3 * experts, sizeof *list, err);
    for (size_t i = 0; list && i < 3 * experts; i++) {
        size_t e = i / 3, s = i % 3;
        list[i].out = &(*sets[s])[e];
        name_linear(&list[i], m->config, l->index, (enum model_linear)(LINEAR_GATE + s), e);
    }
    *out = list;
    return list ? 0 : ERR_NOMEM;
}

static int load_experts(struct model_layer *l, struct weights *w, struct err *err)
{
    struct weights_linear *list;
    int rc = weights_list_experts(&list, l, w->model, err);
    if (rc == 0)
        rc = weights_load_linears(list, 3 * w->model->config->experts, w->model, w->backend, err);
    free(list);
    return rc;
}

static int load_moe(struct model_layer *l, struct weights *w, struct err *err)
{
    const struct model_config *c = w->model->config;
    char name[MODEL_NAME_MAX];
    model_router_name(name, c, l->index);
    int rc = weights_load(&l->router, w, name, c->experts, c->hidden, err);
    if (rc == 0)
        rc = load_experts(l, w, err);
    for (size_t s = 0; rc == 0 && c->shared_size && s < 3; s++)
        rc = load_linear(&l->shared[s], w, l->index, (enum model_linear)(LINEAR_SHARED_GATE + s), 0,
                         err);
    snprintf(name, sizeof name, "model.layers.%zu.mlp.shared_expert_gate.weight", l->index);
    if (rc == 0 && c->shared_size)
        rc = weights_load(&l->shared_gate, w, name, 1, c->hidden, err);
    return rc;
}

static int load_dense(struct model_layer *l, struct weights *w, struct err *err)
{
    const struct model_config *c = w->model->config;
    int rc = 0;
    for (size_t s = 0; rc == 0 && s < 3; s++) {
        char name[MODEL_NAME_MAX];
        snprintf(name, sizeof name, "model.layers.%zu.mlp.%s", l->index, projections[s]);
        bool down = s == 2;
        rc = weights_load_linear(&l->dense[s], w, name, down ? c->hidden : c->dense_size,
                                 down ? c->dense_size : c->hidden, err);
    }
    return rc;
}

int model_layer_load(struct model_layer *out, const struct model *m, struct backend *b,
                     size_t layer, struct err *err)
{
    return model_layer_load_ahead(out, m, b, layer, NULL, err);
}

int model_layer_load_ahead(struct model_layer *out, const struct model *m, struct backend *b,
                           size_t layer, struct ahead *ahead, struct err *err)
{
    const struct model_config *c = m->config;
    *out = (struct model_layer){.index = layer, .experts = c->experts};
    ahead_take(ahead, out);
    if (layer >= c->layers)
        return err_set(err, ERR_USAGE, NULL, "layer %zu of a model of %zu", layer, c->layers);
    out->is_moe = c->is_moe[layer];
    struct weights w = {.model = m, .backend = b};
    int rc = load_vector(&out->input_norm, &w, layer, "input_layernorm.weight", c->hidden, err);
    if (rc == 0)
        rc = load_vector(&out->post_norm, &w, layer, "post_attention_layernorm.weight", c->hidden,
                         err);
    if (rc == 0)
        rc = load_attention(out, &w, err);
    if (rc == 0)
        rc = out->is_moe ? load_moe(out, &w, err) : load_dense(out, &w, err);
    weights_release(&w);
    if (rc < 0)
        model_layer_release(out, b);
    return rc;
}

static void free_set(struct tensor **set, size_t count, struct backend *b)
{
    for (size_t i = 0; set && i < count; i++)
        b->ops->tensor_free(b, set[i]);
}

void model_layer_release(struct model_layer *l, struct backend *b)
{
    struct tensor *single[] = {l->input_norm, l->post_norm, l->q_norm,
                               l->k_norm,     l->router,    l->shared_gate};
    free_set(single, sizeof single / sizeof *single, b);
    free_set(l->attention, 4, b);
    free_set(l->attention_bias, 4, b);
    free_set(l->shared, 3, b);
    free_set(l->dense, 3, b);
    free_set(l->gate, l->experts, b);
    free_set(l->up, l->experts, b);
    free_set(l->down, l->experts, b);
    free(l->gate);
    free(l->up);
    free(l->down);
    *l = (struct model_layer){0};
}

struct tensor *model_layer_linear(const struct model_layer *l, enum model_linear linear,
                                  size_t expert)
{
    switch (linear) {
    case LINEAR_GATE:
        return l->gate ? l->gate[expert] : NULL;
    case LINEAR_UP:
        return l->up ? l->up[expert] : NULL;
    case LINEAR_DOWN:
        return l->down ? l->down[expert] : NULL;
    case LINEAR_SHARED_GATE:
    case LINEAR_SHARED_UP:
    case LINEAR_SHARED_DOWN:
        return l->shared[linear - LINEAR_SHARED_GATE];
    default:
        return l->attention[linear - LINEAR_Q];
    }
}
