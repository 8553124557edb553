#include "ui/app/app_result.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

/* --- Order --- */

struct sorting {
    const struct app_result *list;
    const struct app_evaluation *on; /* the text that perplexities are of */
    size_t sort;
    bool reverse;
};

static double number_of(const struct sorting *s, const struct app_result *x)
{
    const struct app_evaluation *e;
    switch (s->sort) {
    case RESULT_BY_BITS:
        return x->nominal_bits > 0 ? x->nominal_bits : NAN;
    case RESULT_BY_EFFECTIVE:
        return x->effective_bits > 0 ? x->effective_bits : NAN;
    case RESULT_BY_SIZE:
        return x->bytes ? (double)x->bytes : NAN;
    case RESULT_BY_PERPLEXITY:
        e = result_measured(x, s->on);
        return e ? e->perplexity : NAN;
    default:
        return x->finished ? (double)x->finished : NAN;
    }
}

static int compare(const void *p, const void *q, void *context)
{
    const struct sorting *s = context;
    size_t i = *(const size_t *)p, j = *(const size_t *)q;
    const struct app_result *x = &s->list[i], *y = &s->list[j];
    int order = 0;
    if (x->original || y->original)
        return x->original != y->original ? (x->original ? -1 : 1) : (i > j) - (i < j);
    if (s->sort == RESULT_BY_METHOD) {
        order = strcmp(x->method, y->method);
    } else if (s->sort != RESULT_BY_RUN) {
        double a = number_of(s, x), b = number_of(s, y);
        if (isnan(a) != isnan(b))
            return isnan(a) ? 1 : -1;
        order = (a > b) - (a < b);
    } else {
        order = (i > j) - (i < j);
    }
    if (s->reverse)
        order = -order;
    return order ? order : (i > j) - (i < j);
}

const char *app_result_sort_name(size_t sort)
{
    static const char *const names[RESULT_SORTS] = {"run",  "method",     "bits", "effective bits",
                                                    "size", "perplexity", "time"};
    return names[sort];
}

static uint64_t mixed(uint64_t h, const char *text)
{
    for (; *text; text++)
        h = (h ^ (unsigned char)*text) * 1099511628211u;
    return h;
}

/* Never 0, as the next. */
static uint64_t key_of(const struct app_result *x)
{
    uint64_t h = mixed(mixed(14695981039346656037u + x->original, x->name), x->checkpoint);
    return h ? h : 1;
}

static uint64_t key_of_text(const struct app_evaluation *e)
{
    uint64_t h = mixed(14695981039346656037u, e->text);
    h = (h ^ (e->window + (e->part << 20))) * 1099511628211u;
    h = (h ^ (result_is_known(e) ? 0 : e->predicted)) * 1099511628211u;
    return h ? h : 1;
}

static void find_text(struct app_results *out, const struct app *a)
{
    for (size_t i = 0; a->result_text && i < out->texts.n; i++)
        if (key_of_text(out->texts.text[i].one) == a->result_text)
            out->text = i;
    if (out->texts.n)
        out->on = out->texts.text[out->text].one;
}

static void follow(struct app *a, const struct app_results *r)
{
    size_t at = a->result_selected < r->n ? a->result_selected : r->n - 1;
    for (size_t i = 0; a->result_key && i < r->n; i++)
        if (key_of(app_results_at(r, i)) == a->result_key)
            at = i;
    app_results_select(a, r, at);
}

void app_results_get(struct app_results *out, struct app *a)
{
    const struct app_host *h = &a->options->host;
    *out = (struct app_results){0};
    out->n = h->results ? h->results(h->context, &out->list) : 0;
    out->order = out->n ? mem_array(out->n, sizeof *out->order, NULL) : NULL;
    if (out->order && result_texts_make(&out->texts, out->list, out->n, NULL) < 0)
        app_results_release(out);
    out->n = out->order ? out->n : 0;
    if (out->n == 0)
        return;
    find_text(out, a);
    struct sorting s = {out->list, out->on, a->result_sort, a->result_reverse};
    for (size_t i = 0; i < out->n; i++)
        out->order[i] = i;
    qsort_r(out->order, out->n, sizeof *out->order, compare, &s);
    follow(a, out);
}

