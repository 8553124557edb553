#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/cosine.h"
#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "picture.h"
#include "ui/chart/chart_draw.h"
#include "ui/figure/figure_parts.h"

enum { CURVE = 50304, RUNS = 7, MARKS = 7, STEPS = 5000 };

static struct {
    struct trace trace;
    struct analysis *analysis;
    double *cosine;
    struct plan plan;
    struct figure_run run[RUNS];
    struct figure_results results;
    struct figure_source source;
    struct budget_front curve;
    struct figure_mark mark[MARKS];
    struct figure_front front;
} t;

static void check(int rc, const struct err *err)
{
    if (rc < 0)
        fail_msg("%s", err->message);
}

static void fill_cosine(uint64_t *seed)
{
    size_t n = t.trace.experts;
    t.cosine = mem_array(t.trace.layers * n * n, sizeof *t.cosine, NULL);
    assert_non_null(t.cosine);
    for (size_t l = 0; l < t.trace.layers; l++)
        for (size_t i = 0; i < n; i++) {
            t.cosine[(l * n + i) * n + i] = 1;
            for (size_t j = 0; j < i; j++)
                t.cosine[(l * n + i) * n + j] = t.cosine[(l * n + j) * n + i] =
                    0.3 * picture_random(seed) - 0.05;
        }
}

static void fill_plan(uint64_t *seed)
{
    static const unsigned bits[] = {2, 3, 4, 8, 16};
    struct err err = {0};
    check(plan_alloc(&t.plan, t.trace.layers, t.trace.experts, &err), &err);
    for (size_t l = 0; l < t.trace.layers; l++) {
        t.plan.layers[l].layer = 2 * l + 1;
        for (size_t e = 0; e < t.trace.experts; e++) {
            t.plan.layers[l].experts[e].bits = bits[(size_t)(5 * picture_random(seed))];
            t.plan.layers[l].experts[e].pinned = picture_random(seed) < 0.2;
        }
    }
}

/* Halves every quarter of a bit; as it comes at the size of OLMoE. */
static void fill_front(void)
{
    static const struct figure_mark marks[MARKS] = {
        {"budget", NULL, 2.5, 0.025},   {"MoQa", "M", 2.92, 0.0275},
        {"uniform", "2", 2, 0.1},       {"uniform", "3", 3, 0.02},
        {"uniform", "4", 4, 0.005},     {"snapshot A", "A", 3.5, 0.0015625},
        {"snapshot B", "B", 2.25, 0.05}};
    t.curve = (struct budget_front){STEPS, mem_array(STEPS, sizeof(double), NULL),
                                    mem_array(STEPS, sizeof(double), NULL)};
    assert_true(t.curve.bits && t.curve.rise);
    for (size_t i = 0; i < STEPS; i++) {
        t.curve.bits[i] = 2 + 14.0 * (double)i / (STEPS - 1);
        t.curve.rise[i] = i + 1 < STEPS ? 0.1 * exp2(-4 * (t.curve.bits[i] - 2)) : 0;
    }
    memcpy(t.mark, marks, sizeof marks);
}

static int load(void **state)
{
    struct err err = {0};
    struct settings settings;
    uint64_t seed = 20261123;
    (void)state;
    settings_defaults(&settings);
    check(trace_h5_load(&t.trace, TEST_GOLDEN "/tiny-qwen2moe/trace.h5", NULL, &err), &err);
    check(analysis_new(&t.analysis, &t.trace, &err), &err);
    check(analysis_update(t.analysis, &settings, &err), &err);
    fill_cosine(&seed);
    fill_plan(&seed);
    fill_front();
    const struct figure_run run[RUNS] = {{"runs/a", "moqa", 3.2, 3.4, 900, true, 31.25, 0},
                                         {"runs/b", "gptq-3", 3, 3.2, 850, true, 44.5, 0},
                                         {"runs/c", "moqa", 2.6, 2.8, 700, true, 61.75, 0},
                                         {"runs/d", "rtn-4", 4, 4.2, 990, false, 0, 0},
                                         {"model", NULL, 0, 0, 4000, true, 29.5, 0},
                                         {"runs/e", NULL, 4, 4.2, 990, true, 30.125, 0},
                                         {"runs/f", "fp16", 16, 16, 4000, true, 29.5, 0}};
    memcpy(t.run, run, sizeof run);
    return 0;
}

