#include "src/compare/compare.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "analysis/correlation.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "src/compare/compare_internal.h"

/* --- Reading --- */

static int load_draw(struct compare *c, size_t index, struct err *err)
{
    struct compare_draw *d = &c->draw[index];
    const struct compare_options *o = &c->o;
    d->settings = *o->settings;
    if (o->seeds) {
        d->settings.seed += index + 1;
        if (d->settings.windows == WINDOWS_ORDER)
            d->settings.windows = WINDOWS_RANDOM;
    }
    c->seed[index] = d->settings.seed;
    struct calibration_request request = {o->calib_count ? o->calib : &o->trace_path,
                                          o->calib_count ? o->calib_count : 1, o->samples,
                                          o->window, &d->settings};
    int rc = calibration_load(&d->calibration, &c->model, &request, err);
    const struct calibration *k = &d->calibration;
    return rc == 0 ? calibration_hash(d->sha256, k->ids.data, k->starts, k->windows, k->window, err)
                   : rc;
}

static int load_draws(struct compare *c, struct err *err)
{
    const struct compare_options *o = &c->o;
    size_t draws = o->seeds ? o->seeds : 1;
    int rc = 0;
    bool trace = o->calib_count == 0 || trace_h5_probe(o->calib[0]);
    if (o->seeds && trace && o->samples == 0 && o->settings->windows != WINDOWS_BALANCED)
        return err_set(err, ERR_USAGE, NULL,
                       "--seeds: expected texts in --calib, or --windows balanced, or --samples; "
                       "all windows of a trace are always the same");
    c->draw = mem_array(draws, sizeof *c->draw, err);
    c->seed = mem_array(draws, sizeof *c->seed, err);
    if (!c->draw || !c->seed)
        return ERR_NOMEM;
    c->result.draws = draws;
    for (size_t i = 0; rc == 0 && i < draws; i++)
        rc = load_draw(c, i, err);
    if (rc < 0)
        return rc;
    c->result.seed = c->seed;
    c->result.calibration_windows = c->draw[0].calibration.windows;
    c->result.calibration_window = c->draw[0].calibration.window;
    return 0;
}

static int load_texts(struct compare *c, struct err *err)
{
    size_t window = c->o.eval_window ? c->o.eval_window : c->result.calibration_window;
    int rc = calibration_window(&window, c->model.config, window, err);
    return rc == 0 ? compare_texts_load(c->o.texts, &c->model, window, c->o.eval_samples, err) : rc;
}

static int open_all(struct compare *c, struct err *err)
{
    int rc = session_open(&c->session, c->o.trace_path, c->o.model_dir, err);
    if (rc == 0)
        rc = model_open(&c->model, c->o.model_dir, err);
    if (rc == 0)
        rc = original_model_read(&c->original, c->o.model_dir, err);
    if (rc == 0)
        rc = load_draws(c, err);
    if (rc == 0)
        rc = load_texts(c, err);
    if (rc == 0 && !c->o.dry_run)
        rc = device_open(&c->device, &c->o.device, err);
    if (rc == 0)
        rc = hash_file(c->program, "/proc/self/exe", err);
    return rc;
}

int compare_new(struct compare **out, const struct compare_options *options, struct err *err)
{
    struct compare *c = mem_array(1, sizeof *c, err);
    *out = NULL;
    if (!c)
        return ERR_NOMEM;
    c->o = *options;
    c->result.options = &c->o;
    c->kept = mem_array(c->o.texts->texts, sizeof *c->kept, err);
    int rc = c->kept ? open_all(c, err) : ERR_NOMEM;
    if (rc == 0)
        rc = compare_plans_list(c, err);
    if (rc == 0)
        rc = compare_plans_make(c, err);
    if (rc < 0) {
        compare_free(c);
        return rc;
    }
    c->result.analysis = c->session.analysis;
    c->result.model_name = c->original.name;
    *out = c;
    return 0;
}

/* --- Values --- */

/* Of itself it is 0. */
static void take_divergence(struct compare_cell *cell, const struct compare *c,
                            const struct compare_job *j, size_t text)
{
    const struct compare_job *first = &c->job[j->same];
    const struct divergence *d = compare_kept_divergence(c, first, text);
    bool itself = compare_is_original_job(c, j);
    cell->divergence[text] = !c->o.divergence ? NAN : itself ? 0 : d->mean;
    cell->divergence_error[text] = !c->o.divergence ? NAN : itself ? 0 : d->error;
    cell->evaluating += c->o.divergence && !itself ? d->seconds : 0;
}

static void take_evaluations(struct compare_cell *cell, const struct compare *c,
                             const struct compare_job *j)
{
    const struct run_result *r = &c->job[j->same].result;
    const struct compare_texts *t = c->o.texts;
    for (size_t i = 0; i < t->texts; i++) {
        const struct perplexity *p =
            run_result_text(r, t->text[i].text.sha256, t->window, t->text[i].windows);
        cell->perplexity[i] = p->value;
        cell->evaluating += p->seconds;
        take_divergence(cell, c, j, i);
    }
    for (size_t i = 0; i < t->tasks; i++) {
        const struct run_result_task *x =
            run_result_task(r, t->task[i].info->name, t->task[i].sha256);
        cell->acc[i] = x->acc;
        cell->acc_norm[i] = x->has_norm ? x->acc_norm : NAN;
        cell->evaluating += x->seconds;
    }
}

