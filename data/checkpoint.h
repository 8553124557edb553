/*
 * A checkpoint folder in Hugging Face form: config.json, one safetensors file or shards with
 * an index, a tokenizer. Shard names are base names only, opened without following links out of
 * the folder. Tensors are found by name over all shards.
 */
#ifndef MOQA_DATA_CHECKPOINT_H
#define MOQA_DATA_CHECKPOINT_H

#include "data/model_config.h"
#include "data/safetensors.h"

struct checkpoint;

ERR_CHECK int checkpoint_open(struct checkpoint **out, const char *dir, struct err *err);
void checkpoint_free(struct checkpoint *c);
/* Has a folder any weights that checkpoint_open() would open? */
bool checkpoint_has_weights(const char *dir);

const struct model_config *checkpoint_config(const struct checkpoint *c);
const char *checkpoint_dir(const struct checkpoint *c);
const char *checkpoint_name(const struct checkpoint *c); /* last part of the folder's path */

/* NULL if there is no such tensor. */
const struct tensor_info *checkpoint_find(const struct checkpoint *c, const char *name);
size_t checkpoint_count(const struct checkpoint *c);
const struct tensor_info *checkpoint_at(const struct checkpoint *c, size_t i); /* sorted by name */

/* Raw bytes; info must be this checkpoint's. Thread-safe. */
ERR_CHECK int checkpoint_read(const struct checkpoint *c, const struct tensor_info *info, void *out,
                              struct err *err);

/* A tensor as float32 [shape...]; refuses another shape than expected (named in the error).
 * `out` has rank-product elements. */
ERR_CHECK int checkpoint_read_float(const struct checkpoint *c, const char *name,
                                    const size_t *shape, size_t rank, float *out, struct err *err);

/* The quantization_config of config.json, or none. */
enum checkpoint_format {
    CHECKPOINT_PLAIN, /* tensors at their own precision */
    CHECKPOINT_GPTQ,  /* checkpoint_format gptq: zero points less one */
    CHECKPOINT_GPTQ_V2,
    CHECKPOINT_MOQA
};
enum checkpoint_format checkpoint_quantization(const struct checkpoint *c);

/* Bits and group size of a linear by its name without suffix ("...gate_proj"). It is quantized if
 * the checkpoint has NAME.qweight; the figures come from quantization_config (data/quant_config.h),
 * and a contradiction of the two, or a linear without any weight, is an error. */
struct checkpoint_linear {
    bool quantized;
    unsigned bits;
    size_t group_size;     /* 0: whole row */
    unsigned channel_bits; /* of mixed channels (moqa), 0: none */
};
ERR_CHECK int checkpoint_linear_config(const struct checkpoint *c, const char *linear,
                                       struct checkpoint_linear *out, struct err *err);

/* SHA-256 over config.json, shard names, headers and samples of the data (safetensors_digest): it
 * identifies a checkpoint for caches and resumed runs without reading all of a big model. */
const char *checkpoint_fingerprint(const struct checkpoint *c);
/* SHA-256 over names, sizes and times of change of the shards: tells a checkpoint that was written
 * to from the same one before, where the fingerprint may not. A copy has another one, unless it
 * kept the times. */
ERR_CHECK int checkpoint_stamp(char out[HASH_HEX_SIZE], const struct checkpoint *c,
                               struct err *err);

#endif
