/* Screen 7: the runs so far and the original, side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/app_result.h"
#include "ui/app/results_table.h"
#include "ui/app/view_parts.h"
#include "ui/cells/table.h"

enum { CHART_ROWS = 9, TEXT_ROWS = 1 };

/* The text that perplexities are of, in the first row; returns what is left of `r`. */
static struct rect draw_text(const struct app *a, struct cells *c, struct rect r,
                             const struct app_results *x)
{
    char text[RESULT_TEXT_LABEL + 32];
    if (x->texts.n == 0 || r.h < TABLE_HEAD_ROWS + 2 * TEXT_ROWS + 2)
        return r;
    int used = cells_text(c, r.x, r.y, r.w, "on ", STYLE(STYLE_TEXT_DIM));
    if (x->texts.n > 1) {
        snprintf(text, sizeof text, " X: %zu of %zu", x->text + 1, x->texts.n);
        int width = cells_width(text);
        cells_text(c, r.x + r.w - width, r.y, width, text, STYLE(STYLE_TEXT_DIM));
        r.w -= width;
        cells_ends(c, rect_inset(r, used, 0, 0, 0), x->texts.text[x->text].label, &a->look,
                   STYLE(STYLE_ACCENT));
        r.w += width;
    } else {
        cells_ends(c, rect_inset(r, used, 0, 0, 0), x->texts.text[0].label, &a->look,
                   STYLE(STYLE_ACCENT));
    }
    return rect_inset(r, 0, TEXT_ROWS, 0, 0);
}

/* --- The chart --- */

static size_t point_count(const struct app_results *r)
{
    size_t points = 0;
    for (size_t i = 0; i < r->n; i++)
        points += !r->list[i].original && result_measured(&r->list[i], r->on);
    return points;
}

void view_runs_take(struct view_runs *out, struct app *a, struct figure_source *s)
{
    struct app_results *r = &out->results;
    *out = (struct view_runs){0};
    app_results_get(r, a);
    if (r->n && result_figures_make(&out->figures, &r->texts, r->list, r->order, r->n, NULL) == 0) {
        s->results = out->figures.on;
        s->texts = out->figures.n;
        s->text = r->text;
    }
}

void view_runs_release(struct view_runs *v)
{
    result_figures_release(&v->figures);
    app_results_release(&v->results);
}

static void draw_points(struct app *a, struct cells *c, struct rect r)
{
    struct figure_source source = view_source(a);
    struct view_runs runs;
    struct figure f = {0};
    struct err err = {0};
    view_runs_take(&runs, a, &source);
    source.has_run = true;
    source.run = a->result_selected;
    if (figures_make(&f, "results", &source, &err) < 0)
        app_draw_empty(a, c, r, err.message);
    else
        figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
    view_runs_release(&runs);
}

/* The table takes what its rows need, up to half; the chart the rest, or one of them all. */
static void split(struct app *a, struct rect r, size_t n, struct rect part[2])
{
    int rows = n < (size_t)r.h ? (int)n + TABLE_HEAD_ROWS : r.h, half = r.h / 2;
    rows = rows < half ? rows : half;
    a->charts_together = r.h - rows - 1 >= CHART_ROWS;
    if (!a->charts_together) {
        part[a->other_chart[a->view] ? 1 : 0] = r;
        part[a->other_chart[a->view] ? 0 : 1] = (struct rect){0};
        return;
    }
    part[0] = (struct rect){r.x, r.y, r.w, rows};
    part[1] = rect_inset(r, 0, rows + 1, 0, 0);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    struct app_results x;
    struct rect part[2] = {r, {0}};
    app_results_get(&x, a);
    size_t runs = 0;
    for (size_t i = 0; i < x.n; i++)
        runs += !x.list[i].original;
    a->result_rows = (struct rect){0};
    part[0] = r = draw_text(a, c, r, &x);
    if (point_count(&x))
        split(a, r, x.n, part);
    if (x.n && !rect_empty(part[0]))
        results_table_draw(a, c, part[0], &x);
    if (runs == 0)
        app_draw_empty(a, c, rect_inset(r, 0, x.n ? (int)x.n + TABLE_HEAD_ROWS : 0, 0, 0),
                       "No runs yet. x makes one (screen 6), and with --text measures its "
                       "perplexity; so do moqa quantize --text and moqa compare. Every run has a "
                       "row here, every measured one a point in a chart.");
    if (!rect_empty(part[1]))
        draw_points(a, c, part[1]);
    app_results_release(&x);
}

