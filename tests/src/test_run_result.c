/* The record of a run: what is written is read again, and what older versions wrote, too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "src/runs/run_result.h"

static const struct eval_text letters = {"letters", "aa"};
static const struct perplexity measured = {
    .value = 9, .nll = 21, .tokens = 40, .windows = 3, .window = 8, .predicted = 21, .seconds = 2};

static void make(struct run_result *r)
{
    *r = (struct run_result){.nominal_bits = 3, .effective_bits = 3.25};
    snprintf(r->key, sizeof r->key, "key");
    snprintf(r->method, sizeof r->method, "gptq-3");
    assert_int_equal(run_result_add_text(r, &letters, &measured, NULL), 0);
}

static void reload(struct run_result *r, char dir[])
{
    assert_non_null(mkdtemp(dir));
    assert_int_equal(run_result_save(r, dir, NULL), 0);
    run_result_release(r);
    assert_int_equal(run_result_load(r, dir, NULL), 0);
}

static void remove_record(const char *dir)
{
    char path[128];
    snprintf(path, sizeof path, "%s/%s", dir, RUN_RESULT_FILE);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_a_divergence_is_kept_with_its_text(void **state)
{
    (void)state;
    struct run_result r;
    struct divergence d = {.mean = 0.25, .error = 0.125, .windows = 3, .window = 8, .seconds = 4};
    char dir[] = "/tmp/moqa-result-XXXXXX";
    make(&r);
    assert_null(run_result_divergence(&r, "aa", 8, 3));
    run_result_set_divergence(&r, "aa", &d);
    reload(&r, dir);
    const struct divergence *found = run_result_divergence(&r, "aa", 8, 3);
    assert_non_null(found);
    assert_true(found->mean == 0.25 && found->error == 0.125 && found->seconds == 4);
    assert_true(found->windows == 3 && found->window == 8);
    assert_null(run_result_divergence(&r, "bb", 8, 3));
    assert_null(run_result_divergence(&r, "aa", 8, 2));
    assert_true(run_result_text(&r, "aa", 8, 3)->value == 9);
    run_result_release(&r);
    remove_record(dir);
}

static void test_records_without_a_divergence_have_none(void **state)
{
    (void)state;
    struct run_result r;
    struct divergence other = {.mean = 1, .windows = 2, .window = 8};
    char dir[] = "/tmp/moqa-result-XXXXXX";
    make(&r);
    run_result_set_divergence(&r, "aa", &other); /* of windows that were not evaluated */
    reload(&r, dir);
    assert_non_null(run_result_text(&r, "aa", 8, 3));
    assert_null(run_result_divergence(&r, "aa", 8, 3));
    run_result_release(&r);
    remove_record(dir);
}

static void test_half_a_divergence_is_refused(void **state)
{
    (void)state;
    struct run_result r;
    struct err err = {0};
    json_t *root = NULL;
    char dir[] = "/tmp/moqa-result-XXXXXX", path[128];
    make(&r);
    reload(&r, dir);
    run_result_release(&r);
    snprintf(path, sizeof path, "%s/%s", dir, RUN_RESULT_FILE);
    assert_int_equal(jsonio_load(&root, path, 1 << 20, NULL), 0);
    json_t *text = json_array_get(json_object_get(root, "texts"), 0);
    json_object_set_new(json_object_get(text, "evaluation"), "divergence", json_real(0.5));
    assert_int_equal(jsonio_save(root, path, NULL), 0);
    json_decref(root);
    assert_int_equal(run_result_load(&r, dir, &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "divergence_error"));
    remove_record(dir);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_divergence_is_kept_with_its_text),
        cmocka_unit_test(test_records_without_a_divergence_have_none),
        cmocka_unit_test(test_half_a_divergence_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
