/* Reading safetensors: https://github.com/huggingface/safetensors, section "Format". */
#include "data/safetensors.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/hash.h"
#include "data/base/jsonio.h"
#include "data/base/mem.h"

enum { HEADER_MAX = 100000000, NAME_BYTES_MAX = 1024, LENGTH_BYTES = 8 };

struct safetensors {
    char *path;
    int fd;
    size_t count;
    struct tensor_info *tensors;        /* by offset */
    const struct tensor_info **by_name; /* sorted */
    char *names;                        /* all of them, one after the other */
    char header_sha256[HASH_HEX_SIZE];
};

/* --- The header's bytes --- */

static int read_exactly(int fd, const char *path, uint64_t offset, void *out, uint64_t bytes,
                        const char *what, struct err *err)
{
    enum { PIECE = 1 << 30 };
    char *p = out;
    while (bytes) {
        ssize_t got = pread(fd, p, bytes < PIECE ? (size_t)bytes : PIECE, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_set_errno(err, ERR_IO, path, "cannot read");
        if (got == 0)
            return err_set_at(err, ERR_INPUT, path, offset,
                              "%s: %llu bytes are missing; the file shrank while it was open", what,
                              (unsigned long long)bytes);
        p += got;
        offset += (uint64_t)got;
        bytes -= (uint64_t)got;
    }
    return 0;
}

static int header_size(size_t *out, const struct safetensors *s, uint64_t file_size,
                       struct err *err)
{
    unsigned char raw[LENGTH_BYTES];
    if (file_size < LENGTH_BYTES)
        return err_set(err, ERR_INPUT, s->path,
                       "%llu bytes, too short for the 8 bytes of the header's length",
                       (unsigned long long)file_size);
    int rc = read_exactly(s->fd, s->path, 0, raw, sizeof raw, "length of the header", err);
    if (rc < 0)
        return rc;
    uint64_t size = 0;
    for (int i = LENGTH_BYTES; i-- > 0;)
        size = size << 8 | raw[i];
    if (size > HEADER_MAX)
        return err_set_at(err, ERR_INPUT, s->path, 0,
                          "the header's length is %llu bytes, expected at most %d",
                          (unsigned long long)size, HEADER_MAX);
    if (size > file_size - LENGTH_BYTES)
        return err_set_at(err, ERR_INPUT, s->path, 0,
                          "the header's length is %llu bytes, but only %llu follow; truncated?",
                          (unsigned long long)size, (unsigned long long)(file_size - LENGTH_BYTES));
    *out = (size_t)size;
    return 0;
}

/* A parsed value takes some hundred bytes of memory, its text as few as two. The shortest entry of
 * a tensor has 3 brackets in 49 bytes, the densest 11 commas in 65: a header with more of them for
 * its size is none, and would cost up to 75 times its size to parse. */
static int check_density(const char *text, size_t size, const char *path, struct err *err)
{
    enum { BYTES_A_BRACKET = 16, BYTES_A_COMMA = 4, SLACK = 1024 };
    size_t brackets = 0, commas = 0;
    bool quoted = false;
    for (size_t i = 0; i < size; i++) {
        char c = text[i];
        if (c == '"')
            quoted = !quoted;
        else if (quoted)
            i += c == '\\';
        else if (c == ',')
            commas++;
        else if (c == '{' || c == '[')
            brackets++;
    }
    if (brackets <= (size + SLACK) / BYTES_A_BRACKET && commas <= (size + SLACK) / BYTES_A_COMMA)
        return 0;
    return err_set_at(err, ERR_INPUT, path, LENGTH_BYTES,
                      "header: %zu brackets and %zu commas in %zu bytes, more than tensors need",
                      brackets, commas, size);
}

static int parse_header(json_t **out, struct safetensors *s, size_t size, struct err *err)
{
    char *text = mem_array(size, 1, err);
    if (!text)
        return ERR_NOMEM;
    struct err inner = {0};
    int rc = read_exactly(s->fd, s->path, LENGTH_BYTES, text, size, "header", err);
    if (rc == 0 && (size == 0 || text[0] != '{'))
        rc = err_set_at(err, ERR_INPUT, s->path, LENGTH_BYTES,
                        "the header does not begin with '{'; not a safetensors file?");
    if (rc == 0)
        rc = check_density(text, size, s->path, err);
    if (rc == 0)
        rc = hash_bytes(s->header_sha256, text, size, err);
    if (rc == 0) {
        rc = jsonio_parse(out, text, size, s->path, &inner);
        if (rc < 0)
            err_set_at(err, inner.code, s->path, LENGTH_BYTES + inner.offset, "header: %s",
                       inner.message);
    }
    free(text);
    return rc;
}

/* --- One tensor's entry --- */

static int check_name(const char *name, const char *path, struct err *err)
{
    size_t length = strlen(name);
    if (length == 0 || length > NAME_BYTES_MAX)
        return err_set(err, ERR_INPUT, path,
                       "a tensor's name has %zu bytes, expected 1 to %d: \"%.64s\"", length,
                       NAME_BYTES_MAX, name);
    for (const char *p = name; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            return err_set(err, ERR_INPUT, path,
                           "tensor \"%s\": the name holds the control character 0x%02x", name,
                           (unsigned)(unsigned char)*p);
    }
    return 0;
}

static int parse_shape(struct tensor_info *t, const json_t *entry, struct jsonio_at at,
                       size_t *elements, struct err *err)
{
    json_t *shape;
    int rc = jsonio_array(&shape, entry, "shape", at, err);
    if (rc < 0)
        return rc;
    t->rank = json_array_size(shape);
    if (t->rank > TENSOR_RANK_MAX)
        return err_set(err, ERR_UNSUPPORTED, at.file,
                       "tensor \"%s\": %zu dimensions, expected at most %d", t->name, t->rank,
                       TENSOR_RANK_MAX);
    *elements = 1;
    for (size_t i = 0; i < t->rank; i++) {
        const json_t *value = json_array_get(shape, i);
        if (!json_is_integer(value) || json_integer_value(value) < 0)
            return err_set(err, ERR_INPUT, at.file,
                           "tensor \"%s\": shape[%zu] is not a whole number of 0 or more", t->name,
                           i);
        t->shape[i] = (size_t)json_integer_value(value);
        if (!mem_mul(elements, *elements, t->shape[i]))
            return err_set(err, ERR_INPUT, at.file,
                           "tensor \"%s\": the product of its shape overflows", t->name);
    }
    return 0;
}

static int parse_offsets(struct tensor_info *t, const json_t *entry, struct jsonio_at at,
                         uint64_t *begin, uint64_t *end, struct err *err)
{
    json_t *offsets;
    int rc = jsonio_array(&offsets, entry, "data_offsets", at, err);
    if (rc < 0)
        return rc;
    const json_t *a = json_array_get(offsets, 0), *b = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(a) || !json_is_integer(b) ||
        json_integer_value(a) < 0 || json_integer_value(b) < 0)
        return err_set(err, ERR_INPUT, at.file,
                       "tensor \"%s\": data_offsets is not a pair of whole numbers of 0 or more",
                       t->name);
    *begin = (uint64_t)json_integer_value(a);
    *end = (uint64_t)json_integer_value(b);
    if (*begin > *end)
        return err_set(err, ERR_INPUT, at.file,
                       "tensor \"%s\": data_offsets run backwards, from %llu to %llu", t->name,
                       (unsigned long long)*begin, (unsigned long long)*end);
    return 0;
}

