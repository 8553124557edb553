#include "src/eval/eval_windows.h"

#include <stdlib.h>

#include "data/base/mem.h"
#include "src/model/prefetch.h"

/* Hidden states held at a time; every batch reads all layers once more. */
static const size_t hidden_budget = (size_t)256 << 20;

int eval_windows_init(struct eval_windows *w, const struct model_config *config, struct backend *b,
                      const uint32_t *ids, size_t tokens, size_t window, size_t most,
                      struct progress *progress, struct err *err)
{
    size_t windows = window ? tokens / window : 0;
    *w = (struct eval_windows){.b = b, .ids = ids, .window = window, .progress = progress};
    if (window < 2)
        return err_set(err, ERR_USAGE, NULL,
                       "windows of %zu tokens predict nothing, expected at least 2", window);
    if (windows == 0)
        return err_set(err, ERR_INPUT, NULL, "the text has %zu tokens, less than one window of %zu",
                       tokens, window);
    w->windows = most && most < windows ? most : windows;
    size_t fit = hidden_budget / sizeof(float) / config->hidden / window;
    fit = fit ? fit : 1;
    w->batch = fit < w->windows ? fit : w->windows;
    w->starts = mem_array(w->windows, sizeof *w->starts, err);
    for (size_t i = 0; w->starts && i < w->windows; i++)
        w->starts[i] = i * window;
    return w->starts ? 0 : ERR_NOMEM;
}

void eval_windows_release(struct eval_windows *w)
{
    free(w->starts);
    *w = (struct eval_windows){0};
}

static int run_layers(const struct eval_windows *w, const struct model *m, struct forward *f,
                      size_t first, size_t count, struct err *err)
{
    size_t layers = m->config->layers;
    struct prefetch *ahead = prefetch_new(m->checkpoint);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < layers; i++) {
        struct model_layer l = {0};
        progress_stage(w->progress, "windows %zu to %zu of %zu: layer %zu of %zu", first + 1,
                       first + count, w->windows, i + 1, layers);
        rc = model_layer_load(&l, m, w->b, i, err);
        if (i + 1 < layers)
            prefetch_layer(ahead, i + 1);
        if (rc == 0)
            rc = forward_attention(f, &l, NULL, true, err);
        if (rc == 0)
            rc = forward_mlp(f, &l, NULL, true, err);
        model_layer_release(&l, w->b);
        progress_step(w->progress, count);
    }
    prefetch_free(ahead);
    return rc;
}

int eval_windows_run(struct forward **out, const struct eval_windows *w, const struct model *m,
                     size_t first, size_t count, struct err *err)
{
    int rc = forward_new(out, m, w->b, w->ids, w->starts + first, count, w->window, err);
    if (rc == 0 && w->progress)
        forward_set_cancel(*out, &w->progress->cancel);
    if (rc == 0)
        rc = run_layers(w, m, *out, first, count, err);
    if (rc < 0) {
        forward_free(*out);
        *out = NULL;
    }
    return rc;
}
