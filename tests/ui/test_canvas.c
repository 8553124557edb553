#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "picture.h"
#include "ui/figure/canvas.h"
#include "xml_check.h"

static const struct canvas_stroke thin = {STYLE_AXIS, 0.5, 0};

static struct canvas *open_canvas(struct canvas_options o)
{
    struct canvas *c = NULL;
    struct err err = {0};
    o.width = o.width > 0 ? o.width : 200;
    o.height = o.height > 0 ? o.height : 100;
    if (canvas_new(&c, &o, &err) < 0)
        fail_msg("%s", err.message);
    return c;
}

static struct str finish(struct canvas *c)
{
    struct str out = {0};
    struct err err = {0};
    if (canvas_finish(c, &out, &err) < 0)
        fail_msg("%s", err.message);
    canvas_free(c);
    return out;
}

/* Something of everything, at places that are not round. */
static void draw_all(struct canvas *c, uint64_t seed)
{
    double x[64], y[64];
    for (int i = 0; i < 64; i++) {
        x[i] = 200 * picture_random(&seed);
        y[i] = i % 9 == 4 ? NAN : 100 * picture_random(&seed);
    }
    canvas_path(c, x, y, 64, thin);
    canvas_clip(c, 10, 10, 150, 70);
    for (int s = 0; s < CANVAS_SHAPES; s++)
        canvas_marks(c, x + 8 * s, y + 8 * s, 8,
                     (struct canvas_mark){(enum canvas_shape)s, 2.5, (uint16_t)(STYLE_SERIES + s)});
    canvas_unclip(c);
    canvas_area(c, x, y, 3, STYLE_GROUP + 1);
    canvas_fill(c, 3, 4, 5, 6, style_ramp(0.3));
    canvas_frame(c, 3, 4, 5, 6, (struct canvas_stroke){STYLE_MARKER, 1, 3});
    canvas_text(c, 50, 50, "rank \xce\xb2 <&> \"x\"",
                (struct canvas_font){8, STYLE_DEFAULT, CANVAS_MIDDLE, true, false, 90});
    canvas_text(c, 50, 70, "mono", (struct canvas_font){7, STYLE_AXIS, CANVAS_END, .mono = true});
}

static void test_format_follows_the_ending(void **state)
{
    (void)state;
    enum canvas_format f;
    struct err err = {0};
    assert_int_equal(canvas_format_of(&f, "a/b.svg", NULL), 0);
    assert_int_equal(f, CANVAS_SVG);
    assert_int_equal(canvas_format_of(&f, "b.svg.PDF", NULL), 0);
    assert_int_equal(f, CANVAS_PDF);
    assert_int_equal(canvas_format_of(&f, "x.Png", NULL), 0);
    assert_int_equal(f, CANVAS_PNG);
    assert_int_equal(canvas_format_of(&f, "folder.svg/name", NULL), ERR_USAGE);
    assert_int_equal(canvas_format_of(&f, ".png", NULL), ERR_USAGE);
    assert_int_equal(canvas_format_of(&f, "a.jpg", &err), ERR_USAGE);
    assert_non_null(strstr(err.message, ".svg, .pdf or .png"));
}

static void test_svg_is_well_formed_in_every_theme(void **state)
{
    (void)state;
    for (int theme = CANVAS_LIGHT; theme <= CANVAS_AUTO; theme++)
        for (uint64_t seed = 1; seed < 20; seed++) {
            struct canvas *c =
                open_canvas((struct canvas_options){.theme = (enum canvas_theme)theme,
                                                    .title = "a <b> & \"c\"",
                                                    .description = "d > e"});
            draw_all(c, seed);
            struct str svg = finish(c);
            const char *wrong = xml_check(svg.data);
            if (wrong)
                fail_msg("%s in %s", wrong, svg.data);
            assert_non_null(strstr(svg.data, "<title>a &lt;b&gt; &amp; &quot;c&quot;</title>"));
            assert_non_null(strstr(svg.data, "<desc>d &gt; e</desc>"));
            assert_non_null(strstr(svg.data, "role=\"img\""));
            assert_null(strstr(svg.data, "nan"));
            assert_null(strstr(svg.data, " id="));
            str_release(&svg);
        }
}

static void test_text_stays_text_and_is_sanitized(void **state)
{
    (void)state;
    struct canvas *c = open_canvas((struct canvas_options){.title = "t\x1b[31m"});
    canvas_text(c, 1, 9, "token \xe2\x80\xae\x1b\n!", (struct canvas_font){.size = 8});
    canvas_text(c, NAN, 9, "nowhere", (struct canvas_font){.size = 8});
    struct str svg = finish(c);
    assert_null(xml_check(svg.data));
    assert_non_null(strstr(svg.data, ">token \\u{202E}\\x1B\\n!</text>"));
    assert_null(strstr(svg.data, "nowhere"));
    str_release(&svg);
}

