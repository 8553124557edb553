/* Root-mean-square normalization and rotary positions. */
#include <math.h>

#include "gpu/cpu/cpu_math.h"
#include "gpu/cpu/cpu_ops.h"

enum {
    NORM_ROWS = 64,      /* rows an item */
    ROPE_POSITIONS = 8,  /* positions an item, over all windows */
    ROPE_HALF_MAX = 1024 /* half of the largest head */
};

struct norm_job {
    float *out;
    const float *x, *weight;
    size_t n, columns, group;
    float eps;
};

CPU_VECTOR static float sum_of_squares(const float *x, size_t count)
{
    float lanes[CPU_LANES] = {0};
    size_t whole = count - count % CPU_LANES;
    for (size_t i = 0; i < whole; i += CPU_LANES)
        for (size_t l = 0; l < CPU_LANES; l++)
            lanes[l] += x[i + l] * x[i + l];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += x[i] * x[i];
    return cpu_lanes_sum(lanes);
}

CPU_VECTOR static void scale_by(float *out, const float *x, const float *weight, float scale,
                                size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = x[i] * scale * weight[i];
}

static void norm_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct norm_job *j = context;
    size_t first = item * NORM_ROWS;
    size_t last = first + NORM_ROWS < j->n ? first + NORM_ROWS : j->n;
    for (size_t at = first * j->columns; at < last * j->columns; at += j->group) {
        float mean = sum_of_squares(j->x + at, j->group) / (float)j->group;
        scale_by(j->out + at, j->x + at, j->weight, 1.0f / sqrtf(mean + j->eps), j->group);
    }
}

int cpu_rms_norm(struct backend *b, struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, size_t n, size_t group, double eps, struct err *err)
{
    int rc = cpu_expect(out, "rms_norm: out", TENSOR_F32, n, x->columns, err);
    if (rc == 0)
        rc = cpu_expect(x, "rms_norm: x", TENSOR_F32, n, x->columns, err);
    if (rc == 0)
        rc = cpu_expect(weight, "rms_norm: weight", TENSOR_F32, 1, group, err);
    if (rc == 0 && (group == 0 || x->columns % group))
        rc = err_set(err, ERR_USAGE, NULL, "rms_norm: groups of %zu in rows of %zu", group,
                     x->columns);
    if (rc < 0)
        return rc;
    struct norm_job job = {out->f, x->f, weight->f, n, x->columns, group, (float)eps};
    parallel_for(cpu_self(b)->pool, (n + NORM_ROWS - 1) / NORM_ROWS, norm_item, &job);
    return 0;
}

struct rope_job {
    float *x;
    size_t n, columns, heads, half, window;
    float frequency[ROPE_HALF_MAX];
};

CPU_VECTOR static void rotate(float *x, const float *cosine, const float *sine, size_t half)
{
    for (size_t i = 0; i < half; i++) {
        float a = x[i], b = x[i + half];
        x[i] = a * cosine[i] - b * sine[i];
        x[i + half] = b * cosine[i] + a * sine[i];
    }
}

static void rope_position(const struct rope_job *j, size_t position)
{
    float cosine[ROPE_HALF_MAX], sine[ROPE_HALF_MAX];
    for (size_t i = 0; i < j->half; i++) {
        /* The angle itself is rounded to float32, as in the models' own code. */
        float angle = (float)position * j->frequency[i];
        cosine[i] = (float)cos(angle);
        sine[i] = (float)sin(angle);
    }
    for (size_t row = position; row < j->n; row += j->window)
        for (size_t h = 0; h < j->heads; h++)
            rotate(j->x + row * j->columns + h * 2 * j->half, cosine, sine, j->half);
}

static void rope_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct rope_job *j = context;
    size_t last = (item + 1) * ROPE_POSITIONS;
    for (size_t p = item * ROPE_POSITIONS; p < last && p < j->window; p++)
        rope_position(j, p);
}

int cpu_rope(struct backend *b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
             size_t window, double theta, struct err *err)
{
    int rc = cpu_expect(x, "rope: x", TENSOR_F32, n, heads * head_dim, err);
    if (rc < 0)
        return rc;
    if (head_dim % 2 || head_dim / 2 > ROPE_HALF_MAX || window == 0)
        return err_set(err, ERR_UNSUPPORTED, NULL,
                       "rope: heads of %zu, expected an even number up to %d", head_dim,
                       2 * ROPE_HALF_MAX);
    struct rope_job job = {.x = x->f,
                           .n = n,
                           .columns = x->columns,
                           .heads = heads,
                           .half = head_dim / 2,
                           .window = window};
    for (size_t i = 0; i < job.half; i++)
        job.frequency[i] = 1.0f / powf((float)theta, (float)(2 * i) / (float)head_dim);
    parallel_for(cpu_self(b)->pool, (window + ROPE_POSITIONS - 1) / ROPE_POSITIONS, rope_item,
                 &job);
    return 0;
}
