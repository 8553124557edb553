/*
 * Whole passes against those of an independent program (tests/golden/.../quantized.json): every
 * default, group size 64, calibrated on the traces' own tokens.
 * With arguments: FILE WINDOWS prints the perplexities on the first windows of a text instead.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/base/jsonio.h"
#include "tests/src/quant_run.h"

static const char *const evaluation[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                         TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                         TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static double seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static json_t *golden(const char *model)
{
    json_t *list = NULL;
    char path[512];
    struct err err = {0};
    snprintf(path, sizeof path, TEST_GOLDEN "/%s/quantized.json", model);
    assert_int_equal(jsonio_load(&list, path, 1u << 20, &err), 0);
    return list;
}

/* Perplexity of a method's pass on the texts. */
static double measure(const char *model, const char *method, const char *const *texts, size_t count,
                      size_t windows)
{
    struct quant_run r;
    quant_run_open(&r, model, method, 0, 0);
    double start = seconds();
    quant_run_pass(&r);
    double took = seconds() - start;
    double value = quant_run_perplexity(r.backend, r.out, texts, count, windows);
    print_message("%-14s %-17s %9.4f  pass %.2f s\n", model, method, value, took);
    quant_run_close(&r);
    return value;
}

static void check_model(const char *model)
{
    json_t *list = golden(model);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *method = json_string_value(json_object_get(entry, "method"));
        double expected = json_number_value(
            json_object_get(json_object_get(entry, "perplexity"), "sample-evaluation"));
        /* The random subset is another program's; the original is not a pass. */
        if (strcmp(method, "fp") == 0 || strcmp(method, "moeptq-r") == 0)
            continue;
        double value = measure(model, method, evaluation, 3, 0);
        double allowed = strstr(method, "-2") ? 0.03 : 0.01;
        if (fabs(value / expected - 1.0) > allowed)
            fail_msg("%s %s: %.4f, expected %.4f", model, method, value, expected);
    }
    json_decref(list);
}

static void test_passes_on_tiny_olmoe_reach_the_golden_perplexities(void **state)
{
    (void)state;
    check_model("tiny-olmoe");
}

static void test_passes_on_tiny_qwen2moe_reach_the_golden_perplexities(void **state)
{
    (void)state;
    check_model("tiny-qwen2moe");
}

int main(int argc, char **argv)
{
    static const char *const methods[] = {"gptq-4", "gptq-3", "gptq-2",
                                          "rtn-3",  "moqa",   "moqa-no-channels"};
    static const char *const models[] = {"tiny-olmoe", "tiny-qwen2moe"};
    if (argc == 3) {
        const char *text = argv[1];
        for (size_t i = 0; i < 12; i++)
            measure(models[i / 6], methods[i % 6], &text, 1, strtoul(argv[2], NULL, 10));
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_passes_on_tiny_olmoe_reach_the_golden_perplexities),
        cmocka_unit_test(test_passes_on_tiny_qwen2moe_reach_the_golden_perplexities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
