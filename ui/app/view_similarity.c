/* Screen 4: how much the weights of experts are alike (Fig. 5). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analysis/cosine.h"
#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum { LABEL = 24, EIGHT = 8, SPLIT_ROWS = 11, SPLIT_COLUMNS = 44, WIDE = 110, HEAT_FOOT = 2 };

static const double *layer_cosine(const struct app *a)
{
    size_t n = a->result->experts;
    return a->cosine + a->layer * n * n;
}

/* One domain for the whole model, so that layers can be compared; the diagonal, 1 by definition,
 * would hide the differences between the others. */
static void domain(const struct app *a, double *lo, double *hi)
{
    size_t n = a->result->experts;
    double min = 1, max = -1;
    for (size_t l = 0; l < a->result->layers; l++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) {
                double v = a->cosine[(l * n + i) * n + j];
                min = fmin(min, v);
                max = fmax(max, v);
            }
    double step = max > min ? pow(10, floor(log10(max - min))) : 0.1;
    *lo = fmax(floor(min / step) * step, -1);
    *hi = fmin(ceil(max / step) * step, 1);
    if (n < 2)
        *lo = 0, *hi = 1;
}

/* The experts shown: eight at equal quantiles of S, rising, or all of them. */
static size_t choose(const struct app *a, size_t pick[EIGHT])
{
    size_t n = a->result->experts;
    if (a->all_experts || n <= EIGHT ||
        cosine_pick(pick, EIGHT, view_layer(a)->significance, n, NULL) < 0)
        return n;
    return EIGHT;
}

static bool is_picked(const struct app *a)
{
    return !a->all_experts && a->result->experts > EIGHT;
}

/* Keeps the selected expert among the rows and columns that fit. */
static void scroll_heat(const struct app *a, struct chart_heat *heat, const struct chart_map *map)
{
    size_t rows = (size_t)fmax(map->y.lo - map->y.hi, 1),
           cols = (size_t)fmax(map->x.hi - map->x.lo, 1);
    heat->first_row = app_scroll_to(0, a->expert, heat->rows, rows);
    heat->first_col = app_scroll_to(0, a->expert, heat->cols, cols);
}

/* Returns the rows that it takes. */
static int draw_heat(struct app *a, struct cells *c, struct rect r)
{
    size_t n = a->result->experts, pick[EIGHT], shown = choose(a, pick);
    double eight[EIGHT * EIGHT];
    char text[EIGHT][LABEL];
    const char *label[EIGHT];
    struct chart_heat heat = {.value = layer_cosine(a),
                              .rows = shown,
                              .cols = shown,
                              .title = "cosine",
                              .has_selected = true,
                              .selected_row = a->expert,
                              .selected_col = a->expert};
    domain(a, &heat.lo, &heat.hi);
    if (is_picked(a)) {
        heat.value = eight;
        heat.row_labels = heat.col_labels = label;
        heat.has_selected = false;
        for (size_t i = 0; i < EIGHT; i++) {
            snprintf(text[i], LABEL, "%zu", pick[i]);
            label[i] = text[i];
            for (size_t j = 0; j < EIGHT; j++)
                eight[i * EIGHT + j] = layer_cosine(a)[pick[i] * n + pick[j]];
            if (pick[i] == a->expert) {
                heat.has_selected = true;
                heat.selected_row = heat.selected_col = i;
            }
        }
    }
    struct rect clip = c->clip;
    c->clip = (struct rect){0};
    chart_heat(c, r, &a->look, &heat, &a->map); /* only measures */
    c->clip = clip;
    if (!is_picked(a))
        scroll_heat(a, &heat, &a->map);
    chart_heat(c, r, &a->look, &heat, &a->map);
    int rows = a->map.plot.y + a->map.plot.h - r.y + HEAT_FOOT;
    return rows < r.h ? rows : r.h;
}

/* Draws outside every clip to learn it. */
static int heat_rows(struct app *a, struct cells *c, struct rect r)
{
    struct rect clip = c->clip;
    c->clip = (struct rect){0};
    int rows = draw_heat(a, c, r);
    c->clip = clip;
    return rows;
}

static void draw_scatter(struct app *a, struct cells *c, struct rect r, struct chart_map *map)
{
    const struct analysis_layer *l = view_layer(a);
    const double *cosine = layer_cosine(a);
    size_t n = a->result->experts, k = 0;
    double correlation, *x = mem_array(n * (n - 1) / 2 + 1, sizeof *x, NULL);
    double *y = mem_array(n * (n - 1) / 2 + 1, sizeof *y, NULL);
    char name[64] = "pairs of experts";
    if (!x || !y)
        goto cleanup;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++, k++) {
            x[k] = fabs(l->significance[i] - l->significance[j]);
            y[k] = cosine[i * n + j];
        }
    if (cosine_correlation(&correlation, cosine, l->significance, n))
        snprintf(name, sizeof name, "pairs, r = %+.3f", correlation);
    const struct chart_series series = {.name = name, .x = x, .y = y, .n = k, .mark = CHART_POINTS};
    chart_xy(c, r, &a->look,
             &(struct chart_xy){.x = {.title = "difference of significance |dS|"},
                                .y = {.title = "cosine"},
                                .series = &series,
                                .count = 1},
             map);
cleanup:
    free(x);
    free(y);
}

