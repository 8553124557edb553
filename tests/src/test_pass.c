/*
 * The pass: every format gives the same model, a cut run ends in the same bytes, threads change
 * nothing, and degenerate inputs follow a named rule. Refusals: test_pass_refusals.c.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/log.h"
#include "data/base/str.h"
#include "data/packed.h"
#include "src/model/forward.h"
#include "src/quant/learn.h"
#include "tests/src/quant_run.h"

static const char *const text[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static bool exists(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* --- Formats --- */

static double format_perplexity(struct quant_run *r, enum pass_format format)
{
    quant_run_remove(r->out);
    r->options.format = format;
    quant_run_pass(r);
    assert_false(exists(r->out, ".moqa"));
    assert_true(exists(r->out, "tokenizer.json"));
    assert_true(exists(r->out, "moqa_plan.json"));
    assert_true(exists(r->out, "moqa_report.json"));
    assert_true(exists(r->out, "model.safetensors.index.json"));
    return quant_run_perplexity(r->backend, r->out, text, 1, 0);
}

/* By how much the hf format's rounding to the checkpoint's type alone changes the perplexity: the
 * same codes in both, since layers are calibrated on the original before them. */
static double change_by_type(struct quant_run *r)
{
    int before = r->plan.settings.propagation;
    r->plan.settings.propagation = PROPAGATION_FP;
    double moqa = format_perplexity(r, PASS_MOQA), hf = format_perplexity(r, PASS_HF);
    r->plan.settings.propagation = before;
    return fabs(hf / moqa - 1.0);
}

static void check_formats(const char *model, const char *method)
{
    struct quant_run r;
    quant_run_open(&r, model, method, 4, 0);
    double moqa = format_perplexity(&r, PASS_MOQA);
    double v2 = format_perplexity(&r, PASS_GPTQ_V2);
    double hf = format_perplexity(&r, PASS_HF);
    double gptq = format_perplexity(&r, PASS_GPTQ);
    assert_true(moqa == v2);
    assert_true(fabs(hf / moqa - 1.0) < 0.02); /* other codes behind the first layer */
    assert_true(change_by_type(&r) < 0.003);
    assert_true(fabs(gptq / moqa - 1.0) < 0.02); /* shifted zero points */
    quant_run_close(&r);
}

static void test_formats_hold_the_same_model(void **state)
{
    (void)state;
    check_formats("tiny-olmoe", "gptq-4");
    check_formats("tiny-qwen2moe", "moqa-no-channels");
}

static void test_sixteen_bits_and_quantized_attention_survive_every_format(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny-olmoe", "tiny-qwen2moe"};
    for (size_t m = 0; m < 2; m++) {
        struct quant_run r;
        quant_run_open(&r, models[m], "moqa-no-channels", 2, 0);
        quant_run_plan(&r, "moqa-no-channels", "bits_attention=8,bits_shared=16");
        for (size_t l = 0; l < r.plan.layers_count; l++)
            for (size_t e = l % 3; e < r.plan.experts; e += 3) {
                r.plan.layers[l].experts[e].bits = 16;
                r.plan.layers[l].experts[e].pinned = true;
            }
        double moqa = format_perplexity(&r, PASS_MOQA);
        assert_true(moqa == format_perplexity(&r, PASS_GPTQ_V2));
        assert_true(fabs(format_perplexity(&r, PASS_HF) / moqa - 1.0) < 0.02);
        assert_true(change_by_type(&r) < 0.005);
        assert_true(fabs(format_perplexity(&r, PASS_GPTQ) / moqa - 1.0) < 0.02);
        quant_run_close(&r);
    }
}

/* The model with a dense MLP in layer 1: three tensors in a second shard, and the config says so.
 */
