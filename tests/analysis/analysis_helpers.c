#include "analysis_helpers.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

double helper_uniform(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

static void route(struct trace *t, size_t at, unsigned holes, uint64_t *seed)
{
    for (size_t k = 0; k < t->top_k; k++) {
        double x = helper_uniform(seed);
        size_t e = (size_t)(x * x * (double)t->experts);
        for (bool taken = true; taken;) {
            taken = false;
            for (size_t j = 0; j < k; j++)
                taken |= t->routed[at + j] == e;
            e = taken ? (e + 1) % t->experts : e;
        }
        t->routed[at + k] = (uint16_t)e;
        if (t->gates)
            t->gates[at + k] = (float)helper_uniform(seed);
    }
    for (size_t k = 0; k < t->top_k; k++)
        if (helper_uniform(seed) * 100 < holes)
            t->routed[at + k] = TRACE_NOT_ROUTED;
}

void helper_trace(struct trace *t, size_t layers, size_t experts, size_t top_k, size_t positions,
                  size_t vocab, unsigned holes, bool gates, uint64_t seed)
{
    memset(t, 0, sizeof *t);
    t->layers = layers;
    t->experts = experts;
    t->top_k = top_k;
    t->positions = positions;
    t->vocab = vocab;
    t->windows = 1;
    t->window = positions;
    if (trace_alloc(t, gates, NULL) < 0)
        return;
    for (size_t p = 0; p < positions; p++) {
        double x = helper_uniform(&seed);
        t->ids[p] = (uint32_t)(x * x * x * (double)vocab);
    }
    for (size_t l = 0; l < layers; l++) {
        t->layer_index[l] = (uint16_t)(2 * l + 1);
        for (size_t p = 0; p < positions; p++)
            route(t, (l * positions + p) * top_k, holes, &seed);
    }
}

static void fill_losses(struct losses_expert *x, uint64_t *seed)
{
    double scale = exp(-9.0 * helper_uniform(seed));
    x->tokens = (size_t)(helper_uniform(seed) * 5000);
    x->outlier = 1 + 20 * helper_uniform(seed);
    for (size_t k = 0; k < PLAN_LINEARS; k++)
        for (size_t w = 0; w < 4; w++)
            x->loss[k][w] =
                scale * pow(4.5, -(double)(w + (w == 3))) * (0.3 + 1.7 * helper_uniform(seed));
}

void helper_losses(struct losses *out, const struct model_config *config, size_t group_size,
                   uint64_t seed)
{
    static const unsigned widths[] = {2, 3, 4, 8};
    memset(out, 0, sizeof *out);
    assert_int_equal(losses_alloc(out, model_config_moe_layers(config), config->experts, NULL), 0);
    settings_defaults(&out->settings);
    out->settings.group_size = group_size;
    snprintf(out->model_name, sizeof out->model_name, "helper");
    snprintf(out->model_type, sizeof out->model_type, "%s", config->type_name);
    snprintf(out->config_sha256, sizeof out->config_sha256, "%s", config->sha256);
    out->positions = 16384;
    out->probe_positions = 4096;
    out->widths_count = 4;
    memcpy(out->widths, widths, sizeof widths);
    for (size_t l = 0; l < out->layers_count; l++) {
        out->layers[l].layer = model_config_moe_layer(config, l);
        out->layers[l].sensitivity = 0.01 + helper_uniform(&seed);
        out->layers[l].importance = helper_uniform(&seed);
        for (size_t e = 0; e < out->experts; e++)
            fill_losses(&out->layers[l].experts[e], &seed);
        if (config->shared_size)
            fill_losses(&out->layers[l].shared, &seed);
    }
    out->layers_done = out->layers_count;
    out->complete = true;
}

void helper_channels(struct losses *out, uint64_t seed)
{
    static const double shares[] = {0.0625, 0.125, 0.25};
    out->shares_count = 3;
    memcpy(out->shares, shares, sizeof shares);
    for (size_t i = 0; i < out->layers_count * out->experts; i++) {
        struct losses_expert *x = &out->layers[i / out->experts].experts[i % out->experts];
        for (size_t k = 0; k < PLAN_LINEARS; k++)
            for (size_t w = 0; w < losses_channel_widths(out); w++)
                for (size_t s = 0; s < 3; s++)
                    x->channel_loss[k][w][s] =
                        x->loss[k][w] * pow(1 - shares[s], 2 + 4 * helper_uniform(&seed));
    }
}
