#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "data/base/hash.h"
#include "data/base/mem.h"
#include "data/safetensors.h"

static char folder[64];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/test_safetensors.XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder);
}

static const char *file_path(const char *name)
{
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void save(const char *path, const void *bytes, size_t size)
{
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* A header with its length in front, and `data` bytes after it. */
static size_t compose(unsigned char *out, const char *header, size_t data)
{
    size_t length = strlen(header);
    memset(out, 0, 8 + length + data);
    for (int i = 0; i < 8; i++)
        out[i] = (unsigned char)((uint64_t)length >> 8 * i);
    memcpy(out + 8, header, length);
    return 8 + length + data;
}

/* Written by the safetensors package for Python, version 0.8.0, from numpy arrays. */
static const char python_header[] =
    "{\"__metadata__\":{\"format\":\"pt\"},"
    "\"i64\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":[0,16]},"
    "\"f64\":{\"dtype\":\"F64\",\"shape\":[3],\"data_offsets\":[16,40]},"
    "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,4],\"data_offsets\":[40,40]},"
    "\"f32\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[40,56]},"
    "\"scalar\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[56,60]},"
    "\"bf16\":{\"dtype\":\"BF16\",\"shape\":[1,3],\"data_offsets\":[60,66]},"
    "\"f16\":{\"dtype\":\"F16\",\"shape\":[5],\"data_offsets\":[66,76]},"
    "\"i8\":{\"dtype\":\"I8\",\"shape\":[1,2,1],\"data_offsets\":[76,78]},"
    "\"u8\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[78,81]},"
    "\"bool\":{\"dtype\":\"BOOL\",\"shape\":[2],\"data_offsets\":[81,83]}} ";
static const unsigned char python_data[] = {
    0xfb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00, 0x00, 0x00, 0x00, 0x00, 0x01,
    0x00, 0x00, 0x58, 0xfc, 0x1f, 0x1c, 0xa3, 0x27, 0x54, 0x3f, 0x3e, 0x30, 0x5b, 0x9a,
    0xa5, 0x1e, 0xd3, 0x3f, 0x58, 0x15, 0xd8, 0x80, 0x79, 0x8b, 0xd1, 0xbf, 0xd4, 0xfd,
    0x63, 0xbf, 0x9c, 0xca, 0xe8, 0xbe, 0x8c, 0xdc, 0x7d, 0xbf, 0x23, 0x59, 0x76, 0x3d,
    0x00, 0x00, 0x20, 0x40, 0xd8, 0x3d, 0x6e, 0xbf, 0xf0, 0xbc, 0x5c, 0x3d, 0xe0, 0xb7,
    0xf7, 0xb8, 0xd6, 0x37, 0xb6, 0x35, 0xfd, 0x07, 0xc8, 0x01, 0x02, 0x01, 0x00};

static struct safetensors *open_python_file(void)
{
    unsigned char bytes[1024];
    struct safetensors *s = NULL;
    struct err err = {0};
    size_t size = compose(bytes, python_header, sizeof python_data);
    memcpy(bytes + size - sizeof python_data, python_data, sizeof python_data);
    save(file_path("python"), bytes, size);
    if (safetensors_open(&s, file_path("python"), &err) < 0)
        fail_msg("%s", err.message);
    unlink(file_path("python"));
    return s;
}

static void read_floats(const struct safetensors *s, const char *name, float *out, size_t count)
{
    unsigned char raw[64];
    struct err err = {0};
    const struct tensor_info *t = safetensors_find(s, name);
    assert_non_null(t);
    assert_int_equal(t->bytes, count * dtype_size(t->dtype));
    assert_int_equal(safetensors_read(s, t, raw, &err), 0);
    assert_int_equal(dtype_to_float(out, raw, t->dtype, count, &err), 0);
}

static void test_safetensors_reads_what_the_python_package_wrote(void **state)
{
    (void)state;
    struct safetensors *s = open_python_file();
    float v[8];
    int64_t wide[2];
    struct err err = {0};
    assert_int_equal(safetensors_count(s), 10);
    assert_string_equal(safetensors_at(s, 0)->name, "i64");
    assert_string_equal(safetensors_at(s, 9)->name, "bool");
    read_floats(s, "f64", v, 3);
    assert_true(v[0] == 0x1.427a32p-10f && v[1] == 0x1.31ea5ap-2f && v[2] == -0x1.18b798p-2f);
    read_floats(s, "f32", v, 4);
    assert_true(v[0] == -0x1.c7fba8p-1f && v[1] == -0x1.d19538p-2f && v[2] == -0x1.fbb918p-1f &&
                v[3] == 0x1.ecb246p-5f);
    read_floats(s, "f16", v, 5);
    assert_true(v[0] == 0x1.57p+0f && v[1] == -0x1.f8p-2f && v[2] == -0x1.3dcp-1f &&
                v[3] == 0x1.f58p-2f && v[4] == 0x1.6d8p-2f);
    read_floats(s, "bf16", v, 3);
    assert_true(v[0] == 0x1.bp-4f && v[1] == -0x1.dcp-1f && v[2] == -0x1.ep-6f);
    read_floats(s, "scalar", v, 1);
    assert_true(v[0] == 2.5f);
    read_floats(s, "empty", v, 0);
    const struct tensor_info *t = safetensors_find(s, "i64");
    assert_int_equal(safetensors_read(s, t, wide, &err), 0);
    assert_true(wide[0] == -5 && wide[1] == (int64_t)1 << 40);
    t = safetensors_find(s, "i8");
    assert_true(t->rank == 3 && t->shape[0] == 1 && t->shape[1] == 2 && t->shape[2] == 1);
    assert_null(safetensors_find(s, "__metadata__"));
    assert_null(safetensors_find(s, "f33"));
    assert_int_equal(dtype_to_float(v, wide, DTYPE_I64, 1, &err), ERR_UNSUPPORTED);
    safetensors_free(s);
}

#define TENSOR(name, dtype, shape, begin, end)                                                     \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

/* Every file is HEADER with its right length and `data` bytes; the place is in the whole file. */
static const struct {
    const char *header;
    size_t data;
    enum err_code code;
    long offset; /* -1: none */
    const char *message;
} bad_headers[] = {
    {"", 0, ERR_INPUT, 8, "the header does not begin with '{'; not a safetensors file?"},
    {" {}", 0, ERR_INPUT, 8, "the header does not begin with '{'; not a safetensors file?"},
    {"[]", 0, ERR_INPUT, 8, "the header does not begin with '{'; not a safetensors file?"},
    {"{\"a\":", 0, ERR_INPUT, 13,
     "header: not valid JSON: line 1, column 5: unexpected token near end of file"},
    {"{}x", 0, ERR_INPUT, 11,
     "header: not valid JSON: line 1, column 3: end of file expected near 'x'"},
    {"{\"a\":1e999}", 0, ERR_INPUT, 18,
     "header: not valid JSON: line 1, column 10: real number overflow near '1e999'"},
    {"{" TENSOR("a", "U8", "[99999999999999999999]", 0, 1) "}", 1, ERR_INPUT, 56,
     "header: not valid JSON: line 1, column 48: too big integer near '99999999999999999999'"},
    {"{" TENSOR("a", "U8", "[1]", 0, 1) "," TENSOR("a", "U8", "[1]", 1, 2) "}", 2, ERR_INPUT, 64,
     "header: not valid JSON: line 1, column 56: duplicate object key near '\"a\"'"},
    {"{\"\":1}", 0, ERR_INPUT, -1, "a tensor's name has 0 bytes, expected 1 to 1024: \"\""},
    {"{\"a\\u0007\":1}", 0, ERR_INPUT, -1,
     "tensor \"a\a\": the name holds the control character 0x07"},
    {"{\"a\":1}", 0, ERR_INPUT, -1, "tensor \"a\": its entry in the header is not an object"},
    {"{\"__metadata__\":[]}", 0, ERR_INPUT, -1, "__metadata__: not an object"},
    {"{\"__metadata__\":{\"format\":1}}", 0, ERR_INPUT, -1, "__metadata__.format: not a string"},
    {"{\"a\":{\"shape\":[],\"data_offsets\":[0,1]}}", 1, ERR_INPUT, -1,
     "a.dtype: found nothing, expected a string"},
    {"{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", 1, ERR_INPUT, -1,
     "a.shape: found nothing, expected an array"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[]}}", 1, ERR_INPUT, -1,
     "a.data_offsets: found nothing, expected an array"},
    {"{" TENSOR("a", "F8_E4M3", "[1]", 0, 1) "}", 1, ERR_UNSUPPORTED, -1,
     "tensor \"a\": found dtype \"F8_E4M3\", expected one of F64, F32, F16, BF16, I64, I32, I16, "
     "I8, "
     "U8, BOOL"},
    {"{" TENSOR("a", "f32", "[1]", 0, 4) "}", 4, ERR_UNSUPPORTED, -1,
     "tensor \"a\": found dtype \"f32\", expected one of F64, F32, F16, BF16, I64, I32, I16, I8, "
     "U8, "
     "BOOL"},
    {"{" TENSOR("a", "U8", "[1,1,1,1,1,1,1,1,1]", 0, 1) "}", 1, ERR_UNSUPPORTED, -1,
     "tensor \"a\": 9 dimensions, expected at most 8"},
    {"{" TENSOR("a", "U8", "[2,-1]", 0, 1) "}", 1, ERR_INPUT, -1,
     "tensor \"a\": shape[1] is not a whole number of 0 or more"},
    {"{" TENSOR("a", "U8", "[1.0]", 0, 1) "}", 1, ERR_INPUT, -1,
     "tensor \"a\": shape[0] is not a whole number of 0 or more"},
    {"{" TENSOR("a", "U8", "[4294967296,4294967296]", 0, 0) "}", 0, ERR_INPUT, -1,
     "tensor \"a\": the product of its shape overflows"},
    {"{" TENSOR("a", "F64", "[2305843009213693952]", 0, 0) "}", 0, ERR_INPUT, -1,
     "tensor \"a\": the product of its shape overflows"},
    {"{" TENSOR("a", "U8", "[1]", 0, true) "}", 1, ERR_INPUT, -1,
     "tensor \"a\": data_offsets is not a pair of whole numbers of 0 or more"},
    {"{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 1, ERR_INPUT, -1,
     "tensor \"a\": data_offsets is not a pair of whole numbers of 0 or more"},
    {"{" TENSOR("a", "U8", "[1]", -1, 0) "}", 1, ERR_INPUT, -1,
     "tensor \"a\": data_offsets is not a pair of whole numbers of 0 or more"},
    {"{" TENSOR("a", "U8", "[1]", 3, 2) "}", 4, ERR_INPUT, -1,
     "tensor \"a\": data_offsets run backwards, from 3 to 2"},
    {"{" TENSOR("a", "F32", "[2]", 0, 4) "}", 4, ERR_INPUT, 62,
     "tensor \"a\": 4 bytes between its offsets, but its shape takes 8"},
    {"{" TENSOR("a", "U8", "[9]", 0, 9) "}", 4, ERR_INPUT, 65,
     "tensor \"a\" ends at 9 of the data, which has 4 bytes; truncated?"},
    {"{" TENSOR("a", "U8", "[4]", 0, 4) "," TENSOR("b", "U8", "[4]", 2, 6) "}", 6, ERR_INPUT, 115,
     "tensor \"b\" overlaps tensor \"a\", which ends at byte 117"},
    {"{" TENSOR("a", "U8", "[4]", 0, 4) "," TENSOR("b", "U8", "[4]", 0, 4) "}", 4, ERR_INPUT, 113,
     "tensor \"b\" overlaps tensor \"a\", which ends at byte 117"},
    {"{" TENSOR("b", "U8", "[4]", 6, 10) "," TENSOR("a", "U8", "[4]", 0, 4) "}", 10, ERR_INPUT, 118,
     "a hole of 2 bytes before tensor \"b\""},
    {"{" TENSOR("a", "U8", "[4]", 1, 5) "}", 5, ERR_INPUT, 61,
     "a hole of 1 bytes before tensor \"a\""},
    {"{" TENSOR("a", "U8", "[4]", 0, 4) "}", 7, ERR_INPUT, 65, "3 bytes follow the last tensor"},
    {"{}", 5, ERR_INPUT, 10, "5 bytes follow the last tensor"},
};

