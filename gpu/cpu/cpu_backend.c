/* The CPU backend's table, its life and its per-thread workspaces. */
#include "gpu/cpu/cpu_ops.h"

#include <cblas.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

#include "data/base/mem.h"

static void cpu_free(struct backend *b)
{
    struct cpu_backend *c = cpu_self(b);
    if (!c)
        return;
    for (size_t i = 0; c->scratch && i < c->threads; i++)
        free(c->scratch[i]);
    free(c->scratch);
    free(c->scratch_size);
    parallel_free(c->pool);
    free(c);
#if defined(__GLIBC__)
    malloc_trim(0); /* see keep_memory() */
#endif
}

static void cpu_describe(const struct backend *b, char *out, size_t size)
{
    const struct cpu_backend *c = (const struct cpu_backend *)b;
    char version[32] = "";
    sscanf(openblas_get_config(), "%*s %31s", version);
    snprintf(out, size, "%zu thread%s, OpenBLAS %s %s", c->threads, c->threads == 1 ? "" : "s",
             version, openblas_get_corename());
}

static struct parallel *cpu_pool(struct backend *b)
{
    return cpu_self(b)->pool;
}

int cpu_scratch_spaces(struct cpu_backend *c, size_t spaces, size_t floats, struct err *err)
{
    for (size_t i = 0; i < spaces; i++) {
        if (c->scratch_size[i] >= floats)
            continue;
        float *grown = mem_aligned(floats, sizeof *grown, err);
        if (!grown)
            return ERR_NOMEM;
        free(c->scratch[i]);
        c->scratch[i] = grown;
        c->scratch_size[i] = floats;
    }
    return 0;
}

int cpu_scratch(struct cpu_backend *c, size_t floats, struct err *err)
{
    return cpu_scratch_spaces(c, c->threads, floats, err);
}

static const struct backend_ops cpu_ops = {
    .name = "cpu",
    .free = cpu_free,
    .describe = cpu_describe,
    .pool = cpu_pool,
    .tensor_new = cpu_tensor_new,
    .tensor_free = cpu_tensor_free,
    .upload = cpu_upload,
    .download = cpu_download,
    .download_f64 = cpu_download_f64,
    .fill_zero = cpu_fill_zero,
    .embed = cpu_embed,
    .rms_norm = cpu_rms_norm,
    .matmul = cpu_matmul,
    .matmul_full = cpu_matmul,
    .clamp = cpu_clamp,
    .rope = cpu_rope,
    .attention = cpu_attention,
    .add = cpu_add,
    .swiglu = cpu_swiglu,
    .add_gated = cpu_add_gated,
    .route = cpu_route,
    .gather = cpu_gather,
    .grouped_matmul = cpu_grouped_matmul,
    .combine = cpu_combine,
    .grouped_gram = cpu_grouped_gram,
    .gram = cpu_gram,
    .grouped_abs = cpu_grouped_abs,
    .nll = cpu_nll,
    .cholesky = cpu_cholesky,
    .sweep = cpu_sweep,
};

int backend_cpu_new(struct backend **out, size_t threads, struct err *err)
{
    *out = NULL;
    struct cpu_backend *c = mem_array(1, sizeof *c, err);
    if (!c)
        return ERR_NOMEM;
    c->base.ops = &cpu_ops;
    int rc = parallel_new(&c->pool, threads, err);
    if (rc < 0)
        goto cleanup;
    c->threads = parallel_threads(c->pool);
    c->scratch = mem_array(c->threads, sizeof *c->scratch, err);
    c->scratch_size = mem_array(c->threads, sizeof *c->scratch_size, err);
    rc = c->scratch && c->scratch_size ? 0 : ERR_NOMEM;
cleanup:
    if (rc < 0) {
        cpu_free(&c->base);
        return rc;
    }
    cpu_blas_init();
    *out = &c->base;
    return 0;
}

void backend_free(struct backend *b)
{
    if (b)
        b->ops->free(b);
}
