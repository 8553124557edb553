/* Balanced windows: no expert is left short that need not be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/windows.h"
#include "analysis/windows_balanced.h"
#include "analysis_helpers.h"
#include "data/trace_h5.h"

enum { WINDOWS_MAX = 64 };

struct choice {
    size_t number[WINDOWS_MAX], count;
};

static struct choice choose(const struct trace *t, size_t samples, size_t enough, uint64_t seed)
{
    struct choice c;
    struct err err = {0};
    struct windows_balanced_request r = {samples, t->window, enough, seed};
    assert_true(samples <= WINDOWS_MAX);
    if (windows_balanced_choose(c.number, &c.count, t, &r, &err) < 0)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < c.count; i++) {
        assert_true(c.number[i] < t->windows && (i == 0 || c.number[i] > c.number[i - 1]));
        assert_int_equal(trace_window_length(t, c.number[i]), t->window);
    }
    return c;
}

/* Tokens of the least served of all experts. */
static size_t least_served(const struct trace *t, const size_t *number, size_t count)
{
    size_t least = SIZE_MAX;
    for (size_t l = 0; l < t->layers; l++)
        for (size_t e = 0; e < t->experts; e++) {
            size_t tokens = 0;
            for (size_t i = 0; i < count; i++) {
                size_t first = (size_t)t->window_starts[number[i]] * t->top_k;
                for (size_t s = 0; s < t->window * t->top_k; s++)
                    tokens += trace_routed(t, l)[first + s] == e;
            }
            least = tokens < least ? tokens : least;
        }
    return least;
}

static void test_least_served_expert_gets_more_tokens_than_in_order(void **state)
{
    (void)state;
    static const char *const models[] = {"tiny-olmoe", "tiny-qwen2moe"};
    static const size_t samples[] = {8, 16, 32};
    for (size_t m = 0; m < 2; m++) {
        struct trace t;
        struct err err = {0};
        char path[512];
        snprintf(path, sizeof path, TEST_GOLDEN "/%s/trace.h5", models[m]);
        if (trace_h5_load(&t, path, NULL, &err) < 0)
            fail_msg("%s", err.message);
        for (size_t i = 0; i < 3; i++) {
            size_t order[WINDOWS_MAX];
            struct choice c = choose(&t, samples[i], 128, 1);
            assert_int_equal(c.count, samples[i]);
            for (size_t w = 0; w < samples[i]; w++)
                order[w] = w;
            size_t first = least_served(&t, order, samples[i]);
            size_t balanced = least_served(&t, c.number, c.count);
            print_message("%s, %zu windows: %zu, in order %zu\n", models[m], samples[i], balanced,
                          first);
            assert_true(balanced > first);
        }
        trace_release(&t);
    }
}

/* Windows of one layer: each all of one expert, but for every tenth token of another. */
static void make_plain(struct trace *t, const uint16_t *expert, const uint16_t *second,
                       size_t windows, size_t experts)
{
    *t = (struct trace){.positions = 100 * windows,
                        .windows = windows,
                        .layers = 1,
                        .experts = experts,
                        .top_k = 1,
                        .vocab = 1,
                        .window = 100};
    assert_int_equal(trace_alloc(t, false, NULL), 0);
    for (size_t w = 0; w < windows; w++) {
        t->window_starts[w] = 100 * w;
        for (size_t p = 0; p < 100; p++)
            t->routed[100 * w + p] = p % 10 == 0 ? second[w] : expert[w];
    }
}