static void assert_refused(const char *path, enum err_code code, long offset, const char *message)
{
    struct safetensors *s = NULL;
    struct err err = {0};
    int rc = safetensors_open(&s, path, &err);
    assert_null(s);
    assert_string_equal(err.message, message);
    assert_int_equal(rc, code);
    assert_int_equal(err.code, code);
    assert_string_equal(err.file, path);
    assert_int_equal(err.has_offset ? (long)err.offset : -1, offset);
}

static void test_safetensors_refuses_bad_headers_by_name_and_place(void **state)
{
    (void)state;
    unsigned char bytes[1024];
    for (size_t i = 0; i < sizeof bad_headers / sizeof *bad_headers; i++) {
        size_t size = compose(bytes, bad_headers[i].header, bad_headers[i].data);
        save(file_path("bad"), bytes, size);
        assert_refused(file_path("bad"), bad_headers[i].code, bad_headers[i].offset,
                       bad_headers[i].message);
    }
    unlink(file_path("bad"));
}

static void test_safetensors_refuses_a_length_that_the_file_does_not_have(void **state)
{
    (void)state;
    static const unsigned char empty[1], seven[7],
        huge[8] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    static const unsigned char limit[8] = {0x01, 0xe1, 0xf5, 0x05},
                               nine[] = {9, 0, 0, 0, 0, 0, 0, 0, '{', '}'};
    const char *path = file_path("bad");
    save(path, empty, 0);
    assert_refused(path, ERR_INPUT, -1,
                   "0 bytes, too short for the 8 bytes of the header's length");
    save(path, seven, 7);
    assert_refused(path, ERR_INPUT, -1,
                   "7 bytes, too short for the 8 bytes of the header's length");
    save(path, huge, 8);
    assert_refused(path, ERR_INPUT, 0,
                   "the header's length is 18446744073709551615 bytes, expected at most 100000000");
    save(path, limit, 8);
    assert_refused(path, ERR_INPUT, 0,
                   "the header's length is 100000001 bytes, expected at most 100000000");
    save(path, nine, sizeof nine);
    assert_refused(path, ERR_INPUT, 0,
                   "the header's length is 9 bytes, but only 2 follow; truncated?");
    unlink(path);
    assert_refused(path, ERR_INPUT, -1, "cannot open: No such file or directory");
    assert_refused(folder, ERR_INPUT, -1, "not a regular file");
}

