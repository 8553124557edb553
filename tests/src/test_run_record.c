/* Records of passes: what is written comes back, what is damaged is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "src/runs/run_record.h"

enum { LAYERS = 3, EXPERTS = 5 };

static char state_folder[] = "/tmp/moqa-test-XXXXXX";

static int make_state(void **state)
{
    (void)state;
    return mkdtemp(state_folder) && setenv("XDG_STATE_HOME", state_folder, 1) == 0 ? 0 : -1;
}

static int remove_state(void **state)
{
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", state_folder);
    return system(command);
}

static char *place_of(const char *out)
{
    char *place;
    assert_int_equal(run_record_place(&place, out, NULL), 0);
    return place;
}

static void fill(struct run_record *r, const char *out)
{
    static char first[] = "quantize", second[] = "plan \"1\".json", third[] = "--calib",
                fourth[] = "\xc3\xa9t\xc3\xa9.txt", folder[] = "/home/some one";
    static char *arguments[] = {first, second, third, fourth};
    *r = (struct run_record){
        .arguments = arguments, .arguments_count = 4, .folder = folder, .started = 1795000000};
    struct app_run *run = &r->run;
    snprintf(run->out, sizeof run->out, "%s", out);
    memset(r->config_sha256, 'c', HASH_HEX_SIZE - 1);
    memset(r->trace_sha256, 't', HASH_HEX_SIZE - 1);
    run->phase = APP_RUN_CANCELLING;
    snprintf(run->stage, sizeof run->stage, "layer 2 of 3: rounding");
    snprintf(run->message, sizeof run->message, "no \"space\"\n left");
    run->steps_done = 17;
    run->steps_total = 132;
    run->seconds = 12.25;
    run->seconds_left = -1;
    run->pass_seconds = 11.5;
    run->evaluating = true;
    run->memory = (uint64_t)7 << 33;
    run->layers = LAYERS;
    run->experts = EXPERTS;
    run->layer = 1;
    run->layers_done = 1;
    run->fallbacks = 2;
    run->log_count = 2;
    snprintf(run->log[0], APP_LOG_WIDTH, "first");
    snprintf(run->log[1], APP_LOG_WIDTH, "second");
    run->expert = calloc(LAYERS * EXPERTS, sizeof *run->expert);
    assert_non_null(run->expert);
    for (size_t i = 0; i < LAYERS * EXPERTS; i++)
        run->expert[i] = (struct app_run_expert){.done = i < 7,
                                                 .bits = i % 2 ? 4 : 2,
                                                 .tokens = i * i * 1000,
                                                 .loss = 0.125 * (double)i,
                                                 .loss_rtn = 3.5 * (double)i,
                                                 .fallback = i == 3,
                                                 .mixed = i % 3 == 1,
                                                 .damping = 0.01 * (double)(1 << i % 4)};
}

static void test_a_record_comes_back_as_it_was(void **state)
{
    (void)state;
    struct run_record r, back;
    char *place = place_of("/some/where");
    fill(&r, "/some/where");
    assert_int_equal(run_record_save(&r, place, NULL), 0);
    assert_int_equal(run_record_load(&back, place, NULL), 0);
    for (size_t i = 0; i < LAYERS * EXPERTS; i++) {
        const struct app_run_expert *x = &r.run.expert[i], *y = &back.run.expert[i];
        assert_true(x->done == y->done && x->bits == y->bits && x->tokens == y->tokens &&
                    x->loss == y->loss && x->loss_rtn == y->loss_rtn &&
                    x->fallback == y->fallback && x->mixed == y->mixed && x->damping == y->damping);
    }
    free(back.run.expert);
    free(r.run.expert);
    back.run.expert = r.run.expert = NULL;
    assert_memory_equal(back.run.log[0], "first", 6);
    assert_memory_equal(back.run.log[1], "second", 7);
    assert_string_equal(back.run.out, "/some/where");
    assert_string_equal(back.run.stage, r.run.stage);
    assert_string_equal(back.run.message, r.run.message);
    assert_string_equal(back.config_sha256, r.config_sha256);
    assert_string_equal(back.trace_sha256, r.trace_sha256);
    assert_string_equal(back.folder, r.folder);
    assert_int_equal(back.run.phase, r.run.phase);
    assert_int_equal(back.run.steps_done, 17);
    assert_int_equal(back.run.steps_total, 132);
    assert_true(back.run.seconds == 12.25 && back.run.seconds_left == -1);
    assert_true(back.run.pass_seconds == 11.5);
    assert_true(back.run.evaluating);
    assert_true(back.run.memory == (uint64_t)7 << 33 && back.started == 1795000000);
    assert_int_equal(back.run.layers_done, 1);
    assert_int_equal(back.run.fallbacks, 2);
    assert_int_equal(back.arguments_count, 4);
    for (size_t i = 0; i < 4; i++)
        assert_string_equal(back.arguments[i], r.arguments[i]);
    run_record_release(&back);
    free(place);
}

/* Folders of older systems, and texts that were cut within a character. */
static void test_names_that_are_not_utf8_are_kept(void **state)
{
    (void)state;
    struct run_record r, back;
    char *place = place_of("/caf\xe9"), folder[] = "/h\xf6me", argument[] = "t\xe9xt.txt";
    char *arguments[] = {argument, argument};
    fill(&r, "/caf\xe9");
    r.folder = folder;
    r.arguments = arguments;
    r.arguments_count = 2;
    snprintf(r.run.message, sizeof r.run.message, "cut within \xe2\x86");
    snprintf(r.run.stage, sizeof r.run.stage, "\xe2");
    snprintf(r.run.log[1], sizeof r.run.log[1], "wrote caf\xe9");
    assert_int_equal(run_record_save(&r, place, NULL), 0);
    assert_int_equal(run_record_load(&back, place, NULL), 0);
    assert_string_equal(back.run.out, "/caf\xe9");
    assert_string_equal(back.folder, folder);
    assert_int_equal(back.arguments_count, 2);
    assert_string_equal(back.arguments[1], argument);
    assert_string_equal(back.run.message, r.run.message);
    assert_string_equal(back.run.stage, r.run.stage);
    assert_string_equal(back.run.log[1], r.run.log[1]);
    free(r.run.expert);
    free(place);
    run_record_release(&back);
}

