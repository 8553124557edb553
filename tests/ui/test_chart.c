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
#include "ui/chart/chart_draw.h"

enum { TYPES = 2000, EXPERTS = 48, ROUNDS = 20000 };

static const struct style_look dark = {STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE};
static const struct style_look block = {STYLE_DARK, STYLE_DEPTH_16, STYLE_BLOCK};
static const struct style_look mono = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_BRAILLE};
static const struct style_look ascii = {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII};

/* A made-up layer: significance, its class, intervals of ranks, and a rank-frequency curve. */
static struct {
    double count[TYPES], fit[TYPES], s[EXPERTS], mu, sigma;
    size_t group[EXPERTS];
    char label[EXPERTS][8];
    struct chart_interval row[EXPERTS];
    double cosine[EXPERTS * EXPERTS];
} data;

static int fill_data(void **state)
{
    uint64_t seed = 424242;
    (void)state;
    for (size_t i = 0; i < TYPES; i++) {
        data.fit[i] = 9000 / pow((double)(i + 1), 1.02);
        data.count[i] = floor(data.fit[i] * exp(0.25 * picture_gauss(&seed)));
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        data.s[e] = 0.14 + 0.04 * picture_gauss(&seed);
        data.mu += data.s[e] / EXPERTS;
    }
    for (size_t e = 0; e < EXPERTS; e++) {
        data.sigma += (data.s[e] - data.mu) * (data.s[e] - data.mu) / EXPERTS;
        data.group[e] = data.s[e] >= data.mu ? 1 : 2;
        snprintf(data.label[e], sizeof data.label[e], "%zu", e);
        double first = 1 + floor(12 * picture_random(&seed));
        data.row[e] = (struct chart_interval){.label = data.label[e],
                                              .valid = e != 3,
                                              .lowest = first,
                                              .tenth = first + floor(90 * picture_random(&seed)),
                                              .median = 150 + floor(400 * picture_random(&seed)),
                                              .ninetieth = 700 + floor(700 * picture_random(&seed)),
                                              .highest = 1500 + floor(500 * picture_random(&seed)),
                                              .colour = (uint16_t)(STYLE_GROUP + data.group[e]),
                                              .note = data.group[e] == 1 ? "high" : "low"};
    }
    data.sigma = sqrt(data.sigma);
    for (size_t i = 0; i < EXPERTS; i++)
        for (size_t j = 0; j <= i; j++) {
            double v = i == j ? 1 : 0.2 + 0.5 * picture_random(&seed);
            data.cosine[i * EXPERTS + j] = data.cosine[j * EXPERTS + i] = v;
        }
    return 0;
}

static void make(struct cells *c, int w, int h)
{
    struct err err = {0};
    if (cells_init(c, w, h, &err) < 0)
        fail_msg("%s", err.message);
}

/* --- the charts under test, each drawn into a rectangle --- */

static void draw_zipf(struct cells *c, struct rect r, const struct style_look *look)
{
    const struct chart_series series[] = {
        {.name = "tokens", .y = data.count, .n = TYPES, .mark = CHART_POINTS},
        {.name = "Zipf, beta = 1.02", .y = data.fit, .n = TYPES}};
    struct chart_xy chart = {.x = {.log = true, .title = "rank"},
                             .y = {.log = true, .title = "occurrences"},
                             .series = series,
                             .count = 2};
    chart_xy(c, r, look, &chart, NULL);
}

static void draw_line(struct cells *c, struct rect r, const struct style_look *look)
{
    const struct chart_series series[] = {{.name = "S by expert", .y = data.s, .n = EXPERTS}};
    const struct chart_marker marker[] = {{.at = 12, .label = "expert 12"},
                                          {.at = 14, .label = "the next one"},
                                          {.horizontal = true, .at = data.mu, .label = "mean"}};
    struct chart_xy chart = {.x = {.title = "expert", .integer = true},
                             .y = {.title = "significance"},
                             .series = series,
                             .count = 1,
                             .markers = marker,
                             .marker_count = 3,
                             .cursor = {.shown = true, .x = 30, .y = 0.15}};
    chart_xy(c, r, look, &chart, NULL);
}

