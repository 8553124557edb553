/* The forward pass against transformers' logits and losses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "model_fixture.h"
#include "src/model/forward.h"

static void run_layers(struct forward *f, const struct model *m, struct backend *b)
{
    for (size_t i = 0; i < m->config->layers; i++) {
        struct model_layer l;
        assert_int_equal(model_layer_load(&l, m, b, i, NULL), 0);
        assert_int_equal(forward_attention(f, &l, NULL, true, NULL), 0);
        assert_int_equal(forward_mlp(f, &l, NULL, true, NULL), 0);
        model_layer_release(&l, b);
    }
}

static double log_sum_exp(const float *x, size_t count)
{
    double sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += exp(x[i]);
    return log(sum);
}

static size_t largest(const float *x, size_t count)
{
    size_t best = 0;
    for (size_t i = 1; i < count; i++)
        best = x[i] > x[best] ? i : best;
    return best;
}

static void check_rows(const float *logits, size_t vocab, const uint32_t *ids, size_t count,
                       const json_t *golden)
{
    for (size_t i = 0; i < count; i++) {
        const float *row = logits + i * vocab;
        size_t best = largest(row, vocab);
        fixture_near(row[best], fixture_real(json_object_get(golden, "max"), i), 1e-4, "max", i);
        assert_int_equal(best,
                         json_integer_value(json_array_get(json_object_get(golden, "argmax"), i)));
        fixture_near(log_sum_exp(row, vocab), fixture_real(json_object_get(golden, "logsumexp"), i),
                     1e-4, "logsumexp", i);
        if (i + 1 < count)
            fixture_near(row[ids[i + 1]], fixture_real(json_object_get(golden, "logit_of_next"), i),
                         1e-4, "logit of next", i);
    }
    for (size_t v = 0; v < vocab; v++)
        fixture_near(logits[(count - 1) * vocab + v],
                     fixture_real(json_object_get(golden, "last_row"), v), 1e-4, "last row", v);
}

static void test_logits_of_trained_models_equal_transformers(void **state)
{
    (void)state;
    for (size_t t = 0; t < 2; t++) {
        struct model m;
        struct forward *f;
        struct backend *b = fixture_backend(2);
        fixture_open(&m, fixture_tiny[t].dir);
        json_t *file = fixture_json(fixture_tiny[t].golden, "model.json");
        const json_t *golden = json_object_get(file, "logits");
        size_t count, start = 0, vocab = m.config->vocab;
        uint32_t *ids = fixture_ids(json_object_get(golden, "ids"), &count);
        float *logits = malloc(count * vocab * sizeof *logits);
        assert_non_null(logits);
        assert_int_equal(forward_new(&f, &m, b, ids, &start, 1, count, NULL), 0);
        run_layers(f, &m, b);
        assert_int_equal(forward_logits(f, 0, count, logits, NULL), 0);
        check_rows(logits, vocab, ids, count, golden);
        forward_free(f);
        backend_free(b);
        model_release(&m);
        json_decref(file);
        free(ids);
        free(logits);
    }
}

struct expected {
    json_t *file;
    uint32_t *ids; /* two windows in reverse order, with a gap before each */
    size_t starts[2];
    size_t window;
};

static void load_expected(struct expected *e, const char *folder)
{
    size_t n[2];
    e->file = fixture_json(folder, "expected.json");
    const json_t *ids = json_object_get(e->file, "ids");
    uint32_t *first = fixture_ids(json_array_get(ids, 0), &n[0]);
    uint32_t *second = fixture_ids(json_array_get(ids, 1), &n[1]);
    assert_int_equal(n[0], n[1]);
    e->window = n[0];
    e->ids = calloc(2 * e->window + 8, sizeof *e->ids);
    assert_non_null(e->ids);
    e->starts[0] = e->window + 8;
    e->starts[1] = 3;
    memcpy(e->ids + e->starts[0], first, n[0] * sizeof *first);
    memcpy(e->ids + e->starts[1], second, n[1] * sizeof *second);
    free(first);
    free(second);
}

static void release_expected(struct expected *e)
{
    json_decref(e->file);
    free(e->ids);
}

static void check_window(struct forward *f, const struct expected *e, size_t w, size_t vocab)
{
    const json_t *rows = json_array_get(json_object_get(e->file, "logits"), w);
    float *logits = malloc(e->window * vocab * sizeof *logits);
    assert_non_null(logits);
    assert_int_equal(forward_logits(f, w, e->window, logits, NULL), 0);
    for (size_t i = 0; i < e->window * vocab; i++)
        fixture_near(logits[i], fixture_real(json_array_get(rows, i / vocab), i % vocab), 1e-4,
                     "logit", i);
    free(logits);
}

