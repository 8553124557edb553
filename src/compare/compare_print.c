/* The tables for people: lines of text and Markdown, from the same cells. */
#include "src/compare/compare_print.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"
#include "data/base/unicode.h"
#include "src/compare/compare_data.h"
#include "src/runs/runs.h"

const char *const compare_format_names[COMPARE_FORMATS] = {"text", "markdown", "csv", "json"};

enum { CELL_MAX = COMPARE_LABEL_MAX + 64 };

/* Texts of a table: [rows + 1][columns], titles first. */
struct grid {
    size_t rows, columns;
    char (*text)[CELL_MAX];
};

static char *at(const struct grid *g, size_t row, size_t column)
{
    return g->text[row * g->columns + column];
}

/* A value and, over several draws, its deviation; "-" where no cell has it. */
static void put_mean(char *out, const struct compare_row *row, compare_value value, size_t index,
                     int digits, double scale)
{
    struct compare_mean m = compare_mean(row, value, index);
    if (m.n == 0)
        snprintf(out, CELL_MAX, "-");
    else if (m.n == 1)
        snprintf(out, CELL_MAX, "%.*f", digits, m.mean * scale);
    else
        snprintf(out, CELL_MAX, "%.*f \u00b1 %.*f", digits, m.mean * scale, digits,
                 m.deviation * scale);
}

/* Its mean alone: what hardly differs between draws. */
static void put_value(char *out, const struct compare_row *row, compare_value value, int digits,
                      double scale)
{
    struct compare_mean m = compare_mean(row, value, 0);
    if (m.n == 0)
        snprintf(out, CELL_MAX, "-");
    else
        snprintf(out, CELL_MAX, "%.*f", digits, m.mean * scale);
}

static size_t count_columns(const struct compare_result *r)
{
    const struct compare_texts *t = r->options->texts;
    size_t norms = 0;
    for (size_t i = 0; i < t->tasks; i++)
        norms += t->task[i].info->has_norm;
    return 5 + t->texts * (r->options->divergence ? 2 : 1) + (t->texts ? 2 : 0) + t->tasks + norms +
           1;
}

/* Asked-for bits stand behind the method, those that were reached in their column. */
static void put_name(char *out, const struct compare_row *row)
{
    if (row->bits > 0)
        snprintf(out, CELL_MAX, "%s@%g%s", row->method->info->name, row->bits,
                 row->name + strlen(row->method->info->name));
    else
        snprintf(out, CELL_MAX, "%s", row->name);
}

/* "letters divergence" */
static void put_title(char *out, const struct compare_text *t, const char *more)
{
    char name[2 * EVAL_TEXT_NAME_MAX];
    sanitize(name, sizeof name, t->text.name, strlen(t->text.name));
    snprintf(out, CELL_MAX, "%s%s", name, more);
}

static void fill_titles(const struct grid *g, const struct compare_result *r)
{
    const struct compare_texts *t = r->options->texts;
    size_t c = 0;
    static const char *const first[] = {"method", "nominal bits", "bits in the file", "MiB"};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++)
        snprintf(at(g, 0, c++), CELL_MAX, "%s", first[i]);
    for (size_t i = 0; i < t->texts; i++)
        put_title(at(g, 0, c++), &t->text[i], "");
    for (size_t i = 0; r->options->divergence && i < t->texts; i++)
        put_title(at(g, 0, c++), &t->text[i], " divergence");
    if (t->texts) {
        snprintf(at(g, 0, c++), CELL_MAX, "excess");
        snprintf(at(g, 0, c++), CELL_MAX, "predicted");
    }
    for (size_t i = 0; i < t->tasks; i++) {
        snprintf(at(g, 0, c++), CELL_MAX, "%s acc", t->task[i].info->name);
        if (t->task[i].info->has_norm)
            snprintf(at(g, 0, c++), CELL_MAX, "%s acc_norm", t->task[i].info->name);
    }
    snprintf(at(g, 0, c++), CELL_MAX, "pass, s");
    snprintf(at(g, 0, c++), CELL_MAX, "runs");
}

static void fill_row(const struct grid *g, size_t line, const struct compare_row *row,
                     const struct compare_result *r)
{
    const struct compare_texts *t = r->options->texts;
    size_t c = 0;
    put_name(at(g, line, c++), row);
    put_value(at(g, line, c++), row, compare_nominal, 3, 1);
    put_value(at(g, line, c++), row, compare_effective, 3, 1);
    put_value(at(g, line, c++), row, compare_bytes, 2, 1 / 1048576.0);
    for (size_t i = 0; i < t->texts; i++)
        put_mean(at(g, line, c++), row, compare_perplexity, i, 3, 1);
    for (size_t i = 0; r->options->divergence && i < t->texts; i++)
        put_mean(at(g, line, c++), row, compare_divergence, i, 5, 1);
    if (t->texts) {
        put_mean(at(g, line, c++), row, compare_excess, 0, 4, 1);
        put_value(at(g, line, c++), row, compare_predicted, 4, 1);
    }
    for (size_t i = 0; i < t->tasks; i++) {
        put_mean(at(g, line, c++), row, compare_acc, i, 4, 1);
        if (t->task[i].info->has_norm)
            put_mean(at(g, line, c++), row, compare_acc_norm, i, 4, 1);
    }
    put_value(at(g, line, c++), row, compare_seconds, 2, 1);
    snprintf(at(g, line, c++), CELL_MAX, "%zu", row->cells);
}

