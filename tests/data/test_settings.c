/* Every setting: text in, text out, JSON and back; every refusal; sliders; stages. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/jsonio.h"
#include "data/settings.h"

/* A value of every setting that is not its default, and the default as text. */
static const struct {
    const char *name, *standard, *other;
} values[] = {
    {"fit", "mle", "ols"},
    {"beta", "auto", "1.0700000000000003"},
    {"utilization", "fit", "empirical"},
    {"reweight", "inverse", "steep"},
    {"alpha", "0.3", "0.30000000000000004"},
    {"mapping", "types", "gate"},
    {"min_count", "1", "1000000000"},
    {"pattern_cv", "0.25", "0.55"},
    {"rule", "auto", "jenks"},
    {"threshold_sigmas", "0", "-1.25"},
    {"threshold", "auto", "0.2"},
    {"classes", "2", "4"},
    {"beta_ch", "0.05", "0"},
    {"norm", "max", "minmax"},
    {"channel_score", "error", "awq"},
    {"order", "act", "natural"},
    {"group_size", "128", "0"},
    {"grid", "asymmetric", "symmetric"},
    {"scale_search", "off", "on"},
    {"damping", "0.01", "0.1"},
    {"shrink", "0.25", "0"},
    {"hessian_weight", "none", "gate"},
    {"refine", "0", "2"},
    {"propagation", "quant", "fp"},
    {"shift", "off", "on"},
    {"learn", "0", "100"},
    {"bits_high", "4", "16"},
    {"bits_low", "2", "3"},
    {"bits_shared", "8", "4"},
    {"bits_channel", "8", "16"},
    {"bits_attention", "16", "8"},
    {"class_bits", "auto", "2,16"},
    {"windows", "order", "weighted"},
    {"seed", "0", "18446744073709551615"},
};
enum { VALUES = sizeof values / sizeof values[0] };

static void set(struct settings *s, const char *name, const char *value)
{
    struct err err = {0};
    if (settings_set(s, name, value, &err) < 0)
        fail_msg("%s", err.message);
}

static void assert_text(const struct settings *s, const char *name, const char *expected)
{
    char text[64];
    settings_get(s, settings_find(name), text, sizeof text);
    assert_string_equal(text, expected);
}

static void assert_json_round_trip(const struct settings *s)
{
    struct settings back;
    struct err err = {0};
    json_t *json;
    assert_int_equal(settings_to_json(&json, s, &err), 0);
    if (settings_from_json(&back, json, "plan.json", &err) < 0)
        fail_msg("%s", err.message);
    assert_true(settings_equal(s, &back));
    json_decref(json);
}

static void test_the_table_has_every_setting_once(void **state)
{
    (void)state;
    assert_int_equal(settings_count(), VALUES);
    for (size_t i = 0; i < VALUES; i++)
        assert_string_equal(settings_info(i)->name, values[i].name);
}

static void test_every_setting_comes_back_as_text_and_as_json(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES; i++) {
        struct settings s, standard;
        settings_defaults(&standard);
        settings_defaults(&s);
        assert_text(&s, values[i].name, values[i].standard);
        set(&s, values[i].name, values[i].other);
        assert_text(&s, values[i].name, values[i].other);
        assert_false(settings_equal(&s, &standard));
        assert_int_equal(settings_first_change(&s, &standard), settings_info(i)->stage);
        assert_json_round_trip(&s);
        set(&s, values[i].name, values[i].standard);
        assert_true(settings_equal(&s, &standard));
    }
}

static void test_all_settings_together_come_back_from_json(void **state)
{
    (void)state;
    struct settings s;
    settings_defaults(&s);
    for (size_t i = 0; i < VALUES; i++)
        set(&s, values[i].name, values[i].other);
    set(&s, "class_bits", "2,3,4,8");
    set(&s, "rule", "0:threshold");
    set(&s, "threshold", "255:0.125");
    assert_json_round_trip(&s);
}

static void test_dash_and_underscore_are_the_same(void **state)
{
    (void)state;
    assert_ptr_equal(settings_find("min-count"), settings_find("min_count"));
    assert_non_null(settings_find("class-bits"));
    assert_null(settings_find("min count"));
    assert_null(settings_find("min_coun"));
    assert_null(settings_find("min_countt"));
    assert_null(settings_find(""));
}

