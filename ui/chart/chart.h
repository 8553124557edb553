/*
 * Charts: pure functions from data to cells. Nothing is drawn outside the given rectangle; every
 * chart is readable from 40x10 on and uses what it gets up to 200x60; parts that do not fit are
 * left out in the order legend, axis titles, tick labels. Labels never overlap. Strings pass the
 * sanitizer. Values that are not finite are skipped.
 */
#ifndef MOQA_UI_CHART_CHART_H
#define MOQA_UI_CHART_CHART_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ui/cells/cell.h"
#include "ui/cells/layout.h"
#include "ui/cells/style.h"

/* --- axes ------------------------------------------------------------------------------- */

/* lo >= hi (as in {0}): fitted to the data, and widened to nice numbers for a linear axis. */
struct chart_axis {
    double lo, hi;
    bool log;          /* base 10; values <= 0 cannot be shown: they are counted and said */
    bool integer;      /* ticks at whole numbers only */
    const char *title; /* with its unit: "rank", "loss (mean squared)"; NULL: none */
};

/* Position of a value on an axis with ends: 0 at lo, 1 at hi; NaN where it has none. */
double chart_place(const struct chart_axis *axis, double value);
double chart_value(const struct chart_axis *axis, double place);

/* Series that a legend names; all are drawn. */
enum { CHART_LEGEND_MAX = 24 };

enum { CHART_TICK_TEXT = 24, CHART_TICKS_MAX = 64 };

struct chart_tick {
    double value;
    int cell; /* offset along the axis, 0 = the lowest value's cell */
    char text[CHART_TICK_TEXT];
};

/*
 * Ticks for an axis of `length` cells from lo to hi: 1, 2 or 5 times a power of ten; on a log
 * axis decades (every n-th if they are many), and 1, 2, 5 within when there is less than about
 * two decades. For a horizontal axis (`wide`) texts are centred on their cells, fit into
 * -margin .. length+margin and stand at least one cell apart; for a vertical one every tick has
 * its own row. Returns their number.
 */
size_t chart_ticks(struct chart_tick out[CHART_TICKS_MAX], double lo, double hi, bool is_log,
                   bool integer, int length, bool wide, int margin);

/* A number in a few characters as tick labels and tables show it: 0.25, 1.5k, 3e-7, 12. */
void chart_number(char *out, size_t size, double value, int significant);

/* From cells to data and back. Valid only when plot is not empty. */
struct chart_map {
    struct rect plot; /* without axes */
    struct chart_axis x, y;
    size_t hidden; /* points a log axis could not show */
};
/* Centre of the cell (sx, sy: screen coordinates); false outside the plot. */
bool chart_map_at(const struct chart_map *m, int sx, int sy, double *vx, double *vy);
/* Screen column or row of a value, clamped to the plot; false if it lies outside. */
bool chart_map_x(const struct chart_map *m, double value, int *sx);
bool chart_map_y(const struct chart_map *m, double value, int *sy);

/* --- lines and points -------------------------------------------------------------------- */

enum chart_mark { CHART_LINE, CHART_POINTS, CHART_STEPS };

struct chart_series {
    const char *name; /* in the legend; NULL: not there */
    const double *x;  /* NULL: 1 .. n */
    const double *y;
    size_t n;
    enum chart_mark mark;
    uint16_t colour;          /* style code; 0: STYLE_SERIES + its index */
    bool big;                 /* points as a whole glyph of the series' own: for few points */
    const double *error;      /* [n] half the bar through a point, in pictures; NULL, 0: none */
    const char *const *glyph; /* [n] of big points, a column each: letters; NULL: the series' own */
};

/* The glyph of a series whose points are whole glyphs. */
const char *chart_point_mark(const struct style_look *look, size_t series);

/* A line across the plot at a value of x (vertical) or of y. */
struct chart_marker {
    bool horizontal;
    double at;
    const char *label; /* may be NULL; NULL or crowded labels are left out, the line stays */
    uint16_t colour;   /* 0: STYLE_MARKER */
    bool focus;        /* drawn bold: it is being moved */
};

/* A crosshair at a data position; the values are printed in the plot's upper corner. */
struct chart_cursor {
    bool shown;
    double x, y;
    const char *text; /* NULL: "x 12  y 0.03" */
};

struct chart_xy {
    struct chart_axis x, y;
    const struct chart_series *series;
    size_t count;
    const struct chart_marker *markers;
    size_t marker_count;
    struct chart_cursor cursor;
    bool no_legend;
};
/* `map` may be NULL. */
void chart_xy(struct cells *c, struct rect r, const struct style_look *look,
              const struct chart_xy *chart, struct chart_map *map);

/* --- histogram (Fig. 4) ------------------------------------------------------------------ */

struct chart_histogram {
    struct chart_axis x, y; /* y is a count; y.title NULL: "experts" is not assumed */
    const double *value;
    size_t n;
    const size_t *group; /* [n] colours of the bars and of the strip below (1: high), or NULL */
    const char *const *group_name; /* [groups] of group 1 and on, for the legend; or NULL */
    size_t groups;
    size_t bins; /* 0: by Freedman-Diaconis, at most the columns */
    bool curve;  /* n * bin width * normal density of mu and sigma over the bars */
    double mu, sigma;
    const struct chart_marker *markers;
    size_t marker_count;
    const size_t *selected; /* index of a value to point out in the strip, or NULL */
    struct chart_cursor cursor;
};
/* Under the axis a strip shows every value at its place, coloured by group. */
void chart_histogram(struct cells *c, struct rect r, const struct style_look *look,
                     const struct chart_histogram *chart, struct chart_map *map);

