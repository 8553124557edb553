#include "ui/app/compare_table.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

int compare_table_init(struct compare_table *t, int w, const char *left, const char *right)
{
    enum { PLAN_LINES = 16, LINES_OF_LAYER = 2, WIDE = 66 };
    int name = w >= WIDE ? 18 : 15;
    *t = (struct compare_table){
        .left = left,
        .right = right,
        .name = name,
        .value = w >= WIDE ? 16 : (w - name) / 2,
        .room = PLAN_LINES + settings_count() + LINES_OF_LAYER * SETTINGS_LAYERS_MAX,
    };
    t->line = mem_array(t->room, sizeof *t->line, NULL);
    return t->line ? 0 : ERR_NOMEM;
}

void compare_table_release(struct compare_table *t)
{
    free(t->line);
}

void compare_table_row(struct compare_table *t, const char *name, const char *left,
                       const char *right, const char *format, ...)
{
    va_list args;
    if (t->lines == t->room)
        return;
    struct compare_line *l = &t->line[t->lines++];
    snprintf(l->name, sizeof l->name, "%s", name);
    snprintf(l->left, sizeof l->left, "%s", left);
    snprintf(l->right, sizeof l->right, "%s", right);
    va_start(args, format);
    vsnprintf(l->difference, sizeof l->difference, format, args);
    va_end(args);
}

/* --- Drawing --- */

static void draw_head(const struct compare_table *t, struct cells *c, struct rect r)
{
    int x = r.x + t->name;
    cells_text(c, x, r.y, t->value - 1, t->left, STYLE(STYLE_TITLE));
    cells_text(c, x + t->value, r.y, t->value - 1, t->right, STYLE(STYLE_TITLE));
}

static void draw_line(const struct compare_table *t, struct cells *c, struct rect r, int y,
                      const struct compare_line *l)
{
    int x = r.x;
    uint16_t colour = strcmp(l->left, l->right) == 0 ? STYLE_TEXT_DIM : STYLE_DEFAULT;
    cells_text(c, x, y, t->name - 1, l->name, STYLE(colour));
    cells_text(c, x + t->name, y, t->value - 1, l->left, STYLE(colour));
    cells_text(c, x + t->name + t->value, y, t->value - 1, l->right, STYLE(colour));
    x += t->name + 2 * t->value;
    if (r.x + r.w - x >= t->value)
        cells_text(c, x, y, r.x + r.w - x, l->difference, STYLE(STYLE_ACCENT));
}

int compare_table_draw(const struct compare_table *t, struct app *a, struct cells *c, struct rect r)
{
    size_t rows = r.h > 2 ? (size_t)r.h - 1 : 1;
    bool all = t->lines <= rows;
    rows -= !all && rows > 1; /* for the one that says so */
    size_t most = all ? 0 : t->lines - rows;
    a->prompt_scroll = a->prompt_scroll < most ? a->prompt_scroll : most;
    draw_head(t, c, r);
    int y = r.y + 1;
    for (size_t i = a->prompt_scroll; i < t->lines && i < a->prompt_scroll + rows; i++)
        draw_line(t, c, r, y++, &t->line[i]);
    if (!all && y < r.y + r.h)
        cells_textf(c, r.x, y++, r.w, STYLE(STYLE_WARN), "%zu to %zu of %zu rows, PgUp PgDn: more",
                    a->prompt_scroll + 1, a->prompt_scroll + rows, t->lines);
    return y - r.y;
}
