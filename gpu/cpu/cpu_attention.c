/* Causal attention: an item is a block of queries of one head of one window. */
#include <math.h>

#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum { QUERY_ROWS = 128 };

struct attention_job {
    struct cpu_backend *backend;
    float *out;
    const float *q, *k, *v;
    const struct backend_attention *shape;
    size_t query_blocks;
    float scale;
};

/* Softmax of scale * x over `count` entries, in place. */
CPU_VECTOR static void softmax_row(float *x, size_t count, float scale)
{
    float max = cpu_max(x, count), lanes[CPU_LANES] = {0};
    size_t whole = count - count % CPU_LANES;
    for (size_t i = 0; i < count; i++)
        x[i] = cpu_exp((x[i] - max) * scale);
    for (size_t i = 0; i < whole; i += CPU_LANES)
        for (size_t l = 0; l < CPU_LANES; l++)
            lanes[l] += x[i + l];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += x[i];
    float inverse = 1.0f / cpu_lanes_sum(lanes);
    for (size_t i = 0; i < count; i++)
        x[i] *= inverse;
}

/* First key that the query at `position` sees. */
static size_t first_key(const struct backend_attention *s, size_t position)
{
    return s->sliding && position + 1 > s->sliding ? position + 1 - s->sliding : 0;
}

static void attention_item(void *context, size_t item, size_t worker)
{
    const struct attention_job *j = context;
    const struct backend_attention *s = j->shape;
    size_t block = item % j->query_blocks, head = item / j->query_blocks % s->heads;
    size_t start = item / j->query_blocks / s->heads * s->window; /* row of the window */
    size_t query = block * QUERY_ROWS;
    size_t rows = s->window - query < QUERY_ROWS ? s->window - query : QUERY_ROWS;
    size_t key = first_key(s, query), keys = query + rows - key;
    size_t q_stride = s->heads * s->head_dim, kv_stride = s->kv_heads * s->head_dim;
    size_t q_at = (start + query) * q_stride + head * s->head_dim;
    size_t kv_at = (start + key) * kv_stride + head / (s->heads / s->kv_heads) * s->head_dim;
    float *score = j->backend->scratch[worker];
    cpu_gemm_nt(rows, keys, s->head_dim, j->q + q_at, q_stride, j->k + kv_at, kv_stride, score,
                keys);
    for (size_t r = 0; r < rows; r++) {
        float *row = score + r * keys;
        size_t from = first_key(s, query + r) - key, to = query + r + 1 - key;
        for (size_t i = 0; i < from; i++)
            row[i] = 0;
        softmax_row(row + from, to - from, j->scale);
        for (size_t i = to; i < keys; i++)
            row[i] = 0;
    }
    cpu_gemm_nn(rows, s->head_dim, keys, score, keys, j->v + kv_at, kv_stride, j->out + q_at,
                q_stride);
}

int cpu_attention(struct backend *b, struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, size_t n,
                  const struct backend_attention *shape, struct err *err)
{
    if (shape->window == 0 || n % shape->window || shape->kv_heads == 0 ||
        shape->heads % shape->kv_heads)
        return err_set(err, ERR_USAGE, NULL,
                       "attention: %zu rows in windows of %zu, %zu heads over %zu", n,
                       shape->window, shape->heads, shape->kv_heads);
    size_t wide = shape->heads * shape->head_dim, narrow = shape->kv_heads * shape->head_dim;
    int rc = cpu_expect(out, "attention: out", TENSOR_F32, n, wide, err);
    if (rc == 0)
        rc = cpu_expect(q, "attention: q", TENSOR_F32, n, wide, err);
    if (rc == 0)
        rc = cpu_expect(k, "attention: k", TENSOR_F32, n, narrow, err);
    if (rc == 0)
        rc = cpu_expect(v, "attention: v", TENSOR_F32, n, narrow, err);
    if (rc == 0)
        rc = cpu_scratch(cpu_self(b), QUERY_ROWS * shape->window, err);
    if (rc < 0)
        return rc;
    struct attention_job job = {.backend = cpu_self(b),
                                .out = out->f,
                                .q = q->f,
                                .k = k->f,
                                .v = v->f,
                                .shape = shape,
                                .query_blocks = (shape->window + QUERY_ROWS - 1) / QUERY_ROWS,
                                .scale = 1.0f / sqrtf((float)shape->head_dim)};
    parallel_for(cpu_self(b)->pool, n / shape->window * shape->heads * job.query_blocks,
                 attention_item, &job);
    return 0;
}
