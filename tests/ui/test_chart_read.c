/* What is read off a chart: where a tick stands, what lies under the mouse, what a zoom shows. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "picture.h"
#include "ui/chart/chart_draw.h"

enum { N = 16 };

static const struct style_look dark = {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};

static bool is_at(const struct cells *c, int x, int y, const char *glyph)
{
    const struct cell *cell = cells_at(c, x, y);
    return cell && strcmp(cell->glyph, glyph) == 0;
}

/* The number written left of the axis in a row; -1: none. */
static int tick_in_row(const struct cells *c, int left, int y)
{
    char text[16] = "";
    size_t used = 0;
    for (int x = 0; x < left && used < sizeof text - 1; x++) {
        char ch = cells_at(c, x, y)->glyph[0];
        if (ch >= '0' && ch <= '9')
            text[used++] = ch;
    }
    return used ? atoi(text) : -1;
}

static void test_ticks_of_a_histogram_stand_at_the_top_of_bars_of_their_height(void **state)
{
    static double value[N * N];
    size_t n = 0;
    (void)state;
    for (int k = 0; k < 10; k++) /* k + 1 values in the k-th of ten bins */
        for (int i = 0; i <= k; i++)
            value[n++] = k + 0.5;
    for (int h = 12; h < 60; h++) {
        struct chart_histogram chart = {
            .x = {.lo = 0, .hi = 10}, .y = {.lo = 0, .hi = 10}, .value = value, .n = n, .bins = 10};
        struct chart_map map;
        struct cells c;
        int zeros = 0;
        assert_int_equal(cells_init(&c, 64, h, NULL), 0);
        chart_histogram(&c, cells_area(&c), &dark, &chart, &map);
        assert_int_equal(map.plot.w, 60);
        int bottom = map.plot.y + map.plot.h, bar = map.plot.w / 10;
        for (int y = 0; y <= bottom; y++) {
            int tick = tick_in_row(&c, map.plot.x - 1, y);
            zeros += tick == 0;
            if (tick == 0)
                assert_int_equal(y, bottom);
            if (tick <= 0)
                continue;
            /* At most half a row from the edge of that bar. */
            double edge = bottom - (double)tick / 10 * map.plot.h;
            assert_true(fabs(y - edge) <= 0.5);
            int column = map.plot.x + (tick - 1) * bar + bar / 2;
            if (y + 1 < bottom)
                assert_true(is_at(&c, column, y + 1, "█"));
        }
        assert_int_equal(zeros, 1);
        cells_release(&c);
    }
}

static struct chart_heat heat_of(double *value, size_t n)
{
    uint64_t seed = 99;
    for (size_t i = 0; i < n * n; i++)
        value[i] = picture_random(&seed);
    return (struct chart_heat){.value = value, .rows = n, .cols = n, .lo = 0, .hi = 1};
}

static void test_clicks_on_a_heat_map_reach_every_row_and_only_the_one_under_them(void **state)
{
    static double value[N * N];
    (void)state;
    for (size_t n = 1; n <= N; n++)
        for (int h = 6; h < 40; h++) {
            struct chart_heat heat = heat_of(value, n);
            struct chart_map map;
            struct cells c;
            bool hit[N] = {false};
            size_t rows = 0;
            assert_int_equal(cells_init(&c, 50, h, NULL), 0);
            chart_heat(&c, cells_area(&c), &dark, &heat, &map);
            double a_row = (map.y.lo - map.y.hi) / map.plot.h; /* rows in a character */
            for (int y = map.plot.y; y < map.plot.y + map.plot.h; y++)
                for (size_t current = 0; current < n; current++) {
                    size_t row;
                    double top = (y - map.plot.y) * a_row;
                    assert_true(chart_heat_row(&map, y, current, &row));
                    assert_true((double)row + 1 > top - 1e-9 && (double)row < top + a_row + 1e-9);
                    if (row < n)
                        hit[row] = true;
                }
            while (rows < n && hit[rows])
                rows++;
            assert_true(rows == n || (double)rows >= floor(map.y.lo));
            size_t row;
            assert_false(chart_heat_row(&map, map.plot.y + map.plot.h, 0, &row));
            cells_release(&c);
        }
}

