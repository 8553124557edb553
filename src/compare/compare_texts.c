#include "src/compare/compare_texts.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/mem.h"
#include "data/base/sanitize.h"
#include "data/base/str.h"
#include "src/model/texts.h"

static const char ending[] = ".txt";

static int add_path(struct compare_text *t, const char *path, size_t length, struct err *err)
{
    char **grown = realloc(t->paths, (t->count + 1) * sizeof *grown);
    if (!grown)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the names of texts");
    t->paths = grown;
    char *copy = mem_array(length + 1, 1, err);
    if (!copy)
        return ERR_NOMEM;
    memcpy(copy, path, length);
    t->paths[t->count++] = copy;
    return 0;
}

static int is_text(const struct dirent *entry)
{
    size_t length = strlen(entry->d_name), ends = sizeof ending - 1;
    return entry->d_name[0] != '.' && length > ends &&
           strcmp(entry->d_name + length - ends, ending) == 0;
}

/* By bytes, not by the locale: the same order everywhere. */
static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int add_folder(struct compare_text *t, const char *dir, struct err *err)
{
    struct dirent **list = NULL;
    int n = scandir(dir, &list, is_text, by_bytes), rc = 0;
    if (n < 0)
        return err_set_errno(err, ERR_IO, dir, "cannot read the folder");
    for (int i = 0; i < n; i++) {
        char *path = rc == 0 ? str_path(dir, list[i]->d_name, err) : NULL;
        rc = rc < 0 ? rc : path ? add_path(t, path, strlen(path), err) : ERR_NOMEM;
        free(path);
        free(list[i]);
    }
    free(list);
    if (rc == 0 && n == 0)
        rc = err_set(err, ERR_INPUT, dir, "holds no .txt file");
    return rc;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static int add_file_or_folder(struct compare_text *t, const char *path, size_t length,
                              struct err *err)
{
    int rc = add_path(t, path, length, err);
    if (rc < 0 || !is_folder(t->paths[t->count - 1]))
        return rc;
    char *dir = t->paths[--t->count];
    rc = add_folder(t, dir, err);
    free(dir);
    return rc;
}

static int refuse_text(const char *word, const char *why, struct err *err)
{
    return err_set(err, ERR_USAGE, NULL, "--text: found \"%.200s\": %s", word, why);
}

/* The length of NAME in "NAME=FILE"; 0: the word is a path. */
static size_t name_length(const char *word)
{
    size_t length = strcspn(word, "=/");
    return word[length] == '=' ? length : 0;
}

static int parse_text(struct compare_text *t, const char *word, struct err *err)
{
    size_t length = name_length(word);
    const char *at = length ? word + length + 1 : word;
    int rc = 0;
    if (length) {
        sanitize(t->text.name, sizeof t->text.name, word, length);
    } else {
        size_t end = strlen(word);
        while (end > 1 && word[end - 1] == '/')
            end--;
        size_t begin = end;
        while (begin > 0 && word[begin - 1] != '/')
            begin--;
        length = end - begin;
        sanitize(t->text.name, sizeof t->text.name, word + begin, length);
        return length >= sizeof t->text.name
                   ? refuse_text(word, "the name is too long; give it one: NAME=FILE", err)
                   : add_file_or_folder(t, word, strlen(word), err);
    }
    if (length >= sizeof t->text.name)
        return refuse_text(word, "the name is too long", err);
    while (rc == 0) {
        size_t end = strcspn(at, ",");
        rc = end ? add_file_or_folder(t, at, end, err)
                 : refuse_text(word, "expected NAME=FILE[,FILE...]", err);
        if (!at[end])
            break;
        at += end + 1;
    }
    return rc;
}

static int parse_task(struct compare_task *t, const char *word, struct err *err)
{
    char name[EVAL_TEXT_NAME_MAX];
    size_t length = name_length(word);
    struct str known = {0};
    snprintf(name, sizeof name, "%.*s", (int)length, word);
    t->info = length < sizeof name ? task_find(name) : NULL;
    t->path = word + length + 1;
    if (length && t->info && t->info->scored && *t->path)
        return 0;
    for (size_t i = 0; i < task_count(); i++)
        if (task_info(i)->scored)
            str_appendf(&known, "%s%s", i ? ", " : "", task_info(i)->name);
    int rc = err_set(err, ERR_USAGE, NULL,
                     "--task: found \"%.200s\", expected NAME=FILE with NAME one of %s", word,
                     str_get(&known));
    str_release(&known);
    return rc;
}

static int check_names(const struct compare_texts *t, struct err *err)
{
    for (size_t i = 0; i < t->texts; i++)
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->text[i].text.name, t->text[k].text.name) == 0)
                return err_set(err, ERR_USAGE, NULL,
                               "--text: two texts are called \"%s\"; give them names: NAME=FILE",
                               t->text[i].text.name);
    for (size_t i = 0; i < t->tasks; i++)
        for (size_t k = 0; k < i; k++)
            if (t->task[i].info == t->task[k].info)
                return err_set(err, ERR_USAGE, NULL, "--task: found %s twice",
                               t->task[i].info->name);
    return 0;
}

