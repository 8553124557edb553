/* Operations that take each row or element by itself. */
#include <string.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum { ITEM_ELEMENTS = 1 << 14 }; /* elements an item of work, at least one row */

struct rows_job {
    float *out;
    const float *a, *b;
    const struct tensor *table;
    const uint32_t *ids;
    size_t n, columns, step;
    float limit;
    void (*run)(const struct rows_job *j, size_t first, size_t count);
};

static void rows_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct rows_job *j = context;
    size_t first = item * j->step;
    j->run(j, first, j->n - first < j->step ? j->n - first : j->step);
}

static void run_rows(struct backend *b, struct rows_job *j)
{
    j->step = j->columns < ITEM_ELEMENTS ? ITEM_ELEMENTS / (j->columns ? j->columns : 1) : 1;
    parallel_for(cpu_self(b)->pool, (j->n + j->step - 1) / j->step, rows_item, j);
}

static void embed_rows(const struct rows_job *j, size_t first, size_t count)
{
    for (size_t r = first; r < first + count; r++)
        memcpy(j->out + r * j->columns, j->table->f + j->ids[r] * j->columns,
               j->columns * sizeof *j->out);
}

int cpu_embed(struct backend *b, struct tensor *out, const struct tensor *table,
              const uint32_t *ids, size_t n, struct err *err)
{
    int rc = cpu_expect(out, "embed: out", TENSOR_F32, n, table->columns, err);
    if (rc == 0)
        rc = cpu_expect(table, "embed: table", TENSOR_F32, 1, table->columns, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (ids[i] >= table->rows)
            rc = err_set(err, ERR_USAGE, NULL,
                         "token id %lu at position %zu, the model's embedding has %zu rows",
                         (unsigned long)ids[i], i, table->rows);
    if (rc < 0)
        return rc;
    struct rows_job job = {.out = out->f,
                           .table = table,
                           .ids = ids,
                           .n = n,
                           .columns = out->columns,
                           .run = embed_rows};
    run_rows(b, &job);
    return 0;
}

CPU_VECTOR static void clamp_span(float *x, size_t count, float limit)
{
    for (size_t i = 0; i < count; i++) {
        float v = x[i];
        v = v > limit ? limit : v;
        x[i] = v < -limit ? -limit : v;
    }
}

static void clamp_rows(const struct rows_job *j, size_t first, size_t count)
{
    clamp_span(j->out + first * j->columns, count * j->columns, j->limit);
}

int cpu_clamp(struct backend *b, struct tensor *x, size_t n, double limit, struct err *err)
{
    int rc = cpu_expect(x, "clamp: x", TENSOR_F32, n, x->columns, err);
    if (rc < 0)
        return rc;
    struct rows_job job = {
        .out = x->f, .n = n, .columns = x->columns, .limit = (float)limit, .run = clamp_rows};
    run_rows(b, &job);
    return 0;
}

CPU_VECTOR static void add_span(float *x, const float *y, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] += y[i];
}

static void add_rows(const struct rows_job *j, size_t first, size_t count)
{
    add_span(j->out + first * j->columns, j->a + first * j->columns, count * j->columns);
}

int cpu_add(struct backend *b, struct tensor *x, const struct tensor *y, size_t n, struct err *err)
{
    return cpu_add_gated(b, x, y, NULL, n, err);
}

CPU_VECTOR static void swiglu_span(float *out, const float *gate, const float *up, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = gate[i] / (1.0f + cpu_exp(-gate[i])) * up[i];
}

static void swiglu_rows(const struct rows_job *j, size_t first, size_t count)
{
    size_t at = first * j->columns;
    swiglu_span(j->out + at, j->a + at, j->b + at, count * j->columns);
}

int cpu_swiglu(struct backend *b, struct tensor *out, const struct tensor *gate,
               const struct tensor *up, size_t n, struct err *err)
{
    int rc = cpu_expect(out, "swiglu: out", TENSOR_F32, n, gate->columns, err);
    if (rc == 0)
        rc = cpu_expect(gate, "swiglu: gate", TENSOR_F32, n, gate->columns, err);
    if (rc == 0)
        rc = cpu_expect(up, "swiglu: up", TENSOR_F32, n, gate->columns, err);
    if (rc < 0)
        return rc;
    struct rows_job job = {.out = out->f,
                           .a = gate->f,
                           .b = up->f,
                           .n = n,
                           .columns = gate->columns,
                           .run = swiglu_rows};
    run_rows(b, &job);
    return 0;
}

CPU_VECTOR static void add_scaled(float *x, const float *y, float scale, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] += scale * y[i];
}

static void add_gated_rows(const struct rows_job *j, size_t first, size_t count)
{
    for (size_t r = first; r < first + count; r++)
        add_scaled(j->out + r * j->columns, j->a + r * j->columns,
                   1.0f / (1.0f + cpu_exp(-j->b[r])), j->columns);
}

int cpu_add_gated(struct backend *b, struct tensor *x, const struct tensor *y,
                  const struct tensor *logit, size_t n, struct err *err)
{
    int rc = cpu_expect(x, "add: x", TENSOR_F32, n, y->columns, err);
    if (rc == 0)
        rc = cpu_expect(y, "add: y", TENSOR_F32, n, y->columns, err);
    if (rc == 0 && logit)
        rc = cpu_expect(logit, "add: logit", TENSOR_F32, n, 1, err);
    if (rc < 0)
        return rc;
    struct rows_job job = {.out = x->f,
                           .a = y->f,
                           .b = logit ? logit->f : NULL,
                           .n = n,
                           .columns = x->columns,
                           .run = logit ? add_gated_rows : add_rows};
    run_rows(b, &job);
    return 0;
}
