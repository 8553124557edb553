#include <stdio.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/model_config.h"
#include "data/plan.h"
#include "data/trace.h"

/* Version 2 has widths of single linears, version 3 also their numbers of channels. A plan is
 * written in the first that holds it: older programs read what they can carry out. */
enum { PLAN_BYTES_MAX = 1 << 28, VERSION = 1, VERSION_LINEARS = 2, VERSION_CHANNELS = 3 };

static const char *const quantizer_names[] = {"gptq", "rtn", "none"};

static const char *rule_name(int rule)
{
    return rule == RULE_THRESHOLD ? "threshold" : "jenks";
}

/* --- Writing --- */

struct builder {
    bool failed;
};

static void set(struct builder *b, json_t *object, const char *key, json_t *value)
{
    b->failed |= json_object_set_new(object, key, value) < 0;
}

static void set_linear_bits(struct builder *b, json_t *object, const char *key,
                            const uint8_t bits[PLAN_LINEARS])
{
    if (!bits[0])
        return;
    json_t *list = json_array();
    for (size_t i = 0; i < PLAN_LINEARS; i++)
        b->failed |= json_array_append_new(list, json_integer(bits[i])) < 0;
    set(b, object, key, list);
}

/* Do gate and up have other channels than version 2 can tell? */
static bool has_own_channels(const struct plan_expert *x)
{
    return x->channels[PLAN_GATE] != x->channels[PLAN_UP] ||
           (x->linear_bits[0] && plan_expert_has_channels(x));
}

static int version_of(const struct plan *p)
{
    int version = VERSION;
    for (size_t l = 0; l < p->layers_count; l++) {
        if (p->layers[l].shared_bits[0])
            version = VERSION_LINEARS;
        for (size_t e = 0; e < p->experts; e++) {
            if (has_own_channels(&p->layers[l].experts[e]))
                return VERSION_CHANNELS;
            if (p->layers[l].experts[e].linear_bits[0])
                version = VERSION_LINEARS;
        }
    }
    return version;
}

static json_t *channels_json(struct builder *b, const struct plan_expert *x)
{
    json_t *o = json_object();
    if (has_own_channels(x)) {
        for (size_t i = 0; i < PLAN_LINEARS; i++)
            set(b, o, plan_linear_names[i], json_integer((json_int_t)x->channels[i]));
        return o;
    }
    set(b, o, "gate_up", json_integer((json_int_t)x->channels[PLAN_GATE]));
    set(b, o, "down", json_integer((json_int_t)x->channels[PLAN_DOWN]));
    return o;
}

static json_t *expert_json(struct builder *b, const struct plan_expert *x)
{
    json_t *o = json_object();
    set(b, o, "significance", json_real(x->significance));
    set(b, o, "group", json_integer((json_int_t)x->group));
    set(b, o, "bits", json_integer(x->bits));
    set_linear_bits(b, o, "linear_bits", x->linear_bits);
    set(b, o, "channels", channels_json(b, x));
    set(b, o, "pinned", json_boolean(x->pinned));
    return o;
}

static json_t *layer_json(struct builder *b, const struct plan_layer *l, size_t experts)
{
    json_t *o = json_object(), *breaks = json_array(), *list = json_array();
    set(b, o, "layer", json_integer((json_int_t)l->layer));
    set(b, o, "mu", json_real(l->mu));
    set(b, o, "sigma", json_real(l->sigma));
    set(b, o, "pattern", json_integer((json_int_t)l->pattern));
    set(b, o, "rule", json_string(rule_name(l->rule)));
    set(b, o, "threshold", json_real(l->threshold));
    for (size_t i = 0; i < l->breaks; i++)
        b->failed |= json_array_append_new(breaks, json_real(l->break_at[i])) < 0;
    set(b, o, "breaks", breaks);
    set(b, o, "gvf", json_real(l->gvf));
    set_linear_bits(b, o, "shared_bits", l->shared_bits);
    for (size_t e = 0; e < experts; e++)
        b->failed |= json_array_append_new(list, expert_json(b, &l->experts[e])) < 0;
    set(b, o, "experts", list);
    return o;
}

