/* Screen 7: the runs so far and the original, side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/base/mem.h"
#include "ui/app/app_result.h"
#include "ui/app/view_parts.h"
#include "ui/cells/table.h"

enum {
    COLUMN_RUN,
    COLUMN_METHOD,
    COLUMN_BITS,
    COLUMN_EFFECTIVE,
    COLUMN_SIZE,
    COLUMN_PERPLEXITY,
    COLUMN_CHANGE,
    COLUMN_SECONDS,
    COLUMN_TIME,
    COLUMN_SETTINGS,
    COLUMNS,
    CHART_ROWS = 9,
    SETTINGS_WIDTH = 40,
    RUN_LEAST = 10, /* "gpt…4471e9" */
    METHOD_LEAST = 10,
    SORTED_PRIORITY = 11, /* a column by which rows are sorted is seen */
    TEXT_ROWS = 1
};

static const struct {
    struct table_column column;
    bool sorts;
    enum app_result_sort sort;
} table_columns[COLUMNS] = {
    [COLUMN_RUN] = {{"run", true, 6, RUN_LEAST}, true, RESULT_BY_RUN},
    [COLUMN_METHOD] = {{"method", true, 8, METHOD_LEAST}, true, RESULT_BY_METHOD},
    [COLUMN_BITS] = {{"bits", false, 9, 0}, true, RESULT_BY_BITS},
    [COLUMN_EFFECTIVE] = {{"effective", false, 4, 0}, true, RESULT_BY_EFFECTIVE},
    [COLUMN_SIZE] = {{"file MiB", false, 5, 0}, true, RESULT_BY_SIZE},
    [COLUMN_PERPLEXITY] = {{"perplexity", false, 10, 0}, true, RESULT_BY_PERPLEXITY},
    [COLUMN_CHANGE] = {{"vs orig.", false, 7, 0}, false, 0},
    [COLUMN_SECONDS] = {{"eval s", false, 1, 0}, false, 0},
    [COLUMN_TIME] = {{"time", true, 3, 0}, true, RESULT_BY_TIME},
    [COLUMN_SETTINGS] = {{"settings", true, 2, 0}, false, 0},
};

/* --- The table --- */

static void time_text(char *out, size_t size, int64_t when)
{
    struct tm t;
    time_t at = (time_t)when;
    out[0] = '\0';
    if (localtime_r(&at, &t))
        strftime(out, size, "%Y-%m-%d %H:%M", &t);
}

static const char *measure_word(enum app_measure measure)
{
    return measure == APP_MEASURE_WAITING     ? "waiting"
           : measure == APP_MEASURE_FAILED    ? "failed"
           : measure == APP_MEASURE_CANCELLED ? "cancelled"
                                              : "-";
}

/* In this program, in another one or in a comparison. */
static bool is_running(const struct app *a, const struct app_result *x)
{
    return x->running || (app_run_is_active(a) && strcmp(a->run.out, x->name) == 0);
}

/* In place of a perplexity that is not there. on: the text that is looked at; NULL: none. */
static void missing_text(char *out, size_t size, const struct app *a, const struct app_result *x,
                         const struct app_evaluation *on)
{
    if (x->unfinished) {
        snprintf(out, size, is_running(a, x) ? "running" : "unfinished");
    } else if (!x->original || (on && !on->wanted)) {
        snprintf(out, size, "-");
    } else if (x->measure == APP_MEASURE_WORKING) {
        snprintf(out, size, "%.0f %% done", 100 * x->progress);
    } else {
        snprintf(out, size, "%s", measure_word(x->measure));
    }
}

static double change_percent(const struct app_evaluation *e, const struct app_evaluation *original)
{
    return 100 * (e->perplexity / original->perplexity - 1);
}

/* With the sign of its points before it, so that the table is their legend, too. */
static void method_text(char *out, const struct app *a, const struct figure_results *f,
                        const struct app_result *x)
{
    size_t series;
    bool has_sign = f && !x->original && figures_method(&series, f, x->method);
    snprintf(out, TABLE_TEXT, "%s %.*s", has_sign ? chart_point_mark(&a->look, series) : " ",
             TABLE_TEXT - 8, x->method);
}

/* f: as the chart has them, or NULL. */
static void fill_row(char (*text)[TABLE_TEXT], const struct app *a, const struct app_results *r,
                     const struct figure_results *f, const struct app_result *x)
{
    const struct app_evaluation *e = result_measured(x, r->on);
    const struct app_evaluation *original = app_results_original(r, e);
    for (size_t i = 0; i < COLUMNS; i++)
        snprintf(text[i], TABLE_TEXT, "-");
    snprintf(text[COLUMN_RUN], TABLE_TEXT, "%.*s", TABLE_TEXT - 1, app_result_name(x));
    method_text(text[COLUMN_METHOD], a, f, x);
    if (x->nominal_bits > 0)
        snprintf(text[COLUMN_BITS], TABLE_TEXT, "%.3f", x->nominal_bits);
    if (x->effective_bits > 0)
        snprintf(text[COLUMN_EFFECTIVE], TABLE_TEXT, "%.3f", x->effective_bits);
    if (x->bytes > 0)
        snprintf(text[COLUMN_SIZE], TABLE_TEXT, "%.1f", (double)x->bytes / (1 << 20));
    missing_text(text[COLUMN_PERPLEXITY], TABLE_TEXT, a, x, r->on);
    if (e) {
        snprintf(text[COLUMN_PERPLEXITY], TABLE_TEXT, "%.4f", e->perplexity);
        snprintf(text[COLUMN_SECONDS], TABLE_TEXT, "%.1f", e->seconds);
    }
    if (original && !x->original)
        snprintf(text[COLUMN_CHANGE], TABLE_TEXT, "%+.1f %%", change_percent(e, original));
    if (x->finished)
        time_text(text[COLUMN_TIME], TABLE_TEXT, x->finished);
    snprintf(text[COLUMN_SETTINGS], TABLE_TEXT, "%.*s", SETTINGS_WIDTH, x->settings);
}

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

