/* A comparison in its four formats, from a result made by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/unicode.h"
#include "src/compare/compare_print.h"

enum { ROWS = 5, DRAWS = 2, TEXTS = 2 };

struct made {
    struct compare_methods methods;
    struct settings settings;
    struct compare_text text[TEXTS];
    struct compare_task task[1];
    struct compare_texts texts;
    struct compare_options options;
    struct compare_row row[ROWS];
    struct compare_cell cell[ROWS][DRAWS];
    double perplexity[ROWS][DRAWS][TEXTS], acc[ROWS][DRAWS], norm[ROWS][DRAWS];
    double divergence[ROWS][DRAWS][TEXTS], error[ROWS][DRAWS][TEXTS];
    uint64_t seed[DRAWS];
    struct compare_result result;
};

/* Row r of draw d has perplexities 10 + r + d and 20 + 2 r, divergences r (d + 1) / 8 and r / 4,
 * and a prediction where r > 1. */
static void make(struct made *m)
{
    static const char *const words[] = {"fp16", "gptq-3", "moqa:class_bits=2,3,4,classes=3",
                                        "budget@2.5", "budget@3"};
    struct err err = {0};
    memset(m, 0, sizeof *m);
    settings_defaults(&m->settings);
    assert_int_equal(compare_methods_add(&m->methods, words, ROWS, &m->settings, &err), 0);
    snprintf(m->text[0].text.name, sizeof m->text[0].text.name, "a|b");
    snprintf(m->text[1].text.name, sizeof m->text[1].text.name, "c,\"d\" \u00e9");
    m->task[0].info = task_find("piqa");
    m->texts = (struct compare_texts){m->text, TEXTS, m->task, 1, 256};
    m->options = (struct compare_options){.trace_path = "t.h5",
                                          .runs_dir = "runs",
                                          .texts = &m->texts,
                                          .seeds = DRAWS,
                                          .settings = &m->settings};
    for (size_t r = 0; r < ROWS; r++) {
        m->row[r] = (struct compare_row){.method = &m->methods.item[r],
                                         .bits = m->methods.item[r].bits,
                                         .cell = m->cell[r],
                                         .cells = r ? DRAWS : 1,
                                         .drawn = r > 0};
        snprintf(m->row[r].name, sizeof m->row[r].name, "%s", m->methods.item[r].label);
        for (size_t d = 0; d < DRAWS; d++) {
            struct compare_cell *c = &m->cell[r][d];
            m->perplexity[r][d][0] = 10 + (double)(r + d);
            m->perplexity[r][d][1] = 20 + 2 * (double)r;
            m->divergence[r][d][0] = (double)(r * (d + 1)) / 8;
            m->divergence[r][d][1] = (double)r / 4;
            m->error[r][d][0] = m->error[r][d][1] = 0.0625;
            m->acc[r][d] = 0.5;
            m->norm[r][d] = 0.25;
            *c = (struct compare_cell){.seed = d + 1,
                                       .nominal_bits = 3,
                                       .effective_bits = 3.25,
                                       .bytes = 1 << 20,
                                       .experts_bytes = 1 << 19,
                                       .has_seconds = r > 0,
                                       .seconds = 1.5,
                                       .perplexity = m->perplexity[r][d],
                                       .divergence = m->divergence[r][d],
                                       .divergence_error = m->error[r][d],
                                       .acc = &m->acc[r][d],
                                       .acc_norm = &m->norm[r][d],
                                       .excess = 0.1 * (double)r,
                                       .has_predicted = r > 1,
                                       .predicted = 0.09 * (double)r};
            snprintf(c->folder, sizeof c->folder, "run-%zu-%zu", r, d);
        }
    }
    m->seed[1] = (m->seed[0] = 1) + 1;
    m->result = (struct compare_result){.options = &m->options,
                                        .model_name = "tiny",
                                        .draws = DRAWS,
                                        .calibration_windows = 8,
                                        .calibration_window = 256,
                                        .seed = m->seed,
                                        .row = m->row,
                                        .rows = ROWS};
}

static struct str print(const struct made *m, enum compare_format format)
{
    struct str text = {0};
    struct err err = {0};
    assert_int_equal(compare_print(&text, &m->result, format, &err), 0);
    return text;
}

