#include "src/runs/run_record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/xdg.h"

static const char schema[] = "moqa.run";
enum { VERSION = 1, RECORD_MAX = 64 << 20, PLACE_DIGITS = 16, ARGUMENTS_MAX = 4096 };

static const char *const phases[] = {
    [APP_RUN_IDLE] = "idle",
    [APP_RUN_RUNNING] = "running",
    [APP_RUN_CANCELLING] = "cancelling",
    [APP_RUN_CANCELLED] = "cancelled",
    [APP_RUN_DONE] = "done",
    [APP_RUN_FAILED] = "failed",
};
enum { PHASES = sizeof phases / sizeof *phases };

const char *run_record_phase_name(enum app_run_phase phase)
{
    return phases[phase];
}

void run_record_release(struct run_record *r)
{
    for (size_t i = 0; i < r->arguments_count; i++)
        free(r->arguments[i]);
    free(r->arguments);
    free(r->folder);
    free(r->run.expert);
    *r = (struct run_record){0};
}

/* --- Where --- */

static void runs_folder(struct str *out)
{
    xdg_folder(out, XDG_STATE);
    if (out->length)
        str_append(out, "/runs");
}

int run_record_place(char **out, const char *folder, struct err *err)
{
    char hex[HASH_HEX_SIZE];
    struct str place = {0};
    *out = NULL;
    runs_folder(&place);
    if (!place.length)
        return err_set(err, ERR_IO, NULL, "neither XDG_STATE_HOME nor HOME is set");
    xdg_make(str_get(&place));
    int rc = hash_bytes(hex, folder, strlen(folder), err);
    if (rc == 0) {
        str_appendf(&place, "/%.*s", PLACE_DIGITS, hex);
        rc = str_ok(&place, err);
    }
    if (rc == 0)
        *out = place.data;
    else
        str_release(&place);
    return rc;
}

/* The folder in which `path` lies by its real name, so that a run is one by all its names. */
static void resolve_parent(char *path, size_t size)
{
    char parent[PATH_MAX], *slash = strrchr(path, '/');
    bool dots = slash && (strcmp(slash, "/..") == 0 || strcmp(slash, "/.") == 0);
    if (!slash || (slash == path && !dots))
        return;
    if (!dots)
        *slash = '\0';
    char *real = realpath(path, parent);
    if (!dots)
        *slash = '/';
    size_t name = dots ? 0 : strlen(slash), length = real ? strlen(real) : size;
    if (!real || length + name >= size)
        return; /* it is not there yet */
    if (length == 1 && name)
        length = 0; /* the root has its slash already */
    memmove(path + length, slash, name);
    memcpy(path, real, length);
    path[length + name] = '\0';
}

int run_record_absolute(char *out, size_t size, const char *folder, struct err *err)
{
    char *here = folder[0] == '/' ? NULL : getcwd(NULL, 0);
    if (folder[0] != '/' && !here)
        return err_set_errno(err, ERR_IO, folder, "the current folder has no name");
    while (folder[0] == '.' && folder[1] == '/')
        folder += 2;
    int length = snprintf(out, size, "%s%s%s", here ? here : "", here ? "/" : "", folder);
    free(here);
    while (length > 1 && (size_t)length < size && out[length - 1] == '/')
        out[--length] = '\0';
    if (length <= 0 || (size_t)length >= size)
        return err_set(err, ERR_USAGE, folder, "the name of the folder is too long");
    resolve_parent(out, size);
    return 0;
}

static char *with_end(const char *place, const char *end, struct err *err)
{
    struct str path = {0};
    str_append(&path, place);
    str_append(&path, end);
    if (str_ok(&path, err) == 0)
        return path.data;
    str_release(&path);
    return NULL;
}

bool run_record_exists(const char *place)
{
    char *path = with_end(place, ".json", NULL);
    bool there = path && access(path, F_OK) == 0;
    free(path);
    return there;
}

/* --- The lock --- */

