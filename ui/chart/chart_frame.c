#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

enum { LEGEND_SAMPLE = 3, LEGEND_GAP = 2, MARKERS_MAX = 32, RIGHT_MARGIN = 1 };

static int y_label_width(const struct chart_frame *f, int height)
{
    struct chart_tick tick[CHART_TICKS_MAX];
    size_t n = chart_ticks(tick, f->y.lo, f->y.hi, f->y.log, f->y.integer, height, false, 0);
    int width = 0;
    for (size_t i = 0; i < n; i++)
        width = (int)strlen(tick[i].text) > width ? (int)strlen(tick[i].text) : width;
    return width;
}

/* --- labels of markers --- */

static uint16_t marker_colour(const struct chart_marker *m)
{
    return m->colour ? m->colour : STYLE_MARKER;
}

struct placed {
    struct rect at[MARKERS_MAX];
    size_t count;
};

static bool is_free(const struct placed *p, struct rect r, struct rect bounds)
{
    if (r.x < bounds.x || r.x + r.w > bounds.x + bounds.w)
        return false;
    for (size_t i = 0; i < p->count; i++) /* one column apart */
        if (!rect_empty(rect_intersect(p->at[i], rect_inset(r, -1, 0, -1, 0))))
            return false;
    return true;
}

/* Screen row or column of a marker; false outside the plot. */
static bool marker_at(const struct chart_frame *f, const struct chart_marker *m, int *at)
{
    double place = chart_place(m->horizontal ? &f->y : &f->x, m->at);
    if (!(place >= 0 && place <= 1))
        return false;
    *at = m->horizontal ? f->plot.y + f->plot.h - 1 - chart_cell(place, f->plot.h)
                        : f->plot.x + chart_cell(place, f->plot.w);
    return true;
}

/* Label of a vertical marker in the rows above the plot: over its line, else beside it. */
static bool find_place(const struct chart_frame *f, struct placed *p, int column, int width,
                       struct rect *out)
{
    struct rect rows = f->marker_rows, bounds = {f->all.x, 0, f->all.w, 0};
    const int shift[] = {width / 2, 0, width - 1};
    for (int row = rows.y + rows.h - 1; row >= rows.y; row--)
        for (size_t i = 0; i < sizeof shift / sizeof *shift; i++) {
            *out = (struct rect){column - shift[i], row, width, 1};
            if (p->count < MARKERS_MAX && is_free(p, *out, bounds)) {
                p->at[p->count++] = *out;
                return true;
            }
        }
    return false;
}

/* Places (and draws) the labels of vertical markers, the one in focus first: it must not lose
 * its label to another. Returns how many found no place. */
static size_t label_markers(const struct chart_frame *f, const struct chart_marker *marker,
                            size_t count, bool draw)
{
    struct placed placed = {.count = 0};
    size_t lost = 0;
    for (int focus = 1; focus >= 0 && !rect_empty(f->marker_rows); focus--)
        for (size_t i = 0; i < count; i++) {
            const struct chart_marker *m = &marker[i];
            struct rect r;
            int column;
            if (m->focus != (focus == 1) || !m->label || m->horizontal || !marker_at(f, m, &column))
                continue;
            struct style s = {.fg = marker_colour(m), .attr = m->focus ? STYLE_BOLD : 0};
            if (!find_place(f, &placed, column, cells_width(m->label), &r))
                lost++;
            else if (draw)
                cells_text(f->c, r.x, r.y, r.w, m->label, s);
        }
    return lost;
}

/* --- rows and axes --- */

