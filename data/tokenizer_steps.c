#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

#include "data/tokenizer_load.h"

/* GPT-2's words, which a ByteLevel pre-tokenizer with use_regex cuts. */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

int tokenizer_refuse(struct tokenizer_loader *l, enum err_code code, const char *format, ...)
{
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return err_set(l->err, code, l->t->path, "%s", message);
}

int tokenizer_load_normalizer(struct tokenizer_loader *l, json_t *node)
{
    static const struct {
        const char *name;
        int options;
    } forms[] = {
        {"NFC", UTF8PROC_STABLE | UTF8PROC_COMPOSE},
        {"NFD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE},
        {"NFKC", UTF8PROC_STABLE | UTF8PROC_COMPOSE | UTF8PROC_COMPAT},
        {"NFKD", UTF8PROC_STABLE | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT},
    };
    const char *type = json_string_value(json_object_get(node, "type"));
    size_t i;
    json_t *item, *list = json_object_get(node, "normalizers");
    if (!node || json_is_null(node))
        return 0;
    if (type && strcmp(type, "Sequence") == 0 && json_is_array(list)) {
        int rc = 0;
        json_array_foreach(list, i, item)
        {
            rc = json_is_object(item) ? tokenizer_load_normalizer(l, item)
                                      : tokenizer_refuse(l, ERR_INPUT, "normalizer: not an object");
            if (rc < 0)
                return rc;
        }
        return rc;
    }
    for (i = 0; type && i < sizeof forms / sizeof forms[0]; i++)
        if (strcmp(type, forms[i].name) == 0) {
            if (l->t->normalizers_count == TOKENIZER_NORMALIZERS_MAX)
                return tokenizer_refuse(l, ERR_UNSUPPORTED, "normalizer: more than 8 steps");
            l->t->normalizers[l->t->normalizers_count++] = forms[i].options;
            return 0;
        }
    return tokenizer_refuse(
        l, ERR_UNSUPPORTED,
        "normalizer.type: found \"%s\", expected NFC, NFD, NFKC, NFKD or Sequence",
        type ? type : "nothing");
}

static struct tokenizer_split *new_split(struct tokenizer_loader *l)
{
    if (l->t->splits_count == TOKENIZER_SPLITS_MAX) {
        tokenizer_refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: more than 16 steps");
        return NULL;
    }
    return &l->t->splits[l->t->splits_count++];
}

static int compile(struct tokenizer_loader *l, struct tokenizer_split *split, const char *pattern,
                   bool literal)
{
    return tokenizer_compile(&split->pattern, pattern, literal, l->t->path, l->err);
}

static int load_byte_level(struct tokenizer_loader *l, json_t *node)
{
    struct jsonio_at at = {l->t->path, "pre_tokenizer"};
    bool use_regex = true;
    struct tokenizer_split *split = new_split(l);
    if (!split)
        return ERR_UNSUPPORTED;
    int rc = jsonio_bool(&split->prefix_space, node, "add_prefix_space", at, l->err);
    if (rc == 0 && jsonio_has(node, "use_regex"))
        rc = jsonio_bool(&use_regex, node, "use_regex", at, l->err);
    l->byte_level = true;
    return rc < 0 || !use_regex ? rc : compile(l, split, byte_level_pattern, false);
}

static int load_split(struct tokenizer_loader *l, json_t *node)
{
    static const char *const behaviors[] = {"Isolated", "Removed", "MergedWithPrevious",
                                            "MergedWithNext", "Contiguous"};
    struct jsonio_at at = {l->t->path, "pre_tokenizer"};
    json_t *pattern;
    const char *behavior;
    struct tokenizer_split *split = new_split(l);
    if (!split)
        return ERR_UNSUPPORTED;
    int rc = jsonio_object(&pattern, node, "pattern", at, l->err);
    if (rc == 0)
        rc = jsonio_string(&behavior, node, "behavior", at, l->err);
    if (rc == 0 && jsonio_has(node, "invert"))
        rc = jsonio_bool(&split->invert, node, "invert", at, l->err);
    if (rc < 0)
        return rc;
    size_t i = 0;
    while (i < sizeof behaviors / sizeof behaviors[0] && strcmp(behavior, behaviors[i]) != 0)
        i++;
    if (i == sizeof behaviors / sizeof behaviors[0])
        return tokenizer_refuse(l, ERR_UNSUPPORTED, "pre_tokenizer.behavior: \"%s\" is not known",
                                behavior);
    split->behavior = (enum tokenizer_behavior)i;
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (!regex && !literal)
        return tokenizer_refuse(l, ERR_INPUT,
                                "pre_tokenizer.pattern: expected a string called Regex or String");
    return compile(l, split, regex ? regex : literal, !regex);
}

static int load_digits(struct tokenizer_loader *l, json_t *node)
{
    bool individual = false;
    struct tokenizer_split *split = new_split(l);
    if (!split)
        return ERR_UNSUPPORTED;
    int rc = jsonio_has(node, "individual_digits")
                 ? jsonio_bool(&individual, node, "individual_digits",
                               (struct jsonio_at){l->t->path, "pre_tokenizer"}, l->err)
                 : 0;
    split->behavior = individual ? SPLIT_ISOLATED : SPLIT_CONTIGUOUS;
    return rc < 0 ? rc : compile(l, split, "\\p{N}", false);
}

int tokenizer_load_pretokenizer(struct tokenizer_loader *l, json_t *node)
{
    static const struct {
        const char *name;
        int (*load)(struct tokenizer_loader *l, json_t *node);
    } kinds[] = {{"ByteLevel", load_byte_level}, {"Split", load_split}, {"Digits", load_digits}};
    const char *type = json_string_value(json_object_get(node, "type"));
    json_t *item, *list = json_object_get(node, "pretokenizers");
    size_t i;
    int rc = 0;
    if (type && strcmp(type, "Sequence") == 0 && json_is_array(list)) {
        json_array_foreach(list, i, item)
        {
            rc = json_is_object(item) && !json_object_get(item, "pretokenizers")
                     ? tokenizer_load_pretokenizer(l, item)
                     : tokenizer_refuse(l, ERR_UNSUPPORTED,
                                        "pre_tokenizer: a sequence in a sequence");
            if (rc < 0)
                return rc;
        }
        return 0;
    }
    if (l->byte_level)
        return tokenizer_refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: a step after ByteLevel");
    for (i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(type, kinds[i].name) == 0)
            return kinds[i].load(l, node);
    return tokenizer_refuse(
        l, ERR_UNSUPPORTED,
        "pre_tokenizer.type: found \"%s\", expected ByteLevel, Split, Digits or Sequence",
        type ? type : "nothing");
}
