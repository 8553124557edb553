/* Figures over the cosine of the experts' weights. */
#include <math.h>

#include "analysis/cosine.h"
#include "ui/figure/figure_parts.h"

enum { EIGHT = 8 };

static const double *layer_cosine(const struct figure_source *s)
{
    size_t n = analysis_result(s->analysis)->experts;
    return s->cosine + s->layer * n * n;
}

/* One domain for the whole model, so that layers can be compared; the diagonal, 1 by definition,
 * would hide the differences between the others. */
static void domain(const struct figure_source *s, double *lo, double *hi)
{
    const struct analysis_result *a = analysis_result(s->analysis);
    size_t n = a->experts;
    double min = 1, max = -1;
    for (size_t l = 0; l < a->layers; l++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) {
                double v = s->cosine[(l * n + i) * n + j];
                min = v < min ? v : min;
                max = v > max ? v : max;
            }
    if (n < 2) {
        *lo = 0;
        *hi = 1;
        return;
    }
    double step = max > min ? pow(10, floor(log10(max - min))) : 0.1;
    *lo = fmax(floor(min / step) * step, -1);
    *hi = fmin(ceil(max / step) * step, 1);
}

size_t figures_pick(size_t *out, const struct figure_source *s)
{
    size_t n = analysis_result(s->analysis)->experts;
    if (!s->all_experts && n > EIGHT &&
        cosine_pick(out, EIGHT, figure_layer(s)->significance, n, NULL) == 0)
        return EIGHT;
    for (size_t e = 0; e < n; e++)
        out[e] = e;
    return n;
}

static size_t place_of(const size_t *pick, size_t n, size_t expert)
{
    size_t i = 0;
    while (i < n && pick[i] != expert)
        i++;
    return i;
}

static void say_correlation(struct figure *f, const struct figure_source *s)
{
    double r;
    size_t n = analysis_result(s->analysis)->experts;
    if (cosine_correlation(&r, layer_cosine(s), figure_layer(s)->significance, n))
        figure_say(f, "Correlation of |dS| and cosine over the %zu pairs: r = %+.3f.",
                   n * (n - 1) / 2, r);
    else
        figure_say(f, "The correlation of |dS| and cosine is not defined here.");
}

int figure_make_similarity(struct figure *f, const struct figure_source *s, struct err *err)
{
    size_t n = analysis_result(s->analysis)->experts;
    size_t *pick = figure_array(f, n > EIGHT ? n : EIGHT, sizeof *pick, err);
    if (!pick)
        return ERR_NOMEM;
    size_t shown = figures_pick(pick, s);
    double *value = figure_array(f, shown * shown, sizeof *value, err);
    const char **label = figure_array(f, shown, sizeof *label, err);
    if (!value || !label)
        return ERR_NOMEM;
    for (size_t i = 0; i < shown; i++) {
        label[i] = figure_text(f, "%zu", pick[i]);
        for (size_t j = 0; j < shown; j++)
            value[i * shown + j] = layer_cosine(s)[pick[i] * n + pick[j]];
    }
    f->kind = FIGURE_HEAT;
    f->heat = (struct chart_heat){.value = value,
                                  .rows = shown,
                                  .cols = shown,
                                  .title = "cosine",
                                  .row_title = "expert",
                                  .col_title = "expert",
                                  .row_labels = label,
                                  .col_labels = label,
                                  .zoom = s->zoom,
                                  .selected_row = place_of(pick, shown, s->expert)};
    f->heat.selected_col = place_of(pick, shown, s->has_other ? s->other : s->expert);
    f->heat.has_selected =
        s->has_selected && f->heat.selected_row < shown && f->heat.selected_col < shown;
    if (f->heat.has_selected && s->has_other)
        f->heat.title = figure_text(f, "cosine; %zu and %zu: %.4f", s->expert, s->other,
                                    layer_cosine(s)[s->expert * n + s->other]);
    domain(s, &f->heat.lo, &f->heat.hi);
    figure_title(f, "Similarity of experts, layer %zu", figure_layer(s)->layer);
    if (shown < n)
        figure_say(f, "Eight of %zu experts, at equal quantiles of their significance. ", n);
    say_correlation(f, s);
    return 0;
}

/* --- |dS| against cosine --- */

/* Both axes fitted to all pairs, so that a zoom has something to halve. */
static void zoom_axes(struct figure *f, const struct figure_source *s)
{
    const struct chart_series *p = f->xy.series;
    double from[2] = {INFINITY, INFINITY}, to[2] = {-INFINITY, -INFINITY};
    for (size_t i = 0; i < p->n; i++) {
        from[0] = fmin(from[0], p->x[i]);
        to[0] = fmax(to[0], p->x[i]);
        from[1] = fmin(from[1], p->y[i]);
        to[1] = fmax(to[1], p->y[i]);
    }
    if (s->zoom <= 0 || !(to[0] > from[0]) || !(to[1] > from[1]))
        return;
    bool shown = f->xy.cursor.shown;
    f->xy.x.lo = from[0], f->xy.x.hi = to[0];
    f->xy.y.lo = from[1], f->xy.y.hi = to[1];
    figure_zoom(&f->xy.x, s->zoom, shown ? f->xy.cursor.x : NAN);
    figure_zoom(&f->xy.y, s->zoom, shown ? f->xy.cursor.y : (from[1] + to[1]) / 2);
}

int figure_make_difference(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_layer *l = figure_layer(s);
    const double *cosine = layer_cosine(s);
    size_t n = analysis_result(s->analysis)->experts, pairs = n * (n - 1) / 2, k = 0;
    double r, *x = figure_array(f, pairs, sizeof *x, err);
    double *y = figure_array(f, pairs, sizeof *y, err);
    struct chart_series *series = figure_array(f, 1, sizeof *series, err);
    if (!x || !y || !series)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < i; j++, k++) {
            x[k] = fabs(l->significance[i] - l->significance[j]);
            y[k] = cosine[i * n + j];
        }
    *series = (struct chart_series){.name = cosine_correlation(&r, cosine, l->significance, n)
                                                ? figure_text(f, "pairs, r = %+.3f", r)
                                                : "pairs of experts",
                                    .x = x,
                                    .y = y,
                                    .n = pairs,
                                    .mark = CHART_POINTS};
    f->kind = FIGURE_XY;
    f->xy = (struct chart_xy){.x = {.title = "difference of significance |dS|"},
                              .y = {.title = "cosine"},
                              .series = series,
                              .count = 1};
    if (s->has_selected && s->has_other && s->expert != s->other) {
        double d = fabs(l->significance[s->expert] - l->significance[s->other]);
        double c = cosine[s->expert * n + s->other];
        f->xy.cursor = (struct chart_cursor){
            true, d, c, figure_text(f, "%zu, %zu: |dS| %.4f, cos %.4f", s->expert, s->other, d, c)};
    }
    zoom_axes(f, s);
    figure_title(f, "Difference in significance against cosine, layer %zu", l->layer);
    say_correlation(f, s);
    return 0;
}
