/* Cosine of experts: against plain sums, against the reference's matrices, and its odd cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/cosine.h"
#include "analysis_helpers.h"
#include "data/base/jsonio.h"
#include "data/checkpoint.h"

enum { EXPERTS_MAX = 40 };

static void test_gram_equals_plain_sums_for_every_shape(void **state)
{
    (void)state;
    static const size_t shapes[][2] = {{1, 1}, {2, 15}, {5, 1023}, {7, 1025}, {13, 3001}, {4, 64}};
    uint64_t seed = 1;
    for (size_t s = 0; s < sizeof shapes / sizeof shapes[0]; s++) {
        size_t experts = shapes[s][0], width = shapes[s][1];
        float *weights = malloc(experts * width * sizeof *weights);
        double *gram = calloc(experts * experts, sizeof *gram);
        const float *rows[EXPERTS_MAX];
        assert_non_null(weights);
        assert_non_null(gram);
        for (size_t i = 0; i < experts * width; i++)
            weights[i] = (float)(helper_uniform(&seed) - 0.4);
        for (size_t e = 0; e < experts; e++)
            rows[e] = weights + e * width;
        cosine_add(gram, rows, experts, width);
        cosine_add(gram, rows, experts, width / 2); /* a second slice is added to the first */
        for (size_t i = 0; i < experts; i++)
            for (size_t j = 0; j < experts; j++) {
                double sum = 0, size = 0;
                for (size_t k = 0; k < width; k++) {
                    double x = (double)rows[i][k] * (double)rows[j][k] * (k < width / 2 ? 2 : 1);
                    sum += x;
                    size += fabs(x);
                }
                assert_true(fabs(gram[i * experts + j] - sum) <= 1e-6 * size);
                assert_true(gram[i * experts + j] == gram[j * experts + i]);
            }
        free(weights);
        free(gram);
    }
}

/* Streams the layer's experts as a caller would: matrix by matrix. */
static void layer_cosine(double *gram, const struct checkpoint *c, size_t layer)
{
    static const char *const names[] = {"gate_proj", "up_proj", "down_proj"};
    const struct model_config *m = checkpoint_config(c);
    size_t width = m->hidden * m->expert_size;
    float *weights = malloc(m->experts * width * sizeof *weights);
    const float *rows[EXPERTS_MAX];
    struct err err = {0};
    assert_non_null(weights);
    assert_true(m->experts <= EXPERTS_MAX);
    for (size_t n = 0; n < 3; n++) {
        size_t shape[2] = {n < 2 ? m->expert_size : m->hidden, n < 2 ? m->hidden : m->expert_size};
        for (size_t e = 0; e < m->experts; e++) {
            char name[128];
            rows[e] = weights + e * width;
            snprintf(name, sizeof name, "model.layers.%zu.mlp.experts.%zu.%s.weight", layer, e,
                     names[n]);
            if (checkpoint_read_float(c, name, shape, 2, weights + e * width, &err) < 0)
                fail_msg("%s", err.message);
        }
        cosine_add(gram, rows, m->experts, width);
    }
    free(weights);
    cosine_finish(gram, m->experts);
}

static void check_model(const char *dir, const char *path)
{
    struct checkpoint *c;
    struct err err = {0};
    json_t *json;
    if (checkpoint_open(&c, dir, &err) < 0 || jsonio_load(&json, path, 1u << 26, &err) < 0)
        fail_msg("%s", err.message);
    const json_t *layers = json_object_get(json, "layers");
    size_t n = checkpoint_config(c)->experts;
    assert_int_equal(json_array_size(layers), checkpoint_config(c)->layers);
    for (size_t l = 0; l < json_array_size(layers); l++) {
        const json_t *expected = json_object_get(json_array_get(layers, l), "cosine");
        double *gram = calloc(n * n, sizeof *gram);
        assert_non_null(gram);
        layer_cosine(gram, c, l);
        assert_int_equal(json_array_size(expected), n);
        for (size_t i = 0; i < n * n; i++) {
            double value =
                json_number_value(json_array_get(json_array_get(expected, i / n), i % n));
            assert_true(fabs(gram[i] - value) <= 1e-6);
            assert_true(i / n != i % n || gram[i] == 1);
        }
        free(gram);
    }
    json_decref(json);
    checkpoint_free(c);
}

