/* The CUDA backend in emulation against the CPU's, operation by operation, and with every call of
 * the runtime failing in its turn. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "../parity/parity.h"
#include "emulation_runtime.h"
#include "gpu/cuda/cuda_module.h"

static struct backend *cpu;

static int make_cpu(void **state)
{
    (void)state;
    return backend_cpu_new(&cpu, 2, NULL);
}

static int free_cpu(void **state)
{
    (void)state;
    backend_free(cpu);
    return 0;
}

static void check_operations(bool full_precision, size_t fewest)
{
    const char *trials = getenv("MOQA_TRIALS");
    struct cuda_options options = {.threads = 2, .full_precision = full_precision};
    struct backend *gpu = NULL;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, NULL), 0);
    for (size_t i = 0; i < parity_count(); i++) {
        struct parity_result r =
            parity_run(i, cpu, gpu, trials ? strtoul(trials, NULL, 10) : fewest, PARITY_SMALL,
                       !full_precision);
        if (!r.good)
            fail_msg("%s: %s", r.name, r.message);
    }
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
}

static void test_every_operation_agrees_with_the_cpu(void **state)
{
    (void)state;
    size_t before = emulation_tf32_products();
    check_operations(true, 8);
    assert_int_equal(emulation_tf32_products(), before);
}

static void test_tf32_stays_within_its_own_tolerance(void **state)
{
    (void)state;
    size_t before = emulation_tf32_products();
    for (int how = EMULATION_CUT; how <= EMULATION_MIXED; how++) {
        emulation_set_tf32((enum emulation_rounding)how);
        check_operations(false, 2);
    }
    emulation_set_tf32(EMULATION_CUT);
    assert_true(emulation_tf32_products() > before + 20);
}

/* Of one row x the Gram matrix is x x^T: however cuBLAS rounds, H_ij^2 = H_ii H_jj as long as both
 * sides are the same numbers, and H is positive semidefinite. */
static void test_gram_matrices_are_products_of_one_matrix_with_itself(void **state)
{
    (void)state;
    enum { D = 9 };
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *x = NULL, *h = NULL;
    float row[D];
    double out[D * D];
    for (size_t i = 0; i < D; i++)
        row[i] = 1.0f + (float)(i * i + 1) * 0x1.9p-13f;
    emulation_reset();
    emulation_set_tf32(EMULATION_MIXED);
    assert_int_equal(cuda_backend_new(&gpu, &options, NULL), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &x, TENSOR_F32, 1, D, NULL), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &h, TENSOR_F64, D, D, NULL), 0);
    assert_int_equal(gpu->ops->upload(gpu, x, 0, 1, SOURCE_F32, row, NULL), 0);
    assert_int_equal(gpu->ops->gram(gpu, h, x, 1, NULL), 0);
    assert_int_equal(gpu->ops->download_f64(gpu, h, 0, D, out, NULL), 0);
    for (size_t i = 0; i < D; i++)
        for (size_t j = 0; j < i; j++)
            assert_true(out[i * D + j] * out[i * D + j] == out[i * D + i] * out[j * D + j]);
    gpu->ops->tensor_free(gpu, x);
    gpu->ops->tensor_free(gpu, h);
    backend_free(gpu);
    emulation_set_tf32(EMULATION_CUT);
}

/* A Hessian from its sum to its factor on the device. */
static int work_on_hessian(struct backend *b, const struct tensor *sum, size_t d, struct err *err)
{
    enum { MOST = 16 };
    struct tensor *mean = NULL, *factor = NULL, *sums[] = {(struct tensor *)(uintptr_t)sum};
    uint32_t order[MOST];
    double diagonal[MOST], *out[] = {diagonal};
    bool failed;
    int rc = b->ops->tensor_new(b, &mean, TENSOR_F64, d, d, err);
    if (rc == 0)
        rc = b->ops->tensor_new(b, &factor, TENSOR_F64, d, d, err);
    if (rc == 0)
        rc = b->ops->hessian_mean(b, mean, sums, 1, 2.0, err);
    struct backend_hessian h = {d, sum, mean, 0.5, 3.0};
    if (rc == 0)
        rc = b->ops->hessian_diagonals(b, out, &h, 1, err);
    for (size_t i = 0; i < d; i++)
        order[i] = (uint32_t)(d - 1 - i);
    struct backend_factor f = {&h, order, diagonal, factor};
    if (rc == 0)
        rc = b->ops->hessian_factorize(b, &f, 1, &failed, err);
    b->ops->tensor_free(b, mean);
    b->ops->tensor_free(b, factor);
    return rc;
}

