/*
 * Every operation of a backend against the same on the CPU: random shapes with odd sizes, inputs of
 * high entropy, outputs that start as NaN and must stay so behind the rows in use. Needs no test
 * library, so that it also builds on a bare machine with a GPU.
 */
#ifndef MOQA_TESTS_GPU_PARITY_H
#define MOQA_TESTS_GPU_PARITY_H

#include "gpu/backend.h"

struct parity_result {
    const char *name;
    size_t trials;
    double worst;     /* |difference| / (RMS of the reference + |reference|), over all trials */
    double tolerance; /* of `worst` */
    double unequal;   /* part of whole numbers (codes, experts) that differ, in the worst trial */
    double allowed;   /* of `unequal` */
    bool good;
    char message[256]; /* "" or what went wrong first */
};

size_t parity_count(void); /* of operations */
const char *parity_name(size_t index);

enum parity_sizes { PARITY_SMALL, PARITY_LARGE };

/* Operation number `index`. PARITY_LARGE: shapes up to thousands, for a device; else up to about a
 * hundred. tf32: `other` may round the operands of products to it. */
struct parity_result parity_run(size_t index, struct backend *cpu, struct backend *other,
                                size_t trials, enum parity_sizes sizes, bool tf32);

#endif