/* Cuts the chart into its rows, with `markers` rows for the labels of markers. */
static void cut_rows(struct chart_frame *f, struct chart_frame_wish wish, int markers)
{
    enum { HEADER, MARKERS, PLOT, STRIP, AXIS, TICKS, TITLE, PARTS };
    static const int priority[PARTS] = {2, 4, 9, 3, 8, 7, 1};
    const int rows[PARTS] = {
        wish.header ? wish.header_rows : 0, markers, 3, wish.strip, 1, 1, f->x.title != NULL};
    struct layout_item item[PARTS];
    struct rect out[PARTS], place[PARTS] = {{0, 0, 0, 0}};
    int part[PARTS];
    size_t n = 0;
    for (int i = 0; i < PARTS; i++)
        if (rows[i] > 0) {
            part[n] = i;
            item[n++] = (struct layout_item){.want = rows[i],
                                             .min = i == PLOT ? 3 : 1,
                                             .weight = i == PLOT,
                                             .priority = priority[i]};
        }
    layout_rows(out, f->all, item, n, 0);
    for (size_t i = 0; i < n; i++)
        place[part[i]] = out[i];
    if (!f->no_y) {
        int labels = y_label_width(f, place[PLOT].h);
        f->left = labels + 1 <= f->all.w / 3 ? labels + 1 : 1;
    }
    int right = f->all.w > 20 ? RIGHT_MARGIN : 0;
    f->header = place[HEADER];
    f->marker_rows = place[MARKERS];
    f->plot = rect_inset(place[PLOT], f->left, 0, right, 0);
    f->strip = rect_inset(place[STRIP], f->left, 0, right, 0);
    f->tick_row = rect_empty(place[TICKS]) ? -1 : place[TICKS].y;
    f->title_row = rect_empty(place[TITLE]) ? -1 : place[TITLE].y;
}

void chart_frame_layout(struct chart_frame *f, struct chart_frame_wish wish)
{
    bool labels = false;
    for (size_t i = 0; i < wish.marker_count; i++)
        labels = labels || (!wish.markers[i].horizontal && wish.markers[i].label);
    cut_rows(f, wish, labels);
    /* A second row only where one does not hold all labels. */
    if (labels && f->all.h >= 12 && label_markers(f, wish.markers, wish.marker_count, false) > 0)
        cut_rows(f, wish, 2);
}

static void draw_y_axis(const struct chart_frame *f)
{
    struct style s = STYLE(STYLE_AXIS);
    struct rect p = f->plot;
    struct chart_tick tick[CHART_TICKS_MAX];
    cells_fill(f->c, (struct rect){p.x - 1, p.y, 1, p.h}, style_glyph(f->look, STYLE_G_VLINE), s);
    if (f->no_y || f->left < 2)
        return;
    size_t n = chart_ticks(tick, f->y.lo, f->y.hi, f->y.log, f->y.integer, p.h, false, 0);
    for (size_t i = 0; i < n; i++) {
        int row = p.y + p.h - 1 - tick[i].cell;
        if (f->edges)
            row = p.y + p.h - (int)lround(chart_place(&f->y, tick[i].value) * p.h);
        if (row >= f->all.y + f->all.h)
            continue;
        cells_put(f->c, p.x - 1, row, style_glyph(f->look, STYLE_G_TICK_LEFT), s);
        cells_label(f->c, (struct rect){f->all.x, row, f->left - 1, 1}, CELLS_RIGHT, tick[i].text,
                    f->look, s);
    }
}

static void draw_x_axis(const struct chart_frame *f, int row)
{
    struct style s = STYLE(STYLE_AXIS);
    struct rect p = f->plot;
    struct chart_tick tick[CHART_TICKS_MAX];
    int margin = f->left - 1 < RIGHT_MARGIN ? f->left - 1 : RIGHT_MARGIN;
    if (p.x + p.w + margin > f->all.x + f->all.w)
        margin = 0;
    cells_fill(f->c, (struct rect){p.x, row, p.w, 1}, style_glyph(f->look, STYLE_G_HLINE), s);
    cells_put(f->c, p.x - 1, row, style_glyph(f->look, STYLE_G_CORNER_BL), s);
    size_t n = chart_ticks(tick, f->x.lo, f->x.hi, f->x.log, f->x.integer, p.w, true, margin);
    for (size_t i = 0; i < n; i++) {
        cells_put(f->c, p.x + tick[i].cell, row, style_glyph(f->look, STYLE_G_TICK_BELOW), s);
        if (f->tick_row >= 0)
            cells_text(f->c, p.x + chart_tick_start(&tick[i], p.w, margin), f->tick_row, -1,
                       tick[i].text, s);
    }
}

