#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/packed.h"

static uint64_t random_state = 0x9e3779b97f4a7c15u;

static uint32_t random_below(uint32_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (uint32_t)(random_state >> 16) % limit;
}

static void fill(uint8_t *codes, size_t count, unsigned bits, unsigned lowest)
{
    for (size_t i = 0; i < count; i++)
        codes[i] = (uint8_t)(lowest + random_below((1u << bits) - lowest));
}

static void fill_scales(uint16_t *scales, size_t count)
{
    for (size_t i = 0; i < count; i++)
        scales[i] = dtype_float_to_f16((float)(1 + random_below(9999)) * 1e-5f);
}

/* A linear of random content; `lowest` is the smallest zero point. */
static void make(struct packed_linear *p, size_t in, size_t out, unsigned bits, size_t group_size,
                 unsigned channel_bits, size_t channels, unsigned lowest)
{
    struct err err = {0};
    if (packed_alloc(p, in, out, bits, group_size, channel_bits, channels, &err) < 0)
        fail_msg("%s", err.message);
    fill(p->codes, in * out, bits, 0);
    fill(p->zeros, p->groups * out, bits, lowest);
    fill_scales(p->scales, p->groups * out);
    if (!channels)
        return;
    fill(p->channel_zeros, p->groups * out, channel_bits, 0);
    fill_scales(p->channel_scales, p->groups * out);
    for (size_t i = 0, k = 0; i < in && k < channels; i++) { /* a uniform sample of the inputs */
        if (random_below((uint32_t)(in - i)) < channels - k)
            p->channel_index[k++] = (uint32_t)i;
    }
    for (size_t k = 0; k < channels; k++) {
        for (size_t o = 0; o < out; o++)
            fill(&p->codes[o * in + p->channel_index[k]], 1, channel_bits, 0);
    }
}

static void write_file(const char *dir, const char *name, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
}

/* A checkpoint of one linear "l" in a fresh folder. */
static void save(const char *dir, const struct packed_tensors *t, enum checkpoint_format format,
                 unsigned bits, size_t group_size, unsigned channel_bits)
{
    char config[1024], path[512], channels[64] = "";
    struct err err = {0};
    struct safetensors_writer *w = NULL;
    long group = group_size ? (long)group_size : -1;
    if (channel_bits)
        snprintf(channels, sizeof channels, ", \"channel_bits\": %u", channel_bits);
    if (format == CHECKPOINT_MOQA)
        snprintf(config, sizeof config,
                 "{\"model_type\": \"olmoe\", \"quantization_config\": {\"quant_method\": \"moqa\","
                 "\"format_version\": 1, \"group_size\": %ld, \"modules\": {\"a\": {\"bits\": %u%s}"
                 "}}}",
                 group, bits, channels);
    else
        snprintf(config, sizeof config,
                 "{\"model_type\": \"olmoe\", \"quantization_config\": {\"quant_method\": \"gptq\","
                 "\"checkpoint_format\": \"%s\", \"group_size\": %ld, \"bits\": %u}}",
                 format == CHECKPOINT_GPTQ ? "gptq" : "gptq_v2", group, bits);
    write_file(dir, "config.json", config);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_int_equal(safetensors_writer_new(&w, path, t->spec, t->count, &err), 0);
    for (size_t i = 0; i < t->count; i++)
        assert_int_equal(safetensors_writer_add(w, t->data[i], t->bytes[i], &err), 0);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
}

static char *make_dir(void)
{
    static char dir[64];
    snprintf(dir, sizeof dir, "/tmp/test_packed.XXXXXX");
    assert_non_null(mkdtemp(dir));
    return dir;
}

static void remove_dir(const char *dir)
{
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", dir);
    unlink(path);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    unlink(path);
    assert_int_equal(rmdir(dir), 0);
}

