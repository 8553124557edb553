/*
 * A second look at codes: coordinate descent on the loss over the codes of a rounded linear, with
 * scales and zero points refitted to the codes between the passes (docs/method.md, "Refinement").
 *
 *     rows are independent;  e = dequantized - w,  loss = e^T H e
 *     codes:  each input in turn gets the code with the least loss, all others as they are
 *     cells:  each scale and zero point in turn gets the values with the least loss
 *
 * Every move lowers the loss with the damped diagonal, and a row whose loss without damping has not
 * become smaller gets its codes, scales and zero points back: no row ever loses.
 */
#ifndef MOQA_SRC_QUANT_REFINE_H
#define MOQA_SRC_QUANT_REFINE_H

#include "src/quant/grid.h"

struct parallel;

/* One linear; all but `loss` is borrowed. */
struct refine_problem {
    const float *weights; /* [grid->rows][grid->columns] */
    const double *h;      /* [columns][columns], both triangles, without damping */
    const double *damped; /* [columns] diagonal with damping, > 0 */
    struct grid *grid;    /* in and out: scales and zero points */
    uint8_t *codes;       /* [rows][columns] in and out */
    double loss;          /* out: tr(E H E^T), H without damping */
};

/* passes >= 1; stops earlier in a row that no move improves. A scale that is stored in half
 * precision (rule->half) is refitted to a value that can be, a symmetric grid's zero point stays,
 * and none becomes 0 where rule->avoid_zero says so. Same results at any number of threads. */
ERR_CHECK int refine_run(struct parallel *pool, const struct grid_rule *rule, size_t passes,
                         struct refine_problem *problems, size_t count, struct err *err);

#endif