static void make_dense(char folder[128], const struct quant_run *r)
{
    enum { INNER = 192 };
    static const char *const names[3] = {"gate_proj", "up_proj", "down_proj"};
    struct err err = {0};
    char path[256], tensor[3][96];
    size_t hidden = r->model.config->hidden;
    json_t *config = NULL, *map = json_object();
    struct safetensors_spec specs[3];
    struct safetensors_writer *w = NULL;
    uint16_t *values = malloc(hidden * INNER * sizeof *values);
    assert_non_null(values);
    unsigned random = 99;
    for (size_t i = 0; i < hidden * INNER; i++) {
        random = random * 1103515245u + 12345u;
        values[i] = dtype_float_to_bf16(((float)(random >> 16) / 32768.0f - 1.0f) * 0.05f);
    }
    char single[256];
    quant_run_copy_model(folder, r);
    snprintf(single, sizeof single, "%s/model.safetensors", folder);
    snprintf(path, sizeof path, "%s/experts.safetensors", folder);
    assert_int_equal(rename(single, path), 0);
    for (size_t i = 0; i < checkpoint_count(r->model.checkpoint); i++)
        json_object_set_new(map, checkpoint_at(r->model.checkpoint, i)->name,
                            json_string("experts.safetensors"));
    for (size_t i = 0; i < 3; i++) {
        snprintf(tensor[i], sizeof tensor[i], "model.layers.1.mlp.%s.weight", names[i]);
        specs[i] = (struct safetensors_spec){
            tensor[i], DTYPE_BF16, 2, {i == 2 ? hidden : INNER, i == 2 ? INNER : hidden}};
        json_object_set_new(map, tensor[i], json_string("dense.safetensors"));
    }
    snprintf(path, sizeof path, "%s/dense.safetensors", folder);
    assert_int_equal(safetensors_writer_new(&w, path, specs, 3, &err), 0);
    for (size_t i = 0; i < 3; i++)
        assert_int_equal(safetensors_writer_add(w, values, hidden * INNER * 2, &err), 0);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    json_t *index = json_pack("{s:{},s:o}", "metadata", "weight_map", map);
    assert_int_equal(jsonio_save(index, path, &err), 0);
    snprintf(path, sizeof path, "%s/config.json", folder);
    assert_int_equal(jsonio_load(&config, path, 1u << 20, &err), 0);
    json_object_set_new(config, "mlp_only_layers", json_pack("[i]", 1));
    assert_int_equal(jsonio_save(config, path, &err), 0);
    json_decref(config);
    json_decref(index);
    free(values);
}

