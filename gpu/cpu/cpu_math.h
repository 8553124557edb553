/*
 * Exponential function for loops that the compiler turns into vector code: no branch, no call.
 */
#ifndef MOQA_GPU_CPU_CPU_MATH_H
#define MOQA_GPU_CPU_CPU_MATH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "data/base/simd.h"

#define CPU_VECTOR SIMD_CLONES

/* e^x within 1.5 units in the last place; 0 below -87.3, infinity above 88.7; NaN stays NaN. */
static inline float cpu_exp(float x)
{
    float t = x * 0x1.715476p+0f;
    t = t < -127.0f ? -127.0f : t;
    t = t > 129.0f ? 129.0f : t;
    /* Adding 1.5 * 2^23 rounds to an integer, which then lies in the low bits. */
    float shifted = t + 0x1.8p+23f;
    float k = shifted - 0x1.8p+23f;
    float r = (x - k * 0x1.62ep-1f) - k * 0x1.0bfbe8p-15f;
    float p = 0x1.6850e4p-10f;
    p = p * r + 0x1.123bccp-7f;
    p = p * r + 0x1.555b98p-5f;
    p = p * r + 0x1.55548ep-3f;
    p = p * r + 0x1.fffff8p-2f;
    p = (p * r) * r + r + 1.0f;
    int32_t power = (int32_t)k;
    /* 2^k in two factors, so that k = 128 and k = -127 are exact. */
    uint32_t low = (uint32_t)((power >> 1) + 127) << 23;
    uint32_t high = (uint32_t)(power - (power >> 1) + 127) << 23;
    float a, b;
    memcpy(&a, &low, sizeof a);
    memcpy(&b, &high, sizeof b);
    float y = p * a * b;
    y = x > 88.72284f ? __builtin_inff() : y;
    y = x < -87.33654f ? 0.0f : y;
    return x != x ? x : y;
}

/* Partial sums of a reduction: their number is fixed, so that the order of additions does not
 * depend on the width of the vector unit. */
enum { CPU_LANES = 16 };

static inline float cpu_lanes_sum(const float lanes[CPU_LANES])
{
    float sum[CPU_LANES];
    memcpy(sum, lanes, sizeof sum);
    for (size_t width = CPU_LANES / 2; width > 0; width /= 2)
        for (size_t i = 0; i < width; i++)
            sum[i] += sum[i + width];
    return sum[0];
}

/* Largest of `count` values, at least one. */
static inline float cpu_max(const float *x, size_t count)
{
    float lanes[CPU_LANES];
    for (size_t l = 0; l < CPU_LANES; l++)
        lanes[l] = x[0];
    size_t whole = count - count % CPU_LANES;
    for (size_t i = 0; i < whole; i += CPU_LANES)
        for (size_t l = 0; l < CPU_LANES; l++)
            lanes[l] = x[i + l] > lanes[l] ? x[i + l] : lanes[l];
    float max = x[0];
    for (size_t l = 0; l < CPU_LANES; l++)
        max = lanes[l] > max ? lanes[l] : max;
    for (size_t i = whole; i < count; i++)
        max = x[i] > max ? x[i] : max;
    return max;
}

#endif
