/* Which backend is taken, and what happens when it runs out of memory or fails. The GPU is
 * tests/gpu/fake_cuda, which computes what the CPU computes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/log.h"
#include "quant_run.h"
#include "src/device.h"
#include "src/job.h"

static const char trace[] = TEST_GOLDEN "/tiny-olmoe/trace.h5";
static const char *const calib[] = {trace};
static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static void fake(const char *devices, const char *abi, const char *fail)
{
    setenv("MOQA_CUDA_MODULE", TEST_FAKE_CUDA, 1);
    const char *const name[] = {"FAKE_CUDA_DEVICES", "FAKE_CUDA_ABI", "FAKE_CUDA_FAIL"};
    const char *const value[] = {devices, abi, fail};
    for (size_t i = 0; i < 3; i++)
        if (value[i])
            setenv(name[i], value[i], 1);
        else
            unsetenv(name[i]);
}

static int open_as(struct device *d, const char *backend, struct err *err)
{
    struct device_request r = {.backend = backend, .threads = 1};
    err_clear(err);
    return device_open(d, &r, err);
}

static void test_auto_takes_a_gpu_that_works_and_says_why_it_did_not(void **state)
{
    (void)state;
    const struct {
        const char *devices, *abi, *name, *why;
    } cases[] = {
        {NULL, NULL, "cuda", NULL},
        {"0", NULL, "cpu", "finds no device"},
        {"old", NULL, "cpu", "driver is too old"},
        {NULL, "7", "cpu", "built for another version of this program: found interface 7"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct device d;
        struct err err = {0};
        fake(cases[i].devices, cases[i].abi, NULL);
        assert_int_equal(open_as(&d, i % 2 ? "auto" : NULL, &err), 0);
        assert_string_equal(d.backend->ops->name, cases[i].name);
        if (cases[i].why)
            assert_non_null(strstr(d.why, cases[i].why));
        else
            assert_string_equal(d.why, "");
        device_close(&d);
        if (cases[i].why) {
            assert_int_equal(open_as(&d, "cuda", &err), ERR_DEVICE);
            assert_non_null(strstr(err.message, cases[i].why));
        }
    }
}

static void test_a_file_that_is_no_module_is_named(void **state)
{
    (void)state;
    const struct {
        const char *path, *want;
    } cases[] = {
        {"/nowhere/module.so", "cannot be read"},
        {TEST_GOLDEN "/README.md", "cannot be opened"},
        {"/lib/x86_64-linux-gnu/libm.so.6", "is not a CUDA module"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct device d;
        struct err err = {0};
        char line[2048];
        if (i == 2 && access(cases[i].path, R_OK) < 0)
            continue; /* another system keeps it elsewhere */
        setenv("MOQA_CUDA_MODULE", cases[i].path, 1);
        assert_int_equal(open_as(&d, "cuda", &err), ERR_DEVICE);
        err_format(line, sizeof line, &err);
        assert_non_null(strstr(line, cases[i].want));
        assert_non_null(strstr(line, cases[i].path));
    }
}

static void test_a_device_is_chosen_by_number(void **state)
{
    (void)state;
    struct device d;
    struct err err = {0};
    char text[64];
    struct device_request r = {.has_index = true, .index = 1, .threads = 1};
    fake("3", NULL, NULL);
    assert_int_equal(device_open(&d, &r, &err), 0);
    d.backend->ops->describe(d.backend, text, sizeof text);
    assert_string_equal(text, "fake device 1");
    device_close(&d);
    r.index = 3;
    assert_int_equal(device_open(&d, &r, &err), ERR_USAGE);
    assert_string_equal(err.message, "--device: found 3, expected 0 to 2");
    err_clear(&err);
    r.index = 2;
    r.backend = "cuda";
    assert_int_equal(device_open(&d, &r, &err), ERR_DEVICE);
    assert_non_null(strstr(err.message, "compute capability 3.0"));
}

static void test_a_backend_is_named_or_refused(void **state)
{
    (void)state;
    struct device d;
    struct err err = {0};
    struct device_request r = {.backend = "cpu", .has_index = true, .threads = 1};
    assert_int_equal(open_as(&d, "cpu", &err), 0);
    assert_string_equal(d.backend->ops->name, "cpu");
    assert_false(device_can_recover(&d, ERR_DEVICE));
    device_close(&d);
    assert_int_equal(open_as(&d, "tpu", &err), ERR_USAGE);
    assert_string_equal(err.message, "--backend: found \"tpu\", expected auto, cpu or cuda");
    err_clear(&err);
    assert_int_equal(device_open(&d, &r, &err), ERR_USAGE);
    assert_string_equal(err.message, "--device is for a GPU, --backend is cpu");
}