static void test_dense_layer_stays_in_every_format(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    char folder[128];
    quant_run_open(&r, "tiny-qwen2moe", "moqa-no-channels", 2, 0);
    make_dense(folder, &r);
    struct model original = r.model;
    if (model_open(&r.model, folder, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    assert_false(r.model.config->is_moe[1]);
    free(r.plan.layers[1].experts);
    memmove(&r.plan.layers[1], &r.plan.layers[2], 2 * sizeof *r.plan.layers);
    r.plan.layers_count = 3;
    snprintf(r.plan.config_sha256, sizeof r.plan.config_sha256, "%s", r.model.config->sha256);
    double moqa = format_perplexity(&r, PASS_MOQA);
    assert_true(moqa == format_perplexity(&r, PASS_GPTQ_V2));
    assert_true(fabs(format_perplexity(&r, PASS_HF) / moqa - 1.0) < 0.02);
    assert_true(change_by_type(&r) < 0.005);
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

static void test_hf_has_the_original_tensors_and_no_quantization_config(void **state)
{
    (void)state;
    struct quant_run r;
    struct checkpoint *c = NULL;
    struct err err = {0};
    quant_run_open(&r, "tiny-olmoe", "moqa", 1, 0);
    r.options.format = PASS_HF;
    quant_run_pass(&r);
    assert_int_equal(checkpoint_open(&c, r.out, &err), 0);
    assert_int_equal(checkpoint_quantization(c), CHECKPOINT_PLAIN);
    assert_int_equal(checkpoint_count(c), checkpoint_count(r.model.checkpoint));
    for (size_t i = 0; i < checkpoint_count(c); i++) {
        const struct tensor_info *a = checkpoint_at(c, i),
                                 *b = checkpoint_at(r.model.checkpoint, i);
        assert_string_equal(a->name, b->name);
        assert_int_equal(a->dtype, b->dtype);
        assert_int_equal(a->bytes, b->bytes);
    }
    checkpoint_free(c);
    quant_run_close(&r);
}

static void test_gptq_files_hold_no_zero_point_of_zero(void **state)
{
    (void)state;
    struct quant_run r;
    struct checkpoint *c = NULL;
    struct err err = {0};
    size_t seen = 0;
    quant_run_open(&r, "tiny-olmoe", "gptq-2", 1, 0);
    r.options.format = PASS_GPTQ;
    quant_run_pass(&r);
    assert_int_equal(checkpoint_open(&c, r.out, &err), 0);
    for (size_t e = 0; e < r.model.config->experts; e++) {
        char name[MODEL_NAME_MAX];
        struct packed_linear p;
        size_t in, out;
        model_linear_name(name, r.model.config, 1, LINEAR_GATE, e);
        model_linear_shape(r.model.config, LINEAR_GATE, &in, &out);
        assert_int_equal(packed_read(&p, c, name, in, out, &err), 0);
        for (size_t i = 0; i < p.out * p.groups; i++, seen++)
            assert_true(p.zeros[i] >= 1);
        packed_release(&p);
    }
    assert_true(seen > 1000);
    checkpoint_free(c);
    quant_run_close(&r);
}

static void test_unquantized_plan_copies_every_tensor(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "fp16", 1, 0);
    quant_run_pass(&r);
    double copied = quant_run_perplexity(r.backend, r.out, text, 1, 0);
    assert_true(copied ==
                quant_run_perplexity(r.backend, checkpoint_dir(r.model.checkpoint), text, 1, 0));
    quant_run_close(&r);
}

/* --- The same bytes --- */

static void hash_of(char out[HASH_HEX_SIZE], const char *settings, enum backend_precision precision,
                    size_t threads)
{
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 4, threads);
    quant_run_plan(&r, "moqa", settings);
    r.options.precision = precision;
    quant_run_pass(&r);
    quant_run_hash(out, r.out);
    quant_run_close(&r);
}

static void test_bytes_do_not_depend_on_threads(void **state)
{
    (void)state;
    static const char *const settings[] = {"", "bits_attention=8,scale_search=on,channel_score=awq",
                                           "propagation=fp,order=natural"};
    char seen[3][HASH_HEX_SIZE];
    for (size_t i = 0; i < 3; i++) {
        char one[HASH_HEX_SIZE];
        enum backend_precision precision = i == 1 ? BACKEND_FP32 : BACKEND_FP64;
        hash_of(one, settings[i], precision, 1);
        hash_of(seen[i], settings[i], precision, 3);
        assert_string_equal(one, seen[i]);
    }
    assert_string_not_equal(seen[0], seen[1]);
    assert_string_not_equal(seen[0], seen[2]);
}

struct stop {
    struct progress *progress;
    size_t at, seen;
};

static void stop_later(void *context, const struct progress_state *s)
{
    struct stop *stop = context;
    (void)s;
    if (stop->seen++ >= stop->at)
        atomic_store(&stop->progress->cancel, true);
}

/* Runs again and again, each time stopped after one more report of progress than the last. */
static void run_in_pieces(struct quant_run *r, size_t *pieces)
{
    int rc = ERR_CANCELLED;
    r->options.resume = true;
    for (*pieces = 0; rc == ERR_CANCELLED; (*pieces)++) {
        struct err err = {0};
        struct progress progress;
        struct stop stop = {&progress, *pieces, 0};
        progress_init(&progress);
        progress.changed = stop_later;
        progress.context = &stop;
        r->options.progress = &progress;
        rc = quant_run_try(r, &err);
        progress_release(&progress);
        assert_true(rc == 0 || rc == ERR_CANCELLED);
        assert_true(*pieces < 200);
    }
    r->options.progress = NULL;
}

static void test_cancelled_run_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], pieced[HASH_HEX_SIZE];
    size_t pieces;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 4, 2);
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    run_in_pieces(&r, &pieces);
    quant_run_hash(pieced, r.out);
    assert_true(pieces > 4);
    assert_string_equal(whole, pieced);
    quant_run_close(&r);
}

/* One step of a run that goes on; how many layers it began behind. */
static size_t step_once(struct quant_run *r)
{
    struct err err = {0};
    struct pass *p = NULL;
    struct pass_snapshot s = {0};
    r->options.resume = true;
    assert_int_equal(pass_new(&p, &r->options, &err), 0);
    pass_snapshot(p, &s);
    assert_int_equal(pass_step(p, &err), 1);
    pass_free(p);
    return s.layers_done;
}

static void test_layers_without_hidden_states_behind_them_are_done_again(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], resumed[HASH_HEX_SIZE];
    quant_run_open(&r, "tiny-qwen2moe", "gptq-3", 2, 2);
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    r.options.hidden_always = 1;
    r.options.hidden_share = 1e-12; /* always */
    assert_int_equal(step_once(&r), 0);
    assert_int_equal(step_once(&r), 1);
    r.options.hidden_share = 1e12; /* never */
    assert_int_equal(step_once(&r), 2);
    assert_int_equal(step_once(&r), 2);
    r.options.hidden_share = 0;
    assert_int_equal(quant_run_try(&r, NULL), 0);
    quant_run_hash(resumed, r.out);
    assert_string_equal(whole, resumed);
    /* The last layer needs none behind it. */
    quant_run_remove(r.out);
    r.options.hidden_share = 1e12;
    assert_int_equal(quant_run_try(&r, NULL), 0);
    quant_run_hash(resumed, r.out);
    assert_string_equal(whole, resumed);
    quant_run_close(&r);
}