void app_results_release(struct app_results *r)
{
    result_texts_release(&r->texts);
    free(r->order);
    *r = (struct app_results){0};
}

const struct app_result *app_results_at(const struct app_results *r, size_t i)
{
    return &r->list[r->order[i]];
}

void app_results_select(struct app *a, const struct app_results *r, size_t i)
{
    a->result_selected = i;
    a->result_key = key_of(app_results_at(r, i));
}

const struct app_evaluation *app_results_original(const struct app_results *r,
                                                  const struct app_evaluation *e)
{
    const struct app_evaluation *found = NULL;
    for (size_t i = 0; e && result_is_known(e) && !found && i < r->n; i++)
        found = r->list[i].original ? result_measured(&r->list[i], e) : NULL;
    return found;
}

const char *app_result_name(const struct app_result *x)
{
    const char *slash = strrchr(x->name, '/');
    return slash && slash[1] ? slash + 1 : x->name;
}

static void tell_order(struct app *a)
{
    app_say(a, STYLE_TEXT_DIM, "sorted by %s, %s first", app_result_sort_name(a->result_sort),
            a->result_sort == RESULT_BY_TIME ? (a->result_reverse ? "newest" : "oldest")
            : a->result_reverse              ? "greatest"
                                             : "least");
}

void app_results_next_text(struct app *a, int by)
{
    struct app_results r;
    app_results_get(&r, a);
    size_t n = r.texts.n, to = n ? (r.text + (size_t)by) % n : 0;
    if (n == 0)
        app_say(a, STYLE_TEXT_DIM, "nothing was evaluated yet; --text FILE names the texts");
    else if (n == 1)
        app_say(a, STYLE_TEXT_DIM, "all perplexities are on one text, %s", r.texts.text[0].label);
    if (n > 1) {
        a->result_text = key_of_text(r.texts.text[to].one);
        app_say(a, STYLE_TEXT_DIM, "text %zu of %zu: %s", to + 1, n, r.texts.text[to].label);
    }
    app_results_release(&r);
}

void app_results_sort(struct app *a, int by)
{
    a->result_sort = (a->result_sort + (size_t)(by + RESULT_SORTS)) % RESULT_SORTS;
    tell_order(a);
}

void app_results_reverse(struct app *a, int unused)
{
    (void)unused;
    a->result_reverse = !a->result_reverse;
    tell_order(a);
}

/* --- Loading a run --- */

struct settings app_result_settings(const struct app *a, const char *method,
                                    const struct settings *of_run)
{
    struct settings s = *of_run;
    if (strcmp(method, "budget") == 0)
        s.beta_ch = a->document.settings.beta_ch;
    return s;
}

size_t app_settings_changes(char *out, size_t size, const struct settings *from,
                            const struct settings *to)
{
    size_t used = 0, changes = 0;
    out[0] = '\0';
    for (size_t i = 0; i < settings_count(); i++) {
        char before[64], after[64], one[192];
        const struct setting_info *info = settings_info(i);
        settings_get(from, info, before, sizeof before);
        settings_get(to, info, after, sizeof after);
        if (strcmp(before, after) == 0)
            continue;
        int length = snprintf(one, sizeof one, "%s%s %s -> %s", changes ? ", " : "", info->name,
                              before, after);
        changes++;
        if (length > 0 && used + (size_t)length < size) {
            memcpy(out + used, one, (size_t)length + 1);
            used += (size_t)length;
        }
    }
    return changes;
}

/* A run of this trace's layers and experts, whose settings the analysis can follow; afterwards it
 * is that of the screen again. */
