/* What the workbench asks and must not wait for: answers from a thread, the newest question first.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "src/workbench/ask.h"

static void nap(void)
{
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
}

/* Answers with the plan's method once it is let go; "bad" is an error. */
struct gate {
    atomic_int entered;
    atomic_bool open;
};

static int answer(void *context, const struct plan *plan, struct str *text, struct err *err)
{
    struct gate *g = context;
    atomic_fetch_add(&g->entered, 1);
    while (!atomic_load(&g->open))
        nap();
    if (strcmp(plan->method, "bad") == 0)
        return err_set(err, ERR_INPUT, "model", "nothing there");
    str_append(text, plan->method);
    return 0;
}

static void put(struct ask *a, const char *method)
{
    struct plan p = {0};
    const char *text;
    snprintf(p.method, sizeof p.method, "%s", method);
    assert_int_equal(ask_put(a, &p, &text), APP_ASK_WORKING);
}

static enum app_ask wait_for(struct ask *a, const char **text)
{
    enum app_ask phase;
    while ((phase = ask_put(a, NULL, text)) == APP_ASK_WORKING)
        nap();
    return phase;
}

static void test_the_newest_question_is_the_one_that_is_answered(void **state)
{
    struct gate g = {0};
    struct ask *a;
    const char *text;
    (void)state;
    assert_int_equal(ask_new(&a, answer, &g, NULL), 0);
    put(a, "first");
    while (!atomic_load(&g.entered))
        nap();
    put(a, "second");
    put(a, "third");
    assert_int_equal(ask_put(a, NULL, &text), APP_ASK_WORKING);
    atomic_store(&g.open, true);
    assert_int_equal(wait_for(a, &text), APP_ASK_READY);
    assert_string_equal(text, "third");
    assert_int_equal(atomic_load(&g.entered), 2);
    ask_free(a);
}

static void test_an_error_is_an_answer_and_another_question_may_follow(void **state)
{
    struct gate g = {.open = true};
    struct ask *a;
    const char *text;
    (void)state;
    assert_int_equal(ask_new(&a, answer, &g, NULL), 0);
    put(a, "bad");
    assert_int_equal(wait_for(a, &text), APP_ASK_FAILED);
    assert_string_equal(text, "model: nothing there");
    put(a, "good");
    assert_int_equal(wait_for(a, &text), APP_ASK_READY);
    assert_string_equal(text, "good");
    put(a, "left unanswered");
    ask_free(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_newest_question_is_the_one_that_is_answered),
        cmocka_unit_test(test_an_error_is_an_answer_and_another_question_may_follow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
