#include "src/workbench/open_host.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/thread.h"
#include "src/command_line.h"
#include "src/job.h"
#include "src/runs/detached.h"
#include "src/runs/results.h"
#include "src/runs/runs.h"
#include "src/similarity.h"
#include "src/workbench/ask.h"
#include "src/workbench/losses_shelf.h"
#include "ui/app/app_budget.h"

/* A thread of the host and what it tells. All but `progress` is guarded by the host's lock. */
struct worker {
    pthread_t thread;
    bool started;  /* the thread exists and was not joined */
    bool finished; /* its function has returned */
    int rc;
    struct err err;
    struct progress progress;
};

struct open_host {
    struct open_host_options options;
    const struct session *session;
    pthread_mutex_t lock;
    struct worker similarity;
    double *cosine;
    char similarity_message[ERR_MESSAGE_MAX];
    struct detached *run;
    atomic_bool made_runs_dir; /* by this host, not found */
    bool run_started;          /* by this host: it needs the folder of the runs */
    char *here;                /* folders below it are shown without it; may be NULL */
    struct ask *ask;           /* dry runs */
    struct results *results;
    struct losses_shelf *losses; /* NULL: no model */
    char inputs[HASH_HEX_SIZE];  /* of the runs: runs_inputs() */
};

static int start(struct worker *w, void *(*run)(void *), struct open_host *h, struct err *err)
{
    w->finished = false;
    w->rc = 0;
    w->err = (struct err){0};
    atomic_store(&w->progress.cancel, false);
    int failed = thread_start(&w->thread, run, h);
    if (failed)
        return err_set(err, ERR_NOMEM, NULL, "cannot start a thread: %s", strerror(failed));
    w->started = true;
    return 0;
}

static void stop(struct worker *w)
{
    atomic_store(&w->progress.cancel, true);
    if (w->started)
        pthread_join(w->thread, NULL);
    w->started = false;
}

static void *similarity_main(void *argument)
{
    struct open_host *h = argument;
    struct model model = {0};
    struct parallel *pool = NULL;
    struct err err = {0};
    double *cosine = NULL;
    int rc = model_open(&model, h->options.model_dir, &err);
    if (rc == 0)
        rc = parallel_new(&pool, h->options.threads, &err);
    if (rc == 0)
        rc = similarity_run(&cosine, &model, pool, &h->similarity.progress, &err);
    parallel_free(pool);
    model_release(&model);
    pthread_mutex_lock(&h->lock);
    h->cosine = cosine;
    h->similarity.rc = rc;
    h->similarity.err = err;
    h->similarity.finished = true;
    pthread_mutex_unlock(&h->lock);
    return NULL;
}

static enum app_cosine_phase host_cosine(void *context, const double **cosine, double *progress,
                                         const char **message)
{
    struct open_host *h = context;
    enum app_cosine_phase phase = APP_COSINE_RUNNING;
    struct progress_state state;
    progress_get(&h->similarity.progress, &state);
    *progress = state.total ? (double)state.done / (double)state.total : 0;
    *message = state.stage[0] ? "reading the experts' weights" : "starting";
    pthread_mutex_lock(&h->lock);
    if (!h->similarity.started && !h->similarity.finished) {
        if (start(&h->similarity, similarity_main, h, &h->similarity.err) < 0) {
            h->similarity.finished = true;
            h->similarity.rc = ERR_NOMEM;
        }
    } else if (h->similarity.finished && h->similarity.rc == 0) {
        *cosine = h->cosine;
        *progress = 1;
        phase = APP_COSINE_READY;
    }
    if (h->similarity.finished && h->similarity.rc < 0) {
        err_format(h->similarity_message, sizeof h->similarity_message, &h->similarity.err);
        *message = h->similarity_message;
        phase = APP_COSINE_FAILED;
    }
    pthread_mutex_unlock(&h->lock);
    return phase;
}

/* The job of a plan as the screen starts it. `out` must outlive the options. */
static int job_of_plan(struct job_options *o, char *out, size_t out_size, struct open_host *h,
                       const struct plan *plan, struct err *err)
{
    char name[RUNS_NAME_MAX];
    int rc = runs_name(name, plan, h->inputs, err);
    if (rc < 0)
        return rc;
    if ((size_t)snprintf(out, out_size, "%s/%s", h->options.runs_dir, name) >= out_size)
        return err_set(err, ERR_USAGE, h->options.runs_dir, "the name of the folder is too long");
    bool own = h->options.calib_count > 0;
    *o = (struct job_options){
        .model_dir = h->options.model_dir,
        .plan = plan,
        .plan_path = "the plan on the screen",
        .calib = own ? h->options.calib : &h->options.trace_path,
        .calib_count = own ? h->options.calib_count : 1,
        .out = out,
        .format = PASS_MOQA,
        .device = {.threads = h->options.threads},
        .texts = h->options.texts,
        .texts_count = h->options.texts_count,
    };
    return 0;
}

