/* The runs of a comparison: what is there, what is missing, and the computing of it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/clock.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/compare/compare_internal.h"
#include "src/job.h"
#include "src/quant/writer.h"
#include "src/runs/runs.h"

static bool is_there(const char *dir, const char *name)
{
    char *path = str_path(dir, name, NULL);
    bool found = path && access(path, F_OK) == 0;
    free(path);
    return found;
}

static bool is_original(const struct compare *c, const struct compare_job *j)
{
    return compare_is_original(c->result.row[j->row].method);
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

/* All of them, of what may be left of a removal that was cut, too. */
static int remove_folder(const char *dir, struct err *err)
{
    int rc = remove_files(dir, false, err);
    if (rc == 0)
        rc = remove_files(dir, true, err);
    if (rc == 0 && rmdir(dir) < 0)
        rc = err_set_errno(err, ERR_IO, dir, "cannot remove the folder");
    return rc;
}

/* --- What is there --- */

static void describe(struct compare *c, struct compare_job *j)
{
    struct run_result *r = &j->result;
    const struct plan *p = &j->plan;
    bool original = is_original(c, j);
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
static bool is_plan_of(const struct compare *c, const struct compare_job *j, const char *folder,
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

static bool has_weights(const struct compare *c, const struct compare_job *j)
{
    return is_original(c, j) || is_there(j->folder, "config.json");
}

static char *again_path(const struct compare_job *j, struct err *err)
{
    struct str path = {0};
    str_appendf(&path, "%s.again", j->folder);
    if (str_ok(&path, err) < 0) {
        str_release(&path);
        return NULL;
    }
    return path.data;
}

/* A command that was cut while it replaced a folder (replace() below) left the new one alone. */
static void finish_replacing(const struct compare_job *j)
{
    char *again = again_path(j, NULL);
    struct err err = {0};
    if (again && !is_there(j->folder, RUN_RESULT_FILE) && is_there(again, RUN_RESULT_FILE)) {
        int rc = access(j->folder, F_OK) == 0 ? remove_folder(j->folder, &err) : 0;
        if (rc < 0)
            log_write(LOG_WARN, "%s: %s", err.file, err.message);
        else if (rename(again, j->folder) < 0)
            log_write(LOG_WARN, "%s: cannot be renamed: %s", again, strerror(errno));
    }
    free(again);
}

/* The record of an earlier command; or, where that was cut between the pass and its record, a new
 * one of the finished checkpoint. */
static void look(struct compare *c, struct compare_job *j)
{
    struct plan plan = {0};
    finish_replacing(j);
    j->has_result = run_result_load(&j->result, j->folder, NULL) == 0;
    if (j->has_result && strcmp(j->result.key, j->key) != 0) {
        run_result_release(&j->result);
        j->has_result = false;
    }
    if (!j->has_result && !is_original(c, j) && has_weights(c, j) &&
        is_plan_of(c, j, j->folder, &plan)) {
        describe(c, j);
        j->has_result = true;
    }
    plan_release(&plan);
}

static const struct perplexity *find_text(const struct compare *c, const struct compare_job *j,
                                          size_t text)
{
    const struct compare_text *t = &c->o.texts->text[text];
    return j->has_result
               ? run_result_text(&j->result, t->text.sha256, c->o.texts->window, t->windows)
               : NULL;
}

static const struct run_result_task *find_task(const struct compare *c, const struct compare_job *j,
                                               size_t task)
{
    const struct compare_task *t = &c->o.texts->task[task];
    return j->has_result ? run_result_task(&j->result, t->info->name, t->sha256) : NULL;
}

static size_t missing_evaluations(const struct compare *c, const struct compare_job *j)
{
    size_t missing = 0;
    for (size_t i = 0; i < c->o.texts->texts; i++)
        missing += !find_text(c, j, i);
    for (size_t i = 0; i < c->o.texts->tasks; i++)
        missing += !find_task(c, j, i);
    return missing;
}

static bool needs_pass(const struct compare *c, const struct compare_job *j)
{
    return missing_evaluations(c, j) > 0 && !(j->has_result && has_weights(c, j)) &&
           !is_original(c, j);
}

/* --- The pass --- */

static int run_pass(struct compare *c, struct compare_job *j, const struct plan *plan,
                    const char *out, struct err *err)
{
    struct job_inputs inputs = {&c->model, &c->device, &c->draw[j->draw].calibration};
    struct job_options o = {.inputs = &inputs,
                            .model_dir = c->o.model_dir,
                            .plan = plan,
                            .plan_path = c->result.row[j->row].name,
                            .out = out,
                            .format = PASS_MOQA,
                            .resume = true,
                            .progress = c->o.progress};
    struct job *job = NULL;
    int rc = job_new(&job, &o, err);
    if (rc == 0)
        do
            rc = job_step(job, err);
        while (rc > 0);
    job_free(job);
    return rc;
}

/* The folder in which only the results were kept makes room for the one with the weights. */
static int replace(const struct compare_job *j, const char *made, struct err *err)
{
    int rc = run_result_save(&j->result, made, err);
    if (rc == 0)
        rc = remove_folder(j->folder, err);
    if (rc == 0 && rename(made, j->folder) < 0)
        rc = err_set_errno(err, ERR_IO, j->folder, "cannot replace it");
    return rc;
}

/* The weights: from the start, or on from where an earlier command was cut. Where only the results
 * were kept they are made beside them, under a name of their own until they are complete. */
static int quantize(struct compare *c, struct compare_job *j, struct err *err)
{
    struct plan begun = {0};
    bool again = j->has_result;
    char *beside = again ? again_path(j, err) : NULL;
    const char *out = again ? beside : j->folder;
    if (!out)
        return ERR_NOMEM;
    /* Other settings may have made the same plan; the pass goes on with those it began with. */
    bool resumed = is_plan_of(c, j, out, &begun);
    bool complete = resumed && is_there(out, "config.json");
    double started = clock_seconds();
    int rc = complete ? 0 : run_pass(c, j, resumed ? &begun : &j->plan, out, err);
    if (rc == 0 && again)
        rc = replace(j, out, err);
    else if (rc == 0) {
        describe(c, j);
        j->result.has_seconds = !resumed;
        j->result.seconds = clock_seconds() - started;
        j->has_result = true;
        rc = run_result_save(&j->result, j->folder, err);
    }
    plan_release(&begun);
    free(beside);
    return rc;
}

/* --- Evaluations --- */

/* What runs are set against, where all look for it. */
static int keep_originals(const struct compare *c, const struct compare_job *j, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < c->o.texts->texts; i++) {
        struct original o = {c->original, c->o.texts->text[i].text, *find_text(c, j, i)};
        rc = original_save(&o, c->o.runs_dir, err);
    }
    return rc;
}

static int run_text(struct compare *c, struct compare_job *j, const struct model *m, size_t text,
                    struct err *err)
{
    const struct compare_text *t = &c->o.texts->text[text];
    struct perplexity p;
    int rc;
    do
        rc = perplexity_run(&p, m, c->device.backend, t->ids.data, t->ids.count, c->o.texts->window,
                            t->windows, NULL, c->o.progress, err);
    while (rc < 0 && device_recover(&c->device, rc, err));
    if (rc == 0)
        rc = run_result_add_text(&j->result, &t->text, &p, err);
    return rc == 0 ? run_result_save(&j->result, j->folder, err) : rc;
}

static int run_task(struct compare *c, struct compare_job *j, const struct model *m, size_t task,
                    struct err *err)
{
    const struct compare_task *t = &c->o.texts->task[task];
    struct task work = {0};
    struct model asked = *m; /* in the tokens of the original, as it is with texts */
    asked.tokenizer = c->model.tokenizer;
    int rc = task_load(&work, t->info, t->path, err);
    if (rc == 0)
        do
            rc = task_run(&work, &asked, c->device.backend, c->o.progress, err);
        while (rc < 0 && device_recover(&c->device, rc, err));
    if (rc == 0)
        rc = run_result_add_task(&j->result, t->sha256, &work, err);
    if (rc == 0)
        rc = run_result_save(&j->result, j->folder, err);
    task_release(&work);
    return rc;
}

/* --- All of them --- */

struct sweep {
    struct compare *c;
    size_t part, missing_cells, cell;
};

static void tell(struct sweep *s, const struct compare_job *j, const char *what)
{
    const struct compare_row *row = &s->c->result.row[j->row];
    char bits[32] = "";
    if (row->bits > 0)
        snprintf(bits, sizeof bits, " at %g bits", row->bits);
    progress_part(s->c->o.progress, s->part++, "%zu of %zu, %.36s%s, %.20s", s->cell,
                  s->missing_cells, row->name, bits, what);
}

static int evaluate(struct sweep *s, struct compare_job *j, struct err *err)
{
    struct compare *c = s->c;
    struct model m = {0};
    int rc = model_open(&m, is_original(c, j) ? c->o.model_dir : j->folder, err);
    for (size_t i = 0; rc == 0 && i < c->o.texts->texts; i++)
        if (!find_text(c, j, i)) {
            tell(s, j, c->o.texts->text[i].text.name);
            rc = run_text(c, j, &m, i, err);
        }
    for (size_t i = 0; rc == 0 && i < c->o.texts->tasks; i++)
        if (!find_task(c, j, i)) {
            tell(s, j, c->o.texts->task[i].info->name);
            rc = run_task(c, j, &m, i, err);
        }
    model_release(&m);
    return rc;
}

static int run_job(struct sweep *s, struct compare_job *j, struct err *err)
{
    struct compare *c = s->c;
    int rc = 0;
    if (progress_cancelled(c->o.progress))
        return err_set(err, ERR_CANCELLED, NULL, "stopped");
    s->cell++;
    if (needs_pass(c, j)) {
        tell(s, j, "quantizing");
        rc = quantize(c, j, err);
    } else if (is_original(c, j) && !j->has_result) {
        describe(c, j);
        j->has_result = true;
        if (mkdir(j->folder, 0777) < 0 && !is_there(j->folder, "."))
            rc = err_set_errno(err, ERR_IO, j->folder, "cannot make the folder");
    }
    if (rc == 0)
        rc = evaluate(s, j, err);
    if (rc == 0 && is_original(c, j))
        rc = keep_originals(c, j, err);
    if (rc == 0 && c->o.results_only && !is_original(c, j))
        rc = remove_files(j->folder, false, err);
    return rc;
}

/* The weights of a run that was kept may lie beside tokenizer files that the model had before. */
static int refresh(const struct compare *c, const struct compare_job *j, struct err *err)
{
    bool kept = j->has_result && !is_original(c, j) && has_weights(c, j);
    return kept ? writer_copy(c->o.model_dir, j->folder, err) : 0;
}

/* Of the same version, but another build: nobody knows whether it computes the same. */
static void warn_of_builds(const struct compare *c)
{
    size_t others = 0;
    for (size_t i = 0; i < c->jobs; i++) {
        const struct compare_job *j = &c->job[i];
        others += j->same == i && j->has_result && strcmp(j->result.program, c->program) != 0;
    }
    if (others)
        log_write(LOG_WARN,
                  "%zu runs in %s are of another build of moqa %s; remove the folder to compute "
                  "them once more",
                  others, c->o.runs_dir, MOQA_VERSION);
}

int compare_cells_run(struct compare *c, struct err *err)
{
    struct sweep s = {.c = c};
    size_t parts = 0;
    int rc = 0;
    for (size_t i = 0; i < c->jobs; i++) {
        struct compare_job *j = &c->job[i];
        if (j->same != i)
            continue;
        look(c, j);
        size_t missing = missing_evaluations(c, j);
        parts += missing + needs_pass(c, j);
        s.missing_cells += missing > 0;
        c->result.kept += missing == 0;
    }
    warn_of_builds(c);
    if (parts)
        progress_parts(c->o.progress, parts);
    for (size_t i = 0; rc == 0 && i < c->jobs; i++) {
        struct compare_job *j = &c->job[i];
        if (j->same != i)
            continue;
        rc = refresh(c, j, err);
        if (rc == 0 && missing_evaluations(c, j) > 0) {
            rc = run_job(&s, j, err);
            c->result.computed += rc == 0;
        }
    }
    progress_parts(c->o.progress, 0);
    return rc;
}
