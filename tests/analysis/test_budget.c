/* Plans within a budget: what they cost, what they lose, and what they refuse. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/planner.h"
#include "analysis_helpers.h"
#include "data/trace_h5.h"

static struct trace trace;
static struct analysis *analysis;
static struct model_config config;
static struct losses losses, bare; /* with and without channels, else the same */

static int open_all(void **state)
{
    (void)state;
    struct settings s;
    settings_defaults(&s);
    s.group_size = 64;
    if (trace_h5_load(&trace, TEST_GOLDEN "/tiny-qwen2moe/trace.h5", NULL, NULL) < 0 ||
        model_config_load(&config, TEST_GOLDEN "/tiny-qwen2moe/model/config.json", NULL) < 0 ||
        analysis_new(&analysis, &trace, NULL) < 0 || analysis_update(analysis, &s, NULL) < 0)
        return -1;
    helper_losses(&losses, &config, 64, 11);
    helper_losses(&bare, &config, 64, 11);
    helper_channels(&losses, 12);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    losses_release(&losses);
    losses_release(&bare);
    analysis_free(analysis);
    trace_release(&trace);
    return 0;
}

static struct planner_request request_of(double bits)
{
    struct planner_request r = {.method = "budget", .average_bits = bits, .losses = &losses};
    budget_defaults(&r.budget);
    r.budget.sensitivity = 1;
    return r;
}

static int make(struct plan *p, const struct planner_request *r, struct err *err)
{
    memset(p, 0, sizeof *p);
    return planner_make(p, analysis, r, &config, err);
}

static double predicted(const struct plan *p)
{
    double rise;
    assert_true(budget_predict(&rise, p, &losses, &config));
    return rise;
}

static void test_plan_uses_the_budget_and_no_more(void **state)
{
    (void)state;
    double before = INFINITY;
    for (double bits = 2; bits <= 8; bits += 0.37) {
        struct planner_request r = request_of(bits);
        struct allocate_result result;
        struct plan p;
        r.allocated = &result;
        assert_int_equal(make(&p, &r, NULL), 0);
        assert_true(p.summary.nominal_bits <= bits + 1e-12);
        assert_true(p.summary.nominal_bits > bits - 0.02);
        assert_true(result.exact);
        assert_true(fabs(predicted(&p) / result.loss - 1) < 1e-12);
        assert_true(result.loss < before);
        before = result.loss;
        plan_release(&p);
    }
}

/* Any exchange of widths between two linears that keeps the size loses more. */
static void test_no_exchange_of_two_widths_is_better(void **state)
{
    (void)state;
    struct planner_request r = request_of(3);
    struct plan p;
    assert_int_equal(make(&p, &r, NULL), 0);
    const struct losses_layer *m = losses.layers;
    const unsigned *width = losses.widths;
    for (size_t i = 0; i < losses.layers_count * losses.experts; i++)
        for (size_t j = 0; j < losses.layers_count * losses.experts; j++) {
            size_t a = i / losses.experts, b = j / losses.experts;
            const struct losses_expert *x = &m[a].experts[i % losses.experts];
            const struct losses_expert *y = &m[b].experts[j % losses.experts];
            const struct plan_expert *px = &p.layers[a].experts[i % losses.experts];
            const struct plan_expert *py = &p.layers[b].experts[j % losses.experts];
            size_t wx = 0, wy = 0; /* up of one a step wider, gate of the other narrower */
            while (width[wx] != plan_expert_bits(px, PLAN_UP))
                wx++;
            while (width[wy] != plan_expert_bits(py, PLAN_GATE))
                wy++;
            if (wx >= 2 || wy == 0 || wy > 2)
                continue;
            double won = (x->loss[PLAN_UP][wx] - x->loss[PLAN_UP][wx + 1]) * m[a].sensitivity;
            double lost = (y->loss[PLAN_GATE][wy - 1] - y->loss[PLAN_GATE][wy]) * m[b].sensitivity;
            assert_true(won <= lost + 1e-15);
        }
    plan_release(&p);
}

