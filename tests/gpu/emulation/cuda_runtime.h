/* The part of CUDA C++ that the kernels of gpu/cuda use, for a plain C++ compiler. */
#ifndef MOQA_TESTS_EMULATION_CUDA_RUNTIME_H
#define MOQA_TESTS_EMULATION_CUDA_RUNTIME_H

#include <cuda_runtime_api.h>
#include <math.h>
#include <string.h>

#include "emulation_block.h"
#include "emulation_mma.h"
#include "emulation_runtime.h"

#define __global__
#define __device__
#define __launch_bounds__(...)

#define threadIdx (emulation_place.thread)
#define blockIdx (emulation_place.block)
#define blockDim (emulation_place.block_dim)
#define gridDim (emulation_place.grid_dim)

struct dim3 : emulation_index {
    dim3(unsigned across, unsigned down = 1, unsigned deep = 1)
        : emulation_index{across, down, deep}
    {
    }
};

static inline void __syncthreads()
{
    emulation_barrier();
}

template <typename T> T __shfl_xor_sync(unsigned, T value, int mask)
{
    T other;
    emulation_exchange(&other, &value, sizeof value, (unsigned)mask);
    return other;
}

/* gpu/cuda/cuda_device.h says what they are. */
static inline float cuda_tf32(float x)
{
    return emulation_tf32(x);
}

static inline void cuda_mma(float (&sum)[4], const float (&a)[4], const float (&b)[2])
{
    emulation_mma(sum, a, b);
}

template <typename F> void emulation_body(void *body)
{
    (*static_cast<F *>(body))();
}

template <typename F> cudaError_t emulation_launch(dim3 grid, dim3 block, F body)
{
    cudaError_t code = emulation_gate("kernel");
    if (code != cudaSuccess)
        return code;
    return emulation_run(grid, block, emulation_body<F>, &body) == 0
               ? cudaSuccess
               : cudaErrorInvalidConfiguration;
}

#define CUDA_LAUNCH(kernel, grid, block, stream, ...) \
    ((void)(stream), emulation_launch(grid, block, [&] { kernel(__VA_ARGS__); }))
#define CUDA_UNROLL
#define CUDA_SHARED(type, name) type &name = *static_cast<type *>(emulation_shared(sizeof(type)))

#endif
