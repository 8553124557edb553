/* What the module says of devices, with a CUDA runtime that has any number of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "emulation_runtime.h"
#include "gpu/cuda/cuda_module.h"

enum { MAX = 4 };

static int list(struct cuda_device out[MAX], size_t *count, struct err *err)
{
    err_clear(err);
    return moqa_cuda_module()->devices(out, 0, MAX, count, err);
}

static void test_devices_are_listed_with_memory_and_capability(void **state)
{
    (void)state;
    struct cuda_device d[MAX];
    struct err err = {0};
    size_t count;
    emulation_reset();
    emulation_set_devices(6, CUDART_VERSION);
    emulation_set_memory((size_t)3 << 30);
    assert_int_equal(list(d, &count, &err), 0);
    assert_int_equal(count, 6); /* more than there is room for */
    for (size_t i = 0; i < MAX; i++) {
        assert_int_equal(d[i].index, i);
        assert_string_equal(d[i].unusable, "");
        assert_int_equal(d[i].major, 9);
        assert_true(d[i].memory_total == (uint64_t)3 << 30 &&
                    d[i].memory_free <= d[i].memory_total);
    }
    assert_string_equal(d[1].name, "emulated device 1");
    emulation_set_capability(7, 5);
    assert_int_equal(list(d, &count, &err), 0);
    assert_string_equal(d[0].unusable, "compute capability 7.5, expected 8.0 or newer");
}

static void test_a_bad_device_leaves_the_others(void **state)
{
    (void)state;
    struct cuda_device d[MAX];
    struct err err = {0};
    size_t count;
    emulation_reset();
    emulation_set_devices(3, CUDART_VERSION);
    emulation_set_bad_device(1);
    assert_int_equal(list(d, &count, &err), 0);
    assert_int_equal(count, 3);
    assert_true(d[1].unusable[0] && d[1].index == 1);
    assert_string_equal(d[1].name, "unknown");
    assert_string_equal(d[0].unusable, "");
    assert_string_equal(d[2].unusable, "");
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
}

static void test_only_the_device_in_question_is_touched(void **state)
{
    (void)state;
    struct cuda_device d[MAX] = {{.index = -1}};
    struct err err = {0};
    size_t count;
    emulation_reset();
    emulation_set_devices(4, CUDART_VERSION);
    emulation_set_bad_device(0);
    assert_int_equal(moqa_cuda_module()->devices(d, 2, 1, &count, &err), 0);
    assert_int_equal(count, 4);
    assert_int_equal(d[0].index, 2);
    assert_string_equal(d[0].unusable, "");
    assert_int_equal(emulation_contexts(), 1u << 2);
    d[0].index = -1;
    assert_int_equal(moqa_cuda_module()->devices(d, 4, 1, &count, &err), 0);
    assert_int_equal(count, 4);
    assert_int_equal(d[0].index, -1);
}

static void test_what_is_missing_is_said(void **state)
{
    (void)state;
    const struct {
        int devices, driver;
        const char *want;
    } cases[] = {
        {0, CUDART_VERSION, "the CUDA driver finds no device"},
        {1, 0, "no CUDA driver"},
        {1, 11080, "too old: found one for CUDA 11.8, expected"},
    };
    struct cuda_device d[MAX];
    struct err err = {0};
    size_t count;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        emulation_reset();
        emulation_set_devices(cases[i].devices, cases[i].driver);
        assert_int_equal(list(d, &count, &err), ERR_DEVICE);
        assert_int_equal(count, 0);
        assert_non_null(strstr(err.message, cases[i].want));
    }
}

static void test_a_call_that_fails_is_no_crash_and_no_silence(void **state)
{
    (void)state;
    struct cuda_device d[MAX];
    struct err err = {0};
    size_t count;
    emulation_reset();
    assert_int_equal(list(d, &count, &err), 0);
    size_t calls = emulation_calls();
    assert_true(calls >= 4);
    for (size_t n = 1; n <= calls; n++) {
        emulation_reset();
        emulation_fail(n, cudaErrorDevicesUnavailable);
        int rc = list(d, &count, &err);
        assert_true(rc == 0 ? d[0].unusable[0] != '\0' : rc == ERR_DEVICE && err.message[0]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_devices_are_listed_with_memory_and_capability),
        cmocka_unit_test(test_a_bad_device_leaves_the_others),
        cmocka_unit_test(test_only_the_device_in_question_is_touched),
        cmocka_unit_test(test_what_is_missing_is_said),
        cmocka_unit_test(test_a_call_that_fails_is_no_crash_and_no_silence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
