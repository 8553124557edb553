#include "src/workbench/losses_shelf.h"

#include <dirent.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/base/thread.h"
#include "src/losses_run.h"
#include "src/runs/original.h"

enum { FILE_LIMIT = 64 << 20 };

enum origin { FOUND, GIVEN, MEASURED };

struct volume {
    struct losses losses;
    char *path;
    enum origin origin;
    bool differs; /* was measured on other calibration tokens */
};

struct losses_shelf {
    struct losses_shelf_options options;
    const struct model_config *config;
    /* Its fingerprint, "" until a file asks for it: of losses_shelf_open(), then of the thread. */
    char checkpoint[HASH_HEX_SIZE];
    struct settings settings; /* of the measurement */
    pthread_t thread;
    bool started; /* the thread exists and was not joined */
    struct progress progress;
    pthread_mutex_t lock;
    /* Under the lock: */
    struct volume **volume; /* they stay where they are when the array grows */
    size_t count, capacity;
    enum app_losses_phase phase;
    char out[512];
    struct err err;
};

int losses_shelf_new(struct losses_shelf **out, const struct losses_shelf_options *options,
                     struct err *err)
{
    struct losses_shelf *s = mem_array(1, sizeof *s, err);
    *out = s;
    if (!s)
        return ERR_NOMEM;
    s->options = *options;
    pthread_mutex_init(&s->lock, NULL);
    progress_init(&s->progress);
    return 0;
}

static void join(struct losses_shelf *s)
{
    if (s->started)
        pthread_join(s->thread, NULL);
    s->started = false;
}

static void volume_free(struct volume *v)
{
    if (!v)
        return;
    losses_release(&v->losses);
    free(v->path);
    free(v);
}

