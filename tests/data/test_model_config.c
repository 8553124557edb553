#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/model_config.h"

static char path[64];

static int make_path(void **state)
{
    (void)state;
    snprintf(path, sizeof path, "/tmp/test_model_config.XXXXXX");
    int fd = mkstemp(path);
    return fd < 0 ? -1 : close(fd);
}

static int remove_path(void **state)
{
    (void)state;
    return unlink(path);
}

static int load(struct model_config *c, const char *text, struct err *err)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    return model_config_load(c, path, err);
}

static void load_good(struct model_config *c, const char *text)
{
    struct err err = {0};
    if (load(c, text, &err) < 0)
        fail_msg("%s: %s", text, err.message);
}

static void test_model_config_reads_the_bundled_models(void **state)
{
    (void)state;
    struct model_config c;
    struct err err = {0};
    assert_int_equal(model_config_load(&c, TEST_SAMPLE "/tiny-olmoe/config.json", &err), 0);
    assert_int_equal(c.type, MODEL_OLMOE);
    assert_string_equal(c.type_name, "olmoe");
    assert_true(c.layers == 6 && c.hidden == 128 && c.heads == 4 && c.kv_heads == 4);
    assert_true(c.head_dim == 32 && c.vocab == 2048 && c.max_positions == 1024);
    assert_true(c.experts == 32 && c.top_k == 4 && c.expert_size == 64);
    assert_true(c.shared_size == 0 && c.dense_size == 0 && c.sliding_window == 0);
    assert_false(c.norm_topk_prob || c.attention_bias || c.tie_word_embeddings || c.has_clip_qkv);
    assert_true(c.rms_norm_eps == 1e-5 && c.rope_theta == 10000);
    assert_true(c.has_dtype && c.dtype == DTYPE_BF16);
    assert_int_equal(strlen(c.sha256), 64);

    assert_int_equal(model_config_load(&c, TEST_GOLDEN "/tiny-qwen2moe/model/config.json", &err),
                     0);
    assert_int_equal(c.type, MODEL_QWEN2_MOE);
    assert_true(c.layers == 4 && c.hidden == 96 && c.heads == 6 && c.kv_heads == 2);
    assert_true(c.head_dim == 16 && c.experts == 24 && c.top_k == 4 && c.expert_size == 48);
    assert_true(c.shared_size == 128 && c.dense_size == 0);
    assert_true(c.attention_bias && c.rope_theta == 1e6 && c.rms_norm_eps == 1e-6);
    assert_int_equal(model_config_moe_layers(&c), 4);
    assert_int_equal(model_config_moe_layer(&c, 3), 3);
}

/* OlmoeConfig() and Qwen2MoeConfig() of transformers 4.57 and 5.23. */
static void test_model_config_takes_the_defaults_of_transformers(void **state)
{
    (void)state;
    struct model_config c;
    load_good(&c, "{\"model_type\":\"olmoe\"}");
    assert_true(c.vocab == 50304 && c.hidden == 2048 && c.expert_size == 2048 && c.layers == 16);
    assert_true(c.heads == 16 && c.kv_heads == 16 && c.max_positions == 4096 && c.experts == 64);
    assert_true(c.top_k == 8 && c.rms_norm_eps == 1e-5 && c.rope_theta == 1e4);
    assert_false(c.attention_bias || c.norm_topk_prob || c.tie_word_embeddings || c.has_clip_qkv);
    assert_true(!c.has_dtype && c.dtype == DTYPE_F32);
    load_good(&c, "{\"model_type\":\"qwen2_moe\"}");
    assert_true(c.vocab == 151936 && c.hidden == 2048 && c.expert_size == 1408 && c.layers == 24);
    assert_true(c.heads == 16 && c.kv_heads == 16 && c.max_positions == 32768 && c.experts == 60);
    assert_true(c.top_k == 4 && c.rms_norm_eps == 1e-6 && c.rope_theta == 1e4);
    assert_true(c.shared_size == 5632 && c.dense_size == 0 && c.attention_bias);
    assert_true(c.sliding_window == 0 && model_config_moe_layers(&c) == 24);
    assert_true(c.qk_norm == QK_NORM_NONE && !c.output_bias);
    load_good(&c, "{\"model_type\":\"mixtral\"}");
    assert_true(c.vocab == 32000 && c.hidden == 4096 && c.expert_size == 14336 && c.layers == 32);
    assert_true(c.heads == 32 && c.kv_heads == 8 && c.max_positions == 131072 && c.experts == 8);
    assert_true(c.top_k == 2 && c.rms_norm_eps == 1e-5 && c.rope_theta == 1e6);
    assert_true(c.norm_topk_prob && !c.attention_bias && !c.output_bias && c.shared_size == 0);
    assert_true(c.sliding_window == 0 && c.head_dim == 128 && c.qk_norm == QK_NORM_NONE);
    load_good(&c, "{\"model_type\":\"qwen3_moe\"}");
    assert_true(c.vocab == 151936 && c.hidden == 2048 && c.expert_size == 768 && c.layers == 24);
    assert_true(c.heads == 32 && c.kv_heads == 4 && c.max_positions == 32768 && c.experts == 128);
    assert_true(c.top_k == 8 && c.rms_norm_eps == 1e-6 && c.rope_theta == 1e4);
    assert_true(!c.norm_topk_prob && !c.attention_bias && c.shared_size == 0 && c.dense_size == 0);
    assert_true(c.sliding_window == 0 && c.qk_norm == QK_NORM_HEAD);
}

