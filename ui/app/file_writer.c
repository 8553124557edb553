#include "ui/app/file_writer.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/atomic_file.h"
#include "data/base/mem.h"
#include "data/base/thread.h"

struct job {
    struct job *next;
    char *path;
    struct str bytes;
    bool ended;
    struct file_written result;
};

struct file_writer {
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* below; a job is the thread's own until it has ended */
    pthread_cond_t changed;
    struct job *first, **last; /* told ones are gone; the ended ones come first */
    bool stop;
};

static void job_free(struct job *j)
{
    str_release(&j->bytes);
    free(j->result.said);
    free(j->path);
    free(j);
}

/* The first that has not ended, or NULL. */
static struct job *next_job(const struct file_writer *w)
{
    struct job *j = w->first;
    while (j && j->ended)
        j = j->next;
    return j;
}

static void *write_all(void *argument)
{
    struct file_writer *w = argument;
    struct job *j;
    pthread_mutex_lock(&w->lock);
    while ((j = next_job(w)) || !w->stop) {
        if (!j) {
            pthread_cond_wait(&w->changed, &w->lock);
            continue;
        }
        pthread_mutex_unlock(&w->lock);
        struct file_written *r = &j->result;
        r->rc = atomic_file_save(j->path, str_get(&j->bytes), j->bytes.length, &r->err);
        pthread_mutex_lock(&w->lock);
        j->ended = true;
        pthread_cond_broadcast(&w->changed);
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

int file_writer_new(struct file_writer **out, struct err *err)
{
    struct file_writer *w = mem_array(1, sizeof *w, err);
    *out = w;
    if (!w)
        return ERR_NOMEM;
    w->last = &w->first;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, NULL);
    return 0;
}

void file_writer_free(struct file_writer *w)
{
    struct file_written told;
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    if (w->started)
        pthread_join(w->thread, NULL);
    while (file_writer_take(w, &told))
        free(told.said);
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

/* With the first file: most sessions write none while they are looked at. */
static int start(struct file_writer *w, struct err *err)
{
    if (w->started)
        return 0;
    w->started = thread_start(&w->thread, write_all, w) == 0;
    return w->started ? 0 : err_set(err, ERR_NOMEM, NULL, "cannot start a thread to write");
}

static struct job *job_new(const char *path, struct str *bytes, int kind, const char *said,
                           struct err *err)
{
    struct job *j = mem_array(1, sizeof *j, err);
    if (!j)
        return NULL;
    j->bytes = *bytes;
    *bytes = (struct str){0};
    j->path = mem_strdup(path, err);
    j->result = (struct file_written){.kind = kind, .said = mem_strdup(said, err)};
    if (j->path && j->result.said)
        return j;
    job_free(j);
    return NULL;
}

int file_writer_put(struct file_writer *w, const char *path, struct str *bytes, int kind,
                    const char *said, struct err *err)
{
    int rc = start(w, err);
    struct job *j = rc == 0 ? job_new(path, bytes, kind, said, err) : NULL;
    str_release(bytes);
    if (!j)
        return ERR_NOMEM;
    pthread_mutex_lock(&w->lock);
    *w->last = j;
    w->last = &j->next;
    pthread_cond_broadcast(&w->changed);
    pthread_mutex_unlock(&w->lock);
    return 0;
}

bool file_writer_take(struct file_writer *w, struct file_written *out)
{
    pthread_mutex_lock(&w->lock);
    struct job *j = w->first && w->first->ended ? w->first : NULL;
    if (j) {
        w->first = j->next;
        w->last = w->first ? w->last : &w->first;
    }
    pthread_mutex_unlock(&w->lock);
    if (!j)
        return false;
    *out = j->result;
    j->result.said = NULL;
    job_free(j);
    return true;
}

bool file_writer_active(struct file_writer *w)
{
    pthread_mutex_lock(&w->lock);
    bool active = w->first;
    pthread_mutex_unlock(&w->lock);
    return active;
}

void file_writer_wait(struct file_writer *w)
{
    pthread_mutex_lock(&w->lock);
    while (next_job(w))
        pthread_cond_wait(&w->changed, &w->lock);
    pthread_mutex_unlock(&w->lock);
}