/* Grouped queries, biases, clipping, renormalised gates, tied embeddings, dense layers, sliding
 * windows, a shared expert, norms of rows and of heads, float16 and float32 weights. */
static void test_logits_of_unusual_models_equal_transformers(void **state)
{
    (void)state;
    for (size_t t = 0; t < FIXTURE_RANDOM; t++) {
        struct model m;
        struct forward *f;
        struct expected e;
        struct backend *b = fixture_backend(2);
        fixture_open(&m, fixture_random[t].dir);
        load_expected(&e, fixture_random[t].golden);
        assert_int_equal(forward_new(&f, &m, b, e.ids, e.starts, 2, e.window, NULL), 0);
        run_layers(f, &m, b);
        double nll[2 * 64];
        assert_true(e.window <= 64);
        assert_int_equal(forward_nll(f, nll, NULL), 0);
        for (size_t w = 0; w < 2; w++) {
            double sum = 0;
            check_window(f, &e, w, m.config->vocab);
            for (size_t i = 0; i + 1 < e.window; i++)
                sum += nll[w * (e.window - 1) + i];
            fixture_near(sum, fixture_real(json_object_get(e.file, "nll"), w), 1e-5, "nll", w);
        }
        forward_free(f);
        release_expected(&e);
        backend_free(b);
        model_release(&m);
    }
}

/* What a tap saw: rows in order, and the experts of every position. */
struct seen {
    struct backend *b;
    const struct model_config *config;
    size_t calls[7], rows, layer, wrong;
    const json_t *experts; /* [position][choice] of the layer */
};

static int note(struct seen *s, size_t which, const struct tensor *x, size_t n, size_t columns)
{
    float *row = malloc(columns * sizeof *row);
    assert_non_null(row);
    for (size_t i = 0; i < n; i += n - 1) { /* the first and the last row can be read */
        assert_int_equal(s->b->ops->download(s->b, x, i, 1, row, NULL), 0);
        for (size_t k = 0; k < columns; k++)
            assert_true(isfinite(row[k]));
    }
    free(row);
    s->calls[which]++;
    return 0;
}

static int see_in(void *c, const struct tensor *x, size_t n, struct err *err)
{
    (void)err;
    return note(c, 0, x, n, ((struct seen *)c)->config->hidden);
}

static int see_mid(void *c, const struct tensor *x, size_t n, struct err *err)
{
    (void)err;
    const struct model_config *k = ((struct seen *)c)->config;
    return note(c, 1, x, n, k->heads * k->head_dim);
}

static int see_routing(void *c, size_t first, const struct backend_groups *g, struct err *err)
{
    (void)err;
    struct seen *s = c;
    assert_int_equal(first, s->rows);
    s->rows += g->tokens;
    for (size_t i = 0; i < g->tokens; i++)
        for (size_t k = 0; k < g->top_k; k++)
            s->wrong +=
                g->expert[i * g->top_k + k] !=
                json_integer_value(json_array_get(json_array_get(s->experts, first + i), k));
    s->calls[2]++;
    return 0;
}

static int see_expert_in(void *c, const struct tensor *x, const struct backend_groups *g,
                         struct err *err)
{
    (void)err;
    return note(c, 3, x, g->tokens * g->top_k, ((struct seen *)c)->config->hidden);
}

static int see_expert_mid(void *c, const struct tensor *x, const struct backend_groups *g,
                          struct err *err)
{
    (void)err;
    return note(c, 4, x, g->tokens * g->top_k, ((struct seen *)c)->config->expert_size);
}

static int see_shared_in(void *c, const struct tensor *x, size_t n, struct err *err)
{
    (void)err;
    return note(c, 5, x, n, ((struct seen *)c)->config->hidden);
}

static int see_shared_mid(void *c, const struct tensor *x, size_t n, struct err *err)
{
    (void)err;
    return note(c, 6, x, n, ((struct seen *)c)->config->shared_size);
}

