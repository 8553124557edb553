/*
 * Compares all operations of the GPU's backend with the CPU's and prints a table.
 *
 *     gpu_parity [TRIALS [SIZES [PRODUCTS]]]      SIZES: small (default) or large
 *                                                 PRODUCTS: tf32 (default) or full
 *
 * Exit status: 0 all agree, 1 some do not, 77 there is no GPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/cuda_load.h"
#include "parity.h"

int main(int argc, char **argv)
{
    struct backend *cpu = NULL, *gpu = NULL;
    struct cuda_options options = {0};
    struct err err = {0};
    char line[2048];
    size_t trials = argc > 1 ? strtoul(argv[1], NULL, 10) : 10, bad = 0;
    bool large = argc > 2 && strcmp(argv[2], "large") == 0;
    options.full_precision = argc > 3 && strcmp(argv[3], "full") == 0;
    if (cuda_load_backend(&gpu, &options, &err) < 0 || backend_cpu_new(&cpu, 0, &err) < 0) {
        err_format(line, sizeof line, &err);
        printf("parity: skipped: %s\n", line);
        return 77;
    }
    gpu->ops->describe(gpu, line, sizeof line);
    printf("parity with %s, %zu trials of %s sizes\n", line, trials, large ? "large" : "small");
    printf("%-37s %-6s %11s %11s %9s %9s\n", "operation", "", "worst", "tolerance", "unequal",
           "allowed");
    for (size_t i = 0; i < parity_count(); i++) {
        struct parity_result r = parity_run(
            i, cpu, gpu, trials, large ? PARITY_LARGE : PARITY_SMALL, !options.full_precision);
        printf("%-37s %-6s %11.2e %11.2e %8.3f%% %8.3f%%%s%s\n", r.name, r.good ? "ok" : "FAILED",
               r.worst, r.tolerance, 100.0 * r.unequal, 100.0 * r.allowed, r.good ? "" : "  ",
               r.message);
        fflush(stdout);
        bad += !r.good;
    }
    backend_free(gpu);
    backend_free(cpu);
    return bad ? 1 : 0;
}
