/* The predicted loss of a plan, against errors of rounding that are measured here. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "analysis/predict.h"

enum { LAYERS = 2, EXPERTS = 4, HIDDEN = 64, INNER = 32 };

static struct plan plan;
static const struct model_config config = {.hidden = HIDDEN, .expert_size = INNER};

static int make_plan(void **state)
{
    (void)state;
    if (plan_alloc(&plan, LAYERS, EXPERTS, NULL) < 0)
        return -1;
    plan.settings.bits_channel = 8;
    return 0;
}

static int free_plan(void **state)
{
    (void)state;
    plan_release(&plan);
    return 0;
}

static void set_all(unsigned bits)
{
    for (size_t l = 0; l < LAYERS; l++)
        for (size_t e = 0; e < EXPERTS; e++)
            plan.layers[l].experts[e] = (struct plan_expert){.bits = bits, .significance = 0.25};
}

static uint64_t random_state = 88172645463325252u;

static double random_unit(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (double)(random_state >> 11) * 0x1p-53;
}

static double random_normal(void)
{
    return sqrt(-2 * log(1 - random_unit())) * cos(6.283185307179586 * random_unit());
}

/* Mean squared error of groups of 64 normal weights on a grid over their range. */
static double measured_error(unsigned bits)
{
    enum { GROUP = 64, GROUPS = 4000 };
    double sum = 0, w[GROUP];
    for (int g = 0; g < GROUPS; g++) {
        double lo = INFINITY, hi = -INFINITY;
        for (int i = 0; i < GROUP; i++) {
            w[i] = random_normal();
            lo = fmin(lo, w[i]);
            hi = fmax(hi, w[i]);
        }
        double step = (hi - lo) / (double)((1u << bits) - 1);
        for (int i = 0; i < GROUP; i++) {
            double e = w[i] - (lo + step * rint((w[i] - lo) / step));
            sum += e * e;
        }
    }
    return sum;
}

static void test_errors_are_those_of_rounding_normal_weights(void **state)
{
    (void)state;
    static const unsigned widths[] = {2, 3, 4, 8};
    double four = measured_error(4);
    for (size_t i = 0; i < sizeof widths / sizeof *widths; i++) {
        double expected = measured_error(widths[i]) / four, found = predict_error(widths[i]);
        if (fabs(found - expected) > 0.03 * expected)
            fail_msg("%u bits: predicted %g, measured %g", widths[i], found, expected);
    }
    assert_true(predict_error(16) == 0);
}

static void test_all_experts_at_four_bits_are_one(void **state)
{
    (void)state;
    set_all(4);
    assert_true(fabs(predict_plan_loss(&plan, &config) - 1) < 1e-12);
    set_all(16);
    assert_true(predict_plan_loss(&plan, &config) == 0);
}

static void test_significant_experts_count_for_more(void **state)
{
    (void)state;
    set_all(4);
    plan.layers[0].experts[0].significance = 0.75; /* of 1.5 */
    plan.layers[0].experts[0].bits = 2;
    assert_true(fabs(predict_plan_loss(&plan, &config) - ((0.5 * 25 + 0.5) + 1) / 2) < 1e-12);
    plan.layers[0].experts[0].bits = 4;
    plan.layers[0].experts[1].bits = 2;
    assert_true(fabs(predict_plan_loss(&plan, &config) - ((25 + 5) / 6.0 + 1) / 2) < 1e-12);
}

static void test_channels_and_single_linears_are_weighted_by_their_weights(void **state)
{
    (void)state;
    set_all(4);
    for (size_t e = 0; e < EXPERTS; e++) {
        plan.layers[0].experts[e].bits = 2;
        for (int k = PLAN_GATE; k <= PLAN_UP; k++)
            plan.layers[0].experts[e].channels[k] = HIDDEN / 4;
    }
    double eight = predict_error(8), gate = 0.75 * 25 + 0.25 * eight;
    assert_true(fabs(predict_plan_loss(&plan, &config) - ((2 * gate + 25) / 3 + 1) / 2) < 1e-12);
    set_all(4);
    for (size_t e = 0; e < EXPERTS; e++) {
        uint8_t *bits = plan.layers[1].experts[e].linear_bits;
        bits[PLAN_GATE] = 2;
        bits[PLAN_UP] = 4;
        bits[PLAN_DOWN] = 8;
    }
    assert_true(fabs(predict_plan_loss(&plan, &config) - ((25 + 1 + eight) / 3 + 1) / 2) < 1e-12);
}

static void test_a_layer_without_significance_counts_its_experts_alike(void **state)
{
    (void)state;
    set_all(4);
    for (size_t e = 0; e < EXPERTS; e++)
        plan.layers[0].experts[e].significance = 0;
    plan.layers[0].experts[3].bits = 2;
    assert_true(fabs(predict_plan_loss(&plan, &config) - ((3 + 25) / 4.0 + 1) / 2) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_errors_are_those_of_rounding_normal_weights),
        cmocka_unit_test(test_all_experts_at_four_bits_are_one),
        cmocka_unit_test(test_significant_experts_count_for_more),
        cmocka_unit_test(test_channels_and_single_linears_are_weighted_by_their_weights),
        cmocka_unit_test(test_a_layer_without_significance_counts_its_experts_alike),
    };
    return cmocka_run_group_tests(tests, make_plan, free_plan);
}
