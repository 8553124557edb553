#include "src/runs/runs_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/base/thread.h"
#include "src/eval/eval_json.h"
#include "src/quant/journal.h"
#include "src/runs/original.h"
#include "src/runs/run_result.h"
#include "src/runs/runs_report.h"

enum { AGAIN_MS = 1000 };

struct runs_watch {
    const char *dir, *model_dir, *config_sha256;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool stop, wanted;         /* all below under the lock */
    unsigned long begun, done; /* looks at the folder */
    unsigned long awaited;     /* the look that somebody waits for; 0: none */
    int64_t last_ms;
    struct original_model model; /* checkpoint "": not read, or not readable */
    struct app_result *next;     /* read, not yet taken */
    size_t next_count;
    bool has_next;
    struct runs_report next_report; /* of the newest of `next` */
    struct app_result *list;        /* the caller's */
    struct runs_report report;
    unsigned long version;
    size_t count;
};

static uint64_t mixed(uint64_t h, uint64_t x)
{
    return (h ^ x) * 0x9e3779b97f4a7c15u;
}

static uint64_t mixed_file(uint64_t h, int dir, const char *run, const char *name)
{
    char path[1024];
    struct stat st;
    if (snprintf(path, sizeof path, "%s/%s", run, name) >= (int)sizeof path ||
        fstatat(dir, path, &st, 0) < 0)
        return mixed(h, 1);
    h = mixed(h, (uint64_t)st.st_mtim.tv_sec);
    h = mixed(h, (uint64_t)st.st_mtim.tv_nsec);
    return mixed(h, (uint64_t)st.st_size);
}

/* Changes when a run comes, goes, begins, ends or is evaluated; never 0. The order of names is the
 * folder's, so each run is mixed by itself. */
static uint64_t fingerprint(const char *path)
{
    static const char *const files[] = {"config.json", "moqa_plan.json", ".moqa/plan.json",
                                        EVAL_JSON_FILE, RUN_RESULT_FILE};
    uint64_t sum = 1;
    DIR *d = opendir(path);
    for (struct dirent *entry = d ? readdir(d) : NULL; entry; entry = readdir(d)) {
        uint64_t h = 14695981039346656037u;
        if (entry->d_name[0] == '.')
            continue;
        for (const char *p = entry->d_name; *p; p++)
            h = mixed(h, (unsigned char)*p);
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            h = mixed_file(h, dirfd(d), entry->d_name, files[i]);
        char *run = str_path(path, entry->d_name, NULL);
        h = mixed(h, run && journal_is_locked(run));
        free(run);
        sum += h;
    }
    if (d)
        closedir(d);
    return sum ? sum : 1;
}

static void read_report(struct runs_report *out, const struct app_result *list, size_t count)
{
    const struct app_result *newest = NULL;
    for (size_t i = 0; i < count; i++)
        if (!list[i].original && list[i].finished &&
            (!newest || list[i].finished > newest->finished))
            newest = &list[i];
    if (!newest || runs_report_load(out, newest->name, NULL) < 0)
        *out = (struct runs_report){0};
}

static void look(struct runs_watch *w, uint64_t *seen)
{
    struct runs_report report = {0};
    struct app_result *list = NULL;
    size_t count = 0;
    uint64_t now = fingerprint(w->dir);
    bool read =
        now != *seen && runs_list(&list, &count, w->dir, w->config_sha256,
                                  w->model.checkpoint[0] ? w->model.checkpoint : NULL, NULL) == 0;
    if (read)
        read_report(&report, list, count);
    pthread_mutex_lock(&w->lock);
    if (read) {
        runs_free(w->next, w->next_count);
        runs_report_release(&w->next_report);
        w->next_report = report;
        w->next = list;
        w->next_count = count;
        w->has_next = true;
        *seen = now;
    }
    w->done = w->begun;
    w->last_ms = clock_ms();
    pthread_mutex_unlock(&w->lock);
}

