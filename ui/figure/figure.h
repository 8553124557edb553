/*
 * A figure: the data of one chart with its words, apart from how it is drawn. The same figure goes
 * to the screen and to the text report as cells (figure_draw) and to SVG, PDF and PNG as strokes
 * (paint.h). figures.h makes those of the method from an analysis.
 */
#ifndef MOQA_UI_FIGURE_FIGURE_H
#define MOQA_UI_FIGURE_FIGURE_H

#include <stddef.h>

#include "data/base/err.h"
#include "ui/cells/cell.h"
#include "ui/chart/chart.h"

enum figure_kind {
    FIGURE_XY,
    FIGURE_HISTOGRAM,
    FIGURE_BARS,
    FIGURE_INTERVALS,
    FIGURE_HEAT,
    FIGURE_TILES,
    FIGURE_KINDS
};

enum { FIGURE_TITLE_MAX = 160, FIGURE_CAPTION_MAX = 640 };

struct figure {
    enum figure_kind kind;
    char title[FIGURE_TITLE_MAX];     /* "Significance of the experts, layer 3" */
    char caption[FIGURE_CAPTION_MAX]; /* one or two sentences with the numbers that matter */
    union {
        struct chart_xy xy;
        struct chart_histogram histogram;
        struct chart_bars bars;
        struct chart_intervals intervals;
        struct chart_heat heat;
        struct chart_tiles tiles;
    };
    struct figure_block *blocks; /* memory of the arrays and texts the chart points to */
};

/* Zeroed memory that lives as long as the figure; NULL with `err` set. */
void *figure_array(struct figure *f, size_t count, size_t size, struct err *err);
/* A formatted text of the figure's own; "" without memory. */
const char *figure_text(struct figure *f, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void figure_release(struct figure *f);

/* The chart alone, without title and caption, as cells. `map` may be NULL. */
void figure_draw(struct cells *c, struct rect r, const struct style_look *look,
                 const struct figure *f, struct chart_map *map);

#endif
