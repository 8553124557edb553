/* The report of a run, layer by layer, and the digest that a resumed run must share. */
#include <stdio.h>
#include <stdlib.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "src/calibration.h"
#include "src/quant/pass_internal.h"

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, NULL, "no memory for the report");
}

/* Fields that every quantized unit has; `inputs` is d of its first linear. */
static json_t *unit_json(unsigned bits, const struct pass_expert *e, size_t inputs)
{
    json_t *o = json_pack("{s:i,s:I,s:f}", "bits", (int)bits, "tokens", (json_int_t)e->tokens,
                          "tokens_per_input", (double)e->tokens / (double)inputs);
    if (o && bits < 16 &&
        json_object_update_new(o, json_pack("{s:f,s:f,s:f,s:b,s:b}", "loss", e->loss, "loss_rtn",
                                            e->loss_rtn, "damping", e->damping, "fallback",
                                            e->fallback, "layer_mean", e->shrunk_to_layer)) < 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* An expert: its width where all linears have one, else the least one and those of each. */
static json_t *expert_unit(const struct pass *p, size_t layer, enum model_linear first,
                           size_t expert, const struct pass_expert *e)
{
    unsigned bits[PLAN_LINEARS], least = 16;
    bool differ = false;
    for (size_t i = 0; i < PLAN_LINEARS; i++) {
        bits[i] = pass_bits_of(&p->o, layer, (enum model_linear)(first + i), expert).bits;
        least = bits[i] < least ? bits[i] : least;
        differ = differ || bits[i] != bits[0];
    }
    json_t *o = unit_json(least, e, p->config->hidden);
    json_t *list = differ ? json_pack("[i,i,i]", (int)bits[PLAN_GATE], (int)bits[PLAN_UP],
                                      (int)bits[PLAN_DOWN])
                          : NULL;
    if (o && differ && json_object_set_new(o, "linear_bits", list) < 0) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

static int set_count(json_t *object, const char *key, size_t count)
{
    return json_object_set_new(object, key, json_integer((json_int_t)count));
}

/* Of gate and up together, where they have as many. */
static int set_channels(json_t *object, const struct pass *p, size_t layer, size_t expert)
{
    size_t count[PLAN_LINEARS];
    for (size_t i = 0; i < PLAN_LINEARS; i++)
        count[i] =
            pass_bits_of(&p->o, layer, (enum model_linear)(LINEAR_GATE + i), expert).channels;
    int rc = count[PLAN_GATE] == count[PLAN_UP]
                 ? set_count(object, "channels_gate_up", count[PLAN_GATE])
                 : set_count(object, "channels_gate", count[PLAN_GATE]) |
                       set_count(object, "channels_up", count[PLAN_UP]);
    return rc | set_count(object, "channels_down", count[PLAN_DOWN]);
}

static json_t *expert_json(const struct pass *p, size_t layer, size_t expert,
                           const struct pass_expert *e)
{
    json_t *o = expert_unit(p, layer, LINEAR_GATE, expert, e);
    if (o && (set_count(o, "expert", expert) < 0 || set_channels(o, p, layer, expert) < 0)) {
        json_decref(o);
        o = NULL;
    }
    return o;
}

/* What learning has done: held-out losses a token, and the experts whose codes are new. */
static json_t *learned_json(const struct pass *p, const struct learn_result *r)
{
    json_t *kept = json_array();
    for (size_t e = 0; kept && e < p->config->experts; e++)
        if (r->unit_kept[e] && json_array_append_new(kept, json_integer((json_int_t)e)) < 0) {
            json_decref(kept);
            kept = NULL;
        }
    return kept ? json_pack("{s:f,s:f,s:o,s:b}", "loss_before", r->before, "loss_after", r->after,
                            "experts", kept, "shared",
                            p->config->shared_size && r->unit_kept[p->config->experts])
                : NULL;
}

int pass_report_layer(json_t **out, const struct pass *p, size_t layer,
                      const struct pass_layer_result *result, struct err *err)
{
    /* Of a layer that only was copied no backend has seen anything. */
    json_t *o = p->forward ? json_pack("{s:I,s:s}", "layer", (json_int_t)layer, "backend",
                                       p->o.backend->ops->name)
                           : json_pack("{s:I}", "layer", (json_int_t)layer);
    json_t *experts = json_array();
    int rc = o && experts ? 0 : no_memory(err);
    if (rc == 0 && p->note.length &&
        json_object_set_new(o, "note", json_string(str_get(&p->note))) < 0)
        rc = no_memory(err);
    if (rc == 0 && result->learned &&
        json_object_set_new(o, "learned", learned_json(p, &result->learn)) < 0)
        rc = no_memory(err);
    unsigned attention = pass_bits_of(&p->o, layer, LINEAR_Q, 0).bits;
    if (rc == 0 && attention < 16 &&
        json_object_set_new(o, "attention",
                            unit_json(attention, &result->attention, p->config->hidden)) < 0)
        rc = no_memory(err);
    if (rc == 0 && p->config->is_moe[layer]) {
        for (size_t e = 0; rc == 0 && e < p->config->experts; e++)
            if (json_array_append_new(experts, expert_json(p, layer, e, &result->expert[e])) < 0)
                rc = no_memory(err);
        if (rc == 0 && json_object_set(o, "experts", experts) < 0)
            rc = no_memory(err);
        if (rc == 0 && p->config->shared_size &&
            json_object_set_new(o, "shared",
                                expert_unit(p, layer, LINEAR_SHARED_GATE, 0, &result->shared)) < 0)
            rc = no_memory(err);
    }
    json_decref(experts);
    if (rc < 0)
        json_decref(o);
    else
        *out = o;
    return rc;
}

void pass_report_restore(struct pass *p, const json_t *report)
{
    const json_t *experts = json_object_get(report, "experts");
    size_t layer = (size_t)json_integer_value(json_object_get(report, "layer"));
    const struct plan_layer *l = pass_plan_layer(&p->o, layer);
    if (!l)
        return;
    struct pass_expert *row = p->expert + (size_t)(l - p->o.plan->layers) * p->o.plan->experts;
    for (size_t e = 0; e < p->o.plan->experts && e < json_array_size(experts); e++) {
        const json_t *o = json_array_get(experts, e);
        row[e] = (struct pass_expert){
            .done = true,
            .bits = (unsigned)json_integer_value(json_object_get(o, "bits")),
            .tokens = (size_t)json_integer_value(json_object_get(o, "tokens")),
            .loss = json_number_value(json_object_get(o, "loss")),
            .loss_rtn = json_number_value(json_object_get(o, "loss_rtn")),
            .damping = json_number_value(json_object_get(o, "damping")),
            .fallback = json_is_true(json_object_get(o, "fallback")),
            .shrunk_to_layer = json_is_true(json_object_get(o, "layer_mean")),
        };
        p->fallbacks += row[e].fallback;
    }
}

/* Units of all layers for which a flag is set. */
static json_int_t count_flag(const json_t *layers, const char *flag)
{
    json_int_t count = 0;
    for (size_t i = 0; i < json_array_size(layers); i++) {
        const json_t *layer = json_array_get(layers, i),
                     *experts = json_object_get(layer, "experts");
        for (size_t e = 0; e < json_array_size(experts); e++)
            count += json_is_true(json_object_get(json_array_get(experts, e), flag));
        count += json_is_true(json_object_get(json_object_get(layer, "shared"), flag));
        count += json_is_true(json_object_get(json_object_get(layer, "attention"), flag));
    }
    return count;
}

int pass_report_save(const struct pass *p, struct err *err)
{
    struct pass_estimate e;
    const json_t *layers = journal_reports(&p->journal);
    int rc = pass_estimate(&e, &p->o, err);
    if (rc < 0)
        return rc;
    json_t *root = json_pack(
        "{s:s,s:i,s:s,s:s,s:O,s:{s:I,s:I},s:f,s:f,s:I,s:I,s:O}", "schema", "moqa.report",
        "schema_version", 1, "method", p->o.plan->method, "quantizer",
        p->quantizer ? p->quantizer->name : "none", "digest", p->digest, "calibration", "windows",
        (json_int_t)p->o.windows, "window", (json_int_t)p->o.window, "nominal_bits", e.nominal_bits,
        "effective_bits", e.effective_bits, "fallbacks", count_flag(layers, "fallback"),
        "without_tokens", count_flag(layers, "layer_mean"), "layers", layers);
    const char *note = p->o.backend_note;
    if (root && note && *note && json_object_set_new(root, "backend_note", json_string(note)) < 0) {
        json_decref(root);
        root = NULL;
    }
    char *path = str_path(p->o.out, "moqa_report.json", err);
    rc = root && path ? jsonio_save(root, path, err) : no_memory(err);
    free(path);
    json_decref(root);
    return rc;
}

/* The plan's hash is that of the file that will lie in OUT. */
int pass_report_digest(json_t **out, const struct pass_options *o, struct err *err)
{
    char plan[HASH_HEX_SIZE], calibration[HASH_HEX_SIZE];
    int rc = plan_hash(plan, o->plan, o->plan_path, err);
    if (rc == 0)
        rc = calibration_hash(calibration, o->ids, o->starts, o->windows, o->window, err);
    if (rc < 0)
        return rc;
    *out = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s}", "plan", plan, "model",
                     checkpoint_fingerprint(o->model->checkpoint), "calibration", calibration,
                     "format", pass_format_names[o->format], "precision",
                     o->precision == BACKEND_FP64 ? "fp64" : "fp32", "version", MOQA_VERSION);
    return *out ? 0 : no_memory(err);
}
