/* Screen 4: how much the weights of experts are alike (Fig. 5). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analysis/cosine.h"
#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum { EIGHT = 8, SPLIT_ROWS = 11, SPLIT_COLUMNS = 44, WIDE = 110, HEAT_FOOT = 2 };

static const double *layer_cosine(const struct app *a)
{
    size_t n = a->result->experts;
    return a->cosine + a->layer * n * n;
}

static bool is_picked(const struct app *a)
{
    return !a->all_experts && a->result->experts > EIGHT;
}

/* Keeps the selected pair among the rows and columns that fit. */
static void scroll_heat(struct app *a, struct cells *c, struct rect r, struct figure *f)
{
    struct chart_map map = view_measure(a, c, r, f);
    struct chart_heat *heat = &f->heat;
    if (!heat->has_selected)
        return;
    heat->first_row =
        app_scroll_to(0, heat->selected_row, heat->rows, (size_t)fmax(map.y.lo - map.y.hi, 1));
    heat->first_col =
        app_scroll_to(0, heat->selected_col, heat->cols, (size_t)fmax(map.x.hi - map.x.lo, 1));
}

static void draw_heat(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, "similarity"))
        return;
    scroll_heat(a, c, r, &f);
    figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
}

/* The rows that the heat map would take of `r`. */
static int heat_rows(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, "similarity"))
        return r.h;
    struct chart_map map = view_measure(a, c, r, &f);
    figure_release(&f);
    int rows = map.plot.y + map.plot.h - r.y + HEAT_FOOT;
    return rows < r.h ? rows : r.h;
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
    a->other_map = (struct chart_map){0};
    if (!rect_empty(part[0]))
        draw_heat(a, c, part[0]);
    if (!rect_empty(part[1]))
        view_chart(a, c, part[1], "difference", &a->other_map);
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
        view_needs_model(a, c, rect_inset(r, 2, 1, 2, 0),
                         "No model was given, and experts are compared by their weights.");
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

/* The selected expert and the one that it is compared with. */
static void compared_facts(struct view_facts *f)
{
    const struct app *a = f->a;
    const double *s = view_layer(a)->significance;
    size_t n = a->result->experts;
    if (!a->has_other || a->other >= n || a->other == a->expert)
        return;
    char name[48];
    snprintf(name, sizeof name, "cosine with %zu", a->other);
    view_fact(f, name, STYLE_ACCENT, "%.4f", layer_cosine(a)[a->expert * n + a->other]);
    snprintf(name, sizeof name, "|dS| with %zu", a->other);
    view_fact(f, name, STYLE_ACCENT, "%.5f", fabs(s[a->expert] - s[a->other]));
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
    if (ready) {
        compared_facts(&f);
        neighbour_facts(&f);
    }
    return f.row;
}

/* The pair under the mouse: the row's expert and the one it is compared with. */
static void select_in_heat(struct app *a, const struct term_event *e, double x)
{
    struct figure_source source = view_source(a);
    size_t *pick = mem_array(a->result->experts, sizeof *pick, NULL), row, at = 0;
    size_t shown = pick ? figures_pick(pick, &source) : 0, col = x > 0 ? (size_t)(x + 0.5) : 0;
    while (at < shown && pick[at] != a->expert)
        at++;
    if (chart_heat_row(&a->map, e->y, at, &row) && row < shown && col < shown) {
        a->expert = pick[row];
        a->other = pick[col];
        a->has_other = true;
    }
    free(pick);
}

/* The pair whose point is nearest on the screen, where a row is as high as two columns. */
static void select_in_scatter(struct app *a, double x, double y)
{
    const struct chart_map *m = &a->other_map;
    const double *s = view_layer(a)->significance, *cosine = layer_cosine(a);
    double at_x = chart_place(&m->x, x), at_y = chart_place(&m->y, y), least = INFINITY;
    size_t n = a->result->experts;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++) {
            double dx = m->plot.w * (chart_place(&m->x, fabs(s[i] - s[j])) - at_x);
            double dy = 2 * m->plot.h * (chart_place(&m->y, cosine[i * n + j]) - at_y);
            if (dx * dx + dy * dy >= least)
                continue;
            least = dx * dx + dy * dy;
            a->expert = i;
            a->other = j;
            a->has_other = true;
        }
}

static void switch_all(struct app *a, int argument)
{
    (void)argument;
    a->all_experts = !a->all_experts;
    app_say(a, STYLE_TEXT_DIM,
            a->all_experts ? "all experts" : "eight experts at equal quantiles of S");
}

/* Compares the selected expert with another one of its layer. */
static void move_other(struct app *a, int move)
{
    enum { PAGE = 8 };
    size_t n = a->result->experts, from = a->has_other ? a->other : a->expert;
    size_t to = app_keys_move(from, n, move, PAGE);
    if (to == a->expert) /* not with itself */
        to = app_keys_move(to, n, move, PAGE);
    if (to == a->expert || to == from) {
        app_say(a, STYLE_TEXT_DIM, "this is the %s expert to compare with",
                move < 0 ? "first" : "last");
        return;
    }
    a->other = to;
    a->has_other = true;
}

static void forget_other(struct app *a, int argument)
{
    (void)argument;
    app_say(a, STYLE_TEXT_DIM, a->has_other ? "no pair selected" : "no pair was selected");
    a->has_other = false;
}

static void mouse(struct app *a, const struct term_event *e)
{
    double x, y;
    bool ready = a->cosine_phase == APP_COSINE_READY && a->cosine;
    int wheel = view_wheel(a, e);
    if (wheel)
        view_move_expert(a, wheel);
    else if (ready && view_pressed(a, e, &x, &y))
        select_in_heat(a, e, x);
    else if (ready && view_pressed_in(&a->other_map, e, &x, &y))
        select_in_scatter(a, x, y);
}

static const struct app_key keys[] = {
    {{{'a', 0}}, "all experts", "eight experts at equal quantiles of S, or all", switch_all},
    {{{'v', 0}}, "other chart", "heat map or points, where only one has room", view_other_chart},
    VIEW_KEY_EXPERT(APP_KEYS_MOVE),
    {{{'{', APP_BACK}, {'}', APP_ON}, {TERM_KEY_SHIFT_UP, APP_BACK}, {TERM_KEY_SHIFT_DOWN, APP_ON}},
     "pair",
     "compare the selected expert with the one before, after",
     move_other},
    {{{TERM_KEY_ESC, 0}}, NULL, "select no pair", forget_other},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {'[', '<', 'a', 'v', '{', 0};

/* Without a model there is nothing to see of pairs. */
static bool offers(const struct app *a, uint32_t code)
{
    return a->options->host.cosine || (code != 'a' && code != 'v' && code != '{');
}

static const char *const sliders[] = {"alpha", "mapping", NULL};

const struct view view_similarity = {
    .name = "Similarity",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .offers = offers,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
