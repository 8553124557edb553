/* What long work tells of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "src/progress.h"

static void test_time_left_follows_from_what_this_run_has_done(void **state)
{
    (void)state;
    struct progress p;
    struct progress_state s;
    progress_init(&p);
    progress_start(&p, 100);
    progress_skip(&p, 60); /* of an earlier run */
    progress_get(&p, &s);
    assert_int_equal(s.done, 60);
    assert_true(s.seconds_left < 0); /* nothing is known of this one */
    p.started -= 10;                 /* ten seconds ago */
    progress_step(&p, 20);
    progress_get(&p, &s);
    assert_int_equal(s.done, 80);
    assert_true(fabs(s.seconds_left - 10) < 0.5); /* 20 steps took 10 s, 20 are left */
    progress_release(&p);
}

static void test_a_second_start_forgets_the_first(void **state)
{
    (void)state;
    struct progress p;
    struct progress_state s;
    progress_init(&p);
    progress_start(&p, 10);
    progress_skip(&p, 9);
    progress_start(&p, 4);
    p.started -= 3;
    progress_step(&p, 1);
    progress_get(&p, &s);
    assert_true(fabs(s.seconds_left - 9) < 0.5);
    progress_release(&p);
}

static void test_parts_are_one_work_to_those_who_listen(void **state)
{
    (void)state;
    struct progress p;
    struct progress_state s;
    progress_init(&p);
    progress_parts(&p, 4);
    progress_part(&p, 0, "gptq-%d", 3);
    progress_start(&p, 10); /* the work's own steps */
    progress_stage(&p, "layer 1 of 5");
    progress_step(&p, 5);
    progress_get(&p, &s);
    assert_int_equal(s.total, 4 * PROGRESS_PART_STEPS);
    assert_int_equal(s.done, PROGRESS_PART_STEPS / 2);
    assert_string_equal(s.stage, "gptq-3: layer 1 of 5");
    p.parts_started -= 7;
    progress_part(&p, 2, "rtn-3");
    progress_start(&p, 2);
    progress_step(&p, 1);
    progress_get(&p, &s);
    assert_int_equal(s.done, 5 * PROGRESS_PART_STEPS / 2);
    assert_string_equal(s.stage, "rtn-3");
    assert_true(fabs(s.seconds - 7) < 0.5); /* no part begins the clock anew */
    assert_true(fabs(s.seconds_left - 7.0 * 3 / 5) < 0.5);
    progress_parts(&p, 0);
    progress_start(&p, 2);
    progress_step(&p, 1);
    progress_get(&p, &s);
    assert_int_equal(s.total, 2);
    progress_release(&p);
}

static void test_time_left_of_parts_can_be_known_better(void **state)
{
    (void)state;
    struct progress p;
    struct progress_state s;
    progress_init(&p);
    progress_parts(&p, 4);
    progress_part(&p, 0, "gptq-3");
    progress_expect(&p, 40, 300);
    progress_start(&p, 10);
    progress_step(&p, 5);
    progress_get(&p, &s);
    assert_true(fabs(s.seconds_left - 320) < 1e-9);
    progress_part(&p, 1, "letters");
    progress_get(&p, &s);
    assert_true(s.seconds_left < 1); /* as they are counted: hardly any time has passed */
    progress_expect(&p, 5, -1);
    progress_get(&p, &s);
    assert_true(s.seconds_left < 1);
    progress_release(&p);
}

static void keep_note(void *context, const char *text)
{
    snprintf(context, 32, "%s", text);
}

static void test_a_note_goes_to_those_who_listen(void **state)
{
    (void)state;
    struct progress p;
    char found[32] = "";
    progress_init(&p);
    progress_note(&p, "nobody hears it");
    p.noted = keep_note;
    p.context = found;
    progress_note(&p, "3 of 8 runs");
    assert_string_equal(found, "3 of 8 runs");
    progress_release(&p);
}

static void test_nobody_has_to_listen(void **state)
{
    (void)state;
    progress_start(NULL, 3);
    progress_skip(NULL, 1);
    progress_step(NULL, 1);
    progress_stage(NULL, "%d", 1);
    progress_parts(NULL, 1);
    progress_part(NULL, 0, "%d", 1);
    progress_expect(NULL, 1, 1);
    progress_note(NULL, "1");
    assert_false(progress_cancelled(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_left_follows_from_what_this_run_has_done),
        cmocka_unit_test(test_a_second_start_forgets_the_first),
        cmocka_unit_test(test_parts_are_one_work_to_those_who_listen),
        cmocka_unit_test(test_time_left_of_parts_can_be_known_better),
        cmocka_unit_test(test_a_note_goes_to_those_who_listen),
        cmocka_unit_test(test_nobody_has_to_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
