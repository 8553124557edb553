/*
 * Writing the quantized checkpoint: one table of formats, one shard a layer, then everything
 * else, config.json last. Every file appears whole or not at all, and holds nothing but what plan,
 * checkpoint and calibration decide: no times, no paths.
 */
#ifndef MOQA_SRC_QUANT_WRITER_H
#define MOQA_SRC_QUANT_WRITER_H

#include <jansson.h>

#include "data/checkpoint.h"
#include "data/packed.h"
#include "data/quant_config.h"
#include "src/model/model.h"
#include "src/quant/pass.h"

struct writer_format {
    enum checkpoint_format checkpoint; /* CHECKPOINT_PLAIN: dequantized, no quantization_config */
    bool channels;                     /* can hold mixed channels */
    bool avoid_zero;                   /* must not hold a zero point of 0 */
    size_t side_of_three;              /* 3 bits need sides that are multiples of this; 0: any */
    bool config_file;                  /* quantize_config.json beside config.json */
    int (*encode)(struct packed_tensors *out, const struct packed_linear *p, const char *linear,
                  enum checkpoint_format checkpoint, enum dtype dtype, struct err *err);
};

extern const struct writer_format writer_formats[PASS_FORMAT_COUNT];

/* The linears of one layer. */
struct writer_linear {
    char name[MODEL_NAME_MAX];
    struct packed_tensors tensors; /* encoded, unless it is deferred: */
    bool deferred;
    struct packed_linear packed;
    enum dtype dtype;
};

struct writer_list {
    struct writer_linear *items;
    size_t count, capacity;
};

/* `more` empty places at the end. */
ERR_CHECK int writer_list_reserve(struct writer_list *list, size_t more, struct err *err);
/* Fills place i; different places can be filled by different threads. dtype: of the plain tensor
 * that the linear replaces. */
ERR_CHECK int writer_list_encode(struct writer_list *list, size_t i, enum pass_format format,
                                 const struct packed_linear *p, const char *linear,
                                 enum dtype dtype, struct err *err);
/* The weights [out][in] of a linear as a reader of the file will have them: where it holds plain
 * tensors, rounded to their type. */
void writer_dequantize(float *out, enum pass_format format, const struct packed_linear *p,
                       enum dtype dtype);
/* Are those just what the codes stand for? */
bool writer_keeps_codes(enum pass_format format, enum dtype dtype);
/* The same later, by writer_list_encode_deferred(). Takes *p over. */
void writer_list_defer(struct writer_list *list, size_t i, struct packed_linear *p,
                       const char *linear, enum dtype dtype);
/* Encodes those that were deferred, on the threads of `pool` (may be NULL). */
ERR_CHECK int writer_list_encode_deferred(struct writer_list *list, enum pass_format format,
                                          struct parallel *pool, struct err *err);
void writer_list_release(struct writer_list *list);

enum { WRITER_NAME_MAX = 64 };
void writer_shard_name(char out[WRITER_NAME_MAX], size_t shard, size_t shards);

/* Shard 0 .. layers - 1: the tensors of that layer, those of `list` in place of their weights;
 * shard `layers`: all that belongs to no layer. shards = layers + 1. */
ERR_CHECK int writer_shard(const struct checkpoint *c, const char *out, size_t shard,
                           const struct writer_list *list, struct err *err);

/* model.safetensors.index.json from the shards' own headers. */
ERR_CHECK int writer_index(const char *out, size_t shards, struct err *err);

/* Tokenizer files and generation_config.json, byte by byte, those that there are. A copy that is
 * the same already is left alone. */
ERR_CHECK int writer_copy(const char *from, const char *out, struct err *err);

/* config.json of `from` with the quantization_config of the modules (none where count is 0 or the
 * format is plain), and quantize_config.json where the format has one. */
ERR_CHECK int writer_config(const char *from, const char *out, enum pass_format format,
                            size_t group_size, const struct quant_module *modules, size_t count,
                            struct err *err);

/* The layer that a tensor belongs to; false: to none. */
bool writer_layer_of(const char *tensor, size_t *layer);

#endif
