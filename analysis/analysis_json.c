#include "analysis/analysis.h"
#include "data/base/jsonio.h"

/* Builders set `failed` instead of returning errors at every step; jansson takes NULL values as
 * failures of the call that stores them. */
struct builder {
    bool failed;
};

static void set(struct builder *b, json_t *object, const char *key, json_t *value)
{
    b->failed |= json_object_set_new(object, key, value) < 0;
}

static void append(struct builder *b, json_t *array, json_t *value)
{
    b->failed |= json_array_append_new(array, value) < 0;
}

static json_t *reals(struct builder *b, const double *values, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        append(b, array, json_real(values[i]));
    return array;
}

static json_t *sizes(struct builder *b, const size_t *values, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++)
        append(b, array, json_integer((json_int_t)values[i]));
    return array;
}

static json_t *choice(const struct settings *s, const char *name)
{
    char text[32];
    settings_get(s, settings_find(name), text, sizeof text);
    return json_string(text);
}

static json_t *trace_part(struct builder *b, const struct analysis_result *r)
{
    json_t *o = json_object();
    set(b, o, "positions", json_integer((json_int_t)r->positions));
    set(b, o, "types", json_integer((json_int_t)r->types));
    set(b, o, "layers", json_integer((json_int_t)r->layers));
    set(b, o, "experts", json_integer((json_int_t)r->experts));
    set(b, o, "top_k", json_integer((json_int_t)r->top_k));
    return o;
}

static json_t *zipf_part(struct builder *b, const struct analysis_result *r)
{
    json_t *o = json_object();
    set(b, o, "fit", choice(&r->settings, "fit"));
    set(b, o, "beta", json_real(r->zipf.beta));
    set(b, o, "C", json_real(r->zipf.c));
    set(b, o, "r2", json_real(r->zipf.r2));
    set(b, o, "ks", json_real(r->zipf.ks));
    return o;
}

static json_t *reweight_part(struct builder *b, const struct analysis_result *r)
{
    static const char *const names[] = {"flat", "rises", "falls"};
    json_t *o = json_object();
    set(b, o, "kind", choice(&r->settings, "reweight"));
    set(b, o, "alpha", json_real(r->settings.alpha));
    set(b, o, "direction", json_string(names[r->direction]));
    set(b, o, "share", reals(b, r->share, 3));
    return o;
}

static json_t *intervals(struct builder *b, const struct analysis_interval *v, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        const size_t rank[] = {v[i].lowest, v[i].tenth, v[i].median, v[i].ninetieth, v[i].highest};
        append(b, array, v[i].valid ? sizes(b, rank, 5) : json_null());
    }
    return array;
}

static json_t *matrix(struct builder *b, const double *values, size_t side)
{
    json_t *array = json_array();
    for (size_t i = 0; i < side; i++)
        append(b, array, reals(b, values + i * side, side));
    return array;
}

static json_t *jenks_part(struct builder *b, const struct analysis_layer *l)
{
    json_t *o = json_object();
    set(b, o, "breaks", reals(b, l->break_at, l->breaks));
    set(b, o, "gvf", json_real(l->gvf));
    return o;
}

static json_t *layer_part(struct builder *b, const struct analysis_layer *l, size_t experts)
{
    bool known = l->anderson_darling_valid;
    json_t *o = json_object();
    set(b, o, "layer", json_integer((json_int_t)l->layer));
    set(b, o, "significance", reals(b, l->significance, experts));
    set(b, o, "mu", json_real(l->mu));
    set(b, o, "sigma", json_real(l->sigma));
    set(b, o, "anderson_darling", known ? json_real(l->anderson_darling) : json_null());
    set(b, o, "anderson_darling_p", known ? json_real(l->anderson_darling_p) : json_null());
    set(b, o, "pattern", json_integer((json_int_t)l->pattern));
    set(b, o, "rule", json_string(l->rule == RULE_THRESHOLD ? "threshold" : "jenks"));
    set(b, o, "threshold", json_real(l->threshold));
    set(b, o, "jenks", jenks_part(b, l));
    set(b, o, "group", sizes(b, l->group, experts));
    set(b, o, "channel_share", reals(b, l->channel_share, experts));
    set(b, o, "interval", intervals(b, l->interval, experts));
    set(b, o, "tokens", sizes(b, l->tokens, experts));
    return o;
}

int analysis_to_json(json_t **out, const struct analysis *a, const double *cosine, struct err *err)
{
    const struct analysis_result *r = analysis_result(a);
    struct builder b = {false};
    json_t *settings = NULL, *layers = json_array();
    *out = NULL;
    int rc = settings_to_json(&settings, &r->settings, err);
    if (rc < 0) {
        json_decref(layers);
        return rc;
    }
    for (size_t l = 0; l < r->layers; l++) {
        json_t *layer = layer_part(&b, &r->layer[l], r->experts);
        if (cosine)
            set(&b, layer, "cosine", matrix(&b, cosine + l * r->experts * r->experts, r->experts));
        append(&b, layers, layer);
    }
    json_t *o = json_object();
    set(&b, o, "schema", json_string("moqa.analysis"));
    set(&b, o, "schema_version", json_integer(1));
    set(&b, o, "trace", trace_part(&b, r));
    set(&b, o, "zipf", zipf_part(&b, r));
    set(&b, o, "reweight", reweight_part(&b, r));
    set(&b, o, "settings", settings);
    set(&b, o, "layers", layers);
    if (b.failed) {
        json_decref(o);
        return err_set(err, ERR_NOMEM, NULL, "no memory for the analysis as JSON");
    }
    *out = o;
    return 0;
}
