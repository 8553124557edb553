/* Learned rounding within the pass: what it gains, what it tells, and that it does not matter how
 * a run came to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "tests/src/quant_run.h"

static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                    TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                    TEST_SAMPLE "/text/evaluation/letters-1.txt"};

/* Rise of the mean negative log-likelihood over the original. */
static double excess(struct quant_run *r, const char *method, const char *settings, double original)
{
    quant_run_plan(r, method, settings);
    quant_run_remove(r->out);
    quant_run_pass(r);
    return log(quant_run_perplexity(r->backend, r->out, texts, 3, 0)) - original;
}

static void test_learning_takes_a_fifth_of_the_loss_at_two_bits(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-2", 0, 0);
    double original =
        log(quant_run_perplexity(r.backend, TEST_GOLDEN "/tiny-qwen2moe/model", texts, 3, 0));
    double plain = excess(&r, "gptq-2", "scale_search=on,shift=on", original);
    double learned = excess(&r, "gptq-2", "scale_search=on,shift=on,learn=40", original);
    print_message("2 bits: %.4f, learned %.4f\n", plain, learned);
    assert_true(learned < 0.8 * plain);
    quant_run_close(&r);
}

/* What the report says of every layer's learning. */
static void check_report(const struct quant_run *r, size_t layers)
{
    char path[128];
    json_t *report;
    size_t index, kept = 0;
    const json_t *layer;
    snprintf(path, sizeof path, "%s/moqa_report.json", r->out);
    assert_int_equal(jsonio_load(&report, path, 1 << 24, NULL), 0);
    json_t *list = json_object_get(report, "layers");
    assert_int_equal(json_array_size(list), layers);
    json_array_foreach(list, index, layer)
    {
        const json_t *learned = json_object_get(layer, "learned");
        double before = json_number_value(json_object_get(learned, "loss_before"));
        double after = json_number_value(json_object_get(learned, "loss_after"));
        size_t experts = json_array_size(json_object_get(learned, "experts"));
        print_message("layer %zu: %g, then %g; %zu experts\n", index, before, after, experts);
        assert_true(before > 0 && after > 0 && after <= before);
        assert_true((after < before) ==
                    (experts > 0 || json_is_true(json_object_get(learned, "shared"))));
        kept += experts;
    }
    assert_true(kept > 0);
    json_decref(report);
}

static void test_held_out_loss_rises_in_no_layer(void **state)
{
    (void)state;
    struct quant_run r;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-2", 16, 0);
    const char *const settings[] = {"learn=20", "learn=20,shift=on,scale_search=on",
                                    "learn=20,propagation=fp"};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        quant_run_plan(&r, "gptq-2", settings[i]);
        quant_run_remove(r.out);
        quant_run_pass(&r);
        check_report(&r, 4);
    }
    quant_run_close(&r);
}

static void hash_of(char out[HASH_HEX_SIZE], size_t threads, bool pieces)
{
    struct quant_run r;
    struct pass *p;
    int rc = 1;
    quant_run_open(&r, "tiny-qwen2moe", "gptq-3", 4, threads);
    quant_run_plan(&r, "moqa", "shift=on,learn=6");
    r.options.resume = pieces;
    if (!pieces)
        quant_run_pass(&r);
    for (size_t i = 0; pieces && rc > 0; i++) {
        assert_true(i < 10);
        assert_int_equal(pass_new(&p, &r.options, NULL), 0);
        rc = pass_step(p, NULL);
        assert_true(rc >= 0);
        pass_free(p);
    }
    quant_run_hash(out, r.out);
    quant_run_close(&r);
}

static void test_threads_and_pieces_give_the_same_bytes(void **state)
{
    (void)state;
    char one[HASH_HEX_SIZE], two[HASH_HEX_SIZE], pieced[HASH_HEX_SIZE];
    hash_of(one, 1, false);
    hash_of(two, 2, false);
    hash_of(pieced, 2, true);
    assert_string_equal(one, two);
    assert_string_equal(one, pieced);
}

/* Cancels some way into the second layer's learning. */
static void cancel_in_learning(void *context, const struct progress_state *state)
{
    struct progress *p = context;
    static size_t steps;
    steps += strstr(state->stage, "layer 2") && strstr(state->stage, "learning");
    if (steps == 4)
        p->cancel = true;
}

static void test_run_cancelled_while_it_learns_goes_on_to_the_same_bytes(void **state)
{
    (void)state;
    struct quant_run r;
    struct progress progress;
    struct err err = {0};
    char whole[HASH_HEX_SIZE], resumed[HASH_HEX_SIZE];
    progress_init(&progress);
    quant_run_open(&r, "tiny-qwen2moe", "gptq-2", 4, 2);
    quant_run_plan(&r, "gptq-2", "learn=20");
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    quant_run_remove(r.out);
    r.options.progress = &progress;
    progress.changed = cancel_in_learning;
    progress.context = &progress;
    assert_int_equal(quant_run_try(&r, &err), ERR_CANCELLED);
    progress.changed = NULL;
    progress.cancel = false;
    r.options.resume = true;
    quant_run_pass(&r);
    struct progress_state end;
    progress_get(&progress, &end);
    assert_int_equal(end.done, end.total);
    quant_run_hash(resumed, r.out);
    assert_string_equal(whole, resumed);
    quant_run_close(&r);
    progress_release(&progress);
}

/* Same codes and scales: what a file holds is what was learned. */
static void test_formats_hold_what_was_learned(void **state)
{
    (void)state;
    static const enum pass_format formats[] = {PASS_MOQA, PASS_GPTQ_V2, PASS_HF};
    struct quant_run r;
    double perplexity[3];
    quant_run_open(&r, "tiny-olmoe", "gptq-2", 2, 0);
    quant_run_plan(&r, "gptq-2", "learn=3");
    for (size_t i = 0; i < 3; i++) {
        r.options.format = formats[i];
        quant_run_remove(r.out);
        quant_run_pass(&r);
        perplexity[i] = quant_run_perplexity(r.backend, r.out, texts, 1, 2);
    }
    assert_true(perplexity[0] == perplexity[1]);
    /* Plain weights are bfloat16. */
    assert_true(fabs(perplexity[2] / perplexity[0] - 1) < 0.01);
    r.options.format = PASS_GPTQ;
    quant_run_remove(r.out);
    quant_run_pass(&r);
    assert_true(quant_run_perplexity(r.backend, r.out, texts, 1, 2) < 2 * perplexity[0]);
    quant_run_close(&r);
}

static void test_one_window_cannot_be_learned_from(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    quant_run_open(&r, "tiny-olmoe", "gptq-2", 1, 0);
    quant_run_plan(&r, "gptq-2", "learn=3");
    assert_int_equal(quant_run_try(&r, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "found 1 calibration window, expected 2 or more"));
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_learning_takes_a_fifth_of_the_loss_at_two_bits),
        cmocka_unit_test(test_held_out_loss_rises_in_no_layer),
        cmocka_unit_test(test_threads_and_pieces_give_the_same_bytes),
        cmocka_unit_test(test_run_cancelled_while_it_learns_goes_on_to_the_same_bytes),
        cmocka_unit_test(test_formats_hold_what_was_learned),
        cmocka_unit_test(test_one_window_cannot_be_learned_from),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
