/*
 * Inside of the parity checks: what the operations' cases are made of. A case draws shapes and
 * inputs, runs an operation on the trial's backend and hands over the results; parity.c runs it on
 * both backends with the same seed and compares.
 */
#ifndef MOQA_TESTS_GPU_PARITY_TRIAL_H
#define MOQA_TESTS_GPU_PARITY_TRIAL_H

#include <stdint.h>

#include "gpu/backend.h"

/* One trial on one backend. The same seed draws the same shapes and inputs. */
struct trial {
    struct backend *b;
    struct backend *cpu; /* prepares inputs */
    uint64_t seed;
    bool large;
    double *values; /* results */
    size_t count, capacity;
    uint32_t *labels; /* results that are whole numbers */
    size_t labels_count, labels_capacity;
    struct err err;
    bool spilled; /* wrote behind the rows in use */
};

struct parity_case {
    const char *name;
    void (*run)(struct trial *t);
    double tolerance, allowed; /* of struct parity_result */
    double tf32;               /* tolerance with TF32; 0: the same */
};

/* One file a family of operations, each with its cases. */
struct parity_family {
    const struct parity_case *cases;
    size_t count;
};
extern const struct parity_family parity_forward, parity_experts, parity_calibrate, parity_factor,
    parity_grid, parity_sweep;
#define PARITY_FAMILY(cases)                   \
    {                                          \
        cases, sizeof(cases) / sizeof *(cases) \
    }

/*
 * Tolerances are a few units of single precision times the length of the sums. TF32 takes up to
 * 2^-10 of each operand; where both have all their bits, as here, a product of one term loses up to
 * 2^-9.
 */
#define PARITY_TF32 3e-3

/* An operation of the trial's backend, unless something failed before. */
#define OPS (t->b->ops)
#define RUN(call) (t->err.code ? 0 : (call))

/* --- Drawing: below: 0 .. limit - 1; size: 1 .. small, or up to `big` on a device, now and then
 * the ends; uniform: -1 .. 1; positive: X^T X / n and a little of the unit matrix, [d][d]. Memory
 * is the caller's. --- */
uint64_t trial_draw(struct trial *t);
size_t trial_below(struct trial *t, size_t limit);
size_t trial_size(struct trial *t, size_t small, size_t big);
double trial_uniform(struct trial *t);
void *trial_get(size_t count, size_t bytes); /* zeroed */
float *trial_floats(struct trial *t, size_t count, double scale);
double *trial_positive(struct trial *t, size_t d);

/* Tokens that choose experts at random, low ones more often; some experts get none. */
struct crowd {
    struct backend_groups g;
    size_t n, experts, top_k, slots;
};
void trial_crowd(struct trial *t, struct crowd *c);

/* --- Results --- */
void trial_emit(struct trial *t, double value);
void trial_label(struct trial *t, uint32_t value);

/* --- Tensors. working: with spare rows behind; NaN where `values` is NULL, and in the spare ones.
 * take: emits the rows in use, looks at the spare ones, and frees. --- */
struct tensor *trial_empty(struct trial *t, enum tensor_kind kind, size_t rows, size_t columns);
struct tensor *trial_put(struct trial *t, size_t rows, size_t columns, const float *values);
struct tensor *trial_working(struct trial *t, size_t rows, size_t columns, const float *values);
void trial_take(struct trial *t, struct tensor *x, size_t rows, size_t columns);
void trial_drop(struct trial *t, struct tensor *x);

#endif
