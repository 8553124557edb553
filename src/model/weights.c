#include "src/model/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"

void weights_release(struct weights *w)
{
    free(w->buffer);
    w->buffer = NULL;
    w->capacity = 0;
}

static int grow(struct weights *w, size_t bytes, struct err *err)
{
    if (bytes <= w->capacity)
        return 0;
    weights_release(w);
    w->buffer = mem_aligned(bytes, 1, err);
    if (!w->buffer)
        return ERR_NOMEM;
    w->capacity = bytes;
    return 0;
}

static int upload_new(struct tensor **out, struct weights *w, size_t rows, size_t columns,
                      enum backend_source source, struct err *err)
{
    const struct backend_ops *ops = w->backend->ops;
    int rc = ops->tensor_new(w->backend, out, TENSOR_F32, rows, columns, err);
    if (rc == 0)
        rc = ops->upload(w->backend, *out, 0, rows, source, w->buffer, err);
    if (rc < 0) {
        ops->tensor_free(w->backend, *out);
        *out = NULL;
    }
    return rc;
}

/* Reads what is stored, for the backend to convert: half the bytes to move of a 16-bit type. */
static int check_tensor(const struct weights *w, const struct tensor_info *info, const char *name,
                        size_t rows, size_t columns, struct err *err)
{
    const char *dir = checkpoint_dir(w->model->checkpoint);
    if (!info)
        return err_set(err, ERR_INPUT, dir, "there is no tensor %s", name);
    bool vector = info->rank == 1 && rows == 1 && info->shape[0] == columns;
    bool matrix = info->rank == 2 && info->shape[0] == rows && info->shape[1] == columns;
    if (!vector && !matrix)
        return err_set(err, ERR_INPUT, dir,
                       "tensor %s has rank %zu and shape %zu x %zu, config.json asks for %zu x %zu",
                       name, info->rank, info->rank ? info->shape[0] : 1,
                       info->rank > 1 ? info->shape[1] : 1, rows, columns);
    if (info->dtype > DTYPE_BF16)
        return err_set(err, ERR_UNSUPPORTED, dir,
                       "tensor %s has type %s, expected F64, F32, F16 or BF16", name,
                       dtype_name(info->dtype));
    return 0;
}

int weights_load(struct tensor **out, struct weights *w, const char *name, size_t rows,
                 size_t columns, struct err *err)
{
    static const enum backend_source sources[] = {[DTYPE_F64] = SOURCE_F64,
                                                  [DTYPE_F32] = SOURCE_F32,
                                                  [DTYPE_F16] = SOURCE_F16,
                                                  [DTYPE_BF16] = SOURCE_BF16};
    const struct tensor_info *info = checkpoint_find(w->model->checkpoint, name);
    int rc = check_tensor(w, info, name, rows, columns, err);
    if (rc == 0)
        rc = grow(w, info->bytes, err);
    if (rc == 0)
        rc = checkpoint_read(w->model->checkpoint, info, w->buffer, err);
    if (rc == 0)
        rc = upload_new(out, w, rows, columns, sources[info->dtype], err);
    return rc;
}

int weights_load_linear(struct tensor **out, struct weights *w, const char *linear, size_t rows,
                        size_t columns, struct err *err)
{
    if (checkpoint_quantization(w->model->checkpoint) == CHECKPOINT_PLAIN) {
        char name[MODEL_NAME_MAX + sizeof ".weight"];
        snprintf(name, sizeof name, "%s.weight", linear);
        return weights_load(out, w, name, rows, columns, err);
    }
    size_t count, bytes;
    if (!mem_mul(&count, rows, columns) || !mem_mul(&bytes, count, sizeof(float)))
        return err_set(err, ERR_NOMEM, NULL, "%s of %zu x %zu does not fit in memory", linear, rows,
                       columns);
    int rc = grow(w, bytes, err);
    if (rc == 0)
        rc = model_read_linear(w->model, linear, columns, rows, w->buffer, err);
    if (rc == 0)
        rc = upload_new(out, w, rows, columns, SOURCE_F32, err);
    return rc;
}

static const char embedding_name[] = "model.embed_tokens.weight";

int weights_load_embedding(struct tensor **out, const struct model *m, struct backend *b,
                           struct err *err)
{
    struct weights w = {.model = m, .backend = b};
    int rc = weights_load(out, &w, embedding_name, m->config->vocab, m->config->hidden, err);
    weights_release(&w);
    return rc;
}

int weights_load_head(struct tensor **norm, struct tensor **head, const struct model *m,
                      struct backend *b, struct err *err)
{
    struct weights w = {.model = m, .backend = b};
    const struct model_config *c = m->config;
    const char *name = c->tie_word_embeddings ? embedding_name : "lm_head.weight";
    *head = NULL;
    int rc = weights_load(norm, &w, "model.norm.weight", 1, c->hidden, err);
    if (rc == 0)
        rc = weights_load(head, &w, name, c->vocab, c->hidden, err);
    weights_release(&w);
    return rc;
}
