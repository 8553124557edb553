#include "src/cli/cli_similarity.h"

#include "src/cli/cli_progress.h"
#include "src/similarity.h"

int cli_similarity(double **out, const char *model_dir, const struct cli_count *threads,
                   const char *style, struct err *err)
{
    struct model model = {0};
    struct parallel *pool = NULL;
    struct progress progress;
    size_t n;
    int rc = cli_threads(&n, threads, err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, style, err);
    if (rc < 0)
        return rc;
    rc = model_open(&model, model_dir, err);
    if (rc == 0)
        rc = parallel_new(&pool, n, err);
    if (rc == 0)
        rc = similarity_run(out, &model, pool, &progress, err);
    parallel_free(pool);
    model_release(&model);
    cli_progress_end(&progress);
    return rc;
}
