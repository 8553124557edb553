#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/figure/canvas_parts.h"

#define FAMILY "Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', sans-serif"
#define FAMILY_MONO "'DejaVu Sans Mono', Menlo, Consolas, 'Liberation Mono', monospace"

enum { CODES = 1024 };

struct svg {
    struct str body;
    bool used[CODES]; /* colours */
};

/* --- Small parts --- */

static void append_escaped(struct str *out, const char *text)
{
    for (; *text; text++) {
        const char *entity = *text == '&'   ? "&amp;"
                             : *text == '<' ? "&lt;"
                             : *text == '>' ? "&gt;"
                             : *text == '"' ? "&quot;"
                                            : NULL;
        if (entity)
            str_append(out, entity);
        else
            str_append_bytes(out, text, 1);
    }
}

/* In hundredths of a point, without zeros at the end. */
static void append_number(struct str *out, double value)
{
    char text[32];
    value = fmin(fmax(value, -1e6), 1e6);
    long long hundredths = llround(value * 100);
    long long size = llabs(hundredths);
    int n = snprintf(text, sizeof text, "%s%lld.%02lld", hundredths < 0 ? "-" : "", size / 100,
                     size % 100);
    while (text[n - 1] == '0')
        text[--n] = '\0';
    if (text[n - 1] == '.')
        text[--n] = '\0';
    str_append(out, text);
}

static void append_attribute(struct str *out, const char *name, double value)
{
    str_appendf(out, " %s=\"", name);
    append_number(out, value);
    str_append(out, "\"");
}

static void append_pair(struct str *out, char command, double x, double y)
{
    str_append_bytes(out, &command, 1);
    append_number(out, x);
    str_append(out, " ");
    append_number(out, y);
}

static bool is_dark(const struct canvas *c)
{
    return c->options.theme == CANVAS_DARK;
}

/* The colour itself, and a class by which a page's theme replaces it. */
static void append_colour(struct canvas *c, const char *property, uint16_t colour)
{
    struct svg *s = c->own;
    str_appendf(&s->body, " %s=\"#%06x\"", property, canvas_colour(colour, is_dark(c)));
    if (c->options.theme != CANVAS_AUTO ||
        canvas_colour(colour, false) == canvas_colour(colour, true))
        return;
    s->used[colour % CODES] = true;
    str_appendf(&s->body, " class=\"%c%u\"", property[0], colour);
}

/* --- Drawing --- */

static int svg_open(struct canvas *c, struct err *err)
{
    c->own = mem_array(1, sizeof(struct svg), err);
    return c->own ? 0 : ERR_NOMEM;
}

static void svg_close(struct canvas *c)
{
    struct svg *s = c->own;
    if (s)
        str_release(&s->body);
    free(s);
    c->own = NULL;
}

static void svg_page(struct canvas *c, double width, double height)
{
    (void)c;
    (void)width;
    (void)height;
}

static void append_path(struct str *out, const double *x, const double *y, size_t n)
{
    for (size_t i = 0; i < n; i++)
        append_pair(out, i ? 'L' : 'M', x[i], y[i]);
}

static void svg_path(struct canvas *c, const double *x, const double *y, size_t n,
                     struct canvas_stroke s)
{
    struct str *out = &((struct svg *)c->own)->body;
    str_append(out, "<path fill=\"none\"");
    append_colour(c, "stroke", s.colour);
    append_attribute(out, "stroke-width", s.width);
    if (s.dash > 0)
        append_attribute(out, "stroke-dasharray", s.dash);
    str_append(out, " d=\"");
    append_path(out, x, y, n);
    str_append(out, "\"/>\n");
}

static void svg_area(struct canvas *c, const double *x, const double *y, size_t n, uint16_t colour)
{
    struct str *out = &((struct svg *)c->own)->body;
    str_append(out, "<path");
    append_colour(c, "fill", colour);
    str_append(out, " d=\"");
    append_path(out, x, y, n);
    str_append(out, "z\"/>\n");
}

