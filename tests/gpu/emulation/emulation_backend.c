/*
 * The CUDA backend in place of the CPU's, for tests that are written for one backend and hold for
 * any: they are compiled a second time with backend_cpu_new renamed to this. Where such a test runs
 * with several numbers of threads, the kernels' threads run in as many orders.
 */
#include "emulation_backend.h"

#include "emulation_block.h"
#include "emulation_runtime.h"
#include "gpu/cuda/cuda_module.h"

bool emulation_backend_tf32;

int emulation_backend_new(struct backend **out, size_t threads, struct err *err)
{
    const struct cuda_options options = {
        .device = 0, .threads = threads, .full_precision = !emulation_backend_tf32};
    emulation_set_order(threads > 1 ? threads : 0);
    return cuda_backend_new(out, &options, err);
}
