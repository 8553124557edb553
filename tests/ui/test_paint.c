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
#include "ui/figure/paint.h"
#include "xml_check.h"

static const struct paint_options plain = {.with_title = true};

static struct str paint(const struct figure *f, struct paint_options o)
{
    struct str out = {0};
    struct err err = {0};
    if (paint_bytes(&out, CANVAS_SVG, f, 1, &o, &err) < 0)
        fail_msg("%s", err.message);
    const char *wrong = xml_check(out.data);
    if (wrong)
        fail_msg("%s in %s", wrong, out.data);
    assert_null(strstr(out.data, "nan"));
    return out;
}

static double number(const char *svg, const char *tag, size_t nth, const char *attribute)
{
    double v;
    if (!xml_number(svg, tag, nth, attribute, &v))
        fail_msg("<%s> %zu has no %s", tag, nth, attribute);
    return v;
}

/* --- No two texts meet, none leaves the picture --- */

enum { TEXTS_MAX = 4000 };
struct box {
    double x, y, w, h;
    char text[64];
};

/* `tag` holds one text element alone. */
static void read_text(struct box *b, const char *tag, struct canvas *c)
{
    double size = number(tag, "text", 0, "font-size");
    const char *content = strchr(tag, '>') + 1, *anchor = strstr(tag, "text-anchor=\"");
    const char *turn = strstr(tag, "rotate(");
    snprintf(b->text, sizeof b->text, "%.*s", (int)strcspn(content, "<"), content);
    struct canvas_font font = {.size = size, .bold = strstr(tag, "font-weight") != NULL};
    double width = canvas_text_width(c, b->text, font);
    double x = number(tag, "text", 0, "x"), y = number(tag, "text", 0, "y");
    char a = anchor ? anchor[13] : 's';
    double before = a == 'm' ? width / 2 : a == 'e' ? width : 0;
    b->x = turn ? x - size * 0.75 : x - before;
    b->y = turn ? y - width + before : y - size * 0.75;
    b->w = turn ? size * 0.75 : width;
    b->h = turn ? width : size * 0.75;
}

static size_t read_texts(struct box box[TEXTS_MAX], const char *svg)
{
    struct canvas *c;
    struct canvas_options o = {.width = 10, .height = 10};
    size_t n = 0;
    assert_int_equal(canvas_new(&c, &o, NULL), 0);
    for (const char *p = svg; (p = strchr(p, '<')) != NULL; p++) {
        char tag[512];
        if (strncmp(p, "<text ", 6) != 0)
            continue;
        snprintf(tag, sizeof tag, "%.*s", (int)(strchr(strchr(p, '>'), '<') + 1 - p), p);
        assert_in_range(n, 0, TEXTS_MAX - 1);
        read_text(&box[n++], tag, c);
    }
    canvas_free(c);
    return n;
}

static void check_texts(const struct str *svg)
{
    static struct box box[TEXTS_MAX];
    double w = number(svg->data, "svg", 0, "width"), h = number(svg->data, "svg", 0, "height");
    size_t n = read_texts(box, svg->data);
    assert_true(n > 0);
    for (size_t i = 0; i < n; i++) {
        const struct box *a = &box[i];
        if (a->x < -0.5 || a->y < -0.5 || a->x + a->w > w + 0.5 || a->y + a->h > h + 0.5)
            fail_msg("\"%s\" leaves the picture: %g %g %g %g in %g x %g", a->text, a->x, a->y, a->w,
                     a->h, w, h);
        for (size_t j = 0; j < i; j++) {
            const struct box *b = &box[j];
            /* A power of ten and its exponent stand together. */
            bool power = strcmp(b->text, "10") == 0 || strcmp(a->text, "10") == 0;
            if (!power && a->x < b->x + b->w && b->x < a->x + a->w && a->y < b->y + b->h &&
                b->y < a->y + a->h)
                fail_msg("\"%s\" and \"%s\" overlap", a->text, b->text);
        }
    }
}

/* --- Figures by hand --- */

struct sample {
    double x[3000], y[3000];
    size_t group[3000];
    char name[300][32];
    struct chart_series series[3];
    struct chart_marker marker[4];
    struct chart_bar bar[300];
    struct chart_interval row[300];
    struct chart_tile tile[3000];
    const char *label[300];
    struct figure f;
};