void losses_shelf_free(struct losses_shelf *s)
{
    if (!s)
        return;
    atomic_store(&s->progress.cancel, true);
    join(s);
    for (size_t i = 0; i < s->count; i++)
        volume_free(s->volume[i]);
    free(s->volume);
    progress_release(&s->progress);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- Reading --- */

static bool has_path(const struct losses_shelf *s, const char *path)
{
    struct stat a, b;
    for (size_t i = 0; i < s->count; i++)
        if (strcmp(s->volume[i]->path, path) == 0 ||
            (stat(path, &a) == 0 && stat(s->volume[i]->path, &b) == 0 && a.st_ino == b.st_ino &&
             a.st_dev == b.st_dev))
            return true;
    return false;
}

static int read_checkpoint(struct losses_shelf *s, struct err *err)
{
    struct original_model model;
    if (s->checkpoint[0])
        return 0;
    int rc = original_model_read(&model, s->options.model_dir, err);
    if (rc == 0)
        memcpy(s->checkpoint, model.checkpoint, sizeof s->checkpoint);
    return rc;
}

/* Losses of another model, or of a set of weights that has only the configuration in common. */
static int check_model(struct losses_shelf *s, const struct volume *v, struct err *err)
{
    int rc = losses_check_model(&v->losses, v->path, s->config, err);
    if (rc == 0)
        rc = read_checkpoint(s, err);
    return rc == 0
               ? losses_check_weights(&v->losses, v->path, s->checkpoint, s->options.model_dir, err)
               : rc;
}

/* Of the tokens that a measurement with these settings would take. */
static int hash_calibration(char out[HASH_HEX_SIZE], const struct losses_shelf *s,
                            const struct settings *settings, struct err *err)
{
    const struct losses_shelf_options *o = &s->options;
    struct calibration_request request = {
        .paths = o->calib, .count = o->calib_count, .settings = settings};
    struct calibration c = {0};
    struct model model = {0};
    int rc = o->trace ? 0 : model_open(&model, o->model_dir, err);
    if (rc == 0)
        rc = o->trace ? calibration_of_trace(&c, s->config, o->trace, o->calib[0], &request, err)
                      : calibration_load(&c, &model, &request, err);
    if (rc == 0)
        rc = calibration_hash(out, o->trace ? o->trace->ids : c.ids.data, c.starts, c.windows,
                              c.window, err);
    calibration_release(&c);
    model_release(&model);
    return rc;
}

/* A volume of the same tokens, chosen in the same way. */
static const struct volume *find_alike(const struct losses_shelf *s, const struct volume *v)
{
    const struct settings *wanted = &v->losses.settings;
    for (size_t i = 0; i < s->count; i++) {
        const struct losses *l = &s->volume[i]->losses;
        if (strcmp(l->calibration_sha256, v->losses.calibration_sha256) == 0 &&
            l->settings.windows == wanted->windows && l->settings.seed == wanted->seed)
            return s->volume[i];
    }
    return NULL;
}

/* Where the tokens cannot be had, nothing is claimed; a measurement will say why. */
static bool differs(const struct losses_shelf *s, const struct volume *v)
{
    char now[HASH_HEX_SIZE];
    const struct volume *alike = v->origin == MEASURED ? NULL : find_alike(s, v);
    if (v->origin == MEASURED || alike)
        return alike && alike->differs;
    return hash_calibration(now, s, &v->losses.settings, NULL) == 0 &&
           strcmp(now, v->losses.calibration_sha256) != 0;
}

/* Of volumes for the same settings the one of the highest rank counts, of equals the first. */
static int rank(const struct volume *v, const struct settings *settings)
{
    bool channels = losses_check_channels(&v->losses, v->path, settings, NULL) == 0;
    return 4 * (int)v->origin + 2 * !v->differs + channels;
}

/* Under the lock. */
static struct volume *best(const struct losses_shelf *s, const struct settings *settings)
{
    struct volume *found = NULL;
    for (size_t i = 0; i < s->count; i++) {
        struct volume *v = s->volume[i];
        if (losses_check_settings(&v->losses, v->path, settings, NULL) == 0 &&
            (!found || rank(v, settings) > rank(found, settings)))
            found = v;
    }
    return found;
}

static bool is_hidden(struct losses_shelf *s, const struct volume *v)
{
    pthread_mutex_lock(&s->lock);
    const struct settings *settings = &v->losses.settings;
    const struct volume *before = best(s, settings);
    bool hidden = before && rank(before, settings) >= rank(v, settings);
    pthread_mutex_unlock(&s->lock);
    return hidden;
}

/* Reads a file of this model, whole. */
static int add(struct losses_shelf *s, const char *path, enum origin origin, struct err *err)
{
    struct volume *v = mem_array(1, sizeof *v, err);
    int rc = v ? 0 : ERR_NOMEM;
    if (rc == 0 && !(v->path = strdup(path)))
        rc = err_set(err, ERR_NOMEM, path, "no memory for its name");
    if (rc == 0)
        rc = losses_load(&v->losses, path, err);
    if (rc == 0)
        rc = check_model(s, v, err);
    if (rc == 0) {
        v->origin = origin;
        v->differs = differs(s, v);
    }
    bool wanted = rc == 0 && (origin != FOUND || !is_hidden(s, v));
    pthread_mutex_lock(&s->lock);
    if (wanted)
        rc =
            mem_grow((void **)&s->volume, &s->capacity, s->count + 1, sizeof(struct volume *), err);
    if (wanted && rc == 0) {
        s->volume[s->count++] = v;
        v = NULL;
    }
    pthread_mutex_unlock(&s->lock);
    volume_free(v);
    return rc;
}

/* "losses.json", "losses-0123abcd.json", "OLMoE.losses.json" */
static int is_named_so(const struct dirent *d)
{
    size_t length = strlen(d->d_name);
    const char *end = length > 5 ? d->d_name + length - 5 : "";
    return strcmp(end, ".json") == 0 && (strncmp(d->d_name, "losses", 6) == 0 ||
                                         (length > 12 && strncmp(end - 7, ".losses", 7) == 0));
}

static void look_into(struct losses_shelf *s, const char *folder)
{
    struct dirent **list = NULL;
    int n = scandir(folder, &list, is_named_so, alphasort);
    for (int i = 0; i < n; i++) {
        struct stat st;
        char *path = str_path(folder, list[i]->d_name, NULL);
        bool wanted = path && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
                      st.st_size <= FILE_LIMIT && !has_path(s, path);
        int rc = wanted ? add(s, path, FOUND, NULL) : 0;
        if (rc < 0) /* of another model, or not whole: it is none of ours */
            log_write(LOG_DEBUG, "%s: passed over", path);
        free(path);
        free(list[i]);
    }
    free(list);
}

int losses_shelf_open(struct losses_shelf *s, const struct model_config *config, struct err *err)
{
    char beside[512];
    s->config = config;
    int rc = s->options.path ? add(s, s->options.path, GIVEN, err) : 0;
    if (rc < 0)
        return rc;
    look_into(s, s->options.runs_dir);
    snprintf(beside, sizeof beside, "%s", s->options.runs_dir);
    for (size_t n = strlen(beside); n > 1 && beside[n - 1] == '/'; n--)
        beside[n - 1] = '\0';
    char *slash = strrchr(beside, '/');
    if (slash)
        slash[slash == beside] = '\0';
    look_into(s, slash ? beside : ".");
    return 0;
}

const struct losses *losses_shelf_find(struct losses_shelf *s, const struct settings *settings,
                                       const char **path)
{
    pthread_mutex_lock(&s->lock);
    const struct volume *v = best(s, settings);
    pthread_mutex_unlock(&s->lock);
    if (!v)
        return NULL;
    *path = v->path;
    return &v->losses;
}

bool losses_shelf_differ(struct losses_shelf *s, const struct losses *losses)
{
    bool found = false;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->count; i++)
        found = found || (&s->volume[i]->losses == losses && s->volume[i]->differs);
    pthread_mutex_unlock(&s->lock);
    return found;
}

