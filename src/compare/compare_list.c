/* The runs of a comparison, and which of them are there: what --dry-run prints. */
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/unicode.h"
#include "src/compare/compare_data.h"
#include "src/compare/compare_internal.h"
#include "src/compare/compare_print.h"

enum { VERSION = 1 };

enum state { KEPT, TO_EVALUATE, TO_DO, SAME, UNKNOWN };
static const char *const names[] = {
    [KEPT] = "kept", [TO_EVALUATE] = "to evaluate", [TO_DO] = "to do",
    [SAME] = "same", [UNKNOWN] = "unknown",
};

static enum state state_of(const struct compare *c, const struct compare_job *j)
{
    if (!j->planned)
        return UNKNOWN;
    if (!compare_is_first(c, j))
        return SAME;
    if (compare_kept_missing(c, j) == 0)
        return KEPT;
    return compare_kept_needs_pass(c, j) || !j->has_result ? TO_DO : TO_EVALUATE;
}

static const struct compare_row *row_of(const struct compare *c, const struct compare_job *j)
{
    return &c->result.row[j->row];
}

static uint64_t seed_of(const struct compare *c, const struct compare_job *j)
{
    return row_of(c, j)->cell[j->cell].seed;
}

/* --- Text --- */

static void append_seed(struct str *out, const struct compare *c, const struct compare_job *j)
{
    char seed[32] = "-";
    if (row_of(c, j)->drawn)
        snprintf(seed, sizeof seed, "%llu", (unsigned long long)seed_of(c, j));
    str_appendf(out, "  %6s", seed);
}

/* "kept", "to evaluate (1 of 3 kept)", "same as gptq-3, seed 2" */
static void append_state(struct str *out, const struct compare *c, const struct compare_job *j)
{
    const struct compare_job *first = &c->job[j->same];
    size_t all = compare_kept_evaluations(c, j), missing = compare_kept_missing(c, j);
    enum state s = state_of(c, j);
    str_appendf(out, "  %s", names[s]);
    if (s == TO_EVALUATE || (s == TO_DO && missing < all))
        str_appendf(out, " (%zu of %zu evaluations kept)", all - missing, all);
    if (s == UNKNOWN)
        str_append(out, ": its plan needs losses that are not measured yet");
    if (s != SAME)
        return;
    str_appendf(out, " as %s", row_of(c, first)->name);
    if (row_of(c, first)->bits > 0)
        str_appendf(out, " at %g bits", row_of(c, first)->bits);
    if (row_of(c, first)->drawn)
        str_appendf(out, ", seed %llu", (unsigned long long)seed_of(c, first));
}

static size_t name_width(const struct compare *c)
{
    size_t width = strlen("method");
    for (size_t i = 0; i < c->result.rows; i++) {
        size_t n = unicode_length(c->result.row[i].name);
        width = n > width ? n : width;
    }
    return width;
}

static void append_padded(struct str *out, const char *text, size_t width)
{
    str_append(out, text);
    for (size_t n = unicode_length(text); n < width; n++)
        str_append(out, " ");
}

static void print_text(struct str *out, const struct compare *c)
{
    size_t width = name_width(c);
    append_padded(out, "method", width);
    str_append(out, "    bits    seed  run\n");
    for (size_t i = 0; i < c->jobs; i++) {
        const struct compare_job *j = &c->job[i];
        const struct compare_row *row = row_of(c, j);
        append_padded(out, row->name, width);
        if (row->bits > 0)
            str_appendf(out, "  %6g", row->bits);
        else
            str_append(out, "       -");
        append_seed(out, c, j);
        append_state(out, c, j);
        str_append(out, "\n");
    }
    str_append(out, "\n");
    compare_describe_cost(out, c);
    str_append(out, "\n");
}

/* --- JSON --- */

static int set(json_t *object, const char *key, json_t *value)
{
    return json_object_set_new(object, key, value);
}

static json_t *job_json(const struct compare *c, const struct compare_job *j)
{
    const struct compare_row *row = row_of(c, j);
    const struct compare_job *first = &c->job[j->same];
    size_t all = compare_kept_evaluations(c, first), missing = compare_kept_missing(c, first);
    json_t *o = json_object();
    int failed = set(o, "method", json_string(row->name));
    failed |= set(o, "base_method", json_string(row->method->info->name));
    failed |= set(o, "bits", row->bits > 0 ? json_real(row->bits) : json_null());
    failed |= set(o, "seed", row->drawn ? compare_seed_json(seed_of(c, j)) : json_null());
    failed |= set(o, "state", json_string(names[state_of(c, j)]));
    failed |= set(o, "folder", j->planned ? json_string(row->cell[j->cell].folder) : json_null());
    failed |= set(o, "pass", json_boolean(compare_kept_needs_pass(c, first)));
    failed |= set(o, "evaluations", json_integer((json_int_t)all));
    failed |= set(o, "evaluations_kept", json_integer((json_int_t)(all - missing)));
    if (!failed)
        return o;
    json_decref(o);
    return NULL;
}

static json_t *cost_json(const struct compare *c)
{
    struct compare_cost n = compare_cost(c);
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "runs", (json_int_t)n.runs, "runs_kept",
                     (json_int_t)n.runs_kept, "evaluations", (json_int_t)n.evaluations,
                     "evaluations_kept", (json_int_t)n.evaluations_kept, "passes",
                     (json_int_t)n.passes, "losses", (json_int_t)n.losses, "unknown",
                     (json_int_t)n.unknown);
}

static int print_json(struct str *out, const struct compare *c, struct err *err)
{
    json_t *root =
        json_pack("{s:s, s:i}", "schema", "moqa.comparison_runs", "schema_version", VERSION);
    json_t *runs = json_array();
    int failed = 0;
    for (size_t i = 0; i < c->jobs; i++)
        failed |= json_array_append_new(runs, job_json(c, &c->job[i]));
    failed |= set(root, "runs_folder", jsonio_bytes(c->o.runs_dir));
    failed |= set(root, "runs", runs);
    failed |= set(root, "cost", cost_json(c));
    char *text = failed ? NULL : json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(root);
    if (!text)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the list");
    str_appendf(out, "%s\n", text);
    free(text);
    return 0;
}

int compare_print_runs(struct str *out, const struct compare *c, bool json, struct err *err)
{
    int rc = 0;
    if (json)
        rc = print_json(out, c, err);
    else
        print_text(out, c);
    return rc == 0 ? str_ok(out, err) : rc;
}
