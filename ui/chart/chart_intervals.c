#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

enum { KEY_WIDTH = 46, FRAME_ROWS = 4 };

/* What an interval is drawn with. */
struct parts {
    const char *thin, *thick, *low, *high, *median;
};

static struct parts parts_of(const struct style_look *look)
{
    static const struct parts lines = {"\u2500", "\u2501", "\u251c", "\u2524", "\u2542"};
    static const struct parts ascii = {"-", "=", "|", "|", "O"};
    return look->glyphs == STYLE_ASCII ? ascii : lines;
}

static void widths(const struct chart_intervals *chart, int room, int *label, int *note)
{
    *label = *note = 0;
    for (size_t i = 0; i < chart->n; i++) {
        int l = chart->row[i].label ? cells_width(chart->row[i].label) : 0;
        int n = chart->row[i].note ? cells_width(chart->row[i].note) : 0;
        *label = l > *label ? l : *label;
        *note = n > *note ? n : *note;
    }
    *label = *label > room / 4 ? room / 4 : *label;
    *note = *note > room / 4 ? 0 : *note;
}

static void fit(struct chart_frame *f, const struct chart_intervals *chart, size_t *hidden)
{
    struct chart_span span = {0};
    for (size_t i = 0; i < chart->n; i++)
        if (chart->row[i].valid) {
            chart_span_add(&span, &chart->x, chart->row[i].lowest);
            chart_span_add(&span, &chart->x, chart->row[i].highest);
        }
    f->x = chart->x;
    chart_fit(&f->x, &span);
    *hidden = span.hidden;
}

static void span_cells(const struct chart_frame *f, double from, double to, int y,
                       const char *glyph, struct style s)
{
    double a = chart_place(&f->x, from), b = chart_place(&f->x, to);
    if (!(b >= 0 && a <= 1))
        return;
    int first = chart_cell(a, f->plot.w), last = chart_cell(b, f->plot.w);
    for (int x = first; x <= last; x++)
        chart_overlay(f->c, f->plot.x + x, y, glyph, s);
}

static void end_cell(const struct chart_frame *f, double at, int y, const char *glyph,
                     struct style s)
{
    double place = chart_place(&f->x, at);
    if (place >= 0 && place <= 1)
        chart_overlay(f->c, f->plot.x + chart_cell(place, f->plot.w), y, glyph, s);
}

static void draw_row(const struct chart_frame *f, const struct chart_interval *row, int y)
{
    struct parts p = parts_of(f->look);
    struct style s = STYLE(row->colour ? row->colour : STYLE_SERIES), bold = s;
    bold.attr = STYLE_BOLD;
    if (!row->valid) {
        cells_label(f->c, (struct rect){f->plot.x + 1, y, f->plot.w - 1, 1}, CELLS_LEFT, "no data",
                    f->look, STYLE(STYLE_TEXT_DIM));
        return;
    }
    span_cells(f, row->lowest, row->highest, y, p.thin, s);
    end_cell(f, row->lowest, y, p.low, s);
    end_cell(f, row->highest, y, p.high, s);
    span_cells(f, row->tenth, row->ninetieth, y, p.thick, s);
    end_cell(f, row->median, y, p.median, bold);
}

/* What the signs mean, and which rows are in sight. */
static void draw_header(const struct chart_frame *f, const struct chart_intervals *chart,
                        size_t visible)
{
    struct rect h = f->header;
    struct parts p = parts_of(f->look);
    char text[96] = "";
    if (rect_empty(h))
        return;
    if (visible < chart->n)
        snprintf(text, sizeof text, "%zu-%zu of %zu", chart->first + 1, chart->first + visible,
                 chart->n);
    int width = (int)strlen(text);
    cells_text(f->c, h.x + h.w - width, h.y, -1, text, STYLE(STYLE_TEXT_DIM));
    int cursor = chart->cursor_text ? cells_width(chart->cursor_text) : 0;
    if (cursor && cursor <= h.w - f->left - width - (width ? 2 : 0)) {
        width += cursor + (width ? 2 : 0);
        cells_text(f->c, h.x + h.w - width, h.y, cursor, chart->cursor_text, STYLE(STYLE_CURSOR));
    }
    if (h.w - f->left - width - 2 < KEY_WIDTH)
        return;
    const char *const sign[] = {p.low, p.thin, p.thick, p.median, p.thick, p.thin, p.high};
    int x = f->plot.x;
    for (size_t i = 0; i < sizeof sign / sizeof *sign; i++)
        cells_put(f->c, x++, h.y, sign[i], STYLE(STYLE_AXIS));
    cells_text(f->c, x + 1, h.y, -1, "lowest, 10 %, median, 90 %, highest", STYLE(STYLE_TEXT_DIM));
}

size_t chart_intervals_rows(const struct chart_intervals *chart, int height)
{
    int rows = height - FRAME_ROWS + (chart->x.title ? 0 : 1);
    return rows > 1 ? (size_t)rows : 1;
}

static size_t lay_out(struct chart_frame *f, const struct chart_intervals *chart, int *note)
{
    int label;
    widths(chart, f->all.w, &label, note);
    f->no_y = true;
    f->left = label + 1;
    if (*note)
        f->all.w -= *note + 1;
    chart_frame_layout(f, (struct chart_frame_wish){.header = true,
                                                    .header_rows = 1,
                                                    .markers = chart->markers,
                                                    .marker_count = chart->marker_count});
    size_t left = chart->first < chart->n ? chart->n - chart->first : 0;
    size_t rows = f->plot.h > 0 ? (size_t)f->plot.h : 0;
    return rows < left ? rows : left;
}

void chart_intervals(struct cells *c, struct rect r, const struct style_look *look,
                     const struct chart_intervals *chart, struct chart_map *map)
{
    struct chart_frame f = {.c = c, .look = look, .all = r};
    struct rect clip = c->clip;
    size_t hidden;
    int note;
    fit(&f, chart, &hidden);
    size_t visible = lay_out(&f, chart, &note);
    f.y = (struct chart_axis){.lo = (double)chart->first + f.plot.h - 0.5,
                              .hi = (double)chart->first - 0.5};
    chart_frame_map(&f, hidden, map);
    if (rect_empty(f.plot))
        return;
    c->clip = rect_intersect(clip, r);
    chart_frame_axes(&f);
    draw_header(&f, chart, visible);
    for (size_t i = 0; i < visible; i++) {
        const struct chart_interval *row = &chart->row[chart->first + i];
        int y = f.plot.y + (int)i;
        cells_label(c, (struct rect){r.x, y, f.left - 1, 1}, CELLS_RIGHT,
                    row->label ? row->label : "", look, STYLE(STYLE_DEFAULT));
        draw_row(&f, row, y);
        if (note && row->note)
            cells_text(c, f.all.x + f.all.w + 1, y, note, row->note, STYLE(STYLE_TEXT_DIM));
    }
    chart_frame_markers(&f, chart->markers, chart->marker_count);
    if (chart->has_selected && chart->selected - chart->first < visible)
        cells_highlight(
            c, (struct rect){r.x, f.plot.y + (int)(chart->selected - chart->first), r.w, 1},
            STYLE_SELECT);
    if (chart->n == 0)
        chart_nothing(c, f.plot, look, "no data");
    chart_frame_hidden(&f, hidden);
    c->clip = clip;
}
