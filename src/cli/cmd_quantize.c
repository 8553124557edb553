#include <stdio.h>
#include <string.h>

#include "data/base/log.h"
#include "src/cli/cli.h"
#include "src/cli/cli_device.h"
#include "src/cli/cli_progress.h"
#include "src/job.h"
#include "src/runs/run_keeper.h"

struct arguments {
    const char *plan, *model, *out, *format, *progress;
    struct cli_device device;
    struct cli_list calib, text;
    struct cli_count samples, window;
    bool resume, dry_run;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder that the plan was made for"},
    {"calib", 'c', "FILE...", CLI_LIST, offsetof(struct arguments, calib), true,
     "calibration texts, joined in this order; or one trace, whose tokens are used"},
    {"text", 't', "FILE...", CLI_LIST, offsetof(struct arguments, text), false,
     "texts to evaluate the result on; its perplexity is kept beside it"},
    {"output", 'o', "DIR", CLI_TEXT, offsetof(struct arguments, out), true, "folder to make"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "calibration windows (128; of a trace: all)"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "tokens a window (2048, or the model's limit if smaller; a trace's own)"},
    {"format", 'f', "FORMAT", CLI_TEXT, offsetof(struct arguments, format), false,
     "moqa (default), gptq, gptq_v2 or hf"},
    {"resume", 0, NULL, CLI_FLAG, offsetof(struct arguments, resume), false,
     "go on with an interrupted run"},
    {"dry-run", 0, NULL, CLI_FLAG, offsetof(struct arguments, dry_run), false,
     "say what would be done, write nothing"},
    CLI_DEVICE_OPTIONS(struct arguments, device),
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"PLAN", 0, NULL, CLI_TEXT, offsetof(struct arguments, plan), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_quantize_spec = {
    "quantize",
    "Quantizes a checkpoint as a plan says, layer by layer; interrupted, it can be resumed.",
    "  moqa quantize moqa.plan.json --model OLMoE-1B-7B --calib wiki.h5 -o OLMoE-moqa\n"
    "  moqa quantize plan.json --model DIR --calib a.txt b.txt --window 512 -o OUT\n"
    "  moqa quantize plan.json --model DIR --calib wiki.h5 -o OUT --format gptq --resume\n",
    options,
    positional,
    false,
};

static int parse_format(enum pass_format *out, const char *name, struct err *err)
{
    *out = PASS_MOQA;
    if (!name)
        return 0;
    for (int i = 0; i < PASS_FORMAT_COUNT; i++)
        if (strcmp(name, pass_format_names[i]) == 0) {
            *out = (enum pass_format)i;
            return 0;
        }
    return err_set(err, ERR_USAGE, NULL,
                   "--format: found \"%s\", expected moqa, gptq, gptq_v2 or hf", name);
}

static int dry_run(const struct job_options *o, struct err *err)
{
    struct str text = {0};
    int rc = job_dry_run(&text, o, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    str_release(&text);
    return rc;
}

static void print_perplexity(const struct job *job)
{
    const struct perplexity *p = job_perplexity(job);
    if (p)
        fprintf(stderr, "moqa: perplexity %.4f (windows of %zu)\n", p->value, p->window);
}

static int run(const struct job_options *o, int argc, char **argv, struct err *err)
{
    struct job *job = NULL;
    struct run_keeper *keeper = run_keeper_new(o, argc, argv);
    int rc = job_new(&job, o, err);
    if (rc == 0) {
        run_keeper_watch(keeper, job);
        do
            rc = job_step(job, err);
        while (rc > 0);
    }
    run_keeper_end(keeper, rc, err);
    if (rc == 0)
        print_perplexity(job);
    job_free(job);
    if (rc == ERR_CANCELLED)
        fprintf(stderr, "moqa: interrupted; the same command with --resume goes on\n");
    return rc;
}

int cmd_quantize(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct plan plan = {0};
    struct progress progress;
    struct job_options o = {0};
    int rc = cli_parse(&cmd_quantize_spec, argc, argv, &a, NULL, err);
    if (rc == 0)
        rc = parse_format(&o.format, a.format, err);
    if (rc == 0)
        rc = cli_device_request(&o.device, &a.device, err);
    if (rc == 0)
        rc = plan_load(&plan, a.plan, err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, a.progress, err);
    if (rc == 0) {
        o.model_dir = a.model;
        o.plan = &plan;
        o.plan_path = a.plan;
        o.calib = a.calib.items;
        o.calib_count = a.calib.count;
        o.texts = a.text.items;
        o.texts_count = a.text.count;
        o.samples = a.samples.value;
        o.window = a.window.value;
        o.out = a.out;
        o.resume = a.resume;
        o.progress = &progress;
        rc = a.dry_run ? dry_run(&o, err) : run(&o, argc, argv, err);
        cli_progress_end(&progress);
    }
    if (rc == 0 && !a.dry_run)
        log_write(LOG_INFO, "wrote %s", a.out);
    plan_release(&plan);
    cli_list_release(&a.text);
    cli_list_release(&a.calib);
    return rc;
}
