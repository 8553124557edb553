/* The allocation within a budget against all allocations there are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/allocate.h"

enum { ITEMS_MAX = 7, CHOICES_MAX = 5, CASES = 4000, MANY = 600 };
enum { WIDTHS = 5, MIXED_WIDTHS = 3, SHARES = 4, MIXED = WIDTHS + MIXED_WIDTHS * SHARES };

static uint64_t seed_state = 0x9e3779b97f4a7c15u;

static uint64_t random_bits(void)
{
    seed_state ^= seed_state >> 12;
    seed_state ^= seed_state << 25;
    seed_state ^= seed_state >> 27;
    return seed_state * 0x2545f4914f6cdd1du;
}

static size_t random_below(size_t n)
{
    return (size_t)(random_bits() >> 33) % n;
}

static double random_unit(void)
{
    return (double)(random_bits() >> 11) * 0x1p-53;
}

struct fixture {
    struct allocate_problem p;
    uint64_t cost[MANY * MIXED];
    double loss[MANY * MIXED];
    bool allowed[MANY * MIXED];
};

/* kind 0: falling losses; 1: any losses, also negative; 2: few distinct costs and losses, so that
 * ties abound; 3: costs without a common unit and choices that are ruled out. */
static void fill(struct fixture *f, size_t items, size_t choices, int kind)
{
    uint64_t least = 0, most = 0;
    for (size_t i = 0; i < items; i++) {
        uint64_t low = UINT64_MAX, high = 0;
        size_t kept = random_below(choices);
        for (size_t c = 0; c < choices; c++) {
            size_t at = i * choices + c;
            f->cost[at] = kind == 3 ? 1 + random_below(1000000) : (2 + c) * (1 + random_below(2));
            f->loss[at] = kind == 0   ? pow(4, -(double)c) * (0.1 + random_unit())
                          : kind == 1 ? random_unit() - 0.3
                          : kind == 2 ? (double)random_below(4)
                                      : random_unit();
            f->allowed[at] = kind != 3 || c == kept || random_below(3) > 0;
            if (!f->allowed[at])
                continue;
            low = f->cost[at] < low ? f->cost[at] : low;
            high = f->cost[at] > high ? f->cost[at] : high;
        }
        least += low;
        most += high;
    }
    f->p = (struct allocate_problem){.items = items,
                                     .choices = choices,
                                     .cost = f->cost,
                                     .loss = f->loss,
                                     .allowed = f->allowed,
                                     .budget = least + random_below(most - least + 3)};
}

/* Widths, each also with shares of its inputs at 8 bits, as measured losses have them: many choices
 * of an item lie close to its hull. */
static void fill_mixed(struct fixture *f, size_t items)
{
    static const unsigned widths[WIDTHS] = {2, 3, 4, 8, 16};
    uint64_t least = 0;
    for (size_t i = 0; i < items; i++) {
        double scale = exp(-4 * random_unit());
        for (size_t c = 0; c < MIXED; c++) {
            size_t w = c < WIDTHS ? c : (c - WIDTHS) / SHARES, at = i * MIXED + c;
            size_t inputs = c < WIDTHS ? 0 : (size_t)1 << (c - WIDTHS) % SHARES;
            double share = (double)inputs / 32;
            f->cost[at] = (32 - inputs) * widths[w] + inputs * 8;
            f->loss[at] = widths[w] == 16
                              ? 0
                              : scale * pow(4.2, -(double)widths[w]) * (0.9 + 0.2 * random_unit()) *
                                    pow(1 - share, 3 + 2 * random_unit());
            f->allowed[at] = true;
        }
        least += f->cost[i * MIXED];
    }
    f->p = (struct allocate_problem){.items = items,
                                     .choices = MIXED,
                                     .cost = f->cost,
                                     .loss = f->loss,
                                     .allowed = f->allowed,
                                     .budget = least + random_below(items * 100)};
}

/* Least loss of all allocations within the budget. */
static double brute_force(const struct allocate_problem *p)
{
    size_t at[ITEMS_MAX] = {0}, i = 0;
    double best = INFINITY;
    while (i < p->items) {
        uint64_t cost = 0;
        double loss = 0;
        for (size_t k = 0; k < p->items; k++) {
            cost += p->cost[k * p->choices + at[k]];
            loss += p->allowed[k * p->choices + at[k]] ? p->loss[k * p->choices + at[k]] : INFINITY;
        }
        if (cost <= p->budget)
            best = fmin(best, loss);
        for (i = 0; i < p->items && ++at[i] == p->choices; i++)
            at[i] = 0;
    }
    return best;
}