/* The first time when the session is loaded, which it is not yet when the host is made. */
static struct detached *run_of(struct open_host *h)
{
    if (!h->run &&
        detached_new(&h->run, NULL, h->session->config.sha256, h->session->trace_sha256, NULL) < 0)
        h->run = NULL;
    return h->run;
}

static void make_runs_dir(struct open_host *h)
{
    if (mkdir(h->options.runs_dir, 0777) == 0)
        atomic_store(&h->made_runs_dir, true);
}

static int dry_run_text(void *context, const struct plan *plan, struct str *text, struct err *err)
{
    char out[512];
    struct job_options o;
    struct open_host *h = context;
    make_runs_dir(h); /* removed at the end if no run was made in it */
    int rc = job_of_plan(&o, out, sizeof out, context, plan, err);
    o.resume = true; /* as the run itself: it goes on with what is there */
    return rc < 0 ? rc : job_dry_run(text, &o, err);
}

static enum app_ask host_dry_run(void *context, const struct plan *plan, const char **text)
{
    struct open_host *h = context;
    return ask_put(h->ask, plan, text);
}

/* The command that runs a plan as job_of_plan() describes it. */
static int start_job(struct open_host *h, const struct job_options *o, struct err *err)
{
    enum { FIXED = 10 };
    char threads[24];
    const char **list = mem_array(FIXED + o->calib_count + o->texts_count, sizeof *list, err);
    size_t n = 0;
    if (!list)
        return ERR_NOMEM;
    list[n++] = "quantize";
    list[n++] = "PLAN";
    list[n++] = "--model";
    list[n++] = o->model_dir;
    list[n++] = "--output";
    list[n++] = o->out;
    if (o->device.threads) {
        snprintf(threads, sizeof threads, "%zu", o->device.threads);
        list[n++] = "--threads";
        list[n++] = threads;
    }
    list[n++] = "--calib";
    for (size_t i = 0; i < o->calib_count; i++)
        list[n++] = o->calib[i];
    if (o->texts_count)
        list[n++] = "--text";
    for (size_t i = 0; i < o->texts_count; i++)
        list[n++] = o->texts[i];
    int rc = detached_start(h->run, o->plan, o->out, list, n, err);
    h->run_started = h->run_started || rc == 0;
    free(list);
    return rc;
}

static int host_run_start(void *context, const struct plan *plan, bool resume, struct err *err)
{
    struct open_host *h = context;
    struct job_options o = {0};
    char out[512];
    struct detached *run = run_of(h);
    if (!run)
        return err_set(err, ERR_NOMEM, NULL, "no memory to start a run");
    if (h->results)
        results_stop(h->results, true);
    if (resume)
        return detached_resume(run, err);
    int rc = job_of_plan(&o, out, sizeof out, h, plan, err);
    if (rc < 0)
        return rc;
    make_runs_dir(h); /* if it fails, the job says why it cannot write there */
    return start_job(h, &o, err);
}

static void host_run_poll(void *context, struct app_run *out)
{
    struct open_host *h = context;
    struct detached *run = run_of(h);
    size_t here = h->here ? strlen(h->here) : 0;
    if (!run)
        return;
    detached_poll(run, out);
    /* Where the program was started, folders are shown as they would be typed. */
    if (here && strncmp(out->out, h->here, here) == 0 && out->out[here] == '/')
        memmove(out->out, out->out + here + 1, strlen(out->out + here + 1) + 1);
}

static void host_run_cancel(void *context)
{
    struct detached *run = run_of(context);
    if (run)
        detached_cancel(run);
}

/* The first time when the session is loaded, which it is not yet when the host is made. */
static struct results *results_of(struct open_host *h)
{
    const struct open_host_options *o = &h->options;
    struct results_options options = {.model_dir = o->model_dir,
                                      .runs_dir = o->runs_dir,
                                      .config_sha256 = h->session->config.sha256,
                                      .texts = o->texts,
                                      .texts_count = o->texts_count,
                                      .calib = o->calib,
                                      .calib_count = o->calib_count,
                                      .window = h->session->trace.window,
                                      .threads = o->threads};
    if (!h->results && results_new(&h->results, &options, NULL) < 0)
        h->results = NULL;
    return h->results;
}

static bool is_idle(struct open_host *h)
{
    struct detached *run = run_of(h);
    bool measures = h->losses && losses_shelf_active(h->losses);
    return !measures && (!run || !detached_active(run));
}

static size_t host_results(void *context, const struct app_result **out)
{
    struct results *results = results_of(context);
    *out = NULL;
    return results ? results_get(results, out, is_idle(context)) : 0;
}

static bool host_results_pending(void *context)
{
    struct results *results = results_of(context);
    return results && results_pending(results, is_idle(context));
}

static int host_result_plan(void *context, const struct app_result *result, struct plan *out,
                            struct err *err)
{
    struct open_host *h = context;
    int rc = runs_plan(out, result->name, err);
    if (rc == 0)
        rc = plan_check_model(out, result->name, &h->session->config, err);
    if (rc < 0)
        plan_release(out);
    return rc;
}

