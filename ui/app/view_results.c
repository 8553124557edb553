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
    COLUMN_WINDOW,
    COLUMN_SECONDS,
    COLUMN_TIME,
    COLUMN_SETTINGS,
    COLUMNS,
    CHART_ROWS = 9,
    SETTINGS_WIDTH = 40
};

static const struct {
    struct table_column column;
    bool sorts;
    enum app_result_sort sort;
} table_columns[COLUMNS] = {
    [COLUMN_RUN] = {{"run", true, 10}, true, RESULT_BY_RUN},
    [COLUMN_METHOD] = {{"method", true, 6}, true, RESULT_BY_METHOD},
    [COLUMN_BITS] = {{"bits", false, 8}, true, RESULT_BY_BITS},
    [COLUMN_EFFECTIVE] = {{"effective", false, 4}, true, RESULT_BY_EFFECTIVE},
    [COLUMN_SIZE] = {{"MiB", false, 5}, true, RESULT_BY_SIZE},
    [COLUMN_PERPLEXITY] = {{"perplexity", false, 9}, true, RESULT_BY_PERPLEXITY},
    [COLUMN_CHANGE] = {{"vs orig.", false, 5}, false, 0},
    [COLUMN_WINDOW] = {{"window", false, 2}, false, 0},
    [COLUMN_SECONDS] = {{"eval s", false, 1}, false, 0},
    [COLUMN_TIME] = {{"time", true, 3}, true, RESULT_BY_TIME},
    [COLUMN_SETTINGS] = {{"settings", true, 2}, false, 0},
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

/* In place of a perplexity that is not there. */
static void measure_text(char *out, size_t size, const struct app *a, const struct app_result *x)
{
    if (x->unfinished) {
        bool now = app_run_is_active(a) && strcmp(a->run.out, x->name) == 0;
        snprintf(out, size, now ? "running" : "unfinished");
        return;
    }
    switch (x->measure) {
    case APP_MEASURE_WAITING:
        snprintf(out, size, "waiting");
        break;
    case APP_MEASURE_WORKING:
        snprintf(out, size, "%.0f %% done", 100 * x->progress);
        break;
    case APP_MEASURE_FAILED:
        snprintf(out, size, "failed");
        break;
    case APP_MEASURE_CANCELLED:
        snprintf(out, size, "cancelled");
        break;
    default:
        snprintf(out, size, "-");
    }
}

static void fill_row(char (*text)[TABLE_TEXT], const struct app *a, const struct app_results *r,
                     const struct app_result *x)
{
    const struct app_result *original = app_results_original(r, x);
    for (size_t i = 0; i < COLUMNS; i++)
        snprintf(text[i], TABLE_TEXT, "-");
    snprintf(text[COLUMN_RUN], TABLE_TEXT, "%.*s", TABLE_TEXT - 1, app_result_name(x));
    snprintf(text[COLUMN_METHOD], TABLE_TEXT, "%.*s", TABLE_TEXT - 1, x->method);
    if (x->nominal_bits > 0)
        snprintf(text[COLUMN_BITS], TABLE_TEXT, "%.3f", x->nominal_bits);
    if (x->effective_bits > 0)
        snprintf(text[COLUMN_EFFECTIVE], TABLE_TEXT, "%.3f", x->effective_bits);
    if (x->bytes > 0)
        snprintf(text[COLUMN_SIZE], TABLE_TEXT, "%.1f", (double)x->bytes / (1 << 20));
    measure_text(text[COLUMN_PERPLEXITY], TABLE_TEXT, a, x);
    if (x->has_perplexity) {
        snprintf(text[COLUMN_PERPLEXITY], TABLE_TEXT, "%.4f", x->perplexity);
        snprintf(text[COLUMN_WINDOW], TABLE_TEXT, "%zu", x->window);
        snprintf(text[COLUMN_SECONDS], TABLE_TEXT, "%.1f", x->seconds);
    }
    if (original && original != x)
        snprintf(text[COLUMN_CHANGE], TABLE_TEXT, "%+.1f %%",
                 100 * (x->perplexity / original->perplexity - 1));
    if (x->finished)
        time_text(text[COLUMN_TIME], TABLE_TEXT, x->finished);
    snprintf(text[COLUMN_SETTINGS], TABLE_TEXT, "%.*s", SETTINGS_WIDTH, x->settings);
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
    }
    for (size_t i = 0; i < x->n; i++)
        fill_row(text + i * COLUMNS, a, x, app_results_at(x, i));
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
        points += r->list[i].has_perplexity && isfinite(r->list[i].perplexity);
    return points;
}

size_t view_runs(struct figure_run **out, struct app *a)
{
    struct app_results r;
    app_results_get(&r, a);
    size_t n = point_count(&r) ? r.n : 0;
    struct figure_run *run = n ? mem_array(n, sizeof *run, NULL) : NULL;
    *out = run;
    for (size_t i = 0; run && i < n; i++) {
        const struct app_result *x = app_results_at(&r, i);
        run[i] = (struct figure_run){.name = x->name,
                                     .method = x->method,
                                     .nominal_bits = x->nominal_bits,
                                     .effective_bits = x->effective_bits,
                                     .bytes = x->bytes,
                                     .has_perplexity = x->has_perplexity,
                                     .perplexity = x->perplexity};
    }
    free(r.order);
    return run ? n : 0;
}

