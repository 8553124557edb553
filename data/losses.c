#include "data/losses.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/checkpoint.h"
#include "data/model_config.h"

int losses_alloc(struct losses *l, size_t layers, size_t experts, struct err *err)
{
    l->layers_count = layers;
    l->experts = experts;
    l->layers = mem_array(layers, sizeof *l->layers, err);
    if (!l->layers)
        return ERR_NOMEM;
    for (size_t i = 0; i < layers; i++) {
        l->layers[i].experts = mem_array(experts, sizeof *l->layers[i].experts, err);
        if (!l->layers[i].experts) {
            losses_release(l);
            return ERR_NOMEM;
        }
    }
    return 0;
}

void losses_release(struct losses *l)
{
    for (size_t i = 0; l->layers && i < l->layers_count; i++)
        free(l->layers[i].experts);
    free(l->layers);
    memset(l, 0, sizeof *l);
}

/* Settings that decide how a linear is rounded and what its Hessian is. `shift` and `learn` are
 * none of them: no linear has a loss of its own with these (docs/method.md, "Budget"). */
static const char *const rounding_settings[] = {"group_size",     "grid",    "scale_search",
                                                "order",          "damping", "shrink",
                                                "hessian_weight", "refine",  NULL};
static const char *const channel_settings[] = {"channel_score", "bits_channel", NULL};
enum { SETTING_TEXT = 64 };

const char *const *losses_settings(void)
{
    return rounding_settings;
}

const char *const *losses_channel_settings(void)
{
    return channel_settings;
}

size_t losses_channels(double share, size_t inputs)
{
    double count = rint(share * (double)inputs);
    return count < 1 ? 1 : (size_t)count;
}

size_t losses_channel_widths(const struct losses *l)
{
    size_t count = 0;
    while (l->shares_count && count < l->widths_count &&
           l->widths[count] < l->settings.bits_channel)
        count++;
    return count;
}

bool losses_are_shares(const double *shares, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!(shares[i] > (i ? shares[i - 1] : 0) && shares[i] <= 0.5))
            return false;
    return count <= LOSSES_SHARES_MAX;
}

int losses_parse_shares(double shares[LOSSES_SHARES_MAX], size_t *count, const char *name,
                        const char *text, struct err *err)
{
    const char *at = text;
    bool legal = *text;
    for (*count = 0; legal && *at;) {
        char *end;
        double share = strtod(at, &end);
        legal =
            end != at && (*end == '\0' || (*end == ',' && end[1])) && *count < LOSSES_SHARES_MAX;
        if (legal)
            shares[(*count)++] = share;
        at = *end == ',' ? end + 1 : end;
    }
    if (legal && losses_are_shares(shares, *count))
        return 0;
    return err_set(err, ERR_USAGE, NULL,
                   "%s: found \"%s\", expected 1 to %d shares above 0, at most 0.5, rising", name,
                   text, LOSSES_SHARES_MAX);
}

/* The first setting of a list in which two differ, or NULL. */
static const char *differing_setting(const char *const *names, const struct settings *a,
                                     const struct settings *b, char in_a[SETTING_TEXT],
                                     char in_b[SETTING_TEXT])
{
    for (size_t i = 0; names[i]; i++) {
        const struct setting_info *info = settings_find(names[i]);
        settings_get(a, info, in_a, SETTING_TEXT);
        settings_get(b, info, in_b, SETTING_TEXT);
        if (strcmp(in_a, in_b) != 0)
            return info->name;
    }
    return NULL;
}

static int check_settings(const struct losses *l, const char *file, const char *const *names,
                          const struct settings *s, struct err *err)
{
    char measured[SETTING_TEXT], asked[SETTING_TEXT];
    const char *name = differing_setting(names, &l->settings, s, measured, asked);
    if (!name)
        return 0;
    return err_set(err, ERR_USAGE, file,
                   "the losses were measured with %s = %s, the plan has %s; give both the same",
                   name, measured, asked);
}

