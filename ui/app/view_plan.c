/* Screen 5: bits of every expert, what they cost, and the comparison of two plans (Fig. 6). */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "ui/app/view_front.h"
#include "ui/app/view_parts.h"

static const unsigned widths[] = {2, 3, 4, 8, 16};
enum { WIDTHS = sizeof widths / sizeof *widths };

/* "2 3 4 8 16 bits, underlined: pinned" in their colours. */
static void draw_legend(const struct app *a, struct cells *c, int x, int y, int end)
{
    for (size_t i = 0; i < WIDTHS; i++)
        x += cells_textf(c, x, y, end - x, STYLE(STYLE_BITS + widths[i]), "%u ", widths[i]);
    x += cells_text(c, x, y, end - x, "bits; ", STYLE(STYLE_TEXT_DIM));
    x += cells_text(c, x, y, end - x, "pinned",
                    (struct style){.fg = STYLE_PIN, .attr = STYLE_BOLD | STYLE_UNDERLINE});
    x += cells_text(c, x, y, end - x, " by p", STYLE(STYLE_TEXT_DIM));
    bool uneven = plan_is_mixed(&a->plan);
    bool channels = a->has_plan && a->plan.settings.beta_ch > 0;
    const char *more = uneven     ? "; ' gate, up and down differ, + shows them"
                       : channels ? "; high ones have channels at more bits"
                                  : "";
    if (uneven && x + cells_width(more) > end)
        more = "; ' mixed";
    if (x + cells_width(more) <= end)
        cells_text(c, x, y, end - x, more, STYLE(STYLE_TEXT_DIM));
}

/* Average bits of the experts of each layer. */
static void draw_averages(struct app *a, struct cells *c, struct rect r)
{
    const struct plan *p = &a->plan;
    double *average = mem_array(p->layers_count, sizeof *average, NULL);
    for (size_t l = 0; average && l < p->layers_count; l++) {
        size_t sum = 0;
        for (size_t e = 0; e < p->experts; e++)
            for (int k = 0; k < PLAN_LINEARS; k++)
                sum += plan_expert_bits(&p->layers[l].experts[e], (enum plan_linear)k);
        average[l] = (double)sum / (double)(PLAN_LINEARS * p->experts);
    }
    if (average)
        view_layer_bars(a, c, r, "bits of an expert, on average", average, p->layers_count);
    free(average);
}

/* Grid and front one above the other, where both have room; else one of them. */
static void split(struct app *a, struct rect r, struct rect *grid, struct rect *front)
{
    enum { HEAD = 2, LEGEND = 2, FRONT_MIN = 8 };
    bool measured = a->front.losses || app_budget_measuring(a);
    int rows = (int)a->plan.layers_count + HEAD + LEGEND;
    *grid = a->other_chart[a->view] ? (struct rect){0} : r;
    *front = a->other_chart[a->view] ? r : (struct rect){0};
    a->charts_together = measured && r.h - rows >= FRONT_MIN;
    if (!a->charts_together)
        return;
    *grid = (struct rect){r.x, r.y, r.w, rows};
    *front = view_below(r, (size_t)rows);
}

/* Without a model: what is missing and what gives it, and below the widths, which need none; alone
 * where `v` says so. */
static void draw_widths(struct app *a, struct cells *c, struct rect r)
{
    enum { HEAD = 2, LEGEND = 2, GRID_MIN = 5 };
    if (!a->other_chart[a->view]) {
        int rows = view_needs_model(a, c, rect_inset(r, 2, 0, 2, 0),
                                    "No model was given: these are the widths that the rule gives. "
                                    "Channels, sizes, budgets and writing a plan need its shapes.");
        r = view_below(r, (size_t)rows + 1);
    }
    if (!a->has_widths || r.h < GRID_MIN)
        return;
    int grid = (int)a->plan.layers_count + HEAD;
    if (r.h >= grid + LEGEND)
        draw_legend(a, c, r.x + 1, r.y + grid + LEGEND - 1, r.x + r.w);
    view_bits(a, c, (struct rect){r.x, r.y, r.w, r.h < grid ? r.h : grid});
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    enum { LEGEND_FROM = 7, HEAD = 3 };
    struct rect front;
    a->other_map = (struct chart_map){0};
    if (!a->has_plan) {
        draw_widths(a, c, r);
        return;
    }
    split(a, r, &r, &front);
    if (!rect_empty(front))
        view_front_draw(a, c, front);
    if (rect_empty(r))
        return;
    if (r.h >= LEGEND_FROM) {
        draw_legend(a, c, r.x + 1, r.y + r.h - 1, r.x + r.w);
        r.h -= 2;
    }
    view_bits(a, c, r);
    if (a->zoom == 0)
        draw_averages(a, c, view_below(r, a->plan.layers_count + HEAD));
}