static void test_losses_that_are_not_finite_are_still_a_record(void **state)
{
    (void)state;
    struct run_record r, back;
    char *place = place_of("/nan");
    fill(&r, "/nan");
    r.run.expert[4].loss = NAN;
    r.run.expert[5].loss_rtn = INFINITY;
    assert_int_equal(run_record_save(&r, place, NULL), 0);
    assert_int_equal(run_record_load(&back, place, NULL), 0);
    assert_true(back.run.expert[4].loss == 0 && back.run.expert[5].loss_rtn == 0);
    run_record_release(&back);
    free(r.run.expert);
    free(place);
}

static void write_record(const char *place, const char *text)
{
    char path[512];
    snprintf(path, sizeof path, "%s.json", place);
    FILE *f = fopen(path, "we");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

/* One field of a good record at a time is replaced. */
static void test_damaged_records_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *from, *to, *message;
    } cases[] = {
        {"\"schema\":\"moqa.run\"", "\"schema\":\"moqa.plan\"", "moqa.plan"},
        {"\"phase\":\"cancelling\"", "\"phase\":\"sleeping\"", "sleeping"},
        {"\"layers\":3", "\"layers\":4", "4 layers of 5"},
        {"\"layers\":3", "\"layers\":-3", "layers"},
        {"\"layers\":3", "\"layers\":99999999", "layers"},
        {"\"bits\":[2,", "\"bits\":[", "bits"},
        {"\"bits\":[2,", "\"bits\":[\"2\",", "bits[0]"},
        {"\"seconds\":12.25", "\"seconds\":\"12\"", "seconds"},
        {"\"pass_seconds\":11.5", "\"pass_seconds\":\"11\"", "pass_seconds"},
        {"\"evaluating\":true", "\"evaluating\":1", "evaluating"},
        {"\"log\":[", "\"log\":7,\"x\":[", "log"},
        {"\"out\":\"/bad\"", "\"other\":\"/bad\"", "out"},
        {"{", "[", "JSON"},
    };
    struct run_record r, back;
    char *place = place_of("/bad"), path[512], text[8192] = "", bad[9000];
    fill(&r, "/bad");
    assert_int_equal(run_record_save(&r, place, NULL), 0);
    snprintf(path, sizeof path, "%s.json", place);
    FILE *f = fopen(path, "re");
    assert_non_null(f);
    assert_true(fread(text, 1, sizeof text - 1, f) > 100);
    fclose(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct err err = {0};
        const char *at = strstr(text, cases[i].from);
        assert_non_null(at);
        snprintf(bad, sizeof bad, "%.*s%s%s", (int)(at - text), text, cases[i].to,
                 at + strlen(cases[i].from));
        write_record(place, bad);
        assert_int_equal(run_record_load(&back, place, &err), ERR_INPUT);
        if (!strstr(err.message, cases[i].message) && strcmp(cases[i].message, "JSON") != 0)
            fail_msg("%s: %s", cases[i].to, err.message);
        assert_null(back.run.expert);
    }
    for (size_t cut = 0; cut < strlen(text); cut += 13) {
        snprintf(bad, sizeof bad, "%.*s", (int)cut, text);
        write_record(place, bad);
        assert_true(run_record_load(&back, place, NULL) < 0);
    }
    free(r.run.expert);
    free(place);
}

