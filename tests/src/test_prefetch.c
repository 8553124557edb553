/* Weights read ahead: all of a layer, nothing else, and given up at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "src/model/model.h"
#include "src/model/prefetch.h"

static uint64_t layer_bytes(const struct checkpoint *c, const char *prefix)
{
    uint64_t bytes = 0;
    for (size_t i = 0; i < checkpoint_count(c); i++)
        if (strncmp(checkpoint_at(c, i)->name, prefix, strlen(prefix)) == 0)
            bytes += checkpoint_at(c, i)->bytes;
    return bytes;
}

static void test_exactly_the_layer_is_read(void **state)
{
    (void)state;
    struct model m = {0};
    assert_int_equal(model_open(&m, TEST_SAMPLE "/tiny-olmoe", NULL), 0);
    struct prefetch *p = prefetch_new(m.checkpoint);
    assert_non_null(p);
    assert_int_equal(prefetch_bytes(p), 0);
    prefetch_layer(p, 1);
    prefetch_wait(p);
    uint64_t one = layer_bytes(m.checkpoint, "model.layers.1.");
    assert_true(one > 0 && prefetch_bytes(p) == one);
    prefetch_layer(p, 99); /* there is none */
    prefetch_wait(p);
    assert_true(prefetch_bytes(p) == one);
    prefetch_free(p);
    model_release(&m);
}

static void test_a_layer_that_is_not_wanted_any_more_is_given_up(void **state)
{
    (void)state;
    struct model m = {0};
    assert_int_equal(model_open(&m, TEST_SAMPLE "/tiny-olmoe", NULL), 0);
    uint64_t least = layer_bytes(m.checkpoint, "model.layers.5.");
    for (size_t i = 0; i < 50; i++) {
        struct prefetch *p = prefetch_new(m.checkpoint);
        for (size_t layer = 0; layer < 6; layer++)
            prefetch_layer(p, layer);
        if (i % 2) { /* the last one is read to its end */
            prefetch_wait(p);
            assert_true(prefetch_bytes(p) >= least);
        }
        prefetch_free(p);
    }
    prefetch_layer(NULL, 0);
    prefetch_wait(NULL);
    prefetch_free(NULL);
    model_release(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exactly_the_layer_is_read),
        cmocka_unit_test(test_a_layer_that_is_not_wanted_any_more_is_given_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
