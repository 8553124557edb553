/*
 * The sweep of many linears: those that share a factor are stacked into one matrix of rows, groups
 * of equal shape are one batch, and a batch goes through its blocks of columns from the last to
 * the first, with one product and one kernel a block (gpu/cuda/cuda_sweep.cu).
 */
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

enum { SUMS = 4 };

static const uint64_t batch_bytes = (uint64_t)8 << 30;

/* --- What belongs together. --- */

static bool same_factor(const struct backend_sweep *a, const struct backend_sweep *b)
{
    return a->factor == b->factor && a->device_factor == b->device_factor &&
           a->columns == b->columns;
}

static size_t group_end(const struct backend_sweep *p, size_t at, size_t count)
{
    size_t end = at + 1;
    while (end < count && same_factor(&p[end], &p[at]))
        end++;
    return end;
}

static size_t group_rows(const struct backend_sweep *p, size_t at, size_t end)
{
    size_t rows = 0;
    for (size_t i = at; i < end; i++)
        rows += p[i].rows;
    return rows;
}

/* Bytes of device memory for one group: factor, weights, errors, sums, codes twice. */
static uint64_t group_bytes(size_t d, size_t rows, size_t real)
{
    uint64_t cells = (uint64_t)d * rows;
    return ((uint64_t)d * d + 2 * cells + (uint64_t)CUDA_SWEEP_COLUMNS * rows) * real + 2 * cells;
}

/* A run of problems that are done at once. */
struct cuda_batch {
    struct cuda_backend *c;
    const struct backend_sweep *p;
    size_t count;
    struct cuda_sweep_batch b;
    size_t total_rows;
    struct cuda_table table; /* problems and their small arrays */
    double *sums;            /* device [problem][SUMS][rows] */
    uint8_t *out;            /* device [problem][rows][input] */
    size_t factor_bytes, weight_bytes, sum_bytes, code_bytes;
};

/* Problems from `at` on that make a batch: at least one group, all of one shape, within `room`. */
static size_t batch_end(const struct backend_sweep *p, size_t at, size_t count, uint64_t room,
                        size_t real, size_t *groups)
{
    size_t end = group_end(p, at, count), rows = group_rows(p, at, end);
    uint64_t own = group_bytes(p[at].columns, rows, real), used = own;
    for (*groups = 1; end < count && *groups < UINT16_MAX; ++*groups) {
        size_t next = group_end(p, end, count);
        used += own;
        if (p[end].columns != p[at].columns || group_rows(p, end, next) != rows || used > room ||
            next - at > UINT16_MAX)
            break;
        end = next;
    }
    return end;
}

/* --- The batch's table: the problems, then their arrays. --- */

static size_t grids_used(const struct backend_sweep *p)
{
    return p->grids ? p->grids : 1;
}

static void fill_problem(struct cuda_table *t, struct cuda_sweep_problem *out,
                         const struct backend_sweep *p)
{
    size_t d = p->columns, cells = p->rows * p->grids;
    out->rows = p->rows;
    out->grids = p->grids;
    out->order = cuda_table_take(t, p->order, d * sizeof *p->order);
    size_t place_at = t->used;
    out->place = cuda_table_take(t, NULL, d * sizeof *p->order);
    uint32_t *place = cuda_table_at(t, place_at);
    for (size_t k = 0; place && k < d; k++)
        place[p->order[k]] = (uint32_t)k;
    out->grid = cuda_table_take(t, p->grid, d * sizeof *p->grid);
    out->top = cuda_table_take(t, p->max_code, grids_used(p));
    out->scale = cuda_table_take(t, p->scale, cells * sizeof *p->scale);
    out->zero = cuda_table_take(t, p->zero, cells);
    out->restored = p->restored ? p->restored->f : NULL;
    out->compensate = !p->nearest;
    out->plain = p->nearest || p->nearest_loss;
}

static void fill_table(struct cuda_table *t, void *context)
{
    struct cuda_batch *batch = context;
    size_t at = t->used, group = 0, rows = 0, row = 0;
    cuda_table_take(t, NULL, batch->count * sizeof(struct cuda_sweep_problem));
    struct cuda_sweep_problem *list = cuda_table_at(t, at);
    for (size_t i = 0; i < batch->count; i++) {
        struct cuda_sweep_problem one = {0};
        fill_problem(t, &one, &batch->p[i]);
        if (i && !same_factor(&batch->p[i], &batch->p[i - 1])) {
            group++;
            rows = 0;
        }
        one.group = group;
        one.at = rows;
        one.sums = batch->sums ? batch->sums + SUMS * row : NULL;
        one.codes = batch->out ? batch->out + batch->b.d * row : NULL;
        rows += one.rows;
        row += one.rows;
        if (list)
            list[i] = one;
    }
}

