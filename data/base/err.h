/*
 * Errors. A function that can fail returns 0 or a negative `enum err_code` and takes a
 * `struct err *` as its last parameter (NULL: the caller does not want the words).
 * The first error wins: a later err_set() on the same struct changes nothing, so that
 * clean-up code cannot hide the cause.
 *
 *     struct err err = {0};
 *     if (trace_load(&trace, path, &err) < 0)
 *         return err.code;
 */
#ifndef MOQA_DATA_BASE_ERR_H
#define MOQA_DATA_BASE_ERR_H

#include <stdbool.h>
#include <stdint.h>

#define ERR_CHECK __attribute__((warn_unused_result))

enum err_code {
    ERR_OK = 0,
    ERR_NOMEM = -1,          /* no memory */
    ERR_IO = -2,             /* the machine failed: disk full, write error, lost device */
    ERR_INPUT = -3,          /* an input file is missing, unreadable or malformed */
    ERR_UNSUPPORTED = -4,    /* well-formed, but a kind that this program does not handle */
    ERR_USAGE = -5,          /* the caller's or user's arguments are wrong */
    ERR_NUMERIC = -6,        /* a computation has no result (singular matrix, no convergence) */
    ERR_CANCELLED = -7,      /* stopped on request; can be resumed where the operation says so */
    ERR_LOCKED = -8,         /* another process works on the same output */
    ERR_DEVICE = -9,         /* an accelerator is missing or failed */
    ERR_DEVICE_MEMORY = -10, /* an accelerator has no memory left; with less to do it works */
};

enum { ERR_FILE_MAX = 512, ERR_MESSAGE_MAX = 1024 };

struct err {
    enum err_code code; /* ERR_OK: nothing happened */
    bool has_offset;
    uint64_t offset;               /* byte offset in `file` where the trouble is */
    char file[ERR_FILE_MAX];       /* "" where no file is concerned */
    char message[ERR_MESSAGE_MAX]; /* what was found, what was expected, what to do; no newline */
};

/* Records an error unless one is recorded; returns `code` in any case. `file` may be NULL. */
int err_set(struct err *err, enum err_code code, const char *file, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

/* The same with the byte offset in the file. */
int err_set_at(struct err *err, enum err_code code, const char *file, uint64_t offset,
               const char *format, ...) __attribute__((format(printf, 5, 6)));

/* ERR_IO (or `code`) with strerror(errno) appended: "cannot open: No such file or directory". */
int err_set_errno(struct err *err, enum err_code code, const char *file, const char *what);

void err_clear(struct err *err);

/* One line for a person: "FILE: at byte N: MESSAGE", sanitized for a terminal. NUL-terminated. */
void err_format(char *out, uint64_t size, const struct err *err);

/* The process's exit status: 0 done, 1 failed, 2 wrong usage, 3 bad input file, 4 interrupted. */
int err_exit_status(enum err_code code);

#endif
