/*
 * No option of the rounding takes a model's output further from the original's than it is without:
 * divergences on texts that are not the calibration's, each option alone and those on top of the
 * best rounding. What is allowed is what processors differ by.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "data/base/log.h"
#include "src/eval/divergence.h"
#include "src/model/texts.h"
#include "tests/src/quant_run.h"

enum { WINDOW = 256, CALIBRATION_WINDOWS = 24, EVALUATION_WINDOWS = 24 };
static const double allowed = 1.01;

#define BEST "scale_search=on,shift=on,refine=2"

static const char *const options[] = {
    "scale_search=on",           "refine=2",      "shift=on", "hessian_weight=gate", "learn=20",
    BEST ",hessian_weight=gate", BEST ",learn=20"};

static const char *const evaluation[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                         TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                         TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static double measure(struct quant_run *r, const char *method, const char *settings,
                      const struct token_ids *ids)
{
    struct model m = {0};
    struct divergence d;
    quant_run_remove(r->out);
    quant_run_plan(r, method, settings);
    quant_run_pass(r);
    assert_int_equal(model_open(&m, r->out, NULL), 0);
    assert_int_equal(divergence_run(&d, &m, &r->model, NULL, r->backend, ids->data, ids->count,
                                    WINDOW, EVALUATION_WINDOWS, NULL, NULL),
                     0);
    model_release(&m);
    print_message("%s %s: %.5f\n", method, settings, d.mean);
    return d.mean;
}

static void check(const char *model, const char *settings, double with, double without)
{
    if (with > allowed * without)
        fail_msg("%s, %s: %.5f, without %.5f", model, settings, with, without);
}

static void check_options(const char *model, const char *method)
{
    struct quant_run r;
    struct token_ids ids = {0};
    quant_run_open(&r, model, method, CALIBRATION_WINDOWS, 2);
    r.options.precision = BACKEND_FP32;
    assert_int_equal(texts_encode(&ids, r.model.tokenizer, evaluation, 3, NULL), 0);
    double alone = measure(&r, method, "", &ids);
    double best = measure(&r, method, BEST, &ids);
    check(model, BEST, best, alone);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        check(model, options[i], measure(&r, method, options[i], &ids),
              strncmp(options[i], BEST, strlen(BEST)) == 0 ? best : alone);
    token_ids_release(&ids);
    quant_run_close(&r);
}

static void test_of_tiny_olmoe_at_3_bits(void **state)
{
    (void)state;
    check_options("tiny-olmoe", "gptq-3");
}

static void test_of_tiny_qwen2moe_at_2_bits(void **state)
{
    (void)state;
    check_options("tiny-qwen2moe", "gptq-2");
}

static void test_of_tiny_qwen2moe_at_3_bits(void **state)
{
    (void)state;
    check_options("tiny-qwen2moe", "gptq-3");
}

static void quiet(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_of_tiny_olmoe_at_3_bits),
        cmocka_unit_test(test_of_tiny_qwen2moe_at_2_bits),
        cmocka_unit_test(test_of_tiny_qwen2moe_at_3_bits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
