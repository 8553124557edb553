/* Factors with the damping ladder, grids, and the sweeps of a batch. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "data/base/simd.h"
#include "src/quant/hessians.h"
#include "src/quant/quantizer.h"
#include "src/quant/refine.h"
#include "src/quant/vectors.h"

/* Factors held at a time, by the host and by a device, which has room and fills itself with many.
 * Items are independent, so the cut does not change results. */
static const size_t factor_bytes_max = (size_t)512 << 20, device_bytes_max = (size_t)4 << 30;

enum { ITEM_ROWS = 64 }; /* of a matrix, an item of work for one thread */

static size_t row_blocks(size_t rows)
{
    return (rows + ITEM_ROWS - 1) / ITEM_ROWS;
}

static size_t block_rows(size_t rows, size_t first)
{
    return rows - first < ITEM_ROWS ? rows - first : ITEM_ROWS;
}

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
    const struct quantizer_hessian *h;
    double *l;             /* [d][d] permuted; the damped Hessian, then its factor; or */
    struct tensor *device; /* F64 [d][d] its factor, where the Hessian lies on the device */
    double *damped;        /* [d] diag with the damping in force */
    uint32_t *column;      /* [d] position -> input; the last position is rounded first */
    double *diag;          /* [d] by input, dead columns as 1, undamped */
    bool *dead;            /* [d] by input */
    bool any_dead;
    double mean;     /* of diag */
    double absolute; /* damping in force, added to the diagonal */
    bool failed;
    struct err err; /* of the thread that works on it */
};

static bool on_device(const struct factor *f)
{
    return f->h->h == NULL;
}

static void factor_release(struct backend *b, struct factor *f)
{
    if (f->device)
        b->ops->tensor_free(b, f->device);
    free(f->l);
    free(f->column);
    free(f->diag);
    free(f->damped);
    free(f->dead);
}

/* Memory of the factor itself. */
static int factor_alloc(struct backend *b, struct factor *f, size_t size, struct err *err)
{
    if (!on_device(f)) {
        f->l = mem_aligned(size, sizeof *f->l, err);
        return f->l ? 0 : ERR_NOMEM;
    }
    return b->ops->tensor_new(b, &f->device, TENSOR_F64, f->h->d, f->h->d, err);
}

static int factor_init(struct backend *b, struct factor *f, const struct quantizer_hessian *h,
                       struct err *err)
{
    size_t d = h->d, size;
    if (d > UINT32_MAX || !mem_mul(&size, d, d))
        return err_set(err, ERR_USAGE, NULL, "a Hessian of %zu inputs overflows", d);
    f->h = h;
    f->column = mem_array(d, sizeof *f->column, err);
    f->diag = mem_array(d, sizeof *f->diag, err);
    f->damped = mem_array(d, sizeof *f->damped, err);
    f->dead = mem_array(d, sizeof *f->dead, err);
    return f->column && f->diag && f->damped && f->dead ? factor_alloc(b, f, size, err) : ERR_NOMEM;
}

/* Its diagonal and the order that this gives. */
static int factor_order(struct factor *f, int order, struct err *err)
{
    const struct quantizer_hessian *h = f->h;
    size_t d = h->d, *first = mem_array(d, sizeof *first, err);
    if (!first)
        return ERR_NOMEM;
    for (size_t j = 0; j < d; j++) {
        double value = on_device(f) ? h->diagonal[j] : h->h[j * d + j];
        f->dead[j] = value == 0.0;
        f->any_dead = f->any_dead || f->dead[j];
        f->diag[j] = f->dead[j] ? 1.0 : value;
        f->mean += f->diag[j] / (double)d;
    }
    /* The same number added everywhere leaves the order as it is. */
    int rc = rounding_order(first, f->diag, d, order, err);
    for (size_t j = 0; j < d; j++)
        f->column[d - 1 - j] = (uint32_t)first[j];
    free(first);
    return rc;
}

SIMD_CLONES static void pick(double *out, const double *row, const uint32_t *column, size_t count)
{
    for (size_t j = 0; j < count; j++)
        out[j] = row[column[j]];
}

/* The damped Hessian, permuted: only what a factorization reads. */
static void factor_fill(struct factor *f, size_t first, size_t count)
{
    size_t d = f->h->d;
    for (size_t i = first; i < first + count; i++) {
        pick(f->l + i * d, f->h->h + f->column[i] * d, f->column, i);
        f->l[i * d + i] = f->diag[f->column[i]] + f->absolute;
        memset(f->l + i * d + i + 1, 0, (d - i - 1) * sizeof *f->l);
    }
}

