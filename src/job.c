#include "src/job.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/clock.h"
#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "src/calibration.h"
#include "src/eval/eval_json.h"
#include "src/model/texts.h"
#include "src/quant/quantizer.h"

struct job {
    struct job_options options;
    struct job_inputs in; /* the owner's, or these: */
    struct model model;
    struct device device;
    struct calibration calibration;
    struct token_ids evaluation; /* of the texts: read before the pass, not after it */
    struct eval_text text;       /* which they are */
    struct pass *pass;           /* NULL where the checkpoint was finished before */
    struct pass_options pass_options;
    bool quantized;
    bool resumed;               /* layers were done before */
    double began, pass_seconds; /* pass_seconds < 0: not known */
    atomic_bool evaluating;     /* set last: who sees it sees pass_seconds, too */
    bool evaluated;
    struct perplexity perplexity;
};

static int load_evaluation(struct job *j, struct err *err)
{
    const struct job_options *o = &j->options;
    size_t window = j->in.calibration->window;
    if (!j->in.model->tokenizer)
        return err_set(err, ERR_INPUT, o->model_dir,
                       "has no tokenizer.json, which the texts to evaluate on need");
    int rc = texts_encode(&j->evaluation, j->in.model->tokenizer, o->texts, o->texts_count, err);
    if (rc == 0 && j->evaluation.count < window)
        rc = err_set(err, ERR_INPUT, o->texts[0],
                     "the texts to evaluate on have %zu tokens, fewer than one window of %zu",
                     j->evaluation.count, window);
    if (rc == 0)
        rc = eval_text_read(&j->text, o->model_dir, o->texts, o->texts_count, err);
    return rc;
}

static int open_inputs(struct job *j, struct err *err)
{
    const struct job_options *o = &j->options;
    struct calibration_request request = {o->calib, o->calib_count, o->samples, o->window,
                                          &o->plan->settings};
    j->in = (struct job_inputs){&j->model, &j->device, &j->calibration};
    int rc = model_open(&j->model, o->model_dir, err);
    if (rc == 0)
        rc = plan_check_model(o->plan, o->plan_path, j->model.config, err);
    if (rc == 0)
        rc = device_open(&j->device, &o->device, err);
    return rc == 0 ? calibration_load(&j->calibration, &j->model, &request, err) : rc;
}

/* Opens everything but the pass. */
static int prepare(struct job *j, const struct job_options *o, struct err *err)
{
    int rc;
    j->options = *o;
    if (o->inputs) {
        j->in = *o->inputs;
        rc = plan_check_model(o->plan, o->plan_path, j->in.model->config, err);
    } else {
        rc = open_inputs(j, err);
    }
    if (rc < 0)
        return rc;
    if (o->texts_count)
        rc = load_evaluation(j, err);
    const struct calibration *c = j->in.calibration;
    j->pass_options = (struct pass_options){
        .model = j->in.model,
        .plan = o->plan,
        .plan_path = o->plan_path,
        .backend = j->in.device->backend,
        .backend_note = j->in.device->why,
        .out = o->out,
        .format = o->format,
        .resume = o->resume,
        .ids = c->ids.data,
        .starts = c->starts,
        .windows = c->windows,
        .window = c->window,
        .precision = BACKEND_FP32,
        .progress = o->progress,
    };
    return rc;
}

/* Is OUT what this job's pass ends in, so that only the evaluation is left? */
static int is_finished(bool *finished, const struct job *j, struct err *err)
{
    *finished = false;
    return j->options.resume && j->options.texts_count
               ? pass_is_finished(finished, &j->pass_options, err)
               : 0;
}

int job_new(struct job **out, const struct job_options *options, struct err *err)
{
    *out = NULL;
    struct job *j = mem_array(1, sizeof *j, err);
    if (!j)
        return ERR_NOMEM;
    int rc = prepare(j, options, err);
    if (rc == 0)
        rc = is_finished(&j->quantized, j, err);
    if (rc == 0 && !j->quantized)
        rc = pass_new(&j->pass, &j->pass_options, err);
    if (rc < 0) {
        job_free(j);
        return rc;
    }
    struct pass_snapshot first = {0};
    job_snapshot(j, &first);
    j->resumed = first.layers_done > 0;
    j->began = clock_seconds();
    j->pass_seconds = -1;
    *out = j;
    return 0;
}

/* Perplexity of what was written, kept beside it so that the results can be listed later. */
static int evaluate(struct job *j, struct err *err)
{
    struct model quantized = {0};
    struct str path = {0};
    atomic_store(&j->evaluating, true);
    int rc = model_open(&quantized, j->options.out, err);
    if (rc < 0)
        return rc;
    do
        rc = perplexity_run(&j->perplexity, &quantized, j->in.device->backend, j->evaluation.data,
                            j->evaluation.count, j->in.calibration->window, 0, NULL,
                            j->options.progress, err);
    while (rc < 0 && device_recover(j->in.device, rc, err));
    if (rc == 0) {
        str_appendf(&path, "%s/%s", j->options.out, EVAL_JSON_FILE);
        rc = str_ok(&path, err);
    }
    if (rc == 0)
        rc = eval_json_save(&j->perplexity, &j->text, path.data, err);
    j->evaluated = rc == 0;
    str_release(&path);
    model_release(&quantized);
    return rc;
}

