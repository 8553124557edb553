#include "src/eval/perplexity.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "src/eval/eval_windows.h"

/* nll: [windows of a batch][window - 1] */
static int run_batch(const struct eval_windows *w, const struct model *m, double *nll, size_t first,
                     size_t count, struct err *err)
{
    struct forward *f = NULL;
    int rc = eval_windows_run(&f, w, m, first, count, err);
    if (rc == 0)
        rc = forward_nll(f, nll, err);
    progress_step(w->progress, count);
    forward_free(f);
    return rc;
}

static int run_all(struct perplexity *p, const struct eval_windows *w, const struct model *m,
                   double *window_nll, struct err *err)
{
    double *nll = mem_array(w->batch * (w->window - 1), sizeof *nll, err);
    int rc = nll ? 0 : ERR_NOMEM;
    for (size_t first = 0; rc == 0 && first < w->windows; first += w->batch) {
        size_t left = w->windows - first, count = left < w->batch ? left : w->batch;
        rc = run_batch(w, m, nll, first, count, err);
        for (size_t k = 0; rc == 0 && k < count; k++) {
            double sum = 0;
            for (size_t i = 0; i + 1 < w->window; i++)
                sum += nll[k * (w->window - 1) + i];
            if (!isfinite(sum))
                rc = err_set(err, ERR_NUMERIC, checkpoint_dir(m->checkpoint),
                             "window %zu of %zu: its log-likelihood is not finite: weights or "
                             "activations overflow",
                             first + k + 1, w->windows);
            p->nll += sum;
            if (window_nll)
                window_nll[first + k] = sum;
        }
    }
    free(nll);
    return rc;
}

int perplexity_run(struct perplexity *out, const struct model *m, struct backend *b,
                   const uint32_t *ids, size_t tokens, size_t window, size_t max_windows,
                   double *window_nll, struct progress *progress, struct err *err)
{
    double started = clock_seconds();
    struct eval_windows w;
    *out = (struct perplexity){.tokens = tokens, .window = window};
    int rc = eval_windows_init(&w, m->config, b, ids, tokens, window, max_windows, progress, err);
    if (rc == 0) {
        out->windows = w.windows;
        out->predicted = w.windows * (window - 1);
        progress_start(progress, w.windows * (m->config->layers + 1));
        rc = run_all(out, &w, m, window_nll, err);
        out->value = exp(out->nll / (double)out->predicted);
    }
    if (rc == 0 && !isfinite(out->value))
        rc = err_set(err, ERR_NUMERIC, checkpoint_dir(m->checkpoint),
                     "its perplexity is no number: the mean negative log-likelihood is %g",
                     out->nll / (double)out->predicted);
    out->seconds = clock_seconds() - started;
    eval_windows_release(&w);
    return rc;
}