static void fill(struct sample *s, enum figure_kind kind, size_t n, uint64_t seed)
{
    *s = (struct sample){.f = {.kind = kind, .title = "A title", .caption = "Some <words>."}};
    for (size_t i = 0; i < 3000; i++) {
        s->x[i] = exp(9 * picture_random(&seed));
        s->y[i] = exp(4 * picture_gauss(&seed) - 8);
        s->group[i] = 1 + (size_t)(3 * picture_random(&seed));
        s->tile[i] = (struct chart_tile){.text = "4",
                                         .colour = (uint16_t)(STYLE_BITS + 4),
                                         .marked = picture_random(&seed) < 0.1};
        if (picture_random(&seed) < 0.4)
            s->tile[i] = (struct chart_tile){.text = "16", .colour = STYLE_BITS + 16};
    }
    for (size_t i = 0; i < 300; i++) {
        double v[5];
        snprintf(s->name[i], sizeof s->name[i], "expert %zu", i);
        s->label[i] = s->name[i];
        s->bar[i] = (struct chart_bar){.label = s->name[i],
                                       .value = picture_random(&seed),
                                       .missing = i % 11 == 7,
                                       .colour = (uint16_t)(STYLE_GROUP + 1 + i % 4),
                                       .note = i % 3 ? "low" : "class 2 of 3"};
        v[0] = 1 + 20 * picture_random(&seed);
        for (int k = 1; k < 5; k++)
            v[k] = v[k - 1] * (1 + 4 * picture_random(&seed));
        s->row[i] = (struct chart_interval){.label = s->name[i],
                                            .valid = i % 7 != 3,
                                            .lowest = v[0],
                                            .tenth = v[1],
                                            .median = v[2],
                                            .ninetieth = v[3],
                                            .highest = v[4],
                                            .colour = (uint16_t)(STYLE_GROUP + 1 + i % 2),
                                            .note = "high"};
    }
    for (int k = 0; k < 3; k++)
        s->series[k] = (struct chart_series){
            .name = s->name[k],
            .x = s->x + (size_t)k * n,
            .y = s->y + (size_t)k * n,
            .n = n,
            .mark = (enum chart_mark[]){CHART_POINTS, CHART_LINE, CHART_STEPS}[k]};
    for (int k = 0; k < 4; k++)
        s->marker[k] =
            (struct chart_marker){.at = 0.5 + 0.01 * k, .label = s->name[k], .focus = k == 2};
    s->f.title[0] = 'A';
}

static void fill_kind(struct sample *s, enum figure_kind kind, size_t n, uint64_t seed)
{
    fill(s, kind, n, seed);
    struct figure *f = &s->f;
    switch (kind) {
    case FIGURE_XY:
        f->xy = (struct chart_xy){.x = {.log = true, .title = "rank"},
                                  .y = {.log = true, .title = "share"},
                                  .series = s->series,
                                  .count = 3};
        break;
    case FIGURE_HISTOGRAM:
        for (size_t i = 0; i < n; i++)
            s->y[i] = s->y[i] / (1 + s->y[i]);
        f->histogram = (struct chart_histogram){.x = {.title = "S"},
                                                .y = {.title = "experts"},
                                                .value = s->y,
                                                .n = n,
                                                .group = s->group,
                                                .curve = true,
                                                .mu = 0.4,
                                                .sigma = 0.2,
                                                .markers = s->marker,
                                                .marker_count = 4};
        break;
    case FIGURE_BARS:
        f->bars = (struct chart_bars){.bar = s->bar, .n = n, .digits = 4};
        break;
    case FIGURE_INTERVALS:
        f->intervals = (struct chart_intervals){
            .x = {.log = true, .title = "rank"}, .row_title = "expert", .row = s->row, .n = n};
        break;
    case FIGURE_HEAT:
        f->heat = (struct chart_heat){.value = s->y,
                                      .rows = n > 50 ? 50 : n,
                                      .cols = n > 50 ? 50 : n,
                                      .hi = 0.01,
                                      .title = "cosine",
                                      .row_title = "expert",
                                      .col_title = "expert"};
        s->y[3] = NAN;
        break;
    case FIGURE_TILES:
        f->tiles = (struct chart_tiles){.tile = s->tile,
                                        .rows = n > 48 ? 48 : n,
                                        .cols = n > 60 ? 60 : n,
                                        .row_title = "layer",
                                        .col_title = "expert"};
        break;
    case FIGURE_KINDS:
        break;
    }
}

static struct sample s;

static void test_texts_never_overlap_nor_leave_the_picture(void **state)
{
    static const double size[][2] = {{0, 0}, {240, 160}, {480, 300}, {1000, 700}};
    static const size_t counts[] = {1, 3, 8, 32, 64, 128};
    (void)state;
    for (int kind = 0; kind < FIGURE_KINDS; kind++)
        for (size_t n = 0; n < sizeof counts / sizeof *counts; n++)
            for (size_t k = 0; k < sizeof size / sizeof *size; k++) {
                struct paint_options o = {
                    .with_title = true, .width = size[k][0], .height = size[k][1]};
                fill_kind(&s, (enum figure_kind)kind, counts[n], 31 * n + (uint64_t)kind);
                struct str svg = paint(&s.f, o);
                check_texts(&svg);
                str_release(&svg);
            }
}

