/*
 * What kernels are written in: CUDA C++ without anything that belongs to one architecture, so that
 * tests can compile the same source for the CPU (tests/gpu/emulation/). Only .cu files include
 * this. The rules that the emulation relies on:
 *   - kernels are started with CUDA_LAUNCH, whose value is the launch's cudaError_t;
 *   - a kernel has at most one piece of shared memory, declared with CUDA_SHARED, of less than
 *     48 KiB; no dynamic one;
 *   - a block's threads reach every __syncthreads() together, or leave the kernel before the first;
 *   - lanes talk through the functions below, with all 32 of them present.
 * Reductions run in a fixed order and no kernel adds to memory atomically: the same input gives the
 * same bytes on the same device.
 */
#ifndef MOQA_GPU_CUDA_CUDA_DEVICE_H
#define MOQA_GPU_CUDA_CUDA_DEVICE_H

#include <cuda_runtime.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __CUDACC__
#define CUDA_LAUNCH(kernel, grid, block, stream, ...) \
    (kernel<<<(grid), (block), 0, (stream)>>>(__VA_ARGS__), cudaGetLastError())
#define CUDA_SHARED(type, name) __shared__ type name
#define CUDA_UNROLL _Pragma("unroll")
#endif

enum { CUDA_WARP = 32, CUDA_THREADS = 256 };

/* Blocks of `size` that hold `count`. */
static inline unsigned cuda_blocks(size_t count, size_t size)
{
    return (unsigned)((count + size - 1) / size);
}

template <typename T> static __device__ inline T cuda_exchange(T value, int mask)
{
    return __shfl_xor_sync(0xffffffffu, value, mask);
}

/* Sum and maximum over `width` neighbouring lanes (a power of two), the same in all of them. */
template <typename T> static __device__ inline T cuda_lanes_sum(T value, int width)
{
    for (int mask = width / 2; mask > 0; mask /= 2)
        value += cuda_exchange(value, mask);
    return value;
}

template <typename T> static __device__ inline T cuda_lanes_max(T value, int width)
{
    for (int mask = width / 2; mask > 0; mask /= 2) {
        T other = cuda_exchange(value, mask);
        value = other > value ? other : value;
    }
    return value;
}

#endif