static int make_table(struct cuda_batch *batch, struct err *err)
{
    int rc = cuda_table_make(batch->c, &batch->table, fill_table, batch, err);
    batch->b.problem = (const struct cuda_sweep_problem *)(const void *)batch->table.device;
    return rc;
}

/* --- A batch. --- */

static int batch_alloc(struct cuda_batch *batch, struct err *err)
{
    struct cuda_sweep_batch *b = &batch->b;
    size_t real = b->wide ? sizeof(double) : sizeof(float), cells = b->groups * b->d * b->rows;
    batch->factor_bytes = b->groups * b->d * b->d * real;
    batch->weight_bytes = cells * real;
    batch->sum_bytes = b->groups * CUDA_SWEEP_COLUMNS * b->rows * real;
    batch->code_bytes = cells;
    int rc = cuda_alloc(batch->c, &b->factor, batch->factor_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &b->weight, batch->weight_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &b->error, batch->weight_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &b->sum, batch->sum_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &b->codes, batch->code_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &batch->out, batch->code_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(batch->c, &batch->sums, batch->total_rows * SUMS * sizeof(double), err);
    return rc == 0 ? make_table(batch, err) : rc;
}

static void batch_release(struct cuda_batch *batch)
{
    struct cuda_backend *c = batch->c;
    cuda_release(c, batch->b.factor, batch->factor_bytes);
    cuda_release(c, batch->b.weight, batch->weight_bytes);
    cuda_release(c, batch->b.error, batch->weight_bytes);
    cuda_release(c, batch->b.sum, batch->sum_bytes);
    cuda_release(c, batch->b.codes, batch->code_bytes);
    cuda_release(c, batch->out, batch->code_bytes);
    cuda_release(c, batch->sums, batch->total_rows * SUMS * sizeof(double));
    cuda_table_release(c, &batch->table);
}

static int load_weights(struct cuda_batch *batch, size_t index, struct err *err)
{
    struct cuda_backend *c = batch->c;
    const struct backend_sweep *p = &batch->p[index];
    size_t row_bytes = p->columns * sizeof *p->weights, step = CUDA_SLOT_BYTES / row_bytes;
    int rc = 0;
    if (p->device_weights) {
        rc = cuda_expect(c, p->device_weights, "sweep: weights", TENSOR_F32, p->rows, p->columns,
                         err);
        return rc < 0 ? rc
                      : cuda_check(c,
                                   cuda_k_sweep_load(c->compute, &batch->b, index,
                                                     p->device_weights->f, 0, p->rows),
                                   "sweep", err);
    }
    step = step ? step : 1;
    for (size_t row = 0; rc == 0 && row < p->rows; row += step) {
        size_t rows = p->rows - row < step ? p->rows - row : step;
        const float *staged;
        rc = cuda_stage(c, p->weights + row * p->columns, rows * row_bytes, &staged, err);
        if (rc == 0)
            rc = cuda_check(c, cuda_k_sweep_load(c->compute, &batch->b, index, staged, row, rows),
                            "sweep", err);
        if (rc == 0)
            rc = cuda_staged(c, err);
    }
    return rc;
}

static int load_factor(struct cuda_batch *batch, size_t group, const struct backend_sweep *p,
                       struct err *err)
{
    struct cuda_backend *c = batch->c;
    size_t cells = batch->b.d * batch->b.d, step = CUDA_SLOT_BYTES / sizeof *p->factor;
    int rc = 0;
    if (p->device_factor) {
        rc = cuda_expect(c, p->device_factor, "sweep: factor", TENSOR_F64, p->columns, p->columns,
                         err);
        return rc < 0 ? rc
                      : cuda_check(c,
                                   cuda_k_sweep_factor(c->compute, &batch->b, group * cells,
                                                       p->device_factor->d, cells),
                                   "sweep", err);
    }
    for (size_t at = 0; rc == 0 && at < cells; at += step) {
        size_t count = cells - at < step ? cells - at : step;
        const double *staged;
        rc = cuda_stage(c, p->factor + at, count * sizeof *staged, &staged, err);
        if (rc == 0)
            rc = cuda_check(
                c, cuda_k_sweep_factor(c->compute, &batch->b, group * cells + at, staged, count),
                "sweep", err);
        if (rc == 0)
            rc = cuda_staged(c, err);
    }
    return rc;
}

static int load(struct cuda_batch *batch, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < batch->count; i++)
        if (batch->p[i].restored)
            rc = cuda_expect(batch->c, batch->p[i].restored, "sweep: restored", TENSOR_F32,
                             batch->p[i].rows, batch->p[i].columns, err);
    for (size_t i = 0, group = 0; rc == 0 && i < batch->count; i++) {
        rc = load_weights(batch, i, err);
        if (rc == 0 && (i == 0 || !same_factor(&batch->p[i], &batch->p[i - 1])))
            rc = load_factor(batch, group++, &batch->p[i], err);
    }
    return rc;
}

