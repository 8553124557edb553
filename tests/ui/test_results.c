/* The Results screen: order, selection, what comes back to the sliders, and the original. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "picture.h"
#include "ui/app/app_result.h"
#include "ui/app/result_draws.h"

static int open_olmoe(void **state)
{
    static struct fixture f;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    *state = &f;
    return 0;
}

static int close_fixture(void **state)
{
    fixture_close(*state);
    return 0;
}

/* --- Order --- */

/* Name, method, bits, effective, bytes, perplexity (0: none), finished. */
static const struct row {
    const char *name, *method;
    double bits, effective;
    uint64_t bytes;
    double perplexity;
    int64_t finished;
} rows[] = {
    {"runs/a", "moqa", 3.0, 3.5, 900, 25, 50},   {"runs/b", "gptq-3", 3.0, 3.2, 700, 0, 20},
    {"runs/c", "rtn-2", 2.0, 2.2, 500, 90, 0},   {"runs/d", "moqa", 2.5, 2.9, 800, 30, 40},
    {"runs/e", "gptq-4", 4.0, 4.2, 0, 22.5, 30},
};
enum { ROWS = sizeof rows / sizeof *rows };

/* The original stands third in the host's list, to see that it goes to the top. */
static void make_rows(struct fixture *f)
{
    size_t n = 0;
    struct app_result original = f->result[0];
    for (size_t i = 0; i < ROWS; i++) {
        if (i == 2) {
            f->result[n] = original;
            fixture_evaluation(f, n++, 21.375, 3.5);
        }
        struct app_result *x = &f->result[n];
        *x = (struct app_result){.nominal_bits = rows[i].bits,
                                 .effective_bits = rows[i].effective,
                                 .bytes = rows[i].bytes,
                                 .finished = rows[i].finished};
        snprintf(x->name, sizeof x->name, "%s", rows[i].name);
        snprintf(x->method, sizeof x->method, "%s", rows[i].method);
        if (rows[i].perplexity > 0)
            fixture_evaluation(f, n, rows[i].perplexity, 48);
        n++;
    }
    f->results = n;
}

static void assert_order(struct fixture *f, const char *expected)
{
    struct app_results r;
    char found[16] = "";
    app_results_get(&r, f->app);
    assert_int_equal(r.n, ROWS + 1);
    assert_true(app_results_at(&r, 0)->original);
    for (size_t i = 1; i < r.n; i++)
        found[i - 1] = app_result_name(app_results_at(&r, i))[0];
    app_results_release(&r);
    assert_string_equal(found, expected);
}

static void test_every_column_sorts_and_what_is_unknown_comes_last(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *name, *up, *down;
    } cases[RESULT_SORTS] = {
        [RESULT_BY_RUN] = {"run", "abcde", "edcba"},
        [RESULT_BY_METHOD] = {"method", "beadc", "cadeb"},
        [RESULT_BY_BITS] = {"bits", "cdabe", "eabdc"},
        [RESULT_BY_EFFECTIVE] = {"effective bits", "cdbae", "eabdc"},
        [RESULT_BY_SIZE] = {"size", "cbdae", "adbce"},
        [RESULT_BY_PERPLEXITY] = {"perplexity", "eadcb", "cdaeb"},
        [RESULT_BY_TIME] = {"time", "bedac", "adebc"},
    };
    make_rows(f);
    fixture_type(f, "7");
    for (size_t sort = 0; sort < RESULT_SORTS; sort++) {
        char text[64];
        assert_order(f, cases[sort].up);
        fixture_type(f, "R");
        assert_order(f, cases[sort].down);
        snprintf(text, sizeof text, "sorted by %s", cases[sort].name);
        fixture_assert_shows(f, text);
        fixture_type(f, "RS");
    }
    assert_order(f, cases[0].up); /* round to the first */
}

