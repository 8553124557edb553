/*
 * A trace of the size of OLMoE-1B-7B, made in memory: token ids follow Zipf's law over all types,
 * and every type has favourite experts that a position takes most of the time, the rest is drawn
 * from a skewed popularity. The same on every machine.
 */
#ifndef MOQA_TESTS_BENCH_SYNTHETIC_H
#define MOQA_TESTS_BENCH_SYNTHETIC_H

#include "data/trace.h"

enum {
    SYNTHETIC_LAYERS = 16,
    SYNTHETIC_EXPERTS = 64,
    SYNTHETIC_TOP_K = 8,
    SYNTHETIC_TYPES = 50304,
    SYNTHETIC_POSITIONS = 262144,
    SYNTHETIC_WINDOW = 2048
};

/* With gates, and with a vocabulary of made-up words. */
ERR_CHECK int synthetic_trace(struct trace *out, struct err *err);

double synthetic_uniform(void); /* 0 <= x < 1, the same sequence everywhere */

#endif
