#include <ctype.h>
#include <string.h>

#include "data/tokenizer_load.h"

enum { PATTERN_MAX = 1 << 16 };

/* PCRE2's own \s also takes U+180E, which has not been a space since Unicode 6.3; its own \w lacks
 * marks; its \h and \v mean other things. NULL: not possible in a set. */
#define SPACE "\\x09-\\x0d\\x{85}\\p{Z}"
#define WORD "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}"
#define LATIN_WORD "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}" /* in the reference not within a set */
#define HEX "0-9A-Fa-f"
/* Letters and numbers of Unicode 15 to 16, which the reference knows; PCRE2 before 10.45 does not.
 */
#define LETTERS                                                                            \
    "\\x{1c89}-\\x{1c8a}\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{105c0}-\\x{105f3}"       \
    "\\x{10d4a}-\\x{10d65}\\x{10d6f}-\\x{10d85}\\x{10ec2}-\\x{10ec4}\\x{1123f}-\\x{11240}" \
    "\\x{11380}-\\x{11389}\\x{1138b}\\x{1138e}\\x{11390}-\\x{113b5}"                       \
    "\\x{113b7}\\x{113d1}\\x{113d3}\\x{11bc0}-\\x{11be0}"                                  \
    "\\x{11f02}\\x{11f04}-\\x{11f10}\\x{11f12}-\\x{11f33}\\x{1342f}"                       \
    "\\x{13441}-\\x{13446}\\x{13460}-\\x{143fa}\\x{16100}-\\x{1611d}\\x{16d40}-\\x{16d6c}" \
    "\\x{18cff}\\x{1b132}\\x{1b155}\\x{1df25}-\\x{1df2a}"                                  \
    "\\x{1e030}-\\x{1e06d}\\x{1e4d0}-\\x{1e4eb}\\x{1e5d0}-\\x{1e5ed}\\x{1e5f0}"            \
    "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"
#define NUMBERS                                                                            \
    "\\x{10d40}-\\x{10d49}\\x{116d0}-\\x{116e3}\\x{11bf0}-\\x{11bf9}\\x{11f50}-\\x{11f59}" \
    "\\x{16130}-\\x{16139}\\x{16d70}-\\x{16d79}\\x{1ccf0}-\\x{1ccf9}\\x{1d2c0}-\\x{1d2d3}" \
    "\\x{1e4f0}-\\x{1e4f9}\\x{1e5f1}-\\x{1e5fa}"
static const struct escape {
    char name;
    const char *outside, *inside;
} escapes[] = {
    {'s', "[" SPACE "]", SPACE},
    {'S', "[^" SPACE "]", "\\P{White_Space}"},
    {'w', "[" WORD LATIN_WORD "]", WORD},
    {'W', "[^" WORD LATIN_WORD "]", NULL},
    {'h', "[" HEX "]", HEX},
    {'H', "[^" HEX "]", NULL},
    {'d', "\\p{Nd}", "\\p{Nd}"},
    {'D', "\\P{Nd}", "\\P{Nd}"},
    {'p', "\\p", "\\p"},
    {'P', "\\P", "\\P"},
    {'v', "\\x0b", "\\x0b"},
    {'x', "\\x", "\\x"},
    {'r', "\\r", "\\r"},
    {'n', "\\n", "\\n"},
    {'t', "\\t", "\\t"},
    {'f', "\\f", "\\f"},
    {'a', "\\a", "\\a"},
    {'e', "\\e", "\\e"},
    {'A', "\\A", NULL},
    {'z', "\\z", NULL},
    {'Z', "\\Z", NULL},
};

struct translation {
    struct str out;
    const char *begin;
    const char *refused; /* first byte of what is not supported, or NULL */
    size_t refused_size;
    bool in_set;
};

static const char *refuse_part(struct translation *t, const char *part, size_t size)
{
    t->refused = part;
    t->refused_size = size;
    return NULL;
}

/* \p{L}, \p{N} and their negations with what PCRE2 may lack. */
static const char *translate_class(struct translation *t, const char *p)
{
    static const struct {
        const char *name, *outside, *inside;
    } classes[] = {
        {"\\p{L}", "[\\p{L}" LETTERS "]", "\\p{L}" LETTERS},
        {"\\p{N}", "[\\p{N}" NUMBERS "]", "\\p{N}" NUMBERS},
        {"\\P{L}", "[^\\p{L}" LETTERS "]", "\\P{L}"},
        {"\\P{N}", "[^\\p{N}" NUMBERS "]", "\\P{N}"},
    };
    for (size_t i = 0; i < sizeof classes / sizeof classes[0]; i++)
        if (strncmp(p, classes[i].name, 5) == 0) {
            str_append(&t->out, t->in_set ? classes[i].inside : classes[i].outside);
            return p + 5;
        }
    return NULL;
}

/* {NAME} of a property or of a code. A long name is a script, not its extensions. */
static const char *copy_braces(struct translation *t, const char *p)
{
    if (*p != '{')
        return p;
    size_t sign = p[1] == '^' ? 2 : 1, size = strcspn(p, "}");
    bool script = (p[-1] == 'p' || p[-1] == 'P') && size > sign + 2;
    str_append_bytes(&t->out, p, sign);
    str_append(&t->out, script ? "sc:" : "");
    size += p[size] == '}';
    str_append_bytes(&t->out, p + sign, size - sign);
    return p + size;
}