void chart_frame_axes(const struct chart_frame *f)
{
    struct rect p = f->plot;
    if (rect_empty(p))
        return;
    int row = p.y + p.h + (rect_empty(f->strip) ? 0 : f->strip.h);
    if (!rect_empty(f->strip))
        cells_put(f->c, p.x - 1, f->strip.y, style_glyph(f->look, STYLE_G_VLINE),
                  STYLE(STYLE_AXIS));
    draw_y_axis(f);
    if (row < f->all.y + f->all.h)
        draw_x_axis(f, row);
    if (f->title_row >= 0 && f->x.title)
        cells_label(f->c, (struct rect){p.x, f->title_row, p.w, 1}, CELLS_CENTRE, f->x.title,
                    f->look, STYLE(STYLE_TEXT_DIM));
}

static int legend_width(const struct chart_legend_item *item, size_t count)
{
    int width = 0;
    for (size_t i = 0; i < count; i++)
        width += LEGEND_SAMPLE + cells_width(item[i].name) + (i ? LEGEND_GAP : 0);
    return width;
}

/* How many of the items stand in one row of this width; at least one. */
static size_t legend_row(const struct chart_legend_item *item, size_t count, int width)
{
    size_t n = count;
    while (n > 1 && legend_width(item, n) > width)
        n--;
    return n;
}

int chart_header_rows(int width, const char *title, const struct chart_legend_item *item,
                      size_t count)
{
    int rows = 1;
    if (!title || !count || cells_width(title) + LEGEND_GAP + legend_width(item, count) <= width)
        return 1;
    for (size_t i = 0; i < count; i += legend_row(item + i, count - i, width))
        rows++;
    return rows;
}

static void draw_legend_row(const struct chart_frame *f, const struct chart_legend_item *item,
                            size_t count, int y)
{
    int x = f->header.x + f->header.w - legend_width(item, count);
    for (size_t i = 0; i < count; i++) {
        struct style s = STYLE(item[i].colour);
        cells_put(f->c, x + 1, y, item[i].glyph, s);
        if (!item[i].single)
            cells_put(f->c, x, y, item[i].glyph, s);
        x += LEGEND_SAMPLE;
        x += cells_text(f->c, x, y, -1, item[i].name, STYLE(STYLE_TEXT_DIM)) + LEGEND_GAP;
    }
}

void chart_frame_header(const struct chart_frame *f, const struct chart_legend_item *item,
                        size_t count)
{
    struct rect h = f->header;
    int used = 0;
    if (rect_empty(h))
        return;
    if (f->y.title) {
        int width = cells_width(f->y.title);
        used = h.h == 1 ? (width < h.w ? width : h.w) + LEGEND_GAP : 0;
        cells_label(f->c, (struct rect){h.x, h.y, h.w, 1}, CELLS_LEFT, f->y.title, f->look,
                    STYLE(STYLE_TEXT_DIM));
    }
    for (int y = h.y + (h.h > 1); y < h.y + h.h && count > 0; y++) {
        size_t n = legend_row(item, count, h.w - used);
        if (legend_width(item, n) <= h.w - used)
            draw_legend_row(f, item, n, y);
        item += n;
        count -= n;
    }
}

/* --- markers --- */

static void draw_marker(const struct chart_frame *f, const struct chart_marker *m, int at)
{
    struct style s = {.fg = marker_colour(m), .attr = m->focus ? STYLE_BOLD : 0};
    struct rect p = f->plot;
    const char *v = style_glyph(f->look, m->focus ? STYLE_G_VLINE : STYLE_G_DASH_V);
    const char *h = style_glyph(f->look, m->focus ? STYLE_G_HLINE : STYLE_G_DASH_H);
    if (m->horizontal)
        for (int x = p.x; x < p.x + p.w; x++)
            chart_overlay(f->c, x, at, h, s);
    else
        for (int y = p.y; y < p.y + p.h; y++)
            chart_overlay(f->c, at, y, v, s);
}

