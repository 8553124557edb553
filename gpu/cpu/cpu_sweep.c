/*
 * GPTQ's rounding as successive rounding from the last column to the first (H = L L^T), in blocks
 * of 256 rows and 128 columns: what later blocks contribute is one product, what later columns of
 * the same block contribute is added in registers. The loss of rounding to nearest, |E L|^2, needs
 * no order; its products share those of the sweep. Items are (problem, block of rows); a problem's
 * losses are summed over its blocks in order, so nothing depends on the threads.
 */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"
#include "gpu/cpu/cpu_math.h"

enum {
    SWEEP_ROWS = 256, /* an item */
    SWEEP_COLUMNS = 128,
    SWEEP_STEP = 8,         /* columns whose sums are held in registers */
    SWEEP_STRIP_BYTES = 64, /* a register of the widest kind */
    SWEEP_SQUARE = 16       /* side of the squares that are transposed */
};

#define SWEEP_ALIGNED __attribute__((aligned(SWEEP_STRIP_BYTES)))

struct sweep_sums {
    double loss, square, nearest_loss, nearest_square;
};

#define REAL double
#define INTEGER int64_t
#define NAME(x) f64_##x
#define GEMM cblas_dgemm
#define ROUNDING 6755399441055744.0
#include "gpu/cpu/cpu_sweep.inc"
#undef REAL
#undef INTEGER
#undef NAME
#undef GEMM
#undef ROUNDING

#define REAL float
#define INTEGER int32_t
#define NAME(x) f32_##x
#define GEMM cblas_sgemm
#define ROUNDING 12582912.0f
#include "gpu/cpu/cpu_sweep.inc"
#undef REAL
#undef INTEGER
#undef NAME
#undef GEMM
#undef ROUNDING

static const struct sweep_kind {
    size_t (*space_bytes)(size_t columns, size_t grids);
    void (*rows)(const struct backend_sweep *p, const void *factor, size_t first, size_t rows,
                 void *memory, struct sweep_sums *out);
} sweep_kinds[] = {
    [BACKEND_FP32] = {f32_space_bytes, f32_sweep_rows},
    [BACKEND_FP64] = {f64_space_bytes, f64_sweep_rows},
};

struct sweep_item {
    const struct backend_sweep *problem;
    const void *factor;
    size_t first;
    struct sweep_sums sums;
};

struct sweep_batch {
    struct cpu_backend *self;
    const struct sweep_kind *kind;
    struct sweep_item *items;
};

static void run_item(void *context, size_t index, size_t worker)
{
    struct sweep_batch *batch = context;
    struct sweep_item *item = &batch->items[index];
    const struct backend_sweep *p = item->problem;
    size_t rows = p->rows - item->first < SWEEP_ROWS ? p->rows - item->first : SWEEP_ROWS;
    batch->kind->rows(p, item->factor, item->first, rows, batch->self->scratch[worker],
                      &item->sums);
}

static void collect(const struct sweep_batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct sweep_item *item = &batch->items[i];
        const struct backend_sweep *p = item->problem;
        bool start = item->first == 0;
        double loss = p->nearest ? item->sums.nearest_loss : item->sums.loss;
        double square = p->nearest ? item->sums.nearest_square : item->sums.square;
        *p->loss = (start ? 0.0 : *p->loss) + loss;
        *p->square = (start ? 0.0 : *p->square) + square;
        if (!p->nearest_loss)
            continue;
        *p->nearest_loss = (start ? 0.0 : *p->nearest_loss) + item->sums.nearest_loss;
        *p->nearest_square = (start ? 0.0 : *p->nearest_square) + item->sums.nearest_square;
    }
}

/* --- Factors in single precision, one for all neighbours that share it. --- */

enum { CONVERT_REALS = 1 << 16 }; /* an item */

struct convert_job {
    float *out;
    const double *in;
    size_t count;
};