static void test_auto_follows_the_page_and_fixed_themes_need_no_style(void **state)
{
    (void)state;
    struct canvas *c = open_canvas((struct canvas_options){.theme = CANVAS_AUTO});
    char rule[64];
    draw_all(c, 3);
    struct str svg = finish(c);
    assert_non_null(strstr(svg.data, "@media (prefers-color-scheme:dark)"));
    assert_non_null(strstr(svg.data, ":root[data-theme=light]"));
    snprintf(rule, sizeof rule, ".s%u{stroke:#%06x}", STYLE_AXIS, canvas_colour(STYLE_AXIS, true));
    assert_non_null(strstr(svg.data, rule));
    snprintf(rule, sizeof rule, "class=\"s%u\"", STYLE_AXIS);
    assert_non_null(strstr(svg.data, rule));
    str_release(&svg);
    c = open_canvas((struct canvas_options){.theme = CANVAS_DARK});
    draw_all(c, 3);
    svg = finish(c);
    assert_null(strstr(svg.data, "<style>"));
    snprintf(rule, sizeof rule, "stroke=\"#%06x\"", canvas_colour(STYLE_AXIS, true));
    assert_non_null(strstr(svg.data, rule));
    str_release(&svg);
}

static uint32_t big_endian(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void test_png_has_the_size_asked_for(void **state)
{
    (void)state;
    static const double scales[] = {0, 1, 2.5};
    static const uint32_t widths[] = {401, 201, 502}, heights[] = {200, 100, 250};
    for (int i = 0; i < 3; i++) {
        struct canvas *c = open_canvas(
            (struct canvas_options){.format = CANVAS_PNG, .scale = scales[i], .width = 200.5});
        draw_all(c, 5);
        struct str png = finish(c);
        assert_memory_equal(png.data, "\x89PNG\r\n\x1a\n", 8);
        assert_int_equal(big_endian(png.data + 16), widths[i]);
        assert_int_equal(big_endian(png.data + 20), heights[i]);
        str_release(&png);
    }
}

static size_t count_pages(const struct str *pdf)
{
    size_t n = 0;
    const char *p = pdf->data, *end = pdf->data + pdf->length;
    while ((p = memmem(p, (size_t)(end - p), "/Type /Page", 11)) != NULL) {
        p += 11;
        n += *p != 's';
    }
    return n;
}

static void test_pdf_has_a_page_for_each_call_and_no_date(void **state)
{
    (void)state;
    struct canvas *c = open_canvas((struct canvas_options){.format = CANVAS_PDF, .title = "t"});
    draw_all(c, 5);
    canvas_page(c, 300, 120);
    draw_all(c, 6);
    canvas_page(c, 100, 90);
    struct str pdf = finish(c);
    assert_memory_equal(pdf.data, "%PDF-", 5);
    assert_int_equal(count_pages(&pdf), 3);
    assert_null(memmem(pdf.data, pdf.length, "CreationDate", 12));
    assert_non_null(memmem(pdf.data, pdf.length, "0 0 300 120", 11));
    str_release(&pdf);
}

static void test_the_same_drawing_gives_the_same_bytes(void **state)
{
    (void)state;
    for (int format = 0; format < CANVAS_FORMATS; format++) {
        struct str out[2];
        for (int i = 0; i < 2; i++) {
            struct canvas *c = open_canvas((struct canvas_options){
                .format = (enum canvas_format)format, .title = "t", .description = "d"});
            draw_all(c, 77);
            out[i] = finish(c);
        }
        assert_int_equal(out[0].length, out[1].length);
        assert_memory_equal(out[0].data, out[1].data, out[0].length);
        str_release(&out[0]);
        str_release(&out[1]);
    }
}

static void test_sizes_that_make_no_picture_are_refused(void **state)
{
    (void)state;
    static const double sizes[][2] = {{0, 10}, {10, -1}, {NAN, 10}, {10, 1e6}, {INFINITY, 10}};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        struct canvas *c = NULL;
        struct canvas_options o = {.width = sizes[i][0], .height = sizes[i][1]};
        assert_int_equal(canvas_new(&c, &o, NULL), ERR_USAGE);
        assert_null(c);
    }
    struct canvas *c = NULL;
    struct canvas_options o = {.format = CANVAS_PNG, .width = 14000, .height = 10, .scale = 2};
    struct err err = {0};
    assert_int_equal(canvas_new(&c, &o, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "28000"));
}

