#include "ui/report/report_parts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/cosine.h"
#include "data/base/mem.h"
#include "data/base/str.h"

enum {
    LAYERS_SHOWN = 4,  /* of charts that show one layer, where a model has many */
    SPREADS_MAX = 32,  /* histograms of significance */
    EXPERTS_SHOWN = 5, /* highest and lowest of a layer */
    TEXT = 256
};

int report_add_figure_of(struct report_builder *b, const char *name,
                         const struct figure_source *source)
{
    struct figure f;
    int rc = figures_make(&f, name, source, b->err);
    if (rc == 0)
        report_figure(b->r, &f);
    return rc;
}

int report_add_figure(struct report_builder *b, const char *name, size_t layer)
{
    struct figure_source source = b->s->figures;
    source.layer = layer;
    return report_add_figure_of(b, name, &source);
}

/* Up to `most` layers, evenly spaced from the first to the last; returns their number. */
static size_t spread_layers(size_t *out, size_t most, size_t layers)
{
    size_t n = layers < most ? layers : most;
    for (size_t i = 0; i < n; i++)
        out[i] = n > 1 ? i * (layers - 1) / (n - 1) : 0;
    return n;
}

static int add_layer_figures(struct report_builder *b, const char *name, size_t most, size_t across)
{
    size_t layer[SPREADS_MAX], n = spread_layers(layer, most, b->a->layers);
    int rc = 0;
    report_figures(b->r, across);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = report_add_figure(b, name, layer[i]);
    return rc;
}

/* --- What it is about --- */

static const char *direction_word(enum analysis_direction d)
{
    return d == DIRECTION_RISES   ? "rises with the rank: rare tokens weigh more than common ones"
           : d == DIRECTION_FALLS ? "falls with the rank: common tokens weigh more than rare ones"
                                  : "is the same at every rank";
}

static size_t count_high(const struct analysis_result *a)
{
    size_t high = 0;
    for (size_t l = 0; l < a->layers; l++)
        for (size_t e = 0; e < a->experts; e++)
            high += a->layer[l].group[e] == 1;
    return high;
}

static void add_summary(struct report_builder *b)
{
    const struct analysis_result *a = b->a;
    const struct plan *p = b->s->figures.plan;
    size_t high = count_high(a), all = a->layers * a->experts, patterns[2] = {0};
    char before[32], after[32];
    for (size_t l = 0; l < a->layers; l++)
        patterns[a->layer[l].pattern == 2]++;
    report_heading(b->r, 1, "Summary");
    report_text(
        b->r, REPORT_TEXT,
        "%zu token positions of %zu types were traced through %zu MoE layers of %zu experts, "
        "%zu a token. Zipf's law fits the types with exponent %.3f (R2 %.3f on the "
        "log-log scale).",
        a->positions, a->types, a->layers, a->experts, a->top_k, a->zipf.beta, a->zipf.r2);
    report_text(b->r, REPORT_TEXT,
                "The re-weighted utilization with alpha = %g %s. The head, middle and tail of the "
                "ranks (thirds of the logarithmic axis) have %.1f, %.1f and %.1f %% of it.",
                a->settings.alpha, direction_word(a->direction), 100 * a->share[0],
                100 * a->share[1], 100 * a->share[2]);
    report_text(
        b->r, REPORT_TEXT,
        "Significance is spread widely (pattern 1) in %zu layers and narrowly (pattern 2) in "
        "%zu; %zu of %zu experts are in the high class.",
        patterns[0], patterns[1], high, all);
    if (!p)
        return;
    str_bytes(before, sizeof before, p->summary.bytes_before);
    str_bytes(after, sizeof after, p->summary.bytes_after);
    report_text(
        b->r, REPORT_TEXT,
        "The plan (%s) gives the experts %.3f bits a weight on average, %.3f with scales and "
        "channels: %s instead of %s. Its predicted loss is %.3g times that of all experts at "
        "4 bits.",
        p->method, p->summary.nominal_bits, p->summary.effective_bits, after, before,
        b->s->predicted_loss);
}

static void fact(struct report_builder *b, const char *name, const char *value)
{
    report_cell(b->r, "%s", name);
    report_cell(b->r, "%s", value);
}

