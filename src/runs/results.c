#include "src/runs/results.h"

#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/thread.h"
#include "data/trace_h5.h"
#include "src/runs/original.h"
#include "src/runs/runs_watch.h"

struct results {
    struct results_options options;
    struct runs_watch *watch;
    pthread_t thread;
    bool started; /* the thread exists and was not joined */
    struct progress progress;
    pthread_mutex_t lock;
    bool finished; /* below: under the lock. The thread's function has returned */
    bool found;
    struct app_evaluation wanted; /* the texts of the session; window 0: not known yet */
    int rc;
    struct err err;

    bool looked; /* there is no record yet */
    bool only_look;
    bool ended;  /* it is measured, or failed, or was stopped by the user */
    bool paused; /* stopped to go on later */
    char note[ERR_MESSAGE_MAX];
    enum app_measure measure;
    struct app_result *list; /* the caller's: the original, then the runs of `version` */
    size_t capacity, count;
    unsigned long version;
    struct app_evaluation *evaluation; /* the original's */
    size_t evaluations_capacity;
};

int results_new(struct results **out, const struct results_options *options, struct err *err)
{
    struct results *r = mem_array(1, sizeof *r, err);
    *out = r;
    if (!r)
        return ERR_NOMEM;
    r->options = *options;
    pthread_mutex_init(&r->lock, NULL);
    progress_init(&r->progress);
    int rc = runs_watch_new(&r->watch, options->runs_dir, options->model_dir,
                            options->config_sha256, err);
    if (rc < 0) {
        results_free(r);
        *out = NULL;
    }
    return rc;
}

static void join(struct results *r)
{
    if (r->started)
        pthread_join(r->thread, NULL);
    r->started = false;
}

void results_free(struct results *r)
{
    if (!r)
        return;
    atomic_store(&r->progress.cancel, true);
    join(r);
    runs_watch_free(r->watch);
    progress_release(&r->progress);
    pthread_mutex_destroy(&r->lock);
    free(r->list);
    free(r->evaluation);
    free(r);
}

/* --- The measurement --- */

/* The length of a job's windows: a trace's own, else the default. */
static int find_window(size_t *out, const struct results_options *o, struct err *err)
{
    struct trace t = {0};
    *out = o->calib_count ? 0 : o->window;
    if (o->calib_count != 1 || !trace_h5_probe(o->calib[0]))
        return 0;
    int rc = trace_h5_load(&t, o->calib[0], NULL, err);
    *out = t.window;
    trace_release(&t);
    return rc;
}

