#include "src/similarity.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/cosine.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/base/xdg.h"
#include "data/safetensors.h"

enum { SLICES = 16 }; /* of a weight matrix; fixed, so that sums do not depend on threads */

static const enum model_linear linears[] = {LINEAR_GATE, LINEAR_UP, LINEAR_DOWN};

struct work {
    const struct model *model;
    struct parallel *pool;
    size_t layer; /* the model's own number */
    enum model_linear linear;
    size_t experts, in, out;
    float *weights;     /* [expert][hidden * expert_size] */
    double *partial;    /* [slice][N][N] */
    const float **rows; /* [slice][expert] */
    struct err *errs;   /* [expert] */
};

static void read_expert(void *context, size_t expert, size_t worker)
{
    struct work *w = context;
    char name[MODEL_NAME_MAX];
    (void)worker;
    model_linear_name(name, w->model->config, w->layer, w->linear, expert);
    int rc = model_read_linear(w->model, name, w->in, w->out, w->weights + expert * w->in * w->out,
                               &w->errs[expert]);
    if (rc < 0)
        err_set(&w->errs[expert], (enum err_code)rc, NULL, "cannot read %s", name);
}

static void add_slice(void *context, size_t slice, size_t worker)
{
    struct work *w = context;
    size_t size = w->in * w->out, begin = size * slice / SLICES, end = size * (slice + 1) / SLICES;
    const float **rows = w->rows + slice * w->experts;
    (void)worker;
    for (size_t e = 0; e < w->experts; e++)
        rows[e] = w->weights + e * size + begin;
    cosine_add(w->partial + slice * w->experts * w->experts, rows, w->experts, end - begin);
}

static int run_layer(double *gram, struct work *w, struct progress *progress, struct err *err)
{
    size_t cells = w->experts * w->experts;
    memset(w->partial, 0, SLICES * cells * sizeof *w->partial);
    for (size_t i = 0; i < sizeof linears / sizeof linears[0]; i++) {
        if (progress_cancelled(progress))
            return err_set(err, ERR_CANCELLED, NULL, "cancelled");
        w->linear = linears[i];
        model_linear_shape(w->model->config, w->linear, &w->in, &w->out);
        parallel_for(w->pool, w->experts, read_expert, w);
        for (size_t e = 0; e < w->experts; e++)
            if (w->errs[e].code) {
                *err = w->errs[e];
                return err->code;
            }
        parallel_for(w->pool, SLICES, add_slice, w);
    }
    for (size_t s = 0; s < SLICES; s++)
        for (size_t i = 0; i < cells; i++)
            gram[i] += w->partial[s * cells + i];
    cosine_finish(gram, w->experts);
    return 0;
}

static int compute(double *cosine, const struct model *m, struct parallel *pool,
                   struct progress *progress, struct err *err)
{
    const struct model_config *c = m->config;
    size_t layers = model_config_moe_layers(c), cells = c->experts * c->experts;
    struct work w = {.model = m, .pool = pool, .experts = c->experts};
    int rc = ERR_NOMEM;
    w.weights = mem_aligned(c->experts * c->hidden * c->expert_size, sizeof *w.weights, err);
    w.partial = mem_array(SLICES * cells, sizeof *w.partial, err);
    w.rows = mem_array(SLICES * c->experts, sizeof *w.rows, err);
    w.errs = mem_array(c->experts, sizeof *w.errs, err);
    if (!w.weights || !w.partial || !w.rows || !w.errs)
        goto cleanup;
    progress_start(progress, layers);
    rc = 0;
    for (size_t l = 0; rc == 0 && l < layers; l++) {
        w.layer = model_config_moe_layer(c, l);
        progress_stage(progress, "cosine similarity, layer %zu", w.layer);
        rc = run_layer(cosine + l * cells, &w, progress, err);
        progress_step(progress, 1);
    }
cleanup:
    free(w.errs);
    free(w.rows);
    free(w.partial);
    free(w.weights);
    return rc;
}

/* "" if there is no place for a cache. */
static void cache_path(struct str *out, const struct model *m)
{
    struct str dir = {0};
    xdg_folder(&dir, XDG_CACHE);
    if (dir.length && !dir.failed) {
        xdg_make(dir.data);
        str_appendf(out, "%s/cosine-%s.safetensors", dir.data,
                    checkpoint_fingerprint(m->checkpoint));
    }
    str_release(&dir);
}

static bool cache_load(double *cosine, const char *path, const struct safetensors_spec *spec)
{
    struct safetensors *s = NULL;
    bool loaded = false;
    if (safetensors_open(&s, path, NULL) < 0)
        return false;
    const struct tensor_info *info = safetensors_find(s, spec->name);
    if (info && info->dtype == spec->dtype && info->rank == spec->rank &&
        memcmp(info->shape, spec->shape, spec->rank * sizeof spec->shape[0]) == 0)
        loaded = safetensors_read(s, info, cosine, NULL) == 0;
    safetensors_free(s);
    return loaded;
}

static void cache_save(const double *cosine, const char *path, const struct safetensors_spec *spec)
{
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    size_t bytes = spec->shape[0] * spec->shape[1] * spec->shape[2] * sizeof *cosine;
    int rc = safetensors_writer_new(&w, path, spec, 1, &err);
    if (rc == 0) {
        rc = safetensors_writer_add(w, cosine, bytes, &err);
        if (rc == 0)
            rc = safetensors_writer_finish(w, &err);
        else
            safetensors_writer_free(w);
    }
    if (rc < 0)
        log_write(LOG_DEBUG, "the similarity is not cached: %s: %s", err.file, err.message);
}

int similarity_run(double **out, const struct model *m, struct parallel *pool,
                   struct progress *progress, struct err *err)
{
    const struct model_config *c = m->config;
    struct safetensors_spec spec = {
        "cosine", DTYPE_F64, 3, {model_config_moe_layers(c), c->experts, c->experts}};
    struct str path = {0};
    int rc = 0;
    double *cosine = mem_array(spec.shape[0] * c->experts * c->experts, sizeof *cosine, err);
    if (!cosine)
        return ERR_NOMEM;
    cache_path(&path, m);
    if (!path.length || !cache_load(cosine, path.data, &spec)) {
        memset(cosine, 0, spec.shape[0] * c->experts * c->experts * sizeof *cosine);
        rc = compute(cosine, m, pool, progress, err);
        if (rc == 0 && path.length)
            cache_save(cosine, path.data, &spec);
    }
    str_release(&path);
    if (rc < 0)
        free(cosine);
    else
        *out = cosine;
    return rc;
}
