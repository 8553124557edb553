#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/base/mem.h"
#include "data/tokenizer_parts.h"

/* Steps that one match may take before it counts as an explosion, well under a second; a plain
 * pattern takes up to two for each byte of a long run of spaces. */
enum {
    MATCH_LIMIT = 4000000,
    MATCH_LIMIT_BYTE = 2,
    HEAP_LIMIT_KIB = 64 << 10,
    JIT_STACK_START = 32 << 10,
    JIT_STACK_MAX = 8 << 20
};

struct splitter {
    const struct tokenizer *tokenizer;
    struct tokenizer_run *run;
    struct token_ids *ids;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    pcre2_match_data *match[TOKENIZER_SPLITS_MAX];
};

struct piece {
    size_t begin, end;
    bool is_match;
};

struct pieces {
    struct piece *data;
    size_t count, capacity;
};

static int add_piece(struct pieces *p, size_t begin, size_t end, bool is_match, struct err *err)
{
    int rc = mem_grow((void **)&p->data, &p->capacity, p->count + 1, sizeof *p->data, err);
    if (rc == 0)
        p->data[p->count++] = (struct piece){begin, end, is_match};
    return rc;
}

static int match_error(const struct tokenizer *t, int code, struct err *err)
{
    PCRE2_UCHAR text[160];
    pcre2_get_error_message(code, text, sizeof text);
    return err_set(err, ERR_INPUT, t->path, "pre_tokenizer: a pattern failed on this text: %s",
                   (const char *)text);
}

/* Matches (empty ones as well: they part neighbours) and what lies between them, in order. */
static int find_pieces(struct pieces *out, struct splitter *s, size_t stage, const char *text,
                       size_t size, struct err *err)
{
    const struct tokenizer_split *split = &s->tokenizer->splits[stage];
    size_t at = 0, from = 0;
    bool matched = false;
    int rc = 0;
    while (rc == 0 && from <= size) {
        int found = pcre2_match(split->pattern, (PCRE2_SPTR)text, size, from, PCRE2_NO_UTF_CHECK,
                                s->match[stage], s->context);
        if (found == PCRE2_ERROR_NOMATCH)
            break;
        if (found < 0)
            return match_error(s->tokenizer, found, err);
        const PCRE2_SIZE *range = pcre2_get_ovector_pointer(s->match[stage]);
        if (range[0] == range[1] && matched && at == range[1]) {
            do /* an empty match where the last one ended does not count */
                from++;
            while (from < size && ((unsigned char)text[from] & 0xc0) == 0x80);
            continue;
        }
        if (range[0] > at)
            rc = add_piece(out, at, range[0], split->invert, err);
        if (rc == 0)
            rc = add_piece(out, range[0], range[1], !split->invert, err);
        matched = true;
        at = from = range[1];
    }
    return rc < 0 || at == size ? rc : add_piece(out, at, size, split->invert, err);
}

/* Joins or drops pieces as the behaviour says; the order stays. */
static void apply_behavior(struct pieces *p, enum tokenizer_behavior behavior)
{
    size_t used = 0;
    for (size_t i = 0; i < p->count; i++) {
        struct piece piece = p->data[i];
        bool after_match = i > 0 && p->data[i - 1].is_match, join = false;
        if (behavior == SPLIT_REMOVED && piece.is_match)
            continue;
        if (behavior == SPLIT_MERGED_WITH_PREVIOUS)
            join = piece.is_match && !after_match && used > 0;
        else if (behavior == SPLIT_MERGED_WITH_NEXT)
            join = !piece.is_match && after_match;
        else if (behavior == SPLIT_CONTIGUOUS)
            join = i > 0 && piece.is_match == after_match;
        if (join) {
            p->data[used - 1].end = piece.end;
            p->data[used - 1].is_match = piece.is_match;
        } else {
            p->data[used++] = piece;
        }
    }
    p->count = used;
}

static int pretokenize(struct splitter *s, size_t stage, const char *text, size_t size,
                       struct err *err);

static int with_prefix(struct splitter *s, size_t stage, const char *text, size_t size,
                       struct err *err)
{
    struct str longer = {0};
    str_append(&longer, " ");
    str_append_bytes(&longer, text, size);
    int rc = str_ok(&longer, err);
    if (rc == 0)
        rc = pretokenize(s, stage, longer.data, longer.length, err);
    str_release(&longer);
    return rc;
}

static int pretokenize(struct splitter *s, size_t stage, const char *text, size_t size,
                       struct err *err)
{
    if (size == 0)
        return 0;
    if (stage == s->tokenizer->splits_count)
        return tokenizer_run_word(s->run, text, size, err);
    const struct tokenizer_split *split = &s->tokenizer->splits[stage];
    if (split->prefix_space && text[0] != ' ')
        return with_prefix(s, stage, text, size, err);
    if (!split->pattern)
        return pretokenize(s, stage + 1, text, size, err);
    struct pieces p = {0};
    int rc = find_pieces(&p, s, stage, text, size, err);
    if (rc == 0)
        apply_behavior(&p, split->behavior);
    for (size_t i = 0; rc == 0 && i < p.count; i++)
        rc =
            pretokenize(s, stage + 1, text + p.data[i].begin, p.data[i].end - p.data[i].begin, err);
    free(p.data);
    return rc;
}

