/* Products of activations with weights, and the loss that ends the forward pass. */
#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum {
    BLOCK_ROWS = 256,    /* of the output, an item */
    BLOCK_COLUMNS = 512, /* of the output, an item */
    NLL_ROWS = 128,
    NLL_VOCAB = 1024 /* logits of a row held at a time */
};

static size_t blocks(size_t count, size_t size)
{
    return (count + size - 1) / size;
}

static size_t block_length(size_t count, size_t size, size_t block)
{
    return count - block * size < size ? count - block * size : size;
}

struct matmul_job {
    float *out;
    const float *x, *w, *bias;
    size_t n, in, columns, column_blocks;
};

CPU_VECTOR static void add_bias(float *x, const float *bias, size_t count)
{
    for (size_t i = 0; i < count; i++)
        x[i] += bias[i];
}

static void matmul_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct matmul_job *j = context;
    size_t row_block = item / j->column_blocks, column_block = item % j->column_blocks;
    size_t row = row_block * BLOCK_ROWS, column = column_block * BLOCK_COLUMNS;
    size_t rows = block_length(j->n, BLOCK_ROWS, row_block);
    size_t columns = block_length(j->columns, BLOCK_COLUMNS, column_block);
    float *out = j->out + row * j->columns + column;
    cpu_gemm_nt(rows, columns, j->in, j->x + row * j->in, j->in, j->w + column * j->in, j->in, out,
                j->columns);
    for (size_t r = 0; j->bias && r < rows; r++)
        add_bias(out + r * j->columns, j->bias + column, columns);
}

int cpu_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
               const struct tensor *w, const struct tensor *bias, size_t n, struct err *err)
{
    int rc = cpu_expect(x, "matmul: x", TENSOR_F32, n, w->columns, err);
    if (rc == 0)
        rc = cpu_expect(out, "matmul: out", TENSOR_F32, n, w->rows, err);
    if (rc == 0)
        rc = cpu_expect(w, "matmul: w", TENSOR_F32, 0, w->columns, err);
    if (rc == 0 && bias)
        rc = cpu_expect(bias, "matmul: bias", TENSOR_F32, 1, w->rows, err);
    if (rc < 0)
        return rc;
    struct matmul_job job = {out->f, x->f,       w->f,    bias ? bias->f : NULL,
                             n,      w->columns, w->rows, blocks(w->rows, BLOCK_COLUMNS)};
    parallel_for(cpu_self(b)->pool, blocks(n, BLOCK_ROWS) * job.column_blocks, matmul_item, &job);
    return 0;
}

struct grouped_job {
    float *out;
    const float *x;
    struct tensor *const *w;
    const struct backend_groups *groups;
    const struct grouped_block {
        size_t expert, row, rows;
    } * block;
    size_t in, columns, column_blocks;
};

static void grouped_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct grouped_job *j = context;
    const struct grouped_block *k = &j->block[item / j->column_blocks];
    size_t column_block = item % j->column_blocks, column = column_block * BLOCK_COLUMNS;
    cpu_gemm_nt(k->rows, block_length(j->columns, BLOCK_COLUMNS, column_block), j->in,
                j->x + k->row * j->in, j->in, j->w[k->expert]->f + column * j->in, j->in,
                j->out + k->row * j->columns + column, j->columns);
}

/* Row blocks never cross from one expert to the next. */
static struct grouped_block *cut_blocks(const struct backend_groups *g, size_t *count,
                                        struct err *err)
{
    size_t slots = g->offset[g->experts];
    struct grouped_block *list = mem_array(g->experts + slots / BLOCK_ROWS, sizeof *list, err);
    *count = 0;
    for (size_t e = 0; list && e < g->experts; e++)
        for (size_t row = g->offset[e]; row < g->offset[e + 1]; row += BLOCK_ROWS) {
            size_t left = g->offset[e + 1] - row;
            list[(*count)++] =
                (struct grouped_block){e, row, left < BLOCK_ROWS ? left : BLOCK_ROWS};
        }
    return list;
}

