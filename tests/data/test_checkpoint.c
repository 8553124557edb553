#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/checkpoint.h"
#include "data/quant_config.h"

static struct checkpoint *open_good(const char *dir)
{
    struct checkpoint *c = NULL;
    struct err err = {0};
    if (checkpoint_open(&c, dir, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    return c;
}

/* --- The bundled models, against numpy --- */

static const struct {
    const char *dir;
    const char *name;
    size_t rank, shape[2];
    float first, third, last; /* elements 0, count / 3, count - 1 */
    double sum;
} golden[] = {
    {TEST_SAMPLE "/tiny-olmoe",
     "model.layers.3.mlp.experts.17.down_proj.weight",
     2,
     {128, 64},
     -0x1.52p-5f,
     -0x1.3ap-6f,
     0x1.a4p-4f,
     -6.8740257024765015},
    {TEST_SAMPLE "/tiny-olmoe",
     "model.norm.weight",
     1,
     {128},
     0x1.eep+0f,
     0x1.ccp+0f,
     0x1.e8p+0f,
     237.9453125},
    {TEST_SAMPLE "/tiny-olmoe",
     "lm_head.weight",
     2,
     {2048, 128},
     0x1.c2p-5f,
     0x1.bcp-4f,
     -0x1.92p-3f,
     -970.3213858418167},
    {TEST_GOLDEN "/tiny-qwen2moe/model",
     "model.layers.2.mlp.shared_expert_gate.weight",
     2,
     {1, 96},
     0x1.d6p-3f,
     -0x1.24p-2f,
     -0x1.bep-4f,
     0.03765869140625},
    {TEST_GOLDEN "/tiny-qwen2moe/model",
     "model.layers.0.self_attn.q_proj.bias",
     1,
     {96},
     -0x1.44p-2f,
     -0x1.eap-3f,
     0x1.26p-3f,
     -2.1962890625},
    {TEST_GOLDEN "/tiny-qwen2moe/model",
     "model.layers.3.mlp.experts.23.up_proj.weight",
     2,
     {48, 96},
     0x1.aep-7f,
     -0x1.58p-4f,
     -0x1.78p-6f,
     1.1197757720947266},
};

static void test_checkpoint_reads_the_values_that_numpy_reads(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof golden / sizeof *golden; i++) {
        struct checkpoint *c = open_good(golden[i].dir);
        struct err err = {0};
        size_t count = golden[i].shape[0] * (golden[i].rank > 1 ? golden[i].shape[1] : 1);
        float *w = malloc(count * sizeof *w);
        double sum = 0;
        assert_non_null(w);
        if (checkpoint_read_float(c, golden[i].name, golden[i].shape, golden[i].rank, w, &err) < 0)
            fail_msg("%s", err.message);
        for (size_t k = 0; k < count; k++)
            sum += w[k];
        assert_true(w[0] == golden[i].first && w[count / 3] == golden[i].third);
        assert_true(w[count - 1] == golden[i].last);
        assert_true(fabs(sum - golden[i].sum) < 1e-9);
        free(w);
        checkpoint_free(c);
    }
}

static void test_checkpoint_lists_all_tensors_by_name(void **state)
{
    (void)state;
    struct checkpoint *c = open_good(TEST_SAMPLE "/tiny-olmoe");
    struct checkpoint *other = open_good(TEST_GOLDEN "/tiny-qwen2moe/model/../model/");
    assert_string_equal(checkpoint_name(c), "tiny-olmoe");
    assert_string_equal(checkpoint_name(other), "model");
    assert_int_equal(checkpoint_count(c), 633);
    assert_int_equal(checkpoint_count(other), 347);
    assert_int_equal(checkpoint_config(c)->experts, 32);
    assert_int_equal(checkpoint_quantization(c), CHECKPOINT_PLAIN);
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        assert_ptr_equal(checkpoint_find(c, checkpoint_at(c, i)->name), checkpoint_at(c, i));
        if (i)
            assert_true(strcmp(checkpoint_at(c, i - 1)->name, checkpoint_at(c, i)->name) < 0);
    }
    assert_null(checkpoint_find(c, "lm_head"));
    assert_int_equal(strlen(checkpoint_fingerprint(c)), 64);
    assert_string_not_equal(checkpoint_fingerprint(c), checkpoint_fingerprint(other));
    struct err err = {0};
    char byte;
    assert_int_equal(checkpoint_read(c, checkpoint_at(other, 0), &byte, &err), ERR_USAGE);
    checkpoint_free(c);
    checkpoint_free(other);
}

