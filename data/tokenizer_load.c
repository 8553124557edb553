#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/tokenizer_parts.h"

/* Reads tokenizer.json. Keys that only matter when special tokens are added or texts are cut and
 * padded (post_processor, truncation, padding) do not change what this program asks for, and are
 * passed over. */

enum { FILE_LIMIT = 256 << 20, ID_MAX = 1 << 24, PATTERN_MAX = 1 << 16 };

/* GPT-2's words, which a ByteLevel pre-tokenizer with use_regex cuts. */
static const char byte_level_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

struct loader {
    struct tokenizer *t;
    bool byte_level; /* the pre-tokenizer that makes bytes was seen */
    struct err *err;
};

__attribute__((format(printf, 3, 4))) static int refuse(struct loader *l, enum err_code code,
                                                        const char *format, ...)
{
    char message[ERR_MESSAGE_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return err_set(l->err, code, l->t->path, "%s", message);
}

/* The byte-level alphabet: printable Latin-1 stands for itself, the other bytes for U+0100
 * upwards in their order. */
static bool is_own_char(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

int tokenizer_byte_of_char(uint32_t code)
{
    if (code < 256)
        return is_own_char((int)code) ? (int)code : -1;
    uint32_t next = 256;
    for (int byte = 0; byte < 256; byte++)
        if (!is_own_char(byte) && next++ == code)
            return byte;
    return -1;
}

/* Appends the raw bytes of a token's text; false if a character is none of the alphabet, the
 * text itself is then its bytes. */
static bool append_raw(struct str *out, const char *text, size_t size)
{
    size_t begin = out->length, at = 0;
    while (at < size) {
        utf8proc_int32_t code;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                (utf8proc_ssize_t)(size - at), &code);
        int byte = got > 0 ? tokenizer_byte_of_char((uint32_t)code) : -1;
        if (byte < 0) {
            out->length = begin;
            str_append_bytes(out, text, size);
            return false;
        }
        char c = (char)byte;
        str_append_bytes(out, &c, 1);
        at += (size_t)got;
    }
    return true;
}

static int set_token(struct loader *l, uint32_t id, const char *text, size_t size, bool *raw)
{
    struct tokenizer *t = l->t;
    if (t->bytes.length > UINT32_MAX - 2 * size - 1)
        return refuse(l, ERR_INPUT, "the vocabulary is too large");
    t->tokens[id].used = true;
    t->tokens[id].offset = (uint32_t)t->bytes.length;
    *raw = append_raw(&t->bytes, text, size);
    t->tokens[id].size = (uint32_t)(t->bytes.length - t->tokens[id].offset);
    return str_ok(&t->bytes, l->err);
}

static size_t table_size(size_t count)
{
    size_t size = 16;
    while (size < 2 * count)
        size *= 2;
    return size;
}

static void add_word(struct tokenizer *t, uint32_t id)
{
    const struct tokenizer_token *token = &t->tokens[id];
    const char *bytes = t->bytes.data + token->offset;
    size_t i = tokenizer_hash(bytes, token->size) & t->words_mask;
    while (t->words[i] != TOKENIZER_NO_ID)
        i = (i + 1) & t->words_mask;
    t->words[i] = id;
}

/* Ids of vocabulary and added tokens: each is used once, by one text. */
static int check_ids(struct loader *l, json_t *vocab, json_t *added)
{
    const char *text;
    json_t *value;
    size_t i;
    json_object_foreach(vocab, text, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id > ID_MAX)
            return refuse(l, ERR_INPUT, "model.vocab: the id of \"%s\" is no whole number in range",
                          text);
        if ((size_t)id >= l->t->vocab)
            l->t->vocab = (size_t)id + 1;
    }
    json_array_foreach(added, i, value)
    {
        struct jsonio_at at = {l->t->path, "added_tokens"};
        size_t id;
        int rc = jsonio_size(&id, value, "id", ID_MAX, at, l->err);
        if (rc < 0)
            return rc;
        if (id >= l->t->vocab)
            l->t->vocab = id + 1;
    }
    return 0;
}

