#include "analysis/windows.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <gsl/gsl_errno.h>
#include <gsl/gsl_randist.h>
#include <gsl/gsl_rng.h>

#include "analysis/ranks.h"
#include "analysis/reweight.h"
#include "analysis/zipf.h"
#include "data/base/mem.h"

/* One call's facts: windows are numbered 0 .. available - 1 along the stream. */
struct choice {
    const uint32_t *ids;
    size_t positions, window, top_k, available, wanted;
    const struct settings *settings;
};

static int rising(const void *x, const void *y)
{
    size_t a = *(const size_t *)x, b = *(const size_t *)y;
    return (a > b) - (a < b);
}

static int choose_order(size_t *number, const struct choice *c, struct err *err)
{
    (void)err;
    for (size_t i = 0; i < c->wanted; i++)
        number[i] = i;
    return 0;
}

static gsl_rng *seeded(uint64_t seed, struct err *err)
{
    gsl_rng *rng = gsl_rng_alloc(gsl_rng_mt19937);
    if (rng)
        gsl_rng_set(rng, (unsigned long)seed);
    else
        err_set(err, ERR_NOMEM, NULL, "no memory for random numbers");
    return rng;
}

static int choose_random(size_t *number, const struct choice *c, struct err *err)
{
    size_t *all = mem_array(c->available, sizeof *all, err);
    gsl_rng *rng = seeded(c->settings->seed, err);
    int rc = all && rng ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < c->available; i++)
        all[i] = i;
    if (rc == 0)
        gsl_ran_choose(rng, number, c->wanted, all, c->available, sizeof *all);
    free(all);
    gsl_rng_free(rng);
    return rc;
}

/* Mean of R(rank) over the positions of every window. */
static int window_weights(double *weight, const struct choice *c, struct err *err)
{
    const struct settings *s = c->settings;
    struct ranks r;
    double beta = 0, constant = 1, *memory = NULL;
    int rc = ranks_init(&r, c->ids, c->positions, err);
    if (rc == 0 && !(memory = mem_array(r.types, 3 * sizeof *memory, err)))
        rc = ERR_NOMEM;
    if (rc == 0 && s->beta.given) {
        beta = s->beta.value;
        constant = zipf_constant(beta, &r);
    } else if (rc == 0 && s->fit == FIT_OLS)
        zipf_fit_ols(&beta, &constant, &r);
    else if (rc == 0)
        rc = zipf_fit_mle(&beta, &constant, &r, err);
    if (rc < 0)
        goto cleanup;
    double *log_d = memory, *u = memory + r.types, *reweighted = u + r.types;
    zipf_log_density(log_d, beta, constant, &r);
    reweight_apply(u, reweighted, log_d, c->top_k, s, &r);
    for (size_t w = 0; w < c->available; w++) {
        weight[w] = 0;
        for (size_t p = w * c->window; p < (w + 1) * c->window; p++)
            weight[w] += reweighted[ranks_of(&r, c->ids[p]) - 1] / (double)c->window;
    }
cleanup:
    free(memory);
    ranks_release(&r);
    return rc;
}

struct key {
    double value;
    size_t number;
};

static int falling_keys(const void *x, const void *y)
{
    const struct key *a = x, *b = y;
    if (a->value != b->value)
        return a->value > b->value ? -1 : 1;
    return (a->number > b->number) - (a->number < b->number);
}

/* Drawing one after the other without replacement is the same as taking the largest ln(u) / w
 * (Efraimidis and Spirakis, 2006). */
static int choose_weighted(size_t *number, const struct choice *c, struct err *err)
{
    double *weight = mem_array(c->available, sizeof *weight, err);
    struct key *key = mem_array(c->available, sizeof *key, err);
    gsl_rng *rng = seeded(c->settings->seed, err);
    int rc = weight && key && rng ? window_weights(weight, c, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < c->available; i++)
        key[i] = (struct key){log(gsl_rng_uniform_pos(rng)) / weight[i], i};
    if (rc == 0) {
        qsort(key, c->available, sizeof *key, falling_keys);
        for (size_t i = 0; i < c->wanted; i++)
            number[i] = key[i].number;
    }
    free(weight);
    free(key);
    gsl_rng_free(rng);
    return rc;
}

static int (*const kinds[])(size_t *, const struct choice *, struct err *) = {
    [WINDOWS_ORDER] = choose_order,
    [WINDOWS_RANDOM] = choose_random,
    [WINDOWS_WEIGHTED] = choose_weighted,
};

int windows_choose(size_t *starts, size_t *count, size_t samples, const uint32_t *ids,
                   size_t positions, size_t window, size_t top_k, const struct settings *s,
                   struct err *err)
{
    struct choice c = {ids, positions, window, top_k, 0, 0, s};
    *count = 0;
    gsl_set_error_handler_off();
    if (samples == 0 || window == 0)
        return err_set(err, ERR_USAGE, NULL, "%zu samples of %zu tokens, expected at least 1 of 1",
                       samples, window);
    if (s->windows == WINDOWS_BALANCED)
        return err_set(
            err, ERR_USAGE, NULL,
            "windows: found \"balanced\", expected order, random or weighted for a text; "
            "balanced needs to know which experts serve which window: calibrate on a trace "
            "of all candidates (moqa trace)");
    c.available = positions / window;
    if (c.available == 0)
        return err_set(err, ERR_INPUT, NULL,
                       "the text has %zu tokens, fewer than one window of %zu; take more text or a "
                       "smaller window",
                       positions, window);
    c.wanted = samples < c.available ? samples : c.available;
    int rc = kinds[s->windows](starts, &c, err);
    if (rc < 0)
        return rc;
    qsort(starts, c.wanted, sizeof *starts, rising);
    for (size_t i = 0; i < c.wanted; i++)
        starts[i] *= window;
    *count = c.wanted;
    return 0;
}
