#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/atomic_file.h"
#include "data/base/log.h"
#include "src/cli/cli.h"
#include "src/cli/cli_device.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_progress.h"
#include "src/compare/compare_print.h"
#include "ui/figure/canvas.h"

struct arguments {
    const char *trace, *model, *bits, *runs, *format, *picture, *progress;
    struct cli_device device;
    struct cli_list calib, text, task, methods;
    struct cli_count seeds, samples, window, eval_samples, eval_window;
    bool json, divergence, results_only, file_bits, list, dry_run;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder of the traced model"},
    {"calib", 'c', "FILE...", CLI_LIST, offsetof(struct arguments, calib), false,
     "calibration texts, joined in this order; or one trace, whose tokens are used (TRACE)"},
    {"text", 't', "TEXT...", CLI_LIST, offsetof(struct arguments, text), false,
     "texts to evaluate on, each with a perplexity of its own: FILE, or NAME=FILE[,FILE...] for "
     "several that are joined; a folder stands for its .txt files"},
    {"task", 0, "NAME=FILE...", CLI_LIST, offsetof(struct arguments, task), false,
     "zero-shot tasks (moqa eval --task) with their questions"},
    {"methods", 'M', "METHOD...", CLI_LIST, offsetof(struct arguments, methods), false,
     "METHOD[@BITS][:NAME=VALUE,...]: those of moqa plan with any setting, or gptq, rtn, "
     "heuristics, moqa-options, standard (default), all"},
    {"bits", 'b', "LIST", CLI_TEXT, offsetof(struct arguments, bits), false,
     "averages of all experts for the methods that take one (2.25,2.5,3,3.5)"},
    {"seeds", 's', "N", CLI_COUNT, offsetof(struct arguments, seeds), false,
     "draws of the calibration windows, the same for all methods: seed + 1 to seed + N; without: "
     "one, as the settings say"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "calibration windows (128; of a trace: all)"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "tokens a calibration window (2048, or the model's limit if smaller; a trace's own)"},
    {"eval-samples", 0, "N", CLI_COUNT, offsetof(struct arguments, eval_samples), false,
     "only the first N windows of each text"},
    {"eval-window", 0, "TOKENS", CLI_COUNT, offsetof(struct arguments, eval_window), false,
     "tokens a window of the evaluation (as in the calibration)"},
    {"divergence", 0, NULL, CLI_FLAG, offsetof(struct arguments, divergence), false,
     "also how far each run's output is from the original's, on each text (as moqa eval "
     "--original): it tells close results apart, which perplexity does not"},
    {"runs", 0, "DIR", CLI_TEXT, offsetof(struct arguments, runs), false,
     "folder of the runs (moqa-runs), as the workbench lists them; what is there is not computed "
     "again"},
    {"results-only", 0, NULL, CLI_FLAG, offsetof(struct arguments, results_only), false,
     "remove the weights of a run once it is evaluated"},
    {"format", 'f', "FORMAT", CLI_TEXT, offsetof(struct arguments, format), false,
     "text (default), markdown, csv or json"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "the same as -f json"},
    {"picture", 'p', "FILE", CLI_TEXT, offsetof(struct arguments, picture), false,
     "bits against perplexity as .svg, .pdf or .png; {text} in the name: one for each text"},
    {"file-bits", 0, NULL, CLI_FLAG, offsetof(struct arguments, file_bits), false,
     "the picture is over the bits in the file, not the nominal ones"},
    {"list", 0, NULL, CLI_FLAG, offsetof(struct arguments, list), false,
     "only say which methods would be run"},
    {"dry-run", 0, NULL, CLI_FLAG, offsetof(struct arguments, dry_run), false,
     "only list the runs (method, bits, seed, whether it is kept) and what is to do; as text or "
     "JSON"},
    CLI_DEVICE_OPTIONS(struct arguments, device),
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_compare_spec = {
    "compare",
    "Quantizes by every method, at every average and for every draw of the calibration, evaluates "
    "all of it and prints one table. Interrupted, the same command goes on; what was computed once "
    "is kept in the folder of the runs.",
    "  moqa compare wiki.h5 --model DIR --calib wiki.h5 --text test.txt\n"
    "  moqa compare wiki.h5 --model DIR --calib wiki.txt --text test.txt code=a.c,b.c --seeds 3\n"
    "  moqa compare wiki.h5 --model DIR --text test.txt --methods gptq-3 budget@2.4 "
    "moqa:alpha=0.5\n"
    "  moqa compare wiki.h5 --model DIR --text test.txt --methods all -f markdown -p bits.svg\n",
    options,
    positional,
    true,
};

static int parse_format(enum compare_format *out, const struct arguments *a, struct err *err)
{
    const char *name = a->json ? "json" : a->format ? a->format : "text";
    *out = COMPARE_TEXT;
    for (int i = 0; i < COMPARE_FORMATS; i++)
        if (strcmp(name, compare_format_names[i]) == 0) {
            *out = (enum compare_format)i;
            return 0;
        }
    return err_set(err, ERR_USAGE, NULL,
                   "--format: found \"%s\", expected text, markdown, csv or json", name);
}

static int print_methods(const struct compare_methods *m, struct err *err)
{
    struct str text = {0};
    for (size_t i = 0; i < m->count; i++) {
        str_append(&text, m->item[i].label);
        if (m->item[i].bits > 0)
            str_appendf(&text, "  at %g bits", m->item[i].bits);
        else if (m->item[i].info->average)
            str_append(&text, "  at each of --bits");
        str_append(&text, "\n");
    }
    int rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(text.data, err);
    str_release(&text);
    return rc;
}

static int print(const struct compare_result *r, enum compare_format format,
                 const struct arguments *a, struct err *err)
{
    struct str text = {0};
    int rc = compare_print(&text, r, format, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    if (rc == 0 && a->picture)
        rc = compare_picture(r, a->picture, a->file_bits, err);
    str_release(&text);
    return rc;
}

/* Reads everything, computes and writes nothing. */
static int dry_run(const struct compare_options *o, enum compare_format format, struct err *err)
{
    struct compare *c = NULL;
    struct str text = {0};
    int rc = compare_new(&c, o, err);
    if (rc == 0)
        rc = compare_prepare(c, err);
    if (rc == 0)
        rc = compare_print_runs(&text, c, format == COMPARE_JSON, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    str_release(&text);
    compare_free(c);
    return rc;
}

static int run(const struct compare_options *o, struct progress *progress,
               enum compare_format format, const struct arguments *a, struct err *err)
{
    struct compare *c = NULL;
    if (a->dry_run)
        return dry_run(o, format, err);
    int rc = cli_progress_begin(progress, a->progress, err);
    if (rc < 0)
        return rc;
    rc = compare_new(&c, o, err);
    log_set_level(LOG_WARN); /* what each pass has to say of its experts stands in its report */
    if (rc == 0)
        rc = compare_run(c, err);
    log_set_level(LOG_INFO);
    cli_progress_end(progress);
    if (rc == 0)
        rc = print(compare_result(c), format, a, err);
    if (rc == 0)
        log_write(LOG_INFO, "%zu runs computed, %zu were there; they are in %s",
                  compare_result(c)->computed, compare_result(c)->kept, o->runs_dir);
    if (rc == ERR_CANCELLED)
        fprintf(stderr, "moqa: interrupted; the same command goes on\n");
    compare_free(c);
    return rc;
}

/* The original first: all others are held against it. */
static int parse_methods(struct compare_methods *m, const struct arguments *a,
                         const struct settings *settings, struct err *err)
{
    static const char *const original[] = {"fp16"}, *const standard[] = {"standard"};
    int rc = compare_methods_add(m, original, 1, settings, err);
    if (rc == 0)
        rc = compare_methods_add(m, a->methods.count ? a->methods.items : standard,
                                 a->methods.count ? a->methods.count : 1, settings, err);
    return rc;
}

static int check_arguments(const struct arguments *a, enum compare_format *format, struct err *err)
{
    enum canvas_format picture;
    int rc = parse_format(format, a, err);
    if (rc == 0 && !a->list && a->text.count + a->task.count == 0)
        rc = err_set(err, ERR_USAGE, NULL, "expected --text FILE..., or --task NAME=FILE");
    if (rc == 0 && a->divergence && a->text.count == 0 && !a->list)
        rc =
            err_set(err, ERR_USAGE, NULL, "--divergence: expected --text FILE... to measure it on");
    if (rc == 0 && a->dry_run && *format != COMPARE_TEXT && *format != COMPARE_JSON)
        rc = err_set(err, ERR_USAGE, NULL, "--dry-run: found -f %s, expected text or json",
                     compare_format_names[*format]);
    if (rc == 0 && a->picture)
        rc = canvas_format_of(&picture, a->picture, err);
    if (rc == 0 && a->picture && !a->dry_run)
        rc = atomic_file_probe(a->picture, err);
    if (rc == 0 && a->seeds.given && (a->seeds.value == 0 || a->seeds.value > 1000))
        rc =
            err_set(err, ERR_USAGE, NULL, "--seeds: found %zu, expected 1 to 1000", a->seeds.value);
    return rc;
}

/* --bits is for methods that take an average and were given none of their own. */
static int check_bits(const struct arguments *a, const struct compare_methods *m, struct err *err)
{
    bool used = !a->bits;
    for (size_t i = 0; i < m->count; i++)
        used = used || (m->item[i].info->average && m->item[i].bits <= 0);
    return used ? 0
                : err_set(err, ERR_USAGE, NULL,
                          "--bits: each of the methods has bits of its own; those that take an "
                          "average are budget, moeptq-r and other heuristics");
}

static int check_picture(const struct arguments *a, const struct compare_texts *t, struct err *err)
{
    struct cli_inputs inputs = {.model = a->model, .file = {a->trace}, .list = {&a->calib}};
    int rc = cli_output_check(a->picture, &inputs, err);
    for (size_t i = 0; rc == 0 && i < t->texts; i++)
        for (size_t k = 0; rc == 0 && k < t->text[i].count; k++)
            rc = cli_output_check(a->picture, &(struct cli_inputs){.file = {t->text[i].paths[k]}},
                                  err);
    for (size_t i = 0; rc == 0 && i < t->tasks; i++)
        rc = cli_output_check(a->picture, &(struct cli_inputs){.file = {t->task[i].path}}, err);
    return rc;
}

static int compare(const struct arguments *a, const struct settings *settings, struct err *err)
{
    struct compare_methods methods = {0};
    struct compare_texts texts = {0};
    struct progress progress;
    enum compare_format format = COMPARE_TEXT;
    double *bits = NULL;
    struct compare_options o = {.trace_path = a->trace,
                                .model_dir = a->model,
                                .runs_dir = a->runs ? a->runs : "moqa-runs",
                                .calib = a->calib.items,
                                .calib_count = a->calib.count,
                                .samples = a->samples.value,
                                .window = a->window.value,
                                .seeds = a->seeds.value,
                                .methods = &methods,
                                .settings = settings,
                                .texts = &texts,
                                .eval_window = a->eval_window.value,
                                .eval_samples = a->eval_samples.value,
                                .divergence = a->divergence,
                                .dry_run = a->dry_run,
                                .results_only = a->results_only,
                                .progress = a->dry_run ? NULL : &progress};
    int rc = check_arguments(a, &format, err);
    if (rc == 0)
        rc = cli_device_request(&o.device, &a->device, err);
    if (rc == 0)
        rc = compare_parse_bits(&bits, &o.bits_count, a->bits ? a->bits : "2.25,2.5,3,3.5", err);
    o.bits = bits;
    if (rc == 0)
        rc = parse_methods(&methods, a, settings, err);
    if (rc == 0)
        rc = check_bits(a, &methods, err);
    if (rc == 0)
        rc = compare_texts_parse(&texts, a->text.items, a->text.count, a->task.items, a->task.count,
                                 err);
    if (rc == 0 && !a->dry_run && !a->list)
        rc = check_picture(a, &texts, err);
    if (rc == 0)
        rc = a->list ? print_methods(&methods, err) : run(&o, &progress, format, a, err);
    compare_texts_release(&texts);
    compare_methods_release(&methods);
    free(bits);
    return rc;
}

int cmd_compare(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    int rc = cli_parse(&cmd_compare_spec, argc, argv, &a, &settings, err);
    if (rc == 0)
        rc = compare(&a, &settings, err);
    cli_list_release(&a.calib);
    cli_list_release(&a.text);
    cli_list_release(&a.task);
    cli_list_release(&a.methods);
    return rc;
}
