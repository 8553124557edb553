/*
 * Writes a checkpoint of a published model's shape with made-up weights that behave like trained
 * ones: heavy tails, input channels far above the others, a scale of its own for every expert, and
 * a common direction in the hidden states by which the router prefers some experts. Every weight
 * is a function of its tensor's name and its place, so the bytes depend on nothing else.
 *
 *     make_checkpoint SHAPE LAYERS OUT TOKENIZER
 * SHAPE: olmoe-1b-7b, qwen1.5-moe-a2.7b. OUT: an empty folder. TOKENIZER: a folder with a
 * tokenizer.json to copy; its ids are those of the embedding's first rows.
 */
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "data/base/simd.h"
#include "src/quant/writer.h"

enum { BLOCK = 1 << 16, NAME_MAX_BYTES = 128 };

static const struct shape {
    const char *name, *type, *architecture;
    size_t hidden, heads, experts, top_k, expert, shared, vocab, context;
    double eps, theta;
} shapes[] = {
    {"olmoe-1b-7b", "olmoe", "OlmoeForCausalLM", 2048, 16, 64, 8, 1024, 0, 50304, 4096, 1e-5, 1e4},
    {"qwen1.5-moe-a2.7b", "qwen2_moe", "Qwen2MoeForCausalLM", 2048, 16, 60, 4, 1408, 5632, 151936,
     8192, 1e-6, 1e6},
};

static void stop_on(int rc, const struct err *err)
{
    char line[2048];
    if (rc == 0)
        return;
    err_format(line, sizeof line, err);
    fprintf(stderr, "make_checkpoint: %s\n", line);
    exit(1);
}

/* --- Numbers --- */

static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

static uint64_t seed_of(const char *text)
{
    uint64_t seed = 0;
    for (; *text; text++)
        seed = mix(seed ^ (unsigned char)*text);
    return seed;
}

/* Nearly normal: a sum of eight bytes. */
static inline float normal(uint64_t bits)
{
    uint64_t sum = (bits & 0x00ff00ff00ff00ffu) + (bits >> 8 & 0x00ff00ff00ff00ffu);
    sum = (sum & 0xffff0000ffffu) + (sum >> 16 & 0xffff0000ffffu);
    sum = (sum & 0xffffffffu) + (sum >> 32);
    return ((float)(int)sum - 1020.0f) * (1.0f / 209.0f);
}

/* One in two thousand channels of hidden states is far above the others: the same in all layers. */
static float channel_level(size_t channel)
{
    uint64_t bits = mix(channel ^ 0xc4a22e1u);
    float level = expf(0.25f * normal(bits));
    return mix(bits) % 512 == 0 ? 12.0f * level : level;
}

/* What all hidden states have in common, in units of their own size. */
static float common_part(size_t channel)
{
    return 0.5f * normal(mix(channel ^ 0x5eedu));
}

/* --- Tensors --- */

enum kind { MATRIX, NORM, EMBEDDING, ROUTER };

struct fill {
    uint16_t *out; /* bf16 [rows][columns] */
    size_t columns, count;
    uint64_t seed;
    float deviation;
    enum kind kind;
    float *channel; /* [columns] a factor for each input */
};

SIMD_CLONES static void fill_values(float *x, uint64_t seed, size_t first, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t bits = mix(seed + first + i);
        float value = normal(bits);
        x[i] = (bits * 0x9e3779b97f4a7c15u) >> 55 == 0 ? 4.0f * value : value;
    }
}

static void fill_block(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct fill *f = context;
    float x[1024];
    size_t last = (item + 1) * BLOCK < f->count ? (item + 1) * BLOCK : f->count;
    for (size_t first = item * BLOCK; first < last; first += 1024) {
        size_t n = last - first < 1024 ? last - first : 1024;
        fill_values(x, f->seed, first, n);
        for (size_t i = 0; i < n; i++) {
            size_t row = (first + i) / f->columns, column = (first + i) % f->columns;
            float value = x[i] * f->deviation * f->channel[column];
            if (f->kind == NORM)
                value = 1.0f + 0.1f * x[i];
            else if (f->kind == EMBEDDING)
                value = 0.02f * f->channel[column] * (x[i] + common_part(column));
            else if (f->kind == ROUTER)
                value += normal(mix(f->seed ^ row)) * common_part(column) * 0.004f;
            f->out[first + i] = dtype_float_to_bf16(value);
        }
    }
}

