#include <math.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

/* Dots of a cell in each glyph set. */
static const struct {
    int columns, rows;
} grain[STYLE_GLYPHS] = {[STYLE_BRAILLE] = {2, 4}, [STYLE_BLOCK] = {2, 2}, [STYLE_ASCII] = {1, 1}};

static const char ascii_marks[] = "*o+x#@%&";

/* Quadrants by their bits: 1 upper left, 2 upper right, 4 lower left, 8 lower right. */
static const char *const quadrant[16] = {" ",      "\u2598", "\u259d", "\u2580", "\u2596", "\u258c",
                                         "\u259e", "\u259b", "\u2597", "\u259a", "\u2590", "\u259c",
                                         "\u2584", "\u2599", "\u259f", "\u2588"};

struct chart_dots chart_dots_open(const struct chart_frame *f, uint16_t colour, size_t series)
{
    return (struct chart_dots){.c = f->c,
                               .plot = f->plot,
                               .look = f->look,
                               .w = f->plot.w * grain[f->look->glyphs].columns,
                               .h = f->plot.h * grain[f->look->glyphs].rows,
                               .colour = colour,
                               .series = series,
                               .last_x = -1,
                               .last_y = -1};
}

static unsigned braille_bits(const char *glyph)
{
    const unsigned char *b = (const unsigned char *)glyph;
    if (b[0] != 0xe2 || (b[1] & 0xfc) != 0xa0)
        return 0;
    return (b[1] & 3u) << 6 | (b[2] & 0x3fu);
}

/* Whether the dots that a cell has stay there beside a new one. */
static bool keeps(const struct chart_dots *d, int x, int y)
{
    uint16_t colour = cells_at(d->c, x, y)->style.fg;
    return !style_has_colour(d->look) || colour == d->colour || colour == STYLE_ON_BAR;
}

static void braille_put(struct chart_dots *d, int x, int y, unsigned column, unsigned row)
{
    static const unsigned bit[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    unsigned bits = keeps(d, x, y) ? braille_bits(cells_at(d->c, x, y)->glyph) : 0;
    bits |= bit[row][column];
    char glyph[4] = {(char)0xe2, (char)(0xa0 | bits >> 6), (char)(0x80 | (bits & 0x3f)), 0};
    chart_overlay(d->c, x, y, glyph, STYLE(d->colour));
}

static void block_put(struct chart_dots *d, int x, int y, unsigned column, unsigned row)
{
    const char *glyph = cells_at(d->c, x, y)->glyph;
    unsigned bits = 0;
    if (strcmp(glyph, quadrant[15]) == 0 && cells_at(d->c, x, y)->style.fg == d->colour)
        return; /* filled by this very series, and not a bar to draw over */
    for (unsigned i = 1; i < 15 && keeps(d, x, y); i++)
        if (strcmp(glyph, quadrant[i]) == 0)
            bits = i;
    bits |= 1u << (2 * row + column);
    chart_overlay(d->c, x, y, quadrant[bits], STYLE(d->colour));
}

/* Without colours series differ by their dashes: every second run of series+1 dots is left out. */
static bool in_gap(const struct chart_dots *d)
{
    if (d->series == 0 || d->look->glyphs == STYLE_ASCII || style_has_colour(d->look))
        return false;
    return d->step / (2 * d->series + 1) % 2 == 1;
}

/* Dot column from the left, dot row from the bottom. */
static void put_dot(struct chart_dots *d, int dx, int dy)
{
    enum style_glyphs set = d->look->glyphs;
    if (dx == d->last_x && dy == d->last_y)
        return;
    d->last_x = dx;
    d->last_y = dy;
    d->step++;
    int row = d->h - 1 - dy;
    int x = d->plot.x + dx / grain[set].columns, y = d->plot.y + row / grain[set].rows;
    if (in_gap(d) || !cells_at(d->c, x, y))
        return;
    unsigned sub_x = (unsigned)(dx % grain[set].columns), sub_y = (unsigned)(row % grain[set].rows);
    if (set == STYLE_BRAILLE)
        braille_put(d, x, y, sub_x, sub_y);
    else if (set == STYLE_BLOCK)
        block_put(d, x, y, sub_x, sub_y);
    else
        chart_overlay(d->c, x, y, (char[2]){ascii_marks[d->series % 8], 0}, STYLE(d->colour));
}

void chart_dots_point(struct chart_dots *d, double px, double py)
{
    if (px >= 0 && px <= 1 && py >= 0 && py <= 1) {
        put_dot(d, chart_cell(px, d->w), chart_cell(py, d->h));
        d->step = 0;
    }
}

/* Liang and Barsky: narrows t0..t1 to where one border is respected. */
static bool clip_border(double direction, double distance, double *t0, double *t1)
{
    if (direction == 0)
        return distance >= 0;
    double t = distance / direction;
    if (direction < 0)
        *t0 = fmax(*t0, t);
    else
        *t1 = fmin(*t1, t);
    return *t0 <= *t1;
}

void chart_dots_line(struct chart_dots *d, double x0, double y0, double x1, double y1)
{
    double dx = x1 - x0, dy = y1 - y0, t0 = 0, t1 = 1;
    if (!isfinite(dx) || !isfinite(dy))
        return;
    if (!clip_border(-dx, x0, &t0, &t1) || !clip_border(dx, 1 - x0, &t0, &t1) ||
        !clip_border(-dy, y0, &t0, &t1) || !clip_border(dy, 1 - y0, &t0, &t1))
        return;
    double length = fmax(fabs(dx) * d->w, fabs(dy) * d->h) * (t1 - t0);
    int steps = (int)ceil(length);
    for (int i = 0; i <= steps; i++) {
        double t = steps ? t0 + (t1 - t0) * i / steps : t0;
        put_dot(d, chart_cell(x0 + t * dx, d->w), chart_cell(y0 + t * dy, d->h));
    }
}

const char *chart_point_mark(const struct style_look *look, size_t series)
{
    enum { MARKS = 12 }; /* no divisor of the colours: 24 series differ in one of both */
    static const char *const ascii[MARKS] = {"*", "o", "+", "x", "#", "@",
                                             "%", "&", "=", "^", "~", "$"};
    /* Shapes that the fonts of consoles have, too. */
    static const char *const shape[MARKS] = {"\u2022", "\u25b2", "\u25a0", "\u25c6", "\u25bc", "+",
                                             "x",      "o",      "*",      "#",      "%",      "@"};
    return (look->glyphs == STYLE_ASCII ? ascii : shape)[series % MARKS];
}

const char *chart_dots_sample(const struct style_look *look, size_t series, bool line)
{
    if (look->glyphs == STYLE_ASCII)
        return chart_point_mark(look, series);
    if (!line)
        return style_glyph(look, STYLE_G_POINT);
    if (!style_has_colour(look) && series > 0)
        return style_glyph(look, STYLE_G_DASH_H);
    return style_glyph(look, STYLE_G_HLINE);
}
