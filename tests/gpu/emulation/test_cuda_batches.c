/* Batches of equal problems, which the CUDA backend does at once: the same results as one by one
 * on the CPU, within any amount of memory, and nothing left behind by a failure. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "../cpu_check.h"
#include "emulation_block.h"
#include "emulation_runtime.h"
#include "gpu/cuda/cuda_module.h"

/* Three blocks of columns, the last of an odd width; two linears a Hessian. */
enum {
    GROUPS = 5,
    PARTS = 2,
    COUNT = GROUPS * PARTS,
    D = 300,
    GRID = 64,
    GRIDS = 5,
    ROWS_MAX = 70
};

static const size_t rows_of[PARTS] = {ROWS_MAX, 45};

struct linear {
    float *weights;
    uint8_t max_code[GRIDS], zero[ROWS_MAX * GRIDS], codes[ROWS_MAX * D];
    double scale[ROWS_MAX * GRIDS];
    double loss, square, nearest_loss, nearest_square;
};

static double *factor[GROUPS];
static uint32_t order[GROUPS][D], grid[D];
static struct linear linears[COUNT];
static struct backend_sweep problems[COUNT];

/* X^T X of more rows than columns, and something on the diagonal. */
static double *make_hessian(uint64_t seed, size_t d)
{
    size_t rows = d + 20;
    float *x = check_floats(seed, rows * d, 1);
    double *h = calloc(d * d, sizeof *h);
    assert_non_null(h);
    for (size_t i = 0; i < d; i++)
        for (size_t j = 0; j <= i; j++) {
            for (size_t r = 0; r < rows; r++)
                h[i * d + j] += (double)x[r * d + i] * x[r * d + j];
            h[i * d + j] += i == j ? 5.0 : 0.0;
        }
    free(x);
    return h;
}

static void make_linear(size_t i, uint64_t *seed)
{
    static const uint8_t widths[] = {3, 7, 15, 255};
    struct linear *l = &linears[i];
    size_t rows = rows_of[i % PARTS];
    l->weights = check_floats(100 + i, rows * D, 1);
    for (size_t g = 0; g < GRIDS; g++)
        l->max_code[g] = widths[check_random(seed, 4)];
    for (size_t k = 0; k < rows * GRIDS; k++) {
        uint8_t top = l->max_code[k % GRIDS];
        l->scale[k] = (1.8 + 1e-3 * check_random(seed, 400)) / top;
        l->zero[k] = (uint8_t)(top / 2 + check_random(seed, 2));
    }
    problems[i] = (struct backend_sweep){.rows = rows,
                                         .columns = D,
                                         .grids = GRIDS,
                                         .weights = l->weights,
                                         .factor = factor[i / PARTS],
                                         .order = order[i / PARTS],
                                         .grid = grid,
                                         .max_code = l->max_code,
                                         .scale = l->scale,
                                         .zero = l->zero,
                                         .codes = l->codes,
                                         .nearest = i == 3,
                                         .loss = &l->loss,
                                         .square = &l->square,
                                         .nearest_loss = i % 3 ? &l->nearest_loss : NULL,
                                         .nearest_square = i % 3 ? &l->nearest_square : NULL};
}

static struct backend *cpu_backend(void)
{
    struct backend *b;
    assert_int_equal(backend_cpu_new(&b, 2, NULL), 0);
    return b;
}

static int make_problems(void **state)
{
    (void)state;
    uint64_t seed = 7;
    struct backend *cpu = cpu_backend();
    for (size_t i = 0; i < D; i++)
        grid[i] = (uint32_t)(i / GRID);
    for (size_t g = 0; g < GROUPS; g++) {
        const size_t d = D;
        bool failed;
        factor[g] = make_hessian(g, D);
        assert_int_equal(cpu->ops->cholesky(cpu, &factor[g], &d, 1, BACKEND_FP64, &failed, NULL),
                         0);
        assert_false(failed);
        for (uint32_t i = 0; i < D; i++) {
            uint32_t j = check_random(&seed, i + 1);
            order[g][i] = order[g][j];
            order[g][j] = i;
        }
    }
    for (size_t i = 0; i < COUNT; i++)
        make_linear(i, &seed);
    backend_free(cpu);
    return 0;
}

static int free_problems(void **state)
{
    (void)state;
    for (size_t g = 0; g < GROUPS; g++)
        free(factor[g]);
    for (size_t i = 0; i < COUNT; i++)
        free(linears[i].weights);
    return 0;
}

