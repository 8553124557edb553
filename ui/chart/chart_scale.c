#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

enum { ROW_GAP = 2, COLUMN_GAP = 2 };

double chart_place(const struct chart_axis *axis, double value)
{
    if (axis->log)
        return value > 0 ? log(value / axis->lo) / log(axis->hi / axis->lo) : NAN;
    return (value - axis->lo) / (axis->hi - axis->lo);
}

double chart_value(const struct chart_axis *axis, double place)
{
    if (axis->log)
        return axis->lo * pow(axis->hi / axis->lo, place);
    return axis->lo + (axis->hi - axis->lo) * place;
}

int chart_cell(double place, int length)
{
    double cell = floor(place * length + 1e-9); /* 0.4 * 15 is less than 6 */
    if (!(cell > 0))
        return 0;
    return cell < length ? (int)cell : length - 1;
}

void chart_span_add(struct chart_span *span, const struct chart_axis *axis, double value)
{
    if (!isfinite(value))
        return;
    if (axis->log && value <= 0) {
        span->hidden++;
        return;
    }
    if (span->shown == 0 || value < span->lo)
        span->lo = value;
    if (span->shown == 0 || value > span->hi)
        span->hi = value;
    span->shown++;
}

double chart_nice_step(double step)
{
    double power = pow(10, floor(log10(step))), rest = step / power;
    return (rest <= 1 + 1e-9 ? 1 : rest <= 2 + 1e-9 ? 2 : rest <= 5 + 1e-9 ? 5 : 10) * power;
}

static void fit_linear(struct chart_axis *axis, double lo, double hi)
{
    if (hi - lo <= 1e-12 * fmax(fabs(lo), fabs(hi))) {
        double half = lo != 0 ? fabs(lo) * 0.1 : 0.5;
        if (axis->integer)
            half = fmax(half, 1);
        lo -= half;
        hi += half;
    }
    double step = chart_nice_step((hi - lo) / 10);
    if (axis->integer)
        step = fmax(step, 1);
    axis->lo = floor(lo / step + 1e-9) * step;
    axis->hi = ceil(hi / step - 1e-9) * step;
}

void chart_fit(struct chart_axis *axis, const struct chart_span *span)
{
    bool fixed = axis->lo < axis->hi && isfinite(axis->lo) && isfinite(axis->hi);
    if (fixed && (!axis->log || axis->lo > 0))
        return;
    if (span->shown == 0) {
        axis->lo = axis->log ? 1 : 0;
        axis->hi = axis->log ? 10 : 1;
    } else if (!axis->log) {
        fit_linear(axis, span->lo, span->hi);
    } else {
        bool flat = span->hi / span->lo < 1 + 1e-9;
        /* As far around a single value as a linear axis goes; whole numbers need a neighbour. */
        double around = axis->integer ? 2 : 1.1;
        axis->lo = flat ? span->lo / around : span->lo;
        axis->hi = flat ? span->hi * around : span->hi;
    }
}

/* --- texts --- */

static void strip_zeros(char *text)
{
    if (!strchr(text, '.'))
        return;
    size_t n = strlen(text);
    while (text[n - 1] == '0')
        text[--n] = '\0';
    if (text[n - 1] == '.')
        text[--n] = '\0';
}

/* The power of 1000 and its letter that keep a number short. */
static double unit_of(double magnitude, const char **letter)
{
    static const struct {
        double value;
        const char *letter;
    } units[] = {{1e12, "T"}, {1e9, "G"}, {1e6, "M"}, {1e3, "k"}};
    for (size_t i = 0; i < sizeof units / sizeof *units; i++)
        if (magnitude >= units[i].value) {
            *letter = units[i].letter;
            return units[i].value;
        }
    *letter = "";
    return 1;
}

