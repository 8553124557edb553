#include "src/quant/refine.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "data/base/simd.h"
#include "src/quant/vectors.h"

enum {
    ROWS = 32, /* of an item: they go through the columns together, so that H is read once */
    STEP = 4   /* rows of H in one product: what they meet is read once */
};

/* Moves that gain less than this part of the loss are rounding errors of the gradient. */
static const double gain_least = 1e-12;

/* Space of one thread. */
struct space {
    double *slope;  /* [ROWS][d] H e, with damping */
    double *error;  /* [ROWS][d] */
    double *ones;   /* [d] sum of H over the columns that share the input's grid */
    double *square; /* [grids] sum of `ones` over a grid's columns */
    double *code;   /* [ROWS][d] codes of one grid's columns */
    double *h;      /* [d] a row of H, of one grid's columns */
    uint8_t *codes; /* [ROWS][d] as they were */
    double *scale;  /* [ROWS][grids] as they were */
    uint8_t *zero;
};

struct item {
    struct refine_problem *problem;
    size_t first, rows;
    double loss;
};

struct job {
    const struct grid_rule *rule;
    size_t passes;
    struct item *items;
    struct space *spaces; /* [threads] */
};

/* An item in work. */
struct block {
    const struct job *j;
    const struct refine_problem *p;
    const struct grid *g;
    struct space *s;
    size_t first, rows, d;
    double before[ROWS], loss[ROWS]; /* without and with damping */
    bool moved[ROWS];                /* in this pass */
    bool done[ROWS];
};

/* vectors_dot() of STEP rows of h, `stride` apart, with b. */
SIMD_CLONES static void dots(double *out, const double *h, size_t stride, const double *b,
                             size_t count)
{
    double lanes[STEP][VECTORS_LANES] = {{0}};
    size_t whole = count - count % VECTORS_LANES;
    for (size_t j = 0; j < whole; j += VECTORS_LANES)
        for (size_t l = 0; l < VECTORS_LANES; l++)
            for (size_t i = 0; i < STEP; i++)
                lanes[i][l] += h[i * stride + j + l] * b[j + l];
    for (size_t i = 0; i < STEP; i++) {
        for (size_t j = whole; j < count; j++)
            lanes[i][j - whole] += h[i * stride + j] * b[j];
        out[i] = 0.0;
        for (size_t l = 0; l < VECTORS_LANES; l++)
            out[i] += lanes[i][l];
    }
}

SIMD_CLONES static void add_scaled(double *y, const double *x, double factor, size_t count)
{
    for (size_t j = 0; j < count; j++)
        y[j] += factor * x[j];
}

/* The same for STEP vectors, one after another. */
SIMD_CLONES static void add_all_scaled(double *y, const double *const *x, const double *factor,
                                       size_t count)
{
    const double *a = x[0], *b = x[1], *c = x[2], *d = x[3];
    for (size_t j = 0; j < count; j++)
        y[j] =
            (((y[j] + factor[0] * a[j]) + factor[1] * b[j]) + factor[2] * c[j]) + factor[3] * d[j];
}

static double *scale_of(const struct block *b, size_t r, size_t grid)
{
    return &b->g->scale[(b->first + r) * b->g->grids + grid];
}

static uint8_t *zero_of(const struct block *b, size_t r, size_t grid)
{
    return &b->g->zero[(b->first + r) * b->g->grids + grid];
}

static uint8_t *codes_of(const struct block *b, size_t r)
{
    return b->p->codes + (b->first + r) * b->d;
}

static double damping_at(const struct block *b, size_t j)
{
    return b->p->damped[j] - b->p->h[j * b->d + j];
}

/* The error of input j grows by `by`. */
static void move(struct block *b, size_t r, size_t j, double by)
{
    double *slope = b->s->slope + r * b->d;
    b->s->error[r * b->d + j] += by;
    add_scaled(slope, b->p->h + j * b->d, by, b->d);
    slope[j] += by * damping_at(b, j);
}

/* --- Start and end --- */

static void start_errors(struct block *b, size_t r)
{
    const struct grid *g = b->g;
    const float *w = b->p->weights + (b->first + r) * b->d;
    for (size_t j = 0; j < b->d; j++) {
        size_t cell = g->column[j];
        double code = (double)codes_of(b, r)[j] - (double)*zero_of(b, r, cell);
        b->s->error[r * b->d + j] = code * *scale_of(b, r, cell) - (double)w[j];
    }
}

