/* GPTQ against the golden matrices and against the textbook form, computed here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/quant/quantizer.h"
#include "tests/src/quant_golden.h"

struct outcome {
    double loss, loss_rtn, same; /* same: share of codes equal to the golden ones */
    uint8_t *codes;
};

static struct outcome quantize(const struct golden_case *c, const struct quantizer *quantizer,
                               enum backend_precision precision, size_t threads)
{
    struct err err = {0};
    struct backend *b = NULL;
    assert_int_equal(backend_cpu_new(&b, threads, &err), 0);
    struct quantizer_rule rule = {
        .grid = {.group_size = c->group_size, .symmetric = c->symmetric},
        .order = c->order,
        .damping = c->damping,
        .precision = precision,
    };
    struct quantizer_hessian h = {.d = c->columns, .h = c->hessian};
    struct outcome out = {.codes = calloc(c->rows, c->columns)};
    assert_non_null(out.codes);
    struct quantizer_item item = {
        .rows = c->rows,
        .weights = c->weight,
        .bits = {c->bits, c->channel_bits, c->channels, c->channel},
        .codes = out.codes,
    };
    assert_int_equal(quantizer->run(b, &rule, &h, 1, &item, 1, &err), 0);
    assert_false(h.fallback);
    out.loss = item.loss;
    out.loss_rtn = item.loss_rtn;
    size_t equal = 0;
    for (size_t i = 0; i < c->rows * c->columns; i++)
        equal += out.codes[i] == c->codes[i];
    out.same = (double)equal / (double)(c->rows * c->columns);
    grid_release(&item.grid);
    backend_free(b);
    return out;
}

static void check_golden(enum backend_precision precision, double share)
{
    size_t count;
    struct golden_case *cases = golden_load(&count);
    assert_int_equal(count, 11);
    for (size_t i = 0; i < count; i++) {
        const struct golden_case *c = &cases[i];
        struct outcome o = quantize(c, &quantizer_gptq, precision, 2);
        if (o.same < share || fabs(o.loss - c->loss) > 0.005 * c->loss)
            fail_msg("%s: %.5f of the codes, loss %.9g, expected %.9g", c->name, o.same, o.loss,
                     c->loss);
        /* The golden loss of plain rounding is that of a plain asymmetric grid. */
        if (!c->symmetric && c->channels == 0)
            assert_true(fabs(o.loss_rtn - c->loss_rtn) <= 0.005 * c->loss_rtn);
        free(o.codes);
    }
    golden_free(cases, count);
}

static void test_gptq_gives_the_golden_codes_in_double_precision(void **state)
{
    (void)state;
    check_golden(BACKEND_FP64, 0.999);
}

static void test_gptq_gives_the_golden_codes_in_single_precision(void **state)
{
    (void)state;
    check_golden(BACKEND_FP32, 0.999);
}

static void test_gptq_does_not_depend_on_threads(void **state)
{
    (void)state;
    size_t count;
    struct golden_case *cases = golden_load(&count);
    for (size_t i = 0; i < count; i++)
        for (int precision = BACKEND_FP32; precision <= BACKEND_FP64; precision++) {
            struct outcome one = quantize(&cases[i], &quantizer_gptq, precision, 1);
            struct outcome three = quantize(&cases[i], &quantizer_gptq, precision, 3);
            assert_memory_equal(one.codes, three.codes, cases[i].rows * cases[i].columns);
            assert_true(one.loss == three.loss && one.loss_rtn == three.loss_rtn);
            free(one.codes);
            free(three.codes);
        }
    golden_free(cases, count);
}

static void test_rtn_loss_is_never_below_gptq_loss_on_golden_matrices(void **state)
{
    (void)state;
    size_t count;
    struct golden_case *cases = golden_load(&count);
    for (size_t i = 0; i < count; i++) {
        struct outcome gptq = quantize(&cases[i], &quantizer_gptq, BACKEND_FP64, 1);
        struct outcome rtn = quantize(&cases[i], &quantizer_rtn, BACKEND_FP64, 1);
        assert_true(rtn.loss == rtn.loss_rtn);
        assert_true(rtn.loss == gptq.loss_rtn);
        assert_true(rtn.loss > gptq.loss);
        free(gptq.codes);
        free(rtn.codes);
    }
    golden_free(cases, count);
}

/* --- The textbook form: rounding first to last with the upper factor of the inverse. --- */

enum { D = 300, ROWS = 70 };

static uint64_t random_state = 88172645463325252u;

static double random_normal(void)
{
    double sum = 0.0;
    for (int i = 0; i < 12; i++) {
        random_state ^= random_state << 13;
        random_state ^= random_state >> 7;
        random_state ^= random_state << 17;
        sum += (double)(random_state >> 11) * 0x1p-53;
    }
    return sum - 6.0;
}

