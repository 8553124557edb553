#include "trace_make.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "data/base/mem.h"

uint64_t trace_make_random(uint64_t *state)
{
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    return *state * 0x2545f4914f6cdd1dULL;
}

static void fill_vocabulary(struct trace *t, uint64_t *state)
{
    t->vocab_offsets = mem_array(t->vocab + 1, sizeof *t->vocab_offsets, NULL);
    t->vocab_bytes = mem_array(9 * t->vocab, 1, NULL);
    assert_true(t->vocab_offsets && t->vocab_bytes);
    for (size_t v = 0; v < t->vocab; v++)
        t->vocab_offsets[v + 1] = t->vocab_offsets[v] + trace_make_random(state) % 9;
    for (size_t i = 0; i < t->vocab_offsets[t->vocab]; i++)
        t->vocab_bytes[i] = (uint8_t)(trace_make_random(state) >> 56);
}

/* The first K of a shuffle: distinct, each as likely as any other. */
static void fill_routing(struct trace *t, bool holes, uint64_t *state)
{
    uint16_t *deck = mem_array(t->experts, sizeof *deck, NULL);
    assert_non_null(deck);
    for (size_t e = 0; e < t->experts; e++)
        deck[e] = (uint16_t)e;
    size_t slot = 0;
    for (size_t row = 0; row < t->layers * t->positions; row++)
        for (size_t k = 0; k < t->top_k; k++, slot++) {
            size_t other = k + (size_t)(trace_make_random(state) >> 33) % (t->experts - k);
            uint16_t drawn = deck[other];
            deck[other] = deck[k];
            deck[k] = drawn;
            bool hole = holes && trace_make_random(state) >> 60 == 0;
            t->routed[slot] = hole ? TRACE_NOT_ROUTED : drawn;
            if (t->gates)
                t->gates[slot] = hole ? 0 : (float)(trace_make_random(state) >> 40) * 0x1p-24f;
        }
    free(deck);
}

void trace_make(struct trace *out, size_t layers, size_t positions, size_t experts, size_t top_k,
                bool gates, bool holes, uint64_t seed)
{
    uint64_t state = seed * 2 + 1;
    *out = (struct trace){
        .positions = positions,
        .windows = positions < 64 ? 1 : positions / 50,
        .layers = layers,
        .experts = experts,
        .top_k = top_k,
        .shared_experts = seed % 3,
        .vocab = 500,
        .window = 64,
        .norm_topk_prob = seed & 1,
        .creator = "test",
        .created = "2024-05-06T07:08:09Z",
        .model_name = "m\xc3\xb6"
                      "del",
        .model_type = "olmoe",
        .dataset = "random",
    };
    memset(out->config_sha256, 'a', 64);
    memset(out->tokenizer_sha256, '7', 64);
    assert_int_equal(trace_alloc(out, gates, NULL), 0);
    for (size_t p = 0; p < positions; p++)
        out->ids[p] = (uint32_t)(trace_make_random(&state) >> 40) % 500;
    for (size_t w = 1; w < out->windows; w++)
        out->window_starts[w] = 50 * w - trace_make_random(&state) % 20;
    for (size_t l = 0; l < layers; l++)
        out->layer_index[l] = (uint16_t)(2 * l + 1);
    fill_routing(out, holes, &state);
    fill_vocabulary(out, &state);
}

void trace_make_assert_equal(const struct trace *a, const struct trace *b)
{
    size_t slots = a->layers * a->positions * a->top_k;
    assert_int_equal(a->positions, b->positions);
    assert_int_equal(a->windows, b->windows);
    assert_int_equal(a->layers, b->layers);
    assert_int_equal(a->experts, b->experts);
    assert_int_equal(a->top_k, b->top_k);
    assert_int_equal(a->shared_experts, b->shared_experts);
    assert_int_equal(a->vocab, b->vocab);
    assert_int_equal(a->window, b->window);
    assert_int_equal(a->norm_topk_prob, b->norm_topk_prob);
    assert_string_equal(a->creator, b->creator);
    assert_string_equal(a->created, b->created);
    assert_string_equal(a->model_name, b->model_name);
    assert_string_equal(a->model_type, b->model_type);
    assert_string_equal(a->dataset, b->dataset);
    assert_string_equal(a->config_sha256, b->config_sha256);
    assert_string_equal(a->tokenizer_sha256, b->tokenizer_sha256);
    assert_memory_equal(a->ids, b->ids, a->positions * sizeof *a->ids);
    assert_memory_equal(a->window_starts, b->window_starts, a->windows * sizeof *a->window_starts);
    assert_memory_equal(a->layer_index, b->layer_index, a->layers * sizeof *a->layer_index);
    assert_memory_equal(a->routed, b->routed, slots * sizeof *a->routed);
    assert_int_equal(!a->gates, !b->gates);
    if (a->gates)
        assert_memory_equal(a->gates, b->gates, slots * sizeof *a->gates);
    assert_int_equal(!a->vocab_offsets, !b->vocab_offsets);
    if (!a->vocab_offsets)
        return;
    assert_memory_equal(a->vocab_offsets, b->vocab_offsets, (a->vocab + 1) * sizeof(uint64_t));
    assert_memory_equal(a->vocab_bytes, b->vocab_bytes, a->vocab_offsets[a->vocab]);
}