static void test_checkpoint_names_the_shape_that_it_did_not_expect(void **state)
{
    (void)state;
    struct checkpoint *c = open_good(TEST_SAMPLE "/tiny-olmoe");
    struct err err = {0};
    float w[1];
    const size_t wrong[] = {128, 65};
    assert_int_equal(checkpoint_read_float(c, golden[0].name, wrong, 2, w, &err), ERR_INPUT);
    assert_string_equal(err.message, "tensor \"model.layers.3.mlp.experts.17.down_proj.weight\": "
                                     "found shape [128, 64], expected [128, 65]");
    err_clear(&err);
    assert_int_equal(checkpoint_read_float(c, "model.norm.weight", wrong, 2, w, &err), ERR_INPUT);
    assert_string_equal(err.message,
                        "tensor \"model.norm.weight\": found shape [128], expected [128, 65]");
    err_clear(&err);
    assert_int_equal(checkpoint_read_float(c, "model.norm.bias", wrong, 1, w, &err), ERR_INPUT);
    assert_string_equal(err.message, "tensor \"model.norm.bias\" is missing");
    checkpoint_free(c);
}

/* --- Crafted folders --- */

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_checkpoint.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static const char *file_path(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int remove_folder(void **state)
{
    (void)state;
    static const char *const names[] = {"config.json",       "model.safetensors.index.json",
                                        "a.safetensors",     "b.safetensors",
                                        "link.safetensors",  "fifo.safetensors",
                                        "model.safetensors", "d.safetensors"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        remove(file_path(names[i]));
    return rmdir(folder);
}

static void write_text(const char *name, const char *text)
{
    FILE *f = fopen(file_path(name), "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* Each name one tensor of three bytes of type U8, or [1, 3] BF16 where it ends in ".weight". */
static void write_shard(const char *name, const char *const *tensors, size_t count)
{
    struct safetensors_writer *w = NULL;
    struct safetensors_spec specs[8];
    struct err err = {0};
    for (size_t i = 0; i < count; i++) {
        bool weight = strstr(tensors[i], ".weight") != NULL;
        specs[i] = weight ? (struct safetensors_spec){tensors[i], DTYPE_BF16, 2, {1, 3}}
                          : (struct safetensors_spec){tensors[i], DTYPE_U8, 1, {3}};
    }
    assert_int_equal(safetensors_writer_new(&w, file_path(name), specs, count, &err), 0);
    for (size_t i = 0; i < count; i++)
        assert_int_equal(safetensors_writer_add(w, "\x80\x3f\x00\x40\x40\x40",
                                                specs[i].dtype == DTYPE_BF16 ? 6 : 3, &err),
                         0);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
}

static void make_shards(void)
{
    static const char *const a[] = {"x.weight", "y"}, *const b[] = {"z", "y"};
    write_text("config.json", "{\"model_type\":\"olmoe\"}");
    write_shard("a.safetensors", a, 2);
    write_shard("b.safetensors", b, 1);
    write_shard("d.safetensors", b, 2);
}

static void test_checkpoint_finds_tensors_over_all_shards(void **state)
{
    (void)state;
    make_shards();
    write_text("model.safetensors.index.json",
               "{\"metadata\":{\"total_size\":12},\"weight_map\":{\"z\":\"b.safetensors\","
               "\"x.weight\":\"a.safetensors\",\"y\":\"a.safetensors\"}}");
    struct checkpoint *c = open_good(folder);
    struct err err = {0};
    float w[3];
    char bytes[3];
    assert_int_equal(checkpoint_count(c), 3);
    assert_string_equal(checkpoint_at(c, 2)->name, "z");
    assert_int_equal(checkpoint_read_float(c, "x.weight", (size_t[]){1, 3}, 2, w, &err), 0);
    assert_true(w[0] == 1 && w[1] == 2 && w[2] == 3);
    assert_int_equal(checkpoint_read(c, checkpoint_find(c, "z"), bytes, &err), 0);
    assert_memory_equal(bytes, "\x80\x3f\x00", 3);
    assert_int_equal(checkpoint_config(c)->dtype, DTYPE_BF16); /* config.json does not say */
    assert_int_equal(checkpoint_read_float(c, "y", (size_t[]){3}, 1, w, &err), ERR_INPUT);
    assert_string_equal(err.message, "tensor \"y\": found type U8, expected F64, F32, F16 or BF16");
    checkpoint_free(c);
}

static void test_checkpoint_reads_floats_of_every_width(void **state)
{
    (void)state;
    static const double f64[] = {0.1, -3e-9};
    static const float f32[] = {0.7f, -0.0f};
    static const uint16_t f16[] = {0x3555, 0x8001}, bf16[] = {0x3eab, 0xff80};
    static const struct {
        enum dtype dtype;
        const void *bytes;
        float expected[2]; /* numpy: 0x3555 is 0.33325195, 0x8001 is -2^-24, 0x3eab 0.33398438 */
    } cases[] = {{DTYPE_F64, f64, {0.1f, -3e-9f}},
                 {DTYPE_F32, f32, {0.7f, -0.0f}},
                 {DTYPE_F16, f16, {0.33325195f, -0x1p-24f}},
                 {DTYPE_BF16, bf16, {0.33398438f, -INFINITY}}};
    write_text("config.json", "{\"model_type\":\"olmoe\",\"dtype\":\"float32\"}");
    for (size_t i = 0; i < 4; i++) {
        struct safetensors_spec spec = {"t", cases[i].dtype, 1, {2}};
        struct safetensors_writer *w = NULL;
        float out[2];
        assert_int_equal(safetensors_writer_new(&w, file_path("model.safetensors"), &spec, 1, NULL),
                         0);
        assert_int_equal(
            safetensors_writer_add(w, cases[i].bytes, 2 * dtype_size(cases[i].dtype), NULL), 0);
        assert_int_equal(safetensors_writer_finish(w, NULL), 0);
        struct checkpoint *c = open_good(folder);
        assert_int_equal(checkpoint_config(c)->dtype, DTYPE_F32);
        assert_int_equal(checkpoint_read_float(c, "t", (size_t[]){2}, 1, out, NULL), 0);
        assert_memory_equal(out, cases[i].expected, sizeof out);
        checkpoint_free(c);
    }
}

static void assert_refused(enum err_code code, const char *file, const char *message)
{
    struct checkpoint *c = NULL;
    struct err err = {0};
    int rc = checkpoint_open(&c, folder, &err);
    assert_null(c);
    assert_string_equal(err.message, message);
    assert_int_equal(rc, code);
    assert_string_equal(err.file, file);
}

#define NAME_REFUSED(name) \
    "weight_map: found the file name \"" name "\", expected NAME.safetensors in the same folder"

static void test_checkpoint_refuses_bad_indexes(void **state)
{
    (void)state;
    static const struct {
        const char *map;  /* value of weight_map */
        const char *file; /* that the error names */
        const char *message;
    } cases[] = {
        {"{\"x\":\"../a.safetensors\"}", "", NAME_REFUSED("../a.safetensors")},
        {"{\"x\":\"/etc/a.safetensors\"}", "", NAME_REFUSED("/etc/a.safetensors")},
        {"{\"x\":\"sub/a.safetensors\"}", "", NAME_REFUSED("sub/a.safetensors")},
        {"{\"x\":\"..\"}", "", NAME_REFUSED("..")},
        {"{\"x\":\"\"}", "", NAME_REFUSED("")},
        {"{\"x\":\".safetensors\"}", "", NAME_REFUSED(".safetensors")},
        {"{\"x\":\"config.json\"}", "", NAME_REFUSED("config.json")},
        {"{\"x\":\"a\\u001b.safetensors\"}", "", NAME_REFUSED("a\x1b.safetensors")},
        {"{\"x\":\"a\\u0000.safetensors\"}", "", "weight_map.x: the string holds a NUL character"},
        {"{\"x\":3}", "", "weight_map.x: found an integer, expected a string"},
        {"[]", "", "weight_map: found an array, expected an object"},
        {"{\"x\":\"link.safetensors\"}", "link.safetensors",
         "a symbolic link; expected the file itself in the folder (a download cache links to its "
         "files: copy them)"},
        {"{\"x\":\"fifo.safetensors\"}", "fifo.safetensors", "not a regular file"},
        {"{\"x\":\"gone.safetensors\"}", "gone.safetensors",
         "cannot open: No such file or directory"},
        {"{\"z\":\"a.safetensors\"}", "",
         "tensor \"z\": expected in a.safetensors, which does not have it"},
        {"{\"y\":\"a.safetensors\",\"y\":\"b.safetensors\"}", "",
         "not valid JSON: line 1, column 38: duplicate object key near '\"y\"'"},
    };
    make_shards();
    assert_int_equal(symlink("a.safetensors", file_path("link.safetensors")), 0);
    assert_int_equal(mkfifo(file_path("fifo.safetensors"), 0600), 0);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256], file[512];
        snprintf(text, sizeof text, "{\"weight_map\":%s}", cases[i].map);
        write_text("model.safetensors.index.json", text);
        snprintf(file, sizeof file, "%s",
                 file_path(cases[i].file[0] ? cases[i].file : "model.safetensors.index.json"));
        assert_refused(ERR_INPUT, file, cases[i].message);
    }
}

static void test_checkpoint_refuses_a_tensor_in_two_shards(void **state)
{
    (void)state;
    char message[256];
    struct checkpoint *c = NULL;
    struct err err = {0};
    make_shards();
    write_text("model.safetensors.index.json",
               "{\"weight_map\":{\"y\":\"a.safetensors\",\"z\":\"d.safetensors\"}}");
    assert_int_equal(checkpoint_open(&c, folder, &err), ERR_INPUT);
    snprintf(message, sizeof message, "tensor \"y\" is also in %s/", folder);
    assert_memory_equal(err.message, message, strlen(message));
}

static void test_checkpoint_refuses_folders_without_a_model(void **state)
{
    (void)state;
    struct checkpoint *c = NULL;
    struct err err = {0};
    assert_int_equal(checkpoint_open(&c, "/nonexistent/model", &err), ERR_INPUT);
    assert_string_equal(err.message, "cannot open the model's folder: No such file or directory");
    char config[512];
    snprintf(config, sizeof config, "%s", file_path("config.json"));
    assert_refused(ERR_INPUT, config, "cannot open: No such file or directory");
    write_text("config.json", "{\"model_type\":\"olmoe\"}");
    assert_refused(
        ERR_INPUT, folder,
        "found neither model.safetensors nor model.safetensors.index.json in the folder");
}

/* --- quantization_config --- */

#define CONFIG(fields) "{\"model_type\":\"olmoe\",\"quantization_config\":{" fields "}}"

static void test_checkpoint_refuses_bad_quantization_configs(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        enum err_code code;
        const char *message;
    } cases[] = {
        {CONFIG("\"bits\":4"), ERR_INPUT,
         "quantization_config.quant_method: found nothing, expected a string"},
        {CONFIG("\"quant_method\":\"awq\""), ERR_UNSUPPORTED,
         "quantization_config.quant_method: found \"awq\", expected \"gptq\" or \"moqa\""},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":5,\"group_size\":64"), ERR_UNSUPPORTED,
         "quantization_config.bits: found 5, expected 2, 3, 4 or 8"},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":0"), ERR_INPUT,
         "quantization_config.group_size: found 0, expected -1 or 1 to 16777216"},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":-2"), ERR_INPUT,
         "quantization_config.group_size: found -2, expected 0 to 16777216"},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,"
                "\"checkpoint_format\":\"marlin\""),
         ERR_UNSUPPORTED,
         "quantization_config.checkpoint_format: found \"marlin\", expected \"gptq\" or "
         "\"gptq_v2\""},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,\"pack_dtype\":\"int8\""),
         ERR_UNSUPPORTED, "quantization_config.pack_dtype: found \"int8\", expected \"int32\""},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,\"dynamic\":{\"a(\":{}}"),
         ERR_INPUT,
         "quantization_config.dynamic: pattern \"a(\" at character 2: missing closing parenthesis"},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,\"dynamic\":{\"a\":4}"),
         ERR_INPUT, "quantization_config.dynamic: \"a\" is not an object"},
        {CONFIG("\"quant_method\":\"gptq\",\"bits\":4,\"group_size\":64,"
                "\"dynamic\":{\"a\":{\"method\":\"qqq\"}}"),
         ERR_UNSUPPORTED,
         "quantization_config.dynamic: \"a\" changes method for some linears, which is not "
         "supported"},
        {CONFIG("\"quant_method\":\"moqa\",\"format_version\":2,\"group_size\":64"),
         ERR_UNSUPPORTED,
         "quantization_config.format_version: found 2, expected 1; made by another version of "
         "moqa"},
        {CONFIG("\"quant_method\":\"moqa\",\"format_version\":1,\"group_size\":64"), ERR_INPUT,
         "quantization_config.modules: found nothing, expected an object"},
        {CONFIG("\"quant_method\":\"moqa\",\"format_version\":1,\"group_size\":64,"
                "\"modules\":{\"a.b\":{\"bits\":1}}"),
         ERR_UNSUPPORTED, "a.b.bits: found 1, expected 2, 3, 4 or 8"},
        {CONFIG("\"quant_method\":\"moqa\",\"format_version\":1,\"group_size\":64,"
                "\"modules\":{\"a.b\":{\"bits\":2,\"channel_bits\":16}}"),
         ERR_UNSUPPORTED, "a.b.channel_bits: found 16, expected 2, 3, 4 or 8"},
        {CONFIG("\"quant_method\":\"moqa\",\"format_version\":1,\"group_size\":64,"
                "\"modules\":{\"a.b\":4}"),
         ERR_INPUT, "quantization_config.modules: \"a.b\" is not an object"},
    };
    char config[512];
    snprintf(config, sizeof config, "%s", file_path("config.json"));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_text("config.json", cases[i].text);
        assert_refused(cases[i].code, config, cases[i].message);
    }
}

