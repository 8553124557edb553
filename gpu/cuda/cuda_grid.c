/* Grids of many linears: one upload of their small arrays, one kernel, one way back. */
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cuda/cuda_backend.h"

enum { PROBLEMS_MAX = UINT16_MAX };

/* Linears that are fitted at once. */
struct fit {
    struct cuda_backend *c;
    struct backend_grid *p;
    size_t count;
    size_t cells, cells_max; /* of all; of one */
    struct cuda_table table; /* problems and their arrays */
    /* Of all linears, one after another. */
    double *scale, *host_scale;
    uint8_t *zero, *host_zero;
    int *infinite, *host_infinite;
};

static void fill_table(struct cuda_table *t, void *context)
{
    const struct fit *f = context;
    struct cuda_grid_problem one = {0};
    size_t at = t->used, cell = 0;
    cuda_table_take(t, NULL, f->count * sizeof one);
    struct cuda_grid_problem *list = cuda_table_at(t, at);
    for (size_t i = 0; i < f->count; i++) {
        const struct backend_grid *p = &f->p[i];
        if (i == 0 || p->importance != p[-1].importance || p->columns != p[-1].columns)
            one.importance = cuda_table_take(t, p->importance, p->columns * sizeof *p->importance);
        one.rows = p->rows;
        one.columns = p->columns;
        one.grids = p->grids;
        one.weights = p->weights->f;
        one.member =
            p->member ? cuda_table_take(t, p->member, p->columns * sizeof *p->member) : NULL;
        one.start = cuda_table_take(t, p->start, (p->grids + 1) * sizeof *p->start);
        one.top = cuda_table_take(t, p->max_code, p->grids);
        one.scale = f->scale + cell;
        one.zero = f->zero + cell;
        one.infinite = f->infinite + i;
        cell += p->rows * p->grids;
        if (list)
            list[i] = one;
    }
}

static int check(struct cuda_backend *c, const struct backend_grid *p, struct err *err)
{
    if (p->rows == 0 || p->columns == 0 || p->grids == 0 || p->columns > UINT32_MAX)
        return err_set(err, ERR_USAGE, NULL, "grids: a linear of %zu x %zu, %zu grids", p->rows,
                       p->columns, p->grids);
    return cuda_expect(c, p->weights, "grids: weights", TENSOR_F32, p->rows, p->columns, err);
}

static int fit_alloc(struct fit *f, struct err *err)
{
    struct cuda_backend *c = f->c;
    f->host_scale = mem_array(f->cells, sizeof *f->scale, err);
    f->host_zero = mem_array(f->cells, sizeof *f->zero, err);
    f->host_infinite = mem_array(f->count, sizeof *f->infinite, err);
    if (!f->host_scale || !f->host_zero || !f->host_infinite)
        return ERR_NOMEM;
    int rc = cuda_alloc(c, &f->scale, f->cells * sizeof *f->scale, err);
    if (rc == 0)
        rc = cuda_alloc(c, &f->zero, f->cells * sizeof *f->zero, err);
    if (rc == 0)
        rc = cuda_alloc(c, &f->infinite, f->count * sizeof *f->infinite, err);
    if (rc == 0)
        rc = cuda_check(c,
                        cudaMemsetAsync(f->infinite, 0, f->count * sizeof *f->infinite, c->compute),
                        "grids", err);
    return rc == 0 ? cuda_table_make(c, &f->table, fill_table, f, err) : rc;
}

static void fit_release(struct fit *f)
{
    cuda_table_release(f->c, &f->table);
    cuda_release(f->c, f->scale, f->cells * sizeof *f->scale);
    cuda_release(f->c, f->zero, f->cells * sizeof *f->zero);
    cuda_release(f->c, f->infinite, f->count * sizeof *f->infinite);
    free(f->host_scale);
    free(f->host_zero);
    free(f->host_infinite);
}

static int collect(struct fit *f, struct err *err)
{
    const struct cuda_piece pieces[] = {
        {f->host_scale, f->scale, f->cells * sizeof *f->scale},
        {f->host_zero, f->zero, f->cells * sizeof *f->zero},
        {f->host_infinite, f->infinite, f->count * sizeof *f->infinite}};
    int rc = cuda_get_pieces(f->c, pieces, sizeof pieces / sizeof *pieces, err);
    for (size_t i = 0, at = 0; rc == 0 && i < f->count; i++) {
        struct backend_grid *p = &f->p[i];
        size_t cells = p->rows * p->grids;
        memcpy(p->scale, f->host_scale + at, cells * sizeof *p->scale);
        memcpy(p->zero, f->host_zero + at, cells * sizeof *p->zero);
        p->infinite = f->host_infinite[i] != 0;
        at += cells;
    }
    return rc;
}

static int run(struct fit *f, const struct backend_grid_rule *rule, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < f->count; i++) {
        size_t cells = f->p[i].rows * f->p[i].grids;
        rc = check(f->c, &f->p[i], err);
        f->cells += cells;
        f->cells_max = cells > f->cells_max ? cells : f->cells_max;
    }
    if (rc == 0)
        rc = fit_alloc(f, err);
    if (rc == 0)
        rc = cuda_check(f->c,
                        cuda_k_fit_grids(f->c->compute, rule, (const void *)f->table.device,
                                         f->count, f->cells_max),
                        "grids", err);
    if (rc == 0)
        rc = collect(f, err);
    fit_release(f);
    return rc;
}

int cuda_fit_grids(struct backend *b, const struct backend_grid_rule *rule,
                   struct backend_grid *problems, size_t count, struct err *err)
{
    int rc = cuda_ready(cuda_self(b), err);
    for (size_t at = 0, most; rc == 0 && at < count; at += most) {
        most = count - at < PROBLEMS_MAX ? count - at : PROBLEMS_MAX;
        struct fit f = {.c = cuda_self(b), .p = problems + at, .count = most};
        rc = run(&f, rule, err);
    }
    return rc;
}
