/* What the makers of figures share. Only figure_*.c and figures.c include this. */
#ifndef MOQA_UI_FIGURE_FIGURE_PARTS_H
#define MOQA_UI_FIGURE_FIGURE_PARTS_H

#include "ui/figure/figures.h"

const struct analysis_layer *figure_layer(const struct figure_source *s);
/* Greek and signs for those who can see them. */
const char *figure_word(const struct figure_source *s, const char *utf8, const char *ascii);
/* Value of a setting as text of the figure's own. */
const char *figure_setting(struct figure *f, const struct figure_source *s, const char *name);
void figure_title(struct figure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Appends to the caption. */
void figure_say(struct figure *f, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Halves the axis `zoom` times around `centre` (NaN: towards its low end) and never leaves it;
 * an integer axis keeps whole ends. lo and hi must be set. */
void figure_zoom(struct chart_axis *axis, int zoom, double centre);
/* The ranks of an analysis, zoomed around one. */
struct chart_axis figure_rank_axis(const struct figure_source *s, double centre);

/*
 * The points of the curve y[0 .. types-1] over the ranks 1 .. types that are inside the axis x:
 * of every thousandth of the axis the first, the last, the lowest and the highest, and as many
 * between as leave no visible step between neighbours in y. y is divided by `divide`.
 */
ERR_CHECK int figure_sample(struct figure *f, struct chart_series *out, const double *y,
                            double divide, const struct chart_axis *x, bool log_y, struct err *err);

ERR_CHECK int figure_make_zipf(struct figure *f, const struct figure_source *s, struct err *err);
ERR_CHECK int figure_make_utilization(struct figure *f, const struct figure_source *s,
                                      struct err *err);
ERR_CHECK int figure_make_mapping(struct figure *f, const struct figure_source *s, struct err *err);
ERR_CHECK int figure_make_significance(struct figure *f, const struct figure_source *s,
                                       struct err *err);
ERR_CHECK int figure_make_experts(struct figure *f, const struct figure_source *s, struct err *err);
ERR_CHECK int figure_make_similarity(struct figure *f, const struct figure_source *s,
                                     struct err *err);
ERR_CHECK int figure_make_difference(struct figure *f, const struct figure_source *s,
                                     struct err *err);
ERR_CHECK int figure_make_bits(struct figure *f, const struct figure_source *s, struct err *err);
ERR_CHECK int figure_make_front(struct figure *f, const struct figure_source *s, struct err *err);
ERR_CHECK int figure_make_results(struct figure *f, const struct figure_source *s, struct err *err);

#endif
