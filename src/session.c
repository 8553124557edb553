#include "src/session.h"

#include <langinfo.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "analysis/planner.h"
#include "data/base/log.h"
#include "data/base/str.h"
#include "data/base/thread.h"
#include "data/trace_h5.h"
#include "src/cli/cli.h"
#include "ui/report/report_text.h"

/* A model's folder may have none. It is read in full only where it is another one. */
static int check_tokenizer(const struct trace *t, const char *trace_path, const char *model_dir,
                           struct err *err)
{
    char sha256[HASH_HEX_SIZE] = "";
    struct tokenizer *k = NULL;
    char *path = str_path(model_dir, "tokenizer.json", err);
    int rc = path ? 0 : ERR_NOMEM;
    bool known = rc == 0 && t->tokenizer_sha256[0] && access(path, F_OK) == 0;
    if (known)
        rc = hash_file(sha256, path, err);
    if (rc == 0 && known && strcmp(sha256, t->tokenizer_sha256) != 0) {
        rc = tokenizer_load(&k, path, err);
        if (rc == 0)
            rc = trace_check_tokenizer(t, trace_path, k, err);
    }
    tokenizer_free(k);
    free(path);
    return rc;
}

static int open_config(struct session *s, const char *trace_path, const char *model_dir,
                       struct err *err)
{
    char *path = str_path(model_dir, "config.json", err);
    if (!path)
        return ERR_NOMEM;
    int rc = model_config_load(&s->config, path, err);
    if (rc == 0)
        rc = planner_check_trace(&s->trace, trace_path, &s->config, err);
    if (rc == 0)
        rc = check_tokenizer(&s->trace, trace_path, model_dir, err);
    if (rc == 0 && !planner_has_config_of(&s->trace, &s->config))
        log_write(LOG_WARN, "%s: was made with another config.json than %s; its shape is the same",
                  trace_path, path);
    s->has_config = rc == 0;
    free(path);
    return rc;
}

int session_open(struct session *out, const char *trace_path, const char *model_dir,
                 struct err *err)
{
    return session_open_watched(out, trace_path, model_dir, NULL, err);
}

/* The file's hash, in a thread beside the reader, which leaves a core free. */
struct hashing {
    const char *path;
    char *out; /* [HASH_HEX_SIZE] */
    const struct watch *watch;
    pthread_t thread;
    bool started, tried;
    int rc;
    struct err err;
};

static void *hash_main(void *argument)
{
    struct hashing *h = argument;
    struct watch quiet = {.cancel = h->watch ? h->watch->cancel : NULL};
    h->rc = hash_file_watched(h->out, h->path, &quiet, &h->err);
    return NULL;
}

/* Passes on what the reader tells. Its first word comes once the file is known to be one of HDF5:
 * before that there is nothing worth hashing. */
static void tell_and_hash(void *context, enum watch_step step, uint64_t done, uint64_t total)
{
    struct hashing *h = context;
    if (step == WATCH_READ && !h->tried) {
        h->tried = true;
        h->started = thread_start(&h->thread, hash_main, h) == 0;
    }
    watch_tell(h->watch, step, done, total);
}

static int read_and_hash(struct session *out, const char *trace_path, const struct watch *watch,
                         struct err *err)
{
    struct hashing h = {.path = trace_path, .out = out->trace_sha256, .watch = watch};
    struct watch both = {watch ? watch->cancel : NULL, tell_and_hash, &h};
    int rc = trace_h5_load_watched(&out->trace, trace_path, &both, err);
    if (h.started)
        pthread_join(h.thread, NULL);
    if (rc < 0)
        return rc;
    if (!h.started)
        return hash_file_watched(out->trace_sha256, trace_path, watch, err);
    if (h.rc < 0 && err)
        *err = h.err;
    return h.rc;
}

int session_open_watched(struct session *out, const char *trace_path, const char *model_dir,
                         const struct watch *watch, struct err *err)
{
    *out = (struct session){0};
    int rc = read_and_hash(out, trace_path, watch, err);
    if (rc == 0 && model_dir)
        rc = open_config(out, trace_path, model_dir, err);
    if (rc == 0)
        rc = analysis_new_watched(&out->analysis, &out->trace, watch, err);
    if (rc < 0)
        session_release(out);
    return rc;
}

void session_release(struct session *s)
{
    analysis_free(s->analysis);
    trace_release(&s->trace);
    *s = (struct session){0};
}

enum { REPORT_WIDTH = 80, REPORT_WIDTH_MIN = 60, REPORT_WIDTH_MAX = 160 };

static size_t report_width(bool terminal)
{
    struct winsize size;
    const char *columns = getenv("COLUMNS");
    long width = REPORT_WIDTH;
    if (terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col)
        width = size.ws_col;
    else if (columns)
        width = strtol(columns, NULL, 10);
    width = width < REPORT_WIDTH_MIN ? REPORT_WIDTH : width;
    return (size_t)(width > REPORT_WIDTH_MAX ? REPORT_WIDTH_MAX : width);
}

int session_print(const struct session *s, const double *cosine, struct err *err)
{
    struct str text = {0};
    const char *term = getenv("TERM");
    bool terminal = isatty(STDOUT_FILENO);
    struct report_text_options o = {
        .width = report_width(terminal),
        .ascii = strcmp(nl_langinfo(CODESET), "UTF-8") != 0,
        .colour = terminal && !getenv("NO_COLOR") && term && strcmp(term, "dumb") != 0,
        .cosine = cosine,
    };
    int rc = report_text_write(&text, &s->trace, s->analysis, &o, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    str_release(&text);
    return rc;
}
