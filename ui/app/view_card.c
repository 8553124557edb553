#include "ui/app/view_card.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/view_parts.h"

enum { COMMONEST = 50 };

/* --- An expert --- */

static size_t place_by_significance(const struct app *a, const struct analysis_layer *l)
{
    size_t place = 1;
    for (size_t e = 0; e < a->result->experts; e++)
        place += l->significance[e] > l->significance[a->expert];
    return place;
}

static const char *rule_cause(const struct app *a)
{
    if (a->layer < SETTINGS_LAYERS_MAX && a->document.settings.layer[a->layer].has_rule)
        return "the layer's own rule";
    return a->document.settings.rule == RULE_AUTO ? "the rule of its pattern" : "the rule set";
}

/* Between which lines its significance lies. */
static void group_reason(struct card *k, const struct app *a, const struct analysis_layer *l)
{
    double s = l->significance[a->expert];
    size_t group = l->group[a->expert];
    if (l->rule == RULE_THRESHOLD) {
        card_fact(k, "why", STYLE_DEFAULT, "S %s T = %.5f",
                  s >= l->threshold ? view_word(a, "\u2265", ">=") : "<", l->threshold);
        card_fact(k, "by", STYLE_DEFAULT, "threshold, %s", rule_cause(a));
        return;
    }
    if (l->breaks == 0)
        card_fact(k, "why", STYLE_DEFAULT, "all of the layer are equal");
    else if (group == 1)
        card_fact(k, "why", STYLE_DEFAULT, "S > %.5f", l->break_at[l->breaks - 1]);
    else if (group == l->breaks + 1)
        card_fact(k, "why", STYLE_DEFAULT, "S %s %.5f", view_word(a, "\u2264", "<="),
                  l->break_at[0]);
    else
        card_fact(k, "why", STYLE_DEFAULT, "%.5f < S %s %.5f", l->break_at[l->breaks - group],
                  view_word(a, "\u2264", "<="), l->break_at[l->breaks - group + 1]);
    card_fact(k, "by", STYLE_DEFAULT, "Jenks, %s", rule_cause(a));
}

static void bits_facts(struct card *k, const struct app *a)
{
    uint8_t pin = app_pin(a, a->layer, a->expert);
    if (!a->has_plan && !a->has_widths) {
        card_fact(k, "bits", STYLE_TEXT_DIM, "need --model");
        return;
    }
    const struct plan_expert *x = &a->plan.layers[a->layer].experts[a->expert];
    char bits[64];
    figures_bits_text(bits, sizeof bits, x);
    card_fact(k, "bits", (uint16_t)(STYLE_BITS + x->bits), "%s", bits);
    if (pin)
        card_fact(k, "pin", STYLE_PIN, "%u, whatever the group", pin);
    else
        card_fact(k, "pin", STYLE_TEXT_DIM, "none; p pins");
    if (plan_expert_has_channels(x)) {
        char channels[96];
        figures_channels_text(channels, sizeof channels, x);
        card_fact(k, "channels at more bits", STYLE_DEFAULT, "%s", channels);
    }
}

/* What each of its linears adds to the predicted rise at every width; those of the plan in its
 * colour. */
static void losses_facts(struct card *k, const struct app *a)
{
    const struct losses *l = a->front.losses;
    if (!l || !a->has_plan)
        return;
    const struct plan_expert *x = &a->plan.layers[a->layer].experts[a->expert];
    const struct losses_layer *m = &l->layers[a->layer];
    card_heading(k, "Predicted rise: gate, up, down");
    for (size_t w = 0; w < l->widths_count; w++) {
        char name[24], text[96] = "";
        size_t used = 0;
        bool chosen = false;
        for (int i = 0; i < PLAN_LINEARS; i++) {
            bool here = plan_expert_bits(x, (enum plan_linear)i) == l->widths[w];
            double rise = m->experts[a->expert].loss[i][w] * m->sensitivity;
            used += (size_t)snprintf(text + used, sizeof text - used, "%s%.1e%s", i ? "  " : "",
                                     rise, here ? "*" : " ");
            chosen = chosen || here;
        }
        snprintf(name, sizeof name, "%u bits", l->widths[w]);
        card_fact(k, name, chosen ? (uint16_t)(STYLE_BITS + l->widths[w]) : STYLE_TEXT_DIM, "%s",
                  text);
    }
}