static void draw_histogram(struct cells *c, struct rect r, const struct style_look *look)
{
    static const size_t selected = 5;
    const struct chart_marker marker[] = {{.at = data.mu, .label = "T = mu"},
                                          {.at = data.mu + 0.004, .label = "break"}};
    struct chart_histogram chart = {.x = {.title = "significance"},
                                    .y = {.title = "experts"},
                                    .value = data.s,
                                    .n = EXPERTS,
                                    .group = data.group,
                                    .curve = true,
                                    .mu = data.mu,
                                    .sigma = data.sigma,
                                    .markers = marker,
                                    .marker_count = 2,
                                    .selected = &selected};
    chart_histogram(c, r, look, &chart, NULL);
}

static void draw_intervals(struct cells *c, struct rect r, const struct style_look *look)
{
    struct chart_intervals chart = {.x = {.log = true, .title = "rank"},
                                    .row = data.row,
                                    .n = EXPERTS,
                                    .first = 2,
                                    .has_selected = true,
                                    .selected = 4};
    chart_intervals(c, r, look, &chart, NULL);
}

static void draw_heat(struct cells *c, struct rect r, const struct style_look *look)
{
    struct chart_heat chart = {.value = data.cosine,
                               .rows = EXPERTS,
                               .cols = EXPERTS,
                               .lo = 0,
                               .hi = 1,
                               .title = "cosine"};
    chart_heat(c, r, look, &chart, NULL);
}

static void draw_eight(struct cells *c, struct rect r, const struct style_look *look)
{
    static double eight[64];
    for (size_t i = 0; i < 64; i++)
        eight[i] = data.cosine[i / 8 * EXPERTS + i % 8];
    eight[10] = NAN;
    struct chart_heat chart = {.value = eight, .rows = 8, .cols = 8, .hi = 1, .title = "cosine"};
    chart_heat(c, r, look, &chart, NULL);
}

static void draw_bars(struct cells *c, struct rect r, const struct style_look *look)
{
    static const struct chart_bar bar[] = {
        {.label = "fp16", .value = 16, .note = "ppl 5.21"},
        {.label = "a method with a long name", .value = 3.125, .note = "ppl 5.64"},
        {.label = "gptq-2", .value = 2.25, .note = "ppl 9.80"},
        {.label = "failed", .missing = true}};
    struct chart_bars chart = {.bar = bar, .n = 4, .has_selected = true, .selected = 1};
    chart_bars(c, r, look, &chart);
}

static void draw_tiles(struct cells *c, struct rect r, const struct style_look *look)
{
    static struct chart_tile tile[6 * EXPERTS];
    for (size_t i = 0; i < 6 * EXPERTS; i++) {
        unsigned bits = data.group[i % EXPERTS] == 1 ? i % 17 ? 4 : 16 : 2;
        snprintf(tile[i].text, sizeof tile[i].text, "%u", bits);
        tile[i].colour = (uint16_t)(STYLE_BITS + bits);
        tile[i].marked = bits == 16;
    }
    struct chart_tiles chart = {.tile = tile,
                                .rows = 6,
                                .cols = EXPERTS,
                                .row_title = "layer",
                                .col_title = "expert",
                                .has_selected = true,
                                .selected_row = 2,
                                .selected_col = 3};
    chart_tiles(c, r, look, &chart, NULL);
}

static const struct {
    const char *name;
    void (*draw)(struct cells *c, struct rect r, const struct style_look *look);
} charts[] = {{"zipf", draw_zipf},           {"line", draw_line},  {"histogram", draw_histogram},
              {"intervals", draw_intervals}, {"heat", draw_heat},  {"eight", draw_eight},
              {"bars", draw_bars},           {"tiles", draw_tiles}};

enum { CHARTS = sizeof charts / sizeof *charts };

/* --- pictures --- */

