/* Pointing, zooming and reading in the charts of the screens. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "picture.h"
#include "ui/app/app_state.h"

static struct fixture f;

static int open_sample(void **state)
{
    (void)state;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    f.cosine_phase = APP_COSINE_READY;
    return 0;
}

static int close_sample(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

static const double *cosine(void)
{
    size_t n = f.trace.experts;
    return f.cosine + f.app->layer * n * n;
}

/* The first characters of a row, without the blanks before them. */
static const char *row_text(char out[24], int x, int y, int width)
{
    int n = 0;
    for (; n < width && n < 23; n++)
        out[n] = cells_at(&f.cells, x + n, y)->glyph[0];
    out[n] = '\0';
    return out + strspn(out, " ");
}

/* The number in front of a row of the heat map; -1: none. */
static long row_label(int left, int y)
{
    char room[24];
    const char *text = row_text(room, 0, y, left);
    return !*text ? -1 : strtol(text, NULL, 10);
}

static void test_every_pair_of_a_heat_map_can_be_pressed(void **state)
{
    static bool seen[64][64];
    size_t n = f.trace.experts, pairs = 0;
    (void)state;
    fixture_type(&f, "4a");
    fixture_frame(&f, 120, 40);
    struct rect p = f.app->map.plot;
    for (int press = 0; press < 2; press++)
        for (int y = p.y; y < p.y + p.h; y++)
            for (int x = p.x; x < p.x + p.w; x++) {
                fixture_mouse(&f, TERM_MOUSE_PRESS, x, y, 0);
                if (press)
                    fixture_mouse(&f, TERM_MOUSE_PRESS, x, y, 0);
                assert_true(f.app->has_other && f.app->expert < n && f.app->other < n);
                seen[f.app->expert][f.app->other] = true;
            }
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            pairs += seen[i][j];
    assert_int_equal(pairs, n * n);
}

static void test_a_press_on_eight_experts_selects_the_one_of_the_row(void **state)
{
    size_t rows = 0;
    (void)state;
    fixture_type(&f, "4");
    fixture_frame(&f, 120, 40);
    struct rect p = f.app->map.plot;
    for (int y = p.y; y < p.y + p.h; y++) {
        long label = row_label(p.x - 1, y);
        if (label < 0)
            continue;
        fixture_mouse(&f, TERM_MOUSE_PRESS, p.x + p.w / 2, y, 0);
        assert_int_equal(f.app->expert, label);
        rows++;
    }
    assert_int_equal(rows, 8);
}

static void test_a_press_among_the_points_selects_the_nearest_pair(void **state)
{
    uint64_t seed = 11;
    (void)state;
    fixture_type(&f, "4");
    for (int round = 0; round < 40; round++) {
        fixture_frame(&f, 120, 40);
        const struct chart_map m = f.app->other_map;
        const double *s = f.app->result->layer[f.app->layer].significance;
        int x = m.plot.x + (int)(picture_random(&seed) * m.plot.w);
        int y = m.plot.y + (int)(picture_random(&seed) * m.plot.h);
        fixture_mouse(&f, TERM_MOUSE_PRESS, x, y, 0);
        double best = INFINITY, got = NAN;
        for (size_t i = 0; i < f.trace.experts; i++)
            for (size_t j = 0; j < i; j++) {
                double dx = (fabs(s[i] - s[j]) - m.x.lo) / (m.x.hi - m.x.lo) * m.plot.w -
                            (x - m.plot.x + 0.5);
                double dy =
                    (cosine()[i * f.trace.experts + j] - m.y.lo) / (m.y.hi - m.y.lo) * m.plot.h -
                    (m.plot.y + m.plot.h - y - 0.5);
                double d = hypot(dx, 2 * dy);
                best = fmin(best, d);
                if (i == f.app->expert && j == f.app->other)
                    got = d;
            }
        assert_true(fabs(got - best) < 1e-9);
    }
    assert_true(strstr(fixture_frame(&f, 120, 40), "|dS| with") != NULL);
}

