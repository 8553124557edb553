/* Screen 7: the runs so far, side by side. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "ui/app/view_parts.h"
#include "ui/cells/table.h"

enum { COLUMNS = 8, CHART_ROWS = 9 };

static size_t results_of(const struct app *a, const struct app_result **out)
{
    const struct app_host *h = &a->options->host;
    *out = NULL;
    return h->results ? h->results(h->context, out) : 0;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash && slash[1] ? slash + 1 : path;
}

static void fill_row(char (*text)[TABLE_TEXT], const struct app_result *x)
{
    for (size_t i = 0; i < COLUMNS; i++)
        snprintf(text[i], TABLE_TEXT, "-");
    snprintf(text[0], TABLE_TEXT, "%.*s", TABLE_TEXT - 1, base_name(x->name));
    snprintf(text[1], TABLE_TEXT, "%s", x->method);
    text[1][TABLE_TEXT - 1] = '\0';
    if (x->nominal_bits > 0)
        snprintf(text[2], TABLE_TEXT, "%.3f", x->nominal_bits);
    if (x->effective_bits > 0)
        snprintf(text[3], TABLE_TEXT, "%.3f", x->effective_bits);
    if (x->bytes > 0)
        snprintf(text[4], TABLE_TEXT, "%.1f", (double)x->bytes / (1 << 20));
    if (x->has_perplexity) {
        snprintf(text[5], TABLE_TEXT, "%.4f", x->perplexity);
        snprintf(text[6], TABLE_TEXT, "%zu", x->window);
    }
    snprintf(text[7], TABLE_TEXT, "%.*s", 30, x->settings);
}

static void draw_table(struct app *a, struct cells *c, struct rect r, const struct app_result *x,
                       size_t n)
{
    static const struct table_column column[COLUMNS] = {
        {"run", true, 9},  {"method", true, 6},      {"bits", false, 7},   {"effective", false, 4},
        {"MiB", false, 5}, {"perplexity", false, 8}, {"window", false, 2}, {"settings", true, 1},
    };
    char(*text)[TABLE_TEXT] = mem_array(n * COLUMNS, sizeof *text, NULL);
    if (!text)
        return;
    for (size_t i = 0; i < n; i++)
        fill_row(text + i * COLUMNS, &x[i]);
    size_t rows = r.h > TABLE_HEAD_ROWS ? (size_t)(r.h - TABLE_HEAD_ROWS) : 0;
    a->scroll = app_scroll_to(a->scroll, a->result_selected, n, rows);
    table_draw(c, r, &a->look,
               &(struct table){.column = column,
                               .columns = COLUMNS,
                               .rows = n,
                               .text = (const char(*)[TABLE_TEXT])text,
                               .first = a->scroll,
                               .has_selected = true,
                               .selected = a->result_selected});
    free(text);
}

static bool has_points(const struct app_result *x, size_t n)
{
    size_t points = 0;
    for (size_t i = 0; i < n; i++)
        points += x[i].has_perplexity && isfinite(x[i].perplexity);
    return points > 0;
}

size_t view_runs(struct figure_run **out, const struct app *a)
{
    const struct app_result *x;
    size_t n = results_of(a, &x);
    if (n == 1 && x[0].original && !x[0].has_perplexity)
        n = 0; /* nothing to draw */
    struct figure_run *run = n ? mem_array(n, sizeof *run, NULL) : NULL;
    *out = run;
    for (size_t i = 0; run && i < n; i++)
        run[i] = (struct figure_run){.name = x[i].name,
                                     .method = x[i].method,
                                     .nominal_bits = x[i].nominal_bits,
                                     .effective_bits = x[i].effective_bits,
                                     .bytes = x[i].bytes,
                                     .has_perplexity = x[i].has_perplexity,
                                     .perplexity = x[i].perplexity};
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
        part[a->other_chart ? 1 : 0] = r;
        part[a->other_chart ? 0 : 1] = (struct rect){0};
        return;
    }
    part[0] = (struct rect){r.x, r.y, r.w, rows};
    part[1] = rect_inset(r, 0, rows + 1, 0, 0);
}

static void draw(struct app *a, struct cells *c, struct rect r)
{
    const struct app_result *x;
    struct rect part[2] = {r, {0}};
    size_t n = results_of(a, &x);
    bool only_original = n == 1 && x[0].original && !x[0].has_perplexity;
    if (n == 0 || only_original)
        app_draw_empty(a, c, rect_inset(r, 0, only_original ? TABLE_HEAD_ROWS + 1 : 0, 0, 0),
                       "No runs yet. Quantize with x (screen 6), or with moqa quantize; moqa "
                       "eval measures the perplexity of a model. Every run then has a row here "
                       "and a point in the chart.");
    if (n == 0)
        return;
    if (a->result_selected >= n)
        a->result_selected = n - 1;
    if (has_points(x, n))
        split(a, r, n, part);
    if (!rect_empty(part[0]))
        draw_table(a, c, part[0], x, n);
    if (!rect_empty(part[1]))
        draw_points(a, c, part[1]);
}

static int facts(struct app *a, struct cells *c, struct rect r)
{
    const struct app_result *all, *x;
    struct view_facts f = {a, c, r, 0};
    char text[32];
    size_t n = results_of(a, &all);
    if (n == 0)
        return 0;
    x = &all[a->result_selected < n ? a->result_selected : n - 1];
    view_heading(&f, base_name(x->name));
    view_fact(&f, "method", STYLE_DEFAULT, "%s", x->method);
    if (x->has_perplexity)
        view_fact(&f, "perplexity", STYLE_ACCENT, "%.5f", x->perplexity);
    else
        view_fact(&f, "perplexity", STYLE_TEXT_DIM, "not measured");
    if (x->has_perplexity)
        view_fact(&f, "window", STYLE_DEFAULT, "%zu tokens", x->window);
    if (x->nominal_bits > 0)
        view_fact(&f, "bits, effective", STYLE_DEFAULT, "%.4f, %.4f", x->nominal_bits,
                  x->effective_bits);
    if (x->bytes > 0) {
        view_bytes(text, sizeof text, x->bytes);
        view_fact(&f, "size", STYLE_DEFAULT, "%s", text);
    }
    if (x->has_perplexity)
        view_fact(&f, "evaluated in", STYLE_DEFAULT, "%.1f s", x->seconds);
    view_heading(&f, "settings that are not the defaults");
    view_words(&f, STYLE_DEFAULT, x->settings[0] ? x->settings : "none");
    view_heading(&f, "where");
    view_words(&f, STYLE_TEXT_DIM, x->name);
    return f.row;
}

static void move(struct app *a, int move)
{
    const struct app_result *x;
    enum { PAGE = 10 };
    size_t n = results_of(a, &x), to = app_keys_move(a->result_selected, n, move, PAGE);
    if (n == 0)
        app_say(a, STYLE_TEXT_DIM, "there are no runs yet");
    else if (to == a->result_selected)
        app_say(a, STYLE_TEXT_DIM, "this is the %s run", move < 0 ? "first" : "last");
    a->result_selected = to;
}

static void mouse(struct app *a, const struct term_event *e)
{
    if (e->mouse == TERM_MOUSE_WHEEL && e->wheel)
        move(a, e->wheel < 0 ? APP_BACK : APP_ON);
}

static const struct app_key keys[] = {
    {{APP_KEYS_ARROWS}, "run", "select a run", move},
    {{{'v', 0}}, "chart", "table or chart, where only one has room", view_other_chart},
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
