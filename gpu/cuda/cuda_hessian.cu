/*
 * Hessians where they were summed: H = (sum + borrowed * mean) / divisor, of which only lower
 * triangles are read. A block has a row, its threads share the columns.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

static __device__ inline double value_at(const cuda_hessian_args &h, size_t at)
{
    double borrowed = h.mean ? h.borrowed * h.mean[at] : 0.0;
    return (h.sum[at] + borrowed) / h.divisor;
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    add_matrix(double *out, const double *in, size_t d)
{
    size_t row = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column <= row)
        out[row * d + column] += in[row * d + column];
}

cudaError_t cuda_k_add_matrix(cudaStream_t s, double *out, const double *in, size_t d)
{
    return CUDA_LAUNCH(add_matrix, dim3(cuda_blocks(d, CUDA_THREADS), (unsigned)d), CUDA_THREADS, s,
                       out, in, d);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    divide_matrix(double *x, double divisor, size_t d)
{
    size_t row = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column <= row)
        x[row * d + column] /= divisor;
}

cudaError_t cuda_k_divide_matrix(cudaStream_t s, double *x, double divisor, size_t d)
{
    return CUDA_LAUNCH(divide_matrix, dim3(cuda_blocks(d, CUDA_THREADS), (unsigned)d), CUDA_THREADS,
                       s, x, divisor, d);
}

/* Threads that find something wrong all write the same. */
static __global__ void __launch_bounds__(CUDA_THREADS)
    diagonal(double *out, int *infinite, cuda_hessian_args h)
{
    size_t row = blockIdx.x;
    for (size_t column = threadIdx.x; column <= row; column += CUDA_THREADS) {
        double value = value_at(h, row * h.d + column);
        if (!isfinite(value))
            infinite[row] = 1;
        if (column == row)
            out[row] = value;
    }
}

cudaError_t cuda_k_diagonal(cudaStream_t s, double *out, int *infinite,
                            const struct cuda_hessian_args *h)
{
    return CUDA_LAUNCH(diagonal, (unsigned)h->d, CUDA_THREADS, s, out, infinite, *h);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    permute(double *out, cuda_hessian_args h, const uint32_t *order, const double *diagonal)
{
    size_t row = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column >= h.d)
        return;
    double value = 0.0;
    if (column == row) {
        value = diagonal[order[row]];
    } else if (column < row) {
        size_t a = order[row], b = order[column];
        value = value_at(h, a > b ? a * h.d + b : b * h.d + a);
    }
    out[row * h.d + column] = value;
}

cudaError_t cuda_k_permute(cudaStream_t s, double *out, const struct cuda_hessian_args *h,
                           const uint32_t *order, const double *diagonal)
{
    return CUDA_LAUNCH(permute, dim3(cuda_blocks(h->d, CUDA_THREADS), (unsigned)h->d), CUDA_THREADS,
                       s, out, *h, order, diagonal);
}