static bool fits(struct app *a, const struct plan *p, struct err *err)
{
    const struct trace *t = a->options->trace;
    int rc = 0;
    if (p->layers_count != t->layers || p->experts != t->experts)
        rc = err_set(err, ERR_INPUT, NULL,
                     "made for %zu layers of %zu experts, this trace has %zu "
                     "of %zu",
                     p->layers_count, p->experts, t->layers, t->experts);
    if (rc == 0)
        rc = settings_check(&p->settings, err);
    if (rc == 0)
        rc = analysis_update(a->analysis, &p->settings, err);
    if (analysis_update(a->analysis, &a->document.settings, NULL) == 0)
        a->result = analysis_result(a->analysis);
    return rc == 0;
}

static void take_plan(struct app *a, const struct app_result *x, const struct plan *p,
                      struct app_document *next)
{
    char changes[APP_TEXT_MAX / 2];
    const char *note =
        strcmp(p->method, "moqa") != 0 ? "; its method gave the bits without them"
        : a->options->trace_sha256 && strcmp(p->trace_sha256, a->options->trace_sha256) != 0
            ? "; made from another trace"
            : "";
    next->settings = app_result_settings(a, p->method, &p->settings);
    next->budget = a->document.budget;
    app_budget_take(&next->budget, p);
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++)
            next->pins[l * p->experts + e] =
                p->layers[l].experts[e].pinned ? (uint8_t)p->layers[l].experts[e].bits : 0;
    if (!app_budget_keep(a, next)) {
        note = "; it is MoQa's plan: no losses are measured for its budget";
    } else if (next->budget.on) {
        note = "";
    }
    if (app_document_equal(next, &a->document, a)) {
        app_say(a, STYLE_TEXT_DIM, "the sliders stand as in %s%s", app_result_name(x), note);
        return;
    }
    size_t n =
        app_settings_changes(changes, sizeof changes, &a->document.settings, &next->settings);
    bool same_pins = memcmp(next->pins, a->document.pins, p->layers_count * p->experts) == 0;
    if (app_commit(a, next))
        app_say(a, STYLE_GOOD, "settings%s of %s, u undoes%s%s%s", same_pins ? "" : " and pins",
                app_result_name(x), n ? ": " : "", changes, note);
}

static void load(struct app *a, const struct app_result *x)
{
    const struct app_host *h = &a->options->host;
    struct app_document next = {0};
    struct plan plan = {0};
    struct err err = {0};
    if (x->original) {
        app_say(a, STYLE_WARN, "the original has no settings; choose a run");
        return;
    }
    if (!h->result_plan) {
        app_say(a, STYLE_WARN, "the plan of a run cannot be read here");
        return;
    }
    if (h->result_plan(h->context, x, &plan, &err) < 0) {
        app_say_err(a, "not loaded: ", &err);
        return;
    }
    if (!fits(a, &plan, &err) || app_document_init(&next, a, &err) < 0)
        app_say_err(a, "not loaded: ", &err);
    else
        take_plan(a, x, &plan, &next);
    free(next.pins);
    plan_release(&plan);
}

void app_results_load(struct app *a, int unused)
{
    struct app_results r;
    (void)unused;
    app_results_get(&r, a);
    if (r.n)
        load(a, app_results_at(&r, a->result_selected));
    else
        app_say(a, STYLE_TEXT_DIM, "there are no runs yet");
    app_results_release(&r);
}

/* --- The original's perplexity --- */

void app_results_measure(struct app *a, int unused)
{
    const struct app_host *h = &a->options->host;
    struct err err = {0};
    (void)unused;
    if (!h->measure_original)
        app_say(a, STYLE_WARN, "measuring needs the model: start with --model DIR");
    else if (!h->measure_original(h->context, true, &err))
        app_say_err(a, "", &err);
    else
        app_say(a, STYLE_GOOD, "the original is measured once for these texts");
}

bool app_results_cancel(struct app *a)
{
    const struct app_host *h = &a->options->host;
    if (!h->measure_original || !h->measure_original(h->context, false, NULL))
        return false;
    app_say(a, STYLE_WARN, "measuring the original is cancelled; M on Results begins again");
    return true;
}
