/* Plans of every method against the reference's nominal bits, and what a plan may not be. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/planner.h"
#include "analysis_helpers.h"
#include "data/base/jsonio.h"
#include "data/trace_h5.h"

struct fixture {
    struct trace trace;
    struct analysis *analysis;
    struct model_config config;
    struct settings settings;
};

static struct fixture olmoe, qwen;

static void open_fixture(struct fixture *f, const char *trace, const char *config)
{
    struct err err = {0};
    settings_defaults(&f->settings);
    f->settings.group_size = 64;
    if (trace_h5_load(&f->trace, trace, NULL, &err) < 0 ||
        analysis_new(&f->analysis, &f->trace, &err) < 0 ||
        analysis_update(f->analysis, &f->settings, &err) < 0 ||
        model_config_load(&f->config, config, &err) < 0)
        fail_msg("%s", err.message);
}

static int open_fixtures(void **state)
{
    (void)state;
    open_fixture(&olmoe, TEST_GOLDEN "/tiny-olmoe/trace.h5", TEST_SAMPLE "/tiny-olmoe/config.json");
    open_fixture(&qwen, TEST_GOLDEN "/tiny-qwen2moe/trace.h5",
                 TEST_GOLDEN "/tiny-qwen2moe/model/config.json");
    return 0;
}

static int close_fixtures(void **state)
{
    (void)state;
    struct fixture *all[] = {&olmoe, &qwen};
    for (size_t i = 0; i < 2; i++) {
        analysis_free(all[i]->analysis);
        trace_release(&all[i]->trace);
    }
    return 0;
}

/* Settings are put back, so that tests do not depend on their order. */
static void make(struct plan *out, struct fixture *f, const struct planner_request *request,
                 const struct settings *settings)
{
    struct err err = {0};
    memset(out, 0, sizeof *out);
    assert_int_equal(analysis_update(f->analysis, settings, &err), 0);
    if (planner_make(out, f->analysis, request, &f->config, &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(analysis_update(f->analysis, &f->settings, &err), 0);
}

static double average_routed(const struct plan *p)
{
    double sum = 0;
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++)
            sum += p->layers[l].experts[e].bits;
    return sum / (double)(p->layers_count * p->experts);
}

static void check_reference(struct fixture *f, const char *path)
{
    struct err err = {0};
    json_t *list;
    size_t checked = 0;
    double routed = 0;
    assert_int_equal(jsonio_load(&list, path, 1u << 24, &err), 0);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *entry = json_array_get(list, i);
        const char *name = json_string_value(json_object_get(entry, "method"));
        struct settings s = f->settings;
        struct planner_request request = {.method = name};
        if (strcmp(name, "fp") == 0)
            continue;
        if (strcmp(name, "moqa-no-channels") == 0) {
            request.method = "moqa";
            s.beta_ch = 0;
        }
        if (strcmp(name, "moeptq-r") == 0)
            request.average_bits = routed;
        struct plan p;
        make(&p, f, &request, &s);
        double expected = json_real_value(json_object_get(entry, "nominal_bits"));
        if (fabs(p.summary.nominal_bits - expected) > 1e-12 * expected)
            fail_msg("%s: found %.17g, expected %.17g", name, p.summary.nominal_bits, expected);
        assert_true(p.summary.effective_bits > p.summary.nominal_bits);
        if (strcmp(name, "moqa-no-channels") == 0)
            routed = average_routed(&p);
        plan_release(&p);
        checked++;
    }
    assert_int_equal(checked, 7);
    json_decref(list);
}

static void test_plans_of_olmoe_have_the_reference_bits(void **state)
{
    (void)state;
    check_reference(&olmoe, TEST_GOLDEN "/tiny-olmoe/quantized.json");
}

static void test_plans_of_qwen2_moe_have_the_reference_bits(void **state)
{
    (void)state;
    check_reference(&qwen, TEST_GOLDEN "/tiny-qwen2moe/quantized.json");
}

static void test_every_listed_method_makes_a_valid_plan(void **state)
{
    (void)state;
    const char *const *names = planner_methods();
    struct losses losses;
    helper_losses(&losses, &qwen.config, 64, 5);
    for (; *names; names++) {
        struct planner_request request = {.method = *names, .average_bits = 2.7, .losses = &losses};
        struct plan p;
        make(&p, &qwen, &request, &qwen.settings);
        assert_string_equal(p.method, *names);
        assert_string_equal(p.model_type, "qwen2_moe");
        assert_string_equal(p.model_name, "tiny-qwen2moe");
        plan_release(&p);
    }
    losses_release(&losses);
}