static void test_memory_is_asked_for_less_before_the_cpu(void **state)
{
    (void)state;
    struct device d;
    struct err err = {0};
    fake(NULL, NULL, NULL);
    assert_int_equal(open_as(&d, "cuda", &err), 0);
    for (unsigned i = 1; i <= DEVICE_HALVINGS_MAX; i++) {
        err_set(&err, ERR_DEVICE_MEMORY, NULL, "full");
        assert_true(device_recover(&d, ERR_DEVICE_MEMORY, &err));
        assert_int_equal(err.code, ERR_OK);
        assert_string_equal(d.backend->ops->name, "cuda");
        assert_int_equal(d.backend->halvings, i);
    }
    assert_true(device_recover(&d, ERR_DEVICE_MEMORY, &err));
    assert_string_equal(d.backend->ops->name, "cpu");
    assert_non_null(strstr(d.note, "on the CPU from here on"));
    assert_false(device_recover(&d, ERR_DEVICE_MEMORY, &err));
    assert_false(device_recover(&d, ERR_IO, &err));
    device_close(&d);
}

/* --- Whole jobs --- */

static void open_job(struct quant_run *r, struct job_options *o)
{
    quant_run_open(r, "tiny-olmoe", "gptq-3", 4, 1);
    *o = (struct job_options){.model_dir = TEST_SAMPLE "/tiny-olmoe",
                              .plan = &r->plan,
                              .plan_path = "plan.json",
                              .calib = calib,
                              .calib_count = 1,
                              .samples = 4,
                              .out = r->out,
                              .device = {.threads = 1},
                              .texts = texts,
                              .texts_count = 1};
}

static double run_job(const struct job_options *o)
{
    struct job *job = NULL;
    struct err err = {0};
    int rc = job_new(&job, o, &err);
    while (rc >= 0 && (rc = job_step(job, &err)) > 0)
        ;
    if (rc < 0)
        fail_msg("%s", err.message);
    double value = job_perplexity(job)->value;
    job_free(job);
    return value;
}

/* Bytes of all shards in one hash; the reports tell how they were made, and differ. */
static void hash_shards(char out[HASH_HEX_SIZE], const struct quant_run *r)
{
    struct hash *all = NULL;
    struct err err = {0};
    assert_int_equal(hash_new(&all, &err), 0);
    for (size_t i = 1; i <= r->model.config->layers + 1; i++) {
        char path[200], one[HASH_HEX_SIZE];
        snprintf(path, sizeof path, "%s/model-%05zu-of-%05zu.safetensors", r->out, i,
                 r->model.config->layers + 1);
        assert_int_equal(hash_file(one, path, &err), 0);
        assert_int_equal(hash_update(all, one, sizeof one, &err), 0);
    }
    assert_int_equal(hash_finish(all, out, &err), 0);
    hash_free(all);
}

static json_t *load_report(const struct quant_run *r)
{
    char path[200];
    snprintf(path, sizeof path, "%s/moqa_report.json", r->out);
    json_t *report = json_load_file(path, 0, NULL);
    assert_non_null(report);
    return report;
}

/* Layers computed on a backend, and those that have something to say. */
static void count_layers(const json_t *report, const char *backend, size_t *on, size_t *notes)
{
    const json_t *layers = json_object_get(report, "layers");
    *on = *notes = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i);
        const char *name = json_string_value(json_object_get(layer, "backend"));
        *on += name && strcmp(name, backend) == 0;
        *notes += json_object_get(layer, "note") != NULL;
    }
}

static size_t operations(const char *path)
{
    size_t count = 0;
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "%zu", &count), 1);
    fclose(f);
    return count;
}

struct reference {
    char hash[HASH_HEX_SIZE];
    double perplexity;
    size_t layers, operations;
};

/* The run without a failure, on the fake device. */
static void make_reference(struct reference *out)
{
    struct quant_run r;
    struct job_options o;
    size_t notes;
    char count[128];
    open_job(&r, &o);
    snprintf(count, sizeof count, "%s/count", r.folder);
    setenv("FAKE_CUDA_COUNT", count, 1);
    fake(NULL, NULL, NULL);
    out->perplexity = run_job(&o);
    unsetenv("FAKE_CUDA_COUNT");
    out->operations = operations(count);
    hash_shards(out->hash, &r);
    json_t *report = load_report(&r);
    count_layers(report, "cuda", &out->layers, &notes);
    assert_int_equal(out->layers, r.model.config->layers);
    assert_int_equal(notes, 0);
    json_decref(report);
    quant_run_close(&r);
}

