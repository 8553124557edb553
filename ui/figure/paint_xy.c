#include <math.h>

#include "ui/figure/paint_parts.h"

enum { BATCH = 1024, FEW = 400 };
#define BIG 2.8 /* half the size of a mark, in points */

static double dash_of(size_t index)
{
    static const double dash[] = {0, 5, 2, 8};
    return dash[index % (sizeof dash / sizeof *dash)];
}

static enum canvas_shape shape_of(size_t index)
{
    return (enum canvas_shape)(index % CANVAS_SHAPES);
}

static void draw_line(const struct paint_frame *f, const struct chart_series *s, size_t index)
{
    double x[2 * BATCH], y[2 * BATCH];
    struct canvas_stroke stroke = {chart_series_colour(s, index), PAINT_LINE, dash_of(index)};
    for (size_t i = 0; i < s->n;) {
        size_t n = 0;
        /* Each batch begins where the last one ended. */
        for (size_t k = i ? i - 1 : 0; k < s->n && n + 2 <= 2 * BATCH; k++, i = k) {
            double px = paint_x(f, chart_series_x(s, k)), py = paint_y(f, s->y[k]);
            if (s->mark == CHART_STEPS && n > 0) {
                x[n] = px;
                y[n] = y[n - 1];
                n++;
            }
            x[n] = px;
            y[n++] = py;
        }
        canvas_path(f->c, x, y, n, stroke);
    }
}

static void draw_points(const struct paint_frame *f, const struct chart_series *s, size_t index)
{
    double x[BATCH], y[BATCH];
    struct canvas_mark mark = {shape_of(index),
                               s->big       ? BIG
                               : s->n > FEW ? 0.9
                                            : 1.4,
                               chart_series_colour(s, index)};
    for (size_t i = 0; i < s->n;) {
        size_t n = 0;
        for (; i < s->n && n < BATCH; i++) {
            double px = chart_place(&f->x, chart_series_x(s, i)), py = chart_place(&f->y, s->y[i]);
            if (!(px >= -1e-9 && px <= 1 + 1e-9 && py >= -1e-9 && py <= 1 + 1e-9))
                continue;
            x[n] = paint_x(f, chart_series_x(s, i));
            y[n++] = paint_y(f, s->y[i]);
        }
        canvas_marks(f->c, x, y, n, mark);
    }
}

/* From y - error to y + error, with an end on both sides. */
static void draw_errors(const struct paint_frame *f, const struct chart_series *s, size_t index)
{
    struct canvas_stroke stroke = {chart_series_colour(s, index), PAINT_LINE, 0};
    for (size_t i = 0; s->error && i < s->n; i++) {
        double x = paint_x(f, chart_series_x(s, i)), end[2];
        if (!(s->error[i] > 0))
            continue;
        for (int k = 0; k < 2; k++) {
            double place = chart_place(&f->y, s->y[i] + (k ? s->error[i] : -s->error[i]));
            end[k] = f->plot.y + f->plot.h * (1 - (place > 0 ? place < 1 ? place : 1 : 0));
            canvas_path(f->c, (double[]){x - BIG, x + BIG}, (double[]){end[k], end[k]}, 2, stroke);
        }
        canvas_path(f->c, (double[]){x, x}, end, 2, stroke);
    }
}

/* Letters beside their points. */
static void draw_letters(const struct paint_frame *f, const struct chart_series *s, size_t index)
{
    struct canvas_font font = paint_font(PAINT_TICK, chart_series_colour(s, index), CANVAS_START);
    font.bold = true;
    for (size_t i = 0; s->glyph && i < s->n; i++) {
        double px = chart_place(&f->x, chart_series_x(s, i)), py = chart_place(&f->y, s->y[i]);
        if (px >= 0 && px <= 1 && py >= 0 && py <= 1)
            canvas_text(f->c, paint_x(f, chart_series_x(s, i)) + 4, paint_y(f, s->y[i]) - 3,
                        s->glyph[i], font);
    }
}

static void fill_legend(struct paint_legend *legend, const struct chart_xy *chart)
{
    for (size_t k = 0; k < chart->count && legend->count < PAINT_LEGEND_MAX; k++) {
        const struct chart_series *s = &chart->series[k];
        size_t i = legend->count;
        if (!s->name || chart->no_legend)
            continue;
        legend->item[i].sign = s->mark == CHART_POINTS ? PAINT_SIGN_MARK : PAINT_SIGN_LINE;
        legend->item[i].name = s->name;
        legend->item[i].colour = chart_series_colour(s, k);
        legend->item[i].dash = dash_of(k);
        legend->item[i].shape = shape_of(k);
        legend->count++;
    }
}

/* Whether a point lies where a marker's label would be written. */
static bool labels_hide_points(const struct paint_frame *f, const struct chart_xy *chart)
{
    for (size_t m = 0; m < chart->marker_count; m++) {
        struct paint_box box = paint_marker_label(f, &chart->markers[m]);
        for (size_t k = 0; k < chart->count && chart->markers[m].horizontal; k++)
            for (size_t i = 0; i < chart->series[k].n; i++) {
                double x = paint_x(f, chart_series_x(&chart->series[k], i));
                double y = paint_y(f, chart->series[k].y[i]);
                if (x >= box.x - BIG && x <= box.x + box.w + BIG && y >= box.y - BIG &&
                    y <= box.y + box.h + BIG)
                    return true;
            }
    }
    return false;
}

void paint_xy(struct canvas *c, struct paint_box box, const struct chart_xy *chart)
{
    struct paint_legend legend = {.count = 0};
    struct paint_frame f = {.c = c,
                            .all = box,
                            .legend = &legend,
                            .markers = chart->markers,
                            .marker_count = chart->marker_count};
    size_t shown, hidden = chart_xy_fit(&f.x, &f.y, chart, &shown);
    fill_legend(&legend, chart);
    paint_layout(&f);
    paint_axes(&f);
    paint_legend(&f);
    f.labels_left = labels_hide_points(&f, chart);
    paint_markers(&f);
    for (int points = 0; points <= 1; points++) {
        canvas_clip(c, f.plot.x, f.plot.y, f.plot.w, f.plot.h);
        for (size_t k = 0; k < chart->count && !points; k++)
            if (chart->series[k].mark != CHART_POINTS)
                draw_line(&f, &chart->series[k], k);
            else
                draw_errors(&f, &chart->series[k], k);
        canvas_unclip(c);
        /* Points lie inside by their centres, and are never cut. */
        for (size_t k = 0; k < chart->count && points; k++)
            if (chart->series[k].mark == CHART_POINTS) {
                draw_points(&f, &chart->series[k], k);
                draw_letters(&f, &chart->series[k], k);
            }
    }
    paint_hidden(&f, hidden);
    if (shown == 0)
        paint_nothing(c, f.plot);
}