/* Fills t; t->name is set. Offsets are checked against the data's size. */
static int parse_tensor(struct tensor_info *t, const json_t *entry, const char *path,
                        uint64_t data_begin, uint64_t data_size, struct err *err)
{
    struct jsonio_at at = {path, t->name};
    const char *type;
    size_t elements, bytes;
    uint64_t begin = 0, end = 0;
    int rc = check_name(t->name, path, err);
    if (rc < 0)
        return rc;
    if (!json_is_object(entry))
        return err_set(err, ERR_INPUT, path,
                       "tensor \"%s\": its entry in the header is not an object", t->name);
    rc = jsonio_string(&type, entry, "dtype", at, err);
    if (rc < 0)
        return rc;
    if (!dtype_parse(&t->dtype, type))
        return err_set(err, ERR_UNSUPPORTED, path,
                       "tensor \"%s\": found dtype \"%.32s\", expected one of F64, F32, F16, BF16, "
                       "I64, I32, I16, I8, U8, BOOL",
                       t->name, type);
    rc = parse_shape(t, entry, at, &elements, err);
    if (rc == 0)
        rc = parse_offsets(t, entry, at, &begin, &end, err);
    if (rc < 0)
        return rc;
    if (!mem_mul(&bytes, elements, dtype_size(t->dtype)))
        return err_set(err, ERR_INPUT, path, "tensor \"%s\": the product of its shape overflows",
                       t->name);
    if (end > data_size)
        return err_set_at(
            err, ERR_INPUT, path, data_begin + data_size,
            "tensor \"%s\" ends at %llu of the data, which has %llu bytes; truncated?", t->name,
            (unsigned long long)end, (unsigned long long)data_size);
    if (end - begin != bytes)
        return err_set_at(err, ERR_INPUT, path, data_begin + begin,
                          "tensor \"%s\": %llu bytes between its offsets, but its shape takes %zu",
                          t->name, (unsigned long long)(end - begin), bytes);
    t->begin = data_begin + begin;
    t->bytes = bytes;
    return 0;
}

