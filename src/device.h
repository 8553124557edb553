/*
 * Which backend a command computes on, and what happens when a GPU runs out of memory or fails:
 * the same work in smaller chunks, then on the CPU. All of it is said, in the log and in `note`.
 *
 *     device_open(&d, &request, err);
 *     do
 *         rc = work(d.backend, err);             frees its tensors before it returns
 *     while (rc < 0 && device_recover(&d, rc, err));
 *     device_close(&d);
 */
#ifndef MOQA_SRC_DEVICE_H
#define MOQA_SRC_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "gpu/backend.h"

enum { DEVICE_NOTE_MAX = 512, DEVICE_HALVINGS_MAX = 4 };

struct device_request {
    const char *backend; /* "auto" (or NULL), "cpu" or "cuda" */
    bool has_index;
    size_t index;        /* of the GPU; 0 where none is named */
    uint64_t memory;     /* bytes that the GPU's tensors may take; 0: nearly all that is free */
    size_t threads;      /* 0: all */
    bool full_precision; /* products on the GPU in all bits of float32, not in TF32 */
};

struct device {
    struct backend *backend; /* owned */
    struct device_request request;
    char
        why[DEVICE_NOTE_MAX]; /* why auto did not take the GPU; "" where it did, or was not asked */
    char note[DEVICE_NOTE_MAX]; /* of the last device_recover() */
};

/* auto: the GPU where it works, else the CPU. ERR_USAGE: an unknown name, a number without GPU;
 * ERR_DEVICE: cuda was asked for and does not work. */
ERR_CHECK int device_open(struct device *d, const struct device_request *request, struct err *err);

/* Is it worth to call device_recover() for this code? */
bool device_can_recover(const struct device *d, int code);

/*
 * After work on d->backend failed with `code` (and freed its tensors): true where it shall be tried
 * again, with *err cleared and `note` saying what changed.
 *   ERR_DEVICE_MEMORY: d->backend->halvings rises; from DEVICE_HALVINGS_MAX on, the CPU.
 *   ERR_DEVICE: the CPU.
 * d->backend may be another one afterwards.
 */
bool device_recover(struct device *d, int code, struct err *err);

void device_close(struct device *d);

#endif