/* Two grids a row of a square matrix, one of them in another order. */
static int work_on_grids(struct backend *b, const struct tensor *w, size_t d, struct err *err)
{
    enum { MOST = 16 };
    const struct backend_grid_rule rule = {.search = true, .half = true};
    uint32_t member[MOST], start[] = {0, 2, (uint32_t)d};
    const uint8_t top[] = {15, 3};
    double importance[MOST], scale[2 * MOST];
    uint8_t zero[2 * MOST];
    for (size_t i = 0; i < d; i++) {
        member[i] = (uint32_t)(d - 1 - i);
        importance[i] = 1.0 + (double)i;
    }
    struct backend_grid grids[2] = {{.rows = d,
                                     .columns = d,
                                     .grids = 2,
                                     .weights = w,
                                     .importance = importance,
                                     .start = start,
                                     .max_code = top,
                                     .scale = scale,
                                     .zero = zero}};
    grids[1] = grids[0];
    grids[1].member = member;
    return b->ops->fit_grids(b, &rule, grids, 2, err);
}

static int work_on_attention(struct backend *b, const struct tensor *x, size_t n, size_t columns,
                             struct err *err)
{
    struct tensor *out = NULL;
    const struct backend_attention shape = {
        .window = n, .heads = 1, .kv_heads = 1, .head_dim = columns};
    int rc = b->ops->tensor_new(b, &out, TENSOR_F32, n, columns, err);
    if (rc == 0)
        rc = b->ops->attention(b, out, x, x, x, n, &shape, err);
    b->ops->tensor_free(b, out);
    return rc;
}

/* A small piece of each kind of work. The first error stops it. */
static int work(struct backend *b, struct err *err)
{
    enum { N = 5, D = 7, EXPERTS = 3, TOP_K = 2 };
    const struct backend_ops *ops = b->ops;
    struct tensor *x = NULL, *w[EXPERTS] = {NULL}, *slots = NULL, *mid = NULL, *logits = NULL,
                  *h = NULL;
    struct backend_groups g = {0};
    float values[D * D];
    double matrix[D * D] = {0}, *matrices[] = {matrix}, nll[N];
    const size_t d[] = {D};
    const int64_t target[N] = {0, 1, 2, 3, 4};
    bool failed[1];
    for (size_t i = 0; i < D * D; i++)
        values[i] = (float)(i % 11) * 0.3f - 1.0f;
    for (size_t i = 0; i < D; i++)
        matrix[i * D + i] = 2.0 + (double)i;
    int rc = ops->tensor_new(b, &x, TENSOR_F32, N, D, err);
    if (rc == 0)
        rc = ops->upload(b, x, 0, N, SOURCE_F32, values, err);
    for (size_t e = 0; rc == 0 && e < EXPERTS; e++) {
        rc = ops->tensor_new(b, &w[e], TENSOR_F32, D, D, err);
        if (rc == 0)
            rc = ops->upload(b, w[e], 0, D, SOURCE_F32, values, err);
    }
    if (rc == 0)
        rc = ops->tensor_new(b, &logits, TENSOR_F32, N, EXPERTS, err);
    if (rc == 0)
        rc = ops->upload(b, logits, 0, N, SOURCE_F32, values, err);
    if (rc == 0)
        rc = ops->tensor_new(b, &slots, TENSOR_F32, N * TOP_K, D, err);
    if (rc == 0)
        rc = ops->tensor_new(b, &h, TENSOR_F64, D, D, err);
    if (rc == 0)
        rc = ops->route(b, &g, logits, N, TOP_K, true, err);
    if (rc == 0)
        rc = ops->gather(b, slots, x, &g, err);
    if (rc == 0)
        rc = ops->tensor_new(b, &mid, TENSOR_F32, N * TOP_K, D, err);
    if (rc == 0)
        rc = ops->grouped_matmul(b, mid, slots, w, &g, err);
    if (rc == 0)
        rc = ops->combine(b, x, mid, &g, err);
    if (rc == 0)
        rc = ops->matmul(b, slots, x, w[0], NULL, N, err);
    if (rc == 0)
        rc = ops->gram(b, h, x, N, err);
    if (rc == 0)
        rc = ops->download_f64(b, h, 0, D, (double[D * D]){0}, err);
    if (rc == 0)
        rc = work_on_hessian(b, h, D, err);
    if (rc == 0)
        rc = work_on_grids(b, w[0], D, err);
    if (rc == 0)
        rc = work_on_attention(b, x, N, D, err);
    (void)ops->upload_waits(b, sizeof values); /* what fails here is no error */
    if (rc == 0)
        rc = ops->cholesky(b, matrices, d, 1, BACKEND_FP32, failed, err);
    if (rc == 0)
        rc = ops->nll(b, nll, x, w[0], target, N, err);
    if (rc == 0)
        rc = ops->download(b, x, 0, N, values, err);
    backend_groups_release(&g);
    for (size_t e = 0; e < EXPERTS; e++)
        ops->tensor_free(b, w[e]);
    ops->tensor_free(b, x);
    ops->tensor_free(b, slots);
    ops->tensor_free(b, mid);
    ops->tensor_free(b, logits);
    ops->tensor_free(b, h);
    return rc;
}

