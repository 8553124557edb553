#include "src/calibration.h"

#include <stdlib.h>
#include <string.h>

#include "analysis/windows.h"
#include "analysis/windows_balanced.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "src/model/texts.h"

int calibration_window(size_t *out, const struct model_config *config, size_t wanted,
                       struct err *err)
{
    size_t limit = config->max_positions;
    if (wanted == 0)
        wanted = limit < CALIBRATION_WINDOW ? limit : CALIBRATION_WINDOW;
    if (wanted < 2 || wanted > limit)
        return err_set(err, ERR_USAGE, NULL,
                       "window: found %zu tokens, expected 2 to %zu (the model's limit)", wanted,
                       limit);
    *out = wanted;
    return 0;
}

static int choose(struct calibration *c, const struct model *m,
                  const struct calibration_request *request, struct err *err)
{
    size_t samples = request->samples ? request->samples : CALIBRATION_SAMPLES;
    int rc = calibration_window(&c->window, m->config, request->window, err);
    if (rc < 0)
        return rc;
    c->starts = mem_array(samples, sizeof *c->starts, err);
    if (!c->starts)
        return ERR_NOMEM;
    return windows_choose(c->starts, &c->windows, samples, c->ids.data, c->ids.count, c->window,
                          m->config->top_k, request->settings, err);
}

static int from_texts(struct calibration *c, const struct model *m,
                      const struct calibration_request *request, struct err *err)
{
    if (!m->tokenizer)
        return err_set(err, ERR_INPUT, checkpoint_dir(m->checkpoint),
                       "has no tokenizer.json, which a text needs; give a trace instead");
    int rc = texts_encode(&c->ids, m->tokenizer, request->paths, request->count, err);
    return rc < 0 ? rc : choose(c, m, request, err);
}

/* As from a text of just these windows. */
static int choose_of(struct calibration *c, const struct model_config *config,
                     const struct trace *t, const struct calibration_request *request,
                     struct err *err)
{
    size_t count = c->windows, window = c->window;
    size_t samples = request->samples && request->samples < count ? request->samples : count;
    uint32_t *ids = mem_array(count * window, sizeof *ids, err);
    size_t *chosen = mem_array(samples, sizeof *chosen, err);
    int rc = ids && chosen ? 0 : ERR_NOMEM;
    for (size_t w = 0; rc == 0 && w < count; w++)
        memcpy(ids + w * window, t->ids + c->starts[w], window * sizeof *ids);
    if (rc == 0)
        rc = windows_choose(chosen, &c->windows, samples, ids, count * window, window,
                            config->top_k, request->settings, err);
    for (size_t i = 0; rc == 0 && i < c->windows; i++) /* rising: none is overwritten too early */
        c->starts[i] = c->starts[chosen[i] / window];
    free(chosen);
    free(ids);
    return rc;
}

/* Of the trace's windows of full length; a shorter one cannot be run beside them. */
static int windows_of_trace(struct calibration *c, const struct model_config *config,
                            const struct trace *t, const char *path,
                            const struct calibration_request *request, struct err *err)
{
    c->starts = mem_array(t->windows, sizeof *c->starts, err);
    if (!c->starts)
        return ERR_NOMEM;
    for (size_t w = 0; w < t->windows; w++)
        if (trace_window_length(t, w) == c->window)
            c->starts[c->windows++] = (size_t)t->window_starts[w];
    if (c->windows == 0)
        return err_set(err, ERR_INPUT, path, "holds no window of %zu tokens", c->window);
    return choose_of(c, config, t, request, err);
}

/* Those of which no expert gets too few tokens: as many as its linears have inputs. */
static int balanced_of_trace(struct calibration *c, const struct model_config *config,
                             const struct trace *t, const char *path,
                             const struct calibration_request *request, struct err *err)
{
    struct windows_balanced_request r = {.samples =
                                             request->samples ? request->samples : t->windows,
                                         .length = c->window,
                                         .enough = config->hidden,
                                         .seed = request->settings->seed};
    c->starts = mem_array(r.samples, sizeof *c->starts, err);
    if (!c->starts)
        return ERR_NOMEM;
    struct err inner = {0};
    int rc = windows_balanced_choose(c->starts, &c->windows, t, &r, &inner);
    if (rc < 0)
        return err_set(err, rc, path, "%s", inner.message);
    for (size_t i = 0; i < c->windows; i++)
        c->starts[i] = (size_t)t->window_starts[c->starts[i]];
    return 0;
}

int calibration_of_trace(struct calibration *out, const struct model_config *config,
                         const struct trace *t, const char *path,
                         const struct calibration_request *request, struct err *err)
{
    *out = (struct calibration){0};
    if (t->vocab > config->vocab)
        return err_set(err, ERR_INPUT, path,
                       "was made with a vocabulary of %zu tokens, the model has %zu", t->vocab,
                       config->vocab);
    int rc = calibration_window(&out->window, config, request->window ? request->window : t->window,
                                err);
    if (rc == 0)
        rc = request->settings->windows == WINDOWS_BALANCED
                 ? balanced_of_trace(out, config, t, path, request, err)
                 : windows_of_trace(out, config, t, path, request, err);
    if (rc < 0)
        calibration_release(out);
    return rc;
}

static int from_trace(struct calibration *c, const struct model *m,
                      const struct calibration_request *request, struct err *err)
{
    struct trace t = {0};
    int rc = trace_h5_load(&t, request->paths[0], NULL, err);
    if (rc < 0)
        return rc;
    if (m->tokenizer)
        rc = trace_check_tokenizer(&t, request->paths[0], m->tokenizer, err);
    if (rc == 0)
        rc = calibration_of_trace(c, m->config, &t, request->paths[0], request, err);
    if (rc == 0) {
        c->ids = (struct token_ids){t.ids, t.positions, t.positions};
        t.ids = NULL;
    }
    trace_release(&t);
    return rc;
}

int calibration_load(struct calibration *out, const struct model *m,
                     const struct calibration_request *request, struct err *err)
{
    *out = (struct calibration){0};
    int rc = request->count == 1 && trace_h5_probe(request->paths[0])
                 ? from_trace(out, m, request, err)
                 : from_texts(out, m, request, err);
    if (rc < 0)
        calibration_release(out);
    return rc;
}

int calibration_hash(char out[HASH_HEX_SIZE], const uint32_t *ids, const size_t *starts,
                     size_t windows, size_t window, struct err *err)
{
    struct hash *h = NULL;
    uint64_t shape[2] = {windows, window};
    int rc = hash_new(&h, err);
    if (rc == 0)
        rc = hash_update(h, shape, sizeof shape, err);
    for (size_t w = 0; rc == 0 && w < windows; w++)
        rc = hash_update(h, ids + starts[w], window * sizeof *ids, err);
    if (rc == 0)
        rc = hash_finish(h, out, err);
    hash_free(h);
    return rc;
}

void calibration_release(struct calibration *c)
{
    token_ids_release(&c->ids);
    free(c->starts);
    *c = (struct calibration){0};
}