/* "109 at 2, 83 at 4 bits"; "2: 109  4: 83" where that is too long. */
static void width_text(char *out, size_t size, const size_t *count, int room)
{
    size_t used = 0;
    for (size_t i = 0; i < WIDTHS && used < size; i++)
        if (count[i])
            used += (size_t)snprintf(out + used, size - used, "%s%zu at %u", used ? ", " : "",
                                     count[i], widths[i]);
    if (used < size)
        snprintf(out + used, size - used, " bits");
    if (cells_width(out) <= room)
        return;
    used = 0;
    for (size_t i = 0; i < WIDTHS && used < size; i++)
        if (count[i])
            used += (size_t)snprintf(out + used, size - used, "%s%u: %zu", used ? "  " : "",
                                     widths[i], count[i]);
}

static void width_facts(struct view_facts *f)
{
    enum { NAME = 10 }; /* columns of the name and the gaps */
    const struct plan *p = &f->a->plan;
    bool uneven = plan_is_mixed(p);
    size_t count[WIDTHS] = {0}, pinned = 0;
    char text[96] = "";
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++) {
            const struct plan_expert *x = &p->layers[l].experts[e];
            for (int k = 0; k < (uneven ? PLAN_LINEARS : 1); k++)
                for (size_t i = 0; i < WIDTHS; i++)
                    count[i] += plan_expert_bits(x, (enum plan_linear)k) == widths[i];
            pinned += x->pinned;
        }
    width_text(text, sizeof text, count, f->r.w - NAME);
    view_fact(f, uneven ? "linears" : "experts", STYLE_DEFAULT, "%s", text);
    view_fact(f, "pinned", pinned ? STYLE_PIN : STYLE_TEXT_DIM, "%zu", pinned);
}

static void size_facts(struct view_facts *f)
{
    const struct plan *p = &f->a->plan;
    char before[32], after[32];
    str_bytes(before, sizeof before, p->summary.bytes_before);
    str_bytes(after, sizeof after, p->summary.bytes_after);
    view_fact(f, "nominal bits", STYLE_ACCENT, "%.4f", p->summary.nominal_bits);
    view_fact(f, "effective bits", STYLE_DEFAULT, "%.4f", p->summary.effective_bits);
    view_fact(f, "experts alone", STYLE_DEFAULT, "%s %s %s", before,
              view_word(f->a, "\u2192", "->"), after);
    double change = f->a->loss - f->a->loss_before;
    uint16_t colour = change > 0 ? STYLE_WARN : STYLE_GOOD;
    view_front_facts(f);
    if (f->a->front.known)
        return;
    if (fabs(change) < 5e-4)
        view_fact(f, "predicted loss", STYLE_DEFAULT, "%.4g x INT4's", f->a->loss);
    else if (fabs(change) < 0.01) /* as long as fits in 80 columns */
        view_fact(f, "predicted loss", colour, "%.3g x INT4, %+.3f", f->a->loss, change);
    else
        view_fact(f, "predicted loss", colour, "%.3g x INT4, %+.2g", f->a->loss, change);
}

/* What the plan on the screen costs more (+) or less (-) than a snapshot. */
static void snapshot_facts(struct view_facts *f, size_t which)
{
    const struct app_snapshot *s = &f->a->snapshot[which];
    const struct plan *p = &f->a->plan;
    size_t n = p->layers_count * p->experts, differ = 0;
    double bytes = (double)p->summary.bytes_after - (double)s->bytes;
    char name[32], size[32];
    snprintf(name, sizeof name, "against %c", "AB"[which]);
    for (size_t i = 0; i < n; i++)
        differ += app_snapshot_differs(s, f->a, i);
    str_bytes(size, sizeof size, (uint64_t)fabs(bytes));
    view_fact(f, name, differ ? STYLE_ACCENT : STYLE_DEFAULT, "%+.4f bits, %c%s",
              p->summary.nominal_bits - s->nominal_bits, bytes < 0 ? '-' : '+', size);
    view_fact(f, "", differ ? STYLE_ACCENT : STYLE_TEXT_DIM, "%zu of %zu experts differ", differ,
              n);
}

