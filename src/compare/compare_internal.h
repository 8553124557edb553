/* Inside of a comparison: shared by the files of this folder alone. */
#ifndef MOQA_SRC_COMPARE_COMPARE_INTERNAL_H
#define MOQA_SRC_COMPARE_COMPARE_INTERNAL_H

#include "data/base/str.h"
#include "data/losses.h"
#include "src/calibration.h"
#include "src/compare/compare.h"
#include "src/runs/original.h"
#include "src/runs/run_result.h"
#include "src/session.h"

/* One draw of the calibration. */
struct compare_draw {
    struct settings settings; /* of the command, with the windows and the seed of this draw */
    struct calibration calibration;
    char sha256[HASH_HEX_SIZE];
};

/* Measured losses of a draw under the settings of a rounding. */
struct compare_losses {
    char key[HASH_HEX_SIZE];
    char base[HASH_HEX_SIZE]; /* of the same without channels, which they can stand for */
    const struct compare_method *method; /* the first that asked for them */
    char *path;
    struct settings settings;
    size_t draw;
    bool loaded;
    struct losses losses;
};

/* What has to be done for a cell, and with what. */
struct compare_job {
    size_t row, cell; /* of the result */
    size_t draw;
    bool planned; /* else it waits for losses that are not measured yet: no key, no folder */
    struct plan plan;
    char key[HASH_HEX_SIZE];
    size_t same;     /* the first job of this key */
    size_t kind;     /* the first job whose pass takes about the same time */
    char *folder;    /* in runs_dir; owned */
    bool looked;     /* whether there is: */
    bool has_result; /* a record, of an earlier command or of this one */
    bool fresh;      /* this command has worked on it */
    struct run_result result;
};

struct compare {
    struct compare_options o;
    struct session session;
    struct model model;
    struct device device;
    struct original_model original;
    struct compare_draw *draw; /* [result.draws] */
    uint64_t *seed;            /* [result.draws] */
    struct compare_losses *losses;
    size_t losses_count, losses_capacity;
    struct compare_job *job; /* [jobs], in the order of rows and their cells */
    size_t jobs;
    struct divergence_kept *kept; /* [texts] of the original */
    char program[HASH_HEX_SIZE];
    struct compare_result result;
};

static inline bool compare_is_original(const struct compare_method *m)
{
    return m->info->quantizer == PLAN_NONE;
}

/*
 * Does a run depend on the draw? Rounding to nearest sees the calibration only where the search for
 * scales weighs errors by it or learning goes on from it. (It also clears inputs that are exactly
 * zero at every token; what is so in one draw is dead in the model.)
 */
static inline bool compare_is_drawn(const struct compare_method *m)
{
    const struct settings *s = &m->settings;
    return m->info->quantizer == PLAN_GPTQ ||
           (m->info->quantizer == PLAN_RTN && (s->scale_search || s->learn));
}

static inline bool compare_is_original_job(const struct compare *c, const struct compare_job *j)
{
    return compare_is_original(c->result.row[j->row].method);
}

/* Several jobs are one run, if their keys are equal: the first of them stands for it. */
static inline bool compare_is_first(const struct compare *c, const struct compare_job *j)
{
    return &c->job[j->same] == j;
}

void compare_cell_release(struct compare_cell *cell);

/* --- compare_plans.c --- */

/* Rows and jobs, without plans. */
ERR_CHECK int compare_plans_list(struct compare *c, struct err *err);
/* Plans that are not there yet, but for those whose losses are not loaded. */
ERR_CHECK int compare_plans_make(struct compare *c, struct err *err);
/* Keys and folders of those plans. Draws that make the same run are one cell of a row. */
ERR_CHECK int compare_plans_name(struct compare *c, struct err *err);
/* What a job with this plan is kept under. */
ERR_CHECK int compare_plans_key(char out[HASH_HEX_SIZE], const struct compare *c,
                                const struct compare_job *j, const struct plan *plan,
                                struct err *err);
/* Which losses the methods need, and whether they have been measured; `missing` are not. */
ERR_CHECK int compare_losses_list(struct compare *c, size_t *missing, struct err *err);
/* Measures them. */
ERR_CHECK int compare_losses_measure(struct compare *c, size_t missing, struct err *err);
/* Those of a method's rounding and a draw, loaded; or NULL. They may know more than it asks for. */
const struct compare_losses *compare_losses_find(const struct compare *c,
                                                 const struct compare_method *m, size_t draw);

/* --- compare_kept.c --- */

/* Records of the jobs that have a key and were not looked at before. repair: what a command that
 * was cut has left is brought in order; else nothing is written. */
void compare_kept_look(struct compare *c, bool repair);
/* What a run of this plan has beside evaluations, into its result. */
void compare_kept_describe(struct compare *c, struct compare_job *j);
/* True if a folder's plan, of a finished run or not, makes this very run. */
bool compare_kept_plan(const struct compare *c, const struct compare_job *j, const char *folder,
                       struct plan *plan);
bool compare_kept_weights(const struct compare *c, const struct compare_job *j);
/* Where a folder is made anew until it is complete; freed by free(). */
char *compare_kept_beside(const struct compare_job *j, struct err *err);
bool compare_kept_is_there(const char *dir, const char *name);
/* All files but those of moqa, or all of them and the folder. */
ERR_CHECK int compare_kept_remove_weights(const char *dir, struct err *err);
ERR_CHECK int compare_kept_remove_folder(const char *dir, struct err *err);

/* An evaluation, or NULL. */
const struct perplexity *compare_kept_text(const struct compare *c, const struct compare_job *j,
                                           size_t text);
const struct divergence *compare_kept_divergence(const struct compare *c,
                                                 const struct compare_job *j, size_t text);
const struct run_result_task *compare_kept_task(const struct compare *c,
                                                const struct compare_job *j, size_t task);
/* Is the divergence on this text asked for and not there? The original has none to be measured. */
bool compare_kept_lacks_divergence(const struct compare *c, const struct compare_job *j,
                                   size_t text);
size_t compare_kept_evaluations(const struct compare *c, const struct compare_job *j);
size_t compare_kept_missing(const struct compare *c, const struct compare_job *j);
bool compare_kept_needs_pass(const struct compare *c, const struct compare_job *j);

/* --- compare_cost.c --- */

/* Sets the kind of each job that is planned. */
void compare_cost_sort(struct compare *c);
/* Seconds by what this command has measured of the same kind, else by what is kept; < 0: nobody
 * has measured any. */
double compare_cost_pass(const struct compare *c, const struct compare_job *j);
double compare_cost_text(const struct compare *c, size_t text);
double compare_cost_divergence(const struct compare *c, size_t text);
double compare_cost_task(const struct compare *c, size_t task);

struct compare_left {
    double seconds; /* of all that is known of */
    size_t passes, evaluations;
    size_t unknown; /* of these, how many nobody has measured the like of */
};
struct compare_left compare_cost_left(const struct compare *c);
/* "about 1:20 left: 3 passes, 8 evaluations" */
void compare_cost_describe(struct str *out, const struct compare_left *left);

/* --- compare_cells.c --- */

/* Computes what is missing. */
ERR_CHECK int compare_cells_run(struct compare *c, struct err *err);

#endif