static void test_cosine_of_both_models_equals_the_reference(void **state)
{
    (void)state;
    check_model(TEST_SAMPLE "/tiny-olmoe", TEST_GOLDEN "/tiny-olmoe/cosine.json");
    check_model(TEST_GOLDEN "/tiny-qwen2moe/model", TEST_GOLDEN "/tiny-qwen2moe/cosine.json");
}

static void test_an_expert_of_zeros_is_like_no_other(void **state)
{
    (void)state;
    const float zero[3] = {0, 0, 0}, one[3] = {1, 2, 3}, minus[3] = {-2, -4, -6};
    const float *rows[] = {zero, one, minus};
    double gram[9] = {0};
    cosine_add(gram, rows, 3, 3);
    cosine_finish(gram, 3);
    const double expected[9] = {0, 0, 0, 0, 1, -1, 0, -1, 1};
    for (size_t i = 0; i < 9; i++)
        assert_true(fabs(gram[i] - expected[i]) < 1e-15);
}

static void test_pick_takes_equal_quantiles_rising(void **state)
{
    (void)state;
    const double s[] = {0.5, 0.1, 0.9, 0.1, 0.3, 0.7, 0.2};
    const size_t all[] = {1, 3, 6, 4, 0, 5, 2}, three[] = {1, 4, 2};
    size_t out[8];
    struct err err = {0};
    assert_int_equal(cosine_pick(out, 7, s, 7, &err), 0);
    assert_memory_equal(out, all, sizeof all);
    assert_int_equal(cosine_pick(out, 3, s, 7, &err), 0);
    assert_memory_equal(out, three, sizeof three);
    assert_int_equal(cosine_pick(out, 1, s, 7, &err), 0);
    assert_int_equal(out[0], 4);
    assert_int_equal(cosine_pick(out, 8, s, 7, &err), ERR_USAGE);
    assert_string_equal(err.message, "8 experts to choose, expected 1 to 7");
}

static void test_correlation_equals_numpy(void **state)
{
    (void)state;
    double significance[20], cosine[400], out;
    uint64_t seed = 31;
    for (size_t i = 0; i < 20; i++)
        significance[i] = helper_uniform(&seed);
    for (size_t i = 0; i < 400; i++)
        cosine[i] = helper_uniform(&seed);
    assert_true(cosine_correlation(&out, cosine, significance, 20));
    assert_true(fabs(out - (-0.0540020881421277)) < 1e-13);
}

static void test_correlation_of_constant_values_is_undefined(void **state)
{
    (void)state;
    const double same[] = {0.25, 0.25, 0.25}, s[] = {0.1, 0.5, 0.7};
    const double flat[9] = {1, 0.5, 0.5, 0.5, 1, 0.5, 0.5, 0.5, 1};
    const double varied[9] = {1, 0.1, 0.2, 0.1, 1, 0.3, 0.2, 0.3, 1};
    double out;
    assert_false(cosine_correlation(&out, varied, same, 3));
    assert_false(cosine_correlation(&out, flat, s, 3));
    assert_false(cosine_correlation(&out, varied, s, 2));
    assert_false(cosine_correlation(&out, varied, s, 1));
    assert_true(cosine_correlation(&out, varied, s, 3));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gram_equals_plain_sums_for_every_shape),
        cmocka_unit_test(test_cosine_of_both_models_equals_the_reference),
        cmocka_unit_test(test_an_expert_of_zeros_is_like_no_other),
        cmocka_unit_test(test_pick_takes_equal_quantiles_rising),
        cmocka_unit_test(test_correlation_equals_numpy),
        cmocka_unit_test(test_correlation_of_constant_values_is_undefined),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
