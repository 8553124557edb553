/*
 * Tensor arithmetic on a device, as one table of operations. A backend knows matrices, not
 * models. gpu/cpu/ is the reference and the fallback; other devices offer the same table.
 *
 * All matrices are row-major. Activations and weights are float32 whatever type they were stored
 * in. Products are summed in float32; a device may round their operands to TF32 (10 bits of
 * mantissa), which is what tensor cores take, unless its owner forbids that.
 * An operation works on a whole batch (many windows, all experts of a layer) and
 * parallelises inside; its result does not depend on the number of threads.
 * Operations may be queued: download() and operations with host results wait for what they need.
 */
#ifndef MOQA_GPU_BACKEND_H
#define MOQA_GPU_BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

struct tensor; /* a matrix on the device; opaque */
struct parallel;
struct backend;

enum tensor_kind { TENSOR_F32, TENSOR_F64 };

/* Types of host data in upload(); the numbers are those of data/safetensors.h's enum dtype, and
 * src/model translates. */
enum backend_source { SOURCE_F64, SOURCE_F32, SOURCE_F16, SOURCE_BF16 };

/* Tokens sorted by expert. `rows` of one expert lie together: positions of expert e are
 * row[offset[e]] .. row[offset[e+1]-1], rising. */
struct backend_groups {
    size_t tokens;    /* n */
    size_t experts;   /* N */
    size_t top_k;     /* K */
    size_t *offset;   /* [N + 1]; offset[N] = n * K */
    uint32_t *row;    /* [n * K] token of each slot */
    uint32_t *slot;   /* [n][K] where the token's k-th choice lies among the slots */
    uint16_t *expert; /* [n][K] falling gate value, ties by smaller expert */
    float *gate;      /* [n][K] as the model uses them */
};

struct backend_attention {
    size_t window; /* tokens a window; the rows are whole windows */
    size_t heads, kv_heads, head_dim;
    size_t sliding; /* 0: causal over the whole window; else a token sees itself and the
                       sliding - 1 before it */
};

/*
 * One GPTQ problem. Position k of the factor belongs to input order[k]; positions are rounded from
 * the last to the first:
 *     q_k = clamp(rint((w_k - sum_{j>k} e_j L[j][k] / L[k][k]) / scale) + zero),  e = dequant(q) -
 * w with H = L L^T. Scale, zero point and largest code depend on the row and on the input's grid.
 */
struct backend_sweep {
    size_t rows, columns; /* outputs, inputs */
    size_t grids;         /* grids a row (groups, and groups of channels) */
    const float *weights; /* [rows][input] */
    const double *factor; /* L, [columns][columns], lower triangle, the upper one zero; linears
                             that share one lie beside each other in a batch */
    /* Where the table has hessian_factorize(): F32 in place of weights, F64 in place of factor. */
    const struct tensor *device_weights, *device_factor;
    /* There: F32 [rows][input], out: scale * (code - zero) in single precision; may be
     * device_weights; NULL: not wanted. */
    struct tensor *restored;
    const uint32_t *order;   /* [columns] position -> input */
    const uint32_t *grid;    /* [input] -> grid */
    const uint8_t *max_code; /* [grid] 2^bits - 1 */
    const double *scale;     /* [rows][grids], > 0 */
    const uint8_t *zero;     /* [rows][grids] */
    uint8_t *codes;          /* out: [rows][input] */
    bool nearest;            /* no compensation: plain rounding; the losses are those of H */
    double *loss;            /* out: tr(E H E^T) */
    double *square;          /* out: sum of e^2 */
    double *nearest_loss;    /* out: both for plain rounding, whatever `nearest` is; may be NULL, */
    double *nearest_square;  /* then both are */
};

/* How scales and zero points are made; the fields of src/quant/grid.h. */
struct backend_grid_rule {
    bool symmetric, search, half, avoid_zero;
};

/* The grids of one linear whose weights lie on the device. */
struct backend_grid {
    size_t rows, columns, grids;  /* grids: a row */
    const struct tensor *weights; /* F32 [rows][columns] */
    const double *importance;     /* [columns] weighs squared errors in the search; linears that
                                     share it lie beside each other in a batch */
    const uint32_t *member;  /* [columns] inputs in the order of their grids; NULL: as they are */
    const uint32_t *start;   /* [grids + 1] grid i has places start[i] .. start[i + 1] - 1 */
    const uint8_t *max_code; /* [grids] */
    double *scale;           /* out: [rows][grids] */
    uint8_t *zero;           /* out: [rows][grids] */
    bool infinite;           /* out: some weight is not finite; the grids mean nothing */
};

