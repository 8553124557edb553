#include "analysis/planner_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/str.h"

static const unsigned widths[] = {2, 3, 4, 8, 16};
enum { WIDTHS = sizeof widths / sizeof widths[0], WIDTH_WHOLE = 16 };

static size_t width_index(unsigned bits)
{
    size_t i = 0;
    while (i + 1 < WIDTHS && widths[i] < bits)
        i++;
    return i;
}

void planner_class_bits(const struct settings *s, unsigned out[SETTINGS_CLASSES_MAX])
{
    size_t low = width_index(s->bits_low), high = width_index(s->bits_high);
    size_t steps = s->classes - 1;
    for (size_t c = 0; c < s->classes; c++)
        out[c] = s->class_bits_count ? s->class_bits[c]
                                     : widths[low + ((high - low) * c + steps / 2) / steps];
}

/* --- Methods --- */

typedef int (*assign_fn)(const struct planner_job *j, struct err *err);

/* The class of a group: group 1 is the highest, whatever the number of classes that came out. */
static int assign_moqa(const struct planner_job *j, struct err *err)
{
    unsigned bits[SETTINGS_CLASSES_MAX];
    const struct settings *s = &j->plan->settings;
    (void)err;
    planner_class_bits(s, bits);
    for (size_t l = 0; l < j->plan->layers_count; l++) {
        struct plan_layer *layer = &j->plan->layers[l];
        for (size_t e = 0; e < j->plan->experts; e++) {
            struct plan_expert *x = &layer->experts[e];
            if (layer->rule == RULE_THRESHOLD)
                x->bits = x->group == 1 ? bits[s->classes - 1] : bits[0];
            else
                x->bits = bits[s->classes - x->group];
        }
    }
    return 0;
}

static int assign_uniform(const struct planner_job *j, struct err *err)
{
    (void)err;
    for (size_t l = 0; l < j->plan->layers_count; l++)
        for (size_t e = 0; e < j->plan->experts; e++)
            j->plan->layers[l].experts[e].bits = j->bits;
    j->plan->settings.bits_shared = j->bits;
    j->plan->settings.beta_ch = 0;
    return 0;
}

static int assign_budget(const struct planner_job *j, struct err *err)
{
    const struct planner_request *r = j->request;
    struct budget_options o = r->budget;
    struct budget b = {0};
    double bits = r->average_bits;
    if (!r->losses || (bits > 0) == (r->budget_bytes > 0))
        return err_set(err, ERR_USAGE, NULL,
                       "budget: needs --losses, and --bits or --bytes as the budget");
    int rc = losses_check_model(r->losses, r->losses_path, j->config, err);
    if (rc == 0)
        rc = losses_check_settings(r->losses, r->losses_path, &j->plan->settings, err);
    if (rc == 0 && o.grain == BUDGET_CHANNELS)
        rc = losses_check_channels(r->losses, r->losses_path, &j->plan->settings, err);
    if (rc < 0)
        return rc;
    o.pins = r->pins.bits;
    o.bytes = r->budget_bytes > 0;
    rc = budget_init(&b, j->plan, r->losses, j->config, &o, err);
    if (rc == 0 && o.bytes)
        bits = 8.0 * (double)r->budget_bytes / b.weights;
    if (rc == 0)
        rc = budget_solve(&b, j->plan, bits, err);
    if (rc == 0 && r->allocated)
        *r->allocated = b.result;
    budget_release(&b);
    return rc;
}

struct method {
    struct planner_method info; /* name, quantizer; average? routed? losses? */
    unsigned bits;
    assign_fn assign;
    bool channels, pins;
};

static const struct method methods[] = {
    {{"moqa", PLAN_GPTQ, false, false, false}, 0, assign_moqa, true, true},
    {{"gptq-2", PLAN_GPTQ, false, false, false}, 2, assign_uniform, false, true},
    {{"gptq-3", PLAN_GPTQ, false, false, false}, 3, assign_uniform, false, true},
    {{"gptq-4", PLAN_GPTQ, false, false, false}, 4, assign_uniform, false, true},
    {{"gptq-8", PLAN_GPTQ, false, false, false}, 8, assign_uniform, false, true},
    {{"rtn-2", PLAN_RTN, false, false, false}, 2, assign_uniform, false, true},
    {{"rtn-3", PLAN_RTN, false, false, false}, 3, assign_uniform, false, true},
    {{"rtn-4", PLAN_RTN, false, false, false}, 4, assign_uniform, false, true},
    {{"rtn-8", PLAN_RTN, false, false, false}, 8, assign_uniform, false, true},
    {{"moeptq-r", PLAN_GPTQ, true, true, false}, 0, planner_assign_random, false, true},
    {{"first-layers", PLAN_GPTQ, true, true, false}, 0, planner_assign_first, false, true},
    {{"frequent", PLAN_GPTQ, true, true, false}, 0, planner_assign_frequent, false, true},
    {{"outlier", PLAN_GPTQ, true, true, true}, 0, planner_assign_outlier, false, true},
    {{"importance", PLAN_GPTQ, true, true, true}, 0, planner_assign_importance, false, true},
    {{"budget", PLAN_GPTQ, true, false, true}, 0, assign_budget, false, true},
    {{"fp16", PLAN_NONE, false, false, false}, WIDTH_WHOLE, assign_uniform, false, false},
};
enum { METHODS = sizeof methods / sizeof methods[0] };

