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
#include "ui/chart/chart.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ticks_of_a_histogram_stand_at_the_top_of_bars_of_their_height),
        cmocka_unit_test(test_clicks_on_a_heat_map_reach_every_row_and_only_the_one_under_them),
        cmocka_unit_test(test_a_second_click_takes_the_lower_of_two_rows),
        cmocka_unit_test(test_zoom_makes_tiles_larger_and_shows_fewer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