/* --- The selected one --- */

/* Why a perplexity is set against nothing. */
static void reason_words(struct view_facts *f, const struct app_evaluation *e)
{
    view_words(f, STYLE_TEXT_DIM,
               result_is_known(e)
                   ? "The original was not measured on this text: --text with its files does it."
                   : "Which text it is was not recorded, so nothing is set against it. x with the "
                     "same plan evaluates it again.");
}

static void perplexity_facts(struct view_facts *f, const struct app_results *r,
                             const struct app_result *x)
{
    const struct app_evaluation *e = result_measured(x, r->on);
    const struct app_evaluation *original = app_results_original(r, e);
    char text[32];
    if (!e) {
        results_missing_text(text, sizeof text, f->a, x, r->on);
        view_fact(f, "perplexity", STYLE_TEXT_DIM, "%s",
                  text[0] != '-'   ? text
                  : x->evaluations ? "not on this text"
                                   : "not measured");
        return;
    }
    view_fact(f, "perplexity", STYLE_ACCENT, "%.5f", e->perplexity);
    if (original && !x->original)
        view_fact(f, "against original", STYLE_DEFAULT, "%+.4f, %+.2f %%",
                  e->perplexity - original->perplexity, results_change_percent(e, original));
    else if (!original)
        view_fact(f, "against original", STYLE_TEXT_DIM,
                  result_is_known(e) ? "not on this text" : "text not known");
    if (e->has_divergence && !x->original)
        view_fact(f, "divergence", STYLE_DEFAULT, "%.5f %s %.5f", e->divergence,
                  view_word(f->a, "\u00b1", "+-"), e->divergence_error);
    size_t draws = results_draws_text(text, sizeof text, f->a, r, x);
    if (draws) {
        char name[32];
        snprintf(name, sizeof name, "over %zu draws", draws);
        view_fact(f, name, STYLE_DEFAULT, "%s", text);
    }
    view_fact(f, "windows", STYLE_DEFAULT, "%zu of %zu tokens", e->windows, e->window);
    view_fact(f, "predicted", STYLE_DEFAULT, "%zu tokens", e->predicted);
    view_seconds(text, sizeof text, e->seconds);
    view_fact(f, "evaluated in", STYLE_DEFAULT, "%s", text);
    if (!original)
        reason_words(f, e);
}

/* The selected one on the texts that are not looked at. */
static void other_texts(struct view_facts *f, const struct app_results *r,
                        const struct app_result *x)
{
    bool first = true;
    for (size_t i = 0; i < r->texts.n; i++) {
        const struct app_evaluation *e = result_measured(x, r->texts.text[i].one);
        const struct app_evaluation *original = app_results_original(r, e);
        if (i == r->text || !e)
            continue;
        if (first)
            view_heading(f, "on other texts");
        first = false;
        if (original && !x->original)
            view_fact(f, r->texts.text[i].label, STYLE_DEFAULT, "%.4f, %+.2f %%", e->perplexity,
                      results_change_percent(e, original));
        else
            view_fact(f, r->texts.text[i].label, STYLE_DEFAULT, "%.4f", e->perplexity);
    }
}

static void size_facts(struct view_facts *f, const struct app_results *r,
                       const struct app_result *x)
{
    char text[32];
    const struct app_result *original = NULL;
    for (size_t i = 0; i < r->n && !original; i++)
        original = r->list[i].original && r->list[i].bytes ? &r->list[i] : NULL;
    if (x->nominal_bits > 0)
        view_fact(f, "bits, effective", STYLE_DEFAULT, "%.4f, %.4f", x->nominal_bits,
                  x->effective_bits);
    if (x->bytes == 0)
        return;
    str_bytes(text, sizeof text, x->bytes);
    if (original && !x->original)
        view_fact(f, "files on disk", STYLE_DEFAULT, "%s, %.1f %%", text,
                  100 * (double)x->bytes / (double)original->bytes);
    else
        view_fact(f, "files on disk", STYLE_DEFAULT, "%s", text);
}