static void *measure_main(void *argument)
{
    struct results *r = argument;
    const struct results_options *o = &r->options;
    struct original original = {0};
    struct err err = {0};
    struct original_request request = {.model_dir = o->model_dir,
                                       .runs_dir = o->runs_dir,
                                       .texts = o->texts,
                                       .texts_count = o->texts_count,
                                       .threads = o->threads,
                                       .progress = &r->progress};
    bool found = true;
    int rc = find_window(&request.window, o, &err);
    if (rc == 0)
        rc = r->only_look ? original_find(&original, &found, &request, &err)
                          : original_measure(&original, &request, &err);
    pthread_mutex_lock(&r->lock);
    r->found = found;
    if (rc == 0) {
        r->wanted = (struct app_evaluation){
            .window = original.perplexity.window, .perplexity = NAN, .wanted = true};
        snprintf(r->wanted.name, sizeof r->wanted.name, "%s", original.text.name);
        snprintf(r->wanted.text, sizeof r->wanted.text, "%s", original.text.sha256);
    }
    r->rc = rc;
    r->err = err;
    r->finished = true;
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

static void fail(struct results *r, const struct err *err)
{
    r->measure = APP_MEASURE_FAILED;
    r->ended = true;
    err_format(r->note, sizeof r->note, err);
}

static void start(struct results *r, bool only_look)
{
    struct err err = {0};
    r->finished = false;
    r->paused = false;
    r->only_look = only_look;
    atomic_store(&r->progress.cancel, false);
    int failed = thread_start(&r->thread, measure_main, r);
    r->started = !failed;
    r->measure = only_look ? APP_MEASURE_WAITING : APP_MEASURE_WORKING;
    if (failed && err_set(&err, ERR_NOMEM, NULL, "cannot start a thread: %s", strerror(failed)) < 0)
        fail(r, &err);
}

static void finish(struct results *r)
{
    join(r);
    if (r->rc == ERR_CANCELLED) {
        r->measure = r->paused ? APP_MEASURE_WAITING : APP_MEASURE_CANCELLED;
        r->ended = !r->paused;
    } else if (r->rc < 0) {
        fail(r, &r->err);
    } else if (r->found) {
        r->measure = APP_MEASURE_DONE;
        r->ended = true;
    } else {
        r->looked = true;
    }
}

/* Takes what the thread has found, and starts one where something is left to do: a look for the
 * record at any time, the measurement while nothing else needs the machine. */
static void go_on(struct results *r, bool idle)
{
    pthread_mutex_lock(&r->lock);
    bool finished = r->started && r->finished;
    pthread_mutex_unlock(&r->lock);
    if (finished)
        finish(r);
    if (!r->started && !r->ended && r->options.texts_count && (idle || !r->looked))
        start(r, !r->looked);
}

bool results_stop(struct results *r, bool pause)
{
    go_on(r, false); /* it may have ended since somebody looked */
    if (!r->started || r->only_look)
        return false;
    r->paused = pause;
    atomic_store(&r->progress.cancel, true);
    return true;
}

int results_measure(struct results *r, struct err *err)
{
    if (r->options.texts_count == 0)
        return err_set(err, ERR_USAGE, NULL,
                       "nothing to measure on; start with --text FILE (and the same texts each "
                       "time)");
    if (r->measure != APP_MEASURE_DONE && !r->started) {
        r->ended = false;
        r->measure = APP_MEASURE_WAITING;
    }
    return 0;
}

bool results_pending(struct results *r, bool idle)
{
    go_on(r, idle);
    return r->started || runs_watch_pending(r->watch);
}

/* --- The list --- */

/* The measurements of the original, and a place for the one of this session. */
static void take_evaluations(struct results *r, struct app_result *row)
{
    size_t n = row->evaluations;
    pthread_mutex_lock(&r->lock);
    struct app_evaluation wanted = r->wanted;
    pthread_mutex_unlock(&r->lock);
    if (mem_grow((void **)&r->evaluation, &r->evaluations_capacity, n + 1, sizeof *r->evaluation,
                 NULL) < 0) {
        row->evaluations = 0;
        return;
    }
    if (n)
        memcpy(r->evaluation, row->evaluation, n * sizeof *r->evaluation);
    row->evaluation = r->evaluation;
    if (wanted.window == 0)
        return;
    size_t i = 0;
    while (i < n && (strcmp(r->evaluation[i].text, wanted.text) != 0 ||
                     r->evaluation[i].window != wanted.window || r->evaluation[i].part))
        i++;
    if (i == n)
        r->evaluation[row->evaluations++] = wanted;
    r->evaluation[i].wanted = true;
}

/* Its row: what is known of it, and how far the measurement on the session's texts is. */
static void fill_original(struct results *r, struct app_result *row)
{
    struct progress_state state;
    if (r->options.texts_count) {
        row->measure = r->measure;
        progress_get(&r->progress, &state);
        row->progress = state.total ? (double)state.done / (double)state.total : 0;
        row->seconds_left = state.seconds_left;
        snprintf(row->note, sizeof row->note, "%.*s", (int)sizeof row->note - 1, r->note);
    } else {
        row->measure = APP_MEASURE_NONE;
    }
    take_evaluations(r, row);
}

size_t results_get(struct results *r, const struct app_result **out, bool idle)
{
    const struct app_result *runs;
    unsigned long version;
    go_on(r, idle);
    size_t n = runs_watch_get(r->watch, &runs, &version);
    size_t own = n > 0 && runs[0].original ? 1 : 0;
    if (!r->list || version != r->version) {
        if (mem_grow((void **)&r->list, &r->capacity, n + 1, sizeof *r->list, NULL) < 0) {
            *out = NULL;
            return 0;
        }
        if (n > own)
            memcpy(r->list + 1, runs + own, (n - own) * sizeof *runs);
        r->version = version;
        r->count = n - own + 1;
    }
    r->list[0] = own ? runs[0] : (struct app_result){.original = true, .method = "original"};
    if (!own)
        runs_watch_model(r->watch, &r->list[0]);
    fill_original(r, &r->list[0]);
    *out = r->list;
    return r->count;
}

bool results_losses(struct results *r, struct app_run_losses *out)
{
    return runs_watch_losses(r->watch, out);
}
