#include "data/model_config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/str.h"

enum {
    CONFIG_BYTES_MAX = 4 << 20,
    SIZE_LIMIT = 1 << 24, /* of any width: products of two stay far below 2^63 */
    EXPERTS_LIMIT = 65534 /* ids are 16 bits, the highest stands for "not routed" */
};

struct reader {
    const json_t *root;
    struct jsonio_at at;
    struct err *err;
};

static int read_olmoe(struct reader *r, struct model_config *c);
static int read_qwen2_moe(struct reader *r, struct model_config *c);
static int read_mixtral(struct reader *r, struct model_config *c);
static int read_qwen3_moe(struct reader *r, struct model_config *c);

/* What transformers assumes where a field is absent, and how a type differs from the others. */
struct model_traits {
    const char *name;
    const char *architecture;
    size_t vocab, hidden, layers, heads, kv_heads /* 0: as heads */, max_positions;
    size_t intermediate, expert_size, shared_size, top_k, experts;
    double rms_norm_eps, rope_theta;
    const char *expert_key;  /* of the experts' inner size */
    const char *experts_key; /* of their number, where the file has neither name */
    enum model_qk_norm qk_norm;
    int (*read)(struct reader *r, struct model_config *c); /* the type's own fields */
};

static const struct model_traits traits[MODEL_TYPE_COUNT] = {
    [MODEL_OLMOE] = {"olmoe", "OlmoeForCausalLM", 50304, 2048, 16, 16, 0, 4096, 2048, 2048, 0, 8,
                     64, 1e-5, 1e4, "intermediate_size", "num_local_experts", QK_NORM_ROW,
                     read_olmoe},
    [MODEL_QWEN2_MOE] = {"qwen2_moe", "Qwen2MoeForCausalLM", 151936, 2048, 24, 16, 16, 32768, 5632,
                         1408, 5632, 4, 60, 1e-6, 1e4, "moe_intermediate_size", "num_experts",
                         QK_NORM_NONE, read_qwen2_moe},
    [MODEL_MIXTRAL] = {"mixtral", "MixtralForCausalLM", 32000, 4096, 32, 32, 8, 131072, 14336,
                       14336, 0, 2, 8, 1e-5, 1e6, "intermediate_size", "num_local_experts",
                       QK_NORM_NONE, read_mixtral},
    [MODEL_QWEN3_MOE] = {"qwen3_moe", "Qwen3MoeForCausalLM", 151936, 2048, 24, 32, 4, 32768, 6144,
                         768, 0, 8, 128, 1e-6, 1e4, "moe_intermediate_size", "num_experts",
                         QK_NORM_HEAD, read_qwen3_moe},
};

/* --- Fields that may be absent or null --- */

static int read_size(struct reader *r, size_t *out, const char *key, size_t preset, size_t min,
                     size_t max)
{
    *out = preset;
    if (!jsonio_has(r->root, key))
        return 0;
    const json_t *value = json_object_get(r->root, key);
    json_int_t number = json_integer_value(value);
    if (!json_is_integer(value) || (number >= (json_int_t)min && number <= (json_int_t)max))
        return jsonio_size(out, r->root, key, max, r->at, r->err);
    return err_set(r->err, ERR_INPUT, r->at.file,
                   "%s: found %" JSON_INTEGER_FORMAT ", expected %zu to %zu", key, number, min,
                   max);
}

static int read_bool(struct reader *r, bool *out, const char *key, bool preset)
{
    *out = preset;
    return jsonio_has(r->root, key) ? jsonio_bool(out, r->root, key, r->at, r->err) : 0;
}

static int unsupported(struct reader *r, const char *key, const char *why)
{
    return err_set(r->err, ERR_UNSUPPORTED, r->at.file, "%s: %s", key, why);
}

/* --- Groups of fields --- */