static void test_a_device_that_fails_anywhere_ends_in_the_same_bytes(void **state)
{
    (void)state;
    struct reference want;
    make_reference(&want);
    /* Among them the first operation, the embedding, layers and the evaluation. */
    const size_t steps = 11;
    size_t with_notes = 0;
    for (size_t i = 0; i <= steps; i++) {
        struct quant_run r;
        struct job_options o;
        char fail_at[64], hash[HASH_HEX_SIZE];
        size_t on_gpu, on_cpu, notes;
        open_job(&r, &o);
        snprintf(fail_at, sizeof fail_at, "device@%zu",
                 i == steps ? want.operations : 1 + i * want.operations / steps);
        fake(NULL, NULL, fail_at);
        assert_true(run_job(&o) == want.perplexity);
        hash_shards(hash, &r);
        assert_string_equal(hash, want.hash);
        json_t *report = load_report(&r);
        count_layers(report, "cuda", &on_gpu, &notes);
        count_layers(report, "cpu", &on_cpu, &notes);
        assert_int_equal(on_gpu + on_cpu, want.layers);
        assert_int_equal(notes, on_cpu ? 1 : 0);
        with_notes += notes;
        json_decref(report);
        quant_run_close(&r);
    }
    assert_true(with_notes >= 6);
}

/* The original runs beside the quantized model there, on the same device. */
static void test_a_failure_while_shifts_are_made_up_for_ends_in_the_same_bytes(void **state)
{
    (void)state;
    char want[HASH_HEX_SIZE], hash[HASH_HEX_SIZE];
    const char *const fails[] = {NULL, "device@400", "device@2500", "memory@1500"};
    for (size_t i = 0; i < sizeof fails / sizeof *fails; i++) {
        struct quant_run r;
        struct job_options o;
        open_job(&r, &o);
        quant_run_plan(&r, "gptq-3", "group_size=64,shift=on");
        fake(NULL, NULL, fails[i]);
        run_job(&o);
        hash_shards(i ? hash : want, &r);
        if (i && strncmp(fails[i], "device", 6) == 0)
            assert_string_equal(hash, want);
        quant_run_close(&r);
    }
}

static void test_memory_that_is_short_once_makes_the_chunks_smaller(void **state)
{
    (void)state;
    struct reference want;
    make_reference(&want);
    for (size_t i = 0; i < 5; i++) {
        struct quant_run r;
        struct job_options o;
        char fail_at[64];
        size_t on_gpu, notes;
        open_job(&r, &o);
        snprintf(fail_at, sizeof fail_at, "memory@%zu", 1 + i * want.operations / 5);
        fake(NULL, NULL, fail_at);
        double value = run_job(&o);
        assert_true(value > want.perplexity * 0.995 && value < want.perplexity * 1.005);
        json_t *report = load_report(&r);
        count_layers(report, "cuda", &on_gpu, &notes);
        assert_int_equal(on_gpu, want.layers);
        assert_true(notes <= 1);
        json_decref(report);
        quant_run_close(&r);
    }
}

static void test_a_device_that_is_too_small_leaves_the_run_to_the_cpu(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    size_t on_cpu, notes;
    open_job(&r, &o);
    o.device.memory = 1 << 20;
    fake(NULL, NULL, NULL);
    double value = run_job(&o);
    json_t *report = load_report(&r);
    count_layers(report, "cpu", &on_cpu, &notes);
    assert_int_equal(on_cpu, r.model.config->layers);
    const json_t *first = json_array_get(json_object_get(report, "layers"), 0);
    const char *note = json_string_value(json_object_get(first, "note"));
    assert_non_null(strstr(note, "1/2 of the chunk"));
    assert_non_null(strstr(note, "the GPU's memory is too small; on the CPU from here on"));
    json_decref(report);
    assert_true(value > 1.0);
    quant_run_close(&r);
}

static void test_the_report_says_why_there_was_no_gpu(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    open_job(&r, &o);
    fake("0", NULL, NULL);
    run_job(&o);
    json_t *report = load_report(&r);
    const char *note = json_string_value(json_object_get(report, "backend_note"));
    assert_non_null(strstr(note, "finds no device"));
    json_decref(report);
    quant_run_close(&r);
}

static void ignore(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_auto_takes_a_gpu_that_works_and_says_why_it_did_not),
        cmocka_unit_test(test_a_file_that_is_no_module_is_named),
        cmocka_unit_test(test_a_device_is_chosen_by_number),
        cmocka_unit_test(test_a_backend_is_named_or_refused),
        cmocka_unit_test(test_memory_is_asked_for_less_before_the_cpu),
        cmocka_unit_test(test_a_device_that_fails_anywhere_ends_in_the_same_bytes),
        cmocka_unit_test(test_a_failure_while_shifts_are_made_up_for_ends_in_the_same_bytes),
        cmocka_unit_test(test_memory_that_is_short_once_makes_the_chunks_smaller),
        cmocka_unit_test(test_a_device_that_is_too_small_leaves_the_run_to_the_cpu),
        cmocka_unit_test(test_the_report_says_why_there_was_no_gpu),
    };
    log_set_sink(ignore, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