static void test_a_run_cut_before_its_first_hidden_states_begins_again(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], resumed[HASH_HEX_SIZE];
    quant_run_open(&r, "tiny-qwen2moe", "gptq-3", 2, 2);
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    r.options.hidden_always = 1;
    r.options.hidden_share = 1e12; /* never */
    assert_int_equal(step_once(&r), 0);
    assert_int_equal(step_once(&r), 0);
    assert_int_equal(quant_run_try(&r, NULL), 0);
    quant_run_hash(resumed, r.out);
    assert_string_equal(whole, resumed);
    quant_run_close(&r);
}

/* The kill may hit a child that has finished its run, but not yet left. */
static bool is_finished(const struct quant_run *r)
{
    char config[128], journal[128];
    snprintf(config, sizeof config, "%s/config.json", r->out);
    snprintf(journal, sizeof journal, "%s/.moqa", r->out);
    return access(config, F_OK) == 0 && access(journal, F_OK) < 0;
}

/* A child that is killed after a while; true if its run came to its end. */
static bool run_and_kill(struct quant_run *r, unsigned microseconds)
{
    int status;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = {0};
        struct backend *b = NULL;
        if (backend_cpu_new(&b, 1, &err) < 0)
            _exit(9);
        r->options.backend = b;
        _exit(quant_run_try(r, &err) == 0 ? 0 : 8);
    }
    usleep(microseconds);
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
    if (WIFEXITED(status))
        assert_int_equal(WEXITSTATUS(status), 0);
    return WIFEXITED(status) || is_finished(r);
}

static void test_killed_run_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], again[HASH_HEX_SIZE];
    unsigned random = 12345;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 2, 1);
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    r.options.resume = true;
    for (int round = 0; round < 3; round++) {
        unsigned longest = 20000;
        quant_run_remove(r.out);
        for (int kills = 0; kills < 400; kills++) {
            random = random * 1103515245u + 12345u;
            if (run_and_kill(&r, (random >> 8) % longest))
                break;
            longest += 2000;
        }
        quant_run_hash(again, r.out);
        assert_string_equal(whole, again);
    }
    quant_run_close(&r);
}

/* The hidden states behind layer 0 that the pass goes on from, and those of the finished file. */
static void check_propagation(const char *method, const char *settings, enum pass_format format)
{
    struct quant_run r;
    struct pass *p = NULL;
    struct model written = {0};
    struct model_layer layer = {0};
    struct forward *f = NULL;
    char *saved = NULL;
    char path[160];
    size_t size;
    quant_run_open(&r, "tiny-olmoe", "gptq-3", 2, 2);
    quant_run_plan(&r, method, settings);
    r.options.format = format;
    assert_int_equal(pass_new(&p, &r.options, NULL), 0);
    assert_int_equal(pass_step(p, NULL), 1);
    pass_free(p);
    snprintf(path, sizeof path, "%s/.moqa/hidden-1.bin", r.out);
    assert_int_equal(str_read_file(&saved, &size, path, 1 << 24, NULL), 0);
    r.options.resume = true;
    quant_run_pass(&r);
    assert_int_equal(model_open(&written, r.out, NULL), 0);
    assert_int_equal(model_layer_load(&layer, &written, r.backend, 0, NULL), 0);
    assert_int_equal(forward_new(&f, &written, r.backend, r.options.ids, r.options.starts,
                                 r.options.windows, r.options.window, NULL),
                     0);
    assert_int_equal(forward_attention(f, &layer, NULL, true, NULL), 0);
    assert_int_equal(forward_mlp(f, &layer, NULL, true, NULL), 0);
    float *hidden = malloc(size);
    assert_non_null(hidden);
    assert_int_equal(forward_get_hidden(f, hidden, NULL), 0);
    assert_memory_equal(hidden, saved, size);
    free(hidden);
    free(saved);
    forward_free(f);
    model_layer_release(&layer, r.backend);
    model_release(&written);
    quant_run_close(&r);
}

