/*
 * Causal attention on tensor cores, in one pass over the keys: a warp has 16 queries of one head, a
 * block 128 of them; keys and values come through shared memory a tile at a time, rounded to TF32
 * on the way, and the next tile is fetched while this one is worked on. Scores and outputs are
 * float32 and never leave the warp's registers. The softmax is rescaled as its maximum grows.
 *
 * Rows of shared memory are 4 floats longer than they need to be: the 32 lanes that read a fragment
 * of keys (8 rows, 4 columns) or of values (4 rows, every second one, 8 columns) then find it in 32
 * different banks.
 *
 * Heads of up to 128 have all of their output in one block. Those of up to 256 have half of it, in
 * two blocks that compute the same scores: all of it does not fit into a thread's registers.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

enum {
    ROWS = 2, /* queries that a lane has a share of: row and row + 8 of the warp's */
    QUERIES = CUDA_THREADS / CUDA_WARP * CUDA_MMA_ROWS,
    PAD = 4
};

template <int KEYS, int DEPTH, int WIDTH> struct attention_tile {
    float key[KEYS][DEPTH + PAD];
    float value[KEYS][WIDTH + PAD];
};

/* What a block works on; positions are those of the window. */
struct attention_place {
    const float *q, *k, *v; /* the window's first row, at the head; v: at its part of the output */
    unsigned q_stride, kv_stride;
    unsigned window, sliding, head_dim;
    unsigned width;   /* columns of the part that are there */
    unsigned query;   /* the warp's first */
    unsigned row, at; /* the lane's place in fragments */
};

static __device__ inline unsigned smaller(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* One thread's share of `KEYS` rows of WIDTH columns. */
template <int KEYS, int WIDTH> struct attention_share {
    enum { COUNT = KEYS * WIDTH / CUDA_THREADS, STEP = CUDA_THREADS / WIDTH };
    float x[COUNT];
};

/* Rows from `first` on of x[limit][stride]. In place of rows and columns that are not there come
 * others: such keys are masked, and what else they meet are zeros, or columns that nobody stores.
 */
template <int KEYS, int WIDTH>
static __device__ inline void fetch(attention_share<KEYS, WIDTH> &out, const float *x,
                                    unsigned stride, unsigned first, unsigned limit,
                                    unsigned columns)
{
    unsigned row = first + threadIdx.x / WIDTH;
    const float *column = x + smaller(threadIdx.x % WIDTH, columns - 1);
    CUDA_UNROLL
    for (unsigned i = 0; i < out.COUNT; i++)
        out.x[i] = column[(size_t)smaller(row + i * out.STEP, limit - 1) * stride];
}

template <int KEYS, int WIDTH>
static __device__ inline void put(float (*tile)[WIDTH + PAD],
                                  const attention_share<KEYS, WIDTH> &share)
{
    unsigned column = threadIdx.x % WIDTH, row = threadIdx.x / WIDTH;
    CUDA_UNROLL
    for (unsigned i = 0; i < share.COUNT; i++)
        tile[row + i * share.STEP][column] = cuda_tf32(share.x[i]);
}

/* The warp's queries as the left side of products; zero in columns that are not there. */
template <int STEPS>
static __device__ inline void load_queries(float (&q)[STEPS][4], const attention_place &p)
{
    CUDA_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        unsigned query = smaller(p.query + p.row + i % 2 * 8, p.window - 1);
        const float *row = p.q + (size_t)query * p.q_stride;
        CUDA_UNROLL
        for (unsigned s = 0; s < STEPS; s++) {
            unsigned column = s * CUDA_MMA_INNER + p.at + i / 2 * 4;
            float x = cuda_tf32(row[smaller(column, p.head_dim - 1)]);
            q[s][i] = column < p.head_dim ? x : 0.0f;
        }
    }
}

template <int STEPS, int BLOCKS, int STRIDE>
static __device__ inline void add_scores(float (&score)[BLOCKS][4], const float (&q)[STEPS][4],
                                         const float (*key)[STRIDE], const attention_place &p)
{
    CUDA_UNROLL
    for (unsigned s = 0; s < STEPS; s++)
        CUDA_UNROLL
    for (unsigned n = 0; n < BLOCKS; n++) {
        const float *row = key[n * CUDA_MMA_COLUMNS + p.row] + s * CUDA_MMA_INNER + p.at;
        const float b[2] = {row[0], row[4]};
        cuda_mma(score[n], q[s], b);
    }
}

