#include "src/runs/run_result.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/eval/eval_json.h"

enum { VERSION = 1, FILE_LIMIT = 16 << 20 };
static const char schema[] = "moqa.result";

void run_result_release(struct run_result *r)
{
    free(r->text);
    free(r->task);
    *r = (struct run_result){0};
}

static struct run_result_text *find_text(const struct run_result *r, const char *sha256,
                                         size_t window, size_t windows)
{
    for (size_t i = 0; i < r->texts; i++) {
        const struct perplexity *p = &r->text[i].perplexity;
        if (strcmp(r->text[i].text.sha256, sha256) == 0 && p->window == window &&
            p->windows == windows)
            return &r->text[i];
    }
    return NULL;
}

const struct perplexity *run_result_text(const struct run_result *r, const char *sha256,
                                         size_t window, size_t windows)
{
    const struct run_result_text *t = find_text(r, sha256, window, windows);
    return t ? &t->perplexity : NULL;
}

const struct divergence *run_result_divergence(const struct run_result *r, const char *sha256,
                                               size_t window, size_t windows)
{
    const struct run_result_text *t = find_text(r, sha256, window, windows);
    return t && t->has_divergence ? &t->divergence : NULL;
}

const struct run_result_task *run_result_task(const struct run_result *r, const char *name,
                                              const char *sha256)
{
    for (size_t i = 0; i < r->tasks; i++)
        if (strcmp(r->task[i].name, name) == 0 && strcmp(r->task[i].sha256, sha256) == 0)
            return &r->task[i];
    return NULL;
}

int run_result_add_text(struct run_result *r, const struct eval_text *text,
                        const struct perplexity *p, struct err *err)
{
    int rc = mem_grow((void **)&r->text, &r->texts_capacity, r->texts + 1, sizeof *r->text, err);
    if (rc < 0)
        return rc;
    r->text[r->texts++] = (struct run_result_text){.text = *text, .perplexity = *p};
    return 0;
}

void run_result_set_divergence(struct run_result *r, const char *sha256, const struct divergence *d)
{
    struct run_result_text *t = find_text(r, sha256, d->window, d->windows);
    if (!t)
        return;
    t->has_divergence = true;
    t->divergence = *d;
}

int run_result_add_task(struct run_result *r, const char *sha256, const struct task *t,
                        struct err *err)
{
    int rc = mem_grow((void **)&r->task, &r->tasks_capacity, r->tasks + 1, sizeof *r->task, err);
    if (rc < 0)
        return rc;
    struct run_result_task *x = &r->task[r->tasks++];
    *x = (struct run_result_task){.questions = t->count,
                                  .acc = t->acc,
                                  .has_norm = t->info->has_norm,
                                  .acc_norm = t->acc_norm,
                                  .seconds = t->seconds};
    snprintf(x->name, sizeof x->name, "%s", t->info->name);
    snprintf(x->sha256, sizeof x->sha256, "%s", sha256);
    return 0;
}

/* --- Writing --- */

static int append_texts(json_t *list, const struct run_result *r, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < r->texts; i++) {
        json_t *evaluation = NULL;
        rc = eval_json(&evaluation, &r->text[i].perplexity, &r->text[i].text, err);
        if (rc == 0 && r->text[i].has_divergence)
            rc = eval_json_add_divergence(evaluation, &r->text[i].divergence, err);
        if (rc < 0) {
            json_decref(evaluation);
            return rc;
        }
        if (json_array_append_new(list,
                                  json_pack("{s:s, s:o}", "text_sha256", r->text[i].text.sha256,
                                            "evaluation", evaluation)) < 0)
            rc = err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    }
    return rc;
}

static json_t *task_object(const struct run_result_task *t)
{
    json_t *o = json_pack("{s:s, s:s, s:I, s:f}", "task", t->name, "data_sha256", t->sha256, "n",
                          (json_int_t)t->questions, "acc", t->acc);
    if (o && t->has_norm)
        json_object_set_new(o, "acc_norm", json_real(t->acc_norm));
    if (o)
        json_object_set_new(o, "seconds", json_real(t->seconds));
    return o;
}

static int append_tasks(json_t *list, const struct run_result *r, struct err *err)
{
    for (size_t i = 0; i < r->tasks; i++)
        if (json_array_append_new(list, task_object(&r->task[i])) < 0)
            return err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    return 0;
}

int run_result_save(const struct run_result *r, const char *dir, struct err *err)
{
    char *path = str_path(dir, RUN_RESULT_FILE, err);
    json_t *texts = json_array(), *tasks = json_array();
    json_t *root =
        json_pack("{s:s, s:i, s:s, s:s, s:s, s:f, s:f, s:I, s:I}", "schema", schema,
                  "schema_version", VERSION, "key", r->key, "program_sha256", r->program, "method",
                  r->method, "nominal_bits", r->nominal_bits, "effective_bits", r->effective_bits,
                  "bytes", (json_int_t)r->bytes, "experts_bytes", (json_int_t)r->experts_bytes);
    int rc = path ? 0 : ERR_NOMEM;
    if (rc == 0 && (!texts || !tasks || !root))
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    if (rc == 0)
        rc = append_texts(texts, r, err);
    if (rc == 0)
        rc = append_tasks(tasks, r, err);
    if (rc == 0 &&
        (json_object_set_new(root, "seconds",
                             r->has_seconds ? json_real(r->seconds) : json_null()) |
         json_object_set(root, "texts", texts) | json_object_set(root, "tasks", tasks)) < 0)
        rc = err_set(err, ERR_NOMEM, NULL, "no memory for the result");
    if (rc == 0)
        rc = jsonio_save(root, path, err);
    json_decref(root);
    json_decref(texts);
    json_decref(tasks);
    free(path);
    return rc;
}