static void test_the_selected_run_stays_selected_whatever_its_place(void **state)
{
    struct fixture *f = *state;
    make_rows(f);
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    for (int i = 0; i < 4; i++)
        fixture_key(f, TERM_KEY_DOWN);
    assert_int_equal(f->app->result_selected, 4); /* d */
    fixture_type(f, "SSR");                       /* by bits, falling */
    struct app_results r;
    app_results_get(&r, f->app);
    assert_string_equal(app_results_at(&r, f->app->result_selected)->name, "runs/d");
    app_results_release(&r);
    memmove(f->result + 1, f->result, f->results * sizeof *f->result);
    snprintf(f->result[0].name, sizeof f->result[0].name, "runs/0");
    f->result[0].nominal_bits = 8;
    f->results++;
    app_results_get(&r, f->app);
    assert_string_equal(app_results_at(&r, f->app->result_selected)->name, "runs/d");
    app_results_release(&r);
    f->results = 2; /* its folder is gone */
    app_results_get(&r, f->app);
    assert_true(f->app->result_selected < r.n);
    app_results_release(&r);
}

static void test_a_click_selects_the_row_or_the_nearest_point(void **state)
{
    struct fixture *f = *state;
    int x, y;
    make_rows(f);
    fixture_type(f, "7");
    fixture_frame(f, 120, 40);
    assert_true(fixture_find(f, "gptq-4", &x, &y));
    fixture_mouse(f, TERM_MOUSE_PRESS, x, y, 0);
    assert_int_equal(f->app->result_selected, 5);
    fixture_frame(f, 120, 40);
    int px, py;
    assert_true(chart_map_x(&f->app->map, 2, &px) && chart_map_y(&f->app->map, 90, &py));
    fixture_mouse(f, TERM_MOUSE_PRESS, px + 1, py, 0);
    struct app_results r;
    app_results_get(&r, f->app);
    assert_string_equal(app_results_at(&r, f->app->result_selected)->name, "runs/c");
    app_results_release(&r);
}

/* --- Draws --- */

/* Three runs of one method, of seeds 1 to 3, and one of another. */
static void make_draws(struct fixture *f)
{
    make_rows(f);
    for (size_t i = 0; i < f->results; i++) {
        struct app_result *x = &f->result[i];
        settings_defaults(&x->values);
        x->has_values = !x->original;
        x->values.seed = i + 1;
        x->nominal_bits = x->original ? 16 : 3;
        snprintf(x->method, sizeof x->method, "%s", i < 2 || i == 3 ? "moqa" : "gptq-3");
    }
    fixture_evaluation(f, 0, 25, 1);
    fixture_evaluation(f, 1, 26, 1);
    fixture_evaluation(f, 3, 30, 1);
}

static bool draws_of(struct fixture *f, size_t i, struct result_draws *d)
{
    return result_draws(d, &f->result[i], f->result, f->results, &f->evaluation[0]);
}

static void test_draws_of_a_method_have_a_mean_and_a_spread(void **state)
{
    struct fixture *f = *state;
    struct result_draws d;
    make_draws(f);
    assert_true(draws_of(f, 0, &d));
    assert_int_equal(d.n, 3);
    assert_true(fabs(d.mean - 27) < 1e-12);
    assert_true(fabs(d.deviation - sqrt(7)) < 1e-12); /* (4 + 1 + 9) / 2 */
    assert_false(draws_of(f, 2, &d));                 /* the original */
    fixture_type(f, "7");
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows(f, "over 3 draws");
    fixture_assert_shows(f, "27.000 \u00b1 2.646");
    fixture_assert_shows_at(f, 160, 50, "mean of draws");
}

static void test_a_divergence_is_told_of_runs_that_have_one(void **state)
{
    struct fixture *f = *state;
    f->evaluation[0].has_divergence = f->evaluation[1].has_divergence = true;
    f->evaluation[1].divergence = 0.03926;
    f->evaluation[1].divergence_error = 0.00125;
    fixture_type(f, "7");
    assert_false(fixture_shows(f, "divergence")); /* the original's is none */
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows(f, "divergence");
    fixture_assert_shows(f, "0.03926 \u00b1 0.00125");
    f->evaluation[1].has_divergence = false;
    assert_false(fixture_shows(f, "divergence"));
}

