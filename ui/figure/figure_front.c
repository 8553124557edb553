/* The front of all budgets, and where plans lie beside it. */
#include <math.h>
#include <stdio.h>

#include "ui/figure/figure_parts.h"

enum { POINTS_MAX = 400 };

size_t figures_mark_uniform(struct figure_mark out[FIGURE_UNIFORM_MAX], const struct budget *b,
                            const struct losses *losses)
{
    static const unsigned widths[FIGURE_UNIFORM_MAX] = {2, 3, 4};
    static const char *const glyphs[FIGURE_UNIFORM_MAX] = {"2", "3", "4"}, *const name = "uniform";
    size_t n = 0;
    for (size_t i = 0; i < FIGURE_UNIFORM_MAX; i++) {
        struct figure_mark *m = &out[n];
        *m = (struct figure_mark){.name = name, .glyph = glyphs[i]};
        n += budget_uniform_bits(&m->bits, b, widths[i]) &&
             budget_predict_uniform(&m->rise, widths[i], losses);
    }
    return n;
}

struct figure_mark figures_mark_plan(const char *name, const char *glyph, const struct plan *p,
                                     const struct losses *losses, const struct model_config *config,
                                     bool file_bits)
{
    struct figure_mark m = {name, glyph,
                            file_bits ? p->summary.effective_bits : p->summary.nominal_bits, NAN};
    if (!budget_predict(&m.rise, p, losses, config))
        m.rise = NAN;
    return m;
}

void figures_mark_name(char *out, size_t size, const struct figure_mark *m)
{
    bool digit = m->glyph && m->glyph[0] >= '0' && m->glyph[0] <= '9';
    snprintf(out, size, "%s%s%s", m->name, digit ? " " : "", digit ? m->glyph : "");
}

/* Ends of the axis of bits: it jumps, instead of growing with every step of a budget. */
static double end_of(const struct figure_front *front)
{
    static const double ends[] = {4.5, 8.5};
    double most = front->curve->bits[0];
    for (size_t i = 0; i < front->marks; i++)
        if (isfinite(front->mark[i].bits))
            most = fmax(most, front->mark[i].bits);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (most < ends[i])
            return ends[i];
    return fmax(16.5, most);
}

static bool inside(const struct chart_axis *axis, double value)
{
    return value >= axis->lo && value <= axis->hi;
}

/* The curve within the axis, as many points as can be told apart. */
static int fill_curve(struct figure *f, struct chart_series *out, const struct figure_source *s,
                      struct err *err)
{
    const struct budget_front *curve = s->front->curve;
    const struct chart_axis *axis = &f->xy.x;
    double *x = figure_array(f, POINTS_MAX + 2, sizeof *x, err);
    double *y = figure_array(f, POINTS_MAX + 2, sizeof *y, err);
    double step = (axis->hi - axis->lo) / POINTS_MAX;
    size_t n = 0;
    if (!x || !y)
        return ERR_NOMEM;
    for (size_t i = 0; i < curve->points && n < POINTS_MAX + 2; i++) {
        bool last = i + 1 == curve->points || curve->bits[i + 1] > axis->hi;
        if (!inside(axis, curve->bits[i]) || (n && !last && curve->bits[i] - x[n - 1] < step))
            continue;
        x[n] = curve->bits[i];
        y[n++] = curve->rise[i];
    }
    *out = (struct chart_series){.name = "least of any budget", .x = x, .y = y, .n = n};
    return 0;
}

/* On paper nobody points at a plan: its values stand beside its name. */
static void name_values(struct figure *f, struct chart_series *s)
{
    if (s->n == 1) {
        s->name = figure_text(f, "%s: %.3f bits, %.3g", s->name, s->x[0], s->y[0]);
        return;
    }
    for (size_t i = 0; i < s->n; i++)
        s->name = figure_text(f, "%s%s %.3g", s->name, i ? "," : ":", s->y[i]);
}