static void draw_table(struct app *a, struct cells *c, struct rect r, const struct app_results *x)
{
    struct table_column column[COLUMNS];
    char title[64];
    char(*text)[TABLE_TEXT] = mem_array(x->n * COLUMNS, sizeof *text, NULL);
    if (!text)
        return;
    for (size_t i = 0; i < COLUMNS; i++) {
        column[i] = table_columns[i].column;
        if (!table_columns[i].sorts ||
            table_columns[i].sort != (enum app_result_sort)a->result_sort)
            continue;
        snprintf(title, sizeof title, "%s%s", column[i].title,
                 style_glyph(&a->look, a->result_reverse ? STYLE_G_ARROW_DOWN : STYLE_G_ARROW_UP));
        column[i].title = title;
        column[i].priority = column[i].least ? column[i].priority : SORTED_PRIORITY;
    }
    struct result_figures f;
    int rc = result_figures_make(&f, &x->texts, x->list, x->order, x->n, NULL);
    for (size_t i = 0; i < x->n; i++)
        fill_row(text + i * COLUMNS, a, x, rc == 0 ? &f.on[x->text] : NULL, app_results_at(x, i));
    result_figures_release(&f);
    size_t rows = r.h > TABLE_HEAD_ROWS ? (size_t)(r.h - TABLE_HEAD_ROWS) : 0;
    a->scroll = app_scroll_to(a->scroll, a->result_selected, x->n, rows);
    a->result_rows = (struct rect){r.x, r.y + TABLE_HEAD_ROWS, r.w, (int)rows};
    table_draw(c, r, &a->look,
               &(struct table){.column = column,
                               .columns = COLUMNS,
                               .rows = x->n,
                               .text = (const char(*)[TABLE_TEXT])text,
                               .first = a->scroll,
                               .has_selected = true,
                               .selected = a->result_selected});
    free(text);
}

/* --- The chart --- */

static size_t point_count(const struct app_results *r)
{
    size_t points = 0;
    for (size_t i = 0; i < r->n; i++)
        points += result_measured(&r->list[i], r->on) != NULL;
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
static void split(const struct app *a, struct rect r, size_t n, struct rect part[2])
{
    int rows = n < (size_t)r.h ? (int)n + TABLE_HEAD_ROWS : r.h, half = r.h / 2;
    rows = rows < half ? rows : half;
    if (r.h - rows - 1 < CHART_ROWS) {
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
    size_t points = point_count(&x), runs = 0;
    for (size_t i = 0; i < x.n; i++)
        runs += !x.list[i].original;
    a->result_rows = (struct rect){0};
    part[0] = r = draw_text(a, c, r, &x);
    if (points && runs)
        split(a, r, x.n, part);
    if (x.n && !rect_empty(part[0]))
        draw_table(a, c, part[0], &x);
    if (runs == 0)
        app_draw_empty(a, c, rect_inset(r, 0, x.n ? (int)x.n + TABLE_HEAD_ROWS : 0, 0, 0),
                       "No runs yet. Quantize with x (screen 6), or with moqa quantize; moqa "
                       "eval measures the perplexity of a model. Every run then has a row here "
                       "and a point in the chart.");
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
        missing_text(text, sizeof text, f->a, x, r->on);
        view_fact(f, "perplexity", STYLE_TEXT_DIM, "%s",
                  text[0] != '-'   ? text
                  : x->evaluations ? "not on this text"
                                   : "not measured");
        return;
    }
    view_fact(f, "perplexity", STYLE_ACCENT, "%.5f", e->perplexity);
    if (original && !x->original)
        view_fact(f, "against original", STYLE_DEFAULT, "%+.4f, %+.2f %%",
                  e->perplexity - original->perplexity, change_percent(e, original));
    else if (!original)
        view_fact(f, "against original", STYLE_TEXT_DIM,
                  result_is_known(e) ? "not on this text" : "text not known");
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
                      change_percent(e, original));
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
}

static void run_facts(struct view_facts *f, const struct app_result *x)
{
    char text[32];
    if (x->pins)
        view_fact(f, "pins", STYLE_PIN, "%zu expert%s", x->pins, x->pins == 1 ? "" : "s");
    if (x->finished) {
        time_text(text, sizeof text, x->finished);
        view_fact(f, "finished", STYLE_DEFAULT, "%s", text);
    }
    if (x->pass_seconds > 0) {
        view_seconds(text, sizeof text, x->pass_seconds);
        view_fact(f, "pass took", STYLE_DEFAULT, "%s", text);
    }
    if (x->unfinished && !is_running(f->a, x))
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
