/* The front of all budgets on the Plan screen, and what it says of the plan. */
#ifndef MOQA_UI_APP_VIEW_FRONT_H
#define MOQA_UI_APP_VIEW_FRONT_H

#include "ui/app/view_parts.h"

/* The chart; where losses are missing, what to press, and how far the measurement is. */
void view_front_draw(struct app *a, struct cells *c, struct rect r);
/* The plan's predicted rise, MoQa's plan beside it, and the file of the losses. */
void view_front_facts(struct view_facts *f);
/* The plans that the chart marks; how to get one, where there are no losses. */
void view_front_marks(struct view_facts *f);
/* A press, drag or wheel over the chart moves the budget; false: it was elsewhere. */
bool view_front_mouse(struct app *a, const struct term_event *e);

#endif
