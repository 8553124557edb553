#include "ui/app/app_load.h"

#include <stdio.h>
#include <string.h>

#include "ui/app/app_state.h"

enum { NAME_WIDTH = 24, METER_WIDTH = 28, NUMBERS_WIDTH = 24 };

static void draw_bars(struct cells *c, const char *trace_path)
{
    const char *slash = strrchr(trace_path, '/');
    struct style bar = {.fg = STYLE_TITLE, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    struct style text = {.fg = STYLE_TEXT_DIM, .bg = STYLE_BAR},
                 key = {.fg = STYLE_KEY, .bg = STYLE_BAR, .attr = STYLE_BOLD};
    cells_fill(c, (struct rect){0, 0, c->w, 1}, " ", bar);
    cells_text(c, c->w - 9, 0, -1, "opening", bar);
    cells_textf(c, 1, 0, c->w - 12, bar, "moqa  %s", slash ? slash + 1 : trace_path);
    int x = 1;
    for (size_t i = 0; i < APP_VIEWS; i++)
        x += cells_textf(c, x, 1, c->w - x, STYLE(STYLE_TEXT_DIM), " %zu %s ", i + 1,
                         views[i]->name);
    cells_fill(c, (struct rect){0, c->h - 1, c->w, 1}, " ", text);
    cells_text(c, 1, c->h - 1, -1, "q", key);
    cells_text(c, 3, c->h - 1, c->w - 4, "quit   keys typed now are kept for the screen", text);
}

static void numbers(char *out, size_t size, const struct app_load_step *s)
{
    const double mebi = 1 << 20;
    if (s->unit)
        snprintf(out, size, "%llu of %llu %s", (unsigned long long)s->done,
                 (unsigned long long)s->total, s->unit);
    else
        snprintf(out, size, "%.1f of %.1f MiB", (double)s->done / mebi, (double)s->total / mebi);
}

static void draw_step(struct cells *c, struct rect r, const struct style_look *look,
                      const struct app_load *load, size_t i)
{
    const struct app_load_step *s = &load->step[i];
    bool done = i < load->current, now = i == load->current;
    struct style style = STYLE(done ? STYLE_GOOD : now ? STYLE_DEFAULT : STYLE_TEXT_DIM);
    const char *mark = done  ? style_glyph(look, STYLE_G_CHECK)
                       : now ? style_glyph(look, STYLE_G_ARROW_R)
                             : " ";
    char text[64];
    cells_text(c, r.x, r.y, r.w, mark, style);
    cells_text(c, r.x + 2, r.y, r.w - 2, s->name, style);
    if (!now || !s->total)
        return;
    int x = r.x + 2 + NAME_WIDTH, meter = r.w - 2 - NAME_WIDTH - NUMBERS_WIDTH;
    meter = meter > METER_WIDTH ? METER_WIDTH : meter;
    if (meter >= 6) {
        chart_meter(c, x, r.y, meter, look, (double)s->done / (double)s->total,
                    STYLE(STYLE_ACCENT));
        x += meter + 2;
    }
    numbers(text, sizeof text, s);
    cells_text(c, x, r.y, r.x + r.w - x, text, STYLE(STYLE_DEFAULT));
}

void app_load_draw(struct cells *c, const struct style_look *look, const char *trace_path,
                   const struct app_load *load, bool details)
{
    cells_clear(c);
    if (c->w < APP_MIN_WIDTH || c->h < APP_MIN_HEIGHT) {
        cells_paragraph(c, cells_area(c), "opening; q quits", STYLE(STYLE_TEXT_DIM));
        return;
    }
    draw_bars(c, trace_path);
    int width = 2 + NAME_WIDTH + METER_WIDTH + NUMBERS_WIDTH;
    width = width > c->w - 4 ? c->w - 4 : width;
    struct rect r = {(c->w - width) / 2, 2 + (c->h - 4 - (int)load->count) / 3, width, 1};
    for (size_t i = 0; details && i < load->count && r.y < c->h - 1; i++, r.y++)
        draw_step(c, r, look, load, i);
}
