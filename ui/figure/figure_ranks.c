/* Figures over the ranks of the tokens: Zipf's law, utilization, and the experts' intervals. */
#include <math.h>
#include <stdlib.h>

#include "analysis/reweight.h"
#include "data/base/mem.h"
#include "ui/figure/figure_parts.h"

static double token_centre(const struct figure_source *s)
{
    return s->token_rank ? (double)s->token_rank : NAN;
}

static double fitted(const struct analysis_result *a, double rank)
{
    return (double)a->positions * a->zipf.c * pow(rank, -a->zipf.beta);
}

/* --- Zipf's law --- */

static int sample_counts(struct figure *f, struct chart_series *out,
                         const struct analysis_result *a, const struct chart_axis *x, bool log_y,
                         struct err *err)
{
    double *count = mem_array(a->types, sizeof *count, err);
    if (!count)
        return ERR_NOMEM;
    for (size_t i = 0; i < a->types; i++)
        count[i] = (double)a->rank_count[i];
    struct chart_axis inside = *x;
    inside.hi = fmin(inside.hi, (double)a->types);
    int rc = figure_sample(f, out, count, 1, &inside, log_y, err);
    free(count);
    return rc;
}

int figure_make_zipf(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_result *a = analysis_result(s->analysis);
    const struct analysis_zipf *z = &a->zipf;
    struct chart_axis x = figure_rank_axis(s, token_centre(s));
    struct chart_series *series = figure_array(f, 2, sizeof *series, err);
    if (!series || sample_counts(f, &series[0], a, &x, !s->linear, err) < 0)
        return ERR_NOMEM;
    double *line = figure_array(f, series[0].n, sizeof *line, err);
    if (!line)
        return ERR_NOMEM;
    for (size_t i = 0; i < series[0].n; i++)
        line[i] = fitted(a, series[0].x[i]);
    series[0].name = "tokens";
    series[0].mark = CHART_POINTS;
    series[1] = (struct chart_series){
        .name = figure_text(f, "Zipf, %s = %.3f", figure_word(s, "\u03b2", "beta"), z->beta),
        .x = series[0].x,
        .y = line,
        .n = series[0].n,
        .colour = STYLE_CURVE};
    f->kind = FIGURE_XY;
    f->xy = (struct chart_xy){
        .x = x, .y = {.log = !s->linear, .title = "occurrences"}, .series = series, .count = 2};
    if (s->token_rank > 0 && s->token_rank <= a->types) {
        double count = (double)a->rank_count[s->token_rank - 1];
        f->xy.cursor =
            (struct chart_cursor){true, (double)s->token_rank, count,
                                  figure_text(f, "rank %zu: %.0f, Zipf %.1f", s->token_rank, count,
                                              fitted(a, (double)s->token_rank))};
    }
    figure_title(f, "Data: Zipf's law");
    figure_say(f,
               "D(r) = C r^-beta with beta = %.4f, C = %.4g (fit %s); R2 = %.4f on log-log, "
               "Kolmogorov-Smirnov distance %.4f.",
               z->beta, z->c, figure_setting(f, s, "fit"), z->r2, z->ks);
    return 0;
}

/* --- utilization --- */

static double sum_of(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum > 0 ? sum : 1;
}

static void say_utilization(struct figure *f, const struct figure_source *s)
{
    static const char *const sentence[] = {
        [DIRECTION_FLAT] = "R is flat: every rank weighs the same",
        [DIRECTION_RISES] = "R rises with rank: re-weighting strengthens rare tokens",
        [DIRECTION_FALLS] = "R falls with rank: common tokens keep the larger weight",
    };
    const struct analysis_result *a = analysis_result(s->analysis);
    double before[3];
    reweight_share(before, a->utilization, a->types);
    figure_say(f, "%s (%s, alpha = %s). ", sentence[a->direction], figure_setting(f, s, "reweight"),
               figure_setting(f, s, "alpha"));
    figure_say(f,
               "Head, middle and tail of log-rank hold %.1f %%, %.1f %% and %.1f %% of the sum "
               "before, %.1f %%, %.1f %% and %.1f %% after.",
               100 * before[0], 100 * before[1], 100 * before[2], 100 * a->share[0],
               100 * a->share[1], 100 * a->share[2]);
}

