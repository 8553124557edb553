/* The words that say which methods a comparison runs, and on which texts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/compare/compare_methods.h"
#include "src/compare/compare_texts.h"

static struct settings base;

static struct compare_methods add(const char *words)
{
    struct compare_methods m = {0};
    struct err err = {0};
    char copy[512], *save = NULL;
    settings_defaults(&base);
    base.group_size = 64;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *w = strtok_r(copy, " ", &save); w; w = strtok_r(NULL, " ", &save)) {
        const char *one = w;
        assert_int_equal(compare_methods_add(&m, &one, 1, &base, &err), 0);
    }
    return m;
}

static void assert_refused(const char *word, const char *expected)
{
    struct compare_methods m = {0};
    struct err err = {0};
    settings_defaults(&base);
    assert_int_equal(compare_methods_add(&m, &word, 1, &base, &err), ERR_USAGE);
    if (!strstr(err.message, expected))
        fail_msg("%s: found \"%s\", expected \"%s\" in it", word, err.message, expected);
    compare_methods_release(&m);
}

static void test_a_word_is_a_method_with_settings_over_the_commands(void **state)
{
    (void)state;
    struct compare_methods m =
        add("gptq-3 moqa:alpha=.5,min-count=3 budget@2.4:shift=on,grain=expert");
    assert_int_equal(m.count, 3);
    assert_string_equal(m.item[0].label, "gptq-3");
    assert_true(settings_equal(&m.item[0].settings, &base));
    assert_string_equal(m.item[1].label, "moqa:alpha=0.5,min_count=3");
    assert_true(m.item[1].settings.alpha == 0.5 && m.item[1].settings.min_count == 3);
    assert_int_equal(m.item[1].settings.group_size, 64);
    assert_string_equal(m.item[2].label, "budget:shift=on,grain=expert");
    assert_true(m.item[2].bits == 2.4 && m.item[2].settings.shift);
    assert_int_equal(m.item[2].budget.grain, BUDGET_EXPERTS);
    assert_true(m.item[2].info->average && m.item[2].info->losses);
    compare_methods_release(&m);
}

static void test_values_may_have_commas_and_colons(void **state)
{
    (void)state;
    struct compare_methods m = add("moqa:class_bits=2,3,4,classes=3,rule=3:jenks");
    const struct settings *s = &m.item[0].settings;
    assert_int_equal(m.count, 1);
    assert_int_equal(s->class_bits_count, 3);
    assert_int_equal(s->class_bits[2], 4);
    assert_int_equal(s->classes, 3);
    assert_true(s->layer[3].has_rule && s->layer[3].rule == RULE_JENKS);
    assert_string_equal(m.item[0].label, "moqa:class_bits=2,3,4,classes=3,rule=3:jenks");
    compare_methods_release(&m);
}

static void test_best_rounding_stands_for_its_settings(void **state)
{
    (void)state;
    struct compare_methods m =
        add("budget:best-rounding moqa:class_bits=2,4,best-rounding,shift=off,classes=2");
    struct settings best = base;
    struct err err = {0};
    for (const struct setting_value *v = settings_best_rounding; v->name; v++)
        assert_int_equal(settings_set(&best, v->name, v->value, &err), 0);
    assert_string_equal(m.item[0].label, "budget:best-rounding");
    assert_true(settings_equal(&m.item[0].settings, &best));
    assert_string_equal(m.item[1].label, "moqa:class_bits=2,4,best-rounding,shift=off,classes=2");
    best.shift = false;
    best.class_bits_count = best.class_bits[0] = 2;
    best.class_bits[1] = 4;
    assert_true(settings_equal(&m.item[1].settings, &best));
    compare_methods_release(&m);
}

static void test_every_setting_of_the_table_can_be_given(void **state)
{
    (void)state;
    settings_defaults(&base);
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char value[64], word[128];
        struct compare_methods m = {0};
        struct err err = {0};
        const char *one = word;
        settings_get(&base, info, value, sizeof value);
        snprintf(word, sizeof word, "moqa:%s=%s", info->name, value);
        int rc = compare_methods_add(&m, &one, 1, &base, &err);
        assert_int_equal(rc, info->stage == STAGE_CALIBRATION ? ERR_USAGE : 0);
        compare_methods_release(&m);
    }
}

static void test_words_for_several_carry_their_settings_to_each(void **state)
{
    (void)state;
    struct compare_methods m = add("gptq:shift=on heuristics@3");
    static const char *const labels[] = {"gptq-2:shift=on", "gptq-3:shift=on", "gptq-4:shift=on",
                                         "gptq-8:shift=on", "first-layers",    "frequent",
                                         "outlier",         "importance"};
    assert_int_equal(m.count, 8);
    for (size_t i = 0; i < 8; i++) {
        assert_string_equal(m.item[i].label, labels[i]);
        assert_true(m.item[i].settings.shift == (i < 4));
        assert_true(m.item[i].bits == (i < 4 ? 0 : 3));
    }
    assert_string_equal(m.item[0].family, "gptq:shift=on");
    assert_string_equal(m.item[0].family, m.item[3].family);
    assert_string_equal(m.item[4].family, "first-layers");
    compare_methods_release(&m);
}

static void test_what_is_named_twice_runs_once(void **state)
{
    (void)state;
    struct compare_methods m = add("gptq-3 gptq moqa:alpha=.5 moqa:alpha=0.50 budget@2 budget@3");
    assert_int_equal(m.count, 4 + 1 + 2);
    assert_string_equal(m.item[0].label, "gptq-3");
    assert_string_equal(m.item[1].label, "gptq-2");
    compare_methods_release(&m);
}

static size_t differences(const struct settings *a, const struct settings *b)
{
    size_t n = 0;
    for (size_t i = 0; i < settings_count(); i++) {
        char x[64], y[64];
        settings_get(a, settings_info(i), x, sizeof x);
        settings_get(b, settings_info(i), y, sizeof y);
        n += strcmp(x, y) != 0;
    }
    return n;
}

/* How many of the methods differ from `common` in this setting. */
static size_t tried(const struct compare_methods *m, const struct settings *common,
                    const struct setting_info *info)
{
    size_t n = 0;
    for (size_t i = 0; i < m->count; i++) {
        char x[64], y[64];
        settings_get(common, info, x, sizeof x);
        settings_get(&m->item[i].settings, info, y, sizeof y);
        n += strcmp(x, y) != 0;
    }
    return n;
}

