#include "analysis_helpers.h"

#include <string.h>

double helper_uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static void route(struct trace *t, size_t at, unsigned holes, uint64_t *seed)
{
    for (size_t k = 0; k < t->top_k; k++) {
        double x = helper_uniform(seed);
        size_t e = (size_t)(x * x * (double)t->experts);
        for (bool taken = true; taken;) {
            taken = false;
            for (size_t j = 0; j < k; j++)
                taken |= t->routed[at + j] == e;
            e = taken ? (e + 1) % t->experts : e;
        }
        t->routed[at + k] = (uint16_t)e;
        if (t->gates)
            t->gates[at + k] = (float)helper_uniform(seed);
    }
    for (size_t k = 0; k < t->top_k; k++)
        if (helper_uniform(seed) * 100 < holes)
            t->routed[at + k] = TRACE_NOT_ROUTED;
}

void helper_trace(struct trace *t, size_t layers, size_t experts, size_t top_k, size_t positions,
                  size_t vocab, unsigned holes, bool gates, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->layers = layers;
    t->experts = experts;
    t->top_k = top_k;
    t->positions = positions;
    t->vocab = vocab;
    t->windows = 1;
    t->window = positions;
    if (trace_alloc(t, gates, NULL) < 0)
        return;
    for (size_t p = 0; p < positions; p++) {
        double x = helper_uniform(&seed);
        t->ids[p] = (uint32_t)(x * x * x * (double)vocab);
    }
    for (size_t l = 0; l < layers; l++) {
        t->layer_index[l] = (uint16_t)(2 * l + 1);
        for (size_t p = 0; p < positions; p++)
            route(t, (l * positions + p) * top_k, holes, &seed);
    }
}