static struct flock whole_file(void)
{
    return (struct flock){.l_type = F_WRLCK, .l_whence = SEEK_SET};
}

int run_record_lock(int *fd, const char *place, struct err *err)
{
    char *path = with_end(place, ".lock", err);
    struct flock lock = whole_file();
    *fd = -1;
    if (!path)
        return ERR_NOMEM;
    int rc = 0;
    *fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (*fd < 0)
        rc = err_set_errno(err, ERR_IO, path, "cannot open the lock");
    else if (fcntl(*fd, F_SETLK, &lock) < 0)
        rc = errno == EAGAIN || errno == EACCES
                 ? err_set(err, ERR_LOCKED, path, "another process runs it")
                 : err_set_errno(err, ERR_IO, path, "cannot lock");
    if (rc < 0 && *fd >= 0) {
        close(*fd);
        *fd = -1;
    }
    free(path);
    return rc;
}

pid_t run_record_owner(const char *place)
{
    char *path = with_end(place, ".lock", NULL);
    int fd = path ? open(path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC) : -1;
    struct flock lock = whole_file();
    pid_t owner =
        fd >= 0 && fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
    if (fd >= 0)
        close(fd);
    free(path);
    return owner;
}

/* --- Writing --- */

/* Lists with one value an expert. */
enum { DONE, BITS, TOKENS, LOSS, LOSS_RTN, FALLBACK, DAMPING, MIXED, EXPERT_KEYS };
static const char *const expert_keys[EXPERT_KEYS] = {
    [DONE] = "done",         [BITS] = "bits",         [TOKENS] = "tokens",   [LOSS] = "loss",
    [LOSS_RTN] = "loss_rtn", [FALLBACK] = "fallback", [DAMPING] = "damping", [MIXED] = "mixed"};

static json_t *real_of(double value)
{
    return json_real(isfinite(value) ? value : 0);
}

static int add_experts(json_t *root, const struct app_run *run)
{
    json_t *list[EXPERT_KEYS];
    int bad = 0;
    for (size_t k = 0; k < EXPERT_KEYS; k++)
        list[k] = json_array();
    for (size_t i = 0; run->expert && i < run->layers * run->experts; i++) {
        const struct app_run_expert *x = &run->expert[i];
        bad |= json_array_append_new(list[DONE], json_integer(x->done));
        bad |= json_array_append_new(list[BITS], json_integer(x->bits));
        bad |= json_array_append_new(list[TOKENS], json_integer((json_int_t)x->tokens));
        bad |= json_array_append_new(list[LOSS], real_of(x->loss));
        bad |= json_array_append_new(list[LOSS_RTN], real_of(x->loss_rtn));
        bad |= json_array_append_new(list[FALLBACK], json_integer(x->fallback));
        bad |= json_array_append_new(list[DAMPING], real_of(x->damping));
        bad |= json_array_append_new(list[MIXED], json_integer(x->mixed));
    }
    for (size_t k = 0; k < EXPERT_KEYS; k++)
        bad |= json_object_set_new(root, expert_keys[k], list[k]);
    return bad;
}

static json_t *texts(const char *first, size_t stride, size_t count)
{
    json_t *list = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(list, jsonio_bytes(first + i * stride));
    return list;
}

static json_t *arguments_of(const struct run_record *r)
{
    json_t *list = json_array();
    for (size_t i = 0; i < r->arguments_count; i++)
        json_array_append_new(list, jsonio_bytes(r->arguments[i]));
    return list;
}

