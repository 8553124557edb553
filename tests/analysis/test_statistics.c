/* Zipf, Gaussian and Jenks against scipy and against brute force. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/gaussian.h"
#include "analysis/jenks.h"
#include "analysis/ranks.h"
#include "analysis/zipf.h"
#include "analysis_helpers.h"

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected)))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

static int rising(const void *x, const void *y)
{
    double a = *(const double *)x, b = *(const double *)y;
    return (a > b) - (a < b);
}

/* --- Zipf --- */

/* Ids whose counts follow 1000 / rank^exponent with noise, spread over the stream. */
static void make_ranks(struct ranks *r, uint64_t seed, size_t types, double exponent)
{
    enum { IDS_MAX = 8192 };
    uint32_t ids[IDS_MAX];
    size_t n = 0;
    struct err err = {0};
    for (size_t t = 1; t <= types; t++) {
        size_t count = (size_t)(1000 / pow((double)t, exponent)) + 1;
        count += (size_t)(helper_uniform(&seed) * 5);
        for (; count > 0 && n < IDS_MAX; count--)
            ids[n++] = (uint32_t)(types - t);
    }
    assert_int_equal(ranks_init(r, ids, n, &err), 0);
}

static void test_zipf_fits_equal_scipy(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        size_t types, positions;
        double exponent, beta, c, r2, ks, ols_beta, ols_c;
    } cases[] = {
        {5, 50, 3428, 1.2, 1.1650932477937856, 0.2876682168461902, 0.9973281819534701,
         0.0059402526113906395, 1.1333524067259884, 0.2667524295699104},
        {6, 1000, 6207, 1.3, 0.9153536064468492, 0.10042367363528643, 0.7531900064750884,
         0.09992817454473435, 0.7222211074404257, 0.03683298325643159},
    };
    for (size_t i = 0; i < 2; i++) {
        struct ranks r;
        struct err err = {0};
        double beta, c, r2, ks, log_d[1000];
        make_ranks(&r, cases[i].seed, cases[i].types, cases[i].exponent);
        assert_int_equal(r.positions, cases[i].positions);
        assert_int_equal(r.types, cases[i].types);
        assert_int_equal(zipf_fit_mle(&beta, &c, &r, &err), 0);
        assert_near(beta, cases[i].beta, 1e-13);
        assert_near(c, cases[i].c, 1e-13);
        zipf_log_density(log_d, beta, c, &r);
        zipf_quality(&r2, &ks, log_d, &r);
        assert_near(r2, cases[i].r2, 1e-12);
        assert_near(ks, cases[i].ks, 1e-12);
        zipf_fit_ols(&beta, &c, &r);
        assert_near(beta, cases[i].ols_beta, 1e-12);
        assert_near(c, cases[i].ols_c, 1e-12);
        ranks_release(&r);
    }
}

static void test_zipf_of_equal_counts_is_flat(void **state)
{
    (void)state;
    const uint32_t ids[] = {9, 4, 9, 7, 4, 7};
    struct ranks r;
    struct err err = {0};
    double beta, c, r2, ks, log_d[3];
    assert_int_equal(ranks_init(&r, ids, 6, &err), 0);
    assert_int_equal(zipf_fit_mle(&beta, &c, &r, &err), 0);
    assert_true(beta == 0);
    assert_near(c, 1.0 / 3, 1e-15);
    zipf_fit_ols(&beta, &c, &r);
    assert_true(beta == 0);
    zipf_log_density(log_d, beta, c, &r);
    zipf_quality(&r2, &ks, log_d, &r);
    assert_true(r2 == 1);
    assert_true(ks < 1e-15);
    zipf_log_density(log_d, 1, zipf_constant(1, &r), &r);
    zipf_quality(&r2, &ks, log_d, &r);
    assert_true(r2 == 0);
    ranks_release(&r);
}

static void test_zipf_of_an_extreme_head_converges(void **state)
{
    (void)state;
    enum { COUNT = 100000 };
    uint32_t *ids = calloc(COUNT, sizeof *ids);
    struct ranks r;
    struct err err = {0};
    double beta, c;
    assert_non_null(ids);
    ids[77] = 1;
    assert_int_equal(ranks_init(&r, ids, COUNT, &err), 0);
    assert_int_equal(zipf_fit_mle(&beta, &c, &r, &err), 0);
    /* With two types the likelihood has its top where 2^-beta = n_2 / n_1. */
    assert_near(beta, log2(COUNT - 1), 1e-12);
    ranks_release(&r);
    free(ids);
}