/* Rows of factors or of linears as items: item i is in the block row that starts at first[i]. */
struct rows_job {
    void *target; /* what the rows are of */
    size_t first, count;
    struct err err;
};

static void fill_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct rows_job *j = (const struct rows_job *)context + item;
    factor_fill(j->target, j->first, j->count);
}

struct order_job {
    struct factor *factors;
    int order;
};

static void order_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    const struct order_job *j = context;
    struct factor *f = &j->factors[item];
    (void)!factor_order(f, j->order, &f->err);
}

static int order_factors(struct backend *b, struct factor *factors, size_t count, int order,
                         struct err *err)
{
    struct order_job job = {factors, order};
    parallel_for(backend_pool(b), count, order_item, &job);
    for (size_t i = 0; i < count; i++)
        if (factors[i].err.code) {
            if (err)
                *err = factors[i].err;
            return factors[i].err.code;
        }
    return 0;
}

/* Appends the blocks of `rows` rows of `target`. */
static size_t add_rows(struct rows_job *jobs, size_t at, void *target, size_t rows)
{
    for (size_t first = 0; first < rows; first += ITEM_ROWS)
        jobs[at++] =
            (struct rows_job){.target = target, .first = first, .count = block_rows(rows, first)};
    return at;
}

static int fill_factors(struct backend *b, struct factor *const *list, size_t count,
                        struct err *err)
{
    size_t jobs_count = 0;
    for (size_t i = 0; i < count; i++)
        jobs_count += row_blocks(list[i]->h->d);
    struct rows_job *jobs = mem_array(jobs_count, sizeof *jobs, err);
    if (!jobs)
        return ERR_NOMEM;
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        at = add_rows(jobs, at, list[i], list[i]->h->d);
    parallel_for(backend_pool(b), jobs_count, fill_item, jobs);
    free(jobs);
    return 0;
}

/* One try at `count` factors whose damping is set; failed[i]: not positive definite. */
static int try_host(struct backend *b, const struct quantizer_rule *rule,
                    struct factor *const *list, size_t count, bool *failed, struct err *err)
{
    double **l = mem_array(count, sizeof *l, err);
    size_t *d = mem_array(count, sizeof *d, err);
    int rc = l && d ? fill_factors(b, list, count, err) : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < count; i++) {
        l[i] = list[i]->l;
        d[i] = list[i]->h->d;
    }
    if (rc == 0)
        rc = b->ops->cholesky(b, l, d, count, rule->precision, failed, err);
    free(l);
    free(d);
    return rc;
}

static int try_device(struct backend *b, struct factor *const *list, size_t count, bool *failed,
                      struct err *err)
{
    struct backend_factor *factors = mem_array(count, sizeof *factors, err);
    if (!factors)
        return ERR_NOMEM;
    for (size_t i = 0; i < count; i++) {
        struct factor *f = list[i];
        for (size_t j = 0; j < f->h->d; j++)
            f->damped[j] = f->diag[j] + f->absolute;
        factors[i] = (struct backend_factor){.hessian = &f->h->device,
                                             .order = f->column,
                                             .diagonal = f->damped,
                                             .factor = f->device};
    }
    int rc = b->ops->hessian_factorize(b, factors, count, failed, err);
    free(factors);
    return rc;
}

/* Factorizes all; those that fail are tried again with twice the damping, the others rest. */
static int factorize(struct backend *b, const struct quantizer_rule *rule, struct factor *factors,
                     struct quantizer_hessian *hessians, size_t count, struct err *err)
{
    struct factor **list = mem_array(count, sizeof *list, err);
    bool *failed = mem_array(count, sizeof *failed, err);
    int rc = list && failed ? 0 : ERR_NOMEM;
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
                hessians[i].damping = fmax(2.0 * hessians[i].damping, QUANTIZER_LEAST_DAMPING);
            factors[i].absolute = hessians[i].damping * factors[i].mean;
            list[left++] = &factors[i];
        }
        if (left == 0)
            break;
        rc = on_device(list[0]) ? try_device(b, list, left, failed, err)
                                : try_host(b, rule, list, left, failed, err);
        for (size_t i = 0; rc == 0 && i < left; i++)
            list[i]->failed = failed[i];
    }
    free(list);
    free(failed);
    return rc;
}

