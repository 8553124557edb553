#include "ui/figure/figure_parts.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

const struct analysis_layer *figure_layer(const struct figure_source *s)
{
    return &analysis_result(s->analysis)->layer[s->layer];
}

const char *figure_word(const struct figure_source *s, const char *utf8, const char *ascii)
{
    return s->ascii ? ascii : utf8;
}

const char *figure_setting(struct figure *f, const struct figure_source *s, const char *name)
{
    char text[128];
    settings_get(&analysis_result(s->analysis)->settings, settings_find(name), text, sizeof text);
    return figure_text(f, "%s", text);
}

void figure_title(struct figure *f, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(f->title, sizeof f->title, format, args);
    va_end(args);
}

void figure_say(struct figure *f, const char *format, ...)
{
    size_t used = strlen(f->caption);
    va_list args;
    va_start(args, format);
    vsnprintf(f->caption + used, sizeof f->caption - used, format, args);
    va_end(args);
}

/* --- classes --- */

size_t figures_groups(const struct analysis_layer *l)
{
    return l->rule == RULE_JENKS ? l->breaks + 1 : 2;
}

void figures_group_name(char *out, size_t size, const struct analysis_layer *l, size_t group)
{
    size_t groups = figures_groups(l);
    if (group > 1 && groups > 2)
        snprintf(out, size, "class %zu of %zu", group, groups);
    else
        snprintf(out, size, group == 1 ? "high" : "low");
}

uint16_t figures_group_colour(size_t group)
{
    return (uint16_t)(STYLE_GROUP + (group < 4 ? group : 4));
}

/* --- axes --- */

void figure_zoom(struct chart_axis *axis, int zoom, double centre)
{
    if (zoom <= 0)
        return;
    struct chart_axis all = *axis;
    double width = pow(0.5, zoom), at = isnan(centre) ? 0 : chart_place(&all, centre);
    double from = fmin(fmax((isnan(at) ? 0 : at) - width / 2, 0), 1 - width);
    axis->lo = chart_value(&all, from);
    axis->hi = chart_value(&all, from + width);
    if (axis->integer) {
        axis->lo = floor(axis->lo + 1e-9);
        axis->hi = fmax(ceil(axis->hi - 1e-9), axis->lo + 1);
    }
}

struct chart_axis figure_rank_axis(const struct figure_source *s, double centre)
{
    size_t types = analysis_result(s->analysis)->types;
    struct chart_axis axis = {.lo = 1,
                              .hi = types > 2 ? (double)types : 2,
                              .log = !s->linear,
                              .integer = true,
                              .title = "rank"};
    figure_zoom(&axis, s->zoom, centre);
    return axis;
}

/* --- curves --- */

enum { PARTS = 1024 };

/* Writes the indices of the points that stay; `at` has room for all. */
struct sampler {
    const double *y;
    size_t *at, count;
    bool ratio;  /* a step is a factor */
    double step; /* of y that cannot be seen */
};

static bool is_far(const struct sampler *k, double a, double b)
{
    return k->ratio ? a > b * k->step || a * k->step < b : fabs(a - b) > k->step;
}

static void keep(struct sampler *k, size_t i)
{
    if (k->count == 0 || k->at[k->count - 1] != i)
        k->at[k->count++] = i;
}

static void sample_part(struct sampler *k, size_t begin, size_t end)
{
    size_t low = begin, high = begin;
    for (size_t i = begin; i < end; i++) {
        low = k->y[i] < k->y[low] ? i : low;
        high = k->y[i] > k->y[high] ? i : high;
    }
    for (size_t i = begin; i < end; i++)
        if (i == begin || i + 1 == end || i == low || i == high ||
            is_far(k, k->y[i], k->y[k->at[k->count - 1]]))
            keep(k, i);
}

static struct sampler sampler_of(size_t *at, const double *y, size_t begin, size_t end, bool log_y)
{
    double low = INFINITY, high = -INFINITY;
    for (size_t i = begin; i < end; i++)
        if (!log_y || y[i] > 0) {
            low = fmin(low, y[i]);
            high = fmax(high, y[i]);
        }
    bool spread = high > low;
    return (struct sampler){.y = y,
                            .at = at,
                            .ratio = log_y,
                            .step = log_y    ? spread ? pow(high / low, 1.0 / PARTS) : 2
                                    : spread ? (high - low) / PARTS
                                             : 1};
}

int figure_sample(struct figure *f, struct chart_series *out, const double *y, double divide,
                  const struct chart_axis *x, bool log_y, struct err *err)
{
    size_t begin = (size_t)fmax(ceil(x->lo), 1) - 1, end = (size_t)floor(x->hi);
    size_t n = end > begin ? end - begin : 0;
    size_t *at = mem_array(n, sizeof *at, err);
    if (!at)
        return ERR_NOMEM;
    struct sampler k = sampler_of(at, y, begin, end, log_y);
    for (size_t part = 1, from = begin; part <= PARTS; part++) {
        double border = part < PARTS ? chart_value(x, (double)part / PARTS) : (double)end + 1;
        size_t to = (size_t)fmin(fmax(ceil(border) - 1, (double)from), (double)end);
        sample_part(&k, from, to);
        from = to;
    }
    double *px = figure_array(f, k.count, sizeof *px, err);
    double *py = figure_array(f, k.count, sizeof *py, err);
    for (size_t i = 0; px && py && i < k.count; i++) {
        px[i] = (double)at[i] + 1;
        py[i] = y[at[i]] / divide;
    }
    free(at);
    *out = (struct chart_series){.x = px, .y = py, .n = px && py ? k.count : 0};
    return px && py ? 0 : ERR_NOMEM;
}