static void test_json_has_every_run_and_its_mean(void **state)
{
    (void)state;
    struct made m;
    json_error_t at;
    make(&m);
    struct str text = print(&m, COMPARE_JSON);
    json_t *root = json_loads(text.data, JSON_REJECT_DUPLICATES, &at);
    assert_non_null(root);
    assert_string_equal(json_string_value(json_object_get(root, "schema")), "moqa.comparison");
    const json_t *rows = json_object_get(root, "rows"), *row = json_array_get(rows, 3);
    assert_int_equal(json_array_size(rows), ROWS);
    assert_true(json_number_value(json_object_get(row, "bits")) == 2.5);
    const json_t *mean = json_object_get(json_object_get(row, "perplexity"), "a|b");
    assert_true(json_number_value(json_object_get(mean, "mean")) == 13.5);
    assert_true(fabs(json_number_value(json_object_get(mean, "deviation")) - sqrt(0.5)) < 1e-12);
    assert_int_equal(json_array_size(json_object_get(row, "runs")), DRAWS);
    const json_t *run = json_array_get(json_object_get(row, "runs"), 1);
    assert_true(json_number_value(json_object_get(json_object_get(run, "perplexity"), "a|b")) ==
                14);
    assert_true(json_is_null(json_object_get(json_array_get(rows, 1), "predicted")));
    const json_t *agree = json_object_get(root, "predicted_against_excess");
    assert_int_equal(json_integer_value(json_object_get(agree, "plans")), 3);
    assert_true(fabs(json_number_value(json_object_get(agree, "spearman")) - 1) < 1e-12);
    json_decref(root);
    str_release(&text);
    compare_methods_release(&m.methods);
}

/* Fields of a line of CSV; *next is behind its end. */
static size_t fields_of(const char *line, const char **next)
{
    size_t n = 1;
    bool quoted = false;
    for (; *line && (quoted || *line != '\n'); line++) {
        quoted ^= *line == '"';
        n += !quoted && *line == ',';
    }
    assert_false(quoted);
    *next = *line ? line + 1 : line;
    return n;
}

static void test_csv_has_a_line_for_each_run(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct str text = print(&m, COMPARE_CSV);
    const char *at = text.data;
    size_t columns = fields_of(at, &at), lines = 0;
    for (; *at; lines++)
        assert_int_equal(fields_of(at, &at), columns);
    assert_int_equal(lines, 1 + (ROWS - 1) * DRAWS);
    assert_non_null(strstr(text.data, "\"perplexity c,\"\"d\"\" \u00e9\""));
    assert_non_null(strstr(text.data, "\n\"moqa:class_bits=2,3,4,classes=3\",,2,3,3.25,1048576,"));
    assert_non_null(strstr(text.data, "\nbudget,2.5,1,3,3.25,1048576,524288,13,26,"));
    str_release(&text);
    compare_methods_release(&m.methods);
}

static size_t bars_of(const char *line, size_t length)
{
    size_t n = 0;
    for (size_t i = 0; i < length; i++)
        n += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    return n;
}

static void test_markdown_has_as_many_columns_in_every_line(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct str text = print(&m, COMPARE_MARKDOWN);
    const char *line = text.data;
    size_t bars = bars_of(line, strcspn(line, "\n")), lines = 0;
    for (; *line == '|'; lines++) {
        size_t length = strcspn(line, "\n");
        assert_int_equal(bars_of(line, length), bars);
        line += length + 1;
    }
    assert_int_equal(lines, ROWS + 2);
    assert_non_null(strstr(text.data, "a\\|b"));
    assert_non_null(strstr(text.data, "| budget@2.5 "));
    assert_non_null(strstr(text.data, "0.2000 \u00b1 0.0000"));
    str_release(&text);
    compare_methods_release(&m.methods);
}

static void test_columns_of_the_text_stand_under_each_other(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct str text = print(&m, COMPARE_TEXT);
    size_t width = 0, lines = 0;
    for (const char *line = text.data; *line && *line != '\n'; lines++) {
        char copy[1024];
        size_t length = strcspn(line, "\n");
        assert_true(length < sizeof copy);
        memcpy(copy, line, length);
        copy[length] = '\0';
        width = width ? width : unicode_length(copy);
        assert_int_equal(unicode_length(copy), width);
        line += length + 1;
    }
    assert_int_equal(lines, ROWS + 1);
    assert_non_null(strstr(text.data, "13.500 \u00b1 0.707"));
    assert_non_null(strstr(text.data, "2 draws (seeds 1 to 2; mean \u00b1 standard deviation)"));
    assert_non_null(strstr(text.data, "predicted and measured excess: 1.000 over 3 plans."));
    str_release(&text);
    compare_methods_release(&m.methods);
}