static void test_later_layers_see_the_weights_that_are_written(void **state)
{
    (void)state;
    check_propagation("gptq-3", NULL, PASS_MOQA);
    check_propagation("gptq-3", NULL, PASS_HF);
    check_propagation("gptq-2", "learn=4", PASS_HF);
}

/* Threads beyond the number of experts find nothing to do, and take no memory. */
static void test_estimate_counts_the_threads_that_work(void **state)
{
    (void)state;
    static const size_t threads[] = {1, 4, 32, 64};
    struct quant_run r;
    struct pass_estimate e[4];
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 4, 1);
    quant_run_plan(&r, "gptq-4", "learn=10");
    for (size_t i = 0; i < 4; i++) {
        struct backend *b = NULL;
        assert_int_equal(backend_cpu_new(&b, threads[i], NULL), 0);
        r.options.backend = b;
        assert_int_equal(pass_dry_run(&e[i], &r.options, NULL), 0);
        backend_free(b);
    }
    const struct model_config *c = r.model.config;
    uint64_t side = c->hidden > c->expert_size ? c->hidden : c->expert_size;
    uint64_t one = (side * (side + 128) + 3 * c->hidden * c->expert_size +
                    (uint64_t)LEARN_BATCH_TOKENS * c->expert_size) *
                   sizeof(float);
    assert_int_equal(e[1].peak_memory - e[0].peak_memory, 3 * one);
    assert_int_equal(e[2].peak_memory - e[0].peak_memory, 31 * one);
    assert_int_equal(e[3].peak_memory, e[2].peak_memory);
    quant_run_close(&r);
}

/* --- Degenerate inputs --- */

