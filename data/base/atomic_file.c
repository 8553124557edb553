#include "data/base/atomic_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/mem.h"
#include "data/base/str.h"

enum { BUFFER_SIZE = 1 << 20 };

static char *parent_dir(const char *path, struct err *err)
{
    const char *slash = strrchr(path, '/');
    if (!slash)
        return mem_strdup(".", err);
    char *dir = mem_strdup(path, err);
    if (dir)
        dir[slash == path ? 1 : slash - path] = '\0';
    return dir;
}

int atomic_file_open(struct atomic_file *f, const char *path, struct err *err)
{
    *f = (struct atomic_file){.fd = -1};
    struct stat st;
    if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
        return err_set(err, ERR_IO, path, "exists and is not a regular file");
    struct str temporary = {0};
    str_appendf(&temporary, "%s.tmp-%ld", path, (long)getpid());
    if (str_ok(&temporary, err) < 0) {
        str_release(&temporary);
        return ERR_NOMEM;
    }
    f->temporary = temporary.data;
    f->path = mem_strdup(path, err);
    f->buffer = mem_array(BUFFER_SIZE, 1, err);
    if (!f->path || !f->buffer) {
        atomic_file_abort(f);
        return ERR_NOMEM;
    }
    /* A file of that name can only be left from a dead process with our number, or be a trap. */
    unlink(f->temporary);
    f->fd = open(f->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (f->fd < 0) {
        int rc = err_set_errno(err, ERR_IO, f->temporary, "cannot create");
        atomic_file_abort(f);
        return rc;
    }
    return 0;
}

int atomic_file_probe(const char *path, struct err *err)
{
    struct atomic_file f;
    int rc = atomic_file_open(&f, path, err);
    if (rc == 0)
        atomic_file_abort(&f);
    return rc;
}

static int write_all(struct atomic_file *f, const void *bytes, size_t count, struct err *err)
{
    const unsigned char *p = bytes;
    while (count) {
        ssize_t done = write(f->fd, p, count);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            if (done == 0)
                errno = ENOSPC;
            return err_set_errno(err, ERR_IO, f->path, "cannot write");
        }
        p += done;
        count -= (size_t)done;
    }
    return 0;
}

static int flush(struct atomic_file *f, struct err *err)
{
    int rc = write_all(f, f->buffer, f->used, err);
    f->used = 0;
    return rc;
}

int atomic_file_write(struct atomic_file *f, const void *bytes, size_t count, struct err *err)
{
    int rc = 0;
    f->offset += count;
    if (f->used + count > BUFFER_SIZE)
        rc = flush(f, err);
    if (rc < 0)
        return rc;
    if (count >= BUFFER_SIZE)
        return write_all(f, bytes, count, err);
    if (count)
        memcpy(f->buffer + f->used, bytes, count);
    f->used += count;
    return 0;
}

int atomic_file_sync_dir(const char *dir, struct err *err)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_set_errno(err, ERR_IO, dir, "cannot open the folder");
    int rc = 0;
    if (fsync(fd) < 0 && errno != EINVAL) /* EINVAL: a file system without it */
        rc = err_set_errno(err, ERR_IO, dir, "cannot sync the folder");
    close(fd);
    return rc;
}

int atomic_file_commit(struct atomic_file *f, struct err *err)
{
    int rc = flush(f, err);
    if (rc == 0 && fsync(f->fd) < 0)
        rc = err_set_errno(err, ERR_IO, f->path, "cannot sync");
    if (close(f->fd) < 0 && rc == 0)
        rc = err_set_errno(err, ERR_IO, f->path, "cannot close");
    f->fd = -1;
    if (rc == 0 && rename(f->temporary, f->path) < 0)
        rc = err_set_errno(err, ERR_IO, f->path, "cannot rename the finished file");
    if (rc == 0) {
        free(f->temporary);
        f->temporary = NULL;
        char *dir = parent_dir(f->path, err);
        rc = dir ? atomic_file_sync_dir(dir, err) : ERR_NOMEM;
        free(dir);
    }
    atomic_file_abort(f);
    return rc;
}

void atomic_file_abort(struct atomic_file *f)
{
    if (f->path && f->fd >= 0)
        close(f->fd);
    if (f->temporary)
        unlink(f->temporary);
    free(f->temporary);
    free(f->path);
    free(f->buffer);
    *f = (struct atomic_file){.fd = -1};
}

const char *atomic_file_temporary(const struct atomic_file *f)
{
    return f->temporary;
}

int atomic_file_save(const char *path, const void *bytes, size_t count, struct err *err)
{
    struct atomic_file f;
    int rc = atomic_file_open(&f, path, err);
    if (rc < 0)
        return rc;
    rc = atomic_file_write(&f, bytes, count, err);
    if (rc < 0) {
        atomic_file_abort(&f);
        return rc;
    }
    return atomic_file_commit(&f, err);
}