static void draw_ready(struct app *a, struct cells *c, struct rect r)
{
    struct rect part[2];
    bool beside = r.w >= WIDE;
    view_split(a, r, beside, beside ? SPLIT_COLUMNS : SPLIT_ROWS, part);
    if (!beside && !rect_empty(part[0]) && !rect_empty(part[1])) {
        /* Tiles grow by whole rows: two thirds are offered, what they leave is the scatter's. */
        int used = heat_rows(a, c, (struct rect){r.x, r.y, r.w, r.h * 2 / 3});
        part[0].h = used;
        part[1] = rect_inset(r, 0, used + 1, 0, 0);
    }
    if (!rect_empty(part[0]))
        draw_heat(a, c, part[0]);
    if (!rect_empty(part[1]))
        draw_scatter(a, c, part[1], rect_empty(part[0]) ? &a->map : NULL);
}

static void draw_progress(struct app *a, struct cells *c, struct rect r)
{
    int margin = r.w > 24 ? r.w / 8 : 1, w = r.w - 2 * margin, y = r.y + r.h / 3;
    cells_textf(c, r.x + margin, y, w, STYLE(STYLE_DEFAULT), "Comparing weights  %.0f %%",
                100 * a->cosine_progress);
    chart_meter(c, r.x + margin, y + 1, w, &a->look, a->cosine_progress, STYLE(STYLE_SERIES));
    if (a->cosine_message)
        cells_text(c, r.x + margin, y + 2, w, a->cosine_message, STYLE(STYLE_TEXT_DIM));
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    char text[APP_TEXT_MAX * 2];
    if (a->cosine_phase == APP_COSINE_READY && a->cosine) {
        draw_ready(a, c, r);
    } else if (a->cosine_phase == APP_COSINE_FAILED) {
        snprintf(text, sizeof text, "The weights could not be compared: %s",
                 a->cosine_message ? a->cosine_message : "the reason is not known");
        app_draw_empty(a, c, r, text);
    } else if (a->options->host.cosine) {
        draw_progress(a, c, r);
    } else {
        app_draw_empty(a, c, r,
                       "The similarity of experts is computed from the model's weights: start "
                       "with --model DIR.");
    }
}

/* The experts most and least like the selected one. */
static void neighbour_facts(struct view_facts *f)
{
    const struct app *a = f->a;
    const double *row = layer_cosine(a) + a->expert * a->result->experts;
    size_t n = a->result->experts, most = a->expert, least = a->expert;
    for (size_t e = 0; e < n; e++) {
        if (e == a->expert)
            continue;
        if (most == a->expert || row[e] > row[most])
            most = e;
        if (least == a->expert || row[e] < row[least])
            least = e;
    }
    if (most == a->expert)
        return;
    view_fact(f, "most like", STYLE_DEFAULT, "expert %zu, %.4f", most, row[most]);
    view_fact(f, "least like", STYLE_DEFAULT, "expert %zu, %.4f", least, row[least]);
}

static void pair_facts(struct view_facts *f)
{
    const struct app *a = f->a;
    const double *cosine = layer_cosine(a);
    size_t n = a->result->experts;
    double min = INFINITY, max = -INFINITY, sum = 0, correlation;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            double v = cosine[i * n + j];
            min = fmin(min, v);
            max = fmax(max, v);
            sum += v;
        }
    if (n < 2)
        return;
    view_fact(f, "pairs", STYLE_DEFAULT, "%zu", n * (n - 1) / 2);
    view_fact(f, "mean cosine", STYLE_DEFAULT, "%.4f", sum / (double)(n * (n - 1) / 2));
    view_fact(f, "least, most", STYLE_DEFAULT, "%.4f, %.4f", min, max);
    if (cosine_correlation(&correlation, cosine, view_layer(a)->significance, n))
        view_fact(f, "r of |dS| and cosine", STYLE_ACCENT, "%+.4f", correlation);
    else
        view_fact(f, "r of |dS| and cosine", STYLE_TEXT_DIM, "undefined");
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    struct view_facts f = {a, c, r, 0};
    bool ready = a->cosine_phase == APP_COSINE_READY && a->cosine;
    if (ready) {
        view_fact(&f, "shown", STYLE_DEFAULT, is_picked(a) ? "8 of %zu, by rising S" : "all %zu",
                  a->result->experts);
        pair_facts(&f);
    }
    view_expert_facts(&f);
    if (ready)
        neighbour_facts(&f);
    return f.row;
}

static void select_row(struct app *a, double y)
{
    size_t pick[EIGHT], shown = choose(a, pick), row = y > 0 ? (size_t)(y + 0.5) : 0;
    if (row < shown)
        a->expert = is_picked(a) ? pick[row] : row;
}

static bool event(struct app *a, const struct term_event *e)
{
    double x, y;
    bool ready = a->cosine_phase == APP_COSINE_READY && a->cosine;
    if (e->key == 'a') {
        a->all_experts = !a->all_experts;
        app_say(a, STYLE_TEXT_DIM,
                a->all_experts ? "all experts" : "eight experts at equal quantiles of S");
        return true;
    }
    if (e->key == 'v') {
        a->other_chart = !a->other_chart;
        return true;
    }
    if (ready && view_pressed(a, e, &x, &y)) {
        select_row(a, y);
        return true;
    }
    return view_move_expert(a, e, 8);
}

static const char *const sliders[] = {"alpha", "mapping", NULL};

const struct view view_similarity = {
    .name = "Similarity",
    .sliders = sliders,
    .hints = "a all experts  v other chart  < > expert",
    .draw = draw,
    .facts = facts,
    .event = event,
};
