#include "ui/figure/cells_svg.h"

#include <string.h>
#include <utf8proc.h>

/* A cell is W x H units; letters stand on BASE. */
enum { W = 8, H = 18, BASE = 14, MARGIN = 8 };

struct svg {
    struct str *out;
    const struct cells *cells;
    const struct style_look *look;
};

/* --- Colours --- */

/* The terminal's own sixteen, by theme where it matters for reading. */
static unsigned basic_colour(bool light, int index)
{
    static const unsigned dark_page[16] = {
        0x2e3436, 0xd0524b, 0x6fae3a, 0xc4a000, 0x4a86cf, 0xa07bb5, 0x2fa5a8, 0xd3d7cf,
        0x8a8d88, 0xf0645c, 0x8ae234, 0xfce94f, 0x83aee0, 0xc79fd1, 0x5fd7d7, 0xf6f6f4};
    static const unsigned light_page[16] = {
        0x24292f, 0xb3261e, 0x3f7d0a, 0x8a6d00, 0x1f5fae, 0x7a4a94, 0x0a7a80, 0x9a9d98,
        0x6a6d68, 0xc9302c, 0x4b8f12, 0x9a7d00, 0x3a78c2, 0x8d5ca8, 0x128a90, 0xf0f0ee};
    return (light ? light_page : dark_page)[index & 15];
}

static unsigned colour_of(bool light, int index)
{
    static const unsigned level[6] = {0, 95, 135, 175, 215, 255};
    if (index < 16)
        return basic_colour(light, index);
    if (index >= 232) {
        unsigned grey = 8 + 10 * (unsigned)(index - 232);
        return grey << 16 | grey << 8 | grey;
    }
    unsigned n = (unsigned)index - 16;
    return level[n / 36] << 16 | level[n / 6 % 6] << 8 | level[n % 6];
}

struct ink {
    unsigned fg, bg;
    bool has_bg, bold, faint, underline;
};

static struct ink ink_of(const struct svg *s, struct style style)
{
    struct style_final f = style_resolve(s->look, style);
    bool light = s->look->theme == STYLE_LIGHT;
    unsigned page = light ? 0xffffff : 0x16191d, text = light ? 0x24292f : 0xd8dbd5;
    struct ink ink = {.fg = f.fg < 0 ? text : colour_of(light, f.fg),
                      .bg = f.bg < 0 ? page : colour_of(light, f.bg),
                      .has_bg = f.bg >= 0 || (f.attr & STYLE_REVERSE),
                      .bold = f.attr & STYLE_BOLD,
                      .faint = f.attr & STYLE_FAINT,
                      .underline = f.attr & STYLE_UNDERLINE};
    if (f.attr & STYLE_REVERSE) {
        unsigned fg = ink.fg;
        ink.fg = ink.bg;
        ink.bg = fg;
    }
    return ink;
}

static bool same_ink(struct ink a, struct ink b)
{
    return a.fg == b.fg && a.bg == b.bg && a.has_bg == b.has_bg && a.bold == b.bold &&
           a.faint == b.faint && a.underline == b.underline;
}

/* --- Shapes --- */

/* x, y, w, h in 1/72 of a cell's width and height: a number that 2, 3, 4, 6, 8 and 9 divide. */
struct piece {
    int x, y, w, h;
};

enum { UNIT = 72 };

/* Pieces as one path; coordinates in the picture, exact to a hundredth. */
static void append_piece(struct str *out, int x, int y, struct piece p)
{
    double x0 = MARGIN + W * (x + (double)p.x / UNIT), y0 = MARGIN + H * (y + (double)p.y / UNIT);
    str_appendf(out, "M%.5g %.5gh%.4gv%.4gh%.4gz", x0, y0, W * (double)p.w / UNIT,
                H * (double)p.h / UNIT, -W * (double)p.w / UNIT);
}

/* Block elements, U+2580..U+2590. */
static struct piece block_piece(uint32_t code)
{
    int eighths = (int)(code - 0x2580);
    if (code == 0x2580)
        return (struct piece){0, 0, UNIT, UNIT / 2};
    if (code <= 0x2588)
        return (struct piece){0, UNIT - UNIT / 8 * eighths, UNIT, UNIT / 8 * eighths};
    if (code <= 0x258f)
        return (struct piece){0, 0, UNIT / 8 * (0x2590 - (int)code), UNIT};
    return (struct piece){UNIT / 2, 0, UNIT / 2, UNIT};
}

