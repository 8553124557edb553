/* Screen 2: which ranks each expert serves (Fig. 3). */
#include <stdio.h>

#include "ui/app/view_parts.h"

enum { TOKENS_MAX = 40 };

static void draw(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, "mapping"))
        return;
    /* The label of a marker takes a row of its own. */
    int height = r.h - (f.intervals.marker_count ? 1 : 0);
    a->scroll = app_scroll_to(a->scroll, a->expert, f.intervals.n,
                              chart_intervals_rows(&f.intervals, height));
    f.intervals.first = a->scroll;
    figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
}

static bool is_used(const struct app *a)
{
    size_t rank;
    uint64_t count;
    return analysis_commonest(a->analysis, a->layer, a->expert, 1, &rank, &count) > 0;
}

static void token_facts(struct view_facts *f)
{
    size_t ranks[TOKENS_MAX], n;
    uint64_t counts[TOKENS_MAX];
    struct app *a = f->a;
    view_heading(f, "its commonest tokens, by rank");
    int rows = f->r.h - f->row;
    n = analysis_commonest(a->analysis, a->layer, a->expert,
                           rows > TOKENS_MAX ? TOKENS_MAX
                           : rows > 0        ? (size_t)rows
                                             : 0,
                           ranks, counts);
    for (size_t i = 0; i < n; i++) {
        char token[128], name[192];
        app_token_text(a, a->result->rank_id[ranks[i] - 1], token, sizeof token);
        snprintf(name, sizeof name, "%zu  %s", ranks[i], token);
        view_fact(f, name, a->token_rank == ranks[i] ? STYLE_ACCENT : STYLE_DEFAULT, "%llu",
                  (unsigned long long)counts[i]);
    }
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    const struct analysis_interval *v = &view_layer(a)->interval[a->expert];
    struct view_facts f = {a, c, r, 0};
    view_expert_facts(&f);
    view_fact(&f, "types", STYLE_DEFAULT, "%zu of %zu",
              analysis_members(a->analysis, a->layer, a->expert), a->result->types);
    if (v->valid) {
        view_fact(&f, "ranks", STYLE_DEFAULT, "%zu to %zu", v->lowest, v->highest);
        view_fact(&f, "10 %, half, 90 %", STYLE_DEFAULT, "%zu, %zu, %zu", v->tenth, v->median,
                  v->ninetieth);
    } else {
        view_fact(&f, "ranks", STYLE_WARN,
                  is_used(a) ? "none often enough to count" : "no type is routed here");
    }
    if (a->token_rank)
        view_fact(
            &f, "the token found", STYLE_ACCENT, "%llu times here",
            (unsigned long long)analysis_count(a->analysis, a->layer, a->expert, a->token_rank));
    token_facts(&f);
    return f.row;
}

static void move(struct app *a, int move)
{
    size_t page = a->map.plot.h > 1 ? (size_t)a->map.plot.h - 1 : 1;
    size_t to = app_keys_move(a->expert, a->result->experts, move, page);
    if (to == a->expert)
        view_move_expert(a, move); /* says which end this is */
    a->expert = to;
}

static void mouse(struct app *a, const struct term_event *e)
{
    double x, y;
    int wheel = view_wheel(a, e);
    if (wheel)
        move(a, wheel);
    else if (view_pressed(a, e, &x, &y)) {
        size_t row = y > 0 ? (size_t)(y + 0.5) : 0;
        a->expert = row < a->result->experts ? row : a->expert;
    }
}

static const struct app_key keys[] = {
    {{APP_KEYS_MOVE},
     "expert",
     "select the expert before, after; pages; the first, the last",
     move},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {TERM_KEY_TAB, TERM_KEY_LEFT, '<', '[', 'i', 'u', 'l', '+', 0};

static const char *const sliders[] = {"mapping", "min_count", "alpha", "reweight", NULL};

const struct view view_mapping = {
    .name = "Mapping",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
