/* Choice of windows: order, seeds, weights. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/windows.h"
#include "analysis_helpers.h"

enum { POSITIONS = 6407, WINDOW = 64, AVAILABLE = POSITIONS / WINDOW };

static uint32_t ids[POSITIONS];

/* Two kinds of windows: in every fourth all tokens are one and the same common type, in the
 * others most types are rare. */
static int fill(void **state)
{
    (void)state;
    uint64_t seed = 77;
    for (size_t p = 0; p < POSITIONS; p++)
        ids[p] = p / WINDOW % 4 == 0 ? 3 : (uint32_t)(helper_uniform(&seed) * 4000) + 10;
    return 0;
}

static size_t choose(size_t *starts, size_t samples, const char *kind, const char *seed,
                     const char *reweight)
{
    struct settings s;
    struct err err = {0};
    size_t count;
    settings_defaults(&s);
    if (settings_set(&s, "windows", kind, &err) < 0 || settings_set(&s, "seed", seed, &err) < 0 ||
        settings_set(&s, "reweight", reweight, &err) < 0 ||
        windows_choose(starts, &count, samples, ids, POSITIONS, WINDOW, 8, &s, &err) < 0)
        fail_msg("%s", err.message);
    return count;
}

static void assert_legal(const size_t *starts, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_int_equal(starts[i] % WINDOW, 0);
        assert_true(starts[i] + WINDOW <= POSITIONS);
        assert_true(i == 0 || starts[i] > starts[i - 1]);
    }
}

static const char *const kinds[] = {"order", "random", "weighted"};

static void test_every_kind_gives_whole_windows_in_rising_order(void **state)
{
    (void)state;
    size_t starts[200];
    for (size_t k = 0; k < 3; k++)
        for (size_t samples = 1; samples <= 200; samples += 33) {
            size_t count = choose(starts, samples, kinds[k], "5", "inverse");
            assert_int_equal(count, samples < AVAILABLE ? samples : AVAILABLE);
            assert_legal(starts, count);
        }
}

static void test_order_takes_the_first_windows(void **state)
{
    (void)state;
    size_t starts[10];
    assert_int_equal(choose(starts, 10, "order", "5", "inverse"), 10);
    for (size_t i = 0; i < 10; i++)
        assert_int_equal(starts[i], i * WINDOW);
}

static void test_the_same_seed_gives_the_same_windows(void **state)
{
    (void)state;
    size_t a[30], b[30], c[30];
    for (size_t k = 1; k < 3; k++) {
        choose(a, 30, kinds[k], "18446744073709551615", "inverse");
        choose(b, 30, kinds[k], "18446744073709551615", "inverse");
        choose(c, 30, kinds[k], "2", "inverse");
        assert_memory_equal(a, b, sizeof a);
        assert_memory_not_equal(a, c, sizeof a);
    }
}

static void test_random_windows_are_those_of_the_mersenne_twister(void **state)
{
    (void)state;
    /* Selection sampling with numpy's MT19937 (legacy seeding, output / 2^32), seed 12345. */
    const size_t expected[] = {5, 23, 24, 39, 60, 66, 74, 98};
    size_t starts[8];
    assert_int_equal(choose(starts, 8, "random", "12345", "inverse"), 8);
    for (size_t i = 0; i < 8; i++)
        assert_int_equal(starts[i] / WINDOW, expected[i]);
}

/* How many of 25 windows a kind of re-weighting takes from those of the common type, over many
 * seeds; a blind choice takes a quarter. */
static double common_windows(const char *reweight)
{
    enum { SEEDS = 200, SAMPLES = 25 };
    size_t common = 0;
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        char text[16];
        size_t starts[SAMPLES];
        snprintf(text, sizeof text, "%u", seed);
        choose(starts, SAMPLES, "weighted", text, reweight);
        for (size_t i = 0; i < SAMPLES; i++)
            common += starts[i] / WINDOW % 4 == 0;
    }
    return (double)common / (SEEDS * SAMPLES);
}

static void test_weighted_windows_follow_the_reweighted_distribution(void **state)
{
    (void)state;
    double uniform = common_windows("uniform");
    assert_true(uniform > 0.23 && uniform < 0.27);
    assert_true(common_windows("inverse") < uniform - 0.05); /* R rises with rank: rare types */
    assert_true(common_windows("steep") > uniform + 0.2);    /* R falls with rank: common ones */
}

static void test_first_weighted_window_is_drawn_in_proportion(void **state)
{
    (void)state;
    /* One sample of two windows: the second is drawn with the share of its mean R, here from
     * counts, alpha = 1, steep (R = U^2): U = K n / P with n = 96 and 32 of 128. */
    enum { SEEDS = 4000 };
    uint32_t two[128];
    struct settings s;
    struct err err = {0};
    size_t second = 0;
    for (size_t p = 0; p < 128; p++)
        two[p] = p < 96 ? 0 : 1;
    settings_defaults(&s);
    s.windows = WINDOWS_WEIGHTED;
    s.utilization = UTILIZATION_EMPIRICAL;
    s.reweight = REWEIGHT_STEEP;
    s.alpha = 1;
    for (s.seed = 1; s.seed <= SEEDS; s.seed++) {
        size_t start, count;
        assert_int_equal(windows_choose(&start, &count, 1, two, 128, 64, 1, &s, &err), 0);
        second += start == 64;
    }
    /* Window 1: U = 3/4 all over; window 2: half 3/4, half 1/4. R: 9/16 and 5/16; share 5/14. */
    double share = (double)second / SEEDS, expected = 5.0 / 14;
    assert_true(fabs(share - expected) < 4 * sqrt(expected * (1 - expected) / SEEDS));
}

static void test_text_shorter_than_a_window_is_refused(void **state)
{
    (void)state;
    struct settings s;
    struct err err = {0};
    size_t start, count;
    settings_defaults(&s);
    assert_int_equal(windows_choose(&start, &count, 1, ids, 63, 64, 8, &s, &err), ERR_INPUT);
    assert_string_equal(err.message, "the text has 63 tokens, fewer than one window of 64; take "
                                     "more text or a smaller window");
    err_clear(&err);
    assert_int_equal(windows_choose(&start, &count, 0, ids, 64, 64, 8, &s, &err), ERR_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_gives_whole_windows_in_rising_order),
        cmocka_unit_test(test_order_takes_the_first_windows),
        cmocka_unit_test(test_the_same_seed_gives_the_same_windows),
        cmocka_unit_test(test_random_windows_are_those_of_the_mersenne_twister),
        cmocka_unit_test(test_weighted_windows_follow_the_reweighted_distribution),
        cmocka_unit_test(test_first_weighted_window_is_drawn_in_proportion),
        cmocka_unit_test(test_text_shorter_than_a_window_is_refused),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
