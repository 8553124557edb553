/* What long work tells of itself. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

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

static void test_nobody_has_to_listen(void **state)
{
    (void)state;
    progress_start(NULL, 3);
    progress_skip(NULL, 1);
    progress_step(NULL, 1);
    progress_stage(NULL, "%d", 1);
    assert_false(progress_cancelled(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_time_left_follows_from_what_this_run_has_done),
        cmocka_unit_test(test_a_second_start_forgets_the_first),
        cmocka_unit_test(test_nobody_has_to_listen),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
