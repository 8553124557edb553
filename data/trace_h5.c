#include "data/trace_h5.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/trace_h5_wire.h"

/* Ten million positions decode in about a second; the rest is for slow machines. */
static const struct wire_limits default_limits = {.cpu_seconds = 6, .wall_seconds = 30};

static const unsigned char signature[8] = {0x89, 'H', 'D', 'F', '\r', '\n', 0x1a, '\n'};

/* The file is opened without blocking: a FIFO must not hang the program. */
static int check_file(const char *path, struct err *err)
{
    int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_INPUT, path, "cannot open the trace");
    struct stat st;
    unsigned char head[sizeof signature];
    int rc = 0;
    if (fstat(fd, &st) < 0)
        rc = err_set_errno(err, ERR_INPUT, path, "cannot look at the trace");
    else if (!S_ISREG(st.st_mode))
        rc = err_set(err, ERR_INPUT, path, "found %s, expected a regular file",
                     S_ISDIR(st.st_mode) ? "a folder" : "a device or pipe");
    else if (st.st_size == 0)
        rc = err_set(err, ERR_INPUT, path, "the file is empty, expected a trace in HDF5");
    else if (pread(fd, head, sizeof head, 0) != sizeof head || memcmp(head, signature, 8) != 0)
        rc = err_set(err, ERR_INPUT, path, "not an HDF5 file, expected a trace in HDF5");
    close(fd);
    return rc;
}

int wire_load(struct trace *out, const char *path, const char *reader,
              const struct wire_limits *limits, const struct watch *watch, struct err *err)
{
    *out = (struct trace){0};
    int fd;
    int rc = wire_run(&fd, reader, path, limits, watch, err);
    if (rc < 0)
        return rc;
    rc = wire_import(out, fd, path, watch, err);
    close(fd);
    return rc;
}

int trace_h5_load(struct trace *out, const char *path, const atomic_bool *cancel, struct err *err)
{
    return trace_h5_load_watched(out, path, &(struct watch){.cancel = cancel}, err);
}

int trace_h5_load_watched(struct trace *out, const char *path, const struct watch *watch,
                          struct err *err)
{
    *out = (struct trace){0};
    int rc = check_file(path, err);
    if (rc < 0)
        return rc;
    return wire_load(out, path, WIRE_READER_H5, &default_limits, watch, err);
}

bool trace_h5_probe(const char *path)
{
    return check_file(path, NULL) == 0;
}