/* Inputs first .. first + count - 1 of a row. */
static void start_slopes(struct block *b, size_t r, size_t first, size_t count)
{
    const double *error = b->s->error + r * b->d, *h = b->p->h + first * b->d;
    double *slope = b->s->slope + r * b->d + first;
    if (count == STEP)
        dots(slope, h, b->d, error, b->d);
    for (size_t i = 0; count < STEP && i < count; i++)
        slope[i] = vectors_dot(h + i * b->d, error, b->d);
    for (size_t i = 0; i < count; i++)
        slope[i] += damping_at(b, first + i) * error[first + i];
}

static double plain_loss(const struct block *b, size_t r)
{
    const double *error = b->s->error + r * b->d;
    double damping = 0;
    for (size_t j = 0; j < b->d; j++)
        damping += damping_at(b, j) * error[j] * error[j];
    return vectors_dot(error, b->s->slope + r * b->d, b->d) - damping;
}

static void start(struct block *b)
{
    struct space *s = b->s;
    size_t d = b->d, grids = b->g->grids;
    for (size_t r = 0; r < b->rows; r++)
        start_errors(b, r);
    for (size_t i = 0; i < d; i += STEP)
        for (size_t r = 0; r < b->rows; r++)
            start_slopes(b, r, i, d - i < STEP ? d - i : STEP);
    for (size_t r = 0; r < b->rows; r++) {
        b->loss[r] = vectors_dot(s->error + r * d, s->slope + r * d, d);
        b->before[r] = plain_loss(b, r);
    }
    memcpy(s->codes, codes_of(b, 0), b->rows * d);
    memcpy(s->scale, scale_of(b, 0, 0), b->rows * grids * sizeof *s->scale);
    memcpy(s->zero, zero_of(b, 0, 0), b->rows * grids);
}

/* A row of H as far as it belongs to grid i, side by side; damped. */
static void pick(const struct block *b, size_t i, size_t j, double *out)
{
    const struct grid *g = b->g;
    size_t from = g->start[i], size = g->start[i + 1] - from;
    const uint32_t *member = g->member + from;
    for (size_t k = 0; k < size; k++)
        out[k] = b->p->h[j * b->d + member[k]];
    for (size_t k = 0; k < size; k++)
        if (member[k] == j)
            out[k] = b->p->damped[j];
}

/* What refitting zero points needs of H alone. */
static void sum_grids(struct block *b)
{
    const struct grid *g = b->g;
    for (size_t i = 0; i < g->grids; i++) {
        b->s->square[i] = 0;
        for (size_t k = g->start[i]; k < g->start[i + 1]; k++) {
            size_t j = g->member[k];
            double sum = 0;
            pick(b, i, j, b->s->h);
            for (size_t l = 0; l < g->start[i + 1] - g->start[i]; l++)
                sum += b->s->h[l];
            b->s->ones[j] = sum;
            b->s->square[i] += sum;
        }
    }
}

/* Rows that have not become better without damping get back what they had. */
static double finish(struct block *b)
{
    const struct space *s = b->s;
    size_t d = b->d, grids = b->g->grids;
    double sum = 0;
    for (size_t r = 0; r < b->rows; r++) {
        double loss = plain_loss(b, r);
        if (!(loss < b->before[r])) {
            loss = b->before[r];
            memcpy(codes_of(b, r), s->codes + r * d, d);
            memcpy(scale_of(b, r, 0), s->scale + r * grids, grids * sizeof *s->scale);
            memcpy(zero_of(b, r, 0), s->zero + r * grids, grids);
        }
        sum += loss;
    }
    return sum;
}

/* --- Scales and zero points --- */

/* Sums over the columns of one grid in one row: c codes, 1 ones, s the slope. */
struct sums {
    double chc, ch1, h11; /* c H c, c H 1, 1 H 1 */
    double cs, s1;
};

struct cell {
    double scale;
    int zero;
    double change; /* of the loss */
};

/* The best scale for a zero point: the loss is a parabola of it. */
static struct cell fit_scale(const struct sums *m, const struct grid_rule *rule,
                             const struct cell *now, int zero)
{
    double z0 = now->zero, z = zero, s0 = now->scale;
    /* The errors move by s (c - z) - s0 (c - z0). */
    double hh = m->chc - 2.0 * z * m->ch1 + z * z * m->h11;     /* (c-z) H (c-z) */
    double h0 = m->chc - (z + z0) * m->ch1 + z * z0 * m->h11;   /* (c-z) H (c-z0) */
    double h00 = m->chc - 2.0 * z0 * m->ch1 + z0 * z0 * m->h11; /* (c-z0) H (c-z0) */
    double slope = m->cs - z * m->s1, slope0 = m->cs - z0 * m->s1;
    struct cell c = {s0, zero, INFINITY};
    double best = (s0 * h0 - slope) / hh;
    if (!(hh > 0.0) || !(best > 0.0))
        return c;
    c.scale = grid_stored_scale(best, rule->half);
    c.change = c.scale * c.scale * hh - 2.0 * c.scale * (s0 * h0 - slope) + s0 * s0 * h00 -
               2.0 * s0 * slope0;
    return c;
}