static void test_a_file_that_cannot_be_written_leaves_nothing(void **state)
{
    (void)state;
    char dir[] = "/tmp/moqa-canvas-XXXXXX", path[128];
    assert_non_null(mkdtemp(dir));
    for (int format = 0; format < CANVAS_FORMATS; format++) {
        struct err err = {0};
        struct canvas *c =
            open_canvas((struct canvas_options){.format = (enum canvas_format)format});
        draw_all(c, 2);
        snprintf(path, sizeof path, "%s/none/a.%s", dir, canvas_format_names[format]);
        assert_true(canvas_finish_file(c, path, &err) < 0);
        assert_memory_equal(err.file, path, strlen(path)); /* or its temporary */
        canvas_free(c);
    }
    assert_int_equal(rmdir(dir), 0); /* it is empty */
}

static double luminance(unsigned rgb)
{
    double sum = 0;
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    for (int i = 0; i < 3; i++) {
        double v = (rgb >> (16 - 8 * i) & 255) / 255.0;
        sum += weight[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

static double contrast(unsigned a, unsigned b)
{
    double x = luminance(a), y = luminance(b);
    return (fmax(x, y) + 0.05) / (fmin(x, y) + 0.05);
}

static void test_colours_can_be_read_on_their_paper(void **state)
{
    (void)state;
    static const uint16_t texts[] = {STYLE_DEFAULT, STYLE_TEXT_DIM, STYLE_TITLE, STYLE_AXIS,
                                     STYLE_MARKER,  STYLE_CURVE,    STYLE_CURSOR};
    for (int dark = 0; dark < 2; dark++) {
        unsigned paper = canvas_colour(CANVAS_PAPER, dark);
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
            assert_true(contrast(canvas_colour(texts[i], dark), paper) >= 4.5);
        for (uint16_t i = 0; i < 8; i++)
            assert_true(contrast(canvas_colour((uint16_t)(STYLE_SERIES + i), dark), paper) >= 2.7);
        for (uint16_t i = 1; i < 3; i++)
            assert_true(contrast(canvas_colour((uint16_t)(STYLE_GROUP + i), dark), paper) >= 3);
    }
    for (unsigned i = 0; i < 256; i++) {
        uint16_t code = (uint16_t)(STYLE_RAMP + i);
        assert_true(
            contrast(canvas_colour(canvas_ink_on(code), false), canvas_colour(code, false)) >= 4);
    }
}

static void test_ramp_and_bits_fall_or_rise_in_grey(void **state)
{
    (void)state;
    static const uint16_t bits[] = {2, 3, 4, 8, 16};
    for (unsigned i = 8; i < 256; i += 8)
        assert_true(luminance(canvas_colour((uint16_t)(STYLE_RAMP + i), false)) >
                    luminance(canvas_colour((uint16_t)(STYLE_RAMP + i - 8), false)));
    for (int i = 1; i < 5; i++)
        assert_true(contrast(canvas_colour((uint16_t)(STYLE_BITS + bits[i]), false),
                             canvas_colour((uint16_t)(STYLE_BITS + bits[i - 1]), false)) > 1.35);
    for (int dark = 0; dark < 2; dark++)
        assert_true(contrast(canvas_colour(STYLE_GROUP + 1, dark),
                             canvas_colour(STYLE_GROUP + 2, dark)) > 1.35);
}

static void test_text_is_measured_by_its_size_and_letters(void **state)
{
    (void)state;
    for (int format = 0; format < CANVAS_FORMATS; format++) {
        struct canvas *c =
            open_canvas((struct canvas_options){.format = (enum canvas_format)format});
        struct canvas_font f = {.size = 8}, big = {.size = 16};
        double narrow = canvas_text_width(c, "iiii", f), wide = canvas_text_width(c, "WWWW", f);
        assert_true(narrow > 4 && wide > 1.5 * narrow && wide < 50);
        assert_true(fabs(canvas_text_width(c, "WWWW", big) - 2 * wide) < 0.05 * wide);
        assert_true(canvas_text_width(c, "", f) == 0);
        canvas_free(c);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format_follows_the_ending),
        cmocka_unit_test(test_svg_is_well_formed_in_every_theme),
        cmocka_unit_test(test_text_stays_text_and_is_sanitized),
        cmocka_unit_test(test_auto_follows_the_page_and_fixed_themes_need_no_style),
        cmocka_unit_test(test_png_has_the_size_asked_for),
        cmocka_unit_test(test_pdf_has_a_page_for_each_call_and_no_date),
        cmocka_unit_test(test_the_same_drawing_gives_the_same_bytes),
        cmocka_unit_test(test_sizes_that_make_no_picture_are_refused),
        cmocka_unit_test(test_a_file_that_cannot_be_written_leaves_nothing),
        cmocka_unit_test(test_colours_can_be_read_on_their_paper),
        cmocka_unit_test(test_ramp_and_bits_fall_or_rise_in_grey),
        cmocka_unit_test(test_text_is_measured_by_its_size_and_letters),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
