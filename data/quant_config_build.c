/* Writing quantization_config. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/quant_config.h"

enum { PLAIN_BITS = 16, MODULE_NAME_MAX = 256 };

/* GPTQModel loads asymmetric grids of version 1 only if its own name and a version of 0.9 or more
 * stand among the quantizers: that is where its word-wise reading of zero points began. */
static const char *const quantizers[] = {"moqa", "gptqmodel:7.7.0"};

static int check_modules(const struct quant_module *modules, size_t count,
                         enum checkpoint_format format, struct err *err)
{
    for (size_t i = 0; i < count; i++) {
        const struct quant_module *m = &modules[i];
        if (strlen(m->name) + (m->leaf ? strlen(m->leaf) + 1 : 0) >= MODULE_NAME_MAX)
            return err_set(err, ERR_USAGE, NULL, "a module's name has more than %d bytes",
                           MODULE_NAME_MAX - 1);
        bool known = m->bits == 2 || m->bits == 3 || m->bits == 4 || m->bits == 8;
        if (!known && m->bits != PLAIN_BITS)
            return err_set(err, ERR_USAGE, NULL, "%s: %u bits, expected 2, 3, 4, 8 or 16", m->name,
                           m->bits);
        if (m->channel_bits && format != CHECKPOINT_MOQA)
            return err_set(err, ERR_USAGE, NULL, "%s: the gptq layout has no mixed channels",
                           m->name);
    }
    return 0;
}

static int no_memory(struct err *err)
{
    return err_set(err, ERR_NOMEM, NULL, "no memory for quantization_config");
}

static json_int_t group_value(size_t group_size)
{
    return group_size ? (json_int_t)group_size : -1;
}

/* --- moqa --- */

static int build_moqa(json_t **out, size_t group_size, const struct quant_module *modules,
                      size_t count, struct err *err)
{
    json_t *map = json_object();
    int failed = map ? 0 : -1;
    for (size_t i = 0; i < count && failed == 0; i++) {
        const struct quant_module *m = &modules[i];
        if (m->bits == PLAIN_BITS)
            continue;
        json_t *entry = json_pack("{s:I}", "bits", (json_int_t)m->bits);
        char name[MODULE_NAME_MAX];
        snprintf(name, sizeof name, "%s%s%s", m->name, m->leaf ? "." : "", m->leaf ? m->leaf : "");
        failed = json_object_set_new(map, name, entry);
        if (failed == 0 && m->channel_bits)
            failed = json_object_set_new(entry, "channel_bits", json_integer(m->channel_bits));
    }
    if (failed) {
        json_decref(map);
        return no_memory(err);
    }
    *out = json_pack("{s:s, s:i, s:I, s:o}", "quant_method", "moqa", "format_version", 1,
                     "group_size", (json_int_t)group_value(group_size), "modules", map);
    return *out ? 0 : no_memory(err);
}

/* --- gptq: patterns, one for all modules of a parent and a width --- */

static size_t stem_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot ? (size_t)(dot - name) : 0;
}

static void append_escaped(struct str *s, const char *text, size_t length)
{
    for (size_t i = 0; i < length; i++) {
        char c = text[i];
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                     c == '_' || (c & 0x80);
        if (!plain)
            str_append_bytes(s, "\\", 1);
        str_append_bytes(s, &c, 1);
    }
}

static bool same_pattern(const struct quant_module *a, const struct quant_module *b)
{
    size_t length = stem_length(a->name);
    return a->bits == b->bits && strcmp(a->leaf ? a->leaf : "", b->leaf ? b->leaf : "") == 0 &&
           length == stem_length(b->name) && strncmp(a->name, b->name, length) == 0;
}

/* Appends the pattern of modules[first] and all later ones of its kind; marks them used. */
static void append_pattern(struct str *s, const struct quant_module *modules, size_t count,
                           size_t first, bool *used)
{
    size_t length = stem_length(modules[first].name);
    if (modules[first].bits == PLAIN_BITS)
        str_append(s, "-:");
    append_escaped(s, modules[first].name, length);
    str_append(s, length ? "\\.(?:" : "(?:");
    for (size_t i = first; i < count; i++) {
        if (used[i] || !same_pattern(&modules[first], &modules[i]))
            continue;
        const char *leaf = modules[i].name + length + (length > 0);
        if (i > first)
            str_append(s, "|");
        append_escaped(s, leaf, strlen(leaf));
        used[i] = true;
    }
    str_append(s, modules[first].leaf ? ")\\." : ")(?:\\..*)?$");
    if (modules[first].leaf) {
        append_escaped(s, modules[first].leaf, strlen(modules[first].leaf));
        str_append(s, "$");
    }
}

