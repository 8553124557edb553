/*
 * A comparison: methods x bits x draws of the calibration, each of them a run in the folder of the
 * runs, with its perplexity on every text and its accuracy on every task. A run is kept under what
 * it was made from (decisions of the plan, settings of the quantization, model, calibration tokens,
 * version), an evaluation under its text and window: what is there is not computed again, a
 * comparison that was cut goes on, and another method, text or seed only adds what is missing.
 *
 *     compare_new(&c, &options, err);     reads everything, refuses what cannot be planned
 *     compare_run(c, err);                ERR_CANCELLED: the same command goes on
 *     compare_result(c)                   the table
 *     compare_free(c);
 */
#ifndef MOQA_SRC_COMPARE_COMPARE_H
#define MOQA_SRC_COMPARE_COMPARE_H

#include "src/compare/compare_methods.h"
#include "src/compare/compare_texts.h"
#include "src/device.h"
#include "src/progress.h"

struct compare_options { /* borrowed while the comparison lives */
    const char *trace_path, *model_dir;
    const char *runs_dir;     /* made when it is missing */
    const char *const *calib; /* texts, or one trace; count 0: the trace itself */
    size_t calib_count;
    size_t samples, window; /* of the calibration, 0: default */
    size_t
        seeds; /* draws of the calibration, seed + 1 .. seed + seeds; 0: one, as the settings say */
    const struct compare_methods *methods;
    const double *bits; /* [bits_count] nominal averages of all experts, shared ones included, for
                           the methods that take one */
    size_t bits_count;
    const struct settings *settings; /* of the command */
    struct compare_texts *texts;     /* parsed; loaded by compare_new() */
    size_t eval_window;              /* 0: the calibration's */
    size_t eval_samples;             /* windows of each text at most; 0: all */
    bool divergence;                 /* of each run from the original, on each text, too */
    bool dry_run;                    /* for compare_prepare() alone: opens no device */
    bool results_only;               /* remove the weights of each run that is evaluated */
    struct device_request device;
    struct progress *progress; /* may be NULL */
};

/* One run. Values are there once compare_run() has returned 0. */
struct compare_cell {
    uint64_t seed;    /* where the row is drawn */
    char folder[128]; /* base name in runs_dir */
    double nominal_bits, effective_bits;
    uint64_t bytes;         /* of the checkpoint's weights; for the original of all of them */
    uint64_t experts_bytes; /* of its experts alone */
    bool has_seconds;
    double seconds;           /* of the pass */
    double evaluating;        /* seconds of all evaluations */
    double *perplexity;       /* [texts] */
    double *divergence;       /* [texts] from the original, 0 for itself; NaN: not asked for */
    double *divergence_error; /* [texts] over the windows */
    double *acc;              /* [tasks] */
    double *acc_norm;         /* [tasks]; NaN for a task without */
    double excess;      /* mean over the texts of ln perplexity above the original's; NaN: none */
    bool has_predicted; /* the losses of this calibration and rounding were measured */
    double predicted;   /* rise of ln perplexity by them */
};

/* A method at some bits: a line of the table. */
struct compare_row {
    const struct compare_method *method;
    char name[COMPARE_LABEL_MAX + 24]; /* the method's label, and what was changed to reach: */
    double bits;          /* of all experts, that were asked for; 0: the method's own */
    unsigned bits_shared; /* of shared experts; less than the settings' where those left no room */
    struct compare_cell *cell; /* [cells] one for each draw that makes another run */
    size_t cells;
    bool drawn; /* false: no draw changes the run, which is one for all */
};

struct compare_result {
    const struct compare_options *options;
    const struct analysis *analysis; /* of the trace */
    const char *model_name;
    size_t draws, calibration_windows, calibration_window;
    const uint64_t *seed;    /* [draws] */
    struct compare_row *row; /* the first is the original */
    size_t rows;
    size_t computed, kept; /* runs */
};

struct compare;
ERR_CHECK int compare_new(struct compare **out, const struct compare_options *options,
                          struct err *err);
/* Looks what is there, and writes nothing. compare_run() does the same first. */
ERR_CHECK int compare_prepare(struct compare *c, struct err *err);
ERR_CHECK int compare_run(struct compare *c, struct err *err);
const struct compare_result *compare_result(const struct compare *c);
void compare_free(struct compare *c);

/* --- What it costs --- */

/* Runs are counted once, however many rows they stand in. */
struct compare_cost {
    size_t runs, runs_kept; /* with all their evaluations */
    size_t evaluations, evaluations_kept;
    size_t passes;  /* to do; a run whose weights are there needs none */
    size_t losses;  /* measurements to do */
    size_t unknown; /* runs whose plans wait for them: some may turn out to be one, or kept */
};
/* After compare_prepare(). */
struct compare_cost compare_cost(const struct compare *c);
/* "13 runs, 26 evaluations; kept in moqa-runs: 5 and 12; to do: 8 passes, 14 evaluations" */
struct str;
void compare_describe_cost(struct str *out, const struct compare *c);

/* --- Of the table --- */

/* Mean and standard deviation (n - 1; 0 for one) of a value of a row's cells. */
struct compare_mean {
    size_t n;
    double mean, deviation;
};
typedef bool (*compare_value)(double *out, const struct compare_cell *cell, size_t index);
struct compare_mean compare_mean(const struct compare_row *row, compare_value value, size_t index);

/* False where the cell has no such value. */
bool compare_nominal(double *out, const struct compare_cell *cell, size_t unused);
bool compare_effective(double *out, const struct compare_cell *cell, size_t unused);
bool compare_bytes(double *out, const struct compare_cell *cell, size_t unused);
bool compare_seconds(double *out, const struct compare_cell *cell, size_t unused);
bool compare_perplexity(double *out, const struct compare_cell *cell, size_t text);
bool compare_divergence(double *out, const struct compare_cell *cell, size_t text);
bool compare_acc(double *out, const struct compare_cell *cell, size_t task);
bool compare_acc_norm(double *out, const struct compare_cell *cell, size_t task);
bool compare_excess(double *out, const struct compare_cell *cell, size_t unused);
bool compare_predicted(double *out, const struct compare_cell *cell, size_t unused);

/* Rank correlation of predicted and measured excess over the rows that have both; NaN for too
 * few. */
ERR_CHECK int compare_correlation(double *out, size_t *plans, const struct compare_result *r,
                                  struct err *err);

#endif
