/* Factors with the damping ladder, permutations, and the sweeps of a batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "src/quant/quantizer.h"

/* Factors held at a time. Items are independent, so the cut does not change results. */
static const size_t factor_bytes_max = (size_t)512 << 20;

struct key {
    double diagonal;
    size_t column;
};

static int compare_keys(const void *a, const void *b)
{
    const struct key *x = a, *y = b;
    if (x->diagonal != y->diagonal)
        return x->diagonal > y->diagonal ? -1 : 1;
    return x->column < y->column ? -1 : x->column > y->column;
}

int rounding_order(size_t *order, const double *diagonal, size_t d, int setting, struct err *err)
{
    struct key *keys = mem_array(d, sizeof *keys, err);
    if (!keys)
        return ERR_NOMEM;
    for (size_t j = 0; j < d; j++)
        keys[j] = (struct key){diagonal[j], j};
    if (setting == ORDER_ACT)
        qsort(keys, d, sizeof *keys, compare_keys);
    for (size_t j = 0; j < d; j++)
        order[j] = keys[j].column;
    free(keys);
    return 0;
}

/* One Hessian on its way to a factor. */
struct factor {
    double *l;       /* [d][d] permuted; the damped Hessian, then its factor */
    size_t *column;  /* [d] position -> input; the last position is rounded first */
    double *diag;    /* [d] by input, dead columns as 1, undamped */
    bool *dead;      /* [d] by input */
    double mean;     /* of diag */
    double absolute; /* damping in force, added to the diagonal */
    bool failed;
};

static void factor_release(struct factor *f)
{
    free(f->l);
    free(f->column);
    free(f->diag);
    free(f->dead);
}

static int factor_init(struct factor *f, const struct quantizer_hessian *h, int order,
                       struct err *err)
{
    size_t d = h->d, size;
    if (!mem_mul(&size, d, d))
        return err_set(err, ERR_USAGE, NULL, "a Hessian of %zu inputs overflows", d);
    f->l = mem_aligned(size, sizeof *f->l, err);
    f->column = mem_array(d, sizeof *f->column, err);
    f->diag = mem_array(d, sizeof *f->diag, err);
    f->dead = mem_array(d, sizeof *f->dead, err);
    size_t *first = mem_array(d, sizeof *first, err);
    int rc = f->l && f->column && f->diag && f->dead && first ? 0 : ERR_NOMEM;
    if (rc < 0)
        goto cleanup;
    for (size_t j = 0; j < d; j++) {
        f->dead[j] = h->h[j * d + j] == 0.0;
        f->diag[j] = f->dead[j] ? 1.0 : h->h[j * d + j];
        f->mean += f->diag[j] / (double)d;
    }
    /* The same number added everywhere leaves the order as it is. */
    rc = rounding_order(first, f->diag, d, order, err);
    for (size_t j = 0; j < d; j++)
        f->column[d - 1 - j] = first[j];
cleanup:
    free(first);
    return rc;
}

static void factor_fill(struct factor *f, const struct quantizer_hessian *h, double damping)
{
    size_t d = h->d;
    f->absolute = damping * f->mean;
    for (size_t i = 0; i < d; i++) {
        const double *row = h->h + f->column[i] * d;
        for (size_t j = 0; j < i; j++)
            f->l[i * d + j] = row[f->column[j]];
        for (size_t j = i + 1; j < d; j++)
            f->l[i * d + j] = 0.0;
        f->l[i * d + i] = f->diag[f->column[i]] + f->absolute;
    }
}

/* Factorizes all; those that fail are tried again with twice the damping, the others rest. */
static int factorize(struct backend *b, const struct quantizer_rule *rule, struct factor *factors,
                     struct quantizer_hessian *hessians, size_t count, struct err *err)
{
    double **l = mem_array(count, sizeof *l, err);
    size_t *d = mem_array(count, sizeof *d, err), *index = mem_array(count, sizeof *index, err);
    bool *failed = mem_array(count, sizeof *failed, err);
    int rc = l && d && index && failed ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        factors[i].failed = true;
        hessians[i].damping = rule->damping;
    }
    for (int step = 0; rc == 0 && step <= QUANTIZER_LADDER; step++) {
        size_t left = 0;
        for (size_t i = 0; i < count; i++) {
            if (!factors[i].failed)
                continue;
            if (step > 0)
                hessians[i].damping *= 2.0;
            factor_fill(&factors[i], &hessians[i], hessians[i].damping);
            l[left] = factors[i].l;
            d[left] = hessians[i].d;
            index[left++] = i;
        }
        if (left == 0)
            break;
        rc = b->ops->cholesky(b, l, d, left, rule->precision, failed, err);
        for (size_t i = 0; rc == 0 && i < left; i++)
            factors[index[i]].failed = failed[i];
    }
    free(l);
    free(d);
    free(index);
    free(failed);
    return rc;
}

