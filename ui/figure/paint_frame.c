#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/figure/paint_parts.h"

enum { TICK_LENGTH = 4, MINOR_LENGTH = 2 };

#define MINUS "\u2212"
/* Width of a digit and height of a row of tick labels, by which chart_ticks() counts. */
#define DIGIT 4.2
#define ROW 9.0
#define LABEL_ROW 10.0

struct canvas_font paint_font(double size, uint16_t colour, enum canvas_anchor anchor)
{
    return (struct canvas_font){.size = size, .colour = colour, .anchor = anchor};
}

struct canvas_stroke paint_stroke(double width, uint16_t colour)
{
    return (struct canvas_stroke){.width = width, .colour = colour};
}

double paint_middle(double y, double size)
{
    return y + 0.35 * size;
}

void paint_text_in(struct canvas *c, double x, double y, double room, const char *text,
                   struct canvas_font f)
{
    char cut[512];
    size_t n = strlen(text);
    if (n >= sizeof cut || canvas_text_width(c, text, f) > room) {
        n = n < sizeof cut - 4 ? n : sizeof cut - 4;
        do {
            while (n > 0 && ((unsigned char)text[--n] & 0xc0) == 0x80)
                ;
            snprintf(cut, sizeof cut, "%.*s\u2026", (int)n, text);
        } while (n > 0 && canvas_text_width(c, cut, f) > room);
        text = n > 0 ? cut : "";
    }
    canvas_text(c, x, y, text, f);
}

void paint_nothing(struct canvas *c, struct paint_box box)
{
    canvas_text(c, box.x + box.w / 2, box.y + box.h / 2, "no data",
                paint_font(PAINT_LABEL, STYLE_TEXT_DIM, CANVAS_MIDDLE));
}

double paint_x(const struct paint_frame *f, double value)
{
    return f->plot.x + f->plot.w * chart_place(&f->x, value);
}

double paint_y(const struct paint_frame *f, double value)
{
    return f->plot.y + f->plot.h * (1 - chart_place(&f->y, value));
}

void paint_area(struct canvas *c, struct paint_box box, uint16_t colour, size_t hatch)
{
    canvas_fill(c, box.x, box.y, box.w, box.h, colour);
    if (hatch < 2 || box.w < 2 || box.h < 2)
        return;
    double step = hatch == 2 ? 5 : 3.5;
    /* Lines x + y = k (x - y = k) from edge to edge; places of k are those of the page, so that
     * neighbours go on where one ends. */
    for (int way = 0; way < (hatch == 4 ? 2 : 1); way++) {
        double sign = (hatch == 3) != (way == 1) ? -1 : 1;
        double lo = sign > 0 ? box.x + box.y : box.x - box.y - box.h;
        for (double k = ceil(lo / step) * step; k < lo + box.w + box.h; k += step) {
            double y0 = sign * (k - box.x), y1 = sign * (k - box.x - box.w);
            double top = fmax(fmin(y0, y1), box.y), bottom = fmin(fmax(y0, y1), box.y + box.h);
            canvas_line(c, k - sign * top, top, k - sign * bottom, bottom,
                        paint_stroke(0.6, CANVAS_PAPER));
        }
    }
}

void paint_number(struct canvas *c, double x, double y, const char *number, struct canvas_font f)
{
    char text[64];
    bool negative = number[0] == '-';
    snprintf(text, sizeof text, "%s%s", negative ? MINUS : "", number + negative);
    canvas_text(c, x, y, text, f);
}

/* --- Ticks --- */

struct ticks {
    struct chart_tick tick[CHART_TICKS_MAX];
    size_t count;
    bool powers; /* written as powers of ten */
};

/* Powers of ten where all are, and some are too long to read as numbers. */
static bool are_powers(const struct ticks *t, const struct chart_axis *axis)
{
    bool far = false;
    for (size_t i = 0; i < t->count; i++) {
        double power = log10(t->tick[i].value);
        if (fabs(power - round(power)) > 1e-9)
            return false;
        far = far || power > 2.5 || power < -2.5;
    }
    return axis->log && far;
}