static int load_vocab(struct loader *l, json_t *vocab, json_t *added)
{
    struct tokenizer *t = l->t;
    const char *text;
    json_t *value;
    bool raw;
    int rc = check_ids(l, vocab, added);
    if (rc < 0)
        return rc;
    if (json_object_size(vocab) == 0)
        return refuse(l, ERR_INPUT, "model.vocab: found no token, expected some");
    size_t words = table_size(json_object_size(vocab));
    t->tokens = mem_array(t->vocab, sizeof *t->tokens, l->err);
    t->words = mem_array(words, sizeof *t->words, l->err);
    if (!t->tokens || !t->words)
        return ERR_NOMEM;
    memset(t->words, 0xff, words * sizeof *t->words);
    t->words_mask = words - 1;
    json_object_foreach(vocab, text, value)
    {
        uint32_t id = (uint32_t)json_integer_value(value);
        if (t->tokens[id].used)
            return refuse(l, ERR_INPUT, "model.vocab: the id of \"%s\" is another token's as well",
                          text);
        rc = set_token(l, id, text, strlen(text), &raw);
        if (rc < 0)
            return rc;
        if (raw)
            add_word(t, id);
    }
    for (int byte = 0; byte < 256; byte++) {
        uint8_t b = (uint8_t)byte;
        t->byte_id[byte] = tokenizer_find_word(t, &b, 1);
    }
    return 0;
}

/* The two halves of a merge: "a b" or ["a", "b"]. */
static bool merge_halves(const json_t *merge, struct str *left, const char **right)
{
    str_clear(left);
    if (json_is_array(merge) && json_array_size(merge) == 2) {
        const char *a = json_string_value(json_array_get(merge, 0));
        *right = json_string_value(json_array_get(merge, 1));
        if (a)
            str_append(left, a);
        return a && *right;
    }
    const char *text = json_string_value(merge), *space = text ? strchr(text, ' ') : NULL;
    if (!space || strchr(space + 1, ' '))
        return false;
    str_append_bytes(left, text, (size_t)(space - text));
    *right = space + 1;
    return true;
}

static int add_merge(struct loader *l, json_t *vocab, const json_t *merge, uint32_t rank,
                     struct str *scratch)
{
    struct tokenizer *t = l->t;
    const char *right;
    if (!merge_halves(merge, scratch, &right) || str_ok(scratch, NULL) < 0)
        return err_set(l->err, ERR_INPUT, t->path,
                       "model.merges[%u]: expected two tokens, as \"a b\" or [\"a\", \"b\"]", rank);
    const json_t *a = json_object_get(vocab, str_get(scratch)), *b = json_object_get(vocab, right);
    const char *missing = !a ? str_get(scratch) : right;
    if (a && b) {
        str_append(scratch, right);
        missing = str_get(scratch);
    }
    const json_t *both = a && b ? json_object_get(vocab, missing) : NULL;
    if (!both)
        return err_set(l->err, ERR_INPUT, t->path,
                       "model.merges[%u]: \"%s\" is not in the vocabulary", rank, missing);
    struct tokenizer_merge m = {(uint32_t)json_integer_value(a), (uint32_t)json_integer_value(b),
                                rank, (uint32_t)json_integer_value(both)};
    size_t i = tokenizer_hash_pair(m.left, m.right) & t->merges_mask;
    while (t->merges[i].left != TOKENIZER_NO_ID &&
           (t->merges[i].left != m.left || t->merges[i].right != m.right))
        i = (i + 1) & t->merges_mask;
    t->merges[i] = m; /* of two equal pairs the later one counts, as in the reference */
    return 0;
}