static void test_whole_experts_lose_no_less_than_single_linears(void **state)
{
    (void)state;
    struct planner_request r = request_of(2.6);
    struct plan fine, coarse;
    assert_int_equal(make(&fine, &r, NULL), 0);
    r.budget.grain = BUDGET_EXPERTS;
    assert_int_equal(make(&coarse, &r, NULL), 0);
    for (size_t l = 0; l < coarse.layers_count; l++)
        for (size_t e = 0; e < coarse.experts; e++)
            assert_int_equal(coarse.layers[l].experts[e].linear_bits[0], 0);
    assert_true(predicted(&fine) < predicted(&coarse));
    plan_release(&fine);
    plan_release(&coarse);
}

static void test_pins_are_part_of_the_budget(void **state)
{
    (void)state;
    uint8_t pins[4 * 24] = {[3] = 16, [30] = 2, [95] = 8};
    struct planner_request r = request_of(3);
    struct plan p;
    assert_int_equal(losses.layers_count * losses.experts, sizeof pins);
    r.pins.bits = pins;
    assert_int_equal(make(&p, &r, NULL), 0);
    assert_int_equal(p.layers[0].experts[3].bits, 16);
    assert_int_equal(p.layers[1].experts[6].bits, 2);
    assert_int_equal(p.layers[3].experts[23].bits, 8);
    assert_true(p.layers[0].experts[3].pinned && !p.layers[0].experts[3].linear_bits[0]);
    assert_true(p.summary.nominal_bits <= 3 && p.summary.nominal_bits > 2.98);
    plan_release(&p);
}

static void test_budget_in_bytes_bounds_what_the_file_holds(void **state)
{
    (void)state;
    struct planner_request r = request_of(0);
    struct plan p;
    r.budget_bytes = 600000;
    assert_int_equal(make(&p, &r, NULL), 0);
    assert_true(p.summary.bytes_after <= 600000);
    assert_true(p.summary.bytes_after > 598000);
    plan_release(&p);
}

static void test_significant_experts_get_more_where_significance_counts(void **state)
{
    (void)state;
    struct planner_request r = request_of(2.5);
    struct plan plain, weighted;
    double sums[2] = {0};
    assert_int_equal(make(&plain, &r, NULL), 0);
    r.budget.significance = 3;
    assert_int_equal(make(&weighted, &r, NULL), 0);
    for (size_t l = 0; l < plain.layers_count; l++)
        for (size_t e = 0; e < plain.experts; e++) {
            const struct plan_expert *x = &plain.layers[l].experts[e];
            const struct plan_expert *y = &weighted.layers[l].experts[e];
            for (int k = 0; k < PLAN_LINEARS; k++) {
                sums[0] += x->significance * plan_expert_bits(x, (enum plan_linear)k);
                sums[1] += y->significance * plan_expert_bits(y, (enum plan_linear)k);
            }
        }
    assert_true(sums[1] > sums[0]);
    plan_release(&plain);
    plan_release(&weighted);
}

static void expect_refusal(const struct planner_request *r, int code, const char *words)
{
    struct err err = {0};
    struct plan p;
    assert_int_equal(make(&p, r, &err), code);
    if (!strstr(err.message, words))
        fail_msg("\"%s\" does not say \"%s\"", err.message, words);
}

static void test_refusals_name_what_is_missing(void **state)
{
    (void)state;
    uint8_t pins[4 * 24] = {[25] = 3};
    struct planner_request r = request_of(1.9);
    expect_refusal(&r, ERR_USAGE, "a budget of 1.9 bits a weight: expected 2");
    r = request_of(0);
    expect_refusal(&r, ERR_USAGE, "needs --losses, and --bits or --bytes");
    r = request_of(3);
    r.losses = NULL;
    expect_refusal(&r, ERR_USAGE, "needs --losses");
    r = request_of(3);
    r.pins.bits = pins;
    losses.widths[1] = 4;
    losses.widths[2] = 8;
    losses.widths_count = 3;
    expect_refusal(&r, ERR_USAGE, "expert 1 of layer 1 is pinned to 3 bits");
    losses.widths[1] = 3;
    losses.widths[2] = 4;
    losses.widths_count = 4;
    r = request_of(3);
    losses.settings.scale_search = true;
    expect_refusal(&r, ERR_USAGE, "measured with scale_search = on, the plan has off");
    losses.settings.scale_search = false;
    losses.complete = false;
    losses.layers_done = 2;
    expect_refusal(&r, ERR_INPUT, "only 2 of 4 layers are measured");
    losses.complete = true;
    losses.layers_done = 4;
    losses.layers[1].layer = 7;
    expect_refusal(&r, ERR_INPUT, "layers[1].layer: found 7, expected 1");
    losses.layers[1].layer = 1;
}

