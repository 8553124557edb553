#include "data/plan.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/model_config.h"
#include "data/trace.h"

const char *const plan_linear_names[PLAN_LINEARS] = {"gate", "up", "down"};

int plan_alloc(struct plan *p, size_t layers, size_t experts, struct err *err)
{
    p->layers_count = layers;
    p->experts = experts;
    p->layers = mem_array(layers, sizeof *p->layers, err);
    if (!p->layers)
        return ERR_NOMEM;
    for (size_t l = 0; l < layers; l++) {
        p->layers[l].experts = mem_array(experts, sizeof *p->layers[l].experts, err);
        if (!p->layers[l].experts) {
            plan_release(p);
            return ERR_NOMEM;
        }
    }
    return 0;
}

void plan_release(struct plan *p)
{
    for (size_t l = 0; p->layers && l < p->layers_count; l++)
        free(p->layers[l].experts);
    free(p->layers);
    memset(p, 0, sizeof *p);
}

int plan_copy(struct plan *out, const struct plan *p, struct err *err)
{
    struct plan copy = *p;
    int rc = plan_alloc(&copy, p->layers_count, p->experts, err);
    if (rc < 0)
        return rc;
    for (size_t l = 0; l < p->layers_count; l++) {
        struct plan_expert *experts = copy.layers[l].experts;
        memcpy(experts, p->layers[l].experts, p->experts * sizeof *experts);
        copy.layers[l] = p->layers[l];
        copy.layers[l].experts = experts;
    }
    *out = copy;
    return 0;
}

unsigned plan_expert_bits(const struct plan_expert *x, enum plan_linear linear)
{
    return x->linear_bits[linear] ? x->linear_bits[linear] : x->bits;
}

bool plan_expert_is_mixed(const struct plan_expert *x)
{
    return x->linear_bits[PLAN_GATE] != x->linear_bits[PLAN_UP] ||
           x->linear_bits[PLAN_UP] != x->linear_bits[PLAN_DOWN];
}

bool plan_is_mixed(const struct plan *p)
{
    for (size_t i = 0; i < p->layers_count * p->experts; i++)
        if (plan_expert_is_mixed(&p->layers[i / p->experts].experts[i % p->experts]))
            return true;
    return false;
}

unsigned plan_shared_bits(const struct plan *p, const struct plan_layer *l, enum plan_linear linear)
{
    return l->shared_bits[linear] ? l->shared_bits[linear] : p->settings.bits_shared;
}

bool plan_expert_has_channels(const struct plan_expert *x)
{
    return x->channels[PLAN_GATE] || x->channels[PLAN_UP] || x->channels[PLAN_DOWN];
}

bool plan_has_channels(const struct plan *p)
{
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++)
            if (plan_expert_has_channels(&p->layers[l].experts[e]))
                return true;
    return false;
}

static bool equal_experts(const struct plan_expert *a, const struct plan_expert *b)
{
    return a->bits == b->bits && a->pinned == b->pinned &&
           memcmp(a->linear_bits, b->linear_bits, sizeof a->linear_bits) == 0 &&
           memcmp(a->channels, b->channels, sizeof a->channels) == 0;
}

bool plan_equal(const struct plan *a, const struct plan *b)
{
    if (strcmp(a->method, b->method) != 0 || a->quantizer != b->quantizer ||
        strcmp(a->config_sha256, b->config_sha256) != 0 ||
        !settings_equal(&a->settings, &b->settings) || a->layers_count != b->layers_count ||
        a->experts != b->experts)
        return false;
    for (size_t l = 0; l < a->layers_count; l++) {
        const struct plan_layer *x = &a->layers[l], *y = &b->layers[l];
        if (memcmp(x->shared_bits, y->shared_bits, sizeof x->shared_bits) != 0)
            return false;
        for (size_t e = 0; e < a->experts; e++)
            if (!equal_experts(&x->experts[e], &y->experts[e]))
                return false;
    }
    return true;
}

/* --- Checks: each says what is wrong in one sentence with the place --- */