static void svg_fill(struct canvas *c, double x, double y, double w, double h, uint16_t colour)
{
    struct str *out = &((struct svg *)c->own)->body;
    str_append(out, "<rect");
    append_attribute(out, "x", x);
    append_attribute(out, "y", y);
    append_attribute(out, "width", w);
    append_attribute(out, "height", h);
    append_colour(c, "fill", colour);
    str_append(out, "/>\n");
}

/* Circles as the round ends of strokes without length: one path, however many there are. */
static void svg_marks(struct canvas *c, const double *x, const double *y, size_t n,
                      struct canvas_mark m)
{
    struct str *out = &((struct svg *)c->own)->body;
    const struct canvas_corners *k = &canvas_corners[m.shape];
    str_append(out, "<path");
    append_colour(c, k->n ? "fill" : "stroke", m.colour);
    if (!k->n) {
        append_attribute(out, "stroke-width", 2 * m.radius);
        str_append(out, " stroke-linecap=\"round\"");
    }
    str_append(out, " d=\"");
    for (size_t i = 0; i < n; i++) {
        if (!isfinite(x[i]) || !isfinite(y[i]))
            continue;
        for (size_t j = 0; j < k->n; j++)
            append_pair(out, j ? 'L' : 'M', x[i] + m.radius * k->x[j], y[i] + m.radius * k->y[j]);
        if (!k->n)
            append_pair(out, 'M', x[i], y[i]);
        str_append(out, k->n ? "z" : "h0");
    }
    str_append(out, "\"/>\n");
}

static void svg_text(struct canvas *c, double x, double y, const char *text, struct canvas_font f)
{
    static const char *const anchors[] = {NULL, "middle", "end"};
    struct str *out = &((struct svg *)c->own)->body;
    str_append(out, "<text");
    append_attribute(out, "x", x);
    append_attribute(out, "y", y);
    append_attribute(out, "font-size", f.size);
    append_colour(c, "fill", f.colour);
    if (anchors[f.anchor])
        str_appendf(out, " text-anchor=\"%s\"", anchors[f.anchor]);
    if (f.bold)
        str_append(out, " font-weight=\"bold\"");
    if (f.mono)
        str_append(out, " font-family=\"" FAMILY_MONO "\"");
    if (f.angle != 0) {
        str_append(out, " transform=\"rotate(");
        append_number(out, -f.angle);
        append_pair(out, ' ', x, y);
        str_append(out, ")\"");
    }
    str_append(out, ">");
    append_escaped(out, text);
    str_append(out, "</text>\n");
}

/* Nobody knows with which font it will be read: Helvetica's widths, and a seventh more, as far as
 * the widest of the usual ones go. */
static double svg_text_width(struct canvas *c, const char *text, struct canvas_font f)
{
    static const short width[95] = {
        278,  278, 355, 556, 556, 889, 667, 191, 333, 333, 389, 584, 278, 333, 278, 278,
        556,  556, 556, 556, 556, 556, 556, 556, 556, 556, 278, 278, 584, 584, 584, 556,
        1015, 667, 667, 722, 722, 667, 611, 778, 722, 278, 500, 667, 556, 833, 722, 778,
        667,  778, 722, 667, 611, 722, 667, 944, 667, 667, 611, 278, 278, 278, 469, 556,
        333,  556, 556, 500, 556, 556, 278, 556, 556, 222, 222, 500, 222, 833, 556, 556,
        556,  556, 333, 500, 278, 556, 500, 722, 500, 500, 500, 334, 260, 334, 584};
    double sum = 0;
    (void)c;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        if (f.mono)
            sum += (*p & 0xc0) == 0x80 ? 0 : 540;
        else if (*p >= ' ' && *p < 127)
            sum += width[*p - ' '];
        else if ((*p & 0xc0) != 0x80)
            sum += *p >= 0xe3 ? 1000 : 600;
    }
    return sum / 1000 * f.size * (f.bold ? 1.21 : 1.14);
}