/* The backend from its making to its end; *made: it was made. */
static int life(bool *made, struct err *err)
{
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    int rc = cuda_backend_new(&gpu, &options, err);
    *made = rc == 0;
    if (rc == 0)
        rc = work(gpu, err);
    else
        assert_null(gpu);
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
    return rc;
}

static void fail_everywhere(cudaError_t code, int want)
{
    struct err err = {0};
    bool made;
    emulation_reset();
    assert_int_equal(life(&made, &err), 0);
    size_t calls = emulation_calls(), failures = 0;
    assert_true(calls > 50);
    for (size_t n = 1; n <= calls; n++) {
        emulation_reset();
        emulation_fail(n, code);
        err_clear(&err);
        int rc = life(&made, &err);
        /* Freeing may fail without a word; all else is an error of the right kind. */
        assert_true(rc == 0 || rc == want || rc == ERR_DEVICE);
        assert_true(rc == 0 || (err.code == (enum err_code)rc && err.message[0]));
        failures += rc < 0;
    }
    assert_true(failures > calls / 2);
}

static void test_a_device_without_memory_is_told_from_a_broken_one(void **state)
{
    (void)state;
    fail_everywhere(cudaErrorMemoryAllocation, ERR_DEVICE_MEMORY);
    fail_everywhere(cudaErrorLaunchFailure, ERR_DEVICE);
    fail_everywhere(cudaErrorIllegalAddress, ERR_DEVICE);
}

static void test_pools_that_are_announced_and_do_not_work_are_not_used(void **state)
{
    (void)state;
    struct err err = {0};
    bool made;
    emulation_reset();
    emulation_set_pools(false);
    assert_int_equal(life(&made, &err), 0);
    assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
    emulation_reset();
}

static void test_after_no_memory_the_backend_works_on(void **state)
{
    (void)state;
    struct cuda_options options = {.memory_limit = 64 << 20, .threads = 1};
    struct backend *gpu = NULL;
    struct tensor *t = NULL, *big = NULL;
    struct err err = {0};
    uint64_t room, used, before;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, &err), 0);
    gpu->ops->memory(gpu, &room, &before);
    assert_true(room <= 64 << 20);
    assert_int_equal(gpu->ops->tensor_new(gpu, &big, TENSOR_F32, 1 << 14, 1 << 14, &err),
                     ERR_DEVICE_MEMORY);
    assert_null(big);
    err_clear(&err);
    assert_int_equal(gpu->ops->tensor_new(gpu, &t, TENSOR_F32, 1000, 100, &err), 0);
    gpu->ops->memory(gpu, &room, &used);
    assert_true(used >= before + 400000);
    gpu->ops->tensor_free(gpu, t);
    assert_int_equal(work(gpu, &err), 0);
    gpu->ops->memory(gpu, &room, &used);
    assert_int_equal(used, before);
    backend_free(gpu);
}

/* The emulation's pool keeps what is freed, and nothing fits into it. */
static void test_memory_that_the_pool_keeps_is_given_back_when_it_is_needed(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *t = NULL;
    struct err err = {0};
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, &err), 0);
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(gpu->ops->tensor_new(gpu, &t, TENSOR_F32, 100 - i, 1 << 20, &err), 0);
        gpu->ops->tensor_free(gpu, t);
    }
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
}

