/*
 * A drawing surface in points (1/72 inch), y downwards, for pictures outside the terminal: SVG as
 * text that stays text and follows the reader's light or dark theme, PDF and PNG by cairo.
 * Everything drawn before canvas_finish() is in memory; the file is written whole or not at all.
 */
#ifndef MOQA_UI_FIGURE_CANVAS_H
#define MOQA_UI_FIGURE_CANVAS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/str.h"
#include "ui/cells/style.h"

enum canvas_format { CANVAS_SVG, CANVAS_PDF, CANVAS_PNG, CANVAS_FORMATS };
extern const char *const canvas_format_names[CANVAS_FORMATS]; /* "svg", "pdf", "png" */
/* By the ending of a path; ERR_USAGE names what is known. */
ERR_CHECK int canvas_format_of(enum canvas_format *out, const char *path, struct err *err);

enum canvas_theme { CANVAS_LIGHT, CANVAS_DARK, CANVAS_AUTO /* SVG only: as the reader's page */ };

struct canvas;

struct canvas_options {
    enum canvas_format format;
    enum canvas_theme theme;
    double width, height;    /* points */
    double scale;            /* PNG: pixels a point; 0: 2 */
    bool transparent;        /* no background; else the theme's paper */
    const char *title;       /* of the document, for those who cannot see it; may be NULL */
    const char *description; /* the same in sentences; may be NULL */
};

/* Colours are the codes of ui/cells/style.h (roles, series, groups, bits, ramp) in the theme's
 * palette for paper; told apart with any colour vision and in grey. */
enum { CANVAS_PAPER = STYLE_INDEX + 256 }; /* one more: the background */

/* 0xRRGGBB */
unsigned canvas_colour(uint16_t colour, bool dark);
/* STYLE_ON_LIGHT or STYLE_ON_DARK: what can be read on an area of this colour. */
uint16_t canvas_ink_on(uint16_t colour);

struct canvas_stroke {
    uint16_t colour;
    double width; /* points */
    double dash;  /* length of dashes and gaps; 0: solid */
};

enum canvas_shape {
    CANVAS_CIRCLE,
    CANVAS_SQUARE,
    CANVAS_TRIANGLE,
    CANVAS_DIAMOND,
    CANVAS_CROSS,
    CANVAS_SHAPES
};
struct canvas_mark {
    enum canvas_shape shape;
    double radius;
    uint16_t colour;
};

enum canvas_anchor { CANVAS_START, CANVAS_MIDDLE, CANVAS_END };
struct canvas_font {
    double size; /* points */
    uint16_t colour;
    enum canvas_anchor anchor;
    bool bold, mono;
    double angle; /* degrees, counter-clockwise */
};

ERR_CHECK int canvas_new(struct canvas **out, const struct canvas_options *options,
                         struct err *err);
void canvas_free(struct canvas *c);
/* PDF: the next page, with a size of its own. Elsewhere: nothing. */
void canvas_page(struct canvas *c, double width, double height);

void canvas_line(struct canvas *c, double x0, double y0, double x1, double y1,
                 struct canvas_stroke s);
/* x, y: [n]; a gap where a value is not finite. */
void canvas_path(struct canvas *c, const double *x, const double *y, size_t n,
                 struct canvas_stroke s);
void canvas_fill(struct canvas *c, double x, double y, double w, double h, uint16_t colour);
void canvas_frame(struct canvas *c, double x, double y, double w, double h, struct canvas_stroke s);
/* The inside of the polygon. */
void canvas_area(struct canvas *c, const double *x, const double *y, size_t n, uint16_t colour);
/* A shape at each place that is finite. */
void canvas_marks(struct canvas *c, const double *x, const double *y, size_t n,
                  struct canvas_mark m);
/* Baseline at y. Through the sanitizer. */
void canvas_text(struct canvas *c, double x, double y, const char *text, struct canvas_font f);
double canvas_text_width(struct canvas *c, const char *text, struct canvas_font f);
/* Drawing outside is cut until canvas_unclip(); not nested. */
void canvas_clip(struct canvas *c, double x, double y, double w, double h);
void canvas_unclip(struct canvas *c);

/* The whole picture into memory, or to a file (temporary file, rename). Once. */
ERR_CHECK int canvas_finish(struct canvas *c, struct str *out, struct err *err);
ERR_CHECK int canvas_finish_file(struct canvas *c, const char *path, struct err *err);

#endif
