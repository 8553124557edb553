#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/base/atomic_file.h"
#include "data/base/hash.h"
#include "data/base/jsonio.h"
#include "data/base/log.h"
#include "data/base/mem.h"
#include "data/base/parallel.h"
#include "data/base/sanitize.h"
#include "data/base/str.h"

static char folder[] = "/tmp/moqa-base-XXXXXX";

static int make_folder(void **state)
{
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    return rmdir(folder); /* fails if a test left something behind */
}

static void path_of(char out[128], const char *name)
{
    snprintf(out, 128, "%s/%s", folder, name);
}

static void test_err_first_error_wins(void **state)
{
    (void)state;
    struct err err = {0};
    char line[256];
    assert_int_equal(err_set_at(&err, ERR_INPUT, "a.h5", 17, "found %d", 3), ERR_INPUT);
    assert_int_equal(err_set(&err, ERR_IO, "b", "later"), ERR_IO);
    err_format(line, sizeof line, &err);
    assert_string_equal(line, "a.h5: at byte 17: found 3");
    assert_int_equal(err.code, ERR_INPUT);
    err_clear(&err);
    err_set(&err, ERR_IO, NULL, "no file");
    err_format(line, sizeof line, &err);
    assert_string_equal(line, "no file");
}

static void test_err_line_is_sanitized(void **state)
{
    (void)state;
    struct err err = {0};
    char line[256];
    err_set(&err, ERR_INPUT, "x\033[2J.h5", "token \xff");
    err_format(line, sizeof line, &err);
    assert_string_equal(line, "x\\x1B[2J.h5: token \\xFF");
}

static void test_err_exit_status_of_every_code(void **state)
{
    (void)state;
    static const int cases[][2] = {
        {ERR_OK, 0},     {ERR_NOMEM, 1},       {ERR_IO, 1},        {ERR_INPUT, 3},
        {ERR_USAGE, 2},  {ERR_UNSUPPORTED, 3}, {ERR_CANCELLED, 4}, {ERR_LOCKED, 1},
        {ERR_DEVICE, 1}, {ERR_NUMERIC, 1},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_int_equal(err_exit_status((enum err_code)cases[i][0]), cases[i][1]);
}

static void test_mem_arithmetic_tells_overflow(void **state)
{
    (void)state;
    size_t out;
    assert_true(mem_mul(&out, 1000003, 999983));
    assert_int_equal(out, 1000003ull * 999983);
    assert_false(mem_mul(&out, SIZE_MAX / 2, 3));
    assert_true(mem_add(&out, SIZE_MAX - 5, 5));
    assert_false(mem_add(&out, SIZE_MAX - 5, 6));
}

static void test_mem_too_large_is_an_error(void **state)
{
    (void)state;
    struct err err = {0};
    assert_null(mem_aligned(SIZE_MAX / 8, 16, &err));
    assert_int_equal(err.code, ERR_NOMEM);
    void *p = mem_array(0, 8, NULL);
    assert_non_null(p);
    free(p);
    p = mem_aligned(3, 5, NULL);
    assert_int_equal((uintptr_t)p % 64, 0);
    free(p);
}

static void test_mem_grow_keeps_contents(void **state)
{
    (void)state;
    int *array = NULL;
    size_t capacity = 0;
    for (size_t i = 0; i < 1000; i++) {
        assert_int_equal(mem_grow((void **)&array, &capacity, i + 1, sizeof *array, NULL), 0);
        array[i] = (int)(i * 7919 % 1013);
    }
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(array[i], i * 7919 % 1013);
    free(array);
}

static void test_str_builds_and_reads_back(void **state)
{
    (void)state;
    char path[128], *back;
    size_t size;
    struct str s = {0};
    struct err err = {0};
    assert_string_equal(str_get(&s), "");
    for (int i = 0; i < 300; i++)
        str_appendf(&s, "%d,", i);
    str_append_bytes(&s, "a\0b", 3);
    assert_int_equal(str_ok(&s, &err), 0);
    path_of(path, "text");
    assert_int_equal(atomic_file_save(path, s.data, s.length, &err), 0);
    assert_int_equal(str_read_file(&back, &size, path, s.length, &err), 0);
    assert_int_equal(size, s.length);
    assert_memory_equal(back, s.data, size);
    free(back);
    assert_int_equal(str_read_file(&back, &size, path, s.length - 1, &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "more than the"));
    unlink(path);
    str_release(&s);
}

static void test_str_read_refuses_what_is_no_file(void **state)
{
    (void)state;
    struct err err = {0};
    char *back;
    size_t size;
    assert_int_equal(str_read_file(&back, &size, folder, 100, &err), ERR_INPUT);
    assert_string_equal(err.message, "not a regular file");
    err_clear(&err);
    assert_int_equal(str_read_file(&back, &size, "/nowhere/x", 100, &err), ERR_INPUT);
    assert_string_equal(err.message, "cannot open: No such file or directory");
    assert_null(back);
}

static void test_sanitize_lets_no_control_through(void **state)
{
    (void)state;
    static const struct {
        const char *in, *out;
        size_t width;
    } cases[] = {
        {"plain \xc3\xa9\xe4\xb8\xad", "plain \xc3\xa9\xe4\xb8\xad", 9},
        {"a\nb\tc\r\x1b[31m", "a\\nb\\tc\\r\\x1B[31m", 17},
        {"\x7f\xc2\x85", "\\x7F\\u{85}", 10},
        {"\xe2\x80\xae"
         "evil",
         "\\u{202E}evil", 12},
        {"\xe2\x80\x8b", "\\u{200B}", 8},
        {"e\xcc\x81", "e\\u{301}", 8},
        {"\xc3", "\\xC3", 4},
        {"\xed\xa0\x80", "\\xED\\xA0\\x80", 12},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80", 2},
    };
    char out[128];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        size_t width = sanitize(out, sizeof out, cases[i].in, strlen(cases[i].in));
        assert_string_equal(out, cases[i].out);
        assert_int_equal(width, cases[i].width);
        assert_int_equal(sanitize_width(out), cases[i].width);
    }
    for (unsigned code = 0; code < 256; code++) {
        char byte = (char)code;
        sanitize(out, sizeof out, &byte, 1);
        for (const char *c = out; *c; c++)
            assert_true((unsigned char)*c >= 0x20 && (unsigned char)*c < 0x7f);
    }
}

