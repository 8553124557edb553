#include "model_fixture.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

const struct fixture_model fixture_tiny[2] = {
    {TEST_SAMPLE "/tiny-olmoe", TEST_GOLDEN "/tiny-olmoe"},
    {TEST_GOLDEN "/tiny-qwen2moe/model", TEST_GOLDEN "/tiny-qwen2moe"},
};
const struct fixture_model fixture_random[FIXTURE_RANDOM] = {
    {TEST_GOLDEN "/random-olmoe", TEST_GOLDEN "/random-olmoe"},
    {TEST_GOLDEN "/random-qwen2moe", TEST_GOLDEN "/random-qwen2moe"},
    {TEST_GOLDEN "/random-mixtral", TEST_GOLDEN "/random-mixtral"},
    {TEST_GOLDEN "/random-qwen3moe", TEST_GOLDEN "/random-qwen3moe"},
};

void fixture_open(struct model *m, const char *dir)
{
    struct err err = {0};
    if (model_open(m, dir, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
}

struct backend *fixture_backend(size_t threads)
{
    struct backend *b;
    assert_int_equal(backend_cpu_new(&b, threads, NULL), 0);
    return b;
}

json_t *fixture_json(const char *folder, const char *name)
{
    char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    json_t *value = json_load_file(path, 0, NULL);
    assert_non_null(value);
    return value;
}

uint32_t *fixture_ids(const json_t *array, size_t *count)
{
    *count = json_array_size(array);
    assert_true(*count > 0);
    uint32_t *ids = malloc(*count * sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < *count; i++)
        ids[i] = (uint32_t)json_integer_value(json_array_get(array, i));
    return ids;
}

double fixture_real(const json_t *array, size_t i)
{
    const json_t *value = json_array_get(array, i);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

void fixture_near(double got, double want, double tolerance, const char *what, size_t place)
{
    if (!(fabs(got - want) <= tolerance * (1 + fabs(want))))
        fail_msg("%s, %zu: %.9g, expected %.9g", what, place, got, want);
}
