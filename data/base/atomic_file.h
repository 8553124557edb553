/*
 * Files that appear whole or not at all: written beside their place, synced, renamed, and the
 * folder synced. Nothing half-written ever has the final name.
 *
 *     struct atomic_file f;
 *     if (atomic_file_open(&f, path, err) < 0) return err->code;
 *     ... atomic_file_write(&f, bytes, n, err) ...
 *     rc = atomic_file_commit(&f, err);      // or atomic_file_abort(&f)
 */
#ifndef MOQA_DATA_BASE_ATOMIC_FILE_H
#define MOQA_DATA_BASE_ATOMIC_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

struct atomic_file {
    int fd; /* -1 when closed */
    uint64_t offset;
    char *path;
    char *temporary;
    unsigned char *buffer;
    size_t used;
};

/* Refuses a `path` that is a directory. The temporary is created exclusively, never followed. */
ERR_CHECK int atomic_file_open(struct atomic_file *f, const char *path, struct err *err);
/* Could `path` be written now? To be asked before long work; leaves nothing. */
ERR_CHECK int atomic_file_probe(const char *path, struct err *err);
ERR_CHECK int atomic_file_write(struct atomic_file *f, const void *bytes, size_t count,
                                struct err *err);
/* Releases `f` in every case; on failure the final name is untouched. */
ERR_CHECK int atomic_file_commit(struct atomic_file *f, struct err *err);
/* Removes the temporary; legal on a committed or zeroed struct. */
void atomic_file_abort(struct atomic_file *f);

/* Path of the temporary, for a library that must open the file by name itself (HDF5). */
const char *atomic_file_temporary(const struct atomic_file *f);

/* One call for a buffer. */
ERR_CHECK int atomic_file_save(const char *path, const void *bytes, size_t count, struct err *err);

/* fsync of a folder, so that names in it survive a power loss. */
ERR_CHECK int atomic_file_sync_dir(const char *dir, struct err *err);

#endif
