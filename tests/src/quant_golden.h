/* The golden matrices of tests/golden/gptq.json and gptq.safetensors. */
#ifndef MOQA_TESTS_SRC_QUANT_GOLDEN_H
#define MOQA_TESTS_SRC_QUANT_GOLDEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct golden_case {
    char name[64];
    size_t rows, columns;
    unsigned bits, channel_bits;
    size_t group_size;
    int order; /* enum setting_order */
    bool symmetric;
    double damping, loss, loss_rtn;
    size_t channels;
    uint32_t channel[64];
    float *weight;       /* [rows][columns] */
    double *hessian;     /* [columns][columns] */
    uint8_t *codes;      /* [rows][columns] */
    double *scale;       /* [rows][columns] */
    double *zero;        /* [rows][columns] */
    double *dequantized; /* [rows][columns] */
    double *score;       /* [columns] or NULL */
};

/* All cases; fails the test where the files cannot be read. */
struct golden_case *golden_load(size_t *count);
void golden_free(struct golden_case *cases, size_t count);

#endif
