/* Files crafted with libhdf5: each is a good trace with one thing replaced. */
#include <fcntl.h>
#include <hdf5.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/atomic_file.h"
#include "data/base/str.h"
#include "data/trace_h5.h"
#include "trace_make.h"

enum { LAYERS = 3, POSITIONS = 130, EXPERTS = 60, TOP_K = 4, SLOTS = LAYERS * POSITIONS * TOP_K };

static const hsize_t slots_extent[3] = {LAYERS, POSITIONS, TOP_K};

static char folder[64], path[96], other[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moqa-crafted-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/trace.h5", folder);
    snprintf(other, sizeof other, "%s/other", folder);
    return 0;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(path);
    unlink(other);
    return rmdir(folder);
}

static void make(struct trace *t)
{
    trace_make(t, LAYERS, POSITIONS, EXPERTS, TOP_K, true, false, 11);
}

static void save_good(void)
{
    struct trace t;
    make(&t);
    assert_int_equal(trace_h5_save(&t, path, NULL), 0);
    trace_release(&t);
}

static void craft(void (*change)(hid_t file))
{
    save_good();
    hid_t file = H5Fopen(path, H5F_ACC_RDWR, H5P_DEFAULT);
    assert_true(file >= 0);
    change(file);
    assert_true(H5Fclose(file) >= 0);
}

/* ---- replacing things ---- */

static void attribute(hid_t file, const char *name, hid_t type, hsize_t count, const void *value)
{
    assert_true(H5Adelete(file, name) >= 0);
    hid_t space = count ? H5Screate_simple(1, &count, NULL) : H5Screate(H5S_SCALAR);
    hid_t id = H5Acreate2(file, name, type, space, H5P_DEFAULT, H5P_DEFAULT);
    assert_true(id >= 0 && H5Awrite(id, type, value) >= 0);
    H5Aclose(id);
    H5Sclose(space);
}

static void fixed_text(hid_t file, const char *name, const char *value, size_t size, H5T_str_t pad)
{
    hid_t type = H5Tcopy(H5T_C_S1);
    H5Tset_size(type, size);
    H5Tset_strpad(type, pad);
    attribute(file, name, type, 0, value);
    H5Tclose(type);
}

static void integer(hid_t file, const char *name, int64_t value)
{
    attribute(file, name, H5T_NATIVE_INT64, 0, &value);
}

/* `data` may be NULL: nothing is written. `list` is closed. */
static void dataset(hid_t file, const char *name, hid_t stored, int rank, const hsize_t *extent,
                    hid_t list, hid_t memory, const void *data)
{
    assert_true(H5Ldelete(file, name, H5P_DEFAULT) >= 0);
    hid_t space = H5Screate_simple(rank, extent, NULL);
    hid_t id = H5Dcreate2(file, name, stored, space, H5P_DEFAULT, list, H5P_DEFAULT);
    assert_true(id >= 0);
    if (data)
        assert_true(H5Dwrite(id, memory, H5S_ALL, H5S_ALL, H5P_DEFAULT, data) >= 0);
    H5Dclose(id);
    H5Sclose(space);
    if (list != H5P_DEFAULT)
        H5Pclose(list);
}

/* The good trace's experts in another type, with one slot set. */
static void experts(hid_t file, hid_t stored, size_t slot, int64_t value)
{
    struct trace t;
    int64_t *wide = calloc(SLOTS, sizeof *wide);
    make(&t);
    for (size_t i = 0; i < SLOTS; i++)
        wide[i] = t.routed[i];
    wide[slot] = value;
    dataset(file, "/routing/experts", stored, 3, slots_extent, H5P_DEFAULT, H5T_NATIVE_INT64, wide);
    trace_release(&t);
    free(wide);
}

static void gates(hid_t file, hid_t stored, size_t slot, double value)
{
    struct trace t;
    double *wide = calloc(SLOTS, sizeof *wide);
    make(&t);
    for (size_t i = 0; i < SLOTS; i++)
        wide[i] = (double)t.gates[i];
    wide[slot] = value;
    dataset(file, "/routing/gates", stored, 3, slots_extent, H5P_DEFAULT, H5T_NATIVE_DOUBLE, wide);
    trace_release(&t);
    free(wide);
}

