/* Methods that give a part of the experts 4 bits and the rest 2. */
#include <math.h>
#include <stdlib.h>

#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "analysis/planner_internal.h"
#include "data/base/mem.h"

enum { LOW = 2, HIGH = 4 };

struct ranked {
    double score;
    size_t expert; /* layer * experts + expert */
};

static int compare_ranked(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->expert < y->expert ? -1 : x->expert > y->expert;
}

static struct plan_expert *expert_at(const struct planner_job *j, size_t i)
{
    return &j->plan->layers[i / j->plan->experts].experts[i % j->plan->experts];
}

/* How many experts get more bits. */
static int count_high(size_t *out, const struct planner_job *j, struct err *err)
{
    double average = j->request->average_bits;
    if (!(average >= LOW && average <= HIGH))
        return err_set(err, ERR_USAGE, NULL,
                       "%s: found an average of %g bits, expected --bits from 2 to 4",
                       j->request->method, average);
    size_t total = j->plan->layers_count * j->plan->experts;
    *out = (size_t)llround((average - LOW) / (HIGH - LOW) * (double)total);
    for (size_t i = 0; i < total; i++)
        expert_at(j, i)->bits = LOW;
    j->plan->settings.beta_ch = 0;
    return 0;
}

int planner_assign_random(const struct planner_job *j, struct err *err)
{
    size_t high, total = j->plan->layers_count * j->plan->experts;
    int rc = count_high(&high, j, err);
    if (rc < 0)
        return rc;
    size_t *all = mem_array(total, sizeof *all, err), *chosen = mem_array(high, sizeof *all, err);
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    rc = all && chosen && rng ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for a plan");
    if (rc < 0)
        goto cleanup;
    gsl_rng_set(rng, (unsigned long)j->plan->settings.seed);
    for (size_t i = 0; i < total; i++)
        all[i] = i;
    if (high)
        gsl_ran_choose(rng, chosen, high, all, total, sizeof *all);
    for (size_t i = 0; i < high; i++)
        expert_at(j, chosen[i])->bits = HIGH;
cleanup:
    free(all);
    free(chosen);
    gsl_rng_free(rng);
    return rc;
}

typedef double (*score_fn)(const struct planner_job *j, size_t layer, size_t expert);

/* The experts of the highest scores. */
static int assign_ranked(const struct planner_job *j, score_fn score, struct err *err)
{
    size_t high, experts = j->plan->experts, total = j->plan->layers_count * experts;
    int rc = count_high(&high, j, err);
    if (rc < 0)
        return rc;
    struct ranked *list = mem_array(total, sizeof *list, err);
    if (!list)
        return ERR_NOMEM;
    for (size_t i = 0; i < total; i++)
        list[i] = (struct ranked){score(j, i / experts, i % experts), i};
    qsort(list, total, sizeof *list, compare_ranked);
    for (size_t i = 0; i < high; i++)
        expert_at(j, list[i].expert)->bits = HIGH;
    free(list);
    return 0;
}

static double score_first(const struct planner_job *j, size_t layer, size_t expert)
{
    (void)j;
    (void)expert;
    return -(double)layer;
}

static double score_frequent(const struct planner_job *j, size_t layer, size_t expert)
{
    return (double)j->result->layer[layer].tokens[expert];
}

static double score_outlier(const struct planner_job *j, size_t layer, size_t expert)
{
    return j->request->losses->layers[layer].experts[expert].outlier;
}

static double score_importance(const struct planner_job *j, size_t layer, size_t expert)
{
    (void)expert;
    return j->request->losses->layers[layer].importance;
}

int planner_assign_first(const struct planner_job *j, struct err *err)
{
    return assign_ranked(j, score_first, err);
}

int planner_assign_frequent(const struct planner_job *j, struct err *err)
{
    return assign_ranked(j, score_frequent, err);
}

static int check_losses(const struct planner_job *j, struct err *err)
{
    const struct planner_request *r = j->request;
    if (!r->losses)
        return err_set(err, ERR_USAGE, NULL, "%s: needs --losses, which hold its scores",
                       r->method);
    return losses_check_model(r->losses, r->losses_path, j->config, err);
}

int planner_assign_outlier(const struct planner_job *j, struct err *err)
{
    int rc = check_losses(j, err);
    return rc == 0 ? assign_ranked(j, score_outlier, err) : rc;
}

int planner_assign_importance(const struct planner_job *j, struct err *err)
{
    int rc = check_losses(j, err);
    return rc == 0 ? assign_ranked(j, score_importance, err) : rc;
}
