#include "analysis/predict.h"

double predict_error(unsigned bits)
{
    double steps = bits < 16 ? (double)((1u << bits) - 1) : 0;
    return bits == 0 || bits >= 16 ? 0 : (15 / steps) * (15 / steps);
}

/* Of a linear with `channels` of its `inputs` at a width of their own. */
static double linear_error(unsigned bits, unsigned channel_bits, size_t channels, size_t inputs)
{
    double part = inputs && bits < 16 ? (double)channels / (double)inputs : 0;
    return (1 - part) * predict_error(bits) + part * predict_error(channel_bits);
}

/* gate, up and down have the same number of weights. */
static double expert_error(const struct plan *p, const struct plan_expert *x,
                           const struct model_config *config)
{
    double sum = 0;
    for (int i = 0; i < PLAN_LINEARS; i++) {
        size_t inputs = i == PLAN_DOWN ? config->expert_size : config->hidden;
        sum += linear_error(plan_expert_bits(x, (enum plan_linear)i), p->settings.bits_channel,
                            x->channels[i], inputs);
    }
    return sum / PLAN_LINEARS;
}

double predict_plan_loss(const struct plan *p, const struct model_config *config)
{
    double loss = 0;
    for (size_t l = 0; l < p->layers_count; l++) {
        const struct plan_expert *experts = p->layers[l].experts;
        double weighted = 0, plain = 0, total = 0;
        for (size_t e = 0; e < p->experts; e++) {
            double error = expert_error(p, &experts[e], config);
            weighted += experts[e].significance * error;
            plain += error;
            total += experts[e].significance;
        }
        loss += total > 0 ? weighted / total : plain / (double)p->experts;
    }
    return p->layers_count ? loss / (double)p->layers_count : 0;
}
