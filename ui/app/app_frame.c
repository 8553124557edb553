#include <stdio.h>
#include <string.h>

#include "ui/app/app_find.h"

/* The frame around the screens: title, tabs, panel of sliders and facts, message, hints. */

enum { PANEL_WIDTH = 38, PANEL_MIN = 30, PROGRAM = 6 };

static void draw_title(struct app *a, struct cells *c, struct rect r)
{
    const char *slash = strrchr(a->options->trace_path, '/');
    char right[APP_TEXT_MAX] = "";
    size_t used = 0;
    struct style bar = {.fg = STYLE_TITLE, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    cells_fill(c, r, " ", bar);
    used += (size_t)snprintf(right, sizeof right, "layer %zu (%zu of %zu)",
                             a->result->layer[a->layer].layer, a->layer + 1, a->result->layers);
    if (a->has_plan)
        used += (size_t)snprintf(right + used, sizeof right - used, "  %.3f bits",
                                 a->plan.summary.nominal_bits);
    if (app_run_is_active(a))
        used += (size_t)snprintf(
            right + used, sizeof right - used, "  %s %.0f %%", app_run_part(&a->run),
            a->run.steps_total ? 100.0 * (double)a->run.steps_done / (double)a->run.steps_total
                               : 0);
    if (!app_document_equal(&a->document, &a->saved, a))
        snprintf(right + used, sizeof right - used, "  plan not written");
    int right_width = cells_width(right), room = r.w - right_width - 3, x = r.x + 1;
    const char *name = slash ? slash + 1 : a->options->trace_path;
    if (cells_width(name) + PROGRAM <= room)
        x += cells_text(c, x, r.y, PROGRAM, "moqa  ", bar);
    if (room > 0)
        cells_label(c, (struct rect){x, r.y, r.x + 1 + room - x, 1}, CELLS_LEFT, name, &a->look,
                    bar);
    if (right_width + 2 < r.w)
        cells_text(c, r.x + r.w - right_width - 1, r.y, -1, right, bar);
}

static void draw_tabs(struct app *a, struct cells *c, struct rect r)
{
    int full = 0, x = r.x + 1;
    for (size_t i = 0; i < APP_VIEWS; i++)
        full += cells_width(views[i]->name) + 4;
    bool names = full <= r.w;
    for (size_t i = 0; i < APP_VIEWS; i++) {
        bool on = i == a->view;
        struct style key = {.fg = STYLE_KEY, .attr = on ? STYLE_BOLD | STYLE_REVERSE : 0};
        struct style text = {.fg = on ? STYLE_ACCENT : STYLE_DEFAULT,
                             .attr = on ? STYLE_BOLD | STYLE_REVERSE : 0};
        int begin = x;
        x += cells_textf(c, x, r.y, r.x + r.w - x, key, " %zu", i + 1);
        if (names || on)
            x += cells_textf(c, x, r.y, r.x + r.w - x, text, " %s ", views[i]->name);
        else
            x += cells_text(c, x, r.y, r.x + r.w - x, " ", text);
        a->tabs[i] = (struct rect){begin, r.y, x - begin, 1};
    }
}

struct hints {
    struct app *a;
    struct cells *c;
    int x, y, end;
    bool more; /* some had no room */
};

/* One hint, if there is room for all of it and no other key has taken its place. */
static void draw_hint(struct hints *h, const struct app_key *key)
{
    struct style text = {.fg = STYLE_TEXT_DIM, .bg = STYLE_BAR},
                 name = {.fg = STYLE_KEY, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    char names[APP_KEY_NAME];
    int argument;
    const char *hint = app_keys_hint(h->a, key);
    if (!hint || app_keys_find(h->a, key->on[0].code, &argument) != key)
        return;
    app_keys_names(names, sizeof names, key, 2, h->a->look.glyphs);
    if (h->x + cells_width(names) + 1 + cells_width(hint) > h->end) {
        h->more = true;
        return;
    }
    h->x += cells_text(h->c, h->x, h->y, -1, names, name);
    h->x += cells_textf(h->c, h->x, h->y, -1, text, " %s", hint) + 2;
}

static bool is_first(const struct app *a, const struct app_key *key)
{
    int argument;
    for (const uint32_t *code = views[a->view]->first; code && *code; code++)
        if (app_keys_find(a, *code, &argument) == key)
            return true;
    return false;
}

static bool is_in(const struct app_key *table, const struct app_key *key)
{
    for (; table && table->act; table++)
        if (table == key)
            return true;
    return false;
}

static void draw_hints_but_first(struct hints *h, const struct app_key *table)
{
    for (const struct app_key *k = table; k && k->act; k++)
        if (!is_first(h->a, k))
            draw_hint(h, k);
}

/* "key what  key what": what the screen has most use for, then its other keys, then those of all.
 * `?` always: "more" where some had no room. */
static void draw_hints(struct app *a, struct cells *c, struct rect r)
{
    const struct view *v = views[a->view];
    struct style text = {.fg = STYLE_TEXT_DIM, .bg = STYLE_BAR},
                 key = {.fg = STYLE_KEY, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    struct hints h = {a, c, r.x + 1, r.y, r.x + r.w - 16, false};
    const struct app_key *pane = app_find_keys(a);
    int argument;
    cells_fill(c, r, " ", text);
    for (const struct app_key *k = pane; k && k->act; k++)
        draw_hint(&h, k);
    for (const uint32_t *code = v->first; code && *code; code++) {
        const struct app_key *k = app_keys_find(a, *code, &argument);
        if (k && !is_in(pane, k))
            draw_hint(&h, k);
    }
    draw_hints_but_first(&h, v->keys);
    draw_hints_but_first(&h, app_keys);
    int x = cells_text(c, r.x + r.w - 14, r.y, -1, "?", key) + r.x + r.w - 14;
    x += cells_text(c, x, r.y, -1, h.more ? " more " : " help ", text);
    x += cells_text(c, x, r.y, -1, " q", key);
    cells_text(c, x, r.y, -1, " quit", text);
}

static void draw_panel(struct app *a, struct cells *c, struct rect r)
{
    int row = 0;
    cells_fill(c, (struct rect){r.x, r.y, 1, r.h}, style_glyph(&a->look, STYLE_G_VLINE),
               STYLE(STYLE_BORDER));
    struct rect inner = rect_inset(r, 2, 0, 1, 0);
    int facts_min = r.h > 12 ? 6 : 2;
    struct rect sliders = inner;
    sliders.h = r.h - facts_min;
    row = app_draw_sliders(a, c, sliders);
    if (row > 0 && row < r.h) {
        cells_fill(c, (struct rect){inner.x, inner.y + row, inner.w, 1},
                   style_glyph(&a->look, STYLE_G_HLINE), STYLE(STYLE_BORDER));
        row++;
    }
    if (views[a->view]->facts && row < r.h)
        views[a->view]->facts(a, c, rect_inset(inner, 0, row, 0, 0));
}

/* The question of `q` is asked here, too: it must work at any size. */
static void draw_too_small(const struct app *a, struct cells *c)
{
    cells_paragraph(c, cells_area(c),
                    a->mode == APP_CONFIRM_QUIT
                        ? "y quits and drops what is not written; any other key stays."
                        : "moqa needs 40 x 10 cells. q quits.",
                    STYLE(STYLE_WARN));
}

/* What was done or went wrong; a long one takes the rows above its own, too. */
static void draw_message(struct app *a, struct cells *c, struct rect r)
{
    enum { ROWS_MAX = 3 };
    struct rect at = {r.x + 1, r.y, r.w - 2, ROWS_MAX};
    int rows = a->message[0] ? cells_paragraph_rows(c, at.w, at.h, a->message) : 0;
    int above = rows > 1 && r.y - (rows - 1) > 1 ? rows - 1 : 0;
    cells_fill(c, (struct rect){r.x, r.y - above, r.w, 1 + above}, " ", STYLE(STYLE_DEFAULT));
    at.y -= above;
    at.h = 1 + above;
    cells_paragraph(c, at, a->message, STYLE(a->message_colour));
}

/* The charts, and beside or over them what was found. */
static void draw_charts(struct app *a, struct cells *c, struct rect r)
{
    struct rect chart, pane = app_find_place(a, r, c->w, &chart);
    c->clip = chart;
    if (!a->find.covers)
        views[a->view]->draw(a, c, chart);
    c->clip = pane;
    app_find_draw(a, c, pane);
}

void app_draw(struct app *a, struct cells *c)
{
    struct rect rows[5], columns[2];
    cells_clear(c);
    a->slider_rows = (struct rect){0};
    memset(a->tabs, 0, sizeof a->tabs);
    if (c->w < APP_MIN_WIDTH || c->h < APP_MIN_HEIGHT) {
        draw_too_small(a, c);
        return;
    }
    const struct layout_item row_items[] = {{.want = 1, .min = 1, .priority = 9},
                                            {.want = 1, .min = 1, .priority = 5},
                                            {.weight = 1, .min = 5, .priority = 10},
                                            {.want = 1, .min = 1, .priority = 7},
                                            {.want = 1, .min = 1, .priority = 8}};
    layout_rows(rows, cells_area(c), row_items, 5, 0);
    bool pane = a->find.pane != APP_PANE_NONE;
    bool panel = !a->expanded && (views[a->view]->sliders[0] || views[a->view]->facts);
    const struct layout_item column_items[] = {{.weight = 3, .want = 38, .min = 38, .priority = 10},
                                               {.weight = panel && !pane ? 1 : 0,
                                                .want = panel ? PANEL_WIDTH : 0,
                                                .min = panel ? PANEL_MIN : 1,
                                                .max = 56,
                                                .priority = 1}};
    columns[1] = (struct rect){0};
    if (panel)
        layout_columns(columns, rows[2], column_items, 2, 1);
    else
        columns[0] = rows[2];
    draw_title(a, c, rows[0]);
    draw_tabs(a, c, rows[1]);
    a->map = (struct chart_map){0};
    a->charts_together = false;
    draw_charts(a, c, columns[0]);
    c->clip = columns[1];
    if (!rect_empty(columns[1]))
        draw_panel(a, c, columns[1]);
    c->clip = cells_area(c);
    draw_message(a, c, rows[3]);
    draw_hints(a, c, rows[4]);
    if (a->mode != APP_NORMAL)
        app_prompt_draw(a, c);
}
