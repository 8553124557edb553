#include "cpu_check.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t next(uint64_t *state)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

uint32_t check_random(uint64_t *state, uint32_t below)
{
    return (uint32_t)((next(state) >> 32) * below >> 32);
}

float *check_floats(uint64_t seed, size_t count, double scale)
{
    float *values = malloc((count ? count : 1) * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < count; i++)
        values[i] = (float)(((double)(next(&seed) >> 11) * 0x1p-52 - 1) * scale);
    return values;
}

struct tensor *check_put(struct backend *b, size_t rows, size_t columns, const float *values)
{
    struct tensor *t;
    assert_int_equal(b->ops->tensor_new(b, &t, TENSOR_F32, rows, columns, NULL), 0);
    assert_int_equal(b->ops->upload(b, t, 0, rows, SOURCE_F32, values, NULL), 0);
    return t;
}

struct tensor *check_poisoned(struct backend *b, size_t rows, size_t columns)
{
    float *values = malloc(rows * columns * sizeof *values);
    assert_non_null(values);
    for (size_t i = 0; i < rows * columns; i++)
        values[i] = NAN;
    struct tensor *t = check_put(b, rows, columns, values);
    free(values);
    return t;
}

void check_take(struct backend *b, struct tensor *t, size_t rows, size_t columns, float *out)
{
    float *row = malloc(columns * sizeof *row);
    assert_non_null(row);
    assert_int_equal(b->ops->download(b, t, 0, rows, out, NULL), 0);
    for (size_t r = rows; b->ops->download(b, t, r, 1, row, NULL) == 0; r++)
        for (size_t i = 0; i < columns; i++)
            assert_true(isnan(row[i]));
    free(row);
    b->ops->tensor_free(b, t);
}

void check_run(check_op op, size_t count, const double *reference, double tolerance)
{
    float *first = malloc(count * sizeof *first), *again = malloc(count * sizeof *again);
    assert_non_null(first);
    assert_non_null(again);
    for (size_t threads = 1; threads <= 3; threads++) {
        struct backend *b;
        assert_int_equal(backend_cpu_new(&b, threads, NULL), 0);
        op(b, threads == 1 ? first : again);
        backend_free(b);
        if (threads > 1)
            assert_memory_equal(first, again, count * sizeof *first);
    }
    for (size_t i = 0; i < count; i++)
        if (!(fabs(first[i] - reference[i]) <= tolerance * (1 + fabs(reference[i]))))
            fail_msg("result %zu is %.9g, the reference %.9g", i, (double)first[i], reference[i]);
    free(first);
    free(again);
}

void check_groups(struct backend_groups *g, size_t tokens, size_t experts, size_t top_k,
                  size_t unused, uint64_t seed)
{
    *g = (struct backend_groups){.tokens = tokens, .experts = experts, .top_k = top_k};
    assert_int_equal(backend_groups_alloc(g, NULL), 0);
    for (size_t t = 0; t < tokens; t++)
        for (size_t k = 0; k < top_k; k++) {
            uint16_t e;
            bool taken;
            do { /* the square makes low experts common */
                uint32_t x = check_random(&seed, 1000), y = check_random(&seed, 1000);
                e = (uint16_t)(x * y * experts / 1000000);
                taken = e == unused;
                for (size_t i = 0; i < k; i++)
                    taken = taken || g->expert[t * top_k + i] == e;
            } while (taken);
            g->expert[t * top_k + k] = e;
            g->gate[t * top_k + k] = (float)(1 + check_random(&seed, 1000)) * 1e-3f;
        }
    assert_int_equal(backend_groups_sort(g, NULL), 0);
}