static void test_what_differs_in_more_than_the_seed_is_no_draw(void **state)
{
    struct fixture *f = *state;
    struct result_draws d;
    make_draws(f);
    f->result[3].values.alpha = 0.5;
    assert_true(draws_of(f, 0, &d));
    assert_int_equal(d.n, 2);
    f->result[1].nominal_bits = 2.5; /* another budget */
    assert_false(draws_of(f, 0, &d));
    f->result[1].nominal_bits = 3;
    f->result[1].values.seed = 1; /* as the first, so another calibration */
    assert_false(draws_of(f, 0, &d));
    f->result[1].values.seed = 2;
    f->evaluation[1].window = 128;
    assert_false(draws_of(f, 0, &d));
    f->evaluation[1].window = f->evaluation[0].window;
    f->result[1].unfinished = true;
    assert_false(draws_of(f, 0, &d));
    f->result[5].pins = 1;
    fixture_type(f, "7");
    const char *frame = fixture_frame(f, 160, 50);
    if (strstr(frame, "draws"))
        fail_msg("%s", frame);
}

static void test_a_chart_of_runs_wants_a_run_that_is_measured(void **state)
{
    struct fixture *f = *state;
    f->results = 2;
    f->result[1] = (struct app_result){.nominal_bits = 3, .effective_bits = 3.2, .method = "moqa"};
    snprintf(f->result[1].name, sizeof f->result[1].name, "runs/a");
    fixture_evaluation(f, 0, 21.375, 3.5);
    assert_true(f->result[0].original);
    fixture_type(f, "7");
    fixture_key(f, TERM_KEY_DOWN);
    const char *frame = fixture_frame(f, 160, 50);
    assert_null(strstr(frame, "no data"));
    assert_non_null(strstr(frame, "x with the same plan measures it."));
}

/* --- Comparison with the original --- */

/* What the original's perplexity on the text of runs/a is; 0: none is known. */
static double original_of_a(struct fixture *f)
{
    struct app_results r;
    app_results_get(&r, f->app);
    const struct app_evaluation *e = app_results_original(&r, &f->evaluation[0]);
    double value = e ? e->perplexity : 0;
    app_results_release(&r);
    return value;
}

static void test_only_the_same_text_and_windows_are_compared(void **state)
{
    struct fixture *f = *state;
    struct app_evaluation *a = &f->evaluation[0], *original = &f->evaluation[2];
    make_rows(f);
    fixture_type(f, "7");
    assert_true(original_of_a(f) == 21.375);
    a->window = 128;
    assert_true(original_of_a(f) == 0);
    a->window = 256;
    a->part = 4;
    assert_true(original_of_a(f) == 0);
    a->part = 0;
    a->text[0] ^= 1; /* another order of the same files */
    assert_true(original_of_a(f) == 0);
    a->text[0] = original->text[0] = '\0'; /* nothing says that they are the same */
    assert_true(original_of_a(f) == 0);
    a->text[0] = original->text[0] = FIXTURE_TEXT[0];
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows(f, "+3.6250, +16.96 %"); /* 25 against 21.375 */
}

/* runs/a and the original on two texts, runs/c on the other alone, runs/d on nobody knows what. */
static void make_texts(struct fixture *f, struct app_evaluation two[2][2])
{
    static const size_t both[2] = {0, 2};
    make_rows(f);
    for (size_t i = 0; i < 2; i++) {
        struct app_evaluation e = f->evaluation[both[i]];
        snprintf(e.name, sizeof e.name, "stories.txt");
        snprintf(e.text, sizeof e.text, "f2");
        e.perplexity *= 2;
        two[i][0] = f->evaluation[both[i]];
        two[i][1] = e;
        f->result[both[i]].evaluation = two[i];
        f->result[both[i]].evaluations = 2;
    }
    f->evaluation[3] = two[0][1];
    f->evaluation[3].perplexity = 44;
    f->evaluation[4].text[0] = f->evaluation[4].name[0] = '\0';
}