static json_t *to_json(const struct run_record *r)
{
    const struct app_run *run = &r->run;
    json_t *root = json_pack(
        "{s:s, s:i, s:o, s:s, s:s, s:o, s:o, s:I, s:s, s:o, s:I, s:I, s:f, s:f, s:I, s:o, s:I, "
        "s:I, s:I, s:I, s:I, s:f, s:b, s:o}",
        "schema", schema, "schema_version", VERSION, "out", jsonio_bytes(run->out), "config_sha256",
        r->config_sha256, "trace_sha256", r->trace_sha256, "folder",
        jsonio_bytes(r->folder ? r->folder : ""), "arguments", arguments_of(r), "started",
        (json_int_t)r->started, "phase", phases[run->phase], "stage", jsonio_bytes(run->stage),
        "steps_done", (json_int_t)run->steps_done, "steps_total", (json_int_t)run->steps_total,
        "seconds", run->seconds, "seconds_left", run->seconds_left, "memory",
        (json_int_t)run->memory, "message", jsonio_bytes(run->message), "layers",
        (json_int_t)run->layers, "experts", (json_int_t)run->experts, "layer",
        (json_int_t)run->layer, "layers_done", (json_int_t)run->layers_done, "fallbacks",
        (json_int_t)run->fallbacks, "pass_seconds", run->pass_seconds, "evaluating",
        run->evaluating, "log", texts(run->log[0], APP_LOG_WIDTH, run->log_count));
    if (root && add_experts(root, run)) {
        json_decref(root);
        root = NULL;
    }
    return root;
}

static int write_all(int fd, const char *text, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, text, size);
        if (n < 0 && errno != EINTR)
            return -1;
        text += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int run_record_save(const struct run_record *r, const char *place, struct err *err)
{
    char *path = with_end(place, ".json", err), *temporary = with_end(place, ".json.new", err);
    json_t *root = path && temporary ? to_json(r) : NULL;
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    int rc = text ? 0 : err_set(err, ERR_NOMEM, NULL, "no memory for the record of a run");
    if (rc == 0) {
        int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (fd < 0 || write_all(fd, text, strlen(text)) < 0)
            rc = err_set_errno(err, ERR_IO, temporary, "cannot write");
        if (fd >= 0 && close(fd) < 0 && rc == 0)
            rc = err_set_errno(err, ERR_IO, temporary, "cannot write");
        if (rc == 0 && rename(temporary, path) < 0)
            rc = err_set_errno(err, ERR_IO, path, "cannot write");
        if (rc < 0)
            unlink(temporary);
    }
    free(text);
    json_decref(root);
    free(temporary);
    free(path);
    return rc;
}

/* --- Reading --- */

struct reader {
    const json_t *root;
    struct jsonio_at at;
    struct err *err;
    int rc;
};

static size_t get_size(struct reader *f, const char *key, size_t max)
{
    size_t value = 0;
    if (f->rc == 0)
        f->rc = jsonio_size(&value, f->root, key, max, f->at, f->err);
    return value;
}

static double get_real(struct reader *f, const char *key)
{
    double value = 0;
    if (f->rc == 0)
        f->rc = jsonio_real(&value, f->root, key, f->at, f->err);
    return value;
}

static void get_text(struct reader *f, const char *key, char *out, size_t size)
{
    if (f->rc == 0)
        f->rc = jsonio_text(out, size, f->root, key, f->at, f->err);
}

static json_t *get_list(struct reader *f, const char *key)
{
    json_t *list = NULL;
    if (f->rc == 0)
        f->rc = jsonio_array(&list, f->root, key, f->at, f->err);
    return list;
}

static double number_at(struct reader *f, const char *key, const json_t *list, size_t i)
{
    const json_t *value = json_array_get(list, i);
    if (f->rc == 0 && (!json_is_number(value) || json_number_value(value) < 0))
        f->rc = err_set(f->err, ERR_INPUT, f->at.file, "%s[%zu]: expected a number, at least 0",
                        key, i);
    return f->rc == 0 ? json_number_value(value) : 0;
}