/* Scores of keys that a query does not see become -INFINITY; where all are seen nothing is done. */
template <int BLOCKS>
static __device__ inline void mask(float (&score)[BLOCKS][4], unsigned first,
                                   const attention_place &p)
{
    unsigned last = first + BLOCKS * CUDA_MMA_COLUMNS - 1;
    if (last <= p.query && last < p.window && first + p.sliding > p.query + CUDA_MMA_ROWS - 1)
        return;
    CUDA_UNROLL
    for (unsigned n = 0; n < BLOCKS; n++)
        CUDA_UNROLL
    for (unsigned i = 0; i < 4; i++) {
        unsigned query = p.query + p.row + i / 2 * 8;
        unsigned key = first + n * CUDA_MMA_COLUMNS + 2 * p.at + i % 2;
        if (key > query || key >= p.window || key + p.sliding <= query)
            score[n][i] = -INFINITY;
    }
}

/* What a lane knows of the softmax of its two rows. */
struct attention_softmax {
    float max[ROWS];    /* of the row, so far */
    float sum[ROWS];    /* of the lane's own keys */
    float shrink[ROWS]; /* by which the last tile made the ones before smaller */
};

/* Scores, which are logarithms to base 2, to probabilities that are not yet normalised. */
template <int BLOCKS>
static __device__ inline void soften(float (&score)[BLOCKS][4], attention_softmax &m)
{
    CUDA_UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        float largest = m.max[r];
        CUDA_UNROLL
        for (unsigned n = 0; n < BLOCKS; n++)
            CUDA_UNROLL
        for (unsigned i = 2 * r; i < 2 * r + 2; i++)
            largest = fmaxf(largest, score[n][i]); /* NaN does not count */
        largest = cuda_lanes_max(largest, CUDA_MMA_COLUMNS / 2);
        m.shrink[r] = m.max[r] > -INFINITY ? exp2f(m.max[r] - largest) : 0.0f;
        m.max[r] = largest;
        m.sum[r] *= m.shrink[r];
        CUDA_UNROLL
        for (unsigned n = 0; n < BLOCKS; n++)
            CUDA_UNROLL
        for (unsigned i = 2 * r; i < 2 * r + 2; i++) {
            /* Only a masked score is the infinity itself: NaN goes on into the sums. */
            float p = score[n][i] == -INFINITY ? 0.0f : exp2f(score[n][i] - largest);
            score[n][i] = cuda_tf32(p);
            m.sum[r] += score[n][i];
        }
    }
}

/* out = out shrunk + probabilities times values. Two neighbouring keys of a lane's sums are its
 * columns `at` and `at + 4` as the left side; the values' rows follow that order. */
template <int BLOCKS, int PARTS, int STRIDE>
static __device__ inline void add_values(float (&out)[PARTS][4], const float (&p)[BLOCKS][4],
                                         const attention_softmax &m, const float (*value)[STRIDE],
                                         const attention_place &place)
{
    CUDA_UNROLL
    for (unsigned n = 0; n < PARTS; n++)
        CUDA_UNROLL
    for (unsigned i = 0; i < 4; i++)
        out[n][i] *= m.shrink[i / 2];
    CUDA_UNROLL
    for (unsigned s = 0; s < BLOCKS; s++) {
        const float a[4] = {p[s][0], p[s][2], p[s][1], p[s][3]};
        const float *row = value[s * CUDA_MMA_INNER + 2 * place.at] + place.row;
        CUDA_UNROLL
        for (unsigned n = 0; n < PARTS; n++) {
            const float b[2] = {row[n * CUDA_MMA_COLUMNS], row[n * CUDA_MMA_COLUMNS + STRIDE]};
            cuda_mma(out[n], a, b);
        }
    }
}

template <int PARTS>
static __device__ inline void store(float *to, const float (&out)[PARTS][4],
                                    const attention_softmax &m, const attention_place &p)
{
    CUDA_UNROLL
    for (unsigned r = 0; r < ROWS; r++) {
        float part = 1.0f / cuda_lanes_sum(m.sum[r], CUDA_MMA_COLUMNS / 2);
        unsigned query = p.query + p.row + r * 8;
        CUDA_UNROLL
        for (unsigned n = 0; n < PARTS; n++)
            CUDA_UNROLL
        for (unsigned i = 0; i < 2; i++) {
            unsigned column = n * CUDA_MMA_COLUMNS + 2 * p.at + i;
            if (query < p.window && column < p.width)
                to[(size_t)query * p.q_stride + column] = out[n][2 * r + i] * part;
        }
    }
}

/* Keys at a time, the most columns of a head, those of its output in one block, and whether a tile
 * is fetched while the one before it is worked on, which takes registers. */