static void test_sanitize_stops_at_a_character_border(void **state)
{
    (void)state;
    char out[6];
    assert_int_equal(sanitize(out, sizeof out, "ab\xe4\xb8\xad\xe4\xb8\xad", 8), 4);
    assert_string_equal(out, "ab\xe4\xb8\xad");
    assert_int_equal(sanitize(out, 1, "abc", 3), 0);
    assert_string_equal(out, "");
}

static void test_hash_equals_known_vectors(void **state)
{
    (void)state;
    char hex[HASH_HEX_SIZE], path[128];
    assert_int_equal(hash_bytes(hex, "abc", 3, NULL), 0);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    path_of(path, "empty");
    assert_int_equal(atomic_file_save(path, "", 0, NULL), 0);
    assert_int_equal(hash_file(hex, path, NULL), 0);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    unlink(path);
    assert_int_equal(hash_file(hex, path, NULL), ERR_INPUT);
}

static void test_atomic_file_abort_leaves_the_old_one(void **state)
{
    (void)state;
    char path[128], *back;
    size_t size;
    struct atomic_file f;
    struct err err = {0};
    path_of(path, "file");
    assert_int_equal(atomic_file_save(path, "old", 3, &err), 0);
    assert_int_equal(atomic_file_open(&f, path, &err), 0);
    assert_int_equal(atomic_file_write(&f, "new contents", 12, &err), 0);
    assert_int_equal(access(atomic_file_temporary(&f), F_OK), 0);
    atomic_file_abort(&f);
    assert_int_equal(str_read_file(&back, &size, path, 100, &err), 0);
    assert_string_equal(back, "old");
    free(back);
    unlink(path);
}