static void test_every_point_is_drawn_inside_the_plot(void **state)
{
    enum { N = 900 };
    (void)state;
    fill_kind(&s, FIGURE_XY, N, 5);
    s.f.xy.count = 1;
    s.f.xy.no_legend = true;
    struct str svg = paint(&s.f, plain);
    double x = number(svg.data, "svg", 1, "x"), y = number(svg.data, "svg", 1, "y");
    double w = number(svg.data, "svg", 1, "width"), h = number(svg.data, "svg", 1, "height");
    size_t n = 0;
    for (const char *p = svg.data; (p = strstr(p, "stroke-linecap=\"round\" d=\"")); p++)
        for (const char *m = p + 26; *m == 'M'; m = strstr(m, "h0") + 2) {
            char *end;
            double px = strtod(m + 1, &end), py = strtod(end, NULL);
            assert_true(px >= x - 0.01 && px <= x + w + 0.01);
            assert_true(py >= y - 0.01 && py <= y + h + 0.01);
            n++;
        }
    assert_int_equal(n, N);
    str_release(&svg);
}

static void test_points_stand_where_the_scale_puts_them(void **state)
{
    static const double x[] = {1, 10, 100, 1000, 0}, y[] = {0, 1, 2, 4, 3};
    static const struct chart_series series = {.x = x, .y = y, .n = 5, .mark = CHART_POINTS};
    struct figure f = {.kind = FIGURE_XY,
                       .xy = {.x = {.log = true}, .series = &series, .count = 1}};
    (void)state;
    struct str svg = paint(&f, plain);
    double left = number(svg.data, "svg", 1, "x"), w = number(svg.data, "svg", 1, "width");
    double top = number(svg.data, "svg", 1, "y"), h = number(svg.data, "svg", 1, "height");
    const char *d = strstr(svg.data, "stroke-linecap=\"round\" d=\"");
    assert_non_null(d);
    d += 26;
    for (int i = 0; i < 4; i++) {
        char *end;
        assert_int_equal(*d, 'M');
        assert_true(fabs(strtod(d + 1, &end) - (left + w * i / 3)) < 0.011);
        assert_true(fabs(strtod(end, &end) - (top + h * (1 - y[i] / 4))) < 0.011);
        d = end + 2;
    }
    assert_int_equal(*d, '"'); /* the one at 0 has no place, and that is said */
    assert_non_null(strstr(svg.data, ">1 not on the logarithmic axis<"));
    str_release(&svg);
}

/* The x of the text that begins like that. */
static double text_x(const struct str *svg, const char *begin)
{
    const char *p = strstr(svg->data, begin), *x;
    assert_non_null(p);
    while (*p != '<')
        p--;
    x = strstr(p, " x=\"");
    assert_non_null(x);
    return strtod(x + 4, NULL);
}

static void test_a_label_of_a_line_leaves_the_points_in_sight(void **state)
{
    (void)state;
    for (int right = 0; right <= 1; right++) {
        double x = right ? 9.8 : 0.2, y = 5.2;
        struct chart_series series = {.x = &x, .y = &y, .n = 1, .mark = CHART_POINTS, .big = true};
        struct chart_marker line = {.horizontal = true, .at = 5, .label = "original 5"};
        struct figure f = {.kind = FIGURE_XY,
                           .xy = {.x = {.lo = 0, .hi = 10},
                                  .y = {.lo = 0, .hi = 10},
                                  .series = &series,
                                  .count = 1,
                                  .markers = &line,
                                  .marker_count = 1}};
        struct str svg = paint(&f, plain);
        double left = number(svg.data, "svg", 1, "x"), w = number(svg.data, "svg", 1, "width");
        assert_true((text_x(&svg, ">original") > left + w / 2) == (right == 0));
        str_release(&svg);
    }
}

static void test_log_axes_have_minor_ticks_and_powers(void **state)
{
    static const double x[] = {1, 100000}, y[] = {1, 2};
    static const struct chart_series series = {.x = x, .y = y, .n = 2};
    struct figure f = {.kind = FIGURE_XY,
                       .xy = {.x = {.log = true}, .series = &series, .count = 1}};
    (void)state;
    struct str log = paint(&f, plain);
    f.xy.x.log = false;
    struct str linear = paint(&f, plain);
    size_t powers = 0;
    for (const char *p = log.data; (p = strstr(p, ">10</text>")); p++)
        powers++;
    assert_int_equal(powers, 6);
    assert_null(strstr(linear.data, ">10</text>"));
    assert_true(xml_count(log.data, "path") >= xml_count(linear.data, "path") + 5 * 8 - 20);
    str_release(&log);
    str_release(&linear);
}

