/*
 * The child's side: inspects an HDF5 file, refuses what a trace never needs, and reads the
 * arrays. It may crash or hang inside libhdf5 at any call; nothing here is shared with the
 * program but the file that it fills.
 */
#include <fcntl.h>
#include <hdf5.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "data/base/mem.h"
#include "data/trace_h5_wire.h"

enum { RANK_MAX = 3, DEFLATE_BEST = 1100 };

/* Elements of one dataset; far above any trace, far below what overflows. */
#define ELEMENTS_MAX ((hsize_t)1 << 30)

struct dataset {
    hid_t id;     /* or -1 */
    hid_t memory; /* type to read as, or -1 */
    hsize_t extent[RANK_MAX];
};

struct reader {
    hid_t file;
    int fd;
    struct wire *wire;
    struct err *err;
    struct dataset dataset[WIRE_DATASETS];
};

static void set_place(struct reader *r, const char *place)
{
    snprintf(r->wire->place, sizeof r->wire->place, "%s", place);
}

/* The first thing that went wrong inside the library, in its own words. */
static herr_t innermost(unsigned n, const H5E_error2_t *error, void *text)
{
    if (n == 0)
        snprintf(text, 256, "%s", error->desc ? error->desc : "no reason given");
    return 0;
}

static int library_failed(struct reader *r, const char *place, const char *what)
{
    char reason[256] = "no reason given";
    H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, innermost, reason);
    return err_set(r->err, ERR_INPUT, NULL, "%s: %s (%s); the file is damaged", place, what,
                   reason);
}

/* ---- attributes ---- */

enum attribute_kind { ATTRIBUTE_COUNT, ATTRIBUTE_BOOL, ATTRIBUTE_TEXT };

struct attribute {
    const char *name;
    enum attribute_kind kind;
    bool optional;
    size_t offset; /* in struct wire */
};

#define AT(field) offsetof(struct wire, field)

static const struct attribute attributes[] = {
    {"num_moe_layers", ATTRIBUTE_COUNT, false, AT(layers)},
    {"num_experts", ATTRIBUTE_COUNT, false, AT(experts)},
    {"top_k", ATTRIBUTE_COUNT, false, AT(top_k)},
    {"num_shared_experts", ATTRIBUTE_COUNT, false, AT(shared_experts)},
    {"vocab_size", ATTRIBUTE_COUNT, false, AT(vocab)},
    {"window", ATTRIBUTE_COUNT, false, AT(window)},
    {"norm_topk_prob", ATTRIBUTE_BOOL, false, AT(norm_topk_prob)},
    {"model_name", ATTRIBUTE_TEXT, false, AT(model_name)},
    {"model_type", ATTRIBUTE_TEXT, false, AT(model_type)},
    {"creator", ATTRIBUTE_TEXT, true, AT(creator)},
    {"created", ATTRIBUTE_TEXT, true, AT(created)},
    {"dataset", ATTRIBUTE_TEXT, true, AT(dataset)},
    {"config_sha256", ATTRIBUTE_TEXT, true, AT(config_sha256)},
    {"tokenizer_sha256", ATTRIBUTE_TEXT, true, AT(tokenizer_sha256)},
};

static const char *class_name(H5T_class_t class)
{
    static const struct {
        H5T_class_t class;
        const char *name;
    } names[] = {
        {H5T_INTEGER, "integers"},
        {H5T_FLOAT, "floating-point numbers"},
        {H5T_STRING, "text"},
        {H5T_BITFIELD, "bit fields"},
        {H5T_OPAQUE, "opaque data"},
        {H5T_COMPOUND, "compound data"},
        {H5T_REFERENCE, "references"},
        {H5T_ENUM, "enumerated values"},
        {H5T_VLEN, "arrays of varying length"},
        {H5T_ARRAY, "arrays"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].class == class)
            return names[i].name;
    return "data of an unknown kind";
}

static int wrong_attribute(struct reader *r, const char *name, const char *found,
                           const char *expected)
{
    return err_set(r->err, ERR_INPUT, NULL, "attribute %s: found %s, expected %s", name, found,
                   expected);
}