static void test_perplexities_are_of_one_text_and_X_changes_it(void **state)
{
    struct fixture *f = *state;
    struct app_evaluation two[2][2];
    make_texts(f, two);
    fixture_type(f, "7");
    fixture_frame(f, 120, 40);
    fixture_key(f, TERM_KEY_DOWN); /* runs/a */
    fixture_assert_shows_at(f, 120, 40, "on letters.txt");
    fixture_assert_shows_at(f, 120, 40, "X: 1 of 3");
    fixture_assert_shows_at(f, 120, 40,
                            "\u25a0 moqa"); /* the sign of its points, as in the legend */
    fixture_assert_shows_at(f, 120, 40, "25.0000   +17.0 %");
    fixture_assert_shows_at(f, 120, 40, "50.0000, +16.96 %"); /* of the other, in the panel */
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "on stories.txt");
    fixture_assert_shows_at(f, 120, 40, "50.0000   +17.0 %");
    fixture_assert_shows_at(f, 120, 40, "42.7500"); /* the original's */
    fixture_assert_shows_at(f, 120, 40, "44.0000    +2.9 %");
    fixture_type(f, "SSSSS"); /* runs that are not on this text come last */
    assert_order(f, "cabde");
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "on unknown text, 13770 tokens");
    assert_order(f, "dabce");
    fixture_key(f, TERM_KEY_UP);
    for (int i = 0; i < 9; i++)
        fixture_key(f, TERM_KEY_UP);
    fixture_key(f, TERM_KEY_DOWN); /* runs/d */
    fixture_assert_shows_at(f, 120, 40, "text not known");
    fixture_assert_shows_at(f, 120, 40, "was not recorded");
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "on letters.txt");
    assert_order(f, "eabcd");
}

static void test_the_texts_of_the_session_come_first(void **state)
{
    struct fixture *f = *state;
    struct app_evaluation two[2][2];
    make_texts(f, two);
    two[1][1].wanted = true; /* the original's on stories.txt, which is in work */
    two[1][1].perplexity = NAN;
    f->result[2].measure = APP_MEASURE_WORKING;
    f->result[2].progress = 0.37;
    fixture_type(f, "7");
    fixture_assert_shows_at(f, 120, 40, "on stories.txt");
    fixture_assert_shows_at(f, 120, 40, "37 % done");
    fixture_frame(f, 120, 40);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows_at(f, 120, 40, "The original was not measured on this text");
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "21.3750"); /* on the other text it is known */
}

static void test_texts_of_one_name_are_told_apart(void **state)
{
    struct fixture *f = *state;
    struct app_evaluation two[2][2];
    make_texts(f, two);
    snprintf(two[0][1].name, sizeof two[0][1].name, "letters.txt");
    snprintf(two[1][1].name, sizeof two[1][1].name, "letters.txt");
    snprintf(f->evaluation[3].name, sizeof f->evaluation[3].name, "letters.txt");
    two[1][0].window = 128;
    fixture_type(f, "7");
    fixture_assert_shows_at(f, 120, 40, "on letters.txt #f2");
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "on letters.txt #" FIXTURE_TEXT ", windows of 256");
    fixture_type(f, "X");
    fixture_assert_shows_at(f, 120, 40, "on letters.txt #" FIXTURE_TEXT ", windows of 128");
}

static void test_the_original_says_how_far_it_is_and_can_be_stopped(void **state)
{
    struct fixture *f = *state;
    struct app_result *x = &f->result[0];
    x->evaluations = 0;
    x->measure = APP_MEASURE_NONE;
    fixture_type(f, "7");
    fixture_assert_shows(f, "--text FILE");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_key(f, TERM_KEY_DOWN); /* a run without one */
    fixture_assert_shows(f, "--text FILE");
    fixture_key(f, TERM_KEY_UP);
    fixture_key(f, TERM_KEY_UP);
    f->evaluation[1].wanted = true;
    fixture_type(f, "M");
    fixture_assert_shows(f, "nothing to measure on");
    x->measure = APP_MEASURE_WORKING;
    x->progress = 0.37;
    x->seconds_left = 65;
    fixture_assert_shows(f, "37 % done");
    fixture_assert_shows(f, "1:05");
    fixture_key(f, TERM_KEY_CTRL_C);
    assert_int_equal(f->measure_cancels, 1);
    fixture_assert_shows(f, "M on Results");
    x->measure = APP_MEASURE_FAILED;
    snprintf(x->note, sizeof x->note, "letters.txt: cannot be read");
    fixture_assert_shows(f, "letters.txt: cannot be read");
    f->has_texts = true;
    fixture_type(f, "M");
    assert_int_equal(f->measures, 2);
    fixture_assert_shows(f, "measured once");
    x->measure = APP_MEASURE_DONE;
    fixture_key(f, TERM_KEY_CTRL_C);
    fixture_assert_shows(f, "nothing runs");
}