/* The tensors of one shard: listed first, then made one after another. */
struct shard {
    struct safetensors_spec *specs;
    char (*names)[NAME_MAX_BYTES];
    enum kind *kinds;
    size_t count;
};

enum { SHARD_TENSORS_MAX = 512 };

static void add(struct shard *s, enum kind kind, size_t rows, size_t columns, const char *format,
                ...) __attribute__((format(printf, 5, 6)));

static void add(struct shard *s, enum kind kind, size_t rows, size_t columns, const char *format,
                ...)
{
    size_t i = s->count++;
    va_list list;
    va_start(list, format);
    vsnprintf(s->names[i], sizeof s->names[i], format, list);
    va_end(list);
    s->kinds[i] = kind;
    s->specs[i] = (struct safetensors_spec){s->names[i], DTYPE_BF16, rows ? 2 : 1, {0}};
    s->specs[i].shape[0] = rows ? rows : columns;
    s->specs[i].shape[1] = rows ? columns : 0;
}

static void list_layer(struct shard *s, const struct shape *m, size_t layer)
{
    static const char *const projections[] = {"q", "k", "v", "o"};
    bool olmoe = strcmp(m->type, "olmoe") == 0;
    add(s, NORM, 0, m->hidden, "model.layers.%zu.input_layernorm.weight", layer);
    add(s, NORM, 0, m->hidden, "model.layers.%zu.post_attention_layernorm.weight", layer);
    for (size_t i = 0; i < 4; i++)
        add(s, MATRIX, m->hidden, m->hidden, "model.layers.%zu.self_attn.%s_proj.weight", layer,
            projections[i]);
    for (size_t i = 0; !olmoe && i < 3; i++)
        add(s, MATRIX, 0, m->hidden, "model.layers.%zu.self_attn.%s_proj.bias", layer,
            projections[i]);
    for (size_t i = 0; olmoe && i < 2; i++)
        add(s, NORM, 0, m->hidden, "model.layers.%zu.self_attn.%s_norm.weight", layer,
            projections[i]);
    add(s, ROUTER, m->experts, m->hidden, "model.layers.%zu.mlp.gate.weight", layer);
    for (size_t e = 0; e < m->experts; e++) {
        add(s, MATRIX, m->expert, m->hidden, "model.layers.%zu.mlp.experts.%zu.gate_proj.weight",
            layer, e);
        add(s, MATRIX, m->expert, m->hidden, "model.layers.%zu.mlp.experts.%zu.up_proj.weight",
            layer, e);
        add(s, MATRIX, m->hidden, m->expert, "model.layers.%zu.mlp.experts.%zu.down_proj.weight",
            layer, e);
    }
    if (m->shared == 0)
        return;
    add(s, MATRIX, m->shared, m->hidden, "model.layers.%zu.mlp.shared_expert.gate_proj.weight",
        layer);
    add(s, MATRIX, m->shared, m->hidden, "model.layers.%zu.mlp.shared_expert.up_proj.weight",
        layer);
    add(s, MATRIX, m->hidden, m->shared, "model.layers.%zu.mlp.shared_expert.down_proj.weight",
        layer);
    add(s, MATRIX, 1, m->hidden, "model.layers.%zu.mlp.shared_expert_gate.weight", layer);
}

static void list_rest(struct shard *s, const struct shape *m)
{
    add(s, EMBEDDING, m->vocab, m->hidden, "model.embed_tokens.weight");
    add(s, NORM, 0, m->hidden, "model.norm.weight");
    add(s, MATRIX, m->vocab, m->hidden, "lm_head.weight");
}

