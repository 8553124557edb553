/* What a comparison costs: what is there and what is to do, and how long that takes. */
#include <string.h>

#include "src/compare/compare_internal.h"

/* --- Counting --- */

struct compare_cost compare_cost(const struct compare *c)
{
    struct compare_cost n = {0};
    for (size_t i = 0; i < c->jobs; i++) {
        const struct compare_job *j = &c->job[i];
        if (!compare_is_first(c, j))
            continue;
        size_t evaluations = compare_kept_evaluations(c, j), missing = compare_kept_missing(c, j);
        n.runs++;
        n.runs_kept += missing == 0;
        n.evaluations += evaluations;
        n.evaluations_kept += evaluations - missing;
        n.passes += compare_kept_needs_pass(c, j);
        n.unknown += !j->planned;
    }
    for (size_t i = 0; i < c->losses_count; i++)
        n.losses += !c->losses[i].loaded;
    return n;
}

static void append_count(struct str *out, size_t n, const char *what, const char *plural)
{
    str_appendf(out, "%zu %s%s", n, what, n == 1 ? "" : plural);
}

void compare_describe_cost(struct str *out, const struct compare *c)
{
    struct compare_cost n = compare_cost(c);
    if (n.unknown)
        str_append(out, "at most ");
    append_count(out, n.runs, "run", "s");
    str_append(out, ", ");
    append_count(out, n.evaluations, "evaluation", "s");
    str_appendf(out, "; kept in %s: %zu and %zu; to do: ", c->o.runs_dir, n.runs_kept,
                n.evaluations_kept);
    if (n.losses) {
        append_count(out, n.losses, "measurement", "s");
        str_append(out, " of losses, ");
    }
    append_count(out, n.passes, "pass", "es");
    str_append(out, ", ");
    append_count(out, n.evaluations - n.evaluations_kept, "evaluation", "s");
}

/* --- Time --- */

typedef bool (*seconds_of)(double *out, const struct compare *c, const struct compare_job *j,
                           const void *what);

/* Over the runs that this command has worked on; where none of them has it, over all. */
static double mean_seconds(const struct compare *c, seconds_of value, const void *what)
{
    for (int any = 0; any < 2; any++) {
        double sum = 0, x;
        size_t n = 0;
        for (size_t i = 0; i < c->jobs; i++) {
            const struct compare_job *j = &c->job[i];
            if (compare_is_first(c, j) && (any || j->fresh) && j->has_result &&
                value(&x, c, j, what)) {
                sum += x;
                n++;
            }
        }
        if (n)
            return sum / (double)n;
    }
    return -1;
}

/* Passes that take about the same time: of one quantizer, with the same options of the rounding. */
static bool is_alike(const struct compare_job *a, const struct compare_job *b)
{
    if (a->plan.quantizer != b->plan.quantizer)
        return false;
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char x[64], y[64];
        if (info->stage != STAGE_QUANTIZE)
            continue;
        settings_get(&a->plan.settings, info, x, sizeof x);
        settings_get(&b->plan.settings, info, y, sizeof y);
        if (strcmp(x, y) != 0)
            return false;
    }
    return true;
}

void compare_cost_sort(struct compare *c)
{
    for (size_t i = 0; i < c->jobs; i++) {
        size_t k = 0;
        while (k < i && !(c->job[i].planned && c->job[k].planned && c->job[k].kind == k &&
                          is_alike(&c->job[k], &c->job[i])))
            k++;
        c->job[i].kind = k;
    }
}

static bool pass_seconds(double *out, const struct compare *c, const struct compare_job *j,
                         const void *like)
{
    (void)c;
    *out = j->result.seconds;
    return j->planned && j->result.has_seconds && j->kind == *(const size_t *)like;
}

static bool text_seconds(double *out, const struct compare *c, const struct compare_job *j,
                         const void *text)
{
    const struct perplexity *p = compare_kept_text(c, j, *(const size_t *)text);
    *out = p ? p->seconds : 0;
    return p;
}

static bool divergence_seconds(double *out, const struct compare *c, const struct compare_job *j,
                               const void *text)
{
    const struct divergence *d = compare_kept_divergence(c, j, *(const size_t *)text);
    *out = d ? d->seconds : 0;
    return d;
}

static bool task_seconds(double *out, const struct compare *c, const struct compare_job *j,
                         const void *task)
{
    const struct run_result_task *t = compare_kept_task(c, j, *(const size_t *)task);
    *out = t ? t->seconds : 0;
    return t;
}

double compare_cost_pass(const struct compare *c, const struct compare_job *j)
{
    return j->planned ? mean_seconds(c, pass_seconds, &j->kind) : -1;
}

double compare_cost_text(const struct compare *c, size_t text)
{
    return mean_seconds(c, text_seconds, &text);
}

/* Two models run until one has been measured. */
double compare_cost_divergence(const struct compare *c, size_t text)
{
    double known = mean_seconds(c, divergence_seconds, &text);
    return known >= 0 ? known : 2 * compare_cost_text(c, text);
}

double compare_cost_task(const struct compare *c, size_t task)
{
    return mean_seconds(c, task_seconds, &task);
}

/* --- What is left --- */

static void add(struct compare_left *left, size_t *count, size_t n, double seconds)
{
    *count += n;
    if (seconds < 0)
        left->unknown += n;
    else
        left->seconds += (double)n * seconds;
}

/* Runs that lack it. */
static size_t lacking(const struct compare *c, size_t index,
                      bool (*lacks)(const struct compare *c, const struct compare_job *j,
                                    size_t index))
{
    size_t n = 0;
    for (size_t i = 0; i < c->jobs; i++)
        n += compare_is_first(c, &c->job[i]) && lacks(c, &c->job[i], index);
    return n;
}

static bool lacks_text(const struct compare *c, const struct compare_job *j, size_t text)
{
    return !compare_kept_text(c, j, text);
}

static bool lacks_task(const struct compare *c, const struct compare_job *j, size_t task)
{
    return !compare_kept_task(c, j, task);
}

struct compare_left compare_cost_left(const struct compare *c)
{
    struct compare_left left = {0};
    for (size_t i = 0; i < c->jobs; i++)
        if (compare_is_first(c, &c->job[i]) && compare_kept_needs_pass(c, &c->job[i]))
            add(&left, &left.passes, 1, compare_cost_pass(c, &c->job[i]));
    for (size_t i = 0; i < c->o.texts->texts; i++) {
        add(&left, &left.evaluations, lacking(c, i, lacks_text), compare_cost_text(c, i));
        add(&left, &left.evaluations, lacking(c, i, compare_kept_lacks_divergence),
            compare_cost_divergence(c, i));
    }
    for (size_t i = 0; i < c->o.texts->tasks; i++)
        add(&left, &left.evaluations, lacking(c, i, lacks_task), compare_cost_task(c, i));
    return left;
}

static void append_time(struct str *out, double seconds)
{
    unsigned long whole = (unsigned long)(seconds + 0.5);
    if (whole >= 3600)
        str_appendf(out, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    else
        str_appendf(out, "%lu:%02lu", whole / 60, whole % 60);
}

void compare_cost_describe(struct str *out, const struct compare_left *left)
{
    str_append(out, left->unknown ? "more than " : "about ");
    append_time(out, left->seconds);
    str_append(out, " left: ");
    append_count(out, left->passes, "pass", "es");
    str_append(out, ", ");
    append_count(out, left->evaluations, "evaluation", "s");
    if (left->unknown)
        str_appendf(out, ", %zu of them not like any that was timed so far", left->unknown);
}
