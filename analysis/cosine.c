#include "analysis/cosine.h"

#include <math.h>

void cosine_add(double *gram, const float *const *rows, size_t experts, size_t width)
{
    for (size_t i = 0; i < experts; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = 0;
            for (size_t k = 0; k < width; k++)
                sum += (double)rows[i][k] * rows[j][k];
            gram[i * experts + j] += sum;
            if (i != j)
                gram[j * experts + i] += sum;
        }
}

void cosine_finish(double *gram, size_t experts)
{
    for (size_t i = 0; i < experts; i++)
        for (size_t j = 0; j < i; j++) {
            double norm = sqrt(gram[i * experts + i]) * sqrt(gram[j * experts + j]);
            double value = norm > 0 ? gram[i * experts + j] / norm : 0;
            gram[i * experts + j] = gram[j * experts + i] = value;
        }
    for (size_t i = 0; i < experts; i++)
        gram[i * experts + i] = gram[i * experts + i] > 0 ? 1 : 0;
}
