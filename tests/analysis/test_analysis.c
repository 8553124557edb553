/* The analysis against a direct computation on random traces, and its rules for odd cases. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "analysis/analysis.h"
#include "analysis_helpers.h"

static void assert_near(double found, double expected, double tolerance)
{
    if (!(fabs(found - expected) <= tolerance * fabs(expected) + 1e-300))
        fail_msg("found %.17g, expected %.17g", found, expected);
}

static struct analysis *open_analysis(const struct trace *t)
{
    struct analysis *a;
    struct err err = {0};
    if (analysis_new(&a, t, &err) < 0)
        fail_msg("%s", err.message);
    return a;
}

static const struct analysis_result *update(struct analysis *a, const struct settings *s)
{
    struct err err = {0};
    if (analysis_update(a, s, &err) < 0)
        fail_msg("%s", err.message);
    return analysis_result(a);
}

/* --- A direct computation, position by position --- */

struct direct {
    const struct trace *trace;
    const struct analysis *analysis;
    const struct analysis_result *result;
    uint64_t *count; /* [expert][type] of one layer */
    double *gate;    /* [expert] sum of R x gate */
};

static void count_layer(struct direct *d, size_t layer)
{
    const struct trace *t = d->trace;
    size_t types = d->result->types;
    memset(d->count, 0, t->experts * types * sizeof *d->count);
    memset(d->gate, 0, t->experts * sizeof *d->gate);
    for (size_t p = 0; p < t->positions; p++)
        for (size_t k = 0; k < t->top_k; k++) {
            size_t at = (layer * t->positions + p) * t->top_k + k, e = t->routed[at];
            size_t type = analysis_rank(d->analysis, t->ids[p]) - 1;
            if (e == TRACE_NOT_ROUTED)
                continue;
            d->count[e * types + type]++;
            if (t->gates)
                d->gate[e] += d->result->reweighted[type] * (double)t->gates[at];
        }
}

static bool is_majority(const struct direct *d, size_t expert, size_t type)
{
    size_t ahead = 0, types = d->result->types;
    uint64_t own = d->count[expert * types + type];
    for (size_t e = 0; e < d->trace->experts; e++) {
        uint64_t n = d->count[e * types + type];
        ahead += n > own || (n == own && e < expert);
    }
    return own > 0 && ahead < d->trace->top_k;
}

static bool is_member(const struct direct *d, size_t expert, size_t type)
{
    const struct settings *s = &d->result->settings;
    uint64_t n = d->count[expert * d->result->types + type];
    if (s->mapping == MAPPING_MAJORITY)
        return is_majority(d, expert, type);
    return n >= (s->mapping == MAPPING_TYPES ? s->min_count : 1);
}

static double direct_significance(const struct direct *d, size_t expert)
{
    double part = 0, whole = 0;
    bool by_count = d->result->settings.mapping == MAPPING_OCCURRENCES;
    if (d->result->settings.mapping == MAPPING_GATE) {
        for (size_t e = 0; e < d->trace->experts; e++)
            whole += d->gate[e];
        return d->gate[expert] / whole;
    }
    for (size_t t = 0; t < d->result->types; t++) {
        double r = d->result->reweighted[t];
        uint64_t n = d->count[expert * d->result->types + t];
        whole += by_count ? r * (double)d->result->rank_count[t] : r;
        if (is_member(d, expert, t))
            part += by_count ? r * (double)n : r;
    }
    return part / whole;
}

static void check_interval(const struct direct *d, size_t layer, size_t expert,
                           const struct analysis_interval *found)
{
    size_t *ranks = calloc(d->result->types, sizeof *ranks), n = 0;
    assert_non_null(ranks);
    for (size_t t = 0; t < d->result->types; t++)
        if (is_member(d, expert, t))
            ranks[n++] = t + 1;
    assert_int_equal(analysis_members(d->analysis, layer, expert), n);
    assert_int_equal(found->valid, n > 0);
    if (n > 0) {
        assert_int_equal(found->lowest, ranks[0]);
        assert_int_equal(found->tenth, ranks[(n + 9) / 10 - 1]);
        assert_int_equal(found->median, ranks[(n + 1) / 2 - 1]);
        assert_int_equal(found->ninetieth, ranks[(9 * n + 9) / 10 - 1]);
        assert_int_equal(found->highest, ranks[n - 1]);
    }
    free(ranks);
}

