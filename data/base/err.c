#include "data/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static void record(struct err *err, enum err_code code, const char *file, const char *format,
                   va_list args)
{
    err->code = code;
    snprintf(err->file, sizeof err->file, "%s", file ? file : "");
    vsnprintf(err->message, sizeof err->message, format, args);
}

int err_set(struct err *err, enum err_code code, const char *file, const char *format, ...)
{
    if (err && err->code == ERR_OK) {
        va_list args;
        va_start(args, format);
        record(err, code, file, format, args);
        va_end(args);
    }
    return code;
}

int err_set_at(struct err *err, enum err_code code, const char *file, uint64_t offset,
               const char *format, ...)
{
    if (err && err->code == ERR_OK) {
        va_list args;
        va_start(args, format);
        record(err, code, file, format, args);
        va_end(args);
        err->has_offset = true;
        err->offset = offset;
    }
    return code;
}

int err_set_errno(struct err *err, enum err_code code, const char *file, const char *what)
{
    int number = errno;
    char text[128];
    return err_set(err, code, file, "%s: %s", what, strerror_r(number, text, sizeof text));
}

void err_clear(struct err *err)
{
    *err = (struct err){0};
}

int err_exit_status(enum err_code code)
{
    switch (code) {
    case ERR_OK:
        return 0;
    case ERR_USAGE:
        return 2;
    case ERR_INPUT:
    case ERR_UNSUPPORTED:
        return 3;
    case ERR_CANCELLED:
        return 4;
    default:
        return 1;
    }
}