static void add_sources(struct report_builder *b)
{
    const struct trace *t = b->s->trace;
    const struct model_config *c = b->s->config;
    char text[TEXT];
    report_heading(b->r, 1, "Trace and model");
    report_table(b->r, "", "ll", "what\tvalue");
    fact(b, "trace", b->s->trace_path);
    fact(b, "SHA-256 of the trace", b->s->trace_sha256);
    fact(b, "made by", t->creator[0] ? t->creator : "not said");
    fact(b, "text", t->dataset[0] ? t->dataset : "not named");
    snprintf(text, sizeof text, "%zu in %zu windows of up to %zu", t->positions, t->windows,
             t->window);
    fact(b, "token positions", text);
    snprintf(text, sizeof text, "%zu of a vocabulary of %zu", b->a->types, t->vocab);
    fact(b, "token types", text);
    fact(b, "model", t->model_name[0] ? t->model_name : "not named");
    fact(b, "model type", t->model_type[0] ? t->model_type : "not named");
    snprintf(text, sizeof text, "%zu MoE layers of %zu routed experts, %zu a token, %zu shared",
             t->layers, t->experts, t->top_k, t->shared_experts);
    fact(b, "experts", text);
    if (c) {
        fact(b, "checkpoint", b->s->model_dir);
        fact(b, "SHA-256 of its configuration", c->sha256);
        snprintf(text, sizeof text, "%zu hidden, %zu inside an expert", c->hidden, c->expert_size);
        fact(b, "sizes", text);
    }
    report_text(b->r, REPORT_TEXT, "The numbers of this report come from:");
    report_text(b->r, REPORT_CODE, "%s", b->s->command);
    if (b->s->plan_command) {
        report_text(b->r, REPORT_TEXT, "The plan is written by:");
        report_text(b->r, REPORT_CODE, "%s", b->s->plan_command);
    }
}

static void add_settings(struct report_builder *b)
{
    struct settings standard;
    settings_defaults(&standard);
    report_heading(b->r, 1, "Settings");
    report_table(b->r, "A star marks what differs from the default.", "lrrl",
                 "setting\tvalue\tdefault\tmeaning");
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char value[64], usual[64];
        settings_get(&b->a->settings, info, value, sizeof value);
        settings_get(&standard, info, usual, sizeof usual);
        report_cell(b->r, "%s", info->name);
        report_cell(b->r, "%s%s", value, strcmp(value, usual) ? " *" : "");
        report_cell(b->r, "%s", usual);
        report_cell(b->r, "%s", info->help);
    }
}

/* --- From tokens to experts --- */

static int add_tokens(struct report_builder *b)
{
    report_heading(b->r, 1, "Tokens: Zipf's law and re-weighting");
    report_figures(b->r, 2);
    int rc = report_add_figure(b, "zipf", 0);
    return rc == 0 ? report_add_figure(b, "utilization", 0) : rc;
}

static size_t in_group(const struct report_builder *b, const struct analysis_layer *l, size_t group)
{
    size_t n = 0;
    for (size_t e = 0; e < b->a->experts; e++)
        n += l->group[e] == group;
    return n;
}

static void split_cell(struct report_builder *b, const struct analysis_layer *l)
{
    char text[TEXT] = "-";
    size_t used = 0;
    if (l->rule == RULE_THRESHOLD)
        snprintf(text, sizeof text, "%.4f", l->threshold);
    for (size_t i = 0; l->rule == RULE_JENKS && i < l->breaks && used < sizeof text; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.4f", i ? " " : "",
                                 l->break_at[i]);
    report_cell(b->r, "%s", text);
}

static void correlation_cell(struct report_builder *b, size_t layer)
{
    size_t n = b->a->experts;
    double value;
    if (cosine_correlation(&value, b->s->figures.cosine + layer * n * n,
                           b->a->layer[layer].significance, n))
        report_cell(b->r, "%+.3f", value);
    else
        report_cell(b->r, "-");
}

static void add_layer_table(struct report_builder *b)
{
    bool cosine = b->s->figures.cosine != NULL;
    report_table(
        b->r,
        "Significance of the experts by layer. CV = \u03c3 / \u03bc; A*: Anderson-Darling "
        "against a Gaussian, with its p; at: threshold or breaks; GVF: goodness of variance "
        "fit of the breaks.",
        cosine ? "rrrrrrrllrrr" : "rrrrrrrllrr",
        cosine ? "layer\t\u03bc\t\u03c3\tCV\tA*\tp\tpattern\trule\tat\tGVF\thigh\tr(|dS|,cos)"
               : "layer\t\u03bc\t\u03c3\tCV\tA*\tp\tpattern\trule\tat\tGVF\thigh");
    for (size_t i = 0; i < b->a->layers; i++) {
        const struct analysis_layer *l = &b->a->layer[i];
        report_cell(b->r, "%zu", l->layer);
        report_cell(b->r, "%.4f", l->mu);
        report_cell(b->r, "%.4f", l->sigma);
        report_cell(b->r, "%.3f", l->mu != 0 ? l->sigma / l->mu : 0.0);
        if (l->anderson_darling_valid) {
            report_cell(b->r, "%.3f", l->anderson_darling);
            report_cell(b->r, l->anderson_darling_p < 0.001 ? "<0.001" : "%.3f",
                        l->anderson_darling_p);
        } else {
            report_cell(b->r, "-");
            report_cell(b->r, "-");
        }
        report_cell(b->r, "%zu", l->pattern);
        report_cell(b->r, "%s", l->rule == RULE_JENKS ? "jenks" : "threshold");
        split_cell(b, l);
        report_cell(b->r, "%.3f", l->gvf);
        report_cell(b->r, "%zu of %zu", in_group(b, l, 1), b->a->experts);
        if (cosine)
            correlation_cell(b, i);
    }
}