void chart_frame_markers(const struct chart_frame *f, const struct chart_marker *marker,
                         size_t count)
{
    int at;
    /* The one in focus last: of lines in one column it is the one to be seen. */
    for (int focus = 0; focus <= 1; focus++)
        for (size_t i = 0; i < count; i++)
            if (marker[i].focus == (focus == 1) && marker_at(f, &marker[i], &at))
                draw_marker(f, &marker[i], at);
    label_markers(f, marker, count, true);
}

/* Whether a label there would hide more than its own line. */
static bool covers_data(const struct chart_frame *f, struct rect r, const struct chart_marker *m)
{
    for (int x = r.x; x < r.x + r.w; x++) {
        const struct cell *cell = cells_at(f->c, x, r.y);
        if (cell && strcmp(cell->glyph, " ") != 0 && cell->style.fg != marker_colour(m))
            return true;
    }
    return false;
}

/* Where a label of this width hides no data: at the right end, at the left one, or between; else
 * at the right end. */
static struct rect free_stretch(const struct chart_frame *f, const struct chart_marker *m, int row,
                                int width)
{
    int right = f->plot.x + f->plot.w - width;
    struct rect r = {right, row, width, 1}, left = {f->plot.x, row, width, 1};
    if (covers_data(f, r, m) && !covers_data(f, left, m))
        return left;
    while (r.x > f->plot.x && covers_data(f, r, m))
        r.x--;
    return r.x > f->plot.x ? r : (struct rect){right, row, width, 1};
}

void chart_frame_marker_labels(const struct chart_frame *f, const struct chart_marker *marker,
                               size_t count)
{
    struct placed placed = {.count = 0};
    for (size_t i = 0; i < count; i++) {
        int row, width = marker[i].label ? cells_width(marker[i].label) + 2 : 0;
        if (!marker[i].horizontal || !width || width > f->plot.w || !marker_at(f, &marker[i], &row))
            continue;
        struct rect r = free_stretch(f, &marker[i], row, width);
        if (!is_free(&placed, r, f->plot) || placed.count == MARKERS_MAX)
            continue;
        cells_textf(f->c, r.x, row, width, STYLE(marker_colour(&marker[i])), " %s ",
                    marker[i].label);
        placed.at[placed.count++] = r;
    }
}

/* --- the rest --- */

/* Nothing, not even the space in a label. */
static bool is_blank(const struct cell *cell)
{
    return cell && strcmp(cell->glyph, " ") == 0 && cell->style.fg == STYLE_DEFAULT;
}

/* Nothing, or the line through the cross. */
static bool is_row_free(const struct chart_frame *f, struct rect r)
{
    const char *line = style_glyph(f->look, STYLE_G_VLINE);
    for (int x = r.x; x < r.x + r.w; x++) {
        const struct cell *cell = cells_at(f->c, x, r.y);
        bool is_line = cell && cell->style.fg == STYLE_CURSOR && strcmp(cell->glyph, line) == 0;
        if (!is_line && !is_blank(cell))
            return false;
    }
    return true;
}

/* The upper corner that is further from the cross; another one where something lies in it and
 * nothing in the other. */
static struct rect cursor_corner(const struct chart_frame *f, int x, int width)
{
    struct rect p = f->plot;
    int right = p.x + p.w - width, bottom = p.y + p.h - 1;
    int far = x < p.x + p.w / 2 ? right : p.x, near = far == right ? p.x : right;
    const struct rect corner[] = {{far, p.y, width, 1},
                                  {far, bottom, width, 1},
                                  {near, p.y, width, 1},
                                  {near, bottom, width, 1}};
    for (size_t i = 0; i < sizeof corner / sizeof *corner; i++)
        if (is_row_free(f, corner[i]))
            return corner[i];
    return corner[0];
}

