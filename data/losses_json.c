/* Losses as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/losses.h"
#include "data/model_config.h"
#include "data/trace.h"

enum { LOSSES_BYTES_MAX = 1 << 28, VERSION = 1 };

/* --- Writing --- */

static json_t *numbers(const double *values, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, json_real(values[i]));
    return list;
}

/* Losses with mixed channels, a list of shares for each width. */
static json_t *channels_json(const struct losses *l, const struct losses_expert *x)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < PLAN_LINEARS; i++) {
        json_t *list = json_array();
        for (size_t w = 0; w < losses_channel_widths(l); w++)
            json_array_append_new(list, numbers(x->channel_loss[i][w], l->shares_count));
        json_object_set_new(o, plan_linear_names[i], list);
    }
    return o;
}

static json_t *expert_json(const struct losses *l, const struct losses_expert *x, bool channels)
{
    json_t *o = json_pack("{s:I,s:f}", "tokens", (json_int_t)x->tokens, "outlier", x->outlier);
    for (size_t i = 0; o && i < PLAN_LINEARS; i++)
        json_object_set_new(o, plan_linear_names[i], numbers(x->loss[i], l->widths_count));
    if (o && channels)
        json_object_set_new(o, "channels", channels_json(l, x));
    return o;
}

static json_t *layer_json(const struct losses *l, const struct losses_layer *x)
{
    json_t *experts = json_array();
    for (size_t e = 0; e < l->experts; e++)
        json_array_append_new(experts, expert_json(l, &x->experts[e], l->shares_count > 0));
    return json_pack("{s:I,s:f,s:f,s:o,s:o}", "layer", (json_int_t)x->layer, "sensitivity",
                     x->sensitivity, "importance", x->importance, "experts", experts, "shared",
                     expert_json(l, &x->shared, false));
}

int losses_save(const struct losses *l, const char *path, struct err *err)
{
    json_t *settings = NULL, *layers = json_array(), *widths = json_array();
    int rc = settings_to_json(&settings, &l->settings, err);
    for (size_t i = 0; i < l->widths_count; i++)
        json_array_append_new(widths, json_integer(l->widths[i]));
    for (size_t i = 0; i < l->layers_done; i++)
        json_array_append_new(layers, layer_json(l, &l->layers[i]));
    json_t *root = json_pack(
        "{s:s,s:i,s:{s:o,s:s,s:s,s:s},s:{s:s,s:I,s:I},s:b,s:I,s:I,s:o,s:o,s:o}", "schema",
        "moqa.losses", "schema_version", VERSION, "model", "name", jsonio_bytes(l->model_name),
        "type", l->model_type, "config_sha256", l->config_sha256, "sha256", l->model_sha256,
        "calibration", "sha256", l->calibration_sha256, "positions", (json_int_t)l->positions,
        "probe_positions", (json_int_t)l->probe_positions, "complete", l->complete, "moe_layers",
        (json_int_t)l->layers_count, "experts", (json_int_t)l->experts, "widths", widths,
        "settings", settings, "layers", layers);
    if (root && l->shares_count)
        json_object_set_new(root, "channel_shares", numbers(l->shares, l->shares_count));
    if (rc == 0)
        rc = root ? jsonio_save(root, path, err)
                  : err_set(err, ERR_INPUT, path,
                            "a name in the losses is not valid UTF-8, or there is no memory");
    json_decref(root);
    return rc;
}

/* --- Reading --- */

/* Some number of at least 0. */
static int read_amount(double *out, const json_t *object, const char *key, struct jsonio_at at,
                       struct err *err)
{
    int rc = jsonio_real(out, object, key, at, err);
    if (rc == 0 && !(isfinite(*out) && *out >= 0))
        rc = err_set(err, ERR_INPUT, at.file, "%s.%s: found %g, expected a number of at least 0",
                     at.path, key, *out);
    return rc;
}

static int read_list(double *out, size_t count, const json_t *list, const char *key,
                     struct jsonio_at at, struct err *err)
{
    if (json_array_size(list) != count)
        return err_set(err, ERR_INPUT, at.file, "%s.%s: found %zu losses, expected %zu", at.path,
                       key, json_array_size(list), count);
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_array_get(list, i);
        out[i] = json_number_value(value);
        if (!json_is_number(value) || !isfinite(out[i]) || out[i] < 0)
            return err_set(err, ERR_INPUT, at.file, "%s.%s[%zu]: expected a number of at least 0",
                           at.path, key, i);
    }
    return 0;
}