static int unload(void **state)
{
    (void)state;
    plan_release(&t.plan);
    budget_front_release(&t.curve);
    free(t.cosine);
    analysis_free(t.analysis);
    trace_release(&t.trace);
    return 0;
}

static int reset(void **state)
{
    (void)state;
    t.front = (struct figure_front){
        .curve = &t.curve, .mark = t.mark, .marks = MARKS, .has_selected = true};
    t.results = (struct figure_results){"letters.txt", true, t.run, RUNS};
    t.source = (struct figure_source){.analysis = t.analysis,
                                      .front = &t.front,
                                      .cosine = t.cosine,
                                      .plan = &t.plan,
                                      .results = &t.results,
                                      .texts = 1};
    return 0;
}

static struct figure make(const char *name)
{
    struct figure f;
    struct err err = {0};
    check(figures_make(&f, name, &t.source, &err), &err);
    return f;
}

/* --- the table --- */

static void test_every_figure_is_found_by_its_name_and_says_what_it_shows(void **state)
{
    static const char *const order[] = {"zipf",    "utilization", "mapping",    "significance",
                                        "experts", "similarity",  "difference", "bits",
                                        "front",   "results"};
    (void)state;
    assert_int_equal(figures_count(), sizeof order / sizeof *order);
    for (size_t i = 0; i < figures_count(); i++) {
        const struct figure_info *info = figures_info(i);
        assert_string_equal(info->name, order[i]);
        assert_ptr_equal(figures_find(order[i]), info);
        struct figure f = make(order[i]);
        assert_true(f.title[0] && f.caption[0]);
        assert_int_equal(f.caption[strlen(f.caption) - 1], '.');
        assert_true(strlen(f.caption) + 1 < FIGURE_CAPTION_MAX);
        figure_release(&f);
    }
}

static void test_what_a_figure_needs_is_asked_for_in_words(void **state)
{
    static const struct {
        const char *name, *says;
    } need[] = {{"similarity", "model"}, {"difference", "model"}, {"bits", "plan"},
                {"front", "--losses"},   {"results", "runs"},     {"heat", "zipf, utilization"}};
    struct figure f;
    (void)state;
    t.source.cosine = NULL;
    t.source.front = NULL;
    t.source.plan = NULL;
    t.source.texts = 0;
    for (size_t i = 0; i < sizeof need / sizeof *need; i++) {
        struct err err = {0};
        assert_int_equal(figures_make(&f, need[i].name, &t.source, &err), ERR_USAGE);
        assert_non_null(strstr(err.message, need[i].says));
        assert_null(f.blocks);
    }
    t.source.layer = t.trace.layers;
    assert_int_equal(figures_make(&f, "mapping", &t.source, NULL), ERR_USAGE);
    t.source.layer--;
    f = make("mapping");
    figure_release(&f);
}

/* --- the front --- */

static void test_front_marks_every_plan_once_and_says_its_values(void **state)
{
    (void)state;
    struct figure f = make("front");
    size_t points = 0;
    assert_int_equal(f.xy.count, 1 + 5); /* the curve; uniform plans are one series */
    for (size_t k = 1; k < f.xy.count; k++)
        points += f.xy.series[k].n;
    assert_int_equal(points, MARKS);
    assert_string_equal(f.xy.series[3].glyph[1], "3");
    assert_true(f.xy.cursor.shown && f.xy.cursor.x == 2.5 && f.xy.cursor.y == 0.025);
    assert_non_null(strstr(f.caption, "MoQa: 2.920 bits, +0.0275 (least bits for that: 2.4"));
    assert_null(strstr(f.caption, "budget: 2.500 bits, +0.025 ("));
    assert_string_equal(f.xy.series[2].name, "MoQa");
    figure_release(&f);
    t.front.has_selected = false;
    f = make("front");
    assert_false(f.xy.cursor.shown);
    assert_string_equal(f.xy.series[2].name, "MoQa: 2.920 bits, 0.0275");
    assert_string_equal(f.xy.series[3].name, "uniform: 0.1, 0.02, 0.005");
    figure_release(&f);
}

