#include "src/quant/lane.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/thread.h"

struct lane {
    pthread_t thread;
    bool threaded;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    lane_fn fn; /* NULL: nothing to do */
    void *context;
    bool busy, ends;
    struct err err; /* of the last work that failed */
};

static void *run(void *context)
{
    struct lane *l = context;
    pthread_mutex_lock(&l->lock);
    while (!l->ends || l->fn) {
        if (!l->fn) {
            pthread_cond_wait(&l->changed, &l->lock);
            continue;
        }
        lane_fn fn = l->fn;
        struct err err = {0};
        l->fn = NULL;
        pthread_mutex_unlock(&l->lock);
        int rc = fn(l->context, &err);
        pthread_mutex_lock(&l->lock);
        if (rc < 0)
            l->err = err;
        l->busy = false;
        pthread_cond_broadcast(&l->changed);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

int lane_new(struct lane **out, struct err *err)
{
    struct lane *l = mem_array(1, sizeof *l, err);
    *out = l;
    if (!l)
        return ERR_NOMEM;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->changed, NULL);
    l->threaded = thread_start(&l->thread, run, l) == 0;
    return 0;
}

void lane_free(struct lane *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->ends = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    if (l->threaded)
        pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    free(l);
}

int lane_wait(struct lane *l, struct err *err)
{
    pthread_mutex_lock(&l->lock);
    while (l->busy)
        pthread_cond_wait(&l->changed, &l->lock);
    int rc = l->err.code;
    if (rc && err && !err->code)
        *err = l->err;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void lane_submit(struct lane *l, lane_fn fn, void *context)
{
    if (!l->threaded) {
        struct err err = {0};
        if (fn(context, &err) < 0)
            l->err = err;
        return;
    }
    pthread_mutex_lock(&l->lock);
    l->fn = fn;
    l->context = context;
    l->busy = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
}
