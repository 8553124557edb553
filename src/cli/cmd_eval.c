#include <stdio.h>
#include <stdlib.h>

#include "src/calibration.h"
#include "src/cli/cli.h"
#include "src/cli/cli_progress.h"
#include "src/eval/eval_json.h"
#include "src/job.h"
#include "src/model/texts.h"

struct arguments {
    const char *model, *backend, *progress;
    struct cli_list text;
    struct cli_count window, samples, threads;
    bool json;
};

static const struct cli_option options[] = {
    {"text", 't', "FILE...", CLI_LIST, offsetof(struct arguments, text), true,
     "texts, joined in this order"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "tokens a window (2048, or the model's limit if smaller)"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "only the first N windows"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "the result as JSON"},
    {"backend", 0, "NAME", CLI_TEXT, offsetof(struct arguments, backend), false,
     "auto (default), cpu or cuda"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false,
     "threads (all); the result does not depend on it"},
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
    "Perplexity of a model on text, over windows that do not overlap. MODEL is a checkpoint "
    "folder, plain or quantized (moqa, gptq).",
    "  moqa eval OLMoE-1B-7B --text wiki.txt\n"
    "  moqa eval OLMoE-moqa --text wiki.txt --window 512 --json\n",
    options,
    positional,
    false,
};

static int print_result(const struct perplexity *p, bool as_json, struct err *err)
{
    char line[256];
    if (!as_json) {
        snprintf(line, sizeof line,
                 "perplexity %.6f  (%zu windows of %zu tokens, %zu predicted, %.2f s)\n", p->value,
                 p->windows, p->window, p->predicted, p->seconds);
        return cli_print(line, err);
    }
    json_t *object = NULL;
    int rc = eval_json(&object, p, err);
    if (rc < 0)
        return rc;
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    rc = text ? cli_print(text, err) : err_set(err, ERR_NOMEM, NULL, "no memory for JSON");
    if (rc == 0)
        rc = cli_print("\n", err);
    free(text);
    return rc;
}

static int run(const struct arguments *a, struct progress *progress, struct err *err)
{
    struct model model = {0};
    struct token_ids ids = {0};
    struct backend *backend = NULL;
    struct perplexity result;
    size_t window, threads;
    int rc = cli_threads(&threads, &a->threads, err);
    if (rc == 0)
        rc = model_open(&model, a->model, err);
    if (rc == 0)
        rc = calibration_window(&window, model.config, a->window.value, err);
    if (rc == 0 && !model.tokenizer)
        rc = err_set(err, ERR_INPUT, a->model, "has no tokenizer.json, which a text needs");
    if (rc == 0)
        rc = texts_encode(&ids, model.tokenizer, a->text.items, a->text.count, err);
    if (rc == 0)
        rc = job_backend(&backend, a->backend, threads, err);
    if (rc == 0)
        rc = perplexity_run(&result, &model, backend, ids.data, ids.count, window, a->samples.value,
                            NULL, progress, err);
    if (rc == 0)
        rc = print_result(&result, a->json, err);
    backend_free(backend);
    token_ids_release(&ids);
    model_release(&model);
    return rc;
}

int cmd_eval(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct progress progress;
    int rc = cli_parse(&cmd_eval_spec, argc, argv, &a, NULL, err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, a.progress, err);
    if (rc == 0) {
        rc = run(&a, &progress, err);
        cli_progress_end(&progress);
    }
    cli_list_release(&a.text);
    return rc;
}