int figure_make_utilization(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_result *a = analysis_result(s->analysis);
    struct chart_axis x = figure_rank_axis(s, token_centre(s)), inside = x;
    double before = sum_of(a->utilization, a->types), after = sum_of(a->reweighted, a->types);
    struct chart_series *series = figure_array(f, 2, sizeof *series, err);
    inside.hi = fmin(inside.hi, (double)a->types);
    if (!series ||
        figure_sample(f, &series[0], a->utilization, before, &inside, !s->linear, err) < 0 ||
        figure_sample(f, &series[1], a->reweighted, after, &inside, !s->linear, err) < 0)
        return ERR_NOMEM;
    series[0].name = "U before";
    series[1].name = "R after";
    series[1].colour = STYLE_SERIES + 1;
    f->kind = FIGURE_XY;
    f->xy = (struct chart_xy){.x = x,
                              .y = {.log = !s->linear, .title = "share of the sum"},
                              .series = series,
                              .count = 2};
    if (s->token_rank > 0 && s->token_rank <= a->types) {
        double u = a->utilization[s->token_rank - 1] / before;
        double r = a->reweighted[s->token_rank - 1] / after;
        f->xy.cursor =
            (struct chart_cursor){true, (double)s->token_rank, r,
                                  figure_text(f, "rank %zu: U %.3g, R %.3g", s->token_rank, u, r)};
    }
    figure_title(f, "Utilization, before and after re-weighting");
    say_utilization(f, s);
    return 0;
}

/* --- intervals --- */

static void fill_rows(struct figure *f, const struct figure_source *s, struct chart_interval *row)
{
    const struct analysis_layer *l = figure_layer(s);
    const char *note[SETTINGS_CLASSES_MAX + 1] = {""};
    for (size_t g = 1; g <= SETTINGS_CLASSES_MAX; g++) {
        char name[32];
        figures_group_name(name, sizeof name, l, g);
        note[g] = figure_text(f, "%s", name);
    }
    for (size_t e = 0; e < analysis_result(s->analysis)->experts; e++) {
        const struct analysis_interval *v = &l->interval[e];
        row[e] = (struct chart_interval){.label = figure_text(f, "%zu", e),
                                         .valid = v->valid,
                                         .lowest = (double)v->lowest,
                                         .tenth = (double)v->tenth,
                                         .median = (double)v->median,
                                         .ninetieth = (double)v->ninetieth,
                                         .highest = (double)v->highest,
                                         .colour = figures_group_colour(l->group[e]),
                                         .note = note[l->group[e]]};
    }
}

/* Zoomed around the token, else around the median of the expert. */
static double mapping_centre(const struct figure_source *s)
{
    if (s->token_rank || !s->has_selected)
        return token_centre(s);
    const struct analysis_interval *v = &figure_layer(s)->interval[s->expert];
    return v->valid ? (double)v->median : NAN;
}

int figure_make_mapping(struct figure *f, const struct figure_source *s, struct err *err)
{
    const struct analysis_result *a = analysis_result(s->analysis);
    const struct analysis_layer *l = figure_layer(s);
    struct chart_interval *row = figure_array(f, a->experts, sizeof *row, err);
    struct chart_marker *marker = figure_array(f, 1, sizeof *marker, err);
    size_t served = 0;
    if (!row || !marker)
        return ERR_NOMEM;
    fill_rows(f, s, row);
    for (size_t e = 0; e < a->experts; e++)
        served += row[e].valid;
    if (s->token_rank)
        *marker = (struct chart_marker){.at = (double)s->token_rank,
                                        .label = figure_text(f, "rank %zu", s->token_rank)};
    f->kind = FIGURE_INTERVALS;
    f->intervals = (struct chart_intervals){.x = figure_rank_axis(s, mapping_centre(s)),
                                            .row_title = "expert",
                                            .row = row,
                                            .n = a->experts,
                                            .has_selected = s->has_selected,
                                            .selected = s->expert,
                                            .markers = marker,
                                            .marker_count = s->token_rank != 0};
    if (s->has_selected && row[s->expert].valid)
        f->intervals.cursor_text =
            figure_text(f, "%zu: %.0f, %.0f, %.0f, %.0f, %.0f", s->expert, row[s->expert].lowest,
                        row[s->expert].tenth, row[s->expert].median, row[s->expert].ninetieth,
                        row[s->expert].highest);
    figure_title(f, "Mapping: ranks that each expert serves, layer %zu", l->layer);
    figure_say(f,
               "From the lowest to the highest rank that is routed to an expert, thick from 10 %% "
               "to 90 %% of its ranks, with their median; %zu of %zu experts serve a token "
               "(mapping %s).",
               served, a->experts, figure_setting(f, s, "mapping"));
    return 0;
}
