/* Writing on a disk that takes its time: no key waits for it. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "app_fixture.h"
#include "data/base/str.h"
#include "ui/app/app_state.h"

/* --- The disk: stands before libc's fsync --- */

static pthread_mutex_t disk = PTHREAD_MUTEX_INITIALIZER; /* held: it does not answer */
static bool disk_fails;

int fsync(int fd)
{
    (void)fd;
    pthread_mutex_lock(&disk);
    bool fails = disk_fails;
    pthread_mutex_unlock(&disk);
    return fails ? (int)syscall(SYS_fsync, -1) : 0;
}

static void stop_disk(void)
{
    pthread_mutex_lock(&disk);
}

static void start_disk(bool fails)
{
    disk_fails = fails;
    pthread_mutex_unlock(&disk);
}

/* --- The screen --- */

static void press(struct fixture *f, const char *keys)
{
    for (; *keys; keys++) {
        struct term_event e = {.key = (uint32_t)(unsigned char)*keys};
        assert_true(app_event(f->app, &e));
    }
}

static void test_keys_do_not_wait_for_the_disk(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    stop_disk();
    press(&f, "3w");
    assert_true(app_writing(f.app));
    fixture_assert_shows(&f, "writing ");
    press(&f, "s1");
    fixture_assert_shows(&f, "Zipf");
    press(&f, "3");
    assert_true(app_writing(f.app));
    assert_int_not_equal(access(f.plan_path, F_OK), 0);
    start_disk(false);
    app_write_finish(f.app);
    assert_false(app_writing(f.app));
    assert_int_equal(access(f.plan_path, F_OK), 0);
    fixture_assert_shows(&f, "session saved");
    fixture_close(&f);
}

/* What was changed behind the plan is not saved with it. */
static void test_the_plan_that_was_written_counts_as_saved(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    press(&f, "5p"); /* a pin */
    stop_disk();
    press(&f, "w");
    start_disk(false);
    app_write_finish(f.app);
    fixture_assert_shows(&f, "plan written to");
    assert_false(app_event(f.app, &(struct term_event){.key = 'q'}));
    press(&f, "p");
    stop_disk();
    press(&f, "wp");
    start_disk(false);
    assert_true(app_event(f.app, &(struct term_event){.key = 'q'}));
    fixture_assert_shows(&f, "Quit?"); /* the question before what is lost is left */
    fixture_close(&f);
}

static void test_a_disk_that_fails_is_told_and_nothing_counts_as_saved(void **state)
{
    (void)state;
    struct fixture f;
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    press(&f, "5p");
    stop_disk();
    press(&f, "w");
    start_disk(true);
    app_write_finish(f.app);
    fixture_assert_shows(&f, "not written: ");
    assert_int_not_equal(access(f.plan_path, F_OK), 0);
    assert_true(app_event(f.app, &(struct term_event){.key = 'q'}));
    disk_fails = false;
    fixture_close(&f);
}

static void test_who_leaves_is_told_of_a_file_that_was_not_written(void **state)
{
    (void)state;
    struct fixture f;
    struct term_event quit = {.key = 'q'};
    fixture_open(&f, "tiny-olmoe", TEST_SAMPLE "/tiny-olmoe");
    stop_disk();
    press(&f, "s");
    start_disk(true);
    assert_true(app_event(f.app, &quit));
    fixture_assert_shows(&f, "session not saved: ");
    assert_false(app_event(f.app, &quit));
    disk_fails = false;
    fixture_close(&f);
}

/* --- The writer --- */

static void put(struct file_writer *w, const char *path, const char *text, int kind)
{
    struct str bytes = {0};
    struct err err = {0};
    str_append(&bytes, text);
    if (file_writer_put(w, path, &bytes, kind, text, &err) < 0)
        fail_msg("%s", err.message);
    assert_null(bytes.data);
}

static void assert_file(const char *path, const char *text)
{
    char *found;
    size_t size;
    assert_int_equal(str_read_file(&found, &size, path, 1000, NULL), 0);
    assert_string_equal(found, text);
    free(found);
}

static void test_files_are_written_in_order_and_the_last_ones_before_the_end(void **state)
{
    (void)state;
    char folder[] = "/tmp/moqa-writer-XXXXXX", path[64], text[24];
    struct file_writer *w;
    struct file_written told;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/file", folder);
    assert_int_equal(file_writer_new(&w, NULL), 0);
    assert_false(file_writer_active(w));
    assert_false(file_writer_take(w, &told));
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "text %d", i);
        put(w, i == 7 ? "/proc/none/file" : path, text, i);
    }
    assert_true(file_writer_active(w));
    file_writer_wait(w);
    assert_file(path, "text 19");
    for (int i = 0; i < 20; i++) {
        snprintf(text, sizeof text, "text %d", i);
        assert_true(file_writer_take(w, &told));
        assert_int_equal(told.kind, i);
        assert_string_equal(told.said, text);
        assert_int_equal(told.rc < 0, i == 7);
        assert_int_equal(told.err.message[0] != '\0', i == 7);
        free(told.said);
    }
    assert_false(file_writer_active(w));
    put(w, path, "once more", 0);
    put(w, path, "the last", 0);
    file_writer_free(w);
    assert_file(path, "the last");
    unlink(path);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_do_not_wait_for_the_disk),
        cmocka_unit_test(test_the_plan_that_was_written_counts_as_saved),
        cmocka_unit_test(test_a_disk_that_fails_is_told_and_nothing_counts_as_saved),
        cmocka_unit_test(test_who_leaves_is_told_of_a_file_that_was_not_written),
        cmocka_unit_test(test_files_are_written_in_order_and_the_last_ones_before_the_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
