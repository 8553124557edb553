#include "data/base/parallel.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

#include "data/base/mem.h"

struct parallel {
    size_t threads; /* the caller's thread included */
    size_t started; /* threads that run worker_main */
    pthread_t *thread;
    pthread_mutex_t lock;
    pthread_cond_t wake, idle;
    size_t round; /* number of the current loop */
    size_t busy;  /* workers still in it */
    bool quit;
    parallel_fn fn;
    void *context;
    size_t count;
    atomic_size_t next;
};

struct worker {
    struct parallel *pool;
    size_t number;
};

static void run_items(struct parallel *p, size_t worker)
{
    for (;;) {
        size_t item = atomic_fetch_add(&p->next, 1);
        if (item >= p->count)
            return;
        p->fn(p->context, item, worker);
    }
}

static void *worker_main(void *argument)
{
    struct worker w = *(struct worker *)argument;
    free(argument);
    struct parallel *p = w.pool;
    size_t seen = 0;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (!p->quit && p->round == seen)
            pthread_cond_wait(&p->wake, &p->lock);
        if (p->quit)
            break;
        seen = p->round;
        pthread_mutex_unlock(&p->lock);
        run_items(p, w.number);
        pthread_mutex_lock(&p->lock);
        if (--p->busy == 0)
            pthread_cond_signal(&p->idle);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

static size_t allowed_cpus(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) < 0)
        return 1;
    int count = CPU_COUNT(&set);
    return count > 0 ? (size_t)count : 1;
}

static int start_worker(struct parallel *p, size_t number, struct err *err)
{
    struct worker *w = mem_array(1, sizeof *w, err);
    if (!w)
        return ERR_NOMEM;
    *w = (struct worker){p, number};
    if (pthread_create(&p->thread[p->started], NULL, worker_main, w) != 0) {
        free(w);
        return err_set(err, ERR_NOMEM, NULL, "cannot start thread %zu of %zu", number + 1,
                       p->threads);
    }
    p->started++;
    return 0;
}

int parallel_new(struct parallel **out, size_t threads, struct err *err)
{
    *out = NULL;
    struct parallel *p = mem_array(1, sizeof *p, err);
    if (!p)
        return ERR_NOMEM;
    p->threads = threads ? threads : allowed_cpus();
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    pthread_cond_init(&p->idle, NULL);
    p->thread = mem_array(p->threads, sizeof *p->thread, err);
    int rc = p->thread ? 0 : ERR_NOMEM;
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* inherited by the workers */
    for (size_t i = 1; rc == 0 && i < p->threads; i++)
        rc = start_worker(p, i, err);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc < 0)
        parallel_free(p);
    else
        *out = p;
    return rc;
}

void parallel_free(struct parallel *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->quit = true;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    for (size_t i = 0; i < p->started; i++)
        pthread_join(p->thread[i], NULL);
    pthread_cond_destroy(&p->idle);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p->thread);
    free(p);
}

size_t parallel_threads(const struct parallel *p)
{
    return p ? p->threads : 1;
}

size_t parallel_spaces(const struct parallel *p, size_t count)
{
    size_t threads = parallel_threads(p);
    return count < threads ? count : threads;
}

size_t parallel_space(const struct parallel *p, size_t count, size_t item, size_t worker)
{
    return count < parallel_threads(p) ? item : worker;
}

void parallel_for(struct parallel *p, size_t count, parallel_fn fn, void *context)
{
    if (!p || p->started == 0 || count < 2) {
        for (size_t i = 0; i < count; i++)
            fn(context, i, 0);
        return;
    }
    pthread_mutex_lock(&p->lock);
    p->fn = fn;
    p->context = context;
    p->count = count;
    atomic_store(&p->next, 0);
    p->busy = p->started;
    p->round++;
    pthread_cond_broadcast(&p->wake);
    pthread_mutex_unlock(&p->lock);
    run_items(p, 0);
    pthread_mutex_lock(&p->lock);
    while (p->busy)
        pthread_cond_wait(&p->idle, &p->lock);
    pthread_mutex_unlock(&p->lock);
}
