/*
 * A CUDA module without CUDA, for tests of what surrounds one: loading, choosing a device, and
 * going on after a failure. It computes on the CPU and fails as the environment says:
 *
 *   FAKE_CUDA_DEVICES=N    devices there are (1); "old": a driver that is too old
 *   FAKE_CUDA_ABI=N        of another version of the program
 *   FAKE_CUDA_FAIL=KIND@N  the N-th operation fails (from 1 on): "memory", once; "device", which
 *                          breaks the backend for good; "crash" ends the process, "hang" never ends
 *   FAKE_CUDA_COUNT=FILE   gets the number of operations when a backend is freed
 *
 * The memory limit of the options holds. A backend that is freed before its tensors aborts.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"
#include "gpu/cuda/cuda_module.h"

struct fake {
    struct backend base;
    struct backend *inner;
    int device;
    uint64_t limit, used;
    size_t tensors, operations, fail_at;
    enum err_code kind; /* of the failure to come; ERR_OK: none */
    bool broken, crashes, hangs;
};

static struct fake *self(struct backend *b)
{
    return (struct fake *)b;
}

static int gate(struct backend *b, const char *operation, struct err *err)
{
    struct fake *f = self(b);
    f->operations++;
    if (f->operations == f->fail_at && f->crashes)
        abort();
    while (f->operations == f->fail_at && f->hangs)
        pause();
    if (f->kind == ERR_DEVICE && f->operations == f->fail_at)
        f->broken = true;
    if (f->broken)
        return err_set(err, ERR_DEVICE, NULL, "%s: the fake device fell off the bus", operation);
    if (f->kind == ERR_DEVICE_MEMORY && f->operations == f->fail_at)
        return err_set(err, ERR_DEVICE_MEMORY, NULL, "%s: the fake device has no memory left",
                       operation);
    return 0;
}

static uint64_t bytes_of(const struct tensor *t)
{
    return (uint64_t)t->rows * t->columns *
           (t->kind == TENSOR_F64 ? sizeof(double) : sizeof(float));
}

static int fake_tensor_new(struct backend *b, struct tensor **out, enum tensor_kind kind,
                           size_t rows, size_t columns, struct err *err)
{
    struct fake *f = self(b);
    struct tensor want = {.kind = kind, .rows = rows, .columns = columns};
    *out = NULL;
    int rc = gate(b, "tensor_new", err);
    if (rc == 0 && bytes_of(&want) > f->limit - f->used)
        rc = err_set(err, ERR_DEVICE_MEMORY, NULL,
                     "tensor_new: %llu bytes on the fake device, %llu are free",
                     (unsigned long long)bytes_of(&want), (unsigned long long)(f->limit - f->used));
    if (rc == 0)
        rc = f->inner->ops->tensor_new(f->inner, out, kind, rows, columns, err);
    if (rc == 0) {
        f->used += bytes_of(*out);
        f->tensors++;
    }
    return rc;
}

static void fake_tensor_free(struct backend *b, struct tensor *t)
{
    struct fake *f = self(b);
    if (!t)
        return;
    f->used -= bytes_of(t);
    f->tensors--;
    f->inner->ops->tensor_free(f->inner, t);
}

static void fake_free(struct backend *b)
{
    struct fake *f = self(b);
    const char *path = getenv("FAKE_CUDA_COUNT");
    FILE *file = path ? fopen(path, "w") : NULL;
    if (file) {
        fprintf(file, "%zu\n", f->operations);
        fclose(file);
    }
    if (f->tensors) {
        fprintf(stderr, "fake CUDA: %zu tensors outlive their backend\n", f->tensors);
        abort();
    }
    backend_free(f->inner);
    free(f);
}

static void fake_describe(const struct backend *b, char *out, size_t size)
{
    const struct fake *f = (const struct fake *)b;
    snprintf(out, size, "fake device %d", f->device);
}

static struct parallel *fake_pool(struct backend *b)
{
    return backend_pool(self(b)->inner);
}

static void fake_memory(struct backend *b, uint64_t *free_bytes, uint64_t *used)
{
    *free_bytes = self(b)->limit - self(b)->used;
    *used = self(b)->used;
}

