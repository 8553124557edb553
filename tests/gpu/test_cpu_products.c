/* Products, attention, losses and Gram sums against double precision. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_check.h"

static struct backend *two_threads(void)
{
    struct backend *b;
    assert_int_equal(backend_cpu_new(&b, 2, NULL), 0);
    return b;
}

static double dot(const float *a, const float *b, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += (double)a[i] * b[i];
    return sum;
}

/* More than one block of rows and of columns, and no multiple of either. */
enum { M = 301, N = 533, DEPTH = 77 };

static float *x, *w, *bias;
static double *reference;

static int make_inputs(void **state)
{
    (void)state;
    x = check_floats(11, (size_t)1 << 20, 2);
    w = check_floats(12, (size_t)1 << 20, 1);
    bias = check_floats(13, N, 5);
    reference = calloc((size_t)1 << 20, sizeof *reference);
    assert_non_null(reference);
    return 0;
}

static int free_inputs(void **state)
{
    (void)state;
    free(x);
    free(w);
    free(bias);
    free(reference);
    return 0;
}

static void op_matmul(struct backend *b, float *out)
{
    struct tensor *a = check_put(b, M + 9, DEPTH, x), *c = check_put(b, N, DEPTH, w);
    struct tensor *d = check_put(b, 1, N, bias), *y = check_poisoned(b, M + 9, N);
    assert_int_equal(b->ops->matmul(b, y, a, c, d, M, NULL), 0);
    check_take(b, y, M, N, out);
    b->ops->tensor_free(b, a);
    b->ops->tensor_free(b, c);
    b->ops->tensor_free(b, d);
}

static void test_matmul_with_bias_over_blocks(void **state)
{
    (void)state;
    for (size_t r = 0; r < M; r++)
        for (size_t o = 0; o < N; o++)
            reference[r * N + o] = dot(x + r * DEPTH, w + o * DEPTH, DEPTH) + bias[o];
    check_run(op_matmul, (size_t)M * N, reference, 2e-5);
}

enum { EXPERTS = 9, TOP_K = 4, TOKENS = 700, UNUSED = 5 };
static struct backend_groups groups;

static void op_grouped(struct backend *b, float *out)
{
    struct tensor *a = check_put(b, TOKENS, 50, x), *e[EXPERTS];
    struct tensor *g = check_poisoned(b, TOKENS * TOP_K + 2, 50);
    struct tensor *y = check_poisoned(b, TOKENS * TOP_K + 2, 21);
    for (size_t i = 0; i < EXPERTS; i++)
        e[i] = check_put(b, 21, 50, w + i * 21 * 50);
    assert_int_equal(b->ops->gather(b, g, a, &groups, NULL), 0);
    assert_int_equal(b->ops->grouped_matmul(b, y, g, e, &groups, NULL), 0);
    struct tensor *sum = check_put(b, TOKENS, 21, x + 7);
    assert_int_equal(b->ops->combine(b, sum, y, &groups, NULL), 0);
    float *skip = malloc(TOKENS * TOP_K * 50 * sizeof *skip);
    assert_non_null(skip);
    check_take(b, g, TOKENS * TOP_K, 50, skip);
    check_take(b, y, TOKENS * TOP_K, 21, skip);
    check_take(b, sum, TOKENS, 21, out);
    free(skip);
    b->ops->tensor_free(b, a);
    for (size_t i = 0; i < EXPERTS; i++)
        b->ops->tensor_free(b, e[i]);
}

static void test_experts_serve_their_tokens_and_an_idle_one_none(void **state)
{
    (void)state;
    check_groups(&groups, TOKENS, EXPERTS, TOP_K, UNUSED, 21);
    assert_true(groups.offset[1] > 256); /* more than one block */
    assert_true(groups.offset[UNUSED] == groups.offset[UNUSED + 1]);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t o = 0; o < 21; o++) {
            double sum = x[7 + t * 21 + o];
            for (size_t k = 0; k < TOP_K; k++)
                sum += groups.gate[t * TOP_K + k] *
                       dot(x + t * 50, w + (groups.expert[t * TOP_K + k] * 21 + o) * 50, 50);
            reference[t * 21 + o] = sum;
        }
    check_run(op_grouped, TOKENS * 21, reference, 2e-5);
    backend_groups_release(&groups);
}

static struct backend_attention shape;
enum { WINDOW = 203, WINDOWS = 3, HEADS = 6, KV = 2, HEAD = 10 };

static void op_attention(struct backend *b, float *out)
{
    size_t n = WINDOW * WINDOWS;
    struct tensor *q = check_put(b, n, HEADS * HEAD, x), *k = check_put(b, n, KV * HEAD, w);
    struct tensor *v = check_put(b, n, KV * HEAD, x + 999);
    struct tensor *y = check_poisoned(b, n + 5, HEADS * HEAD);
    assert_int_equal(b->ops->attention(b, y, q, k, v, n, &shape, NULL), 0);
    check_take(b, y, n, HEADS * HEAD, out);
    b->ops->tensor_free(b, q);
    b->ops->tensor_free(b, k);
    b->ops->tensor_free(b, v);
}