/* --- Losses that are none --- */

size_t quantizer_not_finite(const struct quantizer_item *items, size_t count)
{
    size_t i = 0;
    while (i < count && isfinite(items[i].loss) && isfinite(items[i].loss_rtn))
        i++;
    return i;
}

int quantizer_refuse(const char *dir, const char *linear, struct err *err)
{
    return err_set(err, ERR_NUMERIC, dir,
                   "tensor \"%s.weight\": its loss is not finite: it, or what the calibration "
                   "brings there, overflows",
                   linear);
}

/* --- Plain rounding, with the loss as a double sum: where there is no factor. --- */

struct plain_rows {
    struct quantizer_item *item;
    const struct factor *f;
    const double *h; /* [d][d] */
    const float *weights;
    double *error; /* [d] a worker */
    double *loss;  /* [rows] */
};

static void plain_row(void *context, size_t r, size_t worker)
{
    const struct plain_rows *p = context;
    const struct grid *g = &p->item->grid;
    size_t d = p->f->h->d;
    double *error = p->error + worker * d;
    for (size_t j = 0; j < d; j++) {
        size_t at = r * g->grids + g->column[j];
        double w = (double)p->weights[r * d + j];
        double code = rint(w / g->scale[at]) + g->zero[at];
        code = fmin(fmax(code, 0.0), (double)g->max_code[g->column[j]]);
        p->item->codes[r * d + j] = (uint8_t)code;
        error[j] = (code - g->zero[at]) * g->scale[at] - w;
    }
    for (size_t i = 0; i < d; i++)
        p->loss[r] += vectors_dot(error, p->h + i * d, d) * error[i];
}

static int round_plain(struct backend *b, struct quantizer_item *item, const struct factor *f,
                       const float *weights, struct err *err)
{
    struct parallel *pool = backend_pool(b);
    struct plain_rows p = {.item = item, .f = f, .h = f->h->h, .weights = weights};
    size_t d = f->h->d;
    double *fetched = on_device(f) ? mem_aligned(d * d, sizeof *fetched, err) : NULL;
    p.error = mem_array(parallel_threads(pool) * f->h->d, sizeof *p.error, err);
    p.loss = mem_array(item->rows, sizeof *p.loss, err);
    int rc = p.error && p.loss && (fetched || p.h) ? 0 : ERR_NOMEM;
    if (rc == 0 && fetched) {
        rc = hessians_fetch(b, &f->h->device, fetched, err);
        p.h = fetched;
    }
    if (rc == 0)
        parallel_for(pool, item->rows, plain_row, &p);
    item->loss = 0.0;
    for (size_t r = 0; rc == 0 && r < item->rows; r++)
        item->loss += p.loss[r];
    item->loss_rtn = item->loss;
    free(fetched);
    free(p.error);
    free(p.loss);
    return rc;
}

/* --- Slices: hessians first .. first + hessian_count - 1 and the items on them --- */

/* One linear on its way through the backend. */
struct work {
    struct quantizer_item *item;
    const struct factor *f;
    const struct grid_rule *rule;
    float *live;          /* a copy of the weights where some inputs are dead, else NULL */
    const float *weights; /* that or the item's own */
    double loss, square, nearest_loss, nearest_square;
};

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

/* A copy of the weights, also of those that only the device has. */
static int copy_weights(struct backend *b, struct work *w, struct err *err)
{
    size_t count = w->item->rows * w->f->h->d;
    w->weights = w->live = mem_aligned(count, sizeof *w->live, err);
    if (!w->live)
        return ERR_NOMEM;
    if (!w->item->weights)
        return b->ops->download(b, w->item->device_weights, 0, w->item->rows, w->live, err);
    memcpy(w->live, w->item->weights, count * sizeof *w->live);
    return 0;
}

/* Inputs that never fire get weight 0, also for the grids that they share. */
static int drop_dead(struct backend *b, struct work *w, struct err *err)
{
    size_t d = w->f->h->d;
    w->weights = w->item->weights;
    if (!w->f->any_dead)
        return 0;
    int rc = copy_weights(b, w, err);
    for (size_t r = 0; rc == 0 && r < w->item->rows; r++)
        for (size_t j = 0; j < d; j++)
            if (w->f->dead[j])
                w->live[r * d + j] = 0.0f;
    return rc;
}

