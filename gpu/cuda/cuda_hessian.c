/* Hessians that stay on the device from their sums to their factors; the host sees diagonals. */
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

static int expect_sum(struct cuda_backend *c, const struct tensor *t, size_t d, struct err *err)
{
    if (d > UINT16_MAX)
        return err_set(err, ERR_UNSUPPORTED, NULL, "a Hessian of %zu inputs; at most %d", d,
                       UINT16_MAX);
    return cuda_expect(c, t, "Hessian", TENSOR_F64, d, d, err);
}

int cuda_hessian_mean(struct backend *b, struct tensor *mean, struct tensor *const *sums,
                      size_t count, double divisor, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t d = mean->columns;
    int rc = expect_sum(c, mean, d, err);
    if (rc == 0)
        rc = cuda_fill_zero(b, mean, err);
    for (size_t i = 0; rc == 0 && d && i < count; i++) {
        rc = expect_sum(c, sums[i], d, err);
        if (rc == 0)
            rc = cuda_check(c, cuda_k_add_matrix(c->compute, mean->d, sums[i]->d, d), "mean", err);
    }
    if (rc == 0 && d)
        rc = cuda_check(c, cuda_k_divide_matrix(c->compute, mean->d, divisor, d), "mean", err);
    return rc;
}

static int check_hessian(struct cuda_backend *c, const struct backend_hessian *h,
                         struct cuda_hessian_args *args, struct err *err)
{
    int rc = expect_sum(c, h->sum, h->d, err);
    if (rc == 0 && h->mean)
        rc = expect_sum(c, h->mean, h->d, err);
    if (rc == 0)
        *args = (struct cuda_hessian_args){.sum = h->sum->d,
                                           .mean = h->mean ? h->mean->d : NULL,
                                           .borrowed = h->borrowed,
                                           .divisor = h->divisor,
                                           .d = h->d};
    return rc;
}

/* Of all Hessians one after another: diagonals, and marks where something is not finite. */
struct diagonals {
    size_t size; /* of all */
    double *value, *host_value;
    int *infinite, *host_infinite;
};

static int diagonals_alloc(struct cuda_backend *c, struct diagonals *d, struct err *err)
{
    d->host_value = mem_array(d->size, sizeof *d->host_value, err);
    d->host_infinite = mem_array(d->size, sizeof *d->host_infinite, err);
    if (!d->host_value || !d->host_infinite)
        return ERR_NOMEM;
    int rc = cuda_alloc(c, &d->value, d->size * sizeof *d->value, err);
    if (rc == 0)
        rc = cuda_alloc(c, &d->infinite, d->size * sizeof *d->infinite, err);
    return rc == 0
               ? cuda_check(
                     c, cudaMemsetAsync(d->infinite, 0, d->size * sizeof *d->infinite, c->compute),
                     "diagonals", err)
               : rc;
}

static void diagonals_release(struct cuda_backend *c, struct diagonals *d)
{
    cuda_release(c, d->value, d->size * sizeof *d->value);
    cuda_release(c, d->infinite, d->size * sizeof *d->infinite);
    free(d->host_value);
    free(d->host_infinite);
}

int cuda_hessian_diagonals(struct backend *b, double *const *out, const struct backend_hessian *h,
                           size_t count, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    struct diagonals d = {0};
    for (size_t i = 0; i < count; i++)
        d.size += h[i].d;
    int rc = d.size ? diagonals_alloc(c, &d, err) : 0;
    for (size_t i = 0, at = 0; rc == 0 && i < count; at += h[i++].d) {
        struct cuda_hessian_args args;
        rc = check_hessian(c, &h[i], &args, err);
        if (rc == 0 && h[i].d)
            rc = cuda_check(c, cuda_k_diagonal(c->compute, d.value + at, d.infinite + at, &args),
                            "diagonals", err);
    }
    if (rc == 0)
        rc = cuda_get(c, d.host_value, d.value, d.size * sizeof *d.value, err);
    if (rc == 0)
        rc = cuda_get(c, d.host_infinite, d.infinite, d.size * sizeof *d.infinite, err);
    for (size_t i = 0; rc == 0 && i < d.size; i++)
        if (d.host_infinite[i])
            rc = err_set(err, ERR_NUMERIC, NULL,
                         "the activations of the calibration text are not finite");
    for (size_t i = 0, at = 0; rc == 0 && i < count; at += h[i++].d)
        memcpy(out[i], d.host_value + at, h[i].d * sizeof **out);
    diagonals_release(c, &d);
    return rc;
}

