#include "src/compare/compare_data.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"

enum { VERSION = 1 };

/* --- CSV: a line for each run (RFC 4180) --- */

static void append_field(struct str *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        str_append(out, text);
        return;
    }
    str_append(out, "\"");
    for (; *text; text++)
        str_appendf(out, *text == '"' ? "\"\"" : "%c", *text);
    str_append(out, "\"");
}

/* ",perplexity NAME" for each text. */
static void append_text_titles(struct str *out, const char *what, const struct compare_texts *t)
{
    struct str title = {0};
    for (size_t i = 0; i < t->texts; i++) {
        str_clear(&title);
        str_appendf(&title, "%s %s", what, t->text[i].text.name);
        str_append(out, ",");
        append_field(out, str_get(&title));
    }
    str_release(&title);
}

static void append_titles(struct str *out, const struct compare_result *r)
{
    const struct compare_texts *t = r->options->texts;
    str_append(out, "method,bits,seed,nominal_bits,effective_bits,bytes,experts_bytes");
    append_text_titles(out, "perplexity", t);
    if (r->options->divergence) {
        append_text_titles(out, "divergence", t);
        append_text_titles(out, "divergence_error", t);
    }
    str_append(out, ",excess,predicted");
    for (size_t i = 0; i < t->tasks; i++) {
        str_appendf(out, ",acc %s", t->task[i].info->name);
        if (t->task[i].info->has_norm)
            str_appendf(out, ",acc_norm %s", t->task[i].info->name);
    }
    str_append(out, ",pass_seconds,evaluation_seconds,folder\n");
}

/* Nothing where there is no value. */
static void append_number(struct str *out, bool known, double value)
{
    str_append(out, ",");
    if (known && isfinite(value))
        str_appendf(out, "%.10g", value);
}

static void append_run(struct str *out, const struct compare_row *row,
                       const struct compare_cell *cell, const struct compare_result *r)
{
    const struct compare_texts *t = r->options->texts;
    append_field(out, row->name);
    append_number(out, row->bits > 0, row->bits);
    str_append(out, ",");
    if (row->drawn)
        str_appendf(out, "%llu", (unsigned long long)cell->seed);
    append_number(out, true, cell->nominal_bits);
    append_number(out, true, cell->effective_bits);
    str_appendf(out, ",%llu,%llu", (unsigned long long)cell->bytes,
                (unsigned long long)cell->experts_bytes);
    for (size_t i = 0; i < t->texts; i++)
        append_number(out, true, cell->perplexity[i]);
    for (size_t i = 0; r->options->divergence && i < t->texts; i++)
        append_number(out, true, cell->divergence[i]);
    for (size_t i = 0; r->options->divergence && i < t->texts; i++)
        append_number(out, true, cell->divergence_error[i]);
    append_number(out, true, cell->excess);
    append_number(out, cell->has_predicted, cell->predicted);
    for (size_t i = 0; i < t->tasks; i++) {
        append_number(out, true, cell->acc[i]);
        if (t->task[i].info->has_norm)
            append_number(out, true, cell->acc_norm[i]);
    }
    append_number(out, cell->has_seconds, cell->seconds);
    append_number(out, true, cell->evaluating);
    str_append(out, ",");
    append_field(out, cell->folder);
    str_append(out, "\n");
}

int compare_csv(struct str *out, const struct compare_result *r, struct err *err)
{
    append_titles(out, r);
    for (size_t i = 0; i < r->rows; i++)
        for (size_t k = 0; k < r->row[i].cells; k++)
            append_run(out, &r->row[i], &r->row[i].cell[k], r);
    return str_ok(out, err);
}

/* --- JSON --- */

/* `failed` gathers what could not be added; a NULL value counts. */
static void set(json_t *object, const char *key, json_t *value, bool *failed)
{
    *failed |= json_object_set_new(object, key, value) < 0;
}