static void check_counts(const struct direct *d, size_t layer)
{
    size_t types = d->result->types;
    for (size_t e = 0; e < d->trace->experts; e++) {
        uint64_t tokens = 0;
        for (size_t t = 0; t < types; t++) {
            assert_int_equal(analysis_count(d->analysis, layer, e, t + 1), d->count[e * types + t]);
            tokens += d->count[e * types + t];
        }
        assert_int_equal(d->result->layer[layer].tokens[e], tokens);
    }
}

static void check_result(const struct trace *t, const struct analysis *a)
{
    struct direct d = {t, a, analysis_result(a), NULL, NULL};
    d.count = calloc(t->experts * d.result->types, sizeof *d.count);
    d.gate = calloc(t->experts, sizeof *d.gate);
    assert_non_null(d.count);
    assert_non_null(d.gate);
    for (size_t l = 0; l < t->layers; l++) {
        const struct analysis_layer *layer = &d.result->layer[l];
        count_layer(&d, l);
        check_counts(&d, l);
        for (size_t e = 0; e < t->experts; e++) {
            assert_near(layer->significance[e], direct_significance(&d, e), 1e-12);
            check_interval(&d, l, e, &layer->interval[e]);
        }
    }
    free(d.count);
    free(d.gate);
}

static void test_every_mapping_equals_the_direct_computation(void **state)
{
    (void)state;
    static const struct {
        size_t layers, experts, top_k, positions, vocab;
        unsigned holes;
    } shapes[] = {{3, 13, 3, 4000, 700, 0}, {2, 70, 5, 3000, 90, 30}, {1, 3, 3, 500, 1000, 10}};
    static const struct {
        const char *mapping, *min_count;
    } cases[] = {{"types", "1"}, {"types", "2"},    {"types", "7"},       {"types", "300"},
                 {"gate", "1"},  {"majority", "1"}, {"occurrences", "1"}, {"types", "1000000"}};
    for (size_t i = 0; i < 3; i++) {
        struct trace t;
        struct settings s;
        struct err err = {0};
        helper_trace(&t, shapes[i].layers, shapes[i].experts, shapes[i].top_k, shapes[i].positions,
                     shapes[i].vocab, shapes[i].holes, true, 100 + i);
        struct analysis *a = open_analysis(&t);
        settings_defaults(&s);
        for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
            assert_int_equal(settings_set(&s, "mapping", cases[c].mapping, &err), 0);
            assert_int_equal(settings_set(&s, "min_count", cases[c].min_count, &err), 0);
            s.alpha = 0.1 * (double)c;
            update(a, &s);
            check_result(&t, a);
        }
        analysis_free(a);
        trace_release(&t);
    }
}

static json_t *as_json(const struct analysis *a)
{
    json_t *json;
    struct err err = {0};
    assert_int_equal(analysis_to_json(&json, a, NULL, &err), 0);
    return json;
}

static void test_a_walk_over_settings_leaves_nothing_behind(void **state)
{
    (void)state;
    static const char *const steps[][2] = {
        {"alpha", "0.7"},           {"mapping", "gate"},     {"beta", "1.3"},
        {"mapping", "types"},       {"min_count", "3"},      {"rule", "jenks"},
        {"classes", "4"},           {"mapping", "majority"}, {"fit", "ols"},
        {"beta", "auto"},           {"rule", "1:threshold"}, {"threshold", "1:0.3"},
        {"min_count", "1"},         {"mapping", "types"},    {"utilization", "empirical"},
        {"mapping", "occurrences"}, {"reweight", "steep"},   {"norm", "sum"},
        {"mapping", "types"},       {"beta_ch", "0.2"},      {"threshold_sigmas", "1"},
    };
    struct trace t;
    struct settings s;
    struct err err = {0};
    helper_trace(&t, 3, 20, 4, 3000, 500, 5, true, 9);
    struct analysis *walked = open_analysis(&t);
    settings_defaults(&s);
    update(walked, &s);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        assert_int_equal(settings_set(&s, steps[i][0], steps[i][1], &err), 0);
        update(walked, &s);
        struct analysis *fresh = open_analysis(&t);
        update(fresh, &s);
        json_t *x = as_json(walked), *y = as_json(fresh);
        if (!json_equal(x, y))
            fail_msg("after %s = %s the result differs from a fresh one", steps[i][0], steps[i][1]);
        json_decref(x);
        json_decref(y);
        analysis_free(fresh);
    }
    analysis_free(walked);
    trace_release(&t);
}

