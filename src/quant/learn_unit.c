#include "src/quant/learn_unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/simd.h"
#include "data/safetensors.h"
#include "gpu/cpu/cpu_math.h"
#include "gpu/products.h"

/* Adding and subtracting it rounds to an integer, halves to even. */
static const float rounding = 12582912.0f;

/* v stays this close to the codes there are, and starts as close to its own. */
static const float cell = 0.499f;

/* How far all steps together can go, of a grid's whole range: v, and ln s. */
static const float code_reach = 1.0f, scale_reach = 0.4f;

static inline float rounded(float v)
{
    return (v + rounding) - rounding;
}

/* --- State --- */

static uint16_t *packed_scale(const struct packed_linear *p, size_t r, size_t g)
{
    return (g < p->groups ? p->scales : p->channel_scales) + r * p->groups + g % p->groups;
}

static uint8_t *packed_zero(const struct packed_linear *p, size_t r, size_t g)
{
    return (g < p->groups ? p->zeros : p->channel_zeros) + r * p->groups + g % p->groups;
}

/* As the file holds it: a positive number of fp16. */
static uint16_t as_stored(float scale)
{
    uint16_t half = dtype_float_to_f16(scale);
    float stored = dtype_f16_to_float(half);
    if (!(stored > 0.0f))
        return 1;
    return isfinite(stored) ? half : 0x7bff;
}

/* Row r in force, from v and scale. */
static void weigh_row(struct learn_state *s, size_t r)
{
    const float *v = s->v + r * s->in, *zero = s->zero + r * s->grids;
    float *w = s->own + r * s->in, *scale = s->sum;
    for (size_t g = 0; g < s->grids; g++)
        scale[g] = dtype_f16_to_float(as_stored(s->scale[r * s->grids + g]));
    for (size_t j = 0; j < s->in; j++)
        w[j] = (rounded(v[j]) - zero[s->column[j]]) * scale[s->column[j]];
}

static int allocate(struct learn_state *s, struct err *err)
{
    size_t count, cells;
    if (!mem_mul(&count, s->out, s->in) || !mem_mul(&cells, s->out, s->grids))
        return err_set(err, ERR_USAGE, NULL, "a linear of %zu inputs, %zu outputs", s->in, s->out);
    s->own = mem_aligned(count, sizeof *s->own, err);
    s->v = mem_aligned(count, sizeof *s->v, err);
    s->first = mem_array(count, sizeof *s->first, err);
    s->second = mem_array(count, sizeof *s->second, err);
    s->scale = mem_array(cells, sizeof *s->scale, err);
    s->zero = mem_array(cells, sizeof *s->zero, err);
    s->column = mem_array(s->in, sizeof *s->column, err);
    s->top = mem_array(s->in, sizeof *s->top, err);
    s->reach = mem_array(s->grids, sizeof *s->reach, err);
    s->row = mem_aligned(2 * s->in, sizeof *s->row, err);
    s->sum = mem_array(s->grids, sizeof *s->sum, err);
    s->kept_codes = mem_array(count, sizeof *s->kept_codes, err);
    s->kept_scales = mem_array(cells, sizeof *s->kept_scales, err);
    return s->own && s->v && s->first && s->second && s->scale && s->zero && s->column && s->top &&
                   s->reach && s->row && s->sum && s->kept_codes && s->kept_scales
               ? 0
               : ERR_NOMEM;
}

/* v starts at the weight itself, or where GPTQ has gone elsewhere as near to it as its code lets.
 */
static void start_row(struct learn_state *s, const float *weights, size_t r)
{
    for (size_t j = 0; j < s->in; j++) {
        size_t i = r * s->in + j, g = r * s->grids + s->column[j];
        float code = (float)s->packed->codes[i];
        float v = weights[i] / s->scale[g] + s->zero[g];
        v = v < code - cell ? code - cell : v;
        s->v[i] = v > code + cell ? code + cell : v;
    }
}

