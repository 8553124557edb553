#include "src/quant/learn_batch.h"

#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/simd.h"

enum { LANES = 16 };

static size_t lower_bound(const uint32_t *row, size_t first, size_t last, size_t value)
{
    while (first < last) {
        size_t middle = first + (last - first) / 2;
        if (row[middle] < value)
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}

static int index_windows(struct learn_batch *b, struct err *err)
{
    const struct learn_block *k = b->block;
    b->first = mem_array(k->units * (k->windows + 1), sizeof *b->first, err);
    if (!b->first)
        return ERR_NOMEM;
    for (size_t u = 0; u < k->units; u++)
        for (size_t w = 0; w <= k->windows; w++)
            b->first[u * (k->windows + 1) + w] =
                lower_bound(k->row, k->offset[u], k->offset[u + 1], w * k->window);
    return 0;
}

/* Most slots of any window. */
static size_t window_slots(const struct learn_batch *b)
{
    size_t most = 0;
    for (size_t w = 0; w < b->block->windows; w++) {
        size_t slots = 0;
        for (size_t u = 0; u < b->block->units; u++)
            slots += learn_slots(b, u, w)[1] - learn_slots(b, u, w)[0];
        most = slots > most ? slots : most;
    }
    return most;
}

static int spaces_init(struct learn_batch *b, struct err *err)
{
    size_t most = 0;
    for (size_t u = 0; u < b->block->units; u++) {
        size_t floats = learn_space(b->state + u * LEARN_LINEARS, b->limit * b->block->window);
        most = floats > most ? floats : most;
    }
    size_t spaces = parallel_spaces(b->pool, b->block->units);
    b->space = mem_array(spaces, sizeof *b->space, err);
    int rc = b->space ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < spaces; i++) {
        b->space[i] = mem_aligned(most, sizeof **b->space, err);
        rc = b->space[i] ? 0 : ERR_NOMEM;
    }
    return rc;
}

int learn_batch_init(struct learn_batch *b, const struct learn_block *block,
                     struct learn_state *state, struct parallel *pool, size_t tokens,
                     struct err *err)
{
    *b = (struct learn_batch){.block = block, .pool = pool, .state = state};
    int rc = index_windows(b, err);
    if (rc < 0)
        return rc;
    for (size_t u = 0; u < block->units; u++)
        b->size = block->unit[u].size > b->size ? block->unit[u].size : b->size;
    b->limit = block->window < tokens ? tokens / block->window : 1;
    size_t slots = b->limit * window_slots(b);
    b->window = mem_array(b->limit, sizeof *b->window, err);
    b->place = mem_array(block->units * (b->limit + 1), sizeof *b->place, err);
    b->x = mem_aligned(slots * block->hidden, sizeof *b->x, err);
    b->y = mem_aligned(slots * block->hidden, sizeof *b->y, err);
    b->a = mem_aligned(slots * b->size, sizeof *b->a, err);
    b->b = mem_aligned(slots * b->size, sizeof *b->b, err);
    b->m = mem_aligned(slots * b->size, sizeof *b->m, err);
    b->residual = mem_aligned(b->limit * block->window * block->hidden, sizeof *b->residual, err);
    b->loss = mem_array(b->limit, sizeof *b->loss, err);
    return b->window && b->place && b->x && b->y && b->a && b->b && b->m && b->residual && b->loss
               ? spaces_init(b, err)
               : ERR_NOMEM;
}

void learn_batch_release(struct learn_batch *b)
{
    for (size_t i = 0; b->space && i < parallel_spaces(b->pool, b->block->units); i++)
        free(b->space[i]);
    free(b->space);
    free(b->first);
    free(b->window);
    free(b->place);
    free(b->x);
    free(b->y);
    free(b->a);
    free(b->b);
    free(b->m);
    free(b->residual);
    free(b->loss);
    *b = (struct learn_batch){0};
}

void learn_batch_set(struct learn_batch *b, const size_t *windows, size_t count)
{
    size_t at = 0;
    b->count = count;
    memcpy(b->window, windows, count * sizeof *windows);
    for (size_t u = 0; u < b->block->units; u++)
        for (size_t i = 0; i <= count; i++) {
            b->place[u * (b->limit + 1) + i] = at;
            if (i < count)
                at += learn_slots(b, u, windows[i])[1] - learn_slots(b, u, windows[i])[0];
        }
}

