/* Functions of the CPU backend's table, as gpu/backend.h describes them. */
#ifndef MOQA_GPU_CPU_CPU_OPS_H
#define MOQA_GPU_CPU_CPU_OPS_H

#include "gpu/cpu/cpu_backend.h"

/* --- cpu_elementwise.c --- */
int cpu_embed(struct backend *b, struct tensor *out, const struct tensor *table,
              const uint32_t *ids, size_t n, struct err *err);
int cpu_clamp(struct backend *b, struct tensor *x, size_t n, double limit, struct err *err);
int cpu_add(struct backend *b, struct tensor *x, const struct tensor *y, size_t n, struct err *err);
int cpu_swiglu(struct backend *b, struct tensor *out, const struct tensor *gate,
               const struct tensor *up, size_t n, struct err *err);
int cpu_add_gated(struct backend *b, struct tensor *x, const struct tensor *y,
                  const struct tensor *logit, size_t n, struct err *err);

/* --- cpu_norm.c --- */
int cpu_rms_norm(struct backend *b, struct tensor *out, const struct tensor *x,
                 const struct tensor *weight, size_t n, size_t group, double eps, struct err *err);
int cpu_rope(struct backend *b, struct tensor *x, size_t n, size_t heads, size_t head_dim,
             size_t window, double theta, struct err *err);

/* --- cpu_matmul.c --- */
int cpu_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
               const struct tensor *w, const struct tensor *bias, size_t n, struct err *err);
int cpu_grouped_matmul(struct backend *b, struct tensor *out, const struct tensor *x,
                       struct tensor *const *w, const struct backend_groups *groups,
                       struct err *err);
int cpu_nll(struct backend *b, double *nll, const struct tensor *x, const struct tensor *head,
            const int64_t *target, size_t n, struct err *err);

/* --- cpu_attention.c --- */
int cpu_attention(struct backend *b, struct tensor *out, const struct tensor *q,
                  const struct tensor *k, const struct tensor *v, size_t n,
                  const struct backend_attention *shape, struct err *err);

/* --- cpu_experts.c --- */
int cpu_route(struct backend *b, struct backend_groups *groups, const struct tensor *logits,
              size_t n, size_t top_k, bool normalize, struct err *err);
int cpu_gather(struct backend *b, struct tensor *out, const struct tensor *x,
               const struct backend_groups *groups, struct err *err);
int cpu_combine(struct backend *b, struct tensor *x, const struct tensor *y,
                const struct backend_groups *groups, struct err *err);

/* --- cpu_gram.c --- */
int cpu_grouped_gram(struct backend *b, struct tensor *const *h, const struct tensor *x,
                     const struct backend_groups *groups, struct err *err);
int cpu_gram(struct backend *b, struct tensor *h, const struct tensor *x, size_t n,
             struct err *err);
int cpu_grouped_abs(struct backend *b, struct tensor *sum, const struct tensor *x,
                    const struct backend_groups *groups, struct err *err);

#endif
