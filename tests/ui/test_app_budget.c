/* Plans within a budget on the screen: the slider, what it keeps, the front, and the losses. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/planner.h"
#include "app_fixture.h"
#include "picture.h"
#include "ui/app/app_state.h"

static struct fixture f;

static int open_with(void **state, const char *name, const char *model, bool measured)
{
    (void)state;
    fixture_open(&f, name, model);
    f.has_measured = measured;
    fixture_restart(&f);
    return 0;
}

static int open_measured(void **state)
{
    return open_with(state, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe", true);
}

static int open_shared(void **state)
{
    return open_with(state, "tiny-qwen2moe", TEST_GOLDEN "/tiny-qwen2moe/model", true);
}

static int open_unmeasured(void **state)
{
    return open_with(state, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe", false);
}

static int open_without_model(void **state)
{
    return open_with(state, "tiny-olmoe", NULL, true);
}

static int close_fixture(void **state)
{
    (void)state;
    fixture_close(&f);
    return 0;
}

#define assert_shows(text) assert_true(fixture_shows(&f, text))

static void budget_is(const char *typed)
{
    fixture_type(&f, "\n");
    fixture_type(&f, typed);
    fixture_type(&f, "\n");
}

static double nominal(void)
{
    return f.app->plan.summary.nominal_bits;
}

/* What `moqa plan` would make: exactly solved. */
static void make_by_planner(struct plan *out, double bits, uint64_t bytes, enum budget_grain grain)
{
    struct planner_request r = {.method = "budget",
                                .average_bits = bits,
                                .budget_bytes = bytes,
                                .losses = &f.measured,
                                .losses_path = "losses.json",
                                .pins = {f.app->document.pins}};
    budget_defaults(&r.budget);
    r.budget.grain = grain;
    assert_int_equal(planner_make(out, f.app->analysis, &r, &f.config, NULL), 0);
}

static bool same_widths(const struct plan *x, const struct plan *y)
{
    for (size_t i = 0; i < x->layers_count * x->experts; i++) {
        const struct plan_expert *a = &x->layers[i / x->experts].experts[i % x->experts];
        const struct plan_expert *b = &y->layers[i / y->experts].experts[i % y->experts];
        for (int k = 0; k < PLAN_LINEARS; k++)
            if (plan_expert_bits(a, (enum plan_linear)k) !=
                    plan_expert_bits(b, (enum plan_linear)k) ||
                a->channels[k] != b->channels[k])
                return false;
    }
    return true;
}

static size_t count_uneven(void)
{
    const struct plan *p = &f.app->plan;
    size_t n = 0;
    for (size_t i = 0; i < p->layers_count * p->experts; i++)
        n += p->layers[i / p->experts].experts[i % p->experts].linear_bits[PLAN_GATE] != 0;
    return n;
}

/* --- The slider --- */

static void test_b_takes_moqas_bits_and_gives_its_plan_back(void **state)
{
    struct plan before = {0};
    (void)state;
    fixture_type(&f, "5");
    assert_int_equal(plan_copy(&before, &f.app->plan, NULL), 0);
    double moqa = f.app->front.rise;
    fixture_type(&f, "b");
    assert_string_equal(f.app->plan.method, "budget");
    assert_true(nominal() <= before.summary.nominal_bits + 0.001);
    assert_true(nominal() > before.summary.nominal_bits - 0.02);
    assert_true(f.app->front.rise < moqa);
    assert_shows("the best plan of");
    assert_string_equal(app_slider(f.app)->name, "budget");
    fixture_type(&f, "b");
    assert_true(plan_equal(&f.app->plan, &before));
    assert_string_equal(app_slider(f.app)->name, "bits_high");
    plan_release(&before);
}

static void test_every_step_of_the_budget_is_the_best_plan_of_its_bits(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2");
    double rise = INFINITY;
    for (double bits = 2.05; bits < 4.6; bits += 0.05) {
        struct plan best = {0};
        fixture_key(&f, TERM_KEY_RIGHT);
        assert_true(fabs(f.app->document.budget.bits - bits) < 1e-9);
        app_budget_finish(f.app);
        make_by_planner(&best, f.app->document.budget.bits, 0, BUDGET_LINEARS);
        assert_true(same_widths(&f.app->plan, &best));
        assert_true(nominal() <= bits + 1e-9 && f.app->front.rise < rise);
        rise = f.app->front.rise;
        plan_release(&best);
    }
    assert_true(count_uneven() > 0);
    for (int i = 0; i < 30; i++)
        fixture_type(&f, "L");
    assert_shows("the budget ends here: the most");
    for (int i = 0; i < 40; i++)
        fixture_type(&f, "H");
    assert_shows("the budget ends here: the least");
    assert_true(f.app->document.budget.bits == 2 && nominal() == 2);
}

