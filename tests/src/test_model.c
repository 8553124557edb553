/* Names, shapes and weights of a model's layers. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>
#include <unistd.h>

#include "data/base/atomic_file.h"
#include "data/base/str.h"
#include "data/packed.h"
#include "data/quant_config.h"
#include "model_fixture.h"

static void test_linears_have_the_checkpoints_names_and_shapes(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2 + FIXTURE_RANDOM; t++) {
        struct model m;
        const struct fixture_model *f = t < 2 ? &fixture_tiny[t] : &fixture_random[t - 2];
        fixture_open(&m, f->dir);
        size_t layer = model_config_moe_layer(m.config, 0);
        for (int i = 0; i < LINEAR_COUNT; i++) {
            char name[MODEL_NAME_MAX], full[MODEL_NAME_MAX + 8];
            size_t in, out;
            model_linear_name(name, m.config, layer, (enum model_linear)i, m.config->experts - 1);
            model_linear_shape(m.config, (enum model_linear)i, &in, &out);
            snprintf(full, sizeof full, "%s.weight", name);
            const struct tensor_info *info = checkpoint_find(m.checkpoint, full);
            if (i >= LINEAR_SHARED_GATE && !m.config->shared_size) {
                assert_null(info);
                continue;
            }
            assert_non_null(info);
            assert_int_equal(info->shape[0], out);
            assert_int_equal(info->shape[1], in);
        }
        model_release(&m);
    }
}

static void check_linear(const struct model *m, struct backend *b, const struct model_layer *l,
                         enum model_linear linear, size_t expert)
{
    char name[MODEL_NAME_MAX];
    size_t in, out;
    model_linear_name(name, m->config, l->index, linear, expert);
    model_linear_shape(m->config, linear, &in, &out);
    struct tensor *t = model_layer_linear(l, linear, expert);
    if (in == 0 || out == 0) {
        assert_null(t);
        return;
    }
    float *want = malloc(in * out * sizeof *want), *got = malloc(in * out * sizeof *got);
    assert_int_equal(model_read_linear(m, name, in, out, want, NULL), 0);
    assert_int_equal(b->ops->download(b, t, 0, out, got, NULL), 0);
    assert_memory_equal(want, got, in * out * sizeof *want);
    free(want);
    free(got);
}

static void test_a_loaded_layer_holds_the_checkpoints_weights(void **state)
{
    (void)state;
    struct backend *b = fixture_backend(2);
    for (size_t t = 0; t < 2 + FIXTURE_RANDOM; t++) {
        struct model m;
        struct model_layer l;
        const struct fixture_model *f = t < 2 ? &fixture_tiny[t] : &fixture_random[t - 2];
        fixture_open(&m, f->dir);
        size_t layer = m.config->layers - 1;
        assert_int_equal(model_layer_load(&l, &m, b, layer, NULL), 0);
        assert_true(l.is_moe);
        for (int i = 0; i < LINEAR_COUNT; i++)
            check_linear(&m, b, &l, (enum model_linear)i, 3);
        static const struct {
            bool qk_norm, bias, output_bias, shared;
        } has[2 + FIXTURE_RANDOM] = {{.qk_norm = true},
                                     {.bias = true, .shared = true},
                                     {.qk_norm = true, .bias = true, .output_bias = true},
                                     {.bias = true, .shared = true},
                                     {.qk_norm = false},
                                     {.qk_norm = true, .bias = true, .output_bias = true}};
        assert_int_equal(l.q_norm != NULL, has[t].qk_norm);
        assert_int_equal(l.k_norm != NULL, has[t].qk_norm);
        assert_int_equal(l.attention_bias[0] != NULL, has[t].bias);
        assert_int_equal(l.attention_bias[3] != NULL, has[t].output_bias);
        assert_int_equal(l.shared_gate != NULL, has[t].shared);
        assert_null(l.dense[0]);
        model_layer_release(&l, b);
        assert_null(l.gate);
        model_release(&m);
    }
    backend_free(b);
}

static void test_a_dense_layer_has_no_router(void **state)
{
    (void)state;
    struct model m;
    struct model_layer l;
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_random[1].dir);
    assert_int_equal(model_layer_load(&l, &m, b, 1, NULL), 0);
    assert_false(l.is_moe);
    assert_null(l.router);
    assert_null(l.gate);
    assert_null(model_layer_linear(&l, LINEAR_UP, 0));
    assert_non_null(l.dense[2]);
    model_layer_release(&l, b);
    assert_int_equal(model_layer_load(&l, &m, b, 4, NULL), ERR_USAGE);
    backend_free(b);
    model_release(&m);
}

/* The random model with one number of its config.json replaced, in a folder of its own. */
static void make_variant(char dir[64], const char *key, int value)
{
    char path[4096], *bytes;
    size_t size;
    strcpy(dir, "/tmp/moqa-model-XXXXXX");
    assert_non_null(mkdtemp(dir));
    json_t *config = fixture_json(fixture_random[0].dir, "config.json");
    assert_int_equal(json_object_set_new(config, key, json_integer(value)), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
    snprintf(path, sizeof path, "%s/model.safetensors", fixture_random[0].dir);
    assert_int_equal(str_read_file(&bytes, &size, path, 1 << 20, NULL), 0);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(atomic_file_save(path, bytes, size, NULL), 0);
    free(bytes);
}

static void remove_variant(const char *dir)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_tensor_of_another_shape_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *key;
        int value;
        const char *message;
    } cases[] = {
        {"intermediate_size", 21,
         "tensor model.layers.0.mlp.experts.0.gate_proj.weight has rank 2 and shape 20 x 24, "
         "config.json asks for 21 x 24"},
        {"num_experts", 8,
         "tensor model.layers.0.mlp.gate.weight has rank 2 and shape 7 x 24, config.json asks for "
         "8 x 24"},
        {"num_key_value_heads", 3,
         "tensor model.layers.0.self_attn.k_proj.weight has rank 2 and shape 8 x 24, config.json "
         "asks for 12 x 24"},
    };
    struct backend *b = fixture_backend(1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model m;
        struct model_layer l;
        struct err err = {0};
        char dir[64];
        make_variant(dir, cases[i].key, cases[i].value);
        fixture_open(&m, dir);
        assert_int_equal(model_layer_load(&l, &m, b, 0, &err), ERR_INPUT);
        assert_string_equal(err.message, cases[i].message);
        assert_string_equal(err.file, dir);
        model_release(&m);
        remove_variant(dir);
    }
    backend_free(b);
}