static int read_type(struct reader *r, struct model_config *c)
{
    const char *name, *architecture;
    int rc = jsonio_string(&name, r->root, "model_type", r->at, r->err);
    if (rc < 0)
        return rc;
    size_t i = 0;
    while (i < MODEL_TYPE_COUNT && strcmp(name, traits[i].name) != 0)
        i++;
    if (i == MODEL_TYPE_COUNT)
        return err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                       "model_type: found \"%.64s\", expected %s, %s, %s or %s", name,
                       traits[MODEL_OLMOE].name, traits[MODEL_QWEN2_MOE].name,
                       traits[MODEL_MIXTRAL].name, traits[MODEL_QWEN3_MOE].name);
    c->type = (enum model_type)i;
    c->qk_norm = traits[i].qk_norm;
    snprintf(c->type_name, sizeof c->type_name, "%s", traits[i].name);
    const json_t *first = json_array_get(json_object_get(r->root, "architectures"), 0);
    architecture = json_string_value(first);
    if (architecture && strcmp(architecture, traits[i].architecture) != 0)
        return err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                       "architectures: found \"%.64s\", expected \"%s\"", architecture,
                       traits[i].architecture);
    return 0;
}

static int read_dtype(struct reader *r, struct model_config *c)
{
    static const struct {
        const char *name;
        enum dtype dtype;
    } names[] = {{"bfloat16", DTYPE_BF16},
                 {"float16", DTYPE_F16},
                 {"float32", DTYPE_F32},
                 {"float64", DTYPE_F64}};
    const char *key = jsonio_has(r->root, "dtype") ? "dtype" : "torch_dtype", *text;
    c->dtype = DTYPE_F32;
    if (!jsonio_has(r->root, key))
        return 0;
    int rc = jsonio_string(&text, r->root, key, r->at, r->err);
    if (rc < 0 || strcmp(text, "auto") == 0)
        return rc;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (strcmp(text, names[i].name) == 0) {
            c->dtype = names[i].dtype;
            c->has_dtype = true;
            return 0;
        }
    }
    return err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                   "%s: found \"%.32s\", expected bfloat16, float16, float32 or float64", key,
                   text);
}

static int check_heads(struct reader *r, struct model_config *c)
{
    const char *file = r->at.file;
    if (c->heads % c->kv_heads)
        return err_set(r->err, ERR_INPUT, file,
                       "num_attention_heads: %zu is no multiple of num_key_value_heads, %zu",
                       c->heads, c->kv_heads);
    if (!jsonio_has(r->root, "head_dim") && c->hidden % c->heads)
        return err_set(r->err, ERR_INPUT, file,
                       "hidden_size: %zu is no multiple of num_attention_heads, %zu", c->hidden,
                       c->heads);
    int rc = read_size(r, &c->head_dim, "head_dim", c->hidden / c->heads, 1, SIZE_LIMIT);
    if (rc < 0)
        return rc;
    if (c->head_dim == 0 || c->head_dim % 2)
        return err_set(r->err, ERR_INPUT, file,
                       "head_dim: %zu, expected an even number for rotary positions", c->head_dim);
    if (c->heads * c->head_dim > SIZE_LIMIT)
        return err_set(r->err, ERR_INPUT, file,
                       "num_attention_heads * head_dim: %zu, expected at most %d",
                       c->heads * c->head_dim, SIZE_LIMIT);
    return 0;
}

static int read_sizes(struct reader *r, struct model_config *c, const struct model_traits *t)
{
    size_t kv_preset;
    /* transformers 5 writes num_local_experts for every type, older files have the type's own. */
    const char *experts = jsonio_has(r->root, "num_experts")         ? "num_experts"
                          : jsonio_has(r->root, "num_local_experts") ? "num_local_experts"
                                                                     : t->experts_key;
    int rc = read_size(r, &c->vocab, "vocab_size", t->vocab, 1, SIZE_LIMIT);
    if (rc == 0)
        rc = read_size(r, &c->hidden, "hidden_size", t->hidden, 1, SIZE_LIMIT);
    if (rc == 0)
        rc = read_size(r, &c->layers, "num_hidden_layers", t->layers, 1, MODEL_LAYERS_MAX);
    if (rc == 0)
        rc = read_size(r, &c->heads, "num_attention_heads", t->heads, 1, SIZE_LIMIT);
    if (rc < 0)
        return rc;
    /* An explicit null means "as heads" for either type, an absent field the type's own number. */
    bool is_null = json_is_null(json_object_get(r->root, "num_key_value_heads"));
    kv_preset = t->kv_heads && !is_null ? t->kv_heads : c->heads;
    rc = read_size(r, &c->kv_heads, "num_key_value_heads", kv_preset, 1, SIZE_LIMIT);
    if (rc == 0)
        rc = check_heads(r, c);
    if (rc == 0)
        rc = read_size(r, &c->max_positions, "max_position_embeddings", t->max_positions, 1,
                       (size_t)1 << 40);
    if (rc == 0)
        rc = read_size(r, &c->experts, experts, t->experts, 1, EXPERTS_LIMIT);
    if (rc == 0)
        rc = read_size(r, &c->top_k, "num_experts_per_tok", t->top_k, 1, EXPERTS_LIMIT);
    if (rc == 0)
        rc = read_size(r, &c->expert_size, t->expert_key, t->expert_size, 1, SIZE_LIMIT);
    if (rc == 0 && c->top_k > c->experts)
        rc = err_set(r->err, ERR_INPUT, r->at.file,
                     "num_experts_per_tok: found %zu, more than the %zu experts", c->top_k,
                     c->experts);
    return rc;
}