static void check_result(const struct allocate_problem *p, const struct allocate_result *r,
                         const uint8_t *choice)
{
    uint64_t cost = 0;
    double loss = 0;
    for (size_t i = 0; i < p->items; i++) {
        assert_true(choice[i] < p->choices);
        assert_true(!p->allowed || p->allowed[i * p->choices + choice[i]]);
        cost += p->cost[i * p->choices + choice[i]];
        loss += p->loss[i * p->choices + choice[i]];
    }
    assert_true(cost == r->cost && cost <= p->budget);
    assert_true(fabs(loss - r->loss) < 1e-12);
    assert_true(r->bound <= r->loss + 1e-12);
}

static void test_no_allocation_beats_the_solution(void **state)
{
    (void)state;
    static struct fixture f;
    for (int i = 0; i < CASES; i++) {
        uint8_t choice[ITEMS_MAX];
        struct allocate_result r;
        fill(&f, 1 + random_below(ITEMS_MAX), 1 + random_below(CHOICES_MAX), i % 4);
        assert_int_equal(allocate_solve(&r, choice, &f.p, NULL), 0);
        check_result(&f.p, &r, choice);
        assert_true(r.exact);
        assert_true(fabs(r.loss - brute_force(&f.p)) < 1e-12);
    }
}

/* With common costs a table over the budget is exact, too. */
static double by_table(const struct allocate_problem *p)
{
    size_t width = p->budget + 1;
    double *best = calloc(width, sizeof *best), *next = calloc(width, sizeof *next);
    assert_non_null(best);
    assert_non_null(next);
    for (size_t i = 0; i < p->items; i++) {
        for (size_t b = 0; b < width; b++) {
            next[b] = INFINITY;
            for (size_t c = 0; c < p->choices; c++) {
                size_t at = i * p->choices + c;
                if (p->allowed[at] && p->cost[at] <= b)
                    next[b] = fmin(next[b], best[b - p->cost[at]] + p->loss[at]);
            }
        }
        memcpy(best, next, width * sizeof *best);
    }
    double least = best[width - 1];
    free(best);
    free(next);
    return least;
}

static void test_large_problems_agree_with_a_table_over_all_budgets(void **state)
{
    (void)state;
    static struct fixture f;
    static uint8_t choice[MANY];
    for (int i = 0; i < 24; i++) {
        struct allocate_result r;
        fill(&f, MANY / 4 + random_below(MANY * 3 / 4), CHOICES_MAX, i % 3);
        assert_int_equal(allocate_solve(&r, choice, &f.p, NULL), 0);
        check_result(&f.p, &r, choice);
        assert_true(r.exact);
        assert_true(fabs(r.loss - by_table(&f.p)) < 1e-10);
    }
}

static void test_widths_with_channels_are_allocated_exactly(void **state)
{
    (void)state;
    static struct fixture f;
    static uint8_t choice[MANY];
    for (int i = 0; i < 206; i++) {
        struct allocate_result r;
        fill_mixed(&f, i < 200 ? 1 + random_below(4) : MANY / 8 + random_below(MANY / 8));
        assert_int_equal(allocate_solve(&r, choice, &f.p, NULL), 0);
        check_result(&f.p, &r, choice);
        assert_true(r.exact);
        double best = i < 200 ? brute_force(&f.p) : by_table(&f.p);
        assert_true(fabs(r.loss - best) < 1e-12);
    }
}

static bool after_two(void *asked)
{
    return ++*(int *)asked > 2;
}