static void test_layer_overrides_change_their_layer_alone(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    helper_trace(&t, 3, 20, 4, 3000, 500, 0, false, 21);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    assert_int_equal(settings_set(&s, "rule", "threshold", &err), 0);
    assert_int_equal(settings_set(&s, "rule", "1:jenks", &err), 0);
    assert_int_equal(settings_set(&s, "threshold", "2:0.125", &err), 0);
    const struct analysis_result *r = update(a, &s);
    assert_int_equal(r->layer[0].rule, RULE_THRESHOLD);
    assert_int_equal(r->layer[1].rule, RULE_JENKS);
    assert_int_equal(r->layer[2].rule, RULE_THRESHOLD);
    assert_true(r->layer[0].threshold == r->layer[0].mu);
    assert_true(r->layer[2].threshold == 0.125);
    for (size_t e = 0; e < 20; e++) {
        assert_int_equal(r->layer[1].group[e],
                         r->layer[1].significance[e] > r->layer[1].break_at[0] ? 1 : 2);
        assert_int_equal(r->layer[2].group[e], r->layer[2].significance[e] >= 0.125 ? 1 : 2);
    }
    analysis_free(a);
    trace_release(&t);
}

static void test_commonest_types_come_most_first(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    size_t ranks[40];
    uint64_t counts[40];
    helper_trace(&t, 2, 9, 2, 5000, 400, 0, false, 5);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const struct analysis_result *r = update(a, &s);
    for (size_t e = 0; e < 9; e++) {
        size_t found = analysis_commonest(a, 1, e, 40, ranks, counts), better = 0;
        assert_true(found > 0);
        for (size_t i = 0; i < found; i++) {
            assert_int_equal(counts[i], analysis_count(a, 1, e, ranks[i]));
            assert_true(i == 0 || counts[i] < counts[i - 1] ||
                        (counts[i] == counts[i - 1] && ranks[i] > ranks[i - 1]));
        }
        for (size_t rank = 1; rank <= r->types; rank++)
            better += analysis_count(a, 1, e, rank) > counts[found - 1];
        assert_true(better < found);
        assert_true(found == 40 || analysis_commonest(a, 1, e, 10000, ranks, counts) == found);
    }
    assert_int_equal(analysis_commonest(a, 0, 0, 0, ranks, counts), 0);
    assert_int_equal(analysis_count(a, 0, 0, 0), 0);
    assert_int_equal(analysis_count(a, 0, 0, r->types + 1), 0);
    analysis_free(a);
    trace_release(&t);
}

/* Times that the type was routed to the expert, position by position. */
static uint64_t recount(const struct trace *t, size_t layer, size_t expert, uint32_t id)
{
    const uint16_t *routed = trace_routed(t, layer);
    uint64_t n = 0;
    for (size_t i = 0; i < t->positions * t->top_k; i++)
        n += t->ids[i / t->top_k] == id && routed[i] == expert;
    return n;
}

static void test_experts_of_a_type_are_those_of_a_recount_most_first(void **state)
{
    (void)state;
    enum { EXPERTS = 13 };
    struct trace t;
    struct settings s;
    helper_trace(&t, 2, EXPERTS, 3, 2500, 300, 20, false, 77);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const struct analysis_result *r = update(a, &s);
    for (size_t rank = 1; rank <= r->types; rank += rank < 20 ? 1 : 17) {
        size_t experts[EXPERTS], served = 0;
        uint64_t counts[EXPERTS];
        size_t found = analysis_experts(a, 1, rank, EXPERTS, experts, counts);
        for (size_t e = 0; e < EXPERTS; e++)
            served += recount(&t, 1, e, r->rank_id[rank - 1]) > 0;
        assert_int_equal(found, served);
        for (size_t i = 0; i < found; i++) {
            assert_int_equal(counts[i], recount(&t, 1, experts[i], r->rank_id[rank - 1]));
            assert_true(i == 0 || counts[i] < counts[i - 1] ||
                        (counts[i] == counts[i - 1] && experts[i] > experts[i - 1]));
        }
        size_t best[2];
        uint64_t most[2];
        size_t two = analysis_experts(a, 1, rank, 2, best, most);
        assert_int_equal(two, found < 2 ? found : 2);
        assert_memory_equal(best, experts, two * sizeof *best);
        assert_memory_equal(most, counts, two * sizeof *most);
    }
    assert_int_equal(analysis_experts(a, 1, 0, EXPERTS, NULL, NULL), 0);
    assert_int_equal(analysis_experts(a, 1, r->types + 1, EXPERTS, NULL, NULL), 0);
    analysis_free(a);
    trace_release(&t);
}

