#include "analysis/analysis.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_errno.h>

#include "analysis/counts.h"
#include "analysis/jenks.h"
#include "analysis/partition.h"
#include "analysis/ranks.h"
#include "analysis/reweight.h"
#include "analysis/significance.h"
#include "analysis/zipf.h"
#include "data/base/mem.h"

struct fitted {
    double beta, c;
};

struct analysis {
    struct analysis_result result;
    bool updated; /* result is that of result.settings */
    struct ranks ranks;
    struct counts counts;
    struct counts_workspace workspace;
    struct jenks jenks;
    struct fitted fit[2];               /* by enum setting_fit; they depend on the counts alone */
    double *log_d;                      /* [T] ln D(r) */
    double *utilization;                /* [T] */
    double *weight;                     /* [blocks * 8] R, zero beyond T */
    double *significance;               /* [width] */
    double *sorted;                     /* [N] */
    uint8_t *members;                   /* [blocks][width] */
    const uint8_t *members_now;         /* NULL before the first update */
    size_t members_key;                 /* what they are the members of */
    struct analysis_layer *layer;       /* [L] */
    struct analysis_interval *interval; /* [L][N] */
    size_t *group;                      /* [L][N] */
    double *share;                      /* [L][N] */
};

static int allocate(struct analysis *a, struct err *err)
{
    const struct counts *c = &a->counts;
    size_t types = a->ranks.types;
    a->log_d = mem_array(types, sizeof *a->log_d, err);
    a->utilization = mem_array(types, sizeof *a->utilization, err);
    a->weight = mem_array(c->blocks * COUNTS_BLOCK, sizeof *a->weight, err);
    a->significance = mem_array(c->width, sizeof *a->significance, err);
    a->sorted = mem_array(c->experts, sizeof *a->sorted, err);
    a->members = mem_array(c->blocks, c->width, err);
    a->layer = mem_array(a->result.layers, sizeof *a->layer, err);
    a->interval = mem_array(c->columns, sizeof *a->interval, err);
    a->group = mem_array(c->columns, sizeof *a->group, err);
    a->share = mem_array(c->columns, sizeof *a->share, err);
    bool complete = a->log_d && a->utilization && a->weight && a->significance && a->sorted &&
                    a->members && a->layer && a->interval && a->group && a->share;
    return complete ? 0 : ERR_NOMEM;
}

static void connect(struct analysis *a, const struct trace *trace)
{
    struct analysis_result *r = &a->result;
    r->types = a->ranks.types;
    r->rank_id = a->ranks.id;
    r->rank_count = a->ranks.count;
    r->utilization = a->utilization;
    r->reweighted = a->weight;
    r->layer = a->layer;
    for (size_t l = 0; l < r->layers; l++) {
        size_t first = l * r->experts;
        a->layer[l].layer = trace->layer_index[l];
        a->layer[l].significance = a->significance + first;
        a->layer[l].group = a->group + first;
        a->layer[l].channel_share = a->share + first;
        a->layer[l].interval = a->interval + first;
        a->layer[l].tokens = a->counts.tokens + first;
    }
}

static int prepare(struct analysis *a, const struct trace *trace, const struct watch *watch,
                   struct err *err)
{
    int rc = ranks_init(&a->ranks, trace->ids, trace->positions, err);
    if (rc == 0)
        rc = counts_init(&a->counts, trace, &a->ranks, watch, err);
    if (rc == 0)
        rc = counts_workspace_init(&a->workspace, &a->counts, err);
    if (rc == 0)
        rc = jenks_init(&a->jenks, trace->experts, err);
    if (rc == 0)
        rc = zipf_fit_mle(&a->fit[FIT_MLE].beta, &a->fit[FIT_MLE].c, &a->ranks, err);
    if (rc == 0)
        rc = allocate(a, err);
    return rc;
}

int analysis_new(struct analysis **out, const struct trace *trace, struct err *err)
{
    return analysis_new_watched(out, trace, NULL, err);
}

int analysis_new_watched(struct analysis **out, const struct trace *trace,
                         const struct watch *watch, struct err *err)
{
    *out = NULL;
    gsl_set_error_handler_off(); /* its default aborts the process */
    struct analysis *a = mem_array(1, sizeof *a, err);
    if (!a)
        return ERR_NOMEM;
    a->result.positions = trace->positions;
    a->result.layers = trace->layers;
    a->result.experts = trace->experts;
    a->result.top_k = trace->top_k;
    a->result.model_name = trace->model_name;
    int rc = prepare(a, trace, watch, err);
    if (rc < 0) {
        analysis_free(a);
        return rc;
    }
    zipf_fit_ols(&a->fit[FIT_OLS].beta, &a->fit[FIT_OLS].c, &a->ranks);
    connect(a, trace);
    *out = a;
    return 0;
}

void analysis_free(struct analysis *a)
{
    if (!a)
        return;
    ranks_release(&a->ranks);
    counts_release(&a->counts);
    counts_workspace_release(&a->workspace);
    jenks_release(&a->jenks);
    free(a->log_d);
    free(a->utilization);
    free(a->weight);
    free(a->significance);
    free(a->sorted);
    free(a->members);
    free(a->layer);
    free(a->interval);
    free(a->group);
    free(a->share);
    free(a);
}

