#include "ui/app/view_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"

void view_fact(struct view_facts *f, const char *name, uint16_t colour, const char *format, ...)
{
    char value[APP_TEXT_MAX];
    va_list args;
    if (f->row >= f->r.h)
        return;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    app_fact(f->a, f->c, f->r, f->row++, name, colour, "%s", value);
}

void view_heading(struct view_facts *f, const char *text)
{
    enum { ROOM_BELOW = 3 };
    if (f->row > 0 && f->row + ROOM_BELOW < f->r.h)
        f->row++;
    if (f->row + 1 >= f->r.h)
        return;
    cells_text(f->c, f->r.x, f->r.y + f->row++, f->r.w, text, STYLE(STYLE_TITLE));
}

void view_words(struct view_facts *f, uint16_t colour, const char *text)
{
    struct rect at = rect_inset(f->r, 1, f->row, 0, 0);
    if (!rect_empty(at))
        f->row += cells_paragraph(f->c, at, text, STYLE(colour));
}

const char *view_word(const struct app *a, const char *utf8, const char *ascii)
{
    return a->look.glyphs == STYLE_ASCII ? ascii : utf8;
}

const struct analysis_layer *view_layer(const struct app *a)
{
    return &a->result->layer[a->layer];
}

size_t view_groups(const struct analysis_layer *l)
{
    return figures_groups(l);
}

size_t view_group_count(const struct app *a, const struct analysis_layer *l, size_t group)
{
    size_t n = 0;
    for (size_t e = 0; e < a->result->experts; e++)
        n += l->group[e] == group;
    return n;
}

void view_group_name(char *out, size_t size, const struct analysis_layer *l, size_t group)
{
    figures_group_name(out, size, l, group);
}

uint16_t view_group_colour(size_t group)
{
    return figures_group_colour(group);
}

/* Where losses are known. */
static const struct figure_front *front_of(struct app *a)
{
    struct app_front *f = &a->front;
    if (!f->losses)
        return NULL;
    f->figure = (struct figure_front){.curve = &f->curve,
                                      .file_bits = a->document.budget.unit == APP_BYTES,
                                      .mark = f->mark,
                                      .marks = app_budget_marks(f->mark, a),
                                      .has_selected = f->known};
    return &f->figure;
}

struct figure_source view_source(struct app *a)
{
    size_t n = a->result->experts;
    return (struct figure_source){.analysis = a->analysis,
                                  .cosine = a->cosine_phase == APP_COSINE_READY ? a->cosine : NULL,
                                  .plan = a->has_plan || a->has_widths ? &a->plan : NULL,
                                  .front = front_of(a),
                                  .layer = a->layer,
                                  .ascii = a->look.glyphs == STYLE_ASCII,
                                  .linear = a->linear_axis,
                                  .all_experts = a->all_experts,
                                  .file_bits = a->file_bits,
                                  .zoom = a->zoom,
                                  .has_selected = true,
                                  .expert = a->expert,
                                  .has_other = a->has_other && a->other < n,
                                  .other = a->other,
                                  .threshold_held = a->dragging,
                                  .token_rank = a->token_rank};
}

int view_needs_model(struct app *a, struct cells *c, struct rect r, const char *why)
{
    char text[APP_TEXT_MAX + 64], path[APP_TEXT_MAX];
    const char *given = a->options->trace_path;
    sanitize(path, sizeof path, given, strlen(given));
    int row = cells_paragraph(c, r, why, STYLE(STYLE_DEFAULT)) + 1;
    snprintf(text, sizeof text, "moqa %s --model DIR", path);
    row += cells_paragraph(c, rect_inset(r, 0, row, 0, 0), text, STYLE(STYLE_KEY)) + 1;
    return row + cells_paragraph(c, rect_inset(r, 0, row, 0, 0),
                                 "DIR: the folder of the checkpoint that the trace is of. For "
                                 "plans its config.json is enough; weights are read for "
                                 "similarity and runs.",
                                 STYLE(STYLE_TEXT_DIM));
}

bool view_figure(struct figure *f, struct app *a, struct cells *c, struct rect r, const char *name)
{
    struct figure_source source = view_source(a);
    struct err err = {0};
    if (figures_make(f, name, &source, &err) == 0)
        return true;
    app_draw_empty(a, c, r, err.message);
    return false;
}

void view_chart(struct app *a, struct cells *c, struct rect r, const char *name,
                struct chart_map *map)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, name))
        return;
    figure_draw(c, r, &a->look, &f, map);
    figure_release(&f);
}

struct chart_map view_measure(struct app *a, struct cells *c, struct rect r, const struct figure *f)
{
    struct rect clip = c->clip;
    struct chart_map map = {0};
    c->clip = (struct rect){0};
    figure_draw(c, r, &a->look, f, &map);
    c->clip = clip;
    return map;
}

void view_expert_facts(struct view_facts *f)
{
    const struct analysis_layer *l = view_layer(f->a);
    size_t e = f->a->expert, group = l->group[e];
    enum { ROWS = 5 };
    char text[64], name[48];
    view_group_name(text, sizeof text, l, group);
    if (f->r.h - f->row < ROWS) {
        snprintf(name, sizeof name, "expert %zu", e);
        view_fact(f, name, view_group_colour(group), "S = %.5f, %s", l->significance[e], text);
        return;
    }
    snprintf(name, sizeof name, "expert %zu of layer %zu", e, l->layer);
    view_heading(f, name);
    view_fact(f, "significance", STYLE_DEFAULT, "%.5f", l->significance[e]);
    view_fact(f, "group", view_group_colour(group), "%s", text);
    view_fact(f, "positions", STYLE_DEFAULT, "%zu", l->tokens[e]);
}