static void test_expected_occurrences_follow_the_law_in_force(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    double sum = 0;
    helper_trace(&t, 1, 5, 2, 3000, 200, 0, false, 31);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const struct analysis_result *r = update(a, &s);
    for (size_t rank = 1; rank <= r->types; rank++) {
        double expected = 3000 * r->zipf.c * pow((double)rank, -r->zipf.beta);
        assert_near(analysis_expected(a, rank), expected, 1e-12);
        sum += expected;
    }
    assert_near(sum, 3000, 1e-9);
    assert_int_equal(settings_set(&s, "beta", "1", &err), 0);
    update(a, &s);
    assert_near(analysis_expected(a, 1) / analysis_expected(a, 7), 7, 1e-12);
    assert_true(analysis_expected(a, 0) == 0 && analysis_expected(a, r->types + 1) == 0);
    analysis_free(a);
    trace_release(&t);
}

static void test_json_carries_the_cosine_where_it_is_given(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    double cosine[2 * 3 * 3];
    json_t *json;
    helper_trace(&t, 2, 3, 1, 100, 20, 0, false, 17);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    update(a, &s);
    for (size_t i = 0; i < 18; i++)
        cosine[i] = 1 / (double)(i + 3);
    assert_int_equal(analysis_to_json(&json, a, cosine, &err), 0);
    for (size_t i = 0; i < 18; i++) {
        const json_t *layer = json_array_get(json_object_get(json, "layers"), i / 9);
        const json_t *row = json_array_get(json_object_get(layer, "cosine"), i % 9 / 3);
        assert_true(json_real_value(json_array_get(row, i % 3)) == cosine[i]);
    }
    json_decref(json);
    json = as_json(a);
    assert_null(json_object_get(json_array_get(json_object_get(json, "layers"), 0), "cosine"));
    assert_non_null(json_object_get(json_object_get(json, "settings"), "alpha"));
    json_decref(json);
    analysis_free(a);
    trace_release(&t);
}

/* --- Odd cases, each with its rule --- */

static void test_one_type_is_flat_and_whole(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 6, 2, 50, 1, 0, true, 3);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const struct analysis_result *r = update(a, &s);
    assert_int_equal(r->types, 1);
    assert_true(r->zipf.beta == 0 && r->zipf.c == 1 && r->zipf.r2 == 1 && r->zipf.ks == 0);
    assert_int_equal(r->direction, DIRECTION_FLAT);
    assert_true(r->share[0] == 0 && r->share[1] == 0 && r->share[2] == 1);
    for (size_t e = 0; e < 6; e++)
        assert_true(r->layer[0].significance[e] == (r->layer[0].tokens[e] > 0 ? 1 : 0));
    analysis_free(a);
    trace_release(&t);
}

static void test_all_experts_taken_gives_equal_significance_and_one_group(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    helper_trace(&t, 1, 9, 9, 300, 60, 0, false, 4);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const char *const rules[] = {"auto", "threshold", "jenks"};
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(settings_set(&s, "rule", rules[i], &err), 0);
        const struct analysis_layer *l = &update(a, &s)->layer[0];
        assert_true(l->sigma == 0);
        assert_near(l->mu, 1, 1e-14);
        assert_int_equal(l->pattern, 2);
        assert_int_equal(l->breaks, 0);
        assert_true(l->gvf == 1);
        assert_false(l->anderson_darling_valid);
        for (size_t e = 0; e < 9; e++) {
            assert_int_equal(l->group[e], 1);
            assert_near(l->channel_share[e], 0.05, 1e-15);
        }
    }
    s.norm = NORM_MINMAX;
    assert_near(update(a, &s)->layer[0].channel_share[4], 0.05, 1e-15);
    s.norm = NORM_SUM;
    assert_near(update(a, &s)->layer[0].channel_share[4], 0.05 / 9, 1e-14);
    json_t *json = as_json(a);
    const json_t *layer = json_array_get(json_object_get(json, "layers"), 0);
    assert_true(json_is_null(json_object_get(layer, "anderson_darling")));
    assert_true(json_is_null(json_object_get(layer, "anderson_darling_p")));
    json_decref(json);
    analysis_free(a);
    trace_release(&t);
}

