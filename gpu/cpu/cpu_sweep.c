/*
 * GPTQ's rounding as successive rounding from the last column to the first (H = L L^T), in blocks
 * of 256 rows and 128 columns: what later blocks contribute is one product, what later columns of
 * the same block contribute is added column by column. Items are (problem, block of rows); a
 * problem's losses are summed over its blocks in order, so nothing depends on the threads.
 */
#include <cblas.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_backend.h"
#include "gpu/cpu/cpu_math.h"

enum {
    SWEEP_CHUNK = 64, /* rows that fill vector registers together */
    SWEEP_CHUNKS = 4,
    SWEEP_ROWS = SWEEP_CHUNK * SWEEP_CHUNKS, /* an item */
    SWEEP_COLUMNS = 128
};

struct sweep_chunk {
    size_t first, rows;
    double *loss;   /* [rows] */
    double *square; /* [rows] */
};

#define REAL double
#define NAME(x) f64_##x
#define GEMM cblas_dgemm
#define ROUNDING 6755399441055744.0
#include "gpu/cpu/cpu_sweep.inc"
#undef REAL
#undef NAME
#undef GEMM
#undef ROUNDING

#define REAL float
#define NAME(x) f32_##x
#define GEMM cblas_sgemm
#define ROUNDING 12582912.0f
#include "gpu/cpu/cpu_sweep.inc"
#undef REAL
#undef NAME
#undef GEMM
#undef ROUNDING

static const struct sweep_kind {
    size_t (*space_bytes)(size_t columns);
    void (*rows)(const struct backend_sweep *p, const struct sweep_chunk *chunks, size_t count,
                 void *memory);
} sweep_kinds[] = {
    [BACKEND_FP32] = {f32_space_bytes, f32_sweep_rows},
    [BACKEND_FP64] = {f64_space_bytes, f64_sweep_rows},
};

struct sweep_item {
    const struct backend_sweep *problem;
    size_t first;
    double loss, square;
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
    double loss[SWEEP_ROWS] = {0}, square[SWEEP_ROWS] = {0};
    struct sweep_chunk chunks[SWEEP_CHUNKS];
    size_t count = 0, end = item->first + SWEEP_ROWS < p->rows ? item->first + SWEEP_ROWS : p->rows;
    for (size_t first = item->first; first < end; first += SWEEP_CHUNK, count++)
        chunks[count] = (struct sweep_chunk){
            .first = first,
            .rows = end - first < SWEEP_CHUNK ? end - first : SWEEP_CHUNK,
            .loss = loss + count * SWEEP_CHUNK,
            .square = square + count * SWEEP_CHUNK,
        };
    void *memory = batch->self->scratch[worker];
    /* Rows that a last short chunk lacks take part in the products: their errors are zero. */
    memset(memory, 0, batch->kind->space_bytes(p->columns));
    batch->kind->rows(p, chunks, count, memory);
    for (size_t r = 0; r < end - item->first; r++) {
        item->loss += loss[r];
        item->square += square[r];
    }
}

static void collect(const struct sweep_batch *batch, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct sweep_item *item = &batch->items[i];
        if (item->first == 0) {
            *item->problem->loss = 0.0;
            *item->problem->square = 0.0;
        }
        *item->problem->loss += item->loss;
        *item->problem->square += item->square;
    }
}

int cpu_sweep(struct backend *b, const struct backend_sweep *problems, size_t count,
              enum backend_precision precision, struct err *err)
{
    struct sweep_batch batch = {.self = cpu_self(b), .kind = &sweep_kinds[precision]};
    size_t items = 0, columns = 0;
    for (size_t i = 0; i < count; i++) {
        items += (problems[i].rows + SWEEP_ROWS - 1) / SWEEP_ROWS;
        if (problems[i].columns > columns)
            columns = problems[i].columns;
    }
    int rc = cpu_scratch(batch.self, batch.kind->space_bytes(columns) / sizeof(float), err);
    if (rc < 0)
        return rc;
    batch.items = mem_array(items, sizeof *batch.items, err);
    if (!batch.items)
        return ERR_NOMEM;
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t first = 0; first < problems[i].rows; first += SWEEP_ROWS)
            batch.items[at++] = (struct sweep_item){.problem = &problems[i], .first = first};
    parallel_for(batch.self->pool, items, run_item, &batch);
    collect(&batch, items);
    free(batch.items);
    return 0;
}