int losses_check_settings(const struct losses *l, const char *file, const struct settings *s,
                          struct err *err)
{
    return check_settings(l, file, rounding_settings, s, err);
}

int losses_check_channels(const struct losses *l, const char *file, const struct settings *s,
                          struct err *err)
{
    if (losses_channel_widths(l) == 0)
        return err_set(err, ERR_USAGE, file,
                       "measured without mixed channels; moqa losses --channels measures them");
    return check_settings(l, file, channel_settings, s, err);
}

static bool same_shares(const struct losses *a, const struct losses *b)
{
    for (size_t i = 0; i < a->shares_count && i < b->shares_count; i++)
        if (a->shares[i] != b->shares[i])
            return false;
    return a->shares_count == b->shares_count;
}

static bool same_widths(const struct losses *a, const struct losses *b)
{
    return a->widths_count == b->widths_count &&
           memcmp(a->widths, b->widths, a->widths_count * sizeof *a->widths) == 0;
}

int losses_check_same(const struct losses *found, const char *file, const struct losses *wanted,
                      struct err *err)
{
    char in_file[SETTING_TEXT], asked[SETTING_TEXT];
    const char *what = NULL, *name;
    if (strcmp(found->model_sha256, wanted->model_sha256) != 0)
        what = "another model";
    else if (strcmp(found->calibration_sha256, wanted->calibration_sha256) != 0)
        what = "other calibration tokens";
    else if (found->probe_positions != wanted->probe_positions)
        what = "another number of probed tokens";
    else if (!same_widths(found, wanted))
        what = "other widths";
    else if (!same_shares(found, wanted))
        what = "other shares of channels";
    if (what)
        return err_set(err, ERR_INPUT, file, "holds losses of %s", what);
    name =
        differing_setting(rounding_settings, &found->settings, &wanted->settings, in_file, asked);
    if (!name && found->shares_count)
        name = differing_setting(channel_settings, &found->settings, &wanted->settings, in_file,
                                 asked);
    if (name)
        return err_set(err, ERR_INPUT, file, "holds losses for %s = %s, expected %s", name, in_file,
                       asked);
    return 0;
}

int losses_check_model(const struct losses *l, const char *file, const struct model_config *config,
                       struct err *err)
{
    size_t layers = model_config_moe_layers(config);
    if (l->layers_count != layers || l->experts != config->experts)
        return err_set(err, ERR_INPUT, file,
                       "holds losses of %zu layers of %zu experts, the model has %zu of %zu",
                       l->layers_count, l->experts, layers, config->experts);
    for (size_t i = 0; i < layers; i++)
        if (l->layers[i].layer != model_config_moe_layer(config, i))
            return err_set(err, ERR_INPUT, file, "layers[%zu].layer: found %zu, expected %zu", i,
                           l->layers[i].layer, model_config_moe_layer(config, i));
    if (l->config_sha256[0] && config->sha256[0] && strcmp(l->config_sha256, config->sha256) != 0)
        return err_set(err, ERR_INPUT, file, "holds losses of another model (%.200s)",
                       l->model_name);
    if (!l->complete)
        return err_set(err, ERR_INPUT, file,
                       "only %zu of %zu layers are measured; moqa losses with --resume goes on",
                       l->layers_done, l->layers_count);
    return 0;
}

int losses_check_weights(const struct losses *l, const char *file, const char *fingerprint,
                         const char *dir, struct err *err)
{
    if (strcmp(l->model_sha256, fingerprint) == 0)
        return 0;
    return err_set(err, ERR_INPUT, file,
                   "holds losses of other weights of the same shape than those in %s", dir);
}

int losses_check_folder(const struct losses *l, const char *file, const char *dir, struct err *err)
{
    struct checkpoint *c = NULL;
    if (!checkpoint_has_weights(dir))
        return 0;
    int rc = checkpoint_open(&c, dir, err);
    if (rc == 0)
        rc = losses_check_weights(l, file, checkpoint_fingerprint(c), dir, err);
    checkpoint_free(c);
    return rc;
}
