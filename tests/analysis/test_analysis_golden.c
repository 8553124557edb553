/*
 * The whole analysis of two models under twenty settings, given as flags, against the results of
 * an independent program.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/analysis.h"
#include "data/base/jsonio.h"
#include "data/trace_h5.h"

static double tolerance(const char *key)
{
    return strncmp(key, "anderson_darling", 16) == 0 ? 1e-6 : 1e-9;
}

static void assert_close(const char *where, const char *key, double found, double expected)
{
    double error = fabs(found - expected), scale = fabs(expected);
    if (!(error <= tolerance(key) * scale) && !(error <= 1e-300))
        fail_msg("%s.%s: found %.17g, expected %.17g", where, key, found, expected);
}

/* Every key of the reference must be there with its value; more keys are allowed. */
static void assert_same(const char *where, const char *key, const json_t *found,
                        const json_t *expected)
{
    char path[512];
    snprintf(path, sizeof path, "%s.%s", where, key);
    if (json_is_object(expected)) {
        const char *name;
        json_t *value;
        json_object_foreach((json_t *)(uintptr_t)expected, name, value)
        {
            assert_same(path, name, json_object_get(found, name), value);
        }
    } else if (json_is_array(expected)) {
        if (json_array_size(found) != json_array_size(expected))
            fail_msg("%s: found %zu values, expected %zu", path, json_array_size(found),
                     json_array_size(expected));
        for (size_t i = 0; i < json_array_size(expected); i++) {
            snprintf(path, sizeof path, "%s.%s[%zu]", where, key, i);
            assert_same(path, key, json_array_get(found, i), json_array_get(expected, i));
        }
    } else if (json_is_integer(expected) && json_is_integer(found)) {
        if (json_integer_value(found) != json_integer_value(expected))
            fail_msg("%s: found %lld, expected %lld", path, (long long)json_integer_value(found),
                     (long long)json_integer_value(expected));
    } else if (json_is_number(expected) && json_is_number(found)) {
        assert_close(where, key, json_number_value(found), json_number_value(expected));
    } else if (!json_equal(found, expected)) {
        fail_msg("%s: another value or type than the reference", path);
    }
}

/* As a user would give it: text, through the one table of settings. */
static void set_from_case(struct settings *s, const json_t *changes)
{
    const char *name;
    json_t *value;
    struct err err = {0};
    settings_defaults(s);
    json_object_foreach((json_t *)(uintptr_t)changes, name, value)
    {
        char *text = json_is_string(value) ? strdup(json_string_value(value))
                                           : json_dumps(value, JSON_ENCODE_ANY);
        assert_non_null(text);
        if (settings_set(s, name, text, &err) < 0)
            fail_msg("%s", err.message);
        free(text);
    }
}

static void run_cases(const char *model)
{
    char path[512];
    struct trace trace = {0};
    struct analysis *a;
    struct err err = {0};
    json_t *cases;
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/trace.h5", model);
    if (trace_h5_load(&trace, path, NULL, &err) < 0 || analysis_new(&a, &trace, &err) < 0)
        fail_msg("%s", err.message);
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/analysis-cases.json", model);
    assert_int_equal(jsonio_load(&cases, path, 1u << 28, &err), 0);
    assert_int_equal(json_array_size(cases), 20);
    /* One object takes all cases in turn: what a change leaves behind would show. */
    for (size_t i = 0; i < json_array_size(cases); i++) {
        const json_t *c = json_array_get(cases, i);
        const char *name = json_string_value(json_object_get(c, "case"));
        struct settings s;
        json_t *found;
        set_from_case(&s, json_object_get(c, "settings"));
        assert_int_equal(analysis_update(a, &s, &err), 0);
        assert_int_equal(analysis_to_json(&found, a, NULL, &err), 0);
        assert_same(model, name, found, json_object_get(c, "result"));
        json_decref(found);
    }
    json_decref(cases);
    analysis_free(a);
    trace_release(&trace);
}

static void test_analysis_of_olmoe_equals_the_reference(void **state)
{
    (void)state;
    run_cases("tiny-olmoe");
}

static void test_analysis_of_qwen2_moe_equals_the_reference(void **state)
{
    (void)state;
    run_cases("tiny-qwen2moe");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_analysis_of_olmoe_equals_the_reference),
        cmocka_unit_test(test_analysis_of_qwen2_moe_equals_the_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
