#include "src/model/ahead.h"

#include <pthread.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/thread.h"
#include "src/model/weights.h"

enum { BUFFERS = 16 };

/* Linear i of the list is read into buffer i % BUFFERS. */
struct buffer {
    struct weights w;
    enum backend_source source;
};

struct ahead {
    struct backend *b;
    struct model_layer layer; /* its experts, as far as they are there */
    struct weights_linear *list;
    size_t count;
    struct buffer buffer[BUFFERS];
    bool stopped; /* nothing more is uploaded */
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    size_t read, uploaded; /* of the list; uploaded <= read <= uploaded + BUFFERS */
    bool ends;             /* the thread shall stop, or has */
};

/* Waits for a buffer. Returns whether to go on. */
static bool wait_for_buffer(struct ahead *a, size_t i)
{
    pthread_mutex_lock(&a->lock);
    while (!a->ends && i - a->uploaded >= BUFFERS)
        pthread_cond_wait(&a->changed, &a->lock);
    bool go_on = !a->ends;
    pthread_mutex_unlock(&a->lock);
    return go_on;
}

static void *run(void *context)
{
    struct ahead *a = context;
    int rc = 0;
    for (size_t i = 0; i < a->count && rc == 0 && wait_for_buffer(a, i); i++) {
        const struct weights_linear *l = &a->list[i];
        struct buffer *buffer = &a->buffer[i % BUFFERS];
        rc = weights_read_linear(&buffer->w, &buffer->source, l->name, l->rows, l->columns, NULL);
        pthread_mutex_lock(&a->lock);
        a->read += rc == 0;
        a->ends = a->ends || rc < 0 || i + 1 == a->count;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
    }
    return NULL;
}

static int start(struct ahead *a)
{
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->changed, NULL);
    int failed = thread_start(&a->thread, run, a);
    if (failed) {
        pthread_cond_destroy(&a->changed);
        pthread_mutex_destroy(&a->lock);
    }
    return failed;
}

static void release(struct ahead *a)
{
    for (size_t i = 0; i < BUFFERS; i++)
        weights_release(&a->buffer[i].w);
    model_layer_release(&a->layer, a->b);
    free(a->list);
    free(a);
}

struct ahead *ahead_new(const struct model *m, struct backend *b, size_t layer)
{
    if (!b->ops->memory || layer >= m->config->layers || !m->config->is_moe[layer])
        return NULL;
    struct ahead *a = mem_array(1, sizeof *a, NULL);
    if (!a)
        return NULL;
    a->b = b;
    a->layer = (struct model_layer){.index = layer, .experts = m->config->experts};
    a->count = 3 * m->config->experts;
    for (size_t i = 0; i < BUFFERS; i++)
        a->buffer[i].w = (struct weights){.model = m, .backend = b};
    if (weights_list_experts(&a->list, &a->layer, m, NULL) == 0 && start(a) == 0)
        return a;
    release(a);
    return NULL;
}

static size_t stored_bytes(const struct ahead *a, size_t i)
{
    static const size_t size[] = {
        [SOURCE_F64] = 8, [SOURCE_F32] = 4, [SOURCE_F16] = 2, [SOURCE_BF16] = 2};
    return a->list[i].rows * a->list[i].columns * size[a->buffer[i % BUFFERS].source];
}

void ahead_step(struct ahead *a)
{
    if (!a || a->stopped)
        return;
    pthread_mutex_lock(&a->lock);
    size_t read = a->read, at = a->uploaded;
    pthread_mutex_unlock(&a->lock);
    const struct backend_ops *ops = a->b->ops;
    for (; at < read && !a->stopped; at++) {
        const struct weights_linear *l = &a->list[at];
        struct buffer *buffer = &a->buffer[at % BUFFERS];
        if (ops->upload_waits && ops->upload_waits(a->b, stored_bytes(a, at)))
            break;
        a->stopped =
            weights_upload(l->out, &buffer->w, l->rows, l->columns, buffer->source, NULL) < 0;
        pthread_mutex_lock(&a->lock);
        a->uploaded += !a->stopped;
        pthread_cond_broadcast(&a->changed);
        pthread_mutex_unlock(&a->lock);
    }
}

void ahead_wait(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    while (!a->ends && a->read - a->uploaded < BUFFERS)
        pthread_cond_wait(&a->changed, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

size_t ahead_count(const struct ahead *a)
{
    return a ? a->uploaded : 0; /* only the caller's thread changes it */
}

void ahead_take(struct ahead *a, struct model_layer *out)
{
    if (a && a->layer.index == out->index) {
        out->gate = a->layer.gate;
        out->up = a->layer.up;
        out->down = a->layer.down;
        a->layer.gate = a->layer.up = a->layer.down = NULL;
    }
    ahead_free(a);
}

void ahead_free(struct ahead *a)
{
    if (!a)
        return;
    pthread_mutex_lock(&a->lock);
    a->ends = true;
    pthread_cond_broadcast(&a->changed);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    pthread_cond_destroy(&a->changed);
    pthread_mutex_destroy(&a->lock);
    release(a);
}