static void exponent_text(char *out, size_t size, double value, int significant)
{
    char text[48];
    snprintf(text, sizeof text, "%.*e", significant - 1, value);
    char *e = strchr(text, 'e');
    int power = atoi(e + 1);
    *e = '\0';
    strip_zeros(text);
    snprintf(out, size, "%se%d", text, power);
}

void chart_number(char *out, size_t size, double value, int significant)
{
    char text[64];
    const char *letter;
    significant = significant < 1 ? 1 : significant > 15 ? 15 : significant;
    if (!isfinite(value)) {
        snprintf(out, size, "%s", isnan(value) ? "-" : value > 0 ? "inf" : "-inf");
        return;
    }
    /* Rounded first, so that 999.96 in three digits is 1k and not 1000. */
    snprintf(text, sizeof text, "%.*e", significant - 1, value);
    value = strtod(text, NULL);
    double magnitude = fabs(value);
    if (magnitude != 0 && (magnitude < 1e-3 || magnitude >= 1e15)) {
        exponent_text(out, size, value, significant);
        return;
    }
    double unit = unit_of(magnitude, &letter);
    double scaled = value / unit;
    int decimals = scaled == 0 ? 0 : significant - 1 - (int)floor(log10(fabs(scaled)));
    snprintf(text, sizeof text, "%.*f", decimals > 0 ? decimals : 0, scaled);
    strip_zeros(text);
    snprintf(out, size, "%s%s", text, letter);
}

/* A linear tick with as many decimals as its neighbours need: 0.00 0.05 0.10, or 0 20k 40k. */
static void linear_text(char *out, double value, double step, double largest)
{
    const char *letter;
    if (fabs(value) < step / 1e6)
        value = 0;
    if (largest < 1e-3 || largest >= 1e15) {
        int digits = value == 0
                         ? 1
                         : (int)(floor(log10(fabs(value)) + 1e-9) - floor(log10(step) + 1e-9)) + 1;
        chart_number(out, CHART_TICK_TEXT, value, digits);
        return;
    }
    double unit = largest >= 1e4 ? unit_of(largest, &letter) : 1;
    int decimals = -(int)floor(log10(step / unit) + 1e-9);
    decimals = decimals > 0 ? decimals : 0;
    snprintf(out, CHART_TICK_TEXT, "%.*f%s", decimals, value / unit,
             unit > 1 && value != 0 ? letter : "");
}

/* --- ticks --- */

struct tick_row {
    struct chart_tick *out;
    size_t count;
    bool crowded; /* something did not fit */
    struct chart_axis axis;
    int length, margin, gap;
    bool wide;
};

int chart_tick_start(const struct chart_tick *tick, int length, int margin)
{
    int width = (int)strlen(tick->text), start = tick->cell - width / 2;
    if (start + width > length + margin)
        start = length + margin - width;
    return start > -margin ? start : -margin;
}

/* Adds a tick whose text is already in `text` unless it stands too near to the last one. */
static void add_tick(struct tick_row *row, double value, const char *text)
{
    double place = chart_place(&row->axis, value);
    if (!(place >= -1e-9 && place <= 1 + 1e-9))
        return;
    if (row->count == CHART_TICKS_MAX) {
        row->crowded = true;
        return;
    }
    struct chart_tick tick = {.value = value, .cell = chart_cell(place, row->length)};
    snprintf(tick.text, sizeof tick.text, "%s", text);
    const struct chart_tick *last = row->count ? &row->out[row->count - 1] : NULL;
    bool fits = true;
    if (row->wide) {
        int start = chart_tick_start(&tick, row->length, row->margin);
        int end = start + (int)strlen(tick.text);
        fits = end <= row->length + row->margin;
        if (last)
            fits = fits && start >= chart_tick_start(last, row->length, row->margin) +
                                        (int)strlen(last->text) + row->gap;
    } else if (last) {
        fits = tick.cell >= last->cell + row->gap;
    }
    if (fits)
        row->out[row->count++] = tick;
    else
        row->crowded = true;
}