static void test_uniform_methods_give_shared_experts_their_width(void **state)
{
    (void)state;
    struct planner_request request = {.method = "rtn-3"};
    struct plan p;
    make(&p, &qwen, &request, &qwen.settings);
    assert_int_equal(p.settings.bits_shared, 3);
    assert_int_equal(p.quantizer, PLAN_RTN);
    plan_release(&p);
}

static void test_fp16_keeps_every_byte(void **state)
{
    (void)state;
    struct planner_request request = {.method = "fp16"};
    struct plan p;
    make(&p, &qwen, &request, &qwen.settings);
    assert_int_equal(p.quantizer, PLAN_NONE);
    assert_true(p.summary.nominal_bits == 16);
    assert_int_equal(p.summary.bytes_after, p.summary.bytes_before);
    /* 4 layers of (24 experts of 3 x 96 x 48 and a shared one of 3 x 96 x 128) in bf16. */
    assert_int_equal(p.summary.bytes_before, 2 * 4 * (24 * 3 * 96 * 48 + 3 * 96 * 128));
    plan_release(&p);
}

static void test_random_plan_follows_its_seed(void **state)
{
    (void)state;
    struct planner_request request = {.method = "moeptq-r", .average_bits = 2.5};
    struct settings s = olmoe.settings;
    struct plan a, b, c;
    make(&a, &olmoe, &request, &s);
    make(&b, &olmoe, &request, &s);
    s.seed = 7;
    make(&c, &olmoe, &request, &s);
    size_t differ_b = 0, differ_c = 0;
    for (size_t l = 0; l < a.layers_count; l++)
        for (size_t e = 0; e < a.experts; e++) {
            differ_b += a.layers[l].experts[e].bits != b.layers[l].experts[e].bits;
            differ_c += a.layers[l].experts[e].bits != c.layers[l].experts[e].bits;
        }
    assert_int_equal(differ_b, 0);
    assert_true(differ_c > 20);
    assert_true(average_routed(&c) == 2.5);
    plan_release(&a);
    plan_release(&b);
    plan_release(&c);
}

static void test_random_plan_refuses_an_average_out_of_reach(void **state)
{
    (void)state;
    const double wrong[] = {0, 1.99, 4.01, NAN};
    for (size_t i = 0; i < 4; i++) {
        struct planner_request request = {.method = "moeptq-r", .average_bits = wrong[i]};
        struct plan p = {0};
        struct err err = {0};
        assert_int_equal(planner_make(&p, olmoe.analysis, &request, &olmoe.config, &err),
                         ERR_USAGE);
        assert_non_null(strstr(err.message, "expected --bits from 2 to 4"));
        assert_null(p.layers);
    }
}

/* The 4-bit experts of a method: each has a score of at least every other's. */
static void check_ranked(const char *method, double average, const struct losses *losses,
                         double (*score)(const struct losses *l, size_t layer, size_t expert))
{
    struct planner_request request = {.method = method, .average_bits = average, .losses = losses};
    struct plan p;
    double least = HUGE_VAL, most = -HUGE_VAL;
    make(&p, &qwen, &request, &qwen.settings);
    assert_true(fabs(average_routed(&p) - average) < 1.01 / 96);
    for (size_t l = 0; l < p.layers_count; l++)
        for (size_t e = 0; e < p.experts; e++) {
            double x = score(losses, l, e);
            if (p.layers[l].experts[e].bits == 4)
                least = fmin(least, x);
            else
                most = fmax(most, x);
        }
    assert_true(least >= most);
    plan_release(&p);
}

static double by_layer(const struct losses *l, size_t layer, size_t expert)
{
    (void)l;
    return -(double)(layer * 24 + expert);
}

static double by_tokens(const struct losses *l, size_t layer, size_t expert)
{
    (void)l;
    double count = 0;
    for (size_t p = 0; p < qwen.trace.positions; p++)
        for (size_t k = 0; k < qwen.trace.top_k; k++)
            count += qwen.trace.routed[(layer * qwen.trace.positions + p) * qwen.trace.top_k + k] ==
                     expert;
    return count;
}

static double by_outlier(const struct losses *l, size_t layer, size_t expert)
{
    return l->layers[layer].experts[expert].outlier;
}

static double by_importance(const struct losses *l, size_t layer, size_t expert)
{
    (void)expert;
    return l->layers[layer].importance;
}

static void test_heuristics_give_their_first_experts_four_bits(void **state)
{
    (void)state;
    struct losses losses;
    struct planner_request request = {.method = "outlier", .average_bits = 3};
    struct plan p = {0};
    helper_losses(&losses, &qwen.config, 64, 3);
    check_ranked("first-layers", 2.9, &losses, by_layer);
    check_ranked("frequent", 2.5, &losses, by_tokens);
    check_ranked("outlier", 3.3, &losses, by_outlier);
    check_ranked("importance", 3, &losses, by_importance);
    losses_release(&losses);
    assert_int_equal(planner_make(&p, qwen.analysis, &request, &qwen.config, NULL), ERR_USAGE);
}

