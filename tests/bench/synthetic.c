#include "synthetic.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"

enum {
    LAYERS = SYNTHETIC_LAYERS,
    EXPERTS = SYNTHETIC_EXPERTS,
    TOP_K = SYNTHETIC_TOP_K,
    TYPES = SYNTHETIC_TYPES
};

static uint64_t random_state = 88172645463325252u;

static uint64_t next_random(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

double synthetic_uniform(void)
{
    return (double)(next_random() >> 11) * 0x1p-53;
}

static uint32_t hash(uint32_t x)
{
    x = (x ^ x >> 16) * 0x7feb352du;
    x = (x ^ x >> 15) * 0x846ca68bu;
    return x ^ x >> 16;
}

/* Every type occurs, the rest of the positions follows 1/rank. */
static void fill_ids(struct trace *t)
{
    double *cumulative = malloc(TYPES * sizeof *cumulative), sum = 0;
    for (size_t r = 0; r < TYPES; r++)
        cumulative[r] = sum += 1 / (double)(r + 1);
    for (size_t p = 0; p < t->positions; p++) {
        size_t low = 0, high = TYPES - 1;
        double x = synthetic_uniform() * sum;
        while (low < high) {
            size_t middle = (low + high) / 2;
            if (cumulative[middle] < x)
                low = middle + 1;
            else
                high = middle;
        }
        t->ids[p] = (uint32_t)(p % 5 == 0 && p / 5 < TYPES ? p / 5 : low);
    }
    free(cumulative);
}

static uint16_t draw_expert(uint32_t id, size_t layer, size_t slot)
{
    if (synthetic_uniform() < 0.6)
        return (uint16_t)(hash(id * 31 + (uint32_t)(layer * 1009 + slot)) % EXPERTS);
    double x = synthetic_uniform();
    return (uint16_t)((hash((uint32_t)layer) + (uint32_t)(x * x * EXPERTS)) % EXPERTS);
}

static void fill_routing(struct trace *t)
{
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t p = 0; p < t->positions; p++) {
            size_t at = (l * t->positions + p) * TOP_K;
            uint64_t taken = 0;
            for (size_t k = 0; k < TOP_K; k++) {
                uint16_t e = draw_expert(t->ids[p], l, k);
                while (taken >> e & 1)
                    e = (uint16_t)((e + 1) % EXPERTS);
                taken |= (uint64_t)1 << e;
                t->routed[at + k] = e;
                t->gates[at + k] = (float)(0.3 / (double)(k + 1) * (0.5 + synthetic_uniform()));
            }
        }
}

/* Pronounceable words of two to five syllables, as long as real tokens on the average. */
static int fill_vocabulary(struct trace *t, struct err *err)
{
    static const char consonants[] = "bdfgklmnprstvz", vowels[] = "aeiou";
    size_t used = 0;
    t->vocab_offsets = mem_array(t->vocab + 1, sizeof *t->vocab_offsets, err);
    t->vocab_bytes = mem_array(t->vocab * 12, 1, err);
    if (!t->vocab_offsets || !t->vocab_bytes)
        return ERR_NOMEM;
    for (size_t id = 0; id < t->vocab; id++) {
        uint32_t bits = hash((uint32_t)id);
        t->vocab_offsets[id] = used;
        if (bits % 3)
            t->vocab_bytes[used++] = ' ';
        for (uint32_t i = 0; i < 2 + bits % 4; i++) {
            uint32_t part = hash((uint32_t)id * 8 + i);
            t->vocab_bytes[used++] = (uint8_t)consonants[part % (sizeof consonants - 1)];
            t->vocab_bytes[used++] = (uint8_t)vowels[part / 97 % (sizeof vowels - 1)];
        }
    }
    t->vocab_offsets[t->vocab] = used;
    return 0;
}

int synthetic_trace(struct trace *out, struct err *err)
{
    *out = (struct trace){.positions = SYNTHETIC_POSITIONS,
                          .windows = SYNTHETIC_POSITIONS / SYNTHETIC_WINDOW,
                          .layers = LAYERS,
                          .experts = EXPERTS,
                          .top_k = TOP_K,
                          .vocab = TYPES,
                          .window = SYNTHETIC_WINDOW};
    snprintf(out->creator, sizeof out->creator, "bench");
    snprintf(out->model_name, sizeof out->model_name, "synthetic OLMoE-1B-7B");
    snprintf(out->model_type, sizeof out->model_type, "olmoe");
    int rc = trace_alloc(out, true, err);
    if (rc == 0)
        rc = fill_vocabulary(out, err);
    if (rc < 0) {
        trace_release(out);
        return rc;
    }
    fill_ids(out);
    fill_routing(out);
    for (size_t l = 0; l < LAYERS; l++)
        out->layer_index[l] = (uint16_t)l;
    for (size_t w = 0; w < out->windows; w++)
        out->window_starts[w] = w * out->window;
    return 0;
}