static struct ticks ticks_of(const struct chart_axis *axis, double length, bool wide)
{
    struct ticks t;
    int cells = (int)(length / (wide ? DIGIT : ROW));
    t.count = chart_ticks(t.tick, axis->lo, axis->hi, axis->log, axis->integer, cells, wide, 4);
    t.powers = are_powers(&t, axis);
    return t;
}

/* 10 with its exponent raised; as wide as the digits that it has. */
static void draw_power(struct canvas *c, double x, double y, int power, struct canvas_font f)
{
    char text[16];
    struct canvas_font small = f;
    small.size *= 0.75;
    small.anchor = CANVAS_START;
    snprintf(text, sizeof text, "%s%d", power < 0 ? MINUS : "", abs(power));
    double base = canvas_text_width(c, "10", f), raised = canvas_text_width(c, text, small);
    double middle = f.anchor == CANVAS_END ? x - raised - 0.3 : x + (base - raised) / 2;
    f.anchor = CANVAS_END;
    canvas_text(c, middle, y, "10", f);
    canvas_text(c, middle + 0.3, y - 0.38 * f.size, text, small);
}

static void draw_tick_text(struct canvas *c, double x, double y, const struct ticks *t, size_t i,
                           struct canvas_font f)
{
    if (t->powers)
        draw_power(c, x, y, (int)lround(log10(t->tick[i].value)), f);
    else
        paint_number(c, x, y, t->tick[i].text, f);
}

static double tick_width(struct canvas *c, const struct ticks *t)
{
    double widest = 0;
    for (size_t i = 0; i < t->count; i++) {
        double w = canvas_text_width(c, t->powers ? "10-5" : t->tick[i].text,
                                     paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_END));
        widest = fmax(widest, w);
    }
    return widest;
}

/* Calls `each` for 2 .. 9 times every power of ten inside a log axis. */
static void for_minors(const struct paint_frame *f, const struct chart_axis *axis,
                       void (*each)(const struct paint_frame *f, double value))
{
    enum { DECADES_MAX = 12 };
    if (!axis->log || log10(axis->hi / axis->lo) > DECADES_MAX)
        return;
    for (int k = (int)floor(log10(axis->lo)); k <= (int)ceil(log10(axis->hi)); k++)
        for (int m = 2; m < 10; m++) {
            double place = chart_place(axis, m * pow(10, k));
            if (place >= 0 && place <= 1)
                each(f, m * pow(10, k));
        }
}

static void minor_x(const struct paint_frame *f, double value)
{
    double x = paint_x(f, value), y = f->plot.y + f->plot.h + f->strip;
    canvas_line(f->c, x, y, x, y + MINOR_LENGTH, paint_stroke(PAINT_AXIS * 0.75, STYLE_AXIS));
}

static void minor_y(const struct paint_frame *f, double value)
{
    double x = f->plot.x, y = paint_y(f, value);
    canvas_line(f->c, x, y, x - MINOR_LENGTH, y, paint_stroke(PAINT_AXIS * 0.75, STYLE_AXIS));
}

static void draw_x_axis(const struct paint_frame *f)
{
    struct ticks t = ticks_of(&f->x, f->plot.w, true);
    double bottom = f->plot.y + f->plot.h + f->strip;
    for (size_t i = 0; i < t.count; i++) {
        double x = paint_x(f, t.tick[i].value);
        canvas_line(f->c, x, f->plot.y, x, f->plot.y + f->plot.h, paint_stroke(0.4, STYLE_GRID));
        canvas_line(f->c, x, bottom, x, bottom + TICK_LENGTH, paint_stroke(PAINT_AXIS, STYLE_AXIS));
        draw_tick_text(f->c, x, bottom + TICK_LENGTH + 2 + PAINT_TICK, &t, i,
                       paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_MIDDLE));
    }
    for_minors(f, &f->x, minor_x);
    if (f->x.title)
        canvas_text(f->c, f->plot.x + f->plot.w / 2, f->all.y + f->all.h - 2, f->x.title,
                    paint_font(PAINT_LABEL, STYLE_DEFAULT, CANVAS_MIDDLE));
}