/* h5py writes a bool as an enumeration over one byte: it is read as that byte. */
static int read_integer(struct reader *r, hid_t id, hid_t type, const char *name, uint64_t *out)
{
    H5T_class_t class = H5Tget_class(type);
    if (class != H5T_INTEGER && class != H5T_ENUM)
        return wrong_attribute(r, name, class_name(class), "an integer");
    int64_t value = 0;
    int8_t byte = 0;
    bool as_byte = class == H5T_ENUM && H5Tget_size(type) == 1;
    if (class == H5T_ENUM && !as_byte)
        return wrong_attribute(r, name, class_name(class), "an integer");
    if (H5Aread(id, as_byte ? type : H5T_NATIVE_INT64, as_byte ? (void *)&byte : &value) < 0)
        return library_failed(r, r->wire->place, "the attribute cannot be read");
    if (as_byte)
        value = byte;
    *out = (uint64_t)value;
    if (value >= 0)
        return 0;
    char found[32];
    snprintf(found, sizeof found, "%" PRId64, value);
    return wrong_attribute(r, name, found, "a number of at least 0");
}

static int keep_text(struct reader *r, const char *name, const char *text, size_t length, char *out)
{
    if (length >= TRACE_NAME_MAX) {
        char found[48];
        snprintf(found, sizeof found, "a text of %zu bytes", length);
        return wrong_attribute(r, name, found, "at most 255 bytes");
    }
    memcpy(out, text, length);
    out[length] = '\0';
    return 0;
}

static int read_fixed_text(struct reader *r, hid_t id, hid_t type, const char *name, char *out)
{
    size_t size = H5Tget_size(type);
    if (size > 1 << 20)
        return wrong_attribute(r, name, "a text of more than 1 MiB", "at most 255 bytes");
    char *text = mem_array(size + 1, 1, r->err);
    if (!text)
        return ERR_NOMEM;
    int rc = 0;
    if (H5Aread(id, type, text) < 0)
        rc = library_failed(r, r->wire->place, "the attribute cannot be read");
    size_t length = strnlen(text, size);
    while (length && H5Tget_strpad(type) == H5T_STR_SPACEPAD && text[length - 1] == ' ')
        length--;
    if (rc == 0)
        rc = keep_text(r, name, text, length, out);
    free(text);
    return rc;
}

static int read_text(struct reader *r, hid_t id, hid_t type, const char *name, char *out)
{
    H5T_class_t class = H5Tget_class(type);
    if (class != H5T_STRING)
        return wrong_attribute(r, name, class_name(class), "text");
    if (H5Tis_variable_str(type) <= 0)
        return read_fixed_text(r, id, type, name, out);
    char *text = NULL;
    if (H5Aread(id, type, &text) < 0)
        return library_failed(r, r->wire->place, "the attribute cannot be read");
    int rc = text ? keep_text(r, name, text, strlen(text), out) : 0;
    H5free_memory(text);
    return rc;
}

static int read_open_attribute(struct reader *r, hid_t id, const struct attribute *a, void *out)
{
    int rc = 0;
    hid_t type = H5Aget_type(id);
    hid_t space = H5Aget_space(id);
    if (type < 0 || space < 0)
        rc = library_failed(r, r->wire->place, "the attribute cannot be read");
    else if (H5Sget_simple_extent_npoints(space) != 1)
        rc = wrong_attribute(r, a->name, "an array", "one value");
    else if (a->kind == ATTRIBUTE_TEXT)
        rc = read_text(r, id, type, a->name, out);
    else
        rc = read_integer(r, id, type, a->name, out);
    if (rc == 0 && a->kind == ATTRIBUTE_BOOL && *(uint64_t *)out > 1)
        rc = wrong_attribute(r, a->name, "a number above 1", "0 or 1");
    H5Sclose(space);
    H5Tclose(type);
    return rc;
}

