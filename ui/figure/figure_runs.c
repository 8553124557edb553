/* Figures over a plan and over the runs. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ui/figure/figure_parts.h"

enum { ORIGINAL_BITS = 16 };

/* Gate, up and down where they differ; a letter stands for those that are not quantized. */
static void fill_parts(struct chart_tile *t, const struct plan_expert *x)
{
    if (!x->linear_bits[PLAN_GATE])
        return;
    t->parts = PLAN_LINEARS;
    for (int k = 0; k < PLAN_LINEARS; k++) {
        unsigned bits = plan_expert_bits(x, (enum plan_linear)k);
        snprintf(t->part[k].text, sizeof t->part[k].text, "%.1s",
                 bits < 10 ? (char[2]){(char)('0' + bits), 0} : "F");
        t->part[k].colour = (uint16_t)(STYLE_BITS + bits);
    }
}

void figures_bits_text(char *out, size_t size, const struct plan_expert *x)
{
    if (x->linear_bits[PLAN_GATE])
        snprintf(out, size, "gate %u, up %u, down %u", x->linear_bits[PLAN_GATE],
                 x->linear_bits[PLAN_UP], x->linear_bits[PLAN_DOWN]);
    else
        snprintf(out, size, "%u", x->bits);
}

void figures_channels_text(char *out, size_t size, const struct plan_expert *x)
{
    if (x->channels[PLAN_GATE] == x->channels[PLAN_UP])
        snprintf(out, size, "gate/up %zu, down %zu", x->channels[PLAN_GATE],
                 x->channels[PLAN_DOWN]);
    else
        snprintf(out, size, "gate %zu, up %zu, down %zu", x->channels[PLAN_GATE],
                 x->channels[PLAN_UP], x->channels[PLAN_DOWN]);
}

int figure_make_bits(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct plan *p = s->plan;
    struct chart_tile *tile = figure_array(f, p->layers_count * p->experts, sizeof *tile, err);
    const char **label = figure_array(f, p->layers_count, sizeof *label, err);
    size_t pinned = 0, uneven = 0;
    if (!tile || !label)
        return ERR_NOMEM;
    for (size_t l = 0; l < p->layers_count; l++) {
        label[l] = figure_text(f, "%zu", p->layers[l].layer);
        for (size_t e = 0; e < p->experts; e++) {
            const struct plan_expert *x = &p->layers[l].experts[e];
            struct chart_tile *t = &tile[l * p->experts + e];
            *t = (struct chart_tile){.colour = (uint16_t)(STYLE_BITS + x->bits),
                                     .marked = x->pinned};
            snprintf(t->text, sizeof t->text, "%u", x->bits % 100);
            fill_parts(t, x);
            uneven += t->parts > 0;
            pinned += x->pinned;
        }
    }
    f->kind = FIGURE_TILES;
    f->tiles = (struct chart_tiles){.tile = tile,
                                    .rows = p->layers_count,
                                    .cols = p->experts,
                                    .row_title = "layer",
                                    .col_title = "expert",
                                    .row_labels = label,
                                    .zoom = s->zoom,
                                    .has_selected = s->has_selected,
                                    .selected_row = s->layer,
                                    .selected_col = s->expert};
    if (s->has_selected && s->layer < p->layers_count && s->expert < p->experts) {
        const struct plan_expert *x = &p->layers[s->layer].experts[s->expert];
        char bits[64];
        figures_bits_text(bits, sizeof bits, x);
        f->tiles.cursor_text = figure_text(
            f, "layer %zu, expert %zu: %s%s%s", p->layers[s->layer].layer, s->expert, bits,
            x->linear_bits[PLAN_GATE] ? "" : " bits", x->pinned ? ", pinned" : "");
    }
    figure_title(f, "Bits of the experts");
    if (p->summary.bytes_after)
        figure_say(f, "%s: %.4f nominal bits, %.4f effective; %zu experts pinned.", p->method,
                   p->summary.nominal_bits, p->summary.effective_bits, pinned);
    else
        figure_say(f, "%s, without a model: %.4f bits before channels; %zu experts pinned.",
                   p->method, p->summary.nominal_bits, pinned);
    if (uneven)
        figure_say(f, " Three signs in one: gate, up and down, where they differ (%zu experts).",
                   uneven);
    return 0;
}