static void draw_y_axis(const struct paint_frame *f)
{
    struct ticks t = ticks_of(&f->y, f->plot.h, false);
    for (size_t i = 0; i < t.count; i++) {
        double y = paint_y(f, t.tick[i].value);
        canvas_line(f->c, f->plot.x, y, f->plot.x + f->plot.w, y, paint_stroke(0.4, STYLE_GRID));
        canvas_line(f->c, f->plot.x, y, f->plot.x - TICK_LENGTH, y,
                    paint_stroke(PAINT_AXIS, STYLE_AXIS));
        draw_tick_text(f->c, f->plot.x - TICK_LENGTH - 2, paint_middle(y, PAINT_TICK), &t, i,
                       paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_END));
    }
    for_minors(f, &f->y, minor_y);
    struct canvas_font font = paint_font(PAINT_LABEL, STYLE_DEFAULT, CANVAS_MIDDLE);
    font.angle = 90;
    if (f->y.title)
        canvas_text(f->c, f->all.x + PAINT_LABEL, f->plot.y + f->plot.h / 2, f->y.title, font);
}

void paint_axes(const struct paint_frame *f)
{
    double bottom = f->plot.y + f->plot.h;
    draw_x_axis(f);
    if (!f->rows)
        draw_y_axis(f);
    canvas_line(f->c, f->plot.x, f->plot.y, f->plot.x, bottom,
                paint_stroke(PAINT_AXIS, STYLE_AXIS));
    canvas_line(f->c, f->plot.x, bottom, f->plot.x + f->plot.w, bottom,
                paint_stroke(PAINT_AXIS, STYLE_AXIS));
    if (f->strip > 0)
        canvas_line(f->c, f->plot.x, bottom + f->strip, f->plot.x + f->plot.w, bottom + f->strip,
                    paint_stroke(PAINT_AXIS, STYLE_AXIS));
}

void paint_hidden(const struct paint_frame *f, size_t hidden)
{
    char text[64];
    if (hidden == 0)
        return;
    snprintf(text, sizeof text, "%zu not on the logarithmic axis", hidden);
    canvas_text(f->c, f->plot.x + f->plot.w, f->plot.y - 2, text,
                paint_font(PAINT_TICK - 0.5, STYLE_TEXT_DIM, CANVAS_END));
}

/* --- Legend --- */

#define SIGN 18.0
#define SIGN_GAP 4.0
#define ITEM_GAP 14.0
#define LEGEND_ROW 12.0
#define LEFT_MOST 64.0 /* what a legend never counts on: the y axis has it */

static double item_width(struct canvas *c, const struct paint_legend *legend, size_t i)
{
    return SIGN + SIGN_GAP +
           canvas_text_width(c, legend->item[i].name,
                             paint_font(PAINT_TICK + 0.5, STYLE_DEFAULT, CANVAS_START));
}

static void draw_item(struct canvas *c, const struct paint_legend *legend, size_t i, double x,
                      double y, double room)
{
    uint16_t colour = legend->item[i].colour;
    struct canvas_stroke s = {colour, PAINT_LINE, legend->item[i].dash};
    double middle = x + SIGN / 2;
    switch (legend->item[i].sign) {
    case PAINT_SIGN_LINE:
        canvas_line(c, x, y, x + SIGN, y, s);
        break;
    case PAINT_SIGN_MARK:
        canvas_marks(c, &middle, &y, 1, (struct canvas_mark){legend->item[i].shape, 2.4, colour});
        break;
    case PAINT_SIGN_AREA:
        paint_area(c, (struct paint_box){x + 4, y - 3.5, SIGN - 6, 7}, colour,
                   legend->item[i].hatch);
        break;
    }
    paint_text_in(c, x + SIGN + SIGN_GAP, paint_middle(y, PAINT_TICK + 0.5), room - SIGN - SIGN_GAP,
                  legend->item[i].name, paint_font(PAINT_TICK + 0.5, STYLE_DEFAULT, CANVAS_START));
}