struct learn_rows learn_batch_rows(const struct learn_batch *b, size_t u)
{
    const size_t *place = b->place + u * (b->limit + 1);
    size_t d = b->block->hidden, at = place[0];
    return (struct learn_rows){.count = place[b->count] - at,
                               .hidden = d,
                               .size = b->block->unit[u].size,
                               .x = b->x + at * d,
                               .a = b->a + at * b->size,
                               .b = b->b + at * b->size,
                               .m = b->m + at * b->size,
                               .y = b->y + at * d};
}

static void forward_item(void *context, size_t u, size_t worker)
{
    (void)worker;
    const struct learn_batch *b = context;
    const struct learn_block *k = b->block;
    struct learn_rows r = learn_batch_rows(b, u);
    float *x = b->x + b->place[u * (b->limit + 1)] * k->hidden;
    for (size_t i = 0; i < b->count; i++) {
        const size_t *slots = learn_slots(b, u, b->window[i]);
        for (size_t s = slots[0]; s < slots[1]; s++, x += k->hidden)
            memcpy(x, k->x + k->row[s] * k->hidden, k->hidden * sizeof *x);
    }
    learn_forward(b->state + u * LEARN_LINEARS, &r);
}

SIMD_CLONES static void add_scaled(float *out, const float *x, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] += factor * x[i];
}

SIMD_CLONES static void scale(float *out, const float *x, float factor, size_t count)
{
    for (size_t i = 0; i < count; i++)
        out[i] = factor * x[i];
}

SIMD_CLONES static double square(const float *x, size_t count)
{
    double lanes[LANES] = {0}, sum = 0;
    size_t whole = count - count % LANES;
    for (size_t i = 0; i < whole; i += LANES)
        for (size_t j = 0; j < LANES; j++)
            lanes[j] += (double)x[i + j] * (double)x[i + j];
    for (size_t i = whole; i < count; i++)
        lanes[i - whole] += (double)x[i] * (double)x[i];
    for (size_t j = 0; j < LANES; j++)
        sum += lanes[j];
    return sum;
}

/* Window i of the batch: units in rising order. */
static void residual_item(void *context, size_t i, size_t worker)
{
    (void)worker;
    const struct learn_batch *b = context;
    const struct learn_block *k = b->block;
    size_t start = b->window[i] * k->window, d = k->hidden;
    float *residual = b->residual + i * k->window * d;
    scale(residual, k->target + start * d, -1.0f, k->window * d);
    for (size_t u = 0; u < k->units; u++) {
        const size_t *slots = learn_slots(b, u, b->window[i]);
        const float *y = b->y + b->place[u * (b->limit + 1) + i] * d;
        for (size_t s = slots[0]; s < slots[1]; s++, y += d)
            add_scaled(residual + (k->row[s] - start) * d, y, k->gate[s], d);
    }
    b->loss[i] = square(residual, k->window * d);
}

double learn_batch_forward(struct learn_batch *b)
{
    double sum = 0;
    parallel_for(b->pool, b->block->units, forward_item, b);
    parallel_for(b->pool, b->count, residual_item, b);
    for (size_t i = 0; i < b->count; i++)
        sum += b->loss[i];
    return sum;
}

static void backward_item(void *context, size_t u, size_t worker)
{
    const struct learn_batch *b = context;
    const struct learn_block *k = b->block;
    struct learn_rows r = learn_batch_rows(b, u);
    float *y = r.y;
    for (size_t i = 0; i < b->count; i++) {
        const size_t *slots = learn_slots(b, u, b->window[i]);
        const float *residual = b->residual + i * k->window * k->hidden;
        for (size_t s = slots[0]; s < slots[1]; s++, y += k->hidden)
            scale(y, residual + (k->row[s] - b->window[i] * k->window) * k->hidden,
                  2.0f * k->gate[s], k->hidden);
    }
    size_t space = parallel_space(b->pool, k->units, u, worker);
    learn_backward(b->state + u * LEARN_LINEARS, &r, &b->step, b->space[space]);
}

void learn_batch_backward(struct learn_batch *b)
{
    parallel_for(b->pool, b->block->units, backward_item, b);
}
