#include "src/runs/detached.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "data/base/clock.h"
#include "data/base/mem.h"
#include "data/base/thread.h"

enum { INTERVAL_MS = 150, LOG_TAIL = 4096 };

/* A command to be started. */
struct command {
    char *place;  /* of its record */
    char *folder; /* to start in; NULL: this one */
    char **argv;  /* NULL-terminated, the program's name first */
    struct plan plan;
    bool has_plan; /* to be written beside the record first */
};

struct detached {
    char *program;
    char config_sha256[HASH_HEX_SIZE], trace_sha256[HASH_HEX_SIZE];
    pthread_t thread;
    bool started;

    /* The thread's own. */
    char *place; /* of the record that is watched; NULL: none */
    pid_t child; /* of ours, not waited for yet; 0: none */
    struct timespec seen;

    pthread_mutex_t lock; /* below */
    pthread_cond_t wake;
    bool stop, cancel;
    bool waiting; /* `command` waits to be started */
    struct command command;
    struct run_record now; /* what is known of the pass; all zero: none */
};

static void command_release(struct command *c)
{
    for (size_t i = 0; c->argv && c->argv[i]; i++)
        free(c->argv[i]);
    free(c->argv);
    free(c->folder);
    free(c->place);
    plan_release(&c->plan);
    *c = (struct command){0};
}

/* --- The process --- */

static char *beside(const char *place, const char *end)
{
    struct str path = {0};
    str_append(&path, place);
    str_append(&path, end);
    if (str_ok(&path, NULL) == 0)
        return path.data;
    str_release(&path);
    return NULL;
}

/* SIGINT is held back until the process listens: a cancel that comes at once would kill it, and no
 * record would tell that it can be gone on with. */
static int spawn(pid_t *child, const char *program, const struct command *c, struct err *err)
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t held, all;
    char *log = beside(c->place, ".log");
    if (!log)
        return err_set(err, ERR_NOMEM, NULL, "no memory to start a process");
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigfillset(&all);
    posix_spawnattr_setsigmask(&attributes, &held);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, 1, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_addopen(&files, 2, log, O_WRONLY | O_CREAT | O_TRUNC, 0666);
    if (c->folder)
        posix_spawn_file_actions_addchdir_np(&files, c->folder);
    int failed = posix_spawn(child, program, &files, &attributes, c->argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    free(log);
    return failed ? err_set(err, ERR_IO, program, "cannot start it: %s", strerror(failed)) : 0;
}

/* The last line that a process printed, as its reason. */
static void last_line(char *out, size_t size, const char *place)
{
    char text[LOG_TAIL + 1], *path = beside(place, ".log");
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0;
    ssize_t n = fd < 0 ? -1 : pread(fd, text, LOG_TAIL, end > LOG_TAIL ? end - LOG_TAIL : 0);
    text[n > 0 ? n : 0] = '\0';
    for (size_t length = strlen(text); length && text[length - 1] == '\n';)
        text[--length] = '\0';
    const char *line = strrchr(text, '\n');
    line = line ? line + 1 : text;
    if (strncmp(line, "moqa: ", 6) == 0)
        line += 6;
    snprintf(out, size, "%.*s", (int)size - 1, line[0] ? line : "its process ended without a word");
    if (fd >= 0)
        close(fd);
    free(path);
}

/* --- What the thread does --- */

/* The pass has ended without saying so itself. */
static void end(struct detached *d, enum app_run_phase phase, const char *message)
{
    pthread_mutex_lock(&d->lock);
    if (!d->waiting) { /* else another has been asked for meanwhile */
        d->now.run.phase = phase;
        snprintf(d->now.run.message, sizeof d->now.run.message, "%.*s",
                 (int)sizeof d->now.run.message - 1, message);
    }
    pthread_mutex_unlock(&d->lock);
}

/* It was killed, or failed; one that was to be cancelled has done as it was told. */
static void fail(struct detached *d, const char *message)
{
    pthread_mutex_lock(&d->lock);
    bool told = d->now.run.phase == APP_RUN_CANCELLING;
    pthread_mutex_unlock(&d->lock);
    end(d, told ? APP_RUN_CANCELLED : APP_RUN_FAILED, message);
}

