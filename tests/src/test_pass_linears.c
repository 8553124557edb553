/* Plans that give the linears of one expert widths of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "tests/src/quant_run.h"

static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};

static double format_perplexity(struct quant_run *r, enum pass_format format)
{
    quant_run_remove(r->out);
    r->options.format = format;
    quant_run_pass(r);
    return quant_run_perplexity(r->backend, r->out, texts, 1, 0);
}

static unsigned stored_bits(const struct model *m, size_t layer, enum model_linear linear,
                            size_t expert)
{
    char name[MODEL_NAME_MAX];
    struct checkpoint_linear found;
    struct err err = {0};
    model_linear_name(name, m->config, layer, linear, expert);
    assert_int_equal(checkpoint_linear_config(m->checkpoint, name, &found, &err), 0);
    return found.quantized ? found.bits : 16;
}

static void check_linear_widths(const struct quant_run *r)
{
    struct model m;
    struct err err = {0};
    assert_int_equal(model_open(&m, r->out, &err), 0);
    for (size_t l = 0; l < r->plan.layers_count; l++)
        for (int i = PLAN_GATE; i < PLAN_LINEARS; i++) {
            for (size_t e = 0; e < r->plan.experts; e++)
                assert_int_equal(
                    stored_bits(&m, l, (enum model_linear)(LINEAR_GATE + i), e),
                    plan_expert_bits(&r->plan.layers[l].experts[e], (enum plan_linear)i));
            if (m.config->shared_size)
                assert_int_equal(
                    stored_bits(&m, l, (enum model_linear)(LINEAR_SHARED_GATE + i), 0),
                    plan_shared_bits(&r->plan, &r->plan.layers[l], (enum plan_linear)i));
        }
    model_release(&m);
}

static void test_linears_of_one_expert_get_widths_of_their_own_in_every_format(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny-olmoe", "tiny-qwen2moe"};
    /* 3 bits: not for the second model's shapes in the gptq formats. */
    static const uint8_t all[2][7] = {{2, 3, 4, 8, 16, 3, 4}, {2, 8, 4, 8, 16, 2, 4}};
    for (size_t m = 0; m < 2; m++) {
        struct quant_run r;
        const uint8_t *widths = all[m];
        quant_run_open(&r, models[m], "gptq-4", 2, 0);
        for (size_t l = 0; l < r.plan.layers_count; l++) {
            for (size_t e = 0; e < r.plan.experts; e++) {
                struct plan_expert *x = &r.plan.layers[l].experts[e];
                for (size_t i = 0; i < PLAN_LINEARS; i++)
                    x->linear_bits[i] = widths[(l + 5 * e + 3 * i + e * i) % 7];
                x->bits = x->linear_bits[e % 3];
            }
            for (size_t i = 0; l != 1 && i < PLAN_LINEARS; i++)
                r.plan.layers[l].shared_bits[i] = widths[(l + 2 * i) % 7];
        }
        double moqa = format_perplexity(&r, PASS_MOQA);
        check_linear_widths(&r);
        assert_true(moqa == format_perplexity(&r, PASS_GPTQ_V2));
        check_linear_widths(&r);
        assert_true(fabs(format_perplexity(&r, PASS_HF) / moqa - 1.0) < 0.005);
        assert_true(fabs(format_perplexity(&r, PASS_GPTQ) / moqa - 1.0) < 0.02);
        check_linear_widths(&r);
        quant_run_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linears_of_one_expert_get_widths_of_their_own_in_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
