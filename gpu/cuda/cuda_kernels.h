/*
 * Launchers of the CUDA kernels: C functions that queue one kernel on a stream and return the
 * launch's error. Pointers are device memory; matrices are row-major; counts may be 0 where said,
 * else at least 1. Nothing here waits or allocates.
 */
#ifndef MOQA_GPU_CUDA_CUDA_KERNELS_H
#define MOQA_GPU_CUDA_CUDA_KERNELS_H

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* --- cuda_elementwise.cu --- */
/* out[count] = in[count] of `source` (enum backend_source), converted to float32. */
cudaError_t cuda_k_convert(cudaStream_t s, float *out, const void *in, int source, size_t count);
cudaError_t cuda_k_widen(cudaStream_t s, double *out, const float *in, size_t count);
cudaError_t cuda_k_narrow(cudaStream_t s, float *out, const double *in, size_t count);
/* out[i] = x[row[i]], `columns` wide, n rows: embeddings and gathers. */
cudaError_t cuda_k_rows(cudaStream_t s, float *out, const float *x, const uint32_t *row, size_t n,
                        size_t columns);
cudaError_t cuda_k_clamp(cudaStream_t s, float *x, size_t count, float limit);
/* x[n][columns] += bias[columns] */
cudaError_t cuda_k_bias(cudaStream_t s, float *x, const float *bias, size_t n, size_t columns);
/* x[n][columns] += sigmoid(logit[n]) * y; logit NULL: x += y */
cudaError_t cuda_k_add(cudaStream_t s, float *x, const float *y, const float *logit, size_t n,
                       size_t columns);
cudaError_t cuda_k_swiglu(cudaStream_t s, float *out, const float *gate, const float *up,
                          size_t count);

/* --- cuda_norm.cu --- */
/* groups of `group` values each; the weight repeats every `group` values. out may be x. */
cudaError_t cuda_k_rms_norm(cudaStream_t s, float *out, const float *x, const float *weight,
                            size_t groups, size_t group, float eps);
/* frequency[half]; x[n][heads][2 * half] */
cudaError_t cuda_k_rope(cudaStream_t s, float *x, const float *frequency, size_t n, size_t heads,
                        size_t half, size_t window);

/* --- cuda_attention.cu --- */
enum { CUDA_HEAD_MAX = 256, CUDA_WINDOW_MAX = 1 << 30 };
struct cuda_attention_args {
    float *out;
    const float *q, *k, *v;
    size_t windows, window, heads, kv_heads, head_dim, sliding; /* as in backend.h */
    float scale;
};
/* head_dim at most CUDA_HEAD_MAX, heads at most 65535, window at most CUDA_WINDOW_MAX. */
cudaError_t cuda_k_attention(cudaStream_t s, const struct cuda_attention_args *a);

/* --- cuda_attention_tf32.cu --- */
/* The same on tensor cores: queries, keys, values and probabilities rounded to TF32. */
cudaError_t cuda_k_attention_tf32(cudaStream_t s, const struct cuda_attention_args *a);

/* --- cuda_experts.cu --- */
struct cuda_route_args {
    const float *logits; /* [n][experts] */
    float *p;            /* [experts][n] workspace */
    uint16_t *expert;    /* out [n][top_k] */
    float *gate;         /* out [n][top_k] */
    size_t n, experts, top_k;
    int normalize;
};
cudaError_t cuda_k_route(cudaStream_t s, const struct cuda_route_args *r);

enum { CUDA_TOP_K_MAX = 256 };
/* x[token] += sum of gate * y[slot] over the token's slots in rising order; slot, gate
 * [tokens][top_k]. */
cudaError_t cuda_k_combine(cudaStream_t s, float *x, const float *y, const uint32_t *slot,
                           const float *gate, size_t tokens, size_t columns, size_t top_k);

/* --- cuda_calibrate.cu --- */
/* out[count] = x[count], rounded to TF32. */
cudaError_t cuda_k_round_tf32(cudaStream_t s, float *out, const float *x, size_t count);
/* Lower triangle of h[d][d] += that of part[d][d]. */
cudaError_t cuda_k_add_lower(cudaStream_t s, double *h, const float *part, size_t d);
/* sum[experts][columns] += |x| over rows offset[e] .. offset[e + 1] - 1. */
cudaError_t cuda_k_abs(cudaStream_t s, double *sum, const float *x, const uint64_t *offset,
                       size_t experts, size_t columns);
/* nll[r] = log sum exp logits[r] - logits[r][target[r]], 0 where target[r] < 0. */
cudaError_t cuda_k_nll(cudaStream_t s, double *nll, const float *logits, const int64_t *target,
                       size_t rows, size_t vocab);

/* --- cuda_hessian.cu: lower triangles of [d][d], d at most 65535. --- */
struct cuda_hessian_args {
    const double *sum;
    const double *mean; /* may be NULL */
    double borrowed, divisor;
    size_t d;
};
/* out += in */
cudaError_t cuda_k_add_matrix(cudaStream_t s, double *out, const double *in, size_t d);
cudaError_t cuda_k_divide_matrix(cudaStream_t s, double *x, double divisor, size_t d);
/* out[d] = H's diagonal; infinite[row] = 1 where some value of the row is not finite. */
cudaError_t cuda_k_diagonal(cudaStream_t s, double *out, int *infinite,
                            const struct cuda_hessian_args *h);