struct check {
    const struct plan *plan;
    const char *file;
    struct err *err;
};

static int check_hash(const struct check *c, const char *name, const char *hash)
{
    size_t length = strlen(hash);
    bool hex = strspn(hash, "0123456789abcdef") == length;
    if (length == 0 || (hex && length == HASH_HEX_SIZE - 1))
        return 0;
    return err_set(c->err, ERR_INPUT, c->file,
                   "%s: found \"%s\", expected 64 lower-case hexadecimal digits or nothing", name,
                   hash);
}

/* A number of a layer that must be finite and, where `least` says so, not negative. */
static int check_real(const struct check *c, size_t layer, const char *name, double value,
                      double least)
{
    if (isfinite(value) && value >= least)
        return 0;
    return err_set(c->err, ERR_INPUT, c->file, "layers[%zu].%s: found %g, expected a number%s",
                   layer, name, value, least == 0 ? " of at least 0" : "");
}

static int check_breaks(const struct check *c, size_t i)
{
    const struct plan_layer *l = &c->plan->layers[i];
    size_t most = c->plan->settings.classes - 1;
    if (l->breaks > most)
        return err_set(c->err, ERR_INPUT, c->file,
                       "layers[%zu].breaks: found %zu breaks, expected at most %zu for %zu classes",
                       i, l->breaks, most, c->plan->settings.classes);
    for (size_t b = 0; b < l->breaks; b++) {
        int rc = check_real(c, i, "breaks", l->break_at[b], -HUGE_VAL);
        if (rc < 0)
            return rc;
        if (b > 0 && l->break_at[b] <= l->break_at[b - 1])
            return err_set(c->err, ERR_INPUT, c->file,
                           "layers[%zu].breaks: found %g after %g, expected rising values", i,
                           l->break_at[b], l->break_at[b - 1]);
    }
    return 0;
}

static bool is_width(unsigned bits)
{
    return bits == 2 || bits == 3 || bits == 4 || bits == 8 || bits == 16;
}

/* Widths of single linears: all of them or none; one of them is what `bits` says. */
static int check_linear_bits(const struct check *c, const char *at, const char *name,
                             const uint8_t bits[PLAN_LINEARS])
{
    if (!bits[PLAN_GATE] && !bits[PLAN_UP] && !bits[PLAN_DOWN])
        return 0;
    for (size_t i = 0; i < PLAN_LINEARS; i++)
        if (!is_width(bits[i]))
            return err_set(c->err, ERR_INPUT, c->file,
                           "%s.%s[%zu]: found %u, expected 2, 3, 4, 8 or 16", at, name, i, bits[i]);
    if (c->plan->quantizer == PLAN_NONE)
        return err_set(c->err, ERR_INPUT, c->file, "%s.%s: expected none, since quantizer is none",
                       at, name);
    return 0;
}

static int check_linears(const struct check *c, const char *at, const struct plan_expert *x)
{
    const uint8_t *bits = x->linear_bits;
    int rc = check_linear_bits(c, at, "linear_bits", bits);
    if (rc < 0 || !bits[PLAN_GATE])
        return rc;
    if (x->bits != bits[PLAN_GATE] && x->bits != bits[PLAN_UP] && x->bits != bits[PLAN_DOWN])
        return err_set(c->err, ERR_INPUT, c->file, "%s.bits: found %u, expected one of linear_bits",
                       at, x->bits);
    return 0;
}

static int check_channels(const struct check *c, const char *at, const struct plan_expert *x)
{
    unsigned most = c->plan->settings.bits_channel;
    for (int i = 0; i < PLAN_LINEARS; i++) {
        unsigned bits = plan_expert_bits(x, (enum plan_linear)i);
        if (x->channels[i] && bits >= most)
            return err_set(c->err, ERR_INPUT, c->file,
                           "%s.channels: found %zu in %s of %u bits, expected none: bits_channel "
                           "is %u",
                           at, x->channels[i], plan_linear_names[i], bits, most);
    }
    return 0;
}

