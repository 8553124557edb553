/*
 * The choices that cost the least loss within a budget: one choice for every item, the sum of the
 * costs at most the budget, the sum of the losses as small as it can be (the multiple-choice
 * knapsack problem).
 *
 * The linear relaxation is solved by the convex hulls of the items: it gives a multiplier, a bound
 * that no allocation can beat, and a solution that is optimal but for one item. Choices whose
 * reduced cost exceeds the gap between the two cannot be part of a better solution; what is left is
 * a small core, solved by dynamic programming over undominated (cost, loss) pairs.
 */
#ifndef MOQA_ANALYSIS_ALLOCATE_H
#define MOQA_ANALYSIS_ALLOCATE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

enum { ALLOCATE_CHOICES_MAX = 24 };

/* Tables are [items][choices]. Costs in any unit, below 2^62 in sum; losses finite. */
struct allocate_problem {
    size_t items, choices;
    const uint64_t *cost;
    const double *loss;
    const bool *allowed; /* NULL: every choice of every item; else at least one an item */
    uint64_t budget;
    size_t states_max; /* of the search: bounds its time, at the price of `exact`; 0: 2^22 */
    bool (*stop)(
        void *context); /* asked now and then: ends the search at that price; NULL: never */
    void *stop_context;
};

struct allocate_result {
    uint64_t cost;
    double loss;
    double bound; /* no allocation within the budget has less loss than this */
    bool exact;   /* none has less loss than `loss`, up to rounding of the sums; else the search
                     was cut short and loss - bound is the proven gap */
};

/* choice: [items]. ERR_USAGE where even the cheapest choices exceed the budget. Of several optimal
 * allocations always the same one is given. */
ERR_CHECK int allocate_solve(struct allocate_result *out, uint8_t *choice,
                             const struct allocate_problem *p, struct err *err);

/*
 * The front of all budgets: allocations on the convex hull, from the cheapest on. Step 0 is
 * the cheapest allocation; each later step moves one item to a dearer choice and is optimal for its
 * own cost. What lies between two steps is at most one item away from the step before.
 */
struct allocate_front {
    size_t steps;
    uint64_t *cost; /* [steps] rises */
    double *loss;   /* [steps] falls */
    uint32_t *item; /* [steps] that moved, step 0: none */
    uint8_t *to;    /* [steps] its new choice */
    uint8_t *first; /* [items] choices of step 0 */
};

/* The problem's budget is not looked at. */
ERR_CHECK int allocate_front_make(struct allocate_front *out, const struct allocate_problem *p,
                                  struct err *err);
void allocate_front_release(struct allocate_front *f);

/* The last step that costs no more than the budget; choice [items] may be NULL. ERR_USAGE where
 * step 0 costs more. */
ERR_CHECK int allocate_front_at(const struct allocate_front *f, size_t items, uint64_t budget,
                                size_t *step, uint8_t *choice, struct err *err);

#endif