static json_t *head_json(struct builder *b, const struct plan *p, json_t *settings)
{
    json_t *o = json_object(), *model = json_object(), *trace = json_object();
    set(b, o, "schema", json_string("moqa.plan"));
    set(b, o, "schema_version", json_integer(version_of(p)));
    set(b, o, "method", json_string(p->method));
    set(b, o, "quantizer", json_string(quantizer_names[p->quantizer]));
    set(b, model, "name", jsonio_bytes(p->model_name));
    set(b, model, "type", json_string(p->model_type));
    set(b, model, "config_sha256", json_string(p->config_sha256));
    set(b, o, "model", model);
    set(b, trace, "file", jsonio_bytes(p->trace_name));
    set(b, trace, "sha256", json_string(p->trace_sha256));
    set(b, trace, "positions", json_integer((json_int_t)p->positions));
    set(b, o, "trace", trace);
    set(b, o, "settings", settings);
    return o;
}

static int plan_json(json_t **out, const struct plan *p, const char *path, struct err *err)
{
    struct builder b = {false};
    json_t *settings = NULL;
    int rc = plan_validate(p, NULL, err);
    if (rc == 0)
        rc = settings_to_json(&settings, &p->settings, err);
    if (rc < 0)
        return rc;
    json_t *o = head_json(&b, p, settings), *layers = json_array(), *summary = json_object();
    for (size_t l = 0; l < p->layers_count; l++)
        b.failed |= json_array_append_new(layers, layer_json(&b, &p->layers[l], p->experts)) < 0;
    set(&b, o, "layers", layers);
    set(&b, summary, "nominal_bits", json_real(p->summary.nominal_bits));
    set(&b, summary, "effective_bits", json_real(p->summary.effective_bits));
    set(&b, summary, "bytes_before", json_integer((json_int_t)p->summary.bytes_before));
    set(&b, summary, "bytes_after", json_integer((json_int_t)p->summary.bytes_after));
    set(&b, o, "summary", summary);
    if (b.failed) {
        json_decref(o);
        return err_set(err, ERR_NOMEM, path, "no memory for the plan");
    }
    *out = o;
    return 0;
}

int plan_save(const struct plan *p, const char *path, struct err *err)
{
    json_t *o = NULL;
    int rc = plan_json(&o, p, path, err);
    if (rc == 0)
        rc = jsonio_save(o, path, err);
    json_decref(o);
    return rc;
}

int plan_write(struct str *out, const struct plan *p, const char *path, struct err *err)
{
    json_t *o = NULL;
    int rc = plan_json(&o, p, path, err);
    if (rc == 0)
        rc = jsonio_write(out, o, path, err);
    json_decref(o);
    return rc;
}

int plan_hash(char out[HASH_HEX_SIZE], const struct plan *p, const char *path, struct err *err)
{
    json_t *o = NULL;
    int rc = plan_json(&o, p, path, err);
    if (rc == 0)
        rc = jsonio_hash(out, o, path, err);
    json_decref(o);
    return rc;
}

/* --- Reading --- */

static int read_choice(int *out, const char *const *names, size_t count, const json_t *object,
                       const char *key, struct jsonio_at at, struct err *err)
{
    const char *text;
    char expected[64] = "";
    int rc = jsonio_string(&text, object, key, at, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < count; i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (int)i;
            return 0;
        }
        size_t used = strlen(expected);
        snprintf(expected + used, sizeof expected - used, "%s%s",
                 i == 0           ? ""
                 : i + 1 == count ? " or "
                                  : ", ",
                 names[i]);
    }
    return err_set(err, ERR_INPUT, at.file, "%s%s%s: found \"%s\", expected %s", at.path,
                   at.path[0] ? "." : "", key, text, expected);
}

/* Three widths by a key that need not be there; whether they are legal is checked later. */
static int read_linear_bits(uint8_t out[PLAN_LINEARS], const json_t *object, const char *key,
                            struct jsonio_at at, struct err *err)
{
    json_t *list;
    if (!jsonio_has(object, key))
        return 0;
    int rc = jsonio_array(&list, object, key, at, err);
    if (rc < 0)
        return rc;
    if (json_array_size(list) != PLAN_LINEARS)
        return err_set(err, ERR_INPUT, at.file,
                       "%s.%s: found %zu widths, expected those of gate, up and down", at.path, key,
                       json_array_size(list));
    for (size_t i = 0; i < PLAN_LINEARS; i++) {
        const json_t *value = json_array_get(list, i);
        json_int_t bits = json_is_integer(value) ? json_integer_value(value) : 0;
        if (bits < 2 || bits > 16)
            return err_set(err, ERR_INPUT, at.file, "%s.%s[%zu]: expected 2, 3, 4, 8 or 16",
                           at.path, key, i);
        out[i] = (uint8_t)bits;
    }
    return 0;
}