static void assert_pictures(const struct style_look *look, const char *suffix, int w, int h)
{
    for (size_t i = 0; i < CHARTS; i++) {
        struct cells c;
        char name[64];
        make(&c, w, h);
        charts[i].draw(&c, cells_area(&c), look);
        snprintf(name, sizeof name, "%s-%dx%d-%s", charts[i].name, w, h, suffix);
        picture_assert_cells(name, &c);
        cells_release(&c);
    }
}

static void test_charts_look_as_they_were_approved_at_80x24(void **state)
{
    (void)state;
    assert_pictures(&dark, "braille", 80, 24);
}

static void test_charts_look_as_they_were_approved_at_40x10(void **state)
{
    (void)state;
    assert_pictures(&dark, "braille", 40, 10);
}

static void test_charts_look_as_they_were_approved_in_ascii(void **state)
{
    (void)state;
    assert_pictures(&ascii, "ascii", 60, 16);
}

static void test_charts_look_as_they_were_approved_without_colours(void **state)
{
    (void)state;
    assert_pictures(&mono, "mono", 60, 16);
}

static void test_curves_look_as_they_were_approved_in_blocks(void **state)
{
    struct cells c;
    (void)state;
    make(&c, 60, 16);
    draw_zipf(&c, cells_area(&c), &block);
    picture_assert_cells("zipf-60x16-block", &c);
    cells_release(&c);
}

static void test_ascii_charts_hold_only_ascii(void **state)
{
    (void)state;
    for (size_t i = 0; i < CHARTS; i++)
        for (int w = 10; w < 120; w += 11) {
            struct cells c;
            make(&c, w, w / 3);
            charts[i].draw(&c, cells_area(&c), &ascii);
            for (int k = 0; k < w * (w / 3); k++)
                assert_true((unsigned char)c.cell[k].glyph[0] < 0x80);
            cells_release(&c);
        }
}

static void test_charts_stay_inside_their_rectangle_at_any_size(void **state)
{
    static const struct style_look *const look[] = {&dark, &block, &mono, &ascii};
    uint64_t seed = 99;
    (void)state;
    for (int round = 0; round < 1500; round++) {
        struct cells c;
        int w = (int)(picture_random(&seed) * 70), h = (int)(picture_random(&seed) * 24);
        struct rect r = {7, 5, w, h};
        make(&c, w + 14, h + 10);
        cells_fill(&c, cells_area(&c), "@", STYLE(STYLE_ERROR));
        struct rect clip = c.clip;
        charts[round % CHARTS].draw(&c, r, look[round / CHARTS % 4]);
        assert_memory_equal(&clip, &c.clip, sizeof clip);
        for (int y = 0; y < c.h; y++)
            for (int x = 0; x < c.w; x++)
                if (!rect_contains(r, x, y) && strcmp(cells_at(&c, x, y)->glyph, "@") != 0)
                    fail_msg("%s at %dx%d drew at %d,%d", charts[round % CHARTS].name, w, h, x, y);
        cells_release(&c);
    }
}

static void test_charts_take_any_numbers(void **state)
{
    static const double odd[] = {NAN,   INFINITY, -INFINITY, 0, -0.0, 1e-310, -5,
                                 1e308, -1e308,   1,         1, 1e-9, 3.5,    1e15};
    uint64_t seed = 5;
    (void)state;
    for (int round = 0; round < 2000; round++) {
        struct cells c;
        double x[9], y[9];
        size_t n = (size_t)(picture_random(&seed) * 10);
        for (size_t i = 0; i < n; i++) {
            x[i] = odd[(size_t)(picture_random(&seed) * 14)];
            y[i] = odd[(size_t)(picture_random(&seed) * 14)];
        }
        struct chart_series series = {.name = "odd", .x = x, .y = y, .n = n};
        struct chart_xy xy = {.x = {.log = round & 1},
                              .y = {.log = round & 2},
                              .series = &series,
                              .count = 1,
                              .cursor = {.shown = true, .x = odd[round % 14]}};
        struct chart_histogram histogram = {.x = {.log = round & 4},
                                            .value = x,
                                            .n = n,
                                            .curve = true,
                                            .mu = odd[round % 14],
                                            .sigma = 1};
        struct chart_heat heat = {.value = y, .rows = n ? 1 : 0, .cols = n, .lo = x[0], .hi = 1};
        if (n == 0)
            heat.lo = 0;
        make(&c, 50, 14);
        chart_xy(&c, cells_area(&c), &dark, &xy, NULL);
        chart_histogram(&c, cells_area(&c), &dark, &histogram, NULL);
        chart_heat(&c, cells_area(&c), &dark, &heat, NULL);
        cells_release(&c);
    }
}

