/*
 * The CUDA module, opened at run time. Looked for, in this order, and the first that is there is
 * taken: the file that MOQA_CUDA_MODULE names (then nothing else), libmoqa_cuda.so beside the
 * program, and ../lib/moqa/libmoqa_cuda.so from the program's folder, where it is installed.
 */
#ifndef MOQA_GPU_CUDA_LOAD_H
#define MOQA_GPU_CUDA_LOAD_H

#include "gpu/cuda/cuda_module.h"

/* Borrowed, for as long as the process lives. ERR_DEVICE: there is no module, it cannot be opened
 * (a library that it needs is missing), or it was built for another version of the program. */
ERR_CHECK int cuda_load(const struct cuda_module **out, struct err *err);

/* The devices that the driver names, at most `max` of them; *count: all. */
ERR_CHECK int cuda_load_devices(struct cuda_device *out, size_t max, size_t *count,
                                struct err *err);

/* A backend on options->device; ERR_USAGE where there is no device of that number. */
ERR_CHECK int cuda_load_backend(struct backend **out, const struct cuda_options *options,
                                struct err *err);

#endif