int learn_state_init(struct learn_state *s, const struct learn_linear *l, size_t in, size_t out,
                     struct err *err)
{
    const struct packed_linear *p = l->packed;
    *s = (struct learn_state){.in = in, .out = out, .packed = l->packed, .w = l->weights};
    if (!p)
        return 0;
    s->grids = p->channels ? 2 * p->groups : p->groups;
    int rc = allocate(s, err);
    if (rc < 0)
        return rc;
    s->w = s->own;
    for (size_t j = 0; j < in; j++)
        s->column[j] = (uint32_t)(j / p->group_size);
    for (size_t i = 0; i < p->channels; i++)
        s->column[p->channel_index[i]] += (uint32_t)p->groups;
    for (size_t j = 0; j < in; j++) {
        float codes = (float)(1u << (s->column[j] < p->groups ? p->bits : p->channel_bits));
        s->top[j] = codes - 1.0f;
        s->reach[s->column[j]] = scale_reach / codes;
    }
    for (size_t r = 0; r < out; r++)
        for (size_t g = 0; g < s->grids; g++)
            s->zero[r * s->grids + g] = (float)*packed_zero(p, r, g);
    learn_state_use_given(s);
    for (size_t r = 0; r < out; r++)
        start_row(s, l->weights, r);
    return 0;
}

void learn_state_release(struct learn_state *s)
{
    free(s->own);
    free(s->v);
    free(s->first);
    free(s->second);
    free(s->scale);
    free(s->zero);
    free(s->column);
    free(s->top);
    free(s->reach);
    free(s->row);
    free(s->sum);
    free(s->kept_codes);
    free(s->kept_scales);
    *s = (struct learn_state){0};
}

void learn_state_keep(struct learn_state *s)
{
    for (size_t i = 0; s->packed && i < s->out * s->in; i++)
        s->kept_codes[i] = (uint8_t)rounded(s->v[i]);
    for (size_t i = 0; s->packed && i < s->out * s->grids; i++)
        s->kept_scales[i] = as_stored(s->scale[i]);
}

static void use(struct learn_state *s, const uint8_t *codes)
{
    for (size_t i = 0; i < s->out * s->in; i++)
        s->v[i] = (float)codes[i];
    for (size_t r = 0; r < s->out; r++)
        weigh_row(s, r);
}

void learn_state_use_kept(struct learn_state *s)
{
    if (!s->packed)
        return;
    for (size_t i = 0; i < s->out * s->grids; i++)
        s->scale[i] = dtype_f16_to_float(s->kept_scales[i]);
    use(s, s->kept_codes);
}

void learn_state_use_given(struct learn_state *s)
{
    if (!s->packed)
        return;
    for (size_t r = 0; r < s->out; r++)
        for (size_t g = 0; g < s->grids; g++)
            s->scale[r * s->grids + g] = dtype_f16_to_float(*packed_scale(s->packed, r, g));
    use(s, s->packed->codes);
}

void learn_state_store(struct learn_state *s)
{
    for (size_t i = 0; s->packed && i < s->out * s->in; i++)
        s->packed->codes[i] = (uint8_t)rounded(s->v[i]);
    for (size_t r = 0; s->packed && r < s->out; r++)
        for (size_t g = 0; g < s->grids; g++)
            *packed_scale(s->packed, r, g) = as_stored(s->scale[r * s->grids + g]);
}

/* --- Forward and backward --- */

/* m = silu(a) b */
SIMD_CLONES static void activate(float *m, const float *a, const float *b, size_t count)
{
    for (size_t i = 0; i < count; i++)
        m[i] = a[i] / (1.0f + cpu_exp(-a[i])) * b[i];
}

/* a and b become their gradients; dm: that of m. */
SIMD_CLONES static void deactivate(float *a, float *b, const float *dm, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        float sigmoid = 1.0f / (1.0f + cpu_exp(-a[i]));
        float silu = a[i] * sigmoid;
        float slope = sigmoid * (1.0f + a[i] * (1.0f - sigmoid));
        a[i] = dm[i] * b[i] * slope;
        b[i] = dm[i] * silu;
    }
}

size_t learn_space(const struct learn_state s[LEARN_LINEARS], size_t rows)
{
    size_t floats = rows * s[0].out;
    for (size_t i = 0; i < LEARN_LINEARS; i++)
        floats += s[i].packed ? s[i].out * s[i].in : 0;
    return floats;
}

void learn_forward(const struct learn_state s[LEARN_LINEARS], struct learn_rows *r)
{
    if (r->count == 0)
        return;
    products_nt(r->count, r->size, r->hidden, r->x, s[0].w, r->a);
    products_nt(r->count, r->size, r->hidden, r->x, s[1].w, r->b);
    activate(r->m, r->a, r->b, r->count * r->size);
    products_nt(r->count, r->hidden, r->size, r->m, s[2].w, r->y);
}

