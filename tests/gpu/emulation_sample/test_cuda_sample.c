/* The bundled model through the CUDA backend in emulation, with the products that a device makes on
 * tensor cores, against the CPU: what rounding operands to TF32 does to a model. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "../../src/quant_run.h"
#include "../emulation/emulation_backend.h"
#include "../emulation/emulation_runtime.h"

/* This file is compiled with that name standing for the emulation's constructor. */
#undef backend_cpu_new
ERR_CHECK int backend_cpu_new(struct backend **out, size_t threads, struct err *err);

static const char model[] = TEST_SAMPLE "/tiny-olmoe";
static const char *const texts[] = {TEST_SAMPLE "/text/evaluation/letters-1.txt"};
enum { EVALUATION_WINDOWS = 2, CALIBRATION_WINDOWS = 2 };

static struct backend *cpu;

static int make_cpu(void **state)
{
    (void)state;
    emulation_backend_tf32 = true;
    return backend_cpu_new(&cpu, 2, NULL);
}

static int free_cpu(void **state)
{
    (void)state;
    backend_free(cpu);
    return 0;
}

static double perplexity_on_tensor_cores(const char *folder, bool nearest)
{
    struct backend *gpu;
    size_t before = emulation_tf32_products();
    emulation_set_tf32(nearest ? EMULATION_NEAREST : EMULATION_CUT);
    assert_int_equal(emulation_backend_new(&gpu, 1, NULL), 0);
    double value = quant_run_perplexity(gpu, folder, texts, 1, EVALUATION_WINDOWS);
    backend_free(gpu);
    assert_true(emulation_tf32_products() > before);
    return value;
}

static void check_near(const char *what, double got, double want, double part)
{
    if (!(fabs(got - want) <= part * want))
        fail_msg("%s: perplexity %.6f, on the CPU %.6f", what, got, want);
}

static void test_the_originals_perplexity_is_the_cpus_within_half_a_per_mille(void **state)
{
    (void)state;
    double want = quant_run_perplexity(cpu, model, texts, 1, EVALUATION_WINDOWS);
    check_near("bits cut off", perplexity_on_tensor_cores(model, false), want, 5e-4);
    check_near("to nearest", perplexity_on_tensor_cores(model, true), want, 5e-4);
}

/* The whole pass on one backend; the result's perplexity on the CPU. */
static double quantized(const char *method, bool on_cpu)
{
    struct quant_run r;
    quant_run_open(&r, "tiny-olmoe", method, CALIBRATION_WINDOWS, 2);
    r.options.precision = BACKEND_FP32;
    if (on_cpu)
        r.options.backend = cpu;
    quant_run_pass(&r);
    double value = quant_run_perplexity(cpu, r.out, texts, 1, 0);
    quant_run_close(&r);
    return value;
}

/* Calibrated on two windows, where equally good roundings of one model (by other kernels of the
 * CPU, or in double precision) differ by up to 0.6 %. */
static void test_a_quantized_model_is_as_good_within_a_per_cent(void **state)
{
    (void)state;
    emulation_set_tf32(EMULATION_CUT);
    size_t before = emulation_tf32_products();
    check_near("gptq-3", quantized("gptq-3", false), quantized("gptq-3", true), 1e-2);
    assert_true(emulation_tf32_products() > before);
}

/* The backend's operations, of whose matrices the first of every call has no factor. */
static const struct backend_ops *real;

static int factorize_but_first(struct backend *b, const struct backend_factor *factors,
                               size_t count, bool *failed, struct err *err)
{
    int rc = real->hessian_factorize(b, factors, count, failed, err);
    if (rc == 0 && count)
        failed[0] = true;
    return rc;
}

static int cholesky_but_first(struct backend *b, double *const *l, const size_t *d, size_t count,
                              enum backend_precision precision, bool *failed, struct err *err)
{
    int rc = real->cholesky(b, l, d, count, precision, failed, err);
    if (rc == 0 && count)
        failed[0] = true;
    return rc;
}

/* The same bytes whether Hessians stay on the device or come to the host, also where some have no
 * factor (`fallbacks`: at least so many); settings as quant_run_plan() has them. */
static void check_stay(const char *method, const char *settings, size_t fallbacks)
{
    char hash[2][HASH_HEX_SIZE];
    emulation_backend_tf32 = false;
    for (int host = 0; host < 2; host++) {
        struct quant_run r;
        struct err err = {0};
        quant_run_open(&r, "tiny-olmoe", method, 1, 2);
        quant_run_plan(&r, method, settings);
        r.options.window = 64;
        struct backend_ops ops = *r.backend->ops;
        const struct backend_ops *all = r.backend->ops;
        assert_non_null(ops.hessian_factorize);
        real = all;
        ops.hessian_factorize = host        ? NULL
                                : fallbacks ? factorize_but_first
                                            : ops.hessian_factorize;
        ops.cholesky = fallbacks ? cholesky_but_first : ops.cholesky;
        r.backend->ops = &ops;
        struct pass *p;
        struct pass_snapshot s = {0};
        assert_int_equal(pass_new(&p, &r.options, &err), 0);
        int rc;
        while ((rc = pass_step(p, &err)) > 0)
            ;
        if (rc < 0)
            fail_msg("%s", err.message);
        pass_snapshot(p, &s);
        pass_free(p);
        r.backend->ops = all;
        assert_true(fallbacks ? s.fallbacks >= fallbacks : s.fallbacks == 0);
        quant_run_hash(hash[host], r.out);
        quant_run_close(&r);
    }
    emulation_backend_tf32 = true;
    assert_string_equal(hash[0], hash[1]);
}

/* One window: some experts see no token, most see few. */
static void test_hessians_on_the_device_give_the_bytes_of_the_hosts(void **state)
{
    (void)state;
    check_stay("gptq-3", "scale_search=on", 0);
    check_stay("moqa", "channel_score=hessian,bits_attention=4", 0);
    check_stay("rtn-3", NULL, 0);
}

static void test_hessians_that_have_no_factor_are_fetched_for_plain_rounding(void **state)
{
    (void)state;
    check_stay("gptq-2", NULL, 6);
}

/* Weights that do not come back to the host are looked at on the device; the file says which. */
static void test_hessians_on_the_device_name_a_weight_that_is_not_finite(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    quant_run_open(&r, "tiny-olmoe", "gptq-4", 1, 1);
    r.options.window = 64;
    struct model original = r.model;
    quant_run_patch(&r, "model.layers.0.mlp.experts.2.up_proj.weight", 3, 7, 0x7f80);
    assert_int_equal(quant_run_try(&r, &err), ERR_INPUT);
    assert_string_equal(err.message, "tensor \"model.layers.0.mlp.experts.2.up_proj.weight\": the "
                                     "value at [3][7] is not finite");
    model_release(&r.model);
    r.model = original;
    quant_run_close(&r);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_originals_perplexity_is_the_cpus_within_half_a_per_mille),
        cmocka_unit_test(test_a_quantized_model_is_as_good_within_a_per_cent),
        cmocka_unit_test(test_hessians_on_the_device_give_the_bytes_of_the_hosts),
        cmocka_unit_test(test_hessians_on_the_device_name_a_weight_that_is_not_finite),
        cmocka_unit_test(test_hessians_that_have_no_factor_are_fetched_for_plain_rounding),
    };
    return cmocka_run_group_tests(tests, make_cpu, free_cpu);
}
