/*
 * What kernels are written in: CUDA C++ without anything that belongs to one architecture, so that
 * tests can compile the same source for the CPU (tests/gpu/emulation/). Only .cu files include
 * this. The rules that the emulation relies on:
 *   - kernels are started with CUDA_LAUNCH, whose value is the launch's cudaError_t;
 *   - a kernel has at most one piece of shared memory, declared with CUDA_SHARED, of less than
 *     48 KiB; no dynamic one;
 *   - a block's threads reach every __syncthreads() together, or leave the kernel before the first;
 *   - lanes talk through the functions below, with all 32 of them present;
 *   - tensor cores are used through cuda_tf32() and cuda_mma() alone.
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

/*
 * Tensor cores: sum[16][8] += a[16][8] b[8][8] by all lanes of a warp, operands TF32, the sum
 * float32. With row = lane / 4 and at = lane % 4 a lane holds
 *     a    [row][at], [row + 8][at], [row][at + 4], [row + 8][at + 4]
 *     b    [at][row], [at + 4][row]
 *     sum  [row][2 at], [row][2 at + 1], [row + 8][2 at], [row + 8][2 at + 1]
 * (PTX ISA, fragments of mma.m16n8k8 with .tf32). A product does not depend on the order of the
 * inner index, as long as a and b have the same.
 */
enum { CUDA_MMA_ROWS = 16, CUDA_MMA_COLUMNS = 8, CUDA_MMA_INNER = 8 };

#ifdef __CUDACC__
/* Rounded to TF32, to nearest, halves away from zero; NaN stays. */
static __device__ inline float cuda_tf32(float x)
{
    uint32_t bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

/* Operands must have passed cuda_tf32(). */
static __device__ inline void cuda_mma(float (&sum)[4], const float (&a)[4], const float (&b)[2])
{
    asm volatile("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
                 "{%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(__float_as_uint(a[0])), "r"(__float_as_uint(a[1])),
                   "r"(__float_as_uint(a[2])), "r"(__float_as_uint(a[3])),
                   "r"(__float_as_uint(b[0])), "r"(__float_as_uint(b[1])));
}
#endif

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