static void test_budgets_are_typed_as_bits_or_as_sizes(void **state)
{
    static const struct {
        const char *typed;
        uint64_t bytes;
    } sizes[] = {{"1600000", 1600000}, {"1.6MB", 1600000},   {"1600 kB", 1600000},
                 {"1.5MiB", 1572864},  {"1536KiB", 1572864}, {"0.0016G", 1600000}};
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.5");
    assert_true(f.app->document.budget.unit == APP_BITS && f.app->document.budget.bits == 2.5);
    assert_true(nominal() <= 2.5 && nominal() > 2.49);
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        budget_is(sizes[i].typed);
        assert_int_equal(f.app->document.budget.unit, APP_BYTES);
        assert_int_equal(f.app->document.budget.bytes, sizes[i].bytes);
        assert_true(f.app->plan.summary.bytes_after <= sizes[i].bytes);
        assert_true(f.app->plan.summary.bytes_after > sizes[i].bytes - 20000);
    }
    struct app_budget kept = f.app->document.budget;
    static const char *const bad[] = {"much", "2.5 pounds", "-3", "0", "1e300", "nan"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        budget_is(bad[i]);
        assert_shows("expected bits as 2.5, or a size");
        assert_true(app_budget_equal(&f.app->document.budget, &kept));
    }
    budget_is("1.5");
    assert_shows("budget: found 1.5 bits, expected at least 2 bits");
    assert_true(app_budget_equal(&f.app->document.budget, &kept));
}

static void test_another_unit_keeps_the_plan(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("3");
    uint64_t bytes = f.app->plan.summary.bytes_after;
    double rise = f.app->front.rise;
    fixture_type(&f, "\t");
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_int_equal(f.app->document.budget.unit, APP_BYTES);
    assert_int_equal(f.app->document.budget.bytes, bytes);
    app_budget_finish(f.app);
    assert_true(f.app->plan.summary.bytes_after <= bytes && f.app->front.rise <= rise);
    assert_shows("bits a weight in the file");
    fixture_key(&f, TERM_KEY_LEFT);
    assert_int_equal(f.app->document.budget.unit, APP_BITS);
    assert_true(nominal() <= 3.001 && nominal() > 2.99);
    fixture_type(&f, "\t");
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_EXPERTS);
    assert_int_equal(count_uneven(), 0);
}

/* --- Channels --- */

static void know_channels(void)
{
    struct losses *l = &f.measured;
    l->shares_count = 2;
    l->shares[0] = 0.125;
    l->shares[1] = 0.25;
    for (size_t i = 0; i < l->layers_count * l->experts; i++) {
        struct losses_expert *x = &l->layers[i / l->experts].experts[i % l->experts];
        for (size_t k = 0; k < PLAN_LINEARS; k++)
            for (size_t w = 0; w < losses_channel_widths(l); w++)
                for (size_t s = 0; s < 2; s++)
                    x->channel_loss[k][w][s] = x->loss[k][w] * (s ? 0.1 : 0.3);
    }
}

static void test_grain_passes_over_channels_that_were_not_measured(void **state)
{
    (void)state;
    fixture_type(&f, "5b\t\t");
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_EXPERTS);
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_LINEARS);
    assert_shows("channel: measured without mixed channels; moqa losses --channels");
    fixture_key(&f, TERM_KEY_LEFT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_EXPERTS);
    budget_is("channel");
    assert_int_equal(f.app->document.budget.grain, BUDGET_EXPERTS);
    assert_shows("measured without mixed channels");
}

