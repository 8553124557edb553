#include <stdlib.h>

#include "src/cli/cli.h"
#include "src/cli/cli_similarity.h"
#include "src/session.h"

struct arguments {
    const char *trace, *model, *progress;
    bool json, cosine;
    struct cli_count threads;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), false,
     "checkpoint folder; needed for --cosine"},
    {"cosine", 0, NULL, CLI_FLAG, offsetof(struct arguments, cosine), false,
     "cosine similarity of the experts' weights (stage 3)"},
    {"json", 0, NULL, CLI_FLAG, offsetof(struct arguments, json), false, "all numbers as JSON"},
    {"threads", 'j', "N", CLI_COUNT, offsetof(struct arguments, threads), false, "threads (all)"},
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {"TRACE", 0, NULL, CLI_TEXT, offsetof(struct arguments, trace), true, NULL},
    {.type = CLI_END},
};

const struct cli_spec cmd_analyze_spec = {
    "analyze",
    "All numbers of a trace; on a terminal or a pipe its charts as text.",
    "  moqa analyze wiki.h5\n"
    "  moqa analyze wiki.h5 --alpha 0.5 --mapping gate --json > wiki.json\n"
    "  moqa analyze wiki.h5 --model OLMoE-1B-7B --cosine\n",
    options,
    positional,
    true,
};

static int print_json(const struct analysis *analysis, const double *cosine, struct err *err)
{
    json_t *object = NULL;
    int rc = analysis_to_json(&object, analysis, cosine, err);
    if (rc < 0)
        return rc;
    char *text = json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(17));
    json_decref(object);
    if (!text)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the JSON text");
    rc = cli_print(text, err);
    if (rc == 0)
        rc = cli_print("\n", err);
    free(text);
    return rc;
}

int cmd_analyze(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct session s = {0};
    double *cosine = NULL;
    int rc = cli_parse(&cmd_analyze_spec, argc, argv, &a, &settings, err);
    if (rc == 0 && a.cosine && !a.model)
        rc = err_set(err, ERR_USAGE, NULL, "--cosine needs --model DIR");
    if (rc == 0)
        rc = session_open(&s, a.trace, a.model, err);
    if (rc == 0)
        rc = analysis_update(s.analysis, &settings, err);
    if (rc == 0 && a.cosine)
        rc = cli_similarity(&cosine, a.model, &a.threads, a.progress, err);
    if (rc == 0)
        rc = a.json ? print_json(s.analysis, cosine, err) : session_print(&s, cosine, err);
    free(cosine);
    session_release(&s);
    return rc;
}
