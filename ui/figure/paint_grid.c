/* Charts of rows and columns: heat maps and tiles. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "ui/figure/paint_parts.h"

enum { LABEL_MAX = 64, KEYS_MAX = 8 };

/* Areas reach under their neighbours, so that no paper shines through between them. */
#define SEAM 0.6

static void label_of(char out[LABEL_MAX], const char *const *labels, size_t i)
{
    if (labels)
        snprintf(out, LABEL_MAX, "%s", labels[i]);
    else
        snprintf(out, LABEL_MAX, "%zu", i);
}

static double widest_label(struct canvas *c, const char *const *labels, size_t n)
{
    char text[LABEL_MAX];
    double widest = 0;
    for (size_t i = labels || n == 0 ? 0 : n - 1; i < n; i++) {
        label_of(text, labels, i);
        widest = fmax(widest,
                      canvas_text_width(c, text, paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_START)));
    }
    return widest;
}

/* Every how many-th label has `room`: a power of two, as experts are counted. */
static size_t label_step(double room, double pitch)
{
    size_t step = 1;
    while (pitch * (double)step < room && step < 1u << 20)
        step *= 2;
    return step;
}

static void draw_row_labels(struct canvas *c, struct paint_box plot, const char *const *labels,
                            size_t rows)
{
    char text[LABEL_MAX];
    double pitch = plot.h / (double)rows;
    size_t step = label_step(PAINT_TICK + 1, pitch);
    for (size_t i = 0; i < rows; i += step) {
        label_of(text, labels, i);
        canvas_text(c, plot.x - 4, paint_middle(plot.y + pitch * ((double)i + 0.5), PAINT_TICK),
                    text, paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_END));
    }
}

static void draw_col_labels(struct canvas *c, struct paint_box plot, const char *const *labels,
                            size_t cols, double y)
{
    char text[LABEL_MAX];
    double pitch = plot.w / (double)cols;
    size_t step = label_step(widest_label(c, labels, cols) + 4, pitch);
    for (size_t j = 0; j < cols; j += step) {
        label_of(text, labels, j);
        canvas_text(c, plot.x + pitch * ((double)j + 0.5), y, text,
                    paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_MIDDLE));
    }
}

/* Names of the two axes; `left` is where the one of the rows stands. */
static void draw_titles(struct canvas *c, struct paint_box plot, double left, const char *row,
                        const char *col)
{
    struct canvas_font font = paint_font(PAINT_LABEL, STYLE_DEFAULT, CANVAS_MIDDLE);
    if (col)
        canvas_text(c, plot.x + plot.w / 2, plot.y + plot.h + 6 + 2 * PAINT_TICK + 2, col, font);
    font.angle = 90;
    if (row)
        canvas_text(c, left + PAINT_LABEL, plot.y + plot.h / 2, row, font);
}

/* --- Heat map --- */

static double place_of(const struct chart_heat *heat, double value)
{
    double place = heat->hi > heat->lo ? (value - heat->lo) / (heat->hi - heat->lo) : 0.5;
    return isnan(value) ? NAN : fmin(fmax(place, 0), 1);
}

/* Neighbours of one colour in one piece: fewer seams, smaller files. */
static void draw_values(struct canvas *c, struct paint_box plot, const struct chart_heat *heat)
{
    double w = plot.w / (double)heat->cols, h = plot.h / (double)heat->rows;
    canvas_fill(c, plot.x, plot.y, plot.w, plot.h, STYLE_GRID);
    for (size_t i = 0; i < heat->rows; i++)
        for (size_t j = 0, begin; j < heat->cols; j = begin) {
            double place = place_of(heat, heat->value[i * heat->cols + j]);
            for (begin = j + 1; begin < heat->cols; begin++) {
                double next = place_of(heat, heat->value[i * heat->cols + begin]);
                if (isnan(place) ? !isnan(next)
                                 : isnan(next) || style_ramp(next) != style_ramp(place))
                    break;
            }
            if (!isnan(place))
                canvas_fill(c, plot.x + w * (double)j, plot.y + h * (double)i,
                            w * (double)(begin - j) + (begin < heat->cols ? SEAM : 0),
                            h + (i + 1 < heat->rows ? SEAM : 0), style_ramp(place));
        }
}

static void draw_numbers(struct canvas *c, struct paint_box plot, const struct chart_heat *heat)
{
    double w = plot.w / (double)heat->cols, h = plot.h / (double)heat->rows;
    int decimals = heat->hi - heat->lo < 0.2 ? 3 : 2;
    double least = 0.5 * pow(10, -decimals);
    if (w < 26 || h < 11)
        return;
    for (size_t i = 0; i < heat->rows; i++)
        for (size_t j = 0; j < heat->cols; j++) {
            double value = heat->value[i * heat->cols + j], place = place_of(heat, value);
            char text[24];
            /* Not "-0.00". */
            snprintf(text, sizeof text, "%.*f", decimals, fabs(value) < least ? 0 : value);
            struct canvas_font font =
                paint_font(PAINT_TICK, isnan(place) ? STYLE_AXIS : canvas_ink_on(style_ramp(place)),
                           CANVAS_MIDDLE);
            paint_number(c, plot.x + w * ((double)j + 0.5),
                         paint_middle(plot.y + h * ((double)i + 0.5), PAINT_TICK),
                         isnan(place) ? "\u2013" : text, font);
        }
}