/* --- ticks --- */

/* What a label says: its number times the letter's power of 1000. */
static double said(const char *text)
{
    char *end;
    double value = strtod(text, &end);
    const char *letters = "kMGT", *at = *end ? strchr(letters, *end) : NULL;
    return at ? value * pow(1000, (double)(at - letters + 1)) : value;
}

static bool is_one_two_five(double v)
{
    double rest = fabs(v) / pow(10, floor(log10(fabs(v)) + 1e-9));
    return fabs(rest - 1) < 1e-6 || fabs(rest - 2) < 1e-6 || fabs(rest - 5) < 1e-6;
}

static void assert_ticks(const struct chart_tick *tick, size_t n, double lo, double hi, bool wide,
                         int length, int margin)
{
    for (size_t i = 0; i < n; i++) {
        double slack = fmax(fabs(tick[i].value), (hi - lo) * 1e-3) * 1e-6;
        if (fabs(said(tick[i].text) - tick[i].value) > slack)
            fail_msg("the tick at %.17g says %s", tick[i].value, tick[i].text);
        assert_true(tick[i].value >= lo - slack && tick[i].value <= hi + slack);
        assert_in_range(tick[i].cell, 0, length - 1);
        int start = chart_tick_start(&tick[i], length, margin);
        if (wide) {
            assert_true(start >= -margin);
            assert_true(start + (int)strlen(tick[i].text) <= length + margin);
        }
        if (i == 0)
            continue;
        int before = chart_tick_start(&tick[i - 1], length, margin);
        assert_true(tick[i].value > tick[i - 1].value);
        if (wide)
            assert_true(start > before + (int)strlen(tick[i - 1].text));
        else
            assert_true(tick[i].cell > tick[i - 1].cell);
    }
}

static void test_linear_ticks_are_nice_and_never_overlap(void **state)
{
    uint64_t seed = 31337;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct chart_tick tick[CHART_TICKS_MAX];
        double size = pow(10, 16 * picture_random(&seed) - 8);
        double lo = size * (2 * picture_random(&seed) - 1);
        double hi = lo + size * (0.01 + picture_random(&seed));
        int length = 1 + (int)(picture_random(&seed) * 150), margin = round % 5;
        bool wide = round % 2 == 0;
        size_t n = chart_ticks(tick, lo, hi, false, round % 3 == 0, length, wide, margin);
        assert_ticks(tick, n, lo, hi, wide, length, margin);
        if (n >= 2) {
            double step = tick[1].value - tick[0].value;
            assert_true(is_one_two_five(step));
            for (size_t i = 0; i < n; i++) {
                double k = tick[i].value / step;
                assert_true(fabs(k - floor(k + 0.5)) < 1e-5);
            }
        }
        if (length >= 40 && round % 3 != 0)
            assert_true(n >= 2);
    }
}

static void test_log_ticks_are_nice_and_never_overlap(void **state)
{
    uint64_t seed = 271828;
    (void)state;
    for (int round = 0; round < ROUNDS; round++) {
        struct chart_tick tick[CHART_TICKS_MAX];
        double lo = pow(10, 14 * picture_random(&seed) - 7);
        double hi = lo * pow(10, 0.02 + 9 * picture_random(&seed) * picture_random(&seed));
        int length = 1 + (int)(picture_random(&seed) * 150), margin = round % 4;
        bool wide = round % 2 == 0;
        size_t n = chart_ticks(tick, lo, hi, true, false, length, wide, margin);
        assert_ticks(tick, n, lo, hi, wide, length, margin);
        for (size_t i = 0; i < n && hi / lo >= 10; i++)
            assert_true(is_one_two_five(tick[i].value));
        if (length >= 40 && n == 0)
            fail_msg("no tick from %.17g to %.17g in %d cells", lo, hi, length);
        if (length >= 60 && hi / lo > 30)
            assert_true(n >= 2);
    }
}

