#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "trace_make.h"

enum { LAYERS = 3, POSITIONS = 200, EXPERTS = 12, TOP_K = 4, LAYER_SLOTS = POSITIONS * TOP_K };

static void make(struct trace *t)
{
    trace_make(t, LAYERS, POSITIONS, EXPERTS, TOP_K, true, false, 5);
}

/* Breaks one thing, expects exactly this message, and that the trace was valid before. */
static void expect(void (*spoil)(struct trace *), const char *message)
{
    struct trace t;
    struct err err = {0};
    make(&t);
    assert_int_equal(trace_validate(&t, "a.h5", &err), 0);
    spoil(&t);
    assert_int_equal(trace_validate(&t, "a.h5", &err), ERR_INPUT);
    assert_string_equal(err.message, message);
    assert_string_equal(err.file, "a.h5");
    trace_release(&t);
}

#define RULE(name, statement, message)          \
    static void spoil_##name(struct trace *t)   \
    {                                           \
        statement;                              \
    }                                           \
    static void test_trace_##name(void **state) \
    {                                           \
        (void)state;                            \
        expect(spoil_##name, message);          \
    }

RULE(needs_a_layer, t->layers = 0, "attribute num_moe_layers: found 0, expected 1 to 1024")
RULE(bounds_layers, t->layers = 1025, "attribute num_moe_layers: found 1025, expected 1 to 1024")
RULE(needs_an_expert, t->experts = 0, "attribute num_experts: found 0, expected 1 to 65534")
RULE(bounds_experts, t->experts = 65535, "attribute num_experts: found 65535, expected 1 to 65534")
RULE(needs_top_k, t->top_k = 0, "attribute top_k: found 0, expected 1 to 12")
RULE(has_top_k_at_most_experts, t->top_k = 13, "attribute top_k: found 13, expected 1 to 12")
RULE(bounds_shared_experts, t->shared_experts = 70000,
     "attribute num_shared_experts: found 70000, expected 0 to 65534")
RULE(needs_a_vocabulary_size, t->vocab = 0, "attribute vocab_size: found 0, expected 1 to 16777216")
RULE(needs_a_window_length, t->window = 0, "attribute window: found 0, expected 1 to 1073741824")
RULE(has_a_hexadecimal_config_hash, t->config_sha256[63] = 'A',
     "attribute config_sha256: found "
     "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaA\", expected 64 lower-case "
     "hexadecimal digits")
RULE(has_a_whole_tokenizer_hash, t->tokenizer_sha256[5] = '\0',
     "attribute tokenizer_sha256: found \"77777\", expected 64 lower-case hexadecimal digits")
RULE(needs_positions, t->positions = 0, "/tokens/ids: found no positions, expected some")
RULE(needs_a_window, t->windows = 0,
     "/tokens/window_starts: found no windows, expected at least one")
RULE(has_ids_below_vocab_size, t->ids[199] = 500,
     "/tokens/ids[199]: found 500, expected below vocab_size 500")
RULE(begins_its_first_window_at_zero, t->window_starts[0] = 1,
     "/tokens/window_starts[0]: found 1, expected 0")
RULE(has_rising_window_starts, t->window_starts[2] = t->window_starts[1] = 47,
     "/tokens/window_starts[2]: found 47, expected above 47, the start before it")
RULE(has_window_starts_below_positions, t->window_starts[3] = 200,
     "/tokens/window_starts[3]: found 200, expected below 200, the number of positions")
RULE(has_rising_layers, t->layer_index[2] = 3,
     "/layers/index[2]: found 3, expected above 3, the layer before it")
RULE(has_experts_below_their_number, t->routed[2 * LAYER_SLOTS + 17 * TOP_K + 3] = 12,
     "/routing/experts[2][17][3]: found 12, expected below num_experts 12, or -1 or the type's "
     "maximum for not routed")
RULE(has_distinct_experts, t->routed[LAYER_SLOTS + 1] = 7; t->routed[LAYER_SLOTS + 0] = 9;
     t->routed[LAYER_SLOTS + 2] = 1;
     t->routed[LAYER_SLOTS + 3] = 7,
     "/routing/experts[1][0][3]: found 7 a second time, expected the experts of a position to be "
     "distinct")
RULE(has_no_nan_gates, t->gates[LAYER_SLOTS + 5 * TOP_K + 2] = NAN,
     "/routing/gates[1][5][2]: found nan, expected a finite number of at least 0")
RULE(has_no_infinite_gates, t->gates[3 * LAYER_SLOTS - 1] = INFINITY,
     "/routing/gates[2][199][3]: found inf, expected a finite number of at least 0")
RULE(has_no_negative_gates, t->gates[0] = -0.25f,
     "/routing/gates[0][0][0]: found -0.25, expected a finite number of at least 0")
RULE(begins_its_vocabulary_at_zero, t->vocab_offsets[0] = 2,
     "/vocab/offsets[0]: found 2, expected 0")
RULE(has_offsets_that_never_fall, t->vocab_offsets[41] = 400;
     t->vocab_offsets[42] = 399,
     "/vocab/offsets[42]: found 399, expected at least 400, the offset before it")

static void test_trace_same_expert_at_two_positions_is_legal(void **state)
{
    (void)state;
    struct trace t;
    make(&t);
    for (size_t i = 0; i < LAYERS * LAYER_SLOTS; i++)
        t.routed[i] = (uint16_t)(i % TOP_K);
    assert_int_equal(trace_validate(&t, "a.h5", NULL), 0);
    trace_release(&t);
}

static void test_trace_slots_not_routed_may_repeat(void **state)
{
    (void)state;
    struct trace t;
    make(&t);
    for (size_t i = 0; i < LAYER_SLOTS; i++)
        t.routed[i] = TRACE_NOT_ROUTED;
    assert_int_equal(trace_validate(&t, "a.h5", NULL), 0);
    trace_release(&t);
}

static void test_trace_views_follow_layer_window_and_token(void **state)
{
    (void)state;
    struct trace t;
    make(&t);
    size_t total = 0;
    for (size_t w = 0; w < t.windows; w++)
        total += trace_window_length(&t, w);
    assert_int_equal(total, POSITIONS);
    assert_int_equal(trace_window_length(&t, 1), t.window_starts[2] - t.window_starts[1]);
    assert_ptr_equal(trace_routed(&t, 2), t.routed + 2 * LAYER_SLOTS);
    assert_ptr_equal(trace_gates(&t, 1), t.gates + LAYER_SLOTS);
    const uint8_t *bytes;
    size_t size;
    assert_true(trace_token_text(&t, 499, &bytes, &size));
    assert_ptr_equal(bytes, t.vocab_bytes + t.vocab_offsets[499]);
    assert_int_equal(size, t.vocab_offsets[500] - t.vocab_offsets[499]);
    assert_false(trace_token_text(&t, 500, &bytes, &size));
    trace_release(&t);
    assert_null(t.routed);
    assert_false(trace_token_text(&t, 0, &bytes, &size));
}

static void test_trace_alloc_refuses_sizes_that_overflow(void **state)
{
    (void)state;
    struct trace t = {.positions = SIZE_MAX / 4, .layers = 8, .top_k = 2, .windows = 1};
    struct err err = {0};
    assert_int_equal(trace_alloc(&t, false, &err), ERR_NOMEM);
    assert_null(t.ids);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_needs_a_layer),
        cmocka_unit_test(test_trace_bounds_layers),
        cmocka_unit_test(test_trace_needs_an_expert),
        cmocka_unit_test(test_trace_bounds_experts),
        cmocka_unit_test(test_trace_needs_top_k),
        cmocka_unit_test(test_trace_has_top_k_at_most_experts),
        cmocka_unit_test(test_trace_bounds_shared_experts),
        cmocka_unit_test(test_trace_needs_a_vocabulary_size),
        cmocka_unit_test(test_trace_needs_a_window_length),
        cmocka_unit_test(test_trace_has_a_hexadecimal_config_hash),
        cmocka_unit_test(test_trace_has_a_whole_tokenizer_hash),
        cmocka_unit_test(test_trace_needs_positions),
        cmocka_unit_test(test_trace_needs_a_window),
        cmocka_unit_test(test_trace_has_ids_below_vocab_size),
        cmocka_unit_test(test_trace_begins_its_first_window_at_zero),
        cmocka_unit_test(test_trace_has_rising_window_starts),
        cmocka_unit_test(test_trace_has_window_starts_below_positions),
        cmocka_unit_test(test_trace_has_rising_layers),
        cmocka_unit_test(test_trace_has_experts_below_their_number),
        cmocka_unit_test(test_trace_has_distinct_experts),
        cmocka_unit_test(test_trace_has_no_nan_gates),
        cmocka_unit_test(test_trace_has_no_infinite_gates),
        cmocka_unit_test(test_trace_has_no_negative_gates),
        cmocka_unit_test(test_trace_begins_its_vocabulary_at_zero),
        cmocka_unit_test(test_trace_has_offsets_that_never_fall),
        cmocka_unit_test(test_trace_same_expert_at_two_positions_is_legal),
        cmocka_unit_test(test_trace_slots_not_routed_may_repeat),
        cmocka_unit_test(test_trace_views_follow_layer_window_and_token),
        cmocka_unit_test(test_trace_alloc_refuses_sizes_that_overflow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
