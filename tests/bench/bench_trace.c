/*
 * Saving and loading a trace of the size of OLMoE-1B-7B (16 layers, 64 experts, top-8) over
 * 262,144 positions, with and without gates. One JSON line a case. The floor is one pass over
 * the file's bytes and the trace's bytes in memory by memcpy.
 *
 *     bench_trace [POSITIONS]
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "data/trace_h5.h"

enum { LAYERS = 16, EXPERTS = 64, TOP_K = 8, VOCAB = 50304, WINDOW = 2048 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static uint64_t random_bits(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Experts of a position: distinct, skewed to the low ones as real routers are. */
static void fill(struct trace *t, uint64_t *state)
{
    for (size_t p = 0; p < t->positions; p++)
        t->ids[p] = (uint32_t)(random_bits(state) % VOCAB);
    for (size_t w = 0; w < t->windows; w++)
        t->window_starts[w] = w * WINDOW;
    for (size_t l = 0; l < t->layers; l++)
        t->layer_index[l] = (uint16_t)l;
    for (size_t row = 0; row < t->layers * t->positions; row++) {
        uint64_t taken = 0;
        for (size_t k = 0; k < TOP_K;) {
            uint64_t bits = random_bits(state);
            unsigned expert = (unsigned)(bits & (bits >> 8) % EXPERTS);
            if (taken >> expert & 1)
                continue;
            taken |= (uint64_t)1 << expert;
            t->routed[row * TOP_K + k] = (uint16_t)expert;
            if (t->gates)
                t->gates[row * TOP_K + k] = (float)(bits >> 40) * 0x1p-24f;
            k++;
        }
    }
}

static double copy_seconds(size_t bytes)
{
    char *from = malloc(bytes), *to = malloc(bytes);
    double best = 1e9;
    for (int i = 0; from && to && i < 3; i++) {
        memset(from, i, bytes);
        double start = now();
        memcpy(to, from, bytes);
        double taken = now() - start;
        best = taken < best ? taken : best;
    }
    free(from);
    free(to);
    return best;
}

static int run_case(const char *name, const struct trace *t, const char *path)
{
    struct err err = {0};
    double start = now();
    if (trace_h5_save(t, path, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    double save = now() - start, load = 1e9;
    for (int i = 0; i < 3; i++) {
        struct trace back;
        start = now();
        if (trace_h5_load(&back, path, NULL, &err) < 0) {
            fprintf(stderr, "%s\n", err.message);
            return 1;
        }
        double taken = now() - start;
        load = taken < load ? taken : load;
        trace_release(&back);
    }
    struct stat st;
    if (stat(path, &st) < 0)
        return 1;
    size_t slots = t->layers * t->positions * t->top_k;
    double floor = copy_seconds((size_t)st.st_size + slots * (t->gates ? 6 : 2));
    printf("{\"bench\": \"trace\", \"case\": \"%s\", \"positions\": %zu, \"file_bytes\": %lld, "
           "\"save_s\": %.3f, \"load_s\": %.3f, \"floor_s\": %.4f, \"load_ratio\": %.1f}\n",
           name, t->positions, (long long)st.st_size, save, load, floor, load / floor);
    return 0;
}

int main(int argc, char **argv)
{
    size_t positions = argc > 1 ? strtoul(argv[1], NULL, 10) : 262144;
    struct trace t = {
        .positions = positions,
        .windows = (positions + WINDOW - 1) / WINDOW,
        .layers = LAYERS,
        .experts = EXPERTS,
        .top_k = TOP_K,
        .vocab = VOCAB,
        .window = WINDOW,
        .creator = "bench",
        .model_name = "random",
        .model_type = "olmoe",
    };
    struct err err = {0};
    uint64_t state = 88172645463325252ULL;
    if (trace_alloc(&t, true, &err) < 0) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    fill(&t, &state);
    char path[64];
    snprintf(path, sizeof path, "bench-trace-%ld.h5", (long)getpid());
    int rc = run_case("gates", &t, path);
    free(t.gates);
    t.gates = NULL;
    if (rc == 0)
        rc = run_case("experts", &t, path);
    unlink(path);
    trace_release(&t);
    return rc;
}
