/* Tensors of the CPU backend: plain arrays, aligned for vector loads. */
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"

enum { BIG_BYTES = 16 << 20 };

/* Matrices of many megabytes come and go in equal sizes. Given back to the system and asked for
 * again, every page of theirs is cleared again, which can take longer than the arithmetic. From the
 * first of them on freed memory stays with the process, until cpu_free(). */
static void keep_memory(size_t bytes)
{
#if defined(__GLIBC__)
    if (bytes < BIG_BYTES)
        return;
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

int cpu_tensor_new(struct backend *b, struct tensor **out, enum tensor_kind kind, size_t rows,
                   size_t columns, struct err *err)
{
    (void)b;
    *out = NULL;
    size_t count;
    if (!mem_mul(&count, rows, columns))
        return err_set(err, ERR_NOMEM, NULL, "a tensor of %zu x %zu does not fit in memory", rows,
                       columns);
    struct tensor *t = mem_array(1, sizeof *t, err);
    if (!t)
        return ERR_NOMEM;
    t->kind = kind;
    t->rows = rows;
    t->columns = columns;
    size_t size = kind == TENSOR_F64 ? sizeof(double) : sizeof(float);
    if (count < SIZE_MAX / size)
        keep_memory(count * size);
    void *data = mem_aligned(count, size, err);
    if (!data) {
        free(t);
        return ERR_NOMEM;
    }
    memset(data, 0, count * size);
    t->f = kind == TENSOR_F32 ? data : NULL;
    t->d = kind == TENSOR_F64 ? data : NULL;
    *out = t;
    return 0;
}

void cpu_tensor_free(struct backend *b, struct tensor *t)
{
    (void)b;
    if (!t)
        return;
    free(t->f);
    free(t->d);
    free(t);
}

int cpu_expect(const struct tensor *t, const char *name, enum tensor_kind kind, size_t n,
               size_t columns, struct err *err)
{
    if (t->kind != kind)
        return err_set(err, ERR_USAGE, NULL, "%s: expected a tensor of float%s", name,
                       kind == TENSOR_F64 ? "64" : "32");
    if (t->rows < n || t->columns != columns)
        return err_set(err, ERR_USAGE, NULL,
                       "%s: a tensor of %zu x %zu, expected at least %zu rows of %zu", name,
                       t->rows, t->columns, n, columns);
    return 0;
}

static int check_rows(const struct tensor *t, size_t first, size_t rows, struct err *err)
{
    if (first > t->rows || rows > t->rows - first)
        return err_set(err, ERR_USAGE, NULL, "rows %zu to %zu of a tensor of %zu rows", first,
                       first + rows, t->rows);
    return 0;
}

enum { UPLOAD_ITEM = 1 << 16 }; /* elements an item of work */

static float from_bits(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void convert_bf16(float *out, const void *data, size_t count)
{
    const uint16_t *in = data;
    for (size_t i = 0; i < count; i++)
        out[i] = from_bits((uint32_t)in[i] << 16);
}

/* The exponent is moved to float32's place and corrected by a multiplication, which also gives
 * subnormal numbers; infinities and NaN come out too small and get their exponent set. */
static void convert_f16(float *out, const void *data, size_t count)
{
    const uint16_t *in = data;
    for (size_t i = 0; i < count; i++) {
        uint32_t sign = (uint32_t)(in[i] & 0x8000u) << 16;
        uint32_t rest = (uint32_t)(in[i] & 0x7fffu) << 13;
        float scaled = from_bits(rest) * 0x1p112f;
        uint32_t bits;
        memcpy(&bits, &scaled, sizeof bits);
        bits |= (in[i] & 0x7c00u) == 0x7c00u ? 0x7f800000u : 0;
        out[i] = from_bits(bits | sign);
    }
}

static void convert_f32(float *out, const void *data, size_t count)
{
    memcpy(out, data, count * sizeof *out);
}

static void convert_f64(float *out, const void *data, size_t count)
{
    const double *in = data;
    for (size_t i = 0; i < count; i++)
        out[i] = (float)in[i];
}

static const struct {
    size_t size;
    void (*convert)(float *out, const void *data, size_t count);
} sources[] = {
    [SOURCE_F64] = {8, convert_f64},
    [SOURCE_F32] = {4, convert_f32},
    [SOURCE_F16] = {2, convert_f16},
    [SOURCE_BF16] = {2, convert_bf16},
};

struct upload_job {
    float *out;
    const unsigned char *in;
    enum backend_source source;
    size_t count;
};

static void upload_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct upload_job *j = context;
    size_t first = item * UPLOAD_ITEM;
    size_t count = j->count - first < UPLOAD_ITEM ? j->count - first : UPLOAD_ITEM;
    sources[j->source].convert(j->out + first, j->in + first * sources[j->source].size, count);
}

int cpu_upload(struct backend *b, struct tensor *t, size_t first, size_t rows,
               enum backend_source source, const void *data, struct err *err)
{
    if (check_rows(t, first, rows, err) < 0)
        return ERR_USAGE;
    size_t count = rows * t->columns;
    if (t->kind == TENSOR_F64) {
        if (source != SOURCE_F64)
            return err_set(err, ERR_USAGE, NULL, "a float64 tensor is filled from float64 only");
        memcpy(t->d + first * t->columns, data, count * sizeof(double));
        return 0;
    }
    struct upload_job job = {t->f + first * t->columns, data, source, count};
    parallel_for(cpu_self(b)->pool, (count + UPLOAD_ITEM - 1) / UPLOAD_ITEM, upload_item, &job);
    return 0;
}

int cpu_download(struct backend *b, const struct tensor *t, size_t first, size_t rows, float *out,
                 struct err *err)
{
    (void)b;
    if (check_rows(t, first, rows, err) < 0)
        return ERR_USAGE;
    size_t from = first * t->columns, count = rows * t->columns;
    if (t->kind == TENSOR_F32)
        memcpy(out, t->f + from, count * sizeof *out);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = (float)t->d[from + i];
    return 0;
}

int cpu_download_f64(struct backend *b, const struct tensor *t, size_t first, size_t rows,
                     double *out, struct err *err)
{
    (void)b;
    if (check_rows(t, first, rows, err) < 0)
        return ERR_USAGE;
    size_t from = first * t->columns, count = rows * t->columns;
    if (t->kind == TENSOR_F64)
        memcpy(out, t->d + from, count * sizeof *out);
    else
        for (size_t i = 0; i < count; i++)
            out[i] = t->f[from + i];
    return 0;
}

int cpu_fill_zero(struct backend *b, struct tensor *t, struct err *err)
{
    (void)b;
    (void)err;
    size_t count = t->rows * t->columns;
    if (t->kind == TENSOR_F32)
        memset(t->f, 0, count * sizeof *t->f);
    else
        memset(t->d, 0, count * sizeof *t->d);
    return 0;
}