static void append(json_t *list, json_t *value, bool *failed)
{
    *failed |= json_array_append_new(list, value) < 0;
}

static json_t *number_or_null(bool known, double value)
{
    return known && isfinite(value) ? json_real(value) : json_null();
}

static json_t *mean_json(const struct compare_row *row, compare_value value, size_t index)
{
    struct compare_mean m = compare_mean(row, value, index);
    return m.n ? json_pack("{s:f, s:f, s:I}", "mean", m.mean, "deviation", m.deviation, "runs",
                           (json_int_t)m.n)
               : json_null();
}

/* {text: value} */
static json_t *by_text(const double *value, const struct compare_texts *t, bool *failed)
{
    json_t *o = json_object();
    for (size_t i = 0; i < t->texts; i++)
        set(o, t->text[i].text.name, number_or_null(true, value[i]), failed);
    return o;
}

static json_t *means_by_text(const struct compare_row *row, compare_value value,
                             const struct compare_texts *t, bool *failed)
{
    json_t *o = json_object();
    for (size_t i = 0; i < t->texts; i++)
        set(o, t->text[i].text.name, mean_json(row, value, i), failed);
    return o;
}

json_t *compare_seed_json(uint64_t seed)
{
    char text[32];
    if (seed <= INT64_MAX)
        return json_integer((json_int_t)seed);
    snprintf(text, sizeof text, "%llu", (unsigned long long)seed);
    return json_string(text);
}

static json_t *run_json(const struct compare_row *row, const struct compare_cell *cell,
                        const struct compare_result *r, bool *failed)
{
    const struct compare_texts *t = r->options->texts;
    json_t *o = json_object(), *acc = json_object(), *norm = json_object();
    set(o, "seed", row->drawn ? compare_seed_json(cell->seed) : json_null(), failed);
    set(o, "folder", json_string(cell->folder), failed);
    set(o, "nominal_bits", json_real(cell->nominal_bits), failed);
    set(o, "effective_bits", json_real(cell->effective_bits), failed);
    set(o, "bytes", json_integer((json_int_t)cell->bytes), failed);
    set(o, "experts_bytes", json_integer((json_int_t)cell->experts_bytes), failed);
    for (size_t i = 0; i < t->tasks; i++) {
        set(acc, t->task[i].info->name, json_real(cell->acc[i]), failed);
        if (t->task[i].info->has_norm)
            set(norm, t->task[i].info->name, number_or_null(true, cell->acc_norm[i]), failed);
    }
    set(o, "perplexity", by_text(cell->perplexity, t, failed), failed);
    if (r->options->divergence) {
        set(o, "divergence", by_text(cell->divergence, t, failed), failed);
        set(o, "divergence_error", by_text(cell->divergence_error, t, failed), failed);
    }
    set(o, "excess", number_or_null(true, cell->excess), failed);
    set(o, "predicted", number_or_null(cell->has_predicted, cell->predicted), failed);
    set(o, "acc", acc, failed);
    set(o, "acc_norm", norm, failed);
    set(o, "pass_seconds", number_or_null(cell->has_seconds, cell->seconds), failed);
    set(o, "evaluation_seconds", json_real(cell->evaluating), failed);
    return o;
}