/* Losses of a linear with mixed channels, [width][share]. */
static int read_shares(double out[][LOSSES_SHARES_MAX], const struct losses *l,
                       const json_t *object, const char *key, struct jsonio_at at, struct err *err)
{
    json_t *list;
    size_t widths = losses_channel_widths(l);
    int rc = jsonio_array(&list, object, key, at, err);
    if (rc == 0 && json_array_size(list) != widths)
        rc = err_set(err, ERR_INPUT, at.file, "%s.%s: found %zu widths, expected %zu", at.path, key,
                     json_array_size(list), widths);
    for (size_t w = 0; rc == 0 && w < widths; w++) {
        char name[32];
        snprintf(name, sizeof name, "%s[%zu]", key, w);
        rc = read_list(out[w], l->shares_count, json_array_get(list, w), name, at, err);
    }
    return rc;
}

static int read_channels(struct losses_expert *x, const struct losses *l, const json_t *object,
                         struct jsonio_at at, struct err *err)
{
    char path[128];
    json_t *channels;
    int rc = jsonio_object(&channels, object, "channels", at, err);
    snprintf(path, sizeof path, "%s.channels", at.path);
    at.path = path;
    for (size_t i = 0; rc == 0 && i < PLAN_LINEARS; i++)
        rc = read_shares(x->channel_loss[i], l, channels, plan_linear_names[i], at, err);
    return rc;
}

static int read_expert(struct losses_expert *x, const struct losses *l, bool channels,
                       const json_t *object, struct jsonio_at at, struct err *err)
{
    json_t *list;
    int rc = jsonio_size(&x->tokens, object, "tokens", INT64_MAX, at, err);
    if (rc == 0)
        rc = read_amount(&x->outlier, object, "outlier", at, err);
    for (size_t i = 0; rc == 0 && i < PLAN_LINEARS; i++) {
        rc = jsonio_array(&list, object, plan_linear_names[i], at, err);
        if (rc == 0)
            rc = read_list(x->loss[i], l->widths_count, list, plan_linear_names[i], at, err);
    }
    return rc == 0 && channels ? read_channels(x, l, object, at, err) : rc;
}

static int read_layer(struct losses *l, size_t index, const json_t *object, const char *file,
                      struct err *err)
{
    char path[96];
    struct jsonio_at at = {file, path};
    struct losses_layer *x = &l->layers[index];
    json_t *experts = NULL, *shared = NULL;
    snprintf(path, sizeof path, "layers[%zu]", index);
    int rc = jsonio_size(&x->layer, object, "layer", MODEL_LAYERS_MAX, at, err);
    if (rc == 0)
        rc = read_amount(&x->sensitivity, object, "sensitivity", at, err);
    if (rc == 0)
        rc = jsonio_real(&x->importance, object, "importance", at, err);
    if (rc == 0)
        rc = jsonio_object(&shared, object, "shared", at, err);
    if (rc == 0)
        rc = jsonio_array(&experts, object, "experts", at, err);
    if (rc == 0 && json_array_size(experts) != l->experts)
        rc = err_set(err, ERR_INPUT, file, "%s.experts: found %zu experts, expected %zu", path,
                     json_array_size(experts), l->experts);
    for (size_t e = 0; rc == 0 && e < l->experts; e++) {
        snprintf(path, sizeof path, "layers[%zu].experts[%zu]", index, e);
        rc = read_expert(&x->experts[e], l, l->shares_count > 0, json_array_get(experts, e), at,
                         err);
    }
    snprintf(path, sizeof path, "layers[%zu].shared", index);
    return rc == 0 ? read_expert(&x->shared, l, false, shared, at, err) : rc;
}

static int read_widths(struct losses *l, const json_t *root, const char *file, struct err *err)
{
    json_t *list;
    int rc = jsonio_array(&list, root, "widths", (struct jsonio_at){file, ""}, err);
    if (rc < 0)
        return rc;
    l->widths_count = json_array_size(list);
    if (l->widths_count < 1 || l->widths_count > LOSSES_WIDTHS_MAX)
        return err_set(err, ERR_INPUT, file, "widths: found %zu, expected 1 to %d", l->widths_count,
                       LOSSES_WIDTHS_MAX);
    for (size_t i = 0; i < l->widths_count; i++) {
        json_int_t bits = json_integer_value(json_array_get(list, i));
        if ((bits != 2 && bits != 3 && bits != 4 && bits != 8) ||
            (i > 0 && (unsigned)bits <= l->widths[i - 1]))
            return err_set(err, ERR_INPUT, file,
                           "widths[%zu]: expected 2, 3, 4 or 8, each more than the one before", i);
        l->widths[i] = (unsigned)bits;
    }
    return 0;
}

