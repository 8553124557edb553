/*
 * A workbench on a trace made in memory whose names and tokens are as bad as files can make them:
 * escapes, bidi overrides, wide and combining characters, invalid UTF-8, thousands of bytes.
 */
#ifndef MOQA_TESTS_SCREENS_HOSTILE_H
#define MOQA_TESTS_SCREENS_HOSTILE_H

#include "ui/app/app.h"

enum { HOSTILE_LAYERS = 6, HOSTILE_EXPERTS = 24, HOSTILE_RESULTS = 5, HOSTILE_TEXTS = 3 };

struct hostile {
    struct losses losses;
    bool has_losses;
    struct app_losses measuring;
    struct trace trace;
    struct model_config config;
    double *cosine; /* [layer][N][N] */
    struct app_run run;
    struct app_run_expert expert[HOSTILE_LAYERS * HOSTILE_EXPERTS];
    struct app_result result[HOSTILE_RESULTS];
    struct app_evaluation evaluation[HOSTILE_RESULTS][HOSTILE_TEXTS];
    enum app_cosine_phase cosine_phase;
    struct app_options options;
    char *long_path;
};

/* bad: with hostile names; else with plain ones, all else alike. */
void hostile_open(struct hostile *h, bool bad);
void hostile_close(struct hostile *h);

/* A new app on it, in braille and 256 colours. */
struct app *hostile_app(struct hostile *h);

double hostile_random(uint64_t *state); /* 0 <= x < 1 */

#endif
