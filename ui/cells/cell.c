#include "ui/cells/cell.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"

enum { TEXT_MAX = 4096 }; /* bytes of one drawn text; no row is longer */

int cells_init(struct cells *c, int w, int h, struct err *err)
{
    *c = (struct cells){0};
    return cells_resize(c, w, h, err);
}

int cells_resize(struct cells *c, int w, int h, struct err *err)
{
    size_t count;
    w = w > 0 ? w : 0;
    h = h > 0 ? h : 0;
    if (!mem_mul(&count, (size_t)w, (size_t)h))
        return err_set(err, ERR_NOMEM, NULL, "a screen of %d x %d cells is too large", w, h);
    struct cell *grown = mem_array(count, sizeof *grown, err);
    if (!grown)
        return ERR_NOMEM;
    free(c->cell);
    *c = (struct cells){.w = w, .h = h, .cell = grown};
    cells_clear(c);
    return 0;
}

void cells_release(struct cells *c)
{
    free(c->cell);
    *c = (struct cells){0};
}

void cells_clear(struct cells *c)
{
    size_t count = (size_t)c->w * (size_t)c->h;
    for (size_t i = 0; i < count; i++)
        c->cell[i] = (struct cell){.glyph = " "};
    c->clip = cells_area(c);
}

struct rect cells_area(const struct cells *c)
{
    return (struct rect){0, 0, c->w, c->h};
}

static struct cell *cell_ref(struct cells *c, int x, int y)
{
    if (x < 0 || y < 0 || x >= c->w || y >= c->h)
        return NULL;
    return &c->cell[(size_t)y * (size_t)c->w + (size_t)x];
}

const struct cell *cells_at(const struct cells *c, int x, int y)
{
    if (x < 0 || y < 0 || x >= c->w || y >= c->h)
        return NULL;
    return &c->cell[(size_t)y * (size_t)c->w + (size_t)x];
}

/* Where drawing may happen now: the clip rectangle is the caller's and may be anything. */
static struct rect drawable(const struct cells *c)
{
    return rect_intersect(c->clip, cells_area(c));
}

/* A wide character of which one half is about to be overwritten leaves a space in the other. */
static void break_wide(struct cells *c, int x, int y)
{
    struct cell *here = cell_ref(c, x, y), *next = cell_ref(c, x + 1, y);
    if (here && here->glyph[0] == '\0' && x > 0)
        strcpy(cell_ref(c, x - 1, y)->glyph, " ");
    if (next && next->glyph[0] == '\0')
        strcpy(next->glyph, " ");
}

static void put_known(struct cells *c, int x, int y, const char *glyph, size_t size, int width,
                      struct style s)
{
    struct rect r = drawable(c);
    if (!rect_contains(r, x, y))
        return;
    if (width == 2 && !rect_contains(r, x + 1, y)) {
        glyph = " ";
        size = width = 1;
    }
    for (int i = 0; i < width; i++)
        break_wide(c, x + i, y);
    struct cell *cell = cell_ref(c, x, y);
    memcpy(cell->glyph, glyph, size);
    cell->glyph[size] = '\0';
    cell->style = s;
    if (width == 2) {
        cell[1].glyph[0] = '\0';
        cell[1].style = s;
    }
}

void cells_put(struct cells *c, int x, int y, const char *glyph, struct style s)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)glyph, -1, &code);
    int width = size > 0 ? utf8proc_charwidth(code) : 0;
    size_t length = strlen(glyph);
    if (width < 1 || length >= CELL_GLYPH_MAX)
        put_known(c, x, y, "?", 1, 1, s);
    else
        put_known(c, x, y, glyph, length, width, s);
}

void cells_restyle(struct cells *c, struct rect r, struct style s)
{
    r = rect_intersect(r, drawable(c));
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++)
            cell_ref(c, x, y)->style = s;
}

void cells_highlight(struct cells *c, struct rect r, uint16_t bg)
{
    r = rect_intersect(r, drawable(c));
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++)
            cell_ref(c, x, y)->style.bg = bg;
}

void cells_fill(struct cells *c, struct rect r, const char *glyph, struct style s)
{
    r = rect_intersect(r, drawable(c));
    for (int y = r.y; y < r.y + r.h; y++)
        for (int x = r.x; x < r.x + r.w; x++)
            cells_put(c, x, y, glyph, s);
}

/* Bytes and columns of the first character of sanitized text. */
static size_t next_char(const char *text, int *width)
{
    utf8proc_int32_t code;
    utf8proc_ssize_t size = utf8proc_iterate((const utf8proc_uint8_t *)text, -1, &code);
    *width = size > 0 ? utf8proc_charwidth(code) : 1;
    return size > 0 ? (size_t)size : 1;
}

