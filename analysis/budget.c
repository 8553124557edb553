#include "analysis/budget_internal.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"
#include "data/packed.h"

const char *const budget_grain_names[BUDGET_GRAINS] = {"linear", "expert", "channel"};

bool budget_grain_find(enum budget_grain *out, const char *name)
{
    for (int i = 0; i < BUDGET_GRAINS; i++)
        if (strcmp(name, budget_grain_names[i]) == 0) {
            *out = (enum budget_grain)i;
            return true;
        }
    return false;
}

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

static size_t channels_of(const struct budget_choice *c, size_t inputs)
{
    return c->share > 0 ? losses_channels(c->share, inputs) : 0;
}

/* Bits of a linear at a choice: its weights' alone, or all that the file holds. */
static uint64_t linear_cost(const struct filler *f, size_t unit, size_t linear,
                            const struct budget_choice *choice)
{
    const struct model_config *c = f->config;
    size_t size = unit < f->losses->experts ? c->expert_size : c->shared_size;
    size_t in = linear == PLAN_DOWN ? size : c->hidden,
           out = linear == PLAN_DOWN ? c->hidden : size;
    size_t channels = channels_of(choice, in);
    unsigned channel_bits = channels ? f->plan->settings.bits_channel : 0;
    if (!f->o->bytes)
        return ((uint64_t)(in - channels) * choice->bits + (uint64_t)channels * channel_bits) * out;
    if (choice->bits == BUDGET_WHOLE)
        return (uint64_t)in * out * dtype_size(c->dtype) * 8;
    return packed_predict_bits(in, out, choice->bits, f->plan->settings.group_size, channel_bits,
                               channels, CHECKPOINT_MOQA);
}

double budget_choice_loss(const struct budget_choice *c, const struct losses_expert *x,
                          size_t linear)
{
    if (c->bits == BUDGET_WHOLE)
        return 0;
    return c->share > 0 ? x->channel_loss[linear][c->width][c->share_index]
                        : x->loss[linear][c->width];
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
            const struct budget_choice *choice = &b->offer[c];
            for (size_t k = part * each; k < (part + 1) * each; k++) {
                b->cost[at + c] += linear_cost(f, unit, k, choice);
                b->loss[at + c] += weight * budget_choice_loss(choice, x, k);
            }
            b->allowed[at + c] =
                pin ? choice->bits == pin : unit < f->losses->experts || choice->share == 0;
        }
    }
}

static bool is_offered(const struct budget *b, unsigned bits)
{
    for (size_t c = 0; c < b->problem.choices; c++)
        if (b->offer[c].bits == bits)
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

/* The widths, the whole, and the widths with channels. */
static void list_offers(struct budget *b, const struct losses *l, enum budget_grain grain)
{
    size_t count = 0;
    _Static_assert(LOSSES_WIDTHS_MAX * (1 + LOSSES_SHARES_MAX) + 1 <= ALLOCATE_CHOICES_MAX,
                   "every width with every share is a choice");
    for (size_t w = 0; w < l->widths_count; w++)
        b->offer[count++] = (struct budget_choice){.bits = l->widths[w], .width = w};
    b->offer[count++] = (struct budget_choice){.bits = BUDGET_WHOLE};
    for (size_t w = 0; grain == BUDGET_CHANNELS && w < losses_channel_widths(l); w++)
        for (size_t s = 0; s < l->shares_count; s++)
            b->offer[count++] = (struct budget_choice){l->widths[w], l->shares[s], w, s};
    b->problem.choices = count;
}

int budget_init(struct budget *b, const struct plan *plan, const struct losses *losses,
                const struct model_config *config, const struct budget_options *options,
                struct err *err)
{
    struct filler f = {b, plan, losses, config, options};
    size_t items, cells;
    *b = (struct budget){.layers = losses->layers_count,
                         .shared = config->shared_size > 0,
                         .hidden = config->hidden,
                         .expert_size = config->expert_size};
    b->units = losses->experts + b->shared;
    b->parts = options->grain == BUDGET_EXPERTS ? 1 : PLAN_LINEARS;
    list_offers(b, losses, options->grain);
    if (!mem_mul(&items, b->layers, b->units) || !mem_mul(&items, items, b->parts) ||
        !mem_mul(&cells, items, b->problem.choices))
        return err_set(err, ERR_USAGE, NULL, "%zu layers of %zu experts overflow", b->layers,
                       b->units);
    int rc = options->grain == BUDGET_CHANNELS
                 ? losses_check_channels(losses, NULL, &plan->settings, err)
                 : 0;
    if (rc == 0)
        rc = check_pins(&f, err);
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
    b->problem.stop = options->stop;
    b->problem.stop_context = options->stop_context;
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
static void set_expert(struct plan_expert *x, const uint8_t bits[PLAN_LINEARS],
                       const size_t channels[PLAN_LINEARS])
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
    memcpy(x->channels, channels, sizeof x->channels);
}

static void fill_plan(const struct budget *b, struct plan *p)
{
    for (size_t i = 0; i < b->layers * b->units; i++) {
        uint8_t bits[PLAN_LINEARS];
        size_t channels[PLAN_LINEARS];
        struct plan_layer *l = &p->layers[i / b->units];
        for (size_t k = 0; k < PLAN_LINEARS; k++) {
            const struct budget_choice *c =
                &b->offer[b->choice[i * b->parts + (b->parts == 1 ? 0 : k)]];
            bits[k] = (uint8_t)c->bits;
            channels[k] = channels_of(c, k == PLAN_DOWN ? b->expert_size : b->hidden);
        }
        if (i % b->units < p->experts)
            set_expert(&l->experts[i % b->units], bits, channels);
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