static void test_prediction_knows_measured_widths_only(void **state)
{
    (void)state;
    struct planner_request r = {.method = "gptq-3"};
    struct plan p;
    double rise, sum = 0;
    assert_int_equal(make(&p, &r, NULL), 0);
    for (size_t l = 0; l < losses.layers_count; l++)
        for (size_t k = 0; k < PLAN_LINEARS; k++) {
            sum += losses.layers[l].shared.loss[k][1] * losses.layers[l].sensitivity;
            for (size_t e = 0; e < losses.experts; e++)
                sum += losses.layers[l].experts[e].loss[k][1] * losses.layers[l].sensitivity;
        }
    assert_true(fabs(predicted(&p) / sum - 1) < 1e-12);
    losses.widths_count = 1;
    assert_false(budget_predict(&rise, &p, &losses, &config));
    losses.widths_count = 4;
    plan_release(&p);
}

/* What a linear of an expert in layer 2 adds to the prediction with some channels. */
static double linear_rise(struct plan *p, const struct losses *l, enum plan_linear linear,
                          size_t channels)
{
    double with, without;
    p->layers[2].experts[7].channels[linear] = 0;
    assert_true(budget_predict(&without, p, l, &config));
    p->layers[2].experts[7].channels[linear] = channels;
    assert_true(budget_predict(&with, p, l, &config));
    p->layers[2].experts[7].channels[linear] = 0;
    return (with - without) / l->layers[2].sensitivity + l->layers[2].experts[7].loss[linear][1];
}

static void assert_near(double found, double expected)
{
    if (!(fabs(found - expected) < 1e-9 * fabs(expected)))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

/* Where none were measured, half of the inputs at 8 bits lose what 3 and 8 bits lose, half each. */
static void test_prediction_counts_unmeasured_channels_by_their_share(void **state)
{
    (void)state;
    struct planner_request r = {.method = "gptq-3"};
    struct plan p;
    double rise;
    assert_int_equal(make(&p, &r, NULL), 0);
    const double(*loss)[LOSSES_WIDTHS_MAX] = losses.layers[2].experts[7].loss;
    double half = (loss[PLAN_UP][1] + loss[PLAN_UP][3]) / 2;
    assert_near(linear_rise(&p, &bare, PLAN_UP, config.hidden / 2), half);
    assert_near(linear_rise(&p, &bare, PLAN_DOWN, config.expert_size), loss[PLAN_DOWN][3]);
    p.settings.channel_score = SCORE_AWQ; /* other channels than those measured */
    assert_near(linear_rise(&p, &losses, PLAN_UP, config.hidden / 2), half);
    p.settings.bits_channel = 16;
    assert_near(linear_rise(&p, &losses, PLAN_UP, config.hidden / 2), loss[PLAN_UP][1] / 2);
    p.settings.bits_channel = 8;
    losses.widths_count = 3;
    p.layers[2].experts[7].channels[PLAN_UP] = 1;
    assert_false(budget_predict(&rise, &p, &losses, &config));
    losses.widths_count = 4;
    plan_release(&p);
}

/* Of 96 inputs 6, 12 and 24 channels were measured. */
static void test_prediction_goes_through_the_measured_shares(void **state)
{
    (void)state;
    struct planner_request r = {.method = "gptq-3"};
    struct plan p;
    assert_int_equal(make(&p, &r, NULL), 0);
    const struct losses_expert *x = &losses.layers[2].experts[7];
    const double *loss = x->loss[PLAN_GATE], *mixed = x->channel_loss[PLAN_GATE][1];
    assert_int_equal(config.hidden, 96);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 6), mixed[0]);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 12), mixed[1]);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 24), mixed[2]);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 2), loss[1] * 2 / 3 + mixed[0] / 3);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 15), mixed[1] * 3 / 4 + mixed[2] / 4);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 60), (mixed[2] + loss[3]) / 2);
    assert_near(linear_rise(&p, &losses, PLAN_GATE, 96), loss[3]);
    plan_release(&p);
}

