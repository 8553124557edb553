#include "src/cli/cli_progress.h"

#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <jansson.h>

#include "data/base/sanitize.h"

typedef void (*printer)(const struct progress_state *state);

static void print_bar(const struct progress_state *s);
static void print_plain(const struct progress_state *s);
static void print_json(const struct progress_state *s);
static void print_none(const struct progress_state *s);

static const struct {
    const char *name;
    printer print;
    double interval; /* seconds between two prints */
} styles[] = {
    {"bar", print_bar, 0.1},
    {"plain", print_plain, 10},
    {"json", print_json, 1},
    {"none", print_none, 0},
};

enum { STYLES = sizeof styles / sizeof styles[0] };
enum { STYLE_BAR, STYLE_PLAIN, STYLE_JSON, STYLE_NONE }; /* as they stand above */

/* One command runs in a process, so its progress is the process's: signal handlers need it. */
static struct progress *current;
static size_t style;
static double last_print;
static bool bar_shown;
static struct sigaction before[3];
static const int signals[3] = {SIGINT, SIGTERM, SIGHUP};

static void on_signal(int number)
{
    if (atomic_exchange(&current->cancel, true)) {
        signal(number, SIG_DFL);
        raise(number);
    }
}

static void format_time(char out[32], double seconds)
{
    unsigned long whole = seconds > 0 ? (unsigned long)lround(seconds) : 0;
    if (seconds < 0)
        snprintf(out, 32, "?");
    else if (whole >= 3600)
        snprintf(out, 32, "%lu:%02lu:%02lu", whole / 3600, whole / 60 % 60, whole % 60);
    else
        snprintf(out, 32, "%lu:%02lu", whole / 60, whole % 60);
}

static double fraction(const struct progress_state *s)
{
    return s->total ? (double)s->done / (double)s->total : 0;
}

static void print_bar(const struct progress_state *s)
{
    char left[32], bar[64], stage[128];
    struct winsize size;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col ? size.ws_col : 80;
    size_t width = columns >= 80 ? 30 : 10, full = (size_t)(fraction(s) * (double)width + 0.5);
    for (size_t i = 0; i < width; i++)
        bar[i] = i < full ? '#' : '.';
    bar[width] = '\0';
    format_time(left, s->seconds_left);
    size_t room = columns > width + 30 ? columns - width - 30 : 1;
    sanitize(stage, room < sizeof stage ? room : sizeof stage, s->stage, strlen(s->stage));
    fprintf(stderr, "\r\033[K[%s] %3.0f %%  left %s  %s", bar, 100 * fraction(s), left, stage);
    fflush(stderr);
    bar_shown = true;
}

static void print_plain(const struct progress_state *s)
{
    char spent[32], left[32], stage[256];
    sanitize(stage, sizeof stage, s->stage, strlen(s->stage));
    format_time(spent, s->seconds);
    format_time(left, s->seconds_left);
    fprintf(stderr, "moqa: %.0f %%, %s (%s so far, %s left)\n", 100 * fraction(s), stage, spent,
            left);
}

static void print_json(const struct progress_state *s)
{
    char stage[256];
    sanitize(stage, sizeof stage, s->stage, strlen(s->stage));
    json_t *line =
        json_pack("{s:s, s:i, s:s, s:I, s:I, s:f}", "schema", "moqa.progress", "schema_version", 1,
                  "stage", stage, "done", (json_int_t)s->done, "total", (json_int_t)s->total,
                  "seconds", round(s->seconds * 1e3) / 1e3);
    char *text = line ? json_dumps(line, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    if (text)
        fprintf(stderr, "%s\n", text);
    free(text);
    json_decref(line);
}

static void print_none(const struct progress_state *s)
{
    (void)s;
}

static void on_change(void *context, const struct progress_state *state)
{
    (void)context;
    bool last = state->total && state->done == state->total;
    if (state->seconds - last_print < styles[style].interval && !(last && style == STYLE_BAR))
        return;
    last_print = state->seconds;
    styles[style].print(state);
}

/* --- What is said once --- */

static void print_note(void *context, const char *text)
{
    char line[512];
    (void)context;
    sanitize(line, sizeof line, text, strlen(text));
    if (style == STYLE_NONE)
        return;
    if (style == STYLE_JSON) {
        json_t *object = json_pack("{s:s, s:i, s:s}", "schema", "moqa.progress", "schema_version",
                                   1, "note", line);
        char *dumped = object ? json_dumps(object, JSON_COMPACT) : NULL;
        if (dumped)
            fprintf(stderr, "%s\n", dumped);
        free(dumped);
        json_decref(object);
        return;
    }
    fprintf(stderr, "%smoqa: %s\n", bar_shown ? "\r\033[K" : "", line);
}

static int choose_style(const char *name, struct err *err)
{
    if (!name)
        name = getenv("MOQA_PROGRESS");
    if (!name || strcmp(name, "auto") == 0) {
        const char *term = getenv("TERM");
        bool smart = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
        style = smart ? STYLE_BAR : STYLE_PLAIN;
        return 0;
    }
    for (style = 0; style < STYLES; style++)
        if (strcmp(name, styles[style].name) == 0)
            return 0;
    style = STYLE_PLAIN;
    return err_set(err, ERR_USAGE, NULL,
                   "--progress: found \"%s\", expected auto, bar, plain, json or none", name);
}

int cli_progress_begin(struct progress *p, const char *name, struct err *err)
{
    int rc = choose_style(name, err);
    if (rc < 0)
        return rc;
    progress_init(p);
    p->changed = on_change;
    p->noted = print_note;
    last_print = 0;
    bar_shown = false;
    current = p;
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    for (size_t i = 0; i < 3; i++) {
        sigaction(signals[i], NULL, &before[i]);
        /* nohup ignores SIGHUP. Shells ignore SIGINT for a script's background, where `moqa runs
         * --cancel` must be heard all the same. */
        if (signals[i] != SIGHUP || before[i].sa_handler != SIG_IGN)
            sigaction(signals[i], &action, NULL);
    }
    /* Who starts a run for the screen holds SIGINT back until now (src/runs/detached.c). */
    sigset_t interrupt;
    sigemptyset(&interrupt);
    sigaddset(&interrupt, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &interrupt, NULL);
    return 0;
}

void cli_progress_end(struct progress *p)
{
    for (size_t i = 0; i < 3; i++)
        sigaction(signals[i], &before[i], NULL);
    if (bar_shown)
        fputs("\r\033[K", stderr);
    progress_release(p);
}
