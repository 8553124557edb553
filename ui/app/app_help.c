#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_find.h"

/*
 * `?`: the selected slider, the keys of this screen, those of all, those of the others, and all
 * settings; what is typed filters. The lines come from the tables that the keys and settings
 * themselves come from.
 */

enum { LINES_MAX = 256, KEY_WIDTH = 17, TEXT = 320 };

struct line {
    bool heading;
    char key[APP_KEY_NAME];
    char text[TEXT];
};

struct lines {
    struct line *line;
    size_t count;
    const char *filter;
    char heading[64]; /* to put before the next line that matches */
    bool headed;      /* it stands there */
};

__attribute__((format(printf, 2, 3))) static void begin(struct lines *l, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(l->heading, sizeof l->heading, format, args);
    va_end(args);
    l->headed = false;
}

static void add(struct lines *l, const char *key, const char *text)
{
    if (l->count + 2 > LINES_MAX)
        return;
    if (l->filter[0] && !strcasestr(key, l->filter) && !strcasestr(text, l->filter) &&
        !strcasestr(l->heading, l->filter))
        return;
    if (!l->headed) {
        struct line *h = &l->line[l->count++];
        h->heading = l->headed = true;
        snprintf(h->text, sizeof h->text, "%s", l->heading);
    }
    struct line *x = &l->line[l->count++];
    snprintf(x->key, sizeof x->key, "%s", key);
    snprintf(x->text, sizeof x->text, "%s", text);
}

static void add_keys(struct lines *l, const struct app_key *table)
{
    char names[APP_KEY_NAME];
    for (; table && table->act; table++) {
        app_keys_names(names, sizeof names, table, APP_KEY_CODES, STYLE_ASCII);
        add(l, names, table->help);
    }
}