/* --- Channels as a choice --- */

static struct planner_request channels_request(double bits)
{
    struct planner_request r = request_of(bits);
    r.budget.grain = BUDGET_CHANNELS;
    return r;
}

/* The least loss of the linears within `budget` units of 96 bits: the budget's sizes in a table. */
static void add_to_table(double *best, double *next, size_t budget, const size_t *cost,
                         const double *loss, size_t choices)
{
    for (size_t b = 0; b <= budget; b++) {
        next[b] = INFINITY;
        for (size_t c = 0; c < choices; c++)
            if (cost[c] <= b)
                next[b] = fmin(next[b], best[b - cost[c]] + loss[c]);
    }
    memcpy(best, next, (budget + 1) * sizeof *best);
}

static size_t list_choices(size_t *cost, double *loss, const struct losses_layer *m, size_t expert,
                           size_t linear)
{
    bool shared = expert == losses.experts;
    const struct losses_expert *x = shared ? &m->shared : &m->experts[expert];
    size_t size = shared ? config.shared_size : config.expert_size, n = 0;
    size_t in = linear == PLAN_DOWN ? size : config.hidden, out = in == size ? config.hidden : size;
    for (size_t w = 0; w < 4; w++) {
        cost[n] = in * out * losses.widths[w] / 96;
        loss[n++] = x->loss[linear][w] * m->sensitivity;
        for (size_t s = 0; s < 3 && w < 3 && !shared; s++) {
            size_t channels = in / 16 << s;
            cost[n] = ((in - channels) * losses.widths[w] + channels * 8) * out / 96;
            loss[n++] = x->channel_loss[linear][w][s] * m->sensitivity;
        }
    }
    cost[n] = in * out * 16 / 96;
    loss[n++] = 0;
    return n;
}

static double by_table(double bits)
{
    double weights = 4.0 * 3 * 96 * (24 * 48 + 128);
    size_t budget = (size_t)(bits * weights / 96 + 1e-6);
    double *best = calloc(budget + 1, sizeof *best), *next = calloc(budget + 1, sizeof *next);
    assert_true(best && next);
    for (size_t i = 0; i < losses.layers_count * (losses.experts + 1) * PLAN_LINEARS; i++) {
        size_t cost[16], unit = i / PLAN_LINEARS;
        double loss[16];
        size_t choices = list_choices(cost, loss, &losses.layers[unit / (losses.experts + 1)],
                                      unit % (losses.experts + 1), i % PLAN_LINEARS);
        add_to_table(best, next, budget, cost, loss, choices);
    }
    double least = best[budget];
    free(best);
    free(next);
    return least;
}

static void test_channels_are_chosen_as_a_table_over_all_budgets_says(void **state)
{
    (void)state;
    for (double bits = 2.125; bits < 3.6; bits += 0.5) {
        struct planner_request r = channels_request(bits);
        struct allocate_result result;
        struct plan p;
        r.allocated = &result;
        assert_int_equal(make(&p, &r, NULL), 0);
        assert_true(result.exact);
        assert_near(result.loss, by_table(bits));
        assert_near(predicted(&p), result.loss);
        assert_true(plan_has_channels(&p));
        assert_true(p.summary.nominal_bits <= bits + 1e-12);
        assert_near(p.summary.nominal_bits * 4 * 3 * 96 * (24 * 48 + 128), (double)result.cost);
        plan_release(&p);
    }
}

static void test_channels_lose_no_more_than_linears_in_bits_or_bytes(void **state)
{
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++)
        for (double bits = 2.7; bits < 5; bits += 0.4) {
            struct planner_request r = channels_request(bytes ? 0 : bits);
            struct plan mixed, linears;
            double has;
            r.budget_bytes = bytes ? (uint64_t)(bits * 4 * 3 * 96 * (24 * 48 + 128) / 8) : 0;
            assert_int_equal(make(&mixed, &r, NULL), 0);
            r.budget.grain = BUDGET_LINEARS;
            assert_int_equal(make(&linears, &r, NULL), 0);
            has = bytes ? mixed.summary.effective_bits : mixed.summary.nominal_bits;
            assert_true(has <= bits + 1e-9);
            assert_true(bytes || predicted(&mixed) < 0.99 * predicted(&linears));
            assert_true(predicted(&mixed) <= predicted(&linears) * (1 + 1e-12));
            plan_release(&mixed);
            plan_release(&linears);
        }
}

