/*
 * The machine fails at every write, sync, rename, mkdir and removal of a pass in turn: the process
 * dies there, or the call fails, or writes only a part. Whatever happened, resuming ends in the
 * same bytes. One file alone fails while the pass works on it, and the disk has as
 * little space as a test says. These functions stand before those of the C library in this program.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "data/base/log.h"
#include "tests/src/quant_run.h"

enum fault { FAULT_NONE, FAULT_EXIT, FAULT_ERROR, FAULT_SHORT };
enum { EXIT_AT_FAULT = 77 };

static enum fault fault;
static size_t fault_at, operations;
static const char *failing_file; /* part of a path whose file never comes under its name */
static ino_t watched_folder;     /* its syncs are counted; 0: none */
static size_t watched_syncs;
static uint64_t disk_free = (uint64_t)1 << 40;

/* True if this operation is the one that fails. */
static bool strikes(void)
{
    if (fault == FAULT_NONE || operations++ != fault_at)
        return false;
    if (fault == FAULT_EXIT)
        _exit(EXIT_AT_FAULT);
    return true;
}

ssize_t write(int fd, const void *bytes, size_t count)
{
    if (fd > 2 && strikes()) {
        if (fault == FAULT_SHORT && count > 1)
            return syscall(SYS_write, fd, bytes, count / 2);
        errno = ENOSPC;
        return -1;
    }
    return syscall(SYS_write, fd, bytes, count);
}

int fsync(int fd)
{
    struct stat st;
    if (watched_folder && fstat(fd, &st) == 0 && st.st_ino == watched_folder)
        watched_syncs++;
    if (strikes() && fault == FAULT_ERROR) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_fsync, fd);
}

int rename(const char *from, const char *to)
{
    if ((strikes() && fault == FAULT_ERROR) || (failing_file && strstr(to, failing_file))) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_renameat, AT_FDCWD, from, AT_FDCWD, to);
}

int mkdir(const char *path, mode_t mode)
{
    if (strikes() && fault == FAULT_ERROR) {
        errno = ENOSPC;
        return -1;
    }
    return (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
}

int unlink(const char *path)
{
    if (fault == FAULT_EXIT)
        strikes();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int unlinkat(int dir, const char *path, int flags)
{
    if (fault == FAULT_EXIT)
        strikes();
    return (int)syscall(SYS_unlinkat, dir, path, flags);
}

int rmdir(const char *path)
{
    if (fault == FAULT_EXIT)
        strikes();
    return (int)syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR);
}

int statvfs(const char *path, struct statvfs *disk)
{
    struct stat st;
    *disk = (struct statvfs){.f_frsize = 1, .f_bavail = disk_free};
    return stat(path, &st);
}

/* The exit status of a run in a child that has the fault; 0: it came to its end. */
static int run_in_child(struct quant_run *r, enum fault kind, size_t at, char message[256])
{
    int status, pipes[2];
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        struct err err = {0};
        fault = kind;
        fault_at = at;
        int rc = quant_run_try(r, &err);
        fault = FAULT_NONE;
        if (rc < 0 && write(pipes[1], err.message, strlen(err.message)) < 0)
            _exit(9);
        _exit(-rc);
    }
    close(pipes[1]);
    ssize_t got = read(pipes[0], message, 255);
    message[got > 0 ? got : 0] = '\0';
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void check_temporaries(const struct quant_run *r)
{
    char command[256];
    snprintf(command, sizeof command, "test -z \"$(find %s -name '*.tmp-*')\"", r->folder);
    assert_int_equal(system(command), 0);
}

static bool unfinished(const struct quant_run *r)
{
    char config[128], journal[128];
    snprintf(config, sizeof config, "%s/config.json", r->out);
    snprintf(journal, sizeof journal, "%s/.moqa", r->out);
    return access(config, F_OK) < 0 || access(journal, F_OK) == 0;
}

/* Strikes at every `stride`-th operation until a run needs none of them any more. */
static void fail_everywhere(enum fault kind, int expected, size_t stride)
{
    struct quant_run r;
    char whole[HASH_HEX_SIZE], again[HASH_HEX_SIZE], message[256];
    size_t faults = 0;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 1, 1);
    r.options.window = 32;
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    r.options.resume = true;
    for (size_t at = 0;; at += stride) {
        quant_run_remove(r.out);
        int status = run_in_child(&r, kind, at, message);
        if (status == 0 && kind != FAULT_SHORT) {
            quant_run_hash(again, r.out);
            assert_string_equal(whole, again);
            break;
        }
        if (status != expected)
            fail_msg("operation %zu: status %d, %s", at, status, message);
        if (kind != FAULT_EXIT)
            check_temporaries(&r);
        /* After the last removal only the folder's sync is left: nothing to resume. */
        if (unfinished(&r))
            quant_run_pass(&r);
        quant_run_hash(again, r.out);
        if (strcmp(whole, again) != 0)
            fail_msg("operation %zu: resumed to other bytes", at);
        faults++;
        if (kind == FAULT_SHORT && at > 100)
            break;
    }
    print_message("%zu faults\n", faults);
    assert_true(faults >= 20);
    quant_run_close(&r);
}

static void test_name_of_the_output_folder_is_synced(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    struct pass *p = NULL;
    struct stat st;
    quant_run_open(&r, "tiny-qwen2moe", "moqa", 1, 1);
    r.options.window = 32;
    assert_int_equal(stat(r.folder, &st), 0);
    watched_folder = st.st_ino;
    watched_syncs = 0;
    assert_int_equal(pass_new(&p, &r.options, &err), 0);
    assert_true(watched_syncs > 0);
    watched_folder = 0;
    pass_free(p);
    quant_run_close(&r);
}