/* Such a file of 100 MB would take 7 GB of memory to parse. */
static void test_safetensors_refuses_headers_that_are_all_brackets(void **state)
{
    (void)state;
    static const struct {
        const char *filling;
        const char *message;
    } cases[] = {
        {"{},", "header: 10004 brackets and 10002 commas in 30048 bytes, more than tensors need"},
        {"1,", "header: 4 brackets and 10002 commas in 20048 bytes, more than tensors need"}};
    static const char begin[] = "{\"a\":{\"dtype\":\"U8\",\"shape\":[";
    char *header = malloc(40000);
    unsigned char *bytes = malloc(40008);
    assert_true(header && bytes);
    for (size_t i = 0; i < 2; i++) {
        char *end = header + sprintf(header, "%s", begin);
        for (int k = 0; k < 10000; k++)
            end += sprintf(end, "%s", cases[i].filling);
        sprintf(end, "1],\"data_\\\"[,\":[0]}}");
        save(file_path("bad"), bytes, compose(bytes, header, 0));
        assert_refused(file_path("bad"), ERR_INPUT, 8, cases[i].message);
    }
    unlink(file_path("bad"));
    free(header);
    free(bytes);
}

/* The densest header that is one: many scalars and many dimensions under short names. */
static void test_safetensors_reads_headers_of_a_great_many_tensors(void **state)
{
    (void)state;
    enum { COUNT = 40000 };
    struct safetensors_spec *many = calloc(COUNT, sizeof *many);
    char(*names)[8] = calloc(COUNT, sizeof *names);
    struct safetensors_writer *w = NULL;
    struct safetensors *s = NULL;
    struct err err = {0};
    assert_true(many && names);
    for (size_t i = 0; i < COUNT; i++) {
        snprintf(names[i], sizeof names[i], "%zx", i);
        many[i] = (struct safetensors_spec){names[i], DTYPE_U8, i % 2 ? 8 : 0, {0}};
    }
    assert_int_equal(safetensors_writer_new(&w, file_path("many"), many, COUNT, &err), 0);
    for (size_t i = 0; i < COUNT; i++)
        assert_int_equal(safetensors_writer_add(w, "x", i % 2 ? 0 : 1, &err), 0);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
    if (safetensors_open(&s, file_path("many"), &err) < 0)
        fail_msg("%s", err.message);
    assert_int_equal(safetensors_count(s), COUNT);
    assert_int_equal(safetensors_find(s, "fff")->rank, 8);
    safetensors_free(s);
    unlink(file_path("many"));
    free(many);
    free(names);
}

