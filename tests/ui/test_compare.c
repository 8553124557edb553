/* Two plans side by side. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "tests/ui/app_fixture.h"

static int open_olmoe(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    assert_non_null(f);
    fixture_open(f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    *state = f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    free(*state);
    return 0;
}

static void test_without_a_snapshot_it_says_how_to_take_one(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "c");
    fixture_assert_shows(f, "A and B take snapshots");
    assert_false(fixture_shows(f, "Compare plans"));
}

/* The plan of the defaults has 4 bits for high and 2 for low experts. */
static void test_it_shows_what_a_change_costs(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5Ac");
    fixture_assert_shows(f, "Compare plans");
    fixture_assert_shows(f, "0 of 192 differ");
    fixture_assert_shows(f, "the same");
    fixture_type(f, "q"); /* any other key closes */
    assert_false(fixture_shows(f, "Compare plans"));
    fixture_type(f, "\n8\nc"); /* bits_high */
    fixture_assert_shows(f, "bits_high");
    fixture_assert_shows(f, "83 of 192 differ");
    fixture_assert_shows(f, "109:2 83:4");
    fixture_assert_shows(f, "109:2 83:8");
    fixture_assert_shows(f, "predicted loss");
}

/* The widths stay; more of the high experts' channels get the channel bits. */
static void test_experts_whose_channels_change_differ(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5A\t\t\t\n0.3\nc"); /* beta_ch */
    fixture_assert_shows(f, "beta_ch");
    fixture_assert_shows(f, "83 of 192 differ");
    fixture_type(f, "n");
    fixture_assert_shows(f, "layer 0, expert 3: 4.1");
    fixture_type(f, "q");
    fixture_assert_shows(f, "83 of 192 experts differ");
}

static void test_what_the_last_change_costs_is_readable_at_80x24(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5\n3\n"); /* bits_high */
    fixture_assert_shows(f, "10.5 x INT4, +2.4");
    fixture_type(f, "u");
    fixture_assert_shows(f, "8.05 x INT4, -2.4");
}

static void test_n_goes_from_difference_to_difference(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5A]]>>>ppp"); /* layer 2, expert 3: pinned to 4 bits */
    fixture_type(f, "[[>>>>>ppc"); /* layer 0, expert 8: to 3 */
    fixture_assert_shows(f, "layer 0, expert 8");
    fixture_type(f, "n");
    bool first = fixture_shows(f, "layer 2, expert 3");
    fixture_type(f, "n");
    assert_true(first || fixture_shows(f, "layer 0, expert 8"));
    fixture_type(f, "N");
    fixture_assert_shows(f, first ? "layer 2, expert 3" : "layer 0, expert 8");
}

static void test_arrows_choose_the_expert_in_the_grid(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5Ac");
    fixture_key(f, TERM_KEY_DOWN);
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_assert_shows(f, "layer 1, expert 2");
}

static void test_a_snapshot_is_taken_back_as_one_step(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5A\n8\n>>ppca");
    fixture_assert_shows(f, "0 of 192 differ");
    fixture_assert_shows(f, "u takes that back");
    fixture_type(f, "u");
    fixture_assert_shows(f, "108:2 1:3 83:8");
    fixture_type(f, "b");
    fixture_assert_shows(f, "there is no snapshot B");
}

static void test_tab_goes_through_the_pairs(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5Ac\t");
    fixture_assert_shows(f, "there is no other pair yet");
    fixture_type(f, "q\n8\nB\n3\nc"); /* A: 4, B: 8, screen: 3 */
    fixture_assert_shows(f, "83:4");
    fixture_assert_shows(f, "83:8");
    fixture_type(f, "\t");
    fixture_assert_shows(f, "83:4");
    fixture_assert_shows(f, "83:3");
    fixture_type(f, "\t");
    fixture_assert_shows(f, "83:8");
    fixture_assert_shows(f, "83:3");
}

/* What one layer has of its own is told apart, and rows beyond the table's room can be reached. */
static void test_layers_of_their_own_are_told_apart(void **state)
{
    struct fixture *f = *state;
    int x, y;
    fixture_type(f, "3oA]\t\t\t\t\t\t\t\n0:0.21\n[o");
    fixture_type(f, "c");
    fixture_frame(f, 100, 40);
    assert_true(fixture_find(f, "layer 0, rule     threshold       jenks", &x, &y));
    assert_true(fixture_find(f, "layer 0, T        as all          0.21", &x, &y));
    fixture_key(f, TERM_KEY_ESC);
    fixture_type(f, "oB"); /* rule: as all again */
    fixture_type(f, "\n0:auto\n\n0:0.21\nc\t\t");
    fixture_assert_shows(f, "settings          the same");
}

static void test_all_settings_that_differ_can_be_seen(void **state)
{
    static const char *const set[][2] = {
        {"fit", "ols"},         {"beta", "1.1"},     {"reweight", "steep"}, {"alpha", "0.7"},
        {"min_count", "2"},     {"norm", "sum"},     {"order", "natural"},  {"grid", "symmetric"},
        {"scale_search", "on"}, {"damping", "0.02"}, {"refine", "1"},       {"seed", "7"}};
    struct fixture *f = *state;
    fixture_type(f, "5As");
    for (size_t i = 0; i < sizeof set / sizeof *set; i++)
        assert_int_equal(settings_set(&f->options.settings, set[i][0], set[i][1], NULL), 0);
    fixture_restart(f);
    fixture_type(f, "uc");
    size_t seen = 0;
    assert_false(fixture_shows(f, "seed"));
    fixture_assert_shows(f, "PgUp PgDn: more");
    for (size_t i = 0; i < sizeof set / sizeof *set; seen++) {
        assert_true(seen < 20);
        while (i < sizeof set / sizeof *set && fixture_shows(f, set[i][0]))
            i++;
        fixture_key(f, TERM_KEY_PAGE_DOWN);
    }
    assert_false(fixture_shows(f, "nominal bits"));
    for (size_t i = 0; i < 20; i++)
        fixture_key(f, TERM_KEY_PAGE_UP);
    fixture_assert_shows(f, "nominal bits");
}

static void test_every_size_is_drawn_within_itself(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "5A>ppc");
    for (int w = 40; w <= 160; w += 7)
        for (int h = 10; h <= 60; h += 3) {
            const char *frame = fixture_frame(f, w, h);
            assert_non_null(strstr(frame, "Compare plans"));
            assert_non_null(strstr(frame, "nominal bits"));
        }
}

#define WITH(name) cmocka_unit_test_setup_teardown(name, open_olmoe, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_without_a_snapshot_it_says_how_to_take_one),
        WITH(test_it_shows_what_a_change_costs),
        WITH(test_experts_whose_channels_change_differ),
        WITH(test_what_the_last_change_costs_is_readable_at_80x24),
        WITH(test_n_goes_from_difference_to_difference),
        WITH(test_arrows_choose_the_expert_in_the_grid),
        WITH(test_a_snapshot_is_taken_back_as_one_step),
        WITH(test_tab_goes_through_the_pairs),
        WITH(test_layers_of_their_own_are_told_apart),
        WITH(test_all_settings_that_differ_can_be_seen),
        WITH(test_every_size_is_drawn_within_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