static void test_a_missing_layer_is_named(void **state)
{
    (void)state;
    struct model m;
    struct model_layer l;
    struct err err = {0};
    char dir[64];
    struct backend *b = fixture_backend(1);
    make_variant(dir, "num_hidden_layers", 4);
    fixture_open(&m, dir);
    assert_null(m.tokenizer);
    assert_int_equal(model_layer_load(&l, &m, b, 3, &err), ERR_INPUT);
    assert_string_equal(err.message, "there is no tensor model.layers.3.input_layernorm.weight");
    model_release(&m);
    remove_variant(dir);
    backend_free(b);
}

static const char packed_name[] = "model.layers.2.mlp.experts.5.down_proj";

/* 4-bit codes with two groups, the second shorter, from a linear congruential sequence. */
static void fill_packed(struct packed_linear *p)
{
    uint32_t x = 99;
    assert_int_equal(packed_alloc(p, 20, 24, 4, 16, 0, 0, NULL), 0);
    for (size_t i = 0; i < p->in * p->out; i++)
        p->codes[i] = (uint8_t)((x = x * 1664525u + 1013904223u) >> 28);
    for (size_t i = 0; i < p->out * p->groups; i++) {
        p->scales[i] = dtype_float_to_f16(0.01f * (float)(i + 1));
        p->zeros[i] = (uint8_t)(i % 16);
    }
}

