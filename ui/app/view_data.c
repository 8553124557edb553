/* Screen 1: the tokens of the trace, their Zipf fit, and what re-weighting makes of them. */
#include <math.h>
#include <stdio.h>

#include "analysis/reweight.h"
#include "ui/app/view_parts.h"

enum { SPLIT_ROWS = 10 };

static void draw_zipf(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    char token[128];
    if (!view_figure(&f, a, c, r, "zipf"))
        return;
    if (f.xy.cursor.shown) {
        app_token_text(a, a->result->rank_id[a->token_rank - 1], token, sizeof token);
        f.xy.cursor.text = figure_text(&f, "%s  %s", token, f.xy.cursor.text);
    }
    figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    struct rect part[2];
    view_split(a, r, false, SPLIT_ROWS, part);
    a->other_map = (struct chart_map){0};
    if (!rect_empty(part[0]))
        draw_zipf(a, c, part[0]);
    if (!rect_empty(part[1]))
        view_chart(a, c, part[1], "utilization", rect_empty(part[0]) ? &a->map : &a->other_map);
}

static void direction_fact(struct view_facts *f)
{
    static const struct {
        const char *word;
        uint16_t colour;
    } direction[] = {[DIRECTION_FLAT] = {"flat: every rank the same", STYLE_DEFAULT},
                     [DIRECTION_RISES] = {"rises: strengthens rare tokens", STYLE_GOOD},
                     [DIRECTION_FALLS] = {"falls: keeps common ones ahead", STYLE_WARN}};
    enum analysis_direction d = f->a->result->direction;
    view_fact(f, "R", direction[d].colour, "%s", direction[d].word);
}

static void share_facts(struct view_facts *f)
{
    const struct analysis_result *d = f->a->result;
    double before[3];
    reweight_share(before, d->utilization, d->types);
    view_fact(f, "head mid tail U", STYLE_DEFAULT, "%4.1f %4.1f %4.1f %%", 100 * before[0],
              100 * before[1], 100 * before[2]);
    view_fact(f, "head mid tail R", STYLE_DEFAULT, "%4.1f %4.1f %4.1f %%", 100 * d->share[0],
              100 * d->share[1], 100 * d->share[2]);
}

/* The commonest types, or those around the one that is pointed at. */
static void token_facts(struct view_facts *f)
{
    const struct analysis_result *d = f->a->result;
    view_heading(f, "tokens by rank");
    int rows = f->r.h - f->row;
    if (rows < 1)
        return;
    size_t selected = f->a->token_rank ? f->a->token_rank - 1 : 0, half = (size_t)rows / 2;
    size_t first = selected > half ? selected - half : 0;
    first = first + (size_t)rows > d->types
                ? (d->types > (size_t)rows ? d->types - (size_t)rows : 0)
                : first;
    for (size_t i = first; i < d->types && f->row < f->r.h; i++) {
        char token[128], name[192];
        bool here = f->a->token_rank == i + 1;
        app_token_text(f->a, d->rank_id[i], token, sizeof token);
        snprintf(name, sizeof name, "%zu  %s", i + 1, token);
        view_fact(f, name, here ? STYLE_ACCENT : STYLE_DEFAULT, "%llu",
                  (unsigned long long)d->rank_count[i]);
        if (here)
            cells_highlight(f->c, (struct rect){f->r.x, f->r.y + f->row - 1, f->r.w, 1},
                            STYLE_SELECT);
    }
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    const struct analysis_result *d = a->result;
    struct view_facts f = {a, c, r, 0};
    if (app_config_differs(a))
        view_fact(&f, "config.json", STYLE_WARN, "not the trace's own");
    view_fact(&f, "positions, types", STYLE_DEFAULT, "%zu, %zu", d->positions, d->types);
    view_fact(&f, view_word(a, "\u03b2, C", "beta, C"), STYLE_DEFAULT, "%.4f, %.4g", d->zipf.beta,
              d->zipf.c);
    view_fact(&f, view_word(a, "R\u00b2, KS", "R2, KS"), STYLE_DEFAULT, "%.4f, %.4f", d->zipf.r2,
              d->zipf.ks);
    direction_fact(&f);
    share_facts(&f);
    token_facts(&f);
    return f.row;
}

static void point_at(struct app *a, double rank)
{
    double last = (double)a->result->types;
    a->token_rank = (size_t)(rank < 1 ? 1 : rank > last ? last : rank);
}

static void move_rank(struct app *a, int move)
{
    double at = (double)a->token_rank, last = (double)a->result->types;
    double to[] = {1, floor(at / 1.25), at - 1, at, at + 1, ceil(at * 1.25 + 1), last};
    size_t before = a->token_rank;
    point_at(a, to[move - APP_TO_FIRST]);
    if (a->token_rank == before)
        app_say(a, STYLE_TEXT_DIM, "this is the %s rank", move < 0 ? "first" : "last");
}

static void forget_rank(struct app *a, int argument)
{
    (void)argument;
    app_say(a, STYLE_TEXT_DIM, a->token_rank ? "no token selected" : "no token was selected");
    a->token_rank = 0;
}

static void mouse(struct app *a, const struct term_event *e)
{
    double x, y;
    if (view_pressed(a, e, &x, &y) || view_pressed_in(&a->other_map, e, &x, &y))
        point_at(a, round(x));
}

static const struct app_key keys[] = {
    {{{'v', 0}},
     "other chart",
     "frequencies or utilization, where only one has room",
     view_other_chart},
    {{APP_KEYS_MOVE},
     "token",
     "select the token of the rank before, after; a quarter; first, last",
     move_rank},
    {{{TERM_KEY_ESC, 0}}, NULL, "select no token", forget_rank},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {
    TERM_KEY_TAB, TERM_KEY_LEFT, TERM_KEY_ENTER, 'v', '/', 'l', '+', 0};

static const char *const sliders[] = {"fit", "beta", "utilization", "reweight", "alpha", NULL};

const struct view view_data = {
    .name = "Data",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