int compare_texts_parse(struct compare_texts *out, const char *const *texts, size_t texts_count,
                        const char *const *tasks, size_t tasks_count, struct err *err)
{
    int rc = 0;
    *out = (struct compare_texts){0};
    out->text = mem_array(texts_count, sizeof *out->text, err);
    out->task = mem_array(tasks_count, sizeof *out->task, err);
    if (!out->text || !out->task)
        rc = ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < texts_count; i++)
        rc = parse_text(&out->text[out->texts++], texts[i], err);
    for (size_t i = 0; rc == 0 && i < tasks_count; i++)
        rc = parse_task(&out->task[out->tasks++], tasks[i], err);
    if (rc == 0)
        rc = check_names(out, err);
    if (rc < 0)
        compare_texts_release(out);
    return rc;
}

static int load_text(struct compare_text *t, const struct model *m, size_t window, size_t samples,
                     struct err *err)
{
    const char *const *paths = (const char *const *)t->paths;
    int rc = eval_text_hash(t->text.sha256, checkpoint_dir(m->checkpoint), paths, t->count, err);
    if (rc == 0)
        rc = texts_encode(&t->ids, m->tokenizer, paths, t->count, err);
    if (rc < 0)
        return rc;
    t->windows = t->ids.count / window;
    if (t->windows == 0)
        return err_set(err, ERR_INPUT, t->paths[0],
                       "text \"%s\" has %zu tokens, fewer than one window of %zu", t->text.name,
                       t->ids.count, window);
    t->windows = samples && samples < t->windows ? samples : t->windows;
    return 0;
}

int compare_texts_load(struct compare_texts *t, const struct model *m, size_t window,
                       size_t samples, struct err *err)
{
    int rc = 0;
    t->window = window;
    if (!m->tokenizer)
        return err_set(err, ERR_INPUT, checkpoint_dir(m->checkpoint),
                       "has no tokenizer.json, which the texts to evaluate on need");
    for (size_t i = 0; rc == 0 && i < t->texts; i++)
        rc = load_text(&t->text[i], m, window, samples, err);
    for (size_t i = 0; rc == 0 && i < t->tasks; i++)
        rc = eval_text_hash(t->task[i].sha256, checkpoint_dir(m->checkpoint), &t->task[i].path, 1,
                            err);
    return rc;
}

void compare_texts_release(struct compare_texts *t)
{
    for (size_t i = 0; t->text && i < t->texts; i++) {
        for (size_t k = 0; k < t->text[i].count; k++)
            free(t->text[i].paths[k]);
        free(t->text[i].paths);
        token_ids_release(&t->text[i].ids);
    }
    free(t->text);
    free(t->task);
    *t = (struct compare_texts){0};
}