static void test_grain_of_channels_plans_and_shows_them(void **state)
{
    (void)state;
    struct plan best;
    know_channels();
    fixture_type(&f, "5b");
    budget_is("2.5");
    double before = f.app->front.rise;
    fixture_type(&f, "\t\t");
    fixture_key(&f, TERM_KEY_LEFT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_CHANNELS);
    app_budget_finish(f.app);
    make_by_planner(&best, 2.5, 0, BUDGET_CHANNELS);
    assert_true(same_widths(&f.app->plan, &best) && plan_has_channels(&best));
    assert_true(f.app->front.rise < before && nominal() <= 2.5);
    assert_shows("8-bit channels");
    plan_release(&best);
    budget_is("expert");
    assert_false(plan_has_channels(&f.app->plan));
    budget_is("channel");
    assert_true(plan_has_channels(&f.app->plan));
    fixture_type(&f, "u");
    assert_false(plan_has_channels(&f.app->plan));
    fixture_type(&f, "U");
    assert_true(plan_has_channels(&f.app->plan));
    struct app_document next = f.app->document;
    next.settings.bits_channel = 4;
    assert_false(app_commit(f.app, &next));
    assert_shows("measured with bits_channel = 8, the plan has 4");
    fixture_type(&f, "b"); /* with MoQa's rule the setting is free, and b comes back to linears */
    next = f.app->document;
    next.settings.bits_channel = 4;
    assert_true(app_commit(f.app, &next));
    fixture_type(&f, "b");
    assert_int_equal(f.app->document.budget.grain, BUDGET_LINEARS);
}

static void test_losses_without_channels_bring_the_grain_back_to_linears(void **state)
{
    (void)state;
    know_channels();
    fixture_type(&f, "5b\t\t");
    fixture_key(&f, TERM_KEY_LEFT);
    assert_int_equal(f.app->document.budget.grain, BUDGET_CHANNELS);
    f.measured.shares_count = 0; /* as if measured anew */
    assert_true(app_recompute(f.app));
    assert_int_equal(f.app->document.budget.grain, BUDGET_LINEARS);
    assert_true(f.app->front.known && !plan_has_channels(&f.app->plan));
    assert_shows("the grain is linear: ");
}

static void test_steps_of_bytes_are_round_and_go_both_ways(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("1.6MiB");
    fixture_key(&f, TERM_KEY_RIGHT);
    uint64_t up = f.app->document.budget.bytes;
    double step = ((double)up - 1.6 * 0x1p20) / 0x1p20;
    assert_true(fabs(step - 0.02) < 1e-6);
    fixture_key(&f, TERM_KEY_LEFT);
    assert_true(fabs((double)f.app->document.budget.bytes - 1.6 * 0x1p20) < 2);
}

/* --- Pins, undo, snapshots, session --- */

static void test_pins_are_kept_and_paid_for(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.4");
    double rise = f.app->front.rise;
    fixture_type(&f, "pppp");
    const struct plan_expert *x = &f.app->plan.layers[0].experts[0];
    assert_true(x->pinned && x->bits == 8 && !x->linear_bits[PLAN_GATE]);
    assert_true(nominal() <= 2.4 && f.app->front.rise > rise);
    budget_is("3.1");
    assert_int_equal(f.app->plan.layers[0].experts[0].bits, 8);
    budget_is("2");
    assert_shows("expected at least 2.0");
    assert_true(f.app->document.budget.bits == 3.1);
    fixture_type(&f, "p"); /* 16 */
    assert_int_equal(f.app->plan.layers[0].experts[0].bits, 16);
}

static void test_a_pin_that_does_not_fit_is_dropped_with_the_reason(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2");
    fixture_type(&f, "p");
    assert_int_equal(app_pin(f.app, 0, 0), 2);
    fixture_type(&f, "p");
    assert_int_equal(app_pin(f.app, 0, 0), 0);
    assert_true(fixture_shows(&f, "found 2 bits, expected at least 2.0"));
    assert_true(nominal() == 2);
}