static void test_an_unfinished_run_says_so_and_how_it_goes_on(void **state)
{
    struct fixture *f = *state;
    struct app_result *x = &f->result[1];
    x->evaluations = 0;
    x->unfinished = true;
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows(f, "unfinished");
    fixture_assert_shows(f, "x goes on");
    f->run.phase = APP_RUN_RUNNING; /* in the same folder */
    fixture_assert_shows(f, " running");
    f->run.phase = APP_RUN_CANCELLED;
    fixture_assert_shows(f, "unfinished");
    x->running = true; /* by another program */
    fixture_assert_shows(f, " running");
    assert_false(fixture_shows(f, "x goes on"));
    x->unfinished = x->running = false;
    x->pass_seconds = 95;
    fixture_assert_shows(f, "1:35");
}

/* --- Loading --- */

/* The plan on the screen with other settings and two pins. */
static void make_plan(struct fixture *f)
{
    struct err err = {0};
    if (plan_copy(&f->run_plan, &f->app->plan, &err) < 0)
        fail_msg("%s", err.message);
    f->run_plan.settings.alpha = 0.625;
    f->run_plan.settings.min_count = 4;
    f->run_plan.layers[1].experts[7].pinned = f->run_plan.layers[2].experts[0].pinned = true;
    f->run_plan.layers[1].experts[7].bits = 8;
    f->run_plan.layers[2].experts[0].bits = 16;
}

static void test_a_run_comes_back_as_one_step_of_undo(void **state)
{
    struct fixture *f = *state;
    static const uint32_t keys[] = {'o', TERM_KEY_ENTER};
    make_plan(f);
    for (size_t i = 0; i < 2; i++) {
        fixture_restart(f);
        fixture_type(f, "3L7"); /* a change that must survive */
        struct settings before = f->app->document.settings;
        fixture_frame(f, 80, 24);
        fixture_key(f, TERM_KEY_DOWN);
        fixture_key(f, keys[i]);
        assert_string_equal(f->loaded, "runs/001");
        assert_true(settings_equal(&f->app->document.settings, &f->run_plan.settings));
        assert_int_equal(app_pin(f->app, 1, 7), 8);
        assert_int_equal(app_pin(f->app, 2, 0), 16);
        assert_int_equal(f->app->plan.layers[1].experts[7].bits, 8);
        assert_true(f->app->result->settings.alpha == 0.625);
        fixture_assert_shows_at(f, 200, 40, "settings and pins of 001, u undoes: alpha ");
        fixture_type(f, "u");
        assert_true(settings_equal(&f->app->document.settings, &before));
        assert_int_equal(app_pin(f->app, 1, 7), 0);
        assert_int_equal(f->app->undo_count, 1); /* that of `L` */
        fixture_type(f, "U");
        assert_true(f->app->document.settings.alpha == 0.625);
    }
}

static void test_loading_what_is_there_already_changes_nothing(void **state)
{
    struct fixture *f = *state;
    make_plan(f);
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_type(f, "oo");
    assert_int_equal(f->app->undo_count, 1);
    fixture_assert_shows(f, "the sliders stand as in 001");
}