static void test_unknown_method_names_the_known_ones(void **state)
{
    (void)state;
    struct planner_request request = {.method = "gptq-5"};
    struct plan p = {0};
    struct err err = {0};
    assert_int_equal(planner_make(&p, olmoe.analysis, &request, &olmoe.config, &err), ERR_USAGE);
    assert_string_equal(err.message, "no method is called \"gptq-5\"; known: moqa, gptq-2, gptq-3, "
                                     "gptq-4, gptq-8, rtn-2, rtn-3, rtn-4, rtn-8, moeptq-r, "
                                     "first-layers, frequent, outlier, importance, budget, fp16");
}

static void test_channels_round_half_to_even_and_only_below_channel_bits(void **state)
{
    (void)state;
    struct planner_request request = {.method = "moqa"};
    const struct analysis_result *r = analysis_result(olmoe.analysis);
    struct plan p;
    size_t with = 0;
    make(&p, &olmoe, &request, &olmoe.settings);
    for (size_t l = 0; l < p.layers_count; l++)
        for (size_t e = 0; e < p.experts; e++) {
            const struct plan_expert *x = &p.layers[l].experts[e];
            double share = r->layer[l].channel_share[e];
            assert_true(fabs((double)x->channels[PLAN_GATE] - 128 * share) <= 0.5);
            assert_true(fabs((double)x->channels[PLAN_DOWN] - 64 * share) <= 0.5);
            with += x->channels[PLAN_GATE] > 0;
        }
    assert_true(with > 10);
    plan_release(&p);
    struct settings s = olmoe.settings;
    s.bits_high = 8;
    make(&p, &olmoe, &request, &s);
    for (size_t l = 0; l < p.layers_count; l++)
        for (size_t e = 0; e < p.experts; e++)
            assert_int_equal(p.layers[l].experts[e].channels[PLAN_GATE], 0);
    plan_release(&p);
}

static void test_pins_hold_and_are_marked(void **state)
{
    (void)state;
    uint8_t bits[6 * 32] = {0};
    bits[0] = 8;
    bits[5 * 32 + 31] = 3;
    struct planner_request request = {.method = "gptq-4", .pins = {bits}};
    struct plan p;
    make(&p, &olmoe, &request, &olmoe.settings);
    assert_int_equal(p.layers[0].experts[0].bits, 8);
    assert_true(p.layers[0].experts[0].pinned);
    assert_int_equal(p.layers[5].experts[31].bits, 3);
    assert_int_equal(p.layers[1].experts[0].bits, 4);
    assert_false(p.layers[1].experts[0].pinned);
    plan_release(&p);
}

static void test_pin_of_no_legal_width_is_refused(void **state)
{
    (void)state;
    uint8_t bits[6 * 32] = {0};
    bits[3] = 5;
    struct planner_request request = {.method = "moqa", .pins = {bits}};
    struct plan p = {0};
    struct err err = {0};
    assert_int_equal(planner_make(&p, olmoe.analysis, &request, &olmoe.config, &err), ERR_INPUT);
    assert_string_equal(err.message,
                        "layers[0].experts[3].bits: found 5, expected 2, 3, 4, 8 or 16");
    assert_null(p.layers);
}

