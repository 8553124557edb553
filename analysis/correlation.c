#include "analysis/correlation.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

#include <gsl/gsl_statistics_double.h>

#include "data/base/mem.h"

enum { PAIRS_MIN = 3 };

static bool is_constant(const double *x, size_t n)
{
    size_t i = 1;
    while (i < n && x[i] == x[0])
        i++;
    return i >= n;
}

int correlation_ranks(double *out, const double *x, const double *y, size_t n, struct err *err)
{
    *out = NAN;
    if (n < PAIRS_MIN || is_constant(x, n) || is_constant(y, n))
        return 0;
    double *work = mem_array(2 * n, sizeof *work, err);
    if (!work)
        return ERR_NOMEM;
    *out = gsl_stats_spearman(x, 1, y, 1, n, work);
    free(work);
    return 0;
}