/* cuBLAS takes its own beside the pool: after it had none, the pool is emptied. */
static void test_after_cublas_had_no_memory_the_pool_is_emptied(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *t = NULL, *big = NULL;
    struct err err = {0};
    size_t before, after, total;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, &err), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &big, TENSOR_F32, 100, 1 << 20, &err), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &t, TENSOR_F32, 2, 2, &err), 0);
    gpu->ops->tensor_free(gpu, big);
    size_t calls = emulation_calls();
    assert_int_equal(gpu->ops->matmul(gpu, t, t, t, NULL, 2, &err), 0);
    emulation_fail(emulation_calls() - calls, cudaErrorMemoryAllocation); /* the product itself */
    assert_int_equal(gpu->ops->matmul(gpu, t, t, t, NULL, 2, &err), ERR_DEVICE_MEMORY);
    assert_non_null(strstr(err.message, "cuBLAS"));
    assert_int_equal(cudaMemGetInfo(&before, &total), cudaSuccess);
    assert_int_equal(gpu->ops->tensor_new(gpu, &big, TENSOR_F32, 2, 2, &err), 0);
    assert_int_equal(cudaMemGetInfo(&after, &total), cudaSuccess);
    assert_true(after > before + 300000000);
    assert_int_equal(gpu->ops->matmul(gpu, t, t, big, NULL, 2, &err), 0);
    gpu->ops->tensor_free(gpu, big);
    gpu->ops->tensor_free(gpu, t);
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
}

/* A status of cuBLAS that does not say why, with so much memory of the device left. */
static int fail_product(size_t left, struct err *err)
{
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *t = NULL;
    size_t free_bytes, total;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, err), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &t, TENSOR_F32, 2, 2, err), 0);
    size_t calls = emulation_calls();
    assert_int_equal(gpu->ops->matmul(gpu, t, t, t, NULL, 2, err), 0);
    calls = emulation_calls() - calls;
    assert_int_equal(cudaMemGetInfo(&free_bytes, &total), cudaSuccess);
    emulation_set_memory(total - free_bytes + left);
    emulation_fail(calls, cudaErrorInvalidConfiguration); /* EXECUTION_FAILED, as cuBLAS has it */
    int rc = gpu->ops->matmul(gpu, t, t, t, NULL, 2, err);
    /* Only a broken device stays so. */
    assert_int_equal(gpu->ops->matmul(gpu, t, t, t, NULL, 2, NULL),
                     rc == ERR_DEVICE ? ERR_DEVICE : 0);
    gpu->ops->tensor_free(gpu, t);
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
    return rc;
}

static void test_a_failure_of_cublas_without_memory_is_no_broken_device(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(fail_product((size_t)100 << 20, &err), ERR_DEVICE_MEMORY);
    assert_non_null(strstr(err.message, "cuBLAS has no memory left"));
    err_clear(&err);
    assert_int_equal(fail_product((size_t)600 << 20, &err), ERR_DEVICE);
    assert_non_null(strstr(err.message, "EXECUTION_FAILED"));
}

static uint64_t room_of(size_t memory, uint64_t limit)
{
    struct cuda_options options = {.threads = 1, .memory_limit = limit};
    struct backend *gpu = NULL;
    uint64_t room, used;
    emulation_reset();
    emulation_set_memory(memory);
    assert_int_equal(cuda_backend_new(&gpu, &options, NULL), 0);
    gpu->ops->memory(gpu, &room, &used);
    backend_free(gpu);
    return room + used;
}

static void test_some_memory_is_left_to_others(void **state)
{
    (void)state;
    const uint64_t mib = (uint64_t)1 << 20;
    assert_int_equal(room_of(32768 * mib, 0), 31744 * mib);
    assert_int_equal(room_of(4096 * mib, 0), 3584 * mib);
    assert_int_equal(room_of(4096 * mib, 4000 * mib), 3584 * mib);
    assert_int_equal(room_of(4096 * mib, 100 * mib), 100 * mib);
    assert_int_equal(room_of(800 * mib, 0), 400 * mib);
}

