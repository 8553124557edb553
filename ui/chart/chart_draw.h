/*
 * What the charts share: scales, the frame with its axes, dots finer than a cell. Only chart_*.c
 * include this.
 */
#ifndef MOQA_UI_CHART_CHART_DRAW_H
#define MOQA_UI_CHART_CHART_DRAW_H

#include "ui/chart/chart.h"

/* --- scales (chart_scale.c) --- */

/* Cell 0 .. length-1 of a place, clamped. */
int chart_cell(double place, int length);
/* First column of a tick's text relative to the axis, inside -margin .. length+margin. */
int chart_tick_start(const struct chart_tick *tick, int length, int margin);

/* The span of some values, for axes that are to be fitted. */
struct chart_span {
    double lo, hi;
    size_t shown, hidden; /* hidden: not positive on a log axis */
};
void chart_span_add(struct chart_span *span, const struct chart_axis *axis, double value);
/* Gives the axis the span unless the caller fixed it. */
void chart_fit(struct chart_axis *axis, const struct chart_span *span);
/* 1, 2 or 5 times a power of ten, not below `step` (positive). */
double chart_nice_step(double step);

/* --- lines and points (chart_xy.c) --- */

double chart_series_x(const struct chart_series *s, size_t i);
uint16_t chart_series_colour(const struct chart_series *s, size_t index);
/* Fits both axes to what they can show; returns how many points they cannot. */
size_t chart_xy_fit(struct chart_axis *x, struct chart_axis *y, const struct chart_xy *chart,
                    size_t *shown);

/* --- histograms (chart_histogram.c) --- */

enum { CHART_GROUPS = 5 };                                         /* no group, and four classes */
size_t chart_group(const struct chart_histogram *chart, size_t i); /* below CHART_GROUPS */
uint16_t chart_group_colour(size_t group);

/* By Freedman and Diaconis: width 2 IQR n^(-1/3). Where the quartiles coincide, or memory is
 * short, by Sturges; 10 to 80, or as many as the chart asks for. */
size_t chart_bins(const struct chart_histogram *chart, const struct chart_axis *x);
/* The normal curve of the chart in counts, for bins of this width. */
double chart_curve(const struct chart_histogram *chart, double bin_width, double x);

/* --- frame (chart_frame.c) --- */

struct chart_frame {
    struct cells *c;
    const struct style_look *look;
    struct rect all, plot, header, marker_rows, strip;
    struct chart_axis x, y;
    bool edges;              /* bars: the tick of a value stands in the row whose upper edge it is,
                                so that 0 is the line under the plot */
    bool no_y;               /* rows are categories: no ticks, the left margin is given */
    int left;                /* columns left of the plot, with the axis line */
    int tick_row, title_row; /* -1: left out */
};

struct chart_legend_item {
    const char *glyph; /* one column, drawn twice */
    const char *name;
    uint16_t colour;
    bool single; /* the glyph is drawn once */
};

struct chart_frame_wish {
    bool header, strip;
    int header_rows; /* wanted */
    const struct chart_marker *markers;
    size_t marker_count; /* labels of vertical ones get a row above the plot, or two */
};

/* Sets the rectangles of `f` from f->all, the axes and the wish. */
void chart_frame_layout(struct chart_frame *f, struct chart_frame_wish wish);
void chart_frame_axes(const struct chart_frame *f);
/* The y title left and the legend right, in one row, or in those below the title. */
void chart_frame_header(const struct chart_frame *f, const struct chart_legend_item *item,
                        size_t count);
/* Header rows that a title and a legend need in this width. */
int chart_header_rows(int width, const char *title, const struct chart_legend_item *item,
                      size_t count);
void chart_frame_markers(const struct chart_frame *f, const struct chart_marker *marker,
                         size_t count);
/* Labels of horizontal markers, after the data. */
void chart_frame_marker_labels(const struct chart_frame *f, const struct chart_marker *marker,
                               size_t count);
void chart_frame_cursor(const struct chart_frame *f, const struct chart_cursor *cursor);
void chart_frame_hidden(const struct chart_frame *f, size_t hidden);
void chart_frame_map(const struct chart_frame *f, size_t hidden, struct chart_map *map);

/* A glyph over what is there: a bar (STYLE_SOLID) keeps showing as its background, and the glyph
 * then takes the colour that can be seen on it. Where it fills a small part of the cell, or has a
 * texture, the glyph replaces that part, but never the bar's foot: low bars stay in sight. */
void chart_overlay(struct cells *c, int x, int y, const char *glyph, struct style s);
/* One centred line where there is nothing to draw. */
void chart_nothing(struct cells *c, struct rect r, const struct style_look *look, const char *text);

/* --- dots (chart_dots.c) --- */

struct chart_dots {
    struct cells *c;
    struct rect plot;
    const struct style_look *look;
    int w, h; /* dots in the plot */
    uint16_t colour;
    size_t series; /* its glyph in ASCII and its dash pattern without colours */
    size_t step;   /* along the dash pattern */
    int last_x, last_y;
};

/* A series takes cells over from those before it: a cell has one colour, and dots of another
 * series would be told as its own. */
struct chart_dots chart_dots_open(const struct chart_frame *f, uint16_t colour, size_t series);
/* Places 0..1 from left to right and from bottom to top; what is outside is clipped. */
void chart_dots_point(struct chart_dots *d, double px, double py);
void chart_dots_line(struct chart_dots *d, double x0, double y0, double x1, double y1);
/* The glyph that stands for a series of dots in a legend. */
const char *chart_dots_sample(const struct style_look *look, size_t series, bool line);

#endif
