#include "src/quant/vectors.h"

#include "data/base/simd.h"

SIMD_CLONES double vectors_dot(const double *a, const double *b, size_t count)
{
    double lanes[VECTORS_LANES] = {0}, sum = 0.0;
    size_t whole = count - count % VECTORS_LANES;
    for (size_t j = 0; j < whole; j += VECTORS_LANES)
        for (size_t l = 0; l < VECTORS_LANES; l++)
            lanes[l] += a[j + l] * b[j + l];
    for (size_t j = whole; j < count; j++)
        lanes[j - whole] += a[j] * b[j];
    for (size_t l = 0; l < VECTORS_LANES; l++)
        sum += lanes[l];
    return sum;
}