static void draw_points(struct app *a, struct cells *c, struct rect r)
{
    struct figure_source source = view_source(a);
    struct figure_run *run;
    struct figure f = {0};
    struct err err = {0};
    source.run_count = view_runs(&run, a);
    source.runs = run;
    source.has_run = true;
    source.run = a->result_selected;
    if (figures_make(&f, "results", &source, &err) < 0)
        app_draw_empty(a, c, r, err.message);
    else
        figure_draw(c, r, &a->look, &f, &a->map);
    figure_release(&f);
    free(run);
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
    free(x.order);
}

/* --- The selected one --- */

static void perplexity_facts(struct view_facts *f, const struct app_results *r,
                             const struct app_result *x)
{
    const struct app_result *original = app_results_original(r, x);
    char text[32];
    if (!x->has_perplexity) {
        measure_text(text, sizeof text, f->a, x);
        view_fact(f, "perplexity", STYLE_TEXT_DIM, "%s", text[0] == '-' ? "not measured" : text);
        return;
    }
    view_fact(f, "perplexity", STYLE_ACCENT, "%.5f", x->perplexity);
    if (original && original != x)
        view_fact(f, "against original", STYLE_DEFAULT, "%+.4f, %+.2f %%",
                  x->perplexity - original->perplexity,
                  100 * (x->perplexity / original->perplexity - 1));
    else if (!original)
        view_fact(f, "against original", STYLE_TEXT_DIM,
                  x->text[0] ? "not on this text" : "text not known");
    view_fact(f, "window, tokens", STYLE_DEFAULT, "%zu, %zu", x->window, x->tokens);
    view_seconds(text, sizeof text, x->seconds);
    view_fact(f, "evaluated in", STYLE_DEFAULT, "%s", text);
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
        view_fact(f, "size", STYLE_DEFAULT, "%s, %.1f %%", text,
                  100 * (double)x->bytes / (double)original->bytes);
    else
        view_fact(f, "size", STYLE_DEFAULT, "%s", text);
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
    if (x->measure == APP_MEASURE_NONE)
        view_words(f, STYLE_TEXT_DIM,
                   "--text FILE names the texts on which it and every run are measured.");
}

static void settings_facts(struct view_facts *f, const struct app_result *x)
{
    char changes[APP_TEXT_MAX * 2], text[32];
    const struct settings *now = &f->a->document.settings;
    if (x->pins)
        view_fact(f, "pins", STYLE_PIN, "%zu expert%s", x->pins, x->pins == 1 ? "" : "s");
    if (x->finished) {
        time_text(text, sizeof text, x->finished);
        view_fact(f, "finished", STYLE_DEFAULT, "%s", text);
    }
    if (x->unfinished)
        view_words(f, STYLE_TEXT_DIM, "o loads it, x goes on where it stopped.");
    view_heading(f, "settings that are not the defaults");
    view_words(f, STYLE_DEFAULT, x->settings[0] ? x->settings : "none");
    if (x->has_values) {
        view_heading(f, "what o would change on the sliders");
        bool differs = app_settings_changes(changes, sizeof changes, now, &x->values) > 0;
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
        if (x->original)
            original_words(&f, x);
        else
            settings_facts(&f, x);
    }
    free(all.order);
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
    free(r.order);
}

/* The run whose point is nearest. */
static void select_point(struct app *a, const struct app_results *r, int x, int y)
{
    long best = 0;
    bool found = false;
    for (size_t i = 0; i < r->n; i++) {
        const struct app_result *one = app_results_at(r, i);
        int px, py;
        if (one->original || !one->has_perplexity ||
            !chart_map_x(&a->map, one->nominal_bits, &px) ||
            !chart_map_y(&a->map, one->perplexity, &py))
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
    free(r.order);
}

static const struct app_key keys[] = {
    {{APP_KEYS_ARROWS}, "run", "select a run", move},
    {{{'o', 0}, {TERM_KEY_ENTER, 0}},
     "load",
     "settings and pins of the selected run onto the sliders; u undoes it",
     app_results_load},
    {{{'S', 1}}, "sort", "sort by the next column", app_results_sort},
    {{{'R', 0}}, "reverse", "the order the other way round", app_results_reverse},
    {{{'v', 0}}, "chart", "table or chart, where only one has room", view_other_chart},
    {{{'M', 0}},
     NULL,
     "measure the original again, after a failure or a cancellation",
     app_results_measure},
    {{{0, 0}}, NULL, NULL, NULL},
};

static const char *const sliders[] = {NULL};

const struct view view_results = {
    .name = "Results",
    .sliders = sliders,
    .keys = keys,
    .draw = draw,
    .facts = facts,
    .mouse = mouse,
};
