#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "src/cli/cli.h"
#include "src/open_load.h"

struct arguments {
    const char *trace, *model, *plan, *runs;
    struct cli_list calib, text;
    struct cli_count threads;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), false,
     "checkpoint folder; needed for similarity, sizes and runs"},
    {"plan", 'p', "FILE", CLI_TEXT, offsetof(struct arguments, plan), false,
     "plan to start from, and where `w` writes (moqa.plan.json)"},
    {"calib", 'c', "FILE...", CLI_LIST, offsetof(struct arguments, calib), false,
     "calibration texts for runs (the trace's own tokens)"},
    {"text", 't', "FILE...", CLI_LIST, offsetof(struct arguments, text), false,
     "texts on which every run is evaluated"},
    {"runs", 0, "DIR", CLI_TEXT, offsetof(struct arguments, runs), false,
     "folder of the runs (moqa-runs)"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false, "threads (all)"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_open_spec = {
    "open",
    "Opens a trace in the workbench: look at the numbers, move the settings, pin experts, write "
    "the plan, run it. Without a terminal it prints the report.",
    "  moqa wiki.h5\n"
    "  moqa open wiki.h5 --model OLMoE-1B-7B --text eval.txt\n"
    "  moqa open wiki.h5 --model OLMoE-1B-7B --plan moqa.plan.json\n",
    options,
    positional,
    true,
};

static int print_report(const struct arguments *a, const struct settings *settings, struct err *err)
{
    struct session s = {0};
    int rc = session_open(&s, a->trace, a->model, err);
    if (rc == 0)
        rc = analysis_update(s.analysis, settings, err);
    if (rc == 0)
        rc = session_print(&s, NULL, err);
    session_release(&s);
    return rc;
}

static int run_workbench(const struct arguments *a, const struct settings *settings,
                         struct err *err)
{
    struct open_load *load = NULL;
    struct app_loader loader;
    struct open_request r = {
        .host = {.trace_path = a->trace,
                 .model_dir = a->model,
                 .calib = a->calib.items,
                 .calib_count = a->calib.count,
                 .texts = a->text.items,
                 .texts_count = a->text.count,
                 .runs_dir = a->runs ? a->runs : "moqa-runs"},
        .plan_path = a->plan ? a->plan : "moqa.plan.json",
        .start_from_plan = a->plan && access(a->plan, F_OK) == 0,
        .settings = *settings,
        .given = cli_settings_given(),
    };
    int rc = cli_threads(&r.host.threads, &a->threads, err);
    if (rc == 0)
        rc = open_load_new(&load, &r, err);
    if (rc == 0)
        rc = open_load_start(load, &loader, err);
    if (rc == 0)
        rc = app_run_terminal(&loader, err);
    open_load_free(load);
    return rc;
}

int cmd_open(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    int rc = cli_parse(&cmd_open_spec, argc, argv, &a, &settings, err);
    if (rc == 0)
        rc = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) ? run_workbench(&a, &settings, err)
                                                           : print_report(&a, &settings, err);
    cli_list_release(&a.calib);
    cli_list_release(&a.text);
    return rc;
}
