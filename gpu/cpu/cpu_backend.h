/*
 * Inside of the CPU backend: its struct, its tensors and the functions of its table that live in
 * files of their own. Only gpu/cpu/ includes this.
 *
 * Work is cut into items of a size that depends on shapes alone, and every BLAS call runs on one
 * thread: the results are the same bytes at any number of threads.
 */
#ifndef MOQA_GPU_CPU_CPU_BACKEND_H
#define MOQA_GPU_CPU_CPU_BACKEND_H

#include "data/base/parallel.h"
#include "gpu/backend.h"

struct tensor {
    enum tensor_kind kind;
    size_t rows, columns;
    float *f;  /* [rows][columns] where kind is TENSOR_F32, else NULL */
    double *d; /* the same where kind is TENSOR_F64 */
};

struct cpu_backend {
    struct backend base; /* first: a struct backend * is cast to this */
    struct parallel *pool;
    size_t threads;
    float **scratch;      /* [thread] grown by cpu_scratch() */
    size_t *scratch_size; /* [thread] floats */
};

static inline struct cpu_backend *cpu_self(struct backend *b)
{
    return (struct cpu_backend *)b;
}

/* Gives every worker at least `floats` floats in scratch[worker], contents unspecified. */
ERR_CHECK int cpu_scratch(struct cpu_backend *c, size_t floats, struct err *err);
/* The same for the first `spaces` alone: those of parallel_space(). */
ERR_CHECK int cpu_scratch_spaces(struct cpu_backend *c, size_t spaces, size_t floats,
                                 struct err *err);

/* ERR_USAGE unless t is of `kind` with at least n rows and exactly `columns` columns. */
ERR_CHECK int cpu_expect(const struct tensor *t, const char *name, enum tensor_kind kind, size_t n,
                         size_t columns, struct err *err);

/* --- cpu_blas.c: one-thread products. --- */
void cpu_blas_init(void); /* OpenBLAS to one thread */
/* c[m][n] = a[m][k] b[n][k]^T, row strides lda, ldb, ldc. */
void cpu_gemm_nt(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                 size_t ldb, float *c, size_t ldc);
/* c[m][n] = a[m][k] b[k][n] */
void cpu_gemm_nn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                 size_t ldb, float *c, size_t ldc);
/* c[m][n] = a[k][m]^T b[k][n] */
void cpu_gemm_tn(size_t m, size_t n, size_t k, const float *a, size_t lda, const float *b,
                 size_t ldb, float *c, size_t ldc);
/* Lower triangle of c[n][n] = a[m][n]^T a; the upper one is left as it is. */
void cpu_syrk_tn(size_t n, size_t m, const float *a, size_t lda, float *c, size_t ldc);

/* --- cpu_tensor.c --- */
int cpu_tensor_new(struct backend *b, struct tensor **out, enum tensor_kind kind, size_t rows,
                   size_t columns, struct err *err);
void cpu_tensor_free(struct backend *b, struct tensor *t);
int cpu_upload(struct backend *b, struct tensor *t, size_t first, size_t rows,
               enum backend_source source, const void *data, struct err *err);
int cpu_download(struct backend *b, const struct tensor *t, size_t first, size_t rows, float *out,
                 struct err *err);
int cpu_download_f64(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                     double *out, struct err *err);
int cpu_fill_zero(struct backend *b, struct tensor *t, struct err *err);

/* --- cpu_cholesky.c, cpu_sweep.c --- */
int cpu_cholesky(struct backend *b, double *const *matrices, const size_t *d, size_t count,
                 enum backend_precision precision, bool *failed, struct err *err);
int cpu_sweep(struct backend *b, const struct backend_sweep *problems, size_t count,
              enum backend_precision precision, struct err *err);

#endif
