/*
 * Quantized linear layers as bytes: packing of codes, and the two layouts that hold them.
 * docs/formats.md, "Quantized checkpoint"; the gptq layout is the one that GPTQModel writes.
 *
 * A linear of `in` inputs and `out` outputs. Codes q[o][i] in 0 .. 2^bits - 1, groups of
 * `group_size` inputs (0: one group), scale and zero point per output and group:
 *     W[o][i] = scale[o][g(i)] * (q[o][i] - zero[o][g(i)])
 * Mixed channels: `channels` of the inputs have `channel_bits` and a grid of their own per
 * group; their codes lie in the same q, their scale and zero point in channel_scale / channel_zero.
 * On disk (moqa layout) the two sets are apart: qweight holds the other inputs' codes only.
 */
#ifndef MOQA_DATA_PACKED_H
#define MOQA_DATA_PACKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/checkpoint.h"

struct packed_linear {
    size_t in, out;
    unsigned bits;            /* 2, 3, 4, 8 */
    size_t group_size;        /* inputs a group, at most `in`; 0 was replaced by `in` */
    size_t groups;            /* ceil(in / group_size) */
    uint8_t *codes;           /* [out][in] */
    uint16_t *scales;         /* fp16 [out][group] */
    uint8_t *zeros;           /* [out][group] */
    unsigned channel_bits;    /* 0: no mixed channels */
    size_t channels;          /* number of them */
    uint32_t *channel_index;  /* [channels], rising */
    uint16_t *channel_scales; /* fp16 [out][group] */
    uint8_t *channel_zeros;   /* [out][group] */
};

ERR_CHECK int packed_alloc(struct packed_linear *p, size_t in, size_t out, unsigned bits,
                           size_t group_size, unsigned channel_bits, size_t channels,
                           struct err *err);
void packed_release(struct packed_linear *p);

/* w[out][in]: exactly what every reader of the file computes, in float32. */
void packed_dequantize(const struct packed_linear *p, float *w);

/* Bits on disk of everything the linear holds: codes, scales, zero points, channel indices. */
uint64_t packed_effective_bits(const struct packed_linear *p, enum checkpoint_format format);
/* The same from shapes alone, for plans. */
uint64_t packed_predict_bits(size_t in, size_t out, unsigned bits, size_t group_size,
                             unsigned channel_bits, size_t channels, enum checkpoint_format format);

/* Little-endian bit stream of `count` codes of `bits` bits; ceil(count * bits / 32) words. */
void packed_pack(uint32_t *words, const uint8_t *codes, size_t count, unsigned bits);
void packed_unpack(uint8_t *codes, const uint32_t *words, size_t count, unsigned bits);

enum { PACKED_TENSORS_MAX = 8 };

/* The tensors of one linear in a layout, ready for the safetensors writer. */
struct packed_tensors {
    size_t count;
    struct safetensors_spec spec[PACKED_TENSORS_MAX]; /* names owned by this struct */
    void *data[PACKED_TENSORS_MAX];
    size_t bytes[PACKED_TENSORS_MAX];
};

/* format: CHECKPOINT_GPTQ, _V2 or _MOQA. Refuses what the layout cannot hold: in gptq mixed
 * channels, 3 bits with a side that is no multiple of 32, and a zero point of 0 (version 1). */
ERR_CHECK int packed_encode(struct packed_tensors *out, const struct packed_linear *p,
                            const char *linear, enum checkpoint_format format, struct err *err);
void packed_tensors_release(struct packed_tensors *t);

/* Reads linear NAME of a quantized checkpoint, all shapes and values checked. */
ERR_CHECK int packed_read(struct packed_linear *out, const struct checkpoint *c, const char *linear,
                          size_t in, size_t out_features, struct err *err);

#endif