/* A window of these types holds for every layer; qwen3_moe has one only if use_sliding_window. */
static void test_model_config_slides_all_layers_of_mixtral_and_qwen3(void **state)
{
    (void)state;
    struct model_config c;
    load_good(&c, "{\"model_type\":\"mixtral\",\"sliding_window\":4096,\"head_dim\":null,"
                  "\"num_hidden_layers\":3,\"num_local_experts\":6}");
    assert_true(c.sliding_window == 4096 && c.is_sliding[0] && c.is_sliding[2] && c.experts == 6);
    load_good(&c, "{\"model_type\":\"mixtral\",\"sliding_window\":131072}");
    assert_true(c.sliding_window == 0 && !c.is_sliding[0]);
    load_good(&c, "{\"model_type\":\"qwen3_moe\",\"sliding_window\":77,\"num_experts\":9}");
    assert_true(c.sliding_window == 0 && !c.is_sliding[1] && c.experts == 9);
    load_good(&c, "{\"model_type\":\"qwen3_moe\",\"sliding_window\":77,\"attention_bias\":true,"
                  "\"use_sliding_window\":true,\"mlp_only_layers\":[0],\"head_dim\":128}");
    assert_true(c.sliding_window == 77 && c.is_sliding[0] && c.is_sliding[23]);
    assert_true(c.attention_bias && c.output_bias && c.dense_size == 6144 && !c.is_moe[0]);
    load_good(&c, "{\"model_type\":\"qwen3_moe\",\"use_sliding_window\":true}");
    assert_true(c.sliding_window == 4096);
}

static void test_model_config_honours_every_field(void **state)
{
    (void)state;
    struct model_config c;
    load_good(&c, "{\"model_type\":\"olmoe\",\"clip_qkv\":7.5,\"attention_bias\":true,"
                  "\"norm_topk_prob\":true,\"tie_word_embeddings\":true,\"head_dim\":128,"
                  "\"num_key_value_heads\":8,\"num_local_experts\":20,\"hidden_act\":\"swish\"}");
    assert_true(c.has_clip_qkv && c.clip_qkv == 7.5 && c.attention_bias && c.norm_topk_prob);
    assert_true(c.tie_word_embeddings && c.head_dim == 128 && c.kv_heads == 8 && c.experts == 20);
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"head_dim\":64,\"hidden_size\":1000}");
    assert_true(c.head_dim == 64 && c.hidden == 1000 && c.heads == 16);
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"qkv_bias\":false,\"num_hidden_layers\":7,"
                  "\"decoder_sparse_step\":2,\"mlp_only_layers\":[3],\"intermediate_size\":77,"
                  "\"num_key_value_heads\":null,\"num_attention_heads\":32,"
                  "\"shared_expert_intermediate_size\":0,\"dtype\":\"float16\","
                  "\"torch_dtype\":\"bfloat16\"}");
    assert_true(!c.attention_bias && c.dense_size == 77 && c.kv_heads == 32 && c.shared_size == 0);
    assert_int_equal(c.dtype, DTYPE_F16);
    static const bool moe[] = {false, true, false, false, false, true, false};
    assert_memory_equal(c.is_moe, moe, sizeof moe);
    assert_int_equal(model_config_moe_layers(&c), 2);
    assert_int_equal(model_config_moe_layer(&c, 0), 1);
    assert_int_equal(model_config_moe_layer(&c, 1), 5);
    assert_int_equal(model_config_moe_layer(&c, 2), 7);
}