/* --- All entries --- */

static int compare_place(const void *a, const void *b)
{
    const struct tensor_info *x = a, *y = b;
    if (x->begin != y->begin)
        return x->begin < y->begin ? -1 : 1;
    if (x->bytes != y->bytes)
        return x->bytes < y->bytes ? -1 : 1;
    return strcmp(x->name, y->name);
}

static int compare_name(const void *a, const void *b)
{
    const struct tensor_info *const *x = a, *const *y = b;
    return strcmp((*x)->name, (*y)->name);
}

static int check_metadata(const json_t *metadata, const char *path, struct err *err)
{
    const char *key;
    json_t *value;
    if (!json_is_object(metadata))
        return err_set(err, ERR_INPUT, path, "__metadata__: not an object");
    json_object_foreach((json_t *)metadata, key, value)
    {
        if (!json_is_string(value))
            return err_set(err, ERR_INPUT, path, "__metadata__.%.64s: not a string", key);
    }
    return 0;
}

/* No overlap, no hole, nothing after the last tensor. */
static int check_places(const struct safetensors *s, uint64_t data_begin, uint64_t file_size,
                        struct err *err)
{
    uint64_t end = data_begin;
    for (size_t i = 0; i < s->count; i++) {
        const struct tensor_info *t = &s->tensors[i];
        if (t->begin < end)
            return err_set_at(err, ERR_INPUT, s->path, t->begin,
                              "tensor \"%s\" overlaps tensor \"%s\", which ends at byte %llu",
                              t->name, s->tensors[i - 1].name, (unsigned long long)end);
        if (t->begin > end)
            return err_set_at(err, ERR_INPUT, s->path, end,
                              "a hole of %llu bytes before tensor \"%s\"",
                              (unsigned long long)(t->begin - end), t->name);
        end = t->begin + t->bytes;
    }
    if (end != file_size)
        return err_set_at(err, ERR_INPUT, s->path, end, "%llu bytes follow the last tensor",
                          (unsigned long long)(file_size - end));
    return 0;
}

static int allocate(struct safetensors *s, const json_t *root, struct err *err)
{
    const char *key;
    json_t *value;
    size_t room = 1;
    json_object_foreach((json_t *)root, key, value)
    {
        room += strlen(key) + 1; /* fits: the names came from a header of HEADER_MAX bytes */
    }
    s->tensors = mem_array(json_object_size(root), sizeof *s->tensors, err);
    s->by_name = mem_array(json_object_size(root), sizeof *s->by_name, err);
    s->names = mem_array(room, 1, err);
    return s->tensors && s->by_name && s->names ? 0 : ERR_NOMEM;
}

static int parse_tensors(struct safetensors *s, const json_t *root, uint64_t data_begin,
                         uint64_t file_size, struct err *err)
{
    const char *key;
    json_t *value;
    int rc = allocate(s, root, err);
    if (rc < 0)
        return rc;
    char *name = s->names;
    json_object_foreach((json_t *)root, key, value)
    {
        if (strcmp(key, "__metadata__") == 0) {
            rc = check_metadata(value, s->path, err);
        } else {
            struct tensor_info *t = &s->tensors[s->count++];
            size_t length = strlen(key) + 1;
            memcpy(name, key, length);
            t->name = name;
            name += length;
            rc = parse_tensor(t, value, s->path, data_begin, file_size - data_begin, err);
        }
        if (rc < 0)
            return rc;
    }
    qsort(s->tensors, s->count, sizeof *s->tensors, compare_place);
    for (size_t i = 0; i < s->count; i++)
        s->by_name[i] = &s->tensors[i];
    qsort(s->by_name, s->count, sizeof *s->by_name, compare_name);
    return check_places(s, data_begin, file_size, err);
}

