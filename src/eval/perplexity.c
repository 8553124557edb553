#include "src/eval/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "src/model/forward.h"
#include "src/model/prefetch.h"

/* Hidden states held at a time; every batch reads all layers once more. */
static const size_t hidden_budget = (size_t)256 << 20;

struct batches {
    const struct model *model;
    struct backend *b;
    const uint32_t *ids;
    size_t *starts; /* [windows] */
    double *nll;    /* [windows of a batch][window - 1] */
    size_t windows, window, batch;
    struct progress *progress;
};

static int run_layers(const struct batches *j, struct forward *f, size_t first, size_t count,
                      struct err *err)
{
    size_t layers = j->model->config->layers;
    struct prefetch *ahead = prefetch_new(j->model->checkpoint);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < layers; i++) {
        struct model_layer l = {0};
        progress_stage(j->progress, "windows %zu to %zu of %zu: layer %zu of %zu", first + 1,
                       first + count, j->windows, i + 1, layers);
        rc = model_layer_load(&l, j->model, j->b, i, err);
        if (i + 1 < layers)
            prefetch_layer(ahead, i + 1);
        if (rc == 0)
            rc = forward_attention(f, &l, NULL, true, err);
        if (rc == 0)
            rc = forward_mlp(f, &l, NULL, true, err);
        model_layer_release(&l, j->b);
        progress_step(j->progress, count);
    }
    prefetch_free(ahead);
    return rc;
}

static int run_batch(const struct batches *j, size_t first, size_t count, struct err *err)
{
    struct forward *f = NULL;
    int rc = forward_new(&f, j->model, j->b, j->ids, j->starts + first, count, j->window, err);
    if (rc == 0 && j->progress)
        forward_set_cancel(f, &j->progress->cancel);
    if (rc == 0)
        rc = run_layers(j, f, first, count, err);
    if (rc == 0)
        rc = forward_nll(f, j->nll, err);
    progress_step(j->progress, count);
    forward_free(f);
    return rc;
}

static int check_arguments(const struct perplexity *p, struct err *err)
{
    if (p->window < 2)
        return err_set(err, ERR_USAGE, NULL,
                       "windows of %zu tokens predict nothing, expected at least 2", p->window);
    if (p->windows == 0)
        return err_set(err, ERR_INPUT, NULL, "the text has %zu tokens, less than one window of %zu",
                       p->tokens, p->window);
    return 0;
}

static int run_all(struct perplexity *p, struct batches *j, double *window_nll, struct err *err)
{
    int rc = 0;
    for (size_t first = 0; rc == 0 && first < p->windows; first += j->batch) {
        size_t left = p->windows - first, count = left < j->batch ? left : j->batch;
        rc = run_batch(j, first, count, err);
        for (size_t w = 0; rc == 0 && w < count; w++) {
            double sum = 0;
            for (size_t i = 0; i + 1 < p->window; i++)
                sum += j->nll[w * (p->window - 1) + i];
            p->nll += sum;
            if (window_nll)
                window_nll[first + w] = sum;
        }
    }
    return rc;
}

static size_t batch_windows(const struct model *m, size_t windows, size_t window)
{
    size_t fit = hidden_budget / sizeof(float) / m->config->hidden / window;
    fit = fit ? fit : 1;
    return fit < windows ? fit : windows;
}

int perplexity_run(struct perplexity *out, const struct model *m, struct backend *b,
                   const uint32_t *ids, size_t tokens, size_t window, size_t max_windows,
                   double *window_nll, struct progress *progress, struct err *err)
{
    double started = clock_seconds();
    size_t windows = window ? tokens / window : 0;
    windows = max_windows && max_windows < windows ? max_windows : windows;
    *out = (struct perplexity){.tokens = tokens, .windows = windows, .window = window};
    int rc = check_arguments(out, err);
    if (rc < 0)
        return rc;
    struct batches job = {.model = m,
                          .b = b,
                          .ids = ids,
                          .windows = windows,
                          .window = window,
                          .batch = batch_windows(m, windows, window),
                          .progress = progress};
    job.starts = mem_array(windows, sizeof *job.starts, err);
    job.nll = mem_array(job.batch * (window - 1), sizeof *job.nll, err);
    rc = job.starts && job.nll ? 0 : ERR_NOMEM;
    for (size_t w = 0; rc == 0 && w < windows; w++)
        job.starts[w] = w * window;
    progress_start(progress, windows * (m->config->layers + 1));
    if (rc == 0)
        rc = run_all(out, &job, window_nll, err);
    out->predicted = windows * (window - 1);
    out->value = exp(out->nll / (double)out->predicted);
    out->seconds = clock_seconds() - started;
    free(job.starts);
    free(job.nll);
    return rc;
}