static void test_undo_and_redo_restore_every_plan(void **state)
{
    static const char *const acts[] = {"b",   "\n2.3\n", "p", ">p",    "\n1.5MiB\n",
                                       "\tx", "H",       "b", "3\x0c", "5b"};
    enum { ACTS = sizeof acts / sizeof *acts };
    struct plan plan[ACTS + 1] = {0};
    struct app_budget budget[ACTS + 1];
    size_t at[ACTS + 1];
    (void)state;
    fixture_type(&f, "5");
    for (size_t i = 0; i <= ACTS; i++) {
        assert_int_equal(plan_copy(&plan[i], &f.app->plan, NULL), 0);
        budget[i] = f.app->document.budget;
        at[i] = f.app->undo_count;
        if (i < ACTS)
            fixture_type(&f, acts[i]);
        if (f.app->mode != APP_NORMAL)
            fixture_key(&f, TERM_KEY_ESC);
    }
    for (size_t i = ACTS + 1; i-- > 0;) {
        while (f.app->undo_count > at[i])
            fixture_type(&f, "u");
        assert_true(app_budget_equal(&f.app->document.budget, &budget[i]));
        assert_true(same_widths(&f.app->plan, &plan[i]));
        assert_string_equal(f.app->plan.method, plan[i].method);
    }
    while (f.app->redo_count)
        fixture_type(&f, "U");
    assert_true(same_widths(&f.app->plan, &plan[ACTS]));
    for (size_t i = 0; i <= ACTS; i++)
        plan_release(&plan[i]);
}

static void test_snapshots_hold_budgets_and_compare_says_so(void **state)
{
    (void)state;
    fixture_type(&f, "5Ab");
    budget_is("2.5");
    fixture_type(&f, "B");
    budget_is("2.6");
    fixture_type(&f, "c");
    const char *frame = fixture_frame(&f, 100, 40);
    assert_non_null(strstr(frame, "method"));
    assert_non_null(strstr(frame, "MoQa"));
    assert_non_null(strstr(frame, "2.5 bits"));
    assert_non_null(strstr(frame, "predicted rise"));
    fixture_type(&f, "a");
    assert_false(f.app->document.budget.on);
    fixture_type(&f, "b");
    assert_true(f.app->document.budget.on && f.app->document.budget.bits == 2.5);
    fixture_key(&f, TERM_KEY_ESC);
    struct figure_mark mark[APP_MARKS_MAX];
    size_t n = app_budget_marks(mark, f.app);
    assert_int_equal(n, 2 + 3 + 2);
    assert_string_equal(mark[0].name, "budget");
    assert_string_equal(mark[5].glyph, "A");
    assert_true(mark[5].rise == mark[1].rise && mark[6].rise == mark[0].rise);
}

/* Two plans of the same widths on average are told apart by where they lie. */
static void test_plans_that_spread_their_bits_otherwise_differ(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.5");
    fixture_type(&f, "A");
    struct plan_expert *x = NULL;
    for (size_t i = 0; !x; i++)
        if (app_plan_expert(f.app, i)->linear_bits[PLAN_GATE])
            x = &f.app->plan.layers[i / f.app->plan.experts].experts[i % f.app->plan.experts];
    size_t i = (size_t)(x - f.app->plan.layers[0].experts);
    if (i < f.app->plan.experts) {
        uint8_t first = x->linear_bits[0];
        assert_false(app_snapshot_differs(&f.app->snapshot[0], f.app, i));
        memmove(x->linear_bits, x->linear_bits + 1, 2);
        x->linear_bits[2] = first;
        assert_true(app_snapshot_differs(&f.app->snapshot[0], f.app, i));
    }
}

static void test_the_session_brings_the_budget_back(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.35");
    fixture_type(&f, "A");
    budget_is("2.75");
    fixture_type(&f, "s");
    fixture_restart(&f);
    assert_true(f.app->document.budget.on && f.app->document.budget.bits == 2.75);
    assert_string_equal(f.app->plan.method, "budget");
    assert_true(f.app->snapshot[0].taken && f.app->snapshot[0].document.budget.bits == 2.35);
    assert_true(fabs(f.app->snapshot[0].nominal_bits - 2.35) < 0.01);
    f.has_measured = false;
    fixture_restart(&f);
    assert_false(f.app->document.budget.on);
    assert_string_equal(f.app->plan.method, "moqa");
    assert_shows("its budget has no losses");
}

