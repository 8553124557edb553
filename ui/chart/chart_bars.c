#include <math.h>
#include <stdio.h>
#include <string.h>

#include "ui/chart/chart_draw.h"

void chart_meter(struct cells *c, int x, int y, int w, const struct style_look *look,
                 double fraction, struct style s)
{
    static const char *const left[] = {" ",      "\u258f", "\u258e", "\u258d", "\u258c",
                                       "\u258b", "\u258a", "\u2589", "\u2588"};
    bool ascii = look->glyphs == STYLE_ASCII;
    fraction = fraction > 0 ? fmin(fraction, 1) : 0;
    int eighths = (int)lround(fraction * w * 8);
    if (fraction > 0 && eighths == 0)
        eighths = 1;
    for (int i = 0; i < w; i++) {
        int part = eighths - i * 8;
        part = part < 0 ? 0 : part > 8 ? 8 : part;
        if (ascii)
            part = part >= 4 || (i == 0 && part > 0) ? 8 : 0;
        cells_put(c, x + i, y, ascii && part ? "#" : left[part], s);
    }
}

void chart_slider(struct cells *c, int x, int y, int w, const struct style_look *look,
                  double fraction, bool focus)
{
    bool ascii = look->glyphs == STYLE_ASCII;
    int knob = chart_cell(fraction, w);
    struct style filled = STYLE(focus ? STYLE_ACCENT : STYLE_SERIES), rest = STYLE(STYLE_GRID);
    for (int i = 0; i < w; i++) {
        const char *glyph = i < knob ? (ascii ? "=" : "\u2501") : ascii ? "-" : "\u2500";
        if (i == knob)
            glyph = ascii ? "O" : "\u25cf";
        cells_put(c, x + i, y, glyph, i <= knob ? filled : rest);
    }
}

struct bar_columns {
    int label, number, note, bar, decimals;
};

static int wider(int a, int b)
{
    return a > b ? a : b;
}

static int decimals_of(const char *number)
{
    const char *point = strchr(number, '.');
    return point ? (int)strspn(point + 1, "0123456789") : 0;
}

/* In the chart's significant digits, or to `decimals` (0: any number): the column's points stand
 * below each other. Numbers with a letter or an exponent stay as they are. */
static void number_of(char *out, size_t size, const struct chart_bars *chart, size_t i,
                      int decimals)
{
    if (chart->bar[i].missing) {
        snprintf(out, size, "-");
        return;
    }
    chart_number(out, size, chart->bar[i].value, chart->digits ? chart->digits : 3);
    bool differs = decimals > 0 && decimals_of(out) != decimals;
    if (out[strspn(out, "-.0123456789")] == '\0' && differs)
        snprintf(out, size, "%.*f", decimals, chart->bar[i].value);
}

/* Would a number cut to this many decimals have fewer than two digits left? */
static bool cuts_too_much(const struct chart_bars *chart, int decimals)
{
    for (size_t i = 0; i < chart->n; i++) {
        double value = chart->bar[i].missing ? 0 : fabs(chart->bar[i].value);
        if (value > 0 && value < pow(10, 1 - decimals))
            return true;
    }
    return false;
}

/* Decimals of the column: as many as one number has, or as leave the largest readable and the
 * smallest something to read; 0: each has its own. */
static int common_decimals(const struct chart_bars *chart)
{
    enum { WIDEST = 7 };
    int decimals = 0, whole = 0;
    for (size_t i = 0; i < chart->n; i++) {
        char number[48];
        number_of(number, sizeof number, chart, i, 0);
        int n = decimals_of(number), before = (int)strcspn(number, ".");
        decimals = n > decimals ? n : decimals;
        whole = before > whole ? before : whole;
    }
    int most = WIDEST - whole - 1;
    if (decimals <= most)
        return decimals;
    return most > 0 && !cuts_too_much(chart, most) ? most : 0;
}

static struct bar_columns measure(const struct chart_bars *chart, int width)
{
    struct bar_columns k = {.decimals = common_decimals(chart)};
    for (size_t i = 0; i < chart->n; i++) {
        char number[48];
        number_of(number, sizeof number, chart, i, k.decimals);
        k.label = wider(k.label, chart->bar[i].label ? cells_width(chart->bar[i].label) : 0);
        k.number = wider(k.number, (int)strlen(number));
        k.note = wider(k.note, chart->bar[i].note ? cells_width(chart->bar[i].note) : 0);
    }
    k.label = k.label > width / 3 ? width / 3 : k.label;
    k.note = k.note > width / 3 ? width / 3 : k.note;
    k.bar = width - k.label - k.number - (k.label > 0) - 1 - (k.note ? k.note + 2 : 0);
    if (k.bar < 6 && k.note) {
        k.bar += k.note + 2;
        k.note = 0;
    }
    k.bar = k.bar > 0 ? k.bar : 0;
    return k;
}

void chart_bars(struct cells *c, struct rect r, const struct style_look *look,
                const struct chart_bars *chart)
{
    struct bar_columns k = measure(chart, r.w);
    struct rect clip = c->clip;
    double max = chart->max;
    for (size_t i = 0; i < chart->n && !(chart->max > 0); i++)
        if (!chart->bar[i].missing && isfinite(chart->bar[i].value))
            max = fmax(max, chart->bar[i].value);
    c->clip = rect_intersect(clip, r);
    for (int row = 0; row < r.h && chart->first + (size_t)row < chart->n; row++) {
        size_t i = chart->first + (size_t)row;
        const struct chart_bar *bar = &chart->bar[i];
        char number[48];
        int x = r.x, y = r.y + row;
        if (k.label) {
            cells_label(c, (struct rect){x, y, k.label, 1}, CELLS_RIGHT,
                        bar->label ? bar->label : "", look, STYLE(STYLE_DEFAULT));
            x += k.label + 1;
        }
        if (!bar->missing && max > 0)
            chart_meter(c, x, y, k.bar, look, bar->value / max,
                        STYLE(bar->colour ? bar->colour : STYLE_SERIES));
        x += k.bar + 1;
        number_of(number, sizeof number, chart, i, k.decimals);
        cells_label(c, (struct rect){x, y, k.number, 1}, CELLS_RIGHT, number, look,
                    STYLE(STYLE_DEFAULT));
        x += k.number + 2;
        if (k.note && bar->note)
            cells_label(c, (struct rect){x, y, k.note, 1}, CELLS_LEFT, bar->note, look,
                        STYLE(STYLE_TEXT_DIM));
        if (chart->has_selected && i == chart->selected)
            cells_highlight(c, (struct rect){r.x, y, r.w, 1}, STYLE_SELECT);
    }
    c->clip = clip;
}