/* The end of the axis jumps to what holds all plans; a long curve has no more points than can be
 * told apart, with its first and last in sight. */
static void test_front_axis_holds_all_plans_and_the_curve_is_thinned(void **state)
{
    static const struct {
        double bits, end;
    } cases[] = {{2.5, 4.5}, {4.499, 4.5}, {4.6, 8.5}, {9, 16.5}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        t.mark[0].bits = cases[i].bits;
        struct figure f = make("front");
        const struct chart_series *s = &f.xy.series[0];
        assert_true(f.xy.x.hi == cases[i].end);
        assert_in_range(s->n, 100, 402);
        assert_true(s->x[0] == 2 && s->x[s->n - 1] > fmin(cases[i].end, 16) - 0.05);
        for (size_t k = 1; k < s->n; k++)
            assert_true(s->x[k] > s->x[k - 1] && s->y[k] < s->y[k - 1]);
        figure_release(&f);
    }
    t.mark[0].bits = 2.5;
    t.source.zoom = 2;
    struct figure f = make("front");
    assert_true(f.xy.x.hi - f.xy.x.lo < 0.7 && f.xy.x.lo < 2.5 && f.xy.x.hi > 2.5);
    figure_release(&f);
}

static void test_bits_shows_gate_up_and_down_where_they_differ(void **state)
{
    struct plan_expert *x = &t.plan.layers[1].experts[4], before = *x;
    (void)state;
    x->linear_bits[PLAN_GATE] = 2;
    x->linear_bits[PLAN_UP] = 16;
    x->linear_bits[PLAN_DOWN] = 4;
    t.source.has_selected = true;
    t.source.layer = 1;
    t.source.expert = 4;
    struct figure f = make("bits");
    const struct chart_tile *tile = &f.tiles.tile[t.plan.experts + 4];
    assert_int_equal(tile->parts, 3);
    assert_string_equal(tile->part[0].text, "2");
    assert_string_equal(tile->part[1].text, "F");
    assert_int_equal(tile->part[2].colour, STYLE_BITS + 4);
    assert_non_null(strstr(f.tiles.cursor_text, "gate 2, up 16, down 4"));
    assert_non_null(strstr(f.caption, "(1 experts)"));
    figure_release(&f);
    *x = before;
    f = make("bits");
    assert_int_equal(f.tiles.tile[t.plan.experts + 4].parts, 0);
    assert_null(strstr(f.tiles.cursor_text, "gate"));
    figure_release(&f);
}

/* --- memory --- */

static void test_arrays_and_texts_live_until_the_figure_is_released(void **state)
{
    struct figure f = {0};
    double *first = figure_array(&f, 100, sizeof *first, NULL);
    const char *text = figure_text(&f, "%s %d", "layer", 12);
    (void)state;
    assert_non_null(first);
    for (size_t i = 0; i < 100; i++)
        assert_true(first[i] == 0);
    assert_string_equal(text, "layer 12");
    assert_non_null(figure_array(&f, 0, 8, NULL));
    assert_null(figure_array(&f, SIZE_MAX, 16, NULL));
    figure_release(&f);
    assert_null(f.blocks);
    figure_release(&f);
}

/* --- sampling --- */

/* A curve with spikes of one rank, both ways, anywhere. */
static double *spiky_curve(void)
{
    static double y[CURVE];
    uint64_t seed = 7;
    for (size_t i = 0; i < CURVE; i++)
        y[i] = 9e5 / pow((double)(i + 1), 1.05) * (0.97 + 0.06 * picture_random(&seed));
    for (int k = 0; k < 60; k++)
        y[(size_t)(CURVE * picture_random(&seed))] *= k % 2 ? 0.2 : 5;
    return y;
}

