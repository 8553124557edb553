/* Routing of tokens to experts (a thread a token), and the way back (a block a token). */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

/* The same steps in the same order as the CPU's route_row(), so that ties fall alike. */
static __global__ void __launch_bounds__(CUDA_THREADS) route(struct cuda_route_args r)
{
    size_t row = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (row >= r.n)
        return;
    const float *logits = r.logits + row * r.experts;
    float *p = r.p + row; /* neighbouring threads, neighbouring floats */
    float max = logits[0], sum = 0, chosen = 0;
    for (size_t e = 1; e < r.experts; e++)
        max = logits[e] > max ? logits[e] : max;
    for (size_t e = 0; e < r.experts; e++)
        sum += p[e * r.n] = expf(logits[e] - max);
    for (size_t e = 0; e < r.experts; e++)
        p[e * r.n] /= sum;
    for (size_t k = 0; k < r.top_k; k++) {
        size_t best = 0;
        float largest = p[0];
        for (size_t e = 1; e < r.experts; e++)
            if (p[e * r.n] > largest) {
                best = e;
                largest = p[e * r.n];
            }
        r.expert[row * r.top_k + k] = (uint16_t)best;
        r.gate[row * r.top_k + k] = largest;
        chosen += largest;
        p[best * r.n] = -1; /* below every probability */
    }
    for (size_t k = 0; r.normalize && k < r.top_k; k++)
        r.gate[row * r.top_k + k] /= chosen;
}

cudaError_t cuda_k_route(cudaStream_t s, const struct cuda_route_args *r)
{
    return CUDA_LAUNCH(route, cuda_blocks(r->n, CUDA_THREADS), CUDA_THREADS, s, *r);
}

struct choices {
    uint32_t slot[CUDA_TOP_K_MAX];
    float gate[CUDA_TOP_K_MAX];
};

static __global__ void __launch_bounds__(CUDA_THREADS)
    combine(float *x, const float *y, const uint32_t *slot, const float *gate, size_t columns,
            size_t top_k)
{
    CUDA_SHARED(choices, sorted);
    slot += blockIdx.x * top_k;
    gate += blockIdx.x * top_k;
    for (size_t k = threadIdx.x; k < top_k; k += CUDA_THREADS) {
        size_t rank = 0; /* slots differ, and rise with experts */
        for (size_t other = 0; other < top_k; other++)
            rank += slot[other] < slot[k];
        sorted.slot[rank] = slot[k];
        sorted.gate[rank] = gate[k];
    }
    __syncthreads();
    for (size_t i = threadIdx.x; i < columns; i += CUDA_THREADS) {
        float sum = 0;
        for (size_t k = 0; k < top_k; k++)
            sum += sorted.gate[k] * y[sorted.slot[k] * columns + i];
        x[blockIdx.x * columns + i] += sum;
    }
}

cudaError_t cuda_k_combine(cudaStream_t s, float *x, const float *y, const uint32_t *slot,
                           const float *gate, size_t tokens, size_t columns, size_t top_k)
{
    return CUDA_LAUNCH(combine, (unsigned)tokens, CUDA_THREADS, s, x, y, slot, gate, columns,
                       top_k);
}
