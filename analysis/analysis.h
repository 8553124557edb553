/*
 * The whole analysis: stages 1 to 3 of the method and the strategy (docs/method.md), from a
 * trace and settings. Recomputes only what a changed setting touches, fast enough to follow a
 * slider (16 ms at 16 layers x 64 experts x 50,304 types x 262,144 positions, one core).
 *
 *     struct analysis *a;
 *     analysis_new(&a, &trace, err);              // builds the index; borrows the trace
 *     analysis_update(a, &settings, err);         // again and again
 *     const struct analysis_result *r = analysis_result(a);
 */
#ifndef MOQA_ANALYSIS_ANALYSIS_H
#define MOQA_ANALYSIS_ANALYSIS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/watch.h"
#include "data/plan.h"
#include "data/settings.h"
#include "data/trace.h"

struct analysis;

enum analysis_direction { DIRECTION_FLAT, DIRECTION_RISES, DIRECTION_FALLS };

struct analysis_zipf {
    double beta, c;
    double r2; /* log-log, over all T ranks */
    double ks;
};

struct analysis_interval {
    bool valid;                                       /* false: no type is routed to the expert */
    size_t lowest, tenth, median, ninetieth, highest; /* ranks, 1 .. T */
};

struct analysis_layer {
    size_t layer;                /* the model's own number */
    double *significance;        /* [expert] S_e, Eq. 5 */
    double mu, sigma;            /* Eq. 6; sigma of the population */
    bool anderson_darling_valid; /* false: constant significance, or fewer than 8 experts */
    double anderson_darling, anderson_darling_p;
    size_t pattern;   /* 1: sigma/mu >= pattern_cv, else 2 */
    int rule;         /* RULE_THRESHOLD or RULE_JENKS, in force */
    double threshold; /* T in force, also where Jenks is the rule */
    size_t breaks;    /* fewer than classes - 1 when values tie */
    double break_at[SETTINGS_CLASSES_MAX];
    double gvf;                         /* goodness of variance fit */
    size_t *group;                      /* [expert] 1: highest class */
    double *channel_share;              /* [expert] beta_ch * norm(S_e) in the high group, else 0 */
    struct analysis_interval *interval; /* [expert] */
    size_t *tokens;                     /* [expert] positions routed to it */
};

struct analysis_result {
    size_t positions, types, layers, experts, top_k;
    const char *model_name;     /* as the trace has it */
    const uint32_t *rank_id;    /* [T] token id at rank r+1 */
    const uint64_t *rank_count; /* [T] its occurrences */
    const double *utilization;  /* [T] U(r), Eq. 1 */
    const double *reweighted;   /* [T] R(r), Eq. 2 */
    struct analysis_zipf zipf;
    enum analysis_direction direction;
    double share[3];                    /* of sum R in the head, middle, tail third of log rank */
    const struct analysis_layer *layer; /* [L] */
    struct settings settings;           /* that gave this */
};

ERR_CHECK int analysis_new(struct analysis **out, const struct trace *trace, struct err *err);
/* The same, watched: tells WATCH_INDEX, and gives ERR_CANCELLED when it is stopped. */
ERR_CHECK int analysis_new_watched(struct analysis **out, const struct trace *trace,
                                   const struct watch *watch, struct err *err);
void analysis_free(struct analysis *a);
/* ERR_USAGE, with nothing changed: gate values or a single layer's rule for a trace without. */
ERR_CHECK int analysis_update(struct analysis *a, const struct settings *s, struct err *err);
const struct analysis_result *analysis_result(const struct analysis *a); /* borrowed */

/* Rank of a token id, 0 if it does not occur. */
size_t analysis_rank(const struct analysis *a, uint32_t id);
/* Times that the type at `rank` was routed to an expert of a layer. */
uint64_t analysis_count(const struct analysis *a, size_t layer, size_t expert, size_t rank);
/* Types that are the expert's own by the mapping and min_count of the last update. */
size_t analysis_members(const struct analysis *a, size_t layer, size_t expert);
/* The expert's commonest types: up to `max` ranks, most occurrences first; number written. */
size_t analysis_commonest(const struct analysis *a, size_t layer, size_t expert, size_t max,
                          size_t *ranks, uint64_t *counts);

/* The reverse: up to `max` experts of a layer that the type at `rank` was routed to, most
 * occurrences first, equal ones by number; number written. */
size_t analysis_experts(const struct analysis *a, size_t layer, size_t rank, size_t max,
                        size_t *experts, uint64_t *counts);
/* Occurrences that the fitted law expects at a rank: D(r) times the positions. */
double analysis_expected(const struct analysis *a, size_t rank);

/* JSON as `moqa analyze --json` prints it (docs/formats.md). cosine: [layer][N][N] or NULL. */
ERR_CHECK int analysis_to_json(json_t **out, const struct analysis *a, const double *cosine,
                               struct err *err);

#endif