/* Lowest and highest of the curve in each of `columns` equal parts of the axis. */
static void envelope(double (*out)[2], int columns, const struct chart_axis *axis, const double *x,
                     const double *y, size_t n)
{
    for (int k = 0; k < columns; k++) {
        out[k][0] = INFINITY;
        out[k][1] = -INFINITY;
    }
    for (size_t i = 0; i < n; i++) {
        double rank = x ? x[i] : (double)(i + 1);
        int k = chart_cell(chart_place(axis, rank), columns);
        if (rank < axis->lo || rank > axis->hi)
            continue;
        out[k][0] = fmin(out[k][0], y[i]);
        out[k][1] = fmax(out[k][1], y[i]);
    }
}

static void check_sample(struct chart_axis axis, bool log_y)
{
    enum { COLUMNS = 512 };
    static double want[COLUMNS][2], got[COLUMNS][2];
    struct figure f = {0};
    struct chart_series s;
    const double *y = spiky_curve();
    assert_int_equal(figure_sample(&f, &s, y, 4, &axis, log_y, NULL), 0);
    assert_true(s.n > 0);
    for (size_t i = 0; i < s.n; i++) {
        assert_true(s.x[i] >= axis.lo && s.x[i] <= axis.hi);
        assert_true(i == 0 || s.x[i] > s.x[i - 1]);
        assert_true(s.y[i] == y[(size_t)s.x[i] - 1] / 4);
    }
    assert_true(s.x[0] == axis.lo && s.x[s.n - 1] == axis.hi);
    envelope(want, COLUMNS, &axis, NULL, y, CURVE);
    envelope(got, COLUMNS, &axis, s.x, s.y, s.n);
    for (int k = 0; k < COLUMNS; k++)
        for (int i = 0; i < 2; i++)
            assert_true(isinf(want[k][i]) ? isinf(got[k][i]) : got[k][i] == want[k][i] / 4);
    figure_release(&f);
}

static void test_sampling_keeps_lowest_and_highest_of_every_column(void **state)
{
    (void)state;
    check_sample((struct chart_axis){.lo = 1, .hi = CURVE, .log = true}, true);
    check_sample((struct chart_axis){.lo = 1, .hi = CURVE}, false);
    check_sample((struct chart_axis){.lo = 1, .hi = CURVE}, true);
    check_sample((struct chart_axis){.lo = 900, .hi = 31000, .log = true}, true);
    check_sample((struct chart_axis){.lo = 17, .hi = 40}, false);
}

static void test_sampling_makes_a_falling_curve_short(void **state)
{
    static double y[CURVE];
    struct chart_axis axis = {.lo = 1, .hi = CURVE};
    (void)state;
    for (size_t i = 0; i < CURVE; i++)
        y[i] = floor(9e5 / (double)(i + 1));
    for (int k = 0; k < 4; k++) {
        struct figure f = {0};
        struct chart_series s;
        axis.log = k & 1;
        assert_int_equal(figure_sample(&f, &s, y, 1, &axis, k & 2, NULL), 0);
        assert_in_range(s.n, 512, 4 * 1024);
        figure_release(&f);
    }
}

/* Between neighbours of one part of the axis no step is left that a picture of 1,000 rows shows. */
static void test_sampling_leaves_no_gap_in_a_steep_part(void **state)
{
    static double y[CURVE];
    struct chart_axis axis = {.lo = 1, .hi = CURVE};
    struct figure f = {0};
    struct chart_series s;
    (void)state;
    for (size_t i = 0; i < CURVE; i++)
        y[i] = i < 40 ? 4000 - 100 * (double)i : 1;
    assert_int_equal(figure_sample(&f, &s, y, 1, &axis, false, NULL), 0);
    for (size_t i = 0; i < 40; i++)
        assert_true(s.x[i] == (double)(i + 1) && s.y[i] == y[i]);
    figure_release(&f);
}

/* --- zoom --- */