static void write_shard(struct shard *s, const char *out, size_t number, size_t shards,
                        struct parallel *pool)
{
    struct err err = {0};
    struct safetensors_writer *w;
    char name[WRITER_NAME_MAX];
    writer_shard_name(name, number, shards);
    char *path = str_path(out, name, &err);
    stop_on(path ? 0 : ERR_NOMEM, &err);
    stop_on(safetensors_writer_new(&w, path, s->specs, s->count, &err), &err);
    for (size_t i = 0; i < s->count; i++) {
        const struct safetensors_spec *spec = &s->specs[i];
        size_t rows = spec->rank == 2 ? spec->shape[0] : 1, columns = spec->shape[spec->rank - 1];
        struct fill f = {.columns = columns,
                         .count = rows * columns,
                         .seed = seed_of(spec->name),
                         .kind = s->kinds[i]};
        f.deviation = 0.7f / sqrtf((float)columns) * expf(0.15f * normal(mix(f.seed)));
        f.out = mem_aligned(f.count, sizeof *f.out, &err);
        f.channel = mem_aligned(columns, sizeof *f.channel, &err);
        stop_on(f.out && f.channel ? 0 : ERR_NOMEM, &err);
        for (size_t c = 0; c < columns; c++)
            f.channel[c] =
                f.kind == EMBEDDING ? channel_level(c) : expf(0.2f * normal(mix(f.seed ^ mix(c))));
        parallel_for(pool, (f.count + BLOCK - 1) / BLOCK, fill_block, &f);
        stop_on(safetensors_writer_add(w, f.out, f.count * sizeof *f.out, &err), &err);
        free(f.out);
        free(f.channel);
    }
    stop_on(safetensors_writer_finish(w, &err), &err);
    free(path);
}

static void write_config(const struct shape *m, size_t layers, const char *out)
{
    struct err err = {0};
    json_t *c = json_pack(
        "{s:[s], s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:s, s:s, s:b, s:b}",
        "architectures", m->architecture, "model_type", m->type, "hidden_size", (int)m->hidden,
        "intermediate_size", (int)(m->shared ? m->shared : m->expert), "num_attention_heads",
        (int)m->heads, "num_key_value_heads", (int)m->heads, "num_experts", (int)m->experts,
        "num_experts_per_tok", (int)m->top_k, "num_hidden_layers", (int)layers, "vocab_size",
        (int)m->vocab, "max_position_embeddings", (int)m->context, "rms_norm_eps", m->eps,
        "rope_theta", m->theta, "hidden_act", "silu", "torch_dtype", "bfloat16", "norm_topk_prob",
        0, "tie_word_embeddings", 0);
    if (m->shared) {
        json_object_set_new(c, "moe_intermediate_size", json_integer((json_int_t)m->expert));
        json_object_set_new(c, "shared_expert_intermediate_size",
                            json_integer((json_int_t)m->shared));
        json_object_set_new(c, "decoder_sparse_step", json_integer(1));
        json_object_set_new(c, "mlp_only_layers", json_array());
        json_object_set_new(c, "use_sliding_window", json_false());
    }
    char *path = str_path(out, "config.json", &err);
    stop_on(path && c ? jsonio_save(c, path, &err) : ERR_NOMEM, &err);
    json_decref(c);
    free(path);
}

static const struct shape *find_shape(const char *name)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (strcmp(shapes[i].name, name) == 0)
            return &shapes[i];
    return NULL;
}

int main(int argc, char **argv)
{
    struct err err = {0};
    struct parallel *pool;
    const struct shape *m = argc == 5 ? find_shape(argv[1]) : NULL;
    size_t layers = m ? strtoul(argv[2], NULL, 10) : 0;
    if (layers == 0) {
        fprintf(stderr, "usage: make_checkpoint olmoe-1b-7b|qwen1.5-moe-a2.7b LAYERS OUT "
                        "TOKENIZER_FOLDER\n");
        return 2;
    }
    struct shard s = {.specs = mem_array(SHARD_TENSORS_MAX, sizeof *s.specs, &err),
                      .names = mem_array(SHARD_TENSORS_MAX, sizeof *s.names, &err),
                      .kinds = mem_array(SHARD_TENSORS_MAX, sizeof *s.kinds, &err)};
    stop_on(s.specs && s.names && s.kinds ? 0 : ERR_NOMEM, &err);
    stop_on(parallel_new(&pool, 0, &err), &err);
    mkdir(argv[3], 0777);
    for (size_t i = 0; i <= layers; i++) {
        s.count = 0;
        if (i < layers)
            list_layer(&s, m, i);
        else
            list_rest(&s, m);
        write_shard(&s, argv[3], i, layers + 1, pool);
    }
    stop_on(writer_index(argv[3], layers + 1, &err), &err);
    stop_on(writer_copy(argv[4], argv[3], &err), &err);
    write_config(m, layers, argv[3]);
    parallel_free(pool);
    free(s.specs);
    free(s.names);
    free(s.kinds);
    return 0;
}