/* Rows from the left, each as full as it gets; returns their number. */
static size_t place_items(struct canvas *c, const struct paint_legend *legend, double x, double y,
                          double width, bool draw)
{
    double at = 0;
    size_t rows = legend->count > 0;
    for (size_t i = 0; i < legend->count; i++) {
        double w = item_width(c, legend, i);
        if (at > 0 && at + w > width) {
            at = 0;
            rows++;
        }
        if (draw)
            draw_item(c, legend, i, x + at, y + LEGEND_ROW * ((double)rows - 0.5), width - at);
        at += w + ITEM_GAP;
    }
    return rows;
}

double paint_legend_height(struct canvas *c, const struct paint_legend *legend, double width)
{
    return LEGEND_ROW * (double)place_items(c, legend, 0, 0, width, false);
}

void paint_legend_at(struct canvas *c, const struct paint_legend *legend, double x, double y,
                     double width)
{
    place_items(c, legend, x, y, width, true);
}

void paint_legend(const struct paint_frame *f)
{
    if (f->legend)
        paint_legend_at(f->c, f->legend, f->plot.x, f->all.y, f->all.w - LEFT_MOST);
}

/* --- Markers --- */

struct label {
    double from, to;
    size_t row; /* 0: nearest to the plot */
    bool shown;
};

static double marker_place(const struct paint_frame *f, const struct chart_marker *m)
{
    return chart_place(m->horizontal ? &f->y : &f->x, m->at);
}

static bool is_free(const struct label *label, size_t count, struct label l)
{
    for (size_t i = 0; i < count; i++)
        if (label[i].shown && label[i].row == l.row && l.from < label[i].to + 4 &&
            label[i].from < l.to + 4)
            return false;
    return true;
}

/* Over its line, or beside it at the edges of the picture, in the lowest of the rows that has
 * room; else it is not shown. */
static struct label place_label(const struct paint_frame *f, const struct chart_marker *m,
                                const struct label *others, size_t n, size_t rows)
{
    struct canvas_font font = paint_font(PAINT_TICK, STYLE_MARKER, CANVAS_MIDDLE);
    font.bold = m->focus;
    double w = canvas_text_width(f->c, m->label, font);
    double from = f->plot.x + f->plot.w * marker_place(f, m) - w / 2;
    from = fmax(fmin(from, f->all.x + f->all.w - w), f->all.x);
    struct label l = {from, from + w, 0, w <= f->all.w};
    while (l.row < rows && !is_free(others, n, l))
        l.row++;
    l.shown = l.shown && l.row < rows;
    return l;
}

/* Places the labels, the one in focus first; returns the rows that they take. */
static size_t place_labels(const struct paint_frame *f, struct label label[PAINT_MARKERS_MAX],
                           size_t most)
{
    size_t rows = 0, n = f->marker_count < PAINT_MARKERS_MAX ? f->marker_count : PAINT_MARKERS_MAX;
    memset(label, 0, PAINT_MARKERS_MAX * sizeof *label);
    for (int focus = 1; focus >= 0; focus--)
        for (size_t i = 0; i < n; i++) {
            const struct chart_marker *m = &f->markers[i];
            double place = marker_place(f, m);
            if (m->horizontal || !m->label || m->focus != (focus == 1) ||
                !(place >= 0 && place <= 1))
                continue;
            label[i] = place_label(f, m, label, n, most);
            if (label[i].shown && label[i].row + 1 > rows)
                rows = label[i].row + 1;
        }
    return rows;
}

static uint16_t marker_colour(const struct chart_marker *m)
{
    return m->colour ? m->colour : STYLE_MARKER;
}

