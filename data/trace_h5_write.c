/*
 * Writing: the file is built in memory and goes out through atomic_file, so that a full disk is
 * met by code that expects it, not by libhdf5 half-way through a structure.
 */
#include <hdf5.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/atomic_file.h"
#include "data/base/mem.h"
#include "data/trace_h5.h"
#include "data/trace_h5_wire.h"

enum {
    CHUNK_POSITIONS = 16384,
    CHUNK_ELEMENTS = 1 << 20, /* of the one-dimensional arrays */
    DEFLATE_LEVEL = 3,
    MEMORY_STEP = 4 << 20,
};

/* One thread at a time uses libhdf5. (Files are read by processes of their own.) */
static pthread_mutex_t library = PTHREAD_MUTEX_INITIALIZER;

/* Objects are created without time stamps: the same trace gives the same bytes. */
struct writer {
    hid_t file;
    const char *path;
    struct err *err;
};

static int failed(struct writer *w, const char *what)
{
    return err_set(w->err, ERR_NOMEM, w->path, "the HDF5 library cannot write %s", what);
}

static int write_attribute(struct writer *w, const char *name, hid_t type, const void *value)
{
    hid_t space = H5Screate(H5S_SCALAR);
    hid_t id = H5Acreate2(w->file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    int rc = id < 0 || H5Awrite(id, type, value) < 0 ? failed(w, name) : 0;
    H5Aclose(id);
    H5Sclose(space);
    return rc;
}

static int write_text(struct writer *w, const char *name, const char *text)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, H5T_VARIABLE);
    H5Tset_cset(type, H5T_CSET_UTF8);
    int rc = write_attribute(w, name, type, &text);
    H5Tclose(type);
    return rc;
}

static int write_attributes(struct writer *w, const struct trace *t)
{
    const struct {
        const char *name, *text;
    } texts[] = {
        {"schema", "moqa.trace"},
        {"creator", t->creator},
        {"created", t->created},
        {"model_name", t->model_name},
        {"model_type", t->model_type},
        {"dataset", t->dataset},
        {"config_sha256", t->config_sha256},
        {"tokenizer_sha256", t->tokenizer_sha256},
    };
    const struct {
        const char *name;
        size_t value;
    } numbers[] = {
        {"schema_version", 1},
        {"num_moe_layers", t->layers},
        {"num_experts", t->experts},
        {"top_k", t->top_k},
        {"num_shared_experts", t->shared_experts},
        {"vocab_size", t->vocab},
        {"window", t->window},
        {"norm_topk_prob", t->norm_topk_prob},
    };
    int rc = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts && rc == 0; i++)
        rc = write_text(w, texts[i].name, texts[i].text);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && rc == 0; i++) {
        int64_t value = (int64_t)numbers[i].value;
        rc = write_attribute(w, numbers[i].name, H5T_NATIVE_INT64, &value);
    }
    return rc;
}

static int write_group(struct writer *w, const char *name)
{
    hid_t create = H5Pcreate(H5P_GROUP_CREATE);
    H5Pset_obj_track_times(create, false);
    hid_t id = H5Gcreate2(w->file, name, H5P_DEFAULT, create, H5P_DEFAULT);
    H5Pclose(create);
    if (id < 0)
        return failed(w, name);
    H5Gclose(id);
    return 0;
}

struct array {
    enum wire_dataset dataset;
    hid_t stored, memory;
    int rank;
    hsize_t extent[3];
    const void *data;
};

static hid_t dataset_list(const struct array *a)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_obj_track_times(list, false);
    /* Deflate saves a fifth of the gates and takes as long as all else; without it, one piece is
     * read fastest. */
    if ((a->rank == 1 && a->extent[0] == 0) || a->dataset == WIRE_GATES)
        return list;
    hsize_t chunk[3] = {a->extent[0] < CHUNK_ELEMENTS ? a->extent[0] : CHUNK_ELEMENTS};
    if (a->rank == 3) {
        chunk[0] = 1;
        chunk[1] = a->extent[1] < CHUNK_POSITIONS ? a->extent[1] : CHUNK_POSITIONS;
        chunk[2] = a->extent[2];
    }
    H5Pset_chunk(list, a->rank, chunk);
    H5Pset_shuffle(list);
    H5Pset_deflate(list, DEFLATE_LEVEL);
    return list;
}

static int write_array(struct writer *w, const struct array *a)
{
    const char *path = wire_specs[a->dataset].path;
    hid_t list = dataset_list(a);
    hid_t space = H5Screate_simple(a->rank, a->extent, NULL);
    hid_t id = H5Dcreate2(w->file, path, a->stored, space, H5P_DEFAULT, list, H5P_DEFAULT);
    int rc = 0;
    if (id < 0 || H5Dwrite(id, a->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, a->data) < 0)
        rc = failed(w, path);
    H5Dclose(id);
    H5Sclose(space);
    H5Pclose(list);
    return rc;
}

