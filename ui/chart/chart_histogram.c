#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

enum { BINS_MAX = 256 };

struct bins {
    size_t count[BINS_MAX][CHART_GROUPS]; /* [bin][group] */
    size_t n, largest;
    int columns; /* of a bar */
    double peak; /* of the curve, in counts */
};

static int compare_values(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

size_t chart_bins(const struct chart_histogram *chart, const struct chart_axis *x)
{
    size_t n = 0;
    double *sorted = chart->bins ? NULL : malloc((chart->n ? chart->n : 1) * sizeof *sorted);
    double width = 0;
    for (size_t i = 0; i < chart->n && sorted; i++)
        if (isfinite(chart->value[i]))
            sorted[n++] = chart->value[i];
    if (n > 3) {
        qsort(sorted, n, sizeof *sorted, compare_values);
        width = 2 * (sorted[n * 3 / 4] - sorted[n / 4]) / cbrt((double)n);
    }
    free(sorted);
    if (chart->bins)
        return chart->bins;
    double bins = width > 0 ? (x->hi - x->lo) / width : 1 + log2((double)(chart->n + 1));
    return (size_t)fmin(fmax(ceil(bins), 10), 80);
}

size_t chart_group(const struct chart_histogram *chart, size_t i)
{
    size_t group = chart->group ? chart->group[i] : 0;
    return group < CHART_GROUPS ? group : CHART_GROUPS - 1;
}

double chart_curve(const struct chart_histogram *chart, double bin_width, double x)
{
    double z = (x - chart->mu) / chart->sigma;
    return (double)chart->n * bin_width * exp(-0.5 * z * z) / (chart->sigma * sqrt(2 * M_PI));
}

static void fill_bins(struct bins *b, const struct chart_histogram *chart,
                      const struct chart_axis *x, int width)
{
    size_t wanted = chart_bins(chart, x);
    *b = (struct bins){0};
    b->columns = (int)((size_t)width / wanted);
    b->columns = b->columns > 1 ? b->columns : 1;
    b->n = (size_t)(width / b->columns);
    b->n = b->n > BINS_MAX ? BINS_MAX : b->n;
    for (size_t i = 0; i < chart->n; i++) {
        double place = chart_place(x, chart->value[i]);
        if (place >= 0 && place <= 1)
            b->count[chart_cell(place, (int)b->n)][chart_group(chart, i)]++;
    }
    for (size_t k = 0; k < b->n; k++) {
        size_t sum = 0;
        for (size_t g = 0; g < CHART_GROUPS; g++)
            sum += b->count[k][g];
        b->largest = sum > b->largest ? sum : b->largest;
    }
    if (chart->curve && chart->sigma > 0)
        b->peak = chart_curve(chart, (x->hi - x->lo) / (double)b->n, chart->mu);
}

static void fit_counts(struct chart_axis *y, const struct bins *b, const struct chart_axis *given)
{
    struct chart_span span = {.lo = 0, .hi = fmax((double)b->largest, b->peak), .shown = 2};
    *y = *given;
    y->integer = true;
    y->log = false;
    span.hi = fmax(span.hi, 1);
    chart_fit(y, &span);
}

/* Without colours a group is told by the texture of its bars. */
static const char *bar_glyph(const struct style_look *look, size_t group, int eighths)
{
    static const char *const lower[] = {" ",      "\u2581", "\u2582", "\u2583", "\u2584",
                                        "\u2585", "\u2586", "\u2587", "\u2588"};
    static const char *const ascii[CHART_GROUPS] = {"#", "#", ".", "-", "="};
    static const char *const shade[CHART_GROUPS] = {"\u2588", "\u2588", "\u2592", "\u2591",
                                                    "\u2593"};
    if (look->glyphs == STYLE_ASCII)
        return eighths >= 4 ? ascii[group] : " ";
    if (!style_has_colour(look) && group > 1)
        return eighths >= 4 ? shade[group] : " ";
    return lower[eighths];
}

uint16_t chart_group_colour(size_t group)
{
    return group ? (uint16_t)(STYLE_GROUP + group) : STYLE_SERIES;
}

/* Group whose part of the bar holds the height `at`; groups are stacked, the lowest class first. */
static size_t group_at(const size_t *count, double at)
{
    double top = 0;
    size_t found = 0;
    for (size_t g = CHART_GROUPS; g-- > 0;) {
        top += (double)count[g];
        if (count[g])
            found = g;
        if (count[g] && at < top)
            return g;
    }
    return found;
}

static void draw_bar(const struct chart_frame *f, const struct bins *b, size_t k)
{
    struct rect p = f->plot;
    const size_t *count = b->count[k];
    size_t sum = 0;
    for (size_t g = 0; g < CHART_GROUPS; g++)
        sum += count[g];
    double place = fmin(chart_place(&f->y, (double)sum), 1);
    int eighths = (int)lround(place * p.h * 8);
    if (sum && eighths < (f->look->glyphs == STYLE_ASCII ? 4 : 1))
        eighths = f->look->glyphs == STYLE_ASCII ? 4 : 1;
    for (int row = 0; row * 8 < eighths; row++) {
        int part = eighths - row * 8 < 8 ? eighths - row * 8 : 8;
        size_t group = group_at(count, chart_value(&f->y, (row + part / 16.0) / p.h));
        for (int i = 0; i < b->columns; i++)
            cells_put(f->c, p.x + (int)k * b->columns + i, p.y + p.h - 1 - row,
                      bar_glyph(f->look, group, part),
                      (struct style){.fg = chart_group_colour(group), .attr = STYLE_SOLID});
    }
}

static void draw_curve(const struct chart_frame *f, const struct chart_histogram *chart,
                       const struct bins *b)
{
    struct chart_dots dots = chart_dots_open(f, STYLE_CURVE, 0);
    double width = (f->x.hi - f->x.lo) / (double)b->n, before_x = 0, before_y = 0;
    for (int i = 0; i <= dots.w; i++) {
        double px = (double)i / dots.w;
        double py = chart_place(&f->y, chart_curve(chart, width, chart_value(&f->x, px)));
        if (i > 0)
            chart_dots_line(&dots, before_x, before_y, px, py);
        before_x = px;
        before_y = py;
    }
}

/* Every value at its place, under the bars. */
static void draw_strip(const struct chart_frame *f, const struct chart_histogram *chart)
{
    static const char *const digit[CHART_GROUPS] = {"|", "1", "2", "3", "4"};
    if (rect_empty(f->strip))
        return;
    for (size_t i = 0; i < chart->n; i++) {
        double place = chart_place(&f->x, chart->value[i]);
        size_t group = chart_group(chart, i);
        const char *glyph =
            style_has_colour(f->look) ? style_glyph(f->look, STYLE_G_VLINE) : digit[group];
        if (place >= 0 && place <= 1)
            cells_put(f->c, f->plot.x + chart_cell(place, f->plot.w), f->strip.y, glyph,
                      STYLE(chart_group_colour(group)));
    }
    if (chart->selected && *chart->selected < chart->n) {
        double place = chart_place(&f->x, chart->value[*chart->selected]);
        if (place >= 0 && place <= 1)
            cells_put(f->c, f->plot.x + chart_cell(place, f->plot.w), f->strip.y,
                      style_glyph(f->look, STYLE_G_ARROW_UP), STYLE(STYLE_CURSOR));
    }
}

static size_t fill_legend(struct chart_legend_item legend[CHART_GROUPS],
                          const struct chart_histogram *chart, const struct style_look *look)
{
    size_t n = 0;
    for (size_t g = 1; chart->group_name && g <= chart->groups && g < CHART_GROUPS; g++)
        legend[n++] = (struct chart_legend_item){bar_glyph(look, g, 8), chart->group_name[g - 1],
                                                 chart_group_colour(g), false};
    if (n && chart->curve && chart->sigma > 0)
        legend[n++] = (struct chart_legend_item){chart_dots_sample(look, 0, true), "normal",
                                                 STYLE_CURVE, false};
    return n;
}

/* The width of the labels depends on the counts, the counts on the width left for the bins. */
static void settle(struct chart_frame *f, struct bins *b, const struct chart_histogram *chart)
{
    struct chart_frame_wish wish = {.header = chart->y.title || chart->group_name,
                                    .header_rows = 1,
                                    .strip = true,
                                    .markers = chart->markers,
                                    .marker_count = chart->marker_count};
    fill_bins(b, chart, &f->x, f->all.w > 8 ? f->all.w - 5 : 3);
    for (int round = 0; round < 3; round++) {
        fit_counts(&f->y, b, &chart->y);
        chart_frame_layout(f, wish);
        fill_bins(b, chart, &f->x, f->plot.w > 0 ? f->plot.w : 1);
    }
    f->plot.w = b->columns * (int)b->n < f->plot.w ? b->columns * (int)b->n : f->plot.w;
}

void chart_histogram(struct cells *c, struct rect r, const struct style_look *look,
                     const struct chart_histogram *chart, struct chart_map *map)
{
    struct rect clip = c->clip;
    struct chart_frame f = {.c = c, .look = look, .all = r, .x = chart->x, .edges = true};
    struct chart_legend_item legend[CHART_GROUPS];
    struct chart_span span = {0};
    struct bins b;
    for (size_t i = 0; i < chart->n; i++)
        chart_span_add(&span, &chart->x, chart->value[i]);
    chart_fit(&f.x, &span);
    settle(&f, &b, chart);
    chart_frame_map(&f, span.hidden, map);
    if (rect_empty(f.plot))
        return;
    c->clip = rect_intersect(clip, r);
    chart_frame_axes(&f);
    chart_frame_header(&f, legend, fill_legend(legend, chart, look));
    for (size_t k = 0; k < b.n; k++)
        draw_bar(&f, &b, k);
    if (chart->curve && chart->sigma > 0)
        draw_curve(&f, chart, &b);
    chart_frame_markers(&f, chart->markers, chart->marker_count);
    draw_strip(&f, chart);
    if (span.shown == 0)
        chart_nothing(c, f.plot, look, "no data");
    chart_frame_marker_labels(&f, chart->markers, chart->marker_count);
    chart_frame_hidden(&f, span.hidden);
    chart_frame_cursor(&f, &chart->cursor);
    c->clip = clip;
}