static struct quant_config *parse_quant(const char *text)
{
    struct quant_config *q = NULL;
    struct err err = {0};
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    if (quant_config_parse(&q, root, "config.json", &err) < 0)
        fail_msg("%s", err.message);
    json_decref(root);
    return q;
}

static void assert_linear(const struct quant_config *q, const char *linear, bool quantized,
                          unsigned bits, size_t group_size)
{
    struct checkpoint_linear out;
    struct err err = {0};
    if (quant_config_linear(q, linear, &out, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(out.quantized, quantized);
    assert_int_equal(out.bits, bits);
    assert_int_equal(out.group_size, group_size);
}

static void test_quant_config_tries_negative_patterns_first_then_in_order(void **state)
{
    (void)state;
    struct quant_config *q = parse_quant(
        CONFIG("\"quant_method\":\"gptq\",\"bits\":3,\"group_size\":64,\"dynamic\":{"
               "\".*\\\\.experts\\\\.\\\\d*[02468]\\\\..*\":{\"bits\":4},"
               "\"+:.*\\\\.experts\\\\.1\\\\..*\":{\"bits\":8,\"group_size\":-1},"
               "\".*\\\\.experts\\\\.\\\\d*[13579]\\\\..*\":{\"bits\":2},"
               "\"experts\":{\"bits\":8},"
               "\"-:.*\\\\.mlp\\\\.gate$\":{},\"-:.*experts\\\\.6\\\\..*\":{\"bits\":2}}"));
    assert_int_equal(quant_config_format(q), CHECKPOINT_GPTQ);
    assert_linear(q, "model.layers.0.mlp.experts.4.up_proj", true, 4, 64);
    assert_linear(q, "model.layers.0.mlp.experts.6.up_proj", false, 0, 0);
    assert_linear(q, "model.layers.0.mlp.experts.1.up_proj", true, 8, 0);
    assert_linear(q, "model.layers.0.mlp.experts.13.up_proj", true, 2, 64);
    assert_linear(q, "model.layers.0.mlp.shared_expert.up_proj", true, 3, 64);
    assert_linear(q, "model.layers.0.mlp.gate", false, 0, 0);
    assert_linear(q, "model.layers.0.mlp.gate_proj", true, 3, 64);
    assert_linear(q, "experts.1", true, 8, 64); /* a pattern is tried at the start of the name */
    quant_config_free(q);
}

static void test_quant_config_stops_patterns_that_explode(void **state)
{
    (void)state;
    struct quant_config *q = parse_quant(CONFIG("\"quant_method\":\"gptq\",\"bits\":3,"
                                                "\"group_size\":64,"
                                                "\"dynamic\":{\"(a+)+[bd]\":{}}"));
    struct checkpoint_linear out;
    struct err err = {0};
    assert_int_equal(quant_config_linear(q, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac", &out, &err),
                     ERR_INPUT);
    assert_string_equal(
        err.message, "quantization_config.dynamic: pattern \"(a+)+[bd]\" takes too many steps on "
                     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaac\"");
    quant_config_free(q);
}

static void test_quant_config_limits_number_and_length_of_patterns(void **state)
{
    (void)state;
    struct quant_config *q = NULL;
    struct err err = {0};
    char key[80000];
    json_t *dynamic = json_object();
    json_t *root = json_pack("{s:{s:s,s:i,s:i,s:o}}", "quantization_config", "quant_method", "gptq",
                             "bits", 4, "group_size", 64, "dynamic", dynamic);
    for (int i = 0; i < 4097; i++) {
        snprintf(key, sizeof key, "linear%d", i);
        json_object_set_new(dynamic, key, json_object());
    }
    assert_int_equal(quant_config_parse(&q, root, "config.json", &err), ERR_UNSUPPORTED);
    assert_string_equal(err.message,
                        "quantization_config.dynamic: 4097 patterns, expected at most 4096");
    json_object_clear(dynamic);
    memset(key, 'a', sizeof key);
    key[70000] = '\0';
    json_object_set_new(dynamic, key, json_object());
    err_clear(&err);
    assert_int_equal(quant_config_parse(&q, root, "config.json", &err), ERR_UNSUPPORTED);
    assert_string_equal(err.message, "quantization_config.dynamic: a pattern of 70000 bytes, "
                                     "expected at most 65536");
    assert_null(q);
    json_decref(root);
}

/* A linear outside the experts, and a name that is full of a pattern's own signs. */
static void test_quant_config_quotes_names_and_frees_attention_that_is_quantized(void **state)
{
    (void)state;
    static const struct quant_module modules[] = {{"l.self_attn.q_proj", 4, 0, NULL},
                                                  {"l.self_attn.k_proj", 16, 0, NULL},
                                                  {"a+(b).c[d]|e", 8, 0, NULL}};
    json_t *field = NULL, *root = json_object();
    struct err err = {0};
    assert_int_equal(quant_config_build(&field, CHECKPOINT_GPTQ, 0, modules, 3, &err), 0);
    json_object_set_new(root, "quantization_config", field);
    char *text = json_dumps(root, 0);
    struct quant_config *q = parse_quant(text);
    assert_linear(q, "l.self_attn.q_proj", true, 4, 0);
    assert_linear(q, "l.self_attn.k_proj", false, 0, 0);
    assert_linear(q, "a+(b).c[d]|e.x", true, 8, 0);
    assert_linear(q, "l.mlp.gate", false, 0, 0);
    quant_config_free(q);
    free(text);
    json_decref(root);
}

/* What is written is read back as it was meant, in both layouts. */
static void test_quant_config_built_is_read_back(void **state)
{
    (void)state;
    enum { LAYERS = 3, EXPERTS = 12, COUNT = LAYERS * EXPERTS };
    static const unsigned widths[] = {2, 3, 4, 8, 16};
    static const enum checkpoint_format formats[] = {CHECKPOINT_GPTQ, CHECKPOINT_GPTQ_V2,
                                                     CHECKPOINT_MOQA};
    struct quant_module modules[COUNT + 2];
    char names[COUNT][64], linear[96];
    for (size_t f = 0; f < 3; f++) {
        size_t group = f == 1 ? 0 : 32;
        for (size_t i = 0; i < COUNT; i++) {
            snprintf(names[i], sizeof names[i], "model.layers.%zu.mlp.experts.%zu", i / EXPERTS,
                     i % EXPERTS);
            modules[i] = (struct quant_module){names[i], widths[(i * i + i / 5) % 5], 0, NULL};
            if (formats[f] == CHECKPOINT_MOQA && i % 3 == 0)
                modules[i].channel_bits = 4;
        }
        modules[COUNT] = (struct quant_module){"model.layers.1.mlp.shared_expert", 8, 0, NULL};
        modules[COUNT + 1] = (struct quant_module){"lonely", 2, 0, NULL};
        json_t *field = NULL, *root = json_object();
        struct err err = {0};
        assert_int_equal(quant_config_build(&field, formats[f], group, modules, COUNT + 2, &err),
                         0);
        json_object_set_new(root, "quantization_config", field);
        char *text = json_dumps(root, 0);
        struct quant_config *q = parse_quant(text);
        assert_int_equal(quant_config_format(q), formats[f]);
        for (size_t i = 0; i < COUNT; i++) {
            bool quantized = modules[i].bits != 16;
            snprintf(linear, sizeof linear, "%.63s.gate_proj", names[i]);
            assert_linear(q, linear, quantized, quantized ? modules[i].bits : 0,
                          quantized ? group : 0);
            struct checkpoint_linear out;
            assert_int_equal(quant_config_linear(q, linear, &out, &err), 0);
            assert_int_equal(out.channel_bits, quantized ? modules[i].channel_bits : 0);
        }
        assert_linear(q, "model.layers.1.mlp.shared_expert.up_proj", true, 8, group);
        assert_linear(q, "model.layers.1.mlp.shared_expert_gate", false, 0, 0);
        assert_linear(q, "model.layers.1.mlp.gate", false, 0, 0);
        assert_linear(q, "model.layers.1.self_attn.q_proj", false, 0, 0);
        assert_linear(q, "lonely", true, 2, group);
        quant_config_free(q);
        free(text);
        json_decref(root);
    }
}

/* Linears of one expert with widths of their own, in both layouts; few patterns for many. */
static void test_quant_config_holds_widths_of_single_linears(void **state)
{
    (void)state;
    enum { EXPERTS = 20, LINEARS = 3 };
    static const unsigned widths[] = {3, 16, 2, 8, 4};
    static const char *const leaves[] = {"gate_proj", "up_proj", "down_proj"};
    static const enum checkpoint_format formats[] = {CHECKPOINT_GPTQ, CHECKPOINT_MOQA};
    struct quant_module modules[EXPERTS * LINEARS];
    char names[EXPERTS][64], linear[96];
    for (size_t f = 0; f < 2; f++) {
        for (size_t i = 0; i < EXPERTS * LINEARS; i++) {
            size_t e = i / LINEARS;
            snprintf(names[e], sizeof names[e], "model.layers.%zu.mlp.experts.%zu", e % 2, e);
            modules[i] =
                (struct quant_module){names[e], widths[(i * i + i / 7) % 5], 0, leaves[i % 3]};
        }
        json_t *field = NULL, *root = json_object();
        struct err err = {0};
        assert_int_equal(
            quant_config_build(&field, formats[f], 32, modules, EXPERTS * LINEARS, &err), 0);
        json_object_set_new(root, "quantization_config", field);
        char *text = json_dumps(root, 0);
        struct quant_config *q = parse_quant(text);
        for (size_t i = 0; i < EXPERTS * LINEARS; i++) {
            bool quantized = modules[i].bits != 16;
            snprintf(linear, sizeof linear, "%.63s.%s", names[i / LINEARS], leaves[i % 3]);
            assert_linear(q, linear, quantized, quantized ? modules[i].bits : 0,
                          quantized ? 32 : 0);
        }
        /* 2 layers, 3 linears, 5 widths; 3 more that leave attention and routers alone. */
        assert_true(formats[f] == CHECKPOINT_MOQA ||
                    json_object_size(json_object_get(field, "dynamic")) <= 2 * 3 * 5 + 3);
        quant_config_free(q);
        free(text);
        json_decref(root);
    }
}

static void test_quant_config_build_refuses_what_no_layout_holds(void **state)
{
    (void)state;
    struct quant_module odd = {"a.b", 5, 0, NULL}, mixed = {"a.b", 2, 4, NULL};
    struct err err = {0};
    json_t *out = NULL;
    assert_int_equal(quant_config_build(&out, CHECKPOINT_MOQA, 64, &odd, 1, &err), ERR_USAGE);
    assert_string_equal(err.message, "a.b: 5 bits, expected 2, 3, 4, 8 or 16");
    err_clear(&err);
    assert_int_equal(quant_config_build(&out, CHECKPOINT_GPTQ, 64, &mixed, 1, &err), ERR_USAGE);
    assert_string_equal(err.message, "a.b: the gptq layout has no mixed channels");
    err_clear(&err);
    assert_int_equal(quant_config_build(&out, CHECKPOINT_PLAIN, 64, NULL, 0, &err), ERR_USAGE);
    assert_string_equal(err.message, "a plain checkpoint has no quantization_config");
    assert_null(out);
}

static void test_checkpoint_linear_is_quantized_where_file_and_config_agree(void **state)
{
    (void)state;
    static const char *const names[] = {"a.x.qweight", "a.y.weight", "b.x.qweight", "b.y.weight"};
    static const struct {
        const char *linear;
        int rc;
        bool quantized;
        const char *message;
    } cases[] = {
        {"a.x", 0, true, ""},
        {"a.y", ERR_INPUT, false, "tensor \"a.y.qweight\" is missing"},
        {"b.x", ERR_INPUT, false,
         "tensor \"b.x.qweight\": the checkpoint has it, but quantization_config of config.json "
         "does not count this linear as quantized"},
        {"b.y", 0, false, ""},
        {"b.z", ERR_INPUT, false, "tensor \"b.z.weight\" is missing"},
    };
    write_text("config.json", CONFIG("\"quant_method\":\"moqa\",\"format_version\":1,"
                                     "\"group_size\":64,\"modules\":{\"a\":{\"bits\":3}}"));
    write_shard("model.safetensors", names, 4);
    struct checkpoint *c = open_good(folder);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct checkpoint_linear out;
        struct err err = {0};
        int rc = checkpoint_linear_config(c, cases[i].linear, &out, &err);
        assert_string_equal(err.message, cases[i].message);
        assert_int_equal(rc, cases[i].rc);
        if (rc == 0)
            assert_int_equal(out.quantized, cases[i].quantized);
    }
    checkpoint_free(c);
}

#define FOLDER_TEST(f) cmocka_unit_test_setup_teardown(f, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_reads_the_values_that_numpy_reads),
        cmocka_unit_test(test_checkpoint_lists_all_tensors_by_name),
        cmocka_unit_test(test_checkpoint_names_the_shape_that_it_did_not_expect),
        FOLDER_TEST(test_checkpoint_finds_tensors_over_all_shards),
        FOLDER_TEST(test_checkpoint_reads_floats_of_every_width),
        FOLDER_TEST(test_checkpoint_refuses_bad_indexes),
        FOLDER_TEST(test_checkpoint_refuses_a_tensor_in_two_shards),
        FOLDER_TEST(test_checkpoint_refuses_folders_without_a_model),
        FOLDER_TEST(test_checkpoint_refuses_bad_quantization_configs),
        cmocka_unit_test(test_quant_config_tries_negative_patterns_first_then_in_order),
        cmocka_unit_test(test_quant_config_stops_patterns_that_explode),
        cmocka_unit_test(test_quant_config_limits_number_and_length_of_patterns),
        cmocka_unit_test(test_quant_config_quotes_names_and_frees_attention_that_is_quantized),
        cmocka_unit_test(test_quant_config_built_is_read_back),
        cmocka_unit_test(test_quant_config_holds_widths_of_single_linears),
        cmocka_unit_test(test_quant_config_build_refuses_what_no_layout_holds),
        FOLDER_TEST(test_checkpoint_linear_is_quantized_where_file_and_config_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
