#include "ui/app/result_texts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"

bool result_is_known(const struct app_evaluation *e)
{
    return e->text[0] != '\0';
}

/* Where no text is named, those of as many tokens stand together: nothing is said of them. */
static bool is_same(const struct app_evaluation *a, const struct app_evaluation *b)
{
    return strcmp(a->text, b->text) == 0 && a->window == b->window && a->part == b->part &&
           (result_is_known(a) || a->predicted == b->predicted);
}

const struct app_evaluation *result_on(const struct app_result *x, const struct app_evaluation *as)
{
    for (size_t i = 0; as && i < x->evaluations; i++)
        if (is_same(&x->evaluation[i], as))
            return &x->evaluation[i];
    return NULL;
}

const struct app_evaluation *result_measured(const struct app_result *x,
                                             const struct app_evaluation *as)
{
    const struct app_evaluation *e = result_on(x, as);
    return e && isfinite(e->perplexity) ? e : NULL;
}

static int by_use(const void *p, const void *q)
{
    const struct result_text *x = p, *y = q;
    const struct app_evaluation *a = x->one, *b = y->one;
    if (a->wanted != b->wanted)
        return a->wanted ? -1 : 1;
    if (result_is_known(a) != result_is_known(b))
        return result_is_known(a) ? -1 : 1;
    if (x->runs != y->runs)
        return x->runs > y->runs ? -1 : 1;
    if (x->original != y->original)
        return x->original ? -1 : 1;
    int order = strcmp(a->name, b->name);
    order = order ? order : strcmp(a->text, b->text);
    order = order ? order : (a->window > b->window) - (a->window < b->window);
    return order ? order : (a->part > b->part) - (a->part < b->part);
}

static int add(struct result_texts *t, size_t *capacity, const struct app_result *x,
               const struct app_evaluation *e, struct err *err)
{
    size_t k = 0;
    while (k < t->n && !is_same(t->text[k].one, e))
        k++;
    if (k == t->n) {
        int rc = mem_grow((void **)&t->text, capacity, k + 1, sizeof *t->text, err);
        if (rc < 0)
            return rc;
        t->text[t->n++] = (struct result_text){.one = e};
    }
    struct result_text *text = &t->text[k];
    text->runs += !x->original && isfinite(e->perplexity);
    text->original = text->original || x->original;
    if (e->wanted || (!text->one->wanted && !text->one->name[0]))
        text->one = e;
    return 0;
}

/* What it is called where no other text has the name. */
static void base_label(char *out, size_t size, const struct app_evaluation *e)
{
    if (e->name[0])
        sanitize(out, size, e->name, strlen(e->name));
    else if (result_is_known(e))
        snprintf(out, size, "text #%.6s", e->text);
    else
        snprintf(out, size, "unknown text, %zu tokens", e->predicted);
}

static void make_label(struct result_text *t, const struct result_texts *all)
{
    const struct app_evaluation *e = t->one;
    bool text = false, window = false, part = false;
    for (size_t i = 0; i < all->n; i++) {
        const struct app_evaluation *o = all->text[i].one;
        bool same = strcmp(o->text, e->text) == 0;
        text = text || (!same && e->name[0] && strcmp(o->name, e->name) == 0);
        window = window || (same && o->window != e->window);
        part = part || (same && o->window == e->window && o->part != e->part);
    }
    base_label(t->label, sizeof t->label, e);
    size_t used = strlen(t->label);
    if (text)
        used += (size_t)snprintf(t->label + used, sizeof t->label - used, " #%.6s", e->text);
    if (window && used < sizeof t->label)
        used += (size_t)snprintf(t->label + used, sizeof t->label - used, ", windows of %zu",
                                 e->window);
    if (part && used < sizeof t->label)
        snprintf(t->label + used, sizeof t->label - used, e->part ? ", first %zu" : ", all",
                 e->part);
}

int result_texts_make(struct result_texts *out, const struct app_result *list, size_t n,
                      struct err *err)
{
    size_t capacity = 0;
    int rc = 0;
    *out = (struct result_texts){0};
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; rc == 0 && k < list[i].evaluations; k++)
            rc = add(out, &capacity, &list[i], &list[i].evaluation[k], err);
    if (rc < 0) {
        result_texts_release(out);
        return rc;
    }
    if (out->n)
        qsort(out->text, out->n, sizeof *out->text, by_use);
    for (size_t i = 0; i < out->n; i++)
        make_label(&out->text[i], out);
    return 0;
}

void result_texts_release(struct result_texts *t)
{
    free(t->text);
    *t = (struct result_texts){0};
}

/* --- Figures --- */

static struct figure_run run_of(const struct app_result *x, const struct app_evaluation *as)
{
    const struct app_evaluation *e = result_measured(x, as);
    return (struct figure_run){.name = x->name,
                               .method = x->method,
                               .nominal_bits = x->nominal_bits,
                               .effective_bits = x->effective_bits,
                               .bytes = x->bytes,
                               .has_perplexity = e != NULL,
                               .perplexity = e ? e->perplexity : 0};
}

int result_figures_make(struct result_figures *out, const struct result_texts *texts,
                        const struct app_result *list, const size_t *order, size_t count,
                        struct err *err)
{
    size_t n = texts->n ? texts->n : 1;
    *out = (struct result_figures){.n = n};
    out->on = mem_array(n, sizeof *out->on, err);
    out->run = mem_array(n * count, sizeof *out->run, err);
    if (!out->on || !out->run) {
        result_figures_release(out);
        return ERR_NOMEM;
    }
    for (size_t t = 0; t < n; t++) {
        struct figure_run *run = out->run + t * count;
        const struct app_evaluation *one = texts->n ? texts->text[t].one : NULL;
        for (size_t i = 0; i < count; i++)
            run[i] = run_of(&list[order ? order[i] : i], one);
        out->on[t] = (struct figure_results){.text = one ? texts->text[t].label : NULL,
                                             .is_known = one && result_is_known(one),
                                             .run = run,
                                             .runs = count};
    }
    return 0;
}

void result_figures_release(struct result_figures *f)
{
    free(f->on);
    free(f->run);
    *f = (struct result_figures){0};
}
