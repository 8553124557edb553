#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/sanitize.h"
#include "data/base/str.h"
#include "src/calibration.h"
#include "src/cli/cli.h"
#include "src/cli/cli_device.h"
#include "src/cli/cli_progress.h"
#include "src/eval/divergence.h"
#include "src/eval/eval_json.h"
#include "src/eval/task.h"
#include "src/model/texts.h"

enum { SHOWN_MAX = 256 };

struct arguments {
    const char *model, *original, *task, *data, *progress;
    struct cli_device device;
    struct cli_list text;
    struct cli_count window, samples;
    bool json, details;
};

static const struct cli_option options[] = {
    {"text", 't', "FILE...", CLI_LIST, offsetof(struct arguments, text), false,
     "perplexity on these texts, joined in this order"},
    {"original", 'o', "DIR", CLI_TEXT, offsetof(struct arguments, original), false,
     "with --text: also how far the output is from that of this model"},
    {"task", 0, "NAME", CLI_TEXT, offsetof(struct arguments, task), false,
     "a zero-shot task: arc_easy, arc_challenge, piqa, rte, copa, cb; or pairs"},
    {"data", 'd', "FILE", CLI_TEXT, offsetof(struct arguments, data), false,
     "its questions: JSON lines with the data set's own fields"},
    {"details", 0, NULL, CLI_FLAG, offsetof(struct arguments, details), false,
     "of a task: the log-likelihood of every choice as well"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "with --text: tokens a window (2048, or the model's limit if smaller)"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "with --text: only the first N windows"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "the result as JSON"},
    CLI_DEVICE_OPTIONS(struct arguments, device),
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"MODEL", 0, NULL, CLI_TEXT, offsetof(struct arguments, model), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_eval_spec = {
    "eval",
    "Perplexity of a model on text, over windows that do not overlap, or its score on a zero-shot "
    "task. MODEL is a checkpoint folder, plain or quantized (moqa, gptq).",
    "  moqa eval OLMoE-1B-7B --text wiki.txt\n"
    "  moqa eval OLMoE-moqa --text wiki.txt --window 512 --json\n"
    "  moqa eval OLMoE-moqa --text wiki.txt --original OLMoE-1B-7B\n"
    "  moqa eval OLMoE-moqa --task arc_easy --data ARC-Easy-Test.jsonl\n"
    "  moqa eval OLMoE-moqa --task piqa --data piqa.jsonl --json --details > piqa.json\n",
    options,
    positional,
    false,
};

static int print_json(json_t *object, struct err *err)
{
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    int rc = text ? cli_print(text, err) : err_set(err, ERR_NOMEM, NULL, "no memory for JSON");
    if (rc == 0)
        rc = cli_print("\n", err);
    free(text);
    return rc;
}

/* --- Perplexity --- */

/* d: NULL where no original was given. */
static int print_text(const struct perplexity *p, const struct divergence *d, struct err *err)
{
    char line[256];
    snprintf(line, sizeof line,
             "perplexity %.6f  (%zu windows of %zu tokens, %zu predicted, %.2f s)\n", p->value,
             p->windows, p->window, p->predicted, p->seconds);
    int rc = cli_print(line, err);
    if (rc < 0 || !d)
        return rc;
    snprintf(line, sizeof line,
             "divergence %.6f \u00b1 %.6f  (from the original's output, a token, %.2f s)\n",
             d->mean, d->error, d->seconds);
    return cli_print(line, err);
}

static int print_text_json(const struct perplexity *p, const struct eval_text *text,
                           const struct divergence *d, struct err *err)
{
    json_t *object = NULL;
    int rc = eval_json(&object, p, text, err);
    if (rc == 0 && d)
        rc = eval_json_add_divergence(object, d, err);
    if (rc == 0)
        rc = print_json(object, err);
    json_decref(object);
    return rc;
}

static int diverge(struct divergence *out, const struct arguments *a, const struct model *m,
                   struct device *d, const struct token_ids *ids, size_t window,
                   struct progress *progress, struct err *err)
{
    struct model original = {0};
    int rc = model_open(&original, a->original, err);
    if (rc == 0)
        do
            rc = divergence_run(out, m, &original, NULL, d->backend, ids->data, ids->count, window,
                                a->samples.value, progress, err);
        while (rc < 0 && device_recover(d, rc, err));
    model_release(&original);
    return rc;
}

static int run_texts(const struct arguments *a, const struct model *m, struct device *d,
                     struct progress *progress, struct err *err)
{
    struct token_ids ids = {0};
    struct perplexity result;
    struct eval_text text;
    struct divergence divergence, *apart = a->original ? &divergence : NULL;
    size_t window;
    int rc = calibration_window(&window, m->config, a->window.value, err);
    if (rc == 0)
        rc = texts_encode(&ids, m->tokenizer, a->text.items, a->text.count, err);
    if (rc == 0)
        rc = eval_text_read(&text, a->model, a->text.items, a->text.count, err);
    if (rc == 0)
        do
            rc = perplexity_run(&result, m, d->backend, ids.data, ids.count, window,
                                a->samples.value, NULL, progress, err);
        while (rc < 0 && device_recover(d, rc, err));
    if (rc == 0 && apart)
        rc = diverge(apart, a, m, d, &ids, window, progress, err);
    if (rc == 0)
        rc =
            a->json ? print_text_json(&result, &text, apart, err) : print_text(&result, apart, err);
    token_ids_release(&ids);
    return rc;
}

/* --- A task --- */

static void append_items(struct str *out, const struct task *t)
{
    for (size_t i = 0; i < t->count; i++) {
        const struct task_item *item = &t->items[i];
        for (size_t c = 0; c < item->count; c++) {
            const struct task_choice *choice = &item->choices[c];
            char shown[SHOWN_MAX];
            sanitize(shown, sizeof shown, choice->continuation, strlen(choice->continuation));
            str_appendf(out, "%5zu  %c%c %12.4f  %3zu tokens %s\n", i,
                        t->info->scored && c == item->right ? '*' : ' ',
                        t->info->scored && c == item->predicted ? '>' : ' ', choice->result.value,
                        choice->result.tokens, shown);
        }
    }
    if (t->info->scored)
        str_append(out, "(* the right choice, > the model's)\n");
}

static int print_task(const struct task *t, const struct arguments *a, struct err *err)
{
    json_t *object = NULL;
    struct str text = {0};
    int rc = 0;
    if (a->json) {
        rc = task_json(&object, t, a->details, err);
        if (rc == 0)
            rc = print_json(object, err);
        json_decref(object);
        return rc;
    }
    if (a->details || !t->info->scored)
        append_items(&text, t);
    str_appendf(&text, "%s", t->info->name);
    if (t->info->scored)
        str_appendf(&text, "  acc %.4f \u00b1 %.4f", t->acc, t->acc_error);
    if (t->info->has_norm)
        str_appendf(&text, "  acc_norm %.4f \u00b1 %.4f", t->acc_norm, t->acc_norm_error);
    if (t->info->has_f1)
        str_appendf(&text, "  f1 %.4f", t->f1);
    str_appendf(&text, "  (%zu questions, %.2f s)\n", t->count, t->seconds);
    rc = str_ok(&text, err);
    if (rc == 0)
        rc = cli_print(str_get(&text), err);
    str_release(&text);
    return rc;
}

static int run_task(const struct arguments *a, const struct model *m, struct device *d,
                    struct progress *progress, struct err *err)
{
    struct task task = {0};
    int rc = task_load(&task, task_find(a->task), a->data, err);
    if (rc == 0)
        do
            rc = task_run(&task, m, d->backend, progress, err);
        while (rc < 0 && device_recover(d, rc, err));
    if (rc == 0)
        rc = print_task(&task, a, err);
    task_release(&task);
    return rc;
}

static int check_task(const struct arguments *a, struct err *err)
{
    struct str known = {0};
    if (!a->task && a->text.count == 0)
        return err_set(err, ERR_USAGE, NULL, "expected --text FILE... or --task NAME --data FILE");
    if (a->task && a->text.count)
        return err_set(err, ERR_USAGE, NULL, "--text and --task are two evaluations: choose one");
    if (a->task && a->original)
        return err_set(err, ERR_USAGE, NULL, "--original belongs to --text");
    if (a->task && (a->window.given || a->samples.given))
        return err_set(err, ERR_USAGE, NULL, "--%s belongs to --text",
                       a->window.given ? "window" : "samples");
    if (a->task && !a->data)
        return err_set(err, ERR_USAGE, NULL, "--task %s needs its questions: --data FILE", a->task);
    if (!a->task && (a->data || a->details))
        return err_set(err, ERR_USAGE, NULL, "--%s belongs to --task",
                       a->data ? "data" : "details");
    if (!a->task || task_find(a->task))
        return 0;
    for (size_t i = 0; i < task_count(); i++)
        str_appendf(&known, "%s%s", i ? ", " : "", task_info(i)->name);
    int rc = err_set(err, ERR_USAGE, NULL, "--task: found \"%s\", expected one of %s", a->task,
                     str_get(&known));
    str_release(&known);
    return rc;
}

static int run(const struct arguments *a, struct progress *progress, struct err *err)
{
    struct model model = {0};
    struct device device = {0};
    struct device_request request;
    int rc = cli_device_request(&request, &a->device, err);
    if (rc == 0)
        rc = model_open(&model, a->model, err);
    if (rc == 0 && !model.tokenizer)
        rc = err_set(err, ERR_INPUT, a->model, "has no tokenizer.json, which a text needs");
    if (rc == 0)
        rc = device_open(&device, &request, err);
    if (rc == 0)
        rc = a->task ? run_task(a, &model, &device, progress, err)
                     : run_texts(a, &model, &device, progress, err);
    device_close(&device);
    model_release(&model);
    return rc;
}

int cmd_eval(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct progress progress;
    int rc = cli_parse(&cmd_eval_spec, argc, argv, &a, NULL, err);
    if (rc == 0)
        rc = check_task(&a, err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, a.progress, err);
    if (rc == 0) {
        rc = run(&a, &progress, err);
        cli_progress_end(&progress);
    }
    cli_list_release(&a.text);
    return rc;
}
