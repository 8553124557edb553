#include <stdio.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/settings.h"

static json_t *value_to_json(const struct settings *s, const struct setting_info *info)
{
    const void *p = (const char *)s + info->offset;
    char text[64];
    switch (info->kind) {
    case SETTING_REAL:
        return json_real(*(const double *)p);
    case SETTING_AUTO: {
        const struct setting_auto *a = p;
        return a->given ? json_real(a->value) : json_string("auto");
    }
    case SETTING_COUNT:
        return json_integer((json_int_t) * (const size_t *)p);
    case SETTING_BITS:
        return json_integer(*(const unsigned *)p);
    case SETTING_SEED:
        if (*(const uint64_t *)p <= INT64_MAX)
            return json_integer((json_int_t) * (const uint64_t *)p);
        break;
    case SETTING_BITS_LIST: {
        if (!s->class_bits_count)
            break;
        json_t *list = json_array();
        for (size_t i = 0; i < s->class_bits_count; i++)
            json_array_append_new(list, json_integer(s->class_bits[i]));
        return list;
    }
    default:
        break;
    }
    settings_get(s, info, text, sizeof text);
    return json_string(text);
}

static json_t *layers_to_json(const struct settings *s)
{
    json_t *layers = json_object();
    for (size_t i = 0; i < SETTINGS_LAYERS_MAX; i++) {
        if (!s->layer[i].has_rule && !s->layer[i].has_threshold)
            continue;
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        json_t *entry = json_object();
        if (s->layer[i].has_rule)
            json_object_set_new(entry, "rule",
                                json_string(settings_find("rule")->choices[s->layer[i].rule]));
        if (s->layer[i].has_threshold)
            json_object_set_new(entry, "threshold", json_real(s->layer[i].threshold));
        json_object_set_new(layers, key, entry);
    }
    return layers;
}

int settings_to_json(json_t **out, const struct settings *s, struct err *err)
{
    bool failed = false;
    json_t *object = json_object();
    for (size_t i = 0; i < settings_count(); i++)
        failed |= json_object_set_new(object, settings_info(i)->name,
                                      value_to_json(s, settings_info(i))) < 0;
    json_t *layers = layers_to_json(s);
    if (json_object_size(layers) > 0)
        failed |= json_object_set(object, "layers", layers) < 0;
    failed |= !layers;
    json_decref(layers);
    if (failed) {
        json_decref(object);
        return err_set(err, ERR_NOMEM, NULL, "no memory for the settings");
    }
    *out = object;
    return 0;
}

/* A JSON value as the text that settings_set() takes; false for what no setting can be. */
static bool value_to_text(char *out, size_t size, const json_t *value)
{
    if (json_is_string(value) && json_string_length(value) < size &&
        !strchr(json_string_value(value), ':'))
        snprintf(out, size, "%s", json_string_value(value));
    else if (json_is_integer(value))
        snprintf(out, size, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
    else if (json_is_real(value))
        snprintf(out, size, "%.17g", json_real_value(value));
    else if (json_is_array(value) && json_array_size(value) <= SETTINGS_CLASSES_MAX) {
        size_t used = 0, i;
        const json_t *item;
        out[0] = '\0';
        json_array_foreach(value, i, item)
        {
            if (!json_is_integer(item))
                return false;
            used += (size_t)snprintf(out + used, size - used, "%s%" JSON_INTEGER_FORMAT,
                                     i ? "," : "", json_integer_value(item));
            if (used >= size)
                return false;
        }
    } else
        return false;
    return true;
}

/* Sets one value from JSON, with the error turned into one about the file. */
static int set_from_json(struct settings *s, const char *name, const char *prefix,
                         const json_t *value, const char *file, struct err *err)
{
    char text[128], prefixed[160];
    if (!settings_find(name))
        return err_set(err, ERR_INPUT, file, "settings: no setting is called \"%s\"", name);
    if (!value_to_text(text, sizeof text, value))
        return err_set(err, ERR_INPUT, file, "settings.%s: not a value that a setting can have",
                       name);
    snprintf(prefixed, sizeof prefixed, "%s%s", prefix, text);
    struct err inner = {0};
    if (settings_set(s, name, prefixed, &inner) < 0)
        return err_set(err, ERR_INPUT, file, "settings.%s", inner.message);
    return 0;
}

static int layers_from_json(struct settings *s, json_t *layers, const char *file, struct err *err)
{
    const char *key, *name;
    json_t *entry, *value;
    if (!json_is_object(layers))
        return err_set(err, ERR_INPUT, file, "settings.layers: expected an object");
    json_object_foreach(layers, key, entry)
    {
        if (!json_is_object(entry))
            return err_set(err, ERR_INPUT, file, "settings.layers.%s: expected an object", key);
        json_object_foreach(entry, name, value)
        {
            char prefix[32];
            if (strlen(key) > 8)
                return err_set(err, ERR_INPUT, file, "settings.layers: no layer \"%s\"", key);
            snprintf(prefix, sizeof prefix, "%s:", key);
            int rc = set_from_json(s, name, prefix, value, file, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

int settings_merge_json(struct settings *s, const json_t *object, const char *file, struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value)
    {
        int rc = strcmp(key, "layers") == 0 ? layers_from_json(s, value, file, err)
                                            : set_from_json(s, key, "", value, file, err);
        if (rc < 0)
            return rc;
    }
    struct err inner = {0};
    if (settings_check(s, &inner) < 0)
        return err_set(err, ERR_INPUT, file, "settings: %s", inner.message);
    return 0;
}

int settings_from_json(struct settings *out, const json_t *object, const char *file,
                       struct err *err)
{
    settings_defaults(out);
    return settings_merge_json(out, object, file, err);
}