/* Upright beside the plot, with ticks. */
static void draw_colour_bar(struct canvas *c, struct paint_box bar, const struct chart_heat *heat)
{
    enum { STEPS = 128 };
    struct chart_tick tick[CHART_TICKS_MAX];
    double step = bar.h / STEPS;
    for (int i = 0; i < STEPS; i++)
        canvas_fill(c, bar.x, bar.y + bar.h - step * (i + 1), bar.w, step + (i ? SEAM : 0),
                    style_ramp((i + 0.5) / STEPS));
    canvas_frame(c, bar.x, bar.y, bar.w, bar.h, paint_stroke(PAINT_AXIS, STYLE_AXIS));
    size_t n = chart_ticks(tick, heat->lo, heat->hi, false, false, (int)(bar.h / 9), false, 0);
    for (size_t i = 0; i < n; i++) {
        double y = bar.y + bar.h * (1 - (tick[i].value - heat->lo) / (heat->hi - heat->lo));
        canvas_line(c, bar.x + bar.w, y, bar.x + bar.w + 3, y,
                    paint_stroke(PAINT_AXIS, STYLE_AXIS));
        paint_number(c, bar.x + bar.w + 5, paint_middle(y, PAINT_TICK), tick[i].text,
                     paint_font(PAINT_TICK, STYLE_AXIS, CANVAS_START));
    }
    struct canvas_font font = paint_font(PAINT_LABEL, STYLE_DEFAULT, CANVAS_MIDDLE);
    font.angle = 90;
    if (heat->title)
        canvas_text(c, bar.x + bar.w + 38, bar.y + bar.h / 2, heat->title, font);
}

void paint_heat(struct canvas *c, struct paint_box box, const struct chart_heat *heat)
{
    enum { BAR_ROOM = 64 };
    double left = fmin(widest_label(c, heat->row_labels, heat->rows), box.w / 3) + 6 +
                  (heat->row_title ? 14 : 0);
    double below = heat->col_title ? 28 : 14;
    struct paint_box plot = {box.x + left, box.y + 4, box.w - left - BAR_ROOM, box.h - 4 - below};
    if (heat->rows == 0 || heat->cols == 0 || plot.w < 10 || plot.h < 10) {
        paint_nothing(c, box);
        return;
    }
    /* Square where both ways hold the same; never strips. */
    double side = fmin(plot.w / (double)heat->cols, plot.h / (double)heat->rows);
    plot.w = fmin(plot.w, side * 2.5 * (double)heat->cols);
    plot.h = fmin(plot.h, side * 2.5 * (double)heat->rows);
    if (heat->rows == heat->cols) {
        plot.w = side * (double)heat->cols;
        plot.h = side * (double)heat->rows;
    }
    draw_values(c, plot, heat);
    draw_numbers(c, plot, heat);
    canvas_frame(c, plot.x, plot.y, plot.w, plot.h, paint_stroke(PAINT_AXIS, STYLE_AXIS));
    draw_row_labels(c, plot, heat->row_labels, heat->rows);
    draw_col_labels(c, plot, heat->col_labels, heat->cols, plot.y + plot.h + 3 + PAINT_TICK);
    draw_titles(c, plot, plot.x - left, heat->row_title, heat->col_title);
    draw_colour_bar(c, (struct paint_box){plot.x + plot.w + 14, plot.y, 10, plot.h}, heat);
}

/* --- Tiles --- */

static bool is_bits(uint16_t colour)
{
    return colour >= STYLE_BITS && colour < STYLE_RAMP;
}

struct keys {
    uint16_t colour[KEYS_MAX]; /* of bits */
    size_t count;
};

static int by_number(const void *a, const void *b)
{
    uint16_t x = *(const uint16_t *)a, y = *(const uint16_t *)b;
    return (x > y) - (x < y);
}

static void add_key(struct keys *k, uint16_t colour)
{
    size_t i = 0;
    while (i < k->count && k->colour[i] != colour)
        i++;
    if (i == k->count && i < KEYS_MAX && is_bits(colour))
        k->colour[k->count++] = colour;
}

/* The different colours of bits, by their number. */
static void find_keys(struct keys *k, const struct chart_tiles *t)
{
    k->count = 0;
    for (size_t i = 0; i < t->rows * t->cols; i++) {
        if (!t->tile[i].parts)
            add_key(k, t->tile[i].colour);
        for (size_t j = 0; j < t->tile[i].parts; j++)
            add_key(k, t->tile[i].part[j].colour);
    }
    qsort(k->colour, k->count, sizeof k->colour[0], by_number);
}