static void test_divergences_stand_in_all_formats(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    struct str without = print(&m, COMPARE_CSV);
    assert_null(strstr(without.data, "divergence"));
    m.options.divergence = true;
    struct str csv = print(&m, COMPARE_CSV), table = print(&m, COMPARE_TEXT);
    struct str markdown = print(&m, COMPARE_MARKDOWN), json = print(&m, COMPARE_JSON);
    assert_non_null(strstr(csv.data, ",divergence a|b,\"divergence c,\"\"d\"\" \u00e9\","
                                     "divergence_error a|b,\"divergence_error c,"));
    assert_non_null(strstr(csv.data, "\nbudget,2.5,2,3,3.25,1048576,524288,14,26,0.75,0.75,"
                                     "0.0625,0.0625,0.3,"));
    const char *end, *at = csv.data;
    size_t columns = fields_of(at, &at);
    assert_int_equal(columns, fields_of(without.data, &end) + 2 * TEXTS);
    while (*at)
        assert_int_equal(fields_of(at, &at), columns);
    assert_non_null(strstr(table.data, "a|b divergence  c,\"d\" \u00e9 divergence"));
    assert_non_null(strstr(table.data, "0.56250 \u00b1 0.26517")); /* of 0.375 and 0.75 */
    assert_non_null(strstr(table.data, "Divergence: of the output from the original's"));
    assert_non_null(strstr(markdown.data, "a\\|b divergence |"));
    json_t *root = json_loads(json.data, JSON_REJECT_DUPLICATES, NULL);
    const json_t *row = json_array_get(json_object_get(root, "rows"), 3);
    const json_t *mean = json_object_get(json_object_get(row, "divergence"), "a|b");
    assert_true(json_number_value(json_object_get(mean, "mean")) == 0.5625);
    assert_int_equal(json_integer_value(json_object_get(mean, "runs")), DRAWS);
    const json_t *run = json_array_get(json_object_get(row, "runs"), 1);
    assert_true(json_number_value(json_object_get(json_object_get(run, "divergence"), "a|b")) ==
                0.75);
    assert_true(json_number_value(
                    json_object_get(json_object_get(run, "divergence_error"), "a|b")) == 0.0625);
    json_decref(root);
    str_release(&without);
    str_release(&csv);
    str_release(&table);
    str_release(&markdown);
    str_release(&json);
    compare_methods_release(&m.methods);
}

static void test_what_no_draw_changes_has_no_seed_and_no_spread(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    m.row[1].drawn = false;
    m.row[1].cells = 1;
    struct str csv = print(&m, COMPARE_CSV), table = print(&m, COMPARE_TEXT);
    struct str json = print(&m, COMPARE_JSON);
    assert_non_null(strstr(csv.data, "\nfp16,,,3,"));
    assert_non_null(strstr(csv.data, "\ngptq-3,,,3,"));
    assert_non_null(strstr(csv.data, "\nbudget,2.5,1,3,"));
    const char *line = strstr(table.data, "\ngptq-3 ") + 1;
    assert_null(memmem(line, strcspn(line, "\n"), "\u00b1", strlen("\u00b1")));
    assert_non_null(strstr(table.data, "Rows of 1 run without a deviation"));
    json_t *root = json_loads(json.data, 0, NULL);
    const json_t *row = json_array_get(json_object_get(root, "rows"), 1);
    const json_t *run = json_array_get(json_object_get(row, "runs"), 0);
    assert_true(json_is_null(json_object_get(run, "seed")));
    json_decref(root);
    m.row[2].cells = 1; /* two draws of the same windows */
    str_clear(&table);
    assert_int_equal(compare_print(&table, &m.result, COMPARE_TEXT, NULL), 0);
    assert_non_null(strstr(table.data, "Draws that make the same run count as one."));
    str_release(&csv);
    str_release(&table);
    str_release(&json);
    compare_methods_release(&m.methods);
}

static void test_large_seeds_are_no_negative_numbers(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    m.seed[0] = m.cell[2][0].seed = INT64_MAX;
    m.seed[1] = m.cell[2][1].seed = UINT64_MAX;
    struct str json = print(&m, COMPARE_JSON);
    json_t *root = json_loads(json.data, 0, NULL);
    const json_t *seeds = json_object_get(json_object_get(root, "calibration"), "seeds");
    const json_t *runs = json_object_get(json_array_get(json_object_get(root, "rows"), 2), "runs");
    const json_t *of_run[2] = {json_object_get(json_array_get(runs, 0), "seed"),
                               json_object_get(json_array_get(runs, 1), "seed")};
    for (int i = 0; i < 2; i++) {
        const json_t *first = i ? of_run[0] : json_array_get(seeds, 0);
        const json_t *second = i ? of_run[1] : json_array_get(seeds, 1);
        assert_true(json_integer_value(first) == INT64_MAX);
        assert_string_equal(json_string_value(second), "18446744073709551615");
    }
    json_decref(root);
    str_release(&json);
    compare_methods_release(&m.methods);
}

static void test_a_mean_is_of_those_that_have_the_value(void **state)
{
    (void)state;
    struct made m;
    make(&m);
    m.cell[2][0].has_seconds = false;
    m.cell[2][1].seconds = 7;
    struct compare_mean mean = compare_mean(&m.row[2], compare_seconds, 0);
    assert_int_equal(mean.n, 1);
    assert_true(mean.mean == 7 && mean.deviation == 0);
    assert_int_equal(compare_mean(&m.row[0], compare_seconds, 0).n, 0);
    compare_methods_release(&m.methods);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_json_has_every_run_and_its_mean),
        cmocka_unit_test(test_csv_has_a_line_for_each_run),
        cmocka_unit_test(test_markdown_has_as_many_columns_in_every_line),
        cmocka_unit_test(test_columns_of_the_text_stand_under_each_other),
        cmocka_unit_test(test_divergences_stand_in_all_formats),
        cmocka_unit_test(test_large_seeds_are_no_negative_numbers),
        cmocka_unit_test(test_what_no_draw_changes_has_no_seed_and_no_spread),
        cmocka_unit_test(test_a_mean_is_of_those_that_have_the_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
