/*
 * Inside of the CUDA backend: its struct, its memory and the functions of its table. Only gpu/cuda/
 * includes this.
 *
 * Two streams. `compute` has all kernels and products, and the memory: an allocation is usable and
 * a released one is given away in the order of that stream, so nothing waits for either. `copy`
 * brings host data through pinned buffers into staging memory of the device, from where a kernel
 * takes it over on `compute`: the next upload runs while earlier work is under way. Only downloads
 * and a full ring of staging buffers make the caller wait.
 */
#ifndef MOQA_GPU_CUDA_CUDA_BACKEND_H
#define MOQA_GPU_CUDA_CUDA_BACKEND_H

#include <cublas_v2.h>
#include <cuda_runtime_api.h>

#include "data/base/parallel.h"
#include "gpu/backend.h"
#include "gpu/cuda/cuda_kernels.h"

/* Bytes of a staging buffer; a row of any matrix must fit. Tests make it small. */
#ifndef CUDA_SLOT_BYTES
#define CUDA_SLOT_BYTES ((size_t)4 << 20)
#endif

enum { CUDA_SLOTS = 16, CUDA_DOWN_SLOTS = 2, CUDA_DESCRIPTION_MAX = 256 };

struct tensor {
    enum tensor_kind kind;
    size_t rows, columns;
    size_t bytes;
    float *f;  /* device, [rows][columns] where kind is TENSOR_F32, else NULL */
    double *d; /* the same where kind is TENSOR_F64 */
};

/* A buffer of the ring that uploads go through. */
struct cuda_slot {
    unsigned char *host;   /* pinned */
    unsigned char *device; /* staging */
    cudaEvent_t copied;    /* host memory is free again */
    cudaEvent_t consumed;  /* staging memory is free again */
};

struct cuda_down {
    unsigned char *host; /* pinned */
    cudaEvent_t arrived;
    unsigned char *to; /* where its bytes go, and how many */
    size_t bytes;
};

/* One of several copies from the device. */
struct cuda_piece {
    void *host;
    const void *device;
    size_t bytes;
};

struct cuda_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    struct parallel *pool;
    int device;
    bool pools; /* the driver allocates in the order of a stream */
    bool tf32;  /* operands of products may be rounded to it */
    cudaStream_t compute, copy;
    cublasHandle_t blas;
    void *blas_workspace;
    struct cuda_slot slot[CUDA_SLOTS];
    size_t next_slot;
    struct cuda_down down[CUDA_DOWN_SLOTS];
    uint64_t limit, used; /* bytes of device memory */
    bool short_of_memory; /* ERR_DEVICE_MEMORY was returned by other than the limit, and the pool
                             has not been emptied since */
    bool failed;          /* ERR_DEVICE was returned: nothing works any more */
    char failure[CUDA_DESCRIPTION_MAX];
    char description[CUDA_DESCRIPTION_MAX];
};

static inline struct cuda_backend *cuda_self(struct backend *b)
{
    return (struct cuda_backend *)b;
}

/* --- cuda_memory.c --- */
/* 0, or ERR_DEVICE_MEMORY, or ERR_DEVICE, after which the backend has failed. */
int cuda_check(struct cuda_backend *c, cudaError_t code, const char *what, struct err *err);
int cuda_check_blas(struct cuda_backend *c, cublasStatus_t status, const char *what,
                    struct err *err);
/* ERR_DEVICE once the backend has failed; else its device is the calling thread's. */
int cuda_ready(struct cuda_backend *c, struct err *err);

/* Of so many bytes that are free at the start, those that the backend may take: cuBLAS and the
 * driver take some beside it, for kernels that they load when they are first used. */
uint64_t cuda_usable(uint64_t free_bytes);
/* Device memory in the order of `compute`, contents unspecified; counted against the limit. Where
 * the driver refuses, the pool is emptied and it is asked once more. */
