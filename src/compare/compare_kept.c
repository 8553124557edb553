/* What is there of a comparison's runs: records, weights, evaluations. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/log.h"
#include "data/base/str.h"
#include "src/compare/compare_internal.h"
#include "src/runs/runs.h"

bool compare_kept_is_there(const char *dir, const char *name)
{
    char *path = str_path(dir, name, NULL);
    bool found = path && access(path, F_OK) == 0;
    free(path);
    return found;
}

/* --- Removing --- */

static int remove_in(const char *dir, const char *name, struct err *err)
{
    char *path = str_path(dir, name, err);
    int rc = path ? 0 : ERR_NOMEM;
    if (path && unlink(path) < 0 && access(path, F_OK) == 0)
        rc = err_set_errno(err, ERR_IO, path, "cannot remove");
    free(path);
    return rc;
}

/* Files of a run's folder that begin with moqa_, or all others. config.json goes first: without it
 * no tool mistakes the rest for a checkpoint. */
static int remove_files(const char *dir, bool ours, struct err *err)
{
    DIR *d = opendir(dir);
    int rc = d ? 0 : err_set_errno(err, ERR_IO, dir, "cannot read the folder");
    if (rc == 0 && !ours)
        rc = remove_in(dir, "config.json", err);
    for (struct dirent *e; rc == 0 && (e = readdir(d));) {
        struct stat st;
        if (e->d_name[0] != '.' && (strncmp(e->d_name, "moqa_", 5) == 0) == ours &&
            fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            rc = remove_in(dir, e->d_name, err);
    }
    if (d)
        closedir(d);
    return rc;
}

int compare_kept_remove_weights(const char *dir, struct err *err)
{
    return remove_files(dir, false, err);
}

/* All of them, of what may be left of a removal that was cut, too. */
int compare_kept_remove_folder(const char *dir, struct err *err)
{
    int rc = remove_files(dir, false, err);
    if (rc == 0)
        rc = remove_files(dir, true, err);
    if (rc == 0 && rmdir(dir) < 0)
        rc = err_set_errno(err, ERR_IO, dir, "cannot remove the folder");
    return rc;
}

/* --- What is there --- */

void compare_kept_describe(struct compare *c, struct compare_job *j)
{
    struct run_result *r = &j->result;
    const struct plan *p = &j->plan;
    bool original = compare_is_original_job(c, j);
    *r = (struct run_result){
        .nominal_bits = original ? c->original.bits : p->summary.nominal_bits,
        .effective_bits = original ? c->original.bits : p->summary.effective_bits,
        .bytes = original ? c->original.bytes : runs_folder_bytes(j->folder),
        .experts_bytes = original ? p->summary.bytes_before : p->summary.bytes_after};
    snprintf(r->key, sizeof r->key, "%s", j->key);
    snprintf(r->program, sizeof r->program, "%s", c->program);
    snprintf(r->method, sizeof r->method, "%s", p->method);
}

/* True if a folder's plan, of a finished run or not, makes this very run. */
bool compare_kept_plan(const struct compare *c, const struct compare_job *j, const char *folder,
                       struct plan *plan)
{
    char key[HASH_HEX_SIZE];
    if (runs_plan(plan, folder, NULL) < 0)
        return false;
    if (compare_plans_key(key, c, j, plan, NULL) == 0 && strcmp(key, j->key) == 0)
        return true;
    plan_release(plan);
    return false;
}

bool compare_kept_weights(const struct compare *c, const struct compare_job *j)
{
    return compare_is_original_job(c, j) || compare_kept_is_there(j->folder, "config.json");
}

char *compare_kept_beside(const struct compare_job *j, struct err *err)
{
    struct str path = {0};
    str_appendf(&path, "%s.again", j->folder);
    if (str_ok(&path, err) < 0) {
        str_release(&path);
        return NULL;
    }
    return path.data;
}

/* A command that was cut while it replaced a folder (replace() in compare_cells.c) left the new one
 * alone. */
static void finish_replacing(const struct compare_job *j)
{
    char *again = compare_kept_beside(j, NULL);
    struct err err = {0};
    if (again && !compare_kept_is_there(j->folder, RUN_RESULT_FILE) &&
        compare_kept_is_there(again, RUN_RESULT_FILE)) {
        int rc = access(j->folder, F_OK) == 0 ? compare_kept_remove_folder(j->folder, &err) : 0;
        if (rc < 0)
            log_write(LOG_WARN, "%s: %s", err.file, err.message);
        else if (rename(again, j->folder) < 0)
            log_write(LOG_WARN, "%s: cannot be renamed: %s", again, strerror(errno));
    }
    free(again);
}

/* The record of a folder, if it is this run's. */
static bool load(struct compare_job *j, const char *folder)
{
    if (!folder || run_result_load(&j->result, folder, NULL) < 0)
        return false;
    if (strcmp(j->result.key, j->key) == 0)
        return true;
    run_result_release(&j->result);
    return false;
}

/* The record of an earlier command; or, where that was cut between the pass and its record, a new
 * one of the finished checkpoint. */
static void look(struct compare *c, struct compare_job *j, bool repair)
{
    struct plan plan = {0};
    if (repair)
        finish_replacing(j);
    char *beside = repair ? NULL : compare_kept_beside(j, NULL);
    j->has_result = load(j, j->folder) || load(j, beside);
    if (!j->has_result && !compare_is_original_job(c, j) && compare_kept_weights(c, j) &&
        compare_kept_plan(c, j, j->folder, &plan)) {
        compare_kept_describe(c, j);
        j->has_result = true;
    }
    plan_release(&plan);
    free(beside);
}

void compare_kept_look(struct compare *c, bool repair)
{
    for (size_t i = 0; i < c->jobs; i++) {
        struct compare_job *j = &c->job[i];
        if (j->looked || !j->planned || !compare_is_first(c, j))
            continue;
        look(c, j, repair);
        j->looked = true;
    }
}

const struct perplexity *compare_kept_text(const struct compare *c, const struct compare_job *j,
                                           size_t text)
{
    const struct compare_text *t = &c->o.texts->text[text];
    return j->has_result
               ? run_result_text(&j->result, t->text.sha256, c->o.texts->window, t->windows)
               : NULL;
}

const struct divergence *compare_kept_divergence(const struct compare *c,
                                                 const struct compare_job *j, size_t text)
{
    const struct compare_text *t = &c->o.texts->text[text];
    return j->has_result
               ? run_result_divergence(&j->result, t->text.sha256, c->o.texts->window, t->windows)
               : NULL;
}

bool compare_kept_lacks_divergence(const struct compare *c, const struct compare_job *j,
                                   size_t text)
{
    return c->o.divergence && !compare_is_original_job(c, j) &&
           !compare_kept_divergence(c, j, text);
}

const struct run_result_task *compare_kept_task(const struct compare *c,
                                                const struct compare_job *j, size_t task)
{
    const struct compare_task *t = &c->o.texts->task[task];
    return j->has_result ? run_result_task(&j->result, t->info->name, t->sha256) : NULL;
}

size_t compare_kept_evaluations(const struct compare *c, const struct compare_job *j)
{
    bool apart = c->o.divergence && !compare_is_original_job(c, j);
    return c->o.texts->texts * (apart ? 2 : 1) + c->o.texts->tasks;
}

size_t compare_kept_missing(const struct compare *c, const struct compare_job *j)
{
    size_t missing = 0;
    for (size_t i = 0; i < c->o.texts->texts; i++)
        missing += !compare_kept_text(c, j, i) + compare_kept_lacks_divergence(c, j, i);
    for (size_t i = 0; i < c->o.texts->tasks; i++)
        missing += !compare_kept_task(c, j, i);
    return missing;
}

bool compare_kept_needs_pass(const struct compare *c, const struct compare_job *j)
{
    return compare_kept_missing(c, j) > 0 && !(j->has_result && compare_kept_weights(c, j)) &&
           !compare_is_original_job(c, j);
}
