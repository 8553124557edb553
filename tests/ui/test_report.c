/* The report as a page and as a document. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/trace_h5.h"
#include "ui/report/report_build.h"
#include "xml_check.h"

static struct trace trace;
static struct analysis *analysis;
static double *cosine;
static const char hostile[] = "a<b>&\"'\x1b[31m\xff\xe2\x80\xae</p><script>";

static int load_trace(void **state)
{
    (void)state;
    struct settings settings;
    settings_defaults(&settings);
    if (trace_h5_load(&trace, TEST_GOLDEN "/tiny-qwen2moe/trace.h5", NULL, NULL) < 0 ||
        analysis_new(&analysis, &trace, NULL) < 0 || analysis_update(analysis, &settings, NULL) < 0)
        return -1;
    size_t cells = trace.layers * trace.experts * trace.experts;
    cosine = malloc(cells * sizeof *cosine);
    for (size_t i = 0; cosine && i < cells; i++)
        cosine[i] = i / trace.experts % trace.experts == i % trace.experts
                        ? 1
                        : 0.01 * (double)(i * 2654435761u % 97) - 0.5;
    return cosine ? 0 : -1;
}

static int release_trace(void **state)
{
    (void)state;
    free(cosine);
    analysis_free(analysis);
    trace_release(&trace);
    return 0;
}

static void build(struct report *r, const char *title, const struct figure_results *results,
                  size_t texts)
{
    struct err err = {0};
    struct report_source s = {
        .title = title,
        .trace = &trace,
        .trace_path = hostile,
        .trace_sha256 = "0123456789abcdef",
        .figures = {.analysis = analysis, .cosine = cosine, .results = results, .texts = texts},
        .command = "moqa analyze 'a b.h5' --alpha 0.5"};
    if (report_build(r, &s, &err) < 0)
        fail_msg("%s", err.message);
}

/* From <body> on the page is XML. */
static void assert_page(const char *html)
{
    const char *body = strstr(html, "<body>"), *end = strstr(html, "</html>");
    assert_non_null(body);
    assert_non_null(end);
    char *text = strndup(body, (size_t)(end - body));
    assert_non_null(text);
    const char *wrong = xml_check(text);
    if (wrong)
        fail_msg("%s", wrong);
    free(text);
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "url("));
    assert_null(strstr(html, "src="));
    for (const char *p = html; (p = strstr(p, "http")); p++)
        assert_memory_equal(p, "http://www.w3.org/2000/svg", 26); /* a name, nothing is fetched */
}

static void test_the_page_has_all_figures_and_tables(void **state)
{
    (void)state;
    struct report r;
    struct str html = {0};
    static const struct figure_run runs[] = {
        {"original", "original", 16, 16, 1 << 20, true, 24.5, 0},
        {"runs/one", "moqa", 3, 3.5, 300000, true, 26.25, 0},
        {"runs/two", "gptq-3", 3, 3.2, 290000, false, 0, 0},
    };
    static const struct figure_run others[] = {
        {"original", "original", 16, 16, 1 << 20, true, 20, 0},
        {"runs/one", "moqa", 3, 3.5, 300000, false, 0, 0},
        {"runs/two", "gptq-3", 3, 3.2, 290000, true, 21, 0},
    };
    static const struct figure_results results[] = {{"letters.txt", true, runs, 3},
                                                    {"stories.txt", true, others, 3},
                                                    {"an older one", false, others, 3}};
    build(&r, NULL, results, 3);
    assert_int_equal(report_html(&html, &r, NULL), 0);
    assert_page(html.data);
    size_t shown = trace.layers < 4 ? trace.layers : 4;
    /* zipf, utilization, results on each text; mapping, similarity, difference; all significance */
    size_t figures = 5 + 3 * shown + trace.layers;
    assert_int_equal(xml_count(html.data, "figure"), figures);
    assert_int_equal(xml_count(html.data, "figcaption"), figures);
    assert_true(xml_count(html.data, "svg") >= figures);
    for (size_t i = 0; i < settings_count(); i++)
        assert_non_null(strstr(html.data, settings_info(i)->name));
    assert_non_null(strstr(html.data, "26.2500"));
    assert_non_null(strstr(html.data, "Perplexity on letters.txt"));
    assert_non_null(strstr(html.data, "+7.14 %")); /* 26.25 against 24.5 */
    assert_non_null(strstr(html.data, "+5.00 %"));
    assert_non_null(strstr(html.data, "The least perplexity, 26.2500, is that of one"));
    assert_non_null(strstr(html.data, "The least perplexity, 21.0000, is that of two"));
    assert_non_null(strstr(html.data, "It was not recorded which text they are of"));
    assert_non_null(strstr(html.data, "prefers-color-scheme:dark"));
    assert_non_null(strstr(html.data, "moqa analyze &apos;a b.h5&apos; --alpha 0.5"));
    str_release(&html);
    report_release(&r);
}

static void test_numbers_are_those_of_the_analysis(void **state)
{
    (void)state;
    struct report r;
    struct str html = {0};
    char expected[128];
    const struct analysis_result *a = analysis_result(analysis);
    build(&r, NULL, NULL, 0);
    assert_int_equal(report_html(&html, &r, NULL), 0);
    for (size_t l = 0; l < a->layers; l++) {
        snprintf(expected, sizeof expected, "<td class=\"r\">%.4f</td><td class=\"r\">%.4f</td>",
                 a->layer[l].mu, a->layer[l].sigma);
        assert_non_null(strstr(html.data, expected));
    }
    snprintf(expected, sizeof expected, "exponent %.3f", a->zipf.beta);
    assert_non_null(strstr(html.data, expected));
    str_release(&html);
    report_release(&r);
}