void chart_frame_cursor(const struct chart_frame *f, const struct chart_cursor *cursor)
{
    struct chart_marker at_x = {.at = cursor->x, .colour = STYLE_CURSOR};
    struct chart_marker at_y = {.horizontal = true, .at = cursor->y, .colour = STYLE_CURSOR};
    struct rect p = f->plot;
    struct style s = STYLE(STYLE_CURSOR);
    int x, y;
    if (!cursor->shown || !marker_at(f, &at_x, &x))
        return;
    for (int row = p.y; row < p.y + p.h; row++)
        if (is_blank(cells_at(f->c, x, row)))
            cells_put(f->c, x, row, style_glyph(f->look, STYLE_G_VLINE), s);
    if (marker_at(f, &at_y, &y))
        cells_put(f->c, x, y, style_glyph(f->look, STYLE_G_CROSS), s);
    char text[160], vx[32], vy[32];
    chart_number(vx, sizeof vx, cursor->x, 4);
    chart_number(vy, sizeof vy, cursor->y, 4);
    snprintf(text, sizeof text, "x %s  y %s", vx, vy);
    const char *shown = cursor->text ? cursor->text : text;
    int width = cells_width(shown) + 2;
    width = width < p.w ? width : p.w;
    struct rect r = cursor_corner(f, x, width);
    cells_fill(f->c, r, " ", s);
    cells_label(f->c, rect_inset(r, 1, 0, 1, 0), CELLS_LEFT, shown, f->look, s);
}

void chart_frame_hidden(const struct chart_frame *f, size_t hidden)
{
    char text[96];
    if (hidden == 0 || rect_empty(f->plot))
        return;
    snprintf(text, sizeof text,
             hidden == 1 ? "%zu value <= 0 not shown" : "%zu values <= 0 not shown", hidden);
    int width = cells_width(text), title = f->x.title ? cells_width(f->x.title) : 0;
    struct rect r = {f->plot.x + f->plot.w - width, f->title_row, width, 1};
    /* Beside the centred title if both fit, else in the plot's lower corner. */
    if (f->title_row < 0 || width + 2 > (f->plot.w - title) / 2)
        r = (struct rect){f->plot.x, f->plot.y + f->plot.h - 1,
                          width < f->plot.w ? width : f->plot.w, 1};
    cells_label(f->c, r, CELLS_LEFT, text, f->look, STYLE(STYLE_WARN));
}

void chart_frame_map(const struct chart_frame *f, size_t hidden, struct chart_map *map)
{
    if (map)
        *map = (struct chart_map){f->plot, f->x, f->y, hidden};
}

static bool is_bar(const struct cell *cell)
{
    return cell && (cell->style.attr & STYLE_SOLID || cell->style.bg != STYLE_DEFAULT);
}

/* Eighths of its cell that a block fills from below; 0: it is another glyph, or one of dots. */
static int filled(const struct cell *cell)
{
    bool block = strncmp(cell->glyph, "\xe2\x96", 2) == 0;
    int eighths = block ? (unsigned char)cell->glyph[2] - 0x80 : 0;
    return eighths == 8 || (eighths > 0 && eighths < 8 && is_bar(cell)) ? eighths : 0;
}

void chart_overlay(struct cells *c, int x, int y, const char *glyph, struct style s)
{
    const struct cell *cell = cells_at(c, x, y);
    if (!cell)
        return;
    bool foot = is_bar(cell) && !is_bar(cells_at(c, x, y + 1));
    int eighths = filled(cell), full = foot ? 4 : 6; /* from there it counts as full */
    if (foot && cell->style.bg == STYLE_DEFAULT && eighths < full)
        return;
    s.bg = eighths >= full ? cell->style.fg : cell->style.bg;
    s.attr |= cell->style.attr & STYLE_SOLID;
    if (s.bg != STYLE_DEFAULT)
        s.fg = STYLE_ON_BAR;
    cells_put(c, x, y, glyph, s);
}

void chart_nothing(struct cells *c, struct rect r, const struct style_look *look, const char *text)
{
    if (rect_empty(r))
        return;
    cells_label(c, (struct rect){r.x, r.y + r.h / 2, r.w, 1}, CELLS_CENTRE, text, look,
                STYLE(STYLE_TEXT_DIM));
}
