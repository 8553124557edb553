/* What the painters of the chart kinds share. Only paint*.c include this. */
#ifndef MOQA_UI_FIGURE_PAINT_PARTS_H
#define MOQA_UI_FIGURE_PAINT_PARTS_H

#include "ui/chart/chart_draw.h"
#include "ui/figure/paint.h"

/* Sizes in points. */
#define PAINT_TITLE 9.0
#define PAINT_LABEL 8.0
#define PAINT_TICK 7.0
#define PAINT_AXIS 0.6
#define PAINT_LINE 1.2

enum { PAINT_LEGEND_MAX = CHART_LEGEND_MAX, PAINT_MARKERS_MAX = 24 };

/* A sign and its words. */
enum paint_sign { PAINT_SIGN_LINE, PAINT_SIGN_MARK, PAINT_SIGN_AREA };
struct paint_legend {
    struct {
        enum paint_sign sign;
        const char *name;
        uint16_t colour;
        double dash;             /* lines */
        enum canvas_shape shape; /* marks */
        size_t hatch;            /* areas: see paint_area() */
    } item[PAINT_LEGEND_MAX];
    size_t count;
};

/* A plot with axes in a box; the caller sets c, all, x, y and the wishes, then calls the layout. */
struct paint_frame {
    struct canvas *c;
    struct paint_box all, plot;
    struct chart_axis x, y;
    const struct paint_legend *legend;
    const struct chart_marker *markers;
    size_t marker_count;
    bool rows;          /* no y axis: the left and right margins are given */
    double left, right; /* with `rows`: from the box to the plot */
    double strip;       /* height kept free between the plot and its x axis */
    bool labels_left;   /* those of horizontal markers, else at the right end */
    size_t label_rows;  /* of markers, set by the layout */
};

struct canvas_font paint_font(double size, uint16_t colour, enum canvas_anchor anchor);
struct canvas_stroke paint_stroke(double width, uint16_t colour);
/* The baseline for letters whose middle is at y. */
double paint_middle(double y, double size);
/* As much of the text as has room, with dots at the end. */
void paint_text_in(struct canvas *c, double x, double y, double room, const char *text,
                   struct canvas_font f);

/* With a minus instead of a hyphen. */
void paint_number(struct canvas *c, double x, double y, const char *number, struct canvas_font f);

void paint_layout(struct paint_frame *f);
void paint_axes(const struct paint_frame *f);
/* Says how many values a logarithmic axis cannot show. */
void paint_hidden(const struct paint_frame *f, size_t hidden);
void paint_legend(const struct paint_frame *f);
/* Lines and labels; labels of horizontal ones stand on their line. */
void paint_markers(const struct paint_frame *f);
/* Where the label of a horizontal marker stands; no width without a label. */
struct paint_box paint_marker_label(const struct paint_frame *f, const struct chart_marker *m);
/* In the picture; NaN where an axis has no place for it. */
double paint_x(const struct paint_frame *f, double value);
double paint_y(const struct paint_frame *f, double value);
/* Height of the rows that a legend takes in this width. */
double paint_legend_height(struct canvas *c, const struct paint_legend *legend, double width);
void paint_legend_at(struct canvas *c, const struct paint_legend *legend, double x, double y,
                     double width);
/* Words in the middle of a box where there is nothing to draw. */
void paint_nothing(struct canvas *c, struct paint_box box);

/* A filled bar of class `hatch`: 0 and 1 plain, those above with lines across, for grey prints. */
void paint_area(struct canvas *c, struct paint_box box, uint16_t colour, size_t hatch);

/* The painters; the box is without the title. */
void paint_xy(struct canvas *c, struct paint_box box, const struct chart_xy *chart);
void paint_histogram(struct canvas *c, struct paint_box box, const struct chart_histogram *chart);
void paint_bars(struct canvas *c, struct paint_box box, const struct chart_bars *chart);
void paint_intervals(struct canvas *c, struct paint_box box, const struct chart_intervals *chart);
void paint_heat(struct canvas *c, struct paint_box box, const struct chart_heat *chart);
void paint_tiles(struct canvas *c, struct paint_box box, const struct chart_tiles *chart);

#endif
