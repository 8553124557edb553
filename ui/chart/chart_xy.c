#include <ctype.h>
#include <math.h>

#include "ui/chart/chart_draw.h"

enum { HEADER_SHARE = 6 };

double chart_series_x(const struct chart_series *s, size_t i)
{
    return s->x ? s->x[i] : (double)(i + 1);
}

uint16_t chart_series_colour(const struct chart_series *s, size_t index)
{
    return s->colour ? s->colour : (uint16_t)(STYLE_SERIES + index % 8);
}

size_t chart_xy_fit(struct chart_axis *x, struct chart_axis *y, const struct chart_xy *chart,
                    size_t *shown)
{
    struct chart_span across = {0}, up = {0};
    size_t hidden = 0;
    for (size_t k = 0; k < chart->count; k++) {
        const struct chart_series *s = &chart->series[k];
        for (size_t i = 0; i < s->n; i++) {
            double vx = chart_series_x(s, i), vy = s->y[i];
            if (!isfinite(vx) || !isfinite(vy))
                continue;
            if ((chart->x.log && vx <= 0) || (chart->y.log && vy <= 0)) {
                hidden++;
                continue;
            }
            chart_span_add(&across, &chart->x, vx);
            chart_span_add(&up, &chart->y, vy);
        }
    }
    *x = chart->x;
    *y = chart->y;
    chart_fit(x, &across);
    chart_fit(y, &up);
    *shown = across.shown;
    return hidden;
}

/* chart_place() with its logarithms of the ends taken once: a trace has 50,000 ranks. */
struct scale {
    bool log;
    double from, factor;
};

static struct scale scale_of(const struct chart_axis *axis)
{
    double lo = axis->log ? log(axis->lo) : axis->lo, hi = axis->log ? log(axis->hi) : axis->hi;
    return (struct scale){axis->log, lo, 1 / (hi - lo)};
}

static double place_on(const struct scale *scale, double value)
{
    if (scale->log && !(value > 0))
        return NAN;
    double place = ((scale->log ? log(value) : value) - scale->from) * scale->factor;
    /* The ends must stay in the plot whatever the rounding. */
    return fabs(place) < 1e-12 ? 0 : fabs(place - 1) < 1e-12 ? 1 : place;
}

/* Letters of marks, as of plans on a front; lines have none. */
static bool has_letter(const struct cells *c, int x, int y)
{
    const struct cell *cell = cells_at(c, x, y);
    return cell && isalnum((unsigned char)cell->glyph[0]);
}

/* A letter at its place, or, where another one stands there, beside that: first on the side of the
 * cell on which it lies. */
static void put_letter(const struct chart_frame *f, double px, double py, const char *glyph,
                       struct style style)
{
    struct rect p = f->plot;
    int x = p.x + chart_cell(px, p.w), y = p.y + p.h - 1 - chart_cell(py, p.h);
    int side = px * p.w - floor(px * p.w) < 0.5 ? -1 : 1;
    const int moves[][2] = {{0, 0}, {side, 0}, {-side, 0}, {0, -1}, {0, 1}};
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        int to_x = x + moves[i][0], to_y = y + moves[i][1];
        if (!rect_contains(p, to_x, to_y) || has_letter(f->c, to_x, to_y))
            continue;
        cells_put(f->c, to_x, to_y, glyph, style);
        return;
    }
    cells_put(f->c, x, y, glyph, style);
}