static void test_ranks_break_ties_by_smaller_id(void **state)
{
    (void)state;
    const uint32_t ids[] = {30, 5, 5, 8, 30, 2};
    const uint32_t expected[] = {5, 30, 2, 8};
    struct ranks r;
    struct err err = {0};
    assert_int_equal(ranks_init(&r, ids, 6, &err), 0);
    assert_int_equal(r.types, 4);
    assert_memory_equal(r.id, expected, sizeof expected);
    assert_int_equal(ranks_of(&r, 8), 4);
    assert_int_equal(ranks_of(&r, 3), 0);
    assert_int_equal(ranks_of(&r, 4000000000u), 0);
    ranks_release(&r);
}

/* --- Gaussian --- */

static void test_anderson_darling_equals_scipy(void **state)
{
    (void)state;
    static const struct {
        uint64_t seed;
        size_t count;
        int power;
        double expected;
    } cases[] = {
        {1, 8, 1, 0.33957593435705},
        {2, 17, 3, 0.9201201283972041},
        {3, 64, 1, 0.8097275632584342},
        {4, 200, 6, 25.27757465966262},
    };
    for (size_t i = 0; i < 4; i++) {
        uint64_t seed = cases[i].seed;
        double values[200], statistic, p;
        for (size_t k = 0; k < cases[i].count; k++)
            values[k] = pow(helper_uniform(&seed), cases[i].power);
        qsort(values, cases[i].count, sizeof *values, rising);
        assert_true(gaussian_anderson_darling(&statistic, &p, values, cases[i].count));
        assert_near(statistic, cases[i].expected, 1e-10);
        assert_true(p >= 0 && p <= 1);
    }
}

static void test_anderson_darling_needs_eight_different_values(void **state)
{
    (void)state;
    const double rises[] = {1, 2, 3, 4, 5, 6, 7, 8};
    const double equal[] = {3, 3, 3, 3, 3, 3, 3, 3, 3};
    double statistic, p;
    assert_true(gaussian_anderson_darling(&statistic, &p, rises, 8));
    assert_false(gaussian_anderson_darling(&statistic, &p, rises, 7));
    assert_false(gaussian_anderson_darling(&statistic, &p, equal, 9));
}

static void test_anderson_darling_p_falls_as_the_statistic_grows(void **state)
{
    (void)state;
    double values[2000], last = 1, statistic, p;
    for (size_t outlier = 1; outlier < 200; outlier++) {
        /* Ever more values far from a bell: the statistic passes all pieces and their end. */
        for (size_t i = 0; i < 2000; i++)
            values[i] = i < 2000 - outlier ? (double)i * 1e-6 : 1e6 + (double)i;
        assert_true(gaussian_anderson_darling(&statistic, &p, values, 2000));
        assert_true(statistic > 153.5);
        assert_true(p >= 0 && p < 1e-100 && p <= last);
    }
}

static void test_moments_of_equal_values_are_exact(void **state)
{
    (void)state;
    double values[] = {0.1, 0.1, 0.1}, mu, sigma;
    gaussian_moments(&mu, &sigma, values, 3);
    assert_true(mu == 0.1 && sigma == 0);
    values[2] = 0.4;
    gaussian_moments(&mu, &sigma, values, 3);
    assert_near(mu, 0.2, 1e-15);
    assert_near(sigma, sqrt(0.02), 1e-14);
}

/* --- Jenks --- */

static double squares(const double *v, size_t from, size_t to)
{
    double mean = 0, sum = 0;
    for (size_t i = from; i < to; i++)
        mean += v[i] / (double)(to - from);
    for (size_t i = from; i < to; i++)
        sum += (v[i] - mean) * (v[i] - mean);
    return sum;
}

/* Least sum of squares over every way to cut v[from..n) into classes between unequal values. */
static double brute_force(const double *v, size_t from, size_t n, size_t classes)
{
    if (classes == 1)
        return squares(v, from, n);
    double best = HUGE_VAL;
    for (size_t cut = from + 1; cut < n; cut++)
        if (v[cut] != v[cut - 1])
            best = fmin(best, squares(v, from, cut) + brute_force(v, cut, n, classes - 1));
    return best;
}

static size_t distinct(const double *v, size_t n)
{
    size_t count = 1;
    for (size_t i = 1; i < n; i++)
        count += v[i] != v[i - 1];
    return count;
}