static void *watch_main(void *argument)
{
    struct runs_watch *w = argument;
    struct original_model model;
    uint64_t seen = 0;
    if (original_model_read(&model, w->model_dir, NULL) == 0) {
        pthread_mutex_lock(&w->lock);
        w->model = model;
        pthread_mutex_unlock(&w->lock);
    }
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (!w->wanted && !w->stop)
            pthread_cond_wait(&w->wake, &w->lock);
        bool stop = w->stop;
        w->wanted = false;
        w->begun++;
        pthread_mutex_unlock(&w->lock);
        if (stop)
            return NULL;
        look(w, &seen);
    }
}

int runs_watch_new(struct runs_watch **out, const char *dir, const char *model_dir,
                   const char *config_sha256, struct err *err)
{
    struct runs_watch *w = mem_array(1, sizeof *w, err);
    *out = w;
    if (!w)
        return ERR_NOMEM;
    w->dir = dir;
    w->model_dir = model_dir;
    w->config_sha256 = config_sha256;
    w->wanted = true;
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->wake, NULL);
    int failed = thread_start(&w->thread, watch_main, w);
    w->started = !failed;
    if (!failed)
        return 0;
    runs_watch_free(w);
    *out = NULL;
    return err_set(err, ERR_NOMEM, NULL, "cannot start a thread: %s", strerror(failed));
}

void runs_watch_free(struct runs_watch *w)
{
    if (!w)
        return;
    pthread_mutex_lock(&w->lock);
    w->stop = true;
    pthread_cond_signal(&w->wake);
    pthread_mutex_unlock(&w->lock);
    if (w->started)
        pthread_join(w->thread, NULL);
    runs_free(w->next, w->next_count);
    runs_free(w->list, w->count);
    runs_report_release(&w->next_report);
    runs_report_release(&w->report);
    pthread_cond_destroy(&w->wake);
    pthread_mutex_destroy(&w->lock);
    free(w);
}

size_t runs_watch_get(struct runs_watch *w, const struct app_result **out, unsigned long *version)
{
    pthread_mutex_lock(&w->lock);
    if (w->has_next) {
        runs_free(w->list, w->count);
        w->list = w->next;
        w->count = w->next_count;
        w->next = NULL;
        w->next_count = 0;
        w->has_next = false;
        runs_report_release(&w->report);
        w->report = w->next_report;
        w->next_report = (struct runs_report){0};
        w->version++;
    }
    *version = w->version;
    if (!w->wanted && w->done == w->begun && clock_ms() - w->last_ms > AGAIN_MS) {
        w->wanted = true;
        pthread_cond_signal(&w->wake);
    }
    pthread_mutex_unlock(&w->lock);
    *out = w->list;
    return w->count;
}

bool runs_watch_pending(struct runs_watch *w)
{
    pthread_mutex_lock(&w->lock);
    if (!w->awaited) {
        w->awaited = w->begun + 1; /* one in work may have looked too early */
        w->wanted = true;
        pthread_cond_signal(&w->wake);
    }
    bool pending = w->done < w->awaited;
    if (!pending)
        w->awaited = 0;
    pthread_mutex_unlock(&w->lock);
    return pending;
}

void runs_watch_model(struct runs_watch *w, struct app_result *row)
{
    pthread_mutex_lock(&w->lock);
    snprintf(row->name, sizeof row->name, "%s", w->model.name);
    row->nominal_bits = row->effective_bits = w->model.bits;
    row->bytes = w->model.bytes;
    pthread_mutex_unlock(&w->lock);
}

bool runs_watch_losses(struct runs_watch *w, struct app_run_losses *out)
{
    pthread_mutex_lock(&w->lock);
    *out = (struct app_run_losses){.name = w->report.name,
                                   .layers = w->report.layers,
                                   .experts = w->report.experts,
                                   .expert = w->report.expert};
    pthread_mutex_unlock(&w->lock);
    return out->expert != NULL;
}