/* A session that is opened and saved where the losses are missing leaves its snapshots alone. */
static void test_a_snapshot_within_a_budget_waits_for_its_losses(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.35");
    fixture_type(&f, "Abs");
    f.has_measured = false;
    fixture_restart(&f);
    assert_shows("snapshot A waits for measured losses");
    assert_shows("needs measured losses");
    assert_false(f.app->snapshot[0].taken || f.app->document.budget.on);
    fixture_type(&f, "c");
    assert_shows("nothing to compare with: snapshot A waits");
    fixture_type(&f, "Bca");
    assert_shows("snapshot A waits for measured losses");
    fixture_key(&f, TERM_KEY_ESC);
    fixture_type(&f, "s");
    fixture_restart(&f);
    assert_shows("snapshot A waits");
    f.measuring.phase = APP_LOSSES_RUNNING; /* they come while the screen is open */
    fixture_frame(&f, 80, 24);
    f.has_measured = true;
    f.measuring.phase = APP_LOSSES_DONE;
    fixture_frame(&f, 80, 24);
    const struct app_snapshot *s = f.app->snapshot;
    assert_true(s[0].taken && s[0].document.budget.on && s[0].document.budget.bits == 2.35);
    assert_true(fabs(s[0].nominal_bits - 2.35) < 0.01 && isfinite(s[0].rise));
    assert_false(f.app->document.budget.on);
    assert_string_equal(f.app->plan.method, "moqa");
    assert_true(s[1].taken && !s[1].document.budget.on);
}

/* --- Out of the screen --- */

static void test_w_writes_the_best_plan_and_open_starts_from_it(void **state)
{
    struct plan written = {0}, best = {0};
    (void)state;
    f.app->front.frame_states = 1; /* what a frame has no time for */
    fixture_type(&f, "5b");
    budget_is("2.45");
    fixture_type(&f, "w");
    assert_int_equal(plan_load(&written, f.plan_path, NULL), 0);
    make_by_planner(&best, 2.45, 0, BUDGET_LINEARS);
    assert_true(same_widths(&written, &best));
    assert_string_equal(written.method, "budget");
    f.options.plan = &written;
    fixture_restart(&f);
    assert_true(f.app->document.budget.on && same_widths(&f.app->plan, &best));
    assert_true(app_document_equal(&f.app->document, &f.app->saved, f.app));
    f.has_measured = false;
    fixture_restart(&f);
    assert_false(f.app->document.budget.on);
    assert_shows("MoQa's plan is shown");
    f.options.plan = NULL;
    plan_release(&written);
    plan_release(&best);
}

static void test_y_tells_the_budget_and_x_runs_its_plan(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.2");
    fixture_type(&f, "y");
    assert_true(f.copied.on && f.copied.bits == 2.2 && f.copied.unit == APP_BITS);
    fixture_type(&f, " xy"); /* the first closes the command */
    assert_int_equal(f.starts, 1);
    assert_int_equal(f.started_bits, f.app->plan.layers[0].experts[0].bits);
}

static void test_a_run_within_a_budget_comes_back_with_it(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.55");
    assert_int_equal(plan_copy(&f.run_plan, &f.app->plan, NULL), 0);
    double bits = f.run_plan.summary.nominal_bits;
    fixture_type(&f, "b7");
    fixture_key(&f, TERM_KEY_DOWN);
    fixture_type(&f, "o");
    assert_true(f.app->document.budget.on && f.app->document.budget.bits == bits);
    assert_true(same_widths(&f.app->plan, &f.run_plan));
    fixture_type(&f, "o");
    assert_shows("the sliders stand as in 001");
    const struct settings *s = &f.app->document.settings;
    assert_true(s->beta_ch > 0 && settings_equal(&f.app->result->settings, s));
}

/* --- Solving --- */

static void test_a_plan_that_was_cut_short_is_made_the_best_at_rest(void **state)
{
    size_t cut = 0;
    (void)state;
    fixture_type(&f, "5b");
    f.app->front.frame_states = 1;
    for (double bits = 2.8; bits < 5; bits += 0.13) {
        char typed[32];
        struct plan best = {0};
        snprintf(typed, sizeof typed, "%.3fk", bits * f.app->front.weights / 8000);
        budget_is(typed);
        cut += f.app->front.provisional;
        assert_true(app_waiting(f.app) == f.app->front.provisional);
        assert_true(f.app->plan.summary.bytes_after <= f.app->document.budget.bytes);
        for (int i = 0; i < 4 && app_waiting(f.app); i++)
            app_tick(f.app);
        assert_false(app_waiting(f.app));
        make_by_planner(&best, 0, f.app->document.budget.bytes, BUDGET_LINEARS);
        double rise;
        assert_true(budget_predict(&rise, &best, &f.measured, &f.config));
        assert_true(same_widths(&f.app->plan, &best) && f.app->front.rise == rise);
        plan_release(&best);
    }
    assert_true(cut > 3);
}