/* Arms of the line glyphs: left, right, up, down; 2 is heavy; dashed ones are cut in two. */
static const struct {
    uint32_t code;
    uint8_t left, right, up, down;
    bool dashed;
} lines[] = {
    {0x2500, 1, 1, 0, 0, false}, {0x2501, 2, 2, 0, 0, false}, {0x2502, 0, 0, 1, 1, false},
    {0x2503, 0, 0, 2, 2, false}, {0x2504, 1, 1, 0, 0, true},  {0x2506, 0, 0, 1, 1, true},
    {0x250c, 0, 1, 0, 1, false}, {0x2510, 1, 0, 0, 1, false}, {0x2514, 0, 1, 1, 0, false},
    {0x2518, 1, 0, 1, 0, false}, {0x251c, 0, 1, 1, 1, false}, {0x2524, 1, 0, 1, 1, false},
    {0x252c, 1, 1, 0, 1, false}, {0x2534, 1, 1, 1, 0, false}, {0x253c, 1, 1, 1, 1, false},
    {0x2542, 1, 1, 2, 2, false},
};

static void append_arm(struct str *out, int x, int y, bool across, int from, int to, int weight,
                       bool dashed)
{
    int thick = across ? 4 * weight : 9 * weight, at = (UNIT - thick) / 2;
    for (int part = 0; part <= dashed; part++) {
        int begin = dashed ? from + part * (to - from) / 2 : from;
        int length = dashed ? (to - from) / 4 : to - from;
        append_piece(out, x, y,
                     across ? (struct piece){begin, at, length, thick}
                            : (struct piece){at, begin, thick, length});
    }
}

static bool append_line(struct str *out, int x, int y, uint32_t code)
{
    const int mid = UNIT / 2;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
        if (lines[i].code != code)
            continue;
        if (lines[i].left)
            append_arm(out, x, y, true, 0, mid, lines[i].left, lines[i].dashed);
        if (lines[i].right)
            append_arm(out, x, y, true, mid, UNIT, lines[i].right, lines[i].dashed);
        if (lines[i].up)
            append_arm(out, x, y, false, 0, mid, lines[i].up, lines[i].dashed);
        if (lines[i].down)
            append_arm(out, x, y, false, mid, UNIT, lines[i].down, lines[i].dashed);
        return true;
    }
    return false;
}

static void append_braille(struct str *out, int x, int y, uint32_t bits)
{
    static const uint8_t column[8] = {0, 0, 0, 1, 1, 1, 0, 1}, row[8] = {0, 1, 2, 0, 1, 2, 3, 3};
    for (int i = 0; i < 8; i++)
        if (bits >> i & 1)
            append_piece(out, x, y, (struct piece){column[i] * 36 + 9, row[i] * 18 + 4, 18, 9});
}

static uint32_t code_of(const struct cell *cell)
{
    utf8proc_int32_t code;
    return utf8proc_iterate((const utf8proc_uint8_t *)cell->glyph, -1, &code) > 0 ? (uint32_t)code
                                                                                  : 0;
}

static bool is_shape(uint32_t code)
{
    if ((code >= 0x2580 && code <= 0x2590) || (code >= 0x2800 && code <= 0x28ff))
        return true;
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (lines[i].code == code)
            return true;
    return false;
}

static void append_shape(struct str *out, int x, int y, uint32_t code)
{
    if (code >= 0x2800)
        append_braille(out, x, y, code - 0x2800);
    else if (code >= 0x2580)
        append_piece(out, x, y, block_piece(code));
    else
        append_line(out, x, y, code);
}

/* --- Rows --- */

static struct ink ink_at(const struct svg *s, int x, int y)
{
    return ink_of(s, cells_at(s->cells, x, y)->style);
}

static void append_background(const struct svg *s, int y)
{
    for (int x = 0, end; x < s->cells->w; x = end) {
        struct ink ink = ink_at(s, x, y);
        for (end = x + 1; end < s->cells->w; end++) {
            struct ink next = ink_at(s, end, y);
            if (next.has_bg != ink.has_bg || next.bg != ink.bg)
                break;
        }
        if (ink.has_bg)
            str_appendf(s->out,
                        "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" "
                        "fill=\"#%06x\"/>\n",
                        MARGIN + W * x, MARGIN + H * y, W * (end - x), H, ink.bg);
    }
}