/* A GPU that has no room or failed: the layer once more, from what the journal holds. */
static int step_pass(struct job *j, struct err *err)
{
    struct err own = {0};
    err = err ? err : &own;
    int rc = pass_step(j->pass, err);
    if (rc >= 0 || !device_can_recover(j->in.device, rc))
        return rc;
    pass_detach(j->pass);
    if (device_recover(j->in.device, rc, err)) {
        pass_attach(j->pass, j->in.device->backend, j->in.device->note);
        rc = 1;
    }
    return rc;
}

int job_step(struct job *j, struct err *err)
{
    if (!j->quantized) {
        int rc = step_pass(j, err);
        if (rc != 0)
            return rc;
        j->quantized = true;
        j->pass_seconds = j->resumed ? -1 : job_seconds(j);
        return j->options.texts_count ? 1 : 0;
    }
    return j->options.texts_count && !j->evaluated ? evaluate(j, err) : 0;
}

void job_snapshot(struct job *j, struct pass_snapshot *out)
{
    if (j->pass)
        pass_snapshot(j->pass, out);
}

double job_seconds(const struct job *j)
{
    return clock_seconds() - j->began;
}

bool job_is_evaluating(const struct job *j)
{
    return atomic_load(&j->evaluating);
}

double job_pass_seconds(const struct job *j)
{
    return j->pass_seconds;
}

const struct perplexity *job_perplexity(const struct job *j)
{
    return j->evaluated ? &j->perplexity : NULL;
}

void job_free(struct job *j)
{
    if (!j)
        return;
    pass_free(j->pass);
    token_ids_release(&j->evaluation);
    calibration_release(&j->calibration);
    device_close(&j->device);
    model_release(&j->model);
    free(j);
}

static void append_device(struct str *text, struct device *d)
{
    char line[256];
    d->backend->ops->describe(d->backend, line, sizeof line);
    str_appendf(text, "%-22s %s: %s\n", "device", d->backend->ops->name, line);
    if (d->why[0])
        str_appendf(text, "%-22s %s\n", "  no GPU, since", d->why);
}

/* `before`: "" or "about " */
static void append_bytes(struct str *text, const char *label, const char *before, uint64_t bytes)
{
    char size[32];
    str_bytes(size, sizeof size, bytes);
    str_appendf(text, "%-22s %s%s\n", label, before, size);
}

/* All weights, and those of the experts alone, which is what plans are compared by; 0: not known in
 * this format. Neither counts the headers of the files. */
static void append_weights(struct str *text, const char *label, uint64_t all, uint64_t experts)
{
    char size[32], part[32];
    str_bytes(size, sizeof size, all);
    str_bytes(part, sizeof part, experts);
    str_appendf(text, "%-22s %s of weights%s%s\n", label, size, experts ? ", experts alone " : "",
                experts ? part : "");
}

/* The quantizer, and its settings that are not the defaults. */
static void append_rounding(struct str *text, const struct plan *plan)
{
    const struct quantizer *quantizer = quantizer_find(plan->quantizer);
    struct settings defaults;
    char value[64], usual[64];
    settings_defaults(&defaults);
    str_appendf(text, "%-22s %s", "rounding", quantizer ? quantizer->name : "none");
    for (size_t i = 0; quantizer && i < settings_count(); i++) {
        const struct setting_info *info = settings_info(i);
        settings_get(&plan->settings, info, value, sizeof value);
        settings_get(&defaults, info, usual, sizeof usual);
        if (info->stage == STAGE_QUANTIZE && strcmp(value, usual) != 0)
            str_appendf(text, ", %s %s", info->name, value);
    }
    str_append(text, "\n");
}

int job_dry_run(struct str *text, const struct job_options *options, struct err *err)
{
    struct pass_estimate e = {0};
    struct job *j = mem_array(1, sizeof *j, err);
    if (!j)
        return ERR_NOMEM;
    bool finished = false;
    int rc = prepare(j, options, err);
    if (rc == 0)
        rc = is_finished(&finished, j, err);
    if (rc == 0 && finished) {
        str_appendf(text, "%s is finished; it will only be evaluated.\n", options->out);
        job_free(j);
        return str_ok(text, err);
    }
    if (rc == 0)
        rc = pass_dry_run(&e, &j->pass_options, err);
    if (rc == 0) {
        str_appendf(text, "%-22s %s (%s)\n", "plan", options->plan->method, options->plan_path);
        str_appendf(text, "%-22s %s\n", "model", options->model_dir);
        str_appendf(text, "%-22s %s, format %s\n", "output", options->out,
                    pass_format_names[options->format]);
        str_appendf(text, "%-22s %zu windows of %zu tokens\n", "calibration",
                    j->in.calibration->windows, j->in.calibration->window);
        str_appendf(text, "%-22s %.3f nominal, %.3f in the file\n", "bits a weight", e.nominal_bits,
                    e.effective_bits);
        append_rounding(text, options->plan);
        append_weights(text, "checkpoint now", e.bytes_in, options->plan->summary.bytes_before);
        append_weights(text, "checkpoint after", e.bytes_out,
                       options->format == PASS_MOQA ? options->plan->summary.bytes_after : 0);
        append_bytes(text, "free on disk", "", e.bytes_free);
        append_device(text, j->in.device);
        struct backend *b = j->in.device->backend;
        if (b->ops->memory) {
            uint64_t room, used;
            b->ops->memory(b, &room, &used);
            append_bytes(text, "device memory", "about ", e.device_memory);
            append_bytes(text, "free on the device", "", room);
        }
        append_bytes(text, "peak memory", "about ", e.peak_memory);
        rc = str_ok(text, err);
    }
    job_free(j);
    return rc;
}
