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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_packed_files_give_back_what_was_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