/* sum[width][rows] = L[from ..][first .. first + width - 1]^T error[from ..], of every group. */
static int sums_of(struct cuda_batch *batch, size_t first, size_t width, size_t from,
                   struct err *err)
{
    const struct cuda_sweep_batch *b = &batch->b;
    struct cuda_backend *c = batch->c;
    const size_t d = b->d, rows = b->rows, factor = from * d + first, error = from * rows;
    const long long factors = (long long)(d * d), errors = (long long)(d * rows);
    const long long sums = (long long)(CUDA_SWEEP_COLUMNS * rows);
    const int m = (int)rows, n = (int)width, k = (int)(d - from), groups = (int)b->groups;
    if (b->wide) {
        static const double one = 1, zero = 0;
        return cuda_check_blas(c,
                               cublasDgemmStridedBatched(c->blas, CUBLAS_OP_N, CUBLAS_OP_T, m, n, k,
                                                         &one, (const double *)b->error + error, m,
                                                         errors, (const double *)b->factor + factor,
                                                         (int)d, factors, &zero, b->sum, m, sums,
                                                         groups),
                               "sweep", err);
    }
    static const float one = 1, zero = 0;
    return cuda_check_blas(c,
                           cublasSgemmStridedBatched(c->blas, CUBLAS_OP_N, CUBLAS_OP_T, m, n, k,
                                                     &one, (const float *)b->error + error, m,
                                                     errors, (const float *)b->factor + factor,
                                                     (int)d, factors, &zero, b->sum, m, sums,
                                                     groups),
                           "sweep", err);
}

static int clear_errors(struct cuda_batch *batch, struct err *err)
{
    return cuda_check(batch->c,
                      cudaMemsetAsync(batch->b.error, 0, batch->weight_bytes, batch->c->compute),
                      "sweep", err);
}

static size_t width_at(size_t d, size_t first)
{
    return d - first < CUDA_SWEEP_COLUMNS ? d - first : CUDA_SWEEP_COLUMNS;
}

/* Rounding to nearest, and its losses |E L|^2. */
static int run_plain(struct cuda_batch *batch, struct err *err)
{
    struct cuda_backend *c = batch->c;
    size_t d = batch->b.d;
    int rc = clear_errors(batch, err);
    if (rc == 0)
        rc = cuda_check(c, cuda_k_sweep_plain(c->compute, &batch->b), "sweep", err);
    for (size_t first = 0; rc == 0 && first < d; first += CUDA_SWEEP_COLUMNS) {
        rc = sums_of(batch, first, width_at(d, first), first, err);
        if (rc == 0)
            rc = cuda_check(c, cuda_k_sweep_squares(c->compute, &batch->b, width_at(d, first)),
                            "sweep", err);
    }
    return rc;
}

static int run_compensated(struct cuda_batch *batch, struct err *err)
{
    struct cuda_backend *c = batch->c;
    size_t d = batch->b.d;
    int rc = clear_errors(batch, err);
    for (size_t i = (d + CUDA_SWEEP_COLUMNS - 1) / CUDA_SWEEP_COLUMNS; rc == 0 && i-- > 0;) {
        size_t first = i * CUDA_SWEEP_COLUMNS, width = width_at(d, first), after = first + width;
        rc = after < d
                 ? sums_of(batch, first, width, after, err)
                 : cuda_check(c, cudaMemsetAsync(batch->b.sum, 0, batch->sum_bytes, c->compute),
                              "sweep", err);
        if (rc == 0)
            rc = cuda_check(c, cuda_k_sweep_block(c->compute, &batch->b, first, width), "sweep",
                            err);
    }
    return rc;
}