/* --- Measuring --- */

static const unsigned widths[] = {2, 3, 4, 8};

static void mix(uint64_t *hash, const char *text)
{
    for (; *text; text++)
        *hash = (*hash ^ (unsigned char)*text) * 1099511628211u;
    *hash = (*hash ^ 0xff) * 1099511628211u;
}

/* Another set of weights, calibration or rounding is another file. */
static int name_file(struct losses_shelf *s, struct err *err)
{
    static const char *const chosen[] = {"windows", "seed", NULL}; /* the calibration */
    const char *const *lists[] = {losses_settings(), chosen};
    uint64_t hash = 14695981039346656037u;
    char value[64], content[HASH_HEX_SIZE];
    int rc = read_checkpoint(s, err);
    mix(&hash, s->checkpoint);
    for (size_t i = 0; rc == 0 && i < s->options.calib_count; i++) {
        rc = hash_file(content, s->options.calib[i], err);
        if (rc == 0)
            mix(&hash, content);
    }
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const char *const *name = lists[i]; *name; name++) {
            settings_get(&s->settings, settings_find(*name), value, sizeof value);
            mix(&hash, value);
        }
    pthread_mutex_lock(&s->lock);
    snprintf(s->out, sizeof s->out, "%s/losses-%08x.json", s->options.runs_dir,
             (unsigned)(hash ^ hash >> 32));
    pthread_mutex_unlock(&s->lock);
    return 0;
}

static void *measure_main(void *argument)
{
    struct losses_shelf *s = argument;
    const struct losses_shelf_options *o = &s->options;
    struct err err = {0};
    struct losses_request r = {
        .model_dir = o->model_dir,
        .calibration = {.paths = o->calib, .count = o->calib_count, .settings = &s->settings},
        .widths = widths,
        .widths_count = sizeof widths / sizeof *widths,
        .device = {.threads = o->threads},
        .out = s->out,
        .resume = true,
        .progress = &s->progress};
    int rc = name_file(s, &err);
    if (rc == 0)
        rc = losses_run(&r, &err);
    if (rc == 0)
        rc = add(s, s->out, MEASURED, &err);
    pthread_mutex_lock(&s->lock);
    s->err = err;
    s->phase = rc == 0               ? APP_LOSSES_DONE
               : rc == ERR_CANCELLED ? APP_LOSSES_CANCELLED
                                     : APP_LOSSES_FAILED;
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

int losses_shelf_start(struct losses_shelf *s, const struct settings *settings, struct err *err)
{
    if (losses_shelf_active(s))
        return err_set(err, ERR_USAGE, NULL, "losses are being measured already");
    join(s);
    s->settings = *settings;
    mkdir(s->options.runs_dir, 0777); /* if it fails, writing says why */
    atomic_store(&s->progress.cancel, false);
    pthread_mutex_lock(&s->lock);
    s->phase = APP_LOSSES_RUNNING;
    pthread_mutex_unlock(&s->lock);
    int failed = thread_start(&s->thread, measure_main, s);
    if (failed) {
        pthread_mutex_lock(&s->lock);
        s->phase = APP_LOSSES_IDLE;
        pthread_mutex_unlock(&s->lock);
        return err_set(err, ERR_NOMEM, NULL, "cannot start a thread: %s", strerror(failed));
    }
    s->started = true;
    return 0;
}

void losses_shelf_poll(struct losses_shelf *s, struct app_losses *out)
{
    struct progress_state state;
    progress_get(&s->progress, &state);
    pthread_mutex_lock(&s->lock);
    out->phase = s->phase;
    memcpy(out->path, s->out, sizeof out->path);
    out->message[0] = '\0';
    if (s->phase == APP_LOSSES_FAILED)
        err_format(out->message, sizeof out->message, &s->err);
    pthread_mutex_unlock(&s->lock);
    snprintf(out->stage, sizeof out->stage, "%.95s", state.stage[0] ? state.stage : "opening");
    out->progress = state.total ? (double)state.done / (double)state.total : 0;
    out->seconds = state.seconds;
    out->seconds_left = state.total ? state.seconds_left : -1;
}

void losses_shelf_cancel(struct losses_shelf *s)
{
    atomic_store(&s->progress.cancel, true);
    pthread_mutex_lock(&s->lock);
    if (s->phase == APP_LOSSES_RUNNING)
        s->phase = APP_LOSSES_CANCELLING;
    pthread_mutex_unlock(&s->lock);
}

bool losses_shelf_active(struct losses_shelf *s)
{
    pthread_mutex_lock(&s->lock);
    bool active = s->phase == APP_LOSSES_RUNNING || s->phase == APP_LOSSES_CANCELLING;
    pthread_mutex_unlock(&s->lock);
    return active;
}
