/* Divergence of a model's output from the original's, against the definition. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_fixture.h"
#include "src/eval/divergence.h"
#include "src/eval/eval_windows.h"
#include "src/model/texts.h"
#include "tests/src/quant_run.h"

enum { WINDOW = 64, WINDOWS = 3 };

static void encode(const struct model *m, struct token_ids *ids)
{
    static const char *const letters = TEST_SAMPLE "/text/evaluation/letters-1.txt";
    *ids = (struct token_ids){0};
    assert_int_equal(texts_encode(ids, m->tokenizer, &letters, 1, NULL), 0);
}

static void test_rows_of_known_distributions(void **state)
{
    (void)state;
    /* 1/2 1/4 1/4 from 1/4 1/2 1/4, the logits moved by constants; the second row the same twice.
     */
    float p[] = {logf(2) + 90, 90, 90, 1, 2, 3}, q[] = {-7, logf(2) - 7, -7, -1, 0, 1};
    double out[2];
    divergence_rows(out, p, q, 2, 3, NULL);
    assert_true(fabs(out[0] - 0.25 * log(2)) < 1e-5);
    assert_true(fabs(out[1]) < 1e-6);
}

static void test_a_model_does_not_differ_from_itself(void **state)
{
    (void)state;
    struct backend *b = fixture_backend(2);
    struct model m;
    struct token_ids ids;
    struct divergence d;
    fixture_open(&m, fixture_tiny[0].dir);
    encode(&m, &ids);
    assert_int_equal(
        divergence_run(&d, &m, &m, NULL, b, ids.data, ids.count, WINDOW, WINDOWS, NULL, NULL), 0);
    assert_true(d.mean == 0 && d.error == 0 && d.windows == WINDOWS);
    token_ids_release(&ids);
    model_release(&m);
    backend_free(b);
}

/* sum p ln (p / q) in the plainest way. */
static double plain_row(const float *p, const float *q, size_t vocab)
{
    double sum_p = 0, sum_q = 0, sum = 0;
    for (size_t i = 0; i < vocab; i++) {
        sum_p += exp((double)p[i]);
        sum_q += exp((double)q[i]);
    }
    for (size_t i = 0; i < vocab; i++) {
        double a = exp((double)p[i]) / sum_p, b = exp((double)q[i]) / sum_q;
        sum += a * log(a / b);
    }
    return sum;
}

static void plain_windows(double mean[WINDOWS], const struct model *original, const struct model *m,
                          struct backend *b, const struct token_ids *ids)
{
    struct eval_windows w;
    struct forward *f, *g;
    size_t vocab = m->config->vocab;
    float *p = calloc(WINDOW * vocab, sizeof *p), *q = calloc(WINDOW * vocab, sizeof *q);
    assert_true(p && q);
    assert_int_equal(
        eval_windows_init(&w, m->config, b, ids->data, ids->count, WINDOW, WINDOWS, NULL, NULL), 0);
    assert_int_equal(eval_windows_run(&f, &w, original, 0, WINDOWS, NULL), 0);
    assert_int_equal(eval_windows_run(&g, &w, m, 0, WINDOWS, NULL), 0);
    for (size_t i = 0; i < WINDOWS; i++) {
        mean[i] = 0;
        assert_int_equal(forward_logits(f, i, WINDOW, p, NULL), 0);
        assert_int_equal(forward_logits(g, i, WINDOW, q, NULL), 0);
        for (size_t r = 0; r < WINDOW; r++)
            mean[i] += plain_row(p + r * vocab, q + r * vocab, vocab) / WINDOW;
    }
    forward_free(f);
    forward_free(g);
    eval_windows_release(&w);
    free(p);
    free(q);
}

