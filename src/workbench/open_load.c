#include "src/workbench/open_load.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "data/base/thread.h"

enum { FORK_SECONDS = 2 };

struct open_load {
    struct open_request request;
    struct session session;
    struct plan plan;
    struct open_host *host;
    struct app_options options;

    struct watch watch;
    atomic_bool cancel;
    pthread_t thread;
    bool started; /* the thread exists and was not joined */
    pthread_mutex_t lock;
    pthread_cond_t wake; /* `begun` or the end */
    bool begun;          /* under the lock, as all below: the reader has been forked */
    struct app_load state;
    int rc;
    struct err err;
};

static void tell(void *context, enum watch_step step, uint64_t done, uint64_t total)
{
    struct open_load *l = context;
    pthread_mutex_lock(&l->lock);
    struct app_load_step *s = &l->state.step[step];
    if (done >= s->done) /* several threads tell at once */
        *s = (struct app_load_step){s->name, s->unit, done, total};
    l->state.current = step;
    l->begun = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
}

int open_load_new(struct open_load **out, const struct open_request *request, struct err *err)
{
    static const struct app_load_step steps[WATCH_STEPS] = {
        [WATCH_READ] = {.name = "reading the trace"},
        [WATCH_CHECK] = {.name = "checking it", .unit = "layers"},
        [WATCH_HASH] = {.name = "hashing the file"},
        [WATCH_INDEX] = {.name = "building the index", .unit = "layers"},
    };
    struct open_load *l = mem_array(1, sizeof *l, err);
    *out = l;
    if (!l)
        return ERR_NOMEM;
    l->request = *request;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->wake, NULL);
    memcpy(l->state.step, steps, sizeof steps);
    l->state.count = WATCH_STEPS;
    l->watch = (struct watch){&l->cancel, tell, l};
    /* First of all, since it takes the log: from here on nothing writes to the terminal. */
    int rc = open_host_new(&l->host, &l->request.host, &l->session, err);
    if (rc < 0) {
        open_load_free(l);
        *out = NULL;
    }
    return rc;
}

static void join(struct open_load *l)
{
    if (l->started)
        pthread_join(l->thread, NULL);
    l->started = false;
}

void open_load_free(struct open_load *l)
{
    if (!l)
        return;
    atomic_store(&l->cancel, true);
    join(l);
    open_host_free(l->host);
    plan_release(&l->plan);
    session_release(&l->session);
    pthread_cond_destroy(&l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

static int load(struct open_load *l, struct err *err)
{
    const struct open_request *r = &l->request;
    struct session *s = &l->session;
    int rc = session_open_watched(s, r->host.trace_path, r->host.model_dir, &l->watch, err);
    if (rc == 0 && r->start_from_plan)
        rc = plan_load(&l->plan, r->plan_path, err);
    if (rc == 0 && r->start_from_plan && s->has_config)
        rc = plan_check_model(&l->plan, r->plan_path, &s->config, err);
    if (rc == 0)
        rc = open_host_read(l->host, err);
    if (rc < 0)
        return rc;
    l->options = (struct app_options){
        .trace = &s->trace,
        .analysis = s->analysis,
        .trace_path = r->host.trace_path,
        .trace_sha256 = s->trace_sha256,
        .config = s->has_config ? &s->config : NULL,
        .plan = r->start_from_plan ? &l->plan : NULL,
        .plan_path = r->plan_path,
        .settings = r->settings,
        .settings_over = r->settings_over,
        .no_session = r->no_session,
    };
    open_host_callbacks(l->host, &l->options.host);
    return 0;
}

static void *load_main(void *argument)
{
    struct open_load *l = argument;
    struct err err = {0};
    int rc = load(l, &err);
    pthread_mutex_lock(&l->lock);
    l->rc = rc;
    l->err = err;
    l->state.ended = true;
    l->begun = true;
    pthread_cond_signal(&l->wake);
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void poll_load(void *context, struct app_load *out)
{
    struct open_load *l = context;
    pthread_mutex_lock(&l->lock);
    *out = l->state;
    pthread_mutex_unlock(&l->lock);
}

static int finish_load(void *context, const struct app_options **out, struct err *err)
{
    struct open_load *l = context;
    join(l);
    *out = &l->options;
    if (l->rc < 0 && err)
        *err = l->err;
    return l->rc;
}

/* A process is best forked while no other thread does anything: the screen, which allocates, waits
 * for that moment, but not for a slow disk. */
static void wait_for_fork(struct open_load *l)
{
    struct timespec end = clock_deadline(FORK_SECONDS * 1000);
    pthread_mutex_lock(&l->lock);
    while (!l->begun && pthread_cond_timedwait(&l->wake, &l->lock, &end) == 0)
        continue;
    pthread_mutex_unlock(&l->lock);
}

int open_load_start(struct open_load *l, struct app_loader *out, struct err *err)
{
    *out = (struct app_loader){l, l->request.host.trace_path, poll_load, finish_load};
    int failed = thread_start(&l->thread, load_main, l);
    if (failed)
        return err_set(err, ERR_NOMEM, NULL, "cannot start a thread: %s", strerror(failed));
    l->started = true;
    wait_for_fork(l);
    return 0;
}

int open_load_now(struct open_load *l, const struct app_options **out, struct err *err)
{
    *out = &l->options;
    return load(l, err);
}
