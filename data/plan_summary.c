#include <string.h>

#include "data/model_config.h"
#include "data/packed.h"
#include "data/plan.h"

/* Sums over linear layers. A model's experts stay far below 2^60 bits, so plain adds do. */
struct tally {
    double weights, nominal;
    double bits_before, bits_after;
};

static void add_linear(struct tally *t, size_t in, size_t out, unsigned bits, size_t channels,
                       const struct settings *s, size_t original)
{
    double weights = (double)in * (double)out;
    bool whole = bits == 16; /* stays as the checkpoint has it */
    double chosen = (double)channels * (double)out;
    t->weights += weights;
    t->nominal += (weights - chosen) * bits + chosen * s->bits_channel;
    t->bits_before += weights * (double)original;
    if (whole)
        t->bits_after += weights * (double)original;
    else
        t->bits_after +=
            (double)packed_predict_bits(in, out, bits, s->group_size,
                                        channels ? s->bits_channel : 0, channels, CHECKPOINT_MOQA);
}

static void add_expert(struct tally *t, size_t hidden, size_t size, const struct plan_expert *x,
                       const struct settings *s, size_t original)
{
    for (int i = 0; i < PLAN_LINEARS; i++) {
        size_t in = i == PLAN_DOWN ? size : hidden, out = i == PLAN_DOWN ? hidden : size;
        add_linear(t, in, out, plan_expert_bits(x, (enum plan_linear)i), x->channels[i], s,
                   original);
    }
}

double plan_expert_mean_bits(const struct plan *p, const struct plan_expert *x,
                             const struct model_config *config)
{
    struct tally t = {0};
    add_expert(&t, config->hidden, config->expert_size, x, &p->settings,
               dtype_size(config->dtype) * 8);
    return t.nominal / t.weights;
}

int plan_summarize(struct plan *p, const struct model_config *config, struct err *err)
{
    struct tally t = {0};
    size_t original = dtype_size(config->dtype) * 8;
    int rc = plan_check_model(p, NULL, config, err);
    if (rc < 0)
        return rc;
    for (size_t l = 0; l < p->layers_count; l++) {
        for (size_t e = 0; e < p->experts; e++)
            add_expert(&t, config->hidden, config->expert_size, &p->layers[l].experts[e],
                       &p->settings, original);
        struct plan_expert shared = {.bits = p->settings.bits_shared};
        memcpy(shared.linear_bits, p->layers[l].shared_bits, sizeof shared.linear_bits);
        if (config->shared_size)
            add_expert(&t, config->hidden, config->shared_size, &shared, &p->settings, original);
    }
    p->summary.nominal_bits = t.nominal / t.weights;
    p->summary.effective_bits = t.bits_after / t.weights;
    p->summary.bytes_before = (uint64_t)(t.bits_before / 8);
    p->summary.bytes_after = (uint64_t)(t.bits_after / 8);
    return 0;
}
