/* What several views use. Only view_*.c and app_picture.c include this. */
#ifndef MOQA_UI_APP_VIEW_PARTS_H
#define MOQA_UI_APP_VIEW_PARTS_H

#include "ui/app/app_result.h"
#include "ui/app/app_state.h"
#include "ui/figure/figures.h"

/* Rows of facts one below the other; what does not fit is left out. */
struct view_facts {
    struct app *a;
    struct cells *c;
    struct rect r;
    int row; /* the next one */
};
void view_fact(struct view_facts *f, const char *name, uint16_t colour, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* A heading; with an empty row above it where there is room for some rows below. */
void view_heading(struct view_facts *f, const char *text);
/* Words, wrapped. */
/* Where something needs a model and there is none: why, and the command that gives one. Returns the
 * rows used. */
int view_needs_model(struct app *a, struct cells *c, struct rect r, const char *why);
void view_words(struct view_facts *f, uint16_t colour, const char *text);

/* Greek and signs for those who can see them. */
const char *view_word(const struct app *a, const char *utf8, const char *ascii);

const struct analysis_layer *view_layer(const struct app *a); /* the selected one */
size_t view_groups(const struct analysis_layer *l);           /* classes of the rule in force */
size_t view_group_count(const struct app *a, const struct analysis_layer *l, size_t group);
/* "high", "low", or "class 2 of 3" between them. */
void view_group_name(char *out, size_t size, const struct analysis_layer *l, size_t group);
uint16_t view_group_colour(size_t group);
/* What the figures of this screen are made from. */
struct figure_source view_source(struct app *a);
/* Puts the runs so far, in the order of the screen, into `s`, which borrows from both; without
 * memory none. */
struct view_runs {
    struct app_results results;
    struct result_figures figures;
};
void view_runs_take(struct view_runs *out, struct app *a, struct figure_source *s);
void view_runs_release(struct view_runs *v);
/* Makes a figure, or says in `r` why there is none. Released by the caller if true. */
bool view_figure(struct figure *f, struct app *a, struct cells *c, struct rect r, const char *name);
/* The same, drawn at once. */
void view_chart(struct app *a, struct cells *c, struct rect r, const char *name,
                struct chart_map *map);
/* Where a figure would be drawn, without drawing it. */
struct chart_map view_measure(struct app *a, struct cells *c, struct rect r,
                              const struct figure *f);
/* The plan's bits, expert by expert, with the selected one in sight. */
void view_bits(struct app *a, struct cells *c, struct rect r);

/* S, group and tokens of the selected expert under a heading; in one row where room is short. */
void view_expert_facts(struct view_facts *f);

/* Selects another expert, by an enum app_move; says so at the ends. */
void view_move_expert(struct app *a, int move);
#define VIEW_KEY_EXPERT(codes)                                                            \
    {                                                                                     \
        {codes}, "expert", "select the expert before, after; pages; the first, the last", \
            view_move_expert                                                              \
    }
void view_move_layer(struct app *a, int by);
#define VIEW_KEY_LAYER                                                                            \
    {                                                                                             \
        {{TERM_KEY_UP, -1}, {TERM_KEY_DOWN, 1}}, NULL, "the layer before, after", view_move_layer \
    }
/* Where the second of two charts has no room of its own. */
void view_other_chart(struct app *a, int argument);
/* The wheel over the main chart as an enum app_move; 0: it was something else. */
int view_wheel(const struct app *a, const struct term_event *e);
/* The mouse over a grid of layers by experts: the wheel goes through the experts, the button
 * selects the one below it. */
void view_grid_mouse(struct app *a, const struct term_event *e);
/* True for the left button in the main chart, also while it moves; its place in *x, *y. */
bool view_pressed(const struct app *a, const struct term_event *e, double *x, double *y);
/* The same in another chart of the last frame. */
bool view_pressed_in(const struct chart_map *m, const struct term_event *e, double *x, double *y);

/* Cuts `r` into two charts, one above the other (`beside`: next to each other), where the second
 * has at least `min` rows (columns); else one of them gets all: the second when other_chart. */
void view_split(struct app *a, struct rect r, bool beside, int min, struct rect out[2]);

/* What `rows` rows from the top leave of `r`, for something that is good to have. */
struct rect view_below(struct rect r, size_t rows);
/* A bar for each layer under a title; NaN: no bar. Nothing where fewer than all have room. */
void view_layer_bars(struct app *a, struct cells *c, struct rect r, const char *title,
                     const double *value, size_t layers);

/* "1:02:05", "4:09". */
void view_seconds(char *out, size_t size, double seconds);

#endif