/* out[i][j] = H[order[i]][order[j]] for j < i, diagonal[order[i]] for j = i, else 0. */
cudaError_t cuda_k_permute(cudaStream_t s, double *out, const struct cuda_hessian_args *h,
                           const uint32_t *order, const double *diagonal);

/* --- cuda_grid.cu --- */
struct backend_grid_rule;
/* One linear; arrays on the device, as in struct backend_grid. */
struct cuda_grid_problem {
    size_t rows, columns, grids;
    const float *weights;
    const double *importance;
    const uint32_t *member, *start;
    const uint8_t *top;
    double *scale;
    uint8_t *zero;
    int *infinite; /* set to 1 where some weight is not finite */
};
/* problem[count], on the device; cells_max: the most rows * grids of one. count at most 65535. */
cudaError_t cuda_k_fit_grids(cudaStream_t s, const struct backend_grid_rule *rule,
                             const struct cuda_grid_problem *problem, size_t count,
                             size_t cells_max);

/* --- cuda_cholesky.cu: a[count][d][d]. --- */
enum { CUDA_PANEL = 32 };
/* The lower factor of the `width` columns and rows from `first` on, in place; failed[i] = 1 where
 * a pivot is not a positive number. */
cudaError_t cuda_k_factor_corner(cudaStream_t s, double *a, int *failed, size_t count, size_t d,
                                 size_t first, size_t width);
/* Rows below the corner: a[first + PANEL ..][first ..] = itself times the corner's L^-T. */
cudaError_t cuda_k_solve_panel(cudaStream_t s, double *a, size_t count, size_t d, size_t first);
cudaError_t cuda_k_zero_upper(cudaStream_t s, double *a, size_t count, size_t d);

/* --- cuda_sweep.cu --- */
enum { CUDA_SWEEP_COLUMNS = 128 };

/* One linear of a batch; arrays on the device. */
struct cuda_sweep_problem {
    size_t group;          /* whose factor it uses */
    size_t at, rows;       /* its rows among the group's */
    size_t grids;          /* a row */
    const uint32_t *order; /* [columns] position -> input */
    const uint32_t *place; /* [columns] input -> position */
    const uint32_t *grid;  /* [input] */
    const uint8_t *top;    /* [grid] largest code */
    const double *scale;   /* [rows][grids] */
    const uint8_t *zero;   /* [rows][grids] */
    double *sums;          /* [4][rows]: loss, square, and both of plain rounding */
    uint8_t *codes;        /* out [rows][input] */
    float *restored;       /* out [rows][input]: what the codes stand for; may be NULL */
    int compensate, plain; /* what is asked for */
};

/* Groups of linears that share a factor: all with the same columns d and, over their linears, the
 * same number of rows. REAL: float, or double where `wide`. Arrays are [position][row], so that
 * threads, which are rows, read neighbours. */
struct cuda_sweep_batch {
    const struct cuda_sweep_problem *problem; /* [count], on the device */
    size_t count, groups, d, rows, rows_max;  /* rows: of a group; rows_max: of a problem */
    int wide;
    void *factor;   /* REAL [groups][d][d] */
    void *weight;   /* REAL [groups][d][rows] */
    void *error;    /* REAL [groups][d][rows] */
    void *sum;      /* REAL [groups][CUDA_SWEEP_COLUMNS][rows] */
    uint8_t *codes; /* [groups][d][rows] */
};
/* weight[.. columns of `rows` rows from `first` of problem `index`] from w[rows][input]. */
cudaError_t cuda_k_sweep_load(cudaStream_t s, const struct cuda_sweep_batch *b, size_t index,
                              const float *w, size_t first, size_t rows);
/* factor[at ..] = in[count], converted. */
cudaError_t cuda_k_sweep_factor(cudaStream_t s, const struct cuda_sweep_batch *b, size_t at,
                                const double *in, size_t count);
/* Rounds every column by itself: error, the codes of those that are not compensated, squares. */
cudaError_t cuda_k_sweep_plain(cudaStream_t s, const struct cuda_sweep_batch *b);
/* Adds the squares of sum[width][row] to the losses of plain rounding. */
cudaError_t cuda_k_sweep_squares(cudaStream_t s, const struct cuda_sweep_batch *b, size_t width);
/* Columns first .. first + width - 1, from the last to the first; `sum` holds what later blocks
 * add. */
cudaError_t cuda_k_sweep_block(cudaStream_t s, const struct cuda_sweep_batch *b, size_t first,
                               size_t width);
/* The problems' codes from those of the batch, and what they stand for. */
cudaError_t cuda_k_sweep_store(cudaStream_t s, const struct cuda_sweep_batch *b);

#ifdef __cplusplus
}
#endif

#endif