static void read_experts(struct reader *f, struct app_run *run)
{
    json_t *list[EXPERT_KEYS];
    size_t count = f->rc == 0 ? json_array_size(json_object_get(f->root, "done")) : 0;
    size_t keys = jsonio_has(f->root, expert_keys[MIXED]) ? EXPERT_KEYS : MIXED; /* once without */
    for (size_t k = 0; k < keys; k++) {
        list[k] = get_list(f, expert_keys[k]);
        if (f->rc == 0 && json_array_size(list[k]) != count)
            f->rc = err_set(f->err, ERR_INPUT, f->at.file, "%s: found %zu values, expected %zu",
                            expert_keys[k], json_array_size(list[k]), count);
    }
    if (f->rc == 0 && count && count != run->layers * run->experts)
        f->rc = err_set(f->err, ERR_INPUT, f->at.file,
                        "done: found %zu values, expected %zu layers of %zu experts", count,
                        run->layers, run->experts);
    if (f->rc < 0 || count == 0)
        return;
    run->expert = mem_array(count, sizeof *run->expert, f->err);
    f->rc = run->expert ? 0 : ERR_NOMEM;
    for (size_t i = 0; f->rc == 0 && i < count; i++) {
        double value[EXPERT_KEYS] = {0};
        for (size_t k = 0; k < keys; k++)
            value[k] = number_at(f, expert_keys[k], list[k], i);
        run->expert[i] = (struct app_run_expert){.done = value[DONE] != 0,
                                                 .bits = (unsigned)fmin(value[BITS], 16),
                                                 .mixed = value[MIXED] != 0,
                                                 .tokens = (size_t)fmin(value[TOKENS], 1e15),
                                                 .loss = value[LOSS],
                                                 .loss_rtn = value[LOSS_RTN],
                                                 .fallback = value[FALLBACK] != 0,
                                                 .damping = value[DAMPING]};
    }
}

static void read_log(struct reader *f, struct app_run *run)
{
    json_t *list = get_list(f, "log");
    for (size_t i = 0; f->rc == 0 && i < json_array_size(list) && i < APP_LOG_LINES; i++) {
        const char *line = json_string_value(json_array_get(list, i));
        snprintf(run->log[run->log_count], APP_LOG_WIDTH, "%s", line ? line : "");
        jsonio_unescape(run->log[run->log_count++]);
    }
}

static void read_arguments(struct reader *f, struct run_record *r)
{
    json_t *list = get_list(f, "arguments");
    size_t count = f->rc == 0 ? json_array_size(list) : 0;
    if (count > ARGUMENTS_MAX)
        f->rc = err_set(f->err, ERR_INPUT, f->at.file, "arguments: found %zu, at most %d", count,
                        ARGUMENTS_MAX);
    if (f->rc < 0)
        return;
    r->arguments = mem_array(count + 1, sizeof *r->arguments, f->err);
    f->rc = r->arguments ? 0 : ERR_NOMEM;
    for (size_t i = 0; f->rc == 0 && i < count; i++) {
        const char *text = json_string_value(json_array_get(list, i));
        r->arguments[i] = mem_strdup(text ? text : "", f->err);
        f->rc = r->arguments[i] ? 0 : ERR_NOMEM;
        if (f->rc == 0)
            jsonio_unescape(r->arguments[r->arguments_count++]);
    }
}

static void read_phase(struct reader *f, struct app_run *run)
{
    char name[16];
    get_text(f, "phase", name, sizeof name);
    size_t phase = 0;
    while (f->rc == 0 && phase < PHASES && strcmp(name, phases[phase]) != 0)
        phase++;
    if (f->rc == 0 && phase == PHASES)
        f->rc = err_set(f->err, ERR_INPUT, f->at.file, "phase: found \"%s\"", name);
    else
        run->phase = (enum app_run_phase)phase;
}

