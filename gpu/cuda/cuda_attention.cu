/*
 * Causal attention in one pass over the keys: a block of threads has 64 queries of one head, and
 * goes through the keys that they see 64 at a time; the softmax is rescaled as its maximum grows.
 * A thread holds 4 x 4 scores, and 4 rows x 4 columns of every 64 columns of the output.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

enum {
    TILE = 64,         /* queries, keys, and columns of a part of the output */
    DEPTH = 16,        /* columns, or keys, in shared memory at a time */
    PART = 4,          /* of a thread, in both directions */
    ACROSS = 16,       /* threads that share a row */
    STRIDE = TILE + 4, /* keeps rows on different banks, and four floats aligned */
    LOADS = TILE * DEPTH / CUDA_THREADS
};

struct attention_shared {
    alignas(16) float a[DEPTH][STRIDE]; /* queries, transposed */
    alignas(16) float b[DEPTH][STRIDE]; /* keys, transposed; or rows of values */
    alignas(16) float p[TILE][STRIDE];  /* [key][query] probabilities, not yet normalised */
};

/* Rows first .. first + TILE - 1 of x[limit][stride], columns from .. from + DEPTH - 1 of width;
 * what lies beyond is zero. */
static __device__ inline void load_transposed(float (*out)[STRIDE], const float *x, size_t stride,
                                              size_t first, size_t limit, size_t from, size_t width)
{
    CUDA_UNROLL
    for (int u = 0; u < LOADS; u++) {
        unsigned i = threadIdx.x + (unsigned)u * CUDA_THREADS, row = i / DEPTH, d = i % DEPTH;
        out[d][row] =
            first + row < limit && from + d < width ? x[(first + row) * stride + from + d] : 0.0f;
    }
}

/* sum[i][j] += a[i] b[j] */
static __device__ inline void add_outer(float (*sum)[PART], const float *a, const float *b)
{
    CUDA_UNROLL
    for (int i = 0; i < PART; i++)
        CUDA_UNROLL
    for (int j = 0; j < PART; j++)
        sum[i][j] += a[i] * b[j];
}

/* What a block works on. */
struct attention_block {
    const float *q, *k, *v;    /* the window's first row, at its head */
    size_t q_stride, v_stride; /* of keys and values */
    size_t query, key;         /* first of each */
    unsigned across, down;     /* the thread's place */
};

static __device__ inline void scores(float (*score)[PART], attention_shared &s,
                                     const attention_block &b, const cuda_attention_args &a)
{
    for (size_t from = 0; from < a.head_dim; from += DEPTH) {
        __syncthreads();
        load_transposed(s.a, b.q, b.q_stride, b.query, a.window, from, a.head_dim);
        load_transposed(s.b, b.k, b.v_stride, b.key, a.window, from, a.head_dim);
        __syncthreads();
        CUDA_UNROLL
        for (int d = 0; d < DEPTH; d++)
            add_outer(score, &s.a[d][b.down * PART], &s.b[d][b.across * PART]);
    }
}

/* Scores to probabilities in s.p; the running maximum and sum of the thread's rows, and by how much
 * what was found so far shrinks. */
static __device__ inline void soften(float (*score)[PART], float *max, float *sum, float *shrink,
                                     attention_shared &s, const attention_block &b,
                                     const cuda_attention_args &a)
{
    CUDA_UNROLL
    for (int i = 0; i < PART; i++) {
        size_t query = b.query + b.down * PART + (unsigned)i;
        float largest = -INFINITY, total = 0;
        CUDA_UNROLL
        for (int j = 0; j < PART; j++) {
            size_t key = b.key + b.across * PART + (unsigned)j;
            bool seen = key <= query && key < a.window && (!a.sliding || key + a.sliding > query);
            score[i][j] = seen ? score[i][j] * a.scale : -INFINITY;
            largest = score[i][j] > largest ? score[i][j] : largest;
        }
        largest = cuda_lanes_max(largest, ACROSS);
        largest = max[i] > largest ? max[i] : largest;
        shrink[i] = max[i] > -INFINITY ? expf(max[i] - largest) : 0.0f;
        CUDA_UNROLL
        for (int j = 0; j < PART; j++) {
            /* Only a masked score is the infinity itself: NaN goes on into the sums. */
            float p = score[i][j] == -INFINITY ? 0.0f : expf(score[i][j] - largest);
            s.p[b.across * PART + (unsigned)j][b.down * PART + (unsigned)i] = p;
            total += p;
        }
        sum[i] = sum[i] * shrink[i] + cuda_lanes_sum(total, ACROSS);
        max[i] = largest;
    }
}