static void check_tapped_layer(struct forward *f, const struct model_layer *l, struct seen *s,
                               const struct forward_tap *tap, float *before, float *after,
                               size_t floats)
{
    const struct model_config *c = s->config;
    assert_int_equal(forward_get_hidden(f, before, NULL), 0);
    memset(s->calls, 0, sizeof s->calls);
    s->rows = 0;
    assert_int_equal(forward_attention(f, l, tap, false, NULL), 0);
    assert_int_equal(forward_mlp(f, l, tap, false, NULL), 0);
    assert_int_equal(forward_get_hidden(f, after, NULL), 0);
    assert_memory_equal(before, after, floats * sizeof *before);
    for (size_t i = 0; i < 7; i++)
        assert_int_equal(s->calls[i], i < 2 ? 1 : !l->is_moe ? 0 : i < 5 || c->shared_size ? 1 : 0);
    s->rows = 0;
    s->wrong = 0; /* without the attention applied the router saw something else */
    assert_int_equal(forward_attention(f, l, tap, true, NULL), 0);
    assert_int_equal(forward_mlp(f, l, tap, true, NULL), 0);
    assert_int_equal(forward_get_hidden(f, after, NULL), 0);
    assert_memory_not_equal(before, after, floats * sizeof *before);
    assert_int_equal(s->wrong, 0);
}

static void test_taps_are_fed_without_applying_and_see_the_right_experts(void **state)
{
    (void)state;
    for (size_t t = 0; t < FIXTURE_RANDOM; t++) {
        struct model m;
        struct forward *f;
        struct expected e;
        struct backend *b = fixture_backend(2);
        fixture_open(&m, fixture_random[t].dir);
        load_expected(&e, fixture_random[t].golden);
        struct seen s = {.b = b, .config = m.config};
        const struct forward_tap tap = {
            &s,   see_in,         see_mid,       see_routing, see_expert_in,
            NULL, see_expert_mid, see_shared_in, NULL,        see_shared_mid};
        size_t floats = 2 * e.window * m.config->hidden, moe = 0;
        float *before = malloc(floats * sizeof *before), *after = malloc(floats * sizeof *after);
        assert_int_equal(forward_new(&f, &m, b, e.ids, e.starts, 2, e.window, NULL), 0);
        for (size_t i = 0; i < m.config->layers; i++) {
            struct model_layer l;
            assert_int_equal(model_layer_load(&l, &m, b, i, NULL), 0);
            if (l.is_moe)
                s.experts = json_array_get(json_object_get(e.file, "experts"), moe++);
            check_tapped_layer(f, &l, &s, &tap, before, after, floats);
            model_layer_release(&l, b);
        }
        assert_int_equal(moe, json_array_size(json_object_get(e.file, "experts")));
        forward_free(f);
        free(before);
        free(after);
        release_expected(&e);
        backend_free(b);
        model_release(&m);
    }
}

/* Hidden states after all layers of many windows, in several chunks. */
static float *hidden_with(const struct model *m, size_t threads, const uint32_t *ids,
                          const size_t *starts, size_t windows, size_t window, size_t from)
{
    struct forward *f;
    struct backend *b = fixture_backend(threads);
    float *hidden = malloc((windows - from) * window * m->config->hidden * sizeof *hidden);
    assert_non_null(hidden);
    assert_int_equal(forward_new(&f, m, b, ids, starts + from, windows - from, window, NULL), 0);
    run_layers(f, m, b);
    assert_int_equal(forward_get_hidden(f, hidden, NULL), 0);
    forward_free(f);
    backend_free(b);
    return hidden;
}

enum { WINDOW = 100, WINDOWS = 90 }; /* 40 windows a chunk: three chunks, the last shorter */

static void random_windows(uint32_t *ids, size_t *starts, size_t vocab)
{
    uint32_t x = 12345;
    for (size_t i = 0; i < WINDOW * WINDOWS; i++)
        ids[i] = (uint32_t)(((uint64_t)(x = x * 1664525u + 1013904223u) * vocab) >> 32);
    for (size_t w = 0; w < WINDOWS; w++)
        starts[w] = w * WINDOW;
}

static void test_threads_do_not_change_a_bit(void **state)
{
    (void)state;
    static uint32_t ids[WINDOW * WINDOWS];
    static size_t starts[WINDOWS];
    for (size_t t = 0; t < 2; t++) {
        struct model m;
        fixture_open(&m, fixture_tiny[t].dir);
        random_windows(ids, starts, m.config->vocab);
        float *one = hidden_with(&m, 1, ids, starts, WINDOWS, WINDOW, 0);
        for (size_t threads = 2; threads <= 3; threads++) {
            float *more = hidden_with(&m, threads, ids, starts, WINDOWS, WINDOW, 0);
            assert_memory_equal(one, more, WINDOW * WINDOWS * m.config->hidden * sizeof *one);
            free(more);
        }
        free(one);
        model_release(&m);
    }
}