static void test_moqa_options_changes_each_option_alone(void **state)
{
    (void)state;
    struct compare_methods m = add("moqa-options:shift=on");
    struct settings common = base;
    common.shift = true;
    for (size_t i = 0; i < m.count; i++) {
        assert_string_equal(m.item[i].info->name, "moqa");
        assert_true(m.item[i].optional);
        assert_int_equal(differences(&m.item[i].settings, &common), 1);
        assert_string_equal(m.item[i].family, "moqa, changed");
    }
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        size_t expected = 0;
        if (info->stage == STAGE_CALIBRATION)
            assert_int_equal(tried(&m, &common, info), 0);
        else if (strcmp(info->name, "shift") == 0) /* the word says how it shall be */
            assert_int_equal(tried(&m, &common, info), 0);
        else if (info->kind == SETTING_SWITCH)
            assert_int_equal(tried(&m, &common, info), 1);
        for (; info->choices && info->choices[expected];)
            expected++;
        if (expected && info->stage != STAGE_CALIBRATION)
            assert_int_equal(tried(&m, &common, info), expected - 1);
    }
    compare_methods_release(&m);
}

static void test_standard_has_every_method(void **state)
{
    (void)state;
    struct compare_methods m = add("standard");
    for (const char *const *name = planner_methods(); *name; name++) {
        size_t found = 0;
        for (size_t i = 0; i < m.count; i++)
            found += strcmp(m.item[i].label, *name) == 0;
        if (found != 1)
            fail_msg("%s: found %zu times", *name, found);
    }
    compare_methods_release(&m);
}

static void test_wrong_words_are_named(void **state)
{
    (void)state;
    assert_refused("gptq-5", "found \"gptq-5\": no method is called \"gptq-5\"; known: moqa, ");
    assert_refused("", "expected METHOD[@BITS][:NAME=VALUE,...]");
    assert_refused(":alpha=1", "expected METHOD");
    assert_refused("budget@", "expected bits");
    assert_refused("budget@x", "expected bits");
    assert_refused("budget@17", "expected bits");
    assert_refused("gptq-3@2.5", "gptq-3 has bits of its own");
    assert_refused("moqa:alpha", "expected NAME=VALUE");
    assert_refused("moqa:=3", "expected NAME=VALUE");
    assert_refused("moqa:alpha=9",
                   "moqa:alpha=9: alpha: found \"9\", expected a number from 0 to 2");
    assert_refused("moqa:colour=red", "no setting is called \"colour\"");
    assert_refused("moqa:grain=expert", "no setting is called \"grain\"");
    assert_refused("budget:grain=layer",
                   "grain: found \"layer\", expected linear, expert or channel");
    assert_refused("budget:sensitivity=much", "sensitivity: found \"much\"");
    assert_refused("gptq-3:seed=4", "the same for all methods; give it as --seed");
    assert_refused("standard:windows=random", "give it as --windows");
}