static void test_log_axis_has_ticks_within_one_decade(void **state)
{
    struct chart_tick tick[CHART_TICKS_MAX];
    (void)state;
    size_t n = chart_ticks(tick, 12, 90, true, false, 60, true, 0);
    assert_int_equal(n, 4); /* 20, 40, 60, 80: 1-2-5 would give only two */
    assert_string_equal(tick[0].text, "20");
    assert_string_equal(tick[3].text, "80");
    n = chart_ticks(tick, 1, 50304, true, true, 70, true, 0);
    assert_int_equal(n, 5);
    assert_string_equal(tick[0].text, "1");
    assert_string_equal(tick[4].text, "10k");
}

static void test_numbers_are_short_and_true(void **state)
{
    static const struct {
        double value;
        int significant;
        const char *text;
    } cases[] = {
        {0, 3, "0"},         {0.25, 3, "0.25"},       {1500, 3, "1.5k"},     {3e-7, 2, "3e-7"},
        {12, 3, "12"},       {999.96, 3, "1k"},       {-262144, 3, "-262k"}, {1234567, 4, "1.235M"},
        {0.001, 2, "0.001"}, {1.25e-5, 3, "1.25e-5"}, {100, 1, "100"},       {NAN, 3, "-"}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[32];
        chart_number(text, sizeof text, cases[i].value, cases[i].significant);
        assert_string_equal(text, cases[i].text);
    }
}

/* --- what a chart says and where --- */

static void test_zeros_on_a_log_axis_are_counted_and_said(void **state)
{
    static const double y[] = {5, 0, 3, 0, -1, 2, 8};
    struct chart_series series = {.y = y, .n = 7};
    struct chart_xy chart = {
        .y = {.log = true}, .x = {.title = "rank"}, .series = &series, .count = 1};
    struct chart_map map;
    struct str text = {0};
    (void)state;
    for (int h = 8; h < 20; h += 4) {
        struct cells c;
        make(&c, 60, h);
        chart_xy(&c, cells_area(&c), &dark, &chart, &map);
        cells_plain(&c, &text);
        assert_int_equal(map.hidden, 3);
        assert_non_null(strstr(str_get(&text), "3 values <= 0 not shown"));
        str_clear(&text);
        cells_release(&c);
    }
    str_release(&text);
}

static void test_map_gives_back_the_data_under_a_cell(void **state)
{
    static const double y[] = {1, 1000};
    static const double x[] = {10, 20};
    struct chart_series series = {.x = x, .y = y, .n = 2};
    struct chart_xy chart = {.y = {.log = true}, .series = &series, .count = 1};
    struct chart_map map;
    struct cells c;
    (void)state;
    make(&c, 70, 20);
    chart_xy(&c, cells_area(&c), &dark, &chart, &map);
    for (int sy = map.plot.y; sy < map.plot.y + map.plot.h; sy++)
        for (int sx = map.plot.x; sx < map.plot.x + map.plot.w; sx++) {
            double vx, vy;
            int back_x, back_y;
            assert_true(chart_map_at(&map, sx, sy, &vx, &vy));
            assert_true(chart_map_x(&map, vx, &back_x));
            assert_true(chart_map_y(&map, vy, &back_y));
            assert_int_equal(back_x, sx);
            assert_int_equal(back_y, sy);
        }
    double vx, vy;
    int column;
    assert_false(chart_map_at(&map, map.plot.x - 1, map.plot.y, &vx, &vy));
    assert_false(chart_map_x(&map, 21, &column));
    cells_release(&c);
}

