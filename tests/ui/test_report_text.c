#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/sanitize.h"
#include "data/trace_h5.h"
#include "picture.h"
#include "ui/report/report_text.h"

static struct {
    struct trace trace;
    struct analysis *analysis;
    double *cosine;
} olmoe, qwen;

static void check(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->message);
}

static void load(struct trace *t, struct analysis **a, double **cosine, const char *name)
{
    char path[1024];
    struct err err = {0};
    struct settings settings;
    json_t *json, *layers;
    settings_defaults(&settings);
    snprintf(path, sizeof path, "%s/%s/trace.h5", TEST_GOLDEN, name);
    check(trace_h5_load(t, path, NULL, &err), &err);
    check(analysis_new(a, t, &err), &err);
    check(analysis_update(*a, &settings, &err), &err);
    snprintf(path, sizeof path, "%s/%s/cosine.json", TEST_GOLDEN, name);
    check(jsonio_load(&json, path, 1 << 24, &err), &err);
    *cosine = mem_array(t->layers * t->experts * t->experts, sizeof **cosine, &err);
    assert_non_null(*cosine);
    layers = json_object_get(json, "layers");
    assert_int_equal(json_array_size(layers), t->layers);
    size_t k = 0;
    for (size_t l = 0; l < t->layers; l++) {
        const json_t *rows = json_object_get(json_array_get(layers, l), "cosine");
        for (size_t i = 0; i < t->experts; i++)
            for (size_t j = 0; j < t->experts; j++)
                (*cosine)[k++] = json_number_value(json_array_get(json_array_get(rows, i), j));
    }
    json_decref(json);
}

static int load_models(void **state)
{
    (void)state;
    load(&olmoe.trace, &olmoe.analysis, &olmoe.cosine, "tiny-olmoe");
    load(&qwen.trace, &qwen.analysis, &qwen.cosine, "tiny-qwen2moe");
    return 0;
}

static int release_models(void **state)
{
    (void)state;
    analysis_free(olmoe.analysis);
    analysis_free(qwen.analysis);
    trace_release(&olmoe.trace);
    trace_release(&qwen.trace);
    free(olmoe.cosine);
    free(qwen.cosine);
    return 0;
}

static void write_report(struct str *out, const struct report_text_options *options)
{
    struct err err = {0};
    check(report_text_write(out, &olmoe.trace, olmoe.analysis, options, &err), &err);
}

/* Calls `fn` for every row of a text, without its line feed. */
static void each_row(const char *text, void (*fn)(const char *row, size_t width), size_t width)
{
    char row[8192];
    while (*text) {
        size_t length = strcspn(text, "\n");
        assert_true(length < sizeof row);
        assert_true(text[length] == '\n');
        snprintf(row, sizeof row, "%.*s", (int)length, text);
        fn(row, width);
        text += length + 1;
    }
}

static void assert_narrow(const char *row, size_t width)
{
    if (sanitize_width(row) > width)
        fail_msg("%zu columns, wanted at most %zu: %s", sanitize_width(row), width, row);
    assert_true(*row == '\0' || row[strlen(row) - 1] != ' ');
}

static void assert_ascii(const char *row, size_t width)
{
    (void)width;
    for (; *row; row++)
        assert_in_range((unsigned char)*row, ' ', '~');
}

static void test_report_looks_as_it_was_approved(void **state)
{
    struct report_text_options options = {.width = 80, .cosine = olmoe.cosine};
    struct str out = {0};
    (void)state;
    write_report(&out, &options);
    picture_assert("report-80", str_get(&out));
    str_clear(&out);
    options = (struct report_text_options){.width = 130, .ascii = true};
    write_report(&out, &options);
    picture_assert("report-130-ascii", str_get(&out));
    str_release(&out);
}

static void test_report_of_a_model_with_shared_experts(void **state)
{
    struct report_text_options options = {.width = 100, .cosine = qwen.cosine};
    struct str out = {0};
    struct err err = {0};
    (void)state;
    check(report_text_write(&out, &qwen.trace, qwen.analysis, &options, &err), &err);
    picture_assert("report-qwen2moe-100", str_get(&out));
    str_release(&out);
}

static void test_no_row_is_wider_than_asked(void **state)
{
    struct str out = {0};
    (void)state;
    for (size_t width = 60; width <= 200; width += 7) {
        struct report_text_options options = {
            .width = width, .cosine = olmoe.cosine, .ascii = width % 2};
        str_clear(&out);
        write_report(&out, &options);
        each_row(str_get(&out), assert_narrow, width);
    }
    str_release(&out);
}

static void test_ascii_report_holds_only_ascii(void **state)
{
    struct report_text_options options = {.width = 90, .ascii = true, .cosine = olmoe.cosine};
    struct str out = {0};
    (void)state;
    write_report(&out, &options);
    each_row(str_get(&out), assert_ascii, 0);
    str_release(&out);
}

static void test_escapes_appear_only_with_colours(void **state)
{
    struct report_text_options options = {.width = 90, .cosine = olmoe.cosine};
    struct str out = {0};
    (void)state;
    write_report(&out, &options);
    assert_null(strchr(str_get(&out), '\033'));
    str_clear(&out);
    options.colour = true;
    write_report(&out, &options);
    assert_non_null(strstr(str_get(&out), "\033[0;38;5;"));
    assert_null(strstr(str_get(&out), "\033[2J"));
    str_release(&out);
}

static void test_direction_is_said_in_words(void **state)
{
    static const struct {
        const char *kind, *words;
    } cases[] = {
        {"inverse", "R rises with rank"}, {"steep", "R falls with rank"}, {"uniform", "R is flat"}};
    struct report_text_options options = {.width = 100};
    struct settings settings;
    struct str out = {0};
    struct err err = {0};
    (void)state;
    settings_defaults(&settings);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        check(settings_set(&settings, "reweight", cases[i].kind, &err), &err);
        check(analysis_update(olmoe.analysis, &settings, &err), &err);
        str_clear(&out);
        write_report(&out, &options);
        assert_non_null(strstr(str_get(&out), cases[i].words));
    }
    settings_defaults(&settings);
    check(analysis_update(olmoe.analysis, &settings, &err), &err);
    str_release(&out);
}

static void test_hostile_names_are_shown_and_not_obeyed(void **state)
{
    struct report_text_options options = {.width = 100};
    struct str out = {0};
    (void)state;
    char before[TRACE_NAME_MAX];
    memcpy(before, olmoe.trace.model_name, sizeof before);
    snprintf(olmoe.trace.model_name, TRACE_NAME_MAX, "a\033[2Jb\nc");
    write_report(&out, &options);
    memcpy(olmoe.trace.model_name, before, sizeof before);
    assert_null(strchr(str_get(&out), '\033'));
    assert_non_null(strstr(str_get(&out), "a\\x1B[2Jb"));
    str_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_report_looks_as_it_was_approved),
        cmocka_unit_test(test_report_of_a_model_with_shared_experts),
        cmocka_unit_test(test_no_row_is_wider_than_asked),
        cmocka_unit_test(test_ascii_report_holds_only_ascii),
        cmocka_unit_test(test_escapes_appear_only_with_colours),
        cmocka_unit_test(test_direction_is_said_in_words),
        cmocka_unit_test(test_hostile_names_are_shown_and_not_obeyed),
    };
    return cmocka_run_group_tests(tests, load_models, release_models);
}
