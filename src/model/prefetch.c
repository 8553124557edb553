#include "src/model/prefetch.h"
#include "data/base/thread.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct prefetch {
    const struct checkpoint *checkpoint;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    bool wanted, busy, ends;
    size_t layer;
    atomic_bool stop; /* give up what is being read */
    atomic_size_t bytes;
};

/* Through plain malloc(): a failure here is nobody's error. */
static void read_tensor(struct prefetch *p, const struct tensor_info *t, void **buffer,
                        size_t *capacity)
{
    if (t->bytes > *capacity) {
        free(*buffer);
        *buffer = malloc(t->bytes);
        *capacity = *buffer ? t->bytes : 0;
    }
    if (*buffer && checkpoint_read(p->checkpoint, t, *buffer, NULL) == 0)
        atomic_fetch_add(&p->bytes, t->bytes);
}

/* Tensors are sorted by name, so those of a layer lie together. */
static void read_layer(struct prefetch *p, size_t layer)
{
    char prefix[64];
    void *buffer = NULL;
    size_t capacity = 0;
    int length = snprintf(prefix, sizeof prefix, "model.layers.%zu.", layer);
    for (size_t i = 0; i < checkpoint_count(p->checkpoint) && !atomic_load(&p->stop); i++) {
        const struct tensor_info *t = checkpoint_at(p->checkpoint, i);
        if (strncmp(t->name, prefix, (size_t)length) == 0)
            read_tensor(p, t, &buffer, &capacity);
    }
    free(buffer);
}

static void *run(void *context)
{
    struct prefetch *p = context;
    pthread_mutex_lock(&p->lock);
    while (!p->ends) {
        if (!p->wanted) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        size_t layer = p->layer;
        p->wanted = false;
        p->busy = true;
        atomic_store(&p->stop, false);
        pthread_mutex_unlock(&p->lock);
        read_layer(p, layer);
        pthread_mutex_lock(&p->lock);
        p->busy = false;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

struct prefetch *prefetch_new(const struct checkpoint *c)
{
    struct prefetch *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->checkpoint = c;
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    int failed = thread_start(&p->thread, run, p);
    if (!failed)
        return p;
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
    return NULL;
}

void prefetch_layer(struct prefetch *p, size_t layer)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    atomic_store(&p->stop, true);
    p->layer = layer;
    p->wanted = true;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

void prefetch_wait(struct prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    while (p->wanted || p->busy)
        pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

size_t prefetch_bytes(struct prefetch *p)
{
    return p ? atomic_load(&p->bytes) : 0;
}

void prefetch_free(struct prefetch *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->ends = true;
    atomic_store(&p->stop, true);
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->changed);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
