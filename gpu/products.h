/*
 * Products of matrices in the host's memory, on the caller's thread: for work that is cut into
 * items by src and lies on no device. Row-major float32, rows side by side; the results are the
 * same bytes whatever other threads do. c is overwritten.
 */
#ifndef MOQA_GPU_PRODUCTS_H
#define MOQA_GPU_PRODUCTS_H

#include <stddef.h>

/* To be called before the first of them: each takes the caller's thread alone. */
void products_prepare(void);

/* c[m][n] = a[m][k] b[n][k]^T */
void products_nt(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);
/* c[m][n] = a[m][k] b[k][n] */
void products_nn(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);
/* c[m][n] = a[k][m]^T b[k][n] */
void products_tn(size_t m, size_t n, size_t k, const float *a, const float *b, float *c);

#endif
