/* Inside of the budget: shared by budget.c and budget_front.c alone. */
#ifndef MOQA_ANALYSIS_BUDGET_INTERNAL_H
#define MOQA_ANALYSIS_BUDGET_INTERNAL_H

#include "analysis/budget.h"

enum { BUDGET_WHOLE = 16 }; /* bits of a linear as it is */

/* What a linear of a unit loses at one of the budget's choices. */
double budget_choice_loss(const struct budget_choice *c, const struct losses_expert *x,
                          size_t linear);

#endif
