#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "data/base/sanitize.h"
#include "ui/app/app_state.h"

/* Where a slider's knob stands, 0..1; false where a line makes no sense. */
static bool slider_fraction(const struct app *a, const struct setting_info *info, double *out)
{
    double value, max = info->max;
    if (app_budget_owns(info)) {
        *out = app_budget_fraction(a, info);
        return true;
    }
    if (!app_slider_number(a, info, &value) || info->kind == SETTING_SEED)
        return false;
    if (info->kind == SETTING_BITS) { /* 2, 3, 4, 8, 16 as steps of one size */
        *out = value <= 4 ? (value - 2) / 4 : value == 8 ? 0.75 : 1;
        return true;
    }
    if (strcmp(info->name, "min_count") == 0)
        max = 50; /* useful part of ranges that are wide on purpose */
    else if (strcmp(info->name, "group_size") == 0)
        max = 256;
    else if (strcmp(info->name, "beta") == 0 || strcmp(info->name, "pattern_cv") == 0)
        max = 2;
    else if (strcmp(info->name, "beta_ch") == 0)
        max = 0.5;
    *out = (value - info->min) / (max - info->min);
    *out = *out > 1 ? 1 : *out;
    return true;
}

static void draw_slider(struct app *a, struct cells *c, struct rect r,
                        const struct setting_info *info, bool focus)
{
    enum { NAME = 16, VALUE = 11 };
    char value[64];
    double fraction;
    app_slider_text(a, info, value, sizeof value);
    struct style name_style =
        focus ? (struct style){.fg = STYLE_ACCENT, .attr = STYLE_BOLD} : STYLE(STYLE_DEFAULT);
    cells_text(c, r.x, r.y, 1, focus ? style_glyph(&a->look, STYLE_G_ARROW_R) : " ", name_style);
    cells_text(c, r.x + 1, r.y, NAME, info->name, name_style);
    struct rect at = {r.x + 1 + NAME + 1, r.y, VALUE, 1};
    if (at.x + at.w > r.x + r.w)
        at.w = r.x + r.w - at.x;
    cells_label(c, at, CELLS_RIGHT, value, &a->look, name_style);
    int x = at.x + at.w + 1, w = r.x + r.w - x;
    if (w >= 4 && slider_fraction(a, info, &fraction))
        chart_slider(c, x, r.y, w, &a->look, fraction, focus);
    if (focus)
        cells_highlight(c, r, STYLE_SELECT);
}

int app_draw_sliders(struct app *a, struct cells *c, struct rect r)
{
    const char *const *names = app_sliders(a);
    int row = 0;
    size_t count = 0;
    while (names[count])
        count++;
    for (size_t i = 0; i < count && row < r.h; i++, row++)
        draw_slider(a, c, (struct rect){r.x, r.y + row, r.w, 1}, app_slider_find(names[i]),
                    i == a->slider[a->view] % count);
    a->slider_rows = (struct rect){r.x, r.y, r.w, row};
    return row;
}

void app_fact(struct app *a, struct cells *c, struct rect r, int row, const char *name,
              uint16_t colour, const char *format, ...)
{
    char value[APP_TEXT_MAX];
    va_list args;
    if (row >= r.h)
        return;
    va_start(args, format);
    vsnprintf(value, sizeof value, format, args);
    va_end(args);
    int used = cells_text(c, r.x + 1, r.y + row, r.w - 1, name, STYLE(STYLE_TEXT_DIM)) + 2;
    struct rect at = {r.x + used, r.y + row, r.w - used, 1};
    if (at.w > 0)
        cells_label(c, at, CELLS_RIGHT, value, &a->look, STYLE(colour));
}

void app_token_text(const struct app *a, uint32_t id, char *out, size_t size)
{
    const uint8_t *bytes;
    size_t length;
    char inner[128];
    if (!trace_token_text(a->options->trace, id, &bytes, &length)) {
        snprintf(out, size, "#%u", (unsigned)id);
        return;
    }
    sanitize(inner, sizeof inner, (const char *)bytes, length);
    snprintf(out, size, "\"%s\"", inner);
}

void app_draw_empty(struct app *a, struct cells *c, struct rect r, const char *text)
{
    (void)a;
    int margin = r.w > 24 ? r.w / 8 : 1;
    struct rect at = rect_inset(r, margin, r.h / 3, margin, 0);
    cells_paragraph(c, at, text, STYLE(STYLE_TEXT_DIM));
}

struct rect app_window(struct app *a, struct cells *c, int w, int h, const char *title)
{
    w = w > c->w ? c->w : w;
    h = h > c->h ? c->h : h;
    struct rect r = {(c->w - w) / 2, (c->h - h) / 2, w, h};
    cells_fill(c, r, " ", STYLE(STYLE_DEFAULT));
    return rect_inset(
        cells_box(c, r, title, &a->look, STYLE(STYLE_BORDER_FOCUS), STYLE(STYLE_TITLE)), 1, 0, 1,
        0);
}

size_t app_scroll_to(size_t first, size_t selected, size_t count, size_t rows)
{
    if (rows == 0 || count <= rows)
        return 0;
    if (selected < first)
        first = selected;
    if (selected >= first + rows)
        first = selected - rows + 1;
    return first + rows > count ? count - rows : first;
}