ERR_CHECK int cuda_alloc(struct cuda_backend *c, void *out, size_t bytes, struct err *err);
void cuda_release(struct cuda_backend *c, void *memory, size_t bytes); /* NULL is legal */
/* Bytes that may still be allocated. */
uint64_t cuda_room(struct cuda_backend *c);
/* Bytes for what is done at once, at most `most`. A power of two that follows from the limit, and
 * is smaller only where the limit leaves less: equal runs shall cut their work alike whatever else
 * takes memory on the device, since cuBLAS may add in another order for another number of matrices.
 */
uint64_t cuda_batch_room(const struct cuda_backend *c, uint64_t most);

/* At most CUDA_SLOT_BYTES of host data into staging memory, to be used by work queued on `compute`
 * before cuda_staged() is called. The host data is free on return. */
ERR_CHECK int cuda_stage(struct cuda_backend *c, const void *data, size_t bytes, void *staged,
                         struct err *err);
ERR_CHECK int cuda_staged(struct cuda_backend *c, struct err *err);
/* Are the next `count` buffers free now? */
bool cuda_slots_free(struct cuda_backend *c, size_t count);
/* Host data of any size to device memory, and back; the latter waits for all that was queued. */
ERR_CHECK int cuda_put(struct cuda_backend *c, void *device, const void *host, size_t bytes,
                       struct err *err);
ERR_CHECK int cuda_get(struct cuda_backend *c, void *host, const void *device, size_t bytes,
                       struct err *err);
ERR_CHECK int cuda_get_pieces(struct cuda_backend *c, const struct cuda_piece *pieces, size_t count,
                              struct err *err);
/* cuda_alloc() and cuda_put(). */
ERR_CHECK int cuda_copy_of(struct cuda_backend *c, void *out, const void *host, size_t bytes,
                           struct err *err);
int cuda_slots_init(struct cuda_backend *c, struct err *err);
void cuda_slots_release(struct cuda_backend *c);

/* --- cuda_table.c: one upload for many small arrays. --- */
struct cuda_table {
    unsigned char *host;   /* NULL: only counts */
    unsigned char *device; /* what host will be */
    size_t used, bytes;    /* so far; in all */
};
/* Takes all arrays, in the same order every time. */
typedef void (*cuda_table_fill)(struct cuda_table *t, void *context);
/* Copies an array (zeros where `data` is NULL); returns where it will be. */
void *cuda_table_take(struct cuda_table *t, const void *data, size_t bytes);
/* The host's bytes from `at` on, an earlier `used`; NULL while it only counts. */
void *cuda_table_at(const struct cuda_table *t, size_t at);
/* Counts, fills and uploads; to be released in any case. */
ERR_CHECK int cuda_table_make(struct cuda_backend *c, struct cuda_table *t, cuda_table_fill fill,
                              void *context, struct err *err);
void cuda_table_release(struct cuda_backend *c, struct cuda_table *t);

/* --- cuda_tensor.c --- */
/* ERR_DEVICE once the backend has failed, ERR_USAGE unless t is of `kind` with at least n rows and
 * exactly `columns` columns. */
ERR_CHECK int cuda_expect(struct cuda_backend *c, const struct tensor *t, const char *name,
                          enum tensor_kind kind, size_t n, size_t columns, struct err *err);
int cuda_tensor_new(struct backend *b, struct tensor **out, enum tensor_kind kind, size_t rows,
                    size_t columns, struct err *err);
void cuda_tensor_free(struct backend *b, struct tensor *t);
int cuda_upload(struct backend *b, struct tensor *t, size_t first, size_t rows,
                enum backend_source source, const void *data, struct err *err);
bool cuda_upload_waits(struct backend *b, size_t bytes);
int cuda_download(struct backend *b, const struct tensor *t, size_t first, size_t rows, float *out,
                  struct err *err);
int cuda_download_f64(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                      double *out, struct err *err);
int cuda_fill_zero(struct backend *b, struct tensor *t, struct err *err);

/* --- cuda_forward.c --- */
/* out[n][columns] = x[n][in] w[columns][in]^T, summed in single precision; device pointers.
 * Operands are rounded to TF32 unless `full`, or the backend's owner forbids it. */
ERR_CHECK int cuda_product(struct cuda_backend *c, float *out, const float *x, const float *w,
                           size_t n, size_t columns, size_t in, bool full, struct err *err);