/* Says that it runs, then that it is done, and ends. */
static void run_shortly(const char *place, int ready)
{
    struct run_record r = {.run.phase = APP_RUN_RUNNING};
    int fd;
    bool well = run_record_lock(&fd, place, NULL) == 0 && run_record_save(&r, place, NULL) == 0 &&
                write(ready, "y", 1) == 1;
    r.run.phase = APP_RUN_DONE;
    well = well && run_record_save(&r, place, NULL) == 0;
    close(fd); /* as at its end, but at once: who looks now must not see the two apart */
    _exit(well ? 0 : 1);
}

static void test_a_run_that_ends_while_it_is_looked_at_was_not_cut(void **state)
{
    (void)state;
    char *place = place_of("/short"), byte;
    int ready[2], status;
    assert_int_equal(pipe(ready), 0);
    for (int i = 0; i < 200; i++) {
        struct run_record r;
        pid_t owner, child = fork();
        if (child == 0)
            run_shortly(place, ready[1]);
        assert_int_equal(read(ready[0], &byte, 1), 1);
        for (bool active = true; active; run_record_release(&r)) {
            assert_int_equal(run_record_look(&r, &owner, place, NULL), 0);
            active = run_record_is_active(&r);
            assert_true(!active || owner == child);
        }
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_int_equal(status, 0);
    }
    close(ready[0]);
    close(ready[1]);
    free(place);
}

/* The record says that it runs; its process is `expected`. */
static void expect_running(const char *place, pid_t expected)
{
    struct run_record r = {.run.phase = APP_RUN_RUNNING};
    pid_t owner;
    assert_int_equal(run_record_save(&r, place, NULL), 0);
    assert_int_equal(run_record_look(&r, &owner, place, NULL), 0);
    assert_true(run_record_is_active(&r));
    assert_int_equal(owner, expected);
    run_record_release(&r);
}

static void test_a_lock_tells_whose_process_lives(void **state)
{
    (void)state;
    char *place = place_of("/locked"), byte;
    int ready[2], done[2], fd;
    assert_int_equal(run_record_owner(place), 0);
    assert_int_equal(pipe(ready) | pipe(done), 0);
    pid_t child = fork();
    if (child == 0) {
        bool locked = run_record_lock(&fd, place, NULL) == 0;
        if (write(ready[1], locked ? "y" : "n", 1) != 1 || read(done[0], &byte, 1) != 1)
            _exit(1);
        _exit(0);
    }
    assert_int_equal(read(ready[0], &byte, 1), 1);
    assert_int_equal(byte, 'y');
    assert_int_equal(run_record_owner(place), child);
    assert_int_equal(run_record_lock(&fd, place, NULL), ERR_LOCKED);
    expect_running(place, child);
    assert_int_equal(write(done[1], "x", 1), 1);
    waitpid(child, NULL, 0);
    assert_int_equal(run_record_owner(place), 0);
    expect_running(place, 0); /* it was cut */
    assert_int_equal(run_record_lock(&fd, place, NULL), 0);
    close(fd);
    free(place);
    for (int i = 0; i < 2; i++) {
        close(ready[i]);
        close(done[i]);
    }
}

static void test_folders_become_absolute(void **state)
{
    (void)state;
    char out[4096], here[2048], expected[4096];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(run_record_absolute(out, sizeof out, "/a/b//", NULL), 0);
    assert_string_equal(out, "/a/b");
    assert_int_equal(run_record_absolute(out, sizeof out, "./c d/", NULL), 0);
    snprintf(expected, sizeof expected, "%s/c d", here);
    assert_string_equal(out, expected);
    assert_int_equal(run_record_absolute(out, 8, "/longer/than/that", NULL), ERR_USAGE);
}

static void test_the_list_has_records_alone(void **state)
{
    (void)state;
    char **places, *place = place_of("/listed"), other[512];
    size_t count, found = 0;
    write_record(place, "{}");
    snprintf(other, sizeof other, "%s.json.new", place);
    fclose(fopen(other, "we"));
    assert_int_equal(run_record_list(&places, &count, NULL), 0);
    for (size_t i = 0; i < count; i++) {
        found += strcmp(places[i], place) == 0;
        assert_true(i == 0 || strcmp(places[i - 1], places[i]) < 0);
    }
    for (size_t i = 0; i < count; i++)
        free(places[i]);
    assert_int_equal(found, 1);
    free(places);
    free(place);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_record_comes_back_as_it_was),
        cmocka_unit_test(test_names_that_are_not_utf8_are_kept),
        cmocka_unit_test(test_losses_that_are_not_finite_are_still_a_record),
        cmocka_unit_test(test_damaged_records_are_refused),
        cmocka_unit_test(test_a_lock_tells_whose_process_lives),
        cmocka_unit_test(test_a_run_that_ends_while_it_is_looked_at_was_not_cut),
        cmocka_unit_test(test_folders_become_absolute),
        cmocka_unit_test(test_the_list_has_records_alone),
    };
    return cmocka_run_group_tests(tests, make_state, remove_state);
}