/* What a sweep gives, from values that it cannot give. */
static int sweep(struct backend *b, enum backend_precision precision, struct linear *out,
                 struct err *err)
{
    for (size_t i = 0; i < COUNT; i++) {
        struct linear *l = &linears[i];
        memset(l->codes, 0xee, sizeof l->codes);
        l->loss = l->square = l->nearest_loss = l->nearest_square = NAN;
    }
    int rc = b->ops->sweep(b, problems, COUNT, precision, err);
    memcpy(out, linears, sizeof linears);
    return rc;
}

static struct backend *cuda_with(uint64_t limit)
{
    const struct cuda_options options = {.memory_limit = limit, .threads = 1};
    struct backend *b;
    assert_int_equal(cuda_backend_new(&b, &options, NULL), 0);
    return b;
}

static void assert_near(double got, double want, double tolerance)
{
    if (isnan(want) ? !isnan(got) : !(fabs(got - want) <= tolerance * fabs(want)))
        fail_msg("%.17g, expected %.17g", got, want);
}

static void compare(const struct linear *got, const struct linear *want, double unequal,
                    double tolerance)
{
    for (size_t i = 0; i < COUNT; i++) {
        size_t differ = 0, cells = problems[i].rows * D;
        for (size_t k = 0; k < sizeof got[i].codes; k++)
            differ += got[i].codes[k] != want[i].codes[k];
        if ((double)differ > unequal * (double)cells)
            fail_msg("linear %zu: %zu of %zu codes differ", i, differ, cells);
        assert_near(got[i].loss, want[i].loss, tolerance);
        assert_near(got[i].square, want[i].square, tolerance);
        assert_near(got[i].nearest_loss, want[i].nearest_loss, tolerance);
        assert_near(got[i].nearest_square, want[i].nearest_square, tolerance);
    }
}

static struct linear want[COUNT], got[COUNT];

static void test_equal_groups_at_once_give_the_cpus_codes_and_losses(void **state)
{
    (void)state;
    static const struct {
        enum backend_precision precision;
        double unequal, tolerance;
    } cases[] = {{BACKEND_FP64, 0.0, 1e-9}, {BACKEND_FP32, 0.02, 0.02}};
    emulation_reset();
    struct backend *cpu = cpu_backend(), *cuda = cuda_with(0);
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
        assert_int_equal(sweep(cpu, cases[c].precision, want, NULL), 0);
        assert_int_equal(sweep(cuda, cases[c].precision, got, NULL), 0);
        compare(got, want, cases[c].unequal, cases[c].tolerance);
    }
    backend_free(cuda);
    backend_free(cpu);
}

/* Launches of a sweep where others leave so many bytes of the device. */
static size_t launches_of(uint64_t limit, size_t others_leave, unsigned halvings)
{
    size_t free_bytes, total;
    emulation_reset();
    struct backend *cuda = cuda_with(limit);
    cuda->halvings = halvings;
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    emulation_set_memory(total - free_bytes + others_leave);
    size_t before = emulation_launches();
    assert_int_equal(sweep(cuda, BACKEND_FP64, got, NULL), 0);
    backend_free(cuda);
    return emulation_launches() - before;
}

static void test_batches_follow_the_limit_and_not_what_happens_to_be_free(void **state)
{
    (void)state;
    const size_t mib = 1 << 20, limit = 56 * mib;
    size_t launches = launches_of(limit, 100 * mib, 0);
    assert_int_equal(launches_of(limit, 9 * mib, 0), launches);
    assert_int_equal(launches_of(limit + mib, 100 * mib, 0), launches);
    assert_true(launches_of(limit, 100 * mib, 2) > launches);
    emulation_reset();
}

/* cuBLAS's workspace and the staging buffers, then room for two groups in double precision, one,
 * and none. */
