#include "ui/report/report_parts.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include "data/base/str.h"

enum { TEXT = 256 };

static const unsigned widths[] = {2, 3, 4, 8, 16};
enum { WIDTHS = sizeof widths / sizeof *widths };

/* What has which width in a layer of the plan: experts, or their linears where these may differ. */
struct width_count {
    size_t of[WIDTHS], all, bits, pinned, channels;
};

static struct width_count count_widths(const struct plan *p, const struct plan_layer *layer,
                                       bool mixed)
{
    struct width_count n = {0};
    for (size_t e = 0; e < p->experts; e++) {
        const struct plan_expert *x = &layer->experts[e];
        n.pinned += x->pinned;
        for (int k = 0; k < PLAN_LINEARS; k++)
            n.channels += x->channels[k];
        for (int k = 0; k < (mixed ? PLAN_LINEARS : 1); k++) {
            unsigned bits = plan_expert_bits(x, (enum plan_linear)k);
            for (size_t i = 0; i < WIDTHS; i++)
                n.of[i] += bits == widths[i];
            n.bits += bits;
            n.all++;
        }
    }
    return n;
}

static void add_plan_table(struct report_builder *b)
{
    const struct plan *p = b->s->figures.plan;
    bool mixed = plan_is_mixed(p);
    report_table(b->r,
                 mixed ? "Linears of each width (gate, up and down of every expert), and inputs "
                         "kept at more bits (channels)."
                       : "Experts of each width, and inputs kept at more bits (channels).",
                 "rrrrrrrrr",
                 "layer\t2 bits\t3 bits\t4 bits\t8 bits\t16 bits\taverage\tpinned\tchannels");
    for (size_t l = 0; l < p->layers_count; l++) {
        struct width_count n = count_widths(p, &p->layers[l], mixed);
        report_cell(b->r, "%zu", p->layers[l].layer);
        for (size_t i = 0; i < WIDTHS; i++)
            report_cell(b->r, "%zu", n.of[i]);
        report_cell(b->r, "%.3f", (double)n.bits / (double)n.all);
        report_cell(b->r, "%zu", n.pinned);
        report_cell(b->r, "%zu", n.channels);
    }
}

/* Settings of the command line over the plan's: the report is of these, the plan is not. A method
 * but MoQa's has set the channels and the shared experts itself. */
static void add_other_settings(struct report_builder *b)
{
    const struct plan *p = b->s->figures.plan;
    bool moqa = strcmp(p->method, "moqa") == 0;
    struct str others = {0};
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char plan[64], here[64];
        settings_get(&p->settings, info, plan, sizeof plan);
        settings_get(&b->a->settings, info, here, sizeof here);
        bool own = !moqa && (info->offset == offsetof(struct settings, beta_ch) ||
                             info->offset == offsetof(struct settings, bits_shared));
        if (!own && strcmp(plan, here) != 0)
            str_appendf(&others, "%s%s = %s (here %s)", others.length ? ", " : "", info->name, plan,
                        here);
    }
    if (others.length)
        report_text(b->r, REPORT_TEXT, "The plan was made with other settings: %s.",
                    str_get(&others));
    str_release(&others);
}

int report_add_plan(struct report_builder *b)
{
    const struct plan *p = b->s->figures.plan;
    char before[32], after[32];
    if (!p)
        return 0;
    str_bytes(before, sizeof before, p->summary.bytes_before);
    str_bytes(after, sizeof after, p->summary.bytes_after);
    report_heading(b->r, 1, "Plan");
    report_table(b->r, "", "lrrrrr",
                 "method\tnominal bits\teffective bits\tbefore\tafter\tpredicted loss");
    report_cell(b->r, "%s", p->method);
    report_cell(b->r, "%.4f", p->summary.nominal_bits);
    report_cell(b->r, "%.4f", p->summary.effective_bits);
    report_cell(b->r, "%s", before);
    report_cell(b->r, "%s", after);
    report_cell(b->r, "%.4g x INT4's", b->s->predicted_loss);
    add_other_settings(b);
    report_figures(b->r, 1);
    int rc = report_add_figure(b, "bits", 0);
    add_plan_table(b);
    return rc;
}

