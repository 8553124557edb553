/* What a pass refuses before it writes a byte, each with its message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/log.h"
#include "tests/src/quant_run.h"

static bool exists(const char *folder, const char *name)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

static void expect(struct quant_run *r, int code, const char *message)
{
    struct err err = {0};
    int rc = quant_run_try(r, &err);
    if (rc != code || strcmp(err.message, message) != 0)
        fail_msg("found %d \"%s\", expected %d \"%s\"", rc, err.message, code, message);
}

/* Leaves a run after its first layer. */
static void start_run(struct quant_run *r)
{
    struct err err = {0};
    struct pass *p = NULL;
    assert_int_equal(pass_new(&p, &r->options, &err), 0);
    assert_int_equal(pass_step(p, &err), 1);
    pass_free(p);
}

static void test_resume_names_what_differs(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 2, 1);
    char path[128], plan[HASH_HEX_SIZE], after[HASH_HEX_SIZE];
    start_run(&r);
    snprintf(path, sizeof path, "%s/.moqa/plan.json", r.out);
    assert_int_equal(hash_file(plan, path, NULL), 0);
    expect(&r, ERR_USAGE, "holds an unfinished run; go on with --resume, or remove it");
    r.options.resume = true;
    r.options.windows = 3;
    expect(&r, ERR_USAGE,
           "holds an unfinished run with another calibration; choose another folder or remove it");
    quant_run_plan(&r, "gptq-4", NULL);
    r.options.format = PASS_GPTQ_V2;
    r.options.precision = BACKEND_FP32;
    expect(&r, ERR_USAGE,
           "holds an unfinished run with another plan, calibration, format, precision; choose "
           "another folder or remove it");
    /* What was refused has changed nothing: the plan of the unfinished run is still its own. */
    assert_int_equal(hash_file(after, path, NULL), 0);
    assert_string_equal(plan, after);
    quant_run_plan(&r, "moqa", NULL);
    assert_int_equal(plan_hash(after, &r.plan, path, NULL), 0);
    assert_string_equal(plan, after);
    r.options.windows = 2;
    r.options.format = PASS_MOQA;
    r.options.precision = BACKEND_FP64;
    quant_run_pass(&r);
    expect(&r, ERR_USAGE, "exists and is not an unfinished run; choose another folder");
    quant_run_close(&r);
}

/* A run that was cut between removing the journal and removing its folder. */
static void test_finished_run_is_not_taken_for_that_of_another_plan(void **state)
{
    (void)state;
    struct quant_run r;
    char folder[128];
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 1, 1);
    quant_run_pass(&r);
    snprintf(folder, sizeof folder, "%s/.moqa", r.out);
    assert_int_equal(mkdir(folder, 0777), 0);
    r.options.resume = true;
    quant_run_plan(&r, "gptq-4", NULL);
    expect(&r, ERR_USAGE,
           "holds a finished run with another plan; choose another folder or remove it");
    quant_run_plan(&r, "moqa", NULL);
    quant_run_pass(&r);
    assert_false(exists(r.out, ".moqa"));
    quant_run_close(&r);
}

/* One weight, which no sample of the fingerprint sees, written while the run was cut. */
static void test_resume_with_weights_that_were_written_anew_is_refused(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    char folder[128], path[256], before[HASH_HEX_SIZE];
    struct timespec times[2] = {{.tv_sec = 1000000000}, {.tv_sec = 1000000000}};
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    struct model original = r.model, changed = {0};
    quant_run_copy_model(folder, &r);
    snprintf(path, sizeof path, "%s/model.safetensors", folder);
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    assert_int_equal(model_open(&r.model, folder, &err), 0);
    start_run(&r);
    snprintf(before, sizeof before, "%s", checkpoint_fingerprint(r.model.checkpoint));
    const struct tensor_info *t =
        checkpoint_find(r.model.checkpoint, "model.layers.1.mlp.gate.weight");
    assert_non_null(t);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, (off_t)t->begin), 1);
    close(fd);
    assert_int_equal(model_open(&changed, folder, &err), 0);
    assert_string_equal(checkpoint_fingerprint(changed.checkpoint), before);
    r.options.resume = true;
    r.options.model = &changed;
    expect(&r, ERR_USAGE,
           "holds an unfinished run of the model before its weights were written anew: found "
           "another size or time of their files; choose another folder or remove it");
    r.options.model = &r.model;
    assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
    quant_run_pass(&r);
    model_release(&changed);
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