static void attention_reference(size_t row, size_t head, double *out)
{
    size_t position = row % WINDOW, kv = head / (HEADS / KV);
    size_t seen = shape.sliding && shape.sliding <= position ? shape.sliding : position + 1;
    double p[WINDOW], sum = 0;
    memset(out, 0, HEAD * sizeof *out);
    for (size_t i = 0; i < seen; i++) {
        p[i] =
            exp(dot(x + row * HEADS * HEAD + head * HEAD, w + ((row - i) * KV + kv) * HEAD, HEAD) /
                sqrt(HEAD));
        sum += p[i];
    }
    for (size_t i = 0; i < seen; i++)
        for (size_t d = 0; d < HEAD; d++)
            out[d] += p[i] / sum * x[999 + ((row - i) * KV + kv) * HEAD + d];
}

static void test_attention_is_causal_grouped_and_slides(void **state)
{
    (void)state;
    static const size_t sliding[] = {0, 1, 60, 128, WINDOW, 5000};
    for (size_t s = 0; s < sizeof sliding / sizeof *sliding; s++) {
        shape = (struct backend_attention){WINDOW, HEADS, KV, HEAD, sliding[s]};
        for (size_t r = 0; r < WINDOW * WINDOWS; r++)
            for (size_t h = 0; h < HEADS; h++)
                attention_reference(r, h, reference + r * HEADS * HEAD + h * HEAD);
        check_run(op_attention, WINDOW * WINDOWS * HEADS * HEAD, reference, 1e-5);
    }
}

static void test_attention_refuses_part_of_a_window(void **state)
{
    (void)state;
    struct backend *b = two_threads();
    struct tensor *t = check_put(b, 10, 4, x);
    const struct backend_attention s = {4, 2, 2, 2, 0}, odd = {5, 2, 3, 2, 0};
    assert_int_equal(b->ops->attention(b, t, t, t, t, 10, &s, NULL), ERR_USAGE);
    assert_int_equal(b->ops->attention(b, t, t, t, t, 10, &odd, NULL), ERR_USAGE);
    b->ops->tensor_free(b, t);
    backend_free(b);
}

enum { VOCAB = 2300, NLL_ROWS = 333 };
static int64_t target[NLL_ROWS];

static void op_nll(struct backend *b, float *out)
{
    double nll[NLL_ROWS];
    struct tensor *a = check_put(b, NLL_ROWS, DEPTH, x), *head = check_put(b, VOCAB, DEPTH, w);
    for (size_t i = 0; i < NLL_ROWS; i++)
        nll[i] = -1;
    assert_int_equal(b->ops->nll(b, nll, a, head, target, NLL_ROWS, NULL), 0);
    for (size_t i = 0; i < NLL_ROWS; i++)
        out[i] = (float)nll[i];
    b->ops->tensor_free(b, a);
    b->ops->tensor_free(b, head);
}

static void test_nll_holds_for_huge_logits_and_skips_rows_without_target(void **state)
{
    (void)state;
    uint64_t seed = 31;
    for (size_t k = 0; k < DEPTH; k++)
        x[5 * DEPTH + k] *= 200; /* logits of several hundred */
    for (size_t r = 0; r < NLL_ROWS; r++) {
        target[r] = r % 7 == 3 || r >= 256 ? -1 : (int64_t)check_random(&seed, VOCAB);
        double max = -INFINITY, sum = 0;
        for (size_t v = 0; v < VOCAB; v++)
            max = fmax(max, dot(x + r * DEPTH, w + v * DEPTH, DEPTH));
        for (size_t v = 0; v < VOCAB; v++)
            sum += exp(dot(x + r * DEPTH, w + v * DEPTH, DEPTH) - max);
        reference[r] = target[r] < 0 ? -1
                                     : max + log(sum) -
                                           dot(x + r * DEPTH, w + (size_t)target[r] * DEPTH, DEPTH);
    }
    check_run(op_nll, NLL_ROWS, reference, 1e-5);
    for (size_t k = 0; k < DEPTH; k++)
        x[5 * DEPTH + k] /= 200;
}

enum { SIDE = 270, GRAM_ROWS = 2500 };

static struct tensor *put_f64(struct backend *b, size_t rows, size_t columns, const double *values)
{
    struct tensor *t;
    assert_int_equal(b->ops->tensor_new(b, &t, TENSOR_F64, rows, columns, NULL), 0);
    assert_int_equal(b->ops->upload(b, t, 0, rows, SOURCE_F64, values, NULL), 0);
    return t;
}

static void take_f64(struct backend *b, struct tensor *t, size_t side, double *out)
{
    assert_int_equal(b->ops->download_f64(b, t, 0, side, out, NULL), 0);
    b->ops->tensor_free(b, t);
}