/* A dash where there is none. */
static void number_cell(struct report_builder *b, double value)
{
    if (isfinite(value))
        report_cell(b->r, "%.4g", value);
    else
        report_cell(b->r, "-");
}

int report_add_budgets(struct report_builder *b)
{
    const struct figure_front *front = b->s->figures.front;
    if (!front)
        return 0;
    report_heading(b->r, 1, "Budgets");
    report_text(b->r, REPORT_TEXT,
                "What plans lose by the measured losses of every linear layer at every width: the "
                "predicted rise of the mean negative log-likelihood, beside the least that any "
                "plan of the same bits loses, and the bits that the best plan of the same loss "
                "has.");
    report_table(b->r, "", "lrrrr",
                 "plan\tbits\tpredicted rise\tleast at these bits\tleast bits for it");
    for (size_t i = 0; i < front->marks; i++) {
        const struct figure_mark *m = &front->mark[i];
        char name[64];
        figures_mark_name(name, sizeof name, m);
        report_cell(b->r, "%s", name);
        report_cell(b->r, "%.4f", m->bits);
        number_cell(b, m->rise);
        number_cell(b, budget_front_rise(front->curve, m->bits));
        number_cell(b, budget_front_bits(front->curve, m->rise));
    }
    report_figures(b->r, 1);
    return report_add_figure(b, "front", 0);
}

static void add_run_table(struct report_builder *b, const struct figure_results *r)
{
    char size[32];
    report_table(b->r, "", "llrrr", "run\tmethod\tnominal bits\teffective bits\tsize");
    for (size_t i = 0; i < r->runs; i++) {
        const struct figure_run *run = &r->run[i];
        report_cell(b->r, "%s", run->name);
        report_cell(b->r, "%s", run->method ? run->method : "-");
        report_cell(b->r, "%.4f", run->nominal_bits);
        report_cell(b->r, "%.4f", run->effective_bits);
        str_bytes(size, sizeof size, run->bytes);
        report_cell(b->r, "%s", run->bytes ? size : "-");
    }
}

/* The original's perplexity, or 0. */
static double original_on(const struct figure_results *r)
{
    for (size_t i = 0; r->is_known && i < r->runs; i++)
        if (r->run[i].method && strcmp(r->run[i].method, "original") == 0 &&
            r->run[i].has_perplexity)
            return r->run[i].perplexity;
    return 0;
}

/* What was measured on a text. */
static int add_text(struct report_builder *b, size_t text)
{
    const struct figure_results *r = &b->s->figures.results[text];
    double original = original_on(r);
    char title[2 * TEXT];
    snprintf(title, sizeof title, "Perplexity on %s", r->text);
    report_heading(b->r, 2, title);
    report_table(b->r, "", "llrrr", "run\tmethod\tnominal bits\tperplexity\tagainst the original");
    for (size_t i = 0; i < r->runs; i++) {
        const struct figure_run *run = &r->run[i];
        if (!run->has_perplexity)
            continue;
        report_cell(b->r, "%s", run->name);
        report_cell(b->r, "%s", run->method ? run->method : "-");
        report_cell(b->r, "%.4f", run->nominal_bits);
        report_cell(b->r, "%.4f", run->perplexity);
        if (original > 0)
            report_cell(b->r, "%+.2f %%", 100 * (run->perplexity / original - 1));
        else
            report_cell(b->r, "-");
    }
    report_figures(b->r, 1);
    struct figure_source source = b->s->figures;
    source.text = text;
    return report_add_figure_of(b, "results", &source);
}

int report_add_runs(struct report_builder *b)
{
    const struct figure_source *f = &b->s->figures;
    int rc = 0;
    if (f->texts == 0)
        return 0;
    report_heading(b->r, 1, "Runs");
    add_run_table(b, &f->results[0]);
    for (size_t t = 0; rc == 0 && t < f->texts && f->results[t].text; t++)
        rc = add_text(b, t);
    return rc;
}
