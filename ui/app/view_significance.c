/* Screen 3: how the significance of a layer's experts is spread, and where it is cut (Fig. 4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "analysis/gaussian.h"
#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum { SPLIT_ROWS = 10 };

static void draw_list(struct app *a, struct cells *c, struct rect r, struct chart_map *map)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, "experts"))
        return;
    a->scroll = app_scroll_to(a->scroll, f.bars.selected, f.bars.n, r.h > 0 ? (size_t)r.h : 0);
    f.bars.first = a->scroll;
    figure_draw(c, r, &a->look, &f, map);
    figure_release(&f);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    struct rect part[2];
    view_split(a, r, false, SPLIT_ROWS, part);
    a->other_map = (struct chart_map){0};
    if (!rect_empty(part[0]))
        view_chart(a, c, part[0], "significance", &a->map);
    if (!rect_empty(part[1]))
        draw_list(a, c, part[1], &a->other_map);
}

/* Experts in the order of the list; NULL without memory. Freed by the caller. */
static size_t *ranked(const struct app *a)
{
    size_t *order = mem_array(a->result->experts, sizeof *order, NULL);
    if (order)
        figures_rank(order, view_layer(a)->significance, a->result->experts);
    return order;
}

static void rule_facts(struct view_facts *f)
{
    const struct app *a = f->a;
    const struct analysis_layer *l = view_layer(a);
    const char *by = a->document.settings.rule == RULE_AUTO ? "by pattern" : "by `rule`";
    char at[96];
    if (a->layer < SETTINGS_LAYERS_MAX && a->document.settings.layer[a->layer].has_rule)
        by = "this layer's own";
    view_fact(f, "rule", STYLE_ACCENT, "%s, %s", l->rule == RULE_JENKS ? "Jenks" : "threshold", by);
    view_fact(f, "threshold T", l->rule == RULE_THRESHOLD ? STYLE_DEFAULT : STYLE_TEXT_DIM, "%.5f",
              l->threshold);
    snprintf(at, sizeof at, "none: all are equal");
    for (size_t i = 0, used = 0; i < l->breaks && used < sizeof at; i++)
        used +=
            (size_t)snprintf(at + used, sizeof at - used, "%s%.5f", i ? " " : "", l->break_at[i]);
    view_fact(f, "Jenks", l->rule == RULE_JENKS ? STYLE_DEFAULT : STYLE_TEXT_DIM, "%s", at);
}

static void count_facts(struct view_facts *f)
{
    const struct analysis_layer *l = view_layer(f->a);
    size_t groups = view_groups(l);
    char name[32];
    for (size_t g = 1; g <= groups; g++) {
        view_group_name(name, sizeof name, l, g);
        view_fact(f, name, view_group_colour(g), "%zu of %zu experts", view_group_count(f->a, l, g),
                  f->a->result->experts);
    }
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    const struct analysis_layer *l = view_layer(a);
    struct view_facts f = {a, c, r, 0};
    rule_facts(&f);
    count_facts(&f);
    view_fact(&f, view_word(a, "\u03bc, \u03c3", "mu, sigma"), STYLE_DEFAULT, "%.5f, %.5f", l->mu,
              l->sigma);
    view_fact(&f, view_word(a, "pattern, \u03c3/\u03bc", "pattern, sigma/mu"), STYLE_DEFAULT,
              "%zu, %.3f", l->pattern, l->mu != 0 ? l->sigma / l->mu : 0.0);
    view_fact(&f, "fit of breaks", STYLE_DEFAULT, "%.4f", l->gvf);
    if (l->anderson_darling_valid)
        view_fact(&f, "Gaussian? A*, p", STYLE_DEFAULT, "%.3f, %.3g", l->anderson_darling,
                  l->anderson_darling_p);
    else
        view_fact(&f, "Gaussian? A*, p", STYLE_TEXT_DIM, "%s",
                  a->result->experts < GAUSSIAN_AD_MIN ? "too few values" : "all equal");
    view_expert_facts(&f);
    return f.row;
}

/* The layer's own threshold where it has one, else that of all layers. */
static void set_threshold(struct app *a, double value)
{
    char text[64];
    value = fmin(fmax(value, 0), 1);
    if (app_own_threshold(a))
        snprintf(text, sizeof text, "%zu:%.5f", a->layer, value);
    else
        snprintf(text, sizeof text, "%.5f", value);
    app_set(a, "threshold", text);
}

/* Takes the threshold line and moves it; one undo brings it back to where it was taken. */
static bool drag(struct app *a, const struct term_event *e)
{
    double x, y;
    int line;
    if (e->mouse == TERM_MOUSE_PRESS && e->button == 1 &&
        chart_map_x(&a->map, view_layer(a)->threshold, &line) && abs(e->x - line) <= 1 &&
        chart_map_at(&a->map, e->x, e->y, &x, &y)) {
        a->dragging = true;
        a->drag_changed = false;
        return true;
    }
    if (!a->dragging)
        return false;
    if (e->mouse == TERM_MOUSE_DRAG && chart_map_at(&a->map, e->x, a->map.plot.y, &x, &y))
        set_threshold(a, x);
    if (e->mouse == TERM_MOUSE_RELEASE)
        a->dragging = false;
    return true;
}

/* To another expert in the order of the list. */
static void move(struct app *a, int move)
{
    size_t *order = ranked(a), at = 0, n = a->result->experts;
    size_t page = a->map.plot.h > 1 ? (size_t)a->map.plot.h : 1;
    if (!order) {
        app_say(a, STYLE_ERROR, "no memory for the list");
        return;
    }
    while (at + 1 < n && order[at] != a->expert)
        at++;
    size_t to = app_keys_move(at, n, move, page);
    if (to == at)
        app_say(a, STYLE_TEXT_DIM, "this is the %s expert of the list",
                move < 0 ? "first" : "last");
    a->expert = order[to];
    free(order);
}

static void select_nearest(struct app *a, double value)
{
    const double *s = view_layer(a)->significance;
    for (size_t e = 0; e < a->result->experts; e++)
        if (fabs(s[e] - value) < fabs(s[a->expert] - value))
            a->expert = e;
}

static void select_row(struct app *a, double y)
{
    size_t *order = ranked(a), row = y > 0 ? (size_t)(y + 0.5) : 0;
    if (order && row < a->result->experts)
        a->expert = order[row];
    free(order);
}

static void mouse(struct app *a, const struct term_event *e)
{
    double x, y;
    int wheel = view_wheel(a, e);
    if (drag(a, e))
        return;
    if (wheel)
        move(a, wheel);
    else if (view_pressed(a, e, &x, &y))
        select_nearest(a, x);
    else if (view_pressed_in(&a->other_map, e, &x, &y))
        select_row(a, y);
}

static void cycle_rule(struct app *a, int argument)
{
    (void)argument;
    app_cycle_rule(a);
}

static const struct app_key keys[] = {
    {{{'o', 0}},
     "layer's rule",
     "rule of this layer: threshold, Jenks, none of its own",
     cycle_rule},
    {{{'v', 0}}, "list", "histogram or list of experts, where only one has room", view_other_chart},
    {{APP_KEYS_MOVE}, "expert", "select the expert before, after, by significance", move},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {TERM_KEY_TAB, TERM_KEY_LEFT, '[', '<', 'o', 'v', 0};

static const char *const sliders[] = {"alpha",      "beta", "mapping",          "min_count",
                                      "pattern_cv", "rule", "threshold_sigmas", "threshold",
                                      "classes",    NULL};

const struct view view_significance = {
    .name = "Significance",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
