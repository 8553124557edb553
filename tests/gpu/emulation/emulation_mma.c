/* Fragments as the PTX ISA has them for mma.m16n8k8 with .tf32. */
#include "emulation_mma.h"

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "emulation_block.h"

enum { ROWS = 16, COLUMNS = 8, INNER = 8, A_VALUES = 4, B_VALUES = 2, LOW_BITS = 0x1fff };

/* Operands of one lane. */
struct lane {
    float a[A_VALUES], b[B_VALUES];
};

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

float emulation_tf32(float x)
{
    uint32_t bits = bits_of(x);
    if (isnan(x))
        return NAN;
    if (isfinite(x))
        bits += (LOW_BITS + 1) / 2; /* may carry into the exponent */
    bits &= ~(uint32_t)LOW_BITS;
    memcpy(&x, &bits, sizeof x);
    return x;
}

float emulation_cut(double x)
{
    float near = (float)x;
    return fabs((double)near) > fabs(x) ? nextafterf(near, 0.0f) : near;
}

static void check(float x)
{
    if (bits_of(x) & LOW_BITS)
        emulation_stop("an operand of tensor cores that is not rounded to TF32");
}

void emulation_mma(float *sum, const float *a, const float *b)
{
    struct lane own, warp[EMULATION_WARP];
    float left[ROWS][INNER], right[INNER][COLUMNS];
    memcpy(own.a, a, sizeof own.a);
    memcpy(own.b, b, sizeof own.b);
    for (unsigned i = 0; i < A_VALUES; i++)
        check(a[i]);
    for (unsigned i = 0; i < B_VALUES; i++)
        check(b[i]);
    emulation_gather(warp, &own, sizeof own);
    for (unsigned lane = 0; lane < EMULATION_WARP; lane++) {
        unsigned group = lane / 4, member = lane % 4;
        for (unsigned i = 0; i < A_VALUES; i++)
            left[group + i % 2 * 8][member + i / 2 * 4] = warp[lane].a[i];
        for (unsigned i = 0; i < B_VALUES; i++)
            right[member + i * 4][group] = warp[lane].b[i];
    }
    unsigned lane = emulation_lane(), group = lane / 4, member = lane % 4;
    for (unsigned i = 0; i < 4; i++) {
        double part = 0.0;
        for (unsigned k = 0; k < INNER; k++)
            part += (double)left[group + i / 2 * 8][k] * (double)right[k][2 * member + i % 2];
        sum[i] = emulation_cut((double)sum[i] + part);
    }
}
