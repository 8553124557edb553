/* Memory of the CPU backend's threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/cpu/cpu_backend.h"

enum { D = 40, THREADS = 8 };

/* Threads that find no matrix need no room for one. */
static void test_factors_take_scratch_for_as_many_threads_as_there_are_matrices(void **state)
{
    (void)state;
    static double h[3][D * D];
    double *const list[3] = {h[0], h[1], h[2]};
    size_t d[3] = {D, D, D};
    bool failed[3];
    for (size_t count = 1; count <= 3; count++) {
        struct backend *b = NULL;
        assert_int_equal(backend_cpu_new(&b, THREADS, NULL), 0);
        for (size_t k = 0; k < count; k++)
            for (size_t i = 0; i < (size_t)D * D; i++)
                h[k][i] = i % (D + 1) == 0 ? 2.0 : 0.5;
        assert_int_equal(b->ops->cholesky(b, list, d, count, BACKEND_FP32, failed, NULL), 0);
        const struct cpu_backend *c = (const struct cpu_backend *)b;
        for (size_t i = 0; i < THREADS; i++)
            assert_int_equal(c->scratch_size[i] >= (size_t)D * D, i < count);
        for (size_t k = 0; k < count; k++)
            assert_false(failed[k]);
        backend_free(b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_factors_take_scratch_for_as_many_threads_as_there_are_matrices),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
