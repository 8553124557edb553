#include "src/eval/task.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/clock.h"
#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/eval/task_prompts.h"

enum { VERSION = 1 };

static const size_t file_limit = (size_t)256 << 20;

static const struct task_info tasks[] = {
    {"arc_easy", "id, question, choices {text, label}, answerKey", true, true, false,
     task_read_arc},
    {"arc_challenge", "as arc_easy", true, true, false, task_read_arc},
    {"piqa", "goal, sol1, sol2, label", true, true, false, task_read_piqa},
    {"rte", "sentence1, sentence2, label", true, false, false, task_read_rte},
    {"copa", "premise, choice1, choice2, question, label", true, false, false, task_read_copa},
    {"cb", "premise, hypothesis, label", true, false, true, task_read_cb},
    {"pairs", "context, continuation: log-likelihoods of your own texts", false, false, false,
     task_read_pair},
};

size_t task_count(void)
{
    return sizeof tasks / sizeof *tasks;
}

const struct task_info *task_info(size_t i)
{
    return &tasks[i];
}

const struct task_info *task_find(const char *name)
{
    for (size_t i = 0; i < task_count(); i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}

/* --- Data --- */

static void release_item(struct task_item *item)
{
    for (size_t i = 0; i < item->count; i++)
        free(item->choices[i].continuation);
    free(item->choices);
    free(item->context);
    *item = (struct task_item){0};
}

void task_release(struct task *t)
{
    for (size_t i = 0; i < t->count; i++)
        release_item(&t->items[i]);
    free(t->items);
    *t = (struct task){0};
}

static int read_line(struct task_item *item, const struct task_info *info, const char *text,
                     size_t size, struct err *err)
{
    json_t *line = NULL;
    int rc = jsonio_parse(&line, text, size, NULL, err);
    if (rc == 0 && !json_is_object(line))
        rc = err_set(err, ERR_INPUT, NULL, "found no object, expected one with %s", info->help);
    if (rc == 0)
        rc = info->read(item, line, err);
    json_decref(line);
    return rc;
}

static size_t count_lines(const char *text, size_t size)
{
    size_t lines = 1;
    for (const char *at = text; (at = memchr(at, '\n', size - (size_t)(at - text))); at++)
        lines++;
    return lines;
}

static bool is_empty(const char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!strchr(" \t\r", text[i]) || !text[i])
            return false;
    return true;
}

static int read_lines(struct task *t, const char *text, size_t size, const char *path,
                      struct err *err)
{
    size_t number = 1;
    t->items = mem_array(count_lines(text, size), sizeof *t->items, err);
    if (!t->items)
        return ERR_NOMEM;
    for (size_t at = 0; at < size; number++) {
        const char *end = memchr(text + at, '\n', size - at);
        size_t length = end ? (size_t)(end - text) - at : size - at;
        struct err inner = {0};
        if (!is_empty(text + at, length)) {
            int rc = read_line(&t->items[t->count++], t->info, text + at, length, &inner);
            if (rc < 0)
                return err_set(err, (enum err_code)rc, path, "line %zu: %s", number, inner.message);
        }
        at += length + 1;
    }
    if (t->count == 0)
        return err_set(err, ERR_INPUT, path, "has no line, expected one or more with %s",
                       t->info->help);
    return 0;
}

int task_load(struct task *out, const struct task_info *info, const char *path, struct err *err)
{
    char *text = NULL;
    size_t size;
    *out = (struct task){.info = info};
    int rc = str_read_file(&text, &size, path, file_limit, err);
    if (rc == 0)
        rc = read_lines(out, text, size, path, err);
    free(text);
    if (rc < 0)
        task_release(out);
    return rc;
}

/* --- Scores --- */

static void predict(struct task_item *item)
{
    double best = -INFINITY, best_norm = -INFINITY;
    for (size_t i = 0; i < item->count; i++) {
        const struct task_choice *c = &item->choices[i];
        double norm = c->result.value / (c->characters ? (double)c->characters : 1);
        if (c->result.value > best) {
            best = c->result.value;
            item->predicted = i;
        }
        if (norm > best_norm) {
            best_norm = norm;
            item->predicted_norm = i;
        }
    }
}

static void mean_of(double *mean, double *error, size_t right, size_t n)
{
    *mean = (double)right / (double)n;
    *error = n > 1 ? sqrt(*mean * (1 - *mean) / (double)(n - 1)) : 0;
}