/* --- results --- */

static bool is_original(const struct figure_run *r)
{
    return r->nominal_bits <= 0 || r->nominal_bits >= ORIGINAL_BITS;
}

static bool is_measured(const struct figure_run *r)
{
    return r->has_perplexity && isfinite(r->perplexity);
}

static bool is_point(const struct figure_run *r)
{
    return is_measured(r) && !is_original(r);
}

static double bits_of(const struct figure_source *s, const struct figure_run *r)
{
    return s->file_bits ? r->effective_bits : r->nominal_bits;
}

static const char *method_of(const struct figure_run *r)
{
    return r->method && r->method[0] ? r->method : "runs";
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The first run of its method among all that are no originals. */
static bool is_first(const struct figure_results *r, size_t run)
{
    const char *method = method_of(&r->run[run]);
    if (is_original(&r->run[run]))
        return false;
    for (size_t i = 0; i < run; i++)
        if (!is_original(&r->run[i]) && strcmp(method_of(&r->run[i]), method) == 0)
            return false;
    return true;
}

/* The methods of the runs by name, measured or not: what stands for a method depends neither on
 * the order of the runs nor on the text. out: [runs] */
static size_t list_methods(const char **out, const struct figure_results *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->runs; i++)
        if (is_first(r, i))
            out[n++] = method_of(&r->run[i]);
    if (n)
        qsort(out, n, sizeof *out, by_name);
    return n;
}

bool figures_method(size_t *series, const struct figure_results *r, const char *method)
{
    bool known = false;
    *series = 0;
    for (size_t i = 0; i < r->runs; i++) {
        int order = is_first(r, i) ? strcmp(method_of(&r->run[i]), method) : 1;
        known = known || order == 0;
        *series += order < 0;
    }
    return known;
}

/* All arrays have as many places as there are runs; `method` is for the work alone. */
static size_t fill_series(struct figure *f, const struct figure_source *s,
                          struct chart_series *series, const char **method, double *const point[3])
{
    const struct figure_results *r = &s->results[s->text];
    size_t methods = list_methods(method, r), used = 0;
    for (size_t k = 0; k < methods; k++) {
        size_t begin = used;
        for (size_t i = 0; i < r->runs; i++)
            if (is_point(&r->run[i]) && strcmp(method_of(&r->run[i]), method[k]) == 0) {
                point[0][used] = bits_of(s, &r->run[i]);
                point[1][used] = r->run[i].perplexity;
                point[2][used++] = r->run[i].deviation;
            }
        series[k] =
            (struct chart_series){.name = used > begin ? figure_text(f, "%s", method[k]) : NULL,
                                  .x = point[0] + begin,
                                  .y = point[1] + begin,
                                  .error = point[2] + begin,
                                  .n = used - begin,
                                  .mark = CHART_POINTS,
                                  .big = true};
    }
    return methods;
}

/* An axis around some values that leaves none of them on its edge. */
static void pad_axis(struct chart_axis *axis, double lo, double hi, double around)
{
    if (!(hi >= lo))
        return;
    double room = hi > lo ? (hi - lo) * 0.08 : fmax(fabs(hi) * around, 1e-9);
    double factor = hi > lo && lo > 0 ? pow(hi / lo, 0.08) : 1 + around;
    axis->lo = axis->log ? lo / factor : fmax(lo - room, 0);
    axis->hi = axis->log ? hi * factor : hi + room;
}