static int check_layer(const struct check *c, size_t i)
{
    const struct plan_layer *l = &c->plan->layers[i];
    if (l->layer >= MODEL_LAYERS_MAX)
        return err_set(c->err, ERR_INPUT, c->file,
                       "layers[%zu].layer: found %zu, expected less than %d", i, l->layer,
                       MODEL_LAYERS_MAX);
    if (i > 0 && l->layer <= c->plan->layers[i - 1].layer)
        return err_set(c->err, ERR_INPUT, c->file,
                       "layers[%zu].layer: found %zu after %zu, expected rising numbers without "
                       "repeats",
                       i, l->layer, c->plan->layers[i - 1].layer);
    if (l->pattern != 1 && l->pattern != 2)
        return err_set(c->err, ERR_INPUT, c->file,
                       "layers[%zu].pattern: found %zu, expected 1 or 2", i, l->pattern);
    if (l->rule != RULE_THRESHOLD && l->rule != RULE_JENKS)
        return err_set(c->err, ERR_INPUT, c->file, "layers[%zu].rule: expected threshold or jenks",
                       i);
    int rc = check_real(c, i, "mu", l->mu, 0);
    if (rc == 0)
        rc = check_real(c, i, "sigma", l->sigma, 0);
    if (rc == 0)
        rc = check_real(c, i, "threshold", l->threshold, -HUGE_VAL);
    if (rc == 0)
        rc = check_real(c, i, "gvf", l->gvf, -HUGE_VAL);
    char at[32];
    snprintf(at, sizeof at, "layers[%zu]", i);
    if (rc == 0)
        rc = check_linear_bits(c, at, "shared_bits", l->shared_bits);
    return rc == 0 ? check_breaks(c, i) : rc;
}

static int check_expert(const struct check *c, size_t layer, size_t e)
{
    const struct plan *p = c->plan;
    const struct plan_expert *x = &p->layers[layer].experts[e];
    size_t groups = p->layers[layer].rule == RULE_THRESHOLD ? 2 : p->settings.classes;
    char at[64];
    snprintf(at, sizeof at, "layers[%zu].experts[%zu]", layer, e);
    if (!isfinite(x->significance) || x->significance < 0)
        return err_set(c->err, ERR_INPUT, c->file,
                       "%s.significance: found %g, expected a number of at least 0", at,
                       x->significance);
    if (x->group < 1 || x->group > groups)
        return err_set(c->err, ERR_INPUT, c->file, "%s.group: found %zu, expected 1 to %zu", at,
                       x->group, groups);
    if (!is_width(x->bits))
        return err_set(c->err, ERR_INPUT, c->file, "%s.bits: found %u, expected 2, 3, 4, 8 or 16",
                       at, x->bits);
    if (p->quantizer == PLAN_NONE && x->bits != 16)
        return err_set(c->err, ERR_INPUT, c->file,
                       "%s.bits: found %u, expected 16, since quantizer is none", at, x->bits);
    int rc = check_linears(c, at, x);
    return rc == 0 ? check_channels(c, at, x) : rc;
}

static int check_summary(const struct check *c)
{
    double nominal = c->plan->summary.nominal_bits, effective = c->plan->summary.effective_bits;
    if (!isfinite(nominal) || nominal < 0 || nominal > 64)
        return err_set(c->err, ERR_INPUT, c->file,
                       "summary.nominal_bits: found %g, expected 0 to 64", nominal);
    if (!isfinite(effective) || effective < 0 || effective > 256)
        return err_set(c->err, ERR_INPUT, c->file,
                       "summary.effective_bits: found %g, expected 0 to 256", effective);
    return 0;
}