/* Lower factor of a in place, column by column. */
static void plain_cholesky(double *a, size_t d)
{
    for (size_t j = 0; j < d; j++) {
        for (size_t k = 0; k < j; k++)
            a[j * d + j] -= a[j * d + k] * a[j * d + k];
        a[j * d + j] = sqrt(a[j * d + j]);
        for (size_t i = j + 1; i < d; i++) {
            for (size_t k = 0; k < j; k++)
                a[i * d + j] -= a[i * d + k] * a[j * d + k];
            a[i * d + j] /= a[j * d + j];
        }
    }
}

/* inverse = a^-1 by Gauss and Jordan. */
static void plain_inverse(double *inverse, const double *matrix, size_t d)
{
    double *a = malloc(d * d * sizeof *a);
    assert_non_null(a);
    memcpy(a, matrix, d * d * sizeof *a);
    for (size_t i = 0; i < d * d; i++)
        inverse[i] = i / d == i % d ? 1.0 : 0.0;
    for (size_t p = 0; p < d; p++) {
        double pivot = a[p * d + p];
        for (size_t j = 0; j < d; j++) {
            a[p * d + j] /= pivot;
            inverse[p * d + j] /= pivot;
        }
        for (size_t i = 0; i < d; i++) {
            double factor = a[i * d + p];
            for (size_t j = 0; i != p && j < d; j++) {
                a[i * d + j] -= factor * a[p * d + j];
                inverse[i * d + j] -= factor * inverse[p * d + j];
            }
        }
    }
    free(a);
}

static void textbook(uint8_t *codes, const float *weights, const double *damped,
                     const struct grid *g)
{
    double *u = malloc(sizeof(double) * D * D), *w = malloc(sizeof(double) * ROWS * D);
    assert_non_null(u);
    assert_non_null(w);
    plain_inverse(u, damped, D);
    plain_cholesky(u, D); /* u[j][i], i <= j, is the upper factor's [i][j] */
    for (size_t i = 0; i < ROWS * D; i++)
        w[i] = (double)weights[i];
    for (size_t r = 0; r < ROWS; r++)
        for (size_t i = 0; i < D; i++) {
            size_t at = r * g->grids + g->column[i];
            double code = rint(w[r * D + i] / g->scale[at]) + g->zero[at];
            code = fmin(fmax(code, 0.0), g->max_code[g->column[i]]);
            codes[r * D + i] = (uint8_t)code;
            double e = (w[r * D + i] - (code - g->zero[at]) * g->scale[at]) / u[i * D + i];
            for (size_t j = i + 1; j < D; j++)
                w[r * D + j] -= e * u[j * D + i];
        }
    free(u);
    free(w);
}

static void test_last_to_first_form_gives_the_textbook_codes(void **state)
{
    (void)state;
    struct err err = {0};
    static float weights[ROWS * D];
    static double h[D * D], x[2 * D * D];
    static uint8_t codes[ROWS * D], expected[ROWS * D];
    for (size_t i = 0; i < ROWS * D; i++)
        weights[i] = (float)random_normal();
    for (size_t t = 0; t < 2 * D; t++) {
        double common = random_normal();
        for (size_t j = 0; j < D; j++)
            x[t * D + j] = common + random_normal();
    }
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < D; j++) {
            h[i * D + j] = 0.0;
            for (size_t t = 0; t < 2 * D; t++)
                h[i * D + j] += x[t * D + i] * x[t * D + j] / (2 * D);
        }
    struct backend *b = NULL;
    assert_int_equal(backend_cpu_new(&b, 2, &err), 0);
    struct quantizer_rule rule = {.grid = {.group_size = 64, .half = true},
                                  .order = ORDER_NATURAL,
                                  .damping = 0.01,
                                  .precision = BACKEND_FP64};
    struct quantizer_hessian hessian = {.d = D, .h = h};
    struct quantizer_item item = {
        .rows = ROWS, .weights = weights, .bits = {.bits = 3}, .codes = codes};
    assert_int_equal(quantizer_gptq.run(b, &rule, &hessian, 1, &item, 1, &err), 0);
    double mean = 0.0;
    for (size_t j = 0; j < D; j++)
        mean += h[j * D + j] / D;
    for (size_t j = 0; j < D; j++)
        h[j * D + j] += 0.01 * mean;
    textbook(expected, weights, h, &item.grid);
    size_t differ = 0;
    for (size_t i = 0; i < ROWS * D; i++)
        differ += codes[i] != expected[i];
    assert_true(differ <= ROWS * D / 1000);
    grid_release(&item.grid);
    backend_free(b);
}

