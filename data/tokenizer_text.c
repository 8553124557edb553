#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/base/mem.h"
#include "data/tokenizer_parts.h"

/* Length of the longest prefix that could still begin a valid sequence: the "maximal subpart"
 * that one U+FFFD stands for (Unicode, chapter 3.9). At least 1. */
static size_t invalid_length(const uint8_t *p, size_t size)
{
    uint8_t lead = p[0], low = 0x80, high = 0xbf;
    size_t wanted = lead >= 0xc2 && lead <= 0xdf   ? 1
                    : (lead & 0xf0) == 0xe0        ? 2
                    : lead >= 0xf0 && lead <= 0xf4 ? 3
                                                   : 0;
    if (lead == 0xe0)
        low = 0xa0;
    else if (lead == 0xed)
        high = 0x9f;
    else if (lead == 0xf0)
        low = 0x90;
    else if (lead == 0xf4)
        high = 0x8f;
    size_t n = 1;
    while (n <= wanted && n < size && p[n] >= low && p[n] <= high) {
        low = 0x80;
        high = 0xbf;
        n++;
    }
    return n;
}

void tokenizer_append_lossy(struct str *out, const char *text, size_t size)
{
    size_t valid = 0;
    while (valid < size) {
        utf8proc_int32_t code;
        const uint8_t *p = (const uint8_t *)text + valid;
        utf8proc_ssize_t got = utf8proc_iterate(p, (utf8proc_ssize_t)(size - valid), &code);
        if (got > 0) {
            valid += (size_t)got;
            continue;
        }
        size_t bad = invalid_length(p, size - valid);
        str_append_bytes(out, text, valid);
        str_append(out, "\xef\xbf\xbd");
        text += valid + bad;
        size -= valid + bad;
        valid = 0;
    }
    str_append_bytes(out, text, valid);
}

/*
 * The reference normalizes by the tables of Unicode 9. For it these later characters (marks with a
 * combining class, characters with a decomposition, halves of a composition) neither decompose,
 * nor compose, nor change places, so that a text can be normalized piece by piece between them.
 */
static const struct {
    uint32_t first, last;
} inert[] = {{0x0558, 0x0558},   {0x058b, 0x058c},   {0x05c8, 0x05c9},   {0x07fd, 0x07fd},
             {0x0897, 0x089f},   {0x08ca, 0x08d3},   {0x09fe, 0x09fe},   {0x0c3c, 0x0c3c},
             {0x0d3b, 0x0d3c},   {0x0eba, 0x0eba},   {0x1715, 0x1715},   {0x1abf, 0x1af0},
             {0x1df6, 0x1dfa},   {0x209d, 0x209f},   {0x32ff, 0x32ff},   {0xa7f1, 0xa7f4},
             {0xa82c, 0xa82c},   {0xab69, 0xab69},   {0x105c9, 0x105c9}, {0x105d2, 0x105d2},
             {0x105da, 0x105da}, {0x105e4, 0x105e4}, {0x10781, 0x10785}, {0x10787, 0x107b0},
             {0x107b2, 0x107bf}, {0x10d24, 0x10d27}, {0x10d69, 0x10d6d}, {0x10eab, 0x10eac},
             {0x10ecb, 0x10ecf}, {0x10ef0, 0x10efb}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50},
             {0x10f82, 0x10f85}, {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x11382, 0x11385},
             {0x1138b, 0x1138b}, {0x1138e, 0x1138e}, {0x11390, 0x11391}, {0x113b8, 0x113b8},
             {0x113bb, 0x113bb}, {0x113c2, 0x113c2}, {0x113c5, 0x113c5}, {0x113c7, 0x113c9},
             {0x113ce, 0x113d0}, {0x1145e, 0x1145e}, {0x11839, 0x1183a}, {0x11930, 0x11930},
             {0x11935, 0x11935}, {0x11938, 0x11938}, {0x1193d, 0x1193e}, {0x11943, 0x11943},
             {0x119e0, 0x119e0}, {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99},
             {0x11d42, 0x11d42}, {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42},
             {0x1611e, 0x16129}, {0x1612f, 0x1612f}, {0x16d63, 0x16d63}, {0x16d67, 0x16d6a},
             {0x16ff0, 0x16ff1}, {0x1b123, 0x1b126}, {0x1ccd6, 0x1ccf9}, {0x1d127, 0x1d128},
             {0x1d250, 0x1d252}, {0x1d25b, 0x1d25c}, {0x1d25f, 0x1d25f}, {0x1d280, 0x1d281},
             {0x1d6a6, 0x1d6a6}, {0x1df95, 0x1df95}, {0x1dfcd, 0x1dfff}, {0x1e030, 0x1e06d},
             {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
             {0x1e4ec, 0x1e4ef}, {0x1e5ee, 0x1e5ef}, {0x1e6e3, 0x1e6e3}, {0x1e6e6, 0x1e6e6},
             {0x1e6ee, 0x1e6ef}, {0x1e6f5, 0x1e6f5}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9}};

