/* Rank correlation against values worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "analysis/correlation.h"

static double ranks(const double *x, const double *y, size_t n)
{
    struct err err = {0};
    double r;
    assert_int_equal(correlation_ranks(&r, x, y, n, &err), 0);
    return r;
}

static void test_only_the_order_counts(void **state)
{
    (void)state;
    const double x[] = {0.1, 5, 2, 300}, y[] = {-1, 3, 2.5, 3.0001}, z[] = {4, 1, 2, 0};
    assert_true(fabs(ranks(x, y, 4) - 1) < 1e-15);
    assert_true(fabs(ranks(x, z, 4) + 1) < 1e-15);
}

static void test_one_exchange_costs_what_the_formula_says(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3, 4, 5}, y[] = {1, 3, 2, 4, 5};
    assert_true(fabs(ranks(x, y, 5) - (1 - 6.0 * 2 / (5 * 24))) < 1e-12);
}

static void test_equal_values_share_their_ranks(void **state)
{
    (void)state;
    const double x[] = {1, 2, 2, 3}, y[] = {1, 2, 3, 4};
    /* ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5 over sqrt(4.5 * 5) */
    assert_true(fabs(ranks(x, y, 4) - 4.5 / sqrt(4.5 * 5)) < 1e-12);
}

static void test_what_has_no_order_has_no_correlation(void **state)
{
    (void)state;
    const double x[] = {1, 2, 3}, same[] = {7, 7, 7};
    assert_true(isnan(ranks(x, same, 3)));
    assert_true(isnan(ranks(same, x, 3)));
    assert_true(isnan(ranks(x, x, 2)));
    assert_true(isnan(ranks(x, x, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_only_the_order_counts),
        cmocka_unit_test(test_one_exchange_costs_what_the_formula_says),
        cmocka_unit_test(test_equal_values_share_their_ranks),
        cmocka_unit_test(test_what_has_no_order_has_no_correlation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
