/* Whole passes with refined codes: experts that lose less, formats, threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "tests/src/quant_run.h"

enum { WINDOWS = 8 };

static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/encyclopedia-2.txt",
                                    TEST_SAMPLE "/text/evaluation/stories-1.txt",
                                    TEST_SAMPLE "/text/evaluation/letters-1.txt"};

/* The losses that a pass tells, [layers * experts]. */
static struct pass_expert *run_experts(struct quant_run *r, const char *settings, size_t *count)
{
    struct pass_snapshot s = {0};
    struct pass *p;
    quant_run_plan(r, "gptq-2", settings);
    quant_run_remove(r->out);
    *count = r->plan.layers_count * r->plan.experts;
    s.expert = calloc(*count, sizeof *s.expert);
    assert_non_null(s.expert);
    assert_int_equal(pass_new(&p, &r->options, NULL), 0);
    int rc = 1;
    while (rc > 0)
        rc = pass_step(p, NULL);
    assert_int_equal(rc, 0);
    pass_snapshot(p, &s);
    pass_free(p);
    return s.expert;
}

/* Without propagation a layer's Hessians are the same whatever the layers before it lost. */
static void test_no_expert_loses_by_refinement_and_all_together_gain(void **state)
{
    (void)state;
    static const char *const plain[] = {"propagation=fp", "propagation=fp,scale_search=on",
                                        "propagation=fp,grid=symmetric"};
    static const char *const refined[] = {"propagation=fp,refine=2",
                                          "propagation=fp,scale_search=on,refine=2",
                                          "propagation=fp,grid=symmetric,refine=2"};
    struct quant_run r;
    quant_run_open(&r, "tiny-olmoe", "gptq-2", WINDOWS, 0);
    for (size_t i = 0; i < 3; i++) {
        size_t count;
        double before = 0, after = 0;
        struct pass_expert *a = run_experts(&r, plain[i], &count);
        struct pass_expert *b = run_experts(&r, refined[i], &count);
        for (size_t e = 0; e < count; e++) {
            assert_true(b[e].loss <= a[e].loss);
            assert_true(b[e].loss_rtn == a[e].loss_rtn);
            before += a[e].loss;
            after += b[e].loss;
        }
        print_message("%s: %.4f of the loss\n", refined[i], after / before);
        assert_true(after < 0.95 * before);
        free(a);
        free(b);
    }
    quant_run_close(&r);
}

static void test_files_of_a_refined_pass_do_not_depend_on_threads(void **state)
{
    (void)state;
    char hash[2][HASH_HEX_SIZE];
    for (size_t threads = 1; threads <= 2; threads++) {
        struct quant_run r;
        quant_run_open(&r, "tiny-qwen2moe", "gptq-2", WINDOWS, threads);
        quant_run_plan(&r, "moqa", "refine=2,shift=on");
        quant_run_pass(&r);
        quant_run_hash(hash[threads - 1], r.out);
        quant_run_close(&r);
    }
    assert_string_equal(hash[0], hash[1]);
}

/* Each file is read back: scales, zero points and codes were what it can hold. */
static void test_every_format_holds_refined_codes(void **state)
{
    (void)state;
    double perplexity[PASS_FORMAT_COUNT];
    struct quant_run r;
    quant_run_open(&r, "tiny-olmoe", "gptq-2", WINDOWS, 0);
    quant_run_plan(&r, "gptq-4", "refine=2,scale_search=on");
    for (int f = 0; f < PASS_FORMAT_COUNT; f++) {
        r.options.format = (enum pass_format)f;
        quant_run_pass(&r);
        perplexity[f] = quant_run_perplexity(r.backend, r.out, texts, 3, 16);
        quant_run_remove(r.out);
    }
    assert_true(perplexity[PASS_GPTQ_V2] == perplexity[PASS_MOQA]);
    for (int f = 0; f < PASS_FORMAT_COUNT; f++)
        assert_true(perplexity[f] < 1.005 * perplexity[PASS_MOQA] &&
                    perplexity[f] > 0.995 * perplexity[PASS_MOQA]);
    quant_run_close(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_expert_loses_by_refinement_and_all_together_gain),
        cmocka_unit_test(test_files_of_a_refined_pass_do_not_depend_on_threads),
        cmocka_unit_test(test_every_format_holds_refined_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