static void draw_vertical(const struct paint_frame *f, const struct chart_marker *m,
                          const struct label *label)
{
    double x = paint_x(f, m->at), bottom = f->plot.y + f->plot.h + f->strip, top = f->plot.y;
    canvas_line(f->c, x, top, x, bottom,
                (struct canvas_stroke){marker_colour(m), m->focus ? 1.1 : 0.7, 3});
    struct canvas_font font = paint_font(PAINT_TICK, marker_colour(m), CANVAS_MIDDLE);
    font.bold = m->focus;
    if (label && label->shown)
        canvas_text(f->c, (label->from + label->to) / 2, top - 3 - LABEL_ROW * (double)label->row,
                    m->label, font);
}

struct paint_box paint_marker_label(const struct paint_frame *f, const struct chart_marker *m)
{
    double y = paint_y(f, m->at), right = f->plot.x + f->plot.w;
    if (!m->label)
        return (struct paint_box){right, y, 0, 0};
    double w = canvas_text_width(f->c, m->label, paint_font(PAINT_TICK, STYLE_MARKER, CANVAS_END));
    double base = y - 3 - PAINT_TICK > f->plot.y ? y - 3 : y + 3 + PAINT_TICK * 0.8;
    return (struct paint_box){f->labels_left ? f->plot.x + 1 : right - w - 5, base - PAINT_TICK,
                              w + 4, PAINT_TICK + 2};
}

static void draw_horizontal(const struct paint_frame *f, const struct chart_marker *m)
{
    double y = paint_y(f, m->at);
    struct paint_box label = paint_marker_label(f, m);
    canvas_line(f->c, f->plot.x, y, f->plot.x + f->plot.w, y,
                (struct canvas_stroke){marker_colour(m), m->focus ? 1.1 : 0.8, 4});
    if (label.w <= 0)
        return;
    canvas_fill(f->c, label.x, label.y, label.w, label.h, CANVAS_PAPER);
    canvas_text(f->c, label.x + label.w - 2, label.y + PAINT_TICK, m->label,
                paint_font(PAINT_TICK, marker_colour(m), CANVAS_END));
}

void paint_markers(const struct paint_frame *f)
{
    struct label label[PAINT_MARKERS_MAX];
    place_labels(f, label, f->label_rows);
    /* The one in focus over the others. */
    for (int focus = 0; focus <= 1; focus++)
        for (size_t i = 0; i < f->marker_count; i++) {
            const struct chart_marker *m = &f->markers[i];
            double place = marker_place(f, m);
            if (!(place >= 0 && place <= 1) || m->focus != (focus == 1))
                continue;
            if (m->horizontal)
                draw_horizontal(f, m);
            else
                draw_vertical(f, m, i < PAINT_MARKERS_MAX ? &label[i] : NULL);
        }
}

/* --- Layout --- */

void paint_layout(struct paint_frame *f)
{
    struct label label[PAINT_MARKERS_MAX];
    double top = 4, bottom = TICK_LENGTH + 2 + PAINT_TICK + 3 + f->strip;
    double left = f->left, right = f->rows ? f->right : 8;
    bottom += f->x.title ? PAINT_LABEL + 4 : 0;
    if (f->legend && f->legend->count)
        top += paint_legend_height(f->c, f->legend, f->all.w - LEFT_MOST) + 2;
    if (!f->rows) {
        struct ticks t = ticks_of(&f->y, f->all.h - top - bottom, false);
        left = tick_width(f->c, &t) + TICK_LENGTH + 4 + (f->y.title ? PAINT_LABEL + 5 : 0);
    }
    f->plot = (struct paint_box){f->all.x + left, f->all.y + top, fmax(f->all.w - left - right, 1),
                                 fmax(f->all.h - top - bottom, 1)};
    f->label_rows = place_labels(f, label, (size_t)(f->plot.h / 3 / LABEL_ROW));
    double rows = LABEL_ROW * (double)f->label_rows;
    f->plot.y += rows;
    f->plot.h -= rows;
}