static double found_squares(const double *v, size_t n, const double *break_at, size_t breaks)
{
    double sum = 0;
    size_t from = 0;
    for (size_t b = 0; b <= breaks; b++) {
        size_t to = from;
        while (to < n && (b == breaks || v[to] <= break_at[b]))
            to++;
        assert_true(to > from);
        sum += squares(v, from, to);
        from = to;
    }
    return sum;
}

static void test_jenks_equals_brute_force(void **state)
{
    (void)state;
    struct jenks j;
    struct err err = {0};
    uint64_t seed = 11;
    assert_int_equal(jenks_init(&j, 24, &err), 0);
    for (size_t round = 0; round < 600; round++) {
        double v[24], break_at[4], gvf;
        size_t n = 1 + (size_t)(helper_uniform(&seed) * 24);
        size_t classes = 2 + round % 3;
        double grid = round % 2 ? 8 : 1e9; /* every second round is full of ties */
        for (size_t i = 0; i < n; i++)
            v[i] = floor(pow(helper_uniform(&seed), 3) * grid) / grid;
        qsort(v, n, sizeof *v, rising);
        size_t possible = distinct(v, n) < classes ? distinct(v, n) : classes;
        size_t breaks = jenks_breaks(&j, break_at, &gvf, v, n, classes);
        assert_int_equal(breaks, possible - 1);
        double best = brute_force(v, 0, n, possible), total = squares(v, 0, n);
        double found = found_squares(v, n, break_at, breaks);
        assert_true(fabs(found - best) <= 1e-12 * (total + 1e-30));
        assert_true(fabs(gvf - (total > 0 ? 1 - best / total : 1)) < 1e-9);
    }
    jenks_release(&j);
}

static void test_jenks_never_splits_equal_values(void **state)
{
    (void)state;
    /* Without the rule the best cut would lie inside the run of fives. */
    const double v[] = {1, 5, 5, 5, 5, 5, 5, 5, 5, 6};
    double break_at[4], gvf;
    struct jenks j;
    struct err err = {0};
    assert_int_equal(jenks_init(&j, 10, &err), 0);
    for (size_t classes = 2; classes <= 4; classes++) {
        size_t breaks = jenks_breaks(&j, break_at, &gvf, v, 10, classes);
        assert_int_equal(breaks, classes < 3 ? 1 : 2);
        assert_true(break_at[0] == 1);
        assert_true(breaks == 1 || break_at[1] == 5);
    }
    jenks_release(&j);
}

static void test_jenks_takes_the_lowest_break_of_equal_ones(void **state)
{
    (void)state;
    const double v[] = {0, 1, 2};
    double break_at[4], gvf;
    struct jenks j;
    struct err err = {0};
    assert_int_equal(jenks_init(&j, 3, &err), 0);
    assert_int_equal(jenks_breaks(&j, break_at, &gvf, v, 3, 2), 1);
    assert_true(break_at[0] == 0);
    assert_near(gvf, 0.75, 1e-15);
    jenks_release(&j);
}

static void test_jenks_of_equal_values_is_one_class(void **state)
{
    (void)state;
    const double v[] = {0.3, 0.3, 0.3};
    double break_at[4], gvf;
    struct jenks j;
    struct err err = {0};
    assert_int_equal(jenks_init(&j, 3, &err), 0);
    assert_int_equal(jenks_breaks(&j, break_at, &gvf, v, 3, 4), 0);
    assert_true(gvf == 1);
    jenks_release(&j);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_zipf_fits_equal_scipy),
        cmocka_unit_test(test_zipf_of_equal_counts_is_flat),
        cmocka_unit_test(test_zipf_of_an_extreme_head_converges),
        cmocka_unit_test(test_ranks_break_ties_by_smaller_id),
        cmocka_unit_test(test_anderson_darling_equals_scipy),
        cmocka_unit_test(test_anderson_darling_needs_eight_different_values),
        cmocka_unit_test(test_anderson_darling_p_falls_as_the_statistic_grows),
        cmocka_unit_test(test_moments_of_equal_values_are_exact),
        cmocka_unit_test(test_jenks_equals_brute_force),
        cmocka_unit_test(test_jenks_never_splits_equal_values),
        cmocka_unit_test(test_jenks_takes_the_lowest_break_of_equal_ones),
        cmocka_unit_test(test_jenks_of_equal_values_is_one_class),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