static void test_class_bits_spread_over_the_legal_widths(void **state)
{
    (void)state;
    static const struct {
        unsigned low, high;
        size_t classes;
        unsigned expected[4];
    } cases[] = {
        {2, 4, 2, {2, 4, 0, 0}}, {2, 4, 3, {2, 3, 4, 0}},   {2, 4, 4, {2, 3, 3, 4}},
        {2, 8, 4, {2, 3, 4, 8}}, {2, 16, 3, {2, 4, 16, 0}}, {3, 4, 3, {3, 4, 4, 0}},
        {4, 4, 4, {4, 4, 4, 4}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct settings s;
        unsigned found[SETTINGS_CLASSES_MAX] = {0};
        settings_defaults(&s);
        s.bits_low = cases[i].low;
        s.bits_high = cases[i].high;
        s.classes = cases[i].classes;
        planner_class_bits(&s, found);
        assert_memory_equal(found, cases[i].expected, s.classes * sizeof found[0]);
    }
}

static void test_given_class_bits_follow_the_groups(void **state)
{
    (void)state;
    struct planner_request request = {.method = "moqa"};
    struct settings s = olmoe.settings;
    struct err err = {0};
    struct plan p;
    const unsigned by_group[] = {0, 8, 4, 3};
    assert_int_equal(settings_set(&s, "rule", "jenks", &err), 0);
    assert_int_equal(settings_set(&s, "classes", "3", &err), 0);
    assert_int_equal(settings_set(&s, "class_bits", "3,4,8", &err), 0);
    make(&p, &olmoe, &request, &s);
    for (size_t l = 0; l < p.layers_count; l++)
        for (size_t e = 0; e < p.experts; e++)
            assert_int_equal(p.layers[l].experts[e].bits, by_group[p.layers[l].experts[e].group]);
    plan_release(&p);
}

static void test_trace_of_another_model_is_refused_by_field(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(planner_check_trace(&olmoe.trace, "t.h5", &olmoe.config, &err), 0);
    assert_int_equal(planner_check_trace(&qwen.trace, "t.h5", &olmoe.config, &err), ERR_INPUT);
    assert_string_equal(err.message,
                        "the trace is of another model; these differ: model_type (trace qwen2_moe, "
                        "model olmoe), num_moe_layers (trace 4, model 6), num_experts (trace 24, "
                        "model 32)");
    assert_string_equal(err.file, "t.h5");
}

static void test_plan_of_another_model_is_refused_by_field(void **state)
{
    (void)state;
    struct planner_request request = {.method = "moqa"};
    struct plan p;
    struct err err = {0};
    make(&p, &olmoe, &request, &olmoe.settings);
    assert_int_equal(plan_check_model(&p, "p.json", &olmoe.config, &err), 0);
    assert_int_equal(plan_check_model(&p, "p.json", &qwen.config, &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "type (plan olmoe, model qwen2_moe)"));
    assert_non_null(strstr(err.message, "MoE layers (plan 6, model 4)"));
    assert_non_null(strstr(err.message, "experts a layer (plan 32, model 24)"));
    assert_non_null(strstr(err.message, "config_sha256 (plan 6550296cabb29f69"));
    err_clear(&err);
    p.layers[2].experts[9].channels[PLAN_DOWN] = 65;
    assert_int_equal(plan_check_model(&p, "p.json", &olmoe.config, &err), ERR_INPUT);
    assert_string_equal(err.message, "layers[2].experts[9].channels: found 65 in down, but the "
                                     "linear layer has 64 inputs");
    plan_release(&p);
}

static void test_widths_without_a_model_are_those_of_the_plan(void **state)
{
    (void)state;
    uint8_t pins[6 * 32] = {[3] = 16, [5 * 32 + 31] = 3};
    struct planner_pins pinned = {pins};
    struct planner_request request = {.method = "moqa", .pins = pinned};
    struct plan p, w = {0};
    struct err err = {0};
    make(&p, &olmoe, &request, &olmoe.settings);
    assert_int_equal(planner_widths(&w, olmoe.analysis, &pinned, &err), 0);
    assert_int_equal(w.layers_count, p.layers_count);
    for (size_t l = 0; l < p.layers_count; l++)
        for (size_t e = 0; e < p.experts; e++) {
            const struct plan_expert *x = &w.layers[l].experts[e], *y = &p.layers[l].experts[e];
            assert_int_equal(x->bits, y->bits);
            assert_int_equal(x->pinned, y->pinned);
            assert_int_equal(x->group, y->group);
        }
    assert_true(fabs(w.summary.nominal_bits - average_routed(&p)) < 1e-12);
    assert_int_equal(w.summary.bytes_after, 0);
    assert_false(plan_has_channels(&w));
    plan_release(&w);
    plan_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plans_of_olmoe_have_the_reference_bits),
        cmocka_unit_test(test_plans_of_qwen2_moe_have_the_reference_bits),
        cmocka_unit_test(test_every_listed_method_makes_a_valid_plan),
        cmocka_unit_test(test_uniform_methods_give_shared_experts_their_width),
        cmocka_unit_test(test_fp16_keeps_every_byte),
        cmocka_unit_test(test_random_plan_follows_its_seed),
        cmocka_unit_test(test_random_plan_refuses_an_average_out_of_reach),
        cmocka_unit_test(test_heuristics_give_their_first_experts_four_bits),
        cmocka_unit_test(test_unknown_method_names_the_known_ones),
        cmocka_unit_test(test_channels_round_half_to_even_and_only_below_channel_bits),
        cmocka_unit_test(test_pins_hold_and_are_marked),
        cmocka_unit_test(test_pin_of_no_legal_width_is_refused),
        cmocka_unit_test(test_class_bits_spread_over_the_legal_widths),
        cmocka_unit_test(test_given_class_bits_follow_the_groups),
        cmocka_unit_test(test_widths_without_a_model_are_those_of_the_plan),
        cmocka_unit_test(test_trace_of_another_model_is_refused_by_field),
        cmocka_unit_test(test_plan_of_another_model_is_refused_by_field),
    };
    return cmocka_run_group_tests(tests, open_fixtures, close_fixtures);
}
