/* Recorded routing against the reference traces. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/trace_h5.h"
#include "model_fixture.h"
#include "src/model/texts.h"
#include "src/model/tracer.h"

/* Smallest gate difference between positions whose expert sets agree; counts those that differ. */
static size_t compare_routing(const struct trace *got, const struct trace *want)
{
    size_t differ = 0, k = want->top_k;
    for (size_t at = 0; at < want->layers * want->positions * k; at += k) {
        size_t found = 0;
        for (size_t i = 0; i < k; i++)
            for (size_t j = 0; j < k; j++) {
                if (got->routed[at + i] != want->routed[at + j])
                    continue;
                fixture_near(got->gates[at + i], want->gates[at + j], 1e-4, "gate", at + i);
                found++;
            }
        differ += found != k;
        for (size_t i = 1; i < k; i++)
            assert_true(got->gates[at + i] <= got->gates[at + i - 1]);
    }
    return differ;
}

static void check_description(const struct trace *got, const struct trace *want)
{
    assert_int_equal(got->positions, want->positions);
    assert_int_equal(got->windows, want->windows);
    assert_int_equal(got->layers, want->layers);
    assert_int_equal(got->experts, want->experts);
    assert_int_equal(got->top_k, want->top_k);
    assert_int_equal(got->shared_experts, want->shared_experts);
    assert_int_equal(got->vocab, want->vocab);
    assert_int_equal(got->window, want->window);
    assert_string_equal(got->model_type, want->model_type);
    assert_string_equal(got->config_sha256, want->config_sha256);
    assert_string_equal(got->tokenizer_sha256, want->tokenizer_sha256);
    assert_int_equal(strncmp(got->creator, "moqa ", 5), 0);
    assert_int_equal(strlen(got->created), strlen("2026-01-01T00:00:00Z"));
    assert_memory_equal(got->ids, want->ids, want->positions * sizeof *want->ids);
    assert_memory_equal(got->window_starts, want->window_starts,
                        want->windows * sizeof *want->window_starts);
    assert_memory_equal(got->layer_index, want->layer_index,
                        want->layers * sizeof *want->layer_index);
}

static void check_vocabulary(const struct trace *got, const struct model *m)
{
    const uint8_t *bytes, *own;
    size_t size, own_size, texts = 0;
    for (uint32_t id = 0; id < got->vocab; id++) {
        assert_true(trace_token_text(got, id, &bytes, &size));
        if (!tokenizer_token_bytes(m->tokenizer, id, &own, &own_size))
            own_size = 0;
        assert_int_equal(size, own_size);
        assert_int_equal(memcmp(bytes, own, size), 0);
        texts += size > 0;
    }
    assert_true(texts > got->vocab / 2);
}

static void test_traces_equal_the_reference(void **state)
{
    (void)state;
    static const char *const paths[] = {TEST_SAMPLE "/text/calibration/encyclopedia-1.txt",
                                        TEST_SAMPLE "/text/calibration/handbook-1.txt",
                                        TEST_SAMPLE "/text/calibration/computing-1.txt"};
    struct backend *b = fixture_backend(2);
    for (size_t i = 0; i < 2; i++) {
        char path[4096];
        size_t starts[64];
        struct model m;
        struct trace want, got;
        struct token_ids ids = {0};
        fixture_open(&m, fixture_tiny[i].dir);
        snprintf(path, sizeof path, "%s/trace.h5", fixture_tiny[i].golden);
        assert_int_equal(trace_h5_load(&want, path, NULL, NULL), 0);
        assert_int_equal(want.windows, 64);
        assert_int_equal(texts_encode(&ids, m.tokenizer, paths, 3, NULL), 0);
        for (size_t w = 0; w < 64; w++)
            starts[w] = w * want.window;
        assert_int_equal(tracer_run(&got, &m, b, ids.data, starts, 64, want.window, NULL, NULL), 0);
        check_description(&got, &want);
        check_vocabulary(&got, &m);
        /* at least 99.95 % of the expert sets agree */
        assert_true(compare_routing(&got, &want) * 2000 <= want.layers * want.positions);
        trace_release(&got);
        trace_release(&want);
        token_ids_release(&ids);
        model_release(&m);
    }
    backend_free(b);
}

static void test_dense_layers_are_left_out_of_a_trace(void **state)
{
    (void)state;
    struct model m;
    struct trace t;
    struct backend *b = fixture_backend(2);
    fixture_open(&m, fixture_random[1].dir);
    json_t *file = fixture_json(fixture_random[1].golden, "expected.json");
    size_t window;
    uint32_t *ids = fixture_ids(json_array_get(json_object_get(file, "ids"), 0), &window);
    const size_t starts[2] = {0, 0}; /* the same window twice */
    assert_int_equal(tracer_run(&t, &m, b, ids, starts, 2, window, NULL, NULL), 0);
    assert_int_equal(t.layers, 3);
    assert_int_equal(t.layer_index[0], 0);
    assert_int_equal(t.layer_index[1], 2);
    assert_int_equal(t.layer_index[2], 3);
    assert_null(t.vocab_bytes);
    assert_int_equal(t.shared_experts, 1);
    assert_true(t.norm_topk_prob);
    for (size_t l = 0; l < 3; l++)
        for (size_t i = 0; i < 2 * window * t.top_k; i++) {
            const json_t *rows = json_array_get(json_object_get(file, "experts"), l);
            const json_t *row = json_array_get(rows, i / t.top_k % window);
            assert_int_equal(trace_routed(&t, l)[i],
                             json_integer_value(json_array_get(row, i % t.top_k)));
        }
    trace_release(&t);
    free(ids);
    json_decref(file);
    backend_free(b);
    model_release(&m);
}

static void test_a_cancelled_trace_leaves_nothing(void **state)
{
    (void)state;
    struct model m;
    struct trace t;
    struct progress progress;
    struct err err = {0};
    const uint32_t ids[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};
    const size_t starts[1] = {0};
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_tiny[1].dir);
    progress_init(&progress);
    atomic_store(&progress.cancel, true);
    assert_int_equal(tracer_run(&t, &m, b, ids, starts, 1, 16, &progress, &err), ERR_CANCELLED);
    assert_null(t.routed);
    assert_int_equal(err.code, ERR_CANCELLED);
    progress_release(&progress);
    backend_free(b);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_traces_equal_the_reference),
        cmocka_unit_test(test_dense_layers_are_left_out_of_a_trace),
        cmocka_unit_test(test_a_cancelled_trace_leaves_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