static void test_windows_do_not_see_each_other(void **state)
{
    (void)state;
    static uint32_t ids[WINDOW * WINDOWS];
    static size_t starts[WINDOWS];
    struct model m;
    fixture_open(&m, fixture_tiny[0].dir);
    random_windows(ids, starts, m.config->vocab);
    size_t last = (WINDOWS - 1) * WINDOW * m.config->hidden;
    float *all = hidden_with(&m, 2, ids, starts, WINDOWS, WINDOW, 0);
    float *alone = hidden_with(&m, 2, ids, starts, WINDOWS, WINDOW, WINDOWS - 1);
    for (size_t i = 0; i < WINDOW * m.config->hidden; i++)
        fixture_near(alone[i], all[last + i], 1e-4, "hidden", i);
    free(all);
    free(alone);
    model_release(&m);
}

static void test_hidden_states_can_be_put_back(void **state)
{
    (void)state;
    static uint32_t ids[WINDOW * WINDOWS];
    static size_t starts[WINDOWS];
    struct model m;
    struct backend *b = fixture_backend(2);
    fixture_open(&m, fixture_tiny[1].dir);
    random_windows(ids, starts, m.config->vocab);
    size_t floats = WINDOW * WINDOWS * m.config->hidden;
    float *start = malloc(floats * sizeof *start), *end = malloc(floats * sizeof *end);
    float *again = malloc(floats * sizeof *again);
    for (size_t pass = 0; pass < 2; pass++) {
        struct forward *f;
        const size_t zeros[WINDOWS] = {0};
        assert_int_equal(forward_new(&f, &m, b, ids, pass ? zeros : starts, WINDOWS, WINDOW, NULL),
                         0);
        if (pass)
            assert_int_equal(forward_set_hidden(f, start, NULL), 0);
        else
            assert_int_equal(forward_get_hidden(f, start, NULL), 0);
        run_layers(f, &m, b);
        assert_int_equal(forward_get_hidden(f, pass ? again : end, NULL), 0);
        forward_free(f);
    }
    assert_memory_equal(end, again, floats * sizeof *end);
    free(start);
    free(end);
    free(again);
    backend_free(b);
    model_release(&m);
}

static void test_cancel_stops_between_chunks(void **state)
{
    (void)state;
    static uint32_t ids[WINDOW * WINDOWS];
    static size_t starts[WINDOWS];
    struct model m;
    struct forward *f;
    struct model_layer l;
    struct err err = {0};
    atomic_bool cancel = false;
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_tiny[1].dir);
    random_windows(ids, starts, m.config->vocab);
    assert_int_equal(forward_new(&f, &m, b, ids, starts, WINDOWS, WINDOW, NULL), 0);
    assert_int_equal(model_layer_load(&l, &m, b, 0, NULL), 0);
    forward_set_cancel(f, &cancel);
    assert_int_equal(forward_attention(f, &l, NULL, true, NULL), 0);
    atomic_store(&cancel, true);
    assert_int_equal(forward_attention(f, &l, NULL, true, NULL), ERR_CANCELLED);
    assert_int_equal(forward_mlp(f, &l, NULL, true, &err), ERR_CANCELLED);
    assert_int_equal(err.code, ERR_CANCELLED);
    model_layer_release(&l, b);
    forward_free(f);
    backend_free(b);
    model_release(&m);
}

static void test_impossible_requests_are_refused(void **state)
{
    (void)state;
    struct model m;
    struct forward *f = NULL;
    struct backend *b = fixture_backend(1);
    fixture_open(&m, fixture_tiny[0].dir);
    const uint32_t ids[4] = {1, 2, 2048, 3};
    const size_t starts[1] = {0};
    float out[8];
    assert_int_equal(forward_new(&f, &m, b, ids, starts, 0, 4, NULL), ERR_USAGE);
    assert_int_equal(forward_new(&f, &m, b, ids, starts, 1, 4, NULL), ERR_USAGE);
    assert_null(f);
    assert_int_equal(forward_new(&f, &m, b, ids, starts, 1, 2, NULL), 0);
    assert_int_equal(forward_logits(f, 1, 1, out, NULL), ERR_USAGE);
    assert_int_equal(forward_logits(f, 0, 3, out, NULL), ERR_USAGE);
    forward_free(f);
    backend_free(b);
    model_release(&m);
}

/* A pattern for names as an argument: only those tests. */
int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_logits_of_trained_models_equal_transformers),
        cmocka_unit_test(test_logits_of_unusual_models_equal_transformers),
        cmocka_unit_test(test_taps_are_fed_without_applying_and_see_the_right_experts),
        cmocka_unit_test(test_threads_do_not_change_a_bit),
        cmocka_unit_test(test_windows_do_not_see_each_other),
        cmocka_unit_test(test_hidden_states_can_be_put_back),
        cmocka_unit_test(test_cancel_stops_between_chunks),
        cmocka_unit_test(test_impossible_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