static int load(struct safetensors *s, struct err *err)
{
    struct stat st;
    size_t size = 0;
    json_t *root = NULL;
    if (fstat(s->fd, &st) < 0)
        return err_set_errno(err, ERR_INPUT, s->path, "cannot stat");
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_INPUT, s->path, "not a regular file");
    int rc = header_size(&size, s, (uint64_t)st.st_size, err);
    if (rc == 0)
        rc = parse_header(&root, s, size, err);
    if (rc == 0)
        rc = parse_tensors(s, root, LENGTH_BYTES + size, (uint64_t)st.st_size, err);
    json_decref(root);
    return rc;
}

int safetensors_open(struct safetensors **out, const char *path, struct err *err)
{
    *out = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return err_set_errno(err, ERR_INPUT, path, "cannot open");
    return safetensors_open_fd(out, fd, path, err);
}

int safetensors_open_fd(struct safetensors **out, int fd, const char *path, struct err *err)
{
    *out = NULL;
    struct safetensors *s = mem_array(1, sizeof *s, err);
    if (!s) {
        close(fd);
        return ERR_NOMEM;
    }
    s->fd = fd;
    s->path = mem_strdup(path, err);
    int rc = s->path ? load(s, err) : ERR_NOMEM;
    if (rc < 0) {
        safetensors_free(s);
        return rc;
    }
    *out = s;
    return 0;
}

void safetensors_free(struct safetensors *s)
{
    if (!s)
        return;
    close(s->fd);
    free(s->path);
    free(s->tensors);
    free(s->by_name);
    free(s->names);
    free(s);
}

size_t safetensors_count(const struct safetensors *s)
{
    return s->count;
}

const struct tensor_info *safetensors_at(const struct safetensors *s, size_t i)
{
    return &s->tensors[i];
}

const struct tensor_info *safetensors_find(const struct safetensors *s, const char *name)
{
    const struct tensor_info key = {.name = name}, *wanted = &key;
    const struct tensor_info **found =
        bsearch(&wanted, s->by_name, s->count, sizeof *s->by_name, compare_name);
    return found ? *found : NULL;
}

const char *safetensors_path(const struct safetensors *s)
{
    return s->path;
}

int safetensors_digest(const struct safetensors *s, struct hash *h, struct err *err)
{
    enum { SAMPLES = 64, BLOCK = 4096 };
    unsigned char block[BLOCK];
    int rc = hash_update(h, s->header_sha256, sizeof s->header_sha256, err);
    uint64_t begin = s->count ? s->tensors[0].begin : 0;
    uint64_t end = s->count ? s->tensors[s->count - 1].begin + s->tensors[s->count - 1].bytes : 0;
    uint64_t size = end - begin < BLOCK ? end - begin : BLOCK;
    for (uint64_t i = 0; rc == 0 && i < SAMPLES; i++) {
        uint64_t at = begin + (end - begin - size) * i / (SAMPLES - 1);
        rc = read_exactly(s->fd, s->path, at, block, size, "data", err);
        if (rc == 0)
            rc = hash_update(h, block, (size_t)size, err);
    }
    return rc;
}

int safetensors_stamp(const struct safetensors *s, struct hash *h, struct err *err)
{
    struct stat st;
    if (fstat(s->fd, &st) < 0)
        return err_set_errno(err, ERR_IO, s->path, "cannot look at it");
    int64_t stamp[2] = {(int64_t)st.st_size, (int64_t)st.st_mtim.tv_sec};
    return hash_update(h, stamp, sizeof stamp, err);
}

bool safetensors_owns(const struct safetensors *s, const struct tensor_info *info)
{
    return (uintptr_t)info >= (uintptr_t)s->tensors &&
           (uintptr_t)info < (uintptr_t)(s->tensors + s->count);
}

int safetensors_read(const struct safetensors *s, const struct tensor_info *info, void *out,
                     struct err *err)
{
    char what[NAME_BYTES_MAX + 16];
    if (!safetensors_owns(s, info))
        return err_set(err, ERR_USAGE, s->path, "tensor \"%s\" is not of this file", info->name);
    snprintf(what, sizeof what, "tensor \"%s\"", info->name);
    return read_exactly(s->fd, s->path, info->begin, out, info->bytes, what, err);
}
