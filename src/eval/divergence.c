#include "src/eval/divergence.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "src/eval/eval_windows.h"

struct rows_job {
    const float *original, *other; /* [rows][vocab] */
    size_t vocab;
    double *out; /* [rows] */
};

static double log_sum(const float *x, size_t count)
{
    double most = (double)x[0], sum = 0;
    for (size_t i = 1; i < count; i++)
        most = fmax(most, (double)x[i]);
    for (size_t i = 0; i < count; i++)
        sum += exp((double)x[i] - most);
    return most + log(sum);
}

static void diverge_row(void *context, size_t row, size_t worker)
{
    (void)worker;
    const struct rows_job *j = context;
    const float *p = j->original + row * j->vocab, *q = j->other + row * j->vocab;
    double lp = log_sum(p, j->vocab), lq = log_sum(q, j->vocab), sum = 0;
    for (size_t i = 0; i < j->vocab; i++) {
        double log_p = (double)p[i] - lp, log_q = (double)q[i] - lq;
        sum += exp(log_p) * (log_p - log_q);
    }
    j->out[row] = sum;
}

void divergence_rows(double *out, const float *original, const float *other, size_t rows,
                     size_t vocab, struct parallel *pool)
{
    struct rows_job job = {original, other, vocab, out};
    parallel_for(pool, rows, diverge_row, &job);
}

/* Of one window at a time. */
struct workspace {
    float *original, *other; /* [window][vocab] */
    double *row;             /* [window] */
};

static int workspace_init(struct workspace *s, size_t window, size_t vocab, struct err *err)
{
    s->original = mem_array(window, vocab * sizeof *s->original, err);
    s->other = mem_array(window, vocab * sizeof *s->other, err);
    s->row = mem_array(window, sizeof *s->row, err);
    return s->original && s->other && s->row ? 0 : ERR_NOMEM;
}

static void workspace_release(struct workspace *s)
{
    free(s->original);
    free(s->other);
    free(s->row);
}

/* --- The original --- */

void divergence_kept_release(struct divergence_kept *k)
{
    free(k->hidden);
    *k = (struct divergence_kept){0};
}

/* Room for what has not been kept so far; without it the original runs each time. */
static void make_room(struct divergence_kept *k, const struct eval_windows *w, size_t hidden)
{
    size_t positions, floats;
    if (k->hidden || !mem_mul(&positions, w->windows, w->window) ||
        !mem_mul(&floats, positions, hidden) || floats > k->most / sizeof *k->hidden)
        return;
    k->hidden = mem_array(floats, sizeof *k->hidden, NULL);
    k->windows = 0;
}

static int recall_original(struct forward **out, const struct eval_windows *w,
                           const struct model *original, const float *hidden, size_t first,
                           size_t count, struct err *err)
{
    int rc = forward_new(out, original, w->b, w->ids, w->starts + first, count, w->window, err);
    if (rc == 0)
        rc = forward_set_hidden(*out, hidden, err);
    progress_step(w->progress, count * original->config->layers);
    return rc;
}

static int run_original(struct forward **out, const struct eval_windows *w,
                        const struct model *original, struct divergence_kept *kept, size_t first,
                        size_t count, struct err *err)
{
    float *hidden =
        kept && kept->hidden ? kept->hidden + first * w->window * original->config->hidden : NULL;
    if (hidden && first + count <= kept->windows)
        return recall_original(out, w, original, hidden, first, count, err);
    int rc = eval_windows_run(out, w, original, first, count, err);
    if (rc == 0 && hidden)
        rc = forward_get_hidden(*out, hidden, err);
    if (rc == 0 && hidden)
        kept->windows = first + count;
    return rc;
}

/* --- Both --- */

struct models {
    const struct model *m, *original;
    struct divergence_kept *kept; /* may be NULL */
};

/* mean[count]: of each window. */
static int run_batch(double *mean, struct workspace *s, const struct eval_windows *w,
                     const struct models *both, size_t first, size_t count, struct err *err)
{
    struct forward *f = NULL, *g = NULL;
    const struct model *m = both->m;
    int rc = run_original(&g, w, both->original, both->kept, first, count, err);
    if (rc == 0)
        rc = eval_windows_run(&f, w, m, first, count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        rc = forward_logits(g, i, w->window, s->original, err);
        if (rc == 0)
            rc = forward_logits(f, i, w->window, s->other, err);
        if (rc < 0)
            break;
        divergence_rows(s->row, s->original, s->other, w->window, m->config->vocab,
                        backend_pool(w->b));
        mean[i] = 0;
        for (size_t r = 0; r < w->window; r++)
            mean[i] += s->row[r] / (double)w->window;
        progress_step(w->progress, 1);
    }
    forward_free(f);
    forward_free(g);
    return rc;
}

static void summarize(struct divergence *out, const double *mean)
{
    double n = (double)out->windows, square = 0;
    for (size_t i = 0; i < out->windows; i++)
        out->mean += mean[i] / n;
    for (size_t i = 0; i < out->windows; i++)
        square += (mean[i] - out->mean) * (mean[i] - out->mean);
    out->error = out->windows > 1 ? sqrt(square / (n - 1) / n) : 0.0;
}

static int run_all(struct divergence *out, const struct eval_windows *w, const struct models *both,
                   struct err *err)
{
    struct workspace s = {0};
    double *mean = mem_array(w->windows, sizeof *mean, err);
    int rc = mean ? workspace_init(&s, w->window, both->m->config->vocab, err) : ERR_NOMEM;
    if (both->kept)
        make_room(both->kept, w, both->original->config->hidden);
    for (size_t first = 0; rc == 0 && first < w->windows; first += w->batch) {
        size_t left = w->windows - first, count = left < w->batch ? left : w->batch;
        rc = run_batch(mean + first, &s, w, both, first, count, err);
    }
    if (rc == 0)
        summarize(out, mean);
    workspace_release(&s);
    free(mean);
    return rc;
}

int divergence_run(struct divergence *out, const struct model *m, const struct model *original,
                   struct divergence_kept *kept, struct backend *b, const uint32_t *ids,
                   size_t tokens, size_t window, size_t max_windows, struct progress *progress,
                   struct err *err)
{
    const struct models both = {m, original, kept};
    double started = clock_seconds();
    struct eval_windows w;
    size_t layers = m->config->layers + original->config->layers;
    *out = (struct divergence){.window = window};
    if (m->config->vocab != original->config->vocab)
        return err_set(err, ERR_INPUT, checkpoint_dir(m->checkpoint),
                       "has a vocabulary of %zu tokens, the original has %zu", m->config->vocab,
                       original->config->vocab);
    int rc = eval_windows_init(&w, m->config, b, ids, tokens, window, max_windows, progress, err);
    if (rc == 0) {
        out->windows = w.windows;
        progress_start(progress, w.windows * (layers + 1));
        rc = run_all(out, &w, &both, err);
    }
    if (rc == 0 && !isfinite(out->mean))
        rc = err_set(err, ERR_NUMERIC, checkpoint_dir(m->checkpoint),
                     "its divergence from the original is no number: logits overflow");
    out->seconds = clock_seconds() - started;
    eval_windows_release(&w);
    return rc;
}
