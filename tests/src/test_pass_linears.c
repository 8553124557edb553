/* Plans that give the linears of one expert widths and channels of their own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>

#include "data/packed.h"
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
        assert_true(fabs(format_perplexity(&r, PASS_HF) / moqa - 1.0) < 0.02);
        assert_true(fabs(format_perplexity(&r, PASS_GPTQ) / moqa - 1.0) < 0.02);
        check_linear_widths(&r);
        quant_run_close(&r);
    }
}

/* Some without any, some beside one width, some beside several. */
static void give_channels(struct plan *p, const struct model_config *config)
{
    static const uint8_t widths[] = {2, 3, 4, 8};
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++) {
            struct plan_expert *x = &p->layers[l].experts[e];
            for (size_t i = 0; e % 3 && i < PLAN_LINEARS; i++)
                x->linear_bits[i] = widths[(l + e + i) % 4];
            x->bits = e % 3 ? x->linear_bits[0] : 3;
            for (size_t i = 0; i < PLAN_LINEARS; i++) {
                size_t inputs = i == PLAN_DOWN ? config->expert_size : config->hidden;
                if (plan_expert_bits(x, (enum plan_linear)i) < 8)
                    x->channels[i] = (2 * e + 5 * i + 3 * l) % (inputs / 4);
            }
        }
}

static void check_stored_channels(const struct quant_run *r)
{
    struct model m;
    struct err err = {0};
    assert_int_equal(model_open(&m, r->out, &err), 0);
    for (size_t l = 0; l < r->plan.layers_count; l++)
        for (size_t i = 0; i < r->plan.experts * PLAN_LINEARS; i++) {
            const struct plan_expert *x = &r->plan.layers[l].experts[i / PLAN_LINEARS];
            enum model_linear linear = (enum model_linear)(LINEAR_GATE + i % PLAN_LINEARS);
            struct packed_linear p;
            char name[MODEL_NAME_MAX];
            size_t in, out;
            model_linear_name(name, m.config, l, linear, i / PLAN_LINEARS);
            model_linear_shape(m.config, linear, &in, &out);
            if (packed_read(&p, m.checkpoint, name, in, out, &err) < 0)
                fail_msg("%s", err.message);
            assert_int_equal(p.bits, plan_expert_bits(x, (enum plan_linear)(i % PLAN_LINEARS)));
            assert_int_equal(p.channels, x->channels[i % PLAN_LINEARS]);
            assert_true(p.channels == 0 || p.channel_bits == 8);
            packed_release(&p);
        }
    model_release(&m);
}

static void test_linears_of_one_expert_get_channels_of_their_own_with_every_option(void **state)
{
    (void)state;
    static const char *const settings[] = {
        "group_size=64", "group_size=64,scale_search=on,shift=on,refine=1,learn=5,"
                         "channel_score=awq,hessian_weight=gate"};
    for (size_t s = 0; s < 2; s++) {
        struct quant_run r;
        quant_run_open(&r, "tiny-olmoe", "gptq-4", 2, 0);
        quant_run_plan(&r, "gptq-4", settings[s]);
        give_channels(&r.plan, r.model.config);
        double moqa = format_perplexity(&r, PASS_MOQA);
        check_stored_channels(&r);
        assert_true(fabs(format_perplexity(&r, PASS_HF) / moqa - 1.0) < 0.02);
        quant_run_close(&r);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_linears_of_one_expert_get_channels_of_their_own_with_every_option),
        cmocka_unit_test(test_linears_of_one_expert_get_widths_of_their_own_in_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
