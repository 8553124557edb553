/*
 * The sweep's own kernels, in single or double precision: a thread has a row of one linear, and
 * rows know nothing of each other. What later blocks of columns contribute is a product, which
 * gpu/cuda/cuda_sweep_run.c calls between the kernels. Bits, scales and zero points are data.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

enum { STEP = 8, SQUARE = 32, SQUARE_ROWS = 8, SUMS = 4 };

static __device__ inline float nearest_integer(float x)
{
    return rintf(x);
}

static __device__ inline double nearest_integer(double x)
{
    return rint(x);
}

/* A code less its zero point: `wanted` within the grid, halves to even. */
template <typename REAL> static __device__ inline REAL round_to(REAL wanted, REAL low, REAL high)
{
    wanted = wanted < low ? low : wanted;
    wanted = wanted > high ? high : wanted;
    return nearest_integer(wanted);
}

/* --- In and out: [row][input] <-> [position][row]. --- */

template <typename REAL> struct square {
    REAL a[SQUARE][SQUARE + 1];
};

/* Threads: SQUARE x SQUARE_ROWS. */
template <typename REAL>
static __device__ inline void load(const cuda_sweep_batch &b, size_t index, const float *w,
                                   size_t first, size_t rows)
{
    CUDA_SHARED(square<REAL>, s);
    const cuda_sweep_problem &p = b.problem[index];
    unsigned across = threadIdx.x % SQUARE, down = threadIdx.x / SQUARE;
    size_t row0 = (size_t)blockIdx.x * SQUARE, input0 = (size_t)blockIdx.y * SQUARE;
    for (unsigned r = down; r < SQUARE; r += SQUARE_ROWS)
        if (row0 + r < rows && input0 + across < b.d)
            s.a[r][across] = (REAL)w[(row0 + r) * b.d + input0 + across];
    __syncthreads();
    REAL *out = (REAL *)b.weight + p.group * b.d * b.rows + p.at + first + row0;
    for (unsigned i = down; i < SQUARE; i += SQUARE_ROWS)
        if (row0 + across < rows && input0 + i < b.d)
            out[p.place[input0 + i] * b.rows + across] = s.a[across][i];
}

static __global__ void __launch_bounds__(SQUARE *SQUARE_ROWS)
    load_f32(cuda_sweep_batch b, size_t index, const float *w, size_t first, size_t rows)
{
    load<float>(b, index, w, first, rows);
}

static __global__ void __launch_bounds__(SQUARE *SQUARE_ROWS)
    load_f64(cuda_sweep_batch b, size_t index, const float *w, size_t first, size_t rows)
{
    load<double>(b, index, w, first, rows);
}

cudaError_t cuda_k_sweep_load(cudaStream_t s, const struct cuda_sweep_batch *b, size_t index,
                              const float *w, size_t first, size_t rows)
{
    dim3 grid(cuda_blocks(rows, SQUARE), cuda_blocks(b->d, SQUARE));
    dim3 block(SQUARE * SQUARE_ROWS);
    return b->wide ? CUDA_LAUNCH(load_f64, grid, block, s, *b, index, w, first, rows)
                   : CUDA_LAUNCH(load_f32, grid, block, s, *b, index, w, first, rows);
}

static __global__ void __launch_bounds__(SQUARE *SQUARE_ROWS) store(cuda_sweep_batch b)
{
    CUDA_SHARED(square<uint8_t>, s);
    const cuda_sweep_problem &p = b.problem[blockIdx.z];
    unsigned across = threadIdx.x % SQUARE, down = threadIdx.x / SQUARE;
    size_t row0 = (size_t)blockIdx.x * SQUARE, input0 = (size_t)blockIdx.y * SQUARE;
    const uint8_t *codes = b.codes + p.group * b.d * b.rows + p.at + row0;
    for (unsigned i = down; i < SQUARE; i += SQUARE_ROWS)
        if (row0 + across < p.rows && input0 + i < b.d)
            s.a[across][i] = codes[p.place[input0 + i] * b.rows + across];
    __syncthreads();
    for (unsigned r = down; r < SQUARE; r += SQUARE_ROWS) {
        size_t row = row0 + r, input = input0 + across;
        if (row >= p.rows || input >= b.d)
            continue;
        uint8_t code = s.a[r][across];
        size_t cell = row * p.grids + p.grid[input];
        p.codes[row * b.d + input] = code;
        if (p.restored)
            p.restored[row * b.d + input] =
                (float)p.scale[cell] * (float)((int)code - (int)p.zero[cell]);
    }
}