static void test_model_config_reads_rope_of_either_transformers(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        double theta;
    } cases[] = {
        {"\"rope_theta\":5e5", 5e5},
        {"\"rope_theta\":5e5,\"rope_scaling\":null", 5e5},
        {"\"rope_theta\":5e5,\"rope_scaling\":{\"type\":\"default\"}", 5e5},
        {"\"rope_parameters\":{\"rope_type\":\"default\",\"rope_theta\":250000}", 250000},
        {"\"rope_theta\":3,\"rope_parameters\":{\"rope_theta\":4}", 4},
        {"\"rope_scaling\":{\"rope_theta\":6},\"rope_parameters\":{\"rope_theta\":4}", 6},
        {"\"rope_parameters\":{}", 10000},
        {"\"partial_rotary_factor\":1.0", 10000},
    };
    struct model_config c;
    char text[256];
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        snprintf(text, sizeof text, "{\"model_type\":\"olmoe\",%s}", cases[i].fields);
        load_good(&c, text);
        assert_true(c.rope_theta == cases[i].theta);
    }
}

static void test_model_config_knows_which_layers_slide(void **state)
{
    (void)state;
    struct model_config c;
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"num_hidden_layers\":3,\"sliding_window\":100,"
                  "\"use_sliding_window\":true,\"layer_types\":[\"full_attention\","
                  "\"sliding_attention\",\"full_attention\"]}");
    assert_true(c.sliding_window == 100 && !c.is_sliding[0] && c.is_sliding[1] && !c.is_sliding[2]);
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"use_sliding_window\":true,"
                  "\"sliding_window\":32768}"); /* as long as the longest context */
    assert_true(c.sliding_window == 0 && !c.is_sliding[0]);
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"use_sliding_window\":false,"
                  "\"sliding_window\":100,\"max_window_layers\":2}");
    assert_true(c.sliding_window == 0 && !c.is_sliding[0]);
    load_good(&c, "{\"model_type\":\"qwen2_moe\",\"use_sliding_window\":true,"
                  "\"sliding_window\":null}");
    assert_true(c.sliding_window == 0);
}

#define OLMOE "{\"model_type\":\"olmoe\","
#define QWEN "{\"model_type\":\"qwen2_moe\","

