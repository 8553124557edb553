#include <langinfo.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/log.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_source.h"
#include "src/workbench/open_load.h"
#include "ui/app/walk.h"

struct arguments {
    const char *trace, *model, *plan, *runs, *losses, *keys, *size, *look, *picture;
    bool session;
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
     "texts on which the original and every run are evaluated"},
    {"runs", 0, "DIR", CLI_TEXT, offsetof(struct arguments, runs), false,
     "folder of the runs (moqa-runs)"},
    {"losses", 'l', "FILE", CLI_TEXT, offsetof(struct arguments, losses), false,
     "measured losses (moqa losses), for plans within a budget; those in the folder of the runs "
     "and beside it are found"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false, "threads (all)"},
    {"keys", 'k', "KEYS", CLI_TEXT, offsetof(struct arguments, keys), false,
     "without a terminal: press these keys (\"3 ] Tab Right*5 Enter '0.35' Enter shot:a.svg\"), "
     "then print the screen, or write it with --picture"},
    {"picture", 0, "FILE", CLI_TEXT, offsetof(struct arguments, picture), false,
     "without a terminal: write the last screen as .svg, .txt or .ansi"},
    {"size", 0, "WxH", CLI_TEXT, offsetof(struct arguments, size), false,
     "size of the screen for --keys and --picture (80x24)"},
    {"look", 0, "WORDS", CLI_TEXT, offsetof(struct arguments, look), false,
     "look for --keys and --picture: dark, light, mono; 256, 16, 8, 0; braille, block, ascii "
     "(dark,256,braille)"},
    {"session", 0, NULL, CLI_FLAG, offsetof(struct arguments, session), false,
     "with --keys and --picture: read and save the session of this trace as the screen does"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_open_spec = {
    "open",
    "Opens a trace in the workbench: look at the numbers, move the settings, pin experts, write "
    "the plan, run it. Without a terminal it prints the report, with the settings of --plan.",
    "  moqa wiki.h5\n"
    "  moqa open wiki.h5 --model OLMoE-1B-7B --text eval.txt\n"
    "  moqa open wiki.h5 --model OLMoE-1B-7B --plan moqa.plan.json\n"
    "  moqa open wiki.h5 --keys \"3 ] ] Tab Right*5\" --size 120x40 --picture layer2.svg\n",
    options,
    positional,
    true,
};

static bool is_walk(const struct arguments *a)
{
    return a->keys || a->picture;
}

/* The report on the analysis, with the settings of a plan where one is given. */
static int print_report(const struct arguments *a, const struct settings *settings, struct err *err)
{
    struct cli_source source = {0};
    int rc = cli_source_open(&source, a->trace, a->model, a->plan, settings, err);
    if (rc == 0)
        rc = session_print(&source.session, NULL, err);
    cli_source_release(&source);
    return rc;
}

/* What belongs elsewhere: options of a walk without one, and, told but not refused (the same
 * command opens the screen where there is a terminal), options of the screen in a report. */
static int check_arguments(const struct arguments *a, bool screen, struct err *err)
{
    const char *of_walk = a->size ? "size" : a->look ? "look" : a->session ? "session" : NULL;
    const char *of_screen = a->losses        ? "losses"
                            : a->text.count  ? "text"
                            : a->calib.count ? "calib"
                            : a->runs        ? "runs"
                                             : NULL;
    if (of_walk && !is_walk(a))
        return err_set(err, ERR_USAGE, NULL, "--%s belongs to --keys or --picture", of_walk);
    if (of_screen && !screen)
        log_write(LOG_INFO, "there is no terminal, so this is the report; --%s is for the screen",
                  of_screen);
    return 0;
}

static int fill_walk(struct walk_options *w, const struct arguments *a, struct err *err)
{
    *w = (struct walk_options){.keys = a->keys, .w = 80, .h = 24, .picture = a->picture};
    bool prints_bytes = !a->picture && strcmp(nl_langinfo(CODESET), "UTF-8") != 0;
    w->look = (struct style_look){STYLE_DARK, STYLE_DEPTH_256,
                                  prints_bytes ? STYLE_ASCII : STYLE_BRAILLE};
    int rc = a->size ? walk_size(&w->w, &w->h, a->size, err) : 0;
    return rc == 0 && a->look ? walk_look(&w->look, a->look, err) : rc;
}

static int print_screen(const struct cells *c, const struct style_look *look, struct err *err)
{
    struct str text = {0};
    if (isatty(STDOUT_FILENO))
        cells_sgr(c, look, &text);
    else
        cells_plain(c, &text);
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    str_release(&text);
    return rc;
}

static int run_walk(const struct arguments *a, struct open_load *load, struct err *err)
{
    struct walk_options w;
    struct cells last = {0};
    struct style_look look;
    const struct app_options *app;
    int rc = fill_walk(&w, a, err);
    if (rc == 0)
        rc = open_load_now(load, &app, err);
    if (rc == 0)
        rc = walk_run(app, &w, &last, &look, err);
    if (rc == 0 && !a->picture)
        rc = print_screen(&last, &look, err);
    cells_release(&last);
    return rc;
}

static int run_screen(struct open_load *load, struct err *err)
{
    struct app_loader loader;
    int rc = open_load_start(load, &loader, err);
    return rc == 0 ? app_run_terminal(&loader, err) : rc;
}

static int run_workbench(const struct arguments *a, const struct settings *settings,
                         struct err *err)
{
    struct open_load *load = NULL;
    struct open_request r = {
        .host = {.trace_path = a->trace,
                 .model_dir = a->model,
                 .losses_path = a->losses,
                 .calib = a->calib.items,
                 .calib_count = a->calib.count,
                 .texts = a->text.items,
                 .texts_count = a->text.count,
                 .runs_dir = a->runs ? a->runs : "moqa-runs"},
        .plan_path = a->plan ? a->plan : "moqa.plan.json",
        .start_from_plan = a->plan && access(a->plan, F_OK) == 0,
        .settings = *settings,
        .settings_over = cli_settings_over,
        .no_session = is_walk(a) && !a->session,
    };
    int rc = cli_output_check(a->picture,
                              &(struct cli_inputs){.model = a->model,
                                                   .file = {a->trace, a->plan, a->losses},
                                                   .list = {&a->calib, &a->text}},
                              err);
    if (rc == 0)
        rc = cli_threads(&r.host.threads, &a->threads, err);
    if (rc == 0)
        rc = open_load_new(&load, &r, err);
    if (rc == 0)
        rc = is_walk(a) ? run_walk(a, load, err) : run_screen(load, err);
    open_load_free(load);
    return rc;
}

int cmd_open(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    int rc = cli_parse(&cmd_open_spec, argc, argv, &a, &settings, err);
    bool screen = is_walk(&a) || (isatty(STDIN_FILENO) && isatty(STDOUT_FILENO));
    if (rc == 0)
        rc = check_arguments(&a, screen, err);
    if (rc == 0)
        rc = screen ? run_workbench(&a, &settings, err) : print_report(&a, &settings, err);
    cli_list_release(&a.calib);
    cli_list_release(&a.text);
    return rc;
}