static int read_attribute(struct reader *r, const struct attribute *a, void *out)
{
    char place[WIRE_PLACE_MAX];
    snprintf(place, sizeof place, "attribute %s", a->name);
    set_place(r, place);
    htri_t there = H5Aexists(r->file, a->name);
    if (there < 0)
        return library_failed(r, r->wire->place, "the attribute cannot be looked up");
    if (!there && a->optional)
        return 0;
    if (!there)
        return wrong_attribute(r, a->name, "none",
                               a->kind == ATTRIBUTE_TEXT ? "text" : "an integer");
    hid_t id = H5Aopen(r->file, a->name, H5P_DEFAULT);
    if (id < 0)
        return library_failed(r, r->wire->place, "the attribute cannot be opened");
    int rc = read_open_attribute(r, id, a, out);
    H5Aclose(id);
    return rc;
}

/* First of all, so that a file of a later version is called that and not broken. */
static int check_schema(struct reader *r)
{
    static const struct attribute name = {"schema", ATTRIBUTE_TEXT, false, 0};
    static const struct attribute number = {"schema_version", ATTRIBUTE_COUNT, false, 0};
    char schema[TRACE_NAME_MAX] = "";
    uint64_t version = 0;
    int rc = read_attribute(r, &name, schema);
    if (rc < 0)
        return rc;
    if (strcmp(schema, "moqa.trace") != 0)
        return err_set(r->err, ERR_INPUT, NULL,
                       "attribute schema: found \"%s\", expected \"moqa.trace\"", schema);
    rc = read_attribute(r, &number, &version);
    if (rc == 0 && version != 1)
        rc = err_set(r->err, ERR_UNSUPPORTED, NULL,
                     "attribute schema_version: found %" PRIu64 ", expected 1", version);
    return rc;
}

static int read_attributes(struct reader *r)
{
    int rc = check_schema(r);
    for (size_t i = 0; i < sizeof attributes / sizeof *attributes && rc == 0; i++)
        rc = read_attribute(r, &attributes[i], (char *)r->wire + attributes[i].offset);
    struct trace t;
    return rc < 0 ? rc : wire_attributes(&t, r->wire, NULL, r->err);
}

/* ---- datasets: looked at before anything is read ---- */

/* 1: there, 0: not. Every link but a hard one can lead out of the file, or in circles. */
static int check_link(struct reader *r, const char *path)
{
    htri_t there = H5Lexists(r->file, path, H5P_DEFAULT);
    if (there < 0)
        return library_failed(r, path, "the name cannot be looked up");
    if (!there)
        return 0;
    H5L_info_t info;
    if (H5Lget_info(r->file, path, &info, H5P_DEFAULT) < 0)
        return library_failed(r, path, "the link cannot be read");
    if (info.type == H5L_TYPE_HARD)
        return 1;
    const char *found = info.type == H5L_TYPE_SOFT       ? "a soft link"
                        : info.type == H5L_TYPE_EXTERNAL ? "a link to another file"
                                                         : "a user-defined link";
    return err_set(r->err, ERR_INPUT, NULL, "%s: found %s, expected the object itself", path,
                   found);
}

static int check_storage(struct reader *r, hid_t plist, const char *path)
{
    if (H5Pget_layout(plist) == H5D_VIRTUAL)
        return err_set(r->err, ERR_INPUT, NULL,
                       "%s: found a virtual dataset, expected data in this file", path);
    if (H5Pget_external_count(plist) != 0)
        return err_set(r->err, ERR_INPUT, NULL,
                       "%s: found external storage, expected data in this file", path);
    int count = H5Pget_nfilters(plist);
    if (count < 0)
        return library_failed(r, path, "the filters cannot be read");
    for (int i = 0; i < count; i++) {
        unsigned flags, config;
        size_t values = 0;
        char name[64] = "";
        H5Z_filter_t filter =
            H5Pget_filter2(plist, (unsigned)i, &flags, &values, NULL, sizeof name, name, &config);
        if (filter != H5Z_FILTER_DEFLATE && filter != H5Z_FILTER_SHUFFLE &&
            filter != H5Z_FILTER_FLETCHER32)
            return err_set(r->err, ERR_UNSUPPORTED, NULL,
                           "%s: found filter %d \"%.63s\", expected none but shuffle, deflate and "
                           "fletcher32",
                           path, (int)filter, name);
    }
    return 0;
}