static void test_death_at_any_operation_resumes_to_the_same_bytes(void **state)
{
    (void)state;
    fail_everywhere(FAULT_EXIT, EXIT_AT_FAULT, 1);
}

static void test_failing_operation_is_an_error_and_leaves_a_run_to_resume(void **state)
{
    (void)state;
    fail_everywhere(FAULT_ERROR, -ERR_IO, 4);
}

static void test_short_write_is_completed(void **state)
{
    (void)state;
    fail_everywhere(FAULT_SHORT, 0, 3);
}

/* --- One file --- */

static struct pass *begin(struct quant_run *r)
{
    struct pass *p = NULL;
    quant_run_open(r, "tiny-qwen2moe", "gptq-3", 1, 1);
    r->options.window = 32;
    r->options.resume = true;
    assert_int_equal(pass_new(&p, &r->options, NULL), 0);
    return p;
}

/* The backend fails in the layer behind one whose shard cannot be written: the new start tells
 * that, and does not take the hidden states of the layer before for damaged. */
static void test_error_of_the_lane_comes_before_hidden_states_are_loaded(void **state)
{
    (void)state;
    struct quant_run r;
    struct err err = {0};
    char whole[HASH_HEX_SIZE], again[HASH_HEX_SIZE];
    struct pass *p = begin(&r);
    assert_int_equal(pass_step(p, NULL), 1);
    failing_file = "model-00002-of";
    assert_int_equal(pass_step(p, NULL), 1);
    pass_detach(p);
    pass_attach(p, r.backend, "anew");
    failing_file = NULL;
    assert_int_equal(pass_step(p, &err), ERR_IO);
    assert_non_null(strstr(err.file, "model-00002-of"));
    pass_free(p);
    quant_run_pass(&r);
    quant_run_hash(again, r.out);
    quant_run_remove(r.out);
    quant_run_pass(&r);
    quant_run_hash(whole, r.out);
    assert_string_equal(whole, again);
    quant_run_close(&r);
}

/* --- Free space --- */

static uint64_t file_bytes(const struct quant_run *r, const char *name)
{
    char path[160];
    struct stat st;
    snprintf(path, sizeof path, "%s/%s", r->out, name);
    assert_int_equal(stat(path, &st), 0);
    return (uint64_t)st.st_size;
}

static int resume(struct quant_run *r, uint64_t available)
{
    struct pass *p = NULL;
    struct err err = {0};
    uint64_t before = disk_free;
    disk_free = available;
    int rc = pass_new(&p, &r->options, &err);
    disk_free = before;
    pass_free(p);
    if (rc < 0)
        assert_non_null(strstr(err.message, "the disk has"));
    return rc;
}

/* What a fresh run needs, found by asking. */
static uint64_t space_needed(struct quant_run *r)
{
    uint64_t low = 0, high = disk_free;
    while (high - low > 1) {
        uint64_t middle = low + (high - low) / 2;
        if (resume(r, middle) == 0)
            high = middle;
        else
            low = middle;
        quant_run_remove(r->out);
    }
    return high;
}

static int dry_run(const struct quant_run *r, uint64_t available)
{
    struct pass_estimate e;
    uint64_t before = disk_free;
    disk_free = available;
    int rc = pass_dry_run(&e, &r->options, NULL);
    disk_free = before;
    return rc;
}

/* A dry run says the same as the run. */
static void check_needs(struct quant_run *r, uint64_t bytes)
{
    assert_int_equal(dry_run(r, bytes - 1), ERR_IO);
    assert_int_equal(dry_run(r, bytes), 0);
    assert_int_equal(resume(r, bytes - 1), ERR_IO);
    assert_int_equal(resume(r, bytes), 0);
}

static void step_twice(struct quant_run *r)
{
    struct pass *p = NULL;
    assert_int_equal(pass_new(&p, &r->options, NULL), 0);
    assert_int_equal(pass_step(p, NULL), 1);
    assert_int_equal(pass_step(p, NULL), 1);
    pass_free(p);
}

static void test_resumed_run_counts_what_it_has_written(void **state)
{
    (void)state;
    struct quant_run r;
    pass_free(begin(&r));
    quant_run_remove(r.out);
    uint64_t fresh = space_needed(&r);
    step_twice(&r);
    uint64_t first = file_bytes(&r, "model-00001-of-00005.safetensors");
    uint64_t second = file_bytes(&r, "model-00002-of-00005.safetensors");
    check_needs(&r, fresh - first - second - file_bytes(&r, ".moqa/hidden-2.bin"));
    quant_run_remove(r.out);
    /* Both layers are done again, each beside its old shard until it is whole. */
    r.options.hidden_always = 1;
    r.options.hidden_share = 1e12;
    step_twice(&r);
    check_needs(&r, fresh - first);
    quant_run_close(&r);
}

static void quiet(void *context, enum log_level level, const char *line)
{
    (void)context;
    (void)level;
    (void)line;
}

int main(void)
{
    log_set_sink(quiet, NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_name_of_the_output_folder_is_synced),
        cmocka_unit_test(test_death_at_any_operation_resumes_to_the_same_bytes),
        cmocka_unit_test(test_failing_operation_is_an_error_and_leaves_a_run_to_resume),
        cmocka_unit_test(test_short_write_is_completed),
        cmocka_unit_test(test_error_of_the_lane_comes_before_hidden_states_are_loaded),
        cmocka_unit_test(test_resumed_run_counts_what_it_has_written),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
