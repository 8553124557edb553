/* Learned rounding of one block: gradients, what it gains, what it never loses, bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/safetensors.h"
#include "gpu/products.h"
#include "src/quant/learn_unit.h"

enum {
    HIDDEN = 20,
    SIZE = 12,
    GROUP = 8,
    UNITS = 5,
    ROUTED = 2, /* units a token, and the last unit for all */
    WINDOWS = 10,
    WINDOW = 48,
    POSITIONS = WINDOWS * WINDOW,
    SLOTS = POSITIONS * (ROUTED + 1),
    LARGEST = HIDDEN * SIZE
};

static uint64_t seed;

static float uniform(void)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(seed >> 11) * 0x1p-53 - 0.5);
}

static void fill(float *x, size_t count, float size)
{
    for (size_t i = 0; i < count; i++)
        x[i] = size * uniform();
}

/* A block with its memory. The target is the output of the weights before they were rounded. */
struct problem {
    struct learn_block block;
    struct learn_unit unit[UNITS];
    struct packed_linear packed[UNITS * LEARN_LINEARS];
    float weights[UNITS * LEARN_LINEARS][LARGEST];
    float x[POSITIONS * HIDDEN], target[POSITIONS * HIDDEN];
    size_t offset[UNITS + 1];
    uint32_t row[SLOTS];
    float gate[SLOTS];
};

static void route(struct problem *p)
{
    size_t at = 0;
    for (size_t u = 0; u < UNITS; u++) {
        p->offset[u] = at;
        for (size_t t = 0; t < POSITIONS; t++) {
            bool mine = u == UNITS - 1;
            for (size_t k = 0; k < ROUTED; k++)
                mine = mine || (t * 7 + k * (1 + t / 5 % 3)) % (UNITS - 1) == u;
            if (!mine)
                continue;
            p->row[at] = (uint32_t)t;
            p->gate[at++] = 0.5f + uniform();
        }
    }
    p->offset[UNITS] = at;
    assert_true(at <= SLOTS);
}

/* Each weight rounded by itself on min-max grids. */
static void round_to_nearest(struct packed_linear *q, const float *w, size_t in, size_t out,
                             unsigned bits, bool channels)
{
    assert_int_equal(
        packed_alloc(q, in, out, bits, GROUP, channels ? 8 : 0, channels ? 2 : 0, NULL), 0);
    if (channels) {
        q->channel_index[0] = 1;
        q->channel_index[1] = (uint32_t)in - 1;
    }
    for (size_t r = 0; r < out; r++)
        for (size_t j = 0; j < in; j++) {
            size_t at = r * q->groups + j / GROUP;
            bool channel = channels && (j == 1 || j == in - 1);
            float top = (float)((1u << (channel ? 8 : bits)) - 1);
            uint16_t *scale = (channel ? q->channel_scales : q->scales) + at;
            uint8_t *zero = (channel ? q->channel_zeros : q->zeros) + at;
            *scale = dtype_float_to_f16(1.0f / top);
            *zero = (uint8_t)(top / 2);
            float code = rintf(w[r * in + j] / dtype_f16_to_float(*scale)) + (float)*zero;
            q->codes[r * in + j] = (uint8_t)fminf(fmaxf(code, 0), top);
        }
}

static void reference_output(const struct problem *p, float *out)
{
    memset(out, 0, sizeof p->target);
    for (size_t u = 0; u < UNITS; u++)
        for (size_t s = p->offset[u]; s < p->offset[u + 1]; s++) {
            const float *x = p->x + p->row[s] * HIDDEN;
            double m[SIZE];
            for (size_t i = 0; i < SIZE; i++) {
                double a = 0, b = 0;
                for (size_t j = 0; j < HIDDEN; j++) {
                    a += (double)p->weights[u * 3][i * HIDDEN + j] * (double)x[j];
                    b += (double)p->weights[u * 3 + 1][i * HIDDEN + j] * (double)x[j];
                }
                m[i] = a / (1 + exp(-a)) * b;
            }
            for (size_t o = 0; o < HIDDEN; o++) {
                double y = 0;
                for (size_t i = 0; i < SIZE; i++)
                    y += (double)p->weights[u * 3 + 2][o * SIZE + i] * m[i];
                out[p->row[s] * HIDDEN + o] += (float)(y * (double)p->gate[s]);
            }
        }
}

/* fixed: a linear that is not learned, or none. channels: mixed ones in every linear. */
static struct problem *make(unsigned bits, size_t fixed, bool channels)
{
    struct problem *p = mem_array(1, sizeof *p, NULL);
    assert_non_null(p);
    seed = 4711;
    /* Inputs of few directions: rounding errors of different weights can make up for each other. */
    fill(p->x, POSITIONS * HIDDEN, 1.0f);
    for (size_t i = 0; i < POSITIONS * HIDDEN; i++)
        p->x[i] += i % HIDDEN ? 0.95f * p->x[i - 1] : 2.0f * p->x[i];
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++) {
        bool down = i % LEARN_LINEARS == 2;
        fill(p->weights[i], LARGEST, 1.0f);
        if (i != fixed)
            round_to_nearest(&p->packed[i], p->weights[i], down ? SIZE : HIDDEN,
                             down ? HIDDEN : SIZE, bits, channels);
        p->unit[i / 3].size = SIZE;
        p->unit[i / 3].linear[i % 3] =
            (struct learn_linear){i == fixed ? NULL : &p->packed[i], p->weights[i]};
    }
    route(p);
    reference_output(p, p->target);
    p->block = (struct learn_block){WINDOWS, WINDOW,  HIDDEN,    p->x,   p->target,
                                    UNITS,   p->unit, p->offset, p->row, p->gate};
    return p;
}

