#include "analysis/jenks.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/settings.h"

int jenks_init(struct jenks *j, size_t capacity, struct err *err)
{
    enum { ARRAYS = 7 };
    size_t row, size;
    memset(j, 0, sizeof *j);
    if (!mem_add(&row, capacity, 1) || !mem_mul(&size, row, ARRAYS))
        return err_set(err, ERR_NOMEM, NULL, "too many values for Jenks breaks");
    j->memory = mem_array(size, sizeof *j->memory, err);
    j->cut = mem_array(row, SETTINGS_CLASSES_MAX * sizeof *j->cut, err);
    if (!j->memory || !j->cut) {
        jenks_release(j);
        return ERR_NOMEM;
    }
    j->capacity = capacity;
    double **part[ARRAYS] = {&j->value,  &j->weight, &j->sum_w,    &j->sum_x,
                             &j->sum_xx, &j->cost,   &j->next_cost};
    for (size_t i = 0; i < ARRAYS; i++)
        *part[i] = j->memory + i * row;
    return 0;
}

void jenks_release(struct jenks *j)
{
    free(j->memory);
    free(j->cut);
    memset(j, 0, sizeof *j);
}

/* Equal values become one with a weight: no class can split them. Centred, since the sums of
 * squares are differences. */
static size_t collapse(struct jenks *j, const double *sorted, size_t count)
{
    double mean = 0;
    size_t distinct = 0;
    for (size_t i = 0; i < count; i++)
        mean += sorted[i] / (double)count;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && sorted[i] == sorted[i - 1]) {
            j->weight[distinct - 1]++;
            continue;
        }
        j->value[distinct] = sorted[i] - mean;
        j->weight[distinct++] = 1;
    }
    j->sum_w[0] = j->sum_x[0] = j->sum_xx[0] = 0;
    for (size_t i = 0; i < distinct; i++) {
        double weighted = j->weight[i] * j->value[i];
        j->sum_w[i + 1] = j->sum_w[i] + j->weight[i];
        j->sum_x[i + 1] = j->sum_x[i] + weighted;
        j->sum_xx[i + 1] = j->sum_xx[i] + weighted * j->value[i];
    }
    return distinct;
}

/* Sum of squares of the distinct values from..to-1 around their mean. */
static double squares(const struct jenks *j, size_t from, size_t to)
{
    if (to - from == 1)
        return 0;
    double x = j->sum_x[to] - j->sum_x[from];
    return j->sum_xx[to] - j->sum_xx[from] - x * x / (j->sum_w[to] - j->sum_w[from]);
}

/*
 * Best beginning of the last class for the prefixes low..high (both included), known to lie in
 * cut_low..cut_high. The best cut never falls as the prefix grows, so halving the prefixes
 * halves the cuts too: n log n a class instead of n^2.
 */
static void best_cuts(struct jenks *j, size_t *cut, size_t low, size_t high, size_t cut_low,
                      size_t cut_high)
{
    while (low <= high) {
        size_t middle = low + (high - low) / 2, best = cut_low;
        size_t last = cut_high < middle - 1 ? cut_high : middle - 1;
        double least = HUGE_VAL;
        for (size_t c = cut_low; c <= last; c++) {
            double total = j->cost[c] + squares(j, c, middle);
            if (total < least) {
                least = total;
                best = c;
            }
        }
        j->next_cost[middle] = least;
        cut[middle] = best;
        if (middle > low)
            best_cuts(j, cut, low, middle - 1, cut_low, best);
        low = middle + 1;
        cut_low = best;
    }
}

/* Sum of squares within the classes, computed directly for the sake of small remainders. */
static double within(const struct jenks *j, const size_t *begin, size_t classes, size_t distinct)
{
    double total = 0;
    for (size_t k = 0; k < classes; k++) {
        size_t to = k + 1 < classes ? begin[k + 1] : distinct;
        double mean = (j->sum_x[to] - j->sum_x[begin[k]]) / (j->sum_w[to] - j->sum_w[begin[k]]);
        for (size_t i = begin[k]; i < to; i++)
            total += j->weight[i] * (j->value[i] - mean) * (j->value[i] - mean);
    }
    return total;
}

size_t jenks_breaks(struct jenks *j, double *break_at, double *gvf, const double *sorted,
                    size_t count, size_t classes)
{
    size_t begin[SETTINGS_CLASSES_MAX] = {0}, distinct = collapse(j, sorted, count);
    size_t whole = 0, row = j->capacity + 1;
    if (classes > distinct)
        classes = distinct;
    for (size_t i = 1; i <= distinct; i++)
        j->cost[i] = squares(j, 0, i);
    for (size_t k = 1; k < classes; k++) {
        best_cuts(j, j->cut + k * row, k + 1, distinct, k, distinct - 1);
        double *swap = j->cost;
        j->cost = j->next_cost;
        j->next_cost = swap;
    }
    for (size_t k = classes, end = distinct; k-- > 1;)
        end = begin[k] = j->cut[k * row + end];
    double total = within(j, &whole, 1, distinct);
    *gvf = total > 0 ? 1 - within(j, begin, classes, distinct) / total : 1;
    /* The value itself, not the centred one: walk the sorted values by their weights. */
    for (size_t k = 1, i = 0, seen = 0; k < classes; k++) {
        for (; i < begin[k]; i++)
            seen += (size_t)j->weight[i];
        break_at[k - 1] = sorted[seen - 1];
    }
    return classes - 1;
}
