/* Root-mean-square normalization (a warp a group) and rotary positions (a thread a pair). */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

enum { GROUPS_A_BLOCK = CUDA_THREADS / CUDA_WARP };

static __global__ void __launch_bounds__(CUDA_THREADS)
    rms_norm(float *out, const float *x, const float *weight, size_t groups, size_t group,
             float eps)
{
    size_t index = (size_t)blockIdx.x * GROUPS_A_BLOCK + threadIdx.x / CUDA_WARP;
    size_t lane = threadIdx.x % CUDA_WARP, at = index * group;
    float sum = 0;
    if (index >= groups) /* a whole warp, and no barrier follows */
        return;
    for (size_t i = lane; i < group; i += CUDA_WARP)
        sum += x[at + i] * x[at + i];
    sum = cuda_lanes_sum(sum, CUDA_WARP);
    float scale = 1.0f / sqrtf(sum / (float)group + eps);
    for (size_t i = lane; i < group; i += CUDA_WARP)
        out[at + i] = x[at + i] * scale * weight[i];
}

cudaError_t cuda_k_rms_norm(cudaStream_t s, float *out, const float *x, const float *weight,
                            size_t groups, size_t group, float eps)
{
    return CUDA_LAUNCH(rms_norm, cuda_blocks(groups, GROUPS_A_BLOCK), CUDA_THREADS, s, out, x,
                       weight, groups, group, eps);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    rope(float *x, const float *frequency, size_t pairs, size_t heads, size_t half, size_t window)
{
    size_t index = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (index >= pairs)
        return;
    size_t i = index % half, head = index / half; /* over rows and heads */
    /* The angle itself is rounded to float32, as in the models' own code. */
    float angle = (float)(head / heads % window) * frequency[i];
    float sine = sinf(angle), cosine = cosf(angle);
    float *at = x + head * 2 * half + i, a = at[0], b = at[half];
    at[0] = a * cosine - b * sine;
    at[half] = b * cosine + a * sine;
}

cudaError_t cuda_k_rope(cudaStream_t s, float *x, const float *frequency, size_t n, size_t heads,
                        size_t half, size_t window)
{
    size_t pairs = n * heads * half;
    return CUDA_LAUNCH(rope, cuda_blocks(pairs, CUDA_THREADS), CUDA_THREADS, s, x, frequency, pairs,
                       heads, half, window);
}
