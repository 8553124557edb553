/* The runs of a comparison that are missing: the computing of them. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/clock.h"
#include "data/base/log.h"
#include "src/compare/compare_internal.h"
#include "src/job.h"
#include "src/quant/writer.h"
#include "src/runs/runs.h"

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
        rc = compare_kept_remove_folder(j->folder, err);
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
    char *beside = again ? compare_kept_beside(j, err) : NULL;
    const char *out = again ? beside : j->folder;
    if (!out)
        return ERR_NOMEM;
    /* Other settings may have made the same plan; the pass goes on with those it began with. */
    bool resumed = compare_kept_plan(c, j, out, &begun);
    bool complete = resumed && compare_kept_is_there(out, "config.json");
    double started = clock_seconds();
    int rc = complete ? 0 : run_pass(c, j, resumed ? &begun : &j->plan, out, err);
    if (rc == 0 && again)
        rc = replace(j, out, err);
    else if (rc == 0) {
        compare_kept_describe(c, j);
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
        struct original o = {c->original, c->o.texts->text[i].text, *compare_kept_text(c, j, i)};
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

/* Of the original's hidden states between the runs, for all texts together. */
static const uint64_t kept_most = (uint64_t)2 << 30;

static int run_divergence(struct compare *c, struct compare_job *j, const struct model *m,
                          size_t text, struct err *err)
{
    const struct compare_text *t = &c->o.texts->text[text];
    struct divergence d;
    int rc;
    c->kept[text].most = kept_most / c->o.texts->texts;
    do
        rc = divergence_run(&d, m, &c->model, &c->kept[text], c->device.backend, t->ids.data,
                            t->ids.count, c->o.texts->window, t->windows, c->o.progress, err);
    while (rc < 0 && device_recover(&c->device, rc, err));
    if (rc < 0)
        return rc;
    run_result_set_divergence(&j->result, t->text.sha256, &d);
    return run_result_save(&j->result, j->folder, err);
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
    bool said;      /* how long it takes */
    size_t unknown; /* of what was said */
};

/* seconds: that the part is expected to take, < 0: not known. */
static void tell(struct sweep *s, const struct compare_job *j, double seconds, const char *what,
                 const char *more)
{
    const struct compare_row *row = &s->c->result.row[j->row];
    struct compare_left left = compare_cost_left(s->c);
    char bits[32] = "";
    if (row->bits > 0)
        snprintf(bits, sizeof bits, " at %g bits", row->bits);
    progress_part(s->c->o.progress, s->part++, "%zu of %zu, %.36s%s, %.20s%s", s->cell,
                  s->missing_cells, row->name, bits, what, more);
    if (left.unknown == 0)
        progress_expect(s->c->o.progress, seconds, fmax(left.seconds - seconds, 0));
}

static int evaluate_text(struct sweep *s, struct compare_job *j, const struct model *m, size_t i,
                         struct err *err)
{
    struct compare *c = s->c;
    const char *name = c->o.texts->text[i].text.name;
    int rc = 0;
    if (!compare_kept_text(c, j, i)) {
        tell(s, j, compare_cost_text(c, i), name, "");
        rc = run_text(c, j, m, i, err);
    }
    if (rc == 0 && compare_kept_lacks_divergence(c, j, i)) {
        tell(s, j, compare_cost_divergence(c, i), name, " divergence");
        rc = run_divergence(c, j, m, i, err);
    }
    return rc;
}

static int evaluate(struct sweep *s, struct compare_job *j, struct err *err)
{
    struct compare *c = s->c;
    struct model m = {0};
    int rc = model_open(&m, compare_is_original_job(c, j) ? c->o.model_dir : j->folder, err);
    for (size_t i = 0; rc == 0 && i < c->o.texts->texts; i++)
        rc = evaluate_text(s, j, &m, i, err);
    for (size_t i = 0; rc == 0 && i < c->o.texts->tasks; i++)
        if (!compare_kept_task(c, j, i)) {
            tell(s, j, compare_cost_task(c, i), c->o.texts->task[i].info->name, "");
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
    j->fresh = true;
    if (compare_kept_needs_pass(c, j)) {
        tell(s, j, compare_cost_pass(c, j), "quantizing", "");
        rc = quantize(c, j, err);
    } else if (compare_is_original_job(c, j) && !j->has_result) {
        compare_kept_describe(c, j);
        j->has_result = true;
        if (mkdir(j->folder, 0777) < 0 && !compare_kept_is_there(j->folder, "."))
            rc = err_set_errno(err, ERR_IO, j->folder, "cannot make the folder");
    }
    if (rc == 0)
        rc = evaluate(s, j, err);
    if (rc == 0 && compare_is_original_job(c, j))
        rc = keep_originals(c, j, err);
    if (rc == 0 && c->o.results_only && !compare_is_original_job(c, j))
        rc = compare_kept_remove_weights(j->folder, err);
    return rc;
}

/* The weights of a run that was kept may lie beside tokenizer files that the model had before. */
static int refresh(const struct compare *c, const struct compare_job *j, struct err *err)
{
    bool kept = j->has_result && !compare_is_original_job(c, j) && compare_kept_weights(c, j);
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

/* Once after the first run, and once more where only then all that is left has been measured. */
static void say_left(struct sweep *s)
{
    struct compare_left left = compare_cost_left(s->c);
    struct str text = {0};
    if (left.passes + left.evaluations == 0 || (s->said && (left.unknown > 0 || s->unknown == 0)))
        return;
    s->said = true;
    s->unknown = left.unknown;
    compare_cost_describe(&text, &left);
    progress_note(s->c->o.progress, str_get(&text));
    str_release(&text);
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
        size_t missing = compare_kept_missing(c, j);
        parts += missing + compare_kept_needs_pass(c, j);
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
        if (rc == 0 && compare_kept_missing(c, j) > 0) {
            rc = run_job(&s, j, err);
            c->result.computed += rc == 0;
            if (rc == 0)
                say_left(&s);
        }
    }
    progress_parts(c->o.progress, 0);
    return rc;
}