/* One linear as the backend wants it, in the factor's order of columns. */
struct work {
    double *weights;
    uint32_t *grid;
    uint8_t *codes;
    double loss, square;
};

static void work_release(struct work *w)
{
    free(w->weights);
    free(w->grid);
    free(w->codes);
}

static int work_init(struct work *w, const struct quantizer_item *item, const struct factor *f,
                     size_t d, struct err *err)
{
    w->weights = mem_aligned(item->rows * d, sizeof *w->weights, err);
    w->grid = mem_array(d, sizeof *w->grid, err);
    w->codes = mem_array(item->rows * d, sizeof *w->codes, err);
    if (!w->weights || !w->grid || !w->codes)
        return ERR_NOMEM;
    for (size_t k = 0; k < d; k++)
        w->grid[k] = item->grid.column[f->column[k]];
    for (size_t r = 0; r < item->rows; r++)
        for (size_t k = 0; k < d; k++) {
            size_t j = f->column[k];
            w->weights[r * d + k] = f->dead[j] ? 0.0 : (double)item->weights[r * d + j];
        }
    return 0;
}

static struct backend_sweep problem_of(struct work *w, const struct quantizer_item *item,
                                       const struct factor *f, size_t d)
{
    return (struct backend_sweep){
        .rows = item->rows,
        .columns = d,
        .grids = item->grid.grids,
        .weights = w->weights,
        .factor = f->l,
        .grid = w->grid,
        .max_code = item->grid.max_code,
        .scale = item->grid.scale,
        .zero = item->grid.zero,
        .codes = w->codes,
        .loss = &w->loss,
        .square = &w->square,
    };
}

/* Rounded by itself, with the loss as a plain double sum: where there is no factor. */
static int round_plain(struct quantizer_item *item, const struct quantizer_hessian *h,
                       const struct factor *f, struct err *err)
{
    size_t d = h->d;
    const struct grid *g = &item->grid;
    double *error = mem_array(d, sizeof *error, err);
    if (!error)
        return ERR_NOMEM;
    item->loss = 0.0;
    for (size_t r = 0; r < item->rows; r++) {
        for (size_t j = 0; j < d; j++) {
            size_t at = r * g->grids + g->column[j];
            double w = f->dead[j] ? 0.0 : (double)item->weights[r * d + j];
            double code = rint(w / g->scale[at]) + g->zero[at];
            code = fmin(fmax(code, 0.0), (double)g->max_code[g->column[j]]);
            item->codes[r * d + j] = (uint8_t)code;
            error[j] = (code - g->zero[at]) * g->scale[at] - w;
        }
        for (size_t i = 0; i < d; i++) {
            double sum = 0.0;
            for (size_t j = 0; j < d; j++)
                sum += error[j] * h->h[i * d + j];
            item->loss += sum * error[i];
        }
    }
    item->loss_rtn = item->loss;
    free(error);
    return 0;
}

/* A slice of the batch: hessians first .. first + hessian_count - 1 and the items on them. */
struct slice {
    struct backend *b;
    const struct quantizer_rule *rule;
    struct quantizer_hessian *hessians;
    struct factor *factors;
    size_t first; /* index of hessians[0] in the batch */
    struct quantizer_item *items;
    size_t count;
    struct work *works;
    struct backend_sweep *problems;
};

static void take_results(struct slice *s, const struct work *w, size_t i, bool nearest)
{
    struct quantizer_item *item = &s->items[i];
    size_t h = item->hessian - s->first, d = s->hessians[h].d;
    const struct factor *f = &s->factors[h];
    double loss = w->loss - f->absolute * w->square;
    if (nearest)
        item->loss_rtn = loss;
    item->loss = loss;
    for (size_t r = 0; r < item->rows; r++)
        for (size_t k = 0; k < d; k++)
            item->codes[r * d + f->column[k]] = w->codes[r * d + k];
}

