/* The module's one exported function, and what devices there are. */
#include "gpu/cuda/cuda_module.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <string.h>

/* What the kernels are compiled for: cmake/cuda.cmake gives it. */
#ifndef MOQA_CUDA_ARCHITECTURES
#define MOQA_CUDA_ARCHITECTURES "emulation"
#endif

#define TEXT(x) #x
#define NUMBER(x) TEXT(x)

enum { OLDEST_MAJOR = 8 }; /* bf16 and tf32 on tensor cores */

static int no_device(cudaError_t code, struct err *err)
{
    int driver = 0;
    if (code == cudaErrorNoDevice)
        return err_set(err, ERR_DEVICE, NULL, "the CUDA driver finds no device");
    if (cudaDriverGetVersion(&driver) != cudaSuccess)
        driver = 0;
    if (code == cudaErrorInsufficientDriver && driver == 0)
        return err_set(err, ERR_DEVICE, NULL,
                       "no CUDA driver: libcuda.so.1 comes with the NVIDIA driver, which is not "
                       "installed here");
    if (code == cudaErrorInsufficientDriver)
        return err_set(err, ERR_DEVICE, NULL,
                       "the CUDA driver is too old: found one for CUDA %d.%d, expected %d.%d or "
                       "newer",
                       driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                       CUDART_VERSION % 1000 / 10);
    return err_set(err, ERR_DEVICE, NULL, "CUDA cannot count devices: %s",
                   cudaGetErrorString(code));
}

/* Free memory costs a context on the device; one that cannot be had makes the device unusable. */
static void read_memory(struct cuda_device *d)
{
    size_t free_bytes = 0, total = 0;
    cudaError_t code = cudaSetDevice(d->index);
    if (code == cudaSuccess)
        code = cudaMemGetInfo(&free_bytes, &total);
    d->memory_free = code == cudaSuccess ? free_bytes : 0;
    if (code != cudaSuccess) {
        snprintf(d->unusable, sizeof d->unusable, "%s", cudaGetErrorString(code));
        cudaGetLastError();
    }
}

static void read_device(struct cuda_device *d, int index)
{
    struct cudaDeviceProp p;
    *d = (struct cuda_device){.index = index, .name = "unknown"};
    cudaError_t code = cudaGetDeviceProperties(&p, index);
    if (code != cudaSuccess) {
        cudaGetLastError();
        snprintf(d->unusable, sizeof d->unusable, "%s", cudaGetErrorString(code));
        return;
    }
    snprintf(d->name, sizeof d->name, "%.*s", CUDA_DEVICE_NAME_MAX - 1, p.name);
    d->major = (unsigned)p.major;
    d->minor = (unsigned)p.minor;
    d->memory_total = p.totalGlobalMem;
    if (p.major < OLDEST_MAJOR)
        snprintf(d->unusable, sizeof d->unusable,
                 "compute capability %d.%d, expected %d.0 or newer", p.major, p.minor,
                 OLDEST_MAJOR);
    else
        read_memory(d);
}

static int cuda_devices(struct cuda_device *out, size_t first, size_t max, size_t *count,
                        struct err *err)
{
    int found = 0;
    *count = 0;
    cudaError_t code = cudaGetDeviceCount(&found);
    if (code == cudaSuccess && found == 0)
        code = cudaErrorNoDevice;
    if (code != cudaSuccess) {
        cudaGetLastError();
        return no_device(code, err);
    }
    *count = (size_t)found;
    for (size_t i = 0; i < max && first + i < *count; i++)
        read_device(&out[i], (int)(first + i));
    return 0;
}

const struct cuda_module *moqa_cuda_module(void)
{
    static const struct cuda_module module = {
        .abi = CUDA_MODULE_ABI,
        .build = "CUDA runtime " NUMBER(CUDART_VERSION) ", " MOQA_CUDA_ARCHITECTURES,
        .devices = cuda_devices,
        .backend_new = cuda_backend_new,
    };
    return &module;
}