static void test_a_second_click_takes_the_lower_of_two_rows(void **state)
{
    static double value[N * N];
    struct chart_heat heat = heat_of(value, N);
    struct chart_map map;
    struct cells c;
    size_t row;
    (void)state;
    assert_int_equal(cells_init(&c, 40, N / 2 + 2, NULL), 0);
    chart_heat(&c, cells_area(&c), &dark, &heat, &map);
    assert_int_equal(map.plot.h, N / 2);
    for (size_t i = 0; i < N; i += 2) {
        int y = map.plot.y + (int)i / 2;
        assert_true(chart_heat_row(&map, y, N, &row));
        assert_int_equal(row, i);
        assert_true(chart_heat_row(&map, y, i, &row));
        assert_int_equal(row, i + 1);
        assert_true(chart_heat_row(&map, y, i + 1, &row));
        assert_int_equal(row, i);
    }
    cells_release(&c);
}

static void test_zoom_makes_tiles_larger_and_shows_fewer(void **state)
{
    static double value[N * N];
    static struct chart_tile tile[N * N];
    double seen[2] = {INFINITY, INFINITY};
    (void)state;
    for (size_t i = 0; i < N * N; i++)
        snprintf(tile[i].text, sizeof tile[i].text, "4");
    for (int zoom = 0; zoom <= 4; zoom++) {
        struct chart_heat heat = heat_of(value, N);
        struct chart_tiles tiles = {.tile = tile, .rows = N, .cols = N, .zoom = zoom};
        struct chart_map map[2];
        struct cells c;
        assert_int_equal(cells_init(&c, 50, 16, NULL), 0);
        heat.zoom = zoom;
        chart_heat(&c, cells_area(&c), &dark, &heat, &map[0]);
        chart_tiles(&c, cells_area(&c), &dark, &tiles, &map[1]);
        for (int k = 0; k < 2; k++) {
            double tiles_seen = (map[k].x.hi - map[k].x.lo) * (map[k].y.lo - map[k].y.hi);
            assert_true(tiles_seen >= 1 && tiles_seen <= seen[k] &&
                        (zoom < 2 || tiles_seen < N * N));
            seen[k] = tiles_seen;
        }
        cells_release(&c);
    }
}

/* How many cells of the plot have this colour. */
static size_t cells_of(const struct cells *c, const struct chart_map *map, uint16_t colour)
{
    size_t n = 0;
    for (int y = map->plot.y; y < map->plot.y + map->plot.h; y++)
        for (int x = map->plot.x; x < map->plot.x + map->plot.w; x++)
            n += cells_at(c, x, y)->style.fg == colour;
    return n;
}

static void test_what_was_measured_lies_over_what_was_fitted_in_any_order(void **state)
{
    enum { POINTS = 60 };
    static double x[POINTS], y[POINTS];
    (void)state;
    for (int i = 0; i < POINTS; i++)
        x[i] = y[i] = i;
    struct chart_series points = {.x = x, .y = y, .n = POINTS, .mark = CHART_POINTS, .colour = 70};
    struct chart_series line = {.x = x, .y = y, .n = POINTS, .mark = CHART_LINE, .colour = 71};
    size_t alone = 0;
    for (int k = 0; k < 3; k++) {
        struct chart_series series[2] = {k == 1 ? line : points, k == 1 ? points : line};
        struct chart_xy chart = {.series = series, .count = k ? 2 : 1};
        struct chart_map map;
        struct cells c;
        assert_int_equal(cells_init(&c, 50, 18, NULL), 0);
        chart_xy(&c, cells_area(&c), &dark, &chart, &map);
        alone = k ? alone : cells_of(&c, &map, 70);
        assert_true(alone > 30);
        assert_int_equal(cells_of(&c, &map, 70), alone);
        cells_release(&c);
    }
}

static void test_no_curve_nor_line_hides_a_low_bar(void **state)
{
    static const char *const names[] = {"high", "low"};
    static double value[N * N];
    (void)state;
    for (size_t i = 0; i < N * N; i++)
        value[i] = i < 8 ? 9.5 : 0.5;
    for (int h = 10; h < 110; h++) {
        struct chart_marker line = {.at = 9.5, .label = "T", .focus = true};
        struct chart_histogram chart = {.x = {.lo = 0, .hi = 10},
                                        .value = value,
                                        .n = N * N,
                                        .bins = 10,
                                        .curve = true,
                                        .mu = 5,
                                        .sigma = 200,
                                        .group_name = names,
                                        .groups = 2,
                                        .markers = &line,
                                        .marker_count = (size_t)(h % 2)};
        struct chart_map map;
        struct cells c;
        assert_int_equal(cells_init(&c, 60, h / 2 + 5, NULL), 0);
        chart_histogram(&c, cells_area(&c), &dark, &chart, &map);
        int foot = map.plot.y + map.plot.h - 1, x;
        assert_true(chart_map_x(&map, 9.5, &x));
        const struct cell *cell = cells_at(&c, x, foot);
        bool block = strncmp(cell->glyph, "\xe2\x96", 2) == 0;
        if (!block && cell->style.bg != STYLE_SERIES)
            fail_msg("%d rows: \"%s\" hides the bar", h / 2 + 5, cell->glyph);
        cells_release(&c);
    }
}