static void test_memory_changes_the_batches_and_no_result(void **state)
{
    (void)state;
    const uint64_t fixed = ((uint64_t)32 << 20) + 4 * 16384, tight = 1 << 20;
    struct err err = {0};
    emulation_reset();
    struct backend *cuda = cuda_with(0);
    assert_int_equal(sweep(cuda, BACKEND_FP64, want, NULL), 0);
    backend_free(cuda);
    size_t launches[2];
    for (size_t i = 0; i < 2; i++) {
        size_t before = emulation_launches();
        cuda = cuda_with(fixed + (8 - 6 * i) * tight);
        emulation_set_order(17 + i);
        assert_int_equal(sweep(cuda, BACKEND_FP64, got, NULL), 0);
        backend_free(cuda);
        launches[i] = emulation_launches() - before;
        assert_memory_equal(got, want, sizeof want);
    }
    emulation_set_order(0);
    assert_true(launches[1] > launches[0]);
    cuda = cuda_with(fixed + tight);
    assert_int_equal(sweep(cuda, BACKEND_FP64, got, &err), ERR_DEVICE_MEMORY);
    assert_non_null(strstr(err.message, "would pass the limit"));
    backend_free(cuda);
    assert_int_equal(emulation_live(), 0);
}

static void test_failure_of_any_call_of_a_sweep_is_an_error_and_frees_all(void **state)
{
    (void)state;
    static const struct {
        cudaError_t code;
        int want;
    } cases[] = {{cudaErrorMemoryAllocation, ERR_DEVICE_MEMORY},
                 {cudaErrorLaunchFailure, ERR_DEVICE}};
    struct backend_sweep small[3];
    for (size_t i = 0; i < 3; i++) {
        small[i] = problems[i];
        small[i].rows = 2;
    }
    for (size_t c = 0; c < sizeof cases / sizeof *cases; c++)
        for (size_t n = 1, failed = 1; failed || n < 20; n += n < 20 ? 1 : 13) {
            struct err err = {0};
            emulation_reset();
            struct backend *cuda = cuda_with(0);
            emulation_fail(n, cases[c].code);
            int rc = cuda->ops->sweep(cuda, small, 3, BACKEND_FP32, &err);
            emulation_fail(0, cudaSuccess);
            failed = rc < 0;
            assert_true(rc == 0 || rc == cases[c].want || rc == ERR_DEVICE);
            assert_true(rc == 0 || err.message[0]);
            backend_free(cuda);
            assert_int_equal(emulation_live(), 0);
        }
}

enum { MATRICES = 6, SMALL = 70, BAD = 3 };

/* Panels of 32: a whole one, and one of 6 columns; the upper triangle is not read. */
static void test_cholesky_of_many_marks_the_one_that_is_not_definite(void **state)
{
    (void)state;
    double *a[MATRICES], *b[MATRICES];
    size_t d[MATRICES];
    bool failed[MATRICES], expected[MATRICES];
    emulation_reset();
    struct backend *cpu = cpu_backend(), *cuda = cuda_with(0);
    for (size_t i = 0; i < MATRICES; i++) {
        d[i] = i == 4 ? SMALL - 9 : SMALL;
        a[i] = make_hessian(50 + i, d[i]);
        b[i] = make_hessian(50 + i, d[i]);
        for (size_t k = 0; k < d[i] * d[i]; k++)
            if (k % d[i] > k / d[i])
                a[i][k] = NAN;
    }
    a[BAD][40 * SMALL + 40] = b[BAD][40 * SMALL + 40] = -1;
    assert_int_equal(cpu->ops->cholesky(cpu, b, d, MATRICES, BACKEND_FP64, expected, NULL), 0);
    emulation_set_order(23);
    assert_int_equal(cuda->ops->cholesky(cuda, a, d, MATRICES, BACKEND_FP32, failed, NULL), 0);
    emulation_set_order(0);
    for (size_t i = 0; i < MATRICES; i++) {
        assert_int_equal(failed[i], i == BAD);
        assert_int_equal(expected[i], i == BAD);
        for (size_t k = 0; !failed[i] && k < d[i] * d[i]; k++)
            if (!(fabs(a[i][k] - b[i][k]) <= 1e-11 * (1 + fabs(b[i][k]))))
                fail_msg("matrix %zu at %zu: %.17g, expected %.17g", i, k, a[i][k], b[i][k]);
        free(a[i]);
        free(b[i]);
    }
    backend_free(cuda);
    backend_free(cpu);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_equal_groups_at_once_give_the_cpus_codes_and_losses),
        cmocka_unit_test(test_batches_follow_the_limit_and_not_what_happens_to_be_free),
        cmocka_unit_test(test_memory_changes_the_batches_and_no_result),
        cmocka_unit_test(test_failure_of_any_call_of_a_sweep_is_an_error_and_frees_all),
        cmocka_unit_test(test_cholesky_of_many_marks_the_one_that_is_not_definite),
    };
    return cmocka_run_group_tests(tests, make_problems, free_problems);
}