static void test_of_a_quantized_model_it_is_the_mean_over_all_positions(void **state)
{
    (void)state;
    struct quant_run r;
    struct model m;
    struct token_ids ids;
    struct divergence d, alone;
    double mean[WINDOWS], sum = 0, square = 0;
    struct backend *single = fixture_backend(1);
    quant_run_open(&r, "tiny-qwen2moe", "gptq-2", 2, 2);
    quant_run_pass(&r);
    fixture_open(&m, r.out);
    encode(&m, &ids);
    assert_int_equal(divergence_run(&d, &m, &r.model, NULL, r.backend, ids.data, ids.count, WINDOW,
                                    WINDOWS, NULL, NULL),
                     0);
    plain_windows(mean, &r.model, &m, r.backend, &ids);
    for (size_t i = 0; i < WINDOWS; i++)
        sum += mean[i] / WINDOWS;
    for (size_t i = 0; i < WINDOWS; i++)
        square += (mean[i] - sum) * (mean[i] - sum);
    assert_true(d.mean > 0.01 && fabs(d.mean - sum) < 1e-9);
    assert_true(fabs(d.error - sqrt(square / (WINDOWS - 1) / WINDOWS)) < 1e-9);
    assert_int_equal(divergence_run(&alone, &m, &r.model, NULL, single, ids.data, ids.count, WINDOW,
                                    WINDOWS, NULL, NULL),
                     0);
    assert_true(alone.mean == d.mean && alone.error == d.error);
    token_ids_release(&ids);
    model_release(&m);
    backend_free(single);
    quant_run_close(&r);
}

static void test_the_original_is_run_once_where_it_is_kept(void **state)
{
    (void)state;
    struct quant_run r;
    struct model m;
    struct token_ids ids;
    struct divergence alone, first, again, other;
    struct divergence_kept kept = {.most = UINT64_MAX}, none = {.most = 64};
    quant_run_open(&r, "tiny-olmoe", "gptq-3", 2, 2);
    quant_run_pass(&r);
    fixture_open(&m, r.out);
    encode(&m, &ids);
    size_t floats = WINDOWS * WINDOW * m.config->hidden;
    const struct {
        struct divergence *out;
        struct divergence_kept *kept;
    } runs[] = {{&alone, NULL}, {&first, &kept}, {&again, &kept}, {&other, &none}};
    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++)
        assert_int_equal(divergence_run(runs[i].out, &m, &r.model, runs[i].kept, r.backend,
                                        ids.data, ids.count, WINDOW, WINDOWS, NULL, NULL),
                         0);
    assert_true(first.mean == alone.mean && again.mean == alone.mean && other.mean == alone.mean);
    assert_true(kept.windows == WINDOWS && kept.hidden && !none.hidden);
    for (size_t i = 0; i < floats; i++)
        kept.hidden[i] = (float)(i % 7); /* what is kept is what is compared with */
    assert_int_equal(divergence_run(&again, &m, &r.model, &kept, r.backend, ids.data, ids.count,
                                    WINDOW, WINDOWS, NULL, NULL),
                     0);
    assert_true(again.mean > 2 * alone.mean);
    divergence_kept_release(&kept);
    divergence_kept_release(&none);
    token_ids_release(&ids);
    model_release(&m);
    quant_run_close(&r);
}

static void test_what_cannot_be_compared_is_refused(void **state)
{
    (void)state;
    struct backend *b = fixture_backend(1);
    struct model m, other;
    struct divergence d;
    struct err err = {0};
    uint32_t ids[WINDOW] = {0};
    fixture_open(&m, fixture_tiny[0].dir);
    fixture_open(&other, TEST_GOLDEN "/random-olmoe");
    assert_int_equal(divergence_run(&d, &m, &other, NULL, b, ids, WINDOW, WINDOW, 0, NULL, &err),
                     ERR_INPUT);
    assert_non_null(strstr(err.message, "vocabulary of 2048 tokens, the original has "));
    assert_int_equal(divergence_run(&d, &m, &m, NULL, b, ids, WINDOW, WINDOW + 1, 0, NULL, &err),
                     ERR_INPUT);
    assert_int_equal(divergence_run(&d, &m, &m, NULL, b, ids, WINDOW, 1, 0, NULL, &err), ERR_USAGE);
    model_release(&m);
    model_release(&other);
    backend_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_of_known_distributions),
        cmocka_unit_test(test_a_model_does_not_differ_from_itself),
        cmocka_unit_test(test_of_a_quantized_model_it_is_the_mean_over_all_positions),
        cmocka_unit_test(test_the_original_is_run_once_where_it_is_kept),
        cmocka_unit_test(test_what_cannot_be_compared_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