/* name, parameters behind the backend, arguments behind the backend */
#define OPERATION(name, parameters, arguments) \
    static int fake_##name parameters          \
    {                                          \
        int rc = gate(b, #name, err);          \
        if (rc < 0)                            \
            return rc;                         \
        b = self(b)->inner;                    \
        return b->ops->name arguments;         \
    }

OPERATION(upload,
          (struct backend * b, struct tensor *t, size_t first, size_t rows,
           enum backend_source source, const void *data, struct err *err),
          (b, t, first, rows, source, data, err))
OPERATION(download,
          (struct backend * b, const struct tensor *t, size_t first, size_t rows, float *out,
           struct err *err),
          (b, t, first, rows, out, err))
OPERATION(download_f64,
          (struct backend * b, const struct tensor *t, size_t first, size_t rows, double *out,
           struct err *err),
          (b, t, first, rows, out, err))
OPERATION(fill_zero, (struct backend * b, struct tensor *t, struct err *err), (b, t, err))
OPERATION(embed,
          (struct backend * b, struct tensor *out, const struct tensor *table, const uint32_t *ids,
           size_t n, struct err *err),
          (b, out, table, ids, n, err))
OPERATION(rms_norm,
          (struct backend * b, struct tensor *out, const struct tensor *x,
           const struct tensor *weight, size_t n, size_t group, double eps, struct err *err),
          (b, out, x, weight, n, group, eps, err))
OPERATION(matmul,
          (struct backend * b, struct tensor *out, const struct tensor *x, const struct tensor *w,
           const struct tensor *bias, size_t n, struct err *err),
          (b, out, x, w, bias, n, err))
OPERATION(matmul_full,
          (struct backend * b, struct tensor *out, const struct tensor *x, const struct tensor *w,
           const struct tensor *bias, size_t n, struct err *err),
          (b, out, x, w, bias, n, err))
OPERATION(clamp, (struct backend * b, struct tensor *x, size_t n, double limit, struct err *err),
          (b, x, n, limit, err))
OPERATION(rope,
          (struct backend * b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
           size_t window, double theta, struct err *err),
          (b, x, n, heads, head_dim, window, theta, err))
OPERATION(attention,
          (struct backend * b, struct tensor *out, const struct tensor *q, const struct tensor *k,
           const struct tensor *v, size_t n, const struct backend_attention *shape,
           struct err *err),
          (b, out, q, k, v, n, shape, err))
OPERATION(add,
          (struct backend * b, struct tensor *x, const struct tensor *y, size_t n, struct err *err),
          (b, x, y, n, err))
OPERATION(swiglu,
          (struct backend * b, struct tensor *out, const struct tensor *gate_in,
           const struct tensor *up, size_t n, struct err *err),
          (b, out, gate_in, up, n, err))
OPERATION(add_gated,
          (struct backend * b, struct tensor *x, const struct tensor *y, const struct tensor *logit,
           size_t n, struct err *err),
          (b, x, y, logit, n, err))
OPERATION(route,
          (struct backend * b, struct backend_groups *groups, const struct tensor *logits, size_t n,
           size_t top_k, bool normalize, struct err *err),
          (b, groups, logits, n, top_k, normalize, err))
OPERATION(gather,
          (struct backend * b, struct tensor *out, const struct tensor *x,
           const struct backend_groups *groups, struct err *err),
          (b, out, x, groups, err))
OPERATION(grouped_matmul,
          (struct backend * b, struct tensor *out, const struct tensor *x, struct tensor *const *w,
           const struct backend_groups *groups, struct err *err),
          (b, out, x, w, groups, err))
OPERATION(combine,
          (struct backend * b, struct tensor *x, const struct tensor *y,
           const struct backend_groups *groups, struct err *err),
          (b, x, y, groups, err))
OPERATION(grouped_gram,
          (struct backend * b, struct tensor *const *h, const struct tensor *x,
           const struct backend_groups *groups, struct err *err),
          (b, h, x, groups, err))
OPERATION(gram,
          (struct backend * b, struct tensor *h, const struct tensor *x, size_t n, struct err *err),
          (b, h, x, n, err))
OPERATION(grouped_abs,
          (struct backend * b, struct tensor *sum, const struct tensor *x,
           const struct backend_groups *groups, struct err *err),
          (b, sum, x, groups, err))
OPERATION(cholesky,
          (struct backend * b, double *const *matrices, const size_t *d, size_t count,
           enum backend_precision precision, bool *failed, struct err *err),
          (b, matrices, d, count, precision, failed, err))
OPERATION(sweep,
          (struct backend * b, const struct backend_sweep *problems, size_t count,
           enum backend_precision precision, struct err *err),
          (b, problems, count, precision, err))
OPERATION(nll,
          (struct backend * b, double *nll, const struct tensor *x, const struct tensor *head,
           const int64_t *target, size_t n, struct err *err),
          (b, nll, x, head, target, n, err))

static const struct backend_ops fake_ops = {
    .name = "cuda",
    .free = fake_free,
    .describe = fake_describe,
    .pool = fake_pool,
    .memory = fake_memory,
    .tensor_new = fake_tensor_new,
    .tensor_free = fake_tensor_free,
    .upload = fake_upload,
    .download = fake_download,
    .download_f64 = fake_download_f64,
    .fill_zero = fake_fill_zero,
    .embed = fake_embed,
    .rms_norm = fake_rms_norm,
    .matmul = fake_matmul,
    .matmul_full = fake_matmul_full,
    .clamp = fake_clamp,
    .rope = fake_rope,
    .attention = fake_attention,
    .add = fake_add,
    .swiglu = fake_swiglu,
    .add_gated = fake_add_gated,
    .route = fake_route,
    .gather = fake_gather,
    .grouped_matmul = fake_grouped_matmul,
    .combine = fake_combine,
    .grouped_gram = fake_grouped_gram,
    .gram = fake_gram,
    .grouped_abs = fake_grouped_abs,
    .cholesky = fake_cholesky,
    .sweep = fake_sweep,
    .nll = fake_nll,
};

static const uint64_t card = (uint64_t)8 << 30;

static void read_failure(struct fake *f)
{
    const char *text = getenv("FAKE_CUDA_FAIL");
    const char *at = text ? strchr(text, '@') : NULL;
    if (!at)
        return;
    f->kind = strncmp(text, "device", 6) == 0   ? ERR_DEVICE
              : strncmp(text, "memory", 6) == 0 ? ERR_DEVICE_MEMORY
                                                : ERR_OK;
    f->crashes = strncmp(text, "crash", 5) == 0;
    f->hangs = strncmp(text, "hang", 4) == 0;
    f->fail_at = strtoul(at + 1, NULL, 10);
}

int cuda_backend_new(struct backend **out, const struct cuda_options *options, struct err *err)
{
    *out = NULL;
    struct fake *f = mem_array(1, sizeof *f, err);
    if (!f)
        return ERR_NOMEM;
    f->base.ops = &fake_ops;
    f->device = options->device;
    f->limit = options->memory_limit ? options->memory_limit : card;
    read_failure(f);
    int rc = backend_cpu_new(&f->inner, options->threads, err);
    if (rc < 0)
        free(f);
    else
        *out = &f->base;
    return rc;
}

static void fake_device(struct cuda_device *d, size_t index)
{
    *d = (struct cuda_device){.index = (int)index,
                              .name = "Fake \x1b[31mdevice",
                              .major = 9,
                              .memory_total = card,
                              .memory_free = card};
    if (index == 2)
        snprintf(d->unusable, sizeof d->unusable, "compute capability 3.0");
}

static int fake_devices(struct cuda_device *out, size_t first, size_t max, size_t *count,
                        struct err *err)
{
    const char *text = getenv("FAKE_CUDA_DEVICES");
    *count = text ? strtoul(text, NULL, 10) : 1;
    if (text && strcmp(text, "old") == 0)
        return err_set(err, ERR_DEVICE, NULL, "the CUDA driver is too old: found one for CUDA 9.0");
    if (*count == 0)
        return err_set(err, ERR_DEVICE, NULL, "the CUDA driver finds no device");
    for (size_t i = 0; i < max && first + i < *count; i++)
        fake_device(&out[i], first + i);
    return 0;
}

const struct cuda_module *moqa_cuda_module(void)
{
    static struct cuda_module module = {.abi = CUDA_MODULE_ABI,
                                        .build = "fake",
                                        .devices = fake_devices,
                                        .backend_new = cuda_backend_new};
    const char *abi = getenv("FAKE_CUDA_ABI");
    module.abi = abi ? (unsigned)strtoul(abi, NULL, 10) : CUDA_MODULE_ABI;
    return &module;
}
