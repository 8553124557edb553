/* A job from plan to evaluated checkpoint, as the Run screen starts it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/str.h"
#include "quant_run.h"
#include "src/eval/eval_json.h"
#include "src/job.h"
#include "src/runs/runs.h"
#include "src/runs/runs_report.h"

static const char trace[] = TEST_GOLDEN "/tiny-olmoe/trace.h5";
static const char *const calib[] = {trace};
static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static void open_job(struct quant_run *r, struct job_options *o)
{
    quant_run_open(r, "tiny-olmoe", "gptq-3", 4, 1);
    *o = (struct job_options){
        .model_dir = TEST_SAMPLE "/tiny-olmoe",
        .plan = &r->plan,
        .plan_path = "plan.json",
        .calib = calib,
        .calib_count = 1,
        .samples = 4,
        .out = r->out,
        .texts = texts,
        .texts_count = 1,
    };
}

static int run_job(const struct job_options *o, double *perplexity, size_t *steps, struct err *err)
{
    struct job *job = NULL;
    int rc = job_new(&job, o, err);
    if (rc < 0)
        return rc;
    assert_false(job_is_evaluating(job));
    for (*steps = 0; (rc = job_step(job, err)) > 0;)
        ++*steps;
    assert_true(rc < 0 || job_is_evaluating(job) == (o->texts_count > 0));
    const struct perplexity *p = job_perplexity(job);
    *perplexity = p ? p->value : 0;
    job_free(job);
    return rc;
}

static void test_a_job_quantizes_evaluates_and_is_listed(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct err err = {0};
    struct app_result *list;
    double value;
    size_t steps, count;
    open_job(&r, &o);
    assert_int_equal(run_job(&o, &value, &steps, &err), 0);
    assert_true(value == quant_run_perplexity(r.backend, r.out, texts, 1, 0));
    assert_int_equal(runs_list(&list, &count, r.folder, r.plan.config_sha256, NULL, &err), 0);
    assert_int_equal(count, 1);
    assert_string_equal(list[0].method, "gptq-3");
    assert_int_equal(list[0].evaluations, 1);
    assert_true(list[0].evaluation[0].perplexity == value);
    assert_true(list[0].nominal_bits == 3);
    assert_non_null(strstr(list[0].settings, "group_size=64"));
    char text[HASH_HEX_SIZE];
    assert_int_equal(eval_text_hash(text, o.model_dir, texts, 1, &err), 0);
    assert_string_equal(list[0].evaluation[0].text, text);
    runs_free(list, count);
    char other[HASH_HEX_SIZE] = "";
    assert_int_equal(runs_list(&list, &count, r.folder, other, NULL, &err), 0);
    assert_int_equal(count, 0);
    runs_free(list, count);
    quant_run_close(&r);
}

static void test_a_run_that_was_stopped_is_listed_as_unfinished(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct job *job;
    struct err err = {0};
    struct app_result *list;
    struct plan plan = {0};
    size_t count;
    open_job(&r, &o);
    assert_int_equal(job_new(&job, &o, &err), 0);
    assert_int_equal(job_step(job, &err), 1);
    assert_int_equal(runs_list(&list, &count, r.folder, r.plan.config_sha256, NULL, &err), 0);
    assert_true(count == 1 && list[0].unfinished && list[0].running);
    runs_free(list, count);
    job_free(job);
    assert_int_equal(runs_list(&list, &count, r.folder, r.plan.config_sha256, NULL, &err), 0);
    assert_int_equal(count, 1);
    assert_true(list[0].unfinished && !list[0].running && list[0].evaluations == 0 &&
                list[0].bytes == 0);
    assert_true(list[0].nominal_bits == 3 && list[0].finished == 0);
    assert_int_equal(runs_plan(&plan, list[0].name, &err), 0);
    assert_true(plan_equal(&plan, &r.plan));
    plan_release(&plan);
    runs_free(list, count);
    struct str far = {0}; /* the name of a folder may be long */
    str_appendf(&far, "%s", r.folder);
    for (int i = 0; i < 200; i++)
        str_appendf(&far, "/.");
    assert_int_equal(runs_list(&list, &count, far.data, r.plan.config_sha256, NULL, &err), 0);
    assert_int_equal(count, 1);
    assert_int_equal(runs_plan(&plan, list[0].name, &err), 0);
    plan_release(&plan);
    runs_free(list, count);
    str_release(&far);
    quant_run_close(&r);
}

