/* What stands behind a canvas: one table of functions a kind of file. Only canvas*.c include it. */
#ifndef MOQA_UI_FIGURE_CANVAS_PARTS_H
#define MOQA_UI_FIGURE_CANVAS_PARTS_H

#include "ui/figure/canvas.h"

/* Coordinates are finite, texts sanitized, by the time they come here. */
struct canvas_kind {
    int (*open)(struct canvas *c, struct err *err);
    void (*close)(struct canvas *c); /* also after a failed open */
    void (*page)(struct canvas *c, double width, double height);
    void (*path)(struct canvas *c, const double *x, const double *y, size_t n,
                 struct canvas_stroke s); /* n > 1, without gaps */
    void (*area)(struct canvas *c, const double *x, const double *y, size_t n, uint16_t colour);
    void (*fill)(struct canvas *c, double x, double y, double w, double h, uint16_t colour);
    void (*marks)(struct canvas *c, const double *x, const double *y, size_t n,
                  struct canvas_mark m); /* skips what is not finite */
    void (*text)(struct canvas *c, double x, double y, const char *text, struct canvas_font f);
    double (*text_width)(struct canvas *c, const char *text, struct canvas_font f);
    void (*clip)(struct canvas *c, double x, double y, double w, double h);
    void (*unclip)(struct canvas *c);
    int (*finish)(struct canvas *c, struct str *out, struct err *err);
};
extern const struct canvas_kind canvas_svg_kind, canvas_cairo_kind;

struct canvas {
    const struct canvas_kind *kind;
    struct canvas_options options;
    char *title, *description; /* sanitized; or NULL */
    void *own;                 /* of the kind */
    bool clipped;
};

/* Corners of a shape around 0, 0 with radius 1; n = 0: a circle. */
struct canvas_corners {
    size_t n;
    double x[12], y[12];
};
extern const struct canvas_corners canvas_corners[CANVAS_SHAPES];

#endif