static void test_heat_map_gives_row_and_column_under_a_cell(void **state)
{
    struct chart_heat heat = {.value = data.cosine,
                              .rows = EXPERTS,
                              .cols = EXPERTS,
                              .hi = 1,
                              .first_row = 5,
                              .first_col = 3};
    struct chart_map map;
    struct cells c;
    double vx, vy;
    (void)state;
    make(&c, 60, 18);
    chart_heat(&c, cells_area(&c), &mono, &heat, &map);
    assert_true(chart_map_at(&map, map.plot.x + 7, map.plot.y + 4, &vx, &vy));
    assert_int_equal((int)lround(vx), 3 + 7 / 2); /* two columns a value */
    assert_int_equal((int)lround(vy), 5 + 4);
    cells_release(&c);
}

static void test_heat_map_shows_two_values_a_character(void **state)
{
    static const double value[] = {0, 1, 1, 0};
    struct chart_heat heat = {.value = value, .rows = 2, .cols = 2, .hi = 1};
    struct cells c;
    (void)state;
    make(&c, 4, 1);
    chart_heat(&c, cells_area(&c), &dark, &heat, NULL);
    bool found = false;
    for (int x = 0; x < 4; x++) {
        const struct cell *cell = cells_at(&c, x, 0);
        if (strcmp(cell->glyph, "▀") == 0 && cell->style.fg == STYLE_RAMP &&
            cell->style.bg == STYLE_RAMP + 255)
            found = true;
    }
    assert_true(found);
    cells_release(&c);
}

static void test_bars_hold_as_many_as_the_data(void **state)
{
    /* Forty equal values: one bar, as high as its count, on the axis that ends there. */
    double value[40];
    struct chart_histogram chart = {
        .x = {.lo = 0, .hi = 1}, .y = {.lo = 0, .hi = 40}, .value = value, .n = 40, .bins = 10};
    struct chart_map map;
    struct cells c;
    (void)state;
    for (size_t i = 0; i < 40; i++)
        value[i] = 0.35;
    make(&c, 60, 20);
    chart_histogram(&c, cells_area(&c), &dark, &chart, &map);
    int column, full = 0, other = 0;
    assert_true(chart_map_x(&map, 0.35, &column));
    for (int y = map.plot.y; y < map.plot.y + map.plot.h; y++) {
        full += strcmp(cells_at(&c, column, y)->glyph, "█") == 0;
        other += strcmp(cells_at(&c, map.plot.x, y)->glyph, "█") == 0;
    }
    assert_int_equal(full, map.plot.h);
    assert_int_equal(other, 0);
    cells_release(&c);
}

static void test_curve_over_bars_keeps_the_bar_and_can_be_seen(void **state)
{
    struct cells c;
    size_t over = 0, beside = 0;
    (void)state;
    make(&c, 80, 24);
    draw_histogram(&c, cells_area(&c), &dark);
    for (int i = 0; i < 80 * 24; i++) {
        const struct cell *cell = &c.cell[i];
        bool dots =
            (unsigned char)cell->glyph[0] == 0xe2 && ((unsigned char)cell->glyph[1] & 0xfc) == 0xa0;
        over += dots && cell->style.fg == STYLE_ON_BAR && cell->style.bg > STYLE_GROUP;
        beside += dots && cell->style.fg == STYLE_CURVE && cell->style.bg == STYLE_DEFAULT;
        assert_true(cell->style.bg == STYLE_DEFAULT || cell->style.fg == STYLE_ON_BAR);
    }
    assert_true(over > 10 && beside > 10);
    cells_release(&c);
}

static void test_block_dots_that_fill_a_cell_stay_full(void **state)
{
    static double x[400], y[400];
    struct chart_series series = {.x = x, .y = y, .n = 400, .mark = CHART_POINTS};
    struct chart_xy chart = {
        .x = {.lo = 0, .hi = 1}, .y = {.lo = 0, .hi = 1}, .series = &series, .count = 1};
    struct chart_map map;
    struct cells c;
    (void)state;
    for (size_t i = 0; i < 400; i++) {
        x[i] = (double)(i % 20) / 20;
        y[i] = (double)(i / 20 * 7 % 20) / 20;
    }
    make(&c, 12, 8);
    chart_xy(&c, cells_area(&c), &block, &chart, &map);
    for (int yy = map.plot.y; yy < map.plot.y + map.plot.h; yy++)
        for (int xx = map.plot.x; xx < map.plot.x + map.plot.w; xx++)
            assert_string_equal(cells_at(&c, xx, yy)->glyph, "█");
    cells_release(&c);
}