static const char *translate_escape(struct translation *t, const char *p)
{
    const char *after = translate_class(t, p);
    if (after)
        return after;
    for (size_t i = 0; i < sizeof escapes / sizeof escapes[0]; i++) {
        const char *text = t->in_set ? escapes[i].inside : escapes[i].outside;
        if (escapes[i].name != p[1])
            continue;
        if (!text)
            return refuse_part(t, p, 2);
        str_append(&t->out, text);
        p += 2;
        return strchr("pPx", p[-1]) ? copy_braces(t, p) : p;
    }
    if (p[1] == 'u' && strspn(p + 2, "0123456789abcdefABCDEF") >= 4) {
        str_appendf(&t->out, "\\x{%.4s}", p + 2);
        return p + 6;
    }
    if (!p[1] || isalnum((unsigned char)p[1]))
        return refuse_part(t, p, p[1] ? 2 : 1);
    str_append_bytes(&t->out, p, 2); /* also the first byte of a longer character */
    return p + 2;
}

static const char *translate_group(struct translation *t, const char *p)
{
    if (p[1] == '*')
        return refuse_part(t, p, 2);
    if (p[1] == '?' && (!p[2] || !strchr(":=!><", p[2]))) {
        const char *end = p + 2 + strspn(p + 2, "i-");
        bool whole =
            *end == ')' && p == t->begin; /* elsewhere the dialects differ on what it holds */
        if (*end != ':' && !whole)
            return refuse_part(t, p, *end ? (size_t)(end - p) + 1 : strlen(p));
    }
    str_append_bytes(&t->out, p, 1);
    return p + 1;
}

/* {n}, {n,} and {n,m}; other braces stand for themselves in both dialects. */
static const char *translate_brace(struct translation *t, const char *p)
{
    const char *end = p + 1 + strspn(p + 1, "0123456789"), *comma = *end == ',' ? end : NULL;
    if (comma && end == p + 1)
        return refuse_part(t, p, 2);
    if (comma)
        end += 1 + strspn(end + 1, "0123456789");
    if (end > p + 1 && *end == '}') {
        if (end[1] == '+' || (end[1] == '?' && !comma))
            return refuse_part(t, p, (size_t)(end - p) + 2);
        str_append_bytes(&t->out, p, (size_t)(end - p) + 1);
        return end + 1;
    }
    str_append(&t->out, "\\{");
    return p + 1;
}

static const char *translate_in_set(struct translation *t, const char *p)
{
    if (*p == '[' || (p[0] == '&' && p[1] == '&'))
        return refuse_part(t, p, p[1] ? 2 : 1);
    t->in_set = *p != ']';
    str_append_bytes(&t->out, p, 1);
    return p + 1;
}

static const char *translate_set(struct translation *t, const char *p)
{
    size_t head = p[1] == '^' ? 2 : 1;
    if (p[head] == ']') /* a bracket here means itself, or an empty set */
        return refuse_part(t, p, head + 1);
    t->in_set = true;
    str_append_bytes(&t->out, p, head);
    return p + head;
}

static const char *translate_next(struct translation *t, const char *p)
{
    if (*p == '\\')
        return translate_escape(t, p);
    if (t->in_set)
        return translate_in_set(t, p);
    switch (*p) {
    case '[':
        return translate_set(t, p);
    case '(':
        return translate_group(t, p);
    case '{':
        return translate_brace(t, p);
    default:
        str_append_bytes(&t->out, p, 1);
        return p + 1;
    }
}

static int translate(struct str *out, const char *pattern, const char *file, struct err *err)
{
    struct translation t = {.begin = pattern};
    str_append(&t.out, "(*LF)"); /* what ends a line, however PCRE2 was built */
    const char *p = pattern;
    while (p && *p)
        p = translate_next(&t, p);
    *out = t.out;
    if (!t.refused)
        return str_ok(&t.out, err);
    return err_set(err, ERR_UNSUPPORTED, file,
                   "pre_tokenizer: the pattern \"%.200s\" uses %.*s, which is not supported",
                   pattern, t.refused_size > 40 ? 40 : (int)t.refused_size, t.refused);
}

int tokenizer_compile(pcre2_code **out, const char *pattern, bool literal, const char *file,
                      struct err *err)
{
    struct str text = {0};
    int code;
    PCRE2_SIZE offset;
    PCRE2_UCHAR message[160];
    uint32_t options =
        literal ? PCRE2_LITERAL | PCRE2_UTF : PCRE2_UCP | PCRE2_UTF | PCRE2_MULTILINE;
    *out = NULL;
    if (strlen(pattern) > PATTERN_MAX)
        return err_set(err, ERR_INPUT, file, "pre_tokenizer: a pattern is longer than 64 KiB");
    int rc = 0;
    if (literal)
        str_append(&text, pattern);
    else
        rc = translate(&text, pattern, file, err);
    if (rc == 0)
        rc = str_ok(&text, err);
    if (rc == 0) {
        *out =
            pcre2_compile((PCRE2_SPTR)str_get(&text), text.length, options, &code, &offset, NULL);
        if (*out) {
            pcre2_jit_compile(*out, PCRE2_JIT_COMPLETE); /* slower without, not wrong */
        } else {
            pcre2_get_error_message(code, message, sizeof message);
            rc = err_set(err, ERR_UNSUPPORTED, file,
                         "pre_tokenizer: the pattern \"%.200s\" is not understood: %s", pattern,
                         (const char *)message);
        }
    }
    str_release(&text);
    return rc;
}
