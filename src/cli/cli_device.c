#include "src/cli/cli_device.h"

#include <limits.h>
#include <stdlib.h>

static int parse_memory(uint64_t *out, const char *text, struct err *err)
{
    char *end;
    double gib = strtod(text, &end);
    /* Below a MiB nothing fits, and a mistyped unit is found. */
    if (end == text || *end || !(gib >= 1.0 / 1024.0 && gib <= 1048576.0))
        return err_set(err, ERR_USAGE, NULL,
                       "--device-memory: found \"%s\", expected GiB from 0.001 on, such as 40",
                       text);
    *out = (uint64_t)(gib * 1073741824.0);
    return 0;
}

int cli_device_request(struct device_request *out, const struct cli_device *flags, struct err *err)
{
    *out = (struct device_request){.backend = flags->backend,
                                   .has_index = flags->index.given,
                                   .index = flags->index.value,
                                   .full_precision = flags->full_precision};
    if (flags->index.value > INT_MAX)
        return err_set(err, ERR_USAGE, NULL, "--device: found %zu, there are not that many",
                       flags->index.value);
    int rc = cli_threads(&out->threads, &flags->threads, err);
    return rc == 0 && flags->memory ? parse_memory(&out->memory, flags->memory, err) : rc;
}
