#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/quant_config.h"

#include <pcre2.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"

enum {
    PATTERNS_MAX = 4096,
    PATTERN_BYTES_MAX = 1 << 16,
    MATCH_STEPS_MAX = 20000, /* a usual pattern takes some hundreds on a linear's name */
    MATCH_HEAP_KIB = 1024,
    NAME_BYTES_MAX = 1024,
    GROUP_SIZE_MAX = 1 << 24,
    FORMAT_VERSION = 1
};

struct pattern {
    const char *text; /* with its prefix; owned by the JSON */
    bool negative;
    pcre2_code *code;
    struct checkpoint_linear linear;
};

struct quant_config {
    enum checkpoint_format format;
    char *file;
    struct checkpoint_linear base;
    struct pattern *patterns; /* negative ones first */
    size_t patterns_count;
    pcre2_match_context *limits;
    json_t *field;   /* keeps the strings alive */
    json_t *modules; /* of the moqa layout; borrowed from field */
};

/* --- Values --- */

static bool bits_known(unsigned bits)
{
    return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

static int read_bits(unsigned *out, const json_t *object, const char *key, struct jsonio_at at,
                     struct err *err)
{
    size_t bits;
    int rc = jsonio_size(&bits, object, key, 64, at, err);
    if (rc < 0)
        return rc;
    if (!bits_known((unsigned)bits))
        return err_set(err, ERR_UNSUPPORTED, at.file, "%s.%s: found %zu, expected 2, 3, 4 or 8",
                       at.path, key, bits);
    *out = (unsigned)bits;
    return 0;
}

/* -1 is the whole row, here 0. */
static int read_group_size(size_t *out, const json_t *object, struct jsonio_at at, struct err *err)
{
    const json_t *value = json_object_get(object, "group_size");
    if (json_is_integer(value) && json_integer_value(value) == -1) {
        *out = 0;
        return 0;
    }
    int rc = jsonio_size(out, object, "group_size", GROUP_SIZE_MAX, at, err);
    if (rc == 0 && *out == 0)
        rc = err_set(err, ERR_INPUT, at.file, "%s.group_size: found 0, expected -1 or 1 to %d",
                     at.path, GROUP_SIZE_MAX);
    return rc;
}

/* --- The gptq layout --- */

static int compile(struct pattern *p, const char *text, const char *file, struct err *err)
{
    const char *body = text;
    PCRE2_UCHAR reason[128] = "";
    int code = 0;
    PCRE2_SIZE where = 0;
    p->text = text;
    p->negative = strncmp(text, "-:", 2) == 0;
    if (p->negative || strncmp(text, "+:", 2) == 0)
        body += 2;
    if (strlen(body) > PATTERN_BYTES_MAX)
        return err_set(err, ERR_UNSUPPORTED, file,
                       "quantization_config.dynamic: a pattern of %zu bytes, expected at most %d",
                       strlen(body), PATTERN_BYTES_MAX);
    p->code =
        pcre2_compile((PCRE2_SPTR)body, PCRE2_ZERO_TERMINATED, PCRE2_ANCHORED, &code, &where, NULL);
    if (p->code)
        return 0;
    pcre2_get_error_message(code, reason, sizeof reason);
    return err_set(err, ERR_INPUT, file,
                   "quantization_config.dynamic: pattern \"%.200s\" at character %zu: %s", text,
                   (size_t)where, (const char *)reason);
}

static int parse_override(struct pattern *p, const json_t *value, const char *file, struct err *err)
{
    static const char *const kinds[] = {"quant_method", "method", "checkpoint_format", "format",
                                        "pack_dtype"};
    struct jsonio_at at = {file, "quantization_config.dynamic"};
    int rc = 0;
    if (!json_is_object(value))
        return err_set(err, ERR_INPUT, file, "%s: \"%.200s\" is not an object", at.path, p->text);
    if (p->negative)
        return 0;
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (jsonio_has(value, kinds[i]))
            return err_set(err, ERR_UNSUPPORTED, file,
                           "%s: \"%.200s\" changes %s for some linears, which is not supported",
                           at.path, p->text, kinds[i]);
    }
    if (jsonio_has(value, "bits"))
        rc = read_bits(&p->linear.bits, value, "bits", at, err);
    if (rc == 0 && jsonio_has(value, "group_size"))
        rc = read_group_size(&p->linear.group_size, value, at, err);
    return rc;
}

