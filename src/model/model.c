/* Opening a model, the names and shapes of its linears, and their weights in float32. */
#include "src/model/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/packed.h"

int model_open(struct model *out, const char *dir, struct err *err)
{
    *out = (struct model){0};
    char *path = NULL;
    int rc = checkpoint_open(&out->checkpoint, dir, err);
    if (rc < 0)
        goto cleanup;
    out->config = checkpoint_config(out->checkpoint);
    path = str_path(dir, "tokenizer.json", err);
    if (!path)
        rc = ERR_NOMEM;
    else if (access(path, F_OK) == 0)
        rc = tokenizer_load(&out->tokenizer, path, err);
cleanup:
    free(path);
    if (rc < 0)
        model_release(out);
    return rc;
}

void model_release(struct model *m)
{
    tokenizer_free(m->tokenizer);
    checkpoint_free(m->checkpoint);
    *m = (struct model){0};
}

enum linear_side { SIDE_HIDDEN, SIDE_HEADS, SIDE_KV, SIDE_EXPERT, SIDE_SHARED };

static const struct {
    const char *name; /* below the layer; of a routed expert: see expert_names */
    enum linear_side in, out;
} linears[LINEAR_COUNT] = {
    [LINEAR_Q] = {"self_attn.q_proj", SIDE_HIDDEN, SIDE_HEADS},
    [LINEAR_K] = {"self_attn.k_proj", SIDE_HIDDEN, SIDE_KV},
    [LINEAR_V] = {"self_attn.v_proj", SIDE_HIDDEN, SIDE_KV},
    [LINEAR_O] = {"self_attn.o_proj", SIDE_HEADS, SIDE_HIDDEN},
    [LINEAR_GATE] = {NULL, SIDE_HIDDEN, SIDE_EXPERT},
    [LINEAR_UP] = {NULL, SIDE_HIDDEN, SIDE_EXPERT},
    [LINEAR_DOWN] = {NULL, SIDE_EXPERT, SIDE_HIDDEN},
    [LINEAR_SHARED_GATE] = {"mlp.shared_expert.gate_proj", SIDE_HIDDEN, SIDE_SHARED},
    [LINEAR_SHARED_UP] = {"mlp.shared_expert.up_proj", SIDE_HIDDEN, SIDE_SHARED},
    [LINEAR_SHARED_DOWN] = {"mlp.shared_expert.down_proj", SIDE_SHARED, SIDE_HIDDEN},
};

/* Below a layer: its block of experts, and a routed expert's gate, up and down. */
static const struct {
    const char *block;
    const char *projection[3];
} expert_names[MODEL_TYPE_COUNT] = {
    [MODEL_OLMOE] = {"mlp", {"gate_proj", "up_proj", "down_proj"}},
    [MODEL_QWEN2_MOE] = {"mlp", {"gate_proj", "up_proj", "down_proj"}},
    [MODEL_MIXTRAL] = {"block_sparse_moe", {"w1", "w3", "w2"}},
    [MODEL_QWEN3_MOE] = {"mlp", {"gate_proj", "up_proj", "down_proj"}},
};

void model_expert_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer,
                       size_t expert)
{
    snprintf(out, MODEL_NAME_MAX, "model.layers.%zu.%s.experts.%zu", layer,
             expert_names[c->type].block, expert);
}

void model_router_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer)
{
    snprintf(out, MODEL_NAME_MAX, "model.layers.%zu.%s.gate.weight", layer,
             expert_names[c->type].block);
}

void model_linear_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer,
                       enum model_linear linear, size_t expert)
{
    if (linear == LINEAR_GATE || linear == LINEAR_UP || linear == LINEAR_DOWN)
        snprintf(out, MODEL_NAME_MAX, "model.layers.%zu.%s.experts.%zu.%s", layer,
                 expert_names[c->type].block, expert,
                 expert_names[c->type].projection[linear - LINEAR_GATE]);
    else
        snprintf(out, MODEL_NAME_MAX, "model.layers.%zu.%s", layer, linears[linear].name);
}

const char *model_linear_leaf(const struct model_config *c, enum model_linear linear)
{
    if (linear == LINEAR_GATE || linear == LINEAR_UP || linear == LINEAR_DOWN)
        return expert_names[c->type].projection[linear - LINEAR_GATE];
    return strrchr(linears[linear].name, '.') + 1;
}

static size_t side_size(const struct model_config *c, enum linear_side side)
{
    const size_t sizes[] = {[SIDE_HIDDEN] = c->hidden,
                            [SIDE_HEADS] = c->heads * c->head_dim,
                            [SIDE_KV] = c->kv_heads * c->head_dim,
                            [SIDE_EXPERT] = c->expert_size,
                            [SIDE_SHARED] = c->shared_size};
    return sizes[side];
}

void model_linear_shape(const struct model_config *c, enum model_linear linear, size_t *in,
                        size_t *out)
{
    *in = side_size(c, linears[linear].in);
    *out = side_size(c, linears[linear].out);
}

int model_read_linear(const struct model *m, const char *linear, size_t in, size_t out, float *w,
                      struct err *err)
{
    struct checkpoint_linear config = {0};
    if (checkpoint_quantization(m->checkpoint) != CHECKPOINT_PLAIN) {
        int rc = checkpoint_linear_config(m->checkpoint, linear, &config, err);
        if (rc < 0)
            return rc;
    }
    if (config.quantized) {
        struct packed_linear packed = {0};
        int rc = packed_read(&packed, m->checkpoint, linear, in, out, err);
        if (rc == 0)
            packed_dequantize(&packed, w);
        packed_release(&packed);
        return rc;
    }
    char name[MODEL_NAME_MAX + sizeof ".weight"];
    snprintf(name, sizeof name, "%s.weight", linear);
    return checkpoint_read_float(m->checkpoint, name, (const size_t[]){out, in}, 2, w, err);
}
