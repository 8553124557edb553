#include "gpu/products.h"

#include "gpu/cpu/cpu_backend.h"

void products_prepare(void)
{
    cpu_blas_init();
}

void products_nt(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    cpu_gemm_nt(m, n, k, a, k, b, k, c, n);
}

void products_nn(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    cpu_gemm_nn(m, n, k, a, k, b, n, c, n);
}

void products_tn(size_t m, size_t n, size_t k, const float *a, const float *b, float *c)
{
    cpu_gemm_tn(m, n, k, a, m, b, n, c, n);
}