static void test_bars_of_a_histogram_hold_every_value(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed < 8; seed++) {
        fill_kind(&s, FIGURE_HISTOGRAM, 64, seed);
        s.f.histogram.y = (struct chart_axis){.lo = 0, .hi = 64};
        struct str svg = paint(&s.f, plain);
        double sum = 0, top = number(svg.data, "svg", 1, "y");
        size_t n = xml_count(svg.data, "rect");
        for (size_t i = 1; i < n; i++)
            if (number(svg.data, "rect", i, "y") >= top) /* above it are the legend's */
                sum += number(svg.data, "rect", i, "height");
        /* 64 values, one upon the other, fill the axis from 0 to 64. */
        assert_true(fabs(sum - number(svg.data, "svg", 1, "height")) < 0.011 * (double)n);
        str_release(&svg);
    }
}

static void test_marked_tiles_and_missing_values_can_be_seen(void **state)
{
    (void)state;
    fill_kind(&s, FIGURE_TILES, 16, 3);
    struct str svg = paint(&s.f, plain);
    assert_non_null(strstr(svg.data, ">4 bits<"));
    assert_non_null(strstr(svg.data, ">16 bits<"));
    assert_non_null(strstr(svg.data, ">pinned<"));
    str_release(&svg);
    for (size_t i = 0; i < 3000; i++)
        s.tile[i].marked = false;
    svg = paint(&s.f, plain);
    assert_null(strstr(svg.data, ">pinned<"));
    str_release(&svg);
    fill_kind(&s, FIGURE_HEAT, 8, 3);
    svg = paint(&s.f, plain);
    assert_non_null(strstr(svg.data, ">\xe2\x80\x93<"));
    str_release(&svg);
}

static void test_nothing_to_draw_is_said(void **state)
{
    (void)state;
    for (int kind = 0; kind < FIGURE_KINDS; kind++) {
        fill_kind(&s, (enum figure_kind)kind, 0, 9);
        struct str svg = paint(&s.f, plain);
        if (kind != FIGURE_XY || s.series[0].n == 0)
            assert_non_null(strstr(svg.data, ">no data<"));
        str_release(&svg);
    }
}

static void test_files_have_the_format_of_their_name(void **state)
{
    static const char *const start[] = {"<svg ", "%PDF-", "\x89PNG"};
    char dir[] = "/tmp/moqa-paint-XXXXXX", path[128];
    (void)state;
    assert_non_null(mkdtemp(dir));
    fill_kind(&s, FIGURE_INTERVALS, 20, 4);
    for (int format = 0; format < CANVAS_FORMATS; format++) {
        struct err err = {0};
        char *bytes;
        size_t size;
        snprintf(path, sizeof path, "%s/a.%s", dir, canvas_format_names[format]);
        assert_int_equal(paint_file(path, &s.f, &plain, &err), 0);
        assert_int_equal(str_read_file(&bytes, &size, path, 1 << 24, &err), 0);
        assert_memory_equal(bytes, start[format], strlen(start[format]));
        free(bytes);
        assert_int_equal(unlink(path), 0);
    }
    snprintf(path, sizeof path, "%s/a.gif", dir);
    assert_int_equal(paint_file(path, &s.f, &plain, NULL), ERR_USAGE);
    snprintf(path, sizeof path, "%s/none/a.pdf", dir);
    assert_true(paint_pages(path, &s.f, 1, &plain, NULL) < 0);
    assert_int_equal(rmdir(dir), 0);
}

static void test_lists_get_the_height_that_they_need(void **state)
{
    double w, few, many;
    (void)state;
    fill_kind(&s, FIGURE_INTERVALS, 16, 4);
    paint_size(&w, &few, &s.f, &plain);
    s.f.intervals.n = 128;
    paint_size(&w, &many, &s.f, &plain);
    assert_true(many > few + 100 * 8);
    fill_kind(&s, FIGURE_XY, 16, 4);
    paint_size(&w, &few, &s.f, &plain);
    assert_true(w == 480 && few == 300);
    paint_size(&w, &few, &s.f, &(struct paint_options){.width = 111, .height = 222});
    assert_true(w == 111 && few == 222);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_texts_never_overlap_nor_leave_the_picture),
        cmocka_unit_test(test_every_point_is_drawn_inside_the_plot),
        cmocka_unit_test(test_points_stand_where_the_scale_puts_them),
        cmocka_unit_test(test_a_label_of_a_line_leaves_the_points_in_sight),
        cmocka_unit_test(test_log_axes_have_minor_ticks_and_powers),
        cmocka_unit_test(test_bars_of_a_histogram_hold_every_value),
        cmocka_unit_test(test_marked_tiles_and_missing_values_can_be_seen),
        cmocka_unit_test(test_nothing_to_draw_is_said),
        cmocka_unit_test(test_files_have_the_format_of_their_name),
        cmocka_unit_test(test_lists_get_the_height_that_they_need),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