/* A Hessian on the device, where it was summed: (sum + borrowed * mean) / divisor. */
struct backend_hessian {
    size_t d;
    const struct tensor *sum;  /* F64 [d][d], lower triangle */
    const struct tensor *mean; /* the same; NULL: nothing is borrowed */
    double borrowed, divisor;
};

/* Its factor, damped and permuted. */
struct backend_factor {
    const struct backend_hessian *hessian;
    const uint32_t *order;  /* [d] position -> input */
    const double *diagonal; /* [d] by input: in place of H's own */
    struct tensor *factor;  /* out: F64 [d][d], as struct backend_sweep has it */
};

/* BACKEND_FP32: products in single precision; the factor is summed in double precision, a sweep in
 * single precision. BACKEND_FP64: all in double precision. */
enum backend_precision { BACKEND_FP32, BACKEND_FP64 };

struct backend_ops {
    const char *name; /* "cpu" */
    void (*free)(struct backend *b);
    /* One line for a person: "2 threads, OpenBLAS 0.3.21 SkylakeX". */
    void (*describe)(const struct backend *b, char *out, size_t size);
    /* Threads for the host's own work between operations (data/base/parallel.h). NULL, as the
     * function or as its result: the caller's thread alone. */
    struct parallel *(*pool)(struct backend *b);
    /* Bytes of the device's own memory that tensors may still take, and those taken. NULL: tensors
     * lie in the host's memory, and operations return neither ERR_DEVICE nor ERR_DEVICE_MEMORY. */
    void (*memory)(struct backend *b, uint64_t *free_bytes, uint64_t *used);

    /* --- Tensors. Owned by the caller, freed before the backend. --- */
    int (*tensor_new)(struct backend *b, struct tensor **out, enum tensor_kind kind, size_t rows,
                      size_t columns, struct err *err); /* zeroed */
    void (*tensor_free)(struct backend *b, struct tensor *t);
    /* rows first .. first + rows - 1 from host data of `source` type, converted. */
    int (*upload)(struct backend *b, struct tensor *t, size_t first, size_t rows,
                  enum backend_source source, const void *data, struct err *err);
    /* Would an upload of so many bytes of host data wait for work that is queued? NULL: never. */
    bool (*upload_waits)(struct backend *b, size_t bytes);
    int (*download)(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                    float *out, struct err *err);
    int (*download_f64)(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                        double *out, struct err *err);
    int (*fill_zero)(struct backend *b, struct tensor *t, struct err *err);

    /* --- Forward. n = rows of the activations in use, at most the tensor's rows. --- */
    int (*embed)(struct backend *b, struct tensor *out, const struct tensor *table,
                 const uint32_t *ids, size_t n, struct err *err);
    /* out = x / rms(x) * weight over every `group` columns (group = columns: the whole row; a
     * head's size: per head, weight then has `group` entries). out may be x. */
    int (*rms_norm)(struct backend *b, struct tensor *out, const struct tensor *x,
                    const struct tensor *weight, size_t n, size_t group, double eps,
                    struct err *err);
    /* out[n][o] = x[n][i] w[o][i]^T (+ bias[o], may be NULL). */
    int (*matmul)(struct backend *b, struct tensor *out, const struct tensor *x,
                  const struct tensor *w, const struct tensor *bias, size_t n, struct err *err);
    /* The same with all bits of float32 on every device: for routers, whose ties choose experts. */
    int (*matmul_full)(struct backend *b, struct tensor *out, const struct tensor *x,
                       const struct tensor *w, const struct tensor *bias, size_t n,
                       struct err *err);
    int (*clamp)(struct backend *b, struct tensor *x, size_t n, double limit, struct err *err);
    /* Rotary embedding in place, half-split form; position = row modulo window. */
    int (*rope)(struct backend *b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
                size_t window, double theta, struct err *err);
    int (*attention)(struct backend *b, struct tensor *out, const struct tensor *q,
                     const struct tensor *k, const struct tensor *v, size_t n,
                     const struct backend_attention *shape, struct err *err);
    int (*add)(struct backend *b, struct tensor *x, const struct tensor *y, size_t n,
               struct err *err); /* x += y */
    int (*swiglu)(struct backend *b, struct tensor *out, const struct tensor *gate,
                  const struct tensor *up, size_t n, struct err *err); /* silu(gate) * up */
    /* x += sigmoid(logit[n][1]) * y; logit NULL: x += y */
    int (*add_gated)(struct backend *b, struct tensor *x, const struct tensor *y,
                     const struct tensor *logit, size_t n, struct err *err);