static void test_rarest_expert_comes_first_and_ties_go_to_what_brings_most(void **state)
{
    (void)state;
    static const uint16_t most[] = {0, 0, 1, 0, 1, 2, 0, 1};
    static const uint16_t some[] = {0, 1, 0, 0, 3, 3, 1, 0};
    static const size_t expected[] = {0, 4, 5};
    struct trace t;
    make_plain(&t, most, some, 8, 4);
    /* Expert 0: windows 0 and 3 serve it best. Then 1: of 2, 4 and 7 window 4 brings expert 3, too.
     * Then 2, which only window 5 serves. */
    for (size_t samples = 1; samples <= 3; samples++) {
        struct choice c = choose(&t, samples, 90, 1);
        assert_int_equal(c.count, samples);
        assert_memory_equal(c.number, expected, samples * sizeof *expected);
    }
    trace_release(&t);
}

/* Into windows of one length, the last shorter. */
static void cut(struct trace *t, size_t length)
{
    free(t->window_starts);
    t->window = length;
    t->windows = (t->positions - 1) / length + 1;
    t->window_starts = calloc(t->windows, sizeof *t->window_starts);
    assert_non_null(t->window_starts);
    for (size_t w = 0; w < t->windows; w++)
        t->window_starts[w] = w * length;
}

static void test_beyond_enough_tokens_windows_are_drawn_by_seed(void **state)
{
    (void)state;
    struct trace t;
    size_t same = 0, drawn = 0;
    helper_trace(&t, 3, 16, 2, 4096, 500, 5, false, 9);
    cut(&t, 100);
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct choice a = choose(&t, t.windows / 2, 1, seed),
                      b = choose(&t, t.windows / 2, 1, seed);
        struct choice c = choose(&t, t.windows / 2, 1, seed + 100);
        assert_int_equal(a.count, b.count);
        assert_memory_equal(a.number, b.number, a.count * sizeof *a.number);
        same += memcmp(a.number, c.number, a.count * sizeof *a.number) == 0;
        drawn++;
    }
    assert_true(same < drawn / 2);
    trace_release(&t);
}

static void test_all_windows_are_taken_where_no_more_are_there(void **state)
{
    (void)state;
    struct trace t;
    helper_trace(&t, 2, 8, 2, 1024, 100, 0, false, 3);
    cut(&t, 100);
    struct choice c = choose(&t, WINDOWS_MAX, 1u << 30, 0);
    assert_int_equal(c.count, 10); /* the last one is shorter */
    trace_release(&t);
}

static void test_windows_of_no_fitting_length_are_refused(void **state)
{
    (void)state;
    struct trace t;
    struct err err = {0};
    size_t number, count;
    helper_trace(&t, 1, 4, 1, 256, 50, 0, false, 3);
    struct windows_balanced_request r = {1, t.window + 1, 1, 0};
    assert_int_equal(windows_balanced_choose(&number, &count, &t, &r, &err), ERR_INPUT);
    assert_int_equal(count, 0);
    char expected[96];
    snprintf(expected, sizeof expected, "holds no window of %zu tokens", t.window + 1);
    assert_string_equal(err.message, expected);
    trace_release(&t);
}

static void test_a_text_without_routing_is_refused_with_the_way_out(void **state)
{
    (void)state;
    static const uint32_t ids[128];
    struct settings s;
    struct err err = {0};
    size_t start, count;
    settings_defaults(&s);
    s.windows = WINDOWS_BALANCED;
    assert_int_equal(windows_choose(&start, &count, 1, ids, 128, 64, 1, &s, &err), ERR_USAGE);
    assert_string_equal(err.message,
                        "windows: found \"balanced\", expected order, random or weighted for a "
                        "text; balanced needs to know which experts serve which window: calibrate "
                        "on a trace of all candidates (moqa trace)");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least_served_expert_gets_more_tokens_than_in_order),
        cmocka_unit_test(test_rarest_expert_comes_first_and_ties_go_to_what_brings_most),
        cmocka_unit_test(test_beyond_enough_tokens_windows_are_drawn_by_seed),
        cmocka_unit_test(test_all_windows_are_taken_where_no_more_are_there),
        cmocka_unit_test(test_windows_of_no_fitting_length_are_refused),
        cmocka_unit_test(test_a_text_without_routing_is_refused_with_the_way_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