/* Hessians of one size, side by side while they are factorized. */
struct factors {
    struct cuda_backend *c;
    const struct backend_factor *f;
    size_t count, d;
    struct cuda_table table; /* orders and diagonals */
    const uint32_t **order;  /* [count] where they lie there */
    const double **diagonal;
    double *a; /* device [count][d][d] */
    int *flags, *host_flags;
};

static void fill_table(struct cuda_table *t, void *context)
{
    const struct factors *f = context;
    for (size_t i = 0; i < f->count; i++) {
        f->order[i] = cuda_table_take(t, f->f[i].order, f->d * sizeof *f->f->order);
        f->diagonal[i] = cuda_table_take(t, f->f[i].diagonal, f->d * sizeof *f->f->diagonal);
    }
}

static int factors_alloc(struct factors *f, struct err *err)
{
    struct cuda_backend *c = f->c;
    f->order = mem_array(f->count, sizeof *f->order, err);
    f->diagonal = mem_array(f->count, sizeof *f->diagonal, err);
    f->host_flags = mem_array(f->count, sizeof *f->flags, err);
    if (!f->order || !f->diagonal || !f->host_flags)
        return ERR_NOMEM;
    int rc = cuda_alloc(c, &f->a, f->count * f->d * f->d * sizeof *f->a, err);
    if (rc == 0)
        rc = cuda_alloc(c, &f->flags, f->count * sizeof *f->flags, err);
    if (rc == 0)
        rc = cuda_check(c, cudaMemsetAsync(f->flags, 0, f->count * sizeof *f->flags, c->compute),
                        "factorize", err);
    return rc == 0 ? cuda_table_make(c, &f->table, fill_table, f, err) : rc;
}

static void factors_release(struct factors *f)
{
    cuda_release(f->c, f->a, f->count * f->d * f->d * sizeof *f->a);
    cuda_release(f->c, f->flags, f->count * sizeof *f->flags);
    cuda_table_release(f->c, &f->table);
    free(f->order);
    free(f->diagonal);
    free(f->host_flags);
}

/* Damped and permuted, each to its place. */
static int permute(struct factors *f, size_t i, struct err *err)
{
    struct cuda_hessian_args args;
    int rc = check_hessian(f->c, f->f[i].hessian, &args, err);
    if (rc == 0)
        rc = cuda_expect(f->c, f->f[i].factor, "factor", TENSOR_F64, f->d, f->d, err);
    return rc == 0 ? cuda_check(f->c,
                                cuda_k_permute(f->c->compute, f->a + i * f->d * f->d, &args,
                                               f->order[i], f->diagonal[i]),
                                "factorize", err)
                   : rc;
}

static int run_batch(struct factors *f, bool *failed, struct err *err)
{
    struct cuda_backend *c = f->c;
    size_t cells = f->d * f->d;
    int rc = factors_alloc(f, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++)
        rc = permute(f, i, err);
    if (rc == 0)
        rc = cuda_factorize(c, f->a, f->flags, f->count, f->d, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++)
        rc = cuda_check(c,
                        cudaMemcpyAsync(f->f[i].factor->d, f->a + i * cells, cells * sizeof *f->a,
                                        cudaMemcpyDeviceToDevice, c->compute),
                        "factorize", err);
    if (rc == 0)
        rc = cuda_get(c, f->host_flags, f->flags, f->count * sizeof *f->flags, err);
    for (size_t i = 0; rc == 0 && i < f->count; i++)
        failed[i] = f->host_flags[i] != 0;
    factors_release(f);
    return rc;
}

int cuda_hessian_factorize(struct backend *b, const struct backend_factor *factors, size_t count,
                           bool *failed, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    uint64_t room = cuda_cholesky_room(c);
    int rc = cuda_ready(c, err);
    for (size_t at = 0, end; rc == 0 && at < count; at = end) {
        size_t d = factors[at].hessian->d;
        uint64_t bytes = (uint64_t)d * d * sizeof(double);
        for (end = at + 1; end < count && factors[end].hessian->d == d &&
                           end - at < CUDA_CHOLESKY_MAX && (end - at + 1) * bytes <= room;
             end++)
            ;
        struct factors batch = {.c = c, .f = factors + at, .count = end - at, .d = d};
        if (d)
            rc = run_batch(&batch, failed + at, err);
        else
            memset(failed + at, 0, (end - at) * sizeof *failed);
    }
    return rc;
}
