/* Row by row operations against double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_check.h"
#include "data/safetensors.h"

enum { ROWS = 211, SPARE = 3, COLUMNS = 91, WIDE = 7 * 30 };

static float *in_a, *in_b;
static double reference[ROWS * WIDE];

static int make_inputs(void **state)
{
    (void)state;
    in_a = check_floats(1, ROWS * WIDE, 9);
    in_b = check_floats(2, ROWS * WIDE, 3);
    return 0;
}

static int free_inputs(void **state)
{
    (void)state;
    free(in_a);
    free(in_b);
    return 0;
}

static struct backend *two_threads(void)
{
    struct backend *b;
    assert_int_equal(backend_cpu_new(&b, 2, NULL), 0);
    return b;
}

static void test_every_16_bit_value_converts_exactly(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    static uint16_t bits[1 << 16];
    static float got[1 << 16];
    for (size_t i = 0; i < 1 << 16; i++)
        bits[i] = (uint16_t)i;
    struct tensor *t;
    assert_int_equal(b->ops->tensor_new(b, &t, TENSOR_F32, 256, 256, NULL), 0);
    for (int source = SOURCE_F16; source <= SOURCE_BF16; source++) {
        assert_int_equal(b->ops->upload(b, t, 0, 256, (enum backend_source)source, bits, NULL), 0);
        assert_int_equal(b->ops->download(b, t, 0, 256, got, NULL), 0);
        for (size_t i = 0; i < 1 << 16; i++) {
            float want = source == SOURCE_F16 ? dtype_f16_to_float((uint16_t)i)
                                              : dtype_bf16_to_float((uint16_t)i);
            assert_true(isnan(want) ? isnan(got[i]) : memcmp(&want, &got[i], sizeof want) == 0);
        }
    }
    b->ops->tensor_free(b, t);
    backend_free(b);
}

static void test_upload_touches_only_its_rows(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    struct tensor *t = check_put(b, ROWS, COLUMNS, in_a);
    double one[2 * COLUMNS];
    float got[4 * COLUMNS];
    for (size_t i = 0; i < 2 * COLUMNS; i++)
        one[i] = (double)i + 0.5;
    assert_int_equal(b->ops->upload(b, t, 5, 2, SOURCE_F64, one, NULL), 0);
    assert_int_equal(b->ops->download(b, t, 4, 4, got, NULL), 0);
    for (size_t i = 0; i < 4 * COLUMNS; i++) {
        bool changed = i / COLUMNS == 1 || i / COLUMNS == 2;
        assert_true(got[i] == (changed ? (float)one[i - COLUMNS] : in_a[4 * COLUMNS + i]));
    }
    assert_int_equal(b->ops->upload(b, t, ROWS - 1, 2, SOURCE_F64, one, NULL), ERR_USAGE);
    assert_int_equal(b->ops->download(b, t, SIZE_MAX, 2, got, NULL), ERR_USAGE);
    b->ops->tensor_free(b, t);
    backend_free(b);
}

static void test_tensors_begin_zeroed_and_are_zeroed_again(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    for (int kind = TENSOR_F32; kind <= TENSOR_F64; kind++) {
        struct tensor *t;
        double got[6] = {1, 1, 1, 1, 1, 1}, values[6] = {1, -2, 3, 1e-3, 5, 6};
        assert_int_equal(b->ops->tensor_new(b, &t, (enum tensor_kind)kind, 2, 3, NULL), 0);
        for (size_t pass = 0; pass < 2; pass++) {
            assert_int_equal(b->ops->download_f64(b, t, 0, 2, got, NULL), 0);
            for (size_t i = 0; i < 6; i++)
                assert_true(got[i] == 0);
            assert_int_equal(b->ops->upload(b, t, 0, 2, SOURCE_F64, values, NULL), 0);
            assert_int_equal(b->ops->download_f64(b, t, 0, 2, got, NULL), 0);
            assert_true(got[1] == -2);
            assert_int_equal(b->ops->fill_zero(b, t, NULL), 0);
        }
        b->ops->tensor_free(b, t);
    }
    backend_free(b);
}

static uint32_t ids[ROWS];

static void op_embed(struct backend *b, float *out)
{
    struct tensor *table = check_put(b, 50, COLUMNS, in_a);
    struct tensor *x = check_poisoned(b, ROWS + SPARE, COLUMNS);
    assert_int_equal(b->ops->embed(b, x, table, ids, ROWS, NULL), 0);
    check_take(b, x, ROWS, COLUMNS, out);
    b->ops->tensor_free(b, table);
}

static void test_embed_takes_the_rows_of_the_ids(void **state)
{
    (void)state;
    uint64_t seed = 3;
    for (size_t i = 0; i < ROWS; i++) {
        ids[i] = check_random(&seed, 50);
        for (size_t k = 0; k < COLUMNS; k++)
            reference[i * COLUMNS + k] = in_a[ids[i] * COLUMNS + k];
    }
    check_run(op_embed, ROWS * COLUMNS, reference, 0);
}

static void test_embed_refuses_an_id_beyond_the_table(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    struct err err = {0};
    const uint32_t bad[3] = {49, 50, 0};
    struct tensor *table = check_put(b, 50, COLUMNS, in_a);
    struct tensor *x = check_poisoned(b, 3, COLUMNS);
    assert_int_equal(b->ops->embed(b, x, table, bad, 3, &err), ERR_USAGE);
    assert_string_equal(err.message,
                        "token id 50 at position 1, the model's embedding has 50 rows");
    b->ops->tensor_free(b, table);
    b->ops->tensor_free(b, x);
    backend_free(b);
}

static size_t norm_group;
static bool in_place;

static void op_norm(struct backend *b, float *out)
{
    struct tensor *x = check_put(b, ROWS, WIDE, in_a);
    struct tensor *weight = check_put(b, 1, norm_group, in_b);
    struct tensor *y = in_place ? x : check_poisoned(b, ROWS + SPARE, WIDE);
    assert_int_equal(b->ops->rms_norm(b, y, x, weight, ROWS, norm_group, 1e-5, NULL), 0);
    check_take(b, y, ROWS, WIDE, out);
    if (!in_place)
        b->ops->tensor_free(b, x);
    b->ops->tensor_free(b, weight);
}

static void test_norm_of_rows_and_of_heads(void **state)
{
    (void)state;
    for (size_t i = 0; i < 4; i++) {
        in_place = i % 2;
        norm_group = i < 2 ? WIDE : 30;
        for (size_t at = 0; at < ROWS * WIDE; at += norm_group) {
            double sum = 0;
            for (size_t k = 0; k < norm_group; k++)
                sum += (double)in_a[at + k] * in_a[at + k];
            for (size_t k = 0; k < norm_group; k++)
                reference[at + k] = in_a[at + k] / sqrt(sum / (double)norm_group + 1e-5) * in_b[k];
        }
        check_run(op_norm, ROWS * WIDE, reference, 1e-6);
    }
}

static void op_clamp(struct backend *b, float *out)
{
    struct tensor *x = check_put(b, ROWS, COLUMNS, in_a);
    assert_int_equal(b->ops->clamp(b, x, ROWS - 1, 2.5, NULL), 0);
    check_take(b, x, ROWS, COLUMNS, out);
}

static void test_clamp_limits_both_sides_of_the_first_rows(void **state)
{
    (void)state;
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        reference[i] = i < (ROWS - 1) * COLUMNS ? fmax(-2.5, fmin(2.5, in_a[i])) : in_a[i];
    check_run(op_clamp, ROWS * COLUMNS, reference, 0);
}

enum { ROPE_WINDOW = 70, ROPE_ROWS = 3 * ROPE_WINDOW };

static void op_rope(struct backend *b, float *out)
{
    struct tensor *x = check_put(b, ROPE_ROWS, WIDE, in_a);
    assert_int_equal(b->ops->rope(b, x, ROPE_ROWS, 7, 30, ROPE_WINDOW, 1e4, NULL), 0);
    check_take(b, x, ROPE_ROWS, WIDE, out);
}

static void test_rope_turns_halves_by_the_position_in_the_window(void **state)
{
    (void)state;
    for (size_t r = 0; r < ROPE_ROWS; r++)
        for (size_t h = 0; h < 7; h++)
            for (size_t i = 0; i < 15; i++) {
                size_t at = r * WIDE + h * 30 + i;
                double angle = (double)(r % ROPE_WINDOW) * pow(1e4, -(double)i / 15);
                reference[at] = in_a[at] * cos(angle) - in_a[at + 15] * sin(angle);
                reference[at + 15] = in_a[at] * sin(angle) + in_a[at + 15] * cos(angle);
            }
    check_run(op_rope, ROPE_ROWS * WIDE, reference, 5e-5);
}

static bool with_logit;

static void op_add(struct backend *b, float *out)
{
    struct tensor *x = check_put(b, ROWS, COLUMNS, in_a), *y = check_put(b, ROWS, COLUMNS, in_b);
    struct tensor *logit = check_put(b, ROWS, 1, in_a);
    if (with_logit)
        assert_int_equal(b->ops->add_gated(b, x, y, logit, ROWS, NULL), 0);
    else
        assert_int_equal(b->ops->add(b, x, y, ROWS, NULL), 0);
    check_take(b, x, ROWS, COLUMNS, out);
    b->ops->tensor_free(b, y);
    b->ops->tensor_free(b, logit);
}

static void test_add_and_add_weighed_by_a_sigmoid(void **state)
{
    (void)state;
    for (int gated = 0; gated < 2; gated++) {
        with_logit = gated;
        for (size_t i = 0; i < ROWS * COLUMNS; i++)
            reference[i] = in_a[i] + in_b[i] / (gated ? 1 + exp(-(double)in_a[i / COLUMNS]) : 1);
        check_run(op_add, ROWS * COLUMNS, reference, 1e-6);
    }
}

static void op_swiglu(struct backend *b, float *out)
{
    struct tensor *gate = check_put(b, ROWS, COLUMNS, in_a);
    struct tensor *up = check_put(b, ROWS, COLUMNS, in_b);
    struct tensor *y = check_poisoned(b, ROWS + SPARE, COLUMNS);
    assert_int_equal(b->ops->swiglu(b, y, gate, up, ROWS, NULL), 0);
    check_take(b, y, ROWS, COLUMNS, out);
    b->ops->tensor_free(b, gate);
    b->ops->tensor_free(b, up);
}

static void test_swiglu_holds_for_extreme_gates(void **state)
{
    (void)state;
    const float extreme[] = {0, -0.0f, 88, -88, 1e4f, -1e4f, 1e-30f, -1e-30f, 3e38f, -3e38f};
    float *gates = in_a;
    in_a = check_floats(7, ROWS * COLUMNS, 30);
    memcpy(in_a, extreme, sizeof extreme);
    for (size_t i = 0; i < sizeof extreme / sizeof *extreme; i++)
        in_b[i] = fmaxf(-1, fminf(1, in_b[i]));
    for (size_t i = 0; i < ROWS * COLUMNS; i++)
        reference[i] = in_a[i] / (1 + exp(-(double)in_a[i])) * in_b[i];
    check_run(op_swiglu, ROWS * COLUMNS, reference, 1e-6);
    free(in_a);
    in_a = gates;
}

static void test_shapes_that_disagree_are_refused(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    struct err err = {0};
    struct tensor *x = check_put(b, 4, 6, in_a), *y = check_put(b, 4, 5, in_a);
    assert_int_equal(b->ops->add(b, x, y, 4, &err), ERR_USAGE);
    assert_string_equal(err.message, "add: x: a tensor of 4 x 6, expected at least 4 rows of 5");
    assert_int_equal(b->ops->clamp(b, x, 5, 1, NULL), ERR_USAGE);
    assert_int_equal(b->ops->rope(b, x, 4, 2, 3, 4, 1e4, NULL), ERR_UNSUPPORTED);
    assert_int_equal(b->ops->rms_norm(b, x, x, y, 4, 5, 1e-5, NULL), ERR_USAGE);
    assert_int_equal(b->ops->matmul(b, x, y, y, NULL, 4, NULL), ERR_USAGE);
    b->ops->tensor_free(b, x);
    b->ops->tensor_free(b, y);
    backend_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_16_bit_value_converts_exactly),
        cmocka_unit_test(test_upload_touches_only_its_rows),
        cmocka_unit_test(test_tensors_begin_zeroed_and_are_zeroed_again),
        cmocka_unit_test(test_embed_takes_the_rows_of_the_ids),
        cmocka_unit_test(test_embed_refuses_an_id_beyond_the_table),
        cmocka_unit_test(test_norm_of_rows_and_of_heads),
        cmocka_unit_test(test_clamp_limits_both_sides_of_the_first_rows),
        cmocka_unit_test(test_rope_turns_halves_by_the_position_in_the_window),
        cmocka_unit_test(test_add_and_add_weighed_by_a_sigmoid),
        cmocka_unit_test(test_swiglu_holds_for_extreme_gates),
        cmocka_unit_test(test_shapes_that_disagree_are_refused),
    };
    return cmocka_run_group_tests(tests, make_inputs, free_inputs);
}
