/* Figures drawn as strokes on a canvas: real axes, legend, colour bar, ready for a paper. What is
 * selected or pointed at on the screen is left out. */
#ifndef MOQA_UI_FIGURE_PAINT_H
#define MOQA_UI_FIGURE_PAINT_H

#include "ui/figure/canvas.h"
#include "ui/figure/figure.h"

struct paint_box {
    double x, y, w, h; /* points */
};

/* One figure into a box of the canvas: title (if `with_title`) and chart. */
void paint_figure(struct canvas *c, struct paint_box box, const struct figure *f, bool with_title);

struct paint_options {
    enum canvas_theme theme; /* CANVAS_AUTO is CANVAS_LIGHT where it is not SVG */
    double width, height;    /* points; 0: 480 x 300, higher for heat maps and long lists */
    double scale;
    bool with_title;
};

/* The size in points that a figure gets with these options. */
void paint_size(double *width, double *height, const struct figure *f,
                const struct paint_options *options);

/* One figure as a file of its own; the format by the path's ending. */
ERR_CHECK int paint_file(const char *path, const struct figure *f,
                         const struct paint_options *options, struct err *err);
/* Several as the pages of a PDF. */
ERR_CHECK int paint_pages(const char *path, const struct figure *figures, size_t count,
                          const struct paint_options *options, struct err *err);
/* The same in memory; several only as PDF. As SVG it may stand inside an HTML page. */
ERR_CHECK int paint_bytes(struct str *out, enum canvas_format format, const struct figure *figures,
                          size_t count, const struct paint_options *options, struct err *err);

#endif