static int load_merges(struct loader *l, json_t *model, json_t *vocab)
{
    struct tokenizer *t = l->t;
    json_t *merges, *merge;
    size_t i;
    struct str scratch = {0};
    int rc = jsonio_array(&merges, model, "merges", (struct jsonio_at){t->path, "model"}, l->err);
    if (rc < 0)
        return rc;
    size_t slots = table_size(json_array_size(merges));
    t->merges = mem_array(slots, sizeof *t->merges, l->err);
    if (!t->merges)
        return ERR_NOMEM;
    for (size_t s = 0; s < slots; s++)
        t->merges[s].left = TOKENIZER_NO_ID;
    t->merges_mask = slots - 1;
    json_array_foreach(merges, i, merge)
    {
        rc = add_merge(l, vocab, merge, (uint32_t)i, &scratch);
        if (rc < 0)
            break;
    }
    str_release(&scratch);
    return rc;
}

/* Fields of the model that change the result and that are only known in their neutral form. */
static int check_model(struct loader *l, json_t *model)
{
    static const char *const neutral[] = {"dropout", "continuing_subword_prefix",
                                          "end_of_word_suffix", "byte_fallback"};
    struct jsonio_at at = {l->t->path, "model"};
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type && strcmp(type, "BPE") != 0)
        return refuse(l, ERR_UNSUPPORTED, "model.type: found \"%s\", expected \"BPE\"", type);
    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
        const json_t *value = json_object_get(model, neutral[i]);
        bool empty = json_is_string(value) && json_string_length(value) == 0;
        bool zero = json_is_number(value) && json_number_value(value) == 0;
        if (value && !json_is_null(value) && !json_is_false(value) && !empty && !zero)
            return refuse(l, ERR_UNSUPPORTED, "model.%s: only null is supported", neutral[i]);
    }
    if (jsonio_has(model, "unk_token"))
        return refuse(l, ERR_UNSUPPORTED, "model.unk_token: only null is supported");
    return jsonio_has(model, "ignore_merges")
               ? jsonio_bool(&l->t->ignore_merges, model, "ignore_merges", at, l->err)
               : 0;
}

static int load_model(struct loader *l, json_t *root, json_t *added)
{
    json_t *model, *vocab;
    int rc = jsonio_object(&model, root, "model", (struct jsonio_at){l->t->path, ""}, l->err);
    if (rc == 0)
        rc = check_model(l, model);
    if (rc == 0)
        rc = jsonio_object(&vocab, model, "vocab", (struct jsonio_at){l->t->path, "model"}, l->err);
    if (rc == 0)
        rc = load_vocab(l, vocab, added);
    return rc < 0 ? rc : load_merges(l, model, vocab);
}

static int load_normalizer(struct loader *l, json_t *node)
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
            rc = json_is_object(item) ? load_normalizer(l, item)
                                      : refuse(l, ERR_INPUT, "normalizer: not an object");
            if (rc < 0)
                return rc;
        }
        return rc;
    }
    for (i = 0; type && i < sizeof forms / sizeof forms[0]; i++)
        if (strcmp(type, forms[i].name) == 0) {
            if (l->t->normalizers_count == TOKENIZER_NORMALIZERS_MAX)
                return refuse(l, ERR_UNSUPPORTED, "normalizer: more than 8 steps");
            l->t->normalizers[l->t->normalizers_count++] = forms[i].options;
            return 0;
        }
    return refuse(l, ERR_UNSUPPORTED,
                  "normalizer.type: found \"%s\", expected NFC, NFD, NFKC, NFKD or Sequence",
                  type ? type : "nothing");
}

static struct tokenizer_split *new_split(struct loader *l)
{
    if (l->t->splits_count == TOKENIZER_SPLITS_MAX) {
        refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: more than 16 steps");
        return NULL;
    }
    return &l->t->splits[l->t->splits_count++];
}

/*
 * White space as the reference's regular expressions know it: PCRE2's \s also takes U+180E, which
 * has not been a space since Unicode 6.3. \s and \S become classes without it.
 */