static const struct {
    const char *name, *value, *message;
} refusals[] = {
    {"fit", "MLE", "fit: found \"MLE\", expected one of mle, ols"},
    {"beta", "0", "beta: found \"0\", expected auto or a number from 0.01 to 5"},
    {"utilization", "", "utilization: found \"\", expected one of fit, empirical"},
    {"reweight", "inv",
     "reweight: found \"inv\", expected one of inverse, product, steep, uniform"},
    {"alpha", "-0.1", "alpha: found \"-0.1\", expected a number from 0 to 2"},
    {"alpha", "nan", "alpha: found \"nan\", expected a number from 0 to 2"},
    {"alpha", "0.3x", "alpha: found \"0.3x\", expected a number from 0 to 2"},
    {"mapping", "gates",
     "mapping: found \"gates\", expected one of types, majority, occurrences, gate"},
    {"min_count", "0", "min_count: found \"0\", expected an integer from 1 to 1e+09"},
    {"min_count", "1.5", "min_count: found \"1.5\", expected an integer from 1 to 1e+09"},
    {"pattern_cv", "11", "pattern_cv: found \"11\", expected a number from 0 to 10"},
    {"rule", "both", "rule: found \"both\", expected one of auto, threshold, jenks"},
    {"rule", "1:both", "rule: found \"both\", expected one of auto, threshold, jenks"},
    {"rule", "256:jenks", "rule: found \"256:jenks\", expected LAYER:VALUE with a layer number"},
    {"rule", "-1:jenks", "rule: found \"-1:jenks\", expected LAYER:VALUE with a layer number"},
    {"rule", ":jenks", "rule: found \":jenks\", expected LAYER:VALUE with a layer number"},
    {"alpha", "1:0.5", "alpha: found \"1:0.5\", expected a value without a layer"},
    {"threshold_sigmas", "6", "threshold_sigmas: found \"6\", expected a number from -5 to 5"},
    {"threshold", "1.1", "threshold: found \"1.1\", expected auto or a number from 0 to 1"},
    {"threshold", "2:2", "threshold: found \"2\", expected auto or a number from 0 to 1"},
    {"classes", "5", "classes: found \"5\", expected an integer from 2 to 4"},
    {"classes", "1", "classes: found \"1\", expected an integer from 2 to 4"},
    {"beta_ch", "1.5", "beta_ch: found \"1.5\", expected a number from 0 to 1"},
    {"norm", "mean", "norm: found \"mean\", expected one of max, minmax, sum"},
    {"channel_score", "x", "channel_score: found \"x\", expected one of error, hessian, awq"},
    {"order", "desc", "order: found \"desc\", expected one of act, natural"},
    {"group_size", "65537", "group_size: found \"65537\", expected an integer from 0 to 65536"},
    {"grid", "sym", "grid: found \"sym\", expected one of asymmetric, symmetric"},
    {"scale_search", "true", "scale_search: found \"true\", expected on or off"},
    {"damping", "2", "damping: found \"2\", expected a number from 0 to 1"},
    {"shrink", "-1", "shrink: found \"-1\", expected a number from 0 to 100"},
    {"propagation", "no", "propagation: found \"no\", expected one of quant, fp"},
    {"bits_high", "5", "bits_high: found \"5\", expected 2, 3, 4, 8 or 16"},
    {"bits_low", "1", "bits_low: found \"1\", expected 2, 3, 4, 8 or 16"},
    {"bits_shared", "", "bits_shared: found \"\", expected 2, 3, 4, 8 or 16"},
    {"bits_channel", "8b", "bits_channel: found \"8b\", expected 2, 3, 4, 8 or 16"},
    {"bits_attention", "2", "bits_attention: found \"2\", expected 4, 8 or 16"},
    {"class_bits", "2",
     "class_bits: found \"2\", expected auto or 2 to 4 numbers with commas "
     "between them"},
    {"class_bits", "2,5", "class_bits: found \"2,5\", expected 2, 3, 4, 8 or 16"},
    {"class_bits", "2,3,4,8,16", "class_bits: found \"2,3,4,8,16\", expected at most 4 numbers"},
    {"windows", "all",
     "windows: found \"all\", expected one of order, random, weighted, "
     "balanced"},
    {"seed", "-1", "seed: found \"-1\", expected an integer from 0 to 18446744073709551615"},
    {"seed", "18446744073709551616",
     "seed: found \"18446744073709551616\", expected an integer from 0 to 18446744073709551615"},
    {"gamma", "1", "no setting is called \"gamma\""},
};

static void test_best_rounding_names_settings_that_are_off_by_default(void **state)
{
    (void)state;
    struct settings s, defaults;
    size_t count = 0;
    settings_defaults(&defaults);
    for (const struct setting_value *v = settings_best_rounding; v->name; v++, count++) {
        settings_defaults(&s);
        set(&s, v->name, v->value);
        assert_false(settings_equal(&s, &defaults));
    }
    assert_true(count >= 3);
}