int cuda_embed(struct backend *b, struct tensor *out, const struct tensor *table,
               const uint32_t *ids, size_t n, struct err *err);
int cuda_rms_norm(struct backend *b, struct tensor *out, const struct tensor *x,
                  const struct tensor *weight, size_t n, size_t group, double eps, struct err *err);
int cuda_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                const struct tensor *w, const struct tensor *bias, size_t n, struct err *err);
int cuda_matmul_full(struct backend *b, struct tensor *out, const struct tensor *x,
                     const struct tensor *w, const struct tensor *bias, size_t n, struct err *err);
int cuda_clamp(struct backend *b, struct tensor *x, size_t n, double limit, struct err *err);
int cuda_rope(struct backend *b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
              size_t window, double theta, struct err *err);
int cuda_attention(struct backend *b, struct tensor *out, const struct tensor *q,
                   const struct tensor *k, const struct tensor *v, size_t n,
                   const struct backend_attention *shape, struct err *err);
int cuda_add(struct backend *b, struct tensor *x, const struct tensor *y, size_t n,
             struct err *err);
int cuda_swiglu(struct backend *b, struct tensor *out, const struct tensor *gate,
                const struct tensor *up, size_t n, struct err *err);
int cuda_add_gated(struct backend *b, struct tensor *x, const struct tensor *y,
                   const struct tensor *logit, size_t n, struct err *err);

/* --- cuda_experts.c --- */
int cuda_route(struct backend *b, struct backend_groups *groups, const struct tensor *logits,
               size_t n, size_t top_k, bool normalize, struct err *err);
int cuda_gather(struct backend *b, struct tensor *out, const struct tensor *x,
                const struct backend_groups *groups, struct err *err);
int cuda_grouped_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                        struct tensor *const *w, const struct backend_groups *groups,
                        struct err *err);
int cuda_combine(struct backend *b, struct tensor *x, const struct tensor *y,
                 const struct backend_groups *groups, struct err *err);

/* --- cuda_calibrate.c --- */
int cuda_grouped_gram(struct backend *b, struct tensor *const *h, const struct tensor *x,
                      const struct backend_groups *groups, struct err *err);
int cuda_gram(struct backend *b, struct tensor *h, const struct tensor *x, size_t n,
              struct err *err);
int cuda_grouped_abs(struct backend *b, struct tensor *sum, const struct tensor *x,
                     const struct backend_groups *groups, struct err *err);
int cuda_nll(struct backend *b, double *nll, const struct tensor *x, const struct tensor *head,
             const int64_t *target, size_t n, struct err *err);

/* --- cuda_hessian.c --- */
int cuda_hessian_mean(struct backend *b, struct tensor *mean, struct tensor *const *sums,
                      size_t count, double divisor, struct err *err);
int cuda_hessian_diagonals(struct backend *b, double *const *out, const struct backend_hessian *h,
                           size_t count, struct err *err);
int cuda_hessian_factorize(struct backend *b, const struct backend_factor *factors, size_t count,
                           bool *failed, struct err *err);

/* --- cuda_grid.c --- */
int cuda_fit_grids(struct backend *b, const struct backend_grid_rule *rule,
                   struct backend_grid *problems, size_t count, struct err *err);

/* --- cuda_cholesky.c, cuda_sweep_run.c --- */
enum { CUDA_CHOLESKY_MAX = 4096 }; /* matrices at a time */
/* Bytes that the matrices of one batch may take. */
uint64_t cuda_cholesky_room(const struct cuda_backend *c);
/* Lower factors of a[count][d][d] in place, upper triangles zeroed; failed[i] = 1 where a pivot is
 * not a positive number. Device pointers. */
ERR_CHECK int cuda_factorize(struct cuda_backend *c, double *a, int *failed, size_t count, size_t d,
                             struct err *err);
int cuda_cholesky(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                  enum backend_precision precision, bool *failed, struct err *err);
int cuda_sweep(struct backend *b, const struct backend_sweep *problems, size_t count,
               enum backend_precision precision, struct err *err);

#endif
