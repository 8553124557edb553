#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "analysis/predict.h"
#include "data/base/log.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_source.h"
#include "src/command_line.h"
#include "ui/report/report_build.h"

struct arguments {
    const char *trace, *model, *plan, *runs, *losses, *out, *title, *progress;
    bool no_cosine, force;
    struct cli_count threads;
};

static const struct cli_option options[] = {
    {"output", 'o', "FILE", CLI_TEXT, offsetof(struct arguments, out), true,
     "report to write: .html (one file, no scripts) or .pdf"},
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), false,
     "checkpoint folder; needed for similarity, plan and runs"},
    {"plan", 'p', "FILE", CLI_TEXT, offsetof(struct arguments, plan), false,
     "plan to report on (the one that these settings make); its settings are those of the report, "
     "those of the command line over them"},
    {"runs", 0, "DIR", CLI_TEXT, offsetof(struct arguments, runs), false,
     "folder of the runs to list (moqa-runs)"},
    {"losses", 0, "FILE", CLI_TEXT, offsetof(struct arguments, losses), false,
     "measured losses (moqa losses), for the front of all budgets"},
    {"title", 0, "TEXT", CLI_TEXT, offsetof(struct arguments, title), false,
     "title (the model's name)"},
    {"no-cosine", 0, NULL, CLI_FLAG, offsetof(struct arguments, no_cosine), false,
     "leave out similarity, which reads all experts' weights"},
    {"force", 0, NULL, CLI_FLAG, offsetof(struct arguments, force), false,
     "replace a file that is there"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false, "threads (all)"},
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_report_spec = {
    "report",
    "Writes all figures, tables and settings of a trace as one page, to read, print or send.",
    "  moqa report wiki.h5 --model OLMoE-1B-7B -o report.html\n"
    "  moqa report wiki.h5 --model OLMoE-1B-7B --plan moqa.plan.json -o report.pdf\n",
    options,
    positional,
    true,
};

static int write_report(const struct cli_source *s, const struct arguments *a, struct err *err)
{
    struct report report = {0};
    struct str command = {0}, plan_command = {0};
    const struct plan *plan = s->figures.plan;
    struct plan none = {.settings = analysis_result(s->figures.analysis)->settings};
    struct command_budget budget = {.losses = a->losses,
                                    .bits = plan ? plan->summary.nominal_bits : 0};
    command_line(&command, "analyze", a->trace, a->model, &none, NULL);
    if (plan)
        command_line(&plan_command, "plan", a->trace, a->model, plan, &budget);
    struct report_source source = {
        .title = a->title,
        .trace = &s->session.trace,
        .trace_path = a->trace,
        .trace_sha256 = s->session.trace_sha256,
        .model_dir = a->model,
        .config = s->session.has_config ? &s->session.config : NULL,
        .figures = s->figures,
        .predicted_loss =
            plan && s->session.has_config ? predict_plan_loss(plan, &s->session.config) : 0,
        .command = str_get(&command),
        .plan_command = plan ? str_get(&plan_command) : NULL,
    };
    int rc = str_ok(&command, err);
    if (rc == 0)
        rc = str_ok(&plan_command, err);
    if (rc == 0)
        rc = report_build(&report, &source, err);
    if (rc == 0)
        rc = report_write(&report, a->out, err);
    report_release(&report);
    str_release(&plan_command);
    str_release(&command);
    return rc;
}

static int check_arguments(const struct arguments *a, struct err *err)
{
    if (a->plan && !a->model)
        return err_set(err, ERR_USAGE, NULL, "--plan needs --model");
    if (!a->force && access(a->out, F_OK) == 0)
        return err_set(err, ERR_USAGE, a->out, "is there already; --force replaces it");
    int rc = report_format_known(a->out, err);
    if (rc == 0)
        rc = cli_output_check(
            a->out, &(struct cli_inputs){.model = a->model, .file = {a->trace, a->plan, a->losses}},
            err);
    return rc;
}

int cmd_report(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct cli_source source = {0};
    int rc = cli_parse(&cmd_report_spec, argc, argv, &a, &settings, err);
    if (rc == 0)
        rc = check_arguments(&a, err);
    if (rc == 0)
        rc = cli_source_open(&source, a.trace, a.model, a.plan, &settings, err);
    if (rc == 0)
        rc = cli_source_plan(&source, err);
    if (rc == 0)
        rc = cli_source_front(&source, a.losses, err);
    if (rc == 0)
        rc = cli_source_runs(&source, a.runs, err);
    if (rc == 0 && !a.no_cosine)
        rc = cli_source_cosine(&source, &a.threads, a.progress, err);
    if (rc == 0)
        rc = write_report(&source, &a, err);
    if (rc == 0)
        log_write(LOG_INFO, "wrote %s", a.out);
    cli_source_release(&source);
    return rc;
}