static const struct {
    const char *text;
    enum err_code code;
    const char *message;
} bad[] = {
    {"[]", ERR_INPUT, "found no object at the top, expected one"},
    {"{}", ERR_INPUT, "model_type: found nothing, expected a string"},
    {"{\"model_type\":\"dbrx\"}", ERR_UNSUPPORTED,
     "model_type: found \"dbrx\", expected olmoe, qwen2_moe, mixtral or qwen3_moe"},
    {"{\"model_type\":7}", ERR_INPUT, "model_type: found an integer, expected a string"},
    {"{\"model_type\":\"olmoe\",\"model_type\":\"olmoe\"}", ERR_INPUT,
     "not valid JSON: line 1, column 34: duplicate object key near '\"model_type\"'"},
    {OLMOE "\"architectures\":[\"OlmoeForSequenceClassification\"]}", ERR_UNSUPPORTED,
     "architectures: found \"OlmoeForSequenceClassification\", expected \"OlmoeForCausalLM\""},
    {OLMOE "\"hidden_size\":0}", ERR_INPUT, "hidden_size: found 0, expected 1 to 16777216"},
    {OLMOE "\"hidden_size\":-4}", ERR_INPUT, "hidden_size: found -4, expected 1 to 16777216"},
    {OLMOE "\"hidden_size\":1e3}", ERR_INPUT, "hidden_size: found a number, expected an integer"},
    {OLMOE "\"hidden_size\":9223372036854775807}", ERR_INPUT,
     "hidden_size: found 9223372036854775807, expected 1 to 16777216"},
    {OLMOE "\"hidden_size\":2047}", ERR_INPUT,
     "hidden_size: 2047 is no multiple of num_attention_heads, 16"},
    {OLMOE "\"num_hidden_layers\":1025}", ERR_INPUT,
     "num_hidden_layers: found 1025, expected 1 to 1024"},
    {OLMOE "\"vocab_size\":\"many\"}", ERR_INPUT,
     "vocab_size: found a string, expected an integer"},
    {OLMOE "\"num_key_value_heads\":5}", ERR_INPUT,
     "num_attention_heads: 16 is no multiple of num_key_value_heads, 5"},
    {OLMOE "\"hidden_size\":48}", ERR_INPUT,
     "head_dim: 3, expected an even number for rotary positions"},
    {OLMOE "\"hidden_size\":16,\"num_attention_heads\":32,\"head_dim\":1048576}", ERR_INPUT,
     "num_attention_heads * head_dim: 33554432, expected at most 16777216"},
    {OLMOE "\"head_dim\":64}", ERR_UNSUPPORTED,
     "head_dim: found 64; the olmoe type needs hidden_size 2048 over num_attention_heads 16"},
    {OLMOE "\"num_experts\":7}", ERR_INPUT,
     "num_experts_per_tok: found 8, more than the 7 experts"},
    {OLMOE "\"num_experts\":65535}", ERR_INPUT, "num_experts: found 65535, expected 1 to 65534"},
    {QWEN "\"num_experts\":0}", ERR_INPUT, "num_experts: found 0, expected 1 to 65534"},
    {OLMOE "\"num_experts_per_tok\":0}", ERR_INPUT,
     "num_experts_per_tok: found 0, expected 1 to 65534"},
    {OLMOE "\"hidden_act\":\"gelu\"}", ERR_UNSUPPORTED,
     "hidden_act: found \"gelu\", expected \"silu\""},
    {OLMOE "\"norm_topk_prob\":1}", ERR_INPUT,
     "norm_topk_prob: found an integer, expected true or false"},
    {OLMOE "\"rms_norm_eps\":-1e-5}", ERR_INPUT,
     "rms_norm_eps: found -1e-05, expected a number above 0"},
    {OLMOE "\"clip_qkv\":0}", ERR_INPUT, "clip_qkv: found 0, expected a number above 0"},
    {OLMOE "\"sliding_window\":8}", ERR_UNSUPPORTED,
     "sliding_window: the olmoe type has none; expected null or no field"},
    {OLMOE "\"torch_dtype\":\"int8\"}", ERR_UNSUPPORTED,
     "torch_dtype: found \"int8\", expected bfloat16, float16, float32 or float64"},
    {OLMOE "\"rope_theta\":0}", ERR_INPUT, "rope_theta: found 0, expected a number above 0"},
    {OLMOE "\"rope_scaling\":{\"type\":\"yarn\",\"factor\":4}}", ERR_UNSUPPORTED,
     "rope_scaling.type: found \"yarn\", expected \"default\"; scaled rotary positions are not "
     "supported"},
    {OLMOE "\"rope_parameters\":{\"rope_type\":\"linear\"}}", ERR_UNSUPPORTED,
     "rope_parameters.rope_type: found \"linear\", expected \"default\"; scaled rotary positions "
     "are not supported"},
    {OLMOE "\"rope_parameters\":{\"full_attention\":{}}}", ERR_UNSUPPORTED,
     "rope_parameters: rotary positions by kind of layer are not supported"},
    {OLMOE "\"rope_parameters\":{\"partial_rotary_factor\":0.5}}", ERR_UNSUPPORTED,
     "partial_rotary_factor: only 1 is supported"},
    {OLMOE "\"partial_rotary_factor\":0.25}", ERR_UNSUPPORTED,
     "partial_rotary_factor: only 1 is supported"},
    {QWEN "\"decoder_sparse_step\":0}", ERR_INPUT,
     "decoder_sparse_step: found 0, expected 1 to 16777216"},
    {QWEN "\"decoder_sparse_step\":25}", ERR_INPUT,
     "decoder_sparse_step and mlp_only_layers leave no layer with experts"},
    {QWEN "\"mlp_only_layers\":[1,24]}", ERR_INPUT,
     "mlp_only_layers[1]: expected a layer, 0 to 23"},
    {QWEN "\"use_sliding_window\":true}", ERR_UNSUPPORTED,
     "use_sliding_window: true without layer_types, which versions of transformers read in "
     "different ways; add layer_types"},
    {QWEN "\"layer_types\":[\"full_attention\"]}", ERR_INPUT,
     "layer_types: found 1 entries, expected 24"},
    {QWEN "\"num_hidden_layers\":1,\"layer_types\":[\"chunked_attention\"]}", ERR_UNSUPPORTED,
     "layer_types[0]: expected full_attention or sliding_attention"},
    {QWEN "\"num_hidden_layers\":1,\"layer_types\":[\"sliding_attention\"]}", ERR_INPUT,
     "layer_types names sliding_attention, but no sliding_window is in use"},
};