static void test_focused_marker_keeps_its_label(void **state)
{
    static const double y[] = {1, 2, 3, 4};
    struct chart_series series = {.y = y, .n = 4};
    struct chart_marker marker[9];
    struct chart_xy chart = {.x = {.lo = 0, .hi = 5},
                             .series = &series,
                             .count = 1,
                             .markers = marker,
                             .marker_count = 9};
    struct cells c;
    struct str text = {0};
    (void)state;
    for (int i = 0; i < 9; i++)
        marker[i] = (struct chart_marker){.at = 2 + i * 0.001, .label = "crowded label"};
    marker[8].label = "moving";
    marker[8].focus = true;
    make(&c, 40, 10);
    chart_xy(&c, cells_area(&c), &dark, &chart, NULL);
    cells_plain(&c, &text);
    assert_non_null(strstr(str_get(&text), "moving"));
    str_release(&text);
    cells_release(&c);
}

static void test_names_in_charts_are_sanitized(void **state)
{
    static const double y[] = {1, 2, 3};
    struct chart_series series = {.name = "bad\033[2J", .y = y, .n = 3};
    struct chart_xy chart = {.x = {.title = "\033]0;x\a"}, .series = &series, .count = 1};
    struct cells c;
    (void)state;
    make(&c, 60, 14);
    chart_xy(&c, cells_area(&c), &dark, &chart, NULL);
    for (int i = 0; i < 60 * 14; i++)
        assert_true((unsigned char)c.cell[i].glyph[0] >= ' ');
    cells_release(&c);
}

static void test_log_axis_stays_near_a_single_value(void **state)
{
    struct chart_axis axis = {.log = true};
    struct chart_span span = {0};
    (void)state;
    chart_span_add(&span, &axis, 67.2752);
    chart_fit(&axis, &span);
    assert_true(axis.lo > 60 && axis.lo < 67.2752);
    assert_true(axis.hi > 67.2752 && axis.hi < 75);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_log_axis_stays_near_a_single_value),
        cmocka_unit_test(test_charts_look_as_they_were_approved_at_80x24),
        cmocka_unit_test(test_charts_look_as_they_were_approved_at_40x10),
        cmocka_unit_test(test_charts_look_as_they_were_approved_in_ascii),
        cmocka_unit_test(test_charts_look_as_they_were_approved_without_colours),
        cmocka_unit_test(test_curves_look_as_they_were_approved_in_blocks),
        cmocka_unit_test(test_ascii_charts_hold_only_ascii),
        cmocka_unit_test(test_charts_stay_inside_their_rectangle_at_any_size),
        cmocka_unit_test(test_charts_take_any_numbers),
        cmocka_unit_test(test_linear_ticks_are_nice_and_never_overlap),
        cmocka_unit_test(test_log_ticks_are_nice_and_never_overlap),
        cmocka_unit_test(test_log_axis_has_ticks_within_one_decade),
        cmocka_unit_test(test_numbers_are_short_and_true),
        cmocka_unit_test(test_zeros_on_a_log_axis_are_counted_and_said),
        cmocka_unit_test(test_map_gives_back_the_data_under_a_cell),
        cmocka_unit_test(test_heat_map_gives_row_and_column_under_a_cell),
        cmocka_unit_test(test_heat_map_shows_two_values_a_character),
        cmocka_unit_test(test_bars_hold_as_many_as_the_data),
        cmocka_unit_test(test_curve_over_bars_keeps_the_bar_and_can_be_seen),
        cmocka_unit_test(test_block_dots_that_fill_a_cell_stay_full),
        cmocka_unit_test(test_focused_marker_keeps_its_label),
        cmocka_unit_test(test_names_in_charts_are_sanitized),
    };
    return cmocka_run_group_tests(tests, fill_data, NULL);
}
