/* Figures over the significance of a layer's experts. */
#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "ui/figure/figure_parts.h"

static size_t fill_markers(const struct figure_source *s, struct chart_marker *marker)
{
    const struct analysis_layer *l = figure_layer(s);
    bool jenks = l->rule == RULE_JENKS;
    size_t n = 0;
    marker[n++] = (struct chart_marker){.at = l->threshold,
                                        .label = "T",
                                        .colour = jenks ? STYLE_TEXT_DIM : STYLE_MARKER,
                                        .focus = !jenks || s->threshold_held};
    for (size_t i = 0; i < l->breaks; i++)
        marker[n++] = (struct chart_marker){.at = l->break_at[i],
                                            .label = "break",
                                            .colour = jenks ? STYLE_MARKER : STYLE_TEXT_DIM,
                                            .focus = jenks};
    marker[n++] = (struct chart_marker){
        .at = l->mu, .label = figure_word(s, "\u03bc", "mu"), .colour = STYLE_CURVE};
    return n;
}

static void say_classes(struct figure *f, const struct figure_source *s)
{
    const struct analysis_layer *l = figure_layer(s);
    size_t experts = analysis_result(s->analysis)->experts, high = 0;
    for (size_t e = 0; e < experts; e++)
        high += l->group[e] == 1;
    figure_say(f, "%s = %.5f, %s = %.5f, pattern %zu. ", figure_word(s, "\u03bc", "mu"), l->mu,
               figure_word(s, "\u03c3", "sigma"), l->sigma, l->pattern);
    if (l->rule == RULE_JENKS)
        figure_say(f, "Jenks' breaks cut %zu classes (goodness of variance fit %.3f); ",
                   figures_groups(l), l->gvf);
    else
        figure_say(f, "Cut at the threshold T = %.5f; ", l->threshold);
    figure_say(f, "%zu of %zu experts are high.", high, experts);
    if (l->anderson_darling_valid)
        figure_say(f, " Anderson-Darling against a Gaussian: A* = %.3f, p = %.3g.",
                   l->anderson_darling, l->anderson_darling_p);
}

/* The span of the values and of what is marked among them, with nice ends. */
static struct chart_axis significance_axis(const struct figure_source *s)
{
    const struct analysis_layer *l = figure_layer(s);
    struct chart_axis axis = {.title = "significance S"};
    double lo = INFINITY, hi = -INFINITY;
    for (size_t e = 0; e < analysis_result(s->analysis)->experts; e++) {
        lo = fmin(lo, l->significance[e]);
        hi = fmax(hi, l->significance[e]);
    }
    if (s->zoom > 0 && hi > lo) {
        axis.lo = lo;
        axis.hi = hi;
        figure_zoom(&axis, s->zoom, s->has_selected ? l->significance[s->expert] : l->mu);
    }
    return axis;
}

/* Names of the groups; NULL without memory. */
static const char *const *group_names(struct figure *f, const struct analysis_layer *l,
                                      struct err *err)
{
    size_t groups = figures_groups(l);
    const char **name = figure_array(f, groups, sizeof *name, err);
    for (size_t g = 1; name && g <= groups; g++) {
        char text[32];
        figures_group_name(text, sizeof text, l, g);
        name[g - 1] = figure_text(f, "%s", text);
    }
    return name;
}

int figure_make_significance(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_layer *l = figure_layer(s);
    struct chart_marker *marker = figure_array(f, SETTINGS_CLASSES_MAX + 2, sizeof *marker, err);
    size_t *selected = figure_array(f, 1, sizeof *selected, err);
    const char *const *names = group_names(f, l, err);
    if (!marker || !selected || !names)
        return ERR_NOMEM;
    *selected = s->expert;
    f->kind = FIGURE_HISTOGRAM;
    f->histogram = (struct chart_histogram){.x = significance_axis(s),
                                            .y = {.title = "experts"},
                                            .value = l->significance,
                                            .n = analysis_result(s->analysis)->experts,
                                            .group = l->group,
                                            .group_name = names,
                                            .groups = figures_groups(l),
                                            .curve = true,
                                            .mu = l->mu,
                                            .sigma = l->sigma,
                                            .markers = marker,
                                            .marker_count = fill_markers(s, marker),
                                            .selected = s->has_selected ? selected : NULL};
    if (s->has_selected) {
        char name[32];
        figures_group_name(name, sizeof name, l, l->group[s->expert]);
        f->histogram.cursor =
            (struct chart_cursor){true, l->significance[s->expert], -1,
                                  figure_text(f, "expert %zu: S = %.5f, %s", s->expert,
                                              l->significance[s->expert], name)};
    }
    figure_title(f, "Significance of the experts, layer %zu", l->layer);
    say_classes(f, s);
    return 0;
}

/* --- ranked --- */

struct place {
    double significance;
    size_t expert;
};

static int falling(const void *x, const void *y)
{
    const struct place *a = x, *b = y;
    if (a->significance != b->significance)
        return a->significance < b->significance ? 1 : -1;
    return a->expert < b->expert ? -1 : 1;
}

/* Without memory by insertion: slower, but the order is never another. */
static void insert_all(size_t *order, const double *significance, size_t experts)
{
    for (size_t e = 0; e < experts; e++) {
        size_t at = e;
        for (; at > 0 && significance[order[at - 1]] < significance[e]; at--)
            order[at] = order[at - 1];
        order[at] = e;
    }
}

void figures_rank(size_t *order, const double *significance, size_t experts)
{
    struct place *place = mem_array(experts, sizeof *place, NULL);
    if (!place) {
        insert_all(order, significance, experts);
        return;
    }
    for (size_t e = 0; e < experts; e++)
        place[e] = (struct place){significance[e], e};
    qsort(place, experts, sizeof *place, falling);
    for (size_t e = 0; e < experts; e++)
        order[e] = place[e].expert;
    free(place);
}

int figure_make_experts(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_layer *l = figure_layer(s);
    size_t n = analysis_result(s->analysis)->experts;
    size_t *order = figure_array(f, n, sizeof *order, err);
    struct chart_bar *bar = figure_array(f, n, sizeof *bar, err);
    if (!order || !bar)
        return ERR_NOMEM;
    figures_rank(order, l->significance, n);
    f->kind = FIGURE_BARS;
    f->bars = (struct chart_bars){.bar = bar, .n = n, .has_selected = s->has_selected, .digits = 4};
    for (size_t i = 0; i < n; i++) {
        size_t e = order[i];
        char name[32];
        figures_group_name(name, sizeof name, l, l->group[e]);
        bar[i] = (struct chart_bar){.label = figure_text(f, "expert %zu", e),
                                    .value = l->significance[e],
                                    .colour = figures_group_colour(l->group[e]),
                                    .note = figure_text(f, "%s", name)};
        f->bars.selected = e == s->expert ? i : f->bars.selected;
    }
    figure_title(f, "Experts by significance, layer %zu", l->layer);
    say_classes(f, s);
    return 0;
}
