#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/figure/paint_parts.h"

enum { BINS_MAX = 80, CURVE_POINTS = 160 };
#define STRIP 9.0

struct bins {
    size_t count[BINS_MAX][CHART_GROUPS];
    size_t n, largest;
};

static void fill_bins(struct bins *b, const struct chart_histogram *chart,
                      const struct chart_axis *x)
{
    *b = (struct bins){.n = chart_bins(chart, x)};
    b->n = b->n > BINS_MAX ? BINS_MAX : b->n;
    for (size_t i = 0; i < chart->n; i++) {
        double place = chart_place(x, chart->value[i]);
        size_t group = chart_group(chart, i);
        if (place >= 0 && place <= 1)
            b->count[chart_cell(place, (int)b->n)][group]++;
    }
    for (size_t k = 0; k < b->n; k++) {
        size_t sum = 0;
        for (size_t g = 0; g < CHART_GROUPS; g++)
            sum += b->count[k][g];
        b->largest = sum > b->largest ? sum : b->largest;
    }
}

static double bin_width(const struct paint_frame *f, const struct bins *b)
{
    return (f->x.hi - f->x.lo) / (double)b->n;
}

static void fit_counts(struct paint_frame *f, const struct bins *b,
                       const struct chart_histogram *chart, bool curve)
{
    double peak = curve ? chart_curve(chart, bin_width(f, b), chart->mu) : 0;
    struct chart_span span = {.lo = 0, .hi = fmax(fmax((double)b->largest, peak), 1), .shown = 2};
    f->y = chart->y;
    f->y.integer = true;
    f->y.log = false;
    chart_fit(&f->y, &span);
}

/* Groups one upon the other, the lowest class first. */
static void draw_bars(const struct paint_frame *f, const struct bins *b)
{
    double w = f->plot.w / (double)b->n;
    for (size_t k = 0; k < b->n; k++) {
        double under = 0;
        for (size_t g = CHART_GROUPS; g-- > 0;) {
            if (b->count[k][g] == 0)
                continue;
            double top = fmax(paint_y(f, under + (double)b->count[k][g]), f->plot.y);
            double bottom = fmax(paint_y(f, under), f->plot.y);
            paint_area(
                f->c,
                (struct paint_box){f->plot.x + w * (double)k + 0.4, top, w - 0.8, bottom - top},
                chart_group_colour(g), g);
            under += (double)b->count[k][g];
        }
    }
}

static void draw_curve(const struct paint_frame *f, const struct chart_histogram *chart,
                       const struct bins *b)
{
    double x[CURVE_POINTS + 1], y[CURVE_POINTS + 1];
    for (int i = 0; i <= CURVE_POINTS; i++) {
        double value = chart_value(&f->x, (double)i / CURVE_POINTS);
        x[i] = paint_x(f, value);
        y[i] = paint_y(f, chart_curve(chart, bin_width(f, b), value));
    }
    canvas_clip(f->c, f->plot.x, f->plot.y, f->plot.w, f->plot.h);
    canvas_path(f->c, x, y, CURVE_POINTS + 1, paint_stroke(PAINT_LINE, STYLE_CURVE));
    canvas_unclip(f->c);
}

/* Every value at its place, between the bars and the axis. */
static void draw_strip(const struct paint_frame *f, const struct chart_histogram *chart)
{
    double top = f->plot.y + f->plot.h;
    for (size_t i = 0; i < chart->n; i++) {
        double place = chart_place(&f->x, chart->value[i]), x = f->plot.x + f->plot.w * place;
        if (place >= 0 && place <= 1)
            canvas_line(f->c, x, top + 1.5, x, top + STRIP - 1.5,
                        paint_stroke(0.7, chart_group_colour(chart_group(chart, i))));
    }
}

static void fill_legend(struct paint_legend *legend, const struct chart_histogram *chart,
                        bool curve)
{
    for (size_t g = 1; chart->group_name && g <= chart->groups && g < CHART_GROUPS; g++) {
        size_t i = legend->count++;
        legend->item[i].sign = PAINT_SIGN_AREA;
        legend->item[i].name = chart->group_name[g - 1];
        legend->item[i].colour = chart_group_colour(g);
        legend->item[i].hatch = g;
    }
    if (curve) {
        size_t i = legend->count++;
        legend->item[i].sign = PAINT_SIGN_LINE;
        legend->item[i].name = "normal distribution";
        legend->item[i].colour = STYLE_CURVE;
    }
}

/* Wide enough for the values and for what is marked among them. */
static void fit_values(struct paint_frame *f, const struct chart_histogram *chart,
                       struct chart_span *span)
{
    f->x = chart->x;
    for (size_t i = 0; i < chart->n; i++)
        chart_span_add(span, &chart->x, chart->value[i]);
    size_t values = span->shown;
    for (size_t i = 0; i < chart->marker_count && values; i++)
        if (!chart->markers[i].horizontal)
            chart_span_add(span, &chart->x, chart->markers[i].at);
    chart_fit(&f->x, span);
    span->shown = values;
}

void paint_histogram(struct canvas *c, struct paint_box box, const struct chart_histogram *chart)
{
    struct paint_legend legend = {.count = 0};
    struct paint_frame f = {.c = c,
                            .all = box,
                            .legend = &legend,
                            .markers = chart->markers,
                            .marker_count = chart->marker_count,
                            .strip = STRIP};
    struct chart_span span = {0};
    struct bins b;
    bool curve = chart->curve && chart->sigma > 0;
    fit_values(&f, chart, &span);
    fill_bins(&b, chart, &f.x);
    fit_counts(&f, &b, chart, curve);
    fill_legend(&legend, chart, curve);
    paint_layout(&f);
    paint_axes(&f);
    paint_legend(&f);
    draw_bars(&f, &b);
    draw_strip(&f, chart);
    if (curve)
        draw_curve(&f, chart, &b);
    paint_markers(&f);
    paint_hidden(&f, span.hidden);
    if (span.shown == 0)
        paint_nothing(c, f.plot);
}