static json_t *row_json(const struct compare_row *row, const struct compare_result *r, bool *failed)
{
    const struct compare_texts *t = r->options->texts;
    json_t *o = json_object(), *acc = json_object(), *norm = json_object(), *runs = json_array();
    set(o, "method", json_string(row->name), failed);
    set(o, "base_method", json_string(row->method->info->name), failed);
    set(o, "bits", number_or_null(row->bits > 0, row->bits), failed);
    set(o, "nominal_bits", mean_json(row, compare_nominal, 0), failed);
    set(o, "effective_bits", mean_json(row, compare_effective, 0), failed);
    set(o, "bytes", mean_json(row, compare_bytes, 0), failed);
    for (size_t i = 0; i < t->tasks; i++) {
        set(acc, t->task[i].info->name, mean_json(row, compare_acc, i), failed);
        if (t->task[i].info->has_norm)
            set(norm, t->task[i].info->name, mean_json(row, compare_acc_norm, i), failed);
    }
    set(o, "perplexity", means_by_text(row, compare_perplexity, t, failed), failed);
    if (r->options->divergence)
        set(o, "divergence", means_by_text(row, compare_divergence, t, failed), failed);
    set(o, "excess", mean_json(row, compare_excess, 0), failed);
    set(o, "predicted", mean_json(row, compare_predicted, 0), failed);
    set(o, "acc", acc, failed);
    set(o, "acc_norm", norm, failed);
    set(o, "pass_seconds", mean_json(row, compare_seconds, 0), failed);
    for (size_t i = 0; i < row->cells; i++)
        append(runs, run_json(row, &row->cell[i], r, failed), failed);
    set(o, "runs", runs, failed);
    return o;
}

static json_t *texts_json(const struct compare_texts *t, bool *failed)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->texts; i++) {
        const struct compare_text *x = &t->text[i];
        json_t *o = json_object(), *files = json_array();
        for (size_t k = 0; k < x->count; k++)
            append(files, jsonio_bytes(x->paths[k]), failed);
        set(o, "name", json_string(x->text.name), failed);
        set(o, "files", files, failed);
        set(o, "sha256", json_string(x->text.sha256), failed);
        set(o, "tokens", json_integer((json_int_t)x->ids.count), failed);
        set(o, "windows", json_integer((json_int_t)x->windows), failed);
        append(list, o, failed);
    }
    return list;
}

static json_t *head_json(const struct compare_result *r, bool *failed)
{
    const struct compare_texts *t = r->options->texts;
    json_t *root = json_pack("{s:s, s:i}", "schema", "moqa.comparison", "schema_version", VERSION);
    json_t *calibration = json_object(), *seeds = json_array(), *tasks = json_array();
    set(root, "model", jsonio_bytes(r->model_name), failed);
    set(root, "trace", jsonio_bytes(r->options->trace_path), failed);
    set(root, "runs_folder", jsonio_bytes(r->options->runs_dir), failed);
    for (size_t i = 0; i < r->draws; i++)
        append(seeds, compare_seed_json(r->seed[i]), failed);
    set(calibration, "windows", json_integer((json_int_t)r->calibration_windows), failed);
    set(calibration, "window", json_integer((json_int_t)r->calibration_window), failed);
    set(calibration, "seeds", seeds, failed);
    set(root, "calibration", calibration, failed);
    set(root, "texts", texts_json(t, failed), failed);
    set(root, "window", json_integer((json_int_t)t->window), failed);
    for (size_t i = 0; i < t->tasks; i++)
        append(tasks, json_string(t->task[i].info->name), failed);
    set(root, "tasks", tasks, failed);
    return root;
}

int compare_json(struct str *out, const struct compare_result *r, struct err *err)
{
    bool failed = false;
    double correlation;
    size_t plans;
    int rc = compare_correlation(&correlation, &plans, r, err);
    if (rc < 0)
        return rc;
    json_t *settings = NULL;
    rc = settings_to_json(&settings, r->options->settings, err);
    if (rc < 0)
        return rc;
    json_t *root = head_json(r, &failed), *rows = json_array(), *agree = json_object();
    for (size_t i = 0; i < r->rows; i++)
        append(rows, row_json(&r->row[i], r, &failed), &failed);
    set(root, "settings", settings, &failed);
    set(root, "rows", rows, &failed);
    set(agree, "spearman", number_or_null(true, correlation), &failed);
    set(agree, "plans", json_integer((json_int_t)plans), &failed);
    set(root, "predicted_against_excess", agree, &failed);
    char *text = failed ? NULL : json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(root);
    if (!text)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the table");
    str_appendf(out, "%s\n", text);
    free(text);
    return str_ok(out, err);
}