static void test_safetensors_reports_a_file_that_shrinks(void **state)
{
    (void)state;
    unsigned char bytes[256], out[4];
    const char *path = file_path("shrinks");
    size_t size = compose(bytes, "{" TENSOR("a", "U8", "[4]", 0, 4) "}", 4);
    struct safetensors *s = NULL;
    struct err err = {0};
    save(path, bytes, size);
    assert_int_equal(safetensors_open(&s, path, &err), 0);
    assert_int_equal(truncate(path, (off_t)size - 3), 0);
    assert_int_equal(safetensors_read(s, safetensors_at(s, 0), out, &err), ERR_INPUT);
    assert_string_equal(err.message,
                        "tensor \"a\": 3 bytes are missing; the file shrank while it was open");
    assert_int_equal(err.offset, size - 3);
    safetensors_free(s);
    unlink(path);
}

/* Whatever bytes a header has: an answer, and for a refused file a sentence. */
static void test_safetensors_survives_changed_bytes(void **state)
{
    (void)state;
    unsigned char good[1024], bytes[1024];
    size_t size = compose(good, python_header, sizeof python_data), refused = 0, accepted = 0;
    const char *path = file_path("changed");
    uint64_t x = 88172645463325252u;
    for (int round = 0; round < 3000; round++) {
        memcpy(bytes, good, size);
        for (int edits = 1 + round % 4; edits > 0; edits--) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            size_t at = (size_t)(x >> 20) % (8 + strlen(python_header));
            bytes[at] = edits % 2 ? (unsigned char)(x >> 8)
                                  : (unsigned char)"0123456789[]{},:\""[(x >> 8) % 17];
        }
        struct safetensors *s = NULL;
        struct err err = {0};
        save(path, bytes, size);
        if (safetensors_open(&s, path, &err) < 0) {
            assert_true(err.message[0] && err.file[0]);
            refused++;
        } else {
            accepted++;
        }
        safetensors_free(s);
    }
    assert_true(refused > 1000);
    assert_true(accepted > 0); /* e.g. another letter in a name */
    unlink(path);
}