/* --- Reading --- */

static int read_texts(struct run_result *r, const json_t *list, const char *file, struct err *err)
{
    struct jsonio_at at = {file, "texts[]"};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        const json_t *object = json_array_get(list, i);
        struct perplexity p;
        struct divergence d;
        struct eval_text text;
        json_t *evaluation;
        bool has_divergence = false;
        rc = jsonio_object(&evaluation, object, "evaluation", at, err);
        if (rc == 0)
            rc = eval_json_read(&p, &text, evaluation, file, err);
        if (rc == 0)
            rc = eval_json_read_divergence(&d, &has_divergence, &p, evaluation, file, err);
        if (rc == 0)
            rc = jsonio_text(text.sha256, sizeof text.sha256, object, "text_sha256", at, err);
        if (rc == 0)
            rc = run_result_add_text(r, &text, &p, err);
        if (rc == 0 && has_divergence)
            run_result_set_divergence(r, text.sha256, &d);
    }
    return rc;
}

static int read_task(struct run_result_task *t, const json_t *object, const char *file,
                     struct err *err)
{
    struct jsonio_at at = {file, "tasks[]"};
    *t = (struct run_result_task){.has_norm = jsonio_has(object, "acc_norm")};
    int rc = jsonio_text(t->name, sizeof t->name, object, "task", at, err);
    if (rc == 0)
        rc = jsonio_text(t->sha256, sizeof t->sha256, object, "data_sha256", at, err);
    if (rc == 0)
        rc = jsonio_size(&t->questions, object, "n", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_real(&t->acc, object, "acc", at, err);
    if (rc == 0 && t->has_norm)
        rc = jsonio_real(&t->acc_norm, object, "acc_norm", at, err);
    if (rc == 0)
        rc = jsonio_real(&t->seconds, object, "seconds", at, err);
    return rc;
}

static int read_tasks(struct run_result *r, const json_t *list, const char *file, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < json_array_size(list); i++) {
        rc = mem_grow((void **)&r->task, &r->tasks_capacity, r->tasks + 1, sizeof *r->task, err);
        if (rc == 0)
            rc = read_task(&r->task[r->tasks++], json_array_get(list, i), file, err);
    }
    return rc;
}

static int read_root(struct run_result *r, const json_t *root, const char *file, struct err *err)
{
    struct jsonio_at at = {file, ""};
    json_t *texts, *tasks;
    size_t bytes = 0, experts = 0;
    int rc = jsonio_check_schema(root, schema, VERSION, file, err);
    if (rc == 0)
        rc = jsonio_text(r->key, sizeof r->key, root, "key", at, err);
    if (rc == 0)
        rc = jsonio_text(r->program, sizeof r->program, root, "program_sha256", at, err);
    if (rc == 0)
        rc = jsonio_text(r->method, sizeof r->method, root, "method", at, err);
    if (rc == 0)
        rc = jsonio_real(&r->nominal_bits, root, "nominal_bits", at, err);
    if (rc == 0)
        rc = jsonio_real(&r->effective_bits, root, "effective_bits", at, err);
    if (rc == 0)
        rc = jsonio_size(&bytes, root, "bytes", SIZE_MAX, at, err);
    if (rc == 0)
        rc = jsonio_size(&experts, root, "experts_bytes", SIZE_MAX, at, err);
    r->has_seconds = jsonio_has(root, "seconds");
    if (rc == 0 && r->has_seconds)
        rc = jsonio_real(&r->seconds, root, "seconds", at, err);
    if (rc == 0)
        rc = jsonio_array(&texts, root, "texts", at, err);
    if (rc == 0)
        rc = read_texts(r, texts, file, err);
    if (rc == 0)
        rc = jsonio_array(&tasks, root, "tasks", at, err);
    if (rc == 0)
        rc = read_tasks(r, tasks, file, err);
    r->bytes = bytes;
    r->experts_bytes = experts;
    return rc;
}

int run_result_load(struct run_result *out, const char *dir, struct err *err)
{
    json_t *root = NULL;
    *out = (struct run_result){0};
    char *path = str_path(dir, RUN_RESULT_FILE, err);
    int rc = path ? jsonio_load(&root, path, FILE_LIMIT, err) : ERR_NOMEM;
    if (rc == 0)
        rc = read_root(out, root, path, err);
    if (rc < 0)
        run_result_release(out);
    json_decref(root);
    free(path);
    return rc;
}
