#include "src/cli/cli_source.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/planner.h"
#include "data/base/mem.h"
#include "src/cli/cli_similarity.h"
#include "src/original.h"
#include "src/runs.h"

int cli_source_open(struct cli_source *out, const char *trace_path, const char *model_dir,
                    const struct settings *settings, struct err *err)
{
    *out = (struct cli_source){.trace_path = trace_path, .model_dir = model_dir};
    int rc = session_open(&out->session, trace_path, model_dir, err);
    if (rc == 0)
        rc = analysis_update(out->session.analysis, settings, err);
    out->figures.analysis = out->session.analysis;
    return rc;
}

void cli_source_release(struct cli_source *s)
{
    free(s->cosine);
    free(s->run);
    free(s->result);
    plan_release(&s->plan);
    session_release(&s->session);
}

int cli_source_plan(struct cli_source *s, const char *plan_path, struct err *err)
{
    const char *slash = strrchr(s->trace_path, '/');
    struct planner_request request = {.method = "moqa",
                                      .trace_name = slash ? slash + 1 : s->trace_path,
                                      .trace_sha256 = s->session.trace_sha256};
    int rc;
    if (plan_path)
        rc = plan_load(&s->plan, plan_path, err);
    else if (s->session.has_config)
        rc = planner_make(&s->plan, s->session.analysis, &request, &s->session.config, err);
    else
        return 0; /* the figure says what it misses */
    if (rc == 0)
        s->figures.plan = &s->plan;
    return rc;
}

int cli_source_runs(struct cli_source *s, const char *runs_dir, struct err *err)
{
    size_t n;
    struct original_model model;
    if (!s->session.has_config)
        return 0;
    bool known = original_model_read(&model, s->model_dir, NULL) == 0;
    int rc = runs_list(&s->result, &n, runs_dir ? runs_dir : "moqa-runs", s->session.config.sha256,
                       known ? model.checkpoint : NULL, err);
    if (rc < 0 || n == 0)
        return rc;
    s->run = mem_array(n, sizeof *s->run, err);
    if (!s->run)
        return ERR_NOMEM;
    for (size_t i = 0; i < n; i++) {
        const struct app_result *r = &s->result[i];
        s->run[i] = (struct figure_run){.name = r->name,
                                        .method = r->method,
                                        .nominal_bits = r->nominal_bits,
                                        .effective_bits = r->effective_bits,
                                        .bytes = r->bytes,
                                        .has_perplexity = r->has_perplexity,
                                        .perplexity = r->perplexity};
    }
    s->figures.runs = s->run;
    s->figures.run_count = n;
    return 0;
}

int cli_source_cosine(struct cli_source *s, const struct cli_count *threads, const char *progress,
                      struct err *err)
{
    if (!s->model_dir)
        return 0; /* the figure says what it misses */
    int rc = cli_similarity(&s->cosine, s->model_dir, threads, progress, err);
    s->figures.cosine = s->cosine;
    return rc;
}