static bool someone_waits(void *asked)
{
    ++*(int *)asked;
    return true;
}

static void test_a_key_ends_the_solving_and_the_next_rest_begins_it_anew(void **state)
{
    int asked = 0;
    struct plan best = {0};
    (void)state;
    fixture_type(&f, "5b");
    f.app->front.frame_states = 1;
    budget_is("2.45");
    assert_true(app_waiting(f.app));
    app_ask_for_keys(f.app, someone_waits, &asked);
    for (int i = 0; i < 8; i++)
        app_tick(f.app);
    assert_int_equal(asked, 2); /* rests */
    assert_true(app_waiting(f.app));
    fixture_type(&f, "w"); /* who uses the plan waits for it */
    assert_int_equal(asked, 2);
    assert_false(app_waiting(f.app));
    make_by_planner(&best, 2.45, 0, BUDGET_LINEARS);
    assert_true(same_widths(&f.app->plan, &best));
    plan_release(&best);
}

/* --- Losses --- */

static void test_without_losses_the_screen_says_how_to_get_them(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    assert_shows("a budget needs losses measured with these settings: M measures them");
    assert_false(f.app->document.budget.on);
    assert_non_null(strstr(fixture_frame(&f, 100, 40), "M measures them, for budgets"));
    fixture_type(&f, "v");
    assert_shows("M measures it");
}

static void test_without_a_model_budget_and_measuring_say_what_they_need(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    assert_shows("start with --model DIR");
    fixture_type(&f, "M");
    assert_shows("measuring needs the model");
    assert_int_equal(f.losses_starts, 0);
}

static void test_losses_are_measured_beside_the_screen_and_cancelled(void **state)
{
    (void)state;
    fixture_type(&f, "5M");
    assert_int_equal(f.losses_starts, 1);
    assert_true(app_busy(f.app));
    snprintf(f.measuring.stage, sizeof f.measuring.stage, "layer 3 of 6");
    f.measuring.progress = 0.375;
    f.measuring.seconds_left = 95;
    assert_shows("measuring, 38 %");
    assert_shows("layer 3 of 6, 1:35 left");
    fixture_type(&f, "M");
    assert_shows("losses are being measured");
    assert_int_equal(f.losses_starts, 1);
    fixture_type(&f, "3]");
    assert_int_equal(f.app->layer, 1); /* all screens work meanwhile */
    fixture_key(&f, TERM_KEY_CTRL_C);
    assert_int_equal(f.losses_cancels, 1);
    f.measuring.phase = APP_LOSSES_CANCELLED;
    assert_shows("goes on where it stopped");
    fixture_type(&f, "5M");
    assert_int_equal(f.losses_starts, 2);
    f.has_measured = true;
    snprintf(f.measuring.path, sizeof f.measuring.path, "runs/losses-0001.json");
    f.measuring.phase = APP_LOSSES_DONE;
    assert_shows("losses are measured: runs/losses-0001.json");
    fixture_type(&f, "b");
    assert_true(f.app->document.budget.on);
    fixture_type(&f, "M");
    assert_shows("measured for these settings already");
}

static void test_losses_of_another_calibration_are_told_and_measured_anew(void **state)
{
    (void)state;
    fixture_type(&f, "5");
    assert_null(strstr(fixture_frame(&f, 120, 40), "another calibration"));
    f.differs = true;
    fixture_type(&f, "b");
    const char *frame = fixture_frame(&f, 120, 40);
    assert_true(f.app->document.budget.on);
    assert_non_null(strstr(frame, "of another calibration"));
    assert_non_null(strstr(frame, "M measures them anew"));
    fixture_type(&f, "M");
    assert_int_equal(f.losses_starts, 1);
    assert_null(strstr(fixture_frame(&f, 120, 40), "another calibration"));
    f.differs = false;
    f.measuring.phase = APP_LOSSES_DONE;
    assert_null(strstr(fixture_frame(&f, 120, 40), "another calibration"));
    fixture_type(&f, "M");
    assert_shows("measured for these settings already");
}

static void test_a_failed_measurement_says_why(void **state)
{
    (void)state;
    fixture_type(&f, "5M");
    fixture_frame(&f, 80, 24);
    f.measuring.phase = APP_LOSSES_FAILED;
    snprintf(f.measuring.message, sizeof f.measuring.message, "model.safetensors: cut short");
    assert_shows("measuring losses failed: model.safetensors: cut short");
    assert_false(app_busy(f.app));
}

