/* Inside of a comparison: shared by the files of this folder alone. */
#ifndef MOQA_SRC_COMPARE_COMPARE_INTERNAL_H
#define MOQA_SRC_COMPARE_COMPARE_INTERNAL_H

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
    struct plan plan;
    char key[HASH_HEX_SIZE];
    size_t same;     /* the first job of this key */
    char *folder;    /* in runs_dir; owned */
    bool has_result; /* there is a record, of an earlier command or of this one */
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
    struct compare_job *job; /* [jobs] */
    size_t jobs;
    char program[HASH_HEX_SIZE];
    struct compare_result result;
};

static inline bool compare_is_original(const struct compare_method *m)
{
    return m->info->quantizer == PLAN_NONE;
}

/* --- compare_plans.c --- */

/* Rows and jobs, without plans. */
ERR_CHECK int compare_plans_list(struct compare *c, struct err *err);
/* Plans of the methods that need losses, or of those that need none. */
ERR_CHECK int compare_plans_make(struct compare *c, bool with_losses, struct err *err);
/* Keys and folders; plans must be there. */
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

/* --- compare_cells.c --- */

/* Looks for what is there, computes what is not. */
ERR_CHECK int compare_cells_run(struct compare *c, struct err *err);

#endif