/* Of gate and up together, or of each linear. */
static int read_channels(struct plan_expert *x, const json_t *object, struct jsonio_at at,
                         struct err *err)
{
    const size_t most = 1u << 30;
    int rc = 0;
    if (!jsonio_has(object, "gate_up")) {
        for (int i = 0; rc == 0 && i < PLAN_LINEARS; i++)
            rc = jsonio_size(&x->channels[i], object, plan_linear_names[i], most, at, err);
        return rc;
    }
    rc = jsonio_size(&x->channels[PLAN_GATE], object, "gate_up", most, at, err);
    x->channels[PLAN_UP] = x->channels[PLAN_GATE];
    return rc == 0 ? jsonio_size(&x->channels[PLAN_DOWN], object, "down", most, at, err) : rc;
}

static int read_expert(struct plan_expert *x, const json_t *object, struct jsonio_at at,
                       struct err *err)
{
    char path[128];
    json_t *channels;
    size_t bits;
    int rc = jsonio_real(&x->significance, object, "significance", at, err);
    if (rc == 0)
        rc = jsonio_size(&x->group, object, "group", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&bits, object, "bits", 1u << 20, at, err);
    if (rc == 0)
        rc = jsonio_bool(&x->pinned, object, "pinned", at, err);
    if (rc == 0)
        rc = jsonio_object(&channels, object, "channels", at, err);
    if (rc < 0)
        return rc;
    x->bits = (unsigned)bits;
    rc = read_linear_bits(x->linear_bits, object, "linear_bits", at, err);
    if (rc < 0)
        return rc;
    snprintf(path, sizeof path, "%s.channels", at.path);
    at.path = path;
    return read_channels(x, channels, at, err);
}

static int read_breaks(struct plan_layer *l, const json_t *object, struct jsonio_at at,
                       struct err *err)
{
    json_t *breaks;
    int rc = jsonio_array(&breaks, object, "breaks", at, err);
    if (rc < 0)
        return rc;
    if (json_array_size(breaks) >= SETTINGS_CLASSES_MAX)
        return err_set(err, ERR_INPUT, at.file, "%s.breaks: found %zu breaks, expected at most %d",
                       at.path, json_array_size(breaks), SETTINGS_CLASSES_MAX - 1);
    l->breaks = json_array_size(breaks);
    for (size_t i = 0; i < l->breaks; i++) {
        const json_t *value = json_array_get(breaks, i);
        if (!json_is_number(value))
            return err_set(err, ERR_INPUT, at.file, "%s.breaks[%zu]: expected a number", at.path,
                           i);
        l->break_at[i] = json_number_value(value);
    }
    return 0;
}