static void original_words(struct view_facts *f, const struct app_result *x)
{
    char left[32];
    if (x->measure == APP_MEASURE_WORKING && x->seconds_left >= 0) {
        view_seconds(left, sizeof left, x->seconds_left);
        view_fact(f, "left", STYLE_DEFAULT, "%s", left);
    }
    if (x->measure == APP_MEASURE_FAILED)
        view_words(f, STYLE_ERROR, x->note);
    if (x->measure == APP_MEASURE_FAILED || x->measure == APP_MEASURE_CANCELLED)
        view_words(f, STYLE_TEXT_DIM, "M measures it again.");
    if (x->measure == APP_MEASURE_WAITING)
        view_words(f, STYLE_TEXT_DIM, "It is measured once nothing else runs.");
}

/* Where nothing is measured in this session, and there is nothing to see of it. */
static void text_words(struct view_facts *f, const struct app_results *r,
                       const struct app_result *x)
{
    bool measures = false;
    for (size_t i = 0; i < r->n; i++)
        measures = measures || (r->list[i].original && r->list[i].measure != APP_MEASURE_NONE);
    if (!measures && x->evaluations == 0)
        view_words(f, STYLE_TEXT_DIM,
                   "--text FILE names the texts on which the original and every run are measured.");
    else if (x->evaluations == 0 && !x->original && !x->unfinished)
        view_words(f, STYLE_TEXT_DIM, "x with the same plan measures it.");
}

static void run_facts(struct view_facts *f, const struct app_result *x)
{
    char text[32];
    if (x->pins)
        view_fact(f, "pins", STYLE_PIN, "%zu expert%s", x->pins, x->pins == 1 ? "" : "s");
    if (x->finished) {
        results_time_text(text, sizeof text, x->finished);
        view_fact(f, "finished", STYLE_DEFAULT, "%s", text);
    }
    if (x->pass_seconds > 0) {
        view_seconds(text, sizeof text, x->pass_seconds);
        view_fact(f, "pass took", STYLE_DEFAULT, "%s", text);
    }
    if (x->unfinished && !results_is_running(f->a, x))
        view_words(f, STYLE_TEXT_DIM, "o loads it, x goes on where it stopped.");
}

static void settings_facts(struct view_facts *f, const struct app_result *x)
{
    char changes[APP_TEXT_MAX * 2];
    const struct settings *now = &f->a->document.settings;
    view_heading(f, "settings that are not the defaults");
    view_words(f, STYLE_DEFAULT, x->settings[0] ? x->settings : "none");
    if (x->has_values) {
        view_heading(f, "what o would change on the sliders");
        struct settings then = app_result_settings(f->a, x->method, &x->values);
        bool differs = app_settings_changes(changes, sizeof changes, now, &then) > 0;
        view_words(f, differs ? STYLE_ACCENT : STYLE_TEXT_DIM, differs ? changes : "the same");
    }
    view_heading(f, "where");
    view_words(f, STYLE_TEXT_DIM, x->name);
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    struct view_facts f = {a, c, r, 0};
    struct app_results all;
    app_results_get(&all, a);
    if (all.n) {
        const struct app_result *x = app_results_at(&all, a->result_selected);
        view_heading(&f, app_result_name(x));
        view_fact(&f, "method", STYLE_DEFAULT, "%s", x->method);
        perplexity_facts(&f, &all, x);
        size_facts(&f, &all, x);
        text_words(&f, &all, x);
        if (x->original)
            original_words(&f, x);
        else
            run_facts(&f, x);
        other_texts(&f, &all, x);
        if (!x->original)
            settings_facts(&f, x);
    }
    app_results_release(&all);
    return f.row;
}