static void nearest_fact(struct card *k, const struct app *a)
{
    size_t n = a->result->experts, best = n;
    if (!a->options->host.cosine) {
        card_fact(k, "nearest by cosine", STYLE_TEXT_DIM, "needs --model");
        return;
    }
    if (a->cosine_phase != APP_COSINE_READY || !a->cosine) {
        card_fact(k, "nearest by cosine", STYLE_TEXT_DIM, "4 computes it");
        return;
    }
    const double *row = a->cosine + (a->layer * n + a->expert) * n;
    for (size_t e = 0; e < n; e++)
        if (e != a->expert && (best == n || row[e] > row[best]))
            best = e;
    if (best < n)
        card_fact(k, "nearest by cosine", STYLE_DEFAULT, "E%zu, %.5f", best, row[best]);
}

/* Of the run of this session, else of the newest in the folder of the runs. NULL: neither has
 * come to this expert. *name: its folder. */
static const struct app_run_expert *last_run(const struct app *a, const char **name)
{
    const struct app_host *h = &a->options->host;
    struct app_run_losses x = {a->run.out, a->run.layers, a->run.experts, a->run.expert};
    size_t at = a->layer * a->result->experts + a->expert;
    for (int kept = 0; kept < 2; kept++) {
        bool same = x.layers == a->result->layers && x.experts == a->result->experts;
        if (x.expert && same && x.expert[at].done) {
            *name = x.name;
            return &x.expert[at];
        }
        if (!h->last_losses || !h->last_losses(h->context, &x))
            break;
    }
    return NULL;
}

static void run_facts(struct card *k, const struct app *a)
{
    const char *name;
    const struct app_run_expert *x = last_run(a, &name);
    if (!x)
        return;
    const char *slash = strrchr(name, '/');
    card_heading(k, "Last run: %s", slash && slash[1] ? slash + 1 : name);
    card_fact(k, "bits, tokens", STYLE_DEFAULT, "%u, %zu", x->bits, x->tokens);
    card_fact(k, "loss", STYLE_DEFAULT, "%.4g", x->loss);
    card_fact(k, "by rounding alone", STYLE_TEXT_DIM, "%.4g", x->loss_rtn);
    if (x->fallback)
        card_words(k, STYLE_WARN, "fell back to something simpler; the report says why");
}

static void interval_facts(struct card *k, const struct app *a, const struct analysis_layer *l)
{
    const struct analysis_interval *v = &l->interval[a->expert];
    card_heading(k, "Ranks of its tokens");
    if (!v->valid) {
        card_words(k, STYLE_WARN, "no type is routed here often enough to count");
        return;
    }
    card_fact(k, "lowest, highest", STYLE_DEFAULT, "%zu, %zu", v->lowest, v->highest);
    card_fact(k, "10 %, median, 90 %", STYLE_DEFAULT, "%zu, %zu, %zu", v->tenth, v->median,
              v->ninetieth);
}

static void commonest_items(struct card *k, const struct app *a, const struct analysis_layer *l)
{
    size_t ranks[COMMONEST];
    uint64_t counts[COMMONEST];
    double all = l->tokens[a->expert] ? (double)l->tokens[a->expert] : 1;
    size_t n = analysis_commonest(a->analysis, a->layer, a->expert, COMMONEST, ranks, counts);
    card_heading(k, "Commonest tokens: rank, times, share");
    for (size_t i = 0; i < n; i++) {
        char token[128], left[CARD_TEXT], right[64];
        app_token_text(a, a->result->rank_id[ranks[i] - 1], token, sizeof token);
        snprintf(left, sizeof left, "%4zu  %s", ranks[i], token);
        snprintf(right, sizeof right, "%llu %5.1f %%", (unsigned long long)counts[i],
                 100 * (double)counts[i] / all);
        card_item(k, a->token_rank == ranks[i] ? STYLE_ACCENT : STYLE_DEFAULT, left, right);
    }
}

void view_card_expert(struct card *k, const struct app *a)
{
    const struct analysis_layer *l = view_layer(a);
    size_t group = l->group[a->expert];
    double routed = (double)a->result->positions;
    char name[32];
    view_group_name(name, sizeof name, l, group);
    card_fact(k, "significance S", STYLE_ACCENT, "%.5f", l->significance[a->expert]);
    card_fact(k, "place in its layer", STYLE_DEFAULT, "%zu of %zu", place_by_significance(a, l),
              a->result->experts);
    card_fact(k, "group", view_group_colour(group), "%s", name);
    group_reason(k, a, l);
    bits_facts(k, a);
    card_fact(k, "tokens of calibration", STYLE_DEFAULT, "%zu, %.1f %%", l->tokens[a->expert],
              100 * (double)l->tokens[a->expert] / routed);
    nearest_fact(k, a);
    losses_facts(k, a);
    interval_facts(k, a, l);
    run_facts(k, a);
    commonest_items(k, a, l);
}