static void test_model_config_refuses_by_name(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct model_config c;
        struct err err = {0};
        int rc = load(&c, bad[i].text, &err);
        assert_string_equal(err.message, bad[i].message);
        assert_int_equal(rc, bad[i].code);
        assert_string_equal(err.file, path);
    }
}

/* Whatever bytes a config.json has: an answer, and for a refused file a sentence. */
static void test_model_config_survives_changed_bytes(void **state)
{
    (void)state;
    static const char good[] =
        "{\"model_type\":\"qwen2_moe\",\"num_hidden_layers\":4,\"mlp_only_layers\":[1,2],"
        "\"decoder_sparse_step\":1,\"rope_parameters\":{\"rope_theta\":1e6,\"rope_type\":"
        "\"default\"},\"layer_types\":[\"full_attention\",\"sliding_attention\","
        "\"full_attention\",\"full_attention\"],\"use_sliding_window\":true,\"sliding_window\":9,"
        "\"hidden_size\":64,\"num_attention_heads\":8,\"rms_norm_eps\":1e-6,\"dtype\":"
        "\"float16\",\"num_experts\":12,\"norm_topk_prob\":true,\"num_key_value_heads\":2}";
    static const char letters[] = "0123456789[]{},:\"-+.eE \\ntfu";
    struct model_config c;
    size_t refused = 0, accepted = 0;
    uint32_t x = 2463534242u;
    load_good(&c, good);
    for (int round = 0; round < 3000; round++) {
        char text[sizeof good];
        struct err err = {0};
        memcpy(text, good, sizeof good);
        for (int edits = 1 + round % 3; edits > 0; edits--) {
            x ^= x << 13;
            x ^= x >> 17;
            x ^= x << 5;
            text[x % (sizeof good - 1)] = letters[(x >> 12) % (sizeof letters - 1)];
        }
        if (load(&c, text, &err) == 0)
            accepted++;
        else if (err.message[0])
            refused++;
    }
    assert_int_equal(refused + accepted, 3000);
    assert_true(accepted > 100 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_model_config_reads_the_bundled_models),
        cmocka_unit_test(test_model_config_takes_the_defaults_of_transformers),
        cmocka_unit_test(test_model_config_slides_all_layers_of_mixtral_and_qwen3),
        cmocka_unit_test(test_model_config_honours_every_field),
        cmocka_unit_test(test_model_config_reads_rope_of_either_transformers),
        cmocka_unit_test(test_model_config_knows_which_layers_slide),
        cmocka_unit_test(test_model_config_refuses_by_name),
        cmocka_unit_test(test_model_config_survives_changed_bytes),
    };
    return cmocka_run_group_tests(tests, make_path, remove_path);
}