/* "0 to 2", "mle, ols", "2, 3, 4, 8 or 16". */
static void range_text(char *out, size_t size, const struct setting_info *info)
{
    size_t used = 0;
    switch (info->kind) {
    case SETTING_CHOICE:
        for (size_t i = 0; info->choices[i] && used < size; i++)
            used +=
                (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", info->choices[i]);
        break;
    case SETTING_SWITCH:
        snprintf(out, size, "off, on");
        break;
    case SETTING_BITS:
        snprintf(out, size, "2, 3, 4, 8 or 16");
        break;
    case SETTING_BITS_LIST:
        snprintf(out, size, "a width for each class, from low to high, or auto");
        break;
    case SETTING_AUTO:
        snprintf(out, size, "auto, or %g to %g", info->min, info->max);
        break;
    default:
        snprintf(out, size, "%.15g to %.15g", info->min, info->max);
    }
}

static void setting_text(char *out, size_t size, const struct app *a,
                         const struct setting_info *info)
{
    struct settings standard;
    char range[128], usual[64], now[64];
    if (app_budget_owns(info)) {
        app_budget_get(a, info, now, sizeof now);
        snprintf(out, size, "%s; now %s", info->help, now);
        return;
    }
    settings_defaults(&standard);
    settings_get(&standard, info, usual, sizeof usual);
    settings_get(&a->document.settings, info, now, sizeof now);
    range_text(range, sizeof range, info);
    snprintf(out, size, "%s. %s; default %s, now %s", info->help, range, usual, now);
}

static void collect(struct lines *l, const struct app *a)
{
    char text[TEXT];
    const struct setting_info *slider = app_slider(a);
    if (slider) {
        begin(l, "The selected slider");
        setting_text(text, sizeof text, a, slider);
        add(l, slider->name, text);
    }
    begin(l, "This screen: %s", views[a->view]->name);
    add_keys(l, views[a->view]->keys);
    begin(l, "All screens");
    add_keys(l, app_keys);
    for (size_t p = APP_PANE_LIST; p < APP_PANES; p++) {
        begin(l, "What / finds: %s", app_find_tables[p].name);
        add_keys(l, app_find_tables[p].keys);
    }
    for (size_t v = 0; v < APP_VIEWS; v++) {
        begin(l, "Screen %zu: %s", v + 1, views[v]->name);
        if (v != a->view)
            add_keys(l, views[v]->keys);
    }
    begin(l, "Budget: sliders of Plan after b");
    for (size_t i = 0; app_budget_sliders[i]; i++) {
        const struct setting_info *info = app_budget_find(app_budget_sliders[i]);
        setting_text(text, sizeof text, a, info);
        add(l, info->name, text);
    }
    begin(l, "Settings");
    for (size_t i = 0; i < settings_count(); i++) {
        setting_text(text, sizeof text, a, settings_info(i));
        add(l, settings_info(i)->name, text);
    }
}

static int text_rows(struct cells *c, const char *text, int width, int rows)
{
    struct rect clip = c->clip;
    c->clip = (struct rect){0}; /* only counts */
    int used = cells_paragraph(c, (struct rect){0, 0, width, rows}, text, STYLE(0));
    c->clip = clip;
    return used > 1 ? used : 1;
}

/* Rows of a line; a heading has an empty row above it. */
static int rows_of(struct cells *c, const struct line *line, int width, int rows, bool first)
{
    if (line->heading)
        return first ? 1 : 2;
    int key = text_rows(c, line->key, KEY_WIDTH - 2, rows);
    int text = text_rows(c, line->text, width, rows);
    return key > text ? key : text;
}

/* The last first line with which all behind it is in sight. */
static size_t last_first(struct cells *c, const struct lines *l, int width, int rows)
{
    size_t first = l->count;
    int used = 0;
    while (first > 0) {
        used += rows_of(c, &l->line[first - 1], width, rows, false);
        if (used > rows)
            break;
        first--;
    }
    return first < l->count ? first : l->count ? l->count - 1 : 0;
}

static void draw_lines(struct app *a, struct cells *c, struct rect r, const struct lines *l)
{
    int width = r.w - KEY_WIDTH - 1, y = r.y;
    size_t last = last_first(c, l, width, r.h), i;
    a->prompt_scroll = a->prompt_scroll < last ? a->prompt_scroll : last;
    for (i = a->prompt_scroll; i < l->count; i++) {
        const struct line *x = &l->line[i];
        int rows = rows_of(c, x, width, r.h, y == r.y);
        if (y + rows > r.y + r.h)
            break;
        if (x->heading) {
            cells_text(c, r.x, y + rows - 1, r.w, x->text, STYLE(STYLE_TITLE));
        } else {
            cells_paragraph(c, (struct rect){r.x + 1, y, KEY_WIDTH - 2, rows}, x->key,
                            STYLE(STYLE_KEY));
            cells_paragraph(c, (struct rect){r.x + KEY_WIDTH, y, width, rows}, x->text,
                            STYLE(STYLE_DEFAULT));
        }
        y += rows;
    }
    if (l->count == 0)
        cells_text(c, r.x, r.y, r.w, "nothing matches", STYLE(STYLE_TEXT_DIM));
    cells_textf(c, r.x, r.y + r.h, r.w, STYLE(STYLE_TEXT_DIM),
                i < l->count ? "type to search  Up Down PgUp PgDn: %zu more  Esc closes"
                             : "type to search  Up Down PgUp PgDn  Esc closes",
                l->count - i);
}

void app_help_draw(struct app *a, struct cells *c)
{
    enum { WIDTH = 100 };
    struct lines l = {.filter = a->typed};
    struct rect r = app_window(a, c, WIDTH, c->h - (c->h > 30 ? 4 : 0), "Help");
    cells_textf(c, r.x, r.y, r.w, STYLE(STYLE_ACCENT), "search: %s_", a->typed);
    l.line = mem_array(LINES_MAX, sizeof *l.line, NULL);
    if (!l.line) {
        cells_text(c, r.x, r.y + 1, r.w, "no memory for the help", STYLE(STYLE_ERROR));
        return;
    }
    collect(&l, a);
    draw_lines(a, c, rect_inset(r, 0, 1, 0, 1), &l);
    free(l.line);
}

void app_help_event(struct app *a, uint32_t key)
{
    if (!app_prompt_scroll(a, key) && app_typed_event(a, key))
        a->prompt_scroll = 0;
}
