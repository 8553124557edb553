#include <stdio.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

static void row_label(char *out, size_t size, const struct chart_tiles *t, size_t row)
{
    if (t->row_labels)
        snprintf(out, size, "%s", t->row_labels[row]);
    else
        snprintf(out, size, "%zu", row);
}

static int left_width(const struct chart_tiles *t, int room)
{
    char text[64];
    int width = t->row_title ? cells_width(t->row_title) : 0;
    for (size_t i = 0; i < t->rows; i++) {
        row_label(text, sizeof text, t, i);
        int w = cells_width(text);
        width = w > width ? w : width;
    }
    return width > room / 3 ? room / 3 : width;
}

/* Columns from one tile to the next: a gap between where all fit with it. */
static int pitch_of(const struct chart_tiles *t, int room)
{
    int widest = 1;
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        int w = cells_width(t->tile[i].text);
        widest = w > widest ? w : widest;
    }
    int pitch = widest + 1;
    while (pitch < 4 && (int)t->cols * (pitch + 1) <= room)
        pitch++;
    pitch += 2 * t->zoom;
    return pitch < room || room < 1 ? pitch : room;
}

/* Rows from one tile to the next: zoomed ones stand apart. */
static int row_pitch(const struct chart_tiles *t)
{
    return 1 + t->zoom / 2;
}

static void draw_header(struct cells *c, struct rect r, const struct style_look *look,
                        const struct chart_tiles *t, const struct chart_map *m, int pitch,
                        size_t visible)
{
    char text[32];
    struct style s = STYLE(STYLE_AXIS);
    snprintf(text, sizeof text, "%zu", t->cols);
    size_t step = 1;
    while ((int)step * pitch < (int)strlen(text) + 1)
        step *= 2;
    int y = m->plot.y - 1;
    if (t->row_title)
        cells_label(c, (struct rect){r.x, y, m->plot.x - r.x - 1, 1}, CELLS_RIGHT, t->row_title,
                    look, STYLE(STYLE_TEXT_DIM));
    for (size_t j = 0; j < visible; j++) {
        size_t col = t->first_col + j;
        bool selected = t->has_selected && t->selected_col == col;
        snprintf(text, sizeof text, "%zu", col);
        int x = m->plot.x + (int)j * pitch;
        if (col % step == 0 && x + (int)strlen(text) <= r.x + r.w)
            cells_text(c, x, y, -1, text, STYLE(selected ? STYLE_CURSOR : STYLE_AXIS));
    }
    if (t->first_col + visible < t->cols)
        cells_put(c, r.x + r.w - 1, y, style_glyph(look, STYLE_G_ARROW_R), s);
    if (!t->col_title || y <= r.y)
        return;
    /* What is pointed at goes before the title where only one has room. */
    struct rect row = {r.x, y - 1, r.w, 1}, title = {m->plot.x, y - 1, r.w - (m->plot.x - r.x), 1};
    int width = t->cursor_text ? cells_width(t->cursor_text) : 0;
    bool both = cells_width(t->col_title) + width + 2 <= title.w, cursor = width && width <= r.w;
    if (both || !cursor)
        cells_label(c, title, CELLS_LEFT, t->col_title, look, STYLE(STYLE_TEXT_DIM));
    if (cursor)
        cells_label(c, row, CELLS_RIGHT, t->cursor_text, look, STYLE(STYLE_CURSOR));
}

/* Parts where there are columns for them; else the text, and a tick that says that there are some.
 * Returns the columns used. */
static int draw_tile(struct cells *c, int x, int y, int room, const struct chart_tile *tile)
{
    uint8_t attr = tile->marked ? STYLE_BOLD | STYLE_UNDERLINE : 0;
    if (tile->parts && room >= (int)tile->parts) {
        for (size_t i = 0; i < tile->parts; i++)
            cells_text(c, x + (int)i, y, 1, tile->part[i].text,
                       (struct style){.fg = tile->part[i].colour, .attr = attr});
        return (int)tile->parts;
    }
    int width =
        cells_text(c, x, y, room, tile->text, (struct style){.fg = tile->colour, .attr = attr});
    if (tile->parts)
        cells_text(c, x + width, y, 1, "'", STYLE(STYLE_TEXT_DIM));
    return width;
}

static void draw_row(struct cells *c, struct rect r, const struct style_look *look,
                     const struct chart_tiles *t, const struct chart_map *m, int pitch, size_t i,
                     size_t visible)
{
    size_t row = t->first_row + i;
    bool on_row = t->has_selected && t->selected_row == row;
    char text[64];
    int y = m->plot.y + (int)i * row_pitch(t);
    row_label(text, sizeof text, t, row);
    cells_label(c, (struct rect){r.x, y, m->plot.x - r.x - 1, 1}, CELLS_RIGHT, text, look,
                STYLE(on_row ? STYLE_CURSOR : STYLE_AXIS));
    for (size_t j = 0; j < visible; j++) {
        const struct chart_tile *tile = &t->tile[row * t->cols + t->first_col + j];
        int x = m->plot.x + (int)j * pitch;
        int width = draw_tile(c, x, y, pitch - 1, tile);
        if (on_row && t->selected_col == t->first_col + j)
            cells_highlight(c, (struct rect){x, y, width > 1 ? width : 1, 1}, STYLE_SELECT);
    }
}

void chart_tiles(struct cells *c, struct rect r, const struct style_look *look,
                 const struct chart_tiles *t, struct chart_map *map)
{
    struct rect clip = c->clip;
    int left = left_width(t, r.w) + 1, head = r.h >= 6 && t->col_title ? 2 : r.h >= 2 ? 1 : 0;
    int pitch = pitch_of(t, r.w - left);
    size_t rows = t->first_row < t->rows ? t->rows - t->first_row : 0;
    size_t cols = t->first_col < t->cols ? t->cols - t->first_col : 0;
    int room = r.w - left > 0 ? (r.w - left + 1) / pitch : 0;
    int height = r.h > head ? (r.h - head + row_pitch(t) - 1) / row_pitch(t) : 0;
    cols = (size_t)room < cols ? (size_t)room : cols;
    rows = (size_t)height < rows ? (size_t)height : rows;
    double x = (double)t->first_col - 0.5, y = (double)t->first_row - 0.5;
    struct rect plot = {r.x + left, r.y + head, (int)cols * pitch, (int)rows * row_pitch(t)};
    struct chart_map m = {.plot = plot,
                          .x = {.lo = x, .hi = x + (double)cols},
                          .y = {.lo = y + (double)rows, .hi = y}};
    if (map)
        *map = m;
    c->clip = rect_intersect(clip, r);
    if (rows == 0 || cols == 0) {
        chart_nothing(c, r, look, "no data");
    } else {
        if (head)
            draw_header(c, r, look, t, &m, pitch, cols);
        for (size_t i = 0; i < rows; i++)
            draw_row(c, r, look, t, &m, pitch, i, cols);
        if (t->first_row + rows < t->rows)
            cells_put(c, r.x, r.y + r.h - 1, style_glyph(look, STYLE_G_ARROW_DOWN),
                      STYLE(STYLE_AXIS));
    }
    c->clip = clip;
}
