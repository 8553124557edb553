/*
 * What the CUDA module offers to the program. The module is a shared object, libmoqa_cuda.so, that
 * gpu/cuda_load.c opens at run time, so that one binary runs with and without CUDA; nothing else is
 * linked between the two. It has its own copy of what it needs of data/base and gpu/groups.c.
 *
 * Memory that one side hands to the other (the arrays of struct backend_groups) comes from malloc()
 * and is freed by free(): both sides use the same C library.
 *
 * Errors of the backend's operations, as of those below:
 *   ERR_DEVICE_MEMORY  the device has no room, or the limit of the options is reached. Nothing is
 *                      broken: after freeing tensors the same operation may succeed.
 *   ERR_DEVICE         the device failed. The backend is unusable from then on: every further
 *                      operation returns this code again, free() and tensor_free() stay legal.
 *   ERR_NOMEM          the host has no memory.
 *   others             as for the CPU backend: wrong shapes are ERR_USAGE and so on.
 */
#ifndef MOQA_GPU_CUDA_CUDA_MODULE_H
#define MOQA_GPU_CUDA_CUDA_MODULE_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "gpu/backend.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Raised with every change of this header, of gpu/backend.h or of struct err. */
enum { CUDA_MODULE_ABI = 4, CUDA_DEVICE_NAME_MAX = 128 };

#define CUDA_MODULE_SYMBOL "moqa_cuda_module"

struct cuda_device {
    int index;                           /* as in cuda_options.device */
    char name[CUDA_DEVICE_NAME_MAX];     /* "NVIDIA H200" */
    unsigned major, minor;               /* compute capability */
    uint64_t memory_total, memory_free;  /* bytes */
    char unusable[CUDA_DEVICE_NAME_MAX]; /* why the module cannot use it; "" where it can */
};

struct cuda_options {
    int device;            /* index */
    uint64_t memory_limit; /* bytes of device memory that the backend may hold; 0, and at most: what
                              is free, but for a thirty-second or 512 MiB */
    size_t threads;        /* of the host's pool; 0: all that this process may use */
    bool full_precision; /* operands of products keep all bits of float32; else they are rounded to
                            TF32, several times as fast */
};

struct cuda_module {
    unsigned abi;      /* CUDA_MODULE_ABI; nothing behind it is read where it differs */
    const char *build; /* "CUDA 13.0, sm_80 sm_90 compute_90" */
    /* Devices first, first + 1 and so on, at most `max`, into out[0 ..]; *count: all that the
     * driver names. Only those that are asked for are touched, which costs a context on each. One
     * that fails is unusable; ERR_DEVICE: no driver, one that is too old, or no device; the message
     * says which. */
    int (*devices)(struct cuda_device *out, size_t first, size_t max, size_t *count,
                   struct err *err);
    int (*backend_new)(struct backend **out, const struct cuda_options *options, struct err *err);
};

/* The one function that the module exports. */
__attribute__((visibility("default"))) const struct cuda_module *moqa_cuda_module(void);

/* Inside of the module: cuda_module.c has the functions around the backend, cuda_ops.* this one. */
int cuda_backend_new(struct backend **out, const struct cuda_options *options, struct err *err);

#ifdef __cplusplus
}
#endif

#endif
