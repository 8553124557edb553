/* The pass on model types other than those of the trained models: what it writes is read back, in
 * every format, and computes nearly what the original does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "analysis/planner.h"
#include "model_fixture.h"
#include "src/model/forward.h"
#include "src/model/tracer.h"
#include "src/quant/pass.h"
#include "tests/src/quant_run.h"

enum { WINDOWS = 12, WINDOW = 40 };

struct text {
    uint32_t ids[WINDOWS * WINDOW];
    size_t starts[WINDOWS];
};

static void make_text(struct text *t, size_t vocab)
{
    uint32_t x = 2024;
    for (size_t i = 0; i < WINDOWS * WINDOW; i++)
        t->ids[i] = (uint32_t)(((uint64_t)(x = x * 1664525u + 1013904223u) * vocab) >> 32);
    for (size_t w = 0; w < WINDOWS; w++)
        t->starts[w] = w * WINDOW;
}

static void make_plan(struct plan *plan, const struct model *m, struct backend *b,
                      const struct text *t)
{
    struct err err = {0};
    struct trace trace = {0};
    struct analysis *a = NULL;
    struct settings s;
    struct planner_request request = {
        .method = "gptq-8", .model_name = "random", .trace_name = "trace.h5"};
    settings_defaults(&s);
    s.group_size = 8;
    assert_int_equal(tracer_run(&trace, m, b, t->ids, t->starts, WINDOWS, WINDOW, NULL, &err), 0);
    assert_int_equal(analysis_new(&a, &trace, &err), 0);
    assert_int_equal(analysis_update(a, &s, &err), 0);
    assert_int_equal(planner_make(plan, a, &request, m->config, &err), 0);
    analysis_free(a);
    trace_release(&trace);
}

/* Logits of the first window, [WINDOW][vocab]. */
static float *logits_of(const char *dir, struct backend *b, const struct text *t, size_t *count)
{
    struct model m;
    struct forward *f;
    fixture_open(&m, dir);
    *count = WINDOW * m.config->vocab;
    float *logits = malloc(*count * sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(forward_new(&f, &m, b, t->ids, t->starts, 1, WINDOW, NULL), 0);
    for (size_t i = 0; i < m.config->layers; i++) {
        struct model_layer l;
        assert_int_equal(model_layer_load(&l, &m, b, i, NULL), 0);
        assert_int_equal(forward_attention(f, &l, NULL, true, NULL), 0);
        assert_int_equal(forward_mlp(f, &l, NULL, true, NULL), 0);
        model_layer_release(&l, b);
    }
    assert_int_equal(forward_logits(f, 0, WINDOW, logits, NULL), 0);
    forward_free(f);
    model_release(&m);
    return logits;
}

/* Root mean square of the difference over that of the first. */
static double relative(const float *x, const float *y, size_t count)
{
    double size = 0, difference = 0;
    for (size_t i = 0; i < count; i++) {
        size += (double)x[i] * x[i];
        difference += ((double)x[i] - y[i]) * ((double)x[i] - y[i]);
    }
    return sqrt(difference / size);
}

static void check_format(struct pass_options *o, const char *dir, enum pass_format format,
                         const struct text *t)
{
    struct err err = {0};
    struct pass *p = NULL;
    char folder[] = "/tmp/moqa-types-XXXXXX", out[64];
    int rc;
    size_t count;
    assert_non_null(mkdtemp(folder));
    snprintf(out, sizeof out, "%s/out", folder);
    o->out = out;
    o->format = format;
    assert_int_equal(pass_new(&p, o, &err), 0);
    while ((rc = pass_step(p, &err)) > 0)
        ;
    assert_int_equal(rc, 0);
    pass_free(p);
    float *want = logits_of(dir, o->backend, t, &count);
    float *got = logits_of(out, o->backend, t, &count);
    double difference = relative(want, got, count);
    assert_true(difference > 0);
    assert_true(difference < 0.03);
    free(want);
    free(got);
    quant_run_remove(folder);
}

static void test_every_type_is_quantized_in_every_format(void **state)
{
    (void)state;
    for (size_t i = 0; i < FIXTURE_RANDOM; i++) {
        struct model m;
        struct plan plan = {0};
        struct text t;
        struct backend *b = fixture_backend(2);
        fixture_open(&m, fixture_random[i].dir);
        make_text(&t, m.config->vocab);
        make_plan(&plan, &m, b, &t);
        struct pass_options o = {.model = &m,
                                 .plan = &plan,
                                 .plan_path = "plan.json",
                                 .backend = b,
                                 .ids = t.ids,
                                 .starts = t.starts,
                                 .windows = WINDOWS,
                                 .window = WINDOW,
                                 .precision = BACKEND_FP64};
        for (int f = 0; f < PASS_FORMAT_COUNT; f++)
            check_format(&o, fixture_random[i].dir, (enum pass_format)f, &t);
        plan_release(&plan);
        backend_free(b);
        model_release(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_type_is_quantized_in_every_format),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