/* What was found by then fits the budget, and the bound tells how far it may be from the best. */
static void test_a_search_that_is_stopped_gives_a_solution_and_its_gap(void **state)
{
    (void)state;
    static struct fixture f;
    static uint8_t choice[MANY];
    size_t cut = 0;
    for (int i = 0; i < 24; i++) {
        struct allocate_result whole, r;
        int asked = 0;
        fill(&f, MANY / 4, CHOICES_MAX, i % 3);
        assert_int_equal(allocate_solve(&whole, choice, &f.p, NULL), 0);
        f.p.stop = after_two;
        f.p.stop_context = &asked;
        assert_int_equal(allocate_solve(&r, choice, &f.p, NULL), 0);
        check_result(&f.p, &r, choice);
        assert_true(asked <= 3 && r.exact == (asked < 3));
        assert_true(whole.loss <= r.loss + 1e-12 && r.bound <= whole.loss + 1e-12);
        cut += !r.exact;
    }
    assert_true(cut > 5);
}

static void test_budget_below_the_cheapest_choices_is_refused(void **state)
{
    (void)state;
    const uint64_t cost[] = {2, 3, 5, 4};
    const double loss[] = {1, 0, 1, 0};
    struct allocate_problem p = {.items = 2, .choices = 2, .cost = cost, .loss = loss, .budget = 5};
    struct allocate_result r;
    struct err err = {0};
    uint8_t choice[2];
    assert_int_equal(allocate_solve(&r, choice, &p, &err), ERR_USAGE);
    assert_non_null(strstr(err.message, "the budget is 5"));
    assert_non_null(strstr(err.message, "cost 6"));
    p.budget = 6;
    assert_int_equal(allocate_solve(&r, choice, &p, NULL), 0);
    assert_int_equal(r.cost, 6);
}

static void test_item_without_a_choice_and_losses_that_are_no_numbers_are_refused(void **state)
{
    (void)state;
    const uint64_t cost[] = {2, 3};
    double loss[] = {1, NAN};
    const bool none[] = {false, false}, first[] = {true, false};
    struct allocate_problem p = {.items = 1, .choices = 2, .cost = cost, .loss = loss, .budget = 5};
    struct allocate_result r;
    uint8_t choice[1];
    assert_int_equal(allocate_solve(&r, choice, &p, NULL), ERR_USAGE);
    p.allowed = none;
    assert_int_equal(allocate_solve(&r, choice, &p, NULL), ERR_USAGE);
    p.allowed = first;
    assert_int_equal(allocate_solve(&r, choice, &p, NULL), 0);
    assert_int_equal(choice[0], 0);
}

/* Every step costs more and loses less than the one before, and no allocation of its cost is
 * better; between steps the exact solution is at least as good as the step below. */
static void test_front_is_optimal_at_its_steps(void **state)
{
    (void)state;
    static struct fixture f;
    for (int i = 0; i < 300; i++) {
        struct allocate_front front;
        struct allocate_result r;
        uint8_t choice[ITEMS_MAX], at_step[ITEMS_MAX];
        fill(&f, 1 + random_below(ITEMS_MAX), 1 + random_below(CHOICES_MAX), i % 4);
        assert_int_equal(allocate_front_make(&front, &f.p, NULL), 0);
        for (size_t s = 0; s < front.steps; s++) {
            size_t found;
            f.p.budget = front.cost[s];
            assert_int_equal(allocate_solve(&r, choice, &f.p, NULL), 0);
            assert_true(fabs(r.loss - front.loss[s]) < 1e-12);
            assert_int_equal(
                allocate_front_at(&front, f.p.items, front.cost[s], &found, at_step, NULL), 0);
            assert_int_equal(found, s);
            r.cost = front.cost[s];
            r.loss = front.loss[s];
            r.bound = -INFINITY;
            check_result(&f.p, &r, at_step);
            assert_true(s == 0 ||
                        (front.cost[s] > front.cost[s - 1] && front.loss[s] < front.loss[s - 1]));
        }
        assert_int_equal(
            allocate_front_at(&front, f.p.items, front.cost[0] - 1, &(size_t){0}, NULL, NULL),
            ERR_USAGE);
        allocate_front_release(&front);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_no_allocation_beats_the_solution),
        cmocka_unit_test(test_large_problems_agree_with_a_table_over_all_budgets),
        cmocka_unit_test(test_widths_with_channels_are_allocated_exactly),
        cmocka_unit_test(test_a_search_that_is_stopped_gives_a_solution_and_its_gap),
        cmocka_unit_test(test_budget_below_the_cheapest_choices_is_refused),
        cmocka_unit_test(test_item_without_a_choice_and_losses_that_are_no_numbers_are_refused),
        cmocka_unit_test(test_front_is_optimal_at_its_steps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