static void test_what_cannot_be_loaded_leaves_the_sliders_alone(void **state)
{
    struct fixture *f = *state;
    struct err err = {0};
    fixture_type(f, "7o");
    fixture_assert_shows(f, "the original has no settings");
    assert_int_equal(f->loads, 0);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_type(f, "o");
    fixture_assert_shows(f, "is not there");
    make_plan(f);
    plan_release(&f->run_plan);
    assert_int_equal(plan_alloc(&f->run_plan, 2, 5, &err), 0);
    fixture_type(f, "o");
    fixture_assert_shows(f, "2 layers of 5 experts");
    plan_release(&f->run_plan);
    make_plan(f);
    float *gates = f->trace.gates;
    f->run_plan.settings.mapping = MAPPING_GATE;
    f->run_plan.settings.threshold.given = true;
    f->run_plan.settings.threshold.value = 0.2;
    f->trace.gates = NULL;
    fixture_restart(f); /* an index without gates */
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_type(f, "o");
    fixture_assert_shows(f, "needs gate values");
    assert_true(settings_equal(&f->app->document.settings, &f->options.settings));
    assert_true(settings_equal(&f->app->result->settings, &f->options.settings));
    assert_int_equal(f->app->undo_count, 0);
    app_free(f->app);
    f->app = NULL;
    f->trace.gates = gates;
}

static void test_a_run_of_another_method_says_that_its_bits_are_not_the_sliders(void **state)
{
    struct fixture *f = *state;
    make_plan(f);
    snprintf(f->run_plan.method, sizeof f->run_plan.method, "gptq-3");
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_type(f, "o");
    fixture_assert_shows_at(f, 200, 40, "its method gave the bits without them");
}

static void test_the_details_say_what_loading_would_change(void **state)
{
    struct fixture *f = *state;
    f->result[1].has_values = true;
    f->result[1].values = f->options.settings;
    fixture_type(f, "7");
    fixture_frame(f, 80, 24);
    fixture_key(f, TERM_KEY_DOWN);
    fixture_assert_shows_at(f, 120, 40, "the same");
    f->result[1].values.alpha = 0.5;
    fixture_assert_shows_at(f, 120, 40, "alpha 0.3 -> 0.5");
}

static void test_changes_of_settings_are_all_counted_and_cut_between_names(void **state)
{
    struct settings a, b;
    struct err err = {0};
    char text[64], small[20];
    (void)state;
    settings_defaults(&a);
    b = a;
    assert_int_equal(app_settings_changes(text, sizeof text, &a, &b), 0);
    assert_string_equal(text, "");
    assert_int_equal(settings_set(&b, "alpha", "0.5", &err), 0);
    assert_int_equal(settings_set(&b, "rule", "jenks", &err), 0);
    assert_int_equal(app_settings_changes(text, sizeof text, &a, &b), 2);
    assert_string_equal(text, "alpha 0.3 -> 0.5, rule auto -> jenks");
    assert_int_equal(app_settings_changes(small, sizeof small, &a, &b), 2);
    assert_string_equal(small, "alpha 0.3 -> 0.5");
}

#define WITH(test) cmocka_unit_test_setup_teardown(test, open_olmoe, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(test_every_column_sorts_and_what_is_unknown_comes_last),
        WITH(test_the_selected_run_stays_selected_whatever_its_place),
        WITH(test_a_click_selects_the_row_or_the_nearest_point),
        WITH(test_draws_of_a_method_have_a_mean_and_a_spread),
        WITH(test_a_divergence_is_told_of_runs_that_have_one),
        WITH(test_what_differs_in_more_than_the_seed_is_no_draw),
        WITH(test_a_chart_of_runs_wants_a_run_that_is_measured),
        WITH(test_only_the_same_text_and_windows_are_compared),
        WITH(test_perplexities_are_of_one_text_and_X_changes_it),
        WITH(test_the_texts_of_the_session_come_first),
        WITH(test_texts_of_one_name_are_told_apart),
        WITH(test_the_original_says_how_far_it_is_and_can_be_stopped),
        WITH(test_an_unfinished_run_says_so_and_how_it_goes_on),
        WITH(test_a_run_comes_back_as_one_step_of_undo),
        WITH(test_loading_what_is_there_already_changes_nothing),
        WITH(test_what_cannot_be_loaded_leaves_the_sliders_alone),
        WITH(test_a_run_of_another_method_says_that_its_bits_are_not_the_sliders),
        WITH(test_the_details_say_what_loading_would_change),
        cmocka_unit_test(test_changes_of_settings_are_all_counted_and_cut_between_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