const char *const *planner_methods(void)
{
    static const char *const names[] = {
        "moqa",   "gptq-2", "gptq-3",   "gptq-4",       "gptq-8",   "rtn-2",   "rtn-3",
        "rtn-4",  "rtn-8",  "moeptq-r", "first-layers", "frequent", "outlier", "importance",
        "budget", "fp16",   NULL};
    return names;
}

const struct planner_method *planner_method_find(const char *name)
{
    for (size_t i = 0; i < METHODS; i++)
        if (strcmp(name, methods[i].info.name) == 0)
            return &methods[i].info;
    return NULL;
}

static const struct method *find_method(const char *name, struct err *err)
{
    struct str known = {0};
    for (size_t i = 0; i < METHODS; i++) {
        if (strcmp(name, methods[i].info.name) == 0) {
            str_release(&known);
            return &methods[i];
        }
        str_appendf(&known, "%s%s", i ? ", " : "", methods[i].info.name);
    }
    err_set(err, ERR_USAGE, NULL, "no method is called \"%.64s\"; known: %s", name,
            str_get(&known));
    str_release(&known);
    return NULL;
}

/* --- The plan --- */

static void copy_text(char *out, size_t size, const char *text)
{
    size_t length = text ? strnlen(text, size - 1) : 0;
    memcpy(out, text ? text : "", length);
    memset(out + length, 0, size - length);
}

static void copy_origin(struct plan *p, const struct planner_job *j)
{
    const struct model_config *c = j->config;
    copy_text(p->method, sizeof p->method, j->request->method);
    copy_text(p->model_name, sizeof p->model_name,
              j->request->model_name ? j->request->model_name : j->result->model_name);
    copy_text(p->model_type, sizeof p->model_type, c->type_name);
    copy_text(p->config_sha256, sizeof p->config_sha256, c->sha256);
    copy_text(p->trace_name, sizeof p->trace_name, j->request->trace_name);
    copy_text(p->trace_sha256, sizeof p->trace_sha256, j->request->trace_sha256);
    p->positions = j->result->positions;
    p->settings = j->result->settings;
}

static void copy_layer(struct plan_layer *out, const struct analysis_layer *l, size_t experts)
{
    out->layer = l->layer;
    out->mu = l->mu;
    out->sigma = l->sigma;
    out->pattern = l->pattern;
    out->rule = l->rule;
    out->threshold = l->threshold;
    out->breaks = l->breaks;
    memcpy(out->break_at, l->break_at, sizeof out->break_at);
    out->gvf = l->gvf;
    for (size_t e = 0; e < experts; e++) {
        out->experts[e].significance = l->significance[e];
        out->experts[e].group = l->group[e];
    }
}

static void apply_pins(struct plan *p, const struct planner_pins *pins)
{
    for (size_t l = 0; pins->bits && l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++) {
            unsigned bits = pins->bits[l * p->experts + e];
            if (bits == 0)
                continue;
            struct plan_expert *x = &p->layers[l].experts[e];
            x->bits = bits;
            memset(x->linear_bits, 0, sizeof x->linear_bits);
            x->pinned = true;
        }
}

/* p = round(m * share), halves to even; none where the expert has the channels' bits anyway. */
static void assign_channels(const struct planner_job *j)
{
    const struct settings *s = &j->plan->settings;
    for (size_t l = 0; l < j->plan->layers_count; l++)
        for (size_t e = 0; e < j->plan->experts; e++) {
            struct plan_expert *x = &j->plan->layers[l].experts[e];
            double share = j->result->layer[l].channel_share[e];
            if (x->bits >= s->bits_channel)
                continue;
            x->channels[PLAN_GATE] = (size_t)nearbyint((double)j->config->hidden * share);
            x->channels[PLAN_UP] = x->channels[PLAN_GATE];
            x->channels[PLAN_DOWN] = (size_t)nearbyint((double)j->config->expert_size * share);
        }
}

