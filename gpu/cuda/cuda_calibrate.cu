/* Sums over tokens that end in double precision. */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

static __global__ void __launch_bounds__(CUDA_THREADS)
    round_to_tf32(float *out, const float *x, size_t count)
{
    size_t i = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (i < count)
        out[i] = cuda_tf32(x[i]);
}

cudaError_t cuda_k_round_tf32(cudaStream_t s, float *out, const float *x, size_t count)
{
    return CUDA_LAUNCH(round_to_tf32, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, out, x,
                       count);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    add_lower(double *h, const float *part, size_t d)
{
    size_t row = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column <= row)
        h[row * d + column] += (double)part[row * d + column];
}

cudaError_t cuda_k_add_lower(cudaStream_t s, double *h, const float *part, size_t d)
{
    return CUDA_LAUNCH(add_lower, dim3(cuda_blocks(d, CUDA_THREADS), (unsigned)d), CUDA_THREADS, s,
                       h, part, d);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    add_absolute(double *sum, const float *x, const uint64_t *offset, size_t columns)
{
    size_t expert = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column >= columns)
        return;
    double total = sum[expert * columns + column];
    for (size_t row = offset[expert]; row < offset[expert + 1]; row++)
        total += fabs((double)x[row * columns + column]);
    sum[expert * columns + column] = total;
}

cudaError_t cuda_k_abs(cudaStream_t s, double *sum, const float *x, const uint64_t *offset,
                       size_t experts, size_t columns)
{
    return CUDA_LAUNCH(add_absolute, dim3(cuda_blocks(columns, CUDA_THREADS), (unsigned)experts),
                       CUDA_THREADS, s, sum, x, offset, columns);
}

enum { WARPS = CUDA_THREADS / CUDA_WARP };

struct warp_results {
    float max[WARPS];
    double sum[WARPS];
};

static __global__ void __launch_bounds__(CUDA_THREADS)
    nll_row(double *nll, const float *logits, const int64_t *target, size_t vocab)
{
    CUDA_SHARED(warp_results, warp);
    const float *row = logits + blockIdx.x * vocab;
    float max = -INFINITY;
    for (size_t i = threadIdx.x; i < vocab; i += CUDA_THREADS)
        max = row[i] > max ? row[i] : max;
    max = cuda_lanes_max(max, CUDA_WARP);
    if (threadIdx.x % CUDA_WARP == 0)
        warp.max[threadIdx.x / CUDA_WARP] = max;
    __syncthreads();
    for (int w = 0; w < WARPS; w++)
        max = warp.max[w] > max ? warp.max[w] : max;
    double sum = 0;
    for (size_t i = threadIdx.x; i < vocab; i += CUDA_THREADS)
        sum += (double)expf(row[i] - max);
    sum = cuda_lanes_sum(sum, CUDA_WARP);
    if (threadIdx.x % CUDA_WARP == 0)
        warp.sum[threadIdx.x / CUDA_WARP] = sum;
    __syncthreads();
    if (threadIdx.x)
        return;
    sum = 0;
    for (int w = 0; w < WARPS; w++)
        sum += warp.sum[w];
    int64_t chosen = target[blockIdx.x];
    nll[blockIdx.x] = chosen < 0 ? 0.0 : (double)max + log(sum) - (double)row[chosen];
}

cudaError_t cuda_k_nll(cudaStream_t s, double *nll, const float *logits, const int64_t *target,
                       size_t rows, size_t vocab)
{
    return CUDA_LAUNCH(nll_row, (unsigned)rows, CUDA_THREADS, s, nll, logits, target, vocab);
}
