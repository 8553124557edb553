/*
 * Grids of linears where their weights lie: half a warp has a cell (one row of one group), whose
 * weights it goes through GRID_LANES at a time. Compiled without contraction of products and sums,
 * so that all bits are those of src/quant/grid.c.
 */
#include "gpu/cuda/cuda_device.h"
#include "gpu/cuda/cuda_kernels.h"
#include "gpu/grid_cell.h"

enum { CELLS = CUDA_THREADS / GRID_LANES /* of a block */ };

/* The weights of a cell, and the lane's first one. */
struct grid_span {
    const float *row;
    const double *importance;
    const uint32_t *member;
    unsigned first, end, lane;
};

static __device__ inline unsigned input_at(const grid_span &s, unsigned place)
{
    return s.member ? s.member[place] : place;
}

/* Smallest and largest, and 0. Returns whether all are finite, of the lane's own. */
static __device__ inline bool span_range(const grid_span &s, double *low, double *high)
{
    float least = 0, most = 0;
    bool finite = true;
    for (unsigned j = s.first + s.lane; j < s.end; j += GRID_LANES) {
        float w = s.row[input_at(s, j)];
        least = w < least ? w : least;
        most = w > most ? w : most;
        finite = finite && isfinite(w);
    }
    *low = -(double)cuda_lanes_max(-least, GRID_LANES);
    *high = (double)cuda_lanes_max(most, GRID_LANES);
    return finite;
}

static __device__ inline double span_error(const grid_span &s, const grid_cell &c, int top)
{
    double own = 0, sum = 0;
    for (unsigned j = s.first + s.lane; j < s.end; j += GRID_LANES) {
        unsigned input = input_at(s, j);
        double e = grid_cell_error((double)s.row[input], c.scale, c.zero, top);
        own += e * e * s.importance[input];
    }
    for (unsigned l = 0; l < GRID_LANES; l++) /* in this order */
        sum += cuda_exchange(own, (int)(s.lane ^ l));
    return sum;
}

static __device__ inline grid_cell fit_cell(const backend_grid_rule &rule, const grid_span &s,
                                            double low, double high, int top)
{
    if (low == high) {
        low = -1;
        high = 1;
    }
    grid_cell best = grid_cell_make(&rule, low, high, top);
    if (!rule.search)
        return best;
    double least = span_error(s, best, top);
    for (int i = 1; i < GRID_SEARCH_STEPS; i++) {
        double part = grid_cell_part(i);
        grid_cell c = grid_cell_make(&rule, low * part, high * part, top);
        double error = span_error(s, c, top);
        if (error < least) {
            least = error;
            best = c;
        }
    }
    return best;
}

static __global__ void __launch_bounds__(CUDA_THREADS)
    fit_grids(backend_grid_rule rule, const cuda_grid_problem *problem)
{
    const cuda_grid_problem p = problem[blockIdx.y];
    size_t cells = p.rows * p.grids, own = (size_t)blockIdx.x * CELLS + threadIdx.x / GRID_LANES;
    if ((size_t)blockIdx.x * CELLS >= cells)
        return;
    size_t cell = own < cells ? own : cells - 1; /* lanes beyond the end talk with the others */
    unsigned grid = (unsigned)(cell % p.grids);
    grid_span s;
    s.row = p.weights + cell / p.grids * p.columns;
    s.importance = p.importance;
    s.member = p.member;
    s.first = p.start[grid];
    s.end = p.start[grid + 1];
    s.lane = threadIdx.x % GRID_LANES;
    double low, high;
    if (!span_range(s, &low, &high))
        *p.infinite = 1; /* all write the same */
    grid_cell best = fit_cell(rule, s, low, high, p.top[grid]);
    if (own < cells && s.lane == 0) {
        p.scale[cell] = best.scale;
        p.zero[cell] = (uint8_t)best.zero;
    }
}

cudaError_t cuda_k_fit_grids(cudaStream_t s, const struct backend_grid_rule *rule,
                             const struct cuda_grid_problem *problem, size_t count,
                             size_t cells_max)
{
    return CUDA_LAUNCH(fit_grids, dim3(cuda_blocks(cells_max, CELLS), (unsigned)count),
                       CUDA_THREADS, s, *rule, problem);
}
