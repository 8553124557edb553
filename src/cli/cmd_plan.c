#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/planner.h"
#include "analysis/predict.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/cli/cli.h"
#include "src/cli/cli_output.h"
#include "src/session.h"

struct arguments {
    const char *trace, *model, *method, *out, *losses, *grain;
    struct cli_list pins;
    struct cli_count bytes;
    struct cli_real bits, sensitivity, significance;
    bool dry_run, json, front;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder of the traced model"},
    {"method", 'M', "METHOD", CLI_TEXT, offsetof(struct arguments, method), false,
     "moqa (default), gptq-B, rtn-B with B = 2, 3, 4 or 8, moeptq-r (with --bits), budget (with "
     "--losses and --bits), fp16; first-layers, frequent, outlier, importance (with --bits, the "
     "last two with --losses)"},
    {"bits", 'b', "AVERAGE", CLI_REAL, offsetof(struct arguments, bits), false,
     "average bits a weight: of all experts for budget, of the routed ones for the others that "
     "take it"},
    {"bytes", 0, "N", CLI_COUNT, offsetof(struct arguments, bytes), false,
     "for budget instead of --bits: bytes of all experts in the moqa layout"},
    {"losses", 'l', "LOSSES", CLI_TEXT, offsetof(struct arguments, losses), false,
     "measured losses (moqa losses), which budget needs"},
    {"grain", 0, "GRAIN", CLI_TEXT, offsetof(struct arguments, grain), false,
     "budget: linear (default; gate, up and down may differ), expert, or channel (linears may also "
     "have mixed channels; needs losses --channels)"},
    {"sensitivity", 0, "P", CLI_REAL, offsetof(struct arguments, sensitivity), false,
     "budget: power of the layers' measured effect (0.75); 0: all layers alike"},
    {"significance", 0, "P", CLI_REAL, offsetof(struct arguments, significance), false,
     "budget: power of S_e over its layer's mean (0)"},
    {"pin", 0, "LAYER.EXPERT=BITS...", CLI_LIST, offsetof(struct arguments, pins), false,
     "fixed bits of single experts; LAYER counts the MoE layers from 0"},
    {"output", 'o', "PLAN", CLI_TEXT, offsetof(struct arguments, out), false,
     "file to write (JSON)"},
    {"dry-run", 0, NULL, CLI_FLAG, offsetof(struct arguments, dry_run), false,
     "only print the summary"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "the summary as JSON"},
    {"front", 0, NULL, CLI_FLAG, offsetof(struct arguments, front), false,
     "with --json and --losses: the front of all budgets, bits against predicted rise"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_plan_spec = {
    "plan",
    "Decides the bits of every expert and writes them with all settings as a plan.",
    "  moqa plan wiki.h5 --model OLMoE-1B-7B -o moqa.plan.json\n"
    "  moqa plan wiki.h5 --model DIR --method gptq-3 -o gptq3.plan.json\n"
    "  moqa plan wiki.h5 --model DIR --method moeptq-r --bits 3 --seed 1 -o random.plan.json\n"
    "  moqa plan wiki.h5 --model DIR --rule 3:jenks --pin 0.17=8 --dry-run\n",
    options,
    positional,
    true,
};

/* "2.17=4": layer 2 (among the MoE layers), expert 17, 4 bits. */
static int parse_pin(uint8_t *pins, const struct session *s, const char *text, struct err *err)
{
    size_t layer, expert, bits;
    char end;
    if (text[0] < '0' || text[0] > '9' ||
        sscanf(text, "%zu.%zu=%zu%c", &layer, &expert, &bits, &end) != 3)
        return err_set(err, ERR_USAGE, NULL, "--pin: found \"%s\", expected LAYER.EXPERT=BITS",
                       text);
    if (layer >= s->trace.layers || expert >= s->trace.experts)
        return err_set(err, ERR_USAGE, NULL,
                       "--pin: found \"%s\", expected a layer below %zu and an expert below %zu",
                       text, s->trace.layers, s->trace.experts);
    if (bits != 2 && bits != 3 && bits != 4 && bits != 8 && bits != 16)
        return err_set(err, ERR_USAGE, NULL, "--pin: found %zu bits, expected 2, 3, 4, 8 or 16",
                       bits);
    pins[layer * s->trace.experts + expert] = (uint8_t)bits;
    return 0;
}

static int parse_pins(uint8_t **out, const struct arguments *a, const struct session *s,
                      struct err *err)
{
    int rc = 0;
    *out = mem_array(s->trace.layers * s->trace.experts, 1, err);
    if (!*out)
        return ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < a->pins.count; i++)
        rc = parse_pin(*out, s, a->pins.items[i], err);
    return rc;
}

static int parse_grain(enum budget_grain *out, const char *name, struct err *err)
{
    return !name || budget_grain_find(out, name)
               ? 0
               : err_set(err, ERR_USAGE, NULL,
                         "--grain: found \"%s\", expected linear, expert or channel", name);
}

/* What is told beside the plan. */
struct outcome {
    struct allocate_result allocated;
    double loss;    /* analysis/predict.h */
    bool predicted; /* by measured losses: */
    double rise;
    struct budget_front front; /* of all budgets, where they are asked for */
};

/* The budget's own front: what else there was to have. */
static int make_front(struct outcome *out, const struct plan *plan, const struct losses *losses,
                      const struct planner_request *request, const struct session *s,
                      struct err *err)
{
    struct budget b = {0};
    struct budget_options o = request->budget;
    o.pins = request->pins.bits;
    o.bytes = request->budget_bytes > 0;
    int rc = losses_check_settings(losses, request->losses_path, &plan->settings, err);
    if (rc == 0)
        rc = budget_init(&b, plan, losses, &s->config, &o, err);
    if (rc == 0)
        rc = budget_front_make(&out->front, &b, losses, err);
    budget_release(&b);
    return rc;
}

static int make(struct plan *plan, struct outcome *out, const struct arguments *a,
                const struct session *s, struct err *err)
{
    uint8_t *pins = NULL;
    const char *slash = strrchr(a->trace, '/');
    struct losses losses = {0};
    int rc = parse_pins(&pins, a, s, err);
    struct planner_request request = {
        .method = a->method ? a->method : "moqa",
        .average_bits = a->bits.value,
        .pins = {pins},
        .trace_name = slash ? slash + 1 : a->trace,
        .trace_sha256 = s->trace_sha256,
        .budget_bytes = a->bytes.value,
        .losses = a->losses ? &losses : NULL,
        .losses_path = a->losses,
        .allocated = &out->allocated,
    };
    budget_defaults(&request.budget);
    request.budget.sensitivity = a->sensitivity.value;
    request.budget.significance = a->significance.value;
    if (rc == 0)
        rc = parse_grain(&request.budget.grain, a->grain, err);
    if (rc == 0 && a->losses)
        rc = losses_load(&losses, a->losses, err);
    if (rc == 0)
        rc = planner_make(plan, s->analysis, &request, &s->config, err);
    if (rc == 0 && a->losses)
        rc = losses_check_model(&losses, a->losses, &s->config, err);
    if (rc == 0 && a->losses)
        rc = losses_check_folder(&losses, a->losses, a->model, err);
    if (rc == 0 && a->losses)
        out->predicted = budget_predict(&out->rise, plan, &losses, &s->config);
    if (rc == 0 && a->front)
        rc = make_front(out, plan, &losses, &request, s, err);
    losses_release(&losses);
    free(pins);
    return rc;
}

static bool linears_differ(const struct plan *p)
{
    for (size_t i = 0; i < p->layers_count * p->experts; i++) {
        const struct plan_expert *x = &p->layers[i / p->experts].experts[i % p->experts];
        if (x->linear_bits[0] || x->channels[PLAN_GATE] != x->channels[PLAN_UP])
            return true;
    }
    return false;
}

/* Number of routed experts of a layer at each width, "12 x 4, 20 x 2"; of their linears where those
 * may differ. */
static void append_widths(struct str *text, const struct plan *p, size_t layer, bool linears)
{
    static const unsigned widths[] = {16, 8, 4, 3, 2};
    const char *separator = "";
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        size_t count = 0;
        for (size_t e = 0; e < p->experts; e++)
            for (int k = 0; k < (linears ? PLAN_LINEARS : 1); k++) {
                const struct plan_expert *x = &p->layers[layer].experts[e];
                unsigned bits = linears ? plan_expert_bits(x, (enum plan_linear)k) : x->bits;
                count += bits == widths[w];
            }
        if (count)
            str_appendf(text, "%s%zu x %u", separator, count, widths[w]);
        separator = count ? ", " : separator;
    }
    size_t mixed = 0;
    for (size_t i = 0; i < p->experts * PLAN_LINEARS; i++)
        mixed += p->layers[layer].experts[i / PLAN_LINEARS].channels[i % PLAN_LINEARS] > 0;
    if (mixed && linears)
        str_appendf(text, "; %zu with channels", mixed);
}

