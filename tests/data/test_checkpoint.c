#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "data/checkpoint.h"

static struct checkpoint *open_good(const char *dir)
{
    struct checkpoint *c = NULL;
    struct err err = {0};
    if (checkpoint_open(&c, dir, &err) < 0)
        fail_msg("%s: %s", err.file, err.message);
    return c;
}

/* Values of both bundled models as numpy reads them (BF16 widened to float32). */
static void test_checkpoint_reads_the_bundled_models(void **state)
{
    (void)state;
    struct checkpoint *c = open_good(TEST_SAMPLE "/model");
    assert_string_equal(checkpoint_name(c), "model");
    assert_int_equal(checkpoint_count(c), 633);
    assert_int_equal(checkpoint_config(c)->experts, 32);
    assert_int_equal(checkpoint_quantization(c), CHECKPOINT_PLAIN);
    for (size_t i = 1; i < checkpoint_count(c); i++)
        assert_true(strcmp(checkpoint_at(c, i - 1)->name, checkpoint_at(c, i)->name) < 0);
    checkpoint_free(c);
    c = open_good(TEST_GOLDEN "/tiny-qwen2moe/model");
    assert_int_equal(checkpoint_count(c), 347);
    checkpoint_free(c);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_checkpoint_reads_the_bundled_models),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
