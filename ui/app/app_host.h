/*
 * What the workbench needs from the program around it, as callbacks: the screen never sees a
 * quantizer, a device or a model file. src/workbench/open_host.c provides them. All are called from
 * the UI thread and return at once; long work happens in the host's own threads.
 */
#ifndef MOQA_UI_APP_APP_HOST_H
#define MOQA_UI_APP_APP_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/analysis.h"
#include "data/base/str.h"
#include "data/losses.h"
#include "data/model_config.h"
#include "data/plan.h"
#include "data/trace.h"

struct app_budget; /* app_budget.h */

enum app_run_phase {
    APP_RUN_IDLE,
    APP_RUN_RUNNING,
    APP_RUN_CANCELLING,
    APP_RUN_CANCELLED, /* can be resumed */
    APP_RUN_DONE,
    APP_RUN_FAILED
};

struct app_run_expert {
    bool done;
    unsigned bits;
    bool mixed; /* gate, up and down differ in bits */
    size_t tokens;
    double loss, loss_rtn;
    bool fallback;
    double damping; /* largest in force; 0: not known */
};

enum { APP_LOG_LINES = 100, APP_LOG_WIDTH = 160 };

/* State of the quantization pass (and of the evaluation that follows it). */
struct app_run {
    enum app_run_phase phase;
    char stage[96];
    size_t steps_done, steps_total;
    bool evaluating;              /* the pass is done; steps and seconds are the evaluation's */
    double seconds, seconds_left; /* of this part while it runs, of all at the end; left < 0:
                                     not known */
    double pass_seconds;          /* of the whole pass; 0: not known, or not done yet */
    size_t layers, experts, layer, layers_done, fallbacks;
    uint64_t memory;                        /* resident bytes of the process */
    char message[512];                      /* error or result, one line */
    char out[512];                          /* output folder */
    char log[APP_LOG_LINES][APP_LOG_WIDTH]; /* the last lines, oldest first */
    size_t log_count;
    struct app_run_expert *expert; /* [layers][experts], owned by the struct; may be NULL */
};

/* What the last finished run lost; layers are those with experts. */
struct app_run_losses {
    const char *name; /* its folder */
    size_t layers, experts;
    const struct app_run_expert *expert; /* [layers][experts] */
};

/* The perplexity of the original model, where it is not known yet. */
enum app_measure {
    APP_MEASURE_NONE,    /* there is no text to measure it on */
    APP_MEASURE_WAITING, /* until nothing else runs */
    APP_MEASURE_WORKING,
    APP_MEASURE_DONE,
    APP_MEASURE_FAILED, /* the note says why */
    APP_MEASURE_CANCELLED
};

/* A perplexity, and what it is of: those of another text or of other windows are not comparable. */
struct app_evaluation {
    char name[64];            /* of the text; "": not known */
    char text[HASH_HEX_SIZE]; /* its hash; "": not known, so that nothing is comparable */
    size_t window, windows;   /* tokens of a window; windows that were evaluated */
    size_t part;              /* only the first ones of the text: their number; 0: all of it */
    size_t predicted;         /* tokens */
    double perplexity;        /* NaN: not measured */
    double seconds;
    bool has_divergence; /* of the output from the original's, nats a token, and its error: */
    double divergence, divergence_error;
    bool wanted; /* of the texts of this session */
};

enum { APP_PATH_MAX = 4096 };

struct app_result {
    char name[APP_PATH_MAX]; /* output folder, or the original model's name */
    char method[64];
    bool original;                       /* the model that the runs were made from */
    bool unfinished;                     /* a run that can be gone on with */
    bool running;                        /* unfinished, and a process works on it */
    double nominal_bits, effective_bits; /* 0: not known */
    uint64_t bytes;
    struct app_evaluation *evaluation; /* [evaluations] no two of them comparable */
    size_t evaluations;
    double pass_seconds; /* 0: not known */
    int64_t finished;    /* when the run was, in seconds of the epoch; 0: not known */
    char settings[512];  /* what differs from the defaults: "alpha=0.5 min_count=3" */
    bool has_values;
    struct settings values;         /* all of them */
    size_t pins;                    /* experts pinned */
    char checkpoint[HASH_HEX_SIZE]; /* of the original: the fingerprint of its weights */
    enum app_measure measure;       /* of the original, on the texts of this session */
    double progress, seconds_left;  /* while it is measured; left < 0: not known */
    char note[256];
};

/* Losses of every expert at every width, for plans within a budget: while they are measured. */
enum app_losses_phase {
    APP_LOSSES_IDLE,
    APP_LOSSES_RUNNING,
    APP_LOSSES_CANCELLING,
    APP_LOSSES_CANCELLED, /* what was measured is kept */
    APP_LOSSES_DONE,
    APP_LOSSES_FAILED /* the message says why */
};

