/*
 * config.json of a Mixture-of-Experts model, as transformers 4 and 5 write it. Every field that
 * changes the result is honoured, or refused by name (ERR_UNSUPPORTED).
 */
#ifndef MOQA_DATA_MODEL_CONFIG_H
#define MOQA_DATA_MODEL_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"
#include "data/safetensors.h"

enum model_type { MODEL_OLMOE, MODEL_QWEN2_MOE, MODEL_MIXTRAL, MODEL_QWEN3_MOE, MODEL_TYPE_COUNT };

/* Norms of queries and keys before the rotary positions. */
enum model_qk_norm {
    QK_NORM_NONE,
    QK_NORM_ROW, /* over all heads at once (olmoe) */
    QK_NORM_HEAD /* over each head, with the same weights (qwen3_moe) */
};

enum { MODEL_LAYERS_MAX = 1024 };

struct model_config {
    enum model_type type;
    char type_name[64]; /* "olmoe" */
    size_t layers;
    size_t hidden;
    size_t heads;
    size_t kv_heads;
    size_t head_dim;
    size_t vocab;
    size_t max_positions;
    size_t experts;     /* N, routed, a layer */
    size_t top_k;       /* K */
    size_t expert_size; /* inner size of a routed expert */
    size_t shared_size; /* inner size of the shared expert, 0: none */
    size_t dense_size;  /* inner size of a dense layer's MLP, 0: no dense layer */
    bool norm_topk_prob;
    bool attention_bias; /* biases of q, k and v */
    bool output_bias;    /* and of o */
    enum model_qk_norm qk_norm;
    bool tie_word_embeddings;
    bool has_clip_qkv;
    double clip_qkv;
    double rms_norm_eps;
    double rope_theta;
    size_t sliding_window; /* 0: full attention */
    bool has_prefix_token; /* bos_token_id, else eos_token_id: stands for an empty context */
    uint32_t prefix_token;
    bool has_dtype;                    /* config.json names it; checkpoint_open() fills it else */
    enum dtype dtype;                  /* of the checkpoint */
    bool is_moe[MODEL_LAYERS_MAX];     /* [layer]; false: a dense MLP */
    bool is_sliding[MODEL_LAYERS_MAX]; /* [layer]; attention limited to sliding_window */
    char sha256[HASH_HEX_SIZE];        /* of the file's bytes */
};

ERR_CHECK int model_config_load(struct model_config *out, const char *path, struct err *err);

/* Number of MoE layers, and the model's number of the i-th of them. */
size_t model_config_moe_layers(const struct model_config *c);
size_t model_config_moe_layer(const struct model_config *c, size_t i);

#endif
