/* The options that choose a device, for all commands that compute on one. */
#ifndef MOQA_SRC_CLI_CLI_DEVICE_H
#define MOQA_SRC_CLI_CLI_DEVICE_H

#include "src/cli/cli.h"
#include "src/device.h"

struct cli_device {
    const char *backend;
    struct cli_count index, threads;
    const char *memory; /* GiB */
    bool full_precision;
};

/* Rows of an option table, for `struct cli_device field` in `values`. */
/* clang-format off */
#define CLI_DEVICE_OPTIONS(values, field)                                                          \
    {"backend", 0, "NAME", CLI_TEXT, offsetof(values, field.backend), false,                       \
     "auto (default: the GPU where one works), cpu or cuda"},                                      \
    {"device", 0, "N", CLI_COUNT, offsetof(values, field.index), false,                            \
     "number of the GPU, as moqa inspect --devices lists them (0)"},                               \
    {"device-memory", 0, "GIB", CLI_TEXT, offsetof(values, field.memory), false,                   \
     "memory of the GPU to use at most (nearly all that is free)"},                                       \
    {"full-precision", 0, NULL, CLI_FLAG, offsetof(values, field.full_precision), false,           \
     "products on the GPU in all bits of float32: slower than TF32"},                              \
    {"threads", 'j', "N", CLI_COUNT, offsetof(values, field.threads), false,                       \
     "threads (all); the result does not depend on it"}
/* clang-format on */

ERR_CHECK int cli_device_request(struct device_request *out, const struct cli_device *flags,
                                 struct err *err);

#endif