static void test_every_wrong_value_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct settings s, before;
    settings_defaults(&before);
    for (size_t i = 0; i < sizeof refusals / sizeof refusals[0]; i++) {
        struct err err = {0};
        s = before;
        assert_int_equal(settings_set(&s, refusals[i].name, refusals[i].value, &err), ERR_USAGE);
        assert_string_equal(err.message, refusals[i].message);
        assert_true(settings_equal(&s, &before));
    }
}

static void test_settings_that_contradict_each_other_are_refused(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    settings_defaults(&s);
    assert_int_equal(settings_check(&s, &err), 0);
    set(&s, "class_bits", "2,3,4");
    assert_int_equal(settings_check(&s, &err), ERR_USAGE);
    assert_string_equal(err.message, "class_bits: found 3 numbers, expected 2 (classes)");
    err_clear(&err);
    set(&s, "classes", "3");
    assert_int_equal(settings_check(&s, &err), 0);
    set(&s, "class_bits", "2,4,3");
    assert_int_equal(settings_check(&s, &err), ERR_USAGE);
    assert_string_equal(err.message, "class_bits: found 3 after 4, expected low to high");
    err_clear(&err);
    set(&s, "class_bits", "auto");
    set(&s, "bits_low", "8");
    assert_int_equal(settings_check(&s, &err), ERR_USAGE);
    assert_string_equal(err.message, "bits_low (8) is larger than bits_high (4)");
}

static void test_layer_values_are_kept_apart_from_the_common_one(void **state)
{
    (void)state;
    struct settings s, standard;
    settings_defaults(&s);
    settings_defaults(&standard);
    set(&s, "rule", "3:jenks");
    set(&s, "threshold", "3:0.5");
    assert_text(&s, "rule", "auto");
    assert_text(&s, "threshold", "auto");
    assert_true(s.layer[3].has_rule && s.layer[3].rule == RULE_JENKS);
    assert_true(s.layer[3].has_threshold && s.layer[3].threshold == 0.5);
    assert_int_equal(settings_first_change(&s, &standard), STAGE_STRATEGY);
    set(&s, "threshold", "3:auto");
    assert_false(s.layer[3].has_threshold);
}

/* --- JSON --- */

static void expect_json(const char *text, const char *message)
{
    struct settings s;
    struct err err = {0};
    json_t *json;
    assert_int_equal(jsonio_parse(&json, text, strlen(text), "text", &err), 0);
    assert_int_equal(settings_from_json(&s, json, "p.json", &err), message ? ERR_INPUT : 0);
    assert_string_equal(err.message, message ? message : "");
    assert_string_equal(err.file, message ? "p.json" : "");
    json_decref(json);
}

static void test_wrong_json_is_refused_with_its_place(void **state)
{
    (void)state;
    expect_json("{\"alpha\":1,\"class_bits\":[2,8],\"beta\":\"auto\",\"seed\":3}", NULL);
    expect_json("{\"alhpa\":0.3}", "settings: no setting is called \"alhpa\"");
    expect_json("{\"alpha\":3}", "settings.alpha: found \"3\", expected a number from 0 to 2");
    expect_json("{\"alpha\":[1.5]}", "settings.alpha: not a value that a setting can have");
    expect_json("{\"alpha\":{}}", "settings.alpha: not a value that a setting can have");
    expect_json("{\"alpha\":null}", "settings.alpha: not a value that a setting can have");
    expect_json("{\"scale_search\":true}",
                "settings.scale_search: not a value that a setting can have");
    expect_json("{\"rule\":\"1:jenks\"}", "settings.rule: not a value that a setting can have");
    expect_json("{\"classes\":3,\"class_bits\":[2,4]}",
                "settings: class_bits: found 2 numbers, expected 3 (classes)");
    expect_json("{\"layers\":[]}", "settings.layers: expected an object");
    expect_json("{\"layers\":{\"1\":\"jenks\"}}", "settings.layers.1: expected an object");
    expect_json("{\"layers\":{\"x\":{\"rule\":\"jenks\"}}}",
                "settings.rule: found \"x:jenks\", expected LAYER:VALUE with a layer number");
    expect_json("{\"layers\":{\"1\":{\"alpha\":0.5}}}",
                "settings.alpha: found \"1:0.5\", expected a value without a layer");
    expect_json("{\"layers\":{\"123456789\":{\"rule\":\"jenks\"}}}",
                "settings.layers: no layer \"123456789\"");
}

