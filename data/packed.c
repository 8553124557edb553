/* The struct, its codes as bit streams, and what it takes on disk. The files: packed_io.c. */
#include "data/packed.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

enum { WORD_BITS = 32 };

static bool bits_known(unsigned bits)
{
    return bits == 2 || bits == 3 || bits == 4 || bits == 8;
}

static int check_sizes(size_t in, size_t out, unsigned bits, unsigned channel_bits, size_t channels,
                       struct err *err)
{
    if (in == 0 || out == 0 || in > UINT32_MAX || out > UINT32_MAX)
        return err_set(err, ERR_USAGE, NULL, "a linear of %zu inputs and %zu outputs", in, out);
    if (!bits_known(bits) || (channels && !bits_known(channel_bits)))
        return err_set(err, ERR_USAGE, NULL, "%u bits, %u for channels: expected 2, 3, 4 or 8",
                       bits, channel_bits);
    if (channels > in)
        return err_set(err, ERR_USAGE, NULL, "%zu mixed channels of %zu inputs", channels, in);
    return 0;
}

int packed_alloc(struct packed_linear *p, size_t in, size_t out, unsigned bits, size_t group_size,
                 unsigned channel_bits, size_t channels, struct err *err)
{
    *p = (struct packed_linear){0};
    size_t codes, cells;
    int rc = check_sizes(in, out, bits, channel_bits, channels, err);
    if (rc < 0)
        return rc;
    if (group_size == 0 || group_size > in)
        group_size = in;
    size_t groups = (in - 1) / group_size + 1;
    if (!mem_mul(&codes, in, out) || !mem_mul(&cells, groups, out))
        return err_set(err, ERR_USAGE, NULL, "a linear of %zu x %zu overflows", in, out);
    p->in = in;
    p->out = out;
    p->bits = bits;
    p->group_size = group_size;
    p->groups = groups;
    p->channel_bits = channels ? channel_bits : 0;
    p->channels = channels;
    p->codes = mem_array(codes, sizeof *p->codes, err);
    p->scales = mem_array(cells, sizeof *p->scales, err);
    p->zeros = mem_array(cells, sizeof *p->zeros, err);
    bool complete = p->codes && p->scales && p->zeros;
    if (complete && channels) {
        p->channel_index = mem_array(channels, sizeof *p->channel_index, err);
        p->channel_scales = mem_array(cells, sizeof *p->channel_scales, err);
        p->channel_zeros = mem_array(cells, sizeof *p->channel_zeros, err);
        complete = p->channel_index && p->channel_scales && p->channel_zeros;
    }
    if (complete)
        return 0;
    packed_release(p);
    return ERR_NOMEM;
}

void packed_release(struct packed_linear *p)
{
    free(p->codes);
    free(p->scales);
    free(p->zeros);
    free(p->channel_index);
    free(p->channel_scales);
    free(p->channel_zeros);
    *p = (struct packed_linear){0};
}

static void dequantize_group(float *w, const uint8_t *codes, size_t count, uint16_t scale,
                             uint8_t zero)
{
    float s = dtype_f16_to_float(scale);
    for (size_t i = 0; i < count; i++)
        w[i] = s * (float)((int)codes[i] - (int)zero);
}

void packed_dequantize(const struct packed_linear *p, float *w)
{
    for (size_t o = 0; o < p->out; o++) {
        const uint8_t *codes = p->codes + o * p->in;
        float *row = w + o * p->in;
        for (size_t g = 0; g < p->groups; g++) {
            size_t first = g * p->group_size, cell = o * p->groups + g;
            size_t count = p->in - first < p->group_size ? p->in - first : p->group_size;
            dequantize_group(row + first, codes + first, count, p->scales[cell], p->zeros[cell]);
        }
        for (size_t k = 0; k < p->channels; k++) {
            size_t i = p->channel_index[k], cell = o * p->groups + i / p->group_size;
            dequantize_group(row + i, codes + i, 1, p->channel_scales[cell],
                             p->channel_zeros[cell]);
        }
    }
}

static uint64_t words(uint64_t count, unsigned bits)
{
    return (count * bits + WORD_BITS - 1) / WORD_BITS;
}

/* Codes, zero points and scales of one set. */
static uint64_t set_bits(uint64_t in, uint64_t out, uint64_t groups, unsigned bits)
{
    return words(in, bits) * out * WORD_BITS + groups * words(out, bits) * WORD_BITS +
           groups * out * 16;
}

uint64_t packed_predict_bits(size_t in, size_t out, unsigned bits, size_t group_size,
                             unsigned channel_bits, size_t channels, enum checkpoint_format format)
{
    if (in == 0 || out == 0)
        return 0;
    if (group_size == 0 || group_size > in)
        group_size = in;
    uint64_t groups = (in - 1) / group_size + 1;
    if (format != CHECKPOINT_MOQA)
        return set_bits(in, out, groups, bits) + (uint64_t)in * 32; /* g_idx */
    uint64_t total = set_bits(in - channels, out, groups, bits);
    if (channels)
        total += set_bits(channels, out, groups, channel_bits) + (uint64_t)channels * 32;
    return total;
}

uint64_t packed_effective_bits(const struct packed_linear *p, enum checkpoint_format format)
{
    return packed_predict_bits(p->in, p->out, p->bits, p->group_size, p->channel_bits, p->channels,
                               format);
}

void packed_pack(uint32_t *out, const uint8_t *codes, size_t count, unsigned bits)
{
    uint64_t buffer = 0;
    unsigned used = 0;
    for (size_t i = 0; i < count; i++) {
        buffer |= (uint64_t)codes[i] << used;
        used += bits;
        if (used >= WORD_BITS) {
            *out++ = (uint32_t)buffer;
            buffer >>= WORD_BITS;
            used -= WORD_BITS;
        }
    }
    if (used)
        *out = (uint32_t)buffer;
}

void packed_unpack(uint8_t *codes, const uint32_t *in, size_t count, unsigned bits)
{
    uint64_t buffer = 0;
    unsigned held = 0;
    uint32_t mask = (1u << bits) - 1;
    for (size_t i = 0; i < count; i++) {
        if (held < bits) {
            buffer |= (uint64_t)*in++ << held;
            held += WORD_BITS;
        }
        codes[i] = (uint8_t)(buffer & mask);
        buffer >>= bits;
        held -= bits;
    }
}
