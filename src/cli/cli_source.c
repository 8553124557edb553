#include "src/cli/cli_source.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/planner.h"
#include "data/base/mem.h"
#include "src/cli/cli_similarity.h"
#include "src/runs/original.h"
#include "src/runs/runs.h"

/* The plan's settings, without what its method, not the user, has set. */
static int take_settings(struct settings *s, const struct plan *plan, struct err *err)
{
    double beta_ch = s->beta_ch;
    unsigned bits_shared = s->bits_shared;
    *s = plan->settings;
    if (strcmp(plan->method, "moqa") != 0) {
        s->beta_ch = beta_ch;
        s->bits_shared = bits_shared;
    }
    return cli_settings_over(s, err);
}

int cli_source_open(struct cli_source *out, const char *trace_path, const char *model_dir,
                    const char *plan_path, const struct settings *settings, struct err *err)
{
    struct settings own = *settings;
    *out = (struct cli_source){
        .trace_path = trace_path, .model_dir = model_dir, .plan_given = plan_path};
    int rc = session_open(&out->session, trace_path, model_dir, err);
    if (rc == 0 && plan_path)
        rc = plan_load(&out->plan, plan_path, err);
    if (rc == 0 && plan_path && out->session.has_config)
        rc = plan_check_model(&out->plan, plan_path, &out->session.config, err);
    if (rc == 0 && plan_path)
        rc = take_settings(&own, &out->plan, err);
    if (rc == 0)
        rc = analysis_update(out->session.analysis, &own, err);
    out->figures.analysis = out->session.analysis;
    return rc;
}

void cli_source_release(struct cli_source *s)
{
    free(s->cosine);
    result_figures_release(&s->drawn);
    result_texts_release(&s->texts);
    runs_free(s->result, s->results);
    plan_release(&s->plan);
    budget_front_release(&s->curve);
    losses_release(&s->losses);
    session_release(&s->session);
}

/* MoQa's, of the settings of the analysis. */
static int make_plan(struct plan *out, const struct cli_source *s, struct err *err)
{
    const char *slash = strrchr(s->trace_path, '/');
    struct planner_request request = {.method = "moqa",
                                      .trace_name = slash ? slash + 1 : s->trace_path,
                                      .trace_sha256 = s->session.trace_sha256};
    return planner_make(out, s->session.analysis, &request, &s->session.config, err);
}

int cli_source_plan(struct cli_source *s, struct err *err)
{
    if (!s->plan_given && !s->session.has_config)
        return 0; /* the figure says what it misses */
    int rc = s->plan_given ? 0 : make_plan(&s->plan, s, err);
    if (rc == 0)
        s->figures.plan = &s->plan;
    return rc;
}

int cli_source_runs(struct cli_source *s, const char *runs_dir, struct err *err)
{
    struct original_model model;
    if (!s->session.has_config)
        return 0;
    bool known = original_model_read(&model, s->model_dir, NULL) == 0;
    int rc = runs_list(&s->result, &s->results, runs_dir ? runs_dir : "moqa-runs",
                       s->session.config.sha256, known ? model.checkpoint : NULL, err);
    if (rc == 0)
        rc = result_texts_make(&s->texts, s->result, s->results, err);
    if (rc == 0 && s->results)
        rc = result_figures_make(&s->drawn, &s->texts, s->result, NULL, s->results, err);
    s->figures.results = s->drawn.on;
    s->figures.texts = s->drawn.n;
    return rc;
}

/* The losses are set against MoQa's plan, and against the one that was given. */
static int check_losses(const struct cli_source *s, const char *path, const struct plan *moqa,
                        struct err *err)
{
    if (!s->session.has_config)
        return err_set(err, ERR_USAGE, NULL, "--losses needs --model");
    int rc = losses_check_model(&s->losses, path, &s->session.config, err);
    if (rc == 0)
        rc = losses_check_folder(&s->losses, path, s->model_dir, err);
    if (rc == 0 && s->plan_given)
        rc = losses_check_settings(&s->losses, path, &s->plan.settings, err);
    return rc == 0 ? losses_check_settings(&s->losses, path, &moqa->settings, err) : rc;
}

int cli_source_front(struct cli_source *s, const char *losses_path, struct err *err)
{
    struct budget_options options;
    struct budget budget = {0};
    struct plan moqa = {0};
    struct figure_front *front = &s->front;
    if (!losses_path)
        return 0;
    budget_defaults(&options);
    int rc = losses_load(&s->losses, losses_path, err);
    if (rc == 0 && s->session.has_config)
        rc = make_plan(&moqa, s, err);
    if (rc == 0)
        rc = check_losses(s, losses_path, &moqa, err);
    if (rc == 0)
        rc = budget_init(&budget, &moqa, &s->losses, &s->session.config, &options, err);
    if (rc == 0)
        rc = budget_front_make(&s->curve, &budget, &s->losses, err);
    if (rc == 0) {
        const struct model_config *c = &s->session.config;
        *front = (struct figure_front){.curve = &s->curve, .mark = s->mark};
        if (s->plan_given)
            s->mark[front->marks++] =
                figures_mark_plan(s->plan.method, NULL, &s->plan, &s->losses, c, false);
        s->mark[front->marks++] = figures_mark_plan("MoQa", "M", &moqa, &s->losses, c, false);
        front->marks += figures_mark_uniform(&s->mark[front->marks], &budget, &s->losses);
        s->figures.front = front;
    }
    budget_release(&budget);
    plan_release(&moqa);
    return rc;
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