static void draw_series(const struct chart_frame *f, const struct chart_series *s, size_t index)
{
    uint16_t colour = chart_series_colour(s, index);
    struct chart_dots dots = chart_dots_open(f, colour, index);
    struct scale sx = scale_of(&f->x), sy = scale_of(&f->y);
    double before_x = NAN, before_y = NAN;
    for (size_t i = 0; i < s->n; i++) {
        double px = place_on(&sx, chart_series_x(s, i)), py = place_on(&sy, s->y[i]);
        bool linked = i > 0 && isfinite(before_x) && isfinite(before_y);
        bool inside = px >= 0 && px <= 1 && py >= 0 && py <= 1;
        if (s->mark == CHART_POINTS && s->glyph && inside) {
            put_letter(f, px, py, s->glyph[i], STYLE(colour));
        } else if (s->mark == CHART_POINTS && s->big && inside) {
            cells_put(f->c, f->plot.x + chart_cell(px, f->plot.w),
                      f->plot.y + f->plot.h - 1 - chart_cell(py, f->plot.h),
                      chart_point_mark(f->look, index), STYLE(colour));
        } else if (s->mark == CHART_POINTS || (!linked && isfinite(px) && isfinite(py))) {
            chart_dots_point(&dots, px, py);
        } else if (s->mark == CHART_STEPS) {
            chart_dots_line(&dots, before_x, before_y, px, before_y);
            chart_dots_line(&dots, px, before_y, px, py);
        } else {
            chart_dots_line(&dots, before_x, before_y, px, py);
        }
        before_x = px;
        before_y = py;
    }
}

static size_t fill_legend(struct chart_legend_item legend[CHART_LEGEND_MAX],
                          const struct chart_xy *chart, const struct style_look *look)
{
    size_t items = 0;
    for (size_t k = 0; k < chart->count && items < CHART_LEGEND_MAX && !chart->no_legend; k++) {
        const struct chart_series *s = &chart->series[k];
        bool points = s->mark == CHART_POINTS, big = points && s->big;
        if (s->name)
            legend[items++] =
                (struct chart_legend_item){big && s->glyph && s->n ? s->glyph[0]
                                           : big                   ? chart_point_mark(look, k)
                                                 : chart_dots_sample(look, k, !points),
                                           s->name, chart_series_colour(s, k), big};
    }
    return items;
}

/* What title and legend need, up to a part of the chart. */
static int header_rows(struct rect r, const struct chart_xy *chart,
                       const struct chart_legend_item *legend, size_t items)
{
    int rows = chart_header_rows(r.w, chart->y.title, legend, items), most = r.h / HEADER_SHARE;
    return rows < most ? rows : most > 1 ? most : 1;
}

void chart_xy(struct cells *c, struct rect r, const struct style_look *look,
              const struct chart_xy *chart, struct chart_map *map)
{
    struct chart_frame f = {.c = c, .look = look, .all = r};
    struct chart_legend_item legend[CHART_LEGEND_MAX];
    size_t shown, hidden = chart_xy_fit(&f.x, &f.y, chart, &shown),
                  items = fill_legend(legend, chart, look);
    chart_frame_layout(
        &f, (struct chart_frame_wish){.header = items > 0 || chart->y.title,
                                      .header_rows = header_rows(r, chart, legend, items),
                                      .markers = chart->markers,
                                      .marker_count = chart->marker_count});
    chart_frame_map(&f, hidden, map);
    if (rect_empty(f.plot))
        return;
    struct rect clip = c->clip;
    c->clip = rect_intersect(clip, r);
    chart_frame_axes(&f);
    chart_frame_header(&f, legend, items);
    chart_frame_markers(&f, chart->markers, chart->marker_count);
    /* What was measured lies over what was fitted to it; in ASCII, where a mark is as large as a
     * cell, no line would be left. */
    bool points_last = look->glyphs != STYLE_ASCII;
    for (int last = 0; last <= 1; last++)
        for (size_t k = 0; k < chart->count; k++)
            if (((chart->series[k].mark == CHART_POINTS) == points_last) == (last == 1))
                draw_series(&f, &chart->series[k], k);
    if (shown == 0)
        chart_nothing(c, f.plot, look, "no data");
    chart_frame_marker_labels(&f, chart->markers, chart->marker_count);
    chart_frame_hidden(&f, hidden);
    chart_frame_cursor(&f, &chart->cursor);
    c->clip = clip;
}
