/* Writing safetensors: header padded to 8 bytes with spaces, tensors in the order given. */
#include <stdlib.h>
#include <string.h>

#include "data/base/jsonio.h"
#include "data/base/mem.h"
#include "data/base/str.h"
#include "data/safetensors.h"

struct safetensors_writer {
    struct atomic_file file;
    char *path;
    size_t count, next;
    uint64_t *bytes; /* [count] */
};

static int spec_bytes(uint64_t *out, const struct safetensors_spec *spec, const char *path,
                      struct err *err)
{
    size_t bytes = dtype_size(spec->dtype);
    if (spec->rank > TENSOR_RANK_MAX)
        return err_set(err, ERR_USAGE, path, "tensor \"%s\": %zu dimensions, expected at most %d",
                       spec->name, spec->rank, TENSOR_RANK_MAX);
    for (size_t i = 0; i < spec->rank; i++) {
        if (!mem_mul(&bytes, bytes, spec->shape[i]))
            return err_set(err, ERR_USAGE, path,
                           "tensor \"%s\": the product of its shape overflows", spec->name);
    }
    *out = bytes;
    return 0;
}

/* NULL without memory. */
static json_t *entry_json(const struct safetensors_spec *spec, uint64_t begin, uint64_t end)
{
    json_t *shape = json_array();
    int failed = shape ? 0 : -1;
    for (size_t i = 0; i < spec->rank && failed == 0; i++)
        failed = json_array_append_new(shape, json_integer((json_int_t)spec->shape[i]));
    if (failed) {
        json_decref(shape);
        return NULL;
    }
    return json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_name(spec->dtype), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)end);
}

static int header_json(json_t *root, struct safetensors_writer *w,
                       const struct safetensors_spec *specs, struct err *err)
{
    uint64_t begin = 0;
    for (size_t i = 0; i < w->count; i++) {
        int rc = spec_bytes(&w->bytes[i], &specs[i], w->path, err);
        if (rc < 0)
            return rc;
        if (w->bytes[i] > (uint64_t)INT64_MAX - begin)
            return err_set(err, ERR_USAGE, w->path, "the tensors' sizes overflow");
        if (json_object_get(root, specs[i].name))
            return err_set(err, ERR_USAGE, w->path, "two tensors have the name \"%s\"",
                           specs[i].name);
        json_t *entry = entry_json(&specs[i], begin, begin + w->bytes[i]);
        if (json_object_set_new(root, specs[i].name, entry) < 0)
            return err_set(err, ERR_NOMEM, w->path,
                           "tensor \"%s\": no memory, or a name that is not UTF-8", specs[i].name);
        begin += w->bytes[i];
    }
    return 0;
}

static int write_header(struct safetensors_writer *w, const json_t *root, struct err *err)
{
    unsigned char length[8];
    struct str text = {0};
    char *dump = json_dumps(root, JSON_COMPACT);
    if (!dump)
        return err_set(err, ERR_NOMEM, w->path, "no memory for the header");
    str_append(&text, dump);
    free(dump);
    while (text.length % 8 && !text.failed)
        str_append(&text, " ");
    int rc = str_ok(&text, err);
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)text.length >> 8 * i);
    if (rc == 0)
        rc = atomic_file_write(&w->file, length, sizeof length, err);
    if (rc == 0)
        rc = atomic_file_write(&w->file, str_get(&text), text.length, err);
    str_release(&text);
    return rc;
}

int safetensors_writer_new(struct safetensors_writer **out, const char *path,
                           const struct safetensors_spec *specs, size_t count, struct err *err)
{
    *out = NULL;
    json_t *root = NULL;
    int rc = ERR_NOMEM;
    struct safetensors_writer *w = mem_array(1, sizeof *w, err);
    if (!w)
        return rc;
    w->file.fd = -1;
    w->count = count;
    w->path = mem_strdup(path, err);
    w->bytes = mem_array(count, sizeof *w->bytes, err);
    if (!w->path || !w->bytes)
        goto cleanup;
    root = json_pack("{s:{s:s}}", "__metadata__", "format", "pt");
    if (!root) {
        err_set(err, ERR_NOMEM, path, "no memory for the header");
        goto cleanup;
    }
    rc = header_json(root, w, specs, err);
    if (rc == 0)
        rc = atomic_file_open(&w->file, path, err);
    if (rc == 0)
        rc = write_header(w, root, err);
cleanup:
    json_decref(root);
    if (rc < 0)
        safetensors_writer_free(w);
    else
        *out = w;
    return rc;
}

int safetensors_writer_add(struct safetensors_writer *w, const void *data, size_t bytes,
                           struct err *err)
{
    if (w->next == w->count)
        return err_set(err, ERR_USAGE, w->path, "more tensors than the %zu announced", w->count);
    if (bytes != w->bytes[w->next])
        return err_set(err, ERR_USAGE, w->path, "tensor %zu: found %zu bytes, expected %llu",
                       w->next, bytes, (unsigned long long)w->bytes[w->next]);
    int rc = atomic_file_write(&w->file, data, bytes, err);
    if (rc == 0)
        w->next++;
    return rc;
}

int safetensors_writer_finish(struct safetensors_writer *w, struct err *err)
{
    int rc;
    if (w->next != w->count)
        rc = err_set(err, ERR_USAGE, w->path, "%zu tensors were written of %zu announced", w->next,
                     w->count);
    else
        rc = atomic_file_commit(&w->file, err);
    safetensors_writer_free(w);
    return rc;
}

void safetensors_writer_free(struct safetensors_writer *w)
{
    if (!w)
        return;
    atomic_file_abort(&w->file);
    free(w->path);
    free(w->bytes);
    free(w);
}