/* --- Writing --- */

static const struct safetensors_spec specs[] = {
    {"z.weight", DTYPE_F32, 2, {1, 2}},
    {"a\"\\\xc3\xa9", DTYPE_U8, 1, {3}},
    {"none", DTYPE_BF16, 2, {0, 7}},
};

static size_t slurp(const char *path, char *out, size_t room)
{
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    size_t size = fread(out, 1, room, f);
    fclose(f);
    return size;
}

static void test_safetensors_writes_the_documented_bytes(void **state)
{
    (void)state;
    static const char header[] =
        "{\"__metadata__\":{\"format\":\"pt\"},"
        "\"z.weight\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
        "\"a\\\"\\\\\xc3\xa9\":{\"dtype\":\"U8\",\"shape\":[3],\"data_offsets\":[8,11]},"
        "\"none\":{\"dtype\":\"BF16\",\"shape\":[0,7],\"data_offsets\":[11,11]}}";
    static const float numbers[] = {1.5f, -2};
    char bytes[512];
    struct safetensors_writer *w = NULL;
    struct safetensors *s = NULL;
    struct err err = {0};
    const char *path = file_path("written");
    size_t padded = (strlen(header) + 7) / 8 * 8;
    assert_int_equal(safetensors_writer_new(&w, path, specs, 3, &err), 0);
    assert_int_equal(safetensors_writer_add(w, numbers, 8, &err), 0);
    assert_int_equal(safetensors_writer_add(w, "xyz", 3, &err), 0);
    assert_int_equal(safetensors_writer_add(w, "", 0, &err), 0);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
    assert_int_equal(slurp(path, bytes, sizeof bytes), 8 + padded + 11);
    assert_int_equal((unsigned char)bytes[0], padded);
    assert_memory_equal(bytes + 8, header, strlen(header));
    for (size_t i = strlen(header); i < padded; i++)
        assert_int_equal(bytes[8 + i], ' ');
    assert_memory_equal(bytes + 8 + padded, numbers, 8);
    assert_memory_equal(bytes + 8 + padded + 8, "xyz", 3);
    assert_int_equal(safetensors_open(&s, path, &err), 0);
    assert_int_equal(safetensors_count(s), 3);
    assert_int_equal(safetensors_find(s, specs[1].name)->shape[0], 3);
    safetensors_free(s);
    unlink(path);
}