static void test_hostile_names_stay_text(void **state)
{
    (void)state;
    struct report r;
    struct str html = {0}, pdf = {0};
    build(&r, hostile, NULL, 0);
    assert_int_equal(report_html(&html, &r, NULL), 0);
    assert_page(html.data);
    assert_null(strchr(html.data, '\x1b'));
    assert_null(strstr(html.data, "\xe2\x80\xae"));
    assert_non_null(strstr(html.data, "a&lt;b&gt;&amp;&quot;&apos;\\x1B[31m"));
    assert_int_equal(report_pdf(&pdf, &r, NULL), 0);
    assert_memory_equal(pdf.data, "%PDF-", 5);
    str_release(&pdf);
    str_release(&html);
    report_release(&r);
}

static size_t pages(const struct str *pdf)
{
    static const char mark[] = "/Type /Page";
    const size_t size = sizeof mark - 1;
    const char *end = pdf->data + pdf->length;
    size_t count = 0;
    for (const char *p = pdf->data; (p = memmem(p, (size_t)(end - p), mark, size)); p += size)
        count += p + size < end && p[size] != 's'; /* "/Pages" is the tree */
    return count;
}

static void test_long_tables_go_over_several_pages(void **state)
{
    (void)state;
    struct report r = {0};
    struct str pdf = {0};
    report_title(&r, "Long", "and wide");
    report_heading(&r, 1, "A table");
    report_table(&r, "rows", "lr", "name\tvalue");
    for (int i = 0; i < 300; i++) {
        report_cell(&r, "row %d", i);
        report_cell(&r, "%d", i * i);
    }
    assert_int_equal(report_pdf(&pdf, &r, NULL), 0);
    assert_in_range(pages(&pdf), 4, 7);
    str_release(&pdf);
    report_release(&r);
}

static size_t pages_of_cell(const char *text)
{
    struct report r = {0};
    struct str pdf = {0};
    report_title(&r, "Cell", "");
    report_table(&r, "rows", "lr", "name\tvalue");
    report_cell(&r, "%s", text);
    report_cell(&r, "1");
    assert_int_equal(report_pdf(&pdf, &r, NULL), 0);
    size_t count = pages(&pdf);
    str_release(&pdf);
    report_release(&r);
    return count;
}

static void test_long_cells_are_broken_into_lines_not_cut(void **state)
{
    (void)state;
    enum { LONG = 15000 };
    char *text = malloc(LONG + 1);
    assert_non_null(text);
    memset(text, 'm', LONG);
    text[LONG] = '\0';
    assert_int_equal(pages_of_cell("short"), 1);
    assert_in_range(pages_of_cell(text), 3, 6);
    free(text);
}

static void test_words_without_a_place_to_break_are_broken(void **state)
{
    (void)state;
    struct report r = {0};
    struct str pdf = {0};
    char *word = malloc(20001);
    assert_non_null(word);
    memset(word, 'm', 20000);
    word[20000] = '\0';
    report_title(&r, "Word", "");
    report_text(&r, REPORT_TEXT, "%s", word);
    report_text(&r, REPORT_CODE, "%s", word);
    report_table(&r, word, "l", word);
    assert_int_equal(report_pdf(&pdf, &r, NULL), 0);
    assert_true(pages(&pdf) > 3);
    free(word);
    str_release(&pdf);
    report_release(&r);
}

static void test_the_same_report_has_the_same_bytes(void **state)
{
    (void)state;
    struct str text[2][2] = {0};
    for (int i = 0; i < 2; i++) {
        struct report r;
        build(&r, NULL, NULL, 0);
        assert_int_equal(report_html(&text[i][0], &r, NULL), 0);
        assert_int_equal(report_pdf(&text[i][1], &r, NULL), 0);
        report_release(&r);
    }
    for (int k = 0; k < 2; k++) {
        assert_int_equal(text[0][k].length, text[1][k].length);
        assert_memory_equal(text[0][k].data, text[1][k].data, text[0][k].length);
        str_release(&text[0][k]);
        str_release(&text[1][k]);
    }
}

static void test_other_endings_are_refused(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(report_format_known("a.docx", &err), ERR_USAGE);
    assert_non_null(strstr(err.message, ".html or .pdf"));
    assert_int_equal(report_format_known("html", NULL), ERR_USAGE);
    assert_int_equal(report_format_known("a/b.html", NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_page_has_all_figures_and_tables),
        cmocka_unit_test(test_numbers_are_those_of_the_analysis),
        cmocka_unit_test(test_hostile_names_stay_text),
        cmocka_unit_test(test_long_tables_go_over_several_pages),
        cmocka_unit_test(test_long_cells_are_broken_into_lines_not_cut),
        cmocka_unit_test(test_words_without_a_place_to_break_are_broken),
        cmocka_unit_test(test_the_same_report_has_the_same_bytes),
        cmocka_unit_test(test_other_endings_are_refused),
    };
    return cmocka_run_group_tests(tests, load_trace, release_trace);
}