int cpu_grouped_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                       struct tensor *const *w, const struct backend_groups *groups,
                       struct err *err)
{
    size_t slots = groups->offset[groups->experts], in = w[0]->columns, columns = w[0]->rows;
    int rc = cpu_expect(x, "grouped_matmul: x", TENSOR_F32, slots, in, err);
    if (rc == 0)
        rc = cpu_expect(out, "grouped_matmul: out", TENSOR_F32, slots, columns, err);
    for (size_t e = 0; rc == 0 && e < groups->experts; e++)
        rc = cpu_expect(w[e], "grouped_matmul: w", TENSOR_F32, columns, in, err);
    if (rc < 0)
        return rc;
    size_t count;
    struct grouped_block *list = cut_blocks(groups, &count, err);
    if (!list)
        return ERR_NOMEM;
    struct grouped_job job = {out->f, x->f, w,       groups,
                              list,   in,   columns, blocks(columns, BLOCK_COLUMNS)};
    parallel_for(cpu_self(b)->pool, count * job.column_blocks, grouped_item, &job);
    free(list);
    return 0;
}

struct nll_job {
    struct cpu_backend *backend;
    double *nll;
    const float *x, *head;
    const int64_t *target;
    size_t n, in, vocab;
};

CPU_VECTOR static float row_max(const float *x, size_t count)
{
    return cpu_max(x, count);
}

CPU_VECTOR static float sum_of_exp(const float *x, float shift, size_t count)
{
    float lanes[CPU_LANES] = {0};
    size_t whole = count - count % CPU_LANES;
    for (size_t i = 0; i < whole; i += CPU_LANES)
        for (size_t l = 0; l < CPU_LANES; l++)
            lanes[l] += cpu_exp(x[i + l] - shift);
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += cpu_exp(x[i] - shift);
    return cpu_lanes_sum(lanes);
}

/* Log of a sum of exponentials that grows block by block. */
struct running {
    double max, sum, chosen;
};

static void running_add(struct running *r, const float *logits, size_t count, int64_t target)
{
    double max = row_max(logits, count);
    double sum = sum_of_exp(logits, (float)max, count);
    if (max > r->max) {
        r->sum *= exp(r->max - max);
        r->max = max;
    }
    r->sum += sum * exp(max - r->max);
    if (target >= 0 && (size_t)target < count)
        r->chosen = logits[target];
}

static void nll_item(void *context, size_t item, size_t worker)
{
    const struct nll_job *j = context;
    size_t first = item * NLL_ROWS, rows = block_length(j->n, NLL_ROWS, item);
    float *logits = j->backend->scratch[worker];
    struct running state[NLL_ROWS];
    bool any = false;
    for (size_t r = 0; r < rows; r++) {
        state[r] = (struct running){-INFINITY, 0, 0};
        any = any || j->target[first + r] >= 0;
    }
    for (size_t v = 0; any && v < j->vocab; v += NLL_VOCAB) {
        size_t count = j->vocab - v < NLL_VOCAB ? j->vocab - v : NLL_VOCAB;
        cpu_gemm_nt(rows, count, j->in, j->x + first * j->in, j->in, j->head + v * j->in, j->in,
                    logits, NLL_VOCAB);
        for (size_t r = 0; r < rows; r++)
            running_add(&state[r], logits + r * NLL_VOCAB, count,
                        j->target[first + r] - (int64_t)v);
    }
    for (size_t r = 0; r < rows; r++)
        if (j->target[first + r] >= 0)
            j->nll[first + r] = state[r].max + log(state[r].sum) - state[r].chosen;
}

int cpu_nll(struct backend *b, double *nll, const struct tensor *x, const struct tensor *head,
            const int64_t *target, size_t n, struct err *err)
{
    int rc = cpu_expect(x, "nll: x", TENSOR_F32, n, head->columns, err);
    if (rc == 0)
        rc = cpu_expect(head, "nll: head", TENSOR_F32, 1, head->columns, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        if (target[i] >= 0 && (uint64_t)target[i] >= head->rows)
            rc = err_set(err, ERR_USAGE, NULL, "token id %lld to predict, the model has %zu",
                         (long long)target[i], head->rows);
    if (rc == 0)
        rc = cpu_scratch(cpu_self(b), (size_t)NLL_ROWS * NLL_VOCAB, err);
    if (rc < 0)
        return rc;
    struct nll_job job = {cpu_self(b), nll, x->f, head->f, target, n, head->columns, head->rows};
    parallel_for(cpu_self(b)->pool, blocks(n, NLL_ROWS), nll_item, &job);
    return 0;
}