static void test_safetensors_writer_leaves_nothing_of_an_unfinished_file(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    const char *path = file_path("unfinished");
    assert_int_equal(safetensors_writer_new(&w, path, specs, 3, &err), 0);
    assert_int_equal(safetensors_writer_add(w, "1234567", 7, &err), ERR_USAGE);
    assert_string_equal(err.message, "tensor 0: found 7 bytes, expected 8");
    err_clear(&err);
    assert_int_equal(safetensors_writer_finish(w, &err), ERR_USAGE);
    assert_string_equal(err.message, "0 tensors were written of 3 announced");
    assert_int_equal(safetensors_writer_new(&w, path, specs, 3, NULL), 0);
    safetensors_writer_free(w);
    assert_int_equal(access(path, F_OK), -1); /* remove_folder() sees anything else that is left */
}

static void test_safetensors_writer_refuses_specs_that_no_file_can_hold(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    const char *path = file_path("refused");
    const struct safetensors_spec twice[] = {{"a", DTYPE_U8, 0, {0}}, {"a", DTYPE_U8, 0, {0}}};
    const struct safetensors_spec large[] = {{"a", DTYPE_F64, 2, {SIZE_MAX / 8, 2}}};
    assert_int_equal(safetensors_writer_new(&w, path, twice, 2, &err), ERR_USAGE);
    assert_string_equal(err.message, "two tensors have the name \"a\"");
    err_clear(&err);
    assert_int_equal(safetensors_writer_new(&w, path, large, 1, &err), ERR_USAGE);
    assert_string_equal(err.message, "tensor \"a\": the product of its shape overflows");
    const struct safetensors_spec deep[] = {{"a", DTYPE_U8, 9, {1}}};
    const struct safetensors_spec vast[] = {{"a", DTYPE_U8, 1, {INT64_MAX}},
                                            {"b", DTYPE_U8, 1, {1}}};
    const struct safetensors_spec foreign[] = {{"\xff", DTYPE_U8, 1, {1}}};
    err_clear(&err);
    assert_int_equal(safetensors_writer_new(&w, path, deep, 1, &err), ERR_USAGE);
    assert_string_equal(err.message, "tensor \"a\": 9 dimensions, expected at most 8");
    err_clear(&err);
    assert_int_equal(safetensors_writer_new(&w, path, vast, 2, &err), ERR_USAGE);
    assert_string_equal(err.message, "the tensors' sizes overflow");
    assert_true(safetensors_writer_new(&w, path, foreign, 1, NULL) < 0);
    assert_null(w);
}