static int read_real(struct reader *r, double *out, const json_t *object, const char *key,
                     double preset, bool zero_allowed)
{
    *out = preset;
    if (!jsonio_has(object, key))
        return 0;
    int rc = jsonio_real(out, object, key, r->at, r->err);
    if (rc == 0 && !(isfinite(*out) && (*out > 0 || (zero_allowed && *out == 0))))
        rc = err_set(r->err, ERR_INPUT, r->at.file, "%s: found %g, expected a number above 0", key,
                     *out);
    return rc;
}

/* Rotary positions as transformers 4 (rope_theta, rope_scaling) and 5 (rope_parameters) name them;
 * version 5 takes rope_scaling for rope_parameters where both are there. */
static int read_rope(struct reader *r, struct model_config *c)
{
    const char *key = jsonio_has(r->root, "rope_scaling") ? "rope_scaling" : "rope_parameters";
    const char *type_key, *type;
    double partial;
    int rc = read_real(r, &c->rope_theta, r->root, "rope_theta", traits[c->type].rope_theta, false);
    if (rc == 0)
        rc = read_real(r, &partial, r->root, "partial_rotary_factor", 1, false);
    if (rc == 0 && partial != 1)
        rc = unsupported(r, "partial_rotary_factor", "only 1 is supported");
    if (rc < 0 || !jsonio_has(r->root, key))
        return rc;
    json_t *rope;
    rc = jsonio_object(&rope, r->root, key, r->at, r->err);
    if (rc < 0)
        return rc;
    struct jsonio_at outer = r->at;
    r->at.path = key;
    type_key = jsonio_has(rope, "rope_type") ? "rope_type" : "type";
    if (jsonio_has(rope, type_key)) {
        rc = jsonio_string(&type, rope, type_key, r->at, r->err);
        if (rc == 0 && strcmp(type, "default") != 0)
            rc = err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                         "%s.%s: found \"%.32s\", expected \"default\"; scaled rotary positions "
                         "are not supported",
                         key, type_key, type);
    }
    if (rc == 0 && (jsonio_has(rope, "full_attention") || jsonio_has(rope, "sliding_attention")))
        rc = unsupported(r, key, "rotary positions by kind of layer are not supported");
    if (rc == 0)
        rc = read_real(r, &partial, rope, "partial_rotary_factor", 1, false);
    if (rc == 0 && partial != 1)
        rc = unsupported(r, "partial_rotary_factor", "only 1 is supported");
    if (rc == 0)
        rc = read_real(r, &c->rope_theta, rope, "rope_theta", c->rope_theta, false);
    r->at = outer;
    return rc;
}

/* A number, or a list whose first counts. What has another form is passed over, as is an id
 * outside the vocabulary: only an empty context of a task needs it. */
static bool read_token(const struct reader *r, const char *key, struct model_config *c)
{
    const json_t *value = json_object_get(r->root, key);
    if (json_is_array(value))
        value = json_array_get(value, 0);
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || (uint64_t)id >= c->vocab)
        return false;
    c->prefix_token = (uint32_t)id;
    return true;
}

static int read_common(struct reader *r, struct model_config *c, const struct model_traits *t)
{
    const char *act = "silu";
    int rc = read_sizes(r, c, t);
    if (rc == 0)
        rc = read_dtype(r, c);
    if (rc == 0)
        rc = read_rope(r, c);
    if (rc == 0)
        rc = read_real(r, &c->rms_norm_eps, r->root, "rms_norm_eps", t->rms_norm_eps, true);
    if (rc == 0)
        rc = read_bool(r, &c->norm_topk_prob, "norm_topk_prob", false);
    if (rc == 0)
        rc = read_bool(r, &c->tie_word_embeddings, "tie_word_embeddings", false);
    if (rc == 0 && jsonio_has(r->root, "hidden_act"))
        rc = jsonio_string(&act, r->root, "hidden_act", r->at, r->err);
    if (rc == 0 && strcmp(act, "silu") != 0 && strcmp(act, "swish") != 0)
        rc = err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                     "hidden_act: found \"%.32s\", expected \"silu\"", act);
    c->has_prefix_token = read_token(r, "bos_token_id", c) || read_token(r, "eos_token_id", c);
    return rc;
}