/* --- horizontal bars --------------------------------------------------------------------- */

struct chart_bar {
    const char *label;
    double value;
    bool missing;     /* shown as a dash */
    uint16_t colour;  /* 0: STYLE_SERIES */
    const char *note; /* right of the number; may be NULL */
};
struct chart_bars {
    const struct chart_bar *bar;
    size_t n;
    double max;   /* 0: the largest */
    size_t first; /* scroll position */
    bool has_selected;
    size_t selected;
    int digits; /* significant digits of the number; 0: 3 */
};
void chart_bars(struct cells *c, struct rect r, const struct style_look *look,
                const struct chart_bars *chart);

/* --- intervals (Fig. 3) ------------------------------------------------------------------ */

struct chart_interval {
    const char *label;
    bool valid; /* false: nothing to show; the row says so */
    double lowest, tenth, median, ninetieth, highest;
    uint16_t colour;  /* 0: STYLE_SERIES */
    const char *note; /* right of the row, e.g. the group; may be NULL */
};
struct chart_intervals {
    struct chart_axis x;   /* usually log */
    const char *row_title; /* "expert", where there is room; may be NULL */
    const struct chart_interval *row;
    size_t n;
    size_t first; /* scroll position; a note says which rows are shown if not all are */
    bool has_selected;
    size_t selected;
    const char *cursor_text;            /* the selected row in words, above the plot; may be NULL */
    const struct chart_marker *markers; /* vertical ones */
    size_t marker_count;
};
/* map->y is the row index: chart_map_at() gives the row's number. */
void chart_intervals(struct cells *c, struct rect r, const struct style_look *look,
                     const struct chart_intervals *chart, struct chart_map *map);
/* Rows that fit into a rectangle of this height, for scrolling. */
size_t chart_intervals_rows(const struct chart_intervals *chart, int height);

/* --- heat map (Fig. 5) ------------------------------------------------------------------- */

struct chart_heat {
    const double *value; /* [rows][cols]; NaN: no value */
    size_t rows, cols;
    double lo, hi;                     /* fixed domain; values outside are clamped */
    const char *title;                 /* of the colour bar; may be NULL */
    const char *row_title, *col_title; /* "expert", where there is room; may be NULL */
    const char *const *row_labels;     /* [rows] or NULL: numbers */
    const char *const *col_labels;     /* [cols] or NULL: numbers */
    size_t first_row, first_col;       /* scroll position */
    int zoom;                          /* steps above the size at which all would fit */
    bool has_selected;
    size_t selected_row, selected_col;
};
/* With colours two rows a character (half blocks), else shades. Cells grow to fill the room; when
 * there are more values than cells, it scrolls. map gives (col, row) for a screen cell. */
void chart_heat(struct cells *c, struct rect r, const struct style_look *look,
                const struct chart_heat *chart, struct chart_map *map);

/* The row under the screen row `sy` of a heat map's map: where a character holds two, the upper
 * one, and the lower one when the upper is `current`. False outside. */
bool chart_heat_row(const struct chart_map *m, int sy, size_t current, size_t *row);

/* --- grid of tiles (Fig. 6) -------------------------------------------------------------- */

enum { CHART_PARTS = 3 };

struct chart_tile {
    char text[4];    /* at most 2 columns: "4", "16" */
    uint16_t colour; /* of the text; its background stays the terminal's */
    bool marked;     /* underlined and bold: pinned, changed */
    /* Where what the tile stands for is not one thing: its parts, a column each, in place of the
     * text where a tile has as many columns; else the text with a tick behind it. */
    struct {
        char text[4];
        uint16_t colour;
    } part[CHART_PARTS];
    size_t parts;
};
struct chart_tiles {
    const struct chart_tile *tile; /* [rows][cols] */
    size_t rows, cols;
    const char *row_title, *col_title; /* "layer", "expert" */
    const char *const *row_labels;     /* [rows] or NULL: numbers */
    size_t first_row, first_col;
    int zoom; /* steps above the size at which all would fit */
    bool has_selected;
    size_t selected_row, selected_col;
    const char *cursor_text; /* the selected tile in words, above the grid; may be NULL */
};
/* map gives (col, row) for a screen cell. */
void chart_tiles(struct cells *c, struct rect r, const struct style_look *look,
                 const struct chart_tiles *chart, struct chart_map *map);

/* --- small things ------------------------------------------------------------------------ */

/* A bar of one row filled to `fraction` (eighths of a cell where the glyphs allow). */
void chart_meter(struct cells *c, int x, int y, int w, const struct style_look *look,
                 double fraction, struct style s);
/* A slider: a line with a knob at `fraction`; focus draws it bold. */
void chart_slider(struct cells *c, int x, int y, int w, const struct style_look *look,
                  double fraction, bool focus);

#endif