static int sweep_slice(struct slice *s, bool nearest, struct err *err)
{
    size_t left = 0;
    for (size_t i = 0; i < s->count; i++) {
        size_t h = s->items[i].hessian - s->first;
        if (s->factors[h].failed)
            continue;
        s->problems[left] =
            problem_of(&s->works[i], &s->items[i], &s->factors[h], s->hessians[h].d);
        s->problems[left++].nearest = nearest;
    }
    int rc = s->b->ops->sweep(s->b, s->problems, left, s->rule->precision, err);
    for (size_t i = 0; rc == 0 && i < s->count; i++)
        if (!s->factors[s->items[i].hessian - s->first].failed)
            take_results(s, &s->works[i], i, nearest);
    return rc;
}

/* Inputs that never fire get weight 0, also for the grids that they share. */
static int fit_grid(const struct slice *s, struct quantizer_item *item, const struct factor *f,
                    size_t d, struct err *err)
{
    const float *w = item->weights;
    float *live = NULL;
    for (size_t j = 0; j < d; j++) {
        if (!f->dead[j])
            continue;
        if (!live) {
            live = mem_array(item->rows * d, sizeof *live, err);
            if (!live)
                return ERR_NOMEM;
            memcpy(live, item->weights, item->rows * d * sizeof *live);
            w = live;
        }
        for (size_t r = 0; r < item->rows; r++)
            live[r * d + j] = 0.0f;
    }
    int rc = grid_fit(&item->grid, &s->rule->grid, &item->bits, w, item->rows, d, f->diag, err);
    free(live);
    return rc;
}

/* Grids, and either a place in the sweep or plain rounding. */
static int prepare_items(struct slice *s, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        struct quantizer_item *item = &s->items[i];
        struct quantizer_hessian *h = &s->hessians[item->hessian - s->first];
        struct factor *f = &s->factors[item->hessian - s->first];
        rc = fit_grid(s, item, f, h->d, err);
        if (rc == 0 && f->failed)
            rc = round_plain(item, h, f, err);
        else if (rc == 0)
            rc = work_init(&s->works[i], item, f, h->d, err);
    }
    return rc;
}

static int run_slice(struct slice *s, size_t hessian_count, enum rounding rounding, struct err *err)
{
    s->factors = mem_array(hessian_count, sizeof *s->factors, err);
    s->works = mem_array(s->count, sizeof *s->works, err);
    s->problems = mem_array(s->count, sizeof *s->problems, err);
    int rc = s->factors && s->works && s->problems ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < hessian_count; i++)
        rc = factor_init(&s->factors[i], &s->hessians[i], s->rule->order, err);
    if (rc == 0)
        rc = factorize(s->b, s->rule, s->factors, s->hessians, hessian_count, err);
    for (size_t i = 0; rc == 0 && i < hessian_count; i++)
        s->hessians[i].fallback = rounding == ROUNDING_COMPENSATED && s->factors[i].failed;
    if (rc == 0)
        rc = prepare_items(s, err);
    if (rc == 0)
        rc = sweep_slice(s, true, err);
    if (rc == 0 && rounding == ROUNDING_COMPENSATED)
        rc = sweep_slice(s, false, err);
    for (size_t i = 0; s->factors && i < hessian_count; i++)
        factor_release(&s->factors[i]);
    for (size_t i = 0; s->works && i < s->count; i++)
        work_release(&s->works[i]);
    free(s->factors);
    free(s->works);
    free(s->problems);
    return rc;
}

int rounding_run(struct backend *b, const struct quantizer_rule *rule, enum rounding rounding,
                 struct quantizer_hessian *hessians, size_t hessian_count,
                 struct quantizer_item *items, size_t count, struct err *err)
{
    size_t at = 0;
    for (size_t first = 0; first < hessian_count;) {
        size_t end = first, bytes = 0;
        do {
            bytes += hessians[end].d * hessians[end].d * sizeof(double);
            end++;
        } while (end < hessian_count && bytes < factor_bytes_max);
        size_t until = at;
        while (until < count && items[until].hessian < end)
            until++;
        struct slice s = {.b = b,
                          .rule = rule,
                          .hessians = hessians + first,
                          .first = first,
                          .items = items + at,
                          .count = until - at};
        int rc = run_slice(&s, end - first, rounding, err);
        if (rc < 0)
            return rc;
        first = end;
        at = until;
    }
    return 0;
}