/* The random model's tensors, with one linear replaced by its packed form. */
static void write_packed(const char *path, const struct checkpoint *c,
                         const struct packed_tensors *t)
{
    struct safetensors_writer *w;
    size_t count = 0, total = checkpoint_count(c) - 1 + t->count;
    struct safetensors_spec *spec = calloc(total, sizeof *spec);
    assert_non_null(spec);
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        const struct tensor_info *info = checkpoint_at(c, i);
        if (strncmp(info->name, packed_name, strlen(packed_name)) == 0)
            continue;
        spec[count] = (struct safetensors_spec){info->name, info->dtype, info->rank, {0}};
        memcpy(spec[count++].shape, info->shape, sizeof info->shape);
    }
    memcpy(spec + count, t->spec, t->count * sizeof *spec);
    assert_int_equal(safetensors_writer_new(&w, path, spec, total, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        const struct tensor_info *info = checkpoint_find(c, spec[i].name);
        void *bytes = malloc(info->bytes);
        assert_int_equal(checkpoint_read(c, info, bytes, NULL), 0);
        assert_int_equal(safetensors_writer_add(w, bytes, info->bytes, NULL), 0);
        free(bytes);
    }
    for (size_t i = 0; i < t->count; i++)
        assert_int_equal(safetensors_writer_add(w, t->data[i], t->bytes[i], NULL), 0);
    assert_int_equal(safetensors_writer_finish(w, NULL), 0);
    free(spec);
}

static void make_quantized(char dir[64], const struct model *plain, const struct packed_linear *p)
{
    char path[4096];
    json_t *field;
    struct packed_tensors t;
    const struct quant_module module = {packed_name, 4, 0, NULL};
    make_variant(dir, "vocab_size", 61);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(packed_encode(&t, p, packed_name, CHECKPOINT_MOQA, NULL), 0);
    write_packed(path, plain->checkpoint, &t);
    packed_tensors_release(&t);
    json_t *config = fixture_json(dir, "config.json");
    assert_int_equal(quant_config_build(&field, CHECKPOINT_MOQA, 16, &module, 1, NULL), 0);
    assert_int_equal(json_object_set_new(config, "quantization_config", field), 0);
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(config);
}

static void test_a_quantized_linear_is_dequantized_and_others_stay(void **state)
{
    (void)state;
    struct model plain, m;
    struct model_layer l;
    struct packed_linear p;
    char dir[64];
    float want[24 * 20], got[24 * 20];
    struct backend *b = fixture_backend(1);
    fixture_open(&plain, fixture_random[0].dir);
    fill_packed(&p);
    make_quantized(dir, &plain, &p);
    fixture_open(&m, dir);
    assert_int_equal(checkpoint_quantization(m.checkpoint), CHECKPOINT_MOQA);
    assert_int_equal(model_layer_load(&l, &m, b, 2, NULL), 0);
    packed_dequantize(&p, want);
    assert_int_equal(b->ops->download(b, l.down[5], 0, 24, got, NULL), 0);
    assert_memory_equal(got, want, sizeof got);
    for (int i = 0; i < LINEAR_COUNT; i++)
        check_linear(&plain, b, &l, (enum model_linear)i, 4);
    model_layer_release(&l, b);
    model_release(&m);
    model_release(&plain);
    packed_release(&p);
    remove_variant(dir);
    backend_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linears_have_the_checkpoints_names_and_shapes),
        cmocka_unit_test(test_a_loaded_layer_holds_the_checkpoints_weights),
        cmocka_unit_test(test_a_dense_layer_has_no_router),
        cmocka_unit_test(test_a_tensor_of_another_shape_is_named),
        cmocka_unit_test(test_a_missing_layer_is_named),
        cmocka_unit_test(test_a_quantized_linear_is_dequantized_and_others_stay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
