/* What the screens say of one layer, and what it has of its own: rule and threshold. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"

static int open_with(void **state, const char *model)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", model);
    *state = &f;
    return 0;
}

static int open_olmoe(void **state)
{
    return open_with(state, TEST_SAMPLE "/tiny-olmoe");
}

static int open_without_model(void **state)
{
    return open_with(state, NULL);
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

/* The number of types is that of the ranks: what the settings count. */
static void test_mapping_counts_what_its_settings_count(void **state)
{
    struct fixture *f = *state;
    size_t at[3], types;
    static const char *const keys[] = {"2", "\t\n3\n", "\n500\n"};
    for (size_t i = 0; i < 3; i++) {
        fixture_type(f, keys[i]);
        const char *row = strstr(fixture_frame(f, 80, 24), "types  ");
        while (row && sscanf(row, "types %zu of %zu", &at[i], &types) != 2)
            row = strstr(row + 1, "types  ");
        if (!row)
            fail_msg("%s", fixture_frame(f, 80, 24));
    }
    assert_true(at[0] > at[1] && at[1] > 0 && at[2] == 0);
    fixture_assert_shows(f, "none often enough to count");
    fixture_assert_hides(f, "no type is routed here");
}

static void test_significance_says_why_nothing_is_known_of_the_distribution(void **state)
{
    struct fixture *f = *state;
    struct trace *t = &f->trace;
    for (size_t i = 0; i < t->layers * t->positions * t->top_k; i++)
        t->routed[i] = TRACE_NOT_ROUTED;
    fixture_restart(f);
    fixture_type(f, "3");
    const char *row = strstr(fixture_frame(f, 120, 40), "Gaussian?");
    char fact[128];
    assert_non_null(row);
    snprintf(fact, sizeof fact, "%.*s", (int)strcspn(row, "\n"), row);
    if (!strstr(fact, " all equal"))
        fail_msg("%s", fact);
}

/* --- What one layer has of its own --- */

static void test_the_prompt_of_a_value_tells_all_of_its_help(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3\t\t\t\t\t\t\t\n");
    fixture_assert_shows(f, "absolute threshold T;");
    fixture_assert_shows(f, " from 0\n threshold: "); /* not cut */
}

static void test_the_threshold_slider_moves_the_layers_own(void **state)
{
    struct fixture *f = *state;
    fixture_type(f, "3\t\t\t\t\t\t\t\n0:0.2\n");
    fixture_assert_shows(f, "0:0.2");
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_key(f, TERM_KEY_RIGHT);
    struct plan p = fixture_written(f);
    assert_true(p.settings.layer[0].has_threshold && !p.settings.threshold.given);
    assert_true(p.settings.layer[0].threshold > 0.2);
    plan_release(&p);
    fixture_assert_hides(f, "0.20000");
    fixture_key(f, TERM_KEY_RIGHT);
    fixture_assert_hides(f, "keeps its own");
    fixture_type(f, "\n0.3\n"); /* of all layers */
    fixture_assert_shows(f, "layer 0 keeps its own threshold; type 0:auto");
    fixture_type(f, "u0"); /* gives it up */
    p = fixture_written(f);
    assert_false(p.settings.layer[0].has_threshold || p.settings.threshold.given);
    plan_release(&p);
    fixture_type(f, "]\n1:0\n");
    fixture_key(f, TERM_KEY_LEFT);
    fixture_assert_shows(f, "threshold ends here");
}

static void test_o_goes_through_all_rules_of_a_layer(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(settings_set(&f->options.settings, "rule", "0:auto", NULL), 0);
    fixture_restart(f);
    fixture_type(f, "3o");
    fixture_assert_shows(f, "layer 0: threshold, whatever `rule` says");
    fixture_type(f, "o");
    fixture_assert_shows(f, "layer 0: Jenks, whatever `rule` says");
    fixture_type(f, "\t\t\t\t\t");
    fixture_key(f, TERM_KEY_RIGHT); /* rule, of all layers */
    fixture_assert_shows(f, "layer 0 keeps its own rule");
    fixture_type(f, "o");
    fixture_assert_shows(f, "layer 0 follows `rule` again");
}

/* A trace of many layers: the first one's first window again and again. */
static void deepen(struct fixture *f, size_t layers)
{
    struct trace *t = &f->trace;
    size_t positions = t->windows > 1 ? t->window_starts[1] : t->positions;
    size_t slots = positions * t->top_k, run = layers * t->experts;
    uint16_t *routed = calloc(layers * slots, sizeof *routed);
    uint16_t *index = calloc(layers, sizeof *index);
    struct app_run_expert *expert = calloc(run, sizeof *expert);
    assert_true(routed && index && expert);
    for (size_t l = 0; l < layers; l++) {
        memcpy(routed + l * slots, t->routed, slots * sizeof *routed);
        index[l] = (uint16_t)l;
    }
    free(t->routed);
    free(t->layer_index);
    free(t->gates);
    free(f->expert);
    t->routed = routed;
    t->layer_index = index;
    t->gates = NULL;
    t->layers = layers;
    t->positions = positions;
    t->windows = 1;
    f->expert = expert;
    fixture_restart(f);
}

static void test_o_says_where_no_layer_can_have_a_rule(void **state)
{
    struct fixture *f = *state;
    app_free(f->app);
    f->app = NULL;
    deepen(f, SETTINGS_LAYERS_MAX + 4);
    fixture_type(f, "3");
    for (int i = 0; i < SETTINGS_LAYERS_MAX; i++)
        fixture_type(f, "]");
    fixture_type(f, "o");
    fixture_assert_shows(f, "only the first 256 layers can have rules of their own");
    fixture_type(f, "[o");
    fixture_assert_shows(f, "layer 255: threshold, whatever `rule` says");
}

#define WITH(open, name) cmocka_unit_test_setup_teardown(name, open, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_olmoe, test_mapping_counts_what_its_settings_count),
        WITH(open_olmoe, test_significance_says_why_nothing_is_known_of_the_distribution),
        WITH(open_olmoe, test_the_prompt_of_a_value_tells_all_of_its_help),
        WITH(open_olmoe, test_the_threshold_slider_moves_the_layers_own),
        WITH(open_olmoe, test_o_goes_through_all_rules_of_a_layer),
        WITH(open_without_model, test_o_says_where_no_layer_can_have_a_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