static bool is_half(hid_t type, hid_t half)
{
    H5Tset_order(half, H5T_ORDER_LE);
    if (H5Tequal(type, half) > 0)
        return true;
    H5Tset_order(half, H5T_ORDER_BE);
    return H5Tequal(type, half) > 0;
}

/* The library's own conversion from half takes a second where all else takes a tenth: halves
 * are only brought into this machine's byte order. */
static hid_t float_memory(hid_t type, uint32_t *width)
{
    hid_t half = H5Tcopy(H5T_NATIVE_FLOAT);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    bool as_half = is_half(type, half);
    H5Tset_order(half, H5Tget_order(H5T_NATIVE_FLOAT));
    if (as_half) {
        *width = 2;
        return half;
    }
    H5Tclose(half);
    *width = H5Tget_size(type) <= sizeof(float) ? sizeof(float) : sizeof(double);
    return H5Tcopy(*width == sizeof(float) ? H5T_NATIVE_FLOAT : H5T_NATIVE_DOUBLE);
}

static hid_t integer_memory(hid_t type, uint32_t *kind, uint32_t *width)
{
    const hid_t natives[2][4] = {
        {H5T_NATIVE_UINT8, H5T_NATIVE_UINT16, H5T_NATIVE_UINT32, H5T_NATIVE_UINT64},
        {H5T_NATIVE_INT8, H5T_NATIVE_INT16, H5T_NATIVE_INT32, H5T_NATIVE_INT64},
    };
    bool is_signed = H5Tget_sign(type) == H5T_SGN_2;
    size_t size = H5Tget_size(type);
    unsigned power = 0;
    while (power < 3 && (size_t)1 << power < size)
        power++;
    *kind = is_signed ? WIRE_SIGNED : WIRE_UNSIGNED;
    *width = 1u << power;
    return H5Tcopy(natives[is_signed][power]);
}

static int check_type(struct reader *r, enum wire_dataset d, hid_t type)
{
    const struct wire_spec *spec = &wire_specs[d];
    struct wire_array *a = &r->wire->array[d];
    H5T_class_t class = H5Tget_class(type);
    if (class != (spec->floating ? H5T_FLOAT : H5T_INTEGER))
        return err_set(r->err, ERR_INPUT, NULL, "%s: found %s, expected %s", spec->path,
                       class_name(class), spec->floating ? "floating-point numbers" : "integers");
    if (H5Tget_size(type) > 8)
        return err_set(r->err, ERR_UNSUPPORTED, NULL,
                       "%s: found numbers of %zu bytes, expected at most 8", spec->path,
                       H5Tget_size(type));
    a->kind = WIRE_FLOAT;
    r->dataset[d].memory =
        spec->floating ? float_memory(type, &a->width) : integer_memory(type, &a->kind, &a->width);
    return r->dataset[d].memory < 0 ? library_failed(r, spec->path, "the type cannot be read") : 0;
}

static int check_extent(struct reader *r, enum wire_dataset d, hid_t space)
{
    const struct wire_spec *spec = &wire_specs[d];
    int rank = H5Sis_simple(space) > 0 ? H5Sget_simple_extent_ndims(space) : -1;
    if (rank != (int)spec->rank)
        return err_set(r->err, ERR_INPUT, NULL, "%s: found %d dimensions, expected %u", spec->path,
                       rank, spec->rank);
    hsize_t *extent = r->dataset[d].extent;
    H5Sget_simple_extent_dims(space, extent, NULL);
    hsize_t count = 1;
    for (int i = 0; i < rank; i++) {
        if (extent[i] && count > ELEMENTS_MAX / extent[i])
            return err_set(r->err, ERR_INPUT, NULL,
                           "%s: found an extent of %" PRIu64 " in dimension %d, expected at most "
                           "%" PRIu64 " elements in all",
                           spec->path, (uint64_t)extent[i], i, (uint64_t)ELEMENTS_MAX);
        count *= extent[i];
    }
    r->wire->array[d].count = count;
    return 0;
}

/* Deflate shrinks to 1/1032 at best: less stored means that the data was never written, and that
 * a few bytes of file would become gigabytes of fill values. */