    /* --- Experts. --- */
    /* softmax over logits[n][N] in float32, the K largest, renormalised if asked; fills `groups`
     * (released by backend_groups_release). */
    int (*route)(struct backend *b, struct backend_groups *groups, const struct tensor *logits,
                 size_t n, size_t top_k, bool normalize, struct err *err);
    int (*gather)(struct backend *b, struct tensor *out, const struct tensor *x,
                  const struct backend_groups *groups, struct err *err);
    /* out[slot] = x[slot] w[expert of slot]^T; w: [N] tensors. */
    int (*grouped_matmul)(struct backend *b, struct tensor *out, const struct tensor *x,
                          struct tensor *const *w, const struct backend_groups *groups,
                          struct err *err);
    /* x[token] += sum over its K slots of gate * y[slot], in the order of rising expert. */
    int (*combine)(struct backend *b, struct tensor *x, const struct tensor *y,
                   const struct backend_groups *groups, struct err *err);

    /* --- Calibration. --- */
    /* Lower triangle of h[e] (F64, [i][i]) += that of X_e^T X_e over the slots of e; what is in
     * the upper one does not matter, and nothing may be read from there. */
    int (*grouped_gram)(struct backend *b, struct tensor *const *h, const struct tensor *x,
                        const struct backend_groups *groups, struct err *err);
    /* The same for one matrix of n rows. */
    int (*gram)(struct backend *b, struct tensor *h, const struct tensor *x, size_t n,
                struct err *err);
    /* sum[e][i] += sum over slots of |x_i|, (F64 [N][i]); for awq channel scores. */
    int (*grouped_abs)(struct backend *b, struct tensor *sum, const struct tensor *x,
                       const struct backend_groups *groups, struct err *err);

    /* --- Quantization. Host operands, one batch; items are independent. --- */
    /* Lower Cholesky factor of each [d][d] in place (upper triangle zeroed). failed[i]: the i-th
     * is not positive definite, its contents are then unspecified. */
    int (*cholesky)(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                    enum backend_precision precision, bool *failed, struct err *err);
    int (*sweep)(struct backend *b, const struct backend_sweep *problems, size_t count,
                 enum backend_precision precision, struct err *err);

    /* --- Hessians and weights that never leave the device. NULL, all of them, where tensors lie in
     * the host's memory. --- */
    /* mean = sum of `sums` / divisor; lower triangles. */
    int (*hessian_mean)(struct backend *b, struct tensor *mean, struct tensor *const *sums,
                        size_t count, double divisor, struct err *err);
    /* out[i][d]: diagonals. ERR_NUMERIC where some value of a lower triangle is not finite. */
    int (*hessian_diagonals)(struct backend *b, double *const *out, const struct backend_hessian *h,
                             size_t count, struct err *err);
    /* cholesky() in double precision, for sweep(). */
    int (*hessian_factorize)(struct backend *b, const struct backend_factor *factors, size_t count,
                             bool *failed, struct err *err);
    /* The same bits as src/quant/grid.h gives. */
    int (*fit_grids)(struct backend *b, const struct backend_grid_rule *rule,
                     struct backend_grid *problems, size_t count, struct err *err);

    /* --- Evaluation. --- */
    /* nll[i] = -log softmax(x[i] head^T)[target[i]], natural log, for rows with target >= 0. */
    int (*nll)(struct backend *b, double *nll, const struct tensor *x, const struct tensor *head,
               const int64_t *target, size_t n, struct err *err);
};

struct backend {
    const struct backend_ops *ops;
    /* How often chunks of tokens and batches of linears are halved, set by the owner after
     * ERR_DEVICE_MEMORY; those who cut work into chunks look at it. 0 at first. */
    unsigned halvings;
    /* Tokens at a time with which the device has enough to do; 0: any number. */
    size_t chunk_tokens;
};

static inline struct parallel *backend_pool(struct backend *b)
{
    return b->ops->pool ? b->ops->pool(b) : NULL;
}

/*
 * To be called first in main(): OpenBLAS picks its kernels while the program is loaded, and old
 * versions pick ones of half the speed on CPUs that are newer than they are. Where that is so and
 * the user has not set OPENBLAS_CORETYPE, sets it and starts the program once more in the same
 * process. Returns where nothing is to be done (or the start fails: slow kernels are right, too).
 */
void backend_cpu_prepare(char **argv);

/* threads = 0: all that this process may use. */
ERR_CHECK int backend_cpu_new(struct backend **out, size_t threads, struct err *err);
void backend_free(struct backend *b); /* NULL is legal */

/* Counting sort of (expert, gate) choices already in groups->expert/gate: fills offset, row and
 * slot. For backends that pick the experts themselves and for tests. */
ERR_CHECK int backend_groups_sort(struct backend_groups *g, struct err *err);
/* Allocates the arrays for tokens, experts, top_k already set. */
ERR_CHECK int backend_groups_alloc(struct backend_groups *g, struct err *err);
void backend_groups_release(struct backend_groups *g);

#endif
