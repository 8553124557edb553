/* Choice of experts. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cpu_check.h"

enum { ROWS = 300, EXPERTS = 60, TOP_K = 5 };

static float *logits;
static bool normalize;
static double gates[ROWS * TOP_K];
static uint16_t experts[ROWS * TOP_K];

static void route_reference(size_t row)
{
    double p[EXPERTS], sum = 0, chosen = 0;
    for (size_t e = 0; e < EXPERTS; e++)
        sum += p[e] = exp(logits[row * EXPERTS + e]);
    for (size_t k = 0; k < TOP_K; k++) {
        size_t best = 0;
        for (size_t e = 1; e < EXPERTS; e++)
            best = p[e] > p[best] ? e : best;
        experts[row * TOP_K + k] = (uint16_t)best;
        gates[row * TOP_K + k] = p[best] / sum;
        chosen += p[best] / sum;
        p[best] = 0;
    }
    for (size_t k = 0; normalize && k < TOP_K; k++)
        gates[row * TOP_K + k] /= chosen;
}

static void op_route(struct backend *b, float *out)
{
    struct backend_groups g;
    struct tensor *t = check_put(b, ROWS + 4, EXPERTS, logits);
    assert_int_equal(b->ops->route(b, &g, t, ROWS, TOP_K, normalize, NULL), 0);
    assert_memory_equal(g.expert, experts, sizeof experts);
    memcpy(out, g.gate, ROWS * TOP_K * sizeof *out);
    for (size_t i = 0; i < ROWS * TOP_K; i++) {
        size_t slot = g.slot[i];
        assert_int_equal(g.row[slot], i / TOP_K);
        assert_in_range(slot, g.offset[g.expert[i]], g.offset[g.expert[i] + 1] - 1);
    }
    for (size_t e = 0; e < EXPERTS; e++)
        for (size_t s = g.offset[e] + 1; s < g.offset[e + 1]; s++)
            assert_true(g.row[s - 1] < g.row[s]);
    backend_groups_release(&g);
    b->ops->tensor_free(b, t);
}

static void test_route_takes_the_largest_and_ties_go_to_the_smaller_expert(void **state)
{
    (void)state;
    logits = check_floats(41, (ROWS + 4) * EXPERTS, 6);
    for (size_t e = 0; e < EXPERTS; e++) {
        logits[e] = 1;                              /* all equal */
        logits[EXPERTS + e] = e % 2 ? -2.0f : 3.0f; /* even ones equal */
    }
    for (int i = 0; i < 2; i++) {
        normalize = i;
        for (size_t row = 0; row < ROWS; row++)
            route_reference(row);
        check_run(op_route, ROWS * TOP_K, gates, 1e-6);
    }
    assert_int_equal(experts[TOP_K - 1], TOP_K - 1);
    assert_int_equal(experts[2 * TOP_K - 1], 2 * (TOP_K - 1));
    free(logits);
}

static void test_route_refuses_what_is_not_a_number(void **state)
{
    (void)state;
    static const float bad[] = {NAN, INFINITY};
    struct backend *b;
    assert_int_equal(backend_cpu_new(&b, 2, NULL), 0);
    for (size_t i = 0; i < 2; i++) {
        struct err err = {0};
        struct backend_groups g;
        float *values = check_floats(42, ROWS * EXPERTS, 2);
        values[70 * EXPERTS + 13] = bad[i];
        struct tensor *t = check_put(b, ROWS, EXPERTS, values);
        assert_int_equal(b->ops->route(b, &g, t, ROWS, TOP_K, false, &err), ERR_NUMERIC);
        assert_string_equal(err.message,
                            "the router's output for row 70 of the chunk is not a number");
        assert_int_equal(b->ops->route(b, &g, t, ROWS, EXPERTS + 1, false, NULL), ERR_USAGE);
        b->ops->tensor_free(b, t);
        free(values);
    }
    backend_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_route_takes_the_largest_and_ties_go_to_the_smaller_expert),
        cmocka_unit_test(test_route_refuses_what_is_not_a_number),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