/* Files without them were measured without mixed channels. */
static int read_shares_list(struct losses *l, const json_t *root, const char *file, struct err *err)
{
    json_t *list;
    if (!jsonio_has(root, "channel_shares"))
        return 0;
    int rc = jsonio_array(&list, root, "channel_shares", (struct jsonio_at){file, ""}, err);
    if (rc < 0)
        return rc;
    size_t count = json_array_size(list);
    for (size_t i = 0; i < count && i < LOSSES_SHARES_MAX; i++)
        l->shares[i] = json_number_value(json_array_get(list, i));
    if (count < 1 || count > LOSSES_SHARES_MAX || !losses_are_shares(l->shares, count))
        return err_set(err, ERR_INPUT, file,
                       "channel_shares: expected 1 to %d numbers above 0, at most 0.5, rising",
                       LOSSES_SHARES_MAX);
    l->shares_count = count;
    return 0;
}

static int read_head(struct losses *l, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at top = {file, ""}, in_model = {file, "model"}, in_calib = {file, "calibration"};
    json_t *model = NULL, *calibration = NULL, *settings = NULL;
    int rc = jsonio_check_schema(root, "moqa.losses", VERSION, file, err);
    if (rc == 0)
        rc = jsonio_object(&model, root, "model", top, err);
    if (rc == 0)
        rc = jsonio_text(l->model_name, sizeof l->model_name, model, "name", in_model, err);
    if (rc == 0)
        rc = jsonio_text(l->model_type, sizeof l->model_type, model, "type", in_model, err);
    if (rc == 0)
        rc = jsonio_text(l->config_sha256, HASH_HEX_SIZE, model, "config_sha256", in_model, err);
    if (rc == 0)
        rc = jsonio_text(l->model_sha256, HASH_HEX_SIZE, model, "sha256", in_model, err);
    if (rc == 0)
        rc = jsonio_object(&calibration, root, "calibration", top, err);
    if (rc == 0)
        rc =
            jsonio_text(l->calibration_sha256, HASH_HEX_SIZE, calibration, "sha256", in_calib, err);
    if (rc == 0)
        rc = jsonio_size(&l->positions, calibration, "positions", INT64_MAX, in_calib, err);
    if (rc == 0)
        rc = jsonio_size(&l->probe_positions, calibration, "probe_positions", INT64_MAX, in_calib,
                         err);
    if (rc == 0)
        rc = jsonio_bool(&l->complete, root, "complete", top, err);
    if (rc == 0)
        rc = jsonio_object(&settings, root, "settings", top, err);
    if (rc == 0)
        rc = settings_from_json(&l->settings, settings, file, err);
    if (rc == 0)
        rc = read_widths(l, root, file, err);
    return rc == 0 ? read_shares_list(l, root, file, err) : rc;
}

static int read_layers(struct losses *l, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at top = {file, ""};
    json_t *layers = NULL;
    size_t count = 0, experts = 0;
    int rc = jsonio_size(&count, root, "moe_layers", MODEL_LAYERS_MAX, top, err);
    if (rc == 0)
        rc = jsonio_size(&experts, root, "experts", TRACE_EXPERTS_MAX, top, err);
    if (rc == 0)
        rc = jsonio_array(&layers, root, "layers", top, err);
    if (rc < 0)
        return rc;
    size_t done = json_array_size(layers);
    if (done > count || (l->complete && done < count))
        return err_set(err, ERR_INPUT, file, "layers: found %zu, expected %s%zu", done,
                       l->complete ? "" : "at most ", count);
    rc = losses_alloc(l, count, experts, err);
    for (size_t i = 0; rc == 0 && i < done; i++)
        rc = read_layer(l, i, json_array_get(layers, i), file, err);
    l->layers_done = done;
    return rc;
}

int losses_load(struct losses *out, const char *path, struct err *err)
{
    json_t *root;
    memset(out, 0, sizeof *out);
    int rc = jsonio_load(&root, path, LOSSES_BYTES_MAX, err);
    if (rc < 0)
        return rc;
    rc = read_head(out, root, path, err);
    if (rc == 0)
        rc = read_layers(out, root, path, err);
    json_decref(root);
    if (rc < 0)
        losses_release(out);
    return rc;
}