/* A picture inside the picture cuts without an id, which could meet the same one on a page. */
static void svg_clip(struct canvas *c, double x, double y, double w, double h)
{
    struct str *out = &((struct svg *)c->own)->body;
    str_append(out, "<svg");
    append_attribute(out, "x", x);
    append_attribute(out, "y", y);
    append_attribute(out, "width", w);
    append_attribute(out, "height", h);
    str_append(out, " viewBox=\"");
    append_number(out, x);
    append_pair(out, ' ', y, w);
    str_append(out, " ");
    append_number(out, h);
    str_append(out, "\" overflow=\"hidden\">\n");
}

static void svg_unclip(struct canvas *c)
{
    str_append(&((struct svg *)c->own)->body, "</svg>\n");
}

/* --- The whole --- */

static void append_rules(const struct svg *s, struct str *out, const char *where, bool dark)
{
    for (unsigned i = 0; i < CODES; i++)
        if (s->used[i]) {
            unsigned rgb = canvas_colour((uint16_t)i, dark);
            str_appendf(out, "%s .f%u{fill:#%06x}%s .s%u{stroke:#%06x}\n", where, i, rgb, where, i,
                        rgb);
        }
}

/* As the reader's page: by its preference, unless the page itself says `data-theme`. */
static void append_style(const struct svg *s, struct str *out)
{
    str_append(out, "<style>\n@media (prefers-color-scheme:dark){\n");
    append_rules(s, out, ".moqa-picture", true);
    str_append(out, "}\n");
    append_rules(s, out, ":root[data-theme=dark] .moqa-picture", true);
    append_rules(s, out, ":root[data-theme=light] .moqa-picture", false);
    str_append(out, "@media print{\n");
    append_rules(s, out, ":root .moqa-picture.moqa-picture", false);
    str_append(out, "}\n</style>\n");
}

static void append_words(const struct canvas *c, struct str *out)
{
    if (c->title) {
        str_append(out, "<title>");
        append_escaped(out, c->title);
        str_append(out, "</title>\n");
    }
    if (c->description) {
        str_append(out, "<desc>");
        append_escaped(out, c->description);
        str_append(out, "</desc>\n");
    }
}

static void append_head(const struct canvas *c, struct str *out)
{
    str_append(out, "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"moqa-picture\"");
    str_append(out, " width=\"");
    append_number(out, c->options.width);
    str_append(out, "pt\" height=\"");
    append_number(out, c->options.height);
    str_append(out, "pt\" viewBox=\"0 0 ");
    append_number(out, c->options.width);
    str_append(out, " ");
    append_number(out, c->options.height);
    str_append(out, "\" font-family=\"" FAMILY "\" role=\"img\"");
    if (c->title) {
        str_append(out, " aria-label=\"");
        append_escaped(out, c->title);
        str_append(out, "\"");
    }
    str_append(out, ">\n");
}

static void append_paper(const struct canvas *c, struct str *out)
{
    str_appendf(out, "<rect width=\"100%%\" height=\"100%%\" fill=\"#%06x\"",
                canvas_colour(CANVAS_PAPER, is_dark(c)));
    if (c->options.theme == CANVAS_AUTO)
        str_appendf(out, " class=\"f%u\"", (unsigned)CANVAS_PAPER);
    str_append(out, "/>\n");
}

static int svg_finish(struct canvas *c, struct str *out, struct err *err)
{
    struct svg *s = c->own;
    int rc = str_ok(&s->body, err);
    if (rc < 0)
        return rc;
    append_head(c, out);
    append_words(c, out);
    if (c->options.theme == CANVAS_AUTO) {
        s->used[CANVAS_PAPER % CODES] |= !c->options.transparent;
        append_style(s, out);
    }
    if (!c->options.transparent)
        append_paper(c, out);
    str_append_bytes(out, str_get(&s->body), s->body.length);
    str_append(out, "</svg>\n");
    return str_ok(out, err);
}

const struct canvas_kind canvas_svg_kind = {
    .open = svg_open,
    .close = svg_close,
    .page = svg_page,
    .path = svg_path,
    .area = svg_area,
    .fill = svg_fill,
    .marks = svg_marks,
    .text = svg_text,
    .text_width = svg_text_width,
    .clip = svg_clip,
    .unclip = svg_unclip,
    .finish = svg_finish,
};