static void test_atomic_file_large_writes_arrive_in_order(void **state)
{
    (void)state;
    enum { COUNT = 700001 };
    char path[128], *back;
    size_t size;
    struct atomic_file f;
    struct err err = {0};
    uint32_t *words = mem_array(COUNT, sizeof *words, NULL), x = 1;
    for (size_t i = 0; i < COUNT; i++)
        words[i] = x = x * 1664525u + 1013904223u;
    path_of(path, "large");
    assert_int_equal(atomic_file_open(&f, path, &err), 0);
    assert_int_equal(atomic_file_write(&f, words, 10, &err), 0);
    assert_int_equal(atomic_file_write(&f, (char *)words + 10, COUNT * 4 - 10 - 3, &err), 0);
    assert_int_equal(atomic_file_write(&f, (char *)words + COUNT * 4 - 3, 3, &err), 0);
    assert_int_equal(atomic_file_commit(&f, &err), 0);
    assert_int_equal(str_read_file(&back, &size, path, SIZE_MAX, &err), 0);
    assert_int_equal(size, COUNT * 4);
    assert_memory_equal(back, words, size);
    free(back);
    free(words);
    unlink(path);
}

static void test_atomic_file_refuses_devices_and_missing_folders(void **state)
{
    (void)state;
    struct atomic_file f;
    struct err err = {0};
    assert_int_equal(atomic_file_open(&f, "/dev/full", &err), ERR_IO);
    assert_string_equal(err.message, "exists and is not a regular file");
    err_clear(&err);
    assert_int_equal(atomic_file_open(&f, "/nowhere/at/all", &err), ERR_IO);
    assert_non_null(strstr(err.message, "cannot create: No such file or directory"));
    atomic_file_abort(&f);
}

static void test_jsonio_errors_name_the_place(void **state)
{
    (void)state;
    static const char text[] = "{\"a\":{\"n\":3,\"s\":\"x\",\"big\":70000,\"neg\":-1}}";
    json_t *root, *inner, *none;
    struct err err = {0};
    struct jsonio_at top = {"f.json", ""}, at = {"f.json", "a"};
    const char *string;
    size_t number;
    double real;
    bool flag;
    assert_int_equal(jsonio_parse(&root, text, sizeof text - 1, "f.json", &err), 0);
    assert_int_equal(jsonio_object(&inner, root, "a", top, &err), 0);
    assert_int_equal(jsonio_size(&number, inner, "n", 10, at, &err), 0);
    assert_int_equal(number, 3);
    assert_int_equal(jsonio_real(&real, inner, "n", at, &err), 0);
    assert_true(real == 3);
    assert_int_equal(jsonio_string(&string, inner, "n", at, &err), ERR_INPUT);
    assert_string_equal(err.message, "a.n: found an integer, expected a string");
    err_clear(&err);
    assert_int_equal(jsonio_size(&number, inner, "big", 65535, at, &err), ERR_INPUT);
    assert_string_equal(err.message, "a.big: found 70000, expected 0 to 65535");
    err_clear(&err);
    assert_int_equal(jsonio_size(&number, inner, "neg", 10, at, &err), ERR_INPUT);
    assert_string_equal(err.message, "a.neg: found -1, expected 0 to 10");
    err_clear(&err);
    assert_int_equal(jsonio_bool(&flag, inner, "gone", at, &err), ERR_INPUT);
    assert_string_equal(err.message, "a.gone: found nothing, expected true or false");
    err_clear(&err);
    assert_int_equal(jsonio_array(&none, root, "a", top, &err), ERR_INPUT);
    assert_string_equal(err.message, "a: found an object, expected an array");
    json_decref(root);
}

static void test_jsonio_refuses_duplicates_and_depth(void **state)
{
    (void)state;
    enum { DEPTH = 100000 };
    json_t *root;
    struct err err = {0};
    assert_int_equal(jsonio_parse(&root, "{\"a\":1,\"a\":2}", 13, "d.json", &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "duplicate"));
    char *deep = mem_array(DEPTH, 1, NULL);
    memset(deep, '[', DEPTH);
    err_clear(&err);
    assert_int_equal(jsonio_parse(&root, deep, DEPTH, "deep.json", &err), ERR_INPUT);
    assert_non_null(strstr(err.message, "maximum parsing depth"));
    free(deep);
}