/* A child that could not write its record, say on a full disk, has told by its status. */
static void end_child(struct detached *d, int status)
{
    char text[512];
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    last_line(text, sizeof text, d->place);
    if (code == 0)
        end(d, APP_RUN_DONE, "");
    else if (code == err_exit_status(ERR_CANCELLED))
        end(d, APP_RUN_CANCELLED, text);
    else
        fail(d, text);
}

/* When the record was last written; zero: there is none. */
static struct timespec record_time(const char *place)
{
    struct stat st;
    char *path = beside(place, ".json");
    bool there = path && stat(path, &st) == 0;
    free(path);
    return there ? st.st_mtim : (struct timespec){0};
}

static void start_command(struct detached *d, struct command *c)
{
    struct err err = {0};
    int rc = 0;
    struct timespec before = record_time(c->place); /* of an earlier run: no word of this one */
    if (c->has_plan) {
        char *path = beside(c->place, ".plan.json");
        rc = path ? plan_save(&c->plan, path, &err) : ERR_NOMEM;
        free(path);
    }
    if (rc == 0)
        rc = spawn(&d->child, d->program, c, &err);
    free(d->place);
    d->place = c->place;
    c->place = NULL;
    d->seen = before;
    if (rc < 0) {
        char text[ERR_FILE_MAX + ERR_MESSAGE_MAX];
        d->child = 0;
        err_format(text, sizeof text, &err);
        fail(d, text);
    }
}

/* Reads the record if it has changed: true, and the pass in *r. */
static bool read_changed(struct detached *d, struct run_record *r)
{
    struct timespec written = record_time(d->place);
    bool changed = written.tv_sec != d->seen.tv_sec || written.tv_nsec != d->seen.tv_nsec;
    if (!changed || run_record_load(r, d->place, NULL) < 0)
        return false;
    d->seen = written;
    return true;
}

static void publish(struct detached *d, struct run_record *r)
{
    pthread_mutex_lock(&d->lock);
    struct run_record old = d->now;
    if (d->waiting) { /* what is to begin counts, not what was */
        pthread_mutex_unlock(&d->lock);
        run_record_release(r);
        return;
    }
    if (old.run.phase == APP_RUN_CANCELLING && r->run.phase == APP_RUN_RUNNING)
        r->run.phase = APP_RUN_CANCELLING; /* it has not noticed yet */
    d->now = *r;
    *r = old;
    pthread_mutex_unlock(&d->lock);
    run_record_release(r);
}

/* Looks at the pass: its record, and whether its process lives. A record that says "running" of a
 * process that is gone means that it was cut. */
static void look(struct detached *d)
{
    struct run_record r;
    int status = 0;
    bool gone = d->child && waitpid(d->child, &status, WNOHANG) == d->child;
    if (gone)
        d->child = 0;
    if (read_changed(d, &r))
        publish(d, &r);
    pthread_mutex_lock(&d->lock);
    bool active = run_record_is_active(&d->now);
    pthread_mutex_unlock(&d->lock);
    if (!active || d->child || run_record_owner(d->place))
        return;
    if (read_changed(d, &r)) { /* its last word came in between */
        publish(d, &r);
        return;
    }
    if (gone)
        end_child(d, status);
    else
        fail(d, "its process was killed, or the machine stopped");
}

static void send_cancel(struct detached *d)
{
    pid_t owner = d->child ? d->child : run_record_owner(d->place);
    if (owner > 0)
        kill(owner, SIGINT);
}