/* \w and \s of the reference, which looks at added tokens' neighbours with them. */
static bool is_word(utf8proc_int32_t code)
{
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default:
        return code == 0x200c || code == 0x200d || (code >= 0x24b6 && code <= 0x24e9) ||
               (code >= 0x1f130 && code <= 0x1f149) || (code >= 0x1f150 && code <= 0x1f169) ||
               (code >= 0x1f170 && code <= 0x1f189); /* circled letters are alphabetic symbols */
    }
}

static bool is_space(utf8proc_int32_t code)
{
    utf8proc_category_t c = utf8proc_category(code);
    return (code >= 9 && code <= 13) || code == 0x85 || c == UTF8PROC_CATEGORY_ZS ||
           c == UTF8PROC_CATEGORY_ZL || c == UTF8PROC_CATEGORY_ZP;
}

/* Begin of the character that ends at `end`. */
static size_t previous_char(const char *text, size_t end)
{
    do
        end--;
    while (end > 0 && ((unsigned char)text[end] & 0xc0) == 0x80);
    return end;
}

static utf8proc_int32_t char_at(const char *text, size_t begin, size_t size, size_t *next)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + begin,
                                            (utf8proc_ssize_t)(size - begin), &code);
    *next = begin + (got > 0 ? (size_t)got : 1);
    return got > 0 ? code : 0xfffd;
}

static bool stands_alone(const char *text, size_t size, size_t begin, size_t end)
{
    size_t next;
    bool left = begin > 0 && is_word(char_at(text, previous_char(text, begin), size, &next));
    bool right = end < size && is_word(char_at(text, end, size, &next));
    return !left && !right;
}

/* The longest added token that begins here, or NULL. They are sorted by falling size. */
static const struct tokenizer_added *added_at(const struct tokenizer *t, bool normalized,
                                              const char *text, size_t size)
{
    for (size_t i = 0; i < t->added_count; i++) {
        const struct tokenizer_added *a = &t->added[i];
        if (a->normalized == normalized && a->size <= size && a->content[0] == text[0] &&
            memcmp(a->content, text, a->size) == 0)
            return a;
    }
    return NULL;
}

typedef int (*text_fn)(struct splitter *s, const char *text, size_t size, struct err *err);

/* Pushes the added tokens of one kind that the text holds; what lies between goes to `rest`. */
static int split_added(struct splitter *s, bool normalized, const char *text, size_t size,
                       text_fn rest, struct err *err)
{
    size_t done = 0, at = 0, next;
    int rc = 0;
    while (rc == 0 && at < size) {
        const struct tokenizer_added *a =
            s->tokenizer->added_first[(unsigned char)text[at]]
                ? added_at(s->tokenizer, normalized, text + at, size - at)
                : NULL;
        if (!a) {
            at++;
            continue;
        }
        size_t begin = at, end = at + a->size;
        at = end;
        if (a->single_word && !stands_alone(text, size, begin, end))
            continue;
        while (a->lstrip && begin > done &&
               is_space(char_at(text, previous_char(text, begin), size, &next)))
            begin = previous_char(text, begin);
        if (a->lstrip && begin < done) /* the token before took these spaces */
            begin = done;
        while (a->rstrip && end < size && is_space(char_at(text, end, size, &next)))
            end = next;
        if (begin > done)
            rc = rest(s, text + done, begin - done, err);
        if (rc == 0 && begin < end)
            rc = tokenizer_push(s->ids, a->id, err);
        done = end; /* may lie before what the token before took: so it does in the reference */
    }
    return rc < 0 || done >= size ? rc : rest(s, text + done, size - done, err);
}

static int plain_text(struct splitter *s, const char *text, size_t size, struct err *err)
{
    return pretokenize(s, 0, text, size, err);
}

static int raw_text(struct splitter *s, const char *text, size_t size, struct err *err)
{
    struct str normal = {0};
    int rc = tokenizer_normalize(s->tokenizer, &normal, text, size, err);
    if (rc == 0)
        rc = split_added(s, true, str_get(&normal), normal.length, plain_text, err);
    str_release(&normal);
    return rc;
}

int tokenizer_split_text(const struct tokenizer *t, struct tokenizer_run *r, struct token_ids *ids,
                         const char *text, size_t size, struct err *err)
{
    struct splitter s = {.tokenizer = t, .run = r, .ids = ids};
    int rc = 0;
    s.context = pcre2_match_context_create(NULL);
    s.stack = pcre2_jit_stack_create(JIT_STACK_START, JIT_STACK_MAX, NULL);
    if (!s.context || !s.stack)
        rc = err_set(err, ERR_NOMEM, t->path, "no memory for the tokenizer's patterns");
    for (size_t i = 0; rc == 0 && i < t->splits_count; i++) {
        if (!t->splits[i].pattern)
            continue;
        s.match[i] = pcre2_match_data_create_from_pattern(t->splits[i].pattern, NULL);
        if (!s.match[i])
            rc = err_set(err, ERR_NOMEM, t->path, "no memory for the tokenizer's patterns");
    }
    if (rc == 0) {
        size_t limit =
            MATCH_LIMIT + MATCH_LIMIT_BYTE * (size < UINT32_MAX / 4 ? size : UINT32_MAX / 4);
        pcre2_set_match_limit(s.context, (uint32_t)limit);
        pcre2_set_heap_limit(s.context, HEAP_LIMIT_KIB);
        pcre2_jit_stack_assign(s.context, NULL, s.stack);
        rc = split_added(&s, false, text, size, raw_text, err);
    }
    for (size_t i = 0; i < t->splits_count; i++)
        pcre2_match_data_free(s.match[i]);
    pcre2_jit_stack_free(s.stack);
    pcre2_match_context_free(s.context);
    return rc;
}
