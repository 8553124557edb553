/* What a process needs before its first product: kernels of OpenBLAS for CPUs that it does not
 * know yet, and memory that it keeps. */
#include <cblas.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gpu/backend.h"

static bool has_avx512(void)
{
#if defined(__x86_64__)
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
#else
    return false;
#endif
}

static bool core_uses_avx512(const char *core)
{
    static const char *const cores[] = {"SkylakeX", "Cooperlake", "SapphireRapids"};
    for (size_t i = 0; i < sizeof cores / sizeof *cores; i++)
        if (strcasecmp(core, cores[i]) == 0)
            return true;
    return false;
}

/* Matrices of many megabytes come and go in equal sizes. Given back to the system and asked for
 * again, every page of theirs is cleared again, which can take longer than the arithmetic. */
static void keep_memory(void)
{
#if defined(__GLIBC__)
    mallopt(M_MMAP_MAX, 0);
    mallopt(M_TRIM_THRESHOLD, -1);
#endif
}

void backend_cpu_prepare(char **argv)
{
    keep_memory();
    if (getenv("OPENBLAS_CORETYPE") || !has_avx512() || core_uses_avx512(openblas_get_corename()))
        return;
    /* The variable also marks that this was done: the second start returns above. */
    if (setenv("OPENBLAS_CORETYPE", "SkylakeX", 1) == 0)
        execv("/proc/self/exe", argv);
}