static void expert_list(char *out, size_t size, const struct report_builder *b, const size_t *order,
                        const double *s, bool lowest)
{
    size_t n = b->a->experts < EXPERTS_SHOWN ? b->a->experts : EXPERTS_SHOWN, used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < n && used < size; i++) {
        size_t e = order[lowest ? b->a->experts - 1 - i : i];
        used += (size_t)snprintf(out + used, size - used, "%s%zu (%.3f)", i ? ", " : "", e, s[e]);
    }
}

static int add_extremes(struct report_builder *b)
{
    size_t *order = mem_array(b->a->experts, sizeof *order, b->err);
    char text[TEXT];
    if (!order)
        return ERR_NOMEM;
    report_table(b->r, "The most and the least significant experts of each layer, with S.", "rll",
                 "layer\thighest\tlowest");
    for (size_t i = 0; i < b->a->layers; i++) {
        const double *s = b->a->layer[i].significance;
        figures_rank(order, s, b->a->experts);
        report_cell(b->r, "%zu", b->a->layer[i].layer);
        expert_list(text, sizeof text, b, order, s, false);
        report_cell(b->r, "%s", text);
        expert_list(text, sizeof text, b, order, s, true);
        report_cell(b->r, "%s", text);
    }
    free(order);
    return 0;
}

static void say_which_layers(struct report_builder *b, size_t shown)
{
    if (b->a->layers > shown)
        report_text(b->r, REPORT_NOTE, "%zu of %zu layers are drawn, evenly spaced.", shown,
                    b->a->layers);
}

static int add_experts(struct report_builder *b)
{
    report_heading(b->r, 1, "Experts: the ranks they serve");
    say_which_layers(b, LAYERS_SHOWN);
    int rc = add_layer_figures(b, "mapping", LAYERS_SHOWN, 2);
    report_heading(b->r, 1, "Experts: significance");
    add_layer_table(b);
    if (rc == 0)
        rc = add_extremes(b);
    say_which_layers(b, SPREADS_MAX);
    return rc == 0 ? add_layer_figures(b, "significance", SPREADS_MAX, 3) : rc;
}

static int add_similarity(struct report_builder *b)
{
    if (!b->s->figures.cosine)
        return 0;
    report_heading(b->r, 1, "Experts: similarity of their weights");
    say_which_layers(b, LAYERS_SHOWN);
    int rc = add_layer_figures(b, "similarity", LAYERS_SHOWN, 2);
    return rc == 0 ? add_layer_figures(b, "difference", LAYERS_SHOWN, 2) : rc;
}

int report_build(struct report *out, const struct report_source *s, struct err *err)
{
    char title[2 * TEXT], subtitle[2 * TEXT];
    struct report_builder b = {out, s, analysis_result(s->figures.analysis), err};
    *out = (struct report){0};
    snprintf(title, sizeof title, "%s: experts and bits",
             s->trace->model_name[0] ? s->trace->model_name : "MoE model");
    snprintf(subtitle, sizeof subtitle, "What the experts are used for, measured on %s",
             s->trace->dataset[0] ? s->trace->dataset : s->trace_path);
    report_title(out, s->title ? s->title : title, subtitle);
    add_summary(&b);
    int rc = add_tokens(&b);
    if (rc == 0)
        rc = add_experts(&b);
    if (rc == 0)
        rc = add_similarity(&b);
    if (rc == 0)
        rc = report_add_plan(&b);
    if (rc == 0)
        rc = report_add_budgets(&b);
    if (rc == 0)
        rc = report_add_runs(&b);
    add_sources(&b);
    add_settings(&b);
    if (rc == 0 && out->failed)
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the report");
    if (rc < 0)
        report_release(out);
    return rc;
}