static int check_head(const struct check *c)
{
    const struct plan *p = c->plan;
    struct err inner = {0};
    if (!p->method[0])
        return err_set(c->err, ERR_INPUT, c->file, "method: found nothing, expected a name");
    if (p->quantizer != PLAN_GPTQ && p->quantizer != PLAN_RTN && p->quantizer != PLAN_NONE)
        return err_set(c->err, ERR_INPUT, c->file, "quantizer: expected gptq, rtn or none");
    if (settings_check(&p->settings, &inner) < 0)
        return err_set(c->err, ERR_INPUT, c->file, "settings: %s", inner.message);
    if (p->layers_count < 1 || p->layers_count > MODEL_LAYERS_MAX)
        return err_set(c->err, ERR_INPUT, c->file, "layers: found %zu, expected 1 to %d",
                       p->layers_count, MODEL_LAYERS_MAX);
    if (p->experts < 1 || p->experts > TRACE_EXPERTS_MAX)
        return err_set(c->err, ERR_INPUT, c->file, "layers[0].experts: found %zu, expected 1 to %d",
                       p->experts, TRACE_EXPERTS_MAX);
    int rc = check_hash(c, "model.config_sha256", p->config_sha256);
    return rc == 0 ? check_hash(c, "trace.sha256", p->trace_sha256) : rc;
}

int plan_validate(const struct plan *p, const char *file, struct err *err)
{
    struct check c = {p, file, err};
    int rc = check_head(&c);
    for (size_t l = 0; rc == 0 && l < p->layers_count; l++) {
        rc = check_layer(&c, l);
        for (size_t e = 0; rc == 0 && e < p->experts; e++)
            rc = check_expert(&c, l, e);
    }
    return rc == 0 ? check_summary(&c) : rc;
}

/* --- Against a model --- */

static void differ_size(struct str *s, const char *name, size_t plan, size_t model)
{
    if (plan != model)
        str_appendf(s, "%s%s (plan %zu, model %zu)", s->length ? ", " : "", name, plan, model);
}

static void differ_text(struct str *s, const char *name, const char *plan, const char *model)
{
    if (plan[0] && model[0] && strcmp(plan, model) != 0)
        str_appendf(s, "%s%s (plan %.16s, model %.16s)", s->length ? ", " : "", name, plan, model);
}

static void differ_layers(struct str *s, const struct plan *p, const struct model_config *config)
{
    size_t layers = model_config_moe_layers(config);
    differ_size(s, "MoE layers", p->layers_count, layers);
    for (size_t l = 0; l < p->layers_count && l < layers; l++) {
        if (p->layers[l].layer == model_config_moe_layer(config, l))
            continue;
        char name[48];
        snprintf(name, sizeof name, "number of MoE layer %zu", l);
        differ_size(s, name, p->layers[l].layer, model_config_moe_layer(config, l));
        return; /* one is enough: the others follow from it */
    }
}

static int check_inputs(const struct plan *p, const char *file, const struct model_config *config,
                        struct err *err)
{
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t i = 0; i < p->experts * PLAN_LINEARS; i++) {
            size_t e = i / PLAN_LINEARS, k = i % PLAN_LINEARS;
            size_t found = p->layers[l].experts[e].channels[k];
            size_t inputs = k == PLAN_DOWN ? config->expert_size : config->hidden;
            if (found > inputs)
                return err_set(err, ERR_INPUT, file,
                               "layers[%zu].experts[%zu].channels: found %zu in %s, but the linear "
                               "layer has %zu inputs",
                               l, e, found, plan_linear_names[k], inputs);
        }
    return 0;
}

int plan_check_model(const struct plan *p, const char *file, const struct model_config *config,
                     struct err *err)
{
    struct str fields = {0};
    int rc = 0;
    differ_text(&fields, "type", p->model_type, config->type_name);
    differ_layers(&fields, p, config);
    differ_size(&fields, "experts a layer", p->experts, config->experts);
    differ_text(&fields, "config_sha256", p->config_sha256, config->sha256);
    if (fields.length)
        rc = err_set(err, ERR_INPUT, file,
                     "the plan was made for another model (%s); these differ: %s", p->model_name,
                     str_get(&fields));
    else
        rc = str_ok(&fields, err);
    str_release(&fields);
    return rc == 0 ? check_inputs(p, file, config, err) : rc;
}
