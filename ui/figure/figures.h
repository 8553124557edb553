/*
 * The figures of the method (docs/method.md; Figures 2 to 6 of the paper), made from an analysis,
 * a plan and runs. One table names them all: the workbench's screens, `moqa figure` and both
 * reports take them from here.
 */
#ifndef MOQA_UI_FIGURE_FIGURES_H
#define MOQA_UI_FIGURE_FIGURES_H

#include "analysis/analysis.h"
#include "analysis/budget.h"
#include "data/plan.h"
#include "ui/figure/figure.h"

/* A run of the results' figure. */
struct figure_run {
    const char *name;
    const char *method;  /* its points share a colour and a name in the legend; may be NULL */
    double nominal_bits; /* 0, or 16 and more: the original, a horizontal line */
    double effective_bits;
    uint64_t bytes;
    bool has_perplexity;
    double perplexity;
    double deviation; /* standard, where it is a mean over several draws; else 0 */
};

/* The runs, with their perplexities on one text: those on others are not comparable. */
struct figure_results {
    const char *text; /* its name; NULL: none */
    bool is_known;    /* false: which text it is was not recorded, so that no run is the best */
    const struct figure_run *run;
    size_t runs;
};

/* What a figure is made from and what of it is looked at. Everything is borrowed, also by the
 * figures made from it. */
struct figure_source {
    const struct analysis *analysis;      /* required */
    const double *cosine;                 /* [layer][N][N]; NULL: no model, or not computed yet */
    const struct plan *plan;              /* NULL: none */
    const struct figure_results *results; /* [texts] the same runs, on each text */
    size_t texts;
    const struct figure_front *front; /* NULL: no measured losses */

    size_t layer;      /* index among the MoE layers */
    bool ascii;        /* words without Greek letters and signs */
    bool linear;       /* linear axes where they are logarithmic by default */
    bool all_experts;  /* similarity: all instead of eight at equal quantiles of S */
    int zoom;          /* 0: all; each step shows half of it, around what is pointed at */
    bool has_selected; /* the expert pointed at */
    size_t expert;
    bool has_other; /* the expert that it is compared with */
    size_t other;
    size_t text;    /* the results that are shown */
    bool file_bits; /* they are over the bits in the file, not the nominal ones */
    bool has_run;   /* the run pointed at */
    size_t run;
    bool threshold_held; /* it is being moved */
    size_t token_rank;   /* the rank pointed at; 0: none */
};

/* A plan on the front of all budgets. */
struct figure_mark {
    const char *name;  /* "MoQa" */
    const char *glyph; /* a letter for it; NULL: a dot */
    double bits;       /* as those of the curve */
    double rise;       /* predicted, of the mean negative log-likelihood */
};

struct figure_front {
    const struct budget_front *curve;
    bool file_bits; /* its bits are those of the file, else nominal ones */
    const struct figure_mark *mark;
    size_t marks;
    bool has_selected; /* the plan that is looked at */
    size_t selected;
};

enum { FIGURE_UNIFORM_MAX = 3 };
/* All experts at 2, 3 and 4 bits, as far as they were measured; returns their number. */
size_t figures_mark_uniform(struct figure_mark out[FIGURE_UNIFORM_MAX], const struct budget *b,
                            const struct losses *losses);
/* Any plan; its rise is NaN where it has a width that was not measured. The names are borrowed. */
struct figure_mark figures_mark_plan(const char *name, const char *glyph, const struct plan *p,
                                     const struct losses *losses, const struct model_config *config,
                                     bool file_bits);

/* "MoQa"; with its letter where several marks have the name: "uniform 2". */
void figures_mark_name(char *out, size_t size, const struct figure_mark *m);

enum figure_needs {
    FIGURE_NEEDS_NOTHING = 0,
    FIGURE_NEEDS_COSINE = 1,
    FIGURE_NEEDS_PLAN = 2,
    FIGURE_NEEDS_RUNS = 4,
    FIGURE_NEEDS_FRONT = 8
};

struct figure_info {
    const char *name;  /* "significance": as typed after --figure, and in file names */
    const char *help;  /* one line */
    const char *paper; /* "Fig. 4", or NULL */
    bool per_layer;    /* shows one layer */
    enum figure_needs needs;
    ERR_CHECK int (*make)(struct figure *out, const struct figure_source *s, struct err *err);
};

/* zipf, utilization, mapping, significance, experts, similarity, difference, bits, front, results;
 * in this order. */
size_t figures_count(void);
const struct figure_info *figures_info(size_t i);
const struct figure_info *figures_find(const char *name); /* or NULL */

/* By name, for those who know which they want. ERR_USAGE if what it needs is missing: the message
 * says what. On error *out holds nothing. */
ERR_CHECK int figures_make(struct figure *out, const char *name, const struct figure_source *s,
                           struct err *err);

/* Experts by falling significance, equal ones by number. order: [experts] */
void figures_rank(size_t *order, const double *significance, size_t experts);
/* The experts of `similarity` in the order of its rows: eight, or all. out: [experts]; returns
 * their number. */
size_t figures_pick(size_t *out, const struct figure_source *s);
/* Classes of the rule in force; "high", "low", or "class 2 of 3" between them; their colour. */
size_t figures_groups(const struct analysis_layer *l);
void figures_group_name(char *out, size_t size, const struct analysis_layer *l, size_t group);
uint16_t figures_group_colour(size_t group);
/* The series of a method in the figure of the results; false: it has none. */
bool figures_method(size_t *series, const struct figure_results *r, const char *method);
/* "3", or "gate 2, up 3, down 4". */
void figures_bits_text(char *out, size_t size, const struct plan_expert *x);
/* Numbers of its linears' mixed channels: "gate/up 6, down 3", or those of all three. */
void figures_channels_text(char *out, size_t size, const struct plan_expert *x);

#endif
