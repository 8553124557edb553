/* Apart from err.c, which then needs no library: the CUDA module has a copy of that. */
#include <stdio.h>
#include <string.h>

#include "data/base/err.h"
#include "data/base/sanitize.h"

void err_format(char *out, uint64_t size, const struct err *err)
{
    char raw[ERR_FILE_MAX + ERR_MESSAGE_MAX + 64];
    int length;
    if (!err->file[0])
        length = snprintf(raw, sizeof raw, "%s", err->message);
    else if (err->has_offset)
        length = snprintf(raw, sizeof raw, "%s: at byte %llu: %s", err->file,
                          (unsigned long long)err->offset, err->message);
    else
        length = snprintf(raw, sizeof raw, "%s: %s", err->file, err->message);
    sanitize(out, size, raw, length < 0 ? 0 : strlen(raw));
}
