#include "src/session.h"

#include <stdlib.h>

#include "analysis/planner.h"
#include "data/base/str.h"
#include "data/trace_h5.h"

static int open_config(struct session *s, const char *trace_path, const char *model_dir,
                       struct err *err)
{
    char *path = str_path(model_dir, "config.json", err);
    if (!path)
        return ERR_NOMEM;
    int rc = model_config_load(&s->config, path, err);
    if (rc == 0)
        rc = planner_check_trace(&s->trace, trace_path, &s->config, err);
    s->has_config = rc == 0;
    free(path);
    return rc;
}

int session_open(struct session *out, const char *trace_path, const char *model_dir,
                 struct err *err)
{
    *out = (struct session){0};
    int rc = trace_h5_load(&out->trace, trace_path, NULL, err);
    if (rc == 0)
        rc = hash_file(out->trace_sha256, trace_path, err);
    if (rc == 0 && model_dir)
        rc = open_config(out, trace_path, model_dir, err);
    if (rc == 0)
        rc = analysis_new(&out->analysis, &out->trace, err);
    if (rc < 0)
        session_release(out);
    return rc;
}

void session_release(struct session *s)
{
    analysis_free(s->analysis);
    trace_release(&s->trace);
    *s = (struct session){0};
}