static void test_weight_that_is_not_finite_is_named(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    struct model original = r.model;
    quant_run_patch(&r, "model.layers.0.mlp.experts.3.down_proj.weight", 2, 5, 0x7fc0);
    r.options.resume = true;
    int rc = quant_run_try(&r, &err);
    assert_int_equal(rc, ERR_INPUT);
    assert_string_equal(err.message,
                        "tensor \"model.layers.0.mlp.experts.3.down_proj.weight\": the "
                        "value at [2][5] is not finite");
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

/* A weight so large that what others make up for overflows. */
static void test_loss_that_is_not_finite_is_named(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct pass_options *o = &r.options;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    struct model original = r.model;
    o->precision = BACKEND_FP32;
    quant_run_patch(&r, "model.layers.0.mlp.experts.3.down_proj.weight", 0, 0, 0x7f7f);
    assert_int_equal(quant_run_try(&r, &err), ERR_NUMERIC);
    assert_string_equal(err.file, checkpoint_dir(r.model.checkpoint));
    assert_string_equal(err.message,
                        "tensor \"model.layers.0.mlp.experts.3.down_proj.weight\": its loss is not "
                        "finite: it, or what the calibration brings there, overflows");
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

static const json_t *report_layer(json_t **root, const struct quant_run *r, size_t layer)
{
    char path[160];
    struct err err = {0};
    snprintf(path, sizeof path, "%s/moqa_report.json", r->out);
    assert_int_equal(jsonio_load(root, path, 1u << 24, &err), 0);
    return json_array_get(json_object_get(*root, "layers"), layer);
}

static void test_expert_without_tokens_gets_the_layers_mean(void **state)
{
    (void)state;
    struct quant_run r;
    json_t *root = NULL;
    size_t empty = 0, tokens = 0;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    r.options.window = 8;
    quant_run_pass(&r);
    const json_t *experts = json_object_get(report_layer(&root, &r, 0), "experts");
    assert_int_equal(json_array_size(experts), 24);
    for (size_t e = 0; e < 24; e++) {
        const json_t *o = json_array_get(experts, e);
        json_int_t n = json_integer_value(json_object_get(o, "tokens"));
        assert_int_equal(json_is_true(json_object_get(o, "layer_mean")), n == 0);
        assert_false(json_is_true(json_object_get(o, "fallback")));
        empty += n == 0;
        tokens += (size_t)n;
    }
    assert_int_equal(tokens, 8 * 4);
    assert_true(empty > 0);
    assert_true(json_integer_value(json_object_get(root, "without_tokens")) >= (json_int_t)empty);
    json_decref(root);
    quant_run_close(&r);
}

static void test_gptq_loss_in_the_report_is_below_that_of_rounding(void **state)
{
    (void)state;
    struct quant_run r;
    json_t *root = NULL;
    quant_run_open(&r, "tiny-olmoe", "gptq-3", 4, 2);
    quant_run_pass(&r);
    for (size_t l = 0; l < r.model.config->layers; l++) {
        const json_t *experts = json_object_get(report_layer(&root, &r, l), "experts");
        for (size_t e = 0; e < json_array_size(experts); e++) {
            const json_t *o = json_array_get(experts, e);
            double loss = json_number_value(json_object_get(o, "loss"));
            assert_true(loss > 0.0);
            assert_true(loss < json_number_value(json_object_get(o, "loss_rtn")));
        }
        json_decref(root);
    }
    quant_run_close(&r);
}

/* --- Dry run and snapshot --- */

static void test_dry_run_says_the_size_that_the_run_writes(void **state)
{
    (void)state;
    for (int format = 0; format < PASS_FORMAT_COUNT; format++) {
        struct quant_run r;
        struct err err = {0};
        struct pass_estimate e;
        struct checkpoint *c = NULL;
        uint64_t bytes = 0;
        quant_run_open(&r, "tiny-olmoe", "moqa", 1, 2);
        r.options.format = (enum pass_format)format;
        assert_int_equal(pass_dry_run(&e, &r.options, &err), 0);
        assert_false(exists(r.folder, "out"));
        quant_run_pass(&r);
        assert_int_equal(checkpoint_open(&c, r.out, &err), 0);
        for (size_t i = 0; i < checkpoint_count(c); i++)
            bytes += checkpoint_at(c, i)->bytes;
        assert_int_equal(bytes, e.bytes_out);
        assert_int_equal(e.calibration_tokens, 256);
        assert_true(e.bytes_free > 0 && e.peak_memory > 1u << 20);
        if (format == PASS_MOQA) {
            assert_true(fabs(e.nominal_bits - r.plan.summary.nominal_bits) < 1e-9);
            assert_true(fabs(e.effective_bits - r.plan.summary.effective_bits) < 1e-9);
        }
        checkpoint_free(c);
        quant_run_close(&r);
    }
}

static void test_snapshot_follows_the_layers(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct pass *p = NULL;
    struct pass_expert experts[4 * 24];
    struct pass_snapshot s = {.expert = experts};
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 1, 1);
    for (size_t layer = 0; layer <= 4; layer++) {
        r.options.resume = layer > 0;
        assert_int_equal(pass_new(&p, &r.options, &err), 0);
        pass_snapshot(p, &s);
        assert_int_equal(s.layers, 4);
        assert_int_equal(s.experts, 24);
        assert_int_equal(s.layers_done, layer);
        for (size_t i = 0; i < 4 * 24; i++) {
            assert_int_equal(experts[i].done, i < layer * 24);
            assert_int_equal(experts[i].bits, r.plan.layers[i / 24].experts[i % 24].bits);
        }
        assert_int_equal(pass_step(p, &err), layer < 4);
        pass_free(p);
    }
    quant_run_close(&r);
}

static void quiet(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_formats_hold_the_same_model),
        cmocka_unit_test(test_sixteen_bits_and_quantized_attention_survive_every_format),
        cmocka_unit_test(test_dense_layer_stays_in_every_format),
        cmocka_unit_test(test_hf_has_the_original_tensors_and_no_quantization_config),
        cmocka_unit_test(test_gptq_files_hold_no_zero_point_of_zero),
        cmocka_unit_test(test_unquantized_plan_copies_every_tensor),
        cmocka_unit_test(test_bytes_do_not_depend_on_threads),
        cmocka_unit_test(test_cancelled_run_resumes_to_the_same_bytes),
        cmocka_unit_test(test_layers_without_hidden_states_behind_them_are_done_again),
        cmocka_unit_test(test_a_run_cut_before_its_first_hidden_states_begins_again),
        cmocka_unit_test(test_killed_run_resumes_to_the_same_bytes),
        cmocka_unit_test(test_later_layers_see_the_weights_that_are_written),
        cmocka_unit_test(test_estimate_counts_the_threads_that_work),
        cmocka_unit_test(test_weight_that_is_not_finite_is_named),
        cmocka_unit_test(test_loss_that_is_not_finite_is_named),
        cmocka_unit_test(test_expert_without_tokens_gets_the_layers_mean),
        cmocka_unit_test(test_gptq_loss_in_the_report_is_below_that_of_rounding),
        cmocka_unit_test(test_dry_run_says_the_size_that_the_run_writes),
        cmocka_unit_test(test_snapshot_follows_the_layers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