/* --- Keys and mouse --- */

static void move(struct app *a, int move)
{
    enum { PAGE = 10 };
    struct app_results r;
    app_results_get(&r, a);
    size_t to = app_keys_move(a->result_selected, r.n, move, PAGE);
    if (r.n == 0)
        app_say(a, STYLE_TEXT_DIM, "there are no runs yet");
    else if (to == a->result_selected)
        app_say(a, STYLE_TEXT_DIM, "this is the %s run", move < 0 ? "first" : "last");
    if (r.n)
        app_results_select(a, &r, to);
    app_results_release(&r);
}

/* The run whose point is nearest. */
static void select_point(struct app *a, const struct app_results *r, int x, int y)
{
    long best = 0;
    bool found = false;
    for (size_t i = 0; i < r->n; i++) {
        const struct app_result *one = app_results_at(r, i);
        int px, py;
        const struct app_evaluation *e = result_measured(one, r->on);
        if (one->original || !e ||
            !chart_map_x(&a->map, a->file_bits ? one->effective_bits : one->nominal_bits, &px) ||
            !chart_map_y(&a->map, e->perplexity, &py))
            continue;
        long far = (long)(px - x) * (px - x) + 4L * (py - y) * (py - y); /* cells are tall */
        if (!found || far < best) {
            app_results_select(a, r, i);
            best = far;
            found = true;
        }
    }
}

static void mouse(struct app *a, const struct term_event *e)
{
    struct app_results r;
    double x, y;
    if (e->mouse == TERM_MOUSE_WHEEL && e->wheel) {
        move(a, e->wheel < 0 ? APP_BACK : APP_ON);
        return;
    }
    app_results_get(&r, a);
    size_t row = a->scroll + (size_t)(e->y - a->result_rows.y);
    if (view_pressed(a, e, &x, &y))
        select_point(a, &r, e->x, e->y);
    else if (e->mouse == TERM_MOUSE_PRESS && rect_contains(a->result_rows, e->x, e->y) && row < r.n)
        app_results_select(a, &r, row);
    app_results_release(&r);
}

static void change_bits(struct app *a, int unused)
{
    (void)unused;
    a->file_bits = !a->file_bits;
    app_say(a, STYLE_TEXT_DIM, "the chart is over %s",
            a->file_bits ? "the bits in the file" : "nominal bits");
}

static const struct app_key keys[] = {
    {{APP_KEYS_ARROWS}, "run", "select a run", move},
    {{{'o', 0}, {TERM_KEY_ENTER, 0}},
     "load",
     "settings and pins of the selected run onto the sliders; u undoes it",
     app_results_load},
    {{{'S', 1}}, "sort", "sort by the next column", app_results_sort},
    {{{'R', 0}}, "reverse", "the order the other way round", app_results_reverse},
    {{{'X', 1}}, "text", "the next text that runs were evaluated on", app_results_next_text},
    {{{'v', 0}}, "chart", "table or chart, where only one has room", view_other_chart},
    {{{'f', 0}}, "bits", "the chart over nominal bits, or over those in the file", change_bits},
    {{{'M', 0}},
     NULL,
     "measure the original again, after a failure or a cancellation",
     app_results_measure},
    {{{0, 0}}, NULL, NULL, NULL},
};

/* Without runs there is nothing to sort or load. */
static bool offers(const struct app *a, uint32_t code)
{
    const struct app_host *h = &a->options->host;
    const struct app_result *list = NULL;
    size_t n = h->results ? h->results(h->context, &list) : 0, runs = 0;
    for (size_t i = 0; i < n; i++)
        runs += !list[i].original;
    return runs > 0 ||
           (code != 'o' && code != 'S' && code != 'R' && code != 'X' && code != 'v' && code != 'f');
}

static const uint32_t first[] = {TERM_KEY_UP, 'o', 'S', 'X', 'v', 'f', 'x', 0};

static const char *const sliders[] = {NULL};

const struct view view_results = {
    .name = "Results",
    .sliders = sliders,
    .keys = keys,
    .first = first,
    .offers = offers,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