struct app_losses {
    enum app_losses_phase phase;
    char path[512]; /* of the file that is written */
    char stage[96];
    double progress;              /* 0..1 */
    double seconds, seconds_left; /* left < 0: not known */
    char message[512];
};

/* A question that the host answers in the background. */
enum app_ask { APP_ASK_WORKING, APP_ASK_READY, APP_ASK_FAILED };

enum app_cosine_phase { APP_COSINE_NONE, APP_COSINE_RUNNING, APP_COSINE_READY, APP_COSINE_FAILED };

struct app_host {
    void *context;
    /* Stage 3. Starts the computation if it has not been; cosine [layers][N][N] is borrowed and
     * stays valid once READY. progress 0..1. NULL callbacks: no model was given. */
    enum app_cosine_phase (*cosine)(void *context, const double **cosine, double *progress,
                                    const char **message);
    /* The text of a dry run: what would be done, sizes, what would be refused; FAILED: the text
     * says why. plan: begins the work, on a copy, and drops what was asked before; NULL: how far
     * it is. *text is borrowed until the next call. */
    enum app_ask (*dry_run)(void *context, const struct plan *plan, const char **text);
    /* Starts the pass in a process of its own, which goes on when the screen is closed; where its
     * folder holds an unfinished run of the same plan, that is gone on with. resume: goes on with
     * the run that run_poll() shows, whatever the plan is now. */
    int (*run_start)(void *context, const struct plan *plan, bool resume, struct err *err);
    void (*run_poll)(void *context, struct app_run *out); /* refreshes *out, keeps out->expert */
    void (*run_cancel)(void *context);
    /* Results so far, borrowed until the next call. */
    size_t (*results)(void *context, const struct app_result **out);
    /* True until results() has what the folder held when this was first called; may be NULL. Only
     * who presses keys without looking (walk.h) waits for that. */
    bool (*results_pending)(void *context);
    /* The plan of a run, by its place among the results. May be NULL. */
    int (*result_plan)(void *context, const struct app_result *result, struct plan *out,
                       struct err *err);
    /* Losses of the newest run in the folder, borrowed until the next call; false: none is known.
     * May be NULL. */
    bool (*last_losses)(void *context, struct app_run_losses *out);
    /* Measures the original again after a failure, or stops that (start false), where false means
     * that nothing was measured. An error says what is missing. May be NULL. */
    bool (*measure_original)(void *context, bool start, struct err *err);
    /* Measured losses of this model that fit these settings of the quantization, and their file;
     * NULL: none are known. Borrowed while the host lives. May be NULL, as the next four. */
    const struct losses *(*losses)(void *context, const struct settings *settings,
                                   const char **path);
    /* Were they measured on another calibration than losses_start() would take? */
    bool (*losses_differ)(void *context, const struct losses *losses);
    /* Measures them in the background, or goes on where that was cut. */
    int (*losses_start)(void *context, const struct settings *settings, struct err *err);
    void (*losses_poll)(void *context, struct app_losses *out);
    void (*losses_cancel)(void *context);
    /* The command line that repeats what the screen shows, with these settings; budget: of a plan
     * of that method, else NULL. */
    void (*command_line)(void *context, const struct plan *plan, const char *verb,
                         const struct app_budget *budget, struct str *out);
};

struct app_options {
    const struct trace *trace;
    struct analysis *analysis; /* of this trace, used and changed; NULL: the app makes its own */
    const char *trace_path;
    const char *trace_sha256;
    const struct model_config *config; /* NULL: no model given */
    const struct plan *plan;           /* start from this one, or NULL */
    const char *plan_path;             /* where `w` writes */
    struct settings settings;          /* to start with */
    /* Sets what the command line named: that stands above a plan and a saved session. NULL: it
     * named nothing. */
    int (*settings_over)(struct settings *s, struct err *err);
    bool no_session; /* the saved state of this trace is neither read nor written */
    struct app_host host;
};

/* --- Opening, which takes a while: the screen shows how far it is --- */

enum { APP_LOAD_STEPS = 6 };

struct app_load_step {
    const char *name; /* "reading the trace" */
    const char *unit; /* "layers"; NULL: bytes */
    uint64_t done, total;
};

struct app_load {
    bool ended; /* finish() returns at once */
    struct app_load_step step[APP_LOAD_STEPS];
    size_t count, current; /* those before `current` are done */
};

struct app_loader {
    void *context;
    const char *trace_path;
    void (*poll)(void *context, struct app_load *out); /* returns at once */
    /* Waits for the end. *out is borrowed from the loader. */
    ERR_CHECK int (*finish)(void *context, const struct app_options **out, struct err *err);
};

/* Runs the workbench until the user quits: the frame comes first, the loading goes on behind it.
 * ERR_USAGE if there is no terminal that it can use; an error of the loader is returned once the
 * terminal is restored. Who leaves while it loads is not kept: 0. */
ERR_CHECK int app_run_terminal(const struct app_loader *loader, struct err *err);

#endif
