#include "ui/app/result_draws.h"

#include <math.h>
#include <string.h>

#include "ui/app/result_texts.h"

enum { DRAWS_MAX = 256 };

static bool is_run(const struct app_result *x)
{
    return !x->original && !x->unfinished && x->has_values;
}

/* A budget is no setting: plans of two budgets differ in their bits. */
static bool is_same_but_for_seed(const struct app_result *x, const struct app_result *y)
{
    struct settings values = y->values;
    values.seed = x->values.seed;
    return strcmp(x->method, y->method) == 0 && x->pins == y->pins &&
           fabs(x->nominal_bits - y->nominal_bits) < 0.005 && settings_equal(&x->values, &values);
}

static bool has_seed(const uint64_t *seed, size_t n, uint64_t value)
{
    for (size_t i = 0; i < n; i++)
        if (seed[i] == value)
            return true;
    return false;
}

bool result_draws(struct result_draws *out, const struct app_result *x,
                  const struct app_result *list, size_t n, const struct app_evaluation *on)
{
    uint64_t seed[DRAWS_MAX];
    double value[DRAWS_MAX], squares = 0;
    *out = (struct result_draws){0};
    if (!is_run(x) || !result_measured(x, on))
        return false;
    for (size_t i = 0; i < n && out->n < DRAWS_MAX; i++) {
        const struct app_evaluation *e = result_measured(&list[i], on);
        if (!e || !is_run(&list[i]) || !is_same_but_for_seed(x, &list[i]))
            continue;
        if (has_seed(seed, out->n, list[i].values.seed))
            return false;
        seed[out->n] = list[i].values.seed;
        value[out->n++] = e->perplexity;
        out->mean += e->perplexity;
    }
    if (out->n < 2)
        return false;
    out->mean /= (double)out->n;
    for (size_t i = 0; i < out->n; i++)
        squares += (value[i] - out->mean) * (value[i] - out->mean);
    out->deviation = sqrt(squares / (double)(out->n - 1));
    return true;
}
