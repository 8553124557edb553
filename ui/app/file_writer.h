/*
 * Files that the user has asked for, written by a thread of its own: a slow disk holds up no key.
 * One after the other in the order in which they were given, each whole or not at all.
 */
#ifndef MOQA_UI_APP_FILE_WRITER_H
#define MOQA_UI_APP_FILE_WRITER_H

#include <stdbool.h>

#include "data/base/err.h"
#include "data/base/str.h"

struct file_writer;

/* How a file ended. */
struct file_written {
    int kind;   /* the caller's */
    char *said; /* the caller's words for the case that it was written; freed by free() */
    int rc;
    struct err err;
};

ERR_CHECK int file_writer_new(struct file_writer **out, struct err *err);
/* Writes what still waits; NULL is legal. */
void file_writer_free(struct file_writer *w);

/* Takes the bytes, also when it fails (ERR_NOMEM). */
ERR_CHECK int file_writer_put(struct file_writer *w, const char *path, struct str *bytes, int kind,
                              const char *said, struct err *err);
/* The next one that has ended, if it has not been told yet. */
bool file_writer_take(struct file_writer *w, struct file_written *out);
/* Is there one that take() has not told? */
bool file_writer_active(struct file_writer *w);
/* Until all have ended. */
void file_writer_wait(struct file_writer *w);

#endif