static void test_a_hessian_that_is_not_finite_is_told(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *sum = NULL;
    struct err err = {0};
    const double values[] = {1.0, 0.0, 0.0, 0.0, 1.0, 0.0, (double)INFINITY, 0.0, 1.0};
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, &err), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &sum, TENSOR_F64, 3, 3, &err), 0);
    assert_int_equal(gpu->ops->upload(gpu, sum, 0, 3, SOURCE_F64, values, &err), 0);
    double diagonal[3], *out[] = {diagonal};
    struct backend_hessian h = {3, sum, NULL, 0.0, 1.0};
    assert_int_equal(gpu->ops->hessian_diagonals(gpu, out, &h, 1, &err), ERR_NUMERIC);
    assert_int_equal(err.code, ERR_NUMERIC);
    gpu->ops->tensor_free(gpu, sum);
    backend_free(gpu);
}

static void test_a_question_without_an_answer_leaves_no_error_behind(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    uint64_t room, used;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, NULL), 0);
    size_t calls = emulation_calls();
    gpu->ops->memory(gpu, &room, &used);
    calls = emulation_calls() - calls;
    assert_true(calls >= 4);
    for (size_t n = 2; n <= calls; n++) { /* the first is the choice of the device */
        emulation_fail(n, cudaErrorInvalidValue);
        gpu->ops->memory(gpu, &room, &used);
        assert_int_equal(cudaPeekAtLastError(), cudaSuccess);
    }
    backend_free(gpu);
}

static void test_an_upload_that_would_wait_is_told(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, NULL), 0);
    assert_false(gpu->ops->upload_waits(gpu, 1));
    assert_false(gpu->ops->upload_waits(gpu, (size_t)1 << 40));
    emulation_fail(3, cudaErrorNotReady); /* the device is chosen, the first buffer is free */
    assert_true(gpu->ops->upload_waits(gpu, (size_t)1 << 40));
    emulation_fail(3, cudaErrorNotReady);
    assert_false(gpu->ops->upload_waits(gpu, 1));
    emulation_fail(0, cudaSuccess);
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
}

static void test_a_broken_backend_stays_broken(void **state)
{
    (void)state;
    struct cuda_options options = {.threads = 1};
    struct backend *gpu = NULL;
    struct tensor *t = NULL, *other = NULL;
    struct err err = {0};
    float x[4] = {0};
    emulation_reset();
    assert_int_equal(cuda_backend_new(&gpu, &options, &err), 0);
    assert_int_equal(gpu->ops->tensor_new(gpu, &t, TENSOR_F32, 2, 2, &err), 0);
    emulation_fail(1, cudaErrorIllegalAddress);
    assert_int_equal(gpu->ops->download(gpu, t, 0, 2, x, &err), ERR_DEVICE);
    err_clear(&err);
    assert_int_equal(gpu->ops->tensor_new(gpu, &other, TENSOR_F32, 2, 2, &err), ERR_DEVICE);
    assert_true(err.message[0]);
    gpu->ops->tensor_free(gpu, t);
    backend_free(gpu);
    assert_int_equal(emulation_live(), 0);
}

/* With an argument: the tests that it names, with * and ?. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_operation_agrees_with_the_cpu),
        cmocka_unit_test(test_tf32_stays_within_its_own_tolerance),
        cmocka_unit_test(test_gram_matrices_are_products_of_one_matrix_with_itself),
        cmocka_unit_test(test_a_device_without_memory_is_told_from_a_broken_one),
        cmocka_unit_test(test_pools_that_are_announced_and_do_not_work_are_not_used),
        cmocka_unit_test(test_after_no_memory_the_backend_works_on),
        cmocka_unit_test(test_memory_that_the_pool_keeps_is_given_back_when_it_is_needed),
        cmocka_unit_test(test_after_cublas_had_no_memory_the_pool_is_emptied),
        cmocka_unit_test(test_a_failure_of_cublas_without_memory_is_no_broken_device),
        cmocka_unit_test(test_some_memory_is_left_to_others),
        cmocka_unit_test(test_a_hessian_that_is_not_finite_is_told),
        cmocka_unit_test(test_a_question_without_an_answer_leaves_no_error_behind),
        cmocka_unit_test(test_an_upload_that_would_wait_is_told),
        cmocka_unit_test(test_a_broken_backend_stays_broken),
    };
    return cmocka_run_group_tests(tests, make_cpu, free_cpu);
}