void learn_gradient(const struct learn_state s[LEARN_LINEARS], struct learn_rows *r, float *space,
                    float *const gradient[LEARN_LINEARS])
{
    if (gradient[2])
        products_tn(r->hidden, r->size, r->count, r->y, r->m, gradient[2]);
    if (!gradient[0] && !gradient[1])
        return;
    products_nn(r->count, r->size, r->hidden, r->y, s[2].w, space);
    deactivate(r->a, r->b, space, r->count * r->size);
    if (gradient[0])
        products_tn(r->size, r->hidden, r->count, r->a, r->x, gradient[0]);
    if (gradient[1])
        products_tn(r->size, r->hidden, r->count, r->b, r->x, gradient[1]);
}

/* --- Steps --- */

/* One row of v and its moments. */
struct code_row {
    float *v, *first, *second;
    const float *gradient, *top;
    size_t count;
};

/* The gradient by v is the weight's times the scale, which the quotient of the moments does not
 * see: they are those of the weight. */
SIMD_CLONES static void move_codes(const struct code_row *c, const struct learn_step *step)
{
    const float keep1 = learn_first_decay, keep2 = learn_second_decay;
    float *v = c->v, *first = c->first, *second = c->second;
    const float *gradient = c->gradient, *top = c->top;
    for (size_t j = 0; j < c->count; j++) {
        float g = gradient[j];
        first[j] = keep1 * first[j] + (1.0f - keep1) * g;
        second[j] = keep2 * second[j] + (1.0f - keep2) * g * g;
        float size = sqrtf(second[j] * step->second_factor) + 1e-20f;
        float way = step->rate * code_reach / (top[j] + 1.0f);
        float moved = v[j] - way * first[j] * step->first_factor / size;
        moved = moved < -cell ? -cell : moved;
        v[j] = moved > top[j] + cell ? top[j] + cell : moved;
    }
}

/* out[j] = gradient (code - zero) */
SIMD_CLONES static void slopes(float *out, const float *gradient, const float *v, const float *zero,
                               size_t count)
{
    for (size_t j = 0; j < count; j++)
        out[j] = gradient[j] * (rounded(v[j]) - zero[j]);
}

static void move_scales(struct learn_state *s, const float *gradient, size_t r, float rate)
{
    float *scale = s->scale + r * s->grids, *product = s->row, *zero = s->row + s->in;
    for (size_t j = 0; j < s->in; j++)
        zero[j] = s->zero[r * s->grids + s->column[j]];
    slopes(product, gradient, s->v + r * s->in, zero, s->in);
    memset(s->sum, 0, s->grids * sizeof *s->sum);
    for (size_t j = 0; j < s->in; j++)
        s->sum[s->column[j]] += product[j];
    for (size_t g = 0; g < s->grids; g++)
        if (s->sum[g] > 0.0f)
            scale[g] *= 1.0f - rate * s->reach[g];
        else if (s->sum[g] < 0.0f)
            scale[g] *= 1.0f + rate * s->reach[g];
}

static void step_linear(struct learn_state *s, const float *gradient, const struct learn_step *step)
{
    for (size_t r = 0; r < s->out; r++) {
        size_t at = r * s->in;
        struct code_row c = {s->v + at,     s->first + at, s->second + at,
                             gradient + at, s->top,        s->in};
        move_scales(s, gradient + at, r, step->rate);
        move_codes(&c, step);
        weigh_row(s, r);
    }
}

void learn_backward(struct learn_state s[LEARN_LINEARS], struct learn_rows *r,
                    const struct learn_step *step, float *space)
{
    float *gradient[LEARN_LINEARS], *at = space + r->count * r->size;
    if (r->count == 0)
        return;
    for (size_t i = 0; i < LEARN_LINEARS; i++) {
        gradient[i] = s[i].packed ? at : NULL;
        at += s[i].packed ? s[i].out * s[i].in : 0;
    }
    learn_gradient(s, r, space, gradient);
    for (size_t i = 0; i < LEARN_LINEARS; i++)
        if (gradient[i])
            step_linear(&s[i], gradient[i], step);
}