static void assert_same(const struct packed_linear *a, const struct packed_linear *b)
{
    size_t cells = a->groups * a->out;
    assert_int_equal(a->bits, b->bits);
    assert_int_equal(a->groups, b->groups);
    assert_int_equal(a->group_size, b->group_size);
    assert_int_equal(a->channels, b->channels);
    assert_int_equal(a->channel_bits, b->channel_bits);
    assert_memory_equal(a->codes, b->codes, a->in * a->out);
    assert_memory_equal(a->zeros, b->zeros, cells);
    assert_memory_equal(a->scales, b->scales, cells * 2);
    if (a->channels) {
        assert_memory_equal(a->channel_index, b->channel_index, a->channels * 4);
        assert_memory_equal(a->channel_zeros, b->channel_zeros, cells);
        assert_memory_equal(a->channel_scales, b->channel_scales, cells * 2);
    }
}

static void round_trip(size_t in, size_t out, unsigned bits, size_t group_size,
                       unsigned channel_bits, size_t channels, enum checkpoint_format format)
{
    struct packed_linear p, q;
    struct packed_tensors t;
    struct err err = {0};
    uint64_t bytes = 0;
    char *dir = make_dir();
    make(&p, in, out, bits, group_size, channel_bits, channels, format == CHECKPOINT_GPTQ);
    if (packed_encode(&t, &p, "a.l", format, &err) < 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < t.count; i++)
        bytes += t.bytes[i];
    assert_int_equal(bytes * 8, packed_effective_bits(&p, format));
    assert_int_equal(
        bytes * 8, packed_predict_bits(in, out, bits, group_size, channel_bits, channels, format));
    save(dir, &t, format, bits, group_size, channels ? channel_bits : 0);
    packed_tensors_release(&t);
    struct checkpoint *c = NULL;
    if (checkpoint_open(&c, dir, &err) < 0 || packed_read(&q, c, "a.l", in, out, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    assert_same(&p, &q);
    packed_release(&p);
    packed_release(&q);
    checkpoint_free(c);
    remove_dir(dir);
}

static void test_packed_files_give_back_what_was_written(void **state)
{
    (void)state;
    static const unsigned bits[] = {2, 3, 4, 8};
    static const size_t sides[][3] = {{96, 64, 0}, {32, 32, 32}, {128, 96, 64}, {96, 32, 64}};
    static const size_t odd[][3] = {{1, 1, 0}, {17, 5, 4}, {33, 31, 0}, {95, 19, 64}, {64, 3, 7}};
    for (size_t b = 0; b < 4; b++) {
        for (size_t i = 0; i < 4; i++) {
            const size_t *s = sides[i];
            round_trip(s[0], s[1], bits[b], s[2], 0, 0, CHECKPOINT_GPTQ);
            round_trip(s[0], s[1], bits[b], s[2], 0, 0, CHECKPOINT_GPTQ_V2);
            round_trip(s[0], s[1], bits[b], s[2], 0, 0, CHECKPOINT_MOQA);
        }
        for (size_t i = 0; i < 5; i++) {
            const size_t *s = odd[i];
            round_trip(s[0], s[1], bits[b], s[2], 0, 0, CHECKPOINT_MOQA);
            for (size_t k = 0; k < 4; k++)
                round_trip(s[0], s[1], bits[b], s[2], bits[k], 1 + s[0] / 3, CHECKPOINT_MOQA);
            round_trip(s[0], s[1], bits[b], s[2], 4, s[0], CHECKPOINT_MOQA);
            if (bits[b] != 3)
                round_trip(s[0], s[1], bits[b], s[2], 0, 0, CHECKPOINT_GPTQ);
        }
    }
}

/* Independent of packed_pack(): field k of a stream is bits b k .. b k + b - 1 of its words. */
static unsigned field(const uint32_t *words, size_t k, unsigned bits)
{
    unsigned value = 0;
    for (size_t i = 0; i < bits; i++) {
        size_t bit = k * bits + i;
        value |= (words[bit / 32] >> (bit % 32) & 1) << i;
    }
    return value;
}

static void test_packed_pack_is_a_little_endian_bit_stream(void **state)
{
    (void)state;
    static const unsigned widths[] = {2, 3, 4, 8};
    enum { COUNT = 133 };
    uint8_t codes[COUNT], back[COUNT];
    for (size_t w = 0; w < 4; w++) {
        uint32_t words[COUNT / 4 + 2];
        size_t used = (COUNT * widths[w] + 31) / 32;
        memset(words, 0xab, sizeof words);
        fill(codes, COUNT, widths[w], 0);
        packed_pack(words, codes, COUNT, widths[w]);
        for (size_t i = 0; i < COUNT; i++)
            assert_int_equal(field(words, i, widths[w]), codes[i]);
        assert_int_equal(words[used], 0xabababab);
        packed_unpack(back, words, COUNT, widths[w]);
        assert_memory_equal(codes, back, COUNT);
    }
    static const uint8_t by_hand[] = {1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 6};
    uint32_t words[2]; /* field 10, a 6, lies across the words */
    packed_pack(words, by_hand, 11, 3);
    assert_int_equal(words[0], 0x911f58d1);
    assert_int_equal(words[1], 1);
}

static const struct tensor_shape {
    size_t in, out;
    unsigned bits;
    size_t qweight[2], qzeros[2], scales[2], g_idx;
} saved_by_gptqmodel[] = {
    {128, 64, 4, {16, 64}, {2, 8}, {2, 64}, 128},   {64, 128, 4, {8, 128}, {1, 16}, {1, 128}, 64},
    {128, 64, 3, {12, 64}, {2, 6}, {2, 64}, 128},   {64, 128, 3, {6, 128}, {1, 12}, {1, 128}, 64},
    {128, 64, 2, {8, 64}, {2, 4}, {2, 64}, 128},    {64, 128, 2, {4, 128}, {1, 8}, {1, 128}, 64},
    {96, 48, 4, {12, 48}, {2, 6}, {2, 48}, 96},     {48, 96, 4, {6, 96}, {1, 12}, {1, 96}, 48},
    {96, 48, 2, {6, 48}, {2, 3}, {2, 48}, 96},      {48, 96, 2, {3, 96}, {1, 6}, {1, 96}, 48},
    {96, 128, 4, {12, 128}, {2, 16}, {2, 128}, 96}, {128, 96, 4, {16, 96}, {2, 12}, {2, 96}, 128},
};

static size_t find(const struct packed_tensors *t, const char *name)
{
    for (size_t i = 0; i < t->count; i++) {
        if (strcmp(t->spec[i].name, name) == 0)
            return i;
    }
    fail_msg("no tensor %s", name);
    return 0;
}

static void assert_tensor(const struct packed_tensors *t, const char *name, enum dtype dtype,
                          size_t rank, const size_t *shape)
{
    const struct safetensors_spec *s = &t->spec[find(t, name)];
    assert_int_equal(s->dtype, dtype);
    assert_int_equal(s->rank, rank);
    assert_memory_equal(s->shape, shape, rank * sizeof *shape);
}

static void test_packed_gptq_has_the_shapes_that_gptqmodel_saves(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof saved_by_gptqmodel / sizeof *saved_by_gptqmodel; i++) {
        const struct tensor_shape *s = &saved_by_gptqmodel[i];
        struct packed_linear p;
        struct packed_tensors t;
        make(&p, s->in, s->out, s->bits, 64, 0, 0, 1);
        assert_int_equal(packed_encode(&t, &p, "m.l", CHECKPOINT_GPTQ, NULL), 0);
        assert_int_equal(t.count, 4);
        assert_tensor(&t, "m.l.qweight", DTYPE_I32, 2, s->qweight);
        assert_tensor(&t, "m.l.qzeros", DTYPE_I32, 2, s->qzeros);
        assert_tensor(&t, "m.l.scales", DTYPE_F16, 2, s->scales);
        assert_tensor(&t, "m.l.g_idx", DTYPE_I32, 1, &s->g_idx);
        packed_tensors_release(&t);
        packed_release(&p);
    }
}

/* Decodes the inputs of one set by the document's definition alone. input[k]: number of its k-th
 * input; less: what the file's zero points lack. */
static void decode_set(const struct packed_tensors *t, const struct packed_linear *p,
                       const char *prefix, unsigned bits, const size_t *input, size_t count,
                       unsigned less, float *w)
{
    char name[64];
    snprintf(name, sizeof name, "m.l.%sqweight", prefix);
    const uint32_t *qweight = t->data[find(t, name)];
    snprintf(name, sizeof name, "m.l.%sqzeros", prefix);
    const uint32_t *qzeros = t->data[find(t, name)];
    snprintf(name, sizeof name, "m.l.%sscales", prefix);
    const uint16_t *scales = t->data[find(t, name)];
    size_t rows = (count * bits + 31) / 32, columns = (p->out * bits + 31) / 32;
    for (size_t o = 0; o < p->out; o++) {
        uint32_t words[64];
        for (size_t r = 0; r < rows; r++)
            words[r] = qweight[r * p->out + o];
        for (size_t k = 0; k < count; k++) {
            size_t g = input[k] / p->group_size;
            float zero = (float)(field(qzeros + g * columns, o, bits) + less);
            w[o * p->in + input[k]] =
                dtype_f16_to_float(scales[g * p->out + o]) * ((float)field(words, k, bits) - zero);
        }
    }
}

static void test_packed_moqa_means_what_the_document_says(void **state)
{
    (void)state;
    enum { IN = 95, OUT = 37, CHANNELS = 17 };
    static const unsigned widths[][2] = {{2, 4}, {3, 4}, {2, 3}, {4, 8}, {8, 2}};
    float direct[IN * OUT], read[IN * OUT];
    for (size_t i = 0; i < 5; i++) {
        size_t low[IN], high[CHANNELS], l = 0, h = 0;
        struct packed_linear p;
        struct packed_tensors t;
        make(&p, IN, OUT, widths[i][0], 32, widths[i][1], CHANNELS, 0);
        assert_int_equal(packed_encode(&t, &p, "m.l", CHECKPOINT_MOQA, NULL), 0);
        assert_int_equal(t.count, 7);
        const int32_t *index = t.data[find(&t, "m.l.channel_index")];
        for (size_t k = 0; k < IN; k++) {
            if (h < CHANNELS && (size_t)index[h] == k)
                high[h++] = k;
            else
                low[l++] = k;
        }
        assert_int_equal(h, CHANNELS);
        decode_set(&t, &p, "", widths[i][0], low, l, 0, read);
        decode_set(&t, &p, "channel_", widths[i][1], high, h, 0, read);
        packed_dequantize(&p, direct);
        assert_memory_equal(direct, read, sizeof direct);
        packed_tensors_release(&t);
        packed_release(&p);
    }
}

static void test_packed_gptq_means_what_the_layout_says(void **state)
{
    (void)state;
    static const unsigned widths[] = {2, 3, 4, 8};
    enum { IN = 96, OUT = 64 };
    float direct[IN * OUT], read[IN * OUT];
    size_t input[IN];
    for (size_t i = 0; i < IN; i++)
        input[i] = i;
    for (size_t i = 0; i < 8; i++) {
        enum checkpoint_format format = i % 2 ? CHECKPOINT_GPTQ : CHECKPOINT_GPTQ_V2;
        struct packed_linear p;
        struct packed_tensors t;
        make(&p, IN, OUT, widths[i / 2], 64, 0, 0, 1);
        assert_int_equal(packed_encode(&t, &p, "m.l", format, NULL), 0);
        decode_set(&t, &p, "", p.bits, input, IN, format == CHECKPOINT_GPTQ, read);
        const int32_t *g_idx = t.data[find(&t, "m.l.g_idx")];
        for (size_t k = 0; k < IN; k++)
            assert_int_equal(g_idx[k], k / 64);
        packed_dequantize(&p, direct);
        assert_memory_equal(direct, read, sizeof direct);
        packed_tensors_release(&t);
        packed_release(&p);
    }
}

static void read_linear(struct packed_linear *p, const char *dir, size_t in, size_t out)
{
    struct checkpoint *c = NULL;
    struct err err = {0};
    if (checkpoint_open(&c, dir, &err) < 0 || packed_read(p, c, "a.l", in, out, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    checkpoint_free(c);
}

/* Version 1 zero points [8, 0, 8] of 4 bits as the tool stores them: the word less 0x11111111,
 * where the 0 borrows from the next field. The tool's own unpacking by fields reads [8, 0, 7]. */
static void test_packed_reads_the_borrow_of_a_zero_point_of_0(void **state)
{
    (void)state;
    struct packed_linear p, q;
    struct packed_tensors t;
    char *dir = make_dir();
    make(&p, 32, 8, 4, 0, 0, 0, 1);
    for (size_t o = 0; o < 8; o++)
        p.zeros[o] = 8;
    assert_int_equal(packed_encode(&t, &p, "a.l", CHECKPOINT_GPTQ, NULL), 0);
    uint32_t *qzeros = t.data[find(&t, "a.l.qzeros")];
    assert_int_equal(*qzeros, 0x77777777);
    *qzeros = 0x88888808 - 0x11111111;
    save(dir, &t, CHECKPOINT_GPTQ, 4, 0, 0);
    read_linear(&q, dir, 32, 8);
    assert_memory_equal(q.zeros, "\x8\x0\x8\x8\x8\x8\x8\x8", 8);
    packed_tensors_release(&t);
    packed_release(&p);
    packed_release(&q);
    remove_dir(dir);
}

/* 3 bits: field by field modulo 8, so a stored 7 is a zero point of 0 and nothing borrows. */
static void test_packed_reads_zero_points_of_3_bits_by_fields(void **state)
{
    (void)state;
    static const uint8_t zeros[32] = {1, 7, 2, 4, 0, 5, 6, 0, 3, 7, 1, 0, 0, 2, 5, 4,
                                      6, 1, 0, 7, 3, 3, 0, 2, 1, 6, 0, 5, 4, 7, 0, 1};
    struct packed_linear p, q;
    struct packed_tensors t;
    uint8_t less[32];
    char *dir = make_dir();
    make(&p, 32, 32, 3, 0, 0, 0, 1);
    assert_int_equal(packed_encode(&t, &p, "a.l", CHECKPOINT_GPTQ, NULL), 0);
    for (size_t o = 0; o < 32; o++)
        less[o] = (zeros[o] + 7) % 8;
    packed_pack(t.data[find(&t, "a.l.qzeros")], less, 32, 3);
    save(dir, &t, CHECKPOINT_GPTQ, 3, 0, 0);
    read_linear(&q, dir, 32, 32);
    assert_memory_equal(q.zeros, zeros, 32);
    packed_tensors_release(&t);
    packed_release(&p);
    packed_release(&q);
    remove_dir(dir);
}

static void test_packed_channels_have_a_grid_of_their_own(void **state)
{
    (void)state;
    enum { IN = 50, OUT = 7, GROUP = 16 };
    struct packed_linear p;
    float w[IN * OUT];
    make(&p, IN, OUT, 2, GROUP, 4, 13, 0);
    packed_dequantize(&p, w);
    for (size_t o = 0; o < OUT; o++) {
        for (size_t i = 0; i < IN; i++) {
            size_t cell = o * p.groups + i / GROUP;
            float scale = dtype_f16_to_float(p.scales[cell]), zero = p.zeros[cell];
            for (size_t k = 0; k < p.channels; k++) {
                if (p.channel_index[k] == i) {
                    scale = dtype_f16_to_float(p.channel_scales[cell]);
                    zero = p.channel_zeros[cell];
                }
            }
            assert_true(w[o * IN + i] == scale * ((float)p.codes[o * IN + i] - zero));
        }
    }
    packed_release(&p);
}

/* 2-bit codes of 115 inputs and 4-bit codes of 13, two groups: counted by hand. */
static void test_packed_bits_are_those_of_the_tensors(void **state)
{
    (void)state;
    uint64_t low = 8 * 64 * 32 + 2 * 4 * 32 + 2 * 64 * 16;
    uint64_t high = 2 * 64 * 32 + 2 * 8 * 32 + 2 * 64 * 16 + 13 * 32;
    assert_int_equal(packed_predict_bits(128, 64, 2, 64, 4, 13, CHECKPOINT_MOQA), low + high);
    assert_int_equal(packed_predict_bits(128, 64, 2, 64, 0, 0, CHECKPOINT_MOQA), low);
    assert_int_equal(packed_predict_bits(128, 64, 2, 64, 0, 0, CHECKPOINT_GPTQ), low + 128 * 32);
    assert_int_equal(packed_predict_bits(128, 64, 2, 0, 0, 0, CHECKPOINT_MOQA),
                     8 * 64 * 32 + 4 * 32 + 64 * 16);
    assert_int_equal(packed_predict_bits(128, 64, 2, 500, 0, 0, CHECKPOINT_MOQA),
                     8 * 64 * 32 + 4 * 32 + 64 * 16);
}

static void assert_not_encoded(struct packed_linear *p, enum checkpoint_format format,
                               enum err_code code, const char *message)
{
    struct packed_tensors t;
    struct err err = {0};
    assert_int_equal(packed_encode(&t, p, "m.l", format, &err), code);
    assert_string_equal(err.message, message);
    assert_int_equal(t.count, 0);
    packed_release(p);
}

static void test_packed_encode_refuses_what_a_layout_cannot_hold(void **state)
{
    (void)state;
    struct packed_linear p;
    make(&p, 96, 48, 3, 32, 0, 0, 1);
    assert_not_encoded(&p, CHECKPOINT_GPTQ, ERR_UNSUPPORTED,
                       "m.l: 96 x 48 at 3 bits; the gptq layout needs multiples of 32 there");
    make(&p, 64, 32, 2, 32, 4, 3, 1);
    assert_not_encoded(&p, CHECKPOINT_GPTQ_V2, ERR_UNSUPPORTED,
                       "m.l: the gptq layout has no mixed channels; use the moqa format or switch "
                       "them off");
    make(&p, 64, 32, 2, 32, 0, 0, 1);
    p.zeros[2 * 9 + 1] = 0;
    assert_not_encoded(&p, CHECKPOINT_GPTQ, ERR_UNSUPPORTED,
                       "m.l: a zero point of 0 at group 1, output 9, which readers of gptq version "
                       "1 decode in two ways; shift the grid or write gptq_v2");
    make(&p, 64, 32, 2, 32, 0, 0, 1);
    p.codes[64 * 3 + 5] = 4;
    assert_not_encoded(&p, CHECKPOINT_MOQA, ERR_USAGE,
                       "m.l: code 4 at output 3, input 5 does not fit 2 bits");
    make(&p, 64, 32, 4, 32, 0, 0, 1);
    p.zeros[6] = 16;
    assert_not_encoded(&p, CHECKPOINT_MOQA, ERR_USAGE,
                       "m.l: zero point 16 at group 0, output 3 does not fit 4 bits");
    make(&p, 64, 32, 4, 32, 0, 0, 1);
    p.scales[7] = 0x7c00;
    assert_not_encoded(&p, CHECKPOINT_MOQA, ERR_INPUT,
                       "tensor \"m.l.scales\": not a finite number at group 1, output 3");
    make(&p, 64, 32, 4, 32, 8, 2, 1);
    p.channel_index[1] = p.channel_index[0];
    char message[128];
    snprintf(message, sizeof message,
             "tensor \"m.l.channel_index\": found %u at 1, expected rising numbers below 64",
             p.channel_index[0]);
    assert_not_encoded(&p, CHECKPOINT_MOQA, ERR_INPUT, message);
    make(&p, 64, 32, 4, 32, 0, 0, 1);
    assert_not_encoded(&p, CHECKPOINT_PLAIN, ERR_USAGE, "m.l: a plain checkpoint packs nothing");
}

static void test_packed_alloc_refuses_impossible_linears(void **state)
{
    (void)state;
    struct packed_linear p;
    assert_int_equal(packed_alloc(&p, 0, 4, 4, 0, 0, 0, NULL), ERR_USAGE);
    assert_int_equal(packed_alloc(&p, 4, 4, 5, 0, 0, 0, NULL), ERR_USAGE);
    assert_int_equal(packed_alloc(&p, 4, 4, 4, 0, 0, 1, NULL), ERR_USAGE);
    assert_int_equal(packed_alloc(&p, 4, 4, 4, 0, 4, 5, NULL), ERR_USAGE);
    assert_null(p.codes);
}

/* --- Damaged files: a good one of two groups, then one thing changed --- */

static void spoil_nothing(struct packed_tensors *t)
{
    (void)t;
}

static void spoil_g_idx(struct packed_tensors *t)
{
    ((int32_t *)t->data[find(t, "a.l.g_idx")])[40] = 0;
}

static void spoil_g_idx_sign(struct packed_tensors *t)
{
    ((int32_t *)t->data[find(t, "a.l.g_idx")])[1] = -1;
}

static void spoil_scales(struct packed_tensors *t)
{
    ((uint16_t *)t->data[find(t, "a.l.scales")])[32 + 3] = 0x7e00;
}

static void spoil_scales_type(struct packed_tensors *t)
{
    t->spec[find(t, "a.l.scales")].dtype = DTYPE_BF16;
}

static void spoil_qzeros_shape(struct packed_tensors *t)
{
    struct safetensors_spec *s = &t->spec[find(t, "a.l.qzeros")];
    s->shape[0] = s->shape[1];
    s->shape[1] = 2;
}

static void spoil_scales_name(struct packed_tensors *t)
{
    char *name = (char *)(uintptr_t)t->spec[find(t, "a.l.scales")].name;
    name[4] = 'S';
}

static void spoil_channel_order(struct packed_tensors *t)
{
    ((int32_t *)t->data[find(t, "a.l.channel_index")])[2] = 0;
}

static void spoil_channel_range(struct packed_tensors *t)
{
    ((int32_t *)t->data[find(t, "a.l.channel_index")])[2] = 64;
}

static void spoil_channel_count(struct packed_tensors *t)
{
    struct safetensors_spec *s = &t->spec[find(t, "a.l.channel_index")];
    s->rank = 2;
    s->shape[1] = s->shape[0];
    s->shape[0] = 0;
    t->bytes[find(t, "a.l.channel_index")] = 0;
}

static void spoil_linear_name(struct packed_tensors *t)
{
    for (size_t i = 0; i < t->count; i++) /* "a.l.qweight" becomes "b.l.qweight" */
        ((char *)(uintptr_t)t->spec[i].name)[0] = 'b';
}

static const struct {
    void (*spoil)(struct packed_tensors *t);
    enum checkpoint_format format;
    unsigned channel_bits; /* in config.json; the file has 3 channels of 4 bits where moqa */
    size_t in, out;
    enum err_code code;
    const char *message;
} damages[] = {
    {spoil_nothing, CHECKPOINT_GPTQ, 0, 64, 32, 0, ""},
    {spoil_nothing, CHECKPOINT_MOQA, 4, 64, 32, 0, ""},
    {spoil_g_idx, CHECKPOINT_GPTQ, 0, 64, 32, ERR_UNSUPPORTED,
     "tensor \"a.l.g_idx\": found group 0 for input 40, expected 1; only groups of neighbouring "
     "inputs are supported"},
    {spoil_g_idx_sign, CHECKPOINT_GPTQ, 0, 64, 32, ERR_UNSUPPORTED,
     "tensor \"a.l.g_idx\": found group -1 for input 1, expected 0; only groups of neighbouring "
     "inputs are supported"},
    {spoil_scales, CHECKPOINT_GPTQ, 0, 64, 32, ERR_INPUT,
     "tensor \"a.l.scales\": not a finite number at group 1, output 3"},
    {spoil_scales_type, CHECKPOINT_GPTQ_V2, 0, 64, 32, ERR_INPUT,
     "tensor \"a.l.scales\": found type BF16, expected F16"},
    {spoil_qzeros_shape, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT,
     "tensor \"a.l.qzeros\": found 2 dimensions of [4, 2], expected [2, 4]"},
    {spoil_scales_name, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT, "tensor \"a.l.scales\" is missing"},
    {spoil_channel_order, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT,
     "tensor \"a.l.channel_index\": found 0 at 2, expected rising numbers below 64"},
    {spoil_channel_range, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT,
     "tensor \"a.l.channel_index\": found 64 at 2, expected rising numbers below 64"},
    {spoil_channel_count, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT,
     "tensor \"a.l.channel_index\": found 0 channels, expected 1 to 64"},
    {spoil_linear_name, CHECKPOINT_MOQA, 4, 64, 32, ERR_INPUT, "tensor \"a.l.qweight\" is missing"},
    {spoil_nothing, CHECKPOINT_MOQA, 0, 64, 32, ERR_INPUT,
     "tensor \"a.l.channel_index\": quantization_config names no channel_bits for it"},
    {spoil_nothing, CHECKPOINT_MOQA, 8, 64, 32, ERR_INPUT,
     "tensor \"a.l.channel_qzeros\": found 2 dimensions of [2, 4], expected [2, 8]"},
    {spoil_nothing, CHECKPOINT_GPTQ, 0, 64, 33, ERR_INPUT,
     "tensor \"a.l.qweight\": found 2 dimensions of [8, 32], expected [8, 33]"},
    {spoil_nothing, CHECKPOINT_GPTQ, 0, 72, 32, ERR_INPUT,
     "tensor \"a.l.qweight\": found 2 dimensions of [8, 32], expected [9, 32]"},
};

static void test_packed_read_refuses_damaged_tensors(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct packed_linear p, q;
        struct packed_tensors t;
        struct checkpoint *c = NULL;
        struct err err = {0};
        bool moqa = damages[i].format == CHECKPOINT_MOQA;
        char *dir = make_dir();
        make(&p, 64, 32, 4, 32, moqa ? 4 : 0, moqa ? 3 : 0, 1);
        for (size_t k = 0; k < p.channels; k++)
            assert_true(p.channel_index[k] < 64);
        assert_int_equal(packed_encode(&t, &p, "a.l", damages[i].format, &err), 0);
        damages[i].spoil(&t);
        save(dir, &t, damages[i].format, 4, 32, damages[i].channel_bits);
        assert_int_equal(checkpoint_open(&c, dir, &err), 0);
        int rc = packed_read(&q, c, "a.l", damages[i].in, damages[i].out, &err);
        assert_string_equal(err.message, damages[i].message);
        assert_int_equal(rc, damages[i].code);
        if (rc < 0)
            assert_null(q.codes);
        packed_release(&q);
        packed_release(&p);
        packed_tensors_release(&t);
        checkpoint_free(c);
        remove_dir(dir);
    }
}

static void test_packed_read_refuses_a_linear_that_is_not_quantized(void **state)
{
    (void)state;
    struct packed_linear p;
    struct checkpoint *c = NULL;
    struct err err = {0};
    assert_int_equal(checkpoint_open(&c, TEST_SAMPLE "/tiny-olmoe", &err), 0);
    assert_int_equal(packed_read(&p, c, "lm_head", 128, 2048, &err), ERR_USAGE);
    assert_string_equal(err.message, "lm_head: not quantized in this checkpoint");
    assert_null(p.codes);
    checkpoint_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_pack_is_a_little_endian_bit_stream),
        cmocka_unit_test(test_packed_files_give_back_what_was_written),
        cmocka_unit_test(test_packed_gptq_has_the_shapes_that_gptqmodel_saves),
        cmocka_unit_test(test_packed_gptq_means_what_the_layout_says),
        cmocka_unit_test(test_packed_moqa_means_what_the_document_says),
        cmocka_unit_test(test_packed_reads_the_borrow_of_a_zero_point_of_0),
        cmocka_unit_test(test_packed_reads_zero_points_of_3_bits_by_fields),
        cmocka_unit_test(test_packed_channels_have_a_grid_of_their_own),
        cmocka_unit_test(test_packed_bits_are_those_of_the_tensors),
        cmocka_unit_test(test_packed_encode_refuses_what_a_layout_cannot_hold),
        cmocka_unit_test(test_packed_alloc_refuses_impossible_linears),
        cmocka_unit_test(test_packed_read_refuses_damaged_tensors),
        cmocka_unit_test(test_packed_read_refuses_a_linear_that_is_not_quantized),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
