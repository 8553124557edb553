#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/base/mem.h"
#include "data/tokenizer_load.h"

/* Reads tokenizer.json. Keys that only matter when special tokens are added or texts are cut and
 * padded (post_processor, truncation, padding) do not change what this program asks for, and are
 * passed over. */

enum { FILE_LIMIT = 256 << 20, ID_MAX = 1 << 24, ADDED_PLACE_MAX = 48 };

/* The byte-level alphabet: printable Latin-1 stands for itself, the other bytes for U+0100
 * upwards in their order. */
static bool is_own_char(int byte)
{
    return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

static int byte_of_char(uint32_t code)
{
    enum { LOW = 0x21, MIDDLE = 0xa1 - 0x7f }; /* how many of the others lie below, above 0x7e */
    if (code < 256)
        return is_own_char((int)code) ? (int)code : -1;
    code -= 256;
    if (code < LOW)
        return (int)code;
    if (code < LOW + MIDDLE)
        return (int)code - LOW + 0x7f;
    return code == LOW + MIDDLE ? 0xad : -1;
}

bool tokenizer_append_raw(struct str *out, const char *text, size_t size)
{
    size_t begin = out->length, at = 0;
    while (at < size) {
        utf8proc_int32_t code;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                (utf8proc_ssize_t)(size - at), &code);
        int byte = got > 0 ? byte_of_char((uint32_t)code) : -1;
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

static void end_token(struct tokenizer *t, uint32_t id, size_t begin)
{
    t->tokens[id].used = true;
    t->tokens[id].offset = begin;
    t->tokens[id].size = t->bytes.length - begin;
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

static struct jsonio_at added_place(const struct tokenizer_loader *l, size_t i,
                                    char place[ADDED_PLACE_MAX])
{
    snprintf(place, ADDED_PLACE_MAX, "added_tokens[%zu]", i);
    return (struct jsonio_at){l->t->path, place};
}

/* Finds the number of ids. */
static int check_ids(struct tokenizer_loader *l, json_t *vocab, json_t *added)
{
    const char *text;
    json_t *value;
    size_t i;
    json_object_foreach(vocab, text, value)
    {
        json_int_t id = json_is_integer(value) ? json_integer_value(value) : -1;
        if (id < 0 || id > ID_MAX)
            return tokenizer_refuse(
                l, ERR_INPUT, "model.vocab: the id of \"%s\" is no whole number in range", text);
        if ((size_t)id >= l->t->vocab)
            l->t->vocab = (size_t)id + 1;
    }
    json_array_foreach(added, i, value)
    {
        char place[ADDED_PLACE_MAX];
        size_t id;
        int rc = jsonio_size(&id, value, "id", ID_MAX, added_place(l, i, place), l->err);
        if (rc < 0)
            return rc;
        if (id >= l->t->vocab)
            l->t->vocab = id + 1;
    }
    return 0;
}

static int load_vocab(struct tokenizer_loader *l, json_t *vocab, json_t *added)
{
    struct tokenizer *t = l->t;
    const char *text;
    json_t *value;
    int rc = check_ids(l, vocab, added);
    if (rc < 0)
        return rc;
    if (json_object_size(vocab) == 0)
        return tokenizer_refuse(l, ERR_INPUT, "model.vocab: found no token, expected some");
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
            return tokenizer_refuse(
                l, ERR_INPUT, "model.vocab: the id of \"%s\" is another token's as well", text);
        size_t begin = t->bytes.length;
        bool raw = tokenizer_append_raw(&t->bytes, text, strlen(text));
        rc = str_ok(&t->bytes, l->err);
        if (rc < 0)
            return rc;
        end_token(t, id, begin);
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

static int add_merge(struct tokenizer_loader *l, json_t *vocab, const json_t *merge, uint32_t rank,
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

static int load_merges(struct tokenizer_loader *l, json_t *model, json_t *vocab)
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
static int check_model(struct tokenizer_loader *l, json_t *model)
{
    static const char *const neutral[] = {"dropout", "continuing_subword_prefix",
                                          "end_of_word_suffix", "byte_fallback"};
    struct jsonio_at at = {l->t->path, "model"};
    const char *type = json_string_value(json_object_get(model, "type"));
    if (type && strcmp(type, "BPE") != 0)
        return tokenizer_refuse(l, ERR_UNSUPPORTED, "model.type: found \"%s\", expected \"BPE\"",
                                type);
    for (size_t i = 0; i < sizeof neutral / sizeof neutral[0]; i++) {
        const json_t *value = json_object_get(model, neutral[i]);
        bool empty = json_is_string(value) && json_string_length(value) == 0;
        bool zero = json_is_number(value) && json_number_value(value) == 0;
        if (value && !json_is_null(value) && !json_is_false(value) && !empty && !zero)
            return tokenizer_refuse(l, ERR_UNSUPPORTED, "model.%s: only null is supported",
                                    neutral[i]);
    }
    if (jsonio_has(model, "unk_token"))
        return tokenizer_refuse(l, ERR_UNSUPPORTED, "model.unk_token: only null is supported");
    return jsonio_has(model, "ignore_merges")
               ? jsonio_bool(&l->t->ignore_merges, model, "ignore_merges", at, l->err)
               : 0;
}

static int load_model(struct tokenizer_loader *l, json_t *root, json_t *added)
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

/* An id is used once, by one text. The vocabulary may list an added token as well, with its id. */
static int check_added(struct tokenizer_loader *l, const json_t *vocab, const char *content,
                       uint32_t id, const char *place)
{
    const struct tokenizer_token *token = &l->t->tokens[id];
    const json_t *listed = json_object_get(vocab, content);
    if (listed && json_integer_value(listed) != (json_int_t)id)
        return tokenizer_refuse(l, ERR_INPUT, "%s: \"%s\" has the id %u here, %lld in model.vocab",
                                place, content, id, (long long)json_integer_value(listed));
    if (token->used && (!listed || token->added))
        return tokenizer_refuse(l, ERR_INPUT, "%s: the id %u of \"%s\" is another token's as well",
                                place, id, content);
    return 0;
}

/* Fills a->content and the token's bytes. */
static int set_added(struct tokenizer_loader *l, struct tokenizer_added *a, const char *content)
{
    struct tokenizer *t = l->t;
    struct str text = {0};
    int rc = 0;
    if (a->normalized)
        rc = tokenizer_normalize(t, &text, content, strlen(content), l->err);
    else
        str_append(&text, content);
    if (rc == 0)
        rc = str_ok(&text, l->err);
    if (rc == 0) {
        size_t begin = t->bytes.length;
        str_append_bytes(&t->bytes, text.data, text.length);
        rc = str_ok(&t->bytes, l->err);
        a->content = text.data;
        a->size = text.length;
        text = (struct str){0};
        t->added_count++;
        t->added_first[(unsigned char)a->content[0]] = true;
        t->tokens[a->id].added = true;
        end_token(t, a->id, begin);
    }
    str_release(&text);
    return rc;
}

static int load_added(struct tokenizer_loader *l, const json_t *vocab, json_t *node,
                      struct jsonio_at at)
{
    struct tokenizer_added *a = &l->t->added[l->t->added_count];
    const char *content;
    size_t id;
    int rc = jsonio_string(&content, node, "content", at, l->err);
    if (rc == 0)
        rc = jsonio_size(&id, node, "id", ID_MAX, at, l->err);
    if (rc == 0)
        rc = load_added_flags(a, node, at, l->err);
    if (rc < 0 || !content[0]) /* an empty token is never found */
        return rc;
    a->id = (uint32_t)id;
    rc = check_added(l, vocab, content, a->id, at.path);
    return rc < 0 ? rc : set_added(l, a, content);
}

static int by_falling_size(const void *a, const void *b)
{
    const struct tokenizer_added *x = a, *y = b;
    return x->size != y->size ? (x->size < y->size ? 1 : -1) : (x->id > y->id) - (x->id < y->id);
}

static int load_all_added(struct tokenizer_loader *l, const json_t *vocab, json_t *list)
{
    json_t *item;
    size_t i;
    l->t->added = mem_array(json_array_size(list), sizeof *l->t->added, l->err);
    if (!l->t->added)
        return ERR_NOMEM;
    json_array_foreach(list, i, item)
    {
        char place[ADDED_PLACE_MAX];
        int rc = load_added(l, vocab, item, added_place(l, i, place));
        if (rc < 0)
            return rc;
    }
    qsort(l->t->added, l->t->added_count, sizeof *l->t->added, by_falling_size);
    return 0;
}

/* What is passed over has to be something known to change nothing here: see the header. */
static int check_coders(struct tokenizer_loader *l, const json_t *root)
{
    const json_t *decoder = json_object_get(root, "decoder"),
                 *post = json_object_get(root, "post_processor");
    const char *type = json_string_value(json_object_get(decoder, "type"));
    if (decoder && !json_is_null(decoder) && (!type || strcmp(type, "ByteLevel") != 0))
        return tokenizer_refuse(l, ERR_UNSUPPORTED,
                                "decoder.type: found \"%s\", expected ByteLevel",
                                type ? type : "nothing");
    if (post && !json_is_null(post) && !json_is_string(json_object_get(post, "type")))
        return tokenizer_refuse(l, ERR_INPUT, "post_processor.type: expected a string");
    return 0;
}

static int load_root(struct tokenizer_loader *l, json_t *root)
{
    json_t *added = json_object_get(root, "added_tokens"), *none = NULL;
    if (!json_is_object(root))
        return tokenizer_refuse(l, ERR_INPUT, "not an object at the top");
    if (!added || json_is_null(added))
        added = none = json_array();
    int rc = json_is_array(added)
                 ? 0
                 : tokenizer_refuse(l, ERR_INPUT, "added_tokens: expected an array");
    if (rc == 0)
        rc = load_model(l, root, added);
    if (rc == 0)
        rc = tokenizer_load_normalizer(l, json_object_get(root, "normalizer"));
    if (rc == 0)
        rc = tokenizer_load_pretokenizer(l, json_object_get(root, "pre_tokenizer"));
    if (rc == 0 && !l->byte_level)
        rc = tokenizer_refuse(l, ERR_UNSUPPORTED, "pre_tokenizer: has no ByteLevel step");
    if (rc == 0)
        rc = load_all_added(l, json_object_get(json_object_get(root, "model"), "vocab"), added);
    if (rc == 0)
        rc = check_coders(l, root);
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
    struct tokenizer_loader l = {t, false, err};
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