/* --- A token --- */

static void token_facts(struct card *k, const struct app *a)
{
    const struct analysis_result *r = a->result;
    size_t i = a->token_rank - 1;
    double count = (double)r->rank_count[i], expected = analysis_expected(a->analysis, i + 1);
    double share = count / (double)r->positions, whole = 0;
    for (size_t t = 0; t < r->types; t++)
        whole += r->reweighted[t];
    double after = whole > 0 ? r->reweighted[i] / whole : 0;
    card_fact(k, "id", STYLE_DEFAULT, "%u", (unsigned)r->rank_id[i]);
    card_fact(k, "rank", STYLE_ACCENT, "%zu of %zu", a->token_rank, r->types);
    card_fact(k, "occurs", STYLE_DEFAULT, "%llu time%s", (unsigned long long)r->rank_count[i],
              r->rank_count[i] == 1 ? "" : "s");
    card_fact(k, "Zipf expects", STYLE_DEFAULT, "%.*f times", expected < 100 ? 2 : 0, expected);
    card_fact(k, "share of the text", STYLE_DEFAULT, "%.4g %%", 100 * share);
    card_fact(k, "share re-weighted", STYLE_DEFAULT, "%.3g %%, %s%.2g", 100 * after,
              view_word(a, "\u00d7", "x"), share > 0 ? after / share : 0);
}

struct served {
    size_t *expert, n;
    uint64_t *count;
};

/* "E17:123 E3:80": as many as have room, most first. */
static void list_experts(char *out, size_t size, const struct served *s, size_t room)
{
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < s->n; i++) {
        char one[48];
        size_t length = (size_t)snprintf(one, sizeof one, "%sE%zu:%llu", i ? " " : "", s->expert[i],
                                         (unsigned long long)s->count[i]);
        if (used + length > room || used + length >= size)
            return;
        memcpy(out + used, one, length + 1);
        used += length;
    }
}

static void layer_items(struct card *k, const struct app *a, struct served *s)
{
    enum { HEAD = 8 };
    card_heading(k, "Layer, experts, those with most");
    for (size_t l = 0; l < a->result->layers; l++) {
        char number[24], left[CARD_TEXT], list[CARD_TEXT - 48];
        s->n = analysis_experts(a->analysis, l, a->token_rank, a->result->experts, s->expert,
                                s->count);
        list_experts(list, sizeof list, s, k->width > HEAD ? (size_t)k->width - HEAD : 0);
        snprintf(number, sizeof number, "L%zu", a->result->layer[l].layer);
        snprintf(left, sizeof left, "%-4s%3zu %s", number, s->n, list);
        bool here = l == a->layer;
        card_item(k, here ? STYLE_ACCENT : STYLE_DEFAULT, left, "")->marked = here;
        if (here) {
            k->has_focus = true;
            k->focus = k->count - 1;
        }
    }
}

/* All experts of the layer in view that serve it. */
static void full_items(struct card *k, const struct app *a, struct served *s)
{
    const struct analysis_layer *l = view_layer(a);
    double occurs = (double)a->result->rank_count[a->token_rank - 1];
    s->n = analysis_experts(a->analysis, a->layer, a->token_rank, a->result->experts, s->expert,
                            s->count);
    card_heading(k, "All of layer %zu: times, share", l->layer);
    for (size_t i = 0; i < s->n; i++) {
        char group[32], left[64], right[64];
        view_group_name(group, sizeof group, l, l->group[s->expert[i]]);
        snprintf(left, sizeof left, "E%-4zu %s", s->expert[i], group);
        snprintf(right, sizeof right, "%llu %5.1f %%", (unsigned long long)s->count[i],
                 100 * (double)s->count[i] / occurs);
        card_item(k, view_group_colour(l->group[s->expert[i]]), left, right);
    }
    if (s->n == 0)
        card_words(k, STYLE_TEXT_DIM, "no expert: its positions were not routed here");
}

void view_card_token(struct card *k, const struct app *a)
{
    size_t n = a->result->experts;
    struct served s = {.expert = mem_array(n, sizeof *s.expert, NULL),
                       .count = mem_array(n, sizeof *s.count, NULL)};
    token_facts(k, a);
    if (s.expert && s.count) {
        layer_items(k, a, &s);
        full_items(k, a, &s);
    }
    free(s.expert);
    free(s.count);
}
