/*
 * Plans within a budget on the screen: what of them is the user's (part of the document), and what
 * measured losses say about plans (analysis/budget.h). A solve that would not fit into a frame is
 * cut short, its plan shown, and the best one found while nobody presses a key; a key that comes
 * meanwhile ends that, and the next rest begins anew.
 */
#ifndef MOQA_UI_APP_APP_BUDGET_H
#define MOQA_UI_APP_APP_BUDGET_H

#include "analysis/budget.h"
#include "data/settings.h"
#include "ui/figure/figures.h"

struct app;
struct app_document;
struct planner_request;

enum { APP_MARKS_MAX = 4 + FIGURE_UNIFORM_MAX };

enum { APP_BITS_MAX = 16 }; /* that a budget may have on average */

enum app_unit { APP_BITS, APP_BYTES, APP_UNITS };

/* How the plan comes about: off, by MoQa's rule. The others keep their values meanwhile. */
struct app_budget {
    bool on;
    bool chosen;    /* bits and bytes have been set */
    int unit;       /* enum app_unit */
    double bits;    /* average a weight of all experts */
    uint64_t bytes; /* of all experts in the moqa layout */
    int grain;      /* enum budget_grain */
};

/* What is known by measured losses; kept between moves of the budget. */
struct app_front {
    const struct losses *losses; /* of the settings on the screen; NULL: none */
    const char *path;
    bool differs;              /* they were measured on another calibration */
    struct budget_front curve; /* with what is pinned, in `unit` and `grain` */
    double weights;            /* of all experts */
    /* What the curve was made from. */
    const struct losses *made_from;
    int unit, grain;
    size_t group_size;
    uint8_t *pins; /* [layers][experts] */

    struct figure_mark uniform[FIGURE_UNIFORM_MAX];
    size_t uniforms;
    struct figure_mark moqa;  /* of the settings and pins on the screen */
    bool known;               /* the losses tell the rise of the plan on the screen: */
    double rise, rise_before; /* now and before the last change */
    size_t frame_states;      /* that a solve within a frame looks at; 0: the default */
    bool whole;               /* the next solve may take its time, */
    bool resting;             /* until a key comes: */
    bool disturbed;           /* one has come */
    bool provisional;         /* the plan is not proven to be the best yet */
    unsigned rest;            /* ticks since the last event */

    struct figure_mark mark[APP_MARKS_MAX]; /* of the last figure */
    struct figure_front figure;
};

bool app_budget_equal(const struct app_budget *x, const struct app_budget *y);
/* "MoQa", "2.5 bits", "1.2 MiB". */
void app_budget_text(char *out, size_t size, const struct app_budget *b);

/* The budget that a plan was made within: on if it was, with the bits that it has. */
void app_budget_take(struct app_budget *b, const struct plan *plan);

/* Bits on average that it allows. */
double app_budget_bits(const struct app_budget *b, double weights);
/* So that it holds these bits, in its unit, as a number that is typed easily. */
void app_budget_hold(struct app_budget *b, double bits, double weights);
/* The bits of MoQa's plan: what there is to compare with. */
void app_budget_default(const struct app *a, struct app_budget *b);

/* --- Its sliders (app_budget_slider.c): budget, unit, grain --- */

extern const char *const app_budget_sliders[];
/* NULL: it is none of them. */
const struct setting_info *app_budget_find(const char *name);
bool app_budget_owns(const struct setting_info *info);
void app_budget_get(const struct app *a, const struct setting_info *info, char *out, size_t size);
/* Where the knob stands, 0..1. */
double app_budget_fraction(const struct app *a, const struct setting_info *info);
void app_budget_step(struct app *a, const struct setting_info *info, int steps);
void app_budget_reset(struct app *a, const struct setting_info *info);
bool app_budget_set(struct app *a, const struct setting_info *info, const char *value);
/* To these bits of the curve, as when the front is clicked at. */
void app_budget_move(struct app *a, double bits);

/* --- Acts --- */

/* Between MoQa's rule and a budget; says so where losses are missing. */
void app_budget_switch(struct app *a);
/* Measures losses for the settings on the screen, or goes on with that. */
void app_budget_measure(struct app *a);
bool app_budget_measuring(const struct app *a);
/* False where nothing is measured. */
bool app_budget_cancel(struct app *a);
/* The best plan now, where one is shown that may not be it: before it is used. */
void app_budget_finish(struct app *a);

/* --- For the rest of the app --- */

/* The losses for the document's settings, and the curve for its pins: before the plan is made. */
void app_budget_prepare(struct app *a);
/* Once there is a plan: its rise, and the marks. */
void app_budget_judge(struct app *a);
/* The plan within the document's budget. */
ERR_CHECK int app_budget_plan(struct plan *out, struct app *a,
                              const struct planner_request *request, struct err *err);
/* Whether this document's plan can be made; the error says what is missing. */
ERR_CHECK int app_budget_check(const struct app *a, const struct app_document *d, struct err *err);
/* Leaves the budget of a document from elsewhere whose plan cannot be made; false then. */
bool app_budget_keep(const struct app *a, struct app_document *d);
/* Looks at what happened in the background, and uses a rest. */
void app_budget_tick(struct app *a);
void app_budget_release(struct app *a);

/* Marks of all plans that are known, the one on the screen first. */
size_t app_budget_marks(struct figure_mark out[APP_MARKS_MAX], const struct app *a);

#endif