static void test_points_of_numbers_beside_bars_stand_below_each_other(void **state)
{
    static const struct chart_bar bar[] = {{.label = "a", .value = 0.7},
                                           {.label = "b", .value = 0.05325},
                                           {.label = "c", .value = 0.009513}};
    struct chart_bars chart = {.bar = bar, .n = 3, .digits = 4};
    struct cells c;
    int point = -1;
    (void)state;
    assert_int_equal(cells_init(&c, 40, 3, NULL), 0);
    chart_bars(&c, cells_area(&c), &dark, &chart);
    for (int y = 0; y < 3; y++)
        for (int x = 0; x < 40; x++)
            if (is_at(&c, x, y, ".")) {
                assert_true(point < 0 || x == point);
                point = x;
            }
    assert_true(is_at(&c, point + 5, 2, "1")); /* 0.00951 */
    cells_release(&c);
}

static void test_a_label_of_a_line_leaves_the_points_in_sight(void **state)
{
    (void)state;
    for (int right = 0; right <= 1; right++) {
        double x = right ? 9.5 : 0.5, y = 5;
        struct chart_series series = {.x = &x, .y = &y, .n = 1, .mark = CHART_POINTS, .big = true};
        struct chart_marker line = {.horizontal = true, .at = 5, .label = "original 5"};
        struct chart_xy chart = {.x = {.lo = 0, .hi = 10},
                                 .y = {.lo = 0, .hi = 10},
                                 .series = &series,
                                 .count = 1,
                                 .markers = &line,
                                 .marker_count = 1};
        struct chart_map map;
        struct cells c;
        int at_x, at_y;
        assert_int_equal(cells_init(&c, 50, 12, NULL), 0);
        chart_xy(&c, cells_area(&c), &dark, &chart, &map);
        assert_true(chart_map_x(&map, x, &at_x) && chart_map_y(&map, y, &at_y));
        assert_true(is_at(&c, at_x, at_y, "\u2022"));
        int label = right ? map.plot.x + 1 : map.plot.x + map.plot.w - 11;
        assert_true(is_at(&c, label, at_y, "o"));
        cells_release(&c);
    }
}

static bool is_in_plot(const struct cells *c, struct rect plot, const char *glyph)
{
    for (int y = plot.y; y < plot.y + plot.h; y++)
        for (int x = plot.x; x < plot.x + plot.w; x++)
            if (is_at(c, x, y, glyph))
                return true;
    return false;
}

static void test_letters_of_marks_hide_neither_each_other_nor_behind_the_label(void **state)
{
    static const char *const letter[] = {"P", "M", "U", "A", "B"};
    static const double x[] = {0, 5, 5.01, 5.02, 5, 9, 10}, y[] = {1, 0.5, 0.5, 0.51, 0.5, 0.2, 0};
    struct chart_series series[] = {
        {.x = x + 5, .y = y + 5, .n = 2},
        {.x = x, .y = y, .n = 5, .mark = CHART_POINTS, .big = true, .glyph = letter}};
    struct chart_xy chart = {.x = {.lo = 0, .hi = 10},
                             .y = {.lo = 0, .hi = 1},
                             .series = series,
                             .count = 2,
                             .no_legend = true,
                             .cursor = {true, 8, 0.4, "----------"}};
    (void)state;
    for (int w = 30; w < 90; w += 7) {
        struct chart_map map;
        struct cells c;
        assert_int_equal(cells_init(&c, w, 12, NULL), 0);
        chart_xy(&c, cells_area(&c), &dark, &chart, &map);
        for (size_t i = 0; i < 5; i++)
            if (!is_in_plot(&c, map.plot, letter[i]))
                fail_msg("%s is not in sight at %d columns", letter[i], w);
        assert_true(is_in_plot(&c, map.plot, "-"));
        cells_release(&c);
    }
}

