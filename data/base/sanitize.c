#include "data/base/sanitize.h"

#include <stdio.h>
#include <string.h>
#include <utf8proc.h>

/* Printable as it is: not a control, format, surrogate, private, unassigned or separator of
 * lines, and at least one column wide (a combining mark alone would change its neighbour). */
static int is_plain(utf8proc_int32_t code)
{
    switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return 0;
    default:
        return utf8proc_charwidth(code) > 0;
    }
}

/* One character or byte of `text` as printable bytes in `piece`; returns bytes consumed. */
static size_t next_piece(char piece[16], size_t *columns, const char *text, size_t size)
{
    static const char names[] = "\a\b\t\n\v\f\r", letters[] = "abtnvfr";
    unsigned char byte = (unsigned char)text[0];
    const char *escape = byte ? strchr(names, byte) : NULL;
    utf8proc_int32_t code;
    size_t used = 1;
    int length;
    if (escape) {
        length = snprintf(piece, 16, "\\%c", letters[escape - names]);
    } else {
        utf8proc_ssize_t got =
            utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &code);
        if (got <= 0) {
            length = snprintf(piece, 16, "\\x%02X", byte);
        } else if (is_plain(code)) {
            memcpy(piece, text, (size_t)got);
            piece[got] = '\0';
            *columns = (size_t)utf8proc_charwidth(code);
            return (size_t)got;
        } else {
            used = (size_t)got;
            length = snprintf(piece, 16, code < 0x80 ? "\\x%02X" : "\\u{%X}", (unsigned)code);
        }
    }
    *columns = (size_t)length;
    return used;
}

size_t sanitize(char *out, size_t out_size, const char *text, size_t size)
{
    size_t used = 0, width = 0;
    while (size) {
        char piece[16];
        size_t columns, taken = next_piece(piece, &columns, text, size), length = strlen(piece);
        if (used + length + 1 > out_size)
            break;
        memcpy(out + used, piece, length);
        used += length;
        width += columns;
        text += taken;
        size -= taken;
    }
    out[used] = '\0';
    return width;
}

size_t sanitize_width(const char *text)
{
    size_t width = 0, left = strlen(text);
    while (left) {
        utf8proc_int32_t code;
        utf8proc_ssize_t got =
            utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, &code);
        if (got <= 0) {
            got = 1;
            width++;
        } else {
            int columns = utf8proc_charwidth(code);
            width += columns > 0 ? (size_t)columns : 0;
        }
        text += got;
        left -= (size_t)got;
    }
    return width;
}
