#include "src/quant/gates.h"

#include <math.h>
#include <stdlib.h>

#include "data/base/mem.h"

int gates_init(struct gates *g, struct backend *b, size_t experts, struct err *err)
{
    *g = (struct gates){.b = b, .experts = experts};
    g->tokens = mem_array(experts, sizeof *g->tokens, err);
    g->square = mem_array(experts, sizeof *g->square, err);
    g->fourth = mem_array(experts, sizeof *g->fourth, err);
    if (g->tokens && g->square && g->fourth)
        return 0;
    gates_release(g);
    return ERR_NOMEM;
}

void gates_release(struct gates *g)
{
    if (g->scaled)
        g->b->ops->tensor_free(g->b, g->scaled);
    free(g->tokens);
    free(g->square);
    free(g->fourth);
    *g = (struct gates){0};
}

static int on_routing(void *context, size_t first, const struct backend_groups *groups,
                      struct err *err)
{
    struct gates *g = context;
    (void)first;
    (void)err;
    for (size_t i = 0; i < groups->tokens * groups->top_k; i++) {
        double square = (double)groups->gate[i] * (double)groups->gate[i];
        g->tokens[groups->expert[i]]++;
        g->square[groups->expert[i]] += square;
        g->fourth[groups->expert[i]] += square * square;
    }
    return 0;
}

struct forward_tap gates_tap(struct gates *g)
{
    return (struct forward_tap){.context = g, .routing = on_routing};
}

double gates_weight(const struct gates *g, size_t expert, double gate, size_t d)
{
    double square = g->square[expert], fourth = g->fourth[expert];
    if (!(fourth > 0.0))
        return 1.0;
    double worth = square * square / fourth;
    double part = 0.5 * worth / (worth + (double)d);
    return 1.0 + part * (gate * gate * (double)g->tokens[expert] / square - 1.0);
}

void gates_roots(const struct gates *g, const struct backend_groups *groups, size_t d, float *root)
{
    for (size_t i = 0; i < groups->tokens * groups->top_k; i++)
        root[groups->slot[i]] =
            (float)sqrt(gates_weight(g, groups->expert[i], (double)groups->gate[i], d));
}

static int make_room(struct gates *g, size_t rows, size_t d, struct err *err)
{
    if (g->scaled && g->rows >= rows && g->d == d)
        return 0;
    if (g->scaled)
        g->b->ops->tensor_free(g->b, g->scaled);
    g->scaled = NULL;
    g->rows = rows;
    g->d = d;
    return g->b->ops->tensor_new(g->b, &g->scaled, TENSOR_F32, rows, d, err);
}

int gates_scale(struct gates *g, const struct tensor **out, const struct tensor *x,
                const struct backend_groups *groups, size_t d, struct err *err)
{
    size_t rows = groups->tokens * groups->top_k;
    float *root = mem_array(rows, sizeof *root, err);
    float *cells = mem_array(rows, d * sizeof *cells, err);
    int rc = root && cells ? make_room(g, rows, d, err) : ERR_NOMEM;
    if (rc == 0)
        gates_roots(g, groups, d, root);
    if (rc == 0)
        rc = g->b->ops->download(g->b, x, 0, rows, cells, err);
    for (size_t r = 0; rc == 0 && r < rows; r++)
        for (size_t j = 0; j < d; j++)
            cells[r * d + j] *= root[r];
    if (rc == 0)
        rc = g->b->ops->upload(g->b, g->scaled, 0, rows, SOURCE_F32, cells, err);
    *out = g->scaled;
    free(root);
    free(cells);
    return rc;
}
