/*
 * A quantization job: everything from a plan to a finished (and, if texts are given, evaluated)
 * checkpoint. The same job runs in a command and under the workbench's Run screen; its owner
 * decides on the thread.
 *
 *     job_new(&job, &options, err);
 *     while ((rc = job_step(job, err)) > 0) ;
 *     job_free(job);
 */
#ifndef MOQA_SRC_JOB_H
#define MOQA_SRC_JOB_H

#include "data/base/str.h"
#include "data/plan.h"
#include "src/calibration.h"
#include "src/device.h"
#include "src/eval/perplexity.h"
#include "src/progress.h"
#include "src/quant/pass.h"

/* What several jobs have in common, opened by their owner, who keeps it. */
struct job_inputs {
    const struct model *model;
    struct device *device; /* where a GPU fails, the next job has what it was replaced by */
    const struct calibration *calibration;
};

struct job_options {
    const struct job_inputs *inputs; /* NULL: the job opens model, device and calibration itself */
    const char *model_dir;
    const struct plan *plan;  /* borrowed while the job lives */
    const char *plan_path;    /* for messages */
    const char *const *calib; /* texts, or one trace */
    size_t calib_count;
    size_t samples, window; /* 0: default */
    const char *out;
    enum pass_format format;
    bool resume;
    struct device_request device;
    const char *const *texts; /* to evaluate on; may be NULL. With `resume` what this very job
                                 has finished is only evaluated, of another one refused */
    size_t texts_count;
    struct progress *progress; /* may be NULL */
};

struct job;

ERR_CHECK int job_new(struct job **out, const struct job_options *options, struct err *err);
/* 1: more to do; 0: finished; negative: error. ERR_CANCELLED can be resumed. */
ERR_CHECK int job_step(struct job *j, struct err *err);
/* Leaves `out` as it is where the checkpoint was finished before. */
void job_snapshot(struct job *j, struct pass_snapshot *out);
/* Since job_new(). */
double job_seconds(const struct job *j);
/* From any thread: the pass is behind it, and progress tells of the evaluation alone. */
bool job_is_evaluating(const struct job *j);
/* Of the whole pass; negative: not done by this job, or only its end. */
double job_pass_seconds(const struct job *j);
/* NULL until the evaluation is done, or where there is none. */
const struct perplexity *job_perplexity(const struct job *j);
void job_free(struct job *j);

/* What the job would do, as lines of text, and what it would refuse. */
ERR_CHECK int job_dry_run(struct str *text, const struct job_options *options, struct err *err);

#endif
