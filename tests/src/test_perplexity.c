/* Perplexity of the sample texts against transformers. */
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
#include "quant_run.h"
#include "src/eval/loglikelihood.h"
#include "src/eval/perplexity.h"
#include "src/model/texts.h"

static const char *const evaluation[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                         TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                         TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static void encode(const struct model *m, struct token_ids *ids)
{
    *ids = (struct token_ids){0};
    assert_int_equal(texts_encode(ids, m->tokenizer, evaluation, 3, NULL), 0);
}

static size_t golden_size(const json_t *entry, const char *key)
{
    return (size_t)json_integer_value(json_object_get(entry, key));
}

static void check_entry(const struct model *m, struct backend *b, const struct token_ids *ids,
                        const json_t *entry)
{
    struct perplexity p;
    const json_t *first = json_object_get(entry, "nll_of_first_windows");
    size_t windows = golden_size(entry, "windows");
    double *nll = malloc(windows * sizeof *nll);
    assert_int_equal(perplexity_run(&p, m, b, ids->data, ids->count, golden_size(entry, "window"),
                                    0, nll, NULL, NULL),
                     0);
    assert_int_equal(p.tokens, golden_size(entry, "tokens_in_text"));
    assert_int_equal(p.windows, windows);
    assert_int_equal(p.predicted, golden_size(entry, "predicted"));
    double want = json_number_value(json_object_get(entry, "perplexity"));
    assert_true(fabs(p.value - want) <= 1e-4 * want);
    for (size_t w = 0; w < json_array_size(first); w++)
        fixture_near(nll[w], fixture_real(first, w), 1e-4, "nll of window", w);
    free(nll);
}

static void test_perplexity_of_sample_texts_equals_transformers(void **state)
{
    (void)state;
    struct backend *b = fixture_backend(2);
    for (size_t t = 0; t < 2; t++) {
        struct model m;
        struct token_ids ids;
        fixture_open(&m, fixture_tiny[t].dir);
        encode(&m, &ids);
        json_t *file = fixture_json(fixture_tiny[t].golden, "model.json");
        size_t checked = 0, i;
        json_t *entry;
        json_array_foreach(json_object_get(file, "perplexity"), i, entry)
        {
            if (strcmp(json_string_value(json_object_get(entry, "text")), "sample-evaluation"))
                continue;
            check_entry(&m, b, &ids, entry);
            checked++;
        }
        assert_int_equal(checked, 2);
        json_decref(file);
        token_ids_release(&ids);
        model_release(&m);
    }
    backend_free(b);
}

static void test_a_limit_takes_the_first_windows_and_threads_change_nothing(void **state)
{
    (void)state;
    struct model m;
    struct token_ids ids;
    struct perplexity p[3];
    double all[54], few[3][7];
    fixture_open(&m, fixture_tiny[0].dir);
    encode(&m, &ids);
    for (size_t t = 0; t < 3; t++) {
        struct backend *b = fixture_backend(t + 1);
        assert_int_equal(
            perplexity_run(&p[t], &m, b, ids.data, ids.count, 200, 7, few[t], NULL, NULL), 0);
        assert_true(p[t].value == p[0].value && p[t].nll == p[0].nll);
        assert_memory_equal(few[t], few[0], sizeof few[0]);
        backend_free(b);
    }
    struct backend *b = fixture_backend(2);
    struct perplexity whole;
    assert_int_equal(
        perplexity_run(&whole, &m, b, ids.data, 54 * 200 + 199, 200, 0, all, NULL, NULL), 0);
    assert_int_equal(whole.windows, 54);
    assert_int_equal(p[0].windows, 7);
    assert_int_equal(p[0].predicted, 7 * 199);
    double sum = 0;
    for (size_t w = 0; w < 7; w++) {
        fixture_near(few[0][w], all[w], 1e-5, "window", w);
        sum += few[0][w];
    }
    assert_true(p[0].nll == sum);
    assert_true(p[0].value == exp(sum / (7 * 199)));
    backend_free(b);
    token_ids_release(&ids);
    model_release(&m);
}

/* One weight of the head that is no number. */
static void test_result_that_is_not_finite_is_an_error(void **state)
{
    (void)state;
    struct quant_run r;
    struct token_ids ids;
    struct perplexity p;
    struct err err = {0};
    struct loglikelihood out;
    const struct loglikelihood_pair pair = {"Once upon", " a time"};
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    struct model original = r.model;
    quant_run_patch(&r, "lm_head.weight", 3, 7, 0x7fc0);
    encode(&r.model, &ids);
    assert_int_equal(
        perplexity_run(&p, &r.model, r.backend, ids.data, ids.count, 64, 3, NULL, NULL, &err),
        ERR_NUMERIC);
    assert_string_equal(err.file, checkpoint_dir(r.model.checkpoint));
    assert_non_null(strstr(err.message, "window 1 of 3: its log-likelihood is not finite"));
    err = (struct err){0};
    assert_int_equal(loglikelihood_run(&out, &r.model, r.backend, &pair, 1, NULL, &err),
                     ERR_NUMERIC);
    assert_non_null(strstr(err.message, "pair 0: its log-likelihood is not finite"));
    token_ids_release(&ids);
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

static void cancel_late(void *context, const struct progress_state *s)
{
    if (s->done >= 3)
        atomic_store((atomic_bool *)context, true);
}

static void test_progress_ends_at_its_total_and_cancel_stops(void **state)
{
    (void)state;
    struct model m;
    struct token_ids ids;
    struct perplexity p;
    struct progress progress;
    struct progress_state now;
    struct backend *b = fixture_backend(2);
    fixture_open(&m, fixture_tiny[1].dir);
    encode(&m, &ids);
    progress_init(&progress);
    assert_int_equal(perplexity_run(&p, &m, b, ids.data, ids.count, 64, 3, NULL, &progress, NULL),
                     0);
    progress_get(&progress, &now);
    assert_int_equal(now.total, 3 * (m.config->layers + 1));
    assert_int_equal(now.done, now.total);
    progress.context = &progress.cancel;
    progress.changed = cancel_late;
    assert_int_equal(perplexity_run(&p, &m, b, ids.data, ids.count, 64, 3, NULL, &progress, NULL),
                     ERR_CANCELLED);
    progress_get(&progress, &now);
    assert_true(now.done < now.total);
    progress_release(&progress);
    backend_free(b);
    token_ids_release(&ids);
    model_release(&m);
}

static void test_texts_too_short_for_a_window_are_refused(void **state)
{
    (void)state;
    struct model m;
    struct perplexity p;
    struct err err = {0};
    struct backend *b = fixture_backend(1);
    const uint32_t ids[300] = {0};
    fixture_open(&m, fixture_tiny[1].dir);
    assert_int_equal(perplexity_run(&p, &m, b, ids, 255, 256, 0, NULL, NULL, &err), ERR_INPUT);
    assert_string_equal(err.message, "the text has 255 tokens, less than one window of 256");
    for (size_t window = 0; window < 2; window++)
        assert_int_equal(perplexity_run(&p, &m, b, ids, 300, window, 0, NULL, NULL, NULL),
                         ERR_USAGE);
    backend_free(b);
    model_release(&m);
}

static void test_a_missing_text_is_named(void **state)
{
    (void)state;
    struct model m;
    struct token_ids ids = {0};
    struct err err = {0};
    const char *const paths[] = {evaluation[0], "/nonexistent/text.txt"};
    fixture_open(&m, fixture_tiny[1].dir);
    assert_int_equal(texts_encode(&ids, m.tokenizer, paths, 2, &err), ERR_INPUT);
    assert_string_equal(err.file, paths[1]);
    assert_int_equal(ids.count, 0);
    token_ids_release(&ids);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_result_that_is_not_finite_is_an_error),
        cmocka_unit_test(test_perplexity_of_sample_texts_equals_transformers),
        cmocka_unit_test(test_a_limit_takes_the_first_windows_and_threads_change_nothing),
        cmocka_unit_test(test_progress_ends_at_its_total_and_cancel_stops),
        cmocka_unit_test(test_texts_too_short_for_a_window_are_refused),
        cmocka_unit_test(test_a_missing_text_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
