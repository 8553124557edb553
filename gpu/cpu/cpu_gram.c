/*
 * Sums of outer products. Single precision inside a chunk of rows, double precision between
 * chunks: the error stays that of one chunk however many tokens there are.
 */
#include <math.h>
#include <stdbool.h>

#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum {
    GRAM_TILE = 256,  /* side of the part of H that an item fills */
    GRAM_ROWS = 1024, /* rows a chunk */
    ABS_COLUMNS = 256
};

struct gram_job {
    struct cpu_backend *backend;
    struct tensor *const *h;
    const float *x;
    const size_t *offset; /* rows offset[e] .. offset[e + 1] - 1 belong to h[e] */
    size_t columns, tiles;
};

/* h[i][j] += part[i][j]; i < rows, j < columns, or j <= i on the diagonal. */
CPU_VECTOR static void add_rows(double *h, size_t stride, size_t rows, size_t columns,
                                bool diagonal, const float *part)
{
    for (size_t i = 0; i < rows; i++) {
        size_t end = diagonal ? i + 1 : columns;
        double *row = h + i * stride;
        for (size_t k = 0; k < end; k++)
            row[k] += part[i * GRAM_TILE + k];
    }
}

static size_t side(const struct gram_job *j, size_t at)
{
    return j->columns - at < GRAM_TILE ? j->columns - at : GRAM_TILE;
}

static void gram_item(void *context, size_t item, size_t worker)
{
    const struct gram_job *j = context;
    size_t per_matrix = j->tiles * (j->tiles + 1) / 2;
    size_t matrix = item / per_matrix, tile = item % per_matrix, down = 0;
    while (tile > down) /* tiles of the lower triangle, row by row */
        tile -= ++down;
    size_t top = down * GRAM_TILE, left = tile * GRAM_TILE;
    float *part = j->backend->scratch[worker];
    for (size_t row = j->offset[matrix]; row < j->offset[matrix + 1]; row += GRAM_ROWS) {
        size_t count = j->offset[matrix + 1] - row;
        count = count < GRAM_ROWS ? count : GRAM_ROWS;
        const float *x = j->x + row * j->columns;
        if (top == left)
            cpu_syrk_tn(side(j, top), count, x + top, j->columns, part, GRAM_TILE);
        else
            cpu_gemm_tn(side(j, top), side(j, left), count, x + top, j->columns, x + left,
                        j->columns, part, GRAM_TILE);
        double *h = j->h[matrix]->d;
        add_rows(h + top * j->columns + left, j->columns, side(j, top), side(j, left), top == left,
                 part);
    }
}

static int run_gram(struct backend *b, struct gram_job *j, size_t matrices, struct err *err)
{
    for (size_t e = 0; e < matrices; e++)
        if (cpu_expect(j->h[e], "gram: h", TENSOR_F64, j->columns, j->columns, err) < 0)
            return ERR_USAGE;
    int rc = cpu_scratch(j->backend, (size_t)GRAM_TILE * GRAM_TILE, err);
    if (rc < 0)
        return rc;
    j->tiles = (j->columns + GRAM_TILE - 1) / GRAM_TILE;
    parallel_for(cpu_self(b)->pool, matrices * (j->tiles * (j->tiles + 1) / 2), gram_item, j);
    return 0;
}

int cpu_grouped_gram(struct backend *b, struct tensor *const *h, const struct tensor *x,
                     const struct backend_groups *groups, struct err *err)
{
    size_t slots = groups->offset[groups->experts];
    int rc = cpu_expect(x, "gram: x", TENSOR_F32, slots, x->columns, err);
    if (rc < 0)
        return rc;
    struct gram_job job = {cpu_self(b), h, x->f, groups->offset, x->columns, 0};
    return run_gram(b, &job, groups->experts, err);
}

int cpu_gram(struct backend *b, struct tensor *h, const struct tensor *x, size_t n, struct err *err)
{
    int rc = cpu_expect(x, "gram: x", TENSOR_F32, n, x->columns, err);
    if (rc < 0)
        return rc;
    size_t offset[2] = {0, n};
    struct gram_job job = {cpu_self(b), &h, x->f, offset, x->columns, 0};
    return run_gram(b, &job, 1, err);
}

struct abs_job {
    double *sum;
    const float *x;
    const size_t *offset;
    size_t columns, blocks;
};

static void abs_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct abs_job *j = context;
    size_t expert = item / j->blocks, from = item % j->blocks * ABS_COLUMNS;
    size_t count = j->columns - from < ABS_COLUMNS ? j->columns - from : ABS_COLUMNS;
    double *sum = j->sum + expert * j->columns + from;
    for (size_t row = j->offset[expert]; row < j->offset[expert + 1]; row++)
        for (size_t i = 0; i < count; i++)
            sum[i] += fabs((double)j->x[row * j->columns + from + i]);
}

int cpu_grouped_abs(struct backend *b, struct tensor *sum, const struct tensor *x,
                    const struct backend_groups *groups, struct err *err)
{
    size_t slots = groups->offset[groups->experts];
    int rc = cpu_expect(x, "grouped_abs: x", TENSOR_F32, slots, x->columns, err);
    if (rc == 0)
        rc = cpu_expect(sum, "grouped_abs: sum", TENSOR_F64, groups->experts, x->columns, err);
    if (rc < 0)
        return rc;
    struct abs_job job = {sum->d, x->f, groups->offset, x->columns,
                          (x->columns + ABS_COLUMNS - 1) / ABS_COLUMNS};
    parallel_for(cpu_self(b)->pool, groups->experts * job.blocks, abs_item, &job);
    return 0;
}