static void test_bits_are_a_list_of_averages(void **state)
{
    (void)state;
    struct err err = {0};
    double *bits;
    size_t n;
    assert_int_equal(compare_parse_bits(&bits, &n, "2.25,3", &err), 0);
    assert_int_equal(n, 2);
    assert_true(bits[0] == 2.25 && bits[1] == 3);
    free(bits);
    static const char *const wrong[] = {"x", "2,", ",2", "2;3", "0", "-1", "17", "nan", "2,,3"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        err_clear(&err);
        assert_int_equal(compare_parse_bits(&bits, &n, wrong[i], &err), ERR_USAGE);
        assert_non_null(strstr(err.message, "--bits: found \""));
        assert_null(bits);
    }
}

/* --- Texts --- */

static void write_file(const char *path)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("text", f);
    fclose(f);
}

static void test_texts_have_names_and_may_be_several_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/moqa-texts-XXXXXX", path[64], b[64], word[160];
    struct compare_texts t;
    struct err err = {0};
    assert_non_null(mkdtemp(folder));
    snprintf(b, sizeof b, "%s/b.txt", folder);
    write_file(b);
    snprintf(path, sizeof path, "%s/a.txt", folder);
    write_file(path);
    snprintf(path, sizeof path, "%s/c.md", folder);
    write_file(path);
    snprintf(word, sizeof word, "both=%s,%s", b, folder);
    const char *words[] = {b, word, folder, "x/y=z.txt"}, *tasks[] = {"piqa=q.jsonl"};
    assert_int_equal(compare_texts_parse(&t, words, 4, tasks, 1, &err), 0);
    assert_string_equal(t.text[0].text.name, "b.txt");
    assert_int_equal(t.text[0].count, 1);
    assert_string_equal(t.text[1].text.name, "both"); /* the folder's in order, .txt alone */
    assert_int_equal(t.text[1].count, 3);
    assert_string_equal(t.text[1].paths[0], b);
    assert_non_null(strstr(t.text[1].paths[1], "/a.txt"));
    assert_string_equal(t.text[1].paths[2], b);
    assert_string_equal(t.text[2].text.name, folder + 5);
    assert_int_equal(t.text[2].count, 2);
    assert_string_equal(t.text[3].text.name, "y=z.txt"); /* a path, not a name */
    assert_string_equal(t.text[3].paths[0], "x/y=z.txt");
    assert_string_equal(t.task[0].info->name, "piqa");
    assert_string_equal(t.task[0].path, "q.jsonl");
    compare_texts_release(&t);
    unlink(path);
    unlink(b);
    snprintf(path, sizeof path, "%s/a.txt", folder);
    unlink(path);
    rmdir(folder);
}

static void assert_texts_refused(const char *text, const char *other, const char *task,
                                 const char *expected)
{
    struct compare_texts t;
    struct err err = {0};
    const char *words[] = {text, other};
    assert_int_equal(
        compare_texts_parse(&t, words, (text != NULL) + (other != NULL), &task, task != NULL, &err),
        ERR_USAGE);
    if (!strstr(err.message, expected))
        fail_msg("found \"%s\", expected \"%s\" in it", err.message, expected);
}

static void test_wrong_texts_and_tasks_are_named(void **state)
{
    (void)state;
    assert_texts_refused("a/x.txt", "b/x.txt", NULL, "two texts are called \"x.txt\"");
    assert_texts_refused("n=", NULL, NULL, "expected NAME=FILE[,FILE...]");
    assert_texts_refused("n=a,,b", NULL, NULL, "expected NAME=FILE[,FILE...]");
    assert_texts_refused(NULL, NULL, "piqa", "expected NAME=FILE with NAME one of arc_easy");
    assert_texts_refused(NULL, NULL, "chess=x", "found \"chess=x\"");
    assert_texts_refused(NULL, NULL, "pairs=x", "found \"pairs=x\""); /* has no right choice */
    assert_texts_refused(NULL, NULL, "piqa=", "found \"piqa=\"");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_word_is_a_method_with_settings_over_the_commands),
        cmocka_unit_test(test_values_may_have_commas_and_colons),
        cmocka_unit_test(test_best_rounding_stands_for_its_settings),
        cmocka_unit_test(test_every_setting_of_the_table_can_be_given),
        cmocka_unit_test(test_words_for_several_carry_their_settings_to_each),
        cmocka_unit_test(test_what_is_named_twice_runs_once),
        cmocka_unit_test(test_moqa_options_changes_each_option_alone),
        cmocka_unit_test(test_standard_has_every_method),
        cmocka_unit_test(test_wrong_words_are_named),
        cmocka_unit_test(test_bits_are_a_list_of_averages),
        cmocka_unit_test(test_texts_have_names_and_may_be_several_files),
        cmocka_unit_test(test_wrong_texts_and_tasks_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
