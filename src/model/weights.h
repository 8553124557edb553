/* Tensors of a checkpoint on a backend, for src/model/ alone. */
#ifndef MOQA_SRC_MODEL_WEIGHTS_H
#define MOQA_SRC_MODEL_WEIGHTS_H

#include "src/model/model.h"

/* What is read passes through one buffer, kept from tensor to tensor. */
struct weights {
    const struct model *model;
    struct backend *backend;
    void *buffer;
    size_t capacity;
};
void weights_release(struct weights *w);

/* A new backend tensor [rows][columns] with the values of `name`, which has this shape, or
 * [columns] where rows is 1. */
ERR_CHECK int weights_load(struct tensor **out, struct weights *w, const char *name, size_t rows,
                           size_t columns, struct err *err);
/* The same for a linear by its name without ".weight", which may be quantized. */
ERR_CHECK int weights_load_linear(struct tensor **out, struct weights *w, const char *linear,
                                  size_t rows, size_t columns, struct err *err);

/* The two halves of it: what is stored into the buffer (no use of the backend), and on. */
ERR_CHECK int weights_read_linear(struct weights *w, enum backend_source *source,
                                  const char *linear, size_t rows, size_t columns, struct err *err);
ERR_CHECK int weights_upload(struct tensor **out, struct weights *w, size_t rows, size_t columns,
                             enum backend_source source, struct err *err);

/* Several linears: read, and unpacked, on all threads, a few at a time. */
struct weights_linear {
    struct tensor **out;
    char name[MODEL_NAME_MAX]; /* without ".weight" */
    size_t rows, columns;
};
/* The experts' linears of layer l->index, as entries of its gate, up and down, which are made if
 * they are not there. *out[3 * experts] is the caller's. */
ERR_CHECK int weights_list_experts(struct weights_linear **out, struct model_layer *l,
                                   const struct model *m, struct err *err);
/* Those whose *out is NULL. */
ERR_CHECK int weights_load_linears(const struct weights_linear *list, size_t count,
                                   const struct model *m, struct backend *b, struct err *err);

/* Embedding, last norm and head of a model; the head is the embedding where they are tied. */
ERR_CHECK int weights_load_embedding(struct tensor **out, const struct model *m, struct backend *b,
                                     struct err *err);
ERR_CHECK int weights_load_head(struct tensor **norm, struct tensor **head, const struct model *m,
                                struct backend *b, struct err *err);

#endif
