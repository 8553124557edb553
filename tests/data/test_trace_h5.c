#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/str.h"
#include "data/trace_h5.h"
#include "trace_make.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moqa-trace-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *file_in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void load(struct trace *t, const char *path)
{
    struct err err = {0};
    if (trace_h5_load(t, path, NULL, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
}

/* Sums over all elements with weights i mod 9973, taken with h5py and numpy. */
struct golden {
    const char *file;
    size_t layers, experts;
    uint64_t experts_sum, ids_sum;
    double gates_sum;
    const char *token_700, *token_1500;
    uint16_t slots[4]; /* layer 2, position 1234 */
};

static void check_golden(const struct golden *g)
{
    struct trace t;
    load(&t, g->file);
    assert_int_equal(t.positions, 16384);
    assert_int_equal(t.windows, 64);
    assert_int_equal(t.window, 256);
    assert_int_equal(t.window_starts[17], 4352);
    assert_int_equal(t.layers, g->layers);
    assert_int_equal(t.experts, g->experts);
    assert_int_equal(t.top_k, 4);
    assert_string_equal(t.creator, "reference");
    uint64_t experts_sum = 0, ids_sum = 0;
    double gates_sum = 0;
    for (size_t i = 0; i < t.layers * t.positions * t.top_k; i++) {
        experts_sum += t.routed[i] * (uint64_t)(i % 9973);
        gates_sum += (double)t.gates[i] * (double)(i % 9973);
    }
    for (size_t i = 0; i < t.positions; i++)
        ids_sum += t.ids[i] * (uint64_t)(i % 9973);
    assert_int_equal(experts_sum, g->experts_sum);
    assert_int_equal(ids_sum, g->ids_sum);
    assert_true(fabs(gates_sum - g->gates_sum) < 1e-9 * g->gates_sum);
    assert_memory_equal(trace_routed(&t, 2) + 1234 * 4, g->slots, sizeof g->slots);
    const uint8_t *bytes;
    size_t size;
    assert_true(trace_token_text(&t, 700, &bytes, &size));
    assert_int_equal(size, strlen(g->token_700));
    assert_memory_equal(bytes, g->token_700, size);
    assert_true(trace_token_text(&t, 1500, &bytes, &size));
    assert_int_equal(size, strlen(g->token_1500));
    assert_memory_equal(bytes, g->token_1500, size);
    trace_release(&t);
}

static void test_trace_h5_reads_what_h5py_wrote_for_olmoe(void **state)
{
    (void)state;
    check_golden(&(struct golden){TEST_GOLDEN "/tiny-olmoe/trace.h5",
                                  6,
                                  32,
                                  31979542240,
                                  37418936149,
                                  272954931.6319878,
                                  "che",
                                  " play",
                                  {22, 15, 4, 2}});
}

static void test_trace_h5_reads_what_h5py_wrote_for_qwen2moe(void **state)
{
    (void)state;
    check_golden(&(struct golden){TEST_GOLDEN "/tiny-qwen2moe/trace.h5",
                                  4,
                                  24,
                                  15341183782,
                                  36067575707,
                                  159049683.53959435,
                                  "ating",
                                  "aut",
                                  {20, 8, 1, 18}});
}

/* Made by docs/examples/make_trace.py, and the same values in types as engines return them; sums
 * with weights i mod 9973 + 1, taken with numpy. */
static void check_arrays(const char *path, double gates_sum)
{
    struct trace t;
    load(&t, path);
    uint64_t experts_sum = 0, ids_sum = 0;
    double sum = 0;
    for (size_t i = 0; i < 3 * 300 * 3; i++) {
        experts_sum += t.routed[i] * (uint64_t)(i % 9973 + 1);
        sum += (double)t.gates[i] * (double)(i % 9973 + 1);
    }
    for (size_t i = 0; i < 300; i++)
        ids_sum += t.ids[i] * (uint64_t)(i + 1);
    assert_int_equal(experts_sum, 12747976501); /* 139 of them TRACE_NOT_ROUTED */
    assert_int_equal(ids_sum, 1938517);
    assert_true(fabs(sum - gates_sum) < 1e-9 * gates_sum);
    assert_true(t.norm_topk_prob);
    assert_string_equal(t.creator, "h5py");
    assert_string_equal(t.model_type, "qwen2_moe");
    assert_string_equal(t.config_sha256, "");
    assert_int_equal(t.layer_index[2], 4);
    assert_int_equal(trace_window_length(&t, 2), 44);
    const uint8_t *bytes;
    size_t size;
    assert_true(trace_token_text(&t, 41, &bytes, &size));
    assert_int_equal(size, 2);
    assert_memory_equal(bytes, "\xb5\r", 2);
    assert_true(trace_token_text(&t, 11, &bytes, &size));
    assert_int_equal(size, 0);
    trace_release(&t);
}

static void test_trace_h5_reads_what_the_python_example_writes(void **state)
{
    (void)state;
    check_arrays(TEST_GOLDEN "/traces/arrays.h5", 1857756.2164652897);
    check_arrays(TEST_GOLDEN "/traces/engine-types.h5", 1857761.4117014408);
}

static void round_trip(size_t experts, size_t positions, bool gates)
{
    struct trace before, after;
    struct err err = {0};
    const char *path = file_in_folder("round.h5");
    trace_make(&before, 3, positions, experts, 5, gates, true, experts + positions);
    if (trace_h5_save(&before, path, &err) < 0)
        fail_msg("%s", err.message);
    load(&after, path);
    trace_make_assert_equal(&before, &after);
    trace_release(&before);
    trace_release(&after);
    assert_int_equal(unlink(path), 0);
}

static void test_trace_h5_round_trip_is_exact(void **state)
{
    (void)state;
    round_trip(60, 20000, true); /* more than a chunk */
    round_trip(5, 1, false);
    round_trip(254, 700, false); /* the last that fits in bytes with one value to spare */
    round_trip(255, 700, true);
    round_trip(256, 700, false);
    round_trip(4096, 333, true);
}

static void test_trace_h5_round_trip_without_vocabulary(void **state)
{
    (void)state;
    struct trace before, after;
    trace_make(&before, 2, 300, 8, 2, false, false, 3);
    free(before.vocab_bytes);
    free(before.vocab_offsets);
    before.vocab_bytes = NULL;
    before.vocab_offsets = NULL;
    before.config_sha256[0] = '\0';
    const char *path = file_in_folder("round.h5");
    assert_int_equal(trace_h5_save(&before, path, NULL), 0);
    load(&after, path);
    trace_make_assert_equal(&before, &after);
    trace_release(&before);
    trace_release(&after);
    assert_int_equal(unlink(path), 0);
}

static void test_trace_h5_same_trace_gives_same_bytes(void **state)
{
    (void)state;
    struct trace t;
    char *text[2];
    size_t size[2];
    trace_make(&t, 2, 300, 8, 2, true, true, 9);
    const char *path = file_in_folder("same.h5");
    for (int i = 0; i < 2; i++) {
        assert_int_equal(trace_h5_save(&t, path, NULL), 0);
        assert_int_equal(str_read_file(&text[i], &size[i], path, 1 << 24, NULL), 0);
        usleep(1100000 * (1 - (useconds_t)i)); /* time stamps count seconds */
    }
    assert_int_equal(size[0], size[1]);
    assert_memory_equal(text[0], text[1], size[0]);
    free(text[0]);
    free(text[1]);
    trace_release(&t);
    assert_int_equal(unlink(path), 0);
}

static void test_trace_h5_invalid_trace_leaves_no_file(void **state)
{
    (void)state;
    struct trace t;
    struct err err = {0};
    trace_make(&t, 2, 300, 8, 2, false, false, 4);
    t.routed[600 + 2 * 10] = 8;
    const char *path = file_in_folder("invalid.h5");
    assert_int_equal(trace_h5_save(&t, path, &err), ERR_INPUT);
    assert_string_equal(err.message,
                        "/routing/experts[1][10][0]: found 8, expected below num_experts 8, or -1 "
                        "or the type's maximum for not routed");
    assert_int_not_equal(access(path, F_OK), 0);
    trace_release(&t);
}

static void test_trace_h5_missing_folder_is_named(void **state)
{
    (void)state;
    struct trace t;
    struct err err = {0};
    trace_make(&t, 2, 300, 8, 2, false, false, 4);
    assert_int_equal(trace_h5_save(&t, "/nowhere/at/all.h5", &err), ERR_IO);
    assert_non_null(strstr(err.message, "No such file or directory"));
    trace_release(&t);
}

static void test_trace_h5_probe_tells_hdf5_from_other_files(void **state)
{
    (void)state;
    assert_true(trace_h5_probe(TEST_GOLDEN "/tiny-olmoe/trace.h5"));
    assert_false(trace_h5_probe(TEST_GOLDEN "/tokenizer.json"));
    assert_false(trace_h5_probe(TEST_GOLDEN));
    assert_false(trace_h5_probe(TEST_GOLDEN "/none"));
}

/* Before a model runs for hours: 2^26 positions of 40 layers and 8 experts do not fit. */
static void test_size_and_place_are_checked_before_there_is_a_trace(void **state)
{
    (void)state;
    struct err err = {0};
    char path[] = "/tmp/moqa-trace-check-XXXXXX";
    assert_int_equal(trace_h5_check(40, (size_t)1 << 26, 8, "t.h5", &err), ERR_UNSUPPORTED);
    assert_string_equal(err.message,
                        "a trace of 40 layers x 67108864 positions x 8 slots is too large");
    err = (struct err){0};
    assert_int_equal(trace_h5_check(2, 100, 8, "/dev/null/t.h5", &err), ERR_IO);
    int fd = mkstemp(path); /* what is there stays as it is */
    assert_true(fd >= 0 && write(fd, "x", 1) == 1);
    assert_int_equal(trace_h5_check(2, 100, 8, path, NULL), 0);
    assert_int_equal(lseek(fd, 0, SEEK_END), 1);
    assert_int_equal(access(path, F_OK), 0);
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_size_and_place_are_checked_before_there_is_a_trace),
        cmocka_unit_test(test_trace_h5_reads_what_h5py_wrote_for_olmoe),
        cmocka_unit_test(test_trace_h5_reads_what_h5py_wrote_for_qwen2moe),
        cmocka_unit_test(test_trace_h5_reads_what_the_python_example_writes),
        cmocka_unit_test(test_trace_h5_round_trip_is_exact),
        cmocka_unit_test(test_trace_h5_round_trip_without_vocabulary),
        cmocka_unit_test(test_trace_h5_same_trace_gives_same_bytes),
        cmocka_unit_test(test_trace_h5_invalid_trace_leaves_no_file),
        cmocka_unit_test(test_trace_h5_missing_folder_is_named),
        cmocka_unit_test(test_trace_h5_probe_tells_hdf5_from_other_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