CPU_VECTOR static void convert(float *out, const double *in, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = (float)in[i];
}

static void convert_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct convert_job *j = context;
    size_t first = item * CONVERT_REALS, left = j->count - first;
    convert(j->out + first, j->in + first, left < CONVERT_REALS ? left : CONVERT_REALS);
}

static void convert_factor(struct cpu_backend *self, float *out, const double *factor, size_t d)
{
    struct convert_job job = {out, factor, d * d};
    parallel_for(self->pool, (job.count + CONVERT_REALS - 1) / CONVERT_REALS, convert_item, &job);
}

/* Problems from `at` on whose factors fill `room` elements, at least one factor. */
static size_t problems_within(const struct backend_sweep *problems, size_t at, size_t count,
                              size_t room, size_t *used)
{
    *used = 0;
    for (size_t i = at; i < count; i++) {
        size_t cells = problems[i].columns * problems[i].columns;
        if (i > at && problems[i].factor == problems[i - 1].factor)
            continue;
        if (i > at && *used + cells > room)
            return i;
        *used += cells;
    }
    return count;
}

/* Items of problems from .. end - 1; the factors converted into `floats`, unless NULL. */
static size_t make_items(struct sweep_batch *batch, const struct backend_sweep *problems,
                         size_t from, size_t end, float *floats)
{
    size_t count = 0;
    float *next = floats, *factor = NULL;
    for (size_t i = from; i < end; i++) {
        const struct backend_sweep *p = &problems[i];
        if (floats && (i == from || p->factor != problems[i - 1].factor)) {
            factor = next;
            convert_factor(batch->self, factor, p->factor, p->columns);
            next += p->columns * p->columns;
        }
        for (size_t first = 0; first < p->rows; first += SWEEP_ROWS)
            batch->items[count++] = (struct sweep_item){
                .problem = p, .factor = floats ? (const void *)factor : p->factor, .first = first};
    }
    return count;
}

static int make_batch(struct sweep_batch *batch, const struct backend_sweep *problems, size_t count,
                      struct err *err)
{
    size_t items = 0, bytes = 0;
    for (size_t i = 0; i < count; i++) {
        size_t own = batch->kind->space_bytes(problems[i].columns, problems[i].grids);
        items += (problems[i].rows + SWEEP_ROWS - 1) / SWEEP_ROWS;
        bytes = own > bytes ? own : bytes;
    }
    int rc = cpu_scratch(batch->self, bytes / sizeof(float) + 1, err);
    if (rc < 0)
        return rc;
    batch->items = mem_array(items, sizeof *batch->items, err);
    return batch->items ? 0 : ERR_NOMEM;
}

static const size_t float_factors_max = (size_t)256 << 20; /* bytes */

int cpu_sweep(struct backend *b, const struct backend_sweep *problems, size_t count,
              enum backend_precision precision, struct err *err)
{
    struct sweep_batch batch = {.self = cpu_self(b), .kind = &sweep_kinds[precision]};
    size_t room = float_factors_max / sizeof(float), largest = 0, used;
    int rc = make_batch(&batch, problems, count, err);
    if (rc < 0)
        return rc;
    for (size_t at = 0; precision == BACKEND_FP32 && at < count;) {
        at = problems_within(problems, at, count, room, &used);
        largest = used > largest ? used : largest;
    }
    float *floats = precision == BACKEND_FP32 ? mem_aligned(largest, sizeof *floats, err) : NULL;
    if (precision == BACKEND_FP32 && !floats)
        rc = ERR_NOMEM;
    for (size_t at = 0; rc == 0 && at < count;) {
        size_t end = problems_within(problems, at, count, floats ? room : SIZE_MAX, &used);
        size_t items = make_items(&batch, problems, at, end, floats);
        parallel_for(batch.self->pool, items, run_item, &batch);
        collect(&batch, items);
        at = end;
    }
    free(floats);
    free(batch.items);
    return rc;
}
