/* Which channels get more bits, against the golden scores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "src/quant/channels.h"
#include "tests/src/quant_golden.h"

static void test_error_score_and_choice_are_the_golden_ones(void **state)
{
    (void)state;
    size_t count, seen = 0;
    struct golden_case *cases = golden_load(&count);
    for (size_t i = 0; i < count; i++) {
        const struct golden_case *c = &cases[i];
        if (!c->score)
            continue;
        seen++;
        struct err err = {0};
        struct grid_rule rule = {.group_size = c->group_size};
        double *diagonal = malloc(c->columns * sizeof *diagonal);
        double *score = malloc(c->columns * sizeof *score);
        assert_non_null(diagonal);
        assert_non_null(score);
        for (size_t j = 0; j < c->columns; j++)
            diagonal[j] = c->hessian[j * c->columns + j];
        struct channels_input in = {.score = SCORE_ERROR,
                                    .rule = &rule,
                                    .bits = c->bits,
                                    .channel_bits = c->channel_bits,
                                    .weights = c->weight,
                                    .rows = c->rows,
                                    .columns = c->columns,
                                    .diagonal = diagonal};
        assert_int_equal(channels_score(score, &in, &err), 0);
        for (size_t j = 0; j < c->columns; j++)
            assert_true(fabs(score[j] - c->score[j]) < 1e-12);
        uint32_t index[64];
        assert_int_equal(channels_pick(index, c->channels, score, c->columns, &err), 0);
        assert_memory_equal(index, c->channel, c->channels * sizeof *index);
        in.score = SCORE_HESSIAN;
        assert_int_equal(channels_score(score, &in, &err), 0);
        assert_memory_equal(score, diagonal, c->columns * sizeof *score);
        free(diagonal);
        free(score);
    }
    assert_int_equal(seen, 1);
    golden_free(cases, count);
}

static void test_equal_scores_go_to_the_smaller_channel(void **state)
{
    (void)state;
    const double score[] = {2.0, 5.0, 5.0, (double)NAN, 5.0, 1.0};
    uint32_t index[6];
    assert_int_equal(channels_pick(index, 2, score, 6, NULL), 0);
    assert_int_equal(index[0], 1);
    assert_int_equal(index[1], 2);
    assert_int_equal(channels_pick(index, 5, score, 6, NULL), 0);
    const uint32_t five[] = {0, 1, 2, 4, 5};
    assert_memory_equal(index, five, sizeof five);
}

static void test_more_channels_than_inputs_are_refused(void **state)
{
    (void)state;
    const double score[] = {1.0, 2.0};
    uint32_t index[3];
    struct err err = {0};
    assert_int_equal(channels_pick(index, 3, score, 2, &err), ERR_USAGE);
    assert_string_equal(err.message, "3 channels of 2 inputs");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_error_score_and_choice_are_the_golden_ones),
        cmocka_unit_test(test_equal_scores_go_to_the_smaller_channel),
        cmocka_unit_test(test_more_channels_than_inputs_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
