/*
 * The figures of the method (docs/method.md; Figures 2 to 6 of the paper), made from an analysis,
 * a plan and runs. One table names them all: the workbench's screens, `moqa figure` and both
 * reports take them from here.
 */
#ifndef MOQA_UI_FIGURE_FIGURES_H
#define MOQA_UI_FIGURE_FIGURES_H

#include "analysis/analysis.h"
#include "data/plan.h"
#include "ui/figure/figure.h"

/* A run of the results' figure. */
struct figure_run {
    const char *name;
    double nominal_bits, effective_bits;
    uint64_t bytes;
    bool has_perplexity;
    double perplexity;
};

/* What a figure is made from and what of it is looked at. Everything is borrowed, also by the
 * figures made from it. */
struct figure_source {
    const struct analysis *analysis; /* required */
    const double *cosine;            /* [layer][N][N]; NULL: no model, or not computed yet */
    const struct plan *plan;         /* NULL: none */
    const struct figure_run *runs;
    size_t run_count;

    size_t layer;      /* index among the MoE layers */
    bool ascii;        /* words without Greek letters and signs */
    bool linear;       /* linear axes where they are logarithmic by default */
    bool all_experts;  /* similarity: all instead of eight at equal quantiles of S */
    int zoom;          /* 0: all; each step shows half of it */
    bool has_selected; /* the expert pointed at */
    size_t expert;
    size_t token_rank; /* the rank pointed at; 0: none */
};

enum figure_needs {
    FIGURE_NEEDS_NOTHING = 0,
    FIGURE_NEEDS_COSINE = 1,
    FIGURE_NEEDS_PLAN = 2,
    FIGURE_NEEDS_RUNS = 4
};

struct figure_info {
    const char *name;  /* "significance": as typed after --figure, and in file names */
    const char *help;  /* one line */
    const char *paper; /* "Fig. 4", or NULL */
    bool per_layer;    /* shows one layer */
    enum figure_needs needs;
    ERR_CHECK int (*make)(struct figure *out, const struct figure_source *s, struct err *err);
};

/* zipf, utilization, mapping, significance, experts, similarity, difference, bits, results; in
 * this order. */
size_t figures_count(void);
const struct figure_info *figures_info(size_t i);
const struct figure_info *figures_find(const char *name); /* or NULL */

/* By name, for those who know which they want. ERR_USAGE if what it needs is missing: the message
 * says what. On error *out holds nothing. */
ERR_CHECK int figures_make(struct figure *out, const char *name, const struct figure_source *s,
                           struct err *err);

#endif