/* Where N < 255, the byte 255 is free to stand for not routed. */
static int write_experts(struct writer *w, const struct trace *t)
{
    struct array a = {
        WIRE_EXPERTS, H5T_STD_U16LE, H5T_NATIVE_UINT16, 3, {t->layers, t->positions, t->top_k},
        t->routed};
    if (t->experts >= UINT8_MAX)
        return write_array(w, &a);
    size_t slots = t->layers * t->positions * t->top_k;
    uint8_t *bytes = mem_aligned(slots, 1, w->err);
    if (!bytes)
        return ERR_NOMEM;
    for (size_t i = 0; i < slots; i++)
        bytes[i] = (uint8_t)t->routed[i]; /* TRACE_NOT_ROUTED becomes 255 */
    a.stored = H5T_STD_U8LE;
    a.memory = H5T_NATIVE_UINT8;
    a.data = bytes;
    int rc = write_array(w, &a);
    free(bytes);
    return rc;
}

static int write_arrays(struct writer *w, const struct trace *t)
{
    const struct array arrays[] = {
        {WIRE_IDS, H5T_STD_U32LE, H5T_NATIVE_UINT32, 1, {t->positions}, t->ids},
        {WIRE_STARTS, H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, {t->windows}, t->window_starts},
        {WIRE_INDEX, H5T_STD_U16LE, H5T_NATIVE_UINT16, 1, {t->layers}, t->layer_index},
        {WIRE_GATES,
         H5T_IEEE_F32LE,
         H5T_NATIVE_FLOAT,
         3,
         {t->layers, t->positions, t->top_k},
         t->gates},
        {WIRE_VOCAB_OFFSETS, H5T_STD_U64LE, H5T_NATIVE_UINT64, 1, {t->vocab + 1}, t->vocab_offsets},
        {WIRE_VOCAB_BYTES,
         H5T_STD_U8LE,
         H5T_NATIVE_UINT8,
         1,
         {t->vocab_offsets ? t->vocab_offsets[t->vocab] : 0},
         t->vocab_bytes},
    };
    static const char *const groups[] = {"/tokens", "/routing", "/layers", "/vocab"};
    int rc = 0;
    for (size_t i = 0; i < (t->vocab_bytes ? 4 : 3) && rc == 0; i++)
        rc = write_group(w, groups[i]);
    if (rc == 0)
        rc = write_experts(w, t);
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays && rc == 0; i++)
        if (arrays[i].data)
            rc = write_array(w, &arrays[i]);
    return rc;
}

/* The image is a heap buffer of the caller. */
static int take_image(struct writer *w, void **image, size_t *size)
{
    if (H5Fflush(w->file, H5F_SCOPE_GLOBAL) < 0)
        return failed(w, "the file");
    ssize_t length = H5Fget_file_image(w->file, NULL, 0);
    if (length <= 0)
        return failed(w, "the file");
    *size = (size_t)length;
    *image = mem_aligned(*size, 1, w->err);
    if (!*image)
        return ERR_NOMEM;
    return H5Fget_file_image(w->file, *image, *size) == length ? 0 : failed(w, "the file");
}

static int build_image(const struct trace *t, const char *path, void **image, size_t *size,
                       struct err *err)
{
    struct writer w = {.path = path, .err = err};
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    hid_t create = H5Pcreate(H5P_FILE_CREATE);
    H5Pset_obj_track_times(create, false);
    H5Pset_fapl_core(access, MEMORY_STEP, false);
    w.file = H5Fcreate("moqa-trace", H5F_ACC_TRUNC, create, access);
    int rc = w.file < 0 ? failed(&w, "the file") : write_attributes(&w, t);
    if (rc == 0)
        rc = write_arrays(&w, t);
    if (rc == 0)
        rc = take_image(&w, image, size);
    if (w.file >= 0)
        H5Fclose(w.file);
    H5Pclose(create);
    H5Pclose(access);
    return rc;
}

/* What the reader would refuse must not be written. */
static int check_size(size_t layers, size_t positions, size_t top_k, const char *path,
                      struct err *err)
{
    size_t slots;
    if (!mem_mul(&slots, layers, positions) || !mem_mul(&slots, slots, top_k) ||
        slots > WIRE_BYTES_MAX / 8)
        return err_set(err, ERR_UNSUPPORTED, path,
                       "a trace of %zu layers x %zu positions x %zu slots is too large", layers,
                       positions, top_k);
    return 0;
}

int trace_h5_check(size_t layers, size_t positions, size_t top_k, const char *path, struct err *err)
{
    int rc = check_size(layers, positions, top_k, path, err);
    return rc == 0 ? atomic_file_probe(path, err) : rc;
}

int trace_h5_save(const struct trace *t, const char *path, struct err *err)
{
    int rc = trace_validate(t, path, err);
    if (rc == 0)
        rc = check_size(t->layers, t->positions, t->top_k, path, err);
    if (rc < 0)
        return rc;
    void *image = NULL;
    size_t size = 0;
    pthread_mutex_lock(&library);
    rc = build_image(t, path, &image, &size, err);
    pthread_mutex_unlock(&library);
    if (rc == 0)
        rc = atomic_file_save(path, image, size, err);
    free(image);
    return rc;
}