static int check_stored(struct reader *r, enum wire_dataset d, hid_t type)
{
    const struct wire_array *a = &r->wire->array[d];
    uint64_t stored = H5Dget_storage_size(r->dataset[d].id);
    uint64_t bytes = a->count * H5Tget_size(type);
    if (bytes == 0 || (stored && bytes / DEFLATE_BEST <= stored))
        return 0;
    return err_set(r->err, ERR_INPUT, NULL,
                   "%s: found %" PRIu64 " bytes stored, too few for the extent of %" PRIu64
                   " bytes; the data was not written",
                   wire_specs[d].path, stored, bytes);
}

/* The order matters: a virtual dataset opens its sources as soon as one asks for its extent. */
static int inspect(struct reader *r, enum wire_dataset d)
{
    const char *path = wire_specs[d].path;
    hid_t id = r->dataset[d].id;
    hid_t type = -1, space = -1;
    hid_t plist = H5Dget_create_plist(id);
    int rc = plist < 0 ? library_failed(r, path, "the layout cannot be read")
                       : check_storage(r, plist, path);
    if (rc == 0) {
        type = H5Dget_type(id);
        space = H5Dget_space(id);
        if (type < 0 || space < 0)
            rc = library_failed(r, path, "type or extent cannot be read");
    }
    if (rc == 0)
        rc = check_extent(r, d, space);
    if (rc == 0)
        rc = check_type(r, d, type);
    if (rc == 0)
        rc = check_stored(r, d, type);
    H5Sclose(space);
    H5Tclose(type);
    H5Pclose(plist);
    return rc;
}

static int open_dataset(struct reader *r, enum wire_dataset d)
{
    const struct wire_spec *spec = &wire_specs[d];
    set_place(r, spec->path);
    int there = check_link(r, spec->group);
    if (there > 0)
        there = check_link(r, spec->path);
    if (there < 0)
        return there;
    if (!there && spec->optional)
        return 0;
    if (!there)
        return err_set(r->err, ERR_INPUT, NULL, "%s: not in the file, expected %s", spec->path,
                       spec->floating ? "floating-point numbers" : "integers");
    hid_t id = H5Oopen(r->file, spec->path, H5P_DEFAULT);
    if (id < 0)
        return library_failed(r, spec->path, "the dataset cannot be opened");
    if (H5Iget_type(id) != H5I_DATASET)
        return err_set(r->err, ERR_INPUT, NULL, "%s: found a group or type, expected a dataset",
                       spec->path);
    r->dataset[d].id = id;
    return inspect(r, d);
}

static int check_length(struct reader *r, enum wire_dataset d, hsize_t expected, const char *why)
{
    const struct dataset *set = &r->dataset[d];
    if (set->id < 0 || set->extent[0] == expected)
        return 0;
    return err_set(r->err, ERR_INPUT, NULL,
                   "%s: found %" PRIu64 " elements, expected %" PRIu64 ", %s", wire_specs[d].path,
                   (uint64_t)set->extent[0], (uint64_t)expected, why);
}

static int check_slots(struct reader *r, enum wire_dataset d)
{
    const hsize_t *found = r->dataset[d].extent;
    const hsize_t expected[RANK_MAX] = {r->wire->layers, r->dataset[WIRE_IDS].extent[0],
                                        r->wire->top_k};
    if (r->dataset[d].id < 0 || memcmp(found, expected, sizeof expected) == 0)
        return 0;
    return err_set(r->err, ERR_INPUT, NULL,
                   "%s: found the extents %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   ", expected %" PRIu64 " x %" PRIu64 " x %" PRIu64
                   " (num_moe_layers, length of /tokens/ids, top_k)",
                   wire_specs[d].path, (uint64_t)found[0], (uint64_t)found[1], (uint64_t)found[2],
                   (uint64_t)expected[0], (uint64_t)expected[1], (uint64_t)expected[2]);
}

