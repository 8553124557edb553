#include "data/base/str.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/mem.h"

/* Room for `extra` bytes and a NUL; false (and remembered) without memory. */
static bool reserve(struct str *s, size_t extra)
{
    size_t wanted;
    if (s->failed || !mem_add(&wanted, s->length, extra) || !mem_add(&wanted, wanted, 1) ||
        mem_grow((void **)&s->data, &s->capacity, wanted, 1, NULL) < 0)
        s->failed = true;
    return !s->failed;
}

void str_append_bytes(struct str *s, const void *bytes, size_t count)
{
    if (!reserve(s, count))
        return;
    if (count)
        memcpy(s->data + s->length, bytes, count);
    s->length += count;
    s->data[s->length] = '\0';
}

void str_append(struct str *s, const char *text)
{
    str_append_bytes(s, text, strlen(text));
}

void str_appendf(struct str *s, const char *format, ...)
{
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0)
        s->failed = true;
    else if (reserve(s, (size_t)length)) {
        vsnprintf(s->data + s->length, (size_t)length + 1, format, again);
        s->length += (size_t)length;
    }
    va_end(again);
}

const char *str_get(const struct str *s)
{
    return s->data ? s->data : "";
}

int str_ok(const struct str *s, struct err *err)
{
    return s->failed ? err_set(err, ERR_NOMEM, NULL, "no memory for a text of %zu bytes", s->length)
                     : 0;
}

void str_clear(struct str *s)
{
    s->length = 0;
    s->failed = false;
    if (s->data)
        s->data[0] = '\0';
}

void str_release(struct str *s)
{
    free(s->data);
    *s = (struct str){0};
}

void str_bytes(char *out, size_t size, uint64_t bytes)
{
    static const char *const unit[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    double value = (double)bytes;
    size_t i = 0;
    for (; value >= 1024 && i + 1 < sizeof unit / sizeof *unit; i++)
        value /= 1024;
    snprintf(out, size, i == 0 ? "%.0f %s" : value < 10 ? "%.2f %s" : "%.1f %s", value, unit[i]);
}

char *str_path(const char *dir, const char *name, struct err *err)
{
    struct str s = {0};
    str_append(&s, dir);
    if (s.length && s.data[s.length - 1] != '/')
        str_append(&s, "/");
    str_append(&s, name);
    if (str_ok(&s, err) < 0) {
        str_release(&s);
        return NULL;
    }
    return s.data;
}

int str_read_file(char **out, size_t *size, const char *path, size_t limit, struct err *err)
{
    *out = NULL;
    *size = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, ERR_INPUT, path, "cannot open");
    char *buffer = NULL;
    int rc = 0;
    struct stat st;
    if (fstat(fd, &st) < 0) {
        rc = err_set_errno(err, ERR_INPUT, path, "cannot stat");
        goto cleanup;
    }
    if (!S_ISREG(st.st_mode)) {
        rc = err_set(err, ERR_INPUT, path, "not a regular file");
        goto cleanup;
    }
    if ((uint64_t)st.st_size > limit) {
        rc = err_set(err, ERR_INPUT, path, "%llu bytes, more than the %zu that are accepted",
                     (unsigned long long)st.st_size, limit);
        goto cleanup;
    }
    buffer = mem_array((size_t)st.st_size + 1, 1, err);
    if (!buffer) {
        rc = ERR_NOMEM;
        goto cleanup;
    }
    size_t used = 0;
    while (used < (size_t)st.st_size) {
        ssize_t got = read(fd, buffer + used, (size_t)st.st_size - used);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0) {
            rc = got < 0 ? err_set_errno(err, ERR_INPUT, path, "cannot read")
                         : err_set_at(err, ERR_INPUT, path, used, "the file shrank while read");
            goto cleanup;
        }
        used += (size_t)got;
    }
    *out = buffer;
    *size = used;
    buffer = NULL;
cleanup:
    free(buffer);
    close(fd);
    return rc;
}