static void test_pinned_experts_keep_their_width_and_may_have_channels(void **state)
{
    (void)state;
    uint8_t pins[4 * 24] = {0};
    struct planner_request r = channels_request(2.6);
    struct plan p;
    size_t mixed = 0;
    memset(pins, 2, 12);
    pins[12] = 8;
    r.pins.bits = pins;
    assert_int_equal(make(&p, &r, NULL), 0);
    for (size_t e = 0; e < 13; e++) {
        const struct plan_expert *x = &p.layers[0].experts[e];
        assert_int_equal(x->bits, pins[e]);
        assert_true(!x->linear_bits[0] && x->pinned);
        mixed += plan_expert_has_channels(x);
    }
    assert_true(mixed > 0 && !plan_expert_has_channels(&p.layers[0].experts[12]));
    plan_release(&p);
}

static void test_channels_that_were_not_measured_are_refused(void **state)
{
    (void)state;
    struct planner_request r = channels_request(3);
    r.losses = &bare;
    expect_refusal(&r, ERR_USAGE, "measured without mixed channels");
    r.losses = &losses;
    losses.settings.bits_channel = 4;
    expect_refusal(&r, ERR_USAGE, "measured with bits_channel = 4, the plan has 8");
    losses.settings.bits_channel = 8;
}

static struct budget open_budget(const struct budget_options *o)
{
    struct budget b;
    struct plan shell = {.settings = losses.settings};
    assert_int_equal(budget_init(&b, &shell, &losses, &config, o, NULL), 0);
    return b;
}

/* Every point is what the best plan of its bits loses, and no plan of a budget lies below. */
static void test_front_is_what_the_best_plans_lose(void **state)
{
    (void)state;
    uint8_t pins[4 * 24] = {[3] = 16, [30] = 2, [95] = 8};
    for (int which = 0; which < 2 * BUDGET_GRAINS; which++) {
        struct budget_options o = request_of(0).budget;
        o.grain = (enum budget_grain)(which / 2);
        o.bytes = which & 1;
        o.pins = which == 3 ? pins : NULL;
        struct budget b = open_budget(&o);
        struct budget_front front;
        assert_int_equal(budget_front_make(&front, &b, &losses, NULL), 0);
        assert_true(front.points > 50);
        for (size_t i = 0; i < front.points; i += 1 + front.points / 40) {
            struct planner_request r = request_of(o.bytes ? 0 : front.bits[i]);
            struct plan p;
            r.budget = o;
            r.pins.bits = o.pins;
            r.budget_bytes = o.bytes ? (uint64_t)(front.bits[i] * b.weights / 8 + 0.5) : 0;
            assert_int_equal(make(&p, &r, NULL), 0);
            assert_true(fabs(predicted(&p) - front.rise[i]) <= 1e-9 * front.rise[0]);
            double has = o.bytes ? p.summary.effective_bits : p.summary.nominal_bits;
            assert_true(has <= front.bits[i] + 1e-9);
            assert_true(i == 0 || front.rise[i] < front.rise[i - 1]);
            assert_true(budget_front_rise(&front, front.bits[i]) == front.rise[i]);
            assert_true(budget_front_bits(&front, front.rise[i]) <= front.bits[i]);
            plan_release(&p);
        }
        assert_true(isnan(budget_front_rise(&front, front.bits[0] - 0.01)));
        assert_true(isnan(budget_front_bits(&front, -1)));
        budget_front_release(&front);
        budget_release(&b);
    }
}