/* Says why a move did nothing: `what` is at an end of its list. */
static void tell_end(struct app *a, const char *what, int move)
{
    app_say(a, STYLE_TEXT_DIM, "this is the %s %s", move < 0 ? "first" : "last", what);
}

void view_move_expert(struct app *a, int move)
{
    enum { PAGE = 8 };
    size_t to = app_keys_move(a->expert, a->result->experts, move, PAGE);
    if (to == a->expert)
        tell_end(a, "expert", move);
    a->expert = to;
}

void view_other_chart(struct app *a, int argument)
{
    (void)argument;
    a->other_chart[a->view] = !a->other_chart[a->view];
    const char *which = a->other_chart[a->view] ? "second" : "first";
    if (a->charts_together)
        app_say(a, STYLE_TEXT_DIM, "both charts have room; W writes the %s", which);
    else
        app_say(a, STYLE_TEXT_DIM, "the %s chart; v changes between them", which);
}

int view_wheel(const struct app *a, const struct term_event *e)
{
    bool here = e->mouse == TERM_MOUSE_WHEEL && rect_contains(a->map.plot, e->x, e->y);
    return here && e->wheel ? (e->wheel < 0 ? APP_BACK : APP_ON) : 0;
}

bool view_pressed_in(const struct chart_map *m, const struct term_event *e, double *x, double *y)
{
    return e->key == TERM_KEY_MOUSE &&
           (e->mouse == TERM_MOUSE_PRESS || e->mouse == TERM_MOUSE_DRAG) && e->button == 1 &&
           chart_map_at(m, e->x, e->y, x, y);
}

bool view_pressed(const struct app *a, const struct term_event *e, double *x, double *y)
{
    return view_pressed_in(&a->map, e, x, y);
}

void view_move_layer(struct app *a, int by)
{
    app_move_layer(a, by);
}

void view_grid_mouse(struct app *a, const struct term_event *e)
{
    double x, y;
    int wheel = view_wheel(a, e);
    if (wheel)
        view_move_expert(a, wheel);
    if (wheel || !view_pressed(a, e, &x, &y))
        return;
    size_t expert = x > 0 ? (size_t)(x + 0.5) : 0, layer = y > 0 ? (size_t)(y + 0.5) : 0;
    a->expert = expert < a->result->experts ? expert : a->expert;
    a->layer = layer < a->result->layers ? layer : a->layer;
}

void view_split(struct app *a, struct rect r, bool beside, int min, struct rect out[2])
{
    const struct layout_item items[] = {{.weight = 3, .min = min, .priority = 2},
                                        {.weight = 2, .min = min, .priority = 1}};
    if (beside)
        layout_columns(out, r, items, 2, 2);
    else
        layout_rows(out, r, items, 2, 1);
    a->charts_together = !rect_empty(out[1]);
    if (a->charts_together)
        return;
    out[a->other_chart[a->view] ? 1 : 0] = r;
    out[a->other_chart[a->view] ? 0 : 1] = (struct rect){0};
}

struct rect view_below(struct rect r, size_t rows)
{
    int used = rows < (size_t)(r.h > 0 ? r.h : 0) ? (int)rows : r.h;
    return (struct rect){r.x, r.y + used, r.w, r.h - used};
}

void view_layer_bars(struct app *a, struct cells *c, struct rect r, const char *title,
                     const double *value, size_t layers)
{
    char(*label)[24] = NULL;
    struct chart_bar *bar = NULL;
    if (r.h < 1 || (size_t)r.h < layers + 1)
        return;
    label = mem_array(layers, sizeof *label, NULL);
    bar = mem_array(layers, sizeof *bar, NULL);
    for (size_t l = 0; label && bar && l < layers; l++) {
        snprintf(label[l], sizeof *label, "%zu",
                 l < a->result->layers ? a->result->layer[l].layer : l);
        bar[l] =
            (struct chart_bar){.label = label[l], .value = value[l], .missing = isnan(value[l])};
    }
    if (label && bar) {
        cells_text(c, r.x, r.y, r.w, title, STYLE(STYLE_TEXT_DIM));
        chart_bars(c, rect_inset(r, 0, 1, 0, 0), &a->look,
                   &(struct chart_bars){
                       .bar = bar, .n = layers, .has_selected = true, .selected = a->layer});
    }
    free(label);
    free(bar);
}

void view_seconds(char *out, size_t size, double seconds)
{
    unsigned long s = seconds > 0 ? (unsigned long)(seconds + 0.5) : 0;
    if (seconds < 9.95)
        snprintf(out, size, "%.1f s", seconds > 0 ? seconds : 0);
    else if (s >= 3600)
        snprintf(out, size, "%lu:%02lu:%02lu", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, size, "%lu:%02lu", s / 60, s % 60);
}

void view_bits(struct app *a, struct cells *c, struct rect r)
{
    struct figure f;
    if (!view_figure(&f, a, c, r, "bits"))
        return;
    struct chart_map map = view_measure(a, c, r, &f);
    struct chart_tiles *t = &f.tiles;
    t->first_row =
        app_scroll_to(a->scroll, t->selected_row, t->rows, (size_t)fmax(map.y.lo - map.y.hi, 1));
    t->first_col = app_scroll_to(0, t->selected_col, t->cols, (size_t)fmax(map.x.hi - map.x.lo, 1));
    a->scroll = t->first_row;
    figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
}