/* A one-dimensional dataset, read back as int64, with one element set, stored in another type. */
static void element(hid_t file, const char *name, hid_t stored, size_t at, int64_t value)
{
    hid_t id = H5Dopen2(file, name, H5P_DEFAULT);
    hid_t space = H5Dget_space(id);
    hsize_t extent;
    H5Sget_simple_extent_dims(space, &extent, NULL);
    int64_t *wide = calloc(extent, sizeof *wide);
    H5Dread(id, H5T_NATIVE_INT64, H5S_ALL, H5S_ALL, H5P_DEFAULT, wide);
    H5Sclose(space);
    H5Dclose(id);
    wide[at] = value;
    dataset(file, name, stored, 1, &extent, H5P_DEFAULT, H5T_NATIVE_INT64, wide);
    free(wide);
}

/* ---- files that must be refused ---- */

struct refusal {
    const char *name;
    void (*change)(hid_t file);
    enum err_code code;
    const char *message;
};

static void no_top_k(hid_t f)
{
    H5Adelete(f, "top_k");
}

static void no_schema(hid_t f)
{
    H5Adelete(f, "schema");
}

static void other_schema(hid_t f)
{
    fixed_text(f, "schema", "moqa.plan", 9, H5T_STR_NULLPAD);
}

static void later_version(hid_t f)
{
    integer(f, "schema_version", 2);
    H5Ldelete(f, "/routing", H5P_DEFAULT);
}

static void text_for_a_number(hid_t f)
{
    fixed_text(f, "num_experts", "sixty", 6, H5T_STR_NULLTERM);
}

static void float_for_a_number(hid_t f)
{
    double value = 60;
    attribute(f, "num_experts", H5T_NATIVE_DOUBLE, 0, &value);
}

static void number_for_text(hid_t f)
{
    integer(f, "model_type", 5);
}

static void array_for_a_number(hid_t f)
{
    int64_t values[3] = {4, 4, 4};
    attribute(f, "top_k", H5T_NATIVE_INT64, 3, values);
}

static void negative_number(hid_t f)
{
    integer(f, "vocab_size", -500);
}

static void third_truth(hid_t f)
{
    integer(f, "norm_topk_prob", 2);
}

static void no_experts_at_all(hid_t f)
{
    integer(f, "num_experts", 0);
}

static void top_k_above_experts(hid_t f)
{
    integer(f, "num_experts", 3);
}

static void long_text(hid_t f)
{
    char text[300];
    memset(text, 'x', sizeof text);
    fixed_text(f, "dataset", text, sizeof text, H5T_STR_NULLPAD);
}

static void long_hash(hid_t f)
{
    char text[70];
    memset(text, '0', sizeof text);
    fixed_text(f, "config_sha256", text, sizeof text, H5T_STR_NULLPAD);
}

static void no_ids(hid_t f)
{
    H5Ldelete(f, "/tokens/ids", H5P_DEFAULT);
}

static void no_layers_group(hid_t f)
{
    H5Ldelete(f, "/layers", H5P_DEFAULT);
}

static void group_for_ids(hid_t f)
{
    no_ids(f);
    H5Gclose(H5Gcreate2(f, "/tokens/ids", H5P_DEFAULT, H5P_DEFAULT, H5P_DEFAULT));
}

