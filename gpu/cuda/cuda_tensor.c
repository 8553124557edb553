/* Tensors of the CUDA backend: device memory, filled and read through staging buffers. */
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

int cuda_expect(struct cuda_backend *c, const struct tensor *t, const char *name,
                enum tensor_kind kind, size_t n, size_t columns, struct err *err)
{
    int rc = cuda_ready(c, err);
    if (rc < 0)
        return rc;
    if (t->kind != kind)
        return err_set(err, ERR_USAGE, NULL, "%s: expected a tensor of float%s", name,
                       kind == TENSOR_F64 ? "64" : "32");
    if (t->rows < n || t->columns != columns)
        return err_set(err, ERR_USAGE, NULL,
                       "%s: a tensor of %zu x %zu, expected at least %zu rows of %zu", name,
                       t->rows, t->columns, n, columns);
    return 0;
}

int cuda_tensor_new(struct backend *b, struct tensor **out, enum tensor_kind kind, size_t rows,
                    size_t columns, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t count, bytes;
    *out = NULL;
    if (!mem_mul(&count, rows, columns) ||
        !mem_mul(&bytes, count, kind == TENSOR_F64 ? sizeof(double) : sizeof(float)))
        return err_set(err, ERR_DEVICE_MEMORY, NULL, "a tensor of %zu x %zu does not fit in memory",
                       rows, columns);
    struct tensor *t = mem_array(1, sizeof *t, err);
    if (!t)
        return ERR_NOMEM;
    void *memory;
    int rc = cuda_alloc(c, &memory, bytes, err);
    *t = (struct tensor){.kind = kind, .rows = rows, .columns = columns, .bytes = bytes};
    t->f = kind == TENSOR_F32 ? memory : NULL;
    t->d = kind == TENSOR_F64 ? memory : NULL;
    if (rc == 0)
        rc = cuda_fill_zero(b, t, err);
    if (rc < 0) {
        cuda_tensor_free(b, t);
        return rc;
    }
    *out = t;
    return 0;
}

void cuda_tensor_free(struct backend *b, struct tensor *t)
{
    if (!t)
        return;
    cuda_release(cuda_self(b), t->f, t->bytes);
    cuda_release(cuda_self(b), t->d, t->bytes);
    free(t);
}

int cuda_fill_zero(struct backend *b, struct tensor *t, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    int rc = cuda_ready(c, err);
    if (rc < 0 || t->bytes == 0)
        return rc;
    return cuda_check(c, cudaMemsetAsync(t->f ? (void *)t->f : t->d, 0, t->bytes, c->compute),
                      "fill with zeros", err);
}

static int check_rows(const struct tensor *t, size_t first, size_t rows, struct err *err)
{
    if (first > t->rows || rows > t->rows - first)
        return err_set(err, ERR_USAGE, NULL, "rows %zu to %zu of a tensor of %zu rows", first,
                       first + rows, t->rows);
    return 0;
}

static const size_t source_bytes[] = {
    [SOURCE_F64] = 8, [SOURCE_F32] = 4, [SOURCE_F16] = 2, [SOURCE_BF16] = 2};

int cuda_upload(struct backend *b, struct tensor *t, size_t first, size_t rows,
                enum backend_source source, const void *data, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t count = rows * t->columns, from = first * t->columns, size = source_bytes[source];
    int rc = check_rows(t, first, rows, err);
    if (rc < 0)
        return rc;
    if (t->kind == TENSOR_F64 && source != SOURCE_F64)
        return err_set(err, ERR_USAGE, NULL, "a float64 tensor is filled from float64 only");
    if (t->kind == TENSOR_F64)
        return cuda_put(c, t->d + from, data, count * size, err);
    for (size_t at = 0, step = CUDA_SLOT_BYTES / size; rc == 0 && at < count; at += step) {
        size_t elements = count - at < step ? count - at : step;
        void *staged;
        rc = cuda_stage(c, (const unsigned char *)data + at * size, elements * size, &staged, err);
        if (rc == 0)
            rc = cuda_check(
                c, cuda_k_convert(c->compute, t->f + from + at, staged, (int)source, elements),
                "upload", err);
        if (rc == 0)
            rc = cuda_staged(c, err);
    }
    return rc;
}

bool cuda_upload_waits(struct backend *b, size_t bytes)
{
    return !cuda_slots_free(cuda_self(b), (bytes + CUDA_SLOT_BYTES - 1) / CUDA_SLOT_BYTES);
}

int cuda_download(struct backend *b, const struct tensor *t, size_t first, size_t rows, float *out,
                  struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t from = first * t->columns, bytes = rows * t->columns * sizeof *out;
    int rc = check_rows(t, first, rows, err);
    if (rc < 0)
        return rc;
    if (t->kind == TENSOR_F32)
        return cuda_get(c, out, t->f + from, bytes, err);
    float *narrow;
    rc = cuda_alloc(c, &narrow, bytes, err);
    if (rc == 0 && bytes)
        rc = cuda_check(c, cuda_k_narrow(c->compute, narrow, t->d + from, rows * t->columns),
                        "download", err);
    if (rc == 0)
        rc = cuda_get(c, out, narrow, bytes, err);
    cuda_release(c, narrow, bytes);
    return rc;
}

int cuda_download_f64(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                      double *out, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t from = first * t->columns, bytes = rows * t->columns * sizeof *out;
    int rc = check_rows(t, first, rows, err);
    if (rc < 0)
        return rc;
    if (t->kind == TENSOR_F64)
        return cuda_get(c, out, t->d + from, bytes, err);
    double *wide;
    rc = cuda_alloc(c, &wide, bytes, err);
    if (rc == 0 && bytes)
        rc = cuda_check(c, cuda_k_widen(c->compute, wide, t->f + from, rows * t->columns),
                        "download", err);
    if (rc == 0)
        rc = cuda_get(c, out, wide, bytes, err);
    cuda_release(c, wide, bytes);
    return rc;
}