/* Draws sanitized text; returns the columns taken. */
static int draw_clean(struct cells *c, int x, int y, int max, const char *text, struct style s)
{
    int taken = 0;
    while (*text) {
        int width;
        size_t size = next_char(text, &width);
        if (max >= 0 && taken + width > max)
            break;
        put_known(c, x + taken, y, text, size, width, s);
        taken += width;
        text += size;
    }
    return taken;
}

int cells_text(struct cells *c, int x, int y, int max, const char *text, struct style s)
{
    char clean[TEXT_MAX];
    sanitize(clean, sizeof clean, text, strlen(text));
    return draw_clean(c, x, y, max, clean, s);
}

int cells_textf(struct cells *c, int x, int y, int max, struct style s, const char *format, ...)
{
    char text[TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    return cells_text(c, x, y, max, text, s);
}

void cells_label(struct cells *c, struct rect r, enum cells_align align, const char *text,
                 const struct style_look *look, struct style s)
{
    char clean[TEXT_MAX];
    if (rect_empty(r))
        return;
    int width = (int)sanitize(clean, sizeof clean, text, strlen(text));
    if (width > r.w) {
        int taken = draw_clean(c, r.x, r.y, r.w - 1, clean, s);
        cells_put(c, r.x + taken, r.y, style_glyph(look, STYLE_G_ELLIPSIS), s);
        return;
    }
    int shift = align == CELLS_RIGHT ? r.w - width : align == CELLS_CENTRE ? (r.w - width) / 2 : 0;
    draw_clean(c, r.x + shift, r.y, r.w - shift, clean, s);
}

/* Bytes of the next row of at most `columns`: up to a space or a line feed, else cut. */
static size_t wrap_point(const char *text, int columns, size_t *skip)
{
    size_t used = 0, space = 0;
    int width = 0;
    *skip = 0;
    while (text[used] && text[used] != '\n') {
        int one;
        size_t size = next_char(text + used, &one);
        if (text[used] == ' ')
            space = used;
        if (width + one > columns)
            break;
        width += one;
        used += size;
    }
    if (text[used] == '\n') {
        *skip = 1;
        return used;
    }
    if (text[used] && space) {
        *skip = 1;
        return space;
    }
    return used;
}

void cells_ends(struct cells *c, struct rect r, const char *text, const struct style_look *look,
                struct style s)
{
    char clean[TEXT_MAX];
    int width = (int)sanitize(clean, sizeof clean, text, strlen(text)), tail = (r.w - 1) / 2;
    const char *end = clean;
    if (width <= r.w || tail < 1) {
        cells_label(c, r, CELLS_LEFT, text, look, s);
        return;
    }
    while ((int)sanitize_width(end) > tail)
        do
            end++;
        while (((unsigned char)*end & 0xc0) == 0x80); /* to the next character */
    int head = draw_clean(c, r.x, r.y, r.w - 1 - tail, clean, s);
    cells_put(c, r.x + head, r.y, style_glyph(look, STYLE_G_ELLIPSIS), s);
    draw_clean(c, r.x + head + 1, r.y, tail, end, s);
}

int cells_paragraph(struct cells *c, struct rect r, const char *text, struct style s)
{
    int row = 0;
    while (*text && row < r.h && r.w > 0) {
        char line[TEXT_MAX], clean[TEXT_MAX];
        size_t skip, used = wrap_point(text, r.w, &skip);
        if (used + skip == 0) /* a wide character in one column */
            break;
        snprintf(line, sizeof line, "%.*s", (int)used, text);
        sanitize(clean, sizeof clean, line, strlen(line));
        draw_clean(c, r.x, r.y + row++, r.w, clean, s);
        text += used + skip;
    }
    return row;
}

int cells_paragraph_rows(struct cells *c, int width, int most, const char *text)
{
    struct rect clip = c->clip;
    c->clip = (struct rect){0};
    int rows = cells_paragraph(c, (struct rect){0, 0, width, most}, text, STYLE(STYLE_DEFAULT));
    c->clip = clip;
    return rows;
}

struct rect cells_box(struct cells *c, struct rect r, const char *title,
                      const struct style_look *look, struct style border, struct style text)
{
    if (r.w < 2 || r.h < 2)
        return (struct rect){r.x, r.y, 0, 0};
    const char *h = style_glyph(look, STYLE_G_HLINE), *v = style_glyph(look, STYLE_G_VLINE);
    int right = r.x + r.w - 1, bottom = r.y + r.h - 1;
    cells_fill(c, (struct rect){r.x, r.y, r.w, 1}, h, border);
    cells_fill(c, (struct rect){r.x, bottom, r.w, 1}, h, border);
    cells_fill(c, (struct rect){r.x, r.y, 1, r.h}, v, border);
    cells_fill(c, (struct rect){right, r.y, 1, r.h}, v, border);
    cells_put(c, r.x, r.y, style_glyph(look, STYLE_G_CORNER_TL), border);
    cells_put(c, right, r.y, style_glyph(look, STYLE_G_CORNER_TR), border);
    cells_put(c, r.x, bottom, style_glyph(look, STYLE_G_CORNER_BL), border);
    cells_put(c, right, bottom, style_glyph(look, STYLE_G_CORNER_BR), border);
    if (title && *title && r.w >= 8) {
        int room = r.w - 6, width = cells_width(title);
        width = width < room ? width : room;
        cells_put(c, r.x + 2, r.y, " ", text);
        cells_label(c, (struct rect){r.x + 3, r.y, width, 1}, CELLS_LEFT, title, look, text);
        cells_put(c, r.x + 3 + width, r.y, " ", text);
    }
    return rect_inset(r, 1, 1, 1, 1);
}

int cells_width(const char *text)
{
    char clean[TEXT_MAX];
    return (int)sanitize(clean, sizeof clean, text, strlen(text));
}

static bool style_equal(struct style a, struct style b)
{
    return a.fg == b.fg && a.bg == b.bg && a.attr == b.attr;
}

bool cells_equal(const struct cells *a, const struct cells *b)
{
    if (a->w != b->w || a->h != b->h)
        return false;
    size_t count = (size_t)a->w * (size_t)a->h;
    for (size_t i = 0; i < count; i++)
        if (strcmp(a->cell[i].glyph, b->cell[i].glyph) != 0 ||
            !style_equal(a->cell[i].style, b->cell[i].style))
            return false;
    return true;
}

void cells_plain(const struct cells *c, struct str *out)
{
    for (int y = 0; y < c->h; y++) {
        int end = c->w;
        while (end > 0 && strcmp(cells_at(c, end - 1, y)->glyph, " ") == 0)
            end--;
        for (int x = 0; x < end; x++)
            str_append(out, cells_at(c, x, y)->glyph);
        str_append(out, "\n");
    }
}

/* A cell that looks like nothing: its blank may be left out at the end of a row. */
static bool is_blank(const struct cell *cell, const struct style_look *look)
{
    struct style_final f = style_resolve(look, cell->style);
    return strcmp(cell->glyph, " ") == 0 && f.bg < 0 &&
           !(f.attr & (STYLE_REVERSE | STYLE_UNDERLINE));
}

static void append_colour(struct str *out, int16_t index, bool background,
                          const struct style_look *look)
{
    int base = background ? 40 : 30;
    if (index < 0)
        return;
    if (look->depth == STYLE_DEPTH_256 && index >= 16)
        str_appendf(out, ";%d;5;%d", base + 8, index);
    else
        str_appendf(out, ";%d", index < 8 ? base + index : base + 60 + index - 8);
}

static void append_sgr(struct str *out, struct style_final f, const struct style_look *look)
{
    static const struct {
        uint8_t bit;
        const char *code;
    } attrs[] = {
        {STYLE_BOLD, ";1"}, {STYLE_FAINT, ";2"}, {STYLE_UNDERLINE, ";4"}, {STYLE_REVERSE, ";7"}};
    str_append(out, "\033[0");
    for (size_t i = 0; i < sizeof attrs / sizeof *attrs; i++)
        if (f.attr & attrs[i].bit)
            str_append(out, attrs[i].code);
    append_colour(out, f.fg, false, look);
    append_colour(out, f.bg, true, look);
    str_append(out, "m");
}

void cells_sgr(const struct cells *c, const struct style_look *look, struct str *out)
{
    const struct style_final plain = {-1, -1, 0};
    for (int y = 0; y < c->h; y++) {
        struct style_final now = plain;
        int end = c->w;
        while (end > 0 && is_blank(cells_at(c, end - 1, y), look))
            end--;
        for (int x = 0; x < end; x++) {
            const struct cell *cell = cells_at(c, x, y);
            struct style_final f = style_resolve(look, cell->style);
            if (f.fg != now.fg || f.bg != now.bg || f.attr != now.attr) {
                append_sgr(out, f, look);
                now = f;
            }
            str_append(out, cell->glyph);
        }
        if (now.fg != plain.fg || now.bg != plain.bg || now.attr != plain.attr)
            str_append(out, "\033[0m");
        str_append(out, "\n");
    }
}