static void test_in_a_budget_settings_without_losses_are_refused(void **state)
{
    (void)state;
    fixture_type(&f, "5b6");
    while (strcmp(app_slider(f.app)->name, "scale_search") != 0)
        fixture_type(&f, "\t");
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_false(f.app->document.settings.scale_search);
    assert_shows("no losses are measured for this setting");
    while (strcmp(app_slider(f.app)->name, "propagation") != 0)
        fixture_type(&f, "\t");
    fixture_key(&f, TERM_KEY_RIGHT);
    assert_int_equal(f.app->plan.settings.propagation, PROPAGATION_FP);
    assert_string_equal(f.app->plan.method, "budget");
    fixture_type(&f, "5b");
    assert_true(app_set(f.app, "scale_search", "on"));
    assert_null(f.app->front.losses);
    fixture_type(&f, "b");
    assert_false(f.app->document.budget.on);
    fixture_type(&f, "u");
    assert_non_null(f.app->front.losses);
}

/* --- The front --- */

static void test_a_press_on_the_front_moves_the_budget_and_a_drag_is_one_step(void **state)
{
    int x;
    (void)state;
    f.app->mouse = true;
    fixture_type(&f, "5");
    fixture_frame(&f, 100, 40);
    const struct chart_map *m = &f.app->other_map;
    assert_false(rect_empty(m->plot));
    assert_true(chart_map_x(m, 2.6, &x));
    fixture_mouse(&f, TERM_MOUSE_PRESS, x, m->plot.y + 3, 0);
    assert_true(f.app->document.budget.on);
    assert_true(fabs(f.app->document.budget.bits - 2.6) < 0.05);
    size_t steps = f.app->undo_count;
    for (int i = 1; i < 12; i++) {
        fixture_frame(&f, 100, 40);
        fixture_mouse(&f, TERM_MOUSE_DRAG, x + i, m->plot.y + 3 + i, 0);
    }
    fixture_mouse(&f, TERM_MOUSE_DRAG, 5000, 0, 0);
    assert_true(f.app->document.budget.bits > 4.3);
    fixture_mouse(&f, TERM_MOUSE_RELEASE, x, m->plot.y, 0);
    assert_int_equal(f.app->undo_count, steps);
    fixture_type(&f, "u");
    assert_false(f.app->document.budget.on);
    fixture_type(&f, "b");
    double bits = f.app->document.budget.bits;
    fixture_frame(&f, 100, 40);
    fixture_mouse(&f, TERM_MOUSE_WHEEL, x, m->plot.y + 2, -1);
    assert_true(f.app->document.budget.bits > bits);
    fixture_mouse(&f, TERM_MOUSE_PRESS, x, m->plot.y - 8, 0); /* the grid: it selects */
    assert_false(f.app->dragging);
}

static void test_a_card_shows_widths_and_losses_of_the_linears(void **state)
{
    (void)state;
    fixture_type(&f, "5b");
    budget_is("2.5");
    while (!app_plan_expert(f.app, f.app->expert)->linear_bits[PLAN_GATE])
        fixture_type(&f, ">");
    fixture_type(&f, "i");
    const char *frame = fixture_frame(&f, 120, 40);
    assert_non_null(strstr(frame, "gate "));
    assert_non_null(strstr(frame, "Predicted rise: gate, up, down"));
    assert_non_null(strstr(frame, "*"));
}

static void test_help_tells_of_the_budget(void **state)
{
    (void)state;
    fixture_type(&f, "5b?");
    fixture_type(&f, "budget");
    const char *frame = fixture_frame(&f, 120, 50);
    assert_non_null(strstr(frame, "average bits a weight of all experts (2.5), or their size"));
    assert_non_null(strstr(frame, "plan within a budget, or by MoQa's rule again"));
    assert_non_null(strstr(frame, "measure the losses that budgets need"));
}