cudaError_t cuda_k_sweep_store(cudaStream_t s, const struct cuda_sweep_batch *b)
{
    dim3 grid(cuda_blocks(b->rows_max, SQUARE), cuda_blocks(b->d, SQUARE), (unsigned)b->count);
    return CUDA_LAUNCH(store, grid, (unsigned)(SQUARE * SQUARE_ROWS), s, *b);
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    factor_in(cuda_sweep_batch b, size_t at, const double *in, size_t count)
{
    size_t i = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (i >= count)
        return;
    if (b.wide)
        ((double *)b.factor)[at + i] = in[i];
    else
        ((float *)b.factor)[at + i] = (float)in[i];
}

cudaError_t cuda_k_sweep_factor(cudaStream_t s, const struct cuda_sweep_batch *b, size_t at,
                                const double *in, size_t count)
{
    return CUDA_LAUNCH(factor_in, cuda_blocks(count, CUDA_THREADS), CUDA_THREADS, s, *b, at, in,
                       count);
}

/* --- Rounding to nearest. --- */

template <typename REAL> static __device__ inline void plain(const cuda_sweep_batch &b)
{
    const cuda_sweep_problem &p = b.problem[blockIdx.y];
    size_t row = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (!p.plain || row >= p.rows)
        return;
    size_t base = p.group * b.d * b.rows + p.at + row;
    double total = 0;
    for (size_t first = 0; first < b.d; first += CUDA_SWEEP_COLUMNS) {
        const size_t most = CUDA_SWEEP_COLUMNS, left = b.d - first;
        const size_t width = left < most ? left : most;
        REAL squares = 0;
        for (size_t k = first; k < first + width; k++) {
            uint32_t g = p.grid[p.order[k]];
            REAL scale = (REAL)p.scale[row * p.grids + g], zero = p.zero[row * p.grids + g];
            REAL weight = ((const REAL *)b.weight)[base + k * b.rows];
            REAL code = round_to(weight / scale, -zero, p.top[g] - zero);
            REAL e = code * scale - weight;
            ((REAL *)b.error)[base + k * b.rows] = e;
            if (!p.compensate)
                b.codes[base + k * b.rows] = (uint8_t)(code + zero);
            squares += e * e;
        }
        total += (double)squares;
    }
    p.sums[2 * p.rows + row] = 0;
    p.sums[3 * p.rows + row] = total;
}

static __global__ void __launch_bounds__(CUDA_THREADS) plain_f32(cuda_sweep_batch b)
{
    plain<float>(b);
}

static __global__ void __launch_bounds__(CUDA_THREADS) plain_f64(cuda_sweep_batch b)
{
    plain<double>(b);
}

cudaError_t cuda_k_sweep_plain(cudaStream_t s, const struct cuda_sweep_batch *b)
{
    dim3 grid(cuda_blocks(b->rows_max, CUDA_THREADS), (unsigned)b->count);
    return b->wide ? CUDA_LAUNCH(plain_f64, grid, CUDA_THREADS, s, *b)
                   : CUDA_LAUNCH(plain_f32, grid, CUDA_THREADS, s, *b);
}

template <typename REAL>
static __device__ inline void squares(const cuda_sweep_batch &b, size_t width)
{
    const cuda_sweep_problem &p = b.problem[blockIdx.y];
    size_t row = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (!p.plain || row >= p.rows)
        return;
    const REAL *sum = (const REAL *)b.sum + p.group * CUDA_SWEEP_COLUMNS * b.rows + p.at + row;
    REAL total = 0;
    for (size_t k = 0; k < width; k++)
        total += sum[k * b.rows] * sum[k * b.rows];
    p.sums[2 * p.rows + row] += (double)total;
}

static __global__ void __launch_bounds__(CUDA_THREADS) squares_f32(cuda_sweep_batch b, size_t width)
{
    squares<float>(b, width);
}

static __global__ void __launch_bounds__(CUDA_THREADS) squares_f64(cuda_sweep_batch b, size_t width)
{
    squares<double>(b, width);
}

cudaError_t cuda_k_sweep_squares(cudaStream_t s, const struct cuda_sweep_batch *b, size_t width)
{
    dim3 grid(cuda_blocks(b->rows_max, CUDA_THREADS), (unsigned)b->count);
    return b->wide ? CUDA_LAUNCH(squares_f64, grid, CUDA_THREADS, s, *b, width)
                   : CUDA_LAUNCH(squares_f32, grid, CUDA_THREADS, s, *b, width);
}

/* --- Successive rounding. --- */

template <typename REAL, int ROWS> struct sweep_shared {
    REAL error[CUDA_SWEEP_COLUMNS][ROWS];
    alignas(16) REAL tile[CUDA_SWEEP_COLUMNS][STEP]; /* L's columns of the step */
};

/* L[first + j][first + c + i], and the unit matrix beyond the block. */
template <typename REAL, int ROWS>
static __device__ inline void load_tile(REAL (*tile)[STEP], const REAL *corner, size_t d,
                                        unsigned c, unsigned width)
{
    for (unsigned at = threadIdx.x; at < CUDA_SWEEP_COLUMNS * STEP; at += ROWS) {
        unsigned j = at / STEP, i = at % STEP, k = c + i;
        REAL beyond = j == k ? (REAL)1 : (REAL)0;
        tile[j][i] = j < width && k <= j ? corner[j * d + k] : beyond;
    }
}

/* A row of one block, STEP columns at a time, whose sums stay in registers. */
template <typename REAL, int ROWS>
static __device__ inline void compensate(const cuda_sweep_batch &b, size_t first, unsigned width)
{
    typedef sweep_shared<REAL, ROWS> shared;
    CUDA_SHARED(shared, s);
    const cuda_sweep_problem &p = b.problem[blockIdx.y];
    if (!p.compensate || (size_t)blockIdx.x * ROWS >= p.rows)
        return; /* the whole block */
    unsigned thread = threadIdx.x;
    size_t row = (size_t)blockIdx.x * ROWS + thread;
    bool real = row < p.rows;
    const REAL *corner = (const REAL *)b.factor + p.group * b.d * b.d + first * (b.d + 1);
    size_t base = p.group * b.d * b.rows + first * b.rows + p.at + row;
    const REAL *sums = (const REAL *)b.sum + p.group * CUDA_SWEEP_COLUMNS * b.rows + p.at + row;
    REAL losses = 0, total = 0;
    for (unsigned c = (width + STEP - 1) / STEP * STEP; c > 0;) {
        c -= STEP;
        __syncthreads();
        load_tile<REAL, ROWS>(s.tile, corner, b.d, c, width);
        __syncthreads();
        REAL sum[STEP];
        CUDA_UNROLL
        for (int i = 0; i < STEP; i++)
            sum[i] = real && c + (unsigned)i < width ? sums[(c + (unsigned)i) * b.rows] : (REAL)0;
        for (unsigned j = c + STEP; j < width; j++) {
            REAL e = s.error[j][thread];
            CUDA_UNROLL
            for (int i = 0; i < STEP; i++)
                sum[i] += e * s.tile[j][i];
        }
        CUDA_UNROLL
        for (int i = STEP - 1; i >= 0; i--) {
            unsigned k = c + (unsigned)i;
            REAL e = 0;
            if (real && k < width) {
                uint32_t g = p.grid[p.order[first + k]];
                REAL scale = (REAL)p.scale[row * p.grids + g], zero = p.zero[row * p.grids + g];
                REAL weight = ((const REAL *)b.weight)[base + k * b.rows], pivot = s.tile[k][i];
                REAL follow = 1 / pivot;
                REAL code = round_to((weight - sum[i] * follow) / scale, -zero, p.top[g] - zero);
                e = code * scale - weight;
                REAL whole = e * pivot + sum[i];
                b.codes[base + k * b.rows] = (uint8_t)(code + zero);
                ((REAL *)b.error)[base + k * b.rows] = e;
                losses += whole * whole;
                total += e * e;
            }
            s.error[k][thread] = e;
            CUDA_UNROLL
            for (int n = 0; n < i; n++)
                sum[n] += e * s.tile[k][n];
        }
    }
    if (!real)
        return;
    bool start = first + width == b.d; /* blocks come from the last */
    p.sums[row] = (start ? 0.0 : p.sums[row]) + (double)losses;
    p.sums[p.rows + row] = (start ? 0.0 : p.sums[p.rows + row]) + (double)total;
}

enum { ROWS_F32 = 64, ROWS_F64 = 32 }; /* as many as shared memory takes errors of */

static __global__ void __launch_bounds__(ROWS_F32)
    compensate_f32(cuda_sweep_batch b, size_t first, unsigned width)
{
    compensate<float, ROWS_F32>(b, first, width);
}

static __global__ void __launch_bounds__(ROWS_F64)
    compensate_f64(cuda_sweep_batch b, size_t first, unsigned width)
{
    compensate<double, ROWS_F64>(b, first, width);
}

cudaError_t cuda_k_sweep_block(cudaStream_t s, const struct cuda_sweep_batch *b, size_t first,
                               size_t width)
{
    unsigned rows = b->wide ? ROWS_F64 : ROWS_F32;
    dim3 grid(cuda_blocks(b->rows_max, rows), (unsigned)b->count);
    return b->wide ? CUDA_LAUNCH(compensate_f64, grid, ROWS_F64, s, *b, first, (unsigned)width)
                   : CUDA_LAUNCH(compensate_f32, grid, ROWS_F32, s, *b, first, (unsigned)width);
}
