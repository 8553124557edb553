#include "ui/app/results_table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "data/base/mem.h"
#include "ui/app/result_draws.h"
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
    COLUMN_DRAWS,
    COLUMN_SECONDS,
    COLUMN_TIME,
    COLUMN_SETTINGS,
    COLUMNS,
    SETTINGS_WIDTH = 40,
    RUN_LEAST = 10, /* "gpt…4471e9" */
    METHOD_LEAST = 10,
    SORTED_PRIORITY = 11, /* a column by which rows are sorted is seen */
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
    [COLUMN_DRAWS] = {{"mean of draws", false, 6, 0}, false, 0},
    [COLUMN_SECONDS] = {{"eval s", false, 1, 0}, false, 0},
    [COLUMN_TIME] = {{"time", true, 3, 0}, true, RESULT_BY_TIME},
    [COLUMN_SETTINGS] = {{"settings", true, 2, 0}, false, 0},
};

void results_time_text(char *out, size_t size, int64_t when)
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

bool results_is_running(const struct app *a, const struct app_result *x)
{
    return x->running || (app_run_is_active(a) && strcmp(a->run.out, x->name) == 0);
}

void results_missing_text(char *out, size_t size, const struct app *a, const struct app_result *x,
                          const struct app_evaluation *on)
{
    if (x->unfinished) {
        snprintf(out, size, results_is_running(a, x) ? "running" : "unfinished");
    } else if (!x->original || (on && !on->wanted)) {
        snprintf(out, size, "-");
    } else if (x->measure == APP_MEASURE_WORKING) {
        snprintf(out, size, "%.0f %% done", 100 * x->progress);
    } else {
        snprintf(out, size, "%s", measure_word(x->measure));
    }
}

double results_change_percent(const struct app_evaluation *e, const struct app_evaluation *original)
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

size_t results_draws_text(char *out, size_t size, const struct app *a, const struct app_results *r,
                          const struct app_result *x)
{
    struct result_draws draws;
    out[0] = '\0';
    if (!result_draws(&draws, x, r->list, r->n, r->on))
        return 0;
    snprintf(out, size, "%.3f %s %.3f", draws.mean, view_word(a, "\u00b1", "+-"), draws.deviation);
    return draws.n;
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
    results_missing_text(text[COLUMN_PERPLEXITY], TABLE_TEXT, a, x, r->on);
    if (e) {
        snprintf(text[COLUMN_PERPLEXITY], TABLE_TEXT, "%.4f", e->perplexity);
        snprintf(text[COLUMN_SECONDS], TABLE_TEXT, "%.1f", e->seconds);
    }
    if (original && !x->original)
        snprintf(text[COLUMN_CHANGE], TABLE_TEXT, "%+.1f %%", results_change_percent(e, original));
    results_draws_text(text[COLUMN_DRAWS], TABLE_TEXT, a, r, x);
    if (x->finished)
        results_time_text(text[COLUMN_TIME], TABLE_TEXT, x->finished);
    snprintf(text[COLUMN_SETTINGS], TABLE_TEXT, "%.*s", SETTINGS_WIDTH, x->settings);
}

void results_table_draw(struct app *a, struct cells *c, struct rect r, const struct app_results *x)
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
    bool draws = false;
    for (size_t i = 0; i < x->n; i++)
        draws = draws || text[i * COLUMNS + COLUMN_DRAWS][0];
    if (!draws)
        column[COLUMN_DRAWS].title = ""; /* a column of nothing takes no room */
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
