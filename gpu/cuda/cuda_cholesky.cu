/*
 * The two steps of a batched Cholesky factorization that are no products: the corner of a panel
 * (a block of threads a matrix) and the rows below it (a thread a row). All in double precision.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"

enum { CORNER_ROWS = 8, SOLVE_THREADS = 64 };

struct corner {
    double a[CUDA_PANEL][CUDA_PANEL + 1];
};

/* Threads: a column each, CORNER_ROWS rows at a time. */
static __global__ void __launch_bounds__(CUDA_PANEL *CORNER_ROWS)
    factor_corner(double *matrices, int *failed, size_t d, size_t first, unsigned width)
{
    CUDA_SHARED(corner, s);
    double *a = matrices + blockIdx.x * d * d + first * (d + 1);
    unsigned column = threadIdx.x % CUDA_PANEL, top = threadIdx.x / CUDA_PANEL;
    for (unsigned row = top; row < width; row += CORNER_ROWS)
        s.a[row][column] = column <= row ? a[row * d + column] : 0.0;
    for (unsigned k = 0; k < width; k++) {
        __syncthreads();
        double pivot = sqrt(s.a[k][k]);
        __syncthreads();
        if (threadIdx.x == 0 && !(pivot > 0.0 && isfinite(pivot)))
            failed[blockIdx.x] = 1;
        if (column == k)
            for (unsigned row = top; row < width; row += CORNER_ROWS)
                if (row >= k)
                    s.a[row][k] = row == k ? pivot : s.a[row][k] / pivot;
        __syncthreads();
        if (column > k)
            for (unsigned row = top; row < width; row += CORNER_ROWS)
                if (row >= column)
                    s.a[row][column] -= s.a[row][k] * s.a[column][k];
    }
    /* Nothing is right of the last column: all has been in place since the loop's last barrier. */
    for (unsigned row = top; row < width; row += CORNER_ROWS)
        if (column < width)
            a[row * d + column] = s.a[row][column];
}

cudaError_t cuda_k_factor_corner(cudaStream_t s, double *a, int *failed, size_t count, size_t d,
                                 size_t first, size_t width)
{
    return CUDA_LAUNCH(factor_corner, (unsigned)count, (unsigned)(CUDA_PANEL * CORNER_ROWS), s, a,
                       failed, d, first, (unsigned)width);
}

/* x L^T = a, a row a thread, which stays in registers. */
static __global__ void __launch_bounds__(SOLVE_THREADS)
    solve_panel(double *matrices, size_t d, size_t first)
{
    CUDA_SHARED(corner, s);
    double *a = matrices + blockIdx.y * d * d + first * (d + 1), x[CUDA_PANEL];
    for (unsigned i = threadIdx.x; i < CUDA_PANEL * CUDA_PANEL; i += SOLVE_THREADS)
        s.a[i / CUDA_PANEL][i % CUDA_PANEL] = a[i / CUDA_PANEL * d + i % CUDA_PANEL];
    __syncthreads();
    size_t row = CUDA_PANEL + (size_t)blockIdx.x * SOLVE_THREADS + threadIdx.x;
    if (first + row >= d)
        return;
    double *at = a + row * d;
    CUDA_UNROLL
    for (int c = 0; c < CUDA_PANEL; c++)
        x[c] = at[c];
    CUDA_UNROLL
    for (int c = 0; c < CUDA_PANEL; c++) {
        x[c] /= s.a[c][c];
        CUDA_UNROLL
        for (int n = c + 1; n < CUDA_PANEL; n++)
            x[n] -= x[c] * s.a[n][c];
    }
    CUDA_UNROLL
    for (int c = 0; c < CUDA_PANEL; c++)
        at[c] = x[c];
}

cudaError_t cuda_k_solve_panel(cudaStream_t s, double *a, size_t count, size_t d, size_t first)
{
    size_t below = d - first - CUDA_PANEL;
    return CUDA_LAUNCH(solve_panel, dim3(cuda_blocks(below, SOLVE_THREADS), (unsigned)count),
                       (unsigned)SOLVE_THREADS, s, a, d, first);
}

static __global__ void __launch_bounds__(CUDA_THREADS) zero_upper(double *matrices, size_t d)
{
    size_t row = blockIdx.y, column = (size_t)blockIdx.x * CUDA_THREADS + threadIdx.x;
    if (column > row && column < d)
        matrices[blockIdx.z * d * d + row * d + column] = 0.0;
}

cudaError_t cuda_k_zero_upper(cudaStream_t s, double *a, size_t count, size_t d)
{
    return CUDA_LAUNCH(zero_upper, dim3(cuda_blocks(d, CUDA_THREADS), (unsigned)d, (unsigned)count),
                       CUDA_THREADS, s, a, d);
}