static void test_a_press_on_the_list_selects_the_expert_of_its_row(void **state)
{
    (void)state;
    fixture_type(&f, "3");
    fixture_frame(&f, 120, 40);
    struct rect p = f.app->other_map.plot;
    assert_true(p.h > 8);
    for (int y = p.y; y < p.y + p.h; y++) {
        char room[24], name[24];
        const char *text = row_text(room, p.x, y, 9);
        fixture_mouse(&f, TERM_MOUSE_PRESS, p.x + 20, y, 0);
        snprintf(name, sizeof name, "expert %zu", f.app->expert);
        assert_string_equal(text, name);
    }
}

static void test_the_crosshair_follows_a_held_button(void **state)
{
    size_t before = 0;
    (void)state;
    fixture_type(&f, "1");
    fixture_frame(&f, 120, 40);
    struct rect p = f.app->map.plot, q = f.app->other_map.plot;
    fixture_mouse(&f, TERM_MOUSE_PRESS, p.x, p.y + 3, 0);
    for (int x = p.x; x < p.x + p.w; x++) {
        fixture_mouse(&f, TERM_MOUSE_DRAG, x, p.y + 3, 0);
        assert_true(f.app->token_rank >= before && f.app->token_rank <= f.app->result->types);
        before = f.app->token_rank;
    }
    assert_true(before > f.app->result->types * 9 / 10);
    fixture_mouse(&f, TERM_MOUSE_PRESS, q.x, q.y + 2, 0);
    assert_int_equal(f.app->token_rank, 1);
    assert_non_null(strstr(fixture_frame(&f, 120, 40), "rank 1: U "));
}

static void test_zoom_keeps_what_is_selected_in_the_chart(void **state)
{
    (void)state;
    f.app->token_rank = 77;
    f.app->expert = 9;
    for (int zoom = 0; zoom <= APP_ZOOM_MAX; zoom++) {
        int at;
        double shown[3];
        for (int view = 0; view < 3; view++) {
            fixture_key(&f, (uint32_t)('1' + view));
            fixture_frame(&f, 120, 40);
            const struct chart_map *m = &f.app->map;
            shown[view] = view == 2 ? f.app->result->layer[0].significance[9] : 77;
            assert_true(chart_map_x(m, shown[view], &at));
            if (zoom == APP_ZOOM_MAX) /* of 1,300 ranks, of S from 0 to 0.7 */
                assert_true(m->x.hi - m->x.lo < (view == 2 ? 0.1 : 80));
        }
        fixture_type(&f, "+");
    }
}

static void test_keys_of_axis_and_zoom_act_or_say_why_not(void **state)
{
    static const bool axis[APP_VIEWS] = {true, true, false, false, false, false, true};
    (void)state;
    for (size_t view = 0; view < APP_VIEWS; view++) {
        bool before = f.app->linear_axis;
        fixture_key(&f, (uint32_t)('1' + view));
        fixture_type(&f, "l");
        assert_int_equal(f.app->linear_axis != before, axis[view]);
        assert_true(fixture_shows(&f, axis[view] ? " axes" : "no logarithmic axis here"));
    }
    fixture_type(&f, "1-");
    assert_true(f.app->zoom == 0 && fixture_shows(&f, "all is shown"));
    fixture_type(&f, "+++++");
    assert_true(f.app->zoom == APP_ZOOM_MAX && fixture_shows(&f, "no closer"));
    fixture_type(&f, "6-");
    assert_true(f.app->zoom == APP_ZOOM_MAX && fixture_shows(&f, "nothing to zoom"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_every_pair_of_a_heat_map_can_be_pressed, open_sample,
                                        close_sample),
        cmocka_unit_test_setup_teardown(test_a_press_on_eight_experts_selects_the_one_of_the_row,
                                        open_sample, close_sample),
        cmocka_unit_test_setup_teardown(test_a_press_among_the_points_selects_the_nearest_pair,
                                        open_sample, close_sample),
        cmocka_unit_test_setup_teardown(test_a_press_on_the_list_selects_the_expert_of_its_row,
                                        open_sample, close_sample),
        cmocka_unit_test_setup_teardown(test_the_crosshair_follows_a_held_button, open_sample,
                                        close_sample),
        cmocka_unit_test_setup_teardown(test_keys_of_axis_and_zoom_act_or_say_why_not, open_sample,
                                        close_sample),
        cmocka_unit_test_setup_teardown(test_zoom_keeps_what_is_selected_in_the_chart, open_sample,
                                        close_sample),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