static void test_fewer_than_eight_experts_have_no_anderson_darling(void **state)
{
    (void)state;
    struct settings s;
    settings_defaults(&s);
    for (size_t experts = 7; experts <= 8; experts++) {
        struct trace t;
        helper_trace(&t, 1, experts, 2, 900, 200, 0, false, 8);
        struct analysis *a = open_analysis(&t);
        assert_int_equal(update(a, &s)->layer[0].anderson_darling_valid, experts == 8);
        analysis_free(a);
        trace_release(&t);
    }
}

static void test_a_layer_without_routing_has_zero_significance(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    const char *const mappings[] = {"types", "majority", "occurrences", "gate"};
    helper_trace(&t, 2, 10, 3, 400, 80, 0, true, 6);
    for (size_t i = 0; i < t.positions * t.top_k; i++)
        t.routed[i] = TRACE_NOT_ROUTED;
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    for (size_t m = 0; m < 4; m++) {
        assert_int_equal(settings_set(&s, "mapping", mappings[m], &err), 0);
        const struct analysis_result *r = update(a, &s);
        for (size_t e = 0; e < 10; e++) {
            assert_true(r->layer[0].significance[e] == 0);
            assert_true(r->layer[0].channel_share[e] == 0);
            assert_false(r->layer[0].interval[e].valid);
            assert_int_equal(r->layer[0].tokens[e], 0);
        }
        assert_int_equal(r->layer[0].pattern, 2);
        assert_true(r->layer[1].mu > 0);
    }
    analysis_free(a);
    trace_release(&t);
}

static void test_an_expert_without_tokens_has_no_interval(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 5, 1, 200, 40, 0, true, 12);
    for (size_t i = 0; i < t.positions; i++)
        if (t.routed[i] == 2)
            t.routed[i] = 3;
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    const struct analysis_layer *l = &update(a, &s)->layer[0];
    assert_int_equal(l->tokens[2], 0);
    assert_true(l->significance[2] == 0);
    assert_false(l->interval[2].valid);
    json_t *json = as_json(a);
    const json_t *layer = json_array_get(json_object_get(json, "layers"), 0);
    assert_true(json_is_null(json_array_get(json_object_get(layer, "interval"), 2)));
    assert_int_equal(json_array_size(json_array_get(json_object_get(layer, "interval"), 3)), 5);
    json_decref(json);
    analysis_free(a);
    trace_release(&t);
}

static void test_min_count_beyond_every_count_leaves_nothing(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    helper_trace(&t, 2, 8, 2, 700, 100, 0, false, 13);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    s.min_count = 1000000000;
    const struct analysis_result *r = update(a, &s);
    for (size_t e = 0; e < 8; e++) {
        assert_true(r->layer[1].significance[e] == 0);
        assert_false(r->layer[1].interval[e].valid);
    }
    analysis_free(a);
    trace_release(&t);
}

static void test_gate_mapping_without_gates_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    helper_trace(&t, 1, 8, 2, 300, 50, 0, false, 14);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    update(a, &s);
    json_t *before = as_json(a);
    s.mapping = MAPPING_GATE;
    s.alpha = 1;
    assert_int_equal(analysis_update(a, &s, &err), ERR_USAGE);
    assert_string_equal(err.message, "mapping: gate needs gate values, and this trace has none; "
                                     "use types, majority or occurrences");
    json_t *after = as_json(a);
    assert_true(json_equal(before, after));
    json_decref(before);
    json_decref(after);
    analysis_free(a);
    trace_release(&t);
}

static void test_a_layer_that_is_not_there_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    struct err err = {0};
    helper_trace(&t, 2, 8, 2, 100, 40, 0, false, 5);
    t.layer_index[0] = 1; /* a dense layer before them */
    t.layer_index[1] = 2;
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    assert_int_equal(settings_set(&s, "rule", "1:jenks", NULL), 0);
    struct settings before = s;
    update(a, &s);
    s.alpha = 1.5;
    assert_int_equal(settings_set(&s, "threshold", "2:0.3", NULL), 0);
    assert_int_equal(analysis_update(a, &s, &err), ERR_USAGE);
    assert_string_equal(err.message,
                        "threshold: there is no layer 2, expected 0 to 1: MoE layers are counted "
                        "from 0, and the first is the model's layer 1");
    assert_true(settings_equal(&analysis_result(a)->settings, &before));
    analysis_free(a);
    trace_release(&t);
}

