/* `moqa analyze --json` with every golden setting given as flags, against numpy's numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double tolerance_of(const char *key)
{
    if (strncmp(key, "anderson_darling", 16) == 0 || strcmp(key, "cosine") == 0)
        return 1e-6;
    return 1e-9;
}

/* Every key of `expected` must be in `found` with the same value; `found` may hold more. */
static void compare(const json_t *expected, const json_t *found, const char *key, const char *path)
{
    char inner[512];
    const char *name;
    json_t *value;
    size_t i;
    if (json_is_number(expected)) {
        double a = json_number_value(expected), b = json_number_value(found);
        double scale = strcmp(key, "cosine") == 0 ? 1 : fmax(fabs(a), fabs(b));
        if (!json_is_number(found) || !(fabs(a - b) <= tolerance_of(key) * scale))
            fail_msg("%s: expected %.17g, found %.17g", path, a, b);
        return;
    }
    if (json_typeof(expected) != json_typeof(found))
        fail_msg("%s: another type of value", path);
    if (json_is_string(expected)) {
        assert_string_equal(json_string_value(expected), json_string_value(found));
    } else if (json_is_array(expected)) {
        if (json_array_size(expected) != json_array_size(found))
            fail_msg("%s: expected %zu values, found %zu", path, json_array_size(expected),
                     json_array_size(found));
        json_array_foreach(expected, i, value)
        {
            snprintf(inner, sizeof inner, "%s[%zu]", path, i);
            compare(value, json_array_get(found, i), key, inner);
        }
    } else if (json_is_object(expected)) {
        json_object_foreach((json_t *)(uintptr_t)expected, name, value)
        {
            snprintf(inner, sizeof inner, "%s.%s", path, name);
            if (!json_object_get(found, name))
                fail_msg("%s is missing", inner);
            compare(value, json_object_get(found, name), name, inner);
        }
    }
}

static json_t *run(const char *command)
{
    json_error_t e;
    FILE *pipe = popen(command, "r");
    assert_non_null(pipe);
    json_t *found = json_loadf(pipe, 0, &e);
    assert_int_equal(pclose(pipe), 0);
    if (!found)
        fail_msg("%s: %s", command, e.text);
    return found;
}

static void append_flags(char *command, size_t size, const json_t *settings)
{
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)settings, name, value)
    {
        size_t used = strlen(command);
        used += (size_t)snprintf(command + used, size - used, " --");
        for (const char *c = name; *c; c++)
            used += (size_t)snprintf(command + used, size - used, "%c", *c == '_' ? '-' : *c);
        if (json_is_string(value))
            snprintf(command + used, size - used, " %s", json_string_value(value));
        else
            snprintf(command + used, size - used, " %.17g", json_number_value(value));
    }
}

static void check_all_cases(const char *model)
{
    char path[512], command[2048], place[256];
    json_error_t e;
    size_t i;
    json_t *item;
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/analysis-cases.json", model);
    json_t *cases = json_load_file(path, 0, &e);
    assert_non_null(cases);
    assert_int_equal(json_array_size(cases), 20);
    json_array_foreach(cases, i, item)
    {
        snprintf(command, sizeof command, "'%s' analyze " TEST_GOLDEN "/%s/trace.h5 --json",
                 getenv("MOQA"), model);
        append_flags(command, sizeof command, json_object_get(item, "settings"));
        json_t *found = run(command);
        snprintf(place, sizeof place, "%s, %s", model,
                 json_string_value(json_object_get(item, "case")));
        compare(json_object_get(item, "result"), found, "", place);
        json_decref(found);
    }
    json_decref(cases);
}

static void check_cosine(const char *model, const char *folder)
{
    char path[512], command[2048];
    json_error_t e;
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/cosine.json", model);
    json_t *expected = json_load_file(path, 0, &e);
    assert_non_null(expected);
    snprintf(command, sizeof command,
             "XDG_CACHE_HOME=/nowhere '%s' analyze " TEST_GOLDEN
             "/%s/trace.h5 --json --model %s --cosine --progress none",
             getenv("MOQA"), model, folder);
    json_t *found = run(command);
    compare(expected, found, "", model);
    json_decref(found);
    json_decref(expected);
}

static void test_analyze_equals_numpy_on_tiny_olmoe(void **state)
{
    (void)state;
    check_all_cases("tiny-olmoe");
}

static void test_analyze_equals_numpy_on_tiny_qwen2moe(void **state)
{
    (void)state;
    check_all_cases("tiny-qwen2moe");
}

static void test_analyze_cosine_equals_numpy(void **state)
{
    (void)state;
    check_cosine("tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    check_cosine("tiny-qwen2moe", TEST_GOLDEN "/tiny-qwen2moe/model");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_analyze_equals_numpy_on_tiny_olmoe),
        cmocka_unit_test(test_analyze_equals_numpy_on_tiny_qwen2moe),
        cmocka_unit_test(test_analyze_cosine_equals_numpy),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