static double sum(const double *values, size_t count)
{
    double total = 0;
    for (size_t i = 0; i < count; i++)
        total += values[i];
    return total;
}

static void take_sums(const struct backend_sweep *p, const double *own)
{
    const double *kept = p->nearest ? own + 2 * p->rows : own;
    *p->loss = sum(kept, p->rows);
    *p->square = sum(kept + p->rows, p->rows);
    if (p->nearest_loss) {
        *p->nearest_loss = sum(own + 2 * p->rows, p->rows);
        *p->nearest_square = sum(own + 3 * p->rows, p->rows);
    }
}

/* Codes and sums, in one stream of copies. */
static int collect(struct cuda_batch *batch, struct err *err)
{
    size_t count = batch->total_rows * SUMS, row = 0;
    double *sums = mem_array(count, sizeof *sums, err);
    struct cuda_piece *pieces = mem_array(batch->count + 1, sizeof *pieces, err);
    int rc = sums && pieces ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < batch->count; row += batch->p[i++].rows)
        pieces[i] = (struct cuda_piece){batch->p[i].codes, batch->out + batch->b.d * row,
                                        batch->p[i].rows * batch->p[i].columns};
    if (rc == 0) {
        pieces[batch->count] = (struct cuda_piece){sums, batch->sums, count * sizeof *sums};
        rc = cuda_get_pieces(batch->c, pieces, batch->count + 1, err);
    }
    row = 0;
    for (size_t i = 0; rc == 0 && i < batch->count; row += batch->p[i++].rows)
        take_sums(&batch->p[i], sums + SUMS * row);
    free(sums);
    free(pieces);
    return rc;
}

static int run_batch(struct cuda_batch *batch, struct err *err)
{
    bool plain = false, compensated = false;
    for (size_t i = 0; i < batch->count; i++) {
        const struct backend_sweep *p = &batch->p[i];
        batch->total_rows += p->rows;
        batch->b.rows_max = p->rows > batch->b.rows_max ? p->rows : batch->b.rows_max;
        plain = plain || p->nearest || p->nearest_loss;
        compensated = compensated || !p->nearest;
    }
    int rc = batch_alloc(batch, err);
    if (rc == 0)
        rc = load(batch, err);
    if (rc == 0 && plain)
        rc = run_plain(batch, err);
    if (rc == 0 && compensated)
        rc = run_compensated(batch, err);
    if (rc == 0)
        rc = cuda_check(batch->c, cuda_k_sweep_store(batch->c->compute, &batch->b), "sweep", err);
    if (rc == 0)
        rc = collect(batch, err);
    batch_release(batch);
    return rc;
}

/* Nothing to round: no rows or no columns. */
static int empty(const struct backend_sweep *p)
{
    if (p->rows && p->columns)
        return 0;
    *p->loss = *p->square = 0;
    if (p->nearest_loss)
        *p->nearest_loss = *p->nearest_square = 0;
    return 1;
}

int cuda_sweep(struct backend *b, const struct backend_sweep *problems, size_t count,
               enum backend_precision precision, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    bool wide = precision == BACKEND_FP64;
    uint64_t room = cuda_batch_room(c, batch_bytes);
    int rc = cuda_ready(c, err);
    for (size_t at = 0, end; rc == 0 && at < count; at = end) {
        const struct backend_sweep *p = &problems[at];
        size_t groups;
        end = at + 1;
        if (empty(p))
            continue;
        end = batch_end(problems, at, count, room, wide ? sizeof(double) : sizeof(float), &groups);
        size_t rows = group_rows(p, 0, group_end(p, 0, end - at));
        if (rows > INT_MAX || p->columns > UINT16_MAX)
            return err_set(err, ERR_UNSUPPORTED, NULL, "a linear of %zu x %zu", rows, p->columns);
        struct cuda_batch batch = {
            .c = c,
            .p = p,
            .count = end - at,
            .b = {
                .count = end - at, .groups = groups, .d = p->columns, .rows = rows, .wide = wide}};
        rc = run_batch(&batch, err);
    }
    return rc;
}