static uint16_t ink_of(uint16_t colour)
{
    return is_bits(colour) ? canvas_ink_on(colour) : colour;
}

/* Side by side, each in its colour. */
static void draw_parts(struct canvas *c, struct paint_box in, const struct chart_tile *tile)
{
    double w = in.w / (double)tile->parts, size = fmin(fmin(in.h * 0.75, w * 1.3), PAINT_TICK);
    for (size_t i = 0; i < tile->parts; i++) {
        uint16_t colour = tile->part[i].colour;
        double x = in.x + w * (double)i;
        if (is_bits(colour))
            canvas_fill(c, x, in.y, w, in.h, colour);
        if (size >= 4)
            canvas_text(
                c, x + w / 2, paint_middle(in.y + in.h / 2, size), tile->part[i].text,
                (struct canvas_font){size, ink_of(colour), CANVAS_MIDDLE, tile->marked, false, 0});
    }
}

static void draw_tile(struct canvas *c, struct paint_box box, const struct chart_tile *tile)
{
    double gap = fmin(box.w, box.h) > 6 ? 0.5 : 0.15;
    double size = fmin(fmin(box.h * 0.75, box.w * 0.7), PAINT_TICK);
    struct paint_box in = {box.x + gap, box.y + gap, box.w - 2 * gap, box.h - 2 * gap};
    if (tile->parts)
        draw_parts(c, in, tile);
    else if (is_bits(tile->colour))
        canvas_fill(c, in.x, in.y, in.w, in.h, tile->colour);
    if (tile->marked)
        canvas_frame(c, in.x + 0.4, in.y + 0.4, in.w - 0.8, in.h - 0.8,
                     paint_stroke(1.2, STYLE_CURSOR));
    if (size >= 4 && !tile->parts)
        canvas_text(c, box.x + box.w / 2, paint_middle(box.y + box.h / 2, size), tile->text,
                    (struct canvas_font){size, ink_of(tile->colour), CANVAS_MIDDLE, tile->marked,
                                         false, 0});
}

static bool has_marked(const struct chart_tiles *t)
{
    for (size_t i = 0; i < t->rows * t->cols; i++)
        if (t->tile[i].marked)
            return true;
    return false;
}

static void draw_keys(struct canvas *c, const struct chart_tiles *t, double x, double y,
                      double right)
{
    struct canvas_font font = paint_font(PAINT_TICK + 0.5, STYLE_DEFAULT, CANVAS_START);
    struct keys k;
    find_keys(&k, t);
    for (size_t i = 0; i < k.count && x + 60 < right; i++) {
        char name[24];
        struct chart_tile plain = {.colour = k.colour[i]};
        snprintf(name, sizeof name, "%u bits", (unsigned)(k.colour[i] - STYLE_BITS));
        draw_tile(c, (struct paint_box){x, y, 12, 9}, &plain);
        canvas_text(c, x + 15, paint_middle(y + 4.5, font.size), name, font);
        x += 15 + canvas_text_width(c, name, font) + 12;
    }
    if (has_marked(t) && x + 60 < right) {
        canvas_frame(c, x + 1, y + 1, 10, 7, paint_stroke(1.2, STYLE_CURSOR));
        canvas_text(c, x + 15, paint_middle(y + 4.5, font.size), "pinned", font);
    }
}

void paint_tiles(struct canvas *c, struct paint_box box, const struct chart_tiles *t)
{
    enum { KEY_ROOM = 18, BELOW = 28 };
    double left = widest_label(c, t->row_labels, t->rows) + 6 + (t->row_title ? 14 : 0);
    struct paint_box plot = {box.x + left, box.y + KEY_ROOM, box.w - left,
                             box.h - KEY_ROOM - BELOW};
    if (t->rows == 0 || t->cols == 0 || plot.w < 10 || plot.h < 10) {
        paint_nothing(c, box);
        return;
    }
    double w = fmin(plot.w / (double)t->cols, 28), h = fmin(plot.h / (double)t->rows, 22);
    plot.w = w * (double)t->cols;
    plot.h = h * (double)t->rows;
    for (size_t i = 0; i < t->rows; i++)
        for (size_t j = 0; j < t->cols; j++)
            draw_tile(c, (struct paint_box){plot.x + w * (double)j, plot.y + h * (double)i, w, h},
                      &t->tile[i * t->cols + j]);
    draw_row_labels(c, plot, t->row_labels, t->rows);
    draw_col_labels(c, plot, NULL, t->cols, plot.y + plot.h + 3 + PAINT_TICK);
    draw_keys(c, t, plot.x, box.y, box.x + box.w);
    draw_titles(c, plot, box.x, t->row_title, t->col_title);
}
