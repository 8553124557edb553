#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "data/base/jsonio.h"
#include "data/base/log.h"
#include "data/base/sanitize.h"
#include "src/cli/cli.h"
#include "src/runs/run_record.h"

struct arguments {
    const char *cancel, *forget;
    bool json;
};

static const struct cli_option options[] = {
    {"cancel", 0, "DIR", CLI_TEXT, offsetof(struct arguments, cancel), false,
     "stop the run that writes this folder at its next safe point; it can be resumed"},
    {"forget", 0, "DIR", CLI_TEXT, offsetof(struct arguments, forget), false,
     "remove the record of this folder's run; the folder itself stays"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "print JSON"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {{.type = CLI_END}};

const struct cli_spec cmd_runs_spec = {
    "runs",
    "Lists the quantization runs of this user, those of other terminals too: how far they are, how "
    "they ended.",
    "  moqa runs\n"
    "  moqa runs --cancel OLMoE-moqa\n"
    "  moqa runs --json\n",
    options,
    positional,
    false,
};

static double percent(const struct app_run *run)
{
    if (run->phase == APP_RUN_DONE)
        return 100;
    return run->steps_total ? 100.0 * (double)run->steps_done / (double)run->steps_total : 0;
}

static const char *phase_of(const struct run_record *r, pid_t owner)
{
    return run_record_is_active(r) && owner == 0 ? "cut" : run_record_phase_name(r->run.phase);
}

static void print_row(struct str *text, const struct run_record *r, pid_t owner)
{
    char out[sizeof r->run.out], message[sizeof r->run.message], started[32] = "";
    time_t when = (time_t)r->started;
    struct tm local;
    const struct app_run *run = &r->run;
    sanitize(out, sizeof out, run->out, strlen(run->out));
    sanitize(message, sizeof message, run->message, strlen(run->message));
    if (localtime_r(&when, &local))
        strftime(started, sizeof started, "%Y-%m-%d %H:%M", &local);
    str_appendf(text, "%-11s %4.0f %%  %8.1f s  %-16s  %s%s%s\n", phase_of(r, owner), percent(run),
                run->seconds, started, out, message[0] ? ": " : "", message);
}

static json_t *row_to_json(const struct run_record *r, pid_t owner)
{
    const struct app_run *run = &r->run;
    return json_pack("{s:o, s:s, s:o, s:f, s:f, s:f, s:f, s:b, s:I, s:I, s:I, s:o, s:I, s:I}",
                     "out", jsonio_bytes(run->out), "phase", phase_of(r, owner), "stage",
                     jsonio_bytes(run->stage), "fraction", percent(run) / 100, "seconds",
                     run->seconds, "seconds_left", run->seconds_left, "pass_seconds",
                     run->pass_seconds, "evaluating", run->evaluating, "layers",
                     (json_int_t)run->layers, "layers_done", (json_int_t)run->layers_done,
                     "fallbacks", (json_int_t)run->fallbacks, "message", jsonio_bytes(run->message),
                     "started", (json_int_t)r->started, "pid", (json_int_t)owner);
}

static int print_json(json_t *rows, struct err *err)
{
    json_t *root =
        json_pack("{s:s, s:i, s:O}", "schema", "moqa.runs", "schema_version", 1, "runs", rows);
    char *text = root ? json_dumps(root, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    struct str line = {0};
    str_appendf(&line, "%s\n", text ? text : "");
    int rc =
        text ? str_ok(&line, err) : err_set(err, ERR_NOMEM, NULL, "no memory for the list of runs");
    if (rc == 0)
        rc = cli_print(str_get(&line), err);
    str_release(&line);
    free(text);
    json_decref(root);
    return rc;
}

static int list(bool json, struct err *err)
{
    char **places = NULL;
    size_t count = 0;
    struct str text = {0};
    json_t *rows = json_array();
    int rc = run_record_list(&places, &count, err);
    for (size_t i = 0; rc == 0 && i < count; i++) {
        struct run_record r;
        struct err why = {0};
        pid_t owner;
        if (run_record_look(&r, &owner, places[i], &why) < 0) {
            char line[ERR_FILE_MAX + ERR_MESSAGE_MAX];
            err_format(line, sizeof line, &why);
            fprintf(stderr, "moqa: warning: %s\n", line);
            continue;
        }
        if (json)
            json_array_append_new(rows, row_to_json(&r, owner));
        else
            print_row(&text, &r, owner);
        run_record_release(&r);
    }
    if (rc == 0 && json)
        rc = print_json(rows, err);
    else if (rc == 0 && (rc = str_ok(&text, err)) == 0)
        rc = cli_print(text.length ? str_get(&text) : "no runs yet\n", err);
    json_decref(rows);
    str_release(&text);
    for (size_t i = 0; i < count; i++)
        free(places[i]);
    free(places);
    return rc;
}

static int cancel(const char *out, const char *place, struct err *err)
{
    pid_t owner = run_record_owner(place);
    if (owner == 0)
        return err_set(err, ERR_USAGE, out, "nothing runs there");
    if (owner < 0) /* a lock over the network: no number of a process here */
        return err_set(err, ERR_USAGE, out, "runs on another machine; cancel it there");
    if (kill(owner, SIGINT) < 0)
        return err_set_errno(err, ERR_IO, out, "cannot stop its process");
    log_write(LOG_INFO, "%s stops at its next safe point", out);
    return 0;
}

static int forget(const char *out, const char *place, struct err *err)
{
    static const char *const ends[] = {".plan.json", ".log", ".lock", ".json"};
    struct str path = {0};
    bool found = false;
    int rc = 0;
    if (run_record_owner(place) != 0)
        return err_set(err, ERR_USAGE, out, "runs; cancel it first");
    for (size_t i = 0; rc == 0 && i < sizeof ends / sizeof *ends; i++) { /* the record comes last */
        str_clear(&path);
        str_appendf(&path, "%s%s", place, ends[i]);
        found = unlink(str_get(&path)) == 0;
        if (!found && errno != ENOENT)
            rc = err_set_errno(err, ERR_IO, str_get(&path), "cannot remove");
    }
    str_release(&path);
    return rc == 0 && !found ? err_set(err, ERR_USAGE, out, "no run of it is known") : rc;
}

int cmd_runs(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    char out[4096], *place = NULL;
    int rc = cli_parse(&cmd_runs_spec, argc, argv, &a, NULL, err);
    if (rc < 0)
        return rc;
    if (a.cancel && a.forget)
        return err_set(err, ERR_USAGE, NULL, "--cancel and --forget: expected one of them");
    const char *named = a.cancel ? a.cancel : a.forget;
    if (!named)
        return list(a.json, err);
    rc = run_record_absolute(out, sizeof out, named, err);
    if (rc == 0)
        rc = run_record_place(&place, out, err);
    if (rc == 0)
        rc = a.cancel ? cancel(named, place, err) : forget(named, place, err);
    free(place);
    return rc;
}
