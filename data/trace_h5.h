/*
 * Traces in HDF5 files. The only module that knows HDF5.
 *
 * Reading: libhdf5 crashes, hangs and exits on hostile files, so a short-lived child process with
 * limits on memory, CPU time and open files reads the file, and hands over plain arrays, which
 * the parent validates again (trace_validate). External storage, external links, virtual
 * datasets, unknown filters and huge extents are refused before reading.
 */
#ifndef MOQA_DATA_TRACE_H5_H
#define MOQA_DATA_TRACE_H5_H

#include <stdatomic.h>

#include "data/base/watch.h"
#include "data/trace.h"

/* `cancel` may be NULL; when it turns true the child is stopped and ERR_CANCELLED returned. On
 * failure `out` is empty. Safe from any thread, also beside others that load or save. */
ERR_CHECK int trace_h5_load(struct trace *out, const char *path, const atomic_bool *cancel,
                            struct err *err);

/* The same, watched: tells WATCH_READ while the file is read and WATCH_CHECK afterwards. */
ERR_CHECK int trace_h5_load_watched(struct trace *out, const char *path, const struct watch *watch,
                                    struct err *err);

/* Validates, then writes atomically. Gates as float32, experts as uint8 where N < 255. */
ERR_CHECK int trace_h5_save(const struct trace *t, const char *path, struct err *err);

/* What trace_h5_save() would refuse of a trace of this size, or of this path: to be asked before it
 * is made. */
ERR_CHECK int trace_h5_check(size_t layers, size_t positions, size_t top_k, const char *path,
                             struct err *err);

/* True if the file begins as HDF5 (to tell a trace from other files). */
bool trace_h5_probe(const char *path);

#endif