static void test_each_zoom_shows_half_around_the_centre_and_stays_inside(void **state)
{
    (void)state;
    struct chart_axis a = {.lo = 10, .hi = 90};
    figure_zoom(&a, 2, 50);
    assert_true(fabs(a.lo - 40) < 1e-9 && fabs(a.hi - 60) < 1e-9);
    a = (struct chart_axis){.lo = 10, .hi = 90};
    figure_zoom(&a, 1, 89);
    assert_true(fabs(a.lo - 50) < 1e-9 && fabs(a.hi - 90) < 1e-9);
    a = (struct chart_axis){.lo = 1, .hi = 10000, .log = true};
    figure_zoom(&a, 1, 100);
    assert_true(fabs(a.lo - 10) < 1e-9 && fabs(a.hi - 1000) < 1e-6);
    a = (struct chart_axis){.lo = 1, .hi = 10000, .log = true};
    figure_zoom(&a, 2, NAN);
    assert_true(a.lo == 1 && fabs(a.hi - 10) < 1e-9);
    a = (struct chart_axis){.lo = 1, .hi = 6, .log = true, .integer = true};
    figure_zoom(&a, 4, 3);
    assert_true(a.lo == floor(a.lo) && a.hi == floor(a.hi) && a.lo <= 3 && a.hi >= 3 &&
                a.hi > a.lo);
}

static void test_a_zoomed_figure_holds_what_is_pointed_at(void **state)
{
    (void)state;
    for (t.source.zoom = 0; t.source.zoom <= 4; t.source.zoom++)
        for (size_t rank = 1; rank <= analysis_result(t.analysis)->types; rank += 37) {
            t.source.token_rank = rank;
            struct figure f = make("zipf");
            assert_true(f.xy.x.lo <= (double)rank && f.xy.x.hi >= (double)rank);
            assert_true(f.xy.cursor.shown && f.xy.cursor.x == (double)rank);
            figure_release(&f);
        }
}

/* --- the makers against the analysis --- */

static void test_zipf_shows_counts_and_the_fitted_law(void **state)
{
    const struct analysis_result *a = analysis_result(t.analysis);
    struct figure f = make("zipf");
    (void)state;
    assert_int_equal(f.kind, FIGURE_XY);
    const struct chart_series *tokens = &f.xy.series[0], *law = &f.xy.series[1];
    assert_int_equal(tokens->n, law->n);
    for (size_t i = 0; i < tokens->n; i++) {
        double want = (double)a->positions * a->zipf.c / pow(tokens->x[i], a->zipf.beta);
        assert_true(tokens->y[i] == (double)a->rank_count[(size_t)tokens->x[i] - 1]);
        assert_true(fabs(law->y[i] - want) <= 1e-12 * want);
    }
    figure_release(&f);
}

static void test_utilization_shows_shares_of_the_sum(void **state)
{
    const struct analysis_result *a = analysis_result(t.analysis);
    double u = 0, r = 0;
    (void)state;
    for (size_t i = 0; i < a->types; i++) {
        u += a->utilization[i];
        r += a->reweighted[i];
    }
    struct figure f = make("utilization");
    const struct chart_series *before = &f.xy.series[0], *after = &f.xy.series[1];
    for (size_t i = 0; i < before->n; i++)
        assert_true(fabs(before->y[i] * u / a->utilization[(size_t)before->x[i] - 1] - 1) < 1e-12);
    for (size_t i = 0; i < after->n; i++)
        assert_true(fabs(after->y[i] * r / a->reweighted[(size_t)after->x[i] - 1] - 1) < 1e-12);
    figure_release(&f);
}

static void test_experts_fall_and_equal_ones_keep_their_order(void **state)
{
    const double s[] = {0.25, 0.5, 0.25, 0.125, 0.5, 0.75, 0.25};
    const size_t want[] = {5, 1, 4, 0, 2, 6, 3};
    size_t order[7];
    (void)state;
    figures_rank(order, s, 7);
    assert_memory_equal(order, want, sizeof want);
    t.source.has_selected = true;
    t.source.layer = 1;
    for (t.source.expert = 0; t.source.expert < t.trace.experts; t.source.expert++) {
        struct figure f = make("experts");
        char name[32];
        const struct chart_bar *bar = &f.bars.bar[f.bars.selected];
        snprintf(name, sizeof name, "expert %zu", t.source.expert);
        assert_string_equal(bar->label, name);
        assert_true(bar->value ==
                    analysis_result(t.analysis)->layer[1].significance[t.source.expert]);
        for (size_t i = 1; i < f.bars.n; i++)
            assert_true(f.bars.bar[i].value <= f.bars.bar[i - 1].value);
        figure_release(&f);
    }
}

