#include "src/device.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/log.h"
#include "gpu/cuda_load.h"

/* Where it is, its owner expects it to be used and wants to hear why it is not. */
static bool gpu_expected(void)
{
    const char *named = getenv("MOQA_CUDA_MODULE");
    return (named && *named) || access("/dev/nvidiactl", F_OK) == 0;
}

static int open_cuda(struct device *d, struct err *err)
{
    char text[256];
    struct cuda_options o = {.device = (int)d->request.index,
                             .memory_limit = d->request.memory,
                             .threads = d->request.threads,
                             .full_precision = d->request.full_precision};
    int rc = cuda_load_backend(&d->backend, &o, err);
    if (rc < 0)
        return rc;
    d->backend->ops->describe(d->backend, text, sizeof text);
    log_write(LOG_INFO, "computing on %s", text);
    return 0;
}

static int open_cpu(struct device *d, struct err *err)
{
    return backend_cpu_new(&d->backend, d->request.threads, err);
}

static int open_auto(struct device *d, struct err *err)
{
    struct err refused = {0};
    int rc = open_cuda(d, &refused);
    if (rc == 0)
        return 0;
    if (rc != ERR_DEVICE && rc != ERR_DEVICE_MEMORY) {
        if (err)
            *err = refused;
        return rc;
    }
    err_format(d->why, sizeof d->why, &refused);
    log_write(gpu_expected() ? LOG_INFO : LOG_DEBUG, "computing on the CPU: %s", d->why);
    return open_cpu(d, err);
}

static const struct {
    const char *name;
    int (*open)(struct device *d, struct err *err);
    bool gpu;
} kinds[] = {{"auto", open_auto, true}, {"cpu", open_cpu, false}, {"cuda", open_cuda, true}};

int device_open(struct device *d, const struct device_request *request, struct err *err)
{
    const char *name = request->backend ? request->backend : "auto";
    *d = (struct device){.request = *request};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(name, kinds[i].name) != 0)
            continue;
        if (!kinds[i].gpu && (request->has_index || request->memory || request->full_precision))
            return err_set(err, ERR_USAGE, NULL, "--%s is for a GPU, --backend is %s",
                           request->has_index ? "device"
                           : request->memory  ? "device-memory"
                                              : "full-precision",
                           name);
        return kinds[i].open(d, err);
    }
    return err_set(err, ERR_USAGE, NULL, "--backend: found \"%s\", expected auto, cpu or cuda",
                   name);
}

bool device_can_recover(const struct device *d, int code)
{
    bool on_gpu = d->backend && d->backend->ops->memory;
    return on_gpu && (code == ERR_DEVICE || code == ERR_DEVICE_MEMORY);
}

bool device_recover(struct device *d, int code, struct err *err)
{
    char cause[DEVICE_NOTE_MAX];
    if (!device_can_recover(d, code))
        return false;
    err_format(cause, sizeof cause, err);
    if (code == ERR_DEVICE_MEMORY && d->backend->halvings < DEVICE_HALVINGS_MAX) {
        unsigned halvings = ++d->backend->halvings;
        snprintf(d->note, sizeof d->note,
                 "the GPU's memory is full; again in 1/%u of the chunk (%.400s)", 1u << halvings,
                 cause);
    } else {
        struct backend *cpu;
        if (backend_cpu_new(&cpu, d->request.threads, NULL) < 0)
            return false; /* the first error says more */
        backend_free(d->backend);
        d->backend = cpu;
        snprintf(d->note, sizeof d->note, "%s; on the CPU from here on (%.400s)",
                 code == ERR_DEVICE ? "the GPU failed" : "the GPU's memory is too small", cause);
    }
    err_clear(err);
    log_write(LOG_WARN, "%s", d->note);
    return true;
}

void device_close(struct device *d)
{
    backend_free(d->backend);
    d->backend = NULL;
}
