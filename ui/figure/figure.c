#include "ui/figure/figure.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"

struct figure_block {
    struct figure_block *next;
    max_align_t data[];
};

void *figure_array(struct figure *f, size_t count, size_t size, struct err *err)
{
    size_t bytes;
    struct figure_block *block = NULL;
    if (mem_mul(&bytes, count, size) && mem_add(&bytes, bytes, sizeof *block))
        block = calloc(1, bytes);
    if (!block) {
        err_set(err, ERR_NOMEM, NULL, "no memory for a figure of %zu elements", count);
        return NULL;
    }
    block->next = f->blocks;
    f->blocks = block;
    return block->data;
}

const char *figure_text(struct figure *f, const char *format, ...)
{
    va_list args;
    char *text = NULL;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length >= 0)
        text = figure_array(f, (size_t)length + 1, 1, NULL);
    if (!text)
        return "";
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void figure_release(struct figure *f)
{
    for (struct figure_block *b = f->blocks, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *f = (struct figure){0};
}

/* --- as cells --- */

/* A call of one of these draws the kind that it stands for in the table. */
typedef void draw_fn(struct cells *c, struct rect r, const struct style_look *look,
                     const struct figure *f, struct chart_map *map);

static void draw_xy(struct cells *c, struct rect r, const struct style_look *look,
                    const struct figure *f, struct chart_map *map)
{
    chart_xy(c, r, look, &f->xy, map);
}

static void draw_histogram(struct cells *c, struct rect r, const struct style_look *look,
                           const struct figure *f, struct chart_map *map)
{
    chart_histogram(c, r, look, &f->histogram, map);
}

/* Bars have no axes: their map gives the bar's number. */
static void draw_bars(struct cells *c, struct rect r, const struct style_look *look,
                      const struct figure *f, struct chart_map *map)
{
    size_t first = f->bars.first, rows = f->bars.n > first ? f->bars.n - first : 0;
    int h = (size_t)(r.h > 0 ? r.h : 0) < rows ? r.h : (int)rows;
    chart_bars(c, r, look, &f->bars);
    if (map)
        *map = (struct chart_map){.plot = {r.x, r.y, r.w, h},
                                  .x = {.lo = 0, .hi = 1},
                                  .y = {.lo = (double)first + h - 0.5, .hi = (double)first - 0.5}};
}

static void draw_intervals(struct cells *c, struct rect r, const struct style_look *look,
                           const struct figure *f, struct chart_map *map)
{
    chart_intervals(c, r, look, &f->intervals, map);
}

static void draw_heat(struct cells *c, struct rect r, const struct style_look *look,
                      const struct figure *f, struct chart_map *map)
{
    chart_heat(c, r, look, &f->heat, map);
}

static void draw_tiles(struct cells *c, struct rect r, const struct style_look *look,
                       const struct figure *f, struct chart_map *map)
{
    chart_tiles(c, r, look, &f->tiles, map);
}

void figure_draw(struct cells *c, struct rect r, const struct style_look *look,
                 const struct figure *f, struct chart_map *map)
{
    static draw_fn *const draw[FIGURE_KINDS] = {
        [FIGURE_XY] = draw_xy,     [FIGURE_HISTOGRAM] = draw_histogram,
        [FIGURE_BARS] = draw_bars, [FIGURE_INTERVALS] = draw_intervals,
        [FIGURE_HEAT] = draw_heat, [FIGURE_TILES] = draw_tiles};
    draw[f->kind](c, r, look, f, map);
}