/* Neighbours with one name are one series: uniform plans. */
static int fill_marks(struct figure *f, struct chart_series *series,
                      const struct figure_front *front, struct err *err)
{
    double *x = figure_array(f, front->marks + 1, sizeof *x, err);
    double *y = figure_array(f, front->marks + 1, sizeof *y, err);
    const char **glyph = figure_array(f, front->marks + 1, sizeof *glyph, err);
    struct chart_series *at = NULL;
    if (!x || !y || !glyph)
        return ERR_NOMEM;
    for (size_t i = 0; i < front->marks; i++) {
        const struct figure_mark *m = &front->mark[i];
        if (i == 0 || m->name != front->mark[i - 1].name) {
            at = &series[f->xy.count++];
            *at = (struct chart_series){.name = m->name,
                                        .x = x + i,
                                        .y = y + i,
                                        .mark = CHART_POINTS,
                                        .big = true,
                                        .glyph = m->glyph ? glyph + i : NULL};
        }
        x[i] = m->bits;
        y[i] = m->rise;
        glyph[i] = m->glyph;
        at->n++;
    }
    for (size_t k = 1; k < f->xy.count && !front->has_selected; k++)
        name_values(f, &series[k]);
    return 0;
}

/* Around the part of the curve and the marks that the axis of bits shows. */
static void fit_losses(struct figure *f)
{
    struct chart_axis *y = &f->xy.y;
    double lo = INFINITY, hi = -INFINITY;
    for (size_t k = 0; k < f->xy.count; k++)
        for (size_t i = 0; i < f->xy.series[k].n; i++) {
            double value = f->xy.series[k].y[i];
            if (!inside(&f->xy.x, f->xy.series[k].x[i]) || !isfinite(value) ||
                (y->log && value <= 0))
                continue;
            lo = fmin(lo, value);
            hi = fmax(hi, value);
        }
    if (!(hi > lo))
        return;
    double room = y->log ? pow(hi / lo, 0.06) : (hi - lo) * 0.06;
    y->lo = y->log ? lo / room : fmax(lo - room, 0);
    y->hi = y->log ? hi * room : hi + room;
}

static void say_front(struct figure *f, const struct figure_front *front)
{
    const char *bits = front->file_bits ? "bits in the file" : "bits";
    figure_title(f, "Bits against predicted loss");
    figure_say(f, "The line is the least that any budget can lose, by the measured losses.");
    for (size_t i = 0; i < front->marks; i++) {
        const struct figure_mark *m = &front->mark[i];
        double same = budget_front_bits(front->curve, m->rise);
        char name[64];
        if (!isfinite(m->rise))
            continue;
        figures_mark_name(name, sizeof name, m);
        figure_say(f, " %s: %.3f %s, +%.4g", name, m->bits, bits, m->rise);
        if (isfinite(same) && same < m->bits - 0.0005)
            figure_say(f, " (least bits for that: %.3f).", same);
        else
            figure_say(f, ".");
    }
}

int figure_make_front(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct figure_front *front = s->front;
    struct chart_series *series = figure_array(f, front->marks + 1, sizeof *series, err);
    const struct figure_mark *selected = front->has_selected ? &front->mark[front->selected] : NULL;
    if (!series)
        return ERR_NOMEM;
    f->kind = FIGURE_XY;
    f->xy = (struct chart_xy){
        .x = {.lo = front->curve->bits[0] - 0.1,
              .hi = end_of(front),
              .title = front->file_bits ? "bits a weight in the file" : "nominal bits"},
        .y = {.log = !s->linear, .title = "predicted rise of ln perplexity"},
        .series = series,
        .count = 1};
    figure_zoom(&f->xy.x, s->zoom, selected ? selected->bits : NAN);
    int rc = fill_curve(f, series, s, err);
    if (rc == 0)
        rc = fill_marks(f, series, front, err);
    if (rc < 0)
        return rc;
    if (selected && isfinite(selected->rise))
        f->xy.cursor = (struct chart_cursor){
            true, selected->bits, selected->rise,
            figure_text(f, "%s: %.3f bits, +%.4g", selected->name, selected->bits, selected->rise)};
    fit_losses(f);
    say_front(f, front);
    return 0;
}