static int make_grid(struct grid *g, const struct compare_result *r, struct err *err)
{
    size_t cells;
    *g = (struct grid){.rows = r->rows, .columns = count_columns(r)};
    if (!mem_mul(&cells, g->rows + 1, g->columns))
        return err_set(err, ERR_NOMEM, NULL, "no memory for the table");
    g->text = mem_array(cells, sizeof *g->text, err);
    if (!g->text)
        return ERR_NOMEM;
    fill_titles(g, r);
    for (size_t i = 0; i < r->rows; i++)
        fill_row(g, i + 1, &r->row[i], r);
    return 0;
}

/* Names come from the command line: a bar in one would end a column of Markdown. */
static void append_cell(struct str *out, const char *text, bool escape)
{
    for (; *text; text++)
        if (escape && *text == '|')
            str_append(out, "\\|");
        else
            str_append_bytes(out, text, 1);
}

static size_t column_width(const struct grid *g, size_t column)
{
    size_t width = 0;
    for (size_t i = 0; i <= g->rows; i++) {
        size_t n = unicode_length(at(g, i, column));
        width = n > width ? n : width;
    }
    return width;
}

/* The method to the left, numbers to the right. */
static void append_padded(struct str *out, const char *text, size_t width, bool left, bool escape)
{
    size_t room = width - unicode_length(text);
    if (left)
        append_cell(out, text, escape);
    for (size_t i = 0; i < room; i++)
        str_append(out, " ");
    if (!left)
        append_cell(out, text, escape);
}

static int append_grid(struct str *out, const struct grid *g, bool markdown, struct err *err)
{
    size_t *width = mem_array(g->columns, sizeof *width, err);
    if (!width)
        return ERR_NOMEM;
    for (size_t c = 0; c < g->columns; c++)
        width[c] = column_width(g, c);
    for (size_t r = 0; r <= g->rows; r++) {
        for (size_t c = 0; c < g->columns; c++) {
            str_append(out, markdown ? (c ? " | " : "| ") : c ? "  " : "");
            append_padded(out, at(g, r, c), width[c], c == 0, markdown);
        }
        str_append(out, markdown ? " |\n" : "\n");
        for (size_t c = 0; r == 0 && markdown && c < g->columns; c++)
            str_append(out, c ? "|---:" : "|---");
        if (r == 0 && markdown)
            str_append(out, "|\n");
    }
    free(width);
    return 0;
}

static void append_texts(struct str *out, const struct compare_texts *t)
{
    for (size_t i = 0; i < t->texts; i++) {
        char name[CELL_MAX];
        sanitize(name, sizeof name, t->text[i].text.name, strlen(t->text[i].text.name));
        str_appendf(out, "%s%s (%zu windows)", i ? ", " : "", name, t->text[i].windows);
    }
}

/* Which rows have no spread, and why. */
static void append_undrawn(struct str *out, const struct compare_result *r)
{
    bool undrawn = false, fewer = false;
    for (size_t i = 0; i < r->rows; i++) {
        undrawn |= !r->row[i].drawn;
        fewer |= r->row[i].drawn && r->row[i].cells < r->draws;
    }
    if (undrawn)
        str_append(out, " Rows of 1 run without a deviation are of what no draw changes.");
    if (fewer)
        str_append(out, " Draws that make the same run count as one.");
}

/* What the figures are of, under the table. */
static int append_legend(struct str *out, const struct compare_result *r, struct err *err)
{
    const struct compare_texts *t = r->options->texts;
    double correlation;
    size_t plans;
    char model[CELL_MAX], settings[512];
    int rc = compare_correlation(&correlation, &plans, r, err);
    if (rc < 0)
        return rc;
    sanitize(model, sizeof model, r->model_name, strlen(r->model_name));
    str_appendf(out, "\n%s; calibrated on %zu windows of %zu tokens", model, r->calibration_windows,
                r->calibration_window);
    if (r->draws == 1 && r->options->seeds)
        str_appendf(out, ", drawn with seed %llu", (unsigned long long)r->seed[0]);
    if (r->draws > 1)
        str_appendf(out, ", %zu draws (seeds %llu to %llu; mean \u00b1 standard deviation)",
                    r->draws, (unsigned long long)r->seed[0],
                    (unsigned long long)r->seed[r->draws - 1]);
    str_append(out, ".");
    if (r->draws > 1)
        append_undrawn(out, r);
    if (t->texts) {
        str_append(out, " Perplexity of ");
        append_texts(out, t);
        str_appendf(out, ", windows of %zu tokens. Excess: ln perplexity above the original's%s.",
                    t->window, t->texts > 1 ? ", mean over the texts" : "");
        if (r->options->divergence)
            str_append(out, " Divergence: of the output from the original's, nats a token.");
    }
    str_append(out, "\n");
    runs_describe_settings(settings, sizeof settings, r->options->settings);
    if (settings[0])
        str_appendf(out, "Settings of all: %s.\n", settings);
    if (isfinite(correlation))
        str_appendf(out,
                    "Rank correlation of predicted and measured excess: %.3f over %zu plans.\n",
                    correlation, plans);
    return str_ok(out, err);
}

static int print_table(struct str *out, const struct compare_result *r, bool markdown,
                       struct err *err)
{
    struct grid g;
    int rc = make_grid(&g, r, err);
    if (rc == 0)
        rc = append_grid(out, &g, markdown, err);
    if (rc == 0)
        rc = append_legend(out, r, err);
    free(g.text);
    return rc;
}

int compare_print(struct str *out, const struct compare_result *r, enum compare_format format,
                  struct err *err)
{
    if (format == COMPARE_CSV)
        return compare_csv(out, r, err);
    if (format == COMPARE_JSON)
        return compare_json(out, r, err);
    return print_table(out, r, format == COMPARE_MARKDOWN, err);
}
