#include "data/base/unicode.h"

#include <string.h>
#include <utf8proc.h>

/* The code point at `text` and its bytes; an invalid byte is U+FFFD. */
static size_t decode(const char *text, size_t size, utf8proc_int32_t *point)
{
    utf8proc_ssize_t used =
        utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, point);
    if (used > 0)
        return (size_t)used;
    *point = 0xfffd;
    return 1;
}

/* str.isspace(): category Zs, or a bidirectional type of WS, B or S. */
static bool is_space(utf8proc_int32_t p)
{
    return (p >= 0x09 && p <= 0x0d) || (p >= 0x1c && p <= 0x20) || p == 0x85 || p == 0xa0 ||
           p == 0x1680 || (p >= 0x2000 && p <= 0x200a) || p == 0x2028 || p == 0x2029 ||
           p == 0x202f || p == 0x205f || p == 0x3000;
}

size_t unicode_first(const char *text, size_t size)
{
    utf8proc_int32_t point;
    return size ? decode(text, size, &point) : 0;
}

size_t unicode_last(const char *text, size_t size)
{
    for (size_t n = 1; n <= 4 && n <= size; n++) {
        utf8proc_int32_t point;
        if (((unsigned char)text[size - n] & 0xc0) != 0x80 &&
            decode(text + size - n, n, &point) == n)
            return n;
    }
    return size ? 1 : 0;
}

size_t unicode_length(const char *text)
{
    size_t size = strlen(text), count = 0;
    for (size_t at = 0; at < size; count++)
        at += unicode_first(text + at, size - at);
    return count;
}

size_t unicode_space_tail(const char *text, size_t size)
{
    size_t left = size;
    while (left) {
        size_t n = unicode_last(text, left);
        utf8proc_int32_t point;
        if (decode(text + left - n, n, &point) != n || !is_space(point))
            break;
        left -= n;
    }
    return size - left;
}

size_t unicode_space_head(const char *text, size_t size)
{
    size_t at = 0;
    while (at < size) {
        utf8proc_int32_t point;
        size_t n = decode(text + at, size - at, &point);
        if (!is_space(point))
            break;
        at += n;
    }
    return at;
}

void unicode_append_lower_first(struct str *out, const char *text)
{
    utf8proc_int32_t point;
    utf8proc_uint8_t lower[4];
    size_t size = strlen(text);
    if (size == 0)
        return;
    size_t n = decode(text, size, &point);
    if (point == 0x130) /* the one code point whose lower case is two */
        str_append(out, "i\xcc\x87");
    else if (n == 1 && (unsigned char)text[0] >= 0x80)
        str_append_bytes(out, text, 1);
    else
        str_append_bytes(out, lower, (size_t)utf8proc_encode_char(utf8proc_tolower(point), lower));
    str_append(out, text + n);
}