static void update_zipf(struct analysis *a, const struct settings *s)
{
    struct analysis_zipf *z = &a->result.zipf;
    z->beta = a->fit[s->fit].beta;
    z->c = a->fit[s->fit].c;
    if (s->beta.given) {
        z->beta = s->beta.value;
        z->c = zipf_constant(z->beta, &a->ranks);
    }
    zipf_log_density(a->log_d, z->beta, z->c, &a->ranks);
    zipf_quality(&z->r2, &z->ks, a->log_d, &a->ranks);
}

static void update_reweight(struct analysis *a, const struct settings *s)
{
    struct analysis_result *r = &a->result;
    reweight_apply(a->utilization, a->weight, a->log_d, r->top_k, s, &a->ranks);
    r->direction = reweight_direction(a->weight, r->types);
    reweight_share(r->share, a->weight, r->types);
}

static void update_members(struct analysis *a, const struct settings *s, size_t key)
{
    a->members_key = key;
    a->members_now = significance_members(a->members, &a->counts, s->mapping, s->min_count);
    counts_intervals(a->interval, &a->counts, a->members_now, &a->workspace);
}

/* Rules and thresholds of single layers are of layers that there are. */
static int check_layers(const struct analysis *a, const struct settings *s, struct err *err)
{
    size_t layers = a->result.layers;
    for (size_t l = layers; l < SETTINGS_LAYERS_MAX; l++)
        if (s->layer[l].has_rule || s->layer[l].has_threshold)
            return err_set(err, ERR_USAGE, NULL,
                           "%s: there is no layer %zu, expected 0 to %zu: MoE layers are counted "
                           "from 0, and the first is the model's layer %zu",
                           s->layer[l].has_rule ? "rule" : "threshold", l, layers - 1,
                           a->layer[0].layer);
    return 0;
}

int analysis_update(struct analysis *a, const struct settings *s, struct err *err)
{
    const struct settings *old = &a->result.settings;
    if (s->mapping == MAPPING_GATE && !a->counts.gates)
        return err_set(err, ERR_USAGE, NULL,
                       "mapping: gate needs gate values, and this trace has none; use types, "
                       "majority or occurrences");
    int rc = check_layers(a, s, err);
    if (rc < 0)
        return rc;
    int first = a->updated ? settings_first_change(old, s) : STAGE_ZIPF;
    size_t key = significance_members_key(s->mapping, s->min_count);
    if (first <= STAGE_ZIPF)
        update_zipf(a, s);
    if (first <= STAGE_REWEIGHT)
        update_reweight(a, s);
    if (!a->members_now || key != a->members_key)
        update_members(a, s, key);
    if (first <= STAGE_MAPPING)
        significance_apply(a->significance, &a->counts, &a->ranks, s->mapping, a->members_now,
                           a->weight);
    for (size_t l = 0; first <= STAGE_STRATEGY && l < a->result.layers; l++)
        partition_layer(&a->layer[l], l, a->result.experts, s, &a->jenks, a->sorted);
    a->result.settings = *s;
    a->updated = true;
    return 0;
}

const struct analysis_result *analysis_result(const struct analysis *a)
{
    return &a->result;
}

size_t analysis_rank(const struct analysis *a, uint32_t id)
{
    return ranks_of(&a->ranks, id);
}

uint64_t analysis_count(const struct analysis *a, size_t layer, size_t expert, size_t rank)
{
    if (rank == 0 || rank > a->ranks.types)
        return 0;
    return counts_at(&a->counts, layer * a->result.experts + expert, rank - 1);
}

size_t analysis_members(const struct analysis *a, size_t layer, size_t expert)
{
    size_t members = 0, column = layer * a->result.experts + expert;
    for (size_t b = 0; a->members_now && b < a->counts.blocks; b++)
        members += (size_t)__builtin_popcount(a->members_now[b * a->counts.width + column]);
    return members;
}

/* Puts `item` into a list by falling count, behind those of the same; place `at` is free. */
static void insert(size_t *items, uint64_t *counts, size_t at, size_t item, uint64_t count)
{
    for (; at > 0 && counts[at - 1] < count; at--) {
        counts[at] = counts[at - 1];
        items[at] = items[at - 1];
    }
    counts[at] = count;
    items[at] = item;
}

size_t analysis_commonest(const struct analysis *a, size_t layer, size_t expert, size_t max,
                          size_t *ranks, uint64_t *counts)
{
    size_t found = 0;
    for (size_t rank = 1; rank <= a->ranks.types && max > 0; rank++) {
        /* No later type can have more than this one occurs. */
        if (found == max && a->ranks.count[rank - 1] <= counts[max - 1])
            break;
        uint64_t n = analysis_count(a, layer, expert, rank);
        if (n == 0 || (found == max && n <= counts[max - 1]))
            continue;
        insert(ranks, counts, found < max ? found++ : max - 1, rank, n);
    }
    return found;
}

size_t analysis_experts(const struct analysis *a, size_t layer, size_t rank, size_t max,
                        size_t *experts, uint64_t *counts)
{
    size_t found = 0;
    for (size_t e = 0; e < a->result.experts && max > 0; e++) {
        uint64_t n = analysis_count(a, layer, e, rank);
        if (n > 0 && (found < max || n > counts[max - 1]))
            insert(experts, counts, found < max ? found++ : max - 1, e, n);
    }
    return found;
}

double analysis_expected(const struct analysis *a, size_t rank)
{
    return rank == 0 || rank > a->ranks.types
               ? 0
               : exp(a->log_d[rank - 1]) * (double)a->result.positions;
}