static void fit_item(void *context, size_t item, size_t worker)
{
    (void)worker;
    struct rows_job *j = (struct rows_job *)context + item;
    struct work *w = j->target;
    (void)!grid_fit_rows(&w->item->grid, w->rule, w->weights, w->f->diag, j->first, j->count,
                         &j->err);
}

/* Of the linears whose weights lie in the host's memory. */
static int fit_on_host(struct slice *s, struct err *err)
{
    size_t jobs_count = 0, at = 0;
    int rc = 0;
    for (size_t i = 0; i < s->count; i++)
        jobs_count += s->works[i].weights ? row_blocks(s->items[i].rows) : 0;
    struct rows_job *jobs = mem_array(jobs_count, sizeof *jobs, err);
    if (!jobs)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->count; i++)
        if (s->works[i].weights)
            at = add_rows(jobs, at, &s->works[i], s->items[i].rows);
    parallel_for(backend_pool(s->b), jobs_count, fit_item, jobs);
    for (size_t i = 0; rc == 0 && i < jobs_count; i++)
        if (jobs[i].err.code)
            rc = err_set(err, jobs[i].err.code, NULL, "%s", jobs[i].err.message);
    free(jobs);
    return rc;
}

static struct backend_grid grid_problem_of(const struct work *w)
{
    struct grid *g = &w->item->grid;
    return (struct backend_grid){.rows = g->rows,
                                 .columns = g->columns,
                                 .grids = g->grids,
                                 .weights = w->item->device_weights,
                                 .importance = w->f->diag,
                                 .member = g->grids == g->groups ? NULL : g->member,
                                 .start = g->start,
                                 .max_code = g->max_code,
                                 .scale = g->scale,
                                 .zero = g->zero};
}

/* Of the others. */
static int fit_on_device(struct slice *s, struct err *err)
{
    const struct backend_grid_rule rule = grid_cell_rule(&s->rule->grid);
    struct backend_grid *problems = mem_array(s->count, sizeof *problems, err);
    size_t left = 0;
    if (!problems)
        return ERR_NOMEM;
    for (size_t i = 0; i < s->count; i++)
        if (!s->works[i].weights)
            problems[left++] = grid_problem_of(&s->works[i]);
    int rc = left ? s->b->ops->fit_grids(s->b, &rule, problems, left, err) : 0;
    for (size_t i = 0, at = 0; rc == 0 && i < s->count; i++)
        if (!s->works[i].weights)
            s->items[i].infinite = problems[at++].infinite;
    for (size_t i = 0; rc == 0 && i < s->count; i++)
        if (s->items[i].infinite)
            rc = err_set(err, ERR_INPUT, NULL, "linear %zu has a weight that is not finite", i);
    free(problems);
    return rc;
}

static int fit_grids(struct slice *s, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        struct work *w = &s->works[i];
        *w = (struct work){.item = &s->items[i],
                           .f = &s->factors[s->items[i].hessian - s->first],
                           .rule = &s->rule->grid};
        rc = drop_dead(s->b, w, err);
        if (rc == 0)
            rc = grid_init(&w->item->grid, w->rule, &w->item->bits, w->item->rows, w->f->h->d, err);
    }
    if (rc == 0)
        rc = fit_on_host(s, err);
    return rc == 0 ? fit_on_device(s, err) : rc;
}

static struct backend_sweep problem_of(struct work *w, enum rounding rounding)
{
    const struct grid *g = &w->item->grid;
    bool nearest = rounding == ROUNDING_NEAREST;
    return (struct backend_sweep){
        .rows = w->item->rows,
        .columns = w->f->h->d,
        .grids = g->grids,
        .weights = w->weights,
        .factor = w->f->l,
        .device_weights = w->live ? NULL : w->item->device_weights,
        .device_factor = w->f->device,
        .restored = w->item->restore ? w->item->device_weights : NULL,
        .order = w->f->column,
        .grid = g->column,
        .max_code = g->max_code,
        .scale = g->scale,
        .zero = g->zero,
        .codes = w->item->codes,
        .nearest = nearest,
        .loss = &w->loss,
        .square = &w->square,
        .nearest_loss = nearest ? NULL : &w->nearest_loss,
        .nearest_square = nearest ? NULL : &w->nearest_square,
    };
}