static struct cell fit_cell(const struct sums *m, const struct grid_rule *rule,
                            const struct cell *now, int top)
{
    int low = rule->symmetric ? now->zero : rule->avoid_zero ? 1 : 0;
    int high = rule->symmetric ? now->zero : top;
    struct cell best = *now;
    best.change = 0;
    for (int zero = low; zero <= high; zero++) {
        struct cell c = fit_scale(m, rule, now, zero);
        if (c.change < best.change)
            best = c;
    }
    return best;
}

/* Codes of grid i of all rows, and c H c. */
static void sum_codes(struct block *b, size_t i, struct sums *sums)
{
    const struct grid *g = b->g;
    size_t from = g->start[i], size = g->start[i + 1] - from;
    const uint32_t *member = g->member + from;
    for (size_t r = 0; r < b->rows; r++) {
        sums[r] = (struct sums){.h11 = b->s->square[i]};
        for (size_t k = 0; k < size; k++) {
            double code = codes_of(b, r)[member[k]], slope = b->s->slope[r * b->d + member[k]];
            b->s->code[r * b->d + k] = code;
            sums[r].ch1 += code * b->s->ones[member[k]];
            sums[r].cs += code * slope;
            sums[r].s1 += slope;
        }
    }
    for (size_t k = 0; k < size; k++) {
        pick(b, i, member[k], b->s->h);
        for (size_t r = 0; r < b->rows; r++)
            sums[r].chc +=
                b->s->code[r * b->d + k] * vectors_dot(b->s->code + r * b->d, b->s->h, size);
    }
}

/* The errors of some of a grid's inputs, as its cell changes. */
static void move_cell(struct block *b, size_t r, const uint32_t *member, size_t count,
                      const struct cell *old, const struct cell *new)
{
    double by[STEP];
    const double *h[STEP];
    for (size_t k = 0; k < count; k++) {
        double code = codes_of(b, r)[member[k]];
        by[k] = (code - new->zero) * new->scale - (code - old->zero) * old->scale;
        h[k] = b->p->h + member[k] * b->d;
        if (count < STEP)
            move(b, r, member[k], by[k]);
    }
    if (count < STEP)
        return;
    add_all_scaled(b->s->slope + r * b->d, h, by, b->d);
    for (size_t k = 0; k < STEP; k++) {
        b->s->error[r * b->d + member[k]] += by[k];
        b->s->slope[r * b->d + member[k]] += by[k] * damping_at(b, member[k]);
    }
}

static void refit_grid(struct block *b, size_t i)
{
    const struct grid *g = b->g;
    struct sums sums[ROWS];
    struct cell old[ROWS], best[ROWS];
    bool moves[ROWS];
    sum_codes(b, i, sums);
    for (size_t r = 0; r < b->rows; r++) {
        old[r] = (struct cell){*scale_of(b, r, i), *zero_of(b, r, i), 0};
        best[r] = fit_cell(&sums[r], b->j->rule, &old[r], g->max_code[i]);
        moves[r] = !b->done[r] && best[r].change < -gain_least * b->loss[r];
        if (!moves[r])
            continue;
        b->loss[r] += best[r].change;
        b->moved[r] = true;
        *scale_of(b, r, i) = best[r].scale;
        *zero_of(b, r, i) = (uint8_t)best[r].zero;
    }
    for (size_t k = g->start[i]; k < g->start[i + 1]; k += STEP) {
        size_t left = g->start[i + 1] - k;
        for (size_t r = 0; r < b->rows; r++)
            if (moves[r])
                move_cell(b, r, g->member + k, left < STEP ? left : STEP, &old[r], &best[r]);
    }
}

/* --- Codes --- */

static void choose_code(struct block *b, size_t r, size_t j)
{
    size_t cell = b->g->column[j];
    double scale = *scale_of(b, r, cell), top = b->g->max_code[cell];
    double slope = b->s->slope[r * b->d + j], square = b->p->damped[j];
    uint8_t *code = &codes_of(b, r)[j];
    double best = rint((double)*code - slope / (square * scale));
    best = fmin(fmax(best, 0.0), top);
    double by = (best - (double)*code) * scale;
    double change = by * (2.0 * slope + by * square);
    if (best == *code || !(change < -gain_least * b->loss[r]))
        return;
    *code = (uint8_t)best;
    b->loss[r] += change;
    b->moved[r] = true;
    move(b, r, j, by);
}