static void test_budget_screens_look_as_they_were_approved(void **state)
{
    static const struct {
        const char *name, *keys;
        int w, h;
        enum style_glyphs glyphs;
    } cases[] = {
        {"budget-80x24", "5b\n2.5\n", 80, 24, STYLE_BRAILLE},
        {"budget-120x40", "5Ab\n2.5\nB\n2.7\n", 120, 40, STYLE_BRAILLE},
        {"budget-160x50", "5b\n3\npp>ppp", 160, 50, STYLE_BRAILLE},
        {"budget-200x60", "5b\n3\n>+", 200, 60, STYLE_BRAILLE},
        {"budget-40x10", "5b\n2.5\nv", 40, 10, STYLE_BRAILLE},
        {"budget-60x16", "5b\n2.5\nv", 60, 16, STYLE_BLOCK},
        {"budget-80x24-ascii", "5Ab\n1.7MiB\nB", 80, 24, STYLE_ASCII},
        {"budget-moqa-120x40", "5", 120, 40, STYLE_BRAILLE},
        {"budget-compare-100x36", "5Ab\n2.5\nc", 100, 36, STYLE_BRAILLE},
        {"budget-card-160x50", "5b\n2.5\n>>i", 160, 50, STYLE_BRAILLE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        f.look.glyphs = cases[i].glyphs;
        f.look.theme = cases[i].glyphs == STYLE_ASCII ? STYLE_MONO : STYLE_DARK;
        fixture_restart(&f);
        fixture_type(&f, cases[i].keys);
        app_budget_finish(f.app);
        fixture_frame(&f, cases[i].w, cases[i].h);
        picture_assert_cells(cases[i].name, &f.cells);
    }
}

#define WITH(open, test) cmocka_unit_test_setup_teardown(test, open, close_fixture)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(open_measured, test_b_takes_moqas_bits_and_gives_its_plan_back),
        WITH(open_shared, test_b_takes_moqas_bits_and_gives_its_plan_back),
        WITH(open_measured, test_every_step_of_the_budget_is_the_best_plan_of_its_bits),
        WITH(open_measured, test_budgets_are_typed_as_bits_or_as_sizes),
        WITH(open_measured, test_another_unit_keeps_the_plan),
        WITH(open_measured, test_grain_passes_over_channels_that_were_not_measured),
        WITH(open_measured, test_grain_of_channels_plans_and_shows_them),
        WITH(open_measured, test_losses_without_channels_bring_the_grain_back_to_linears),
        WITH(open_measured, test_steps_of_bytes_are_round_and_go_both_ways),
        WITH(open_measured, test_pins_are_kept_and_paid_for),
        WITH(open_measured, test_a_pin_that_does_not_fit_is_dropped_with_the_reason),
        WITH(open_measured, test_undo_and_redo_restore_every_plan),
        WITH(open_measured, test_snapshots_hold_budgets_and_compare_says_so),
        WITH(open_measured, test_plans_that_spread_their_bits_otherwise_differ),
        WITH(open_measured, test_the_session_brings_the_budget_back),
        WITH(open_measured, test_a_snapshot_within_a_budget_waits_for_its_losses),
        WITH(open_measured, test_w_writes_the_best_plan_and_open_starts_from_it),
        WITH(open_measured, test_y_tells_the_budget_and_x_runs_its_plan),
        WITH(open_measured, test_a_run_within_a_budget_comes_back_with_it),
        WITH(open_measured, test_a_plan_that_was_cut_short_is_made_the_best_at_rest),
        WITH(open_shared, test_a_plan_that_was_cut_short_is_made_the_best_at_rest),
        WITH(open_measured, test_a_key_ends_the_solving_and_the_next_rest_begins_it_anew),
        WITH(open_unmeasured, test_without_losses_the_screen_says_how_to_get_them),
        WITH(open_without_model, test_without_a_model_budget_and_measuring_say_what_they_need),
        WITH(open_unmeasured, test_losses_are_measured_beside_the_screen_and_cancelled),
        WITH(open_measured, test_losses_of_another_calibration_are_told_and_measured_anew),
        WITH(open_unmeasured, test_a_failed_measurement_says_why),
        WITH(open_measured, test_in_a_budget_settings_without_losses_are_refused),
        WITH(open_measured, test_a_press_on_the_front_moves_the_budget_and_a_drag_is_one_step),
        WITH(open_measured, test_a_card_shows_widths_and_losses_of_the_linears),
        WITH(open_measured, test_help_tells_of_the_budget),
        WITH(open_measured, test_budget_screens_look_as_they_were_approved),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