static void destroy(struct problem *p)
{
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++)
        packed_release(&p->packed[i]);
    free(p);
}

static struct learn_result run(struct problem *p, size_t iterations, struct parallel *pool)
{
    static bool kept[UNITS];
    struct learn_result result = {.unit_kept = kept};
    struct learn_rule rule = {iterations, 7};
    assert_int_equal(learn_run(&result, &p->block, &rule, pool, NULL, 0, NULL), 0);
    return result;
}

static bool same_packed(const struct packed_linear *a, const struct packed_linear *b)
{
    size_t cells = a->out * a->groups;
    return memcmp(a->codes, b->codes, a->out * a->in) == 0 &&
           memcmp(a->scales, b->scales, cells * sizeof *a->scales) == 0 &&
           memcmp(a->zeros, b->zeros, cells) == 0 &&
           (!a->channels ||
            memcmp(a->channel_scales, b->channel_scales, cells * sizeof *a->scales) == 0);
}

/* --- Gradients --- */

/* sum of y * direction for the weights in force */
static double projected(const struct learn_state s[3], struct learn_rows *r, const float *direction)
{
    double sum = 0;
    learn_forward(s, r);
    for (size_t i = 0; i < r->count * r->hidden; i++)
        sum += (double)r->y[i] * (double)direction[i];
    return sum;
}

static void test_gradients_are_those_of_finite_differences(void **state)
{
    (void)state;
    enum { ROWS = 9 };
    static float w[3][LARGEST], got[3][LARGEST], x[ROWS * HIDDEN], a[ROWS * SIZE], b[ROWS * SIZE];
    static float m[ROWS * SIZE], y[ROWS * HIDDEN], direction[ROWS * HIDDEN], space[ROWS * SIZE];
    seed = 99;
    fill(x, ROWS * HIDDEN, 3.0f);
    fill(direction, ROWS * HIDDEN, 1.0f);
    struct learn_rows r = {ROWS, HIDDEN, SIZE, x, a, b, m, y};
    struct learn_state s[3];
    for (size_t i = 0; i < 3; i++) {
        fill(w[i], LARGEST, 1.0f);
        s[i] = (struct learn_state){
            .in = i == 2 ? SIZE : HIDDEN, .out = i == 2 ? HIDDEN : SIZE, .w = w[i]};
    }
    products_prepare();
    learn_forward(s, &r);
    memcpy(y, direction, sizeof y);
    float *const gradient[3] = {got[0], got[1], got[2]};
    learn_gradient(s, &r, space, gradient);
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < LARGEST; k += 7) {
            const float h = 1.0f / 64, before = w[i][k];
            w[i][k] = before + h;
            double up = projected(s, &r, direction);
            w[i][k] = before - h;
            double down = projected(s, &r, direction);
            w[i][k] = before;
            double slope = (up - down) / (2 * (double)h);
            assert_true(fabs(slope - (double)got[i][k]) < 2e-3 * (1 + fabs(slope)));
        }
}

/* --- Runs --- */

static void test_two_bits_come_closer_to_the_target(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, false);
    struct learn_result r = run(p, 60, NULL);
    print_message("held-out loss %.4f, then %.4f, %zu units\n", r.before, r.after, r.kept);
    assert_true(r.after < 0.8 * r.before);
    assert_true(r.kept > 0);
    destroy(p);
}

/* The held-out loss again, from the codes that were left. */
static void test_told_loss_is_that_of_the_codes_left(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, true);
    struct learn_result first = run(p, 40, NULL);
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++)
        packed_dequantize(&p->packed[i], p->weights[i]);
    struct learn_result second = run(p, 1, NULL);
    assert_true(fabs(first.after - second.before) < 1e-4 * first.after);
    destroy(p);
}

/* Where target and inputs have nothing to do with each other on the held-out windows, what is
 * learned is worth nothing there. */
static void test_codes_that_lose_on_held_out_windows_are_not_kept(void **state)
{
    (void)state;
    struct problem *p = make(4, SIZE_MAX, false), *given = make(4, SIZE_MAX, false);
    /* One window of ten is held out: the last. All others have targets turned round. */
    for (size_t i = 0; i < (POSITIONS - WINDOW) * HIDDEN; i++)
        p->target[i] = -p->target[i];
    struct learn_result r = run(p, 40, NULL);
    assert_true(r.after <= r.before);
    assert_int_equal(r.kept, 0);
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++)
        assert_true(same_packed(&p->packed[i], &given->packed[i]));
    destroy(p);
    destroy(given);
}