static void test_damaged_hidden_states_are_refused(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    char path[128];
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 2, 1);
    start_run(&r);
    snprintf(path, sizeof path, "%s/.moqa/hidden-1.bin", r.out);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, "x", 1, 4711), 1);
    close(fd);
    r.options.resume = true;
    assert_int_equal(quant_run_try(&r, &err), ERR_INPUT);
    assert_string_equal(err.file, path);
    assert_non_null(strstr(err.message, "its checksum is not the journal's"));
    quant_run_close(&r);
}

static void test_second_writer_is_locked_out(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct pass *p = NULL;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    assert_int_equal(pass_new(&p, &r.options, &err), 0);
    r.options.resume = true;
    expect(&r, ERR_LOCKED, "another process works on it");
    pass_free(p);
    quant_run_pass(&r);
    quant_run_close(&r);
}

static void test_output_must_be_a_new_folder_apart_from_the_model(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    char path[512], other[128];
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    const char *model = checkpoint_dir(r.model.checkpoint);
    r.options.resume = true;
    const char *const inside[] = {"", "/", "/new", "/../model", "/.."};
    for (size_t i = 0; i < sizeof inside / sizeof *inside; i++) {
        snprintf(path, sizeof path, "%s%s", model, inside[i]);
        r.options.out = path;
        err_clear(&err);
        assert_int_equal(quant_run_try(&r, &err), ERR_USAGE);
    }
    assert_false(exists(model, "new"));
    assert_false(exists(model, ".moqa"));
    r.options.out = r.out;
    snprintf(other, sizeof other, "%s/other", r.folder);
    assert_int_equal(mkdir(other, 0777), 0);
    assert_int_equal(symlink("other", r.out), 0);
    expect(&r, ERR_USAGE, "is a link; name the folder itself");
    unlink(r.out);
    snprintf(path, sizeof path, "%s/file", other);
    close(open(path, O_CREAT | O_WRONLY, 0666));
    r.options.out = other;
    expect(&r, ERR_USAGE, "exists and is not an unfinished run; choose another folder");
    r.options.out = path;
    expect(&r, ERR_USAGE, "exists and is not a folder");
    snprintf(path, sizeof path, "%s/none/out", r.folder);
    expect(&r, ERR_USAGE, "its parent folder cannot be used: No such file or directory");
    quant_run_close(&r);
}

static void test_three_bits_that_the_gptq_layout_cannot_pack_are_refused(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-3", 1, 1);
    r.options.format = PASS_GPTQ;
    expect(&r, ERR_UNSUPPORTED,
           "model.layers.0.mlp.experts.0.gate_proj is 48 x 96: the gptq format packs 3 bits only "
           "where both sides are multiples of 32; use --format moqa or other bits");
    assert_false(exists(r.folder, "out"));
    quant_run_close(&r);
    quant_run_open(&r, "tiny-olmoe", "gptq-3", 1, 1);
    r.options.format = PASS_GPTQ;
    quant_run_pass(&r);
    quant_run_close(&r);
}

static void test_quantized_checkpoint_is_no_input(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    quant_run_open(&r, "tiny-qwen2moe", "gptq-4", 1, 1);
    quant_run_pass(&r);
    struct model again;
    struct model original = r.model;
    char second[128];
    snprintf(second, sizeof second, "%s/second", r.folder);
    assert_int_equal(model_open(&again, r.out, &err), 0);
    r.model = again;
    r.options.out = second;
    expect(&r, ERR_UNSUPPORTED, "is quantized already; a run starts from the original checkpoint");
    r.model = original;
    model_release(&again);
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
        cmocka_unit_test(test_resume_names_what_differs),
        cmocka_unit_test(test_finished_run_is_not_taken_for_that_of_another_plan),
        cmocka_unit_test(test_resume_with_weights_that_were_written_anew_is_refused),
        cmocka_unit_test(test_damaged_hidden_states_are_refused),
        cmocka_unit_test(test_second_writer_is_locked_out),
        cmocka_unit_test(test_output_must_be_a_new_folder_apart_from_the_model),
        cmocka_unit_test(test_three_bits_that_the_gptq_layout_cannot_pack_are_refused),
        cmocka_unit_test(test_quantized_checkpoint_is_no_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
