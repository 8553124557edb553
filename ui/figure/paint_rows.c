/* Charts of one row an entry: bars and intervals. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/figure/paint_parts.h"

#define GAP 5.0
#define READABLE 8.0 /* lowest row that can have a label */

struct rows {
    struct paint_box plot;
    double pitch;
    size_t step; /* every how many-th has a label */
    double font;
};

static struct rows rows_of(struct paint_box plot, size_t n)
{
    struct rows r = {.plot = plot, .pitch = n ? fmin(plot.h / (double)n, 22) : plot.h, .step = 1};
    while (r.pitch * (double)r.step < READABLE && r.step < n)
        r.step *= 2;
    r.font = fmin(PAINT_TICK, fmax(r.pitch * (double)r.step * 0.85, 5));
    return r;
}

static double row_middle(const struct rows *r, size_t i)
{
    return r->plot.y + r->pitch * ((double)i + 0.5);
}

static void row_text(struct canvas *c, const struct rows *r, size_t i, double x, double room,
                     const char *text, uint16_t colour, enum canvas_anchor anchor)
{
    if (text && i % r->step == 0)
        paint_text_in(c, x, paint_middle(row_middle(r, i), r->font), room, text,
                      paint_font(r->font, colour, anchor));
}

static double wider(struct canvas *c, double widest, const char *text)
{
    struct canvas_font f = paint_font(PAINT_TICK, STYLE_DEFAULT, CANVAS_START);
    return text ? fmax(widest, canvas_text_width(c, text, f)) : widest;
}

/* --- Bars --- */

/* With the decimals of the largest, where that can be read: points stand below each other. */
static void number_of(char *out, size_t size, const struct chart_bars *chart, size_t i, double max)
{
    int digits = chart->digits ? chart->digits : 3;
    int decimals = max > 0 ? digits - 1 - (int)floor(log10(max)) : 0;
    if (chart->bar[i].missing)
        snprintf(out, size, "\u2013");
    else if (max >= 1e-3 && max < 1e4)
        snprintf(out, size, "%.*f", decimals > 0 ? decimals : 0, chart->bar[i].value);
    else
        chart_number(out, size, chart->bar[i].value, digits);
}

static double largest(const struct chart_bars *chart)
{
    double max = chart->max;
    for (size_t i = 0; i < chart->n && !(chart->max > 0); i++)
        if (!chart->bar[i].missing && isfinite(chart->bar[i].value))
            max = fmax(max, chart->bar[i].value);
    return max;
}

/* Bars of the second and further colours carry hatching, as they come. */
static size_t hatch_of(uint16_t colour)
{
    return colour > STYLE_GROUP && colour < STYLE_BITS ? (size_t)(colour - STYLE_GROUP) : 0;
}

void paint_bars(struct canvas *c, struct paint_box box, const struct chart_bars *chart)
{
    double label = 0, number = 0, note = 0, max = largest(chart);
    char text[48];
    for (size_t i = 0; i < chart->n; i++) {
        number_of(text, sizeof text, chart, i, max);
        label = wider(c, label, chart->bar[i].label);
        number = wider(c, number, text);
        note = wider(c, note, chart->bar[i].note);
    }
    label = fmin(label, box.w / 3);
    note = fmin(note, box.w / 3);
    double right = number + GAP + (note > 0 ? note + GAP + 3 : 0);
    struct paint_box plot = {box.x + label + GAP, box.y + 2, box.w - label - GAP - right,
                             box.h - 4};
    if (chart->n == 0 || plot.w < 10) {
        paint_nothing(c, box);
        return;
    }
    struct rows r = rows_of(plot, chart->n);
    for (size_t i = 0; i < chart->n; i++) {
        const struct chart_bar *bar = &chart->bar[i];
        uint16_t colour = bar->colour ? bar->colour : STYLE_SERIES;
        double share = !bar->missing && max > 0 && bar->value > 0 ? bar->value / max : 0;
        double h = r.pitch * 0.72;
        row_text(c, &r, i, plot.x - GAP, label, bar->label, STYLE_DEFAULT, CANVAS_END);
        paint_area(
            c, (struct paint_box){plot.x, row_middle(&r, i) - h / 2, plot.w * fmin(share, 1), h},
            colour, hatch_of(colour));
        number_of(text, sizeof text, chart, i, max);
        row_text(c, &r, i, plot.x + plot.w + GAP + number, number + 1, text, STYLE_DEFAULT,
                 CANVAS_END);
        row_text(c, &r, i, plot.x + plot.w + 2 * GAP + number + 3, note + 1, bar->note,
                 STYLE_TEXT_DIM, CANVAS_START);
    }
    canvas_line(c, plot.x, plot.y, plot.x, plot.y + r.pitch * (double)chart->n,
                paint_stroke(PAINT_AXIS, STYLE_AXIS));
}

/* --- Intervals --- */

static void draw_span(const struct paint_frame *f, double from, double to, double y, double width,
                      uint16_t colour)
{
    canvas_line(f->c, paint_x(f, from), y, paint_x(f, to), y, paint_stroke(width, colour));
}

