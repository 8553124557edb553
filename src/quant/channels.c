#include "src/quant/channels.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"

/* Squared errors of the columns when the whole linear has `bits`. */
static int errors_at(double *error, const struct channels_input *in, unsigned bits, struct err *err)
{
    struct grid grid;
    struct grid_bits width = {.bits = bits};
    int rc =
        grid_fit(&grid, in->rule, &width, in->weights, in->rows, in->columns, in->diagonal, err);
    if (rc < 0)
        return rc;
    rc = grid_column_errors(&grid, in->weights, error, err);
    grid_release(&grid);
    return rc;
}

static int score_error(double *score, const struct channels_input *in, struct err *err)
{
    double *fine = mem_array(in->columns, sizeof *fine, err);
    if (!fine)
        return ERR_NOMEM;
    int rc = errors_at(score, in, in->bits, err);
    if (rc == 0)
        rc = errors_at(fine, in, in->channel_bits, err);
    for (size_t j = 0; rc == 0 && j < in->columns; j++)
        score[j] = in->diagonal[j] * (score[j] - fine[j]);
    free(fine);
    return rc;
}

static int score_hessian(double *score, const struct channels_input *in, struct err *err)
{
    (void)err;
    for (size_t j = 0; j < in->columns; j++)
        score[j] = in->diagonal[j];
    return 0;
}

static int score_awq(double *score, const struct channels_input *in, struct err *err)
{
    (void)err;
    for (size_t j = 0; j < in->columns; j++)
        score[j] = in->mean_absolute[j];
    return 0;
}

int channels_score(double *score, const struct channels_input *in, struct err *err)
{
    static int (*const table[])(double *, const struct channels_input *, struct err *) = {
        [SCORE_ERROR] = score_error,
        [SCORE_HESSIAN] = score_hessian,
        [SCORE_AWQ] = score_awq,
    };
    return table[in->score](score, in, err);
}

struct ranked {
    double score;
    uint32_t index;
};

static int by_score(const void *a, const void *b)
{
    const struct ranked *x = a, *y = b;
    if (x->score != y->score)
        return x->score > y->score ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static int by_index(const void *a, const void *b)
{
    const uint32_t *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

int channels_pick(uint32_t *index, size_t count, const double *score, size_t columns,
                  struct err *err)
{
    if (count > columns)
        return err_set(err, ERR_USAGE, NULL, "%zu channels of %zu inputs", count, columns);
    struct ranked *ranked = mem_array(columns, sizeof *ranked, err);
    if (!ranked)
        return ERR_NOMEM;
    for (size_t j = 0; j < columns; j++)
        ranked[j] = (struct ranked){isnan(score[j]) ? -(double)INFINITY : score[j], (uint32_t)j};
    qsort(ranked, columns, sizeof *ranked, by_score);
    for (size_t i = 0; i < count; i++)
        index[i] = ranked[i].index;
    qsort(index, count, sizeof *index, by_index);
    free(ranked);
    return 0;
}