/* --- The damping ladder. --- */

/* Eigenvalues 1 +- c of [[1, c], [c, 1]]: positive from damping c - 1 on. */
static void run_pair_by(const struct quantizer_rule *rule, double c,
                        struct quantizer_hessian *hessian, struct quantizer_item *item)
{
    static double h[4];
    static float weights[2] = {0.3f, -0.8f};
    static uint8_t codes[2];
    struct err err = {0};
    struct backend *b = NULL;
    memcpy(h, (double[]){1.0, c, c, 1.0}, sizeof h);
    assert_int_equal(backend_cpu_new(&b, 1, &err), 0);
    *hessian = (struct quantizer_hessian){.d = 2, .h = h};
    *item =
        (struct quantizer_item){.rows = 1, .weights = weights, .bits = {.bits = 4}, .codes = codes};
    assert_int_equal(quantizer_gptq.run(b, rule, hessian, 1, item, 1, &err), 0);
    grid_release(&item->grid);
    backend_free(b);
}

static const struct quantizer_rule pair_rule = {
    .order = ORDER_ACT, .damping = 0.01, .precision = BACKEND_FP64};

static void run_pair(double c, struct quantizer_hessian *hessian, struct quantizer_item *item)
{
    run_pair_by(&pair_rule, c, hessian, item);
}

static void test_damping_of_zero_is_raised_where_it_must_be(void **state)
{
    (void)state;
    struct quantizer_hessian h;
    struct quantizer_item item;
    struct quantizer_rule rule = pair_rule;
    rule.damping = 0.0;
    run_pair_by(&rule, 0.5, &h, &item);
    assert_true(h.damping == 0.0 && !h.fallback);
    run_pair_by(&rule, 1.0, &h, &item); /* of rank 1, as few tokens leave it */
    assert_true(h.damping == 1e-4 && !h.fallback);
    run_pair_by(&rule, 1.0003, &h, &item);
    assert_true(h.damping == 4e-4 && !h.fallback);
    run_pair_by(&rule, 1.5, &h, &item);
    assert_true(h.damping == 0.0128 && h.fallback);
}

/* The same codes and loss as without refinement. */
static void test_what_falls_back_to_nearest_is_not_refined(void **state)
{
    (void)state;
    struct quantizer_hessian h;
    struct quantizer_item plain, refined;
    struct quantizer_rule rule = pair_rule;
    run_pair_by(&rule, 3.7, &h, &plain);
    uint8_t codes[2] = {plain.codes[0], plain.codes[1]};
    rule.refine = 2;
    run_pair_by(&rule, 3.7, &h, &refined);
    assert_true(h.fallback);
    assert_memory_equal(refined.codes, codes, sizeof codes);
    assert_true(refined.loss == plain.loss);
}

static void test_damping_doubles_until_the_hessian_is_positive(void **state)
{
    (void)state;
    struct quantizer_hessian h;
    struct quantizer_item item;
    run_pair(0.5, &h, &item);
    assert_true(h.damping == 0.01 && !h.fallback);
    run_pair(1.05, &h, &item);
    assert_true(h.damping == 0.08 && !h.fallback);
    run_pair(3.5, &h, &item);
    assert_true(h.damping == 2.56 && !h.fallback);
}

static void test_indefinite_hessian_falls_back_to_nearest_after_eight_doublings(void **state)
{
    (void)state;
    struct quantizer_hessian h;
    struct quantizer_item item;
    run_pair(3.7, &h, &item);
    assert_true(h.fallback);
    assert_true(h.damping == 2.56);
    /* Range -0.8 .. 0.3 on 15 steps: zero point 10.9 -> 11, codes rint(4.09) + 11 and 0. */
    assert_int_equal(item.codes[0], 15);
    assert_int_equal(item.codes[1], 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gptq_gives_the_golden_codes_in_double_precision),
        cmocka_unit_test(test_gptq_gives_the_golden_codes_in_single_precision),
        cmocka_unit_test(test_gptq_does_not_depend_on_threads),
        cmocka_unit_test(test_rtn_loss_is_never_below_gptq_loss_on_golden_matrices),
        cmocka_unit_test(test_last_to_first_form_gives_the_textbook_codes),
        cmocka_unit_test(test_damping_of_zero_is_raised_where_it_must_be),
        cmocka_unit_test(test_what_falls_back_to_nearest_is_not_refined),
        cmocka_unit_test(test_damping_doubles_until_the_hessian_is_positive),
        cmocka_unit_test(test_indefinite_hessian_falls_back_to_nearest_after_eight_doublings),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
