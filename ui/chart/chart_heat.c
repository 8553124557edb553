#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

/* Where the values lie: each takes `kx` columns and `ky` halves of a row (without colours: whole
 * rows, counted in halves all the same). */
struct mosaic {
    struct rect plot;
    int kx, ky;
    size_t rows, cols;      /* in sight */
    int left;               /* columns of the row labels */
    int label_row, bar_row; /* -1: none */
    int label_width;        /* of a column label */
};

static void label_text(char *out, size_t size, const char *const *labels, size_t i)
{
    if (labels)
        snprintf(out, size, "%s", labels[i]);
    else
        snprintf(out, size, "%zu", i);
}

static int label_width(const char *const *labels, size_t n)
{
    char text[64];
    int width = 0;
    for (size_t i = labels ? 0 : n - (n > 0); i < n; i++) {
        label_text(text, sizeof text, labels, i);
        int w = cells_width(text);
        width = w > width ? w : width;
    }
    return width;
}

static int clamp(int v, int lo, int hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static struct mosaic lay_out(const struct chart_heat *heat, struct rect r, bool halves)
{
    struct mosaic m = {.bar_row = -1, .label_row = -1};
    int unit = halves ? 1 : 2; /* smallest height of a value, in halves */
    size_t rows = heat->first_row < heat->rows ? heat->rows - heat->first_row : 0;
    size_t cols = heat->first_col < heat->cols ? heat->cols - heat->first_col : 0;
    int bottom = r.y + r.h;
    if (r.h >= 4)
        m.bar_row = --bottom;
    if (r.h >= 6)
        m.label_row = --bottom;
    m.left = label_width(heat->row_labels, heat->rows) + 1;
    if (m.left > r.w / 3)
        m.left = 0;
    m.label_width = label_width(heat->col_labels, heat->cols);
    int width = r.w - m.left, height = 2 * (bottom - r.y);
    if (rows == 0 || cols == 0 || width < 1 || height < unit)
        return m;
    m.kx = clamp(width / (int)(cols < 100000 ? cols : 100000), halves ? 1 : 2, 16);
    m.ky = clamp(height / (int)(rows < 100000 ? rows : 100000), unit, 8);
    /* Each step of zoom makes the tiles half as wide and high again, at least by one cell. */
    for (int i = 0; i < heat->zoom; i++) {
        m.kx = clamp(m.kx + (m.kx + 1) / 2, 1, width);
        m.ky = clamp(m.ky + (m.ky + 1) / 2, unit, height);
    }
    /* Half rows are about as high as a column is wide: keep the tiles from becoming strips. */
    m.kx = clamp(m.kx, 1, m.ky > 1 ? 2 * m.ky + 2 : 2);
    m.ky = clamp(m.ky, unit, m.kx > unit ? m.kx : unit);
    m.ky -= halves ? 0 : m.ky % 2;
    /* A tile that starts in mid-row cannot be written on: whole rows where there is the choice. */
    if (m.ky > 2)
        m.ky -= m.ky % 2;
    m.cols = (size_t)(width / m.kx) < cols ? (size_t)(width / m.kx) : cols;
    m.rows = (size_t)(height / m.ky) < rows ? (size_t)(height / m.ky) : rows;
    m.plot = (struct rect){r.x + m.left, r.y, (int)m.cols * m.kx, ((int)m.rows * m.ky + 1) / 2};
    if (m.label_row >= 0)
        m.label_row = m.plot.y + m.plot.h;
    if (m.bar_row >= 0)
        m.bar_row = m.plot.y + m.plot.h + (m.label_row >= 0);
    return m;
}

static double value_at(const struct chart_heat *heat, size_t row, size_t col)
{
    return heat->value[row * heat->cols + col];
}

static double place_of(const struct chart_heat *heat, double value)
{
    double place = heat->hi > heat->lo ? (value - heat->lo) / (heat->hi - heat->lo) : 0.5;
    return isnan(value) ? NAN : fmin(fmax(place, 0), 1);
}

/* Colour of a half row of one column; false: nothing there. */
static bool half_colour(const struct chart_heat *heat, const struct mosaic *m, int half, int column,
                        uint16_t *colour)
{
    size_t row = (size_t)(half / m->ky), col = (size_t)(column / m->kx);
    if (row >= m->rows || col >= m->cols)
        return false;
    row += heat->first_row;
    col += heat->first_col;
    double place = place_of(heat, value_at(heat, row, col));
    bool selected = heat->has_selected && row == heat->selected_row && col == heat->selected_col;
    if (selected && m->ky < 4)
        *colour = STYLE_CURSOR;
    else if (isnan(place))
        return false;
    else
        *colour = style_ramp(place);
    return true;
}

static void draw_halves(struct cells *c, const struct chart_heat *heat, const struct mosaic *m)
{
    for (int dy = 0; dy < m->plot.h; dy++)
        for (int dx = 0; dx < m->plot.w; dx++) {
            uint16_t upper = 0, lower = 0;
            bool has_upper = half_colour(heat, m, 2 * dy, dx, &upper);
            bool has_lower = half_colour(heat, m, 2 * dy + 1, dx, &lower);
            int x = m->plot.x + dx, y = m->plot.y + dy;
            if (has_upper && has_lower && upper == lower)
                cells_put(c, x, y, "\u2588", STYLE(upper));
            else if (has_upper)
                cells_put(c, x, y, "\u2580",
                          (struct style){.fg = upper, .bg = has_lower ? lower : STYLE_DEFAULT});
            else if (has_lower)
                cells_put(c, x, y, "\u2584", STYLE(lower));
        }
}

static void draw_shades(struct cells *c, const struct chart_heat *heat, const struct mosaic *m,
                        const struct style_look *look)
{
    for (int dy = 0; dy < m->plot.h; dy++)
        for (int dx = 0; dx < m->plot.w; dx++) {
            size_t row = heat->first_row + (size_t)(2 * dy / m->ky);
            size_t col = heat->first_col + (size_t)(dx / m->kx);
            double place = place_of(heat, value_at(heat, row, col));
            const char *glyph = isnan(place) ? "?" : style_shade(look, place);
            bool selected =
                heat->has_selected && row == heat->selected_row && col == heat->selected_col;
            cells_put(c, m->plot.x + dx, m->plot.y + dy, glyph,
                      (struct style){.attr = selected ? STYLE_REVERSE : 0});
        }
}

/* The numbers themselves, where a tile has room for them. */
static void draw_numbers(struct cells *c, const struct chart_heat *heat, const struct mosaic *m)
{
    if (m->kx < 6 || m->ky < 2 || m->ky % 2)
        return;
    for (size_t i = 0; i < m->rows; i++)
        for (size_t j = 0; j < m->cols; j++) {
            size_t row = heat->first_row + i, col = heat->first_col + j;
            double value = value_at(heat, row, col), place = place_of(heat, value);
            char text[16];
            if (isnan(place))
                continue;
            /* Not "-0.00". */
            snprintf(text, sizeof text, "%.2f", fabs(value) < 0.005 ? 0 : value);
            int width = (int)strlen(text), x = m->plot.x + (int)j * m->kx + (m->kx - width + 1) / 2;
            bool selected =
                heat->has_selected && row == heat->selected_row && col == heat->selected_col;
            struct style s = {.fg = place > 0.41 ? STYLE_ON_LIGHT : STYLE_ON_DARK,
                              .bg = style_ramp(place),
                              .attr = selected ? STYLE_BOLD | STYLE_REVERSE : 0};
            if (width <= m->kx - 1)
                cells_text(c, x, m->plot.y + (int)i * m->ky / 2 + (m->ky / 2 - 1) / 2, width, text,
                           s);
        }
}

/* Every how many-th label has room: a power of two, as experts are counted. */
static size_t label_step(int size, int pitch)
{
    size_t step = 1;
    while ((int)step * pitch < size)
        step *= 2;
    return step;
}

static void draw_labels(struct cells *c, const struct chart_heat *heat, const struct mosaic *m,
                        const struct style_look *look, struct rect r)
{
    char text[64];
    size_t step = label_step(2, m->ky);
    for (size_t i = 0; i < m->rows && m->left; i++) {
        size_t row = heat->first_row + i;
        bool selected = heat->has_selected && row == heat->selected_row;
        if (row % step && !selected)
            continue;
        label_text(text, sizeof text, heat->row_labels, row);
        struct rect at = {r.x, m->plot.y + ((int)i * m->ky + (m->ky - 1) / 2) / 2, m->left - 1, 1};
        if (selected)
            cells_fill(c, at, " ", STYLE(STYLE_DEFAULT));
        cells_label(c, at, CELLS_RIGHT, text, look, STYLE(selected ? STYLE_CURSOR : STYLE_AXIS));
    }
    if (heat->first_row + m->rows < heat->rows && m->left > 1 && m->label_row >= 0)
        cells_put(c, m->plot.x - 2, m->label_row, style_glyph(look, STYLE_G_ARROW_DOWN),
                  STYLE(STYLE_AXIS));
    if (heat->first_col + m->cols < heat->cols && m->label_row >= 0)
        cells_put(c, r.x + r.w - 1, m->label_row, style_glyph(look, STYLE_G_ARROW_R),
                  STYLE(STYLE_AXIS));
    step = label_step(m->label_width + 1, m->kx);
    int end = m->plot.x - 1; /* first column after the last label */
    for (size_t j = 0; j < m->cols && m->label_row >= 0; j++) {
        size_t col = heat->first_col + j;
        if (col % step)
            continue;
        label_text(text, sizeof text, heat->col_labels, col);
        int width = cells_width(text);
        int x = m->plot.x + (int)j * m->kx + (m->kx > width ? (m->kx - width + 1) / 2 : 0);
        bool selected = heat->has_selected && col == heat->selected_col;
        if (x <= end && j > 0)
            continue;
        if (x + width <= r.x + r.w)
            end = x + cells_text(c, x, m->label_row, width, text,
                                 STYLE(selected ? STYLE_CURSOR : STYLE_AXIS));
    }
}

static void draw_colour_bar(struct cells *c, const struct chart_heat *heat, const struct mosaic *m,
                            const struct style_look *look, struct rect r)
{
    char lo[32], hi[32];
    struct style s = STYLE(STYLE_AXIS);
    int x = r.x + m->left, room = r.w - m->left;
    if (m->bar_row < 0)
        return;
    chart_number(lo, sizeof lo, heat->lo, 3);
    chart_number(hi, sizeof hi, heat->hi, 3);
    int title = heat->title ? cells_width(heat->title) + 2 : 0;
    int texts = (int)(strlen(lo) + strlen(hi)) + 2;
    int bar = clamp(room - texts - title, 0, 24);
    if (bar < 4) {
        title = 0;
        bar = clamp(room - texts, 0, 24);
    }
    x += cells_text(c, x, m->bar_row, -1, lo, s) + 1;
    for (int i = 0; i < bar; i++) {
        double place = bar > 1 ? (double)i / (bar - 1) : 0;
        if (style_has_colour(look) && look->glyphs != STYLE_ASCII)
            cells_put(c, x + i, m->bar_row, "\u2588", STYLE(style_ramp(place)));
        else
            cells_put(c, x + i, m->bar_row, style_shade(look, place), STYLE(STYLE_DEFAULT));
    }
    x += bar + 1;
    x += cells_text(c, x, m->bar_row, -1, hi, s) + 2;
    if (title)
        cells_text(c, x, m->bar_row, -1, heat->title, STYLE(STYLE_TEXT_DIM));
}

bool chart_heat_row(const struct chart_map *m, int sy, size_t current, size_t *row)
{
    double x, y;
    if (!chart_map_at(m, m->plot.x, sy, &x, &y))
        return false;
    /* Two rows in a character: its middle lies half between them. */
    bool two = m->y.lo - m->y.hi > 1.5 * m->plot.h;
    *row = y > 0 ? (size_t)(two ? y : y + 0.5) : 0;
    if (two && *row == current && (double)(*row + 1) < m->y.lo)
        ++*row;
    return true;
}

void chart_heat(struct cells *c, struct rect r, const struct style_look *look,
                const struct chart_heat *heat, struct chart_map *map)
{
    bool halves = style_has_colour(look) && look->glyphs != STYLE_ASCII;
    struct mosaic m = lay_out(heat, r, halves);
    struct rect clip = c->clip;
    double col = (double)heat->first_col - 0.5, row = (double)heat->first_row - 0.5;
    if (map)
        *map = (struct chart_map){.plot = m.plot,
                                  .x = {.lo = col, .hi = col + (double)m.cols},
                                  .y = {.lo = row + (m.ky ? 2.0 * m.plot.h / m.ky : 0), .hi = row}};
    c->clip = rect_intersect(clip, r);
    if (rect_empty(m.plot)) {
        chart_nothing(c, r, look, "no data");
    } else {
        if (halves) {
            draw_halves(c, heat, &m);
            draw_numbers(c, heat, &m);
        } else {
            draw_shades(c, heat, &m, look);
        }
        draw_labels(c, heat, &m, look, r);
        draw_colour_bar(c, heat, &m, look, r);
    }
    c->clip = clip;
}
