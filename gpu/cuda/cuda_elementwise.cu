/* Kernels that take each element by itself: a thread an element. */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

static __device__ inline size_t element()
{
    return (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
}

static __device__ inline float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* As gpu/cpu/cpu_tensor.c does it: subnormal numbers come out right, infinities and NaN get their
 * exponent set. */
static __device__ inline float from_f16(uint16_t half)
{
    float scaled = from_bits((uint32_t)(half & 0x7fffu) << 13) * 0x1p112f;
    uint32_t bits;
    memcpy(&bits, &scaled, sizeof bits);
    bits |= (half & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0u;
    return from_bits(bits | (uint32_t)(half & 0x8000u) << 16);
}

/* Numbers of enum backend_source. */
enum { FROM_F64, FROM_F32, FROM_F16, FROM_BF16 };

static __global__ void __launch_bounds__(CUDA_THREADS)
    convert(float *out, const void *in, int source, size_t count)
{
    size_t i = element();
    if (i >= count)
        return;
    if (source == FROM_F64)
        out[i] = (float)((const double *)in)[i];
    else if (source == FROM_F32)
        out[i] = ((const float *)in)[i];
    else if (source == FROM_F16)
        out[i] = from_f16(((const uint16_t *)in)[i]);
    else
        out[i] = from_bits((uint32_t)((const uint16_t *)in)[i] << 16);
}

cudaError_t cuda_k_convert(cudaStream_t s, float *out, const void *in, int source, size_t count)
{
    return CUDA_LAUNCH(convert, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, out, in, source,
                       count);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    widen(double *out, const float *in, size_t count)
{
    size_t i = element();
    if (i < count)
        out[i] = in[i];
}

cudaError_t cuda_k_widen(cudaStream_t s, double *out, const float *in, size_t count)
{
    return CUDA_LAUNCH(widen, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, out, in, count);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    narrow(float *out, const double *in, size_t count)
{
    size_t i = element();
    if (i < count)
        out[i] = (float)in[i];
}

cudaError_t cuda_k_narrow(cudaStream_t s, float *out, const double *in, size_t count)
{
    return CUDA_LAUNCH(narrow, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, out, in, count);
}

/* A row a block of x; the threads share its columns. */
static __global__ void __launch_bounds__(CUDA_THREADS)
    rows_of(float *out, const float *x, const uint32_t *row, size_t columns)
{
    const float *from = x + row[blockIdx.x] * columns;
    float *to = out + blockIdx.x * columns;
    for (size_t i = threadIdx.x; i < columns; i += CUDA_THREADS)
        to[i] = from[i];
}

cudaError_t cuda_k_rows(cudaStream_t s, float *out, const float *x, const uint32_t *row, size_t n,
                        size_t columns)
{
    return CUDA_LAUNCH(rows_of, (unsigned)n, CUDA_THREADS, s, out, x, row, columns);
}

static __global__ void __launch_bounds__(CUDA_THREADS) clamp_to(float *x, size_t count, float limit)
{
    size_t i = element();
    if (i >= count)
        return;
    float v = x[i];
    v = v > limit ? limit : v;
    x[i] = v < -limit ? -limit : v;
}

cudaError_t cuda_k_clamp(cudaStream_t s, float *x, size_t count, float limit)
{
    return CUDA_LAUNCH(clamp_to, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, x, count,
                       limit);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    add_bias(float *x, const float *bias, size_t count, size_t columns)
{
    size_t i = element();
    if (i < count)
        x[i] += bias[i % columns];
}

cudaError_t cuda_k_bias(cudaStream_t s, float *x, const float *bias, size_t n, size_t columns)
{
    return CUDA_LAUNCH(add_bias, cuda_blocks(n * columns, CUDA_THREADS), CUDA_THREADS, s, x, bias,
                       n * columns, columns);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    add_to(float *x, const float *y, const float *logit, size_t count, size_t columns)
{
    size_t i = element();
    if (i >= count)
        return;
    float scale = logit ? 1.0f / (1.0f + expf(-logit[i / columns])) : 1.0f;
    x[i] += scale * y[i];
}

cudaError_t cuda_k_add(cudaStream_t s, float *x, const float *y, const float *logit, size_t n,
                       size_t columns)
{
    return CUDA_LAUNCH(add_to, cuda_blocks(n * columns, CUDA_THREADS), CUDA_THREADS, s, x, y, logit,
                       n * columns, columns);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    swiglu(float *out, const float *gate, const float *up, size_t count)
{
    size_t i = element();
    if (i < count)
        out[i] = gate[i] / (1.0f + expf(-gate[i])) * up[i];
}

cudaError_t cuda_k_swiglu(cudaStream_t s, float *out, const float *gate, const float *up,
                          size_t count)
{
    return CUDA_LAUNCH(swiglu, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, out, gate, up,
                       count);
}