static void test_a_unit_without_held_out_tokens_keeps_its_codes(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, false), *given = make(2, SIZE_MAX, false);
    /* Unit 0 loses its tokens of the last window, the one that is held out. */
    size_t end = p->offset[1];
    while (end > p->offset[0] && p->row[end - 1] >= POSITIONS - WINDOW)
        end--;
    size_t gone = p->offset[1] - end;
    assert_true(gone > 0 && end > p->offset[0]);
    memmove(p->row + end, p->row + p->offset[1], (SLOTS - p->offset[1]) * sizeof *p->row);
    memmove(p->gate + end, p->gate + p->offset[1], (SLOTS - p->offset[1]) * sizeof *p->gate);
    for (size_t u = 1; u <= UNITS; u++)
        p->offset[u] -= gone;
    struct learn_result r = run(p, 40, NULL);
    assert_false(r.unit_kept[0]);
    assert_true(r.kept > 0);
    for (size_t i = 0; i < LEARN_LINEARS; i++)
        assert_true(same_packed(&p->packed[i], &given->packed[i]));
    destroy(p);
    destroy(given);
}

static void test_fixed_linears_are_neither_changed_nor_forgotten(void **state)
{
    (void)state;
    enum { FIXED = 4 };
    struct problem *p = make(2, FIXED, false);
    float before[LARGEST];
    memcpy(before, p->weights[FIXED], sizeof before);
    struct learn_result r = run(p, 40, NULL);
    assert_true(r.after < r.before);
    assert_memory_equal(before, p->weights[FIXED], sizeof before);
    destroy(p);
}

static void test_codes_do_not_depend_on_the_number_of_threads(void **state)
{
    (void)state;
    struct problem *one = make(3, SIZE_MAX, true), *three = make(3, SIZE_MAX, true);
    struct parallel *pool;
    assert_int_equal(parallel_new(&pool, 3, NULL), 0);
    struct learn_result a = run(one, 30, NULL), b = run(three, 30, pool);
    assert_true(a.after == b.after && a.kept == b.kept && a.kept > 0);
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++)
        assert_true(same_packed(&one->packed[i], &three->packed[i]));
    parallel_free(pool);
    destroy(one);
    destroy(three);
}

static void test_codes_and_scales_stay_storable(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, true), *given = make(2, SIZE_MAX, true);
    run(p, 200, NULL);
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++) {
        const struct packed_linear *q = &p->packed[i];
        for (size_t k = 0; k < q->in * q->out; k++) {
            size_t j = k % q->in;
            bool channel = j == q->channel_index[0] || j == q->channel_index[1];
            assert_true(channel || q->codes[k] <= 3);
        }
        for (size_t k = 0; k < q->out * q->groups; k++) {
            float scale = dtype_f16_to_float(q->scales[k]);
            assert_true(isfinite(scale) && scale > 0);
            assert_int_equal(q->zeros[k], given->packed[i].zeros[k]);
        }
    }
    destroy(p);
    destroy(given);
}

static void test_one_window_is_refused(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, false);
    struct err err = {0};
    bool kept[UNITS];
    struct learn_result result = {.unit_kept = kept};
    struct learn_rule rule = {10, 7};
    p->block.windows = 1;
    assert_int_equal(learn_run(&result, &p->block, &rule, NULL, NULL, 0, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "expected at least 2"));
    destroy(p);
}

static void test_cancelled_run_leaves_the_given_codes(void **state)
{
    (void)state;
    struct problem *p = make(2, SIZE_MAX, false), *given = make(2, SIZE_MAX, false);
    struct progress progress;
    bool kept[UNITS];
    struct learn_result result = {.unit_kept = kept};
    struct learn_rule rule = {10, 7};
    progress_init(&progress);
    progress.cancel = true;
    assert_int_equal(learn_run(&result, &p->block, &rule, NULL, &progress, 10, NULL),
                     ERR_CANCELLED);
    for (size_t i = 0; i < UNITS * LEARN_LINEARS; i++)
        assert_true(same_packed(&p->packed[i], &given->packed[i]));
    progress_release(&progress);
    destroy(p);
    destroy(given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gradients_are_those_of_finite_differences),
        cmocka_unit_test(test_two_bits_come_closer_to_the_target),
        cmocka_unit_test(test_told_loss_is_that_of_the_codes_left),
        cmocka_unit_test(test_codes_that_lose_on_held_out_windows_are_not_kept),
        cmocka_unit_test(test_a_unit_without_held_out_tokens_keeps_its_codes),
        cmocka_unit_test(test_fixed_linears_are_neither_changed_nor_forgotten),
        cmocka_unit_test(test_codes_do_not_depend_on_the_number_of_threads),
        cmocka_unit_test(test_codes_and_scales_stay_storable),
        cmocka_unit_test(test_one_window_is_refused),
        cmocka_unit_test(test_cancelled_run_leaves_the_given_codes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