/* Takes up the pass of this model that runs, or else the newest that can be resumed. */
static void adopt(struct detached *d)
{
    char **places = NULL;
    size_t count = 0;
    bool alive = false;
    int64_t newest = -1;
    if (run_record_list(&places, &count, NULL) < 0)
        return;
    for (size_t i = 0; i < count; i++) {
        struct run_record r;
        pid_t owner;
        if (run_record_look(&r, &owner, places[i], NULL) < 0)
            continue;
        bool runs = run_record_is_active(&r) && owner;
        bool ours = strcmp(r.config_sha256, d->config_sha256) == 0 &&
                    strcmp(r.trace_sha256, d->trace_sha256) == 0 && r.run.phase != APP_RUN_DONE &&
                    access(r.run.out, F_OK) == 0;
        if (ours && (runs > alive || (runs == alive && r.started > newest))) {
            free(d->place);
            d->place = places[i];
            places[i] = NULL;
            alive = runs;
            newest = r.started;
            publish(d, &r);
        } else {
            run_record_release(&r);
        }
    }
    for (size_t i = 0; i < count; i++)
        free(places[i]);
    free(places);
}

static void *watch(void *argument)
{
    struct detached *d = argument;
    for (;;) {
        struct timespec end = clock_deadline(INTERVAL_MS);
        pthread_mutex_lock(&d->lock);
        while (!d->stop && !d->cancel && !d->waiting &&
               pthread_cond_timedwait(&d->wake, &d->lock, &end) == 0)
            continue;
        bool stop = d->stop, cancel = d->cancel, begin = d->waiting;
        struct command command = d->command;
        if (begin)
            d->command = (struct command){0};
        d->waiting = d->cancel = false;
        pthread_mutex_unlock(&d->lock);
        if (begin) {
            start_command(d, &command); /* what the user has asked for is done, even when leaving */
            command_release(&command);
        }
        if (cancel && d->place)
            send_cancel(d);
        if (stop)
            return NULL;
        if (d->place)
            look(d);
    }
}

/* --- Life --- */

int detached_new(struct detached **out, const char *program, const char *config_sha256,
                 const char *trace_sha256, struct err *err)
{
    struct detached *d = mem_array(1, sizeof *d, err);
    *out = d;
    if (!d)
        return ERR_NOMEM;
    pthread_mutex_init(&d->lock, NULL);
    pthread_cond_init(&d->wake, NULL);
    snprintf(d->config_sha256, sizeof d->config_sha256, "%s", config_sha256);
    snprintf(d->trace_sha256, sizeof d->trace_sha256, "%s", trace_sha256);
    d->program = mem_strdup(program ? program : "/proc/self/exe", err);
    adopt(d);
    if (d->place)
        look(d);
    d->started = d->program && thread_start(&d->thread, watch, d) == 0;
    if (d->started)
        return 0;
    detached_free(d);
    *out = NULL;
    return err_set(err, ERR_NOMEM, NULL, "cannot start a thread");
}

void detached_free(struct detached *d)
{
    if (!d)
        return;
    pthread_mutex_lock(&d->lock);
    d->stop = true;
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
    if (d->started)
        pthread_join(d->thread, NULL);
    command_release(&d->command);
    run_record_release(&d->now);
    pthread_cond_destroy(&d->wake);
    pthread_mutex_destroy(&d->lock);
    free(d->place);
    free(d->program);
    free(d);
}

/* --- Orders --- */

/* argv = moqa, the arguments with "PLAN" replaced, --resume. */
static int fill_argv(struct command *c, const char *const *arguments, size_t count,
                     const char *plan, struct err *err)
{
    c->argv = mem_array(count + 3, sizeof *c->argv, err);
    if (!c->argv)
        return ERR_NOMEM;
    for (size_t i = 0; i < count + 2; i++) {
        const char *text = i == 0 ? "moqa" : i == count + 1 ? "--resume" : arguments[i - 1];
        c->argv[i] = mem_strdup(plan && strcmp(text, "PLAN") == 0 ? plan : text, err);
        if (!c->argv[i])
            return ERR_NOMEM;
    }
    return 0;
}

/* What the record will say, so that a run that ends before it has one can be gone on with. */
static void remember(struct run_record *r, const struct command *c)
{
    size_t count = 0, copied = 0;
    while (c->argv[count + 2]) /* all but the first and the last, --resume */
        count++;
    r->folder = getcwd(NULL, 0);
    r->arguments = mem_array(count + 1, sizeof *r->arguments, NULL);
    while (r->arguments && copied < count &&
           (r->arguments[copied] = mem_strdup(c->argv[copied + 1], NULL)))
        copied++;
    bool whole = r->folder && copied == count;
    r->arguments_count = whole ? count : 0;
    while (!whole && copied > 0)
        free(r->arguments[--copied]);
}