static bool host_last_losses(void *context, struct app_run_losses *out)
{
    struct results *results = results_of(context);
    const struct app_result *list;
    if (!results)
        return false;
    results_get(results, &list, false); /* looks at the folder now and then */
    return results_losses(results, out);
}

static bool host_measure_original(void *context, bool begin, struct err *err)
{
    struct results *results = results_of(context);
    if (!results)
        return false;
    return begin ? results_measure(results, err) == 0 : results_stop(results, false);
}

static const struct losses *host_losses(void *context, const struct settings *settings,
                                        const char **path)
{
    struct open_host *h = context;
    return losses_shelf_find(h->losses, settings, path);
}

static bool host_losses_differ(void *context, const struct losses *losses)
{
    struct open_host *h = context;
    return losses_shelf_differ(h->losses, losses);
}

static int host_losses_start(void *context, const struct settings *settings, struct err *err)
{
    struct open_host *h = context;
    if (h->results)
        results_stop(h->results, true); /* one at a time has the processors and the memory */
    return losses_shelf_start(h->losses, settings, err);
}

static void host_losses_poll(void *context, struct app_losses *out)
{
    struct open_host *h = context;
    losses_shelf_poll(h->losses, out);
}

static void host_losses_cancel(void *context)
{
    struct open_host *h = context;
    losses_shelf_cancel(h->losses);
}

static void host_command_line(void *context, const struct plan *plan, const char *verb,
                              const struct app_budget *budget, struct str *out)
{
    struct open_host *h = context;
    struct command_budget b = {0};
    if (budget && h->losses) {
        losses_shelf_find(h->losses, &plan->settings, &b.losses);
        b.bits = budget->bits;
        b.bytes = budget->unit == APP_BYTES ? budget->bytes : 0;
        b.grain = (enum budget_grain)budget->grain;
    }
    command_line(out, verb, h->options.trace_path, h->options.model_dir, plan, &b);
}

/* Nothing but the screen may write to the terminal; a pass keeps a log of its own. */
static void drop_line(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int open_host_new(struct open_host **out, const struct open_host_options *options,
                  const struct session *session, struct err *err)
{
    struct open_host *h = mem_array(1, sizeof *h, err);
    *out = h;
    if (!h)
        return ERR_NOMEM;
    h->options = *options;
    h->session = session;
    h->here = getcwd(NULL, 0);
    pthread_mutex_init(&h->lock, NULL);
    log_set_sink(drop_line, NULL);
    progress_init(&h->similarity.progress);
    struct losses_shelf_options shelf = {
        .model_dir = options->model_dir,
        .runs_dir = options->runs_dir,
        .path = options->losses_path,
        .calib = options->calib_count ? h->options.calib : &h->options.trace_path,
        .calib_count = options->calib_count ? options->calib_count : 1,
        .trace = options->calib_count ? NULL : &session->trace,
        .threads = options->threads};
    int rc = ask_new(&h->ask, dry_run_text, h, err);
    if (rc == 0 && options->model_dir)
        rc = losses_shelf_new(&h->losses, &shelf, err);
    if (rc < 0) {
        open_host_free(h);
        *out = NULL;
    }
    return rc;
}

void open_host_free(struct open_host *h)
{
    if (!h)
        return;
    ask_free(h->ask);
    losses_shelf_free(h->losses);
    results_free(h->results);
    stop(&h->similarity);
    detached_free(h->run);
    progress_release(&h->similarity.progress);
    log_set_sink(NULL, NULL);
    if (h->made_runs_dir && !h->run_started)
        rmdir(h->options.runs_dir); /* only an empty folder goes */
    pthread_mutex_destroy(&h->lock);
    free(h->cosine);
    free(h->here);
    free(h);
}

int open_host_read(struct open_host *h, struct err *err)
{
    const struct open_host_options *o = &h->options;
    /* Without them the run itself will say what is missing. */
    if (o->model_dir && runs_inputs(h->inputs, o->model_dir, o->calib, o->calib_count, NULL) < 0)
        h->inputs[0] = '\0';
    if (h->losses)
        return losses_shelf_open(h->losses, &h->session->config, err);
    return h->options.losses_path ? err_set(err, ERR_USAGE, NULL, "--losses needs --model") : 0;
}

void open_host_callbacks(struct open_host *h, struct app_host *out)
{
    *out = (struct app_host){.context = h, .command_line = host_command_line};
    if (!h->options.model_dir)
        return;
    results_of(h);
    run_of(h);
    out->cosine = host_cosine;
    out->dry_run = host_dry_run;
    out->run_start = host_run_start;
    out->run_poll = host_run_poll;
    out->run_cancel = host_run_cancel;
    out->results = host_results;
    out->results_pending = host_results_pending;
    out->result_plan = host_result_plan;
    out->last_losses = host_last_losses;
    out->measure_original = host_measure_original;
    out->losses = host_losses;
    out->losses_differ = host_losses_differ;
    out->losses_start = host_losses_start;
    out->losses_poll = host_losses_poll;
    out->losses_cancel = host_losses_cancel;
}