static bool is_inert(utf8proc_int32_t code)
{
    size_t low = 0, high = sizeof inert / sizeof inert[0];
    while (low < high) {
        size_t middle = (low + high) / 2;
        if ((uint32_t)code > inert[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < sizeof inert / sizeof inert[0] && (uint32_t)code >= inert[low].first;
}

struct mark {
    utf8proc_int32_t code;
    utf8proc_propval_t order;
    size_t position;
};

static int by_class(const void *a, const void *b)
{
    const struct mark *x = a, *y = b;
    if (x->order != y->order)
        return x->order < y->order ? -1 : 1;
    return (x->position > y->position) - (x->position < y->position);
}

/* Canonical ordering of one run of marks. utf8proc's own is quadratic in the length of a run. */
static int order_marks(utf8proc_int32_t *codes, size_t count, struct err *err)
{
    struct mark *marks = mem_array(count, sizeof *marks, err);
    if (!marks)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++)
        marks[i] = (struct mark){codes[i], utf8proc_get_property(codes[i])->combining_class, i};
    qsort(marks, count, sizeof *marks, by_class);
    for (size_t i = 0; i < count; i++)
        codes[i] = marks[i].code;
    free(marks);
    return 0;
}

static int order_all_marks(utf8proc_int32_t *codes, size_t count, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < count;) {
        size_t begin = i;
        while (i < count && utf8proc_get_property(codes[i])->combining_class != 0)
            i++;
        if (i - begin > 1)
            rc = order_marks(codes + begin, i - begin, err);
        i += i == begin;
    }
    return rc;
}

static int decompose(utf8proc_int32_t **codes, size_t *count, size_t *capacity, const char *text,
                     size_t size, int options, struct err *err)
{
    enum { LONGEST = 32 }; /* of one character; Unicode's is 18 */
    int boundary = 0;
    *count = 0;
    for (size_t at = 0; at < size;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + at,
                                                (utf8proc_ssize_t)(size - at), &code);
        if (got <= 0)
            return err_set(err, ERR_INPUT, NULL, "cannot normalize a text that is not UTF-8");
        at += (size_t)got;
        int rc = mem_grow((void **)codes, capacity, *count + LONGEST, sizeof **codes, err);
        if (rc < 0)
            return rc;
        got = utf8proc_decompose_char(code, *codes + *count, LONGEST, (utf8proc_option_t)options,
                                      &boundary);
        if (got < 0 || got > LONGEST)
            return err_set(err, ERR_INPUT, NULL, "cannot normalize U+%04X", (unsigned)code);
        *count += (size_t)got;
    }
    return 0;
}

static void append_codes(struct str *out, const utf8proc_int32_t *codes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        utf8proc_uint8_t bytes[4];
        str_append_bytes(out, bytes, (size_t)utf8proc_encode_char(codes[i], bytes));
    }
}

struct normal_scratch {
    utf8proc_int32_t *codes;
    size_t capacity;
};

/* Text without inert characters. */
static int append_normal(struct str *out, const char *text, size_t size, int options,
                         struct normal_scratch *s, struct err *err)
{
    /* below U+0300 nothing composes further, below U+0080 nothing decomposes */
    unsigned char changing =
        options & UTF8PROC_COMPOSE && !(options & UTF8PROC_COMPAT) ? 0xcc : 0x80;
    size_t plain = 0, count;
    while (plain < size && (unsigned char)text[plain] < changing)
        plain++;
    if (plain == size) {
        str_append_bytes(out, text, size);
        return 0;
    }
    int rc = decompose(&s->codes, &count, &s->capacity, text, size, options, err);
    if (rc == 0)
        rc = order_all_marks(s->codes, count, err);
    if (rc < 0)
        return rc;
    if (options & UTF8PROC_COMPOSE)
        count = (size_t)utf8proc_normalize_utf32(s->codes, (utf8proc_ssize_t)count,
                                                 (utf8proc_option_t)options);
    append_codes(out, s->codes, count);
    return 0;
}

static int append_form(struct str *out, const char *text, size_t size, int options,
                       struct normal_scratch *s, struct err *err)
{
    size_t done = 0, at = 0;
    int rc = 0;
    while (rc == 0 && at < size) {
        utf8proc_int32_t code = 0;
        size_t begin = at++;
        if ((unsigned char)text[begin] < 0xcc)
            continue;
        utf8proc_ssize_t got = utf8proc_iterate((const utf8proc_uint8_t *)text + begin,
                                                (utf8proc_ssize_t)(size - begin), &code);
        if (got <= 0 || !is_inert(code))
            continue;
        rc = append_normal(out, text + done, begin - done, options, s, err);
        str_append_bytes(out, text + begin, (size_t)got);
        at = done = begin + (size_t)got;
    }
    return rc < 0 ? rc : append_normal(out, text + done, size - done, options, s, err);
}

int tokenizer_normalize(const struct tokenizer *t, struct str *out, const char *text, size_t size,
                        struct err *err)
{
    struct str before = {0};
    struct normal_scratch scratch = {0};
    int rc = 0;
    str_append_bytes(out, text, size);
    for (size_t i = 0; rc == 0 && i < t->normalizers_count; i++) {
        struct str swap = before;
        before = *out;
        *out = swap;
        str_clear(out);
        rc = str_ok(&before, err);
        if (rc == 0)
            rc =
                append_form(out, str_get(&before), before.length, t->normalizers[i], &scratch, err);
    }
    free(scratch.codes);
    str_release(&before);
    return rc < 0 ? rc : str_ok(out, err);
}