static void test_uniform_plans_are_those_of_the_method(void **state)
{
    static const char *const methods[] = {"gptq-2", "gptq-3", "gptq-4"};
    (void)state;
    for (int bytes = 0; bytes < 2; bytes++) {
        struct budget_options o = request_of(0).budget;
        o.bytes = bytes;
        struct budget b = open_budget(&o);
        for (unsigned i = 0; i < 3; i++) {
            struct planner_request r = {.method = methods[i]};
            struct plan p;
            double bits, rise;
            assert_int_equal(make(&p, &r, NULL), 0);
            assert_true(budget_uniform_bits(&bits, &b, 2 + i));
            assert_true(budget_predict_uniform(&rise, 2 + i, &losses));
            assert_true(fabs(rise / predicted(&p) - 1) < 1e-12);
            double has = bytes ? p.summary.effective_bits : p.summary.nominal_bits;
            assert_true(fabs(bits - has) < 1e-9);
            plan_release(&p);
        }
        double unused;
        assert_false(budget_uniform_bits(&unused, &b, 5));
        assert_false(budget_predict_uniform(&unused, 5, &losses));
        budget_release(&b);
    }
}

/* A search that is cut short keeps within the budget and its bound, and says that it was cut. */
static void test_a_short_search_gives_a_plan_within_its_proven_gap(void **state)
{
    (void)state;
    size_t cut = 0;
    struct budget_options o = request_of(0).budget;
    struct budget b = open_budget(&o);
    for (double bits = 2.7; bits < 6; bits += 0.11) {
        struct planner_request r = request_of(0);
        struct allocate_result whole, part;
        struct plan p;
        r.budget_bytes = (uint64_t)(bits * b.weights / 8);
        r.allocated = &whole;
        assert_int_equal(make(&p, &r, NULL), 0);
        plan_release(&p);
        r.allocated = &part;
        r.budget.states_max = 8;
        assert_int_equal(make(&p, &r, NULL), 0);
        assert_true(p.summary.bytes_after <= r.budget_bytes);
        assert_true(part.loss >= whole.loss - 1e-12 && part.bound <= whole.loss + 1e-12);
        assert_true(!part.exact || fabs(part.loss - whole.loss) < 1e-12);
        cut += !part.exact;
        plan_release(&p);
    }
    assert_true(cut > 5);
    budget_release(&b);
}

/* Bytes bind what the file holds: no plan found by bits that fits into them is better. */
static void test_no_plan_by_bits_of_the_same_bytes_is_better(void **state)
{
    (void)state;
    for (double bits = 2.1; bits < 7; bits += 0.3) {
        struct planner_request r = request_of(bits);
        struct plan by_bits, by_bytes;
        assert_int_equal(make(&by_bits, &r, NULL), 0);
        r = request_of(0);
        r.budget_bytes = by_bits.summary.bytes_after;
        assert_int_equal(make(&by_bytes, &r, NULL), 0);
        assert_true(by_bytes.summary.bytes_after <= r.budget_bytes);
        assert_true(predicted(&by_bytes) <= predicted(&by_bits) + 1e-12);
        plan_release(&by_bits);
        plan_release(&by_bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_prediction_counts_unmeasured_channels_by_their_share),
        cmocka_unit_test(test_prediction_goes_through_the_measured_shares),
        cmocka_unit_test(test_channels_are_chosen_as_a_table_over_all_budgets_says),
        cmocka_unit_test(test_channels_lose_no_more_than_linears_in_bits_or_bytes),
        cmocka_unit_test(test_pinned_experts_keep_their_width_and_may_have_channels),
        cmocka_unit_test(test_channels_that_were_not_measured_are_refused),
        cmocka_unit_test(test_front_is_what_the_best_plans_lose),
        cmocka_unit_test(test_uniform_plans_are_those_of_the_method),
        cmocka_unit_test(test_a_short_search_gives_a_plan_within_its_proven_gap),
        cmocka_unit_test(test_no_plan_by_bits_of_the_same_bytes_is_better),
        cmocka_unit_test(test_plan_uses_the_budget_and_no_more),
        cmocka_unit_test(test_no_exchange_of_two_widths_is_better),
        cmocka_unit_test(test_whole_experts_lose_no_less_than_single_linears),
        cmocka_unit_test(test_pins_are_part_of_the_budget),
        cmocka_unit_test(test_budget_in_bytes_bounds_what_the_file_holds),
        cmocka_unit_test(test_significant_experts_get_more_where_significance_counts),
        cmocka_unit_test(test_refusals_name_what_is_missing),
        cmocka_unit_test(test_prediction_knows_measured_widths_only),
    };
    return cmocka_run_group_tests(tests, open_all, close_all);
}