template <int KEYS, int DEPTH, int WIDTH, bool AHEAD>
static __device__ inline void attend(const cuda_attention_args &a)
{
    typedef attention_tile<KEYS, DEPTH, WIDTH> tile;
    CUDA_SHARED(tile, shared);
    unsigned tiles = (unsigned)((a.window + QUERIES - 1) / QUERIES);
    unsigned lane = threadIdx.x % CUDA_WARP, block = blockIdx.x % tiles * QUERIES;
    size_t start = blockIdx.x / tiles * a.window, head = blockIdx.y, part = blockIdx.z * WIDTH;
    size_t kv_at = head / (a.heads / a.kv_heads) * a.head_dim;
    attention_place p;
    p.q_stride = (unsigned)(a.heads * a.head_dim);
    p.kv_stride = (unsigned)(a.kv_heads * a.head_dim);
    p.q = a.q + start * p.q_stride + head * a.head_dim;
    p.k = a.k + start * p.kv_stride + kv_at;
    p.v = a.v + start * p.kv_stride + kv_at + part;
    p.window = (unsigned)a.window;
    p.sliding = a.sliding && a.sliding < a.window ? (unsigned)a.sliding : p.window;
    p.head_dim = (unsigned)a.head_dim;
    p.width = smaller(p.head_dim - (unsigned)part, WIDTH);
    p.query = block + threadIdx.x / CUDA_WARP * CUDA_MMA_ROWS;
    p.row = lane / 4;
    p.at = lane % 4;
    float q[DEPTH / CUDA_MMA_INNER][4], out[WIDTH / CUDA_MMA_COLUMNS][4] = {};
    load_queries(q, p);
    attention_softmax m = {{-INFINITY, -INFINITY}, {}, {}};
    attention_share<KEYS, DEPTH> keys;
    attention_share<KEYS, WIDTH> values;
    unsigned last = smaller(block + QUERIES, p.window) - 1;
    unsigned first = block + 1 > p.sliding ? (block + 1 - p.sliding) / KEYS * KEYS : 0;
    float scale = a.scale * 1.44269504f; /* exp(x) = exp2(x log2 e) */
    for (bool here = false; first <= last; first += KEYS, here = AHEAD) {
        if (!here) {
            fetch(keys, p.k, p.kv_stride, first, p.window, p.head_dim);
            fetch(values, p.v, p.kv_stride, first, p.window, p.width);
        }
        __syncthreads();
        put(shared.key, keys);
        put(shared.value, values);
        __syncthreads();
        if (AHEAD && first + KEYS <= last) {
            fetch(keys, p.k, p.kv_stride, first + KEYS, p.window, p.head_dim);
            fetch(values, p.v, p.kv_stride, first + KEYS, p.window, p.width);
        }
        if (first > p.query + CUDA_MMA_ROWS - 1)
            continue; /* nothing for this warp */
        float score[KEYS / CUDA_MMA_COLUMNS][4] = {};
        add_scores(score, q, shared.key, p);
        CUDA_UNROLL
        for (unsigned n = 0; n < KEYS / CUDA_MMA_COLUMNS; n++)
            CUDA_UNROLL
        for (unsigned i = 0; i < 4; i++)
            score[n][i] *= scale;
        mask(score, first, p);
        soften(score, m);
        add_values(out, score, m, shared.value, p);
    }
    store(a.out + start * p.q_stride + head * a.head_dim + part, out, m, p);
}

/* Twice on a multiprocessor, as far as registers go. */
static __global__ void __launch_bounds__(CUDA_THREADS, 2) attention_tf32_64(cuda_attention_args a)
{
    attend<32, 64, 64, false>(a);
}

static __global__ void __launch_bounds__(CUDA_THREADS) attention_tf32_128(cuda_attention_args a)
{
    attend<32, 128, 128, true>(a);
}

static __global__ void __launch_bounds__(CUDA_THREADS) attention_tf32_256(cuda_attention_args a)
{
    attend<16, 256, 128, false>(a);
}

cudaError_t cuda_k_attention_tf32(cudaStream_t s, const struct cuda_attention_args *a)
{
    size_t tiles = (a->window + QUERIES - 1) / QUERIES;
    dim3 grid((unsigned)(a->windows * tiles), (unsigned)a->heads, a->head_dim > 128 ? 2 : 1);
    if (a->head_dim <= 64)
        return CUDA_LAUNCH(attention_tf32_64, grid, CUDA_THREADS, s, *a);
    if (a->head_dim <= 128)
        return CUDA_LAUNCH(attention_tf32_128, grid, CUDA_THREADS, s, *a);
    return CUDA_LAUNCH(attention_tf32_256, grid, CUDA_THREADS, s, *a);
}
