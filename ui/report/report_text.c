#include "ui/report/report_text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/cosine.h"
#include "analysis/reweight.h"
#include "data/base/mem.h"
#include "ui/cells/table.h"
#include "ui/chart/chart.h"

enum {
    WIDTH_MIN = 60,
    WIDTH_MAX = 400,
    CURVE_ROWS = 18,
    SMALL_ROWS = 11,
    SMALL_COLUMNS = 40,
    INTERVALS_MAX = 64,
    HEAT_ROWS_MAX = 66,
    TABLE_COLUMNS = 13,
};

/* Where a report stands: it is written block by block, each drawn as cells. */
struct report {
    struct str *out;
    const struct trace *trace;
    const struct analysis_result *a;
    const double *cosine;
    struct style_look look;
    bool colour;
    int width;
    struct err *err;
};

/* --- blocks --- */

static int block_open(struct cells *c, const struct report *r, int rows)
{
    return cells_init(c, r->width, rows, r->err);
}

static void block_close(struct cells *c, struct report *r)
{
    if (r->colour)
        cells_sgr(c, &r->look, r->out);
    else
        cells_plain(c, r->out);
    cells_release(c);
}

static int say(struct report *r, struct style s, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A paragraph, wrapped to the width. */
static int say(struct report *r, struct style s, const char *format, ...)
{
    char text[2048];
    struct cells c, used;
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    if (block_open(&c, r, 40) < 0)
        return ERR_NOMEM;
    int rows = cells_paragraph(&c, cells_area(&c), text, s);
    used = c;
    used.h = rows;
    if (r->colour)
        cells_sgr(&used, &r->look, r->out);
    else
        cells_plain(&used, r->out);
    cells_release(&c);
    return 0;
}

static int heading(struct report *r, const char *text)
{
    struct cells c;
    str_append(r->out, "\n");
    if (block_open(&c, r, 1) < 0)
        return ERR_NOMEM;
    int x = cells_text(&c, 0, 0, -1, text, STYLE(STYLE_TITLE)) + 1;
    cells_fill(&c, (struct rect){x, 0, r->width - x, 1}, style_glyph(&r->look, STYLE_G_HLINE),
               STYLE(STYLE_BORDER));
    block_close(&c, r);
    return 0;
}

/* Greek and dashes for those who can see them. */
static const char *word(const struct report *r, const char *utf8, const char *ascii)
{
    return r->look.glyphs == STYLE_ASCII ? ascii : utf8;
}

static void setting_text(const struct report *r, const char *name, char *out, size_t size)
{
    settings_get(&r->a->settings, settings_find(name), out, size);
}

/* --- sections --- */

static int write_trace(struct report *r)
{
    const struct trace *t = r->trace;
    if (heading(r, "Trace") < 0 ||
        say(r, STYLE(STYLE_DEFAULT), "%s%s%s, %s", t->model_name[0] ? t->model_name : "model",
            t->model_type[0] ? ", " : "", t->model_type,
            t->dataset[0] ? t->dataset : "text not named") < 0)
        return ERR_NOMEM;
    return say(r, STYLE(STYLE_DEFAULT),
               "%zu positions in %zu windows, %zu token types (vocabulary %zu); %zu MoE layers of "
               "%zu routed experts, %zu a token, %zu shared.",
               t->positions, t->windows, r->a->types, t->vocab, t->layers, t->experts, t->top_k,
               t->shared_experts);
}

static int write_zipf(struct report *r)
{
    const struct analysis_zipf *z = &r->a->zipf;
    size_t types = r->a->types;
    char fit[32], name[64];
    struct cells c;
    double *count = mem_array(types, sizeof *count, r->err);
    double *line = mem_array(types, sizeof *line, r->err);
    int rc = ERR_NOMEM;
    if (!count || !line)
        goto cleanup;
    for (size_t i = 0; i < types; i++) {
        count[i] = (double)r->a->rank_count[i];
        line[i] = (double)r->a->positions * z->c * pow((double)(i + 1), -z->beta);
    }
    setting_text(r, "fit", fit, sizeof fit);
    snprintf(name, sizeof name, "Zipf, %s = %.3f", word(r, "\u03b2", "beta"), z->beta);
    const struct chart_series series[] = {
        {.name = "tokens", .y = count, .n = types, .mark = CHART_POINTS},
        {.name = name, .y = line, .n = types, .colour = STYLE_SERIES + 1}};
    struct chart_xy chart = {.x = {.log = true, .title = "rank"},
                             .y = {.log = true, .title = "occurrences"},
                             .series = series,
                             .count = 2};
    if (heading(r, "Data: Zipf's law") < 0 ||
        say(r, STYLE(STYLE_DEFAULT),
            "D(r) = C r^-beta with beta = %.4f, C = %.4g (fit %s); R2 = %.4f on log-log, "
            "Kolmogorov-Smirnov distance %.4f.",
            z->beta, z->c, fit, z->r2, z->ks) < 0 ||
        block_open(&c, r, CURVE_ROWS) < 0)
        goto cleanup;
    chart_xy(&c, cells_area(&c), &r->look, &chart, NULL);
    block_close(&c, r);
    rc = 0;
cleanup:
    free(count);
    free(line);
    return rc;
}

static double sum_of(const double *v, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += v[i];
    return sum;
}

static int say_direction(struct report *r)
{
    static const char *const sentence[] = {
        [DIRECTION_FLAT] = "R is flat: every rank weighs the same",
        [DIRECTION_RISES] = "R rises with rank: re-weighting strengthens rare tokens",
        [DIRECTION_FALLS] = "R falls with rank: common tokens keep the larger weight",
    };
    char kind[32], alpha[32];
    setting_text(r, "reweight", kind, sizeof kind);
    setting_text(r, "alpha", alpha, sizeof alpha);
    return say(r, STYLE(STYLE_DEFAULT), "%s (%s, alpha = %s).", sentence[r->a->direction], kind,
               alpha);
}

/* What part of the sum lies in each third of log-rank. */
static int write_shares(struct report *r)
{
    static const struct table_column column[] = {{"share of thirds of log-rank", true, 4},
                                                 {"head", false, 3},
                                                 {"middle", false, 2},
                                                 {"tail", false, 1}};
    char text[8][TABLE_TEXT] = {"U, before", "", "", "", "R, after"};
    double before[3];
    struct cells c;
    reweight_share(before, r->a->utilization, r->a->types);
    for (int i = 0; i < 3; i++) {
        snprintf(text[1 + i], TABLE_TEXT, "%.1f %%", 100 * before[i]);
        snprintf(text[5 + i], TABLE_TEXT, "%.1f %%", 100 * r->a->share[i]);
    }
    if (block_open(&c, r, TABLE_HEAD_ROWS + 2) < 0)
        return ERR_NOMEM;
    table_draw(
        &c, cells_area(&c), &r->look,
        &(struct table){
            .column = column, .columns = 4, .rows = 2, .text = (const char(*)[TABLE_TEXT])text});
    block_close(&c, r);
    return 0;
}

static int write_reweight(struct report *r)
{
    size_t types = r->a->types;
    struct cells c;
    double *before = mem_array(types, sizeof *before, r->err);
    double *after = mem_array(types, sizeof *after, r->err);
    int rc = ERR_NOMEM;
    if (!before || !after)
        goto cleanup;
    double sum_u = sum_of(r->a->utilization, types), sum_r = sum_of(r->a->reweighted, types);
    for (size_t i = 0; i < types; i++) {
        before[i] = r->a->utilization[i] / sum_u;
        after[i] = r->a->reweighted[i] / sum_r;
    }
    const struct chart_series series[] = {
        {.name = "U before", .y = before, .n = types},
        {.name = "R after", .y = after, .n = types, .colour = STYLE_SERIES + 1}};
    struct chart_xy chart = {.x = {.log = true, .title = "rank"},
                             .y = {.log = true, .title = "share of the sum"},
                             .series = series,
                             .count = 2};
    if (heading(r, "Utilization, before and after re-weighting") < 0 || say_direction(r) < 0 ||
        write_shares(r) < 0 || block_open(&c, r, CURVE_ROWS - 4) < 0)
        goto cleanup;
    chart_xy(&c, cells_area(&c), &r->look, &chart, NULL);
    block_close(&c, r);
    rc = 0;
cleanup:
    free(before);
    free(after);
    return rc;
}

static size_t group_count(const struct report *r, const struct analysis_layer *l, size_t group)
{
    size_t n = 0;
    for (size_t e = 0; e < r->a->experts; e++)
        n += l->group[e] == group;
    return n;
}

static void split_text(char *out, size_t size, const struct analysis_layer *l)
{
    size_t used = 0;
    if (l->rule == RULE_THRESHOLD) {
        snprintf(out, size, "%.4f", l->threshold);
        return;
    }
    snprintf(out, size, "-");
    for (size_t i = 0; i < l->breaks && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%.4f", i ? " " : "", l->break_at[i]);
}

/* Correlation of the difference in significance and the cosine of two experts (Fig. 5). */
static void correlation_text(const struct report *r, size_t layer, char *out, size_t size)
{
    size_t n = r->a->experts;
    double value;
    if (r->cosine &&
        cosine_correlation(&value, r->cosine + layer * n * n, r->a->layer[layer].significance, n))
        snprintf(out, size, "%+.3f", value);
    else
        snprintf(out, size, "-");
}

static void layer_row(const struct report *r, const struct analysis_layer *l,
                      char (*text)[TABLE_TEXT])
{
    size_t groups = l->rule == RULE_JENKS ? l->breaks + 1 : 2, used = 0;
    snprintf(text[0], TABLE_TEXT, "%zu", l->layer);
    snprintf(text[1], TABLE_TEXT, "%.4f", l->mu);
    snprintf(text[2], TABLE_TEXT, "%.4f", l->sigma);
    snprintf(text[3], TABLE_TEXT, "%.3f", l->mu != 0 ? l->sigma / l->mu : 0.0);
    if (l->anderson_darling_valid) {
        snprintf(text[4], TABLE_TEXT, "%.3f", l->anderson_darling);
        snprintf(text[5], TABLE_TEXT, l->anderson_darling_p < 0.001 ? "<0.001" : "%.3f",
                 l->anderson_darling_p);
    } else {
        snprintf(text[4], TABLE_TEXT, "-");
        snprintf(text[5], TABLE_TEXT, "-");
    }
    snprintf(text[6], TABLE_TEXT, "%zu", l->pattern);
    snprintf(text[7], TABLE_TEXT, "%s", l->rule == RULE_JENKS ? "jenks" : "threshold");
    split_text(text[8], TABLE_TEXT, l);
    snprintf(text[9], TABLE_TEXT, "%.3f", l->gvf);
    snprintf(text[10], TABLE_TEXT, "%zu", group_count(r, l, 1));
    for (size_t g = 2; g <= groups && used < TABLE_TEXT; g++)
        used += (size_t)snprintf(text[11] + used, TABLE_TEXT - used, "%s%zu", g > 2 ? "/" : "",
                                 group_count(r, l, g));
}

static int write_table(struct report *r)
{
    const struct table_column column[TABLE_COLUMNS] = {
        {"layer", false, 20},
        {word(r, "\u03bc", "mu"), false, 15},
        {word(r, "\u03c3", "sigma"), false, 14},
        {"CV", false, 13},
        {"A*", false, 4},
        {"p", false, 5},
        {"pattern", false, 6},
        {"rule", true, 12},
        {"at", true, 16},
        {"GVF", false, 3},
        {"high", false, 18},
        {"low", false, 17},
        {"r(|dS|,cos)", false, 11}, /* last: only with a model */
    };
    size_t layers = r->a->layers, columns = r->cosine ? TABLE_COLUMNS : TABLE_COLUMNS - 1;
    struct cells c;
    char(*text)[TABLE_TEXT] = mem_array(layers * TABLE_COLUMNS, sizeof *text, r->err);
    int rc = ERR_NOMEM;
    if (!text)
        return ERR_NOMEM;
    for (size_t i = 0; i < layers; i++) {
        layer_row(r, &r->a->layer[i], text + i * columns);
        if (r->cosine)
            correlation_text(r, i, text[i * columns + columns - 1], TABLE_TEXT);
    }
    struct table table = {.column = column,
                          .columns = columns,
                          .rows = layers,
                          .text = (const char(*)[TABLE_TEXT])text};
    if (heading(r, "Experts: significance by layer") < 0 ||
        block_open(&c, r, TABLE_HEAD_ROWS + (int)layers) < 0)
        goto cleanup;
    table_draw(&c, cells_area(&c), &r->look, &table);
    block_close(&c, r);
    rc = say(r, STYLE(STYLE_TEXT_DIM),
             "CV = sigma / mu; A*: Anderson-Darling against a Gaussian, with its p; at: threshold "
             "or breaks; GVF: goodness of variance fit of the breaks; high, low: experts a class.");
cleanup:
    free(text);
    return rc;
}

static void draw_layer(struct cells *c, struct rect at, const struct report *r,
                       const struct analysis_layer *l)
{
    struct chart_marker marker[SETTINGS_CLASSES_MAX + 1];
    size_t markers = 0;
    char title[48];
    if (l->rule == RULE_THRESHOLD)
        marker[markers++] = (struct chart_marker){.at = l->threshold, .label = "T"};
    for (size_t i = 0; l->rule == RULE_JENKS && i < l->breaks; i++)
        marker[markers++] = (struct chart_marker){.at = l->break_at[i], .label = "break"};
    snprintf(title, sizeof title, "layer %zu", l->layer);
    struct chart_histogram chart = {.x = {.title = "S"},
                                    .y = {.title = title},
                                    .value = l->significance,
                                    .n = r->a->experts,
                                    .group = l->group,
                                    .curve = true,
                                    .mu = l->mu,
                                    .sigma = l->sigma,
                                    .markers = marker,
                                    .marker_count = markers};
    chart_histogram(c, at, &r->look, &chart, NULL);
}

static int write_histograms(struct report *r)
{
    int across = r->width / SMALL_COLUMNS;
    if (heading(r, "Distribution of significance") < 0)
        return ERR_NOMEM;
    for (size_t i = 0; i < r->a->layers; i += (size_t)across) {
        struct cells c;
        struct layout_item item[WIDTH_MAX / SMALL_COLUMNS];
        struct rect at[WIDTH_MAX / SMALL_COLUMNS];
        for (int k = 0; k < across; k++)
            item[k] = (struct layout_item){.weight = 1, .min = 1};
        if (block_open(&c, r, SMALL_ROWS + 1) < 0)
            return ERR_NOMEM;
        layout_columns(at, (struct rect){0, 0, r->width, SMALL_ROWS}, item, (size_t)across, 2);
        for (size_t k = 0; k < (size_t)across && i + k < r->a->layers; k++)
            draw_layer(&c, at[k], r, &r->a->layer[i + k]);
        block_close(&c, r);
    }
    return 0;
}

static int write_intervals(struct report *r)
{
    const struct analysis_layer *l = &r->a->layer[0];
    size_t n = r->a->experts < INTERVALS_MAX ? r->a->experts : INTERVALS_MAX;
    char title[96];
    struct cells c;
    char(*label)[24] = mem_array(n, sizeof *label, r->err);
    struct chart_interval *row = mem_array(n, sizeof *row, r->err);
    int rc = ERR_NOMEM;
    if (!label || !row)
        goto cleanup;
    for (size_t e = 0; e < n; e++) {
        const struct analysis_interval *v = &l->interval[e];
        snprintf(label[e], sizeof label[e], "%zu", e);
        row[e] = (struct chart_interval){.label = label[e],
                                         .valid = v->valid,
                                         .lowest = (double)v->lowest,
                                         .tenth = (double)v->tenth,
                                         .median = (double)v->median,
                                         .ninetieth = (double)v->ninetieth,
                                         .highest = (double)v->highest,
                                         .colour = (uint16_t)(STYLE_GROUP + l->group[e]),
                                         .note = l->group[e] == 1 ? "high" : ""};
    }
    snprintf(title, sizeof title, "Mapping: ranks that each expert serves, layer %zu", l->layer);
    struct chart_intervals chart = {
        .x = {.lo = 1, .hi = (double)r->a->types, .log = true, .title = "rank"},
        .row = row,
        .n = n};
    if (heading(r, title) < 0 || block_open(&c, r, (int)n + 4) < 0)
        goto cleanup;
    chart_intervals(&c, cells_area(&c), &r->look, &chart, NULL);
    block_close(&c, r);
    rc = n < r->a->experts
             ? say(r, STYLE(STYLE_TEXT_DIM), "The first %zu of %zu experts.", n, r->a->experts)
             : 0;
cleanup:
    free(label);
    free(row);
    return rc;
}

/* One domain for all layers, so that their pictures can be compared; the diagonal, 1 by
 * definition, would hide the differences between the others. */
static void cosine_domain(const struct report *r, double *lo, double *hi)
{
    size_t n = r->a->experts;
    double min = 1, max = -1;
    for (size_t l = 0; l < r->a->layers; l++)
        for (size_t i = 0; i < n; i++)
            for (size_t j = 0; j < i; j++) {
                double v = r->cosine[(l * n + i) * n + j];
                min = fmin(min, v);
                max = fmax(max, v);
            }
    double step = max > min ? pow(10, floor(log10(max - min))) : 0.1;
    *lo = fmax(floor(min / step) * step, -1);
    *hi = fmin(ceil(max / step) * step, 1);
}

static int draw_cosine(struct report *r, const double *value, size_t n, const size_t *pick)
{
    char(*label)[24] = mem_array(n, sizeof *label, r->err);
    const char **labels = mem_array(n, sizeof *labels, r->err);
    struct cells c;
    double lo, hi;
    int rc = ERR_NOMEM;
    if (!label || !labels)
        goto cleanup;
    for (size_t i = 0; i < n; i++) {
        snprintf(label[i], sizeof label[i], "%zu", pick ? pick[i] : i);
        labels[i] = label[i];
    }
    cosine_domain(r, &lo, &hi);
    bool halves = style_has_colour(&r->look) && r->look.glyphs != STYLE_ASCII;
    int rows = n <= 8 ? 2 * (int)n : halves ? (int)(n + 1) / 2 : (int)n;
    struct chart_heat heat = {.value = value,
                              .rows = n,
                              .cols = n,
                              .lo = lo,
                              .hi = hi,
                              .title = "cosine",
                              .row_labels = labels,
                              .col_labels = labels};
    if (block_open(&c, r, rows + 2) < 0)
        goto cleanup;
    chart_heat(&c, cells_area(&c), &r->look, &heat, NULL);
    block_close(&c, r);
    rc = 0;
cleanup:
    free(label);
    free(labels);
    return rc;
}

/* All experts where they fit, else eight at equal quantiles of S, as in Fig. 5. */
static int write_similarity(struct report *r)
{
    const struct analysis_layer *l = &r->a->layer[0];
    size_t n = r->a->experts, pick[8];
    double eight[64];
    char title[96];
    bool halves = style_has_colour(&r->look) && r->look.glyphs != STYLE_ASCII;
    snprintf(title, sizeof title, "Similarity of experts, layer %zu", l->layer);
    if (heading(r, title) < 0)
        return ERR_NOMEM;
    if (n <= HEAT_ROWS_MAX && (int)n * (halves ? 1 : 2) <= r->width - 6)
        return draw_cosine(r, r->cosine, n, NULL);
    int rc = cosine_pick(pick, 8, l->significance, n, r->err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < 64; i++)
        eight[i] = r->cosine[pick[i / 8] * n + pick[i % 8]];
    rc = draw_cosine(r, eight, 8, pick);
    return rc < 0 ? rc
                  : say(r, STYLE(STYLE_TEXT_DIM),
                        "Eight of %zu experts, at equal quantiles of their significance.", n);
}

int report_text_write(struct str *out, const struct trace *trace, const struct analysis *a,
                      const struct report_text_options *options, struct err *err)
{
    static int (*const section[])(struct report *) = {
        write_trace, write_zipf, write_reweight, write_table, write_histograms, write_intervals};
    size_t width = options->width < WIDTH_MAX ? options->width : WIDTH_MAX;
    struct report r = {.out = out,
                       .trace = trace,
                       .a = analysis_result(a),
                       .cosine = options->cosine,
                       .colour = options->colour,
                       .width = (int)(width > WIDTH_MIN ? width : WIDTH_MIN),
                       .err = err};
    r.look.theme = options->colour ? STYLE_DARK : STYLE_MONO;
    r.look.depth = options->colour ? STYLE_DEPTH_256 : STYLE_DEPTH_NONE;
    r.look.glyphs = options->ascii ? STYLE_ASCII : STYLE_BRAILLE;
    int rc = 0;
    for (size_t i = 0; i < sizeof section / sizeof *section && rc == 0; i++)
        rc = section[i](&r);
    if (rc == 0 && r.cosine)
        rc = write_similarity(&r);
    return rc < 0 ? rc : str_ok(out, err);
}
