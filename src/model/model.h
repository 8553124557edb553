/*
 * A Mixture-of-Experts model: its checkpoint (plain or quantized), tokenizer and the names of its
 * tensors. Weights are read layer by layer; nothing here holds more than one layer.
 */
#ifndef MOQA_SRC_MODEL_MODEL_H
#define MOQA_SRC_MODEL_MODEL_H

#include "data/checkpoint.h"
#include "data/tokenizer.h"
#include "gpu/backend.h"

struct model {
    struct checkpoint *checkpoint;
    const struct model_config *config; /* the checkpoint's */
    struct tokenizer *tokenizer;       /* NULL if the folder has none */
};

ERR_CHECK int model_open(struct model *out, const char *dir, struct err *err);
void model_release(struct model *m);

/* The linears of a layer that a plan can quantize. */
enum model_linear {
    LINEAR_Q,
    LINEAR_K,
    LINEAR_V,
    LINEAR_O,
    LINEAR_GATE,
    LINEAR_UP,
    LINEAR_DOWN, /* of a routed expert */
    LINEAR_SHARED_GATE,
    LINEAR_SHARED_UP,
    LINEAR_SHARED_DOWN, /* of the shared expert */
    LINEAR_COUNT
};

/* "model.layers.3.mlp.experts.7.gate_proj", without ".weight". expert is ignored where none. */
enum { MODEL_NAME_MAX = 160 };
void model_linear_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer,
                       enum model_linear linear, size_t expert);
/* The part of it that all linears of a routed expert share: "model.layers.3.mlp.experts.7". */
void model_expert_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer,
                       size_t expert);
/* The rest of it: "gate_proj". */
const char *model_linear_leaf(const struct model_config *c, enum model_linear linear);
/* The router's tensor, with ".weight". */
void model_router_name(char out[MODEL_NAME_MAX], const struct model_config *c, size_t layer);
void model_linear_shape(const struct model_config *c, enum model_linear linear, size_t *in,
                        size_t *out);

/* Weights [out][in] in float32, dequantized if the checkpoint is quantized. */
ERR_CHECK int model_read_linear(const struct model *m, const char *linear, size_t in, size_t out,
                                float *w, struct err *err);

/* Weights of one layer on a backend. Fields that the model does not have are NULL. */
struct model_layer {
    size_t index; /* the model's own number */
    bool is_moe;
    size_t experts; /* entries of gate, up and down where they are not NULL */
    struct tensor *input_norm, *post_norm;
    struct tensor *attention[4];      /* q, k, v, o: [out][in] */
    struct tensor *attention_bias[4]; /* [1][out] */
    struct tensor *q_norm, *k_norm;
    struct tensor *router;              /* [N][hidden] */
    struct tensor **gate, **up, **down; /* [expert] */
    struct tensor *shared[3];           /* gate, up, down of the shared expert */
    struct tensor *shared_gate;         /* [1][hidden]: weighs the shared expert's output */
    struct tensor *dense[3];            /* gate, up, down of a dense layer */
};
ERR_CHECK int model_layer_load(struct model_layer *out, const struct model *m, struct backend *b,
                               size_t layer, struct err *err);
/* The same with what is there of it already (src/model/ahead.h; of this layer, freed in any case;
 * may be NULL). */
struct ahead;
ERR_CHECK int model_layer_load_ahead(struct model_layer *out, const struct model *m,
                                     struct backend *b, size_t layer, struct ahead *ahead,
                                     struct err *err);
void model_layer_release(struct model_layer *l, struct backend *b);

/* The tensor that holds a linear of a loaded layer, e.g. to replace its weights. */
struct tensor *model_layer_linear(const struct model_layer *l, enum model_linear linear,
                                  size_t expert);

#endif