static void op_gram(struct backend *b, float *out)
{
    double *h = calloc(SIDE * SIDE, sizeof *h);
    assert_non_null(h);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        h[i] = (double)(i / SIDE + i % SIDE);
    struct tensor *a = check_put(b, GRAM_ROWS, SIDE, x), *t = put_f64(b, SIDE, SIDE, h);
    assert_int_equal(b->ops->gram(b, t, a, GRAM_ROWS, NULL), 0);
    take_f64(b, t, SIDE, h);
    for (size_t i = 0; i < SIDE * SIDE; i++)
        out[i] = i % SIDE <= i / SIDE ? (float)h[i] : 0.0f;
    b->ops->tensor_free(b, a);
    free(h);
}

static void test_gram_adds_to_the_lower_triangle_over_chunks(void **state)
{
    (void)state;
    for (size_t i = 0; i < SIDE; i++)
        for (size_t k = 0; k < SIDE; k++)
            reference[i * SIDE + k] = k <= i ? (double)(i + k) : 0.0;
    for (size_t r = 0; r < GRAM_ROWS; r++)
        for (size_t i = 0; i < SIDE; i++)
            for (size_t k = 0; k <= i; k++)
                reference[i * SIDE + k] += (double)x[r * SIDE + i] * x[r * SIDE + k];
    check_run(op_gram, SIDE * SIDE, reference, 1e-4);
}

enum { SMALL = 17 };

static void op_grouped_gram(struct backend *b, float *out)
{
    static const double zero[SMALL * SMALL];
    struct tensor *a = check_put(b, TOKENS * TOP_K, SMALL, x), *h[EXPERTS];
    double got[SMALL * SMALL];
    for (size_t e = 0; e < EXPERTS; e++)
        h[e] = put_f64(b, SMALL, SMALL, zero);
    assert_int_equal(b->ops->grouped_gram(b, h, a, &groups, NULL), 0);
    for (size_t e = 0; e < EXPERTS; e++) {
        take_f64(b, h[e], SMALL, got);
        for (size_t i = 0; i < SMALL * SMALL; i++)
            out[e * SMALL * SMALL + i] = i % SMALL <= i / SMALL ? (float)got[i] : 0.0f;
    }
    b->ops->tensor_free(b, a);
}

static void op_grouped_abs(struct backend *b, float *out)
{
    double got[EXPERTS * SMALL];
    for (size_t i = 0; i < EXPERTS * SMALL; i++)
        got[i] = 0.25 * (double)i;
    struct tensor *a = check_put(b, TOKENS * TOP_K, SMALL, x);
    struct tensor *t = put_f64(b, EXPERTS, SMALL, got);
    assert_int_equal(b->ops->grouped_abs(b, t, a, &groups, NULL), 0);
    take_f64(b, t, EXPERTS, got);
    for (size_t i = 0; i < EXPERTS * SMALL; i++)
        out[i] = (float)got[i];
    b->ops->tensor_free(b, a);
}

static void test_sums_of_each_expert_take_its_slots_alone(void **state)
{
    (void)state;
    check_groups(&groups, TOKENS, EXPERTS, TOP_K, UNUSED, 22);
    double *absolute = calloc(EXPERTS * SMALL, sizeof *absolute);
    assert_non_null(absolute);
    memset(reference, 0, EXPERTS * SMALL * SMALL * sizeof *reference);
    for (size_t i = 0; i < EXPERTS * SMALL; i++)
        absolute[i] = 0.25 * (double)i;
    for (size_t e = 0; e < EXPERTS; e++)
        for (size_t s = groups.offset[e]; s < groups.offset[e + 1]; s++)
            for (size_t i = 0; i < SMALL; i++) {
                absolute[e * SMALL + i] += fabs((double)x[s * SMALL + i]);
                for (size_t k = 0; k <= i; k++)
                    reference[(e * SMALL + i) * SMALL + k] +=
                        (double)x[s * SMALL + i] * x[s * SMALL + k];
            }
    check_run(op_grouped_gram, EXPERTS * SMALL * SMALL, reference, 1e-4);
    check_run(op_grouped_abs, EXPERTS * SMALL, absolute, 1e-6);
    free(absolute);
    backend_groups_release(&groups);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_matmul_with_bias_over_blocks),
        cmocka_unit_test(test_experts_serve_their_tokens_and_an_idle_one_none),
        cmocka_unit_test(test_attention_is_causal_grouped_and_slides),
        cmocka_unit_test(test_attention_refuses_part_of_a_window),
        cmocka_unit_test(test_nll_holds_for_huge_logits_and_skips_rows_without_target),
        cmocka_unit_test(test_gram_adds_to_the_lower_triangle_over_chunks),
        cmocka_unit_test(test_sums_of_each_expert_take_its_slots_alone),
    };
    return cmocka_run_group_tests(tests, make_inputs, free_inputs);
}