static void append_pattern(struct str *out, const char *pattern)
{
    static const char space[] = "\\x09-\\x0d\\x{85}\\p{Z}";
    bool in_class = false;
    for (const char *p = pattern; *p; p++) {
        if (*p == '\\' && p[1] == 's') {
            str_appendf(out, in_class ? "%s" : "[%s]", space);
            p++;
        } else if (*p == '\\' && p[1] == 'S' && !in_class) {
            str_appendf(out, "[^%s]", space);
            p++;
        } else if (*p == '\\' && p[1]) {
            str_append_bytes(out, p++, 2);
        } else {
            in_class = in_class ? *p != ']' : *p == '[';
            str_append_bytes(out, p, 1);
        }
    }
}

static int compile(struct loader *l, struct tokenizer_split *split, const char *pattern,
                   uint32_t options)
{
    struct str text = {0};
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[160];
    if (strlen(pattern) > PATTERN_MAX)
        return refuse(l, ERR_INPUT, "pre_tokenizer: a pattern is longer than 64 KiB");
    if (options & PCRE2_LITERAL)
        str_append(&text, pattern);
    else
        append_pattern(&text, pattern);
    int rc = str_ok(&text, l->err);
    if (rc == 0) {
        split->pattern = pcre2_compile((PCRE2_SPTR)str_get(&text), text.length, options | PCRE2_UTF,
                                       &code, &offset, NULL);
        if (!split->pattern) {
            pcre2_get_error_message(code, message, sizeof message);
            rc = err_set(l->err, ERR_UNSUPPORTED, l->t->path,
                         "pre_tokenizer: the pattern \"%.200s\" is not understood: %s", pattern,
                         (const char *)message);
        } else {
            pcre2_jit_compile(split->pattern, PCRE2_JIT_COMPLETE); /* slower without, not wrong */
        }
    }
    str_release(&text);
    return rc;
}

static int load_byte_level(struct loader *l, json_t *node)
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
    return rc < 0 || !use_regex ? rc : compile(l, split, byte_level_pattern, PCRE2_UCP);
}

static int load_split(struct loader *l, json_t *node)
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
        return refuse(l, ERR_UNSUPPORTED, "pre_tokenizer.behavior: \"%s\" is not known", behavior);
    split->behavior = (enum tokenizer_behavior)i;
    const char *regex = json_string_value(json_object_get(pattern, "Regex"));
    const char *literal = json_string_value(json_object_get(pattern, "String"));
    if (!regex && !literal)
        return refuse(l, ERR_INPUT,
                      "pre_tokenizer.pattern: expected a string called Regex or String");
    return compile(l, split, regex ? regex : literal, regex ? PCRE2_UCP : PCRE2_LITERAL);
}

static int load_digits(struct loader *l, json_t *node)
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
    return rc < 0 ? rc : compile(l, split, "\\p{N}", PCRE2_UCP);
}

static int load_pretokenizer(struct loader *l, json_t *node)
{
    static const struct {
        const char *name;
        int (*load)(struct loader *l, json_t *node);
    } kinds[] = {{"ByteLevel", load_byte_level}, {"Split", load_split}, {"Digits", load_digits}};
    const char *type = json_string_value(json_object_get(node, "type"));
    json_t *item, *list = json_object_get(node, "pretokenizers");
    size_t i;
    int rc = 0;
    if (type && strcmp(type, "Sequence") == 0 && json_is_array(list)) {
        json_array_foreach(list, i, item)
        {
            rc = json_is_object(item) && !json_object_get(item, "pretokenizers")
                     ? load_pretokenizer(l, item)
                     : refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: a sequence in a sequence");
            if (rc < 0)
                return rc;
        }
        return 0;
    }
    if (l->byte_level)
        return refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: a step after ByteLevel");
    for (i = 0; type && i < sizeof kinds / sizeof kinds[0]; i++)
        if (strcmp(type, kinds[i].name) == 0)
            return kinds[i].load(l, node);
    return refuse(l, ERR_UNSUPPORTED,
                  "pre_tokenizer.type: found \"%s\", expected ByteLevel, Split, Digits or Sequence",
                  type ? type : "nothing");
}

