/* Weights of the next layer that go to a device ahead: the same as if they had not, however far
 * they came. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

#include "gpu/cuda_load.h"
#include "src/model/ahead.h"

static struct model m;
static struct backend *gpu, *cpu;

static int make(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    setenv("MOQA_CUDA_MODULE", TEST_FAKE_CUDA, 1);
    return model_open(&m, TEST_SAMPLE "/tiny-olmoe", NULL) < 0 ||
           cuda_load_backend(&gpu, &options, NULL) < 0 || backend_cpu_new(&cpu, 1, NULL) < 0;
}

static int end(void **state)
{
    (void)state;
    backend_free(gpu);
    backend_free(cpu);
    model_release(&m);
    return 0;
}

static void check_linear(const struct model_layer *got, const struct model_layer *want,
                         enum model_linear linear, size_t expert)
{
    size_t in, out;
    model_linear_shape(m.config, linear, &in, &out);
    float *a = malloc(in * out * sizeof *a), *b = malloc(in * out * sizeof *b);
    assert_non_null(a);
    assert_non_null(b);
    assert_int_equal(
        gpu->ops->download(gpu, model_layer_linear(got, linear, expert), 0, out, a, NULL), 0);
    assert_int_equal(
        cpu->ops->download(cpu, model_layer_linear(want, linear, expert), 0, out, b, NULL), 0);
    assert_memory_equal(a, b, in * out * sizeof *a);
    free(a);
    free(b);
}

/* Loads layer 1, after `steps` steps ahead. */
static void check_layer(struct ahead *a, size_t steps, size_t want_count)
{
    struct model_layer got, want;
    for (size_t i = 0; i < steps; i++) {
        ahead_wait(a);
        ahead_step(a);
    }
    assert_int_equal(ahead_count(a), want_count);
    assert_int_equal(model_layer_load_ahead(&got, &m, gpu, 1, a, NULL), 0);
    assert_int_equal(model_layer_load(&want, &m, cpu, 1, NULL), 0);
    for (size_t e = 0; e < m.config->experts; e++)
        for (int l = LINEAR_GATE; l <= LINEAR_DOWN; l++)
            check_linear(&got, &want, (enum model_linear)l, e);
    for (int l = LINEAR_Q; l <= LINEAR_O; l++)
        check_linear(&got, &want, (enum model_linear)l, 0);
    model_layer_release(&got, gpu);
    model_layer_release(&want, cpu);
}

static uint64_t used(void)
{
    uint64_t room, bytes;
    gpu->ops->memory(gpu, &room, &bytes);
    return bytes;
}

static void test_a_layer_is_the_same_however_much_of_it_was_there(void **state)
{
    (void)state;
    uint64_t before = used();
    const size_t all = 3 * m.config->experts;
    for (size_t steps = 0; steps < 4; steps++) {
        size_t there = 16 * steps < all ? 16 * steps : all; /* a step empties the buffers */
        check_layer(ahead_new(&m, gpu, 1), steps, there);
    }
    check_layer(ahead_new(&m, gpu, 1), all, all);
    check_layer(NULL, 2, 0);
    assert_true(used() == before);
}

static void test_what_is_not_taken_is_freed(void **state)
{
    (void)state;
    uint64_t before = used();
    for (size_t steps = 0; steps < 3; steps++) {
        struct ahead *a = ahead_new(&m, gpu, 1);
        assert_non_null(a);
        for (size_t i = 0; i < steps; i++) {
            ahead_wait(a);
            ahead_step(a);
        }
        assert_true(steps == 0 || used() > before);
        ahead_free(a);
    }
    struct model_layer layer; /* of another one */
    struct ahead *a = ahead_new(&m, gpu, 2);
    ahead_wait(a);
    ahead_step(a);
    assert_int_equal(model_layer_load_ahead(&layer, &m, gpu, 1, a, NULL), 0);
    model_layer_release(&layer, gpu);
    assert_true(used() == before);
}

/* Uploads that would wait are left for later. */
static bool busy;

static bool waits(struct backend *b, size_t bytes)
{
    (void)b;
    assert_true(bytes > 0);
    return busy;
}

static void test_nothing_waits_for_the_device(void **state)
{
    (void)state;
    const struct backend_ops *real = gpu->ops;
    struct backend_ops ops = *real;
    ops.upload_waits = waits;
    gpu->ops = &ops;
    struct ahead *a = ahead_new(&m, gpu, 1);
    busy = true;
    ahead_wait(a);
    ahead_step(a);
    assert_int_equal(ahead_count(a), 0);
    busy = false;
    ahead_step(a);
    assert_int_equal(ahead_count(a), 16);
    gpu->ops = real;
    check_layer(a, 0, 16);
}

static void test_there_is_nothing_ahead_without_a_device_or_a_layer(void **state)
{
    (void)state;
    assert_null(ahead_new(&m, cpu, 1));
    assert_null(ahead_new(&m, gpu, m.config->layers));
    ahead_step(NULL);
    ahead_wait(NULL);
    ahead_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_layer_is_the_same_however_much_of_it_was_there),
        cmocka_unit_test(test_what_is_not_taken_is_freed),
        cmocka_unit_test(test_nothing_waits_for_the_device),
        cmocka_unit_test(test_there_is_nothing_ahead_without_a_device_or_a_layer),
    };
    return cmocka_run_group_tests(tests, make, end);
}