static void test_mapping_shows_each_experts_interval(void **state)
{
    (void)state;
    t.source.layer = 1;
    struct figure f = make("mapping");
    const struct analysis_interval *v = analysis_result(t.analysis)->layer[1].interval;
    assert_int_equal(f.intervals.n, t.trace.experts);
    for (size_t e = 0; e < f.intervals.n; e++) {
        const struct chart_interval *row = &f.intervals.row[e];
        assert_int_equal(row->valid, v[e].valid);
        assert_true(row->lowest == (double)v[e].lowest && row->median == (double)v[e].median &&
                    row->ninetieth == (double)v[e].ninetieth);
    }
    figure_release(&f);
}

static void test_similarity_is_a_square_of_the_picked_experts(void **state)
{
    size_t n = t.trace.experts, *pick = mem_array(n, sizeof *pick, NULL);
    (void)state;
    assert_non_null(pick);
    for (int all = 0; all < 2; all++) {
        t.source.all_experts = all;
        size_t shown = figures_pick(pick, &t.source);
        struct figure f = make("similarity");
        assert_int_equal(f.heat.rows, all || n < 8 ? n : 8);
        assert_int_equal(f.heat.rows, shown);
        for (size_t i = 0; i < shown; i++)
            for (size_t j = 0; j < shown; j++)
                assert_true(f.heat.value[i * shown + j] == t.cosine[pick[i] * n + pick[j]]);
        assert_true(f.heat.lo <= -0.05 + 0.01 && f.heat.hi >= 0.24 && f.heat.hi < 1);
        figure_release(&f);
    }
    free(pick);
}

static void test_difference_has_every_pair_once(void **state)
{
    size_t n = t.trace.experts, k = 0;
    const double *s = analysis_result(t.analysis)->layer[0].significance;
    struct figure f = make("difference");
    (void)state;
    assert_int_equal(f.xy.series->n, n * (n - 1) / 2);
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++, k++)
            assert_true(f.xy.series->x[k] == fabs(s[i] - s[j]) &&
                        f.xy.series->y[k] == t.cosine[j * n + i]);
    figure_release(&f);
}

static void test_bits_tell_width_and_pin_of_every_expert(void **state)
{
    struct figure f = make("bits");
    (void)state;
    for (size_t i = 0; i < t.trace.layers * t.trace.experts; i++) {
        const struct plan_expert *x =
            &t.plan.layers[i / t.trace.experts].experts[i % t.trace.experts];
        assert_int_equal(atoi(f.tiles.tile[i].text), x->bits);
        assert_int_equal(f.tiles.tile[i].marked, x->pinned);
    }
    assert_string_equal(f.tiles.row_labels[1], "3");
    figure_release(&f);
}

