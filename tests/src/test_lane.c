/* The lane that writes: one work at a time, in order, errors kept, nothing lost at the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "src/quant/lane.h"

static atomic_int running, most, done;

struct work {
    int number;
    int fails; /* 0, or the code */
};

static int work(void *context, struct err *err)
{
    struct work *w = context;
    int now = atomic_fetch_add(&running, 1) + 1;
    most = now > most ? now : most;
    nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
    int rc = w->fails;
    if (rc)
        err_set(err, (enum err_code)rc, "file", "number %d", w->number);
    else if (w->number == done)
        atomic_fetch_add(&done, 1);
    atomic_fetch_sub(&running, 1);
    free(w);
    return rc;
}

static void submit(struct lane *l, int number, int fails)
{
    struct work *w = malloc(sizeof *w);
    assert_non_null(w);
    *w = (struct work){number, fails};
    lane_submit(l, work, w);
}

static int start(void **state)
{
    running = most = done = 0;
    return lane_new((struct lane **)state, NULL);
}

static void test_works_run_one_by_one_in_order(void **state)
{
    struct lane *l = *state;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(lane_wait(l, NULL), 0);
        submit(l, i, 0);
    }
    assert_int_equal(lane_wait(l, NULL), 0);
    assert_int_equal(done, 20);
    assert_int_equal(most, 1);
    lane_free(l);
}

static void test_the_caller_goes_on_meanwhile(void **state)
{
    struct lane *l = *state;
    submit(l, 0, 0);
    int seen = done; /* the work sleeps first */
    lane_free(l);
    assert_int_equal(seen, 0);
    assert_int_equal(done, 1);
}

static void test_an_error_stays(void **state)
{
    struct lane *l = *state;
    submit(l, 7, ERR_IO);
    assert_int_equal(lane_wait(l, NULL), ERR_IO);
    for (int i = 0; i < 2; i++) {
        struct err err = {0};
        assert_int_equal(lane_wait(l, &err), ERR_IO);
        assert_int_equal(err.code, ERR_IO);
        assert_string_equal(err.message, "number 7");
    }
    lane_free(l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_works_run_one_by_one_in_order, start),
        cmocka_unit_test_setup(test_the_caller_goes_on_meanwhile, start),
        cmocka_unit_test_setup(test_an_error_stays, start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
