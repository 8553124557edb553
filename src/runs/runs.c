#include "src/runs/runs.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/eval/eval_json.h"
#include "src/quant/journal.h"
#include "src/runs/original.h"
#include "src/runs/run_record.h"
#include "src/runs/run_result.h"

int runs_inputs(char out[HASH_HEX_SIZE], const char *model_dir, const char *const *calib,
                size_t calib_count, struct err *err)
{
    struct original_model model;
    struct hash *h = NULL;
    int rc = original_model_read(&model, model_dir, err);
    if (rc == 0)
        rc = hash_new(&h, err);
    if (rc == 0)
        rc = hash_update(h, model.checkpoint, sizeof model.checkpoint, err);
    for (size_t i = 0; rc == 0 && i < calib_count; i++) {
        char content[HASH_HEX_SIZE];
        rc = hash_file(content, calib[i], err);
        if (rc == 0)
            rc = hash_update(h, content, sizeof content, err);
    }
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    return rc;
}

int runs_name(char out[RUNS_NAME_MAX], const struct plan *plan, const char inputs[HASH_HEX_SIZE],
              struct err *err)
{
    struct hash *h = NULL;
    char hex[HASH_HEX_SIZE];
    json_t *settings = NULL;
    int rc = settings_to_json(&settings, &plan->settings, err);
    if (rc < 0)
        return rc;
    char *text = json_dumps(settings, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(settings);
    if (!text)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the name of a run");
    rc = hash_new(&h, err);
    if (rc == 0)
        rc = hash_update(h, text, strlen(text), err);
    if (rc == 0)
        rc = hash_update(h, inputs, strlen(inputs), err);
    if (rc == 0)
        rc = hash_update(h, plan->trace_sha256, sizeof plan->trace_sha256, err);
    for (size_t l = 0; rc == 0 && l < plan->layers_count; l++) {
        const uint8_t *shared = plan->layers[l].shared_bits;
        if (shared[0])
            rc = hash_update(h, shared, PLAN_LINEARS, err);
        for (size_t e = 0; rc == 0 && e < plan->experts; e++) {
            const struct plan_expert *x = &plan->layers[l].experts[e];
            uint64_t parts[3] = {x->bits, x->channels[PLAN_GATE], x->channels[PLAN_DOWN]};
            uint64_t up = x->channels[PLAN_UP];
            rc = hash_update(h, parts, sizeof parts, err);
            if (rc == 0 && up != parts[1])
                rc = hash_update(h, &up, sizeof up, err);
            if (rc == 0 && x->linear_bits[0])
                rc = hash_update(h, x->linear_bits, sizeof x->linear_bits, err);
        }
    }
    if (rc == 0)
        rc = hash_finish(h, hex, err);
    if (rc == 0)
        snprintf(out, RUNS_NAME_MAX, "%s-%.8s", plan->method, hex);
    hash_free(h);
    free(text);
    return rc;
}

void runs_describe_settings(char *out, size_t size, const struct settings *s)
{
    struct settings defaults;
    size_t used = 0;
    settings_defaults(&defaults);
    out[0] = '\0';
    for (size_t i = 0; i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        char value[64], standard[64];
        settings_get(s, info, value, sizeof value);
        settings_get(&defaults, info, standard, sizeof standard);
        if (strcmp(value, standard) != 0 && used < size)
            used += (size_t)snprintf(out + used, size - used, "%s%s=%s", used ? " " : "",
                                     info->name, value);
    }
}

uint64_t runs_folder_bytes(const char *dir)
{
    uint64_t sum = 0;
    DIR *d = opendir(dir);
    if (!d)
        return 0;
    for (struct dirent *entry = readdir(d); entry; entry = readdir(d)) {
        size_t length = strlen(entry->d_name);
        struct stat st;
        if (length > 12 && strcmp(entry->d_name + length - 12, ".safetensors") == 0 &&
            fstatat(dirfd(d), entry->d_name, &st, 0) == 0)
            sum += (uint64_t)st.st_size;
    }
    closedir(d);
    return sum;
}

static size_t count_pins(const struct plan *p)
{
    size_t n = 0;
    for (size_t l = 0; l < p->layers_count; l++)
        for (size_t e = 0; e < p->experts; e++)
            n += p->layers[l].experts[e].pinned;
    return n;
}

/* --- Evaluations --- */

static bool is_same(const struct app_evaluation *a, const struct app_evaluation *b)
{
    return strcmp(a->text, b->text) == 0 && a->window == b->window && a->part == b->part;
}

/* Unless there is one of the same text and windows. */
static void add_evaluation(struct app_result *out, const struct app_evaluation *e)
{
    for (size_t i = 0; i < out->evaluations; i++)
        if (is_same(&out->evaluation[i], e))
            return;
    struct app_evaluation *grown =
        realloc(out->evaluation, (out->evaluations + 1) * sizeof *out->evaluation);
    if (!grown)
        return;
    out->evaluation = grown;
    grown[out->evaluations++] = *e;
}

static struct app_evaluation evaluation_of(const struct perplexity *p, const struct eval_text *text)
{
    bool whole = p->window && p->windows == p->tokens / p->window;
    struct app_evaluation e = {.window = p->window,
                               .windows = p->windows,
                               .part = whole ? 0 : p->windows,
                               .predicted = p->predicted,
                               .perplexity = p->value,
                               .seconds = p->seconds};
    snprintf(e.name, sizeof e.name, "%s", text->name);
    snprintf(e.text, sizeof e.text, "%s", text->sha256);
    return e;
}

static int by_text(const void *p, const void *q)
{
    const struct app_evaluation *a = p, *b = q;
    int order = strcmp(a->name, b->name);
    order = order ? order : strcmp(a->text, b->text);
    order = order ? order : (a->window > b->window) - (a->window < b->window);
    return order ? order : (a->part > b->part) - (a->part < b->part);
}

static void sort_evaluations(struct app_result *out)
{
    if (out->evaluations)
        qsort(out->evaluation, out->evaluations, sizeof *out->evaluation, by_text);
}

/* --- The original --- */

/* The row of a model among those read so far, or a new one at the end. */
static struct app_result *row_of_model(struct app_result *list, size_t *used,
                                       const struct original_model *m)
{
    size_t i = 0;
    while (i < *used && !(list[i].original && strcmp(list[i].checkpoint, m->checkpoint) == 0))
        i++;
    struct app_result *row = &list[i];
    if (i == *used) {
        *row = (struct app_result){.method = "original",
                                   .original = true,
                                   .nominal_bits = m->bits,
                                   .effective_bits = m->bits,
                                   .bytes = m->bytes,
                                   .measure = APP_MEASURE_DONE};
        snprintf(row->checkpoint, sizeof row->checkpoint, "%s", m->checkpoint);
        ++*used;
    }
    if (!row->name[0] || strcmp(m->name, row->name) < 0) /* folders with the same weights */
        snprintf(row->name, sizeof row->name, "%s", m->name);
    return row;
}

/* Nothing if the file is no measurement of this model. */
static void read_original(struct app_result *list, size_t *used, const char *path,
                          const char *config_sha256, const char *checkpoint)
{
    struct original o;
    struct stat st;
    if (stat(path, &st) < 0 || original_load(&o, path, NULL) < 0 ||
        strcmp(o.model.config_sha256, config_sha256) != 0 ||
        (checkpoint && strcmp(o.model.checkpoint, checkpoint) != 0))
        return;
    struct app_result *row = row_of_model(list, used, &o.model);
    struct app_evaluation e = evaluation_of(&o.perplexity, &o.text);
    add_evaluation(row, &e);
    row->finished = st.st_mtim.tv_sec > row->finished ? st.st_mtim.tv_sec : row->finished;
}

/* --- Runs --- */

static bool is_there(const char *dir, const char *name, struct stat *st)
{
    char *path = str_path(dir, name, NULL);
    bool found = path && stat(path, st) == 0;
    free(path);
    return found;
}

int runs_plan(struct plan *out, const char *dir, struct err *err)
{
    struct stat st;
    bool finished = is_there(dir, "config.json", &st) || is_there(dir, RUN_RESULT_FILE, &st);
    const char *name = finished ? "moqa_plan.json" : ".moqa/plan.json";
    char *path = str_path(dir, name, err);
    int rc = path ? plan_load(out, path, err) : ERR_NOMEM;
    free(path);
    return rc;
}

static void take_plan(struct app_result *out, const char *dir, const struct plan *plan)
{
    snprintf(out->name, sizeof out->name, "%s", dir);
    snprintf(out->method, sizeof out->method, "%s", plan->method);
    out->nominal_bits = plan->summary.nominal_bits;
    out->effective_bits = plan->summary.effective_bits;
    runs_describe_settings(out->settings, sizeof out->settings, &plan->settings);
    out->has_values = true;
    out->values = plan->settings;
    out->pins = count_pins(plan);
}

/* As the result tells it, or the record of the job that wrote the folder. */
static void take_pass_seconds(struct app_result *out, const char *dir,
                              const struct run_result *kept)
{
    char absolute[sizeof out->name + 4096], *place = NULL;
    struct run_record record;
    if (kept) {
        out->pass_seconds = kept->has_seconds ? kept->seconds : 0;
    } else if (!out->unfinished && run_record_absolute(absolute, sizeof absolute, dir, NULL) == 0 &&
               run_record_place(&place, absolute, NULL) == 0 &&
               run_record_load(&record, place, NULL) == 0) {
        out->pass_seconds = record.run.pass_seconds;
        run_record_release(&record);
    }
    free(place);
}

/* Finished: since when, and how large it is, or was before its weights were removed. kept: its
 * result, or NULL. */
static void take_end(struct app_result *out, const char *dir, const struct run_result *kept)
{
    struct stat st;
    if (is_there(dir, "config.json", &st))
        out->bytes = runs_folder_bytes(dir);
    else if (kept && is_there(dir, RUN_RESULT_FILE, &st))
        out->bytes = kept->bytes;
    else
        out->unfinished = true;
    out->running = out->unfinished && journal_is_locked(dir);
    take_pass_seconds(out, dir, kept);
    out->finished = out->unfinished ? 0 : (int64_t)st.st_mtim.tv_sec;
}

/* What a job has evaluated. An older version did not tell of which text; where the result has just
 * this value, it is that. */
static void take_job_evaluation(struct app_result *out, const char *dir)
{
    struct perplexity p;
    struct eval_text text;
    char *path = str_path(dir, EVAL_JSON_FILE, NULL);
    bool known = !path || eval_json_load(&p, &text, path, NULL) < 0;
    for (size_t i = 0; !known && i < out->evaluations && !text.sha256[0]; i++)
        known = out->evaluation[i].perplexity == p.value && out->evaluation[i].window == p.window;
    if (!known) {
        struct app_evaluation e = evaluation_of(&p, &text);
        add_evaluation(out, &e);
    }
    free(path);
}

static void take_evaluations(struct app_result *out, const char *dir, const struct run_result *kept)
{
    for (size_t i = 0; i < kept->texts; i++) {
        struct app_evaluation e = evaluation_of(&kept->text[i].perplexity, &kept->text[i].text);
        e.has_divergence = kept->text[i].has_divergence;
        e.divergence = kept->text[i].divergence.mean;
        e.divergence_error = kept->text[i].divergence.error;
        add_evaluation(out, &e);
    }
    take_job_evaluation(out, dir);
    sort_evaluations(out);
}

/* False if the folder is no run of this model. */
static bool read_run(struct app_result *out, const char *dir, const char *config_sha256)
{
    struct plan plan = {0};
    struct run_result kept = {0};
    bool found = runs_plan(&plan, dir, NULL) == 0 && strcmp(plan.config_sha256, config_sha256) == 0;
    if (found) {
        *out = (struct app_result){0};
        bool known = run_result_load(&kept, dir, NULL) == 0;
        take_plan(out, dir, &plan);
        take_end(out, dir, known ? &kept : NULL);
        if (!out->unfinished)
            take_evaluations(out, dir, &kept);
    }
    run_result_release(&kept);
    plan_release(&plan);
    return found;
}

static int by_name(const void *a, const void *b)
{
    const struct app_result *x = a, *y = b;
    if (x->original != y->original)
        return x->original ? -1 : 1;
    int order = strcmp(x->name, y->name);
    return order ? order : strcmp(x->checkpoint, y->checkpoint);
}

int runs_list(struct app_result **out, size_t *count, const char *dir, const char *config_sha256,
              const char *checkpoint, struct err *err)
{
    struct app_result *list = NULL;
    size_t used = 0, capacity = 0;
    int rc = 0;
    DIR *d = opendir(dir);
    *out = NULL;
    *count = 0;
    if (!d)
        return 0; /* no run yet */
    for (struct dirent *entry = readdir(d); entry && rc == 0; entry = readdir(d)) {
        if (entry->d_name[0] == '.')
            continue;
        char *path = str_path(dir, entry->d_name, err);
        rc = path ? mem_grow((void **)&list, &capacity, used + 1, sizeof *list, err) : ERR_NOMEM;
        if (rc == 0 && original_is_record(entry->d_name))
            read_original(list, &used, path, config_sha256, checkpoint);
        else if (rc == 0)
            used += read_run(&list[used], path, config_sha256);
        free(path);
    }
    closedir(d);
    if (rc < 0) {
        runs_free(list, used);
        return rc;
    }
    for (size_t i = 0; i < used; i++)
        if (list[i].original)
            sort_evaluations(&list[i]);
    if (used)
        qsort(list, used, sizeof *list, by_name);
    *out = list;
    *count = used;
    return 0;
}

void runs_free(struct app_result *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        free(list[i].evaluation);
    free(list);
}
