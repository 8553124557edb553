#include "ui/report/report_text.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/cosine.h"
#include "data/base/mem.h"
#include "ui/cells/table.h"
#include "ui/figure/figures.h"

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
    struct figure_source source;
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

/* Heading, words and chart of a figure, the chart `rows` high. */
static int write_figure(struct report *r, const struct figure *f, int rows)
{
    struct cells c;
    if (heading(r, f->title) < 0 || say(r, STYLE(STYLE_DEFAULT), "%s", f->caption) < 0 ||
        block_open(&c, r, rows) < 0)
        return ERR_NOMEM;
    figure_draw(&c, cells_area(&c), &r->look, f, NULL);
    block_close(&c, r);
    return 0;
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

static int write_curves(struct report *r)
{
    static const struct {
        const char *name;
        int rows;
    } part[] = {{"zipf", CURVE_ROWS}, {"utilization", CURVE_ROWS - 4}};
    int rc = 0;
    for (size_t i = 0; i < sizeof part / sizeof *part && rc == 0; i++) {
        struct figure f;
        rc = figures_make(&f, part[i].name, &r->source, r->err);
        if (rc == 0)
            rc = write_figure(r, &f, part[i].rows);
        figure_release(&f);
    }
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
        {"layer", false, 20, 0},
        {word(r, "\u03bc", "mu"), false, 15, 0},
        {word(r, "\u03c3", "sigma"), false, 14, 0},
        {"CV", false, 13, 0},
        {"A*", false, 4, 0},
        {"p", false, 5, 0},
        {"pattern", false, 6, 0},
        {"rule", true, 12, 0},
        {"at", true, 16, 0},
        {"GVF", false, 3, 0},
        {"high", false, 18, 0},
        {"low", false, 17, 0},
        {"r(|dS|,cos)", false, 11, 0}, /* last: only with a model */
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

/* The lines of the rule in force: in a small chart there is no room for more. */
static void keep_focused(struct chart_histogram *h)
{
    size_t n = 0;
    while (h->marker_count > 0 && !h->markers->focus) {
        h->markers++;
        h->marker_count--;
    }
    while (n < h->marker_count && h->markers[n].focus)
        n++;
    h->marker_count = n;
}

static int draw_layer(struct cells *c, struct rect at, struct report *r, size_t layer)
{
    struct figure f;
    struct figure_source source = r->source;
    source.layer = layer;
    int rc = figures_make(&f, "significance", &source, r->err);
    if (rc < 0)
        return rc;
    f.histogram.x.title = "S";
    f.histogram.y.title = figure_text(&f, "layer %zu", r->a->layer[layer].layer);
    keep_focused(&f.histogram);
    figure_draw(c, at, &r->look, &f, NULL);
    figure_release(&f);
    return 0;
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
        int rc = 0;
        for (size_t k = 0; k < (size_t)across && i + k < r->a->layers && rc == 0; k++)
            rc = draw_layer(&c, at[k], r, i + k);
        block_close(&c, r);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int write_intervals(struct report *r)
{
    struct figure f;
    size_t n = r->a->experts < INTERVALS_MAX ? r->a->experts : INTERVALS_MAX;
    int rc = figures_make(&f, "mapping", &r->source, r->err);
    if (rc < 0)
        return rc;
    f.intervals.n = n;
    rc = write_figure(r, &f, (int)n + 4);
    figure_release(&f);
    return rc == 0 && n < r->a->experts
               ? say(r, STYLE(STYLE_TEXT_DIM), "The first %zu of %zu experts.", n, r->a->experts)
               : rc;
}

/* All experts where they fit, else eight at equal quantiles of S, as in Fig. 5. */
static int write_similarity(struct report *r)
{
    struct figure f;
    struct figure_source source = r->source;
    int n = (int)r->a->experts;
    bool halves = style_has_colour(&r->look) && r->look.glyphs != STYLE_ASCII;
    source.all_experts = n <= HEAT_ROWS_MAX && n * (halves ? 1 : 2) <= r->width - 6;
    int rc = figures_make(&f, "similarity", &source, r->err);
    if (rc < 0)
        return rc;
    n = (int)f.heat.rows;
    rc = write_figure(r, &f, (n <= 8 ? 2 * n : halves ? (n + 1) / 2 : n) + 2);
    figure_release(&f);
    return rc;
}

int report_text_write(struct str *out, const struct trace *trace, const struct analysis *a,
                      const struct report_text_options *options, struct err *err)
{
    static int (*const section[])(struct report *) = {write_trace, write_curves, write_table,
                                                      write_histograms, write_intervals};
    size_t width = options->width < WIDTH_MAX ? options->width : WIDTH_MAX;
    struct report r = {.out = out,
                       .trace = trace,
                       .a = analysis_result(a),
                       .cosine = options->cosine,
                       .colour = options->colour,
                       .width = (int)(width > WIDTH_MIN ? width : WIDTH_MIN),
                       .err = err};
    r.source =
        (struct figure_source){.analysis = a, .cosine = options->cosine, .ascii = options->ascii};
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