/* 2 TP / (2 TP + FP + FN) of each label, 0 where that is 0/0; their plain mean. */
static double mean_f1(const struct task *t, size_t labels)
{
    double sum = 0;
    for (size_t label = 0; label < labels; label++) {
        size_t both = 0, either = 0;
        for (size_t i = 0; i < t->count; i++) {
            both += t->items[i].right == label && t->items[i].predicted == label;
            either += (t->items[i].right == label) + (t->items[i].predicted == label);
        }
        sum += either ? 2 * (double)both / (double)either : 0;
    }
    return sum / (double)labels;
}

static void score(struct task *t)
{
    size_t right = 0, right_norm = 0;
    for (size_t i = 0; i < t->count; i++) {
        predict(&t->items[i]);
        right += t->items[i].predicted == t->items[i].right;
        right_norm += t->items[i].predicted_norm == t->items[i].right;
    }
    mean_of(&t->acc, &t->acc_error, right, t->count);
    mean_of(&t->acc_norm, &t->acc_norm_error, right_norm, t->count);
    if (t->info->has_f1)
        t->f1 = mean_f1(t, t->items[0].count);
}

int task_run(struct task *t, const struct model *m, struct backend *b, struct progress *progress,
             struct err *err)
{
    double started = clock_seconds();
    size_t count = 0, at = 0;
    for (size_t i = 0; i < t->count; i++)
        count += t->items[i].count;
    struct loglikelihood_pair *pairs = mem_array(count, sizeof *pairs, err);
    struct loglikelihood *results = mem_array(count, sizeof *results, err);
    int rc = pairs && results ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < t->count; i++)
        for (size_t c = 0; c < t->items[i].count; c++)
            pairs[at++] = (struct loglikelihood_pair){t->items[i].context,
                                                      t->items[i].choices[c].continuation};
    if (rc == 0)
        rc = loglikelihood_run(results, m, b, pairs, count, progress, err);
    at = 0;
    for (size_t i = 0; rc == 0 && i < t->count; i++)
        for (size_t c = 0; c < t->items[i].count; c++)
            t->items[i].choices[c].result = results[at++];
    if (rc == 0)
        score(t);
    t->seconds = clock_seconds() - started;
    free(pairs);
    free(results);
    return rc;
}

/* --- JSON --- */

static json_t *item_json(const struct task *t, size_t index)
{
    const struct task_item *item = &t->items[index];
    json_t *choices = json_array();
    for (size_t i = 0; i < item->count; i++) {
        const struct task_choice *c = &item->choices[i];
        json_array_append_new(choices,
                              json_pack("{s:s, s:s, s:f, s:I, s:I}", "context", item->context,
                                        "continuation", c->continuation, "loglikelihood",
                                        c->result.value, "tokens", (json_int_t)c->result.tokens,
                                        "characters", (json_int_t)c->characters));
    }
    json_t *object = json_pack("{s:I}", "index", (json_int_t)index);
    if (t->info->scored) {
        json_object_set_new(object, "right", json_integer((json_int_t)item->right));
        json_object_set_new(object, "predicted", json_integer((json_int_t)item->predicted));
    }
    if (t->info->has_norm)
        json_object_set_new(object, "predicted_norm",
                            json_integer((json_int_t)item->predicted_norm));
    json_object_set_new(object, "choices", choices);
    return object;
}

static int set_all(json_t *object, const struct task *t, bool details)
{
    int rc = 0;
    if (t->info->scored) {
        rc |= json_object_set_new(object, "acc", json_real(t->acc));
        rc |= json_object_set_new(object, "acc_stderr", json_real(t->acc_error));
    }
    if (t->info->has_norm) {
        rc |= json_object_set_new(object, "acc_norm", json_real(t->acc_norm));
        rc |= json_object_set_new(object, "acc_norm_stderr", json_real(t->acc_norm_error));
    }
    if (t->info->has_f1)
        rc |= json_object_set_new(object, "f1", json_real(t->f1));
    rc |= json_object_set_new(object, "seconds", json_real(t->seconds));
    if (!details)
        return rc;
    json_t *items = json_array();
    for (size_t i = 0; i < t->count; i++)
        rc |= json_array_append_new(items, item_json(t, i));
    return rc | json_object_set_new(object, "items", items);
}

int task_json(json_t **out, const struct task *t, bool details, struct err *err)
{
    *out = json_pack("{s:s, s:i, s:s, s:I}", "schema", "moqa.eval", "schema_version", VERSION,
                     "task", t->info->name, "n", (json_int_t)t->count);
    if (*out && set_all(*out, t, details) == 0)
        return 0;
    json_decref(*out);
    *out = NULL;
    return err_set(err, ERR_NOMEM, NULL, "no memory for the result");
}
