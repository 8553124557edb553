/* Routing of tokens to experts, their products, and the way back. The lists of tokens live on the
 * host, where the rest of the program reads them; an operation takes along what it needs. */
#include <math.h>

#include "gpu/cuda/cuda_backend.h"

static int check_gates(const struct backend_groups *g, struct err *err)
{
    for (size_t i = 0; i < g->tokens * g->top_k; i++)
        if (!isfinite(g->gate[i]) || g->gate[i] < 0)
            return err_set(err, ERR_NUMERIC, NULL,
                           "the router's output for row %zu of the chunk is not a number",
                           i / g->top_k);
    return 0;
}

/* groups->expert and groups->gate from the logits. */
static int choose(struct cuda_backend *c, struct backend_groups *g, const float *logits,
                  bool normalize, struct err *err)
{
    size_t choices = g->tokens * g->top_k, p_bytes = g->tokens * g->experts * sizeof(float);
    struct cuda_route_args args = {.logits = logits,
                                   .n = g->tokens,
                                   .experts = g->experts,
                                   .top_k = g->top_k,
                                   .normalize = normalize};
    int rc = cuda_alloc(c, &args.p, p_bytes, err);
    if (rc == 0)
        rc = cuda_alloc(c, &args.expert, choices * sizeof *args.expert, err);
    if (rc == 0)
        rc = cuda_alloc(c, &args.gate, choices * sizeof *args.gate, err);
    if (rc == 0)
        rc = cuda_check(c, cuda_k_route(c->compute, &args), "route", err);
    if (rc == 0)
        rc = cuda_get(c, g->expert, args.expert, choices * sizeof *args.expert, err);
    if (rc == 0)
        rc = cuda_get(c, g->gate, args.gate, choices * sizeof *args.gate, err);
    cuda_release(c, args.p, p_bytes);
    cuda_release(c, args.expert, choices * sizeof *args.expert);
    cuda_release(c, args.gate, choices * sizeof *args.gate);
    return rc;
}

int cuda_route(struct backend *b, struct backend_groups *groups, const struct tensor *logits,
               size_t n, size_t top_k, bool normalize, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t experts = logits->columns;
    int rc = cuda_expect(c, logits, "route: logits", TENSOR_F32, n, experts, err);
    if (rc < 0)
        return rc;
    if (experts == 0 || experts >= UINT16_MAX || top_k == 0 || top_k > experts ||
        top_k > CUDA_TOP_K_MAX)
        return err_set(err, ERR_USAGE, NULL, "route: %zu of %zu experts", top_k, experts);
    *groups = (struct backend_groups){.tokens = n, .experts = experts, .top_k = top_k};
    rc = backend_groups_alloc(groups, err);
    if (rc < 0)
        return rc;
    if (n)
        rc = choose(c, groups, logits->f, normalize, err);
    if (rc == 0)
        rc = check_gates(groups, err);
    if (rc == 0)
        rc = backend_groups_sort(groups, err);
    if (rc < 0)
        backend_groups_release(groups);
    return rc;
}

int cuda_gather(struct backend *b, struct tensor *out, const struct tensor *x,
                const struct backend_groups *groups, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t slots = groups->offset[groups->experts], bytes = slots * sizeof *groups->row;
    int rc = cuda_expect(c, x, "gather: x", TENSOR_F32, groups->tokens, x->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, out, "gather: out", TENSOR_F32, slots, x->columns, err);
    if (rc < 0 || slots == 0)
        return rc;
    uint32_t *row;
    rc = cuda_copy_of(c, &row, groups->row, bytes, err);
    if (rc == 0)
        rc = cuda_check(c, cuda_k_rows(c->compute, out->f, x->f, row, slots, x->columns), "gather",
                        err);
    cuda_release(c, row, bytes);
    return rc;
}

int cuda_grouped_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                        struct tensor *const *w, const struct backend_groups *groups,
                        struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    size_t slots = groups->offset[groups->experts], in = w[0]->columns, columns = w[0]->rows;
    int rc = cuda_expect(c, x, "grouped_matmul: x", TENSOR_F32, slots, in, err);
    if (rc == 0)
        rc = cuda_expect(c, out, "grouped_matmul: out", TENSOR_F32, slots, columns, err);
    for (size_t e = 0; rc == 0 && e < groups->experts; e++)
        rc = cuda_expect(c, w[e], "grouped_matmul: w", TENSOR_F32, columns, in, err);
    /* Chunks are so large that an expert's product fills the device (cuda_ops.c, chunk_tokens()).
     */
    for (size_t e = 0; rc == 0 && e < groups->experts; e++) {
        size_t first = groups->offset[e];
        rc = cuda_product(c, out->f + first * columns, x->f + first * in, w[e]->f,
                          groups->offset[e + 1] - first, columns, in, false, err);
    }
    return rc;
}

int cuda_combine(struct backend *b, struct tensor *x, const struct tensor *y,
                 const struct backend_groups *groups, struct err *err)
{
    struct cuda_backend *c = cuda_self(b);
    if (groups->top_k == 0 || groups->top_k > CUDA_TOP_K_MAX)
        return err_set(err, ERR_USAGE, NULL, "combine: %zu experts a token, at most %d",
                       groups->top_k, CUDA_TOP_K_MAX);
    size_t slots = groups->offset[groups->experts];
    int rc = cuda_expect(c, x, "combine: x", TENSOR_F32, groups->tokens, y->columns, err);
    if (rc == 0)
        rc = cuda_expect(c, y, "combine: y", TENSOR_F32, slots, y->columns, err);
    if (rc < 0 || slots == 0)
        return rc;
    uint32_t *slot;
    float *gate = NULL;
    rc = cuda_copy_of(c, &slot, groups->slot, slots * sizeof *slot, err);
    if (rc == 0)
        rc = cuda_copy_of(c, &gate, groups->gate, slots * sizeof *gate, err);
    if (rc == 0)
        rc = cuda_check(c,
                        cuda_k_combine(c->compute, x->f, y->f, slot, gate, groups->tokens,
                                       x->columns, groups->top_k),
                        "combine", err);
    cuda_release(c, slot, slots * sizeof *slot);
    cuda_release(c, gate, slots * sizeof *gate);
    return rc;
}