static int read_olmoe(struct reader *r, struct model_config *c)
{
    int rc = read_bool(r, &c->attention_bias, "attention_bias", false);
    c->output_bias = c->attention_bias;
    c->has_clip_qkv = jsonio_has(r->root, "clip_qkv");
    if (rc == 0)
        rc = read_real(r, &c->clip_qkv, r->root, "clip_qkv", 0, false);
    if (rc == 0 && c->heads * c->head_dim != c->hidden) /* the norms of q and k need it */
        rc = err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                     "head_dim: found %zu; the olmoe type needs hidden_size %zu over "
                     "num_attention_heads %zu",
                     c->head_dim, c->hidden, c->heads);
    if (rc == 0 && jsonio_has(r->root, "sliding_window"))
        rc = unsupported(r, "sliding_window", "the olmoe type has none; expected null or no field");
    for (size_t i = 0; i < c->layers; i++)
        c->is_moe[i] = true;
    return rc;
}

/* Layer i routes iff it is not listed in mlp_only_layers and (i + 1) is a multiple of
 * decoder_sparse_step. */
static int read_layer_kinds(struct reader *r, struct model_config *c)
{
    size_t step, moe_layers = 0;
    int rc = read_size(r, &step, "decoder_sparse_step", 1, 1, SIZE_LIMIT);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < c->layers; i++)
        c->is_moe[i] = (i + 1) % step == 0;
    if (jsonio_has(r->root, "mlp_only_layers")) {
        json_t *list, *value;
        size_t i;
        rc = jsonio_array(&list, r->root, "mlp_only_layers", r->at, r->err);
        if (rc < 0)
            return rc;
        json_array_foreach(list, i, value)
        {
            json_int_t layer = json_integer_value(value);
            if (!json_is_integer(value) || layer < 0 || (uint64_t)layer >= c->layers)
                return err_set(r->err, ERR_INPUT, r->at.file,
                               "mlp_only_layers[%zu]: expected a layer, 0 to %zu", i,
                               c->layers - 1);
            c->is_moe[layer] = false;
        }
    }
    for (size_t i = 0; i < c->layers; i++)
        moe_layers += c->is_moe[i];
    if (moe_layers == 0)
        return err_set(r->err, ERR_INPUT, r->at.file,
                       "decoder_sparse_step and mlp_only_layers leave no layer with experts");
    if (moe_layers == c->layers)
        return 0;
    return read_size(r, &c->dense_size, "intermediate_size", traits[c->type].intermediate, 1,
                     SIZE_LIMIT);
}

static int read_layer_types(struct reader *r, struct model_config *c, bool *any)
{
    json_t *list, *value;
    size_t i;
    int rc = jsonio_array(&list, r->root, "layer_types", r->at, r->err);
    if (rc < 0)
        return rc;
    if (json_array_size(list) != c->layers)
        return err_set(r->err, ERR_INPUT, r->at.file,
                       "layer_types: found %zu entries, expected %zu", json_array_size(list),
                       c->layers);
    json_array_foreach(list, i, value)
    {
        const char *kind = json_string_value(value);
        if (kind && strcmp(kind, "sliding_attention") == 0)
            *any = c->is_sliding[i] = true;
        else if (!kind || strcmp(kind, "full_attention") != 0)
            return err_set(r->err, ERR_UNSUPPORTED, r->at.file,
                           "layer_types[%zu]: expected full_attention or sliding_attention", i);
    }
    return 0;
}

/* transformers 4 slides on the layers from max_window_layers on, version 5 on the even layers
 * below it: without layer_types such a file has no one meaning. A window that is not smaller
 * than the longest context limits nothing. */
