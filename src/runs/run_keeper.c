#include "src/runs/run_keeper.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/base/clock.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/thread.h"

enum { INTERVAL_MS = 300 };

struct run_keeper {
    const struct job_options *options;
    char *place;
    int lock;              /* of the record */
    struct run_record now; /* the thread's, until it has been joined */
    struct job *job;       /* set before the thread starts */
    pthread_t thread;
    bool started;
    pthread_mutex_t mutex; /* below */
    pthread_cond_t wake;
    bool stop;
    char log[APP_LOG_LINES][APP_LOG_WIDTH];
    size_t log_count;
};

static void keep_line(void *context, enum log_level level, const char *line)
{
    struct run_keeper *k = context;
    log_print(level, line);
    pthread_mutex_lock(&k->mutex);
    if (k->log_count == APP_LOG_LINES)
        memmove(k->log, k->log + 1, sizeof k->log - sizeof k->log[0]);
    else
        k->log_count++;
    snprintf(k->log[k->log_count - 1], sizeof k->log[0], "%s", line);
    pthread_mutex_unlock(&k->mutex);
}

static uint64_t resident_bytes(void)
{
    unsigned long pages = 0, resident = 0;
    FILE *f = fopen("/proc/self/statm", "re");
    if (f && fscanf(f, "%lu %lu", &pages, &resident) != 2)
        resident = 0;
    if (f)
        fclose(f);
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

static void copy_experts(struct app_run *out, struct job *job)
{
    struct pass_snapshot s = {0};
    job_snapshot(job, &s);
    size_t count = s.layers * s.experts;
    s.expert = mem_array(count, sizeof *s.expert, NULL);
    struct app_run_expert *experts = realloc(out->expert, (count ? count : 1) * sizeof *experts);
    if (experts)
        out->expert = experts;
    if (s.expert && experts && count) {
        job_snapshot(job, &s);
        out->layers = s.layers;
        out->experts = s.experts;
        for (size_t i = 0; i < count; i++)
            experts[i] = (struct app_run_expert){.done = s.expert[i].done,
                                                 .bits = s.expert[i].bits,
                                                 .mixed = s.expert[i].mixed,
                                                 .tokens = s.expert[i].tokens,
                                                 .loss = s.expert[i].loss,
                                                 .loss_rtn = s.expert[i].loss_rtn,
                                                 .fallback = s.expert[i].fallback,
                                                 .damping = s.expert[i].damping};
        out->layer = s.layer;
        out->layers_done = s.layers_done;
        out->fallbacks = s.fallbacks;
    }
    free(s.expert);
}

static void look(struct run_keeper *k)
{
    struct app_run *run = &k->now.run;
    struct progress *progress = k->options->progress;
    struct progress_state state;
    progress_get(progress, &state);
    run->phase = progress_cancelled(progress) ? APP_RUN_CANCELLING : APP_RUN_RUNNING;
    snprintf(run->stage, sizeof run->stage, "%.*s", (int)sizeof run->stage - 1, state.stage);
    run->steps_done = state.done;
    run->steps_total = state.total;
    run->evaluating = k->job && job_is_evaluating(k->job);
    run->seconds = k->job && !run->evaluating ? job_seconds(k->job) : state.seconds;
    if (run->evaluating && job_pass_seconds(k->job) >= 0)
        run->pass_seconds = job_pass_seconds(k->job);
    run->seconds_left = state.seconds_left;
    run->memory = resident_bytes();
    pthread_mutex_lock(&k->mutex);
    memcpy(run->log, k->log, sizeof run->log);
    run->log_count = k->log_count;
    pthread_mutex_unlock(&k->mutex);
    if (k->job)
        copy_experts(run, k->job);
}

/* A full disk does not stop the pass. */
static void save(const struct run_keeper *k)
{
    (void)!run_record_save(&k->now, k->place, NULL);
}

static void *keep(void *argument)
{
    struct run_keeper *k = argument;
    for (bool stop = false; !stop;) {
        look(k);
        save(k);
        struct timespec end = clock_deadline(INTERVAL_MS);
        pthread_mutex_lock(&k->mutex);
        while (!k->stop && pthread_cond_timedwait(&k->wake, &k->mutex, &end) == 0)
            continue;
        stop = k->stop;
        pthread_mutex_unlock(&k->mutex);
    }
    return NULL;
}

static int fill(struct run_record *r, const struct job_options *o, int argc, char **argv)
{
    r->started = (int64_t)time(NULL);
    r->folder = getcwd(NULL, 0);
    r->arguments = mem_array((size_t)argc + 1, sizeof *r->arguments, NULL);
    if (!r->folder || !r->arguments)
        return ERR_NOMEM;
    for (int i = 0; i < argc; i++) {
        if (strcmp(argv[i], "--resume") == 0)
            continue;
        char *copy = mem_strdup(argv[i], NULL);
        if (!copy)
            return ERR_NOMEM;
        r->arguments[r->arguments_count++] = copy;
    }
    snprintf(r->config_sha256, sizeof r->config_sha256, "%s", o->plan->config_sha256);
    snprintf(r->trace_sha256, sizeof r->trace_sha256, "%s", o->plan->trace_sha256);
    return run_record_absolute(r->run.out, sizeof r->run.out, o->out, NULL);
}

static void release(struct run_keeper *k)
{
    if (k->lock >= 0)
        close(k->lock);
    run_record_release(&k->now);
    pthread_cond_destroy(&k->wake);
    pthread_mutex_destroy(&k->mutex);
    free(k->place);
    free(k);
}

/* What an earlier job knew of the pass: this one may only evaluate. */
static double earlier_pass_seconds(const char *place)
{
    struct run_record r;
    if (run_record_load(&r, place, NULL) < 0)
        return 0;
    double seconds = r.run.pass_seconds;
    run_record_release(&r);
    return seconds;
}

struct run_keeper *run_keeper_new(const struct job_options *options, int argc, char **argv)
{
    struct run_keeper *k = mem_array(1, sizeof *k, NULL);
    if (!k)
        return NULL;
    k->options = options;
    k->lock = -1;
    pthread_mutex_init(&k->mutex, NULL);
    pthread_cond_init(&k->wake, NULL);
    if (fill(&k->now, options, argc, argv) < 0 ||
        run_record_place(&k->place, k->now.run.out, NULL) < 0 ||
        run_record_lock(&k->lock, k->place, NULL) < 0) {
        release(k);
        return NULL;
    }
    if (options->resume)
        k->now.run.pass_seconds = earlier_pass_seconds(k->place);
    log_set_sink(keep_line, k);
    return k;
}

void run_keeper_watch(struct run_keeper *k, struct job *job)
{
    if (!k)
        return;
    k->job = job;
    k->started = thread_start(&k->thread, keep, k) == 0;
}

static void tell_end(struct run_keeper *k, int rc, const struct err *err)
{
    struct app_run *run = &k->now.run;
    const struct perplexity *p = k->job ? job_perplexity(k->job) : NULL;
    run->phase = rc == 0 ? APP_RUN_DONE : rc == ERR_CANCELLED ? APP_RUN_CANCELLED : APP_RUN_FAILED;
    run->message[0] = '\0';
    if (k->job)
        run->seconds = job_seconds(k->job);
    if (k->job && job_pass_seconds(k->job) >= 0)
        run->pass_seconds = job_pass_seconds(k->job);
    if (run->phase == APP_RUN_FAILED)
        err_format(run->message, sizeof run->message, err);
    else if (rc == 0 && p)
        snprintf(run->message, sizeof run->message, "perplexity %.4f (windows of %zu)", p->value,
                 p->window);
    if (rc == 0 && p && run->pass_seconds > 0) {
        size_t used = strlen(run->message);
        snprintf(run->message + used, sizeof run->message - used, "; the pass took %.1f s",
                 run->pass_seconds);
    }
}

void run_keeper_end(struct run_keeper *k, int rc, const struct err *err)
{
    if (!k)
        return;
    pthread_mutex_lock(&k->mutex);
    k->stop = true;
    pthread_cond_signal(&k->wake);
    pthread_mutex_unlock(&k->mutex);
    if (k->started)
        pthread_join(k->thread, NULL);
    log_set_sink(NULL, NULL);
    /* Who is refused before there is a job leaves the record of an earlier run alone. */
    if (k->job || !run_record_exists(k->place)) {
        look(k);
        tell_end(k, rc, err);
        save(k);
    }
    release(k);
}
