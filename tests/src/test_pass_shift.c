/* Weights that make up for shifted inputs: the arithmetic, what it gains, and resumed runs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "src/quant/shifts.h"
#include "tests/src/quant_run.h"

enum { D = 12, ROWS = 5, TOKENS = 400 };

static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                    TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                    TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static uint64_t seed = 12345;

static double uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (double)(seed >> 11) * 0x1p-53 - 0.5;
}

struct problem {
    double original[TOKENS][D], quantized[TOKENS][D];
    double h[D * D], shift[D * D], factor[D * D];
    float w[ROWS * D];
};

static void fill(struct problem *p, double noise)
{
    memset(p, 0, sizeof *p);
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < D; i++) {
            p->original[t][i] = uniform() + (i ? 0.5 * p->original[t][i - 1] : 0);
            p->quantized[t][i] = (1 - noise) * p->original[t][i] + noise * uniform();
        }
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t i = 0; i < D; i++)
            for (size_t j = 0; j < D; j++) {
                const double *q = p->quantized[t];
                p->h[i * D + j] += q[i] * q[j] / TOKENS;
                p->shift[i * D + j] += q[i] * (p->original[t][j] - q[j]) / TOKENS;
            }
    for (size_t i = 0; i < ROWS * D; i++)
        p->w[i] = (float)uniform();
    memcpy(p->factor, p->h, sizeof p->h);
    for (size_t j = 0; j < D; j++) {
        for (size_t k = 0; k < j; k++)
            p->factor[j * D + j] -= p->factor[j * D + k] * p->factor[j * D + k];
        p->factor[j * D + j] = sqrt(p->factor[j * D + j]);
        for (size_t i = j + 1; i < D; i++) {
            for (size_t k = 0; k < j; k++)
                p->factor[i * D + j] -= p->factor[i * D + k] * p->factor[j * D + k];
            p->factor[i * D + j] /= p->factor[j * D + j];
        }
    }
}

/* Squared distance of w' x_q from w x_o, summed over tokens and rows. */
static double distance(const struct problem *p, const float *moved)
{
    double sum = 0;
    for (size_t t = 0; t < TOKENS; t++)
        for (size_t r = 0; r < ROWS; r++) {
            double e = 0;
            for (size_t j = 0; j < D; j++)
                e += (double)moved[r * D + j] * p->quantized[t][j] -
                     (double)p->w[r * D + j] * p->original[t][j];
            sum += e * e;
        }
    return sum;
}

static void test_moved_weights_come_closest_to_the_originals_outputs(void **state)
{
    (void)state;
    static struct problem p;
    float moved[ROWS * D];
    bool applied;
    fill(&p, 0.3);
    memcpy(moved, p.w, sizeof moved);
    assert_int_equal(shifts_apply(&applied, moved, ROWS, D, p.shift, p.factor, NULL), 0);
    assert_true(applied);
    double least = distance(&p, moved);
    assert_true(least < 0.9 * distance(&p, p.w));
    for (size_t i = 0; i < ROWS * D; i++)
        for (int sign = -1; sign <= 1; sign += 2) {
            float before = moved[i];
            moved[i] += (float)sign * 0.01f;
            assert_true(distance(&p, moved) > least);
            moved[i] = before;
        }
}

static void test_a_shift_beyond_half_the_weights_is_left_alone(void **state)
{
    (void)state;
    static struct problem p;
    float moved[ROWS * D];
    bool applied;
    fill(&p, 0.3);
    for (size_t i = 0; i < D * D; i++)
        p.shift[i] *= 30;
    memcpy(moved, p.w, sizeof moved);
    assert_int_equal(shifts_apply(&applied, moved, ROWS, D, p.shift, p.factor, NULL), 0);
    assert_false(applied);
    assert_memory_equal(moved, p.w, sizeof moved);
}

/* Rise of the mean negative log-likelihood over the original. */
static double excess(struct quant_run *r, const char *settings, double original)
{
    quant_run_plan(r, "gptq-2", settings);
    quant_run_remove(r->out);
    quant_run_pass(r);
    return log(quant_run_perplexity(r->backend, r->out, texts, 3, 0)) - original;
}

static void check_gain(const char *model, const char *folder)
{
    struct quant_run r;
    quant_run_open(&r, model, "gptq-2", 0, 0);
    double original = log(quant_run_perplexity(r.backend, folder, texts, 3, 0));
    double plain = excess(&r, "scale_search=on", original);
    double shifted = excess(&r, "scale_search=on,shift=on", original);
    print_message("%s: %.4f, shifted %.4f\n", model, plain, shifted);
    assert_true(shifted < 0.95 * plain);
    quant_run_close(&r);
}

static void test_two_bits_lose_less_with_the_shift(void **state)
{
    (void)state;
    check_gain("tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    check_gain("tiny-qwen2moe", TEST_GOLDEN "/tiny-qwen2moe/model");
}

static void test_run_with_shifts_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    struct quant_run r;
    char whole[HASH_HEX_SIZE], pieced[HASH_HEX_SIZE];
    struct pass *p;
    int rc = 1;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-3", 4, 2);
    quant_run_plan(&r, "moqa", "shift=on");
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    r.options.resume = true;
    for (size_t pieces = 0; rc > 0; pieces++) {
        assert_true(pieces < 10);
        assert_int_equal(pass_new(&p, &r.options, NULL), 0);
        rc = pass_step(p, NULL);
        pass_free(p);
    }
    assert_int_equal(rc, 0);
    quant_run_hash(pieced, r.out);
    assert_string_equal(whole, pieced);
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moved_weights_come_closest_to_the_originals_outputs),
        cmocka_unit_test(test_a_shift_beyond_half_the_weights_is_left_alone),
        cmocka_unit_test(test_two_bits_lose_less_with_the_shift),
        cmocka_unit_test(test_run_with_shifts_resumes_to_the_same_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