static void test_merging_keeps_what_is_not_named(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    const char *text = "{\"alpha\":0.5}";
    json_t *json;
    settings_defaults(&s);
    set(&s, "min_count", "7");
    assert_int_equal(jsonio_parse(&json, text, strlen(text), "text", &err), 0);
    assert_int_equal(settings_merge_json(&s, json, "p.json", &err), 0);
    assert_text(&s, "alpha", "0.5");
    assert_text(&s, "min_count", "7");
    assert_int_equal(settings_from_json(&s, json, "p.json", &err), 0);
    assert_text(&s, "min_count", "1");
    json_decref(json);
}

/* --- Sliders --- */

static void test_a_slider_stays_in_the_legal_range(void **state)
{
    (void)state;
    for (size_t i = 0; i < VALUES; i++) {
        const struct setting_info *info = settings_info(i);
        const double tries[] = {-1e30, info->min, info->max, 1e30};
        for (size_t k = 0; k < 4 && info->kind != SETTING_BITS_LIST; k++) {
            struct settings s;
            char text[64];
            double number;
            settings_defaults(&s);
            settings_set_number(&s, info, tries[k]);
            assert_true(settings_number(&s, info, &number));
            assert_true(number >= info->min && number <= info->max);
            settings_get(&s, info, text, sizeof text);
            set(&s, info->name, text); /* what a slider gives is what a flag takes */
        }
    }
}

static void test_bits_step_over_the_legal_widths(void **state)
{
    (void)state;
    const struct setting_info *info = settings_find("bits_high");
    const char *const up[] = {"3", "4", "8", "16", "16"}, *const down[] = {"8", "4", "3", "2", "2"};
    struct settings s;
    double number;
    settings_defaults(&s);
    set(&s, "bits_high", "2");
    for (size_t i = 0; i < 5; i++) {
        assert_true(settings_number(&s, info, &number));
        settings_set_number(&s, info, number + info->step);
        assert_text(&s, "bits_high", up[i]);
    }
    for (size_t i = 0; i < 5; i++) {
        assert_true(settings_number(&s, info, &number));
        settings_set_number(&s, info, number - info->step);
        assert_text(&s, "bits_high", down[i]);
    }
}

static void test_auto_has_no_number_until_it_is_given(void **state)
{
    (void)state;
    const struct setting_info *info = settings_find("beta");
    struct settings s;
    double number;
    settings_defaults(&s);
    assert_false(settings_number(&s, info, &number));
    settings_set_number(&s, info, 1.25);
    assert_true(settings_number(&s, info, &number));
    assert_true(number == 1.25);
    assert_false(settings_number(&s, settings_find("class_bits"), &number));
}

static void test_the_earliest_change_decides_the_stage(void **state)
{
    (void)state;
    struct settings a, b;
    settings_defaults(&a);
    settings_defaults(&b);
    assert_int_equal(settings_first_change(&a, &b), STAGE_CALIBRATION + 1);
    set(&b, "seed", "1");
    assert_int_equal(settings_first_change(&a, &b), STAGE_CALIBRATION);
    set(&b, "classes", "3");
    assert_int_equal(settings_first_change(&a, &b), STAGE_STRATEGY);
    set(&b, "alpha", "1");
    assert_int_equal(settings_first_change(&a, &b), STAGE_REWEIGHT);
    set(&b, "beta", "1");
    assert_int_equal(settings_first_change(&b, &a), STAGE_ZIPF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_table_has_every_setting_once),
        cmocka_unit_test(test_every_setting_comes_back_as_text_and_as_json),
        cmocka_unit_test(test_all_settings_together_come_back_from_json),
        cmocka_unit_test(test_dash_and_underscore_are_the_same),
        cmocka_unit_test(test_best_rounding_names_settings_that_are_off_by_default),
        cmocka_unit_test(test_every_wrong_value_is_refused_and_changes_nothing),
        cmocka_unit_test(test_settings_that_contradict_each_other_are_refused),
        cmocka_unit_test(test_layer_values_are_kept_apart_from_the_common_one),
        cmocka_unit_test(test_wrong_json_is_refused_with_its_place),
        cmocka_unit_test(test_merging_keeps_what_is_not_named),
        cmocka_unit_test(test_a_slider_stays_in_the_legal_range),
        cmocka_unit_test(test_bits_step_over_the_legal_widths),
        cmocka_unit_test(test_auto_has_no_number_until_it_is_given),
        cmocka_unit_test(test_the_earliest_change_decides_the_stage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