static void test_jsonio_schema_of_another_kind_or_version(void **state)
{
    (void)state;
    json_t *root;
    struct err err = {0};
    static const char text[] = "{\"schema\":\"moqa.plan\",\"schema_version\":2}";
    assert_int_equal(jsonio_parse(&root, text, sizeof text - 1, "p", &err), 0);
    assert_int_equal(jsonio_check_schema(root, "moqa.plan", 2, "p", &err), 0);
    assert_int_equal(jsonio_check_schema(root, "moqa.eval", 2, "p", &err), ERR_INPUT);
    assert_string_equal(err.message, "schema: found \"moqa.plan\", expected \"moqa.eval\"");
    err_clear(&err);
    assert_int_equal(jsonio_check_schema(root, "moqa.plan", 1, "p", &err), ERR_UNSUPPORTED);
    json_decref(root);
}

struct sum {
    atomic_ullong total;
    unsigned char seen[10007];
    atomic_bool bad_worker;
    size_t threads;
};

static void add_item(void *context, size_t item, size_t worker)
{
    struct sum *s = context;
    if (worker >= s->threads)
        atomic_store(&s->bad_worker, true);
    s->seen[item]++;
    atomic_fetch_add(&s->total, item * item);
}

static void test_parallel_does_every_item_once(void **state)
{
    (void)state;
    for (size_t threads = 1; threads <= 5; threads++) {
        struct parallel *p;
        assert_int_equal(parallel_new(&p, threads, NULL), 0);
        assert_int_equal(parallel_threads(p), threads);
        for (int round = 0; round < 20; round++) {
            struct sum s = {.threads = threads};
            size_t count = round % 4 == 0 ? 1 : sizeof s.seen - (size_t)round;
            unsigned long long expected = 0;
            parallel_for(p, count, add_item, &s);
            for (size_t i = 0; i < count; i++) {
                assert_int_equal(s.seen[i], 1);
                expected += i * i;
            }
            assert_true(atomic_load(&s.total) == expected);
            assert_false(atomic_load(&s.bad_worker));
        }
        parallel_for(p, 0, add_item, NULL);
        parallel_free(p);
    }
    struct sum s = {.threads = 1};
    parallel_for(NULL, 3, add_item, &s);
    assert_int_equal(parallel_spaces(NULL, 3), 1);
    assert_int_equal(parallel_spaces(NULL, 0), 0);
    assert_int_equal(parallel_space(NULL, 3, 2, 0), 0);
    assert_true(atomic_load(&s.total) == 5);
}

static void collect(void *context, enum log_level level, const char *line)
{
    char *out = context;
    size_t used = strlen(out);
    snprintf(out + used, 256 - used, "%d:%s;", (int)level, line);
}

static void test_log_filters_and_sanitizes(void **state)
{
    (void)state;
    char lines[256] = "";
    log_set_sink(collect, lines);
    log_write(LOG_DEBUG, "not shown");
    log_write(LOG_WARN, "token %s", "\x1b]0;title\a");
    log_set_level(LOG_DEBUG);
    log_write(LOG_DEBUG, "shown");
    log_set_level(LOG_INFO);
    log_set_sink(NULL, NULL);
    assert_string_equal(lines, "1:token \\x1B]0;title\\a;3:shown;");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_err_first_error_wins),
        cmocka_unit_test(test_err_line_is_sanitized),
        cmocka_unit_test(test_err_exit_status_of_every_code),
        cmocka_unit_test(test_mem_arithmetic_tells_overflow),
        cmocka_unit_test(test_mem_too_large_is_an_error),
        cmocka_unit_test(test_mem_grow_keeps_contents),
        cmocka_unit_test(test_str_builds_and_reads_back),
        cmocka_unit_test(test_str_read_refuses_what_is_no_file),
        cmocka_unit_test(test_sanitize_lets_no_control_through),
        cmocka_unit_test(test_sanitize_stops_at_a_character_border),
        cmocka_unit_test(test_hash_equals_known_vectors),
        cmocka_unit_test(test_atomic_file_abort_leaves_the_old_one),
        cmocka_unit_test(test_atomic_file_large_writes_arrive_in_order),
        cmocka_unit_test(test_atomic_file_refuses_devices_and_missing_folders),
        cmocka_unit_test(test_jsonio_errors_name_the_place),
        cmocka_unit_test(test_jsonio_refuses_duplicates_and_depth),
        cmocka_unit_test(test_jsonio_schema_of_another_kind_or_version),
        cmocka_unit_test(test_parallel_does_every_item_once),
        cmocka_unit_test(test_log_filters_and_sanitizes),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
