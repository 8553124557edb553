/*
 * What a layer's error does to the model's output: a copy of the hidden states for every MoE layer,
 * which passes that layer with quantized experts and all others as they are. At the end the mean
 * Kullback-Leibler divergence of its output from the original's is the layer's effect.
 */
#ifndef MOQA_SRC_QUANT_PROBE_H
#define MOQA_SRC_QUANT_PROBE_H

#include "src/model/forward.h"

enum { PROBE_POSITIONS = 4096, PROBE_WINDOW_MAX = 512 };

struct probe {
    struct backend *b;
    const struct model *model;
    const uint32_t *ids;
    size_t *starts; /* [windows] */
    size_t windows, window;
    struct forward *base;
    struct forward **copy; /* [layers], NULL until its layer */
    size_t layers;
    float *before, *hidden; /* [positions][hidden] */
};

/* Tokens of the first windows, at most PROBE_POSITIONS of them; ids is borrowed. */
ERR_CHECK int probe_init(struct probe *p, const struct model *m, struct backend *b,
                         const uint32_t *ids, const size_t *starts, size_t windows, size_t window,
                         struct err *err);
void probe_release(struct probe *p);
size_t probe_positions(const struct probe *p);

/* All copies there are and the original through a layer's attention. */
ERR_CHECK int probe_attention(struct probe *p, const struct model_layer *l, struct err *err);
/* moe: index of an MoE layer, which gets its own copy; SIZE_MAX for a dense one. importance: 1 -
 * mean cosine of the original's hidden states before and behind the layer. */
ERR_CHECK int probe_mlp(struct probe *p, const struct model_layer *l, size_t moe,
                        double *importance, struct err *err);
/* The layer's own copy through its MLP, whose experts are quantized by now. */
ERR_CHECK int probe_mlp_quantized(struct probe *p, const struct model_layer *l, size_t moe,
                                  struct err *err);
/* divergence: [layers] mean over the positions, natural log. */
ERR_CHECK int probe_divergence(struct probe *p, double *divergence, struct err *err);

#endif