static void test_the_report_of_a_run_gives_the_losses_of_its_pass(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct job *job;
    struct err err = {0};
    struct pass_snapshot s = {0};
    struct runs_report report;
    int rc;
    open_job(&r, &o);
    assert_int_equal(job_new(&job, &o, &err), 0);
    while ((rc = job_step(job, &err)) > 0)
        continue;
    assert_int_equal(rc, 0);
    job_snapshot(job, &s);
    s.expert = calloc(s.layers * s.experts, sizeof *s.expert);
    assert_non_null(s.expert);
    job_snapshot(job, &s);
    assert_int_equal(runs_report_load(&report, r.out, &err), 0);
    assert_int_equal(report.layers, s.layers);
    assert_int_equal(report.experts, s.experts);
    for (size_t i = 0; i < s.layers * s.experts; i++) {
        assert_true(report.expert[i].done && report.expert[i].loss == s.expert[i].loss);
        assert_true(report.expert[i].loss_rtn == s.expert[i].loss_rtn);
        assert_int_equal(report.expert[i].tokens, s.expert[i].tokens);
        assert_int_equal(report.expert[i].bits, s.expert[i].bits);
        assert_int_equal(report.expert[i].fallback, s.expert[i].fallback);
    }
    runs_report_release(&report);
    assert_int_equal(runs_report_load(&report, r.folder, &err), ERR_INPUT);
    assert_null(report.expert);
    free(s.expert);
    job_free(job);
    quant_run_close(&r);
}

static void test_a_finished_job_is_only_evaluated_again(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct err err = {0};
    struct str text = {0};
    double first, second;
    size_t steps;
    char path[160];
    open_job(&r, &o);
    assert_int_equal(run_job(&o, &first, &steps, &err), 0);
    assert_true(steps >= 6);
    snprintf(path, sizeof path, "%s/%s", r.out, EVAL_JSON_FILE);
    assert_int_equal(unlink(path), 0);
    o.resume = true;
    assert_int_equal(job_dry_run(&text, &o, &err), 0);
    assert_non_null(strstr(str_get(&text), "is finished; it will only be evaluated."));
    assert_int_equal(run_job(&o, &second, &steps, &err), 0);
    assert_int_equal(steps, 0);
    assert_true(first == second);
    assert_int_equal(access(path, F_OK), 0);
    r.plan.layers[0].experts[0].bits = 4; /* another plan: not this run */
    assert_int_equal(run_job(&o, &second, &steps, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "holds a finished run with another plan"));
    str_release(&text);
    quant_run_close(&r);
}

static void check_refused(const struct job_options *o, const char *differs)
{
    struct err err = {0};
    struct str text = {0};
    double value;
    size_t steps;
    assert_int_equal(run_job(o, &value, &steps, &err), ERR_USAGE);
    assert_string_equal(err.file, o->out);
    assert_non_null(strstr(err.message, "holds a finished run with another "));
    assert_non_null(strstr(err.message, differs));
    assert_int_equal(job_dry_run(&text, o, &err), ERR_USAGE);
    str_release(&text);
}

static void test_a_finished_job_of_another_run_is_not_evaluated_as_this_one(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct err err = {0};
    double value;
    size_t steps;
    open_job(&r, &o);
    o.texts_count = 0;
    assert_int_equal(run_job(&o, &value, &steps, &err), 0);
    o.texts_count = 1;
    o.resume = true;
    struct job_options other = o;
    other.samples = 3;
    check_refused(&other, "calibration");
    other = o;
    other.format = PASS_HF;
    check_refused(&other, "format");
    /* Weights of another training, with the same configuration. */
    struct model original = r.model;
    quant_run_patch(&r, "lm_head.weight", 0, 0, 0);
    other = o;
    other.model_dir = checkpoint_dir(r.model.checkpoint);
    check_refused(&other, "model");
    model_release(&r.model);
    r.model = original;
    snprintf(r.plan.trace_name, sizeof r.plan.trace_name, "renamed.h5");
    assert_int_equal(run_job(&o, &value, &steps, &err), 0);
    assert_int_equal(steps, 0);
    quant_run_close(&r);
}

