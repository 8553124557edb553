/* Grids: ranges, zero points, fp16 scales, groups of channels, against the golden ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>

#include "data/safetensors.h"
#include "src/quant/grid.h"
#include "tests/src/quant_golden.h"

static void test_scales_and_zero_points_are_the_golden_ones(void **state)
{
    (void)state;
    size_t count;
    struct golden_case *cases = golden_load(&count);
    for (size_t i = 0; i < count; i++) {
        struct golden_case *c = &cases[i];
        struct err err = {0};
        struct grid g;
        struct grid_rule rule = {.group_size = c->group_size, .symmetric = c->symmetric};
        struct grid_bits bits = {c->bits, c->channel_bits, c->channels, c->channel};
        for (size_t k = 0; k < c->rows * c->columns; k++)
            if (c->hessian[k % c->columns * (c->columns + 1)] == 0.0)
                c->weight[k] = 0.0f;
        assert_int_equal(grid_fit(&g, &rule, &bits, c->weight, c->rows, c->columns, NULL, &err), 0);
        for (size_t k = 0; k < c->rows * c->columns; k++) {
            size_t at = k / c->columns * g.grids + g.column[k % c->columns];
            assert_true(fabs(g.scale[at] - c->scale[k]) <= 1e-6 * c->scale[k]);
            assert_true((double)g.zero[at] == c->zero[k]);
        }
        grid_release(&g);
    }
    golden_free(cases, count);
}

static struct grid fit_row(const struct grid_rule *rule, unsigned bits, const float *w, size_t n,
                           const double *importance)
{
    struct grid g;
    struct grid_bits width = {.bits = bits};
    assert_int_equal(grid_fit(&g, rule, &width, w, 1, n, importance, NULL), 0);
    return g;
}

static void test_half_scales_are_numbers_that_fp16_holds(void **state)
{
    (void)state;
    const float w[] = {0.1234567f, -0.7654321f, 1.1f, 3e-9f, 70000.0f * 15.0f, 2e-9f};
    struct grid_rule rule = {.group_size = 2, .half = true};
    struct grid g = fit_row(&rule, 4, w, 6, NULL);
    for (size_t i = 0; i < 3; i++)
        assert_true((double)dtype_f16_to_float(dtype_float_to_f16((float)g.scale[i])) ==
                    g.scale[i]);
    assert_true(g.scale[2] == 65504.0);
    grid_release(&g);
    const float tiny[] = {1e-9f, -2e-10f};
    g = fit_row(&rule, 4, tiny, 2, NULL);
    assert_true(g.scale[0] == 0x1p-24);
    grid_release(&g);
}

/* Every number of fp16, what lies halfway to the next, and their neighbours in float32. */
static void test_stored_scales_are_rounded_as_files_round_them(void **state)
{
    (void)state;
    for (uint32_t bits = 0; bits < 0x7c00; bits++) {
        float value = dtype_f16_to_float((uint16_t)bits);
        float middle = (value + dtype_f16_to_float((uint16_t)(bits + 1))) / 2.0f;
        if (bits == 0x7bff)
            middle = 65520.0f;
        const float tried[] = {value, nextafterf(value, INFINITY), nextafterf(middle, 0.0f), middle,
                               nextafterf(middle, INFINITY)};
        for (size_t i = 0; i < 5; i++) {
            double want = (double)dtype_f16_to_float(dtype_float_to_f16(tried[i]));
            want = want > 0.0 ? fmin(want, 65504.0) : 0x1p-24;
            assert_true(grid_stored_scale((double)tried[i], true) == want);
        }
    }
    assert_true(grid_stored_scale(1e300, true) == 65504.0);
    assert_true(grid_stored_scale(0.1, false) == 0.1);
}

static void test_zero_point_of_zero_is_shifted_and_the_range_still_covered(void **state)
{
    (void)state;
    const float w[] = {0.0f, 0.3f, 0.9f, 0.7f, -0.01f, 0.9f, 0.4f, 0.2f};
    for (unsigned bits = 2; bits <= 8; bits++) {
        struct grid_rule rule = {.group_size = 4};
        struct grid g = fit_row(&rule, bits, w, 8, NULL);
        assert_int_equal(g.zero[0], 0);
        grid_release(&g);
        rule.avoid_zero = true;
        g = fit_row(&rule, bits, w, 8, NULL);
        for (size_t i = 0; i < 2; i++) {
            double top = (double)(g.max_code[i] - g.zero[i]) * g.scale[i];
            assert_true(g.zero[i] >= 1);
            /* A grid that was shifted covers its range; any other does up to half a step. */
            assert_true(top >= 0.9 - (i == 0 ? 1e-6 : 0.5 * g.scale[i]));
        }
        grid_release(&g);
    }
}

static void test_group_of_zeros_rounds_to_exact_zeros(void **state)
{
    (void)state;
    const float w[3] = {0.0f, 0.0f, 0.0f};
    struct grid_rule rule = {.half = true, .avoid_zero = true};
    for (unsigned bits = 2; bits <= 8; bits++) {
        double error[3];
        struct grid g = fit_row(&rule, bits, w, 3, NULL);
        assert_int_equal(grid_column_errors(&g, w, error, NULL), 0);
        assert_true(error[0] == 0.0 && g.zero[0] >= 1);
        grid_release(&g);
    }
}

static void test_search_never_raises_the_weighted_error(void **state)
{
    (void)state;
    size_t count;
    struct golden_case *cases = golden_load(&count);
    for (size_t i = 0; i < count; i++) {
        const struct golden_case *c = &cases[i];
        double total[2] = {0.0, 0.0};
        double *error = malloc(c->columns * sizeof *error);
        double *importance = malloc(c->columns * sizeof *importance);
        assert_non_null(error);
        assert_non_null(importance);
        for (size_t j = 0; j < c->columns; j++)
            importance[j] = c->hessian[j * (c->columns + 1)];
        for (int search = 0; search < 2; search++) {
            struct grid g;
            struct grid_rule rule = {.group_size = c->group_size, .search = search == 1};
            struct grid_bits bits = {.bits = c->bits};
            assert_int_equal(
                grid_fit(&g, &rule, &bits, c->weight, c->rows, c->columns, importance, NULL), 0);
            assert_int_equal(grid_column_errors(&g, c->weight, error, NULL), 0);
            for (size_t j = 0; j < c->columns; j++)
                total[search] += error[j] * importance[j];
            grid_release(&g);
        }
        assert_true(total[1] <= total[0]);
        if (c->bits == 2)
            assert_true(total[1] < 0.9 * total[0]);
        free(error);
        free(importance);
    }
    golden_free(cases, count);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scales_and_zero_points_are_the_golden_ones),
        cmocka_unit_test(test_half_scales_are_numbers_that_fp16_holds),
        cmocka_unit_test(test_stored_scales_are_rounded_as_files_round_them),
        cmocka_unit_test(test_zero_point_of_zero_is_shifted_and_the_range_still_covered),
        cmocka_unit_test(test_group_of_zeros_rounds_to_exact_zeros),
        cmocka_unit_test(test_search_never_raises_the_weighted_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
