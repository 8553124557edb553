/* Screen 3: how the significance of a layer's experts is spread, and where it is cut (Fig. 4). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum { LABEL = 24, SPLIT_ROWS = 10 };

static size_t fill_markers(const struct app *a, struct chart_marker *marker)
{
    const struct analysis_layer *l = view_layer(a);
    bool jenks = l->rule == RULE_JENKS;
    size_t n = 0;
    marker[n++] = (struct chart_marker){.at = l->threshold,
                                        .label = "T",
                                        .colour = jenks ? STYLE_TEXT_DIM : STYLE_MARKER,
                                        .focus = !jenks || a->dragging};
    for (size_t i = 0; i < l->breaks; i++)
        marker[n++] = (struct chart_marker){.at = l->break_at[i],
                                            .label = "break",
                                            .colour = jenks ? STYLE_MARKER : STYLE_TEXT_DIM,
                                            .focus = jenks};
    marker[n++] = (struct chart_marker){
        .at = l->mu, .label = view_word(a, "\u03bc", "mu"), .colour = STYLE_CURVE};
    return n;
}

static void draw_histogram(struct app *a, struct cells *c, struct rect r, struct chart_map *map)
{
    const struct analysis_layer *l = view_layer(a);
    struct chart_marker marker[SETTINGS_CLASSES_MAX + 2];
    struct chart_histogram chart = {.x = {.title = "significance S"},
                                    .y = {.title = "experts"},
                                    .value = l->significance,
                                    .n = a->result->experts,
                                    .group = l->group,
                                    .curve = true,
                                    .mu = l->mu,
                                    .sigma = l->sigma,
                                    .markers = marker,
                                    .marker_count = fill_markers(a, marker),
                                    .selected = &a->expert};
    chart_histogram(c, r, &a->look, &chart, map);
}

struct place {
    double significance;
    size_t expert;
};

static int falling(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->significance != b->significance)
        return a->significance < b->significance ? 1 : -1;
    return a->expert < b->expert ? -1 : 1;
}

/* Experts by falling significance; NULL without memory. Freed by the caller. */
static struct place *sorted(const struct app *a)
{
    const struct analysis_layer *l = view_layer(a);
    struct place *place = mem_array(a->result->experts, sizeof *place, NULL);
    for (size_t e = 0; place && e < a->result->experts; e++)
        place[e] = (struct place){l->significance[e], e};
    if (place)
        qsort(place, a->result->experts, sizeof *place, falling);
    return place;
}

static void draw_list(struct app *a, struct cells *c, struct rect r)
{
    const struct analysis_layer *l = view_layer(a);
    size_t n = a->result->experts, selected = 0;
    char note[SETTINGS_CLASSES_MAX + 1][LABEL];
    struct place *place = sorted(a);
    char(*label)[LABEL] = mem_array(n, sizeof *label, NULL);
    struct chart_bar *bar = mem_array(n, sizeof *bar, NULL);
    if (!place || !label || !bar)
        goto cleanup;
    for (size_t g = 1; g <= SETTINGS_CLASSES_MAX; g++)
        view_group_name(note[g], LABEL, l, g);
    for (size_t i = 0; i < n; i++) {
        size_t e = place[i].expert;
        snprintf(label[i], LABEL, "expert %zu", e);
        bar[i] = (struct chart_bar){.label = label[i],
                                    .value = place[i].significance,
                                    .colour = view_group_colour(l->group[e]),
                                    .note = note[l->group[e]]};
        selected = e == a->expert ? i : selected;
    }
    a->scroll = app_scroll_to(a->scroll, selected, n, r.h > 0 ? (size_t)r.h : 0);
    chart_bars(c, r, &a->look,
               &(struct chart_bars){.bar = bar,
                                    .n = n,
                                    .first = a->scroll,
                                    .has_selected = true,
                                    .selected = selected,
                                    .digits = 4});
cleanup:
    free(place);
    free(label);
    free(bar);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    struct rect part[2];
    view_split(a, r, false, SPLIT_ROWS, part);
    if (!rect_empty(part[0]))
        draw_histogram(a, c, part[0], &a->map);
    if (!rect_empty(part[1]))
        draw_list(a, c, part[1]);
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
        view_fact(&f, "Gaussian? A*, p", STYLE_TEXT_DIM, "too few values");
    view_expert_facts(&f);
    return f.row;
}

/* The layer's own threshold where it has one, else that of all layers. */
static void set_threshold(struct app *a, double value)
{
    char text[64];
    bool own = a->layer < SETTINGS_LAYERS_MAX && a->document.settings.layer[a->layer].has_threshold;
    value = fmin(fmax(value, 0), 1);
    if (own)
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

/* To the next expert in the order of the list. */
static bool move(struct app *a, const struct term_event *e)
{
    struct place *place = sorted(a);
    size_t at = 0;
    if (!place)
        return false;
    while (at + 1 < a->result->experts && place[at].expert != a->expert)
        at++;
    size_t before = a->expert;
    a->expert = at;
    bool taken = view_move_expert(a, e, a->map.plot.h > 1 ? (size_t)a->map.plot.h : 1);
    a->expert = taken ? place[a->expert].expert : before;
    free(place);
    return taken;
}

static void select_nearest(struct app *a, double value)
{
    const double *s = view_layer(a)->significance;
    for (size_t e = 0; e < a->result->experts; e++)
        if (fabs(s[e] - value) < fabs(s[a->expert] - value))
            a->expert = e;
}

static bool event(struct app *a, const struct term_event *e)
{
    double x, y;
    if (e->key != TERM_KEY_MOUSE)
        a->dragging = false; /* a terminal may keep the release to itself */
    else if (drag(a, e))
        return true;
    if (view_pressed(a, e, &x, &y)) {
        select_nearest(a, x);
        return true;
    }
    if (e->key == 'o') {
        app_cycle_rule(a);
        return true;
    }
    if (e->key == 'v') {
        a->other_chart = !a->other_chart;
        return true;
    }
    return move(a, e);
}

static const char *const sliders[] = {"alpha",      "beta", "mapping",          "min_count",
                                      "pattern_cv", "rule", "threshold_sigmas", "threshold",
                                      "classes",    NULL};

const struct view view_significance = {
    .name = "Significance",
    .sliders = sliders,
    .hints = "o layer's rule  v list  < > expert",
    .draw = draw,
    .facts = facts,
    .event = event,
};