static int load_added_flags(struct tokenizer_added *out, json_t *node, struct jsonio_at at,
                            struct err *err)
{
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"single_word", &out->single_word},
                 {"lstrip", &out->lstrip},
                 {"rstrip", &out->rstrip},
                 {"normalized", &out->normalized}};
    out->normalized = !json_is_true(json_object_get(node, "special"));
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        int rc = jsonio_has(node, flags[i].name)
                     ? jsonio_bool(flags[i].flag, node, flags[i].name, at, err)
                     : 0;
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int load_added(struct loader *l, json_t *node)
{
    struct tokenizer *t = l->t;
    struct jsonio_at at = {t->path, "added_tokens"};
    struct tokenizer_added *a = &t->added[t->added_count];
    struct str normal = {0};
    const char *content;
    size_t id;
    bool raw;
    int rc = jsonio_string(&content, node, "content", at, l->err);
    if (rc == 0)
        rc = jsonio_size(&id, node, "id", ID_MAX, at, l->err);
    if (rc == 0)
        rc = load_added_flags(a, node, at, l->err);
    if (rc < 0 || !content[0]) /* an empty token is never found */
        return rc;
    a->id = (uint32_t)id;
    rc = set_token(l, a->id, content, strlen(content), &raw);
    if (rc == 0 && a->normalized)
        rc = tokenizer_normalize(t, &normal, content, strlen(content), l->err);
    if (rc == 0) {
        a->content = mem_strdup(a->normalized ? str_get(&normal) : content, l->err);
        a->size = a->content ? strlen(a->content) : 0;
        rc = a->content ? 0 : ERR_NOMEM;
        t->added_count += rc == 0;
    }
    str_release(&normal);
    return rc;
}

static int by_falling_size(const void *a, const void *b)
{
    const struct tokenizer_added *x = a, *y = b;
    return x->size != y->size ? (x->size < y->size ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static int load_all_added(struct loader *l, json_t *list)
{
    json_t *item;
    size_t i;
    l->t->added = mem_array(json_array_size(list), sizeof *l->t->added, l->err);
    if (!l->t->added)
        return ERR_NOMEM;
    json_array_foreach(list, i, item)
    {
        int rc = load_added(l, item);
        if (rc < 0)
            return rc;
    }
    qsort(l->t->added, l->t->added_count, sizeof *l->t->added, by_falling_size);
    return 0;
}

static int load_root(struct loader *l, json_t *root)
{
    json_t *added = json_object_get(root, "added_tokens"), *none = NULL;
    if (!json_is_object(root))
        return refuse(l, ERR_INPUT, "not an object at the top");
    if (!added || json_is_null(added))
        added = none = json_array();
    int rc = json_is_array(added) ? 0 : refuse(l, ERR_INPUT, "added_tokens: expected an array");
    if (rc == 0)
        rc = load_model(l, root, added);
    if (rc == 0)
        rc = load_normalizer(l, json_object_get(root, "normalizer"));
    if (rc == 0)
        rc = load_pretokenizer(l, json_object_get(root, "pre_tokenizer"));
    if (rc == 0 && !l->byte_level)
        rc = refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: has no ByteLevel step");
    if (rc == 0)
        rc = load_all_added(l, added);
    json_decref(none);
    return rc;
}

int tokenizer_load(struct tokenizer **out, const char *path, struct err *err)
{
    char *text = NULL;
    size_t size;
    json_t *root = NULL;
    *out = NULL;
    struct tokenizer *t = mem_array(1, sizeof *t, err);
    if (!t)
        return ERR_NOMEM;
    struct loader l = {t, false, err};
    t->path = mem_strdup(path, err);
    int rc = t->path ? str_read_file(&text, &size, path, FILE_LIMIT, err) : ERR_NOMEM;
    if (rc == 0)
        rc = hash_bytes(t->sha256, text, size, err);
    if (rc == 0)
        rc = jsonio_parse(&root, text, size, path, err);
    free(text);
    if (rc == 0)
        rc = load_root(&l, root);
    json_decref(root);
    if (rc < 0)
        tokenizer_free(t);
    else
        *out = t;
    return rc;
}