static void waiting_fact(struct view_facts *f, size_t which)
{
    char name[32];
    snprintf(name, sizeof name, "against %c", "AB"[which]);
    view_fact(f, name, STYLE_WARN, "needs %s", f->a->snapshot[which].waits);
}

static bool has_snapshot(const struct app *a, size_t which)
{
    return a->snapshot[which].taken || a->snapshot[which].waits;
}

static void expert_facts(struct view_facts *f)
{
    const struct plan_layer *l = &f->a->plan.layers[f->a->layer];
    const struct plan_expert *x = &l->experts[f->a->expert];
    char name[32], bits[64], channels[96];
    view_expert_facts(f);
    figures_bits_text(bits, sizeof bits, x);
    view_fact(f, "bits", (uint16_t)(STYLE_BITS + x->bits), "%s%s", bits,
              x->pinned ? ", pinned" : "");
    if (f->a->document.budget.on && !plan_has_channels(&f->a->plan))
        return;
    snprintf(name, sizeof name, "%u-bit channels", f->a->plan.settings.bits_channel);
    figures_channels_text(channels, sizeof channels, x);
    view_fact(f, name, STYLE_DEFAULT, "%s", channels);
}

/* Without a model. */
static void widths_facts(struct view_facts *f)
{
    const struct app *a = f->a;
    if (!a->has_widths)
        return;
    const struct plan_expert *x = &a->plan.layers[a->layer].experts[a->expert];
    view_fact(f, "bits, routed experts", STYLE_ACCENT, "%.4f", a->plan.summary.nominal_bits);
    view_fact(f, "channels, sizes", STYLE_TEXT_DIM, "need --model");
    width_facts(f);
    view_expert_facts(f);
    view_fact(f, "bits", (uint16_t)(STYLE_BITS + x->bits), "%u%s", x->bits,
              x->pinned ? ", pinned" : "");
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    struct view_facts f = {a, c, r, 0};
    if (!a->has_plan) {
        widths_facts(&f);
        return f.row;
    }
    size_facts(&f);
    width_facts(&f);
    for (size_t i = 0; i < 2; i++)
        if (a->snapshot[i].taken)
            snapshot_facts(&f, i);
        else if (a->snapshot[i].waits)
            waiting_fact(&f, i);
    if (!has_snapshot(a, 0) && !has_snapshot(a, 1))
        view_fact(&f, "compare", STYLE_TEXT_DIM, "by A, B, then c");
    expert_facts(&f);
    view_front_marks(&f);
    return f.row;
}

static void mouse(struct app *a, const struct term_event *e)
{
    if (!view_front_mouse(a, e))
        view_grid_mouse(a, e);
}

static void switch_budget(struct app *a, int argument)
{
    (void)argument;
    app_budget_switch(a);
}

static void measure(struct app *a, int argument)
{
    (void)argument;
    app_budget_measure(a);
}

static const struct app_key keys[] = {
    {{{'b', 0}}, "budget", "plan within a budget, or by MoQa's rule again", switch_budget},
    {{{'v', 0}},
     "front",
     "widths or the front of budgets, where only one has room",
     view_other_chart},
    {{{'M', 0}}, NULL, "measure the losses that budgets need, or go on with that", measure},
    VIEW_KEY_LAYER,
    VIEW_KEY_EXPERT(APP_KEYS_ACROSS),
    {{{0, 0}}, NULL, NULL, NULL},
};

static const uint32_t first[] = {'<', 'p', 'b', 'w', TERM_KEY_TAB, TERM_KEY_LEFT, 'x', 'A', 'c', 0};

/* Budgets, files and runs need the model. */
static bool offers(const struct app *a, uint32_t code)
{
    return a->options->config || (code != 'b' && code != 'w' && code != 'x');
}

static const char *const sliders[] = {"bits_high",        "bits_low",   "bits_shared", "beta_ch",
                                      "bits_channel",     "norm",       "rule",        "classes",
                                      "threshold_sigmas", "group_size", NULL};

const struct view view_plan = {
    .name = "Plan",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .offers = offers,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