/* Gives the command to the thread; from now on the pass counts as running. */
static int give(struct detached *d, struct command *c, const char *out, bool keep, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&d->lock);
    if (run_record_is_active(&d->now) || d->waiting) {
        rc = err_set(err, ERR_USAGE, NULL, "a run is under way; cancel it first (Ctrl-C)");
    } else {
        struct app_run *run = &d->now.run;
        if (!keep) {
            run_record_release(&d->now);
            remember(&d->now, c);
        }
        d->command = *c;
        *c = (struct command){0};
        d->waiting = true;
        run->phase = APP_RUN_RUNNING;
        run->message[0] = '\0';
        run->seconds_left = -1;
        snprintf(run->stage, sizeof run->stage, "starting");
        snprintf(run->out, sizeof run->out, "%s", out);
        pthread_cond_signal(&d->wake);
    }
    pthread_mutex_unlock(&d->lock);
    return rc;
}

int detached_start(struct detached *d, const struct plan *plan, const char *out,
                   const char *const *arguments, size_t count, struct err *err)
{
    struct command c = {.has_plan = true};
    char absolute[sizeof d->now.run.out], *path = NULL;
    int rc = run_record_absolute(absolute, sizeof absolute, out, err);
    if (rc == 0)
        rc = run_record_place(&c.place, absolute, err);
    if (rc == 0)
        rc = plan_copy(&c.plan, plan, err);
    if (rc == 0 && !(path = beside(c.place, ".plan.json")))
        rc = err_set(err, ERR_NOMEM, NULL, "no memory to start a run");
    if (rc == 0)
        rc = fill_argv(&c, arguments, count, path, err);
    if (rc == 0)
        rc = give(d, &c, absolute, false, err);
    free(path);
    command_release(&c);
    return rc;
}

int detached_resume(struct detached *d, struct err *err)
{
    struct command c = {0};
    char out[sizeof d->now.run.out];
    int rc = 0;
    pthread_mutex_lock(&d->lock);
    const struct run_record *r = &d->now;
    snprintf(out, sizeof out, "%s", r->run.out);
    if (r->arguments_count == 0)
        rc = err_set(err, ERR_USAGE, NULL, "there is no run to go on with; x starts one");
    if (rc == 0)
        rc = run_record_place(&c.place, r->run.out, err);
    if (rc == 0 && !(c.folder = mem_strdup(r->folder, err)))
        rc = ERR_NOMEM;
    if (rc == 0)
        rc = fill_argv(&c, (const char *const *)r->arguments, r->arguments_count, NULL, err);
    pthread_mutex_unlock(&d->lock);
    if (rc == 0)
        rc = give(d, &c, out, true, err);
    command_release(&c);
    return rc;
}

void detached_cancel(struct detached *d)
{
    pthread_mutex_lock(&d->lock);
    if (run_record_is_active(&d->now)) { /* told again, in case that it was not heard */
        d->cancel = true;
        d->now.run.phase = APP_RUN_CANCELLING;
    }
    pthread_cond_signal(&d->wake);
    pthread_mutex_unlock(&d->lock);
}

bool detached_active(struct detached *d)
{
    pthread_mutex_lock(&d->lock);
    bool active = run_record_is_active(&d->now);
    pthread_mutex_unlock(&d->lock);
    return active;
}

void detached_poll(struct detached *d, struct app_run *out)
{
    struct app_run_expert *experts = out->expert;
    pthread_mutex_lock(&d->lock);
    *out = d->now.run;
    size_t count = d->now.run.expert ? out->layers * out->experts : 0;
    out->expert = realloc(experts, (count ? count : 1) * sizeof *experts);
    if (!out->expert)
        free(experts);
    else if (count)
        memcpy(out->expert, d->now.run.expert, count * sizeof *experts);
    if (!count || !out->expert)
        out->layers = out->experts = 0;
    pthread_mutex_unlock(&d->lock);
}