/* A thin line from end to end, a thick one between the deciles, the median as a white dot. */
static void draw_interval(const struct paint_frame *f, const struct chart_interval *row, double y,
                          double pitch)
{
    uint16_t colour = row->colour ? row->colour : STYLE_SERIES;
    double thick = fmin(fmax(pitch * 0.5, 1.6), 6), cap = fmin(pitch * 0.3, 3);
    double x = paint_x(f, row->median);
    canvas_clip(f->c, f->plot.x - 1, f->plot.y, f->plot.w + 2, f->plot.h);
    draw_span(f, row->lowest, row->highest, y, 0.8, colour);
    for (int end = 0; end < 2; end++) {
        double at = paint_x(f, end ? row->highest : row->lowest);
        canvas_line(f->c, at, y - cap, at, y + cap, paint_stroke(0.8, colour));
    }
    draw_span(f, row->tenth, row->ninetieth, y, thick, colour);
    double place = chart_place(&f->x, row->median);
    if (place >= 0 && place <= 1) {
        canvas_marks(f->c, &x, &y, 1,
                     (struct canvas_mark){CANVAS_CIRCLE, fmin(pitch * 0.38, 3), colour});
        canvas_marks(f->c, &x, &y, 1,
                     (struct canvas_mark){CANVAS_CIRCLE, fmin(pitch * 0.26, 2), CANVAS_PAPER});
    }
    canvas_unclip(f->c);
}

static size_t fit_intervals(struct paint_frame *f, const struct chart_intervals *chart)
{
    struct chart_span span = {0};
    for (size_t i = 0; i < chart->n; i++) {
        f->left = wider(f->c, f->left, chart->row[i].label);
        f->right = wider(f->c, f->right, chart->row[i].note);
        if (chart->row[i].valid) {
            chart_span_add(&span, &chart->x, chart->row[i].lowest);
            chart_span_add(&span, &chart->x, chart->row[i].highest);
        }
    }
    f->left = fmin(f->left, f->all.w / 4) + GAP + (chart->row_title ? PAINT_LABEL + 5 : 0);
    f->right = fmax(f->right > 0 ? fmin(f->right, f->all.w / 4) + GAP + 2 : 0, 8);
    f->x = chart->x;
    chart_fit(&f->x, &span);
    return span.hidden;
}

/* What the signs mean, drawn as one of them. */
static void draw_key(const struct paint_frame *f)
{
    struct paint_frame k = *f;
    struct chart_interval sample = {NULL, true, 0, 0.2, 0.5, 0.8, 1, STYLE_AXIS, NULL};
    double y = f->all.y + 5;
    k.plot = (struct paint_box){f->plot.x, f->all.y - 2, 60, 14};
    k.x = (struct chart_axis){.lo = 0, .hi = 1};
    draw_interval(&k, &sample, y, 9);
    paint_text_in(f->c, f->plot.x + 66, paint_middle(y, PAINT_TICK),
                  f->all.x + f->all.w - f->plot.x - 66, "lowest, 10 %, median, 90 %, highest",
                  paint_font(PAINT_TICK, STYLE_TEXT_DIM, CANVAS_START));
}

void paint_intervals(struct canvas *c, struct paint_box box, const struct chart_intervals *chart)
{
    struct paint_frame f = {.c = c,
                            .all = box,
                            .rows = true,
                            .markers = chart->markers,
                            .marker_count = chart->marker_count};
    size_t hidden = fit_intervals(&f, chart);
    f.all.y += 13;
    f.all.h -= 13;
    paint_layout(&f);
    f.all = box;
    struct rows r = rows_of(f.plot, chart->n);
    f.plot.h = chart->n ? r.pitch * (double)chart->n : f.plot.h;
    f.all.h = f.plot.y + f.plot.h + 28 - f.all.y;
    paint_axes(&f);
    draw_key(&f);
    paint_markers(&f);
    for (size_t i = 0; i < chart->n; i++) {
        const struct chart_interval *row = &chart->row[i];
        row_text(c, &r, i, f.plot.x - GAP, f.left, row->label, STYLE_DEFAULT, CANVAS_END);
        row_text(c, &r, i, f.plot.x + f.plot.w + GAP, f.right, row->note, STYLE_TEXT_DIM,
                 CANVAS_START);
        if (row->valid)
            draw_interval(&f, row, row_middle(&r, i), r.pitch);
        else
            row_text(c, &r, i, f.plot.x + 6, f.plot.w, "no data", STYLE_TEXT_DIM, CANVAS_START);
    }
    struct canvas_font font = paint_font(PAINT_LABEL, STYLE_DEFAULT, CANVAS_MIDDLE);
    font.angle = 90;
    if (chart->row_title)
        canvas_text(c, box.x + PAINT_LABEL, f.plot.y + f.plot.h / 2, chart->row_title, font);
    paint_hidden(&f, hidden);
    if (chart->n == 0)
        paint_nothing(c, f.plot);
}