static int read_sliding(struct reader *r, struct model_config *c)
{
    bool use, any = false;
    int rc = read_bool(r, &use, "use_sliding_window", false);
    if (rc == 0 && jsonio_has(r->root, "layer_types"))
        rc = read_layer_types(r, c, &any);
    if (rc == 0 && use)
        rc = read_size(r, &c->sliding_window, "sliding_window", 4096, 1, (size_t)1 << 40);
    if (rc < 0)
        return rc;
    if (json_is_null(json_object_get(r->root, "sliding_window")))
        c->sliding_window = 0;
    if (c->sliding_window >= c->max_positions) {
        c->sliding_window = 0;
        memset(c->is_sliding, 0, sizeof c->is_sliding);
        return 0;
    }
    if (any && c->sliding_window == 0)
        return err_set(r->err, ERR_INPUT, r->at.file,
                       "layer_types names sliding_attention, but no sliding_window is in use");
    if (c->sliding_window && !jsonio_has(r->root, "layer_types"))
        return unsupported(r, "use_sliding_window",
                           "true without layer_types, which versions of transformers read in "
                           "different ways; add layer_types");
    if (!any)
        c->sliding_window = 0;
    return 0;
}

static int read_qwen2_moe(struct reader *r, struct model_config *c)
{
    int rc = read_bool(r, &c->attention_bias, "qkv_bias", true);
    if (rc == 0)
        rc = read_size(r, &c->shared_size, "shared_expert_intermediate_size",
                       traits[MODEL_QWEN2_MOE].shared_size, 0, SIZE_LIMIT);
    if (rc == 0)
        rc = read_layer_kinds(r, c);
    if (rc == 0)
        rc = read_sliding(r, c);
    return rc;
}

/* One window for all layers; one that is not smaller than the longest context limits nothing. */
static void slide_everywhere(struct model_config *c, size_t window)
{
    c->sliding_window = window < c->max_positions ? window : 0;
    for (size_t i = 0; i < c->layers; i++)
        c->is_sliding[i] = c->sliding_window > 0;
}

static int read_mixtral(struct reader *r, struct model_config *c)
{
    size_t window;
    int rc = read_size(r, &window, "sliding_window", (size_t)1 << 40, 1, (size_t)1 << 40);
    if (rc < 0)
        return rc;
    slide_everywhere(c, window);
    c->norm_topk_prob = true;
    for (size_t i = 0; i < c->layers; i++)
        c->is_moe[i] = true;
    return 0;
}

static int read_qwen3_moe(struct reader *r, struct model_config *c)
{
    bool use;
    size_t window = (size_t)1 << 40;
    int rc = read_bool(r, &c->attention_bias, "attention_bias", false);
    c->output_bias = c->attention_bias;
    if (rc == 0)
        rc = read_layer_kinds(r, c);
    if (rc == 0)
        rc = read_bool(r, &use, "use_sliding_window", false);
    if (rc == 0 && use && !json_is_null(json_object_get(r->root, "sliding_window")))
        rc = read_size(r, &window, "sliding_window", 4096, 1, (size_t)1 << 40);
    if (rc == 0)
        slide_everywhere(c, window);
    return rc;
}

int model_config_load(struct model_config *out, const char *path, struct err *err)
{
    char *text = NULL;
    size_t size = 0;
    json_t *root = NULL;
    *out = (struct model_config){0};
    int rc = str_read_file(&text, &size, path, CONFIG_BYTES_MAX, err);
    if (rc == 0)
        rc = hash_bytes(out->sha256, text, size, err);
    if (rc == 0)
        rc = jsonio_parse(&root, text, size, path, err);
    if (rc == 0 && !json_is_object(root))
        rc = err_set(err, ERR_INPUT, path, "found no object at the top, expected one");
    struct reader r = {root, {path, ""}, err};
    if (rc == 0)
        rc = read_type(&r, out);
    if (rc == 0)
        rc = read_common(&r, out, &traits[out->type]);
    if (rc == 0)
        rc = traits[out->type].read(&r, out);
    json_decref(root);
    free(text);
    return rc;
}

size_t model_config_moe_layers(const struct model_config *c)
{
    size_t count = 0;
    for (size_t i = 0; i < c->layers; i++)
        count += c->is_moe[i];
    return count;
}

size_t model_config_moe_layer(const struct model_config *c, size_t i)
{
    size_t layer = 0;
    for (; layer < c->layers; layer++) {
        if (c->is_moe[layer] && i-- == 0)
            break;
    }
    return layer;
}