static void test_safetensors_writer_takes_no_more_than_announced(void **state)
{
    (void)state;
    struct safetensors_writer *w = NULL;
    struct err err = {0};
    assert_int_equal(safetensors_writer_new(&w, file_path("more"), specs, 0, &err), 0);
    assert_int_equal(safetensors_writer_add(w, "", 0, &err), ERR_USAGE);
    assert_string_equal(err.message, "more tensors than the 0 announced");
    safetensors_writer_free(w);
}

static void test_safetensors_reads_its_own_tensors_only(void **state)
{
    (void)state;
    struct safetensors *a = open_python_file(), *b = open_python_file();
    struct err err = {0};
    char bytes[32];
    assert_int_equal(safetensors_read(a, safetensors_at(b, 0), bytes, &err), ERR_USAGE);
    assert_string_equal(err.message, "tensor \"i64\" is not of this file");
    safetensors_free(a);
    safetensors_free(b);
}

static void digest_of(char out[HASH_HEX_SIZE], float *values, size_t count, float changed)
{
    static const struct safetensors_spec spec = {"w", DTYPE_F32, 1, {300000}};
    struct safetensors_writer *w = NULL;
    struct safetensors *s = NULL;
    struct hash *h = NULL;
    struct err err = {0};
    values[count - 1] = changed;
    assert_int_equal(safetensors_writer_new(&w, file_path("digest"), &spec, 1, &err), 0);
    assert_int_equal(safetensors_writer_add(w, values, count * sizeof *values, &err), 0);
    assert_int_equal(safetensors_writer_finish(w, &err), 0);
    assert_int_equal(safetensors_open(&s, file_path("digest"), &err), 0);
    assert_int_equal(hash_new(&h, &err), 0);
    assert_int_equal(safetensors_digest(s, h, &err), 0);
    assert_int_equal(hash_finish(h, out, &err), 0);
    hash_free(h);
    safetensors_free(s);
}

static void test_safetensors_digest_sees_the_data(void **state)
{
    (void)state;
    enum { COUNT = 300000 };
    char first[HASH_HEX_SIZE], second[HASH_HEX_SIZE], third[HASH_HEX_SIZE];
    float *values = mem_array(COUNT, sizeof *values, NULL);
    digest_of(first, values, COUNT, 0.5f);
    digest_of(second, values, COUNT, 0.5f);
    digest_of(third, values, COUNT, 0.25f);
    assert_string_equal(first, second);
    assert_string_not_equal(first, third);
    unlink(file_path("digest"));
    free(values);
}

/* --- Conversions, against numpy and ml_dtypes --- */

static void hash_of(char out[HASH_HEX_SIZE], const void *bytes, size_t size)
{
    assert_int_equal(hash_bytes(out, bytes, size, NULL), 0);
}