static void test_results_are_points_by_method_and_the_original_is_a_line(void **state)
{
    struct figure f = make("results");
    (void)state;
    static const char *const names[] = {"gptq-3", "moqa", NULL, "runs"}; /* rtn-4 has no point */
    assert_int_equal(f.xy.count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_true(names[i] ? strcmp(f.xy.series[i].name, names[i]) == 0 : !f.xy.series[i].name);
    assert_int_equal(f.xy.series[1].n, 2);
    assert_true(f.xy.series[1].y[1] == 61.75);
    assert_int_equal(f.xy.series[2].n, 0);
    assert_int_equal(f.xy.marker_count, 2);
    assert_true(f.xy.markers[0].horizontal && f.xy.markers[0].at == 29.5);
    assert_true(f.xy.y.lo < 29.5 && f.xy.y.hi > 61.75 && f.xy.y.hi < 80);
    assert_true(f.xy.x.lo < 2.6 && f.xy.x.hi > 4 && f.xy.x.hi < 5);
    figure_release(&f);
}

static void test_results_name_their_text_and_judge_only_what_is_comparable(void **state)
{
    (void)state;
    struct figure f = make("results");
    assert_string_equal(f.title, "Bits against perplexity on letters.txt");
    assert_string_equal(f.caption,
                        "4 of 5 runs have both. The least perplexity, 30.1250, is that of e "
                        "at 4.000 bits.");
    figure_release(&f);
    t.results.is_known = false;
    f = make("results");
    assert_non_null(strstr(f.caption, "It was not recorded which text they are of"));
    assert_null(strstr(f.caption, "least"));
    figure_release(&f);
}

static void test_a_method_keeps_its_sign_in_any_order_of_the_runs(void **state)
{
    (void)state;
    struct figure f = make("results");
    struct figure_run last = t.run[0];
    memmove(t.run, t.run + 1, (RUNS - 1) * sizeof *t.run);
    t.run[RUNS - 1] = last;
    struct figure turned = make("results");
    assert_int_equal(turned.xy.count, f.xy.count);
    for (size_t i = 0; i < f.xy.count; i++)
        if (f.xy.series[i].name)
            assert_string_equal(turned.xy.series[i].name, f.xy.series[i].name);
    memmove(t.run + 1, t.run, (RUNS - 1) * sizeof *t.run);
    t.run[0] = last;
    figure_release(&turned);
    figure_release(&f);
}

static void test_draws_have_bars_and_room_for_them(void **state)
{
    (void)state;
    struct figure f = make("results");
    assert_null(strstr(f.caption, "standard deviation"));
    double low = f.xy.y.lo;
    figure_release(&f);
    t.run[5].deviation = 4; /* runs/e: 30.125 */
    f = make("results");
    assert_true(f.xy.series[3].error[0] == 4 && f.xy.series[1].error[0] == 0);
    assert_true(f.xy.y.lo < 26.125 && low > 26.125);
    assert_non_null(strstr(f.caption, "Bars are"));
    figure_release(&f);
    t.run[5].deviation = 0;
}

static void test_no_method_is_too_many(void **state)
{
    (void)state;
    enum { MANY = 60 };
    static struct figure_run run[MANY];
    static char name[MANY][16];
    struct figure_results before = t.results;
    for (size_t i = 0; i < MANY; i++) {
        snprintf(name[i], sizeof name[i], "method-%02zu", MANY - 1 - i);
        run[i] = (struct figure_run){.name = name[i],
                                     .method = name[i],
                                     .nominal_bits = 2 + 0.01 * (double)i,
                                     .has_perplexity = true,
                                     .perplexity = 30 + (double)i};
    }
    t.results.run = run;
    t.results.runs = MANY;
    struct figure f = make("results");
    assert_int_equal(f.xy.count, MANY);
    for (size_t i = 0; i < MANY; i++) {
        size_t series;
        assert_true(figures_method(&series, &t.results, name[i]));
        assert_int_equal(series, MANY - 1 - i);
        assert_string_equal(f.xy.series[series].name, name[i]);
        assert_true(f.xy.series[series].n == 1 && f.xy.series[series].y[0] == 30 + (double)i);
    }
    size_t series;
    assert_false(figures_method(&series, &t.results, "another"));
    assert_non_null(strstr(f.caption, "60 of 60 runs have both."));
    assert_non_null(strstr(f.caption, " The legend names 24 of 60 methods."));
    figure_release(&f);
    t.results = before;
}

static void test_results_over_the_bits_in_the_file(void **state)
{
    (void)state;
    t.source.file_bits = true;
    struct figure f = make("results");
    assert_string_equal(f.xy.x.title, "bits in the file");
    assert_true(f.xy.series[0].x[0] == 3.2); /* gptq-3, 3 nominal */
    figure_release(&f);
}

static void test_one_result_stands_in_the_middle_of_its_axes(void **state)
{
    (void)state;
    t.results.runs = 1;
    for (int linear = 0; linear < 2; linear++) {
        t.source.linear = linear;
        struct figure f = make("results");
        double x = chart_place(&f.xy.x, 3.2), y = chart_place(&f.xy.y, 31.25);
        assert_true(x > 0.4 && x < 0.6 && y > 0.4 && y < 0.6);
        assert_true(f.xy.y.hi / f.xy.y.lo < 2);
        figure_release(&f);
    }
}

/* --- drawing --- */

static void test_every_figure_is_drawn_at_any_size_and_zoom(void **state)
{
    static const int size[][2] = {{3, 2}, {40, 10}, {80, 24}, {200, 60}};
    static const struct style_look look[] = {{STYLE_DARK, STYLE_DEPTH_256, STYLE_BRAILLE},
                                             {STYLE_MONO, STYLE_DEPTH_NONE, STYLE_ASCII}};
    (void)state;
    t.source.has_selected = t.source.has_other = t.source.has_run = true;
    t.source.expert = t.trace.experts - 1;
    t.source.token_rank = 40;
    for (size_t k = 0; k < figures_count(); k++)
        for (int zoom = 0; zoom <= 4; zoom++)
            for (size_t i = 0; i < 8; i++) {
                struct cells c;
                struct chart_map map = {0};
                t.source.zoom = zoom;
                t.source.linear = t.source.all_experts = i & 1;
                assert_int_equal(cells_init(&c, size[i / 2][0], size[i / 2][1], NULL), 0);
                struct figure f = make(figures_info(k)->name);
                figure_draw(&c, cells_area(&c), &look[i & 1], &f, &map);
                /* The gap behind the last tile may lie outside. */
                int gap = f.kind == FIGURE_TILES ? 2 * zoom + 2 : 0;
                assert_true(rect_empty(map.plot) ||
                            (map.plot.x >= 0 && map.plot.x + map.plot.w <= c.w + gap &&
                             map.plot.y + map.plot.h <= c.h + gap));
                figure_release(&f);
                cells_release(&c);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_every_figure_is_found_by_its_name_and_says_what_it_shows,
                               reset),
        cmocka_unit_test_setup(test_what_a_figure_needs_is_asked_for_in_words, reset),
        cmocka_unit_test_setup(test_front_marks_every_plan_once_and_says_its_values, reset),
        cmocka_unit_test_setup(test_front_axis_holds_all_plans_and_the_curve_is_thinned, reset),
        cmocka_unit_test_setup(test_bits_shows_gate_up_and_down_where_they_differ, reset),
        cmocka_unit_test(test_arrays_and_texts_live_until_the_figure_is_released),
        cmocka_unit_test(test_sampling_keeps_lowest_and_highest_of_every_column),
        cmocka_unit_test(test_sampling_makes_a_falling_curve_short),
        cmocka_unit_test(test_sampling_leaves_no_gap_in_a_steep_part),
        cmocka_unit_test(test_each_zoom_shows_half_around_the_centre_and_stays_inside),
        cmocka_unit_test_setup(test_a_zoomed_figure_holds_what_is_pointed_at, reset),
        cmocka_unit_test_setup(test_zipf_shows_counts_and_the_fitted_law, reset),
        cmocka_unit_test_setup(test_utilization_shows_shares_of_the_sum, reset),
        cmocka_unit_test_setup(test_experts_fall_and_equal_ones_keep_their_order, reset),
        cmocka_unit_test_setup(test_mapping_shows_each_experts_interval, reset),
        cmocka_unit_test_setup(test_similarity_is_a_square_of_the_picked_experts, reset),
        cmocka_unit_test_setup(test_difference_has_every_pair_once, reset),
        cmocka_unit_test_setup(test_bits_tell_width_and_pin_of_every_expert, reset),
        cmocka_unit_test_setup(test_results_are_points_by_method_and_the_original_is_a_line, reset),
        cmocka_unit_test_setup(test_results_name_their_text_and_judge_only_what_is_comparable,
                               reset),
        cmocka_unit_test_setup(test_a_method_keeps_its_sign_in_any_order_of_the_runs, reset),
        cmocka_unit_test_setup(test_draws_have_bars_and_room_for_them, reset),
        cmocka_unit_test_setup(test_no_method_is_too_many, reset),
        cmocka_unit_test_setup(test_results_over_the_bits_in_the_file, reset),
        cmocka_unit_test_setup(test_one_result_stands_in_the_middle_of_its_axes, reset),
        cmocka_unit_test_setup(test_every_figure_is_drawn_at_any_size_and_zoom, reset),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
