/* What losses predict for plans, and for the plans of all budgets. */
#include "analysis/budget_internal.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"

/* --- Prediction --- */

static bool loss_at(double *out, const struct losses *l, const struct losses_expert *x,
                    size_t linear, unsigned bits)
{
    *out = 0;
    for (size_t w = 0; w < l->widths_count; w++)
        if (l->widths[w] == bits) {
            *out = x->loss[linear][w];
            return true;
        }
    return bits == BUDGET_WHOLE;
}

/* A linear's loss with some of its inputs as channels. */
struct point {
    size_t channels;
    double loss;
};

static double line(const struct point *a, const struct point *b, size_t channels)
{
    double part = b->channels > a->channels
                      ? (double)(channels - a->channels) / (double)(b->channels - a->channels)
                      : 0;
    return (1 - part) * a->loss + part * b->loss;
}

/* Loss at some number of channels: straight lines through the measured ones. False where it lies
 * behind the last of them. */
static bool loss_between(double *out, const struct losses *l, const struct losses_expert *x,
                         size_t linear, unsigned bits, size_t channels, size_t inputs,
                         struct point *last)
{
    size_t w = 0;
    while (w < losses_channel_widths(l) && l->widths[w] != bits)
        w++;
    for (size_t s = 0; w < losses_channel_widths(l) && s < l->shares_count; s++) {
        struct point p = {losses_channels(l->shares[s], inputs), x->channel_loss[linear][w][s]};
        if (channels <= p.channels) {
            *out = line(last, &p, channels);
            return true;
        }
        *last = p;
    }
    return false;
}

/* Adds the loss of a linear of a routed expert. measured: the losses know its channels. */
static bool add_linear(double *sum, const struct losses *l, const struct losses_expert *x,
                       const struct plan *p, const struct plan_expert *planned,
                       enum plan_linear linear, size_t inputs, bool measured)
{
    unsigned bits = plan_expert_bits(planned, linear);
    size_t channels = planned->channels[linear];
    struct point last = {0}, all = {.channels = inputs};
    double loss;
    if (!loss_at(&last.loss, l, x, linear, bits))
        return false;
    if (channels == 0)
        loss = last.loss;
    else if (!measured || !loss_between(&loss, l, x, linear, bits, channels, inputs, &last)) {
        if (!loss_at(&all.loss, l, x, linear, p->settings.bits_channel))
            return false;
        loss = line(&last, &all, channels);
    }
    *sum += loss;
    return true;
}

bool budget_predict(double *rise, const struct plan *plan, const struct losses *losses,
                    const struct model_config *config)
{
    bool measured = losses_check_channels(losses, NULL, &plan->settings, NULL) == 0;
    *rise = 0;
    for (size_t i = 0; i < losses->layers_count; i++) {
        const struct losses_layer *m = &losses->layers[i];
        double sum = 0, shared;
        for (size_t k = 0; k < PLAN_LINEARS; k++) {
            enum plan_linear linear = (enum plan_linear)k;
            size_t inputs = linear == PLAN_DOWN ? config->expert_size : config->hidden;
            for (size_t e = 0; e < losses->experts; e++)
                if (!add_linear(&sum, losses, &m->experts[e], plan, &plan->layers[i].experts[e],
                                linear, inputs, measured))
                    return false;
            if (!loss_at(&shared, losses, &m->shared, k,
                         plan_shared_bits(plan, &plan->layers[i], linear)))
                return false;
            sum += shared;
        }
        *rise += sum * m->sensitivity;
    }
    return true;
}

bool budget_predict_uniform(double *rise, unsigned bits, const struct losses *losses)
{
    *rise = 0;
    for (size_t i = 0; i < losses->layers_count; i++) {
        const struct losses_layer *m = &losses->layers[i];
        double sum = 0, one;
        for (size_t k = 0; k < PLAN_LINEARS; k++)
            for (size_t e = 0; e <= losses->experts; e++) {
                const struct losses_expert *x = e < losses->experts ? &m->experts[e] : &m->shared;
                if (!loss_at(&one, losses, x, k, bits))
                    return false;
                sum += one;
            }
        *rise += sum * m->sensitivity;
    }
    return true;
}

/* --- The front --- */

/* What an item adds to the rise at one of its choices. */
static double item_rise(const struct budget *b, const struct losses *l, size_t item, size_t choice)
{
    size_t part = item % b->parts, unit = item / b->parts % b->units;
    size_t layer = item / b->parts / b->units, each = PLAN_LINEARS / b->parts;
    const struct losses_layer *m = &l->layers[layer];
    const struct losses_expert *x = unit < l->experts ? &m->experts[unit] : &m->shared;
    double sum = 0;
    for (size_t k = part * each; k < (part + 1) * each; k++)
        sum += budget_choice_loss(&b->offer[choice], x, k);
    return sum * m->sensitivity;
}

static void fill(struct budget_front *f, const struct budget *b, const struct losses *losses,
                 struct allocate_front *hull)
{
    double rise = 0;
    for (size_t i = 0; i < b->problem.items; i++)
        rise += item_rise(b, losses, i, hull->first[i]);
    for (size_t s = 0; s < hull->steps; s++) {
        if (s > 0) {
            size_t item = hull->item[s];
            rise += item_rise(b, losses, item, hull->to[s]) -
                    item_rise(b, losses, item, hull->first[item]);
            hull->first[item] = hull->to[s]; /* where the item stands now */
        }
        f->bits[s] = (double)hull->cost[s] / b->weights;
        f->rise[s] = fmax(rise, 0); /* not below 0 by the rounding of the sums */
    }
}

int budget_front_make(struct budget_front *out, const struct budget *b, const struct losses *losses,
                      struct err *err)
{
    struct allocate_front hull;
    *out = (struct budget_front){0};
    int rc = allocate_front_make(&hull, &b->problem, err);
    if (rc < 0)
        return rc;
    out->points = hull.steps;
    out->bits = mem_array(hull.steps, sizeof *out->bits, err);
    out->rise = mem_array(hull.steps, sizeof *out->rise, err);
    if (out->bits && out->rise) {
        fill(out, b, losses, &hull);
    } else {
        budget_front_release(out);
        rc = ERR_NOMEM;
    }
    allocate_front_release(&hull);
    return rc;
}

void budget_front_release(struct budget_front *f)
{
    free(f->bits);
    free(f->rise);
    *f = (struct budget_front){0};
}

bool budget_uniform_bits(double *bits, const struct budget *b, unsigned width)
{
    size_t choice = 0;
    double cost = 0;
    while (choice < b->problem.choices && b->offer[choice].bits != width)
        choice++;
    if (choice == b->problem.choices)
        return false;
    for (size_t i = 0; i < b->problem.items; i++)
        cost += (double)b->cost[i * b->problem.choices + choice];
    *bits = cost / b->weights;
    return true;
}

/* The last point whose bits do not exceed these; SIZE_MAX: none. */
static size_t point_at(const struct budget_front *f, double bits)
{
    size_t low = 0, high = f->points;
    if (f->points == 0 || !(f->bits[0] <= bits))
        return SIZE_MAX;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (f->bits[middle] <= bits)
            low = middle;
        else
            high = middle;
    }
    return low;
}

double budget_front_rise(const struct budget_front *f, double bits)
{
    size_t at = point_at(f, bits);
    return at == SIZE_MAX ? NAN : f->rise[at];
}

double budget_front_bits(const struct budget_front *f, double rise)
{
    for (size_t i = 0; i < f->points; i++)
        if (f->rise[i] <= rise)
            return f->bits[i];
    return NAN;
}