/* A run that was cut after config.json, before its journal was removed. */
static void test_a_finished_job_with_a_journal_is_locked_and_cleared_up(void **state)
{
    (void)state;
    struct quant_run r;
    struct job_options o;
    struct err err = {0};
    double value;
    size_t steps;
    char dir[160], path[200];
    open_job(&r, &o);
    assert_int_equal(run_job(&o, &value, &steps, &err), 0);
    snprintf(dir, sizeof dir, "%s/.moqa", r.out);
    assert_int_equal(mkdir(dir, 0777), 0);
    snprintf(path, sizeof path, "%s/lock", dir);
    int lock = open(path, O_RDWR | O_CREAT, 0666);
    assert_true(lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) == 0);
    o.resume = true;
    assert_int_equal(run_job(&o, &value, &steps, &err), ERR_LOCKED);
    close(lock);
    assert_int_equal(run_job(&o, &value, &steps, &err), 0);
    assert_true(value > 1);
    assert_int_equal(access(dir, F_OK), -1);
    quant_run_close(&r);
}

static void test_a_text_that_is_not_there_is_found_before_the_pass(void **state)
{
    (void)state;
    static const char *const missing[] = {"/nowhere/text.txt"};
    struct quant_run r;
    struct job_options o;
    struct err err = {0};
    double value;
    size_t steps;
    open_job(&r, &o);
    o.texts = missing;
    assert_int_equal(run_job(&o, &value, &steps, &err), ERR_INPUT);
    assert_string_equal(err.file, missing[0]);
    assert_int_equal(access(r.out, F_OK), -1);
    quant_run_close(&r);
}

static void test_the_name_of_a_run_follows_its_plan_and_inputs(void **state)
{
    (void)state;
    struct quant_run r;
    char first[RUNS_NAME_MAX], second[RUNS_NAME_MAX];
    quant_run_open(&r, "tiny-olmoe", "moqa", 1, 1);
    const char *model = TEST_SAMPLE "/tiny-olmoe";
    char inputs[HASH_HEX_SIZE], other[HASH_HEX_SIZE];
    assert_int_equal(runs_inputs(inputs, model, NULL, 0, NULL), 0);
    assert_int_equal(runs_name(first, &r.plan, inputs, NULL), 0);
    assert_int_equal(runs_name(second, &r.plan, inputs, NULL), 0);
    assert_string_equal(first, second);
    assert_int_equal(runs_inputs(other, model, texts, 1, NULL), 0); /* calibrated on a text */
    assert_int_equal(runs_name(second, &r.plan, other, NULL), 0);
    assert_string_not_equal(first, second);
    struct model original = r.model;
    quant_run_patch(&r, "lm_head.weight", 0, 0, 0); /* weights of another training */
    assert_int_equal(runs_inputs(other, checkpoint_dir(r.model.checkpoint), NULL, 0, NULL), 0);
    model_release(&r.model);
    r.model = original;
    assert_int_equal(runs_name(second, &r.plan, other, NULL), 0);
    assert_string_not_equal(first, second);
    assert_int_equal(strncmp(first, "moqa-", 5), 0);
    r.plan.layers[3].experts[7].bits ^= 6; /* 2 <-> 4 */
    assert_int_equal(runs_name(second, &r.plan, inputs, NULL), 0);
    assert_string_not_equal(first, second);
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_job_quantizes_evaluates_and_is_listed),
        cmocka_unit_test(test_a_run_that_was_stopped_is_listed_as_unfinished),
        cmocka_unit_test(test_the_report_of_a_run_gives_the_losses_of_its_pass),
        cmocka_unit_test(test_a_finished_job_is_only_evaluated_again),
        cmocka_unit_test(test_a_finished_job_of_another_run_is_not_evaluated_as_this_one),
        cmocka_unit_test(test_a_finished_job_with_a_journal_is_locked_and_cleared_up),
        cmocka_unit_test(test_a_text_that_is_not_there_is_found_before_the_pass),
        cmocka_unit_test(test_the_name_of_a_run_follows_its_plan_and_inputs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