/* Losses are those of GPTQ with the same calibration and rounding. */
static void predict(struct compare_cell *cell, const struct compare *c, const struct compare_job *j)
{
    const struct compare_method *m = c->result.row[j->row].method;
    const struct compare_losses *l =
        m->info->quantizer == PLAN_GPTQ ? compare_losses_find(c, m, j->draw) : NULL;
    cell->has_predicted =
        l && budget_predict(&cell->predicted, &j->plan, &l->losses, c->model.config);
}

static void take_values(struct compare *c, const struct compare_cell *original)
{
    for (size_t i = 0; i < c->jobs; i++) {
        const struct compare_job *j = &c->job[i];
        const struct run_result *r = &c->job[j->same].result;
        struct compare_cell *cell = &c->result.row[j->row].cell[j->cell];
        cell->nominal_bits = r->nominal_bits;
        cell->effective_bits = r->effective_bits;
        cell->bytes = r->bytes;
        cell->experts_bytes = r->experts_bytes;
        cell->has_seconds = r->has_seconds;
        cell->seconds = r->seconds;
        take_evaluations(cell, c, j);
        predict(cell, c, j);
    }
    for (size_t i = 0; i < c->jobs; i++) {
        struct compare_cell *cell = &c->result.row[c->job[i].row].cell[c->job[i].cell];
        size_t texts = c->o.texts->texts;
        cell->excess = texts && original ? 0 : NAN;
        for (size_t t = 0; t < texts && original; t++)
            cell->excess += log(cell->perplexity[t] / original->perplexity[t]) / (double)texts;
    }
}

static const struct compare_cell *find_original(const struct compare_result *r)
{
    for (size_t i = 0; i < r->rows; i++)
        if (compare_is_original(r->row[i].method))
            return r->row[i].cell;
    return NULL;
}

/* Plans whose losses are there, and what is known of their runs. */
static int plan_and_look(struct compare *c, bool repair, struct err *err)
{
    int rc = compare_plans_make(c, err);
    if (rc == 0)
        rc = compare_plans_name(c, err);
    if (rc < 0)
        return rc;
    compare_cost_sort(c);
    compare_kept_look(c, repair);
    return 0;
}

int compare_prepare(struct compare *c, struct err *err)
{
    size_t missing;
    int rc = compare_losses_list(c, &missing, err);
    return rc == 0 ? plan_and_look(c, false, err) : rc;
}

/* Before anything that takes time, where there is anything. */
static void say_cost(const struct compare *c)
{
    struct compare_cost n = compare_cost(c);
    struct str text = {0};
    if (n.losses + n.evaluations == n.evaluations_kept)
        return;
    compare_describe_cost(&text, c);
    progress_note(c->o.progress, str_get(&text));
    str_release(&text);
}

int compare_run(struct compare *c, struct err *err)
{
    size_t missing;
    if (mkdir(c->o.runs_dir, 0777) < 0 && errno != EEXIST)
        return err_set_errno(err, ERR_IO, c->o.runs_dir, "cannot make the folder of the runs");
    int rc = compare_losses_list(c, &missing, err);
    if (rc == 0)
        rc = plan_and_look(c, true, err);
    if (rc == 0)
        say_cost(c);
    if (rc == 0 && missing) {
        rc = compare_losses_measure(c, missing, err);
        if (rc == 0)
            rc = plan_and_look(c, true, err);
        if (rc == 0)
            say_cost(c);
    }
    if (rc == 0)
        rc = compare_cells_run(c, err);
    if (rc == 0)
        take_values(c, find_original(&c->result));
    return rc;
}

const struct compare_result *compare_result(const struct compare *c)
{
    return &c->result;
}

void compare_cell_release(struct compare_cell *cell)
{
    free(cell->perplexity);
    free(cell->divergence);
    free(cell->divergence_error);
    free(cell->acc);
    free(cell->acc_norm);
}

void compare_free(struct compare *c)
{
    if (!c)
        return;
    for (size_t i = 0; i < c->jobs; i++) {
        plan_release(&c->job[i].plan);
        run_result_release(&c->job[i].result);
        free(c->job[i].folder);
    }
    for (size_t i = 0; i < c->result.rows; i++) {
        struct compare_row *row = &c->result.row[i];
        for (size_t k = 0; k < row->cells; k++)
            compare_cell_release(&row->cell[k]);
        free(row->cell);
    }
    for (size_t i = 0; i < c->losses_count; i++) {
        losses_release(&c->losses[i].losses);
        free(c->losses[i].path);
    }
    for (size_t i = 0; c->draw && i < c->result.draws; i++)
        calibration_release(&c->draw[i].calibration);
    for (size_t i = 0; c->kept && i < c->o.texts->texts; i++)
        divergence_kept_release(&c->kept[i]);
    free(c->kept);
    free(c->result.row);
    free(c->job);
    free(c->losses);
    free(c->draw);
    free(c->seed);
    device_close(&c->device);
    model_release(&c->model);
    session_release(&c->session);
    free(c);
}
