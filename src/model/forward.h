/*
 * The forward pass, layer by layer, over windows of tokens. Holds the hidden states of all its
 * windows ([positions][hidden], float32) and workspaces for one chunk of windows; chunks have a
 * fixed size, so results do not depend on threads.
 *
 *     forward_new(&f, &model, backend, ids, starts, windows, window, err);   embeds
 *     for each layer:  model_layer_load(..); forward_attention(f, &layer, tap, true, err);
 *                      forward_mlp(f, &layer, tap, true, err); model_layer_release(..);
 *     forward_nll(f, nll, err);
 */
#ifndef MOQA_SRC_MODEL_FORWARD_H
#define MOQA_SRC_MODEL_FORWARD_H

#include <stdatomic.h>

#include "src/model/model.h"

struct forward;

/*
 * What a caller may watch: the inputs of every quantizable linear, and the routing. Any function
 * may be NULL; a negative return stops the pass. Called chunk by chunk, chunks in order;
 * `first` is the chunk's first position, `n` its number of positions.
 */
struct forward_tap {
    void *context;
    int (*attention_in)(void *context, const struct tensor *x, size_t n, struct err *err);
    int (*attention_mid)(void *context, const struct tensor *x, size_t n, struct err *err); /* o */
    int (*routing)(void *context, size_t first, const struct backend_groups *g, struct err *err);
    int (*expert_in)(void *context, const struct tensor *x, const struct backend_groups *g,
                     struct err *err); /* gathered: inputs of gate and up */
    /* Products of gate and up, before the activation: [slots][expert_size]. */
    int (*expert_act)(void *context, const struct tensor *gate, const struct tensor *up,
                      const struct backend_groups *g, struct err *err);
    int (*expert_mid)(void *context, const struct tensor *x, const struct backend_groups *g,
                      struct err *err); /* inputs of down */
    int (*shared_in)(void *context, const struct tensor *x, size_t n, struct err *err);
    int (*shared_act)(void *context, const struct tensor *gate, const struct tensor *up, size_t n,
                      struct err *err);
    int (*shared_mid)(void *context, const struct tensor *x, size_t n, struct err *err);
};

/* ids[starts[w] .. starts[w] + window - 1] are window w. All are borrowed until forward_free(). */
ERR_CHECK int forward_new(struct forward **out, const struct model *m, struct backend *b,
                          const uint32_t *ids, const size_t *starts, size_t windows, size_t window,
                          struct err *err);
void forward_free(struct forward *f);

/* Checked between chunks; when it turns true a call returns ERR_CANCELLED. May be NULL. */
void forward_set_cancel(struct forward *f, const atomic_bool *cancel);

/* Called before each chunk of forward_attention() and forward_mlp(); may be NULL. */
void forward_set_between(struct forward *f, void (*between)(void *context), void *context);

/* hidden += attention(norm(hidden)). apply = false: only the tap is fed, hidden stays. */
ERR_CHECK int forward_attention(struct forward *f, const struct model_layer *l,
                                const struct forward_tap *tap, bool apply, struct err *err);
/* hidden += mlp(norm(hidden)), MoE or dense. */
ERR_CHECK int forward_mlp(struct forward *f, const struct model_layer *l,
                          const struct forward_tap *tap, bool apply, struct err *err);

/*
 * The inputs of the linears of an MoE layer twice, for the same tokens and experts: as `original`
 * sees them (its hidden states, its weights) and as this pass does, which chooses the experts.
 */
struct forward_pair_tap {
    void *context;
    int (*routing)(void *context, size_t first, const struct backend_groups *g, struct err *err);
    int (*expert_in)(void *context, const struct tensor *original, const struct tensor *x,
                     const struct backend_groups *g, struct err *err);
    int (*expert_mid)(void *context, const struct tensor *original, const struct tensor *x,
                      const struct backend_groups *g, struct err *err); /* may be NULL */
    int (*shared_in)(void *context, const struct tensor *original, const struct tensor *x, size_t n,
                     struct err *err);
    int (*shared_mid)(void *context, const struct tensor *original, const struct tensor *x,
                      size_t n, struct err *err); /* may be NULL */
};

/* Watches only: no hidden states move. Both were made for the same windows. */
ERR_CHECK int forward_mlp_pair(struct forward *f, const struct model_layer *l,
                               struct forward *original, const struct model_layer *original_layer,
                               const struct forward_pair_tap *tap, struct err *err);

/* nll[w][window - 1]: of every token of a window but the first, natural log. */
ERR_CHECK int forward_nll(struct forward *f, double *nll, struct err *err);

/* Logits of the first `count` positions of window w, [count][vocab]. */
ERR_CHECK int forward_logits(struct forward *f, size_t w, size_t count, float *out,
                             struct err *err);

/* Hidden states out and in, [positions][hidden] float32: what a resumed run starts from. */
ERR_CHECK int forward_get_hidden(struct forward *f, float *out, struct err *err);
/* The same in chunks, in order: forward_chunk_positions() at most of them in each. */
size_t forward_chunks(const struct forward *f);
size_t forward_chunk_positions(const struct forward *f);
ERR_CHECK int forward_get_chunk(struct forward *f, size_t chunk, float *out, size_t *positions,
                                struct err *err);
ERR_CHECK int forward_set_chunk(struct forward *f, size_t chunk, const float *in, struct err *err);
ERR_CHECK int forward_set_hidden(struct forward *f, const float *in, struct err *err);

#endif
