#include "src/model/weights.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"

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

int weights_upload(struct tensor **out, struct weights *w, size_t rows, size_t columns,
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

static const enum backend_source sources[] = {[DTYPE_F64] = SOURCE_F64,
                                              [DTYPE_F32] = SOURCE_F32,
                                              [DTYPE_F16] = SOURCE_F16,
                                              [DTYPE_BF16] = SOURCE_BF16};

/* As it is stored, into the buffer. */
static int read_plain(struct weights *w, enum backend_source *source, const char *name, size_t rows,
                      size_t columns, struct err *err)
{
    const struct tensor_info *info = checkpoint_find(w->model->checkpoint, name);
    int rc = check_tensor(w, info, name, rows, columns, err);
    if (rc == 0)
        rc = grow(w, info->bytes, err);
    if (rc < 0)
        return rc;
    *source = sources[info->dtype];
    return checkpoint_read(w->model->checkpoint, info, w->buffer, err);
}

int weights_read_linear(struct weights *w, enum backend_source *source, const char *linear,
                        size_t rows, size_t columns, struct err *err)
{
    if (checkpoint_quantization(w->model->checkpoint) == CHECKPOINT_PLAIN) {
        char name[MODEL_NAME_MAX + sizeof ".weight"];
        snprintf(name, sizeof name, "%s.weight", linear);
        return read_plain(w, source, name, rows, columns, err);
    }
    size_t count, bytes;
    if (!mem_mul(&count, rows, columns) || !mem_mul(&bytes, count, sizeof(float)))
        return err_set(err, ERR_NOMEM, NULL, "%s of %zu x %zu does not fit in memory", linear, rows,
                       columns);
    *source = SOURCE_F32;
    int rc = grow(w, bytes, err);
    return rc == 0 ? model_read_linear(w->model, linear, columns, rows, w->buffer, err) : rc;
}

int weights_load(struct tensor **out, struct weights *w, const char *name, size_t rows,
                 size_t columns, struct err *err)
{
    enum backend_source source = SOURCE_F32;
    int rc = read_plain(w, &source, name, rows, columns, err);
    return rc == 0 ? weights_upload(out, w, rows, columns, source, err) : rc;
}

int weights_load_linear(struct tensor **out, struct weights *w, const char *linear, size_t rows,
                        size_t columns, struct err *err)
{
    enum backend_source source = SOURCE_F32;
    int rc = weights_read_linear(w, &source, linear, rows, columns, err);
    return rc == 0 ? weights_upload(out, w, rows, columns, source, err) : rc;
}

/* --- Several at a time --- */

enum { AT_ONCE = 16 };

/* One of those that are read at a time. */
struct slot {
    struct weights w;
    const struct weights_linear *linear;
    enum backend_source source;
    struct err err;
};

static void read_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct slot *l = (struct slot *)context + item;
    (void)!weights_read_linear(&l->w, &l->source, l->linear->name, l->linear->rows,
                               l->linear->columns, &l->err);
}

/* Up to AT_ONCE of the list that are not there, from *next on. */
static size_t pick_missing(struct slot *slots, const struct weights_linear *list, size_t count,
                           size_t *next)
{
    size_t now = 0;
    for (; *next < count && now < AT_ONCE; ++*next)
        if (!*list[*next].out)
            slots[now++].linear = &list[*next];
    return now;
}

int weights_load_linears(const struct weights_linear *list, size_t count, const struct model *m,
                         struct backend *b, struct err *err)
{
    struct slot slots[AT_ONCE] = {0};
    int rc = 0;
    for (size_t i = 0; i < AT_ONCE; i++)
        slots[i].w = (struct weights){.model = m, .backend = b};
    for (size_t next = 0, now; rc == 0 && (now = pick_missing(slots, list, count, &next)) > 0;) {
        parallel_for(backend_pool(b), now, read_item, slots);
        for (size_t i = 0; rc == 0 && i < now; i++) {
            struct slot *l = &slots[i];
            if (l->err.code) {
                rc = l->err.code;
                if (err && !err->code)
                    *err = l->err;
            } else {
                rc = weights_upload(l->linear->out, &l->w, l->linear->rows, l->linear->columns,
                                    l->source, err);
            }
        }
    }
    for (size_t i = 0; i < AT_ONCE; i++)
        weights_release(&slots[i].w);
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