static int read_record(struct run_record *r, const json_t *root, const char *path, struct err *err)
{
    enum { SIZE_LIMIT = 1 << 30, SHAPE_LIMIT = 1 << 20 };
    struct reader f = {root, {path, ""}, err, 0};
    struct app_run *run = &r->run;
    char folder[4096] = "";
    f.rc = jsonio_check_schema(root, schema, VERSION, path, err);
    get_text(&f, "out", run->out, sizeof run->out);
    get_text(&f, "config_sha256", r->config_sha256, sizeof r->config_sha256);
    get_text(&f, "trace_sha256", r->trace_sha256, sizeof r->trace_sha256);
    get_text(&f, "folder", folder, sizeof folder);
    get_text(&f, "stage", run->stage, sizeof run->stage);
    get_text(&f, "message", run->message, sizeof run->message);
    read_phase(&f, run);
    r->started = (int64_t)get_real(&f, "started");
    run->steps_done = get_size(&f, "steps_done", SIZE_LIMIT);
    run->steps_total = get_size(&f, "steps_total", SIZE_LIMIT);
    run->seconds = get_real(&f, "seconds");
    run->seconds_left = get_real(&f, "seconds_left");
    run->pass_seconds = jsonio_has(root, "pass_seconds") ? get_real(&f, "pass_seconds") : 0;
    if (f.rc == 0 && jsonio_has(root, "evaluating")) /* once without */
        f.rc = jsonio_bool(&run->evaluating, root, "evaluating", f.at, err);
    run->memory = (uint64_t)get_size(&f, "memory", SIZE_MAX / 2);
    run->layers = get_size(&f, "layers", SHAPE_LIMIT);
    run->experts = get_size(&f, "experts", SHAPE_LIMIT);
    run->layer = get_size(&f, "layer", SHAPE_LIMIT);
    run->layers_done = get_size(&f, "layers_done", SHAPE_LIMIT);
    run->fallbacks = get_size(&f, "fallbacks", SIZE_LIMIT);
    read_experts(&f, run);
    read_log(&f, run);
    read_arguments(&f, r);
    if (f.rc == 0 && !(r->folder = mem_strdup(folder, err)))
        f.rc = ERR_NOMEM;
    return f.rc;
}

int run_record_load(struct run_record *r, const char *place, struct err *err)
{
    json_t *root = NULL;
    char *path = with_end(place, ".json", err);
    *r = (struct run_record){0};
    int rc = path ? jsonio_load(&root, path, RECORD_MAX, err) : ERR_NOMEM;
    if (rc == 0)
        rc = read_record(r, root, path, err);
    if (rc < 0)
        run_record_release(r);
    json_decref(root);
    free(path);
    return rc;
}

/* --- All of them --- */

static bool is_record(const char *name)
{
    return strspn(name, "0123456789abcdef") == PLACE_DIGITS &&
           strcmp(name + PLACE_DIGITS, ".json") == 0;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

int run_record_list(char ***out, size_t *count, struct err *err)
{
    struct str folder = {0};
    size_t capacity = 0;
    int rc = 0;
    *out = NULL;
    *count = 0;
    runs_folder(&folder);
    DIR *d = folder.length ? opendir(str_get(&folder)) : NULL;
    for (struct dirent *entry; rc == 0 && d && (entry = readdir(d));) {
        if (!is_record(entry->d_name))
            continue;
        entry->d_name[PLACE_DIGITS] = '\0';
        rc = mem_grow((void **)out, &capacity, *count + 1, sizeof **out, err);
        char *place = rc == 0 ? str_path(str_get(&folder), entry->d_name, err) : NULL;
        if (place)
            (*out)[(*count)++] = place;
        else
            rc = ERR_NOMEM;
    }
    if (d)
        closedir(d);
    str_release(&folder);
    if (*count)
        qsort(*out, *count, sizeof **out, by_name);
    return rc;
}

bool run_record_is_active(const struct run_record *r)
{
    return r->run.phase == APP_RUN_RUNNING || r->run.phase == APP_RUN_CANCELLING;
}

int run_record_look(struct run_record *r, pid_t *owner, const char *place, struct err *err)
{
    int rc = run_record_load(r, place, err);
    *owner = run_record_owner(place);
    if (rc == 0 && run_record_is_active(r) && *owner == 0) { /* it may have ended in between */
        run_record_release(r);
        rc = run_record_load(r, place, err);
        *owner = run_record_owner(place);
    }
    return rc;
}
