#include "analysis/budget.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/packed.h"

enum { WHOLE = 16 };

const char *const budget_grain_names[BUDGET_GRAINS] = {"linear", "expert"};

void budget_defaults(struct budget_options *o)
{
    *o = (struct budget_options){.grain = BUDGET_LINEARS, .sensitivity = 0.75};
}

/* --- The table --- */

struct filler {
    struct budget *b;
    const struct plan *plan;
    const struct losses *losses;
    const struct model_config *config;
    const struct budget_options *o;
};

static const struct losses_expert *unit_losses(const struct losses *l, size_t layer, size_t unit)
{
    return unit < l->experts ? &l->layers[layer].experts[unit] : &l->layers[layer].shared;
}

/* Bits of a linear at a width: its weights' alone, or all that the file holds. */
static uint64_t linear_cost(const struct filler *f, size_t unit, size_t linear, unsigned width)
{
    const struct model_config *c = f->config;
    size_t size = unit < f->losses->experts ? c->expert_size : c->shared_size;
    size_t in = linear == PLAN_DOWN ? size : c->hidden,
           out = linear == PLAN_DOWN ? c->hidden : size;
    if (!f->o->bytes)
        return (uint64_t)in * out * width;
    if (width == WHOLE)
        return (uint64_t)in * out * dtype_size(c->dtype) * 8;
    return packed_predict_bits(in, out, width, f->plan->settings.group_size, 0, 0, CHECKPOINT_MOQA);
}

/* What a unit's losses count. */
static double unit_weight(const struct filler *f, size_t layer, size_t unit)
{
    double weight = pow(f->losses->layers[layer].sensitivity, f->o->sensitivity);
    if (f->o->significance == 0 || unit >= f->losses->experts)
        return weight;
    const struct plan_layer *l = &f->plan->layers[layer];
    double mean = 0;
    for (size_t e = 0; e < f->losses->experts; e++)
        mean += l->experts[e].significance / (double)f->losses->experts;
    return mean > 0 ? weight * pow(l->experts[unit].significance / mean, f->o->significance)
                    : weight;
}

static void fill_unit(const struct filler *f, size_t layer, size_t unit)
{
    struct budget *b = f->b;
    size_t choices = b->problem.choices, each = PLAN_LINEARS / b->parts;
    const struct losses_expert *x = unit_losses(f->losses, layer, unit);
    double weight = unit_weight(f, layer, unit);
    unsigned pin =
        f->o->pins && unit < f->losses->experts ? f->o->pins[layer * f->losses->experts + unit] : 0;
    for (size_t part = 0; part < b->parts; part++) {
        size_t at = ((layer * b->units + unit) * b->parts + part) * choices;
        for (size_t c = 0; c < choices; c++) {
            for (size_t k = part * each; k < (part + 1) * each; k++) {
                b->cost[at + c] += linear_cost(f, unit, k, b->width[c]);
                b->loss[at + c] += c < f->losses->widths_count ? weight * x->loss[k][c] : 0.0;
            }
            b->allowed[at + c] = !pin || b->width[c] == pin;
        }
    }
}

static bool is_offered(const struct budget *b, unsigned bits)
{
    for (size_t c = 0; c < b->problem.choices; c++)
        if (b->width[c] == bits)
            return true;
    return false;
}

static int check_pins(const struct filler *f, struct err *err)
{
    const uint8_t *pins = f->o->pins;
    for (size_t i = 0; pins && i < f->losses->layers_count * f->losses->experts; i++)
        if (pins[i] && !is_offered(f->b, pins[i]))
            return err_set(err, ERR_USAGE, NULL,
                           "expert %zu of layer %zu is pinned to %u bits, which were not measured",
                           i % f->losses->experts, i / f->losses->experts, pins[i]);
    return 0;
}

