/*
 * A routing trace in memory: which experts served which token position, layer by layer.
 * File format: docs/formats.md, "Trace". Reading and writing: data/trace_h5.h.
 */
#ifndef MOQA_DATA_TRACE_H
#define MOQA_DATA_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/base/hash.h"
#include "data/tokenizer.h"

#define TRACE_NOT_ROUTED UINT16_MAX /* an expert slot that holds no expert */

enum {
    TRACE_NAME_MAX = 256,
    TRACE_EXPERTS_MAX = 65534,
    TRACE_LAYERS_MAX = 1024,
    TRACE_VOCAB_MAX = 1 << 24,
    TRACE_WINDOW_MAX = 1 << 30,
};

struct trace {
    size_t positions; /* P */
    size_t windows;   /* S */
    size_t layers;    /* L, MoE layers */
    size_t experts;   /* N, routed experts a layer */
    size_t top_k;     /* K */
    size_t shared_experts;
    size_t vocab;  /* V */
    size_t window; /* nominal window length, tokens */
    bool norm_topk_prob;
    char creator[TRACE_NAME_MAX];
    char created[TRACE_NAME_MAX];
    char model_name[TRACE_NAME_MAX];
    char model_type[TRACE_NAME_MAX];
    char dataset[TRACE_NAME_MAX];
    char config_sha256[HASH_HEX_SIZE];
    char tokenizer_sha256[HASH_HEX_SIZE];

    uint32_t *ids;           /* [position] token ids in the order seen */
    uint64_t *window_starts; /* [window] first position of each */
    uint16_t *layer_index;   /* [layer] the model's own number of each MoE layer */
    uint16_t *routed;        /* [layer][position][slot] expert or TRACE_NOT_ROUTED */
    float *gates;            /* the same shape, or NULL where the trace has none */
    uint8_t *vocab_bytes;    /* texts of the tokens, or NULL */
    uint64_t *vocab_offsets; /* [vocab + 1], or NULL */
};

/* Allocates the arrays (zeroed) for the sizes already set in `t`; on failure none is left. The
 * vocabulary's two arrays stay NULL: their owner allocates them with mem_array(). */
ERR_CHECK int trace_alloc(struct trace *t, bool with_gates, struct err *err);
void trace_release(struct trace *t);

/* Checks every rule of the format; `file` is named in the error (ERR_INPUT), with dataset, place,
 * value found and what was expected. A trace that passes is safe for every other module. The
 * length of `vocab_bytes` is taken to be the last of `vocab_offsets`. */
ERR_CHECK int trace_validate(const struct trace *t, const char *file, struct err *err);

/* The rules of the attributes alone; the arrays, `positions` and `windows` are not looked at. */
ERR_CHECK int trace_validate_attributes(const struct trace *t, const char *file, struct err *err);

/* Refuses a trace of another tokenizer.json in which some id of the trace means another text, or,
 * where the trace has no vocabulary, may mean one. A trace without its hash is taken. */
ERR_CHECK int trace_check_tokenizer(const struct trace *t, const char *file,
                                    const struct tokenizer *k, struct err *err);

/* Borrowed views. */
const uint16_t *trace_routed(const struct trace *t, size_t layer); /* [position][slot] */
const float *trace_gates(const struct trace *t, size_t layer);     /* the same, or NULL */
size_t trace_window_length(const struct trace *t, size_t window);  /* positions in it */

/* Raw bytes of a token's text (not NUL-terminated, not sanitized); false without a vocabulary. */
bool trace_token_text(const struct trace *t, uint32_t id, const uint8_t **bytes, size_t *size);

#endif
