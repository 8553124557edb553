/* A workbench on one of the golden traces, with a host that answers from memory. */
#ifndef MOQA_TESTS_UI_APP_FIXTURE_H
#define MOQA_TESTS_UI_APP_FIXTURE_H

#include "ui/app/app.h"
#include "ui/app/app_budget.h"

enum { FIXTURE_RESULTS = 3, FIXTURE_RESULTS_MAX = 8 };

#define FIXTURE_TEXT "f1" /* the hash of the text that all results are of */

struct fixture {
    struct trace trace;
    struct model_config config;
    double *cosine; /* [layer][N][N], an independent program's */
    struct app_run_expert *expert;
    struct app_result result[FIXTURE_RESULTS_MAX];
    struct app_evaluation evaluation[FIXTURE_RESULTS_MAX];
    struct app_run_losses losses; /* of the newest run in the folder */
    struct plan run_plan;         /* of every run; empty: none can be read */
    char plan_path[256];
    struct app_options options;
    struct style_look look;
    struct app *app;
    struct cells cells;

    /* What the host says and has seen. */
    enum app_cosine_phase cosine_phase;
    enum app_ask dry_run_phase;
    int dry_run_lines;        /* at most 50, behind the first two */
    const char *dry_run_note; /* a line behind them, or NULL */
    struct app_run run;
    size_t starts, cancels, results, loads, measures, measure_cancels;
    char loaded[APP_PATH_MAX];   /* name of the last run whose plan was asked for */
    struct losses measured;      /* of the config, for group size `measured.settings` */
    bool has_measured;           /* the host knows them */
    bool differs;                /* they are of another calibration */
    struct app_losses measuring; /* what it tells of a measurement */
    size_t losses_starts, losses_cancels;
    struct app_budget copied; /* the budget of the last command line */
    bool has_texts;
    bool resumed;
    unsigned started_bits; /* of layer 0, expert 0 in the plan of the last start */
};

/* `name`: a folder of tests/golden; `model`: the folder of its config.json, NULL for none. */
void fixture_open(struct fixture *f, const char *name, const char *model);
void fixture_close(struct fixture *f);

/* A new app with the same options: what a second start sees. */
void fixture_restart(struct fixture *f);

bool fixture_key(struct fixture *f, uint32_t key);
/* A result is measured on FIXTURE_TEXT, "letters.txt", and on nothing else. */
void fixture_evaluation(struct fixture *f, size_t i, double perplexity, double seconds);
/* Each character is a key; '\n' is Enter, '\t' Tab. */
void fixture_type(struct fixture *f, const char *keys);
void fixture_mouse(struct fixture *f, enum term_mouse what, int x, int y, int wheel);
/* Draws a frame of this size; the text is valid until the next call. */
const char *fixture_frame(struct fixture *f, int w, int h);
bool fixture_shows(struct fixture *f, const char *text); /* at 80x24 */
/* Fails, with the frame, unless the text is in it; at 80x24, or of that size. */
void fixture_assert_shows(struct fixture *f, const char *text);
void fixture_assert_shows_at(struct fixture *f, int w, int h, const char *text);
void fixture_assert_hides(struct fixture *f, const char *text);
/* The plan that `w` writes, over one of a session before this one, too. */
struct plan fixture_written(struct fixture *f);
/* Place of a text in the last frame. */
bool fixture_find(const struct fixture *f, const char *text, int *x, int *y);

#endif