static int read_layer(struct plan *p, size_t index, const json_t *object, struct jsonio_at at,
                      struct err *err)
{
    static const char *const rules[] = {"threshold", "jenks"};
    struct plan_layer *l = &p->layers[index];
    json_t *experts = NULL;
    int rule = 0, rc = jsonio_size(&l->layer, object, "layer", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_real(&l->mu, object, "mu", at, err);
    if (rc == 0)
        rc = jsonio_real(&l->sigma, object, "sigma", at, err);
    if (rc == 0)
        rc = jsonio_size(&l->pattern, object, "pattern", SIZE_MAX, at, err);
    if (rc == 0)
        rc = read_choice(&rule, rules, 2, object, "rule", at, err);
    if (rc == 0)
        rc = jsonio_real(&l->threshold, object, "threshold", at, err);
    if (rc == 0)
        rc = read_breaks(l, object, at, err);
    if (rc == 0)
        rc = jsonio_real(&l->gvf, object, "gvf", at, err);
    if (rc == 0)
        rc = read_linear_bits(l->shared_bits, object, "shared_bits", at, err);
    if (rc == 0)
        rc = jsonio_array(&experts, object, "experts", at, err);
    l->rule = rule == 0 ? RULE_THRESHOLD : RULE_JENKS;
    for (size_t e = 0; rc == 0 && e < p->experts; e++) {
        char path[96];
        snprintf(path, sizeof path, "%s.experts[%zu]", at.path, e);
        rc = read_expert(&l->experts[e], json_array_get(experts, e),
                         (struct jsonio_at){at.file, path}, err);
    }
    return rc;
}

static int read_layers(struct plan *p, const json_t *root, const char *file, struct err *err)
{
    json_t *layers;
    int rc = jsonio_array(&layers, root, "layers", (struct jsonio_at){file, ""}, err);
    if (rc < 0)
        return rc;
    size_t count = json_array_size(layers);
    size_t experts = json_array_size(json_object_get(json_array_get(layers, 0), "experts"));
    if (count < 1 || count > MODEL_LAYERS_MAX)
        return err_set(err, ERR_INPUT, file, "layers: found %zu, expected 1 to %d", count,
                       MODEL_LAYERS_MAX);
    if (experts > TRACE_EXPERTS_MAX)
        return err_set(err, ERR_INPUT, file, "layers[0].experts: found %zu, expected 1 to %d",
                       experts, TRACE_EXPERTS_MAX);
    for (size_t l = 0; l < count; l++) {
        /* Before anything is allocated: a short file must not ask for gigabytes. */
        const json_t *list = json_object_get(json_array_get(layers, l), "experts");
        if (json_array_size(list) != experts)
            return err_set(err, ERR_INPUT, file,
                           "layers[%zu].experts: found %zu experts, expected %zu as in the first "
                           "layer",
                           l, json_array_size(list), experts);
    }
    rc = plan_alloc(p, count, experts, err);
    for (size_t l = 0; rc == 0 && l < count; l++) {
        char path[48];
        snprintf(path, sizeof path, "layers[%zu]", l);
        rc = read_layer(p, l, json_array_get(layers, l), (struct jsonio_at){file, path}, err);
    }
    return rc;
}

static int read_origin(struct plan *p, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at top = {file, ""}, in_model = {file, "model"}, in_trace = {file, "trace"};
    json_t *model, *trace = NULL;
    int rc = jsonio_object(&model, root, "model", top, err);
    if (rc == 0)
        rc = jsonio_text(p->model_name, sizeof p->model_name, model, "name", in_model, err);
    if (rc == 0)
        rc = jsonio_text(p->model_type, sizeof p->model_type, model, "type", in_model, err);
    if (rc == 0)
        rc = jsonio_text(p->config_sha256, sizeof p->config_sha256, model, "config_sha256",
                         in_model, err);
    if (rc == 0)
        rc = jsonio_object(&trace, root, "trace", top, err);
    if (rc == 0)
        rc = jsonio_text(p->trace_name, sizeof p->trace_name, trace, "file", in_trace, err);
    if (rc == 0)
        rc = jsonio_text(p->trace_sha256, sizeof p->trace_sha256, trace, "sha256", in_trace, err);
    if (rc == 0)
        rc = jsonio_size(&p->positions, trace, "positions", INT64_MAX, in_trace, err);
    return rc;
}

static int read_summary(struct plan *p, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, "summary"};
    json_t *summary;
    size_t before = 0, after = 0;
    int rc = jsonio_object(&summary, root, "summary", (struct jsonio_at){file, ""}, err);
    if (rc == 0)
        rc = jsonio_real(&p->summary.nominal_bits, summary, "nominal_bits", at, err);
    if (rc == 0)
        rc = jsonio_real(&p->summary.effective_bits, summary, "effective_bits", at, err);
    if (rc == 0)
        rc = jsonio_size(&before, summary, "bytes_before", INT64_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&after, summary, "bytes_after", INT64_MAX, at, err);
    p->summary.bytes_before = before;
    p->summary.bytes_after = after;
    return rc;
}

static int read_plan(struct plan *p, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    json_t *settings = NULL;
    json_int_t found = json_integer_value(json_object_get(root, "schema_version"));
    bool known = found >= VERSION && found <= VERSION_CHANNELS;
    int quantizer = 0, rc = jsonio_check_schema(root, "moqa.plan",
                                                known ? (int)found : VERSION_CHANNELS, file, err);
    if (rc == 0)
        rc = jsonio_text(p->method, sizeof p->method, root, "method", at, err);
    if (rc == 0)
        rc = read_choice(&quantizer, quantizer_names, 3, root, "quantizer", at, err);
    p->quantizer = (enum plan_quantizer)quantizer;
    if (rc == 0)
        rc = read_origin(p, root, file, err);
    if (rc == 0)
        rc = jsonio_object(&settings, root, "settings", at, err);
    if (rc == 0)
        rc = settings_from_json(&p->settings, settings, file, err);
    if (rc == 0)
        rc = read_layers(p, root, file, err);
    if (rc == 0)
        rc = read_summary(p, root, file, err);
    return rc == 0 ? plan_validate(p, file, err) : rc;
}

int plan_load(struct plan *out, const char *path, struct err *err)
{
    json_t *root;
    memset(out, 0, sizeof *out);
    int rc = jsonio_load(&root, path, PLAN_BYTES_MAX, err);
    if (rc < 0)
        return rc;
    rc = read_plan(out, root, path, err);
    json_decref(root);
    if (rc < 0)
        plan_release(out);
    return rc;
}