static void append_escaped(struct str *out, const char *glyph)
{
    static const char special[] = "&<>\"";
    static const char *const names[] = {"&amp;", "&lt;", "&gt;", "&quot;"};
    const char *at = glyph[0] ? strchr(special, glyph[0]) : NULL;
    str_append(out, at ? names[at - special] : glyph);
}

static bool is_blank(const struct cell *cell)
{
    return strcmp(cell->glyph, " ") == 0 || !cell->glyph[0];
}

static bool is_gap(const struct svg *s, int x, int y)
{
    return x + 1 < s->cells->w && strcmp(cells_at(s->cells, x, y)->glyph, " ") == 0 &&
           strcmp(cells_at(s->cells, x + 1, y)->glyph, " ") == 0;
}

/* Letters from x on that look alike, with single spaces in between. Browsers collapse more spaces
 * than one, whatever xml:space says, and would stretch the letters over the whole length. Returns
 * the next column. */
static int append_text(const struct svg *s, int x, int y)
{
    struct ink ink = ink_at(s, x, y);
    int end = x, last = x;
    while (end < s->cells->w && !is_gap(s, end, y)) {
        const struct cell *cell = cells_at(s->cells, end, y);
        bool blank = is_blank(cell);
        if (!same_ink(ink_at(s, end, y), ink) || (!blank && is_shape(code_of(cell))))
            break;
        end++;
        last = blank && cell->glyph[0] ? last : end;
    }
    str_appendf(s->out, "<text x=\"%d\" y=\"%d\" textLength=\"%d\" fill=\"#%06x\"%s%s%s>",
                MARGIN + W * x, MARGIN + H * y + BASE, W * (last - x), ink.fg,
                ink.bold ? " font-weight=\"bold\"" : "", ink.faint ? " opacity=\"0.7\"" : "",
                ink.underline ? " text-decoration=\"underline\"" : "");
    for (int i = x; i < last; i++)
        append_escaped(s->out, cells_at(s->cells, i, y)->glyph);
    str_append(s->out, "</text>\n");
    return last;
}

static int append_shapes(const struct svg *s, int x, int y)
{
    struct ink ink = ink_at(s, x, y);
    str_appendf(s->out, "<path fill=\"#%06x\" d=\"", ink.fg);
    for (; x < s->cells->w; x++) {
        uint32_t code = code_of(cells_at(s->cells, x, y));
        if (ink_at(s, x, y).fg != ink.fg || !is_shape(code))
            break;
        append_shape(s->out, x, y, code);
    }
    str_append(s->out, "\"/>\n");
    return x;
}

static void append_row(const struct svg *s, int y)
{
    append_background(s, y);
    for (int x = 0; x < s->cells->w;) {
        const struct cell *cell = cells_at(s->cells, x, y);
        if (is_blank(cell))
            x++;
        else if (is_shape(code_of(cell)))
            x = append_shapes(s, x, y);
        else
            x = append_text(s, x, y);
    }
}

int cells_svg(struct str *out, const struct cells *c, const struct style_look *look,
              const char *title, struct err *err)
{
    struct svg s = {out, c, look};
    int w = W * c->w + 2 * MARGIN, h = H * c->h + 2 * MARGIN;
    str_appendf(out,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
                "viewBox=\"0 0 %d %d\" font-family=\"DejaVu Sans Mono, Menlo, Consolas, "
                "monospace\" font-size=\"13.3\" xml:space=\"preserve\" "
                "shape-rendering=\"crispEdges\" role=\"img\">\n<title>",
                w, h, w, h);
    for (const char *p = title ? title : "moqa"; *p; p++)
        append_escaped(out, (char[]){*p, '\0'});
    str_appendf(out, "</title>\n<rect width=\"%d\" height=\"%d\" rx=\"6\" fill=\"#%06x\"/>\n", w, h,
                look->theme == STYLE_LIGHT ? 0xffffffu : 0x16191du);
    for (int y = 0; y < c->h; y++)
        append_row(&s, y);
    str_append(out, "</svg>\n");
    return str_ok(out, err);
}