static void test_a_label_stands_between_the_points_of_its_row(void **state)
{
    (void)state;
    double x[2] = {0.5, 9.5}, y[2] = {5, 5};
    struct chart_series series = {.x = x, .y = y, .n = 2, .mark = CHART_POINTS, .big = true};
    struct chart_marker line = {.horizontal = true, .at = 5, .label = "original 5"};
    struct chart_xy chart = {.x = {.lo = 0, .hi = 10},
                             .y = {.lo = 0, .hi = 10},
                             .series = &series,
                             .count = 1,
                             .markers = &line,
                             .marker_count = 1};
    struct chart_map map;
    struct cells c;
    struct str plain = {0};
    int at_x, at_y;
    assert_int_equal(cells_init(&c, 50, 12, NULL), 0);
    chart_xy(&c, cells_area(&c), &dark, &chart, &map);
    for (size_t i = 0; i < 2; i++) {
        assert_true(chart_map_x(&map, x[i], &at_x) && chart_map_y(&map, y[i], &at_y));
        assert_true(is_at(&c, at_x, at_y, "\u2022"));
    }
    cells_plain(&c, &plain);
    assert_non_null(strstr(plain.data, " original 5 "));
    str_release(&plain);
    cells_release(&c);
}

static void test_series_of_points_differ_in_sign_or_colour(void **state)
{
    enum { SERIES = 24 };
    static const struct style_look looks[2] = {{.glyphs = STYLE_BRAILLE}, {.glyphs = STYLE_ASCII}};
    const struct chart_series s = {0};
    (void)state;
    for (size_t l = 0; l < 2; l++)
        for (size_t i = 0; i < SERIES; i++)
            for (size_t k = 0; k < i; k++) {
                bool same_sign =
                    strcmp(chart_point_mark(&looks[l], i), chart_point_mark(&looks[l], k)) == 0;
                assert_false(same_sign && chart_series_colour(&s, i) == chart_series_colour(&s, k));
                assert_false(same_sign && i < 12); /* without colours */
            }
}

static void test_a_legend_tells_groups_and_series_without_colours(void **state)
{
    enum { SERIES = 8 };
    static const struct style_look mono = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_BRAILLE};
    static const char *const names[] = {"high", "class 2 of 3", "low"};
    static const double value[] = {1, 2, 3}, place[SERIES] = {1, 2, 3, 4, 5, 6, 7, 8};
    static const size_t group[] = {3, 2, 1};
    struct chart_histogram histogram = {.value = value,
                                        .n = 3,
                                        .group = group,
                                        .group_name = names,
                                        .groups = 3,
                                        .curve = true,
                                        .mu = 2,
                                        .sigma = 1};
    struct chart_series series[SERIES];
    struct chart_map map;
    struct cells c;
    struct str text = {0};
    (void)state;
    assert_int_equal(cells_init(&c, 60, 16, NULL), 0);
    chart_histogram(&c, cells_area(&c), &mono, &histogram, NULL);
    cells_plain(&c, &text);
    assert_non_null(strstr(str_get(&text), "██ high  ▒▒ class 2 of 3  ░░ low  ── normal"));
    str_release(&text);
    for (size_t i = 0; i < SERIES; i++)
        series[i] = (struct chart_series){
            .x = &place[i], .y = &place[i], .n = 1, .mark = CHART_POINTS, .big = true};
    cells_clear(&c);
    chart_xy(&c, cells_area(&c), &mono, &(struct chart_xy){.series = series, .count = SERIES},
             &map);
    for (size_t i = 0; i < SERIES; i++)
        for (size_t k = 0; k < i; k++) {
            int x[2], y[2];
            chart_map_x(&map, place[i], &x[0]);
            chart_map_y(&map, place[i], &y[0]);
            chart_map_x(&map, place[k], &x[1]);
            chart_map_y(&map, place[k], &y[1]);
            assert_false(is_at(&c, x[0], y[0], cells_at(&c, x[1], y[1])->glyph));
        }
    cells_release(&c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks_of_a_histogram_stand_at_the_top_of_bars_of_their_height),
        cmocka_unit_test(test_clicks_on_a_heat_map_reach_every_row_and_only_the_one_under_them),
        cmocka_unit_test(test_a_second_click_takes_the_lower_of_two_rows),
        cmocka_unit_test(test_zoom_makes_tiles_larger_and_shows_fewer),
        cmocka_unit_test(test_what_was_measured_lies_over_what_was_fitted_in_any_order),
        cmocka_unit_test(test_no_curve_nor_line_hides_a_low_bar),
        cmocka_unit_test(test_points_of_numbers_beside_bars_stand_below_each_other),
        cmocka_unit_test(test_a_label_of_a_line_leaves_the_points_in_sight),
        cmocka_unit_test(test_letters_of_marks_hide_neither_each_other_nor_behind_the_label),
        cmocka_unit_test(test_a_label_stands_between_the_points_of_its_row),
        cmocka_unit_test(test_series_of_points_differ_in_sign_or_colour),
        cmocka_unit_test(test_a_legend_tells_groups_and_series_without_colours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