static int parse_dynamic(struct quant_config *q, struct err *err)
{
    json_t *dynamic, *value;
    const char *text;
    struct jsonio_at at = {q->file, "quantization_config"};
    if (!jsonio_has(q->field, "dynamic"))
        return 0;
    int rc = jsonio_object(&dynamic, q->field, "dynamic", at, err);
    if (rc < 0)
        return rc;
    if (json_object_size(dynamic) > PATTERNS_MAX)
        return err_set(err, ERR_UNSUPPORTED, q->file,
                       "quantization_config.dynamic: %zu patterns, expected at most %d",
                       json_object_size(dynamic), PATTERNS_MAX);
    q->patterns = mem_array(json_object_size(dynamic), sizeof *q->patterns, err);
    q->limits = pcre2_match_context_create(NULL);
    if (!q->patterns || !q->limits)
        return err_set(err, ERR_NOMEM, q->file, "no memory for patterns");
    pcre2_set_match_limit(q->limits, MATCH_STEPS_MAX);
    pcre2_set_depth_limit(q->limits, MATCH_STEPS_MAX);
    pcre2_set_heap_limit(q->limits, MATCH_HEAP_KIB);
    for (int negative = 1; negative >= 0; negative--) {
        json_object_foreach(dynamic, text, value)
        {
            if ((strncmp(text, "-:", 2) == 0) != negative)
                continue;
            struct pattern *p = &q->patterns[q->patterns_count++];
            p->linear = q->base;
            rc = compile(p, text, q->file, err);
            if (rc == 0)
                rc = parse_override(p, value, q->file, err);
            if (rc < 0)
                return rc;
        }
    }
    return 0;
}

static int parse_gptq(struct quant_config *q, struct err *err)
{
    struct jsonio_at at = {q->file, "quantization_config"};
    const char *key = jsonio_has(q->field, "checkpoint_format") ? "checkpoint_format" : "format";
    const char *format = "gptq", *pack = "int32";
    int rc = 0;
    if (jsonio_has(q->field, key))
        rc = jsonio_string(&format, q->field, key, at, err);
    if (rc == 0 && jsonio_has(q->field, "pack_dtype"))
        rc = jsonio_string(&pack, q->field, "pack_dtype", at, err);
    if (rc < 0)
        return rc;
    if (strcmp(pack, "int32") != 0)
        return err_set(err, ERR_UNSUPPORTED, q->file,
                       "quantization_config.pack_dtype: found \"%.32s\", expected \"int32\"", pack);
    if (strcmp(format, "gptq") != 0 && strcmp(format, "gptq_v2") != 0)
        return err_set(err, ERR_UNSUPPORTED, q->file,
                       "quantization_config.%s: found \"%.32s\", expected \"gptq\" or \"gptq_v2\"",
                       key, format);
    q->format = strcmp(format, "gptq") == 0 ? CHECKPOINT_GPTQ : CHECKPOINT_GPTQ_V2;
    q->base.quantized = true;
    rc = read_bits(&q->base.bits, q->field, "bits", at, err);
    if (rc == 0)
        rc = read_group_size(&q->base.group_size, q->field, at, err);
    return rc < 0 ? rc : parse_dynamic(q, err);
}

/* --- The moqa layout --- */

static int parse_module(const struct quant_config *q, const json_t *module, const char *name,
                        struct checkpoint_linear *out, struct err *err)
{
    struct jsonio_at at = {q->file, name};
    *out = q->base;
    if (!json_is_object(module))
        return err_set(err, ERR_INPUT, q->file,
                       "quantization_config.modules: \"%.200s\" is not an object", name);
    int rc = read_bits(&out->bits, module, "bits", at, err);
    if (rc == 0 && jsonio_has(module, "channel_bits"))
        rc = read_bits(&out->channel_bits, module, "channel_bits", at, err);
    return rc;
}