static void fit_axes(struct figure *f, const struct figure_source *s)
{
    double from[2] = {INFINITY, INFINITY}, to[2] = {-INFINITY, -INFINITY};
    const struct figure_results *all = &s->results[s->text];
    for (size_t i = 0; i < all->runs; i++) {
        const struct figure_run *r = &all->run[i];
        if (is_point(r)) {
            from[0] = fmin(from[0], bits_of(s, r));
            to[0] = fmax(to[0], bits_of(s, r));
        }
        if (is_measured(r)) {
            from[1] = fmin(from[1], r->perplexity - r->deviation);
            to[1] = fmax(to[1], r->perplexity + r->deviation);
        }
    }
    pad_axis(&f->xy.x, from[0], to[0], 0.25);
    pad_axis(&f->xy.y, from[1], to[1], 0.25);
    if (f->xy.cursor.shown && s->zoom > 0) {
        figure_zoom(&f->xy.x, s->zoom, f->xy.cursor.x);
        figure_zoom(&f->xy.y, s->zoom, f->xy.cursor.y);
    }
}

static const char *base_name(const char *path)
{
    const char *slash = path ? strrchr(path, '/') : NULL;
    return slash && slash[1] ? slash + 1 : path ? path : "";
}

/* Where the legend has not the room of the chart. */
static void say_legend(struct figure *f)
{
    size_t named = 0;
    for (size_t k = 0; k < f->xy.count; k++)
        named += f->xy.series[k].name != NULL;
    if (named > CHART_LEGEND_MAX)
        figure_say(f, " The legend names %d of %zu methods.", CHART_LEGEND_MAX, named);
}

static void say_results(struct figure *f, const struct figure_results *all)
{
    const struct figure_run *best = NULL;
    size_t points = 0, runs = 0, bars = 0;
    for (size_t i = 0; i < all->runs; i++) {
        const struct figure_run *r = &all->run[i];
        bars += is_point(r) && r->deviation > 0;
        points += is_point(r);
        runs += !is_original(r);
        if (is_point(r) && (!best || r->perplexity < best->perplexity))
            best = r;
    }
    if (all->text)
        figure_title(f, "Bits against perplexity on %s", all->text);
    else
        figure_title(f, "Bits against perplexity");
    figure_say(f, "%zu of %zu runs have both.", points, runs);
    if (best && all->is_known)
        figure_say(f, " The least perplexity, %.4f, is that of %.200s at %.3f bits.",
                   best->perplexity, base_name(best->name), best->nominal_bits);
    if (bars)
        figure_say(f, " Bars are \u00b1 one standard deviation over draws of the calibration.");
    if (best && !all->is_known)
        figure_say(f, " It was not recorded which text they are of: they need not be comparable.");
}

int figure_make_results(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct figure_results *all = &s->results[s->text];
    size_t n = all->runs;
    struct chart_series *series = figure_array(f, n, sizeof *series, err);
    const char **method = figure_array(f, n, sizeof *method, err);
    struct chart_marker *marker = figure_array(f, n, sizeof *marker, err);
    double *values = figure_array(f, 3 * n, sizeof *values, err);
    if (!series || !method || !marker || !values)
        return ERR_NOMEM;
    double *const point[3] = {values, values + n, values + 2 * n};
    f->kind = FIGURE_XY;
    f->xy = (struct chart_xy){.x = {.title = s->file_bits ? "bits in the file" : "nominal bits"},
                              .y = {.log = !s->linear, .title = "perplexity"},
                              .series = series,
                              .count = fill_series(f, s, series, method, point),
                              .markers = marker};
    for (size_t i = 0; i < n; i++)
        if (is_original(&all->run[i]) && is_measured(&all->run[i]))
            marker[f->xy.marker_count++] = (struct chart_marker){
                .horizontal = true,
                .at = all->run[i].perplexity,
                .label = figure_text(f, "original %.4f", all->run[i].perplexity),
                .colour = STYLE_CURVE};
    if (s->has_run && s->run < n && is_point(&all->run[s->run])) {
        const struct figure_run *r = &all->run[s->run];
        f->xy.cursor = (struct chart_cursor){true, bits_of(s, r), r->perplexity,
                                             figure_text(f, "%.4f at %.3f bits, %s", r->perplexity,
                                                         bits_of(s, r), base_name(r->name))};
    }
    fit_axes(f, s);
    say_results(f, all);
    say_legend(f);
    return 0;
}