/* out += p v for the columns of one part. */
static __device__ inline void add_values(float (*out)[PART], attention_shared &s,
                                         const attention_block &b, const cuda_attention_args &a,
                                         size_t column)
{
    for (unsigned from = 0; from < TILE; from += DEPTH) {
        __syncthreads();
        CUDA_UNROLL
        for (int u = 0; u < LOADS; u++) {
            unsigned i = threadIdx.x + (unsigned)u * CUDA_THREADS, row = i / TILE, c = i % TILE;
            size_t key = b.key + from + row;
            s.b[row][c] = key < a.window && column + c < a.head_dim
                              ? b.v[key * b.v_stride + column + c]
                              : 0.0f;
        }
        __syncthreads();
        CUDA_UNROLL
        for (int d = 0; d < DEPTH; d++)
            add_outer(out, &s.p[from + (unsigned)d][b.down * PART], &s.b[d][b.across * PART]);
    }
}

template <int PARTS> static __device__ inline void attend(const cuda_attention_args &a)
{
    CUDA_SHARED(attention_shared, s);
    size_t tiles = (a.window + TILE - 1) / TILE, head = blockIdx.y;
    size_t start = blockIdx.x / tiles * a.window;
    size_t kv_at = head / (a.heads / a.kv_heads) * a.head_dim;
    attention_block b;
    b.q_stride = a.heads * a.head_dim;
    b.v_stride = a.kv_heads * a.head_dim;
    b.q = a.q + start * b.q_stride + head * a.head_dim;
    b.k = a.k + start * b.v_stride + kv_at;
    b.v = a.v + start * b.v_stride + kv_at;
    b.query = blockIdx.x % tiles * TILE;
    b.across = threadIdx.x % ACROSS;
    b.down = threadIdx.x / ACROSS;
    float out[PARTS][PART][PART] = {}, max[PART], sum[PART] = {}, shrink[PART];
    for (int i = 0; i < PART; i++)
        max[i] = -INFINITY;
    b.key = a.sliding && b.query + 1 > a.sliding ? (b.query + 1 - a.sliding) / TILE * TILE : 0;
    for (; b.key <= b.query; b.key += TILE) {
        float score[PART][PART] = {};
        scores(score, s, b, a);
        soften(score, max, sum, shrink, s, b, a);
        CUDA_UNROLL
        for (int part = 0; part < PARTS; part++) {
            CUDA_UNROLL
            for (int i = 0; i < PART; i++)
                CUDA_UNROLL
            for (int j = 0; j < PART; j++)
                out[part][i][j] *= shrink[i];
            add_values(out[part], s, b, a, (size_t)part * TILE);
        }
    }
    float *to = a.out + start * b.q_stride + head * a.head_dim;
    CUDA_UNROLL
    for (int part = 0; part < PARTS; part++)
        CUDA_UNROLL
    for (int i = 0; i < PART; i++)
        CUDA_UNROLL
    for (int j = 0; j < PART; j++) {
        size_t query = b.query + b.down * PART + (unsigned)i;
        size_t column = (size_t)part * TILE + b.across * PART + (unsigned)j;
        if (query < a.window && column < a.head_dim)
            to[query * b.q_stride + column] = out[part][i][j] / sum[i];
    }
}

static __global__ void __launch_bounds__(CUDA_THREADS) attention_64(cuda_attention_args a)
{
    attend<1>(a);
}

static __global__ void __launch_bounds__(CUDA_THREADS) attention_128(cuda_attention_args a)
{
    attend<2>(a);
}

static __global__ void __launch_bounds__(CUDA_THREADS) attention_256(cuda_attention_args a)
{
    attend<4>(a);
}

cudaError_t cuda_k_attention(cudaStream_t s, const struct cuda_attention_args *a)
{
    size_t tiles = (a->window + TILE - 1) / TILE;
    dim3 grid((unsigned)(a->windows * tiles), (unsigned)a->heads);
    if (a->head_dim <= TILE)
        return CUDA_LAUNCH(attention_64, grid, CUDA_THREADS, s, *a);
    if (a->head_dim <= 2 * (size_t)TILE)
        return CUDA_LAUNCH(attention_128, grid, CUDA_THREADS, s, *a);
    return CUDA_LAUNCH(attention_256, grid, CUDA_THREADS, s, *a);
}
