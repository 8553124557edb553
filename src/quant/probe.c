#include "src/quant/probe.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"
#include "src/eval/divergence.h"

size_t probe_positions(const struct probe *p)
{
    return p->windows * p->window;
}

static int new_forward(struct forward **out, const struct probe *p, struct err *err)
{
    return forward_new(out, p->model, p->b, p->ids, p->starts, p->windows, p->window, err);
}

int probe_init(struct probe *p, const struct model *m, struct backend *b, const uint32_t *ids,
               const size_t *starts, size_t windows, size_t window, struct err *err)
{
    *p = (struct probe){.b = b, .model = m, .ids = ids};
    p->window = window < PROBE_WINDOW_MAX ? window : PROBE_WINDOW_MAX;
    size_t most = PROBE_POSITIONS / p->window;
    p->windows = windows < most ? windows : most;
    p->layers = model_config_moe_layers(m->config);
    p->starts = mem_array(p->windows, sizeof *p->starts, err);
    p->copy = mem_array(p->layers, sizeof(struct forward *), err);
    size_t row = m->config->hidden * sizeof *p->hidden;
    p->before = mem_array(probe_positions(p), row, err);
    p->hidden = mem_array(probe_positions(p), row, err);
    int rc = p->starts && p->copy && p->before && p->hidden ? 0 : ERR_NOMEM;
    /* Evenly over the text. */
    for (size_t w = 0; rc == 0 && w < p->windows; w++)
        p->starts[w] = starts[w * windows / p->windows];
    if (rc == 0)
        rc = new_forward(&p->base, p, err);
    if (rc < 0)
        probe_release(p);
    return rc;
}

void probe_release(struct probe *p)
{
    for (size_t i = 0; p->copy && i < p->layers; i++)
        forward_free(p->copy[i]);
    forward_free(p->base);
    free(p->copy);
    free(p->starts);
    free(p->before);
    free(p->hidden);
    *p = (struct probe){0};
}

int probe_attention(struct probe *p, const struct model_layer *l, struct err *err)
{
    int rc = forward_get_hidden(p->base, p->before, err);
    if (rc == 0)
        rc = forward_attention(p->base, l, NULL, true, err);
    for (size_t i = 0; rc == 0 && i < p->layers; i++)
        if (p->copy[i])
            rc = forward_attention(p->copy[i], l, NULL, true, err);
    return rc;
}

/* 1 - mean cosine of the rows of two matrices. */
static double turn(const float *a, const float *b, size_t rows, size_t columns)
{
    double sum = 0;
    for (size_t r = 0; r < rows; r++) {
        double ab = 0, aa = 0, bb = 0;
        for (size_t i = r * columns; i < (r + 1) * columns; i++) {
            ab += (double)a[i] * (double)b[i];
            aa += (double)a[i] * (double)a[i];
            bb += (double)b[i] * (double)b[i];
        }
        sum += aa > 0 && bb > 0 ? ab / sqrt(aa * bb) : 0.0;
    }
    return 1.0 - sum / (double)rows;
}

int probe_mlp(struct probe *p, const struct model_layer *l, size_t moe, double *importance,
              struct err *err)
{
    int rc = 0;
    /* Those of the layers before; the layer's own follows once its experts are quantized. */
    for (size_t i = 0; rc == 0 && i < p->layers; i++)
        if (p->copy[i])
            rc = forward_mlp(p->copy[i], l, NULL, true, err);
    if (rc == 0 && moe < p->layers) {
        rc = new_forward(&p->copy[moe], p, err);
        if (rc == 0)
            rc = forward_get_hidden(p->base, p->hidden, err);
        if (rc == 0)
            rc = forward_set_hidden(p->copy[moe], p->hidden, err);
    }
    if (rc == 0)
        rc = forward_mlp(p->base, l, NULL, true, err);
    if (rc == 0)
        rc = forward_get_hidden(p->base, p->hidden, err);
    if (rc == 0)
        *importance = turn(p->before, p->hidden, probe_positions(p), p->model->config->hidden);
    return rc;
}

int probe_mlp_quantized(struct probe *p, const struct model_layer *l, size_t moe, struct err *err)
{
    return forward_mlp(p->copy[moe], l, NULL, true, err);
}

int probe_divergence(struct probe *p, double *divergence, struct err *err)
{
    size_t vocab = p->model->config->vocab;
    float *original = mem_array(p->window, vocab * sizeof *original, err);
    float *copy = mem_array(p->window, vocab * sizeof *copy, err);
    double *row = mem_array(p->window, sizeof *row, err);
    int rc = original && copy && row ? 0 : ERR_NOMEM;
    for (size_t i = 0; i < p->layers; i++)
        divergence[i] = 0;
    for (size_t w = 0; rc == 0 && w < p->windows; w++) {
        rc = forward_logits(p->base, w, p->window, original, err);
        for (size_t i = 0; rc == 0 && i < p->layers; i++) {
            rc = forward_logits(p->copy[i], w, p->window, copy, err);
            if (rc < 0)
                break;
            divergence_rows(row, original, copy, p->window, vocab, backend_pool(p->b));
            for (size_t r = 0; r < p->window; r++)
                divergence[i] += row[r] / (double)probe_positions(p);
        }
    }
    free(original);
    free(copy);
    free(row);
    return rc;
}