int budget_init(struct budget *b, const struct plan *plan, const struct losses *losses,
                const struct model_config *config, const struct budget_options *options,
                struct err *err)
{
    struct filler f = {b, plan, losses, config, options};
    size_t items, cells;
    *b = (struct budget){.layers = losses->layers_count, .shared = config->shared_size > 0};
    b->units = losses->experts + b->shared;
    b->parts = options->grain == BUDGET_LINEARS ? PLAN_LINEARS : 1;
    for (size_t c = 0; c < losses->widths_count; c++)
        b->width[c] = losses->widths[c];
    b->width[losses->widths_count] = WHOLE;
    b->problem.choices = losses->widths_count + 1;
    if (!mem_mul(&items, b->layers, b->units) || !mem_mul(&items, items, b->parts) ||
        !mem_mul(&cells, items, b->problem.choices))
        return err_set(err, ERR_USAGE, NULL, "%zu layers of %zu experts overflow", b->layers,
                       b->units);
    int rc = check_pins(&f, err);
    if (rc < 0)
        return rc;
    b->cost = mem_array(cells, sizeof *b->cost, err);
    b->loss = mem_array(cells, sizeof *b->loss, err);
    b->allowed = mem_array(cells, sizeof *b->allowed, err);
    b->choice = mem_array(items, sizeof *b->choice, err);
    if (!b->cost || !b->loss || !b->allowed || !b->choice) {
        budget_release(b);
        return ERR_NOMEM;
    }
    for (size_t l = 0; l < b->layers; l++)
        for (size_t u = 0; u < b->units; u++)
            fill_unit(&f, l, u);
    size_t unit = 3 * config->hidden * config->expert_size;
    size_t shared = 3 * config->hidden * config->shared_size;
    b->weights = (double)b->layers * ((double)losses->experts * (double)unit + (double)shared);
    b->problem.items = items;
    b->problem.cost = b->cost;
    b->problem.loss = b->loss;
    b->problem.allowed = b->allowed;
    b->problem.states_max = options->states_max;
    return 0;
}

void budget_release(struct budget *b)
{
    free(b->cost);
    free(b->loss);
    free(b->allowed);
    free(b->choice);
    *b = (struct budget){0};
}

/* --- From choices to a plan --- */

/* `bits` of an expert: the width of most of its linears, which have the same size; of three
 * different ones the middle one. */
static void set_expert(struct plan_expert *x, const uint8_t bits[PLAN_LINEARS])
{
    bool same = bits[PLAN_GATE] == bits[PLAN_UP] && bits[PLAN_UP] == bits[PLAN_DOWN];
    unsigned low = bits[0], high = bits[0], sum = bits[0];
    for (size_t i = 1; i < PLAN_LINEARS; i++) {
        low = bits[i] < low ? bits[i] : low;
        high = bits[i] > high ? bits[i] : high;
        sum += bits[i];
    }
    x->bits = sum - low - high;
    memset(x->linear_bits, 0, sizeof x->linear_bits);
    if (!same)
        memcpy(x->linear_bits, bits, sizeof x->linear_bits);
    memset(x->channels, 0, sizeof x->channels);
}

static void fill_plan(const struct budget *b, struct plan *p)
{
    for (size_t i = 0; i < b->layers * b->units; i++) {
        uint8_t bits[PLAN_LINEARS];
        struct plan_layer *l = &p->layers[i / b->units];
        for (size_t k = 0; k < PLAN_LINEARS; k++)
            bits[k] = (uint8_t)b->width[b->choice[i * b->parts + (b->parts == 1 ? 0 : k)]];
        if (i % b->units < p->experts)
            set_expert(&l->experts[i % b->units], bits);
        else
            memcpy(l->shared_bits, bits, sizeof l->shared_bits);
    }
    p->settings.beta_ch = 0;
}

int budget_solve(struct budget *b, struct plan *plan, double bits, struct err *err)
{
    double least = 0;
    for (size_t i = 0; i < b->problem.items; i++) {
        uint64_t cheapest = UINT64_MAX;
        for (size_t c = 0; c < b->problem.choices; c++) {
            uint64_t cost = b->cost[i * b->problem.choices + c];
            if (b->allowed[i * b->problem.choices + c] && cost < cheapest)
                cheapest = cost;
        }
        least += (double)cheapest;
    }
    /* A budget that is exactly the narrowest widths' must not fail by rounding. */
    double wanted = floor(bits * b->weights + 0.5);
    if (!(wanted >= least) || bits > 64)
        return err_set(err, ERR_USAGE, NULL,
                       "a budget of %g bits a weight: expected %.6g, what the narrowest widths "
                       "take, to 64",
                       bits, least / b->weights);
    b->problem.budget = (uint64_t)wanted;
    int rc = allocate_solve(&b->result, b->choice, &b->problem, err);
    if (rc == 0)
        fill_plan(b, plan);
    return rc;
}