static int add_patterns(json_t *dynamic, const struct quant_module *modules, size_t count,
                        bool plain, bool *used, struct err *err)
{
    struct str text = {0};
    int rc = 0;
    for (size_t i = 0; i < count && rc == 0; i++) {
        if (used[i] || (modules[i].bits == PLAIN_BITS) != plain)
            continue;
        str_clear(&text);
        append_pattern(&text, modules, count, i, used);
        rc = str_ok(&text, err);
        json_t *value = plain ? json_object() : json_pack("{s:i}", "bits", (int)modules[i].bits);
        if (json_object_set_new(dynamic, str_get(&text), value) < 0 && rc == 0)
            rc = no_memory(err);
    }
    str_release(&text);
    return rc;
}

static int add_fixed_patterns(json_t *dynamic, const struct quant_module *modules, size_t count,
                              struct err *err)
{
    static const char *const patterns[] = {"-:.*self_attn\\..*", "-:.*\\.mlp\\.gate$",
                                           "-:.*shared_expert_gate.*"};
    size_t first = 0;
    for (size_t i = 0; i < count; i++) {
        if (modules[i].bits != PLAIN_BITS && strstr(modules[i].name, "self_attn"))
            first = 1;
    }
    for (size_t i = first; i < sizeof patterns / sizeof *patterns; i++) {
        if (json_object_set_new(dynamic, patterns[i], json_object()) < 0)
            return no_memory(err);
    }
    return 0;
}

/* The width that most modules have: what a reader assumes that ignores `dynamic`. */
static unsigned common_bits(const struct quant_module *modules, size_t count)
{
    size_t votes[PLAIN_BITS] = {0};
    unsigned best = 4;
    for (size_t i = 0; i < count; i++) {
        if (modules[i].bits < PLAIN_BITS && ++votes[modules[i].bits] > votes[best])
            best = modules[i].bits;
    }
    return best;
}

static json_t *gptq_meta(void)
{
    json_t *names = json_array();
    for (size_t i = 0; i < sizeof quantizers / sizeof *quantizers; i++)
        json_array_append_new(names, json_string(quantizers[i]));
    return json_pack("{s:o, s:b}", "quantizer", names, "static_groups", 1);
}

static int build_gptq(json_t **out, enum checkpoint_format format, size_t group_size,
                      const struct quant_module *modules, size_t count, struct err *err)
{
    const char *name = format == CHECKPOINT_GPTQ ? "gptq" : "gptq_v2";
    json_t *dynamic = json_object();
    bool *used = mem_array(count, sizeof *used, err);
    int rc = dynamic && used ? 0 : no_memory(err);
    if (rc == 0)
        rc = add_fixed_patterns(dynamic, modules, count, err);
    if (rc == 0)
        rc = add_patterns(dynamic, modules, count, true, used, err);
    if (rc == 0)
        rc = add_patterns(dynamic, modules, count, false, used, err);
    free(used);
    if (rc < 0) {
        json_decref(dynamic);
        return rc;
    }
    *out = json_pack("{s:i, s:s, s:b, s:o, s:s, s:I, s:b, s:o, s:s, s:s, s:s, s:b}", "bits",
                     (int)common_bits(modules, count), "checkpoint_format", name, "desc_act", 1,
                     "dynamic", dynamic, "format", name, "group_size",
                     (json_int_t)group_value(group_size), "lm_head", 0, "meta", gptq_meta(),
                     "method", "gptq", "pack_dtype", "int32", "quant_method", "gptq", "sym", 0);
    return *out ? 0 : no_memory(err);
}

int quant_config_build(json_t **out, enum checkpoint_format format, size_t group_size,
                       const struct quant_module *modules, size_t count, struct err *err)
{
    *out = NULL;
    int rc = check_modules(modules, count, format, err);
    if (rc < 0)
        return rc;
    if (format == CHECKPOINT_MOQA)
        return build_moqa(out, group_size, modules, count, err);
    if (format == CHECKPOINT_PLAIN)
        return err_set(err, ERR_USAGE, NULL, "a plain checkpoint has no quantization_config");
    return build_gptq(out, format, group_size, modules, count, err);
}