static void soft_link(hid_t f)
{
    H5Lmove(f, "/tokens/ids", f, "/elsewhere", H5P_DEFAULT, H5P_DEFAULT);
    H5Lcreate_soft("/elsewhere", f, "/tokens/ids", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_link(hid_t f)
{
    no_ids(f);
    H5Lcreate_external("/etc/passwd", "/tokens/ids", f, "/tokens/ids", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_group(hid_t f)
{
    no_layers_group(f);
    H5Lcreate_external("other.h5", "/layers", f, "/layers", H5P_DEFAULT, H5P_DEFAULT);
}

static void external_storage(hid_t f)
{
    hsize_t extent = POSITIONS;
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_external(list, "/etc/passwd", 0, POSITIONS * 4);
    dataset(f, "/tokens/ids", H5T_STD_U32LE, 1, &extent, list, -1, NULL);
}

static void virtual_dataset(hid_t f)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    hid_t space = H5Screate_simple(3, slots_extent, NULL);
    H5Pset_virtual(list, space, "other.h5", "/routing/experts", space);
    H5Sclose(space);
    dataset(f, "/routing/experts", H5T_STD_U8LE, 3, slots_extent, list, -1, NULL);
}

static hid_t chunked(const hsize_t *chunk)
{
    hid_t list = H5Pcreate(H5P_DATASET_CREATE);
    H5Pset_chunk(list, 3, chunk);
    return list;
}

static void filtered(hid_t f, hid_t list)
{
    uint8_t *data = calloc(SLOTS, 1);
    for (size_t i = 0; i < SLOTS; i++)
        data[i] = (uint8_t)(i * 7 % EXPERTS);
    dataset(f, "/routing/experts", H5T_STD_U8LE, 3, slots_extent, list, H5T_NATIVE_UINT8, data);
    free(data);
}

static void scale_offset_filter(hid_t f)
{
    hid_t list = chunked(slots_extent);
    H5Pset_scaleoffset(list, H5Z_SO_INT, 0);
    filtered(f, list);
}

static size_t same_bytes(unsigned flags, size_t count, const unsigned values[], size_t bytes,
                         size_t *size, void **buffer)
{
    (void)flags, (void)count, (void)values, (void)size, (void)buffer;
    return bytes;
}

static void foreign_filter(hid_t f)
{
    const H5Z_class2_t class = {H5Z_CLASS_T_VERS, 32001, 1, 1, "blosc", NULL, NULL, same_bytes};
    H5Zregister(&class);
    hid_t list = chunked(slots_extent);
    H5Pset_filter(list, 32001, H5Z_FLAG_MANDATORY, 0, NULL);
    filtered(f, list);
}

static void float_experts(hid_t f)
{
    experts(f, H5T_IEEE_F32LE, 0, 1);
}

static void integer_gates(hid_t f)
{
    gates(f, H5T_STD_I32LE, 0, 0);
}

static void text_ids(hid_t f)
{
    hsize_t extent = POSITIONS;
    hid_t type = H5Tcopy(H5T_C_S1);
    char text[POSITIONS] = "abc";
    dataset(f, "/tokens/ids", type, 1, &extent, H5P_DEFAULT, type, text);
    H5Tclose(type);
}

static void flat_experts(hid_t f)
{
    const hsize_t extent[2] = {LAYERS * POSITIONS, TOP_K};
    uint8_t data[SLOTS] = {0};
    dataset(f, "/routing/experts", H5T_STD_U8LE, 2, extent, H5P_DEFAULT, H5T_NATIVE_UINT8, data);
}

static void scalar_starts(hid_t f)
{
    uint64_t value = 0;
    dataset(f, "/tokens/window_starts", H5T_STD_U64LE, 0, NULL, H5P_DEFAULT, H5T_NATIVE_UINT64,
            &value);
}

static void huge_experts(hid_t f)
{
    const hsize_t extent[3] = {LAYERS, (hsize_t)1 << 40, TOP_K}, chunk[3] = {1, 16384, TOP_K};
    dataset(f, "/routing/experts", H5T_STD_U8LE, 3, extent, chunked(chunk), -1, NULL);
}

static void unwritten_experts(hid_t f)
{
    const hsize_t chunk[3] = {1, POSITIONS, TOP_K};
    dataset(f, "/routing/experts", H5T_STD_U8LE, 3, slots_extent, chunked(chunk), -1, NULL);
}

static void unwritten_layers(hid_t f)
{
    const hsize_t extent = LAYERS;
    dataset(f, "/layers/index", H5T_STD_U16LE, 1, &extent, H5P_DEFAULT, -1, NULL);
}

static void wide_gates(hid_t f)
{
    gates(f, H5T_NATIVE_LDOUBLE, 0, 0.5);
}

static void short_ids(hid_t f)
{
    hsize_t extent = POSITIONS - 1;
    uint32_t data[POSITIONS] = {0};
    dataset(f, "/tokens/ids", H5T_STD_U32LE, 1, &extent, H5P_DEFAULT, H5T_NATIVE_UINT32, data);
}

static void narrow_gates(hid_t f)
{
    const hsize_t extent[3] = {LAYERS, POSITIONS, TOP_K - 1};
    float data[SLOTS] = {0};
    dataset(f, "/routing/gates", H5T_IEEE_F32LE, 3, extent, H5P_DEFAULT, H5T_NATIVE_FLOAT, data);
}

static void long_index(hid_t f)
{
    hsize_t extent = LAYERS + 1;
    const uint16_t data[LAYERS + 1] = {0, 1, 2, 3};
    dataset(f, "/layers/index", H5T_STD_U16LE, 1, &extent, H5P_DEFAULT, H5T_NATIVE_UINT16, data);
}

static void short_offsets(hid_t f)
{
    hsize_t extent = 500;
    const uint64_t data[500] = {0};
    dataset(f, "/vocab/offsets", H5T_STD_U64LE, 1, &extent, H5P_DEFAULT, H5T_NATIVE_UINT64, data);
}

static void half_a_vocabulary(hid_t f)
{
    H5Ldelete(f, "/vocab/offsets", H5P_DEFAULT);
}

static void no_positions(hid_t f)
{
    const hsize_t extent[3] = {LAYERS, 0, TOP_K};
    dataset(f, "/tokens/ids", H5T_STD_U32LE, 1, extent + 1, H5P_DEFAULT, -1, NULL);
    dataset(f, "/routing/experts", H5T_STD_U8LE, 3, extent, H5P_DEFAULT, -1, NULL);
    dataset(f, "/routing/gates", H5T_IEEE_F32LE, 3, extent, H5P_DEFAULT, -1, NULL);
}

static void offsets_beyond_bytes(hid_t f)
{
    element(f, "/vocab/offsets", H5T_STD_U64LE, 500, 1000000);
}

static void expert_too_high(hid_t f)
{
    experts(f, H5T_STD_I32LE, 2 * POSITIONS * TOP_K + 17 * TOP_K + 1, 1000);
}

static void expert_too_low(hid_t f)
{
    experts(f, H5T_STD_I16BE, 9, -2);
}

static void expert_twice(hid_t f)
{
    struct trace t;
    make(&t);
    experts(f, H5T_STD_U8LE, 5 * TOP_K + 3, t.routed[5 * TOP_K]);
    trace_release(&t);
}

static void negative_id(hid_t f)
{
    element(f, "/tokens/ids", H5T_STD_I64LE, 7, -5);
}

static void enormous_id(hid_t f)
{
    element(f, "/tokens/ids", H5T_STD_I64LE, 8, (int64_t)1 << 33);
}

static void id_beyond_vocabulary(hid_t f)
{
    element(f, "/tokens/ids", H5T_STD_U16LE, 129, 500);
}

static void late_first_window(hid_t f)
{
    element(f, "/tokens/window_starts", H5T_STD_U32LE, 0, 3);
}

static void layer_beyond_range(hid_t f)
{
    element(f, "/layers/index", H5T_STD_I32LE, 2, 70000);
}

static void byte_beyond_range(hid_t f)
{
    element(f, "/vocab/bytes", H5T_STD_I16LE, 4, 300);
}

static void gate_beyond_float(hid_t f)
{
    gates(f, H5T_IEEE_F64LE, 6, 1e300);
}

static void gate_not_a_number(hid_t f)
{
    gates(f, H5T_IEEE_F64LE, 6, NAN);
}

static const struct refusal refusals[] = {
    {"no top_k", no_top_k, ERR_INPUT, "attribute top_k: found none, expected an integer"},
    {"no schema", no_schema, ERR_INPUT, "attribute schema: found none, expected text"},
    {"another schema", other_schema, ERR_INPUT,
     "attribute schema: found \"moqa.plan\", expected \"moqa.trace\""},
    {"a later version, although it has other datasets", later_version, ERR_UNSUPPORTED,
     "attribute schema_version: found 2, expected 1"},
    {"text for a number", text_for_a_number, ERR_INPUT,
     "attribute num_experts: found text, expected an integer"},
    {"a float for an integer", float_for_a_number, ERR_INPUT,
     "attribute num_experts: found floating-point numbers, expected an integer"},
    {"a number for text", number_for_text, ERR_INPUT,
     "attribute model_type: found integers, expected text"},
    {"an array for a number", array_for_a_number, ERR_INPUT,
     "attribute top_k: found an array, expected one value"},
    {"a negative number", negative_number, ERR_INPUT,
     "attribute vocab_size: found -500, expected a number of at least 0"},
    {"a third truth value", third_truth, ERR_INPUT,
     "attribute norm_topk_prob: found a number above 1, expected 0 or 1"},
    {"no experts", no_experts_at_all, ERR_INPUT,
     "attribute num_experts: found 0, expected 1 to 65534"},
    {"top_k above num_experts", top_k_above_experts, ERR_INPUT,
     "attribute top_k: found 4, expected 1 to 3"},
    {"a long text", long_text, ERR_INPUT,
     "attribute dataset: found a text of 300 bytes, expected at most 255 bytes"},
    {"a long hash", long_hash, ERR_INPUT,
     "attribute config_sha256: found 70 bytes, expected at most 64"},
    {"no ids", no_ids, ERR_INPUT, "/tokens/ids: not in the file, expected integers"},
    {"no group", no_layers_group, ERR_INPUT, "/layers/index: not in the file, expected integers"},
    {"a group for a dataset", group_for_ids, ERR_INPUT,
     "/tokens/ids: found a group or type, expected a dataset"},
    {"a soft link", soft_link, ERR_INPUT,
     "/tokens/ids: found a soft link, expected the object itself"},
    {"an external link", external_link, ERR_INPUT,
     "/tokens/ids: found a link to another file, expected the object itself"},
    {"an external group", external_group, ERR_INPUT,
     "/layers: found a link to another file, expected the object itself"},
    {"external storage", external_storage, ERR_INPUT,
     "/tokens/ids: found external storage, expected data in this file"},
    {"a virtual dataset", virtual_dataset, ERR_INPUT,
     "/routing/experts: found a virtual dataset, expected data in this file"},
    {"another filter of the library", scale_offset_filter, ERR_UNSUPPORTED,
     "/routing/experts: found filter 6 \"scaleoffset\", expected none but shuffle, deflate and "
     "fletcher32"},
    {"a filter from a plugin", foreign_filter, ERR_UNSUPPORTED,
     "/routing/experts: found filter 32001 \"blosc\", expected none but shuffle, deflate and "
     "fletcher32"},
    {"float experts", float_experts, ERR_INPUT,
     "/routing/experts: found floating-point numbers, expected integers"},
    {"integer gates", integer_gates, ERR_INPUT,
     "/routing/gates: found integers, expected floating-point numbers"},
    {"text ids", text_ids, ERR_INPUT, "/tokens/ids: found text, expected integers"},
    {"flat experts", flat_experts, ERR_INPUT, "/routing/experts: found 2 dimensions, expected 3"},
    {"a scalar", scalar_starts, ERR_INPUT, "/tokens/window_starts: found 0 dimensions, expected 1"},
    {"a huge extent", huge_experts, ERR_INPUT,
     "/routing/experts: found an extent of 1099511627776 in dimension 1, expected at most "
     "1073741824 elements in all"},
    {"data never written", unwritten_experts, ERR_INPUT,
     "/routing/experts: found 0 bytes stored, too few for the extent of 1560 bytes; the data was "
     "not written"},
    {"a few numbers never written", unwritten_layers, ERR_INPUT,
     "/layers/index: found 0 bytes stored, too few for the extent of 6 bytes; the data was not "
     "written"},
    {"numbers of 16 bytes", wide_gates, ERR_UNSUPPORTED,
     "/routing/gates: found numbers of 16 bytes, expected at most 8"},
    {"fewer ids than positions", short_ids, ERR_INPUT,
     "/routing/experts: found the extents 3 x 130 x 4, expected 3 x 129 x 4 (num_moe_layers, "
     "length of /tokens/ids, top_k)"},
    {"fewer gates than slots", narrow_gates, ERR_INPUT,
     "/routing/gates: found the extents 3 x 130 x 3, expected 3 x 130 x 4 (num_moe_layers, length "
     "of /tokens/ids, top_k)"},
    {"more layers than said", long_index, ERR_INPUT,
     "/layers/index: found 4 elements, expected 3, num_moe_layers"},
    {"fewer offsets than tokens", short_offsets, ERR_INPUT,
     "/vocab/offsets: found 500 elements, expected 501, vocab_size + 1"},
    {"half a vocabulary", half_a_vocabulary, ERR_INPUT,
     "/vocab/offsets: missing, expected beside /vocab/bytes"},
    {"no positions", no_positions, ERR_INPUT, "/tokens/ids: found no positions, expected some"},
    {"an expert too high", expert_too_high, ERR_INPUT,
     "/routing/experts[2][17][1]: found 1000, expected below num_experts 60, or -1 or the type's "
     "maximum for not routed"},
    {"an expert below -1", expert_too_low, ERR_INPUT,
     "/routing/experts[0][2][1]: found -2, expected below num_experts 60, or -1 or the type's "
     "maximum for not routed"},
    {"a negative id", negative_id, ERR_INPUT, "/tokens/ids[7]: found -5, expected 0 to 4294967295"},
    {"an enormous id", enormous_id, ERR_INPUT,
     "/tokens/ids[8]: found 8589934592, expected 0 to 4294967295"},
    {"an id beyond the vocabulary", id_beyond_vocabulary, ERR_INPUT,
     "/tokens/ids[129]: found 500, expected below vocab_size 500"},
    {"a late first window", late_first_window, ERR_INPUT,
     "/tokens/window_starts[0]: found 3, expected 0"},
    {"a layer number beyond range", layer_beyond_range, ERR_INPUT,
     "/layers/index[2]: found 70000, expected 0 to 65535"},
    {"a byte beyond range", byte_beyond_range, ERR_INPUT,
     "/vocab/bytes[4]: found 300, expected 0 to 255"},
    {"a gate beyond float32", gate_beyond_float, ERR_INPUT,
     "/routing/gates[0][1][2]: found inf, expected a finite number of at least 0"},
    {"a gate that is no number", gate_not_a_number, ERR_INPUT,
     "/routing/gates[0][1][2]: found nan, expected a finite number of at least 0"},
};

static void expect_refusal(const char *name, const char *file, int code, const char *message)
{
    struct trace t;
    struct err err = {0};
    int rc = trace_h5_load(&t, file, NULL, &err);
    if (rc != code || strcmp(err.message, message) != 0 || strcmp(err.file, file) != 0)
        fail_msg("%s: code %d (not %d), file %s, message \"%s\" (not \"%s\")", name, rc, code,
                 err.file, err.message, message);
    assert_null(t.routed);
    assert_int_equal(t.positions, 0);
}

static void test_trace_crafted_files_are_refused_with_exact_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
        craft(refusals[i].change);
        expect_refusal(refusals[i].name, path, refusals[i].code, refusals[i].message);
    }
}

static void test_trace_crafted_duplicate_expert_is_refused(void **state)
{
    (void)state;
    struct trace t;
    char message[256];
    make(&t);
    snprintf(message, sizeof message,
             "/routing/experts[0][5][3]: found %u a second time, expected the experts of a "
             "position to be distinct",
             t.routed[5 * TOP_K]);
    trace_release(&t);
    craft(expert_twice);
    expect_refusal("expert twice", path, ERR_INPUT, message);
}

static void test_trace_crafted_offsets_must_end_with_the_bytes(void **state)
{
    (void)state;
    struct trace t;
    char message[256];
    make(&t);
    snprintf(message, sizeof message,
             "/vocab/offsets[500]: found 1000000, expected %llu, the length of /vocab/bytes",
             (unsigned long long)t.vocab_offsets[500]);
    trace_release(&t);
    craft(offsets_beyond_bytes);
    expect_refusal("offsets beyond bytes", path, ERR_INPUT, message);
}

/* ---- things that are not HDF5 files at all ---- */

static void test_trace_crafted_non_files_are_refused(void **state)
{
    (void)state;
    char name[96];
    snprintf(name, sizeof name, "%s/none.h5", folder);
    expect_refusal("missing", name, ERR_INPUT, "cannot open the trace: No such file or directory");
    expect_refusal("folder", folder, ERR_INPUT, "found a folder, expected a regular file");
    expect_refusal("device", "/dev/zero", ERR_INPUT,
                   "found a device or pipe, expected a regular file");
    assert_int_equal(atomic_file_save(other, "", 0, NULL), 0);
    expect_refusal("empty", other, ERR_INPUT, "the file is empty, expected a trace in HDF5");
    assert_int_equal(atomic_file_save(other, "{\"schema\": 1}", 13, NULL), 0);
    expect_refusal("json", other, ERR_INPUT, "not an HDF5 file, expected a trace in HDF5");
    unlink(other);
    assert_int_equal(mkfifo(other, 0600), 0);
    expect_refusal("pipe", other, ERR_INPUT, "found a device or pipe, expected a regular file");
    unlink(other);
}

static void test_trace_crafted_truncated_files_are_refused(void **state)
{
    (void)state;
    char *text;
    size_t size;
    save_good();
    assert_int_equal(str_read_file(&text, &size, path, 1 << 24, NULL), 0);
    for (size_t length = 8; length < size; length += size / 20) {
        struct trace t;
        struct err err = {0};
        assert_int_equal(atomic_file_save(other, text, length, NULL), 0);
        assert_int_equal(trace_h5_load(&t, other, NULL, &err), ERR_INPUT);
        assert_non_null(strstr(err.message, "HDF5"));
        assert_non_null(strstr(err.message, "the file is damaged"));
    }
    unlink(other);
    free(text);
}

/* ---- unusual files that must be read ---- */

static void expect_same(const char *name, void (*change)(hid_t file), void (*same)(struct trace *))
{
    struct trace good, t;
    struct err err = {0};
    craft(change);
    if (trace_h5_load(&t, path, NULL, &err) < 0)
        fail_msg("%s: %s", name, err.message);
    make(&good);
    if (same)
        same(&good);
    trace_make_assert_equal(&good, &t);
    trace_release(&good);
    trace_release(&t);
}

#define EXPERTS_AS(name, type, value) \
    static void name(hid_t f)         \
    {                                 \
        experts(f, type, 21, value);  \
    }

EXPERTS_AS(as_i8, H5T_STD_I8LE, -1)
EXPERTS_AS(as_i8_maximum, H5T_STD_I8LE, INT8_MAX)
EXPERTS_AS(as_u8, H5T_STD_U8BE, UINT8_MAX)
EXPERTS_AS(as_i16, H5T_STD_I16LE, -1)
EXPERTS_AS(as_i16_swapped, H5T_STD_I16BE, INT16_MAX)
EXPERTS_AS(as_u16, H5T_STD_U16LE, UINT16_MAX)
EXPERTS_AS(as_i32, H5T_STD_I32LE, -1)
EXPERTS_AS(as_u32, H5T_STD_U32BE, UINT32_MAX)
EXPERTS_AS(as_i64, H5T_STD_I64BE, -1)
EXPERTS_AS(as_i64_maximum, H5T_STD_I64LE, INT64_MAX)

static void slot_21_not_routed(struct trace *t)
{
    t->routed[21] = TRACE_NOT_ROUTED;
}

static void test_trace_crafted_experts_of_every_width_are_read(void **state)
{
    (void)state;
    expect_same("int8", as_i8, slot_21_not_routed);
    expect_same("int8 maximum", as_i8_maximum, slot_21_not_routed);
    expect_same("uint8", as_u8, slot_21_not_routed);
    expect_same("int16", as_i16, slot_21_not_routed);
    expect_same("int16 big-endian", as_i16_swapped, slot_21_not_routed);
    expect_same("uint16", as_u16, slot_21_not_routed);
    expect_same("int32", as_i32, slot_21_not_routed);
    expect_same("uint32 big-endian", as_u32, slot_21_not_routed);
    expect_same("int64 big-endian", as_i64, slot_21_not_routed);
    expect_same("int64 maximum", as_i64_maximum, slot_21_not_routed);
}

/* 127 is an expert among 200, although it is int8's maximum. */
static void many_experts(hid_t f)
{
    integer(f, "num_experts", 200);
    experts(f, H5T_STD_I8LE, 21, 127);
}

static void slot_21_is_127(struct trace *t)
{
    t->experts = 200;
    t->routed[21] = 127;
}

static void test_trace_crafted_type_maximum_is_an_expert_where_it_can_be_one(void **state)
{
    (void)state;
    expect_same("int8 with 200 experts", many_experts, slot_21_is_127);
}

static void half_gates_in(hid_t f, H5T_order_t order)
{
    hid_t half = H5Tcopy(H5T_IEEE_F32LE);
    H5Tset_fields(half, 15, 10, 5, 0, 10);
    H5Tset_size(half, 2);
    H5Tset_ebias(half, 15);
    H5Tset_order(half, order);
    gates(f, half, 3, 0x1.8p-22);
    H5Tclose(half);
}

static void half_gates(hid_t f)
{
    half_gates_in(f, H5T_ORDER_LE);
}

static void swapped_half_gates(hid_t f)
{
    half_gates_in(f, H5T_ORDER_BE);
}

/* Eleven significant bits, halves to even; all the gates are below 1, some subnormal. */
static void round_gates_to_half(struct trace *t)
{
    t->gates[3] = 0x1.8p-22f;
    for (size_t i = 0; i < SLOTS; i++) {
        int exponent;
        frexpf(t->gates[i], &exponent);
        float unit = ldexpf(1, exponent - 11 < -24 ? -24 : exponent - 11);
        t->gates[i] = rintf(t->gates[i] / unit) * unit;
    }
}

static void double_gates(hid_t f)
{
    gates(f, H5T_IEEE_F64BE, 3, 0.5);
}

static void gate_3_is_half(struct trace *t)
{
    t->gates[3] = 0.5f;
}

static void no_gates(hid_t f)
{
    H5Ldelete(f, "/routing/gates", H5P_DEFAULT);
}

static void without_gates(struct trace *t)
{
    free(t->gates);
    t->gates = NULL;
}

static void test_trace_crafted_gates_of_every_width_are_read(void **state)
{
    (void)state;
    expect_same("float16", half_gates, round_gates_to_half);
    expect_same("float16 big-endian", swapped_half_gates, round_gates_to_half);
    expect_same("float64 big-endian", double_gates, gate_3_is_half);
    expect_same("none", no_gates, without_gates);
}

static void h5py_bool(hid_t f)
{
    int8_t value = 0;
    hid_t type = H5Tenum_create(H5T_NATIVE_INT8);
    H5Tenum_insert(type, "FALSE", &value);
    value = 1;
    H5Tenum_insert(type, "TRUE", &value);
    attribute(f, "norm_topk_prob", type, 0, &value);
    H5Tclose(type);
}

static void padded_texts(hid_t f)
{
    fixed_text(f, "creator", "test    ", 8, H5T_STR_SPACEPAD);
    fixed_text(f, "model_type", "olmoe\0\0\0", 8, H5T_STR_NULLPAD);
    fixed_text(f, "dataset", "random", 6, H5T_STR_NULLPAD);
    uint8_t small = 4;
    attribute(f, "top_k", H5T_NATIVE_UINT8, 1, &small);
}

static void only_what_must_be(hid_t f)
{
    static const char *const names[] = {"creator", "created", "dataset", "config_sha256",
                                        "tokenizer_sha256"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        H5Adelete(f, names[i]);
    H5Ldelete(f, "/vocab", H5P_DEFAULT);
}

static void forget_the_rest(struct trace *t)
{
    t->creator[0] = t->created[0] = t->dataset[0] = '\0';
    t->config_sha256[0] = t->tokenizer_sha256[0] = '\0';
    free(t->vocab_bytes);
    free(t->vocab_offsets);
    t->vocab_bytes = NULL;
    t->vocab_offsets = NULL;
}

static void checksummed_experts(hid_t f)
{
    struct trace t;
    const hsize_t chunk[3] = {2, 7, 3};
    hid_t list = chunked(chunk);
    H5Pset_shuffle(list);
    H5Pset_deflate(list, 9);
    H5Pset_fletcher32(list);
    make(&t);
    dataset(f, "/routing/experts", H5T_STD_U16BE, 3, slots_extent, list, H5T_NATIVE_UINT16,
            t.routed);
    trace_release(&t);
}

static void test_trace_crafted_files_of_other_writers_are_read(void **state)
{
    (void)state;
    expect_same("bool of h5py", h5py_bool, NULL);
    expect_same("fixed strings, small integers, arrays of one", padded_texts, NULL);
    expect_same("required parts alone", only_what_must_be, forget_the_rest);
    expect_same("odd chunks with checksums", checksummed_experts, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_crafted_files_are_refused_with_exact_words),
        cmocka_unit_test(test_trace_crafted_duplicate_expert_is_refused),
        cmocka_unit_test(test_trace_crafted_offsets_must_end_with_the_bytes),
        cmocka_unit_test(test_trace_crafted_non_files_are_refused),
        cmocka_unit_test(test_trace_crafted_truncated_files_are_refused),
        cmocka_unit_test(test_trace_crafted_experts_of_every_width_are_read),
        cmocka_unit_test(test_trace_crafted_type_maximum_is_an_expert_where_it_can_be_one),
        cmocka_unit_test(test_trace_crafted_gates_of_every_width_are_read),
        cmocka_unit_test(test_trace_crafted_files_of_other_writers_are_read),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