static void test_dtype_widens_every_16_bit_value_as_numpy_does(void **state)
{
    (void)state;
    static const struct {
        enum dtype dtype;
        const char *sha256; /* of the 65,536 float32 values, with 0 for NaN */
    } cases[] = {{DTYPE_F16, "faa6d965574036872b0d39a42d1f8bee361d5be92b1e718155a69556a5abacdd"},
                 {DTYPE_BF16, "2950e27364395060b01ae85b45dd15a2ab8891f6ee8b0af2b541dbda5524d0b4"}};
    uint16_t *in = malloc(65536 * sizeof *in);
    float *out = malloc(65536 * sizeof *out);
    char sha256[HASH_HEX_SIZE];
    assert_true(in && out);
    for (size_t i = 0; i < 65536; i++)
        in[i] = (uint16_t)i;
    for (size_t c = 0; c < 2; c++) {
        assert_int_equal(dtype_to_float(out, in, cases[c].dtype, 65536, NULL), 0);
        for (size_t i = 0; i < 65536; i++) {
            bool half = cases[c].dtype == DTYPE_F16;
            float one = half ? dtype_f16_to_float(in[i]) : dtype_bf16_to_float(in[i]);
            assert_memory_equal(&one, &out[i], 4); /* NaNs too: the same bits on either way */
            uint16_t back = half ? dtype_float_to_f16(one) : dtype_float_to_bf16(one);
            assert_true(isnan(one) ? back == (in[i] | (half ? 0x200 : 0x40)) : back == in[i]);
            if (isnan(one))
                out[i] = 0;
        }
        hash_of(sha256, out, 65536 * sizeof *out);
        assert_string_equal(sha256, cases[c].sha256);
    }
    free(in);
    free(out);
}

static void test_dtype_rounds_to_nearest_even_as_numpy_does(void **state)
{
    (void)state;
    enum { COUNT = 200000 };
    static const char *const expected[2][2] = {
        {"9ff21a075586a8da0d4974d4eb292c3e3608a76eec6d6bd12f19e1d06d8297ff",
         "2608b081cc4967a22df59d54f51dc94f5c6edeb33e0b31edf7d0b0352891780e"},
        {"b1879e4734620c0e01371c915ede6df75b915f7c86af9723377e0ac44541936e",
         "c2d1a0f4abaded2e3c228af42090c50f3d6ce61e2345091385f93604a668663c"}};
    uint16_t *half = malloc(COUNT * sizeof *half), *brain = malloc(COUNT * sizeof *brain);
    char sha256[HASH_HEX_SIZE];
    assert_true(half && brain);
    for (int kind = 0; kind < 2; kind++) { /* any bits; then magnitudes around half's range */
        uint32_t x = 12345;
        for (size_t i = 0; i < COUNT; i++) {
            x = x * 1664525u + 1013904223u;
            float value;
            memcpy(&value, &x, sizeof value);
            if (kind == 0 && isnan(value))
                value = 1;
            if (kind == 1)
                value = (float)(x / 4294967296.0 * 4 - 2) * ldexpf(1, (int)((x >> 7) % 44) - 27);
            half[i] = dtype_float_to_f16(value);
            brain[i] = dtype_float_to_bf16(value);
        }
        hash_of(sha256, half, COUNT * sizeof *half);
        assert_string_equal(sha256, expected[kind][0]);
        hash_of(sha256, brain, COUNT * sizeof *brain);
        assert_string_equal(sha256, expected[kind][1]);
    }
    free(half);
    free(brain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_safetensors_reads_what_the_python_package_wrote),
        cmocka_unit_test(test_safetensors_refuses_bad_headers_by_name_and_place),
        cmocka_unit_test(test_safetensors_refuses_a_length_that_the_file_does_not_have),
        cmocka_unit_test(test_safetensors_refuses_headers_that_are_all_brackets),
        cmocka_unit_test(test_safetensors_reads_headers_of_a_great_many_tensors),
        cmocka_unit_test(test_safetensors_reports_a_file_that_shrinks),
        cmocka_unit_test(test_safetensors_survives_changed_bytes),
        cmocka_unit_test(test_safetensors_writes_the_documented_bytes),
        cmocka_unit_test(test_safetensors_writer_leaves_nothing_of_an_unfinished_file),
        cmocka_unit_test(test_safetensors_writer_refuses_specs_that_no_file_can_hold),
        cmocka_unit_test(test_safetensors_writer_takes_no_more_than_announced),
        cmocka_unit_test(test_safetensors_reads_its_own_tensors_only),
        cmocka_unit_test(test_safetensors_digest_sees_the_data),
        cmocka_unit_test(test_dtype_widens_every_16_bit_value_as_numpy_does),
        cmocka_unit_test(test_dtype_rounds_to_nearest_even_as_numpy_does),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