static int check_request(const struct planner_job *j, const struct method *method, struct err *err)
{
    const struct analysis_result *r = j->result;
    if (method->channels && r->settings.beta_ch > 0 && r->settings.bits_channel == 16)
        return err_set(err, ERR_USAGE, NULL,
                       "bits_channel: found 16, expected 2, 3, 4 or 8: no format holds channels "
                       "that are not quantized");
    size_t layers = model_config_moe_layers(j->config);
    if (r->layers != layers || r->experts != j->config->experts || r->top_k != j->config->top_k)
        return err_set(err, ERR_INPUT, j->request->trace_name,
                       "the trace has %zu layers, %zu experts and top-%zu, the model %zu, %zu and "
                       "top-%zu",
                       r->layers, r->experts, r->top_k, layers, j->config->experts,
                       j->config->top_k);
    return settings_check(&r->settings, err);
}

int planner_make(struct plan *out, const struct analysis *a, const struct planner_request *request,
                 const struct model_config *config, struct err *err)
{
    struct planner_job j = {out, analysis_result(a), request, config, 0};
    const struct method *method = find_method(request->method, err);
    if (!method)
        return ERR_USAGE;
    memset(out, 0, sizeof *out);
    int rc = check_request(&j, method, err);
    if (rc == 0)
        rc = plan_alloc(out, j.result->layers, j.result->experts, err);
    if (rc < 0)
        return rc;
    copy_origin(out, &j);
    for (size_t l = 0; l < out->layers_count; l++)
        copy_layer(&out->layers[l], &j.result->layer[l], out->experts);
    out->quantizer = method->info.quantizer;
    j.bits = method->bits;
    rc = method->assign(&j, err);
    if (rc == 0 && method->pins)
        apply_pins(out, &request->pins);
    if (rc == 0 && method->channels)
        assign_channels(&j);
    if (rc == 0)
        rc = plan_summarize(out, config, err);
    if (rc == 0)
        rc = plan_validate(out, NULL, err);
    if (rc < 0)
        plan_release(out);
    return rc;
}

static double mean_width(const struct plan *p)
{
    size_t sum = 0;
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++)
            sum += p->layers[l].experts[e].bits;
    return (double)sum / (double)(p->layers_count * p->experts);
}

int planner_widths(struct plan *out, const struct analysis *a, const struct planner_pins *pins,
                   struct err *err)
{
    struct planner_job j = {.plan = out, .result = analysis_result(a)};
    memset(out, 0, sizeof *out);
    int rc = plan_alloc(out, j.result->layers, j.result->experts, err);
    if (rc < 0)
        return rc;
    copy_text(out->method, sizeof out->method, "moqa");
    out->settings = j.result->settings;
    for (size_t l = 0; l < out->layers_count; l++)
        copy_layer(&out->layers[l], &j.result->layer[l], out->experts);
    rc = assign_moqa(&j, err);
    if (rc < 0) {
        plan_release(out);
        return rc;
    }
    apply_pins(out, pins);
    out->summary.nominal_bits = mean_width(out);
    return 0;
}

/* --- Trace against model --- */

static void differ(struct str *s, const char *name, size_t trace, size_t model)
{
    if (trace != model)
        str_appendf(s, "%s%s (trace %zu, model %zu)", s->length ? ", " : "", name, trace, model);
}

int planner_check_trace(const struct trace *t, const char *file, const struct model_config *config,
                        struct err *err)
{
    struct str fields = {0};
    size_t layers = model_config_moe_layers(config);
    if (t->model_type[0] && strcmp(t->model_type, config->type_name) != 0)
        str_appendf(&fields, "model_type (trace %s, model %s)", t->model_type, config->type_name);
    differ(&fields, "num_moe_layers", t->layers, layers);
    differ(&fields, "num_experts", t->experts, config->experts);
    differ(&fields, "top_k", t->top_k, config->top_k);
    if (t->vocab > config->vocab)
        differ(&fields, "vocab_size", t->vocab, config->vocab);
    for (size_t l = 0; l < t->layers && l < layers; l++)
        if (t->layer_index[l] != model_config_moe_layer(config, l)) {
            differ(&fields, "/layers/index", t->layer_index[l], model_config_moe_layer(config, l));
            break;
        }
    int rc = str_ok(&fields, err);
    if (rc == 0 && fields.length)
        rc = err_set(err, ERR_INPUT, file, "the trace is of another model; these differ: %s",
                     str_get(&fields));
    str_release(&fields);
    return rc;
}

bool planner_has_config_of(const struct trace *t, const struct model_config *config)
{
    return !t->config_sha256[0] || strcmp(t->config_sha256, config->sha256) == 0;
}