static bool run_pass(struct block *b)
{
    bool any = false;
    for (size_t r = 0; r < b->rows; r++)
        b->moved[r] = false;
    for (size_t j = 0; j < b->d; j++)
        for (size_t r = 0; r < b->rows; r++)
            if (!b->done[r])
                choose_code(b, r, j);
    for (size_t i = 0; i < b->g->grids; i++)
        if (b->g->start[i + 1] > b->g->start[i])
            refit_grid(b, i);
    for (size_t r = 0; r < b->rows; r++) {
        b->done[r] = !b->moved[r];
        any = any || b->moved[r];
    }
    return any;
}

static void run_item(void *context, size_t index, size_t worker)
{
    const struct job *j = context;
    struct item *item = &j->items[index];
    struct block b = {.j = j,
                      .p = item->problem,
                      .g = item->problem->grid,
                      .s = &j->spaces[worker],
                      .first = item->first,
                      .rows = item->rows,
                      .d = item->problem->grid->columns};
    start(&b);
    sum_grids(&b);
    for (size_t pass = 0; pass < j->passes && run_pass(&b); pass++)
        ;
    item->loss = finish(&b);
}

/* --- Space and items --- */

static void space_release(struct space *s)
{
    free(s->slope);
    free(s->error);
    free(s->ones);
    free(s->square);
    free(s->code);
    free(s->h);
    free(s->codes);
    free(s->scale);
    free(s->zero);
}

static int space_init(struct space *s, size_t d, size_t grids, struct err *err)
{
    s->slope = mem_aligned(ROWS * d, sizeof *s->slope, err);
    s->error = mem_aligned(ROWS * d, sizeof *s->error, err);
    s->ones = mem_aligned(d, sizeof *s->ones, err);
    s->square = mem_aligned(grids, sizeof *s->square, err);
    s->code = mem_aligned(ROWS * d, sizeof *s->code, err);
    s->h = mem_aligned(d, sizeof *s->h, err);
    s->codes = mem_array(ROWS * d, sizeof *s->codes, err);
    s->scale = mem_aligned(ROWS * grids, sizeof *s->scale, err);
    s->zero = mem_array(ROWS * grids, sizeof *s->zero, err);
    return s->slope && s->error && s->ones && s->square && s->code && s->h && s->codes &&
                   s->scale && s->zero
               ? 0
               : ERR_NOMEM;
}

/* Items of all problems, one after another; NULL: counts only. */
static size_t make_items(struct item *items, struct refine_problem *problems, size_t count)
{
    size_t at = 0;
    for (size_t i = 0; i < count; i++)
        for (size_t first = 0; first < problems[i].grid->rows; first += ROWS, at++) {
            size_t left = problems[i].grid->rows - first;
            if (items)
                items[at] = (struct item){&problems[i], first, left < ROWS ? left : ROWS, 0};
        }
    return at;
}

int refine_run(struct parallel *pool, const struct grid_rule *rule, size_t passes,
               struct refine_problem *problems, size_t count, struct err *err)
{
    size_t threads = pool ? parallel_threads(pool) : 1, d = 0, grids = 0;
    size_t items = make_items(NULL, problems, count);
    struct job j = {.rule = rule, .passes = passes};
    for (size_t i = 0; i < count; i++) {
        d = problems[i].grid->columns > d ? problems[i].grid->columns : d;
        grids = problems[i].grid->grids > grids ? problems[i].grid->grids : grids;
        problems[i].loss = 0;
    }
    j.items = mem_array(items, sizeof *j.items, err);
    j.spaces = mem_array(threads, sizeof *j.spaces, err);
    int rc = j.items && j.spaces ? 0 : ERR_NOMEM;
    for (size_t i = 0; rc == 0 && i < threads; i++)
        rc = space_init(&j.spaces[i], d, grids, err);
    if (rc == 0) {
        make_items(j.items, problems, count);
        parallel_for(pool, items, run_item, &j);
    }
    for (size_t i = 0; rc == 0 && i < items; i++)
        j.items[i].problem->loss += j.items[i].loss;
    for (size_t i = 0; j.spaces && i < threads; i++)
        space_release(&j.spaces[i]);
    free(j.spaces);
    free(j.items);
    return rc;
}