static int check_agreement(struct reader *r)
{
    bool bytes = r->dataset[WIRE_VOCAB_BYTES].id >= 0;
    bool offsets = r->dataset[WIRE_VOCAB_OFFSETS].id >= 0;
    if (bytes != offsets)
        return err_set(r->err, ERR_INPUT, NULL, "%s: missing, expected beside %s",
                       bytes ? "/vocab/offsets" : "/vocab/bytes",
                       bytes ? "/vocab/bytes" : "/vocab/offsets");
    int rc = check_length(r, WIRE_INDEX, r->wire->layers, "num_moe_layers");
    if (rc == 0)
        rc = check_length(r, WIRE_VOCAB_OFFSETS, r->wire->vocab + 1, "vocab_size + 1");
    if (rc == 0)
        rc = check_slots(r, WIRE_EXPERTS);
    return rc < 0 ? rc : check_slots(r, WIRE_GATES);
}

/* ---- reading ---- */

/* Places the arrays one after the other and makes room; the map is of the whole file. */
static int make_room(struct reader *r, unsigned char **map, uint64_t *size)
{
    uint64_t end = sizeof(struct wire);
    for (size_t d = 0; d < WIRE_DATASETS; d++) {
        struct wire_array *a = &r->wire->array[d];
        if (r->dataset[d].id < 0)
            continue;
        end = (end + 63) / 64 * 64;
        a->offset = end;
        end += a->count * a->width;
    }
    if (end > WIRE_BYTES_MAX)
        return err_set(r->err, ERR_UNSUPPORTED, NULL,
                       "found %" PRIu64 " bytes of arrays, expected at most %" PRIu64, end,
                       (uint64_t)WIRE_BYTES_MAX);
    if (fallocate(r->fd, 0, 0, (off_t)end) < 0 && ftruncate(r->fd, (off_t)end) < 0)
        return err_set_errno(r->err, ERR_NOMEM, NULL, "no memory for the trace");
    *size = end;
    *map = mmap(NULL, end, PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, 0);
    if (*map == MAP_FAILED)
        return err_set_errno(r->err, ERR_NOMEM, NULL, "no memory for the trace");
    return 0;
}

static int read_arrays(struct reader *r)
{
    unsigned char *map;
    uint64_t size;
    int rc = make_room(r, &map, &size);
    for (size_t d = 0; d < WIRE_DATASETS && rc == 0; d++) {
        struct dataset *set = &r->dataset[d];
        if (set->id < 0 || r->wire->array[d].count == 0)
            continue;
        set_place(r, wire_specs[d].path);
        if (H5Dread(set->id, set->memory, H5S_ALL, H5S_ALL, H5P_DEFAULT,
                    map + r->wire->array[d].offset) < 0)
            rc = library_failed(r, wire_specs[d].path, "the data cannot be read");
    }
    return rc;
}

static hid_t open_file(struct reader *r, const char *path)
{
    set_place(r, "the superblock");
    hid_t access = H5Pcreate(H5P_FILE_ACCESS);
    H5Pset_fapl_sec2(access);
    H5Pset_file_locking(access, false, true);
    hid_t file = H5Fopen(path, H5F_ACC_RDONLY, access);
    H5Pclose(access);
    if (file < 0)
        library_failed(r, "HDF5", "the file cannot be opened");
    return file;
}

static int read_file(struct reader *r, const char *path)
{
    H5Eset_auto2(H5E_DEFAULT, NULL, NULL);
    H5PLset_loading_state(0);
    r->file = open_file(r, path);
    if (r->file < 0)
        return ERR_INPUT;
    int rc = read_attributes(r);
    for (size_t d = 0; d < WIRE_DATASETS && rc == 0; d++)
        rc = open_dataset(r, (enum wire_dataset)d);
    if (rc == 0)
        rc = check_agreement(r);
    return rc < 0 ? rc : read_arrays(r);
}

void wire_read_h5(const char *path, int fd)
{
    struct err err = {0};
    void *map = mmap(NULL, sizeof(struct wire), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        _exit(1);
    struct reader r = {.file = -1, .fd = fd, .wire = map, .err = &err};
    for (size_t d = 0; d < WIRE_DATASETS; d++)
        r.dataset[d] = (struct dataset){.id = -1, .memory = -1};
    /* Nothing is closed: the process ends here, and closing a damaged file is one more risk. */
    r.wire->code = read_file(&r, path);
    memcpy(r.wire->message, err.message, sizeof r.wire->message);
    r.wire->state = WIRE_DONE;
}