/* A place in the sweep, or plain rounding; then the sweep. */
static int round_items(struct slice *s, enum rounding rounding, struct err *err)
{
    size_t left = 0;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        struct work *w = &s->works[i];
        if (w->f->failed && !w->weights)
            rc = copy_weights(s->b, w, err);
        if (rc == 0 && w->f->failed)
            rc = round_plain(s->b, w->item, w->f, w->weights, err);
        else if (rc == 0)
            s->problems[left++] = problem_of(w, rounding);
    }
    if (rc == 0)
        rc = s->b->ops->sweep(s->b, s->problems, left, s->rule->precision, err);
    for (size_t i = 0; rc == 0 && i < s->count; i++) {
        struct work *w = &s->works[i];
        if (w->f->failed)
            continue;
        w->item->restored = w->item->restore;
        w->item->loss = w->loss - w->f->absolute * w->square;
        w->item->loss_rtn = rounding == ROUNDING_NEAREST
                                ? w->item->loss
                                : w->nearest_loss - w->f->absolute * w->nearest_square;
    }
    return rc;
}

/* Codes that compensation chose, looked at again. */
static int refine_items(struct slice *s, size_t hessian_count, struct err *err)
{
    struct refine_problem *problems = mem_array(s->count, sizeof *problems, err);
    if (!problems)
        return ERR_NOMEM;
    for (size_t i = 0; i < hessian_count; i++)
        for (size_t j = 0; j < s->factors[i].h->d; j++)
            s->factors[i].damped[j] = s->factors[i].diag[j] + s->factors[i].absolute;
    size_t count = 0;
    for (size_t i = 0; i < s->count; i++) {
        const struct work *w = &s->works[i];
        if (w->f->failed)
            continue;
        problems[count++] = (struct refine_problem){.weights = w->weights,
                                                    .h = w->f->h->h,
                                                    .damped = w->f->damped,
                                                    .grid = &w->item->grid,
                                                    .codes = w->item->codes};
    }
    int rc = refine_run(backend_pool(s->b), &s->rule->grid, s->rule->refine, problems, count, err);
    for (size_t i = s->count; rc == 0 && i-- > 0;)
        if (!s->works[i].f->failed)
            s->items[i].loss = problems[--count].loss;
    free(problems);
    return rc;
}

static int run_slice(struct slice *s, size_t hessian_count, enum rounding rounding, struct err *err)
{
    s->factors = mem_array(hessian_count, sizeof *s->factors, err);
    s->works = mem_array(s->count, sizeof *s->works, err);
    s->problems = mem_array(s->count, sizeof *s->problems, err);
    int rc = s->factors && s->works && s->problems ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < hessian_count; i++)
        rc = factor_init(s->b, &s->factors[i], &s->hessians[i], err);
    if (rc == 0)
        rc = order_factors(s->b, s->factors, hessian_count, s->rule->order, err);
    if (rc == 0)
        rc = factorize(s->b, s->rule, s->factors, s->hessians, hessian_count, err);
    for (size_t i = 0; rc == 0 && i < hessian_count; i++)
        s->hessians[i].fallback = rounding == ROUNDING_COMPENSATED && s->factors[i].failed;
    if (rc == 0)
        rc = fit_grids(s, err);
    if (rc == 0)
        rc = round_items(s, rounding, err);
    if (rc == 0 && rounding == ROUNDING_COMPENSATED && s->rule->refine)
        rc = refine_items(s, hessian_count, err);
    for (size_t i = 0; s->factors && i < hessian_count; i++)
        factor_release(s->b, &s->factors[i]);
    for (size_t i = 0; s->works && i < s->count; i++)
        free(s->works[i].live);
    free(s->factors);
    free(s->works);
    free(s->problems);
    return rc;
}

int rounding_run(struct backend *b, const struct quantizer_rule *rule, enum rounding rounding,
                 struct quantizer_hessian *hessians, size_t hessian_count,
                 struct quantizer_item *items, size_t count, struct err *err)
{
    size_t at = 0, most = factor_bytes_max;
    if (hessian_count && !hessians[0].h)
        most = device_bytes_max >> b->halvings;
    for (size_t first = 0; first < hessian_count;) {
        size_t end = first, bytes = 0;
        do {
            bytes += hessians[end].d * hessians[end].d * sizeof(double);
            end++;
        } while (end < hessian_count && bytes < most);
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