/* Widths by layer; what the rule was, for the method that has one. */
static void append_layers(struct str *text, const struct plan *p)
{
    const char *const *rules = settings_find("rule")->choices;
    bool linears = linears_differ(p), rule = strcmp(p->method, "moqa") == 0;
    str_appendf(text, "%5s  ", "layer");
    if (rule)
        str_appendf(text, "%7s  %7s  %-9s  ", "mu", "sigma", "rule");
    str_appendf(text, "%s x bits\n", linears ? "linears" : "experts");
    for (size_t l = 0; l < p->layers_count; l++) {
        const struct plan_layer *layer = &p->layers[l];
        str_appendf(text, "%5zu  ", layer->layer);
        if (rule)
            str_appendf(text, "%7.4f  %7.4f  %-9s  ", layer->mu, layer->sigma, rules[layer->rule]);
        append_widths(text, p, l, linears);
        str_append(text, "\n");
    }
}

static int print_text(const struct plan *p, const struct outcome *o, struct err *err)
{
    struct str text = {0};
    append_layers(&text, p);
    str_appendf(&text,
                "\n%s: %.4f bits a weight nominal, %.4f in the file; experts %.1f MiB, "
                "before %.1f MiB",
                p->method, p->summary.nominal_bits, p->summary.effective_bits,
                (double)p->summary.bytes_after / 1048576.0,
                (double)p->summary.bytes_before / 1048576.0);
    if (o->predicted) /* what is measured makes the guess from widths alone worthless */
        str_appendf(&text, "\nby the measured losses: ln perplexity rises by %.4f\n", o->rise);
    else
        str_appendf(&text, "; predicted loss %.4g x INT4's\n", o->loss);
    if (o->allocated.cost && !o->allocated.exact)
        str_appendf(&text, "allocation: at most %.2g %% above the least possible loss\n",
                    100 * (o->allocated.loss / o->allocated.bound - 1));
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

static int print_json(const struct plan *p, const struct outcome *o, struct err *err)
{
    char line[512], rise[48] = "null";
    struct str text = {0};
    if (o->predicted)
        snprintf(rise, sizeof rise, "%.17g", o->rise);
    snprintf(line, sizeof line,
             "{\"schema\":\"moqa.plan-summary\",\"schema_version\":1,\"method\":\"%s\","
             "\"nominal_bits\":%.17g,\"effective_bits\":%.17g,\"bytes_before\":%llu,"
             "\"bytes_after\":%llu,\"predicted_loss\":%.17g,\"predicted_rise\":%s",
             p->method, p->summary.nominal_bits, p->summary.effective_bits,
             (unsigned long long)p->summary.bytes_before,
             (unsigned long long)p->summary.bytes_after, o->loss, rise);
    str_append(&text, line);
    for (size_t i = 0; i < o->front.points; i++)
        str_appendf(&text, "%s[%.17g,%.17g]", i ? "," : ",\"front\":[", o->front.bits[i],
                    o->front.rise[i]);
    str_append(&text, o->front.points ? "]}\n" : "}\n");
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

/* What a method would ignore is refused: the plan would look as if it had been heeded. */
static int check_method(const struct arguments *a, struct err *err)
{
    const char *name = a->method ? a->method : "moqa";
    const struct planner_method *method = planner_method_find(name);
    bool budget = strcmp(name, "budget") == 0;
    const char *more = a->grain                ? "grain"
                       : a->sensitivity.given  ? "sensitivity"
                       : a->significance.given ? "significance"
                                               : NULL;
    if (!method)
        return 0; /* the planner names those that there are */
    if (a->bits.given && !method->average)
        return err_set(err, ERR_USAGE, NULL,
                       "--bits: method %s takes no average; budget, moeptq-r, first-layers, "
                       "frequent, outlier and importance do",
                       name);
    if (a->bytes.given && !budget)
        return err_set(err, ERR_USAGE, NULL, "--bytes belongs to --method budget, found %s", name);
    if (a->pins.count && method->quantizer == PLAN_NONE)
        return err_set(err, ERR_USAGE, NULL, "--pin: method %s quantizes no expert", name);
    if (more && !budget && !a->front)
        return err_set(err, ERR_USAGE, NULL, "--%s belongs to --method budget, or --front", more);
    return 0;
}

int cmd_plan(int argc, char **argv, struct err *err)
{
    struct budget_options defaults;
    budget_defaults(&defaults);
    struct arguments a = {.sensitivity.value = defaults.sensitivity};
    struct settings settings;
    struct session s = {0};
    struct plan plan = {0};
    struct outcome outcome = {0};
    int rc = cli_parse(&cmd_plan_spec, argc, argv, &a, &settings, err);
    if (rc == 0 && !a.out && !a.dry_run)
        rc = err_set(err, ERR_USAGE, NULL, "-o PLAN is missing (or --dry-run)");
    if (rc == 0 && a.front && !(a.json && a.losses))
        rc = err_set(err, ERR_USAGE, NULL, "--front needs --json and --losses");
    if (rc == 0)
        rc = check_method(&a, err);
    if (rc == 0 && !a.dry_run)
        rc = cli_output_check(
            a.out, &(struct cli_inputs){.model = a.model, .file = {a.trace, a.losses}}, err);
    if (rc == 0)
        rc = session_open(&s, a.trace, a.model, err);
    if (rc == 0)
        rc = analysis_update(s.analysis, &settings, err);
    if (rc == 0)
        rc = make(&plan, &outcome, &a, &s, err);
    if (rc == 0 && !a.dry_run)
        rc = plan_save(&plan, a.out, err);
    if (rc == 0) {
        outcome.loss = predict_plan_loss(&plan, &s.config);
        rc = a.json ? print_json(&plan, &outcome, err) : print_text(&plan, &outcome, err);
    }
    budget_front_release(&outcome.front);
    plan_release(&plan);
    session_release(&s);
    cli_list_release(&a.pins);
    return rc;
}