static void linear_row(struct tick_row *row, double step)
{
    const struct chart_axis *a = &row->axis;
    double largest = fmax(fabs(a->lo), fabs(a->hi));
    row->count = 0;
    row->crowded = false;
    double first = ceil(a->lo / step - 1e-9), last = floor(a->hi / step + 1e-9);
    for (double k = first; k <= last && !row->crowded; k++) {
        char text[CHART_TICK_TEXT];
        linear_text(text, k * step, step, largest);
        add_tick(row, k * step, text);
    }
}

static void linear_ticks(struct tick_row *row, bool integer)
{
    int target = row->wide ? row->length / 6 + 1 : row->length / 3 + 2;
    double range = row->axis.hi - row->axis.lo;
    target = target > 11 ? 11 : target < 2 ? 2 : target;
    double step = chart_nice_step(range / target);
    if (integer)
        step = fmax(step, 1);
    for (linear_row(row, step); row->crowded && step < 4 * range; linear_row(row, step))
        step = chart_nice_step(step * 1.5);
}

/* Ticks at mantissa * 10^k, k a multiple of `stride`. */
static void decade_row(struct tick_row *row, const double *mantissa, size_t count, int stride)
{
    int first = (int)floor(log10(row->axis.lo) - 1e-9), last = (int)ceil(log10(row->axis.hi));
    row->count = 0;
    row->crowded = false;
    for (int k = first; k <= last; k++) {
        if (k % stride != 0)
            continue;
        for (size_t i = 0; i < count; i++) {
            char text[CHART_TICK_TEXT];
            double value = mantissa[i] * pow(10, k);
            chart_number(text, sizeof text, value, 1);
            add_tick(row, value, text);
        }
    }
}

static void log_ticks(struct tick_row *row, bool integer)
{
    static const double within[] = {1, 2, 5};
    double decades = log10(row->axis.hi / row->axis.lo);
    if (decades <= 2.2) {
        decade_row(row, within, 3, 1);
        if (!row->crowded && row->count >= 3)
            return;
        if (decades < 1) {
            linear_ticks(row, integer);
            return;
        }
    }
    int stride = 1;
    for (decade_row(row, within, 1, stride); row->crowded && stride < 400;
         decade_row(row, within, 1, stride))
        stride++;
}

size_t chart_ticks(struct chart_tick out[CHART_TICKS_MAX], double lo, double hi, bool is_log,
                   bool integer, int length, bool wide, int margin)
{
    if (length < 1 || !(lo < hi) || !isfinite(lo) || !isfinite(hi) || (is_log && lo <= 0))
        return 0;
    struct tick_row row = {.out = out,
                           .axis = {.lo = lo, .hi = hi, .log = is_log},
                           .length = length,
                           .margin = margin > 0 ? margin : 0,
                           .gap = wide          ? COLUMN_GAP
                                  : length >= 6 ? ROW_GAP
                                                : 1,
                           .wide = wide};
    if (is_log)
        log_ticks(&row, integer);
    else
        linear_ticks(&row, integer);
    return row.count;
}

/* --- maps --- */

bool chart_map_at(const struct chart_map *m, int sx, int sy, double *vx, double *vy)
{
    if (!rect_contains(m->plot, sx, sy))
        return false;
    *vx = chart_value(&m->x, (sx - m->plot.x + 0.5) / m->plot.w);
    *vy = chart_value(&m->y, (m->plot.y + m->plot.h - sy - 0.5) / m->plot.h);
    return true;
}

bool chart_map_x(const struct chart_map *m, double value, int *sx)
{
    double place = chart_place(&m->x, value);
    *sx = m->plot.x + chart_cell(place, m->plot.w);
    return place >= 0 && place <= 1;
}

bool chart_map_y(const struct chart_map *m, double value, int *sy)
{
    double place = chart_place(&m->y, value);
    *sy = m->plot.y + m->plot.h - 1 - chart_cell(place, m->plot.h);
    return place >= 0 && place <= 1;
}