static void test_gates_that_are_all_zero_give_zero_significance(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 8, 2, 300, 50, 0, true, 15);
    memset(t.gates, 0, t.positions * t.top_k * sizeof *t.gates);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    s.mapping = MAPPING_GATE;
    const struct analysis_layer *l = &update(a, &s)->layer[0];
    for (size_t e = 0; e < 8; e++)
        assert_true(l->significance[e] == 0);
    assert_true(l->mu == 0 && l->sigma == 0);
    analysis_free(a);
    trace_release(&t);
}

/* Types far apart among those of an expert: more than 16 bits hold. */
static void test_gates_reach_over_many_types_without_routing(void **state)
{
    (void)state;
    enum { T = 150000 };
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 4, 1, T, T, 0, true, 1);
    for (uint32_t p = 0; p < T; p++) {
        t.ids[p] = p;
        t.routed[p] = TRACE_NOT_ROUTED;
        t.gates[p] = 0;
    }
    t.routed[2] = 1;
    t.gates[2] = 0.25F;
    t.routed[T - 1] = 3;
    t.gates[T - 1] = 0.75F;
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    s.mapping = MAPPING_GATE;
    s.beta.given = true;
    s.beta.value = 1;
    const struct analysis_result *r = update(a, &s);
    double first = 0.25 * r->reweighted[2], last = 0.75 * r->reweighted[T - 1];
    assert_true(r->reweighted[2] != r->reweighted[T - 1]);
    assert_near(r->layer[0].significance[1], first / (first + last), 1e-14);
    assert_near(r->layer[0].significance[3], last / (first + last), 1e-14);
    assert_true(r->layer[0].significance[0] == 0 && r->layer[0].significance[2] == 0);
    analysis_free(a);
    trace_release(&t);
}

static void test_majority_ties_go_to_the_smaller_expert(void **state)
{
    (void)state;
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 4, 1, 4, 1, 0, false, 1);
    const uint16_t routed[] = {3, 1, 3, 1};
    memcpy(t.routed, routed, sizeof routed);
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    s.mapping = MAPPING_MAJORITY;
    const struct analysis_layer *l = &update(a, &s)->layer[0];
    assert_true(l->significance[1] == 1);
    assert_true(l->significance[3] == 0);
    analysis_free(a);
    trace_release(&t);
}

static void test_share_counts_exact_powers_to_their_third(void **state)
{
    (void)state;
    /* T = 1000, R uniform: ranks 1 .. 9, 10 .. 99 and 100 .. 1000, where logarithms would round. */
    enum { T = 1000 };
    struct trace t;
    struct settings s;
    helper_trace(&t, 1, 4, 1, T, T, 0, false, 1);
    for (uint32_t p = 0; p < T; p++)
        t.ids[p] = p;
    struct analysis *a = open_analysis(&t);
    settings_defaults(&s);
    s.reweight = REWEIGHT_UNIFORM;
    const struct analysis_result *r = update(a, &s);
    assert_near(r->share[0], 0.009, 1e-14);
    assert_near(r->share[1], 0.090, 1e-14);
    assert_near(r->share[2], 0.901, 1e-14);
    analysis_free(a);
    trace_release(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_mapping_equals_the_direct_computation),
        cmocka_unit_test(test_a_walk_over_settings_leaves_nothing_behind),
        cmocka_unit_test(test_layer_overrides_change_their_layer_alone),
        cmocka_unit_test(test_commonest_types_come_most_first),
        cmocka_unit_test(test_experts_of_a_type_are_those_of_a_recount_most_first),
        cmocka_unit_test(test_expected_occurrences_follow_the_law_in_force),
        cmocka_unit_test(test_json_carries_the_cosine_where_it_is_given),
        cmocka_unit_test(test_one_type_is_flat_and_whole),
        cmocka_unit_test(test_all_experts_taken_gives_equal_significance_and_one_group),
        cmocka_unit_test(test_fewer_than_eight_experts_have_no_anderson_darling),
        cmocka_unit_test(test_a_layer_without_routing_has_zero_significance),
        cmocka_unit_test(test_an_expert_without_tokens_has_no_interval),
        cmocka_unit_test(test_min_count_beyond_every_count_leaves_nothing),
        cmocka_unit_test(test_gate_mapping_without_gates_is_refused_and_changes_nothing),
        cmocka_unit_test(test_a_layer_that_is_not_there_is_refused_and_changes_nothing),
        cmocka_unit_test(test_gates_that_are_all_zero_give_zero_significance),
        cmocka_unit_test(test_gates_reach_over_many_types_without_routing),
        cmocka_unit_test(test_majority_ties_go_to_the_smaller_expert),
        cmocka_unit_test(test_share_counts_exact_powers_to_their_third),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
