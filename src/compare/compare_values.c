/* What a table has of a row: means over its draws, and how predicted and measured agree. */
#include <math.h>
#include <stdlib.h>

#include "analysis/correlation.h"
#include "data/base/mem.h"
#include "src/compare/compare.h"

struct compare_mean compare_mean(const struct compare_row *row, compare_value value, size_t index)
{
    struct compare_mean m = {0};
    double x, sum = 0;
    for (size_t i = 0; i < row->cells; i++)
        if (value(&x, &row->cell[i], index)) {
            m.mean += x;
            m.n++;
        }
    if (m.n == 0)
        return m;
    m.mean /= (double)m.n;
    for (size_t i = 0; i < row->cells; i++)
        if (value(&x, &row->cell[i], index))
            sum += (x - m.mean) * (x - m.mean);
    m.deviation = m.n > 1 ? sqrt(sum / (double)(m.n - 1)) : 0;
    return m;
}

bool compare_nominal(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = cell->nominal_bits;
    return true;
}

bool compare_effective(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = cell->effective_bits;
    return true;
}

bool compare_bytes(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = (double)cell->bytes;
    return true;
}

bool compare_seconds(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = cell->seconds;
    return cell->has_seconds;
}

bool compare_perplexity(double *out, const struct compare_cell *cell, size_t text)
{
    *out = cell->perplexity[text];
    return true;
}

bool compare_divergence(double *out, const struct compare_cell *cell, size_t text)
{
    *out = cell->divergence[text];
    return isfinite(*out);
}

bool compare_acc(double *out, const struct compare_cell *cell, size_t task)
{
    *out = cell->acc[task];
    return true;
}

bool compare_acc_norm(double *out, const struct compare_cell *cell, size_t task)
{
    *out = cell->acc_norm[task];
    return isfinite(*out);
}

bool compare_excess(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = cell->excess;
    return isfinite(*out);
}

bool compare_predicted(double *out, const struct compare_cell *cell, size_t unused)
{
    (void)unused;
    *out = cell->predicted;
    return cell->has_predicted;
}

int compare_correlation(double *out, size_t *plans, const struct compare_result *r, struct err *err)
{
    double *x = mem_array(2 * r->rows, sizeof *x, err), *y = x ? x + r->rows : NULL;
    size_t n = 0;
    *out = NAN;
    *plans = 0;
    if (!x)
        return ERR_NOMEM;
    for (size_t i = 0; i < r->rows; i++) {
        struct compare_mean predicted = compare_mean(&r->row[i], compare_predicted, 0);
        struct compare_mean excess = compare_mean(&r->row[i], compare_excess, 0);
        if (predicted.n == 0 || excess.n == 0)
            continue;
        x[n] = predicted.mean;
        y[n++] = excess.mean;
    }
    *plans = n;
    int rc = correlation_ranks(out, x, y, n, err);
    free(x);
    return rc;
}
