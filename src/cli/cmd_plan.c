#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/planner.h"
#include "analysis/predict.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/cli/cli.h"
#include "src/session.h"

struct arguments {
    const char *trace, *model, *method, *out;
    struct cli_list pins;
    double bits;
    bool dry_run, json;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder of the traced model"},
    {"method", 'M', "METHOD", CLI_TEXT, offsetof(struct arguments, method), false,
     "moqa (default), gptq-B, rtn-B with B = 2, 3, 4 or 8, moeptq-r (with --bits), fp16"},
    {"bits", 'b', "AVERAGE", CLI_REAL, offsetof(struct arguments, bits), false,
     "average bits of the routed experts, for moeptq-r"},
    {"pin", 0, "LAYER.EXPERT=BITS...", CLI_LIST, offsetof(struct arguments, pins), false,
     "fixed bits of single experts; LAYER counts the MoE layers from 0"},
    {"output", 'o', "PLAN", CLI_TEXT, offsetof(struct arguments, out), false,
     "file to write (JSON)"},
    {"dry-run", 0, NULL, CLI_FLAG, offsetof(struct arguments, dry_run), false,
     "only print the summary"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "the summary as JSON"},
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

static int make(struct plan *plan, const struct arguments *a, const struct session *s,
                struct err *err)
{
    uint8_t *pins = NULL;
    const char *slash = strrchr(a->trace, '/');
    int rc = parse_pins(&pins, a, s, err);
    struct planner_request request = {
        .method = a->method ? a->method : "moqa",
        .average_bits = a->bits,
        .pins = {pins},
        .trace_name = slash ? slash + 1 : a->trace,
        .trace_sha256 = s->trace_sha256,
    };
    if (rc == 0)
        rc = planner_make(plan, s->analysis, &request, &s->config, err);
    free(pins);
    return rc;
}

/* Number of experts of a layer at each width, "12 x 4, 20 x 2". */
static void append_widths(struct str *text, const struct plan *p, size_t layer)
{
    static const unsigned widths[] = {16, 8, 4, 3, 2};
    const char *separator = "";
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        size_t count = 0;
        for (size_t e = 0; e < p->experts; e++)
            count += p->layers[layer].experts[e].bits == widths[w];
        if (count)
            str_appendf(text, "%s%zu x %u", separator, count, widths[w]);
        separator = count ? ", " : separator;
    }
}

static int print_text(const struct plan *p, double loss, struct err *err)
{
    const char *const *rules = settings_find("rule")->choices;
    struct str text = {0};
    str_appendf(&text, "%5s  %7s  %7s  %-9s  experts x bits\n", "layer", "mu", "sigma", "rule");
    for (size_t l = 0; l < p->layers_count; l++) {
        const struct plan_layer *layer = &p->layers[l];
        str_appendf(&text, "%5zu  %7.4f  %7.4f  %-9s  ", layer->layer, layer->mu, layer->sigma,
                    rules[layer->rule]);
        append_widths(&text, p, l);
        str_append(&text, "\n");
    }
    str_appendf(&text,
                "\n%s: %.4f bits a weight nominal, %.4f in the file; experts %.1f MiB, "
                "before %.1f MiB; predicted loss %.4g x INT4's\n",
                p->method, p->summary.nominal_bits, p->summary.effective_bits,
                (double)p->summary.bytes_after / 1048576.0,
                (double)p->summary.bytes_before / 1048576.0, loss);
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

static int print_json(const struct plan *p, double loss, struct err *err)
{
    char line[512];
    snprintf(line, sizeof line,
             "{\"schema\":\"moqa.plan-summary\",\"schema_version\":1,\"method\":\"%s\","
             "\"nominal_bits\":%.17g,\"effective_bits\":%.17g,\"bytes_before\":%llu,"
             "\"bytes_after\":%llu,\"predicted_loss\":%.17g}\n",
             p->method, p->summary.nominal_bits, p->summary.effective_bits,
             (unsigned long long)p->summary.bytes_before,
             (unsigned long long)p->summary.bytes_after, loss);
    return cli_print(line, err);
}

int cmd_plan(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct session s = {0};
    struct plan plan = {0};
    int rc = cli_parse(&cmd_plan_spec, argc, argv, &a, &settings, err);
    if (rc == 0 && !a.out && !a.dry_run)
        rc = err_set(err, ERR_USAGE, NULL, "-o PLAN is missing (or --dry-run)");
    if (rc == 0)
        rc = session_open(&s, a.trace, a.model, err);
    if (rc == 0)
        rc = analysis_update(s.analysis, &settings, err);
    if (rc == 0)
        rc = make(&plan, &a, &s, err);
    if (rc == 0 && !a.dry_run)
        rc = plan_save(&plan, a.out, err);
    if (rc == 0) {
        double loss = predict_plan_loss(&plan, &s.config);
        rc = a.json ? print_json(&plan, loss, err) : print_text(&plan, loss, err);
    }
    plan_release(&plan);
    session_release(&s);
    cli_list_release(&a.pins);
    return rc;
}