static int parse_moqa(struct quant_config *q, struct err *err)
{
    struct jsonio_at at = {q->file, "quantization_config"};
    struct checkpoint_linear ignored;
    const char *name;
    json_t *module;
    size_t version;
    int rc = jsonio_size(&version, q->field, "format_version", SIZE_MAX, at, err);
    if (rc < 0)
        return rc;
    if (version != FORMAT_VERSION)
        return err_set(err, ERR_UNSUPPORTED, q->file,
                       "quantization_config.format_version: found %zu, expected %d; made by "
                       "another version of moqa",
                       version, FORMAT_VERSION);
    q->format = CHECKPOINT_MOQA;
    q->base.quantized = true;
    rc = read_group_size(&q->base.group_size, q->field, at, err);
    if (rc == 0)
        rc = jsonio_object(&q->modules, q->field, "modules", at, err);
    if (rc < 0)
        return rc;
    json_object_foreach(q->modules, name, module)
    {
        rc = parse_module(q, module, name, &ignored, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* The module that holds the linear: its own name, or the nearest one above. */
static int find_module(const struct quant_config *q, const char *linear,
                       struct checkpoint_linear *out, struct err *err)
{
    char name[NAME_BYTES_MAX + 1];
    size_t length = strlen(linear);
    if (length > NAME_BYTES_MAX)
        return err_set(err, ERR_USAGE, q->file, "a linear's name has %zu bytes", length);
    memcpy(name, linear, length + 1);
    for (char *end = name; end;) {
        const json_t *module = json_object_get(q->modules, name);
        if (module)
            return parse_module(q, module, name, out, err);
        end = strrchr(name, '.');
        if (end)
            *end = '\0';
    }
    return 0;
}

/* --- Interface --- */

static int parse_field(struct quant_config *q, struct err *err)
{
    struct jsonio_at at = {q->file, "quantization_config"};
    const char *method;
    int rc = jsonio_string(&method, q->field, "quant_method", at, err);
    if (rc < 0)
        return rc;
    if (strcmp(method, "gptq") == 0)
        return parse_gptq(q, err);
    if (strcmp(method, "moqa") == 0)
        return parse_moqa(q, err);
    return err_set(err, ERR_UNSUPPORTED, q->file,
                   "quantization_config.quant_method: found \"%.32s\", expected \"gptq\" or "
                   "\"moqa\"",
                   method);
}

int quant_config_parse(struct quant_config **out, const json_t *config, const char *file,
                       struct err *err)
{
    *out = NULL;
    struct quant_config *q = mem_array(1, sizeof *q, err);
    if (!q)
        return ERR_NOMEM;
    q->format = CHECKPOINT_PLAIN;
    q->file = mem_strdup(file, err);
    int rc = q->file ? 0 : ERR_NOMEM;
    if (rc == 0 && jsonio_has(config, "quantization_config")) {
        struct jsonio_at at = {file, ""};
        rc = jsonio_object(&q->field, config, "quantization_config", at, err);
        json_incref(q->field);
        if (rc == 0)
            rc = parse_field(q, err);
    }
    if (rc < 0)
        quant_config_free(q);
    else
        *out = q;
    return rc;
}

void quant_config_free(struct quant_config *q)
{
    if (!q)
        return;
    for (size_t i = 0; i < q->patterns_count; i++)
        pcre2_code_free(q->patterns[i].code);
    pcre2_match_context_free(q->limits);
    json_decref(q->field);
    free(q->patterns);
    free(q->file);
    free(q);
}

enum checkpoint_format quant_config_format(const struct quant_config *q)
{
    return q->format;
}

static int match_patterns(const struct quant_config *q, const char *linear, pcre2_match_data *match,
                          struct checkpoint_linear *out, struct err *err)
{
    *out = q->base;
    for (size_t i = 0; i < q->patterns_count; i++) {
        const struct pattern *p = &q->patterns[i];
        int rc = pcre2_match(p->code, (PCRE2_SPTR)linear, strlen(linear), 0, 0, match, q->limits);
        if (rc == PCRE2_ERROR_NOMATCH)
            continue;
        if (rc < 0)
            return err_set(err, ERR_INPUT, q->file,
                           "quantization_config.dynamic: pattern \"%.200s\" takes too many steps "
                           "on \"%.200s\"",
                           p->text, linear);
        *out = p->negative ? (struct checkpoint_linear){0} : p->linear;
        return 0;
    }
    return 0;
}

int quant_config_linear(const struct quant_config *q, const char *linear,
                        struct checkpoint_linear *out, struct err *err)
{
    *out = (struct checkpoint_linear){0};
    if (q->format == CHECKPOINT_PLAIN)
        return 0;
    if (q->format == CHECKPOINT_MOQA)
        return find_module(q, linear, out, err);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    if (!match)
        return err_set(err, ERR_NOMEM, q->file, "no memory to match patterns");
    int rc = match_patterns(q, linear, match, out, err);
    pcre2_match_data_free(match);
    return rc;
}
