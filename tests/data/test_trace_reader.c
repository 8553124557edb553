/*
 * The parent against everything its reading child may do, and against damaged files.
 * MOQA_MUTATIONS sets how many damaged files are tried.
 */
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "data/base/str.h"
#include "data/trace_h5.h"
#include "data/trace_h5_wire.h"
#include "trace_make.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { MUTATIONS = 200, SANITIZED = 1 };
#else
enum { MUTATIONS = 1000, SANITIZED = 0 };
#endif

static const struct wire_limits generous = {.cpu_seconds = 5, .wall_seconds = 20};
static const struct wire_limits tight = {.cpu_seconds = 1, .wall_seconds = 2};

static char folder[64], good_path[96], bad_path[96];

static int make_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/moqa-reader-XXXXXX");
    if (!mkdtemp(folder))
        return -1;
    snprintf(good_path, sizeof good_path, "%s/good.h5", folder);
    snprintf(bad_path, sizeof bad_path, "%s/bad.h5", folder);
    struct trace t;
    trace_make(&t, 2, 150, 16, 3, true, true, 21);
    int rc = trace_h5_save(&t, good_path, NULL);
    trace_release(&t);
    return rc;
}

static int remove_folder(void **state)
{
    (void)state;
    unlink(good_path);
    unlink(bad_path);
    return rmdir(folder);
}

static size_t mutations(void)
{
    const char *text = getenv("MOQA_MUTATIONS");
    return text ? strtoul(text, NULL, 10) : MUTATIONS;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void expect(const char *reader, const struct wire_limits *limits, int code,
                   const char *message)
{
    struct trace t;
    struct err err = {0};
    assert_int_equal(wire_load(&t, good_path, reader, limits, NULL, &err), code);
    assert_string_equal(err.message, message);
    assert_null(t.routed);
}

/* ---- children that misbehave ---- */

static void place(int fd, const char *text)
{
    ssize_t done = pwrite(fd, text, strlen(text), offsetof(struct wire, place));
    (void)done;
}

static void crashing_reader(const char *path, int fd)
{
    (void)path;
    place(fd, "/routing/experts");
    signal(SIGSEGV, SIG_DFL);
    raise(SIGSEGV);
}

static void leaving_reader(const char *path, int fd)
{
    (void)path, (void)fd;
    _exit(7);
}

static void spinning_reader(const char *path, int fd)
{
    (void)path;
    place(fd, "/tokens/ids");
    for (volatile unsigned i = 0;; i++)
        ;
}

static void sleeping_reader(const char *path, int fd)
{
    (void)path, (void)fd;
    for (;;)
        pause();
}

/* Neither its alarm nor a polite signal ends this one. */
static void stubborn_reader(const char *path, int fd)
{
    sigset_t all;
    sigfillset(&all);
    sigprocmask(SIG_BLOCK, &all, NULL);
    sleeping_reader(path, fd);
}

static void idle_reader(const char *path, int fd)
{
    (void)path, (void)fd;
}

static void shrinking_reader(const char *path, int fd)
{
    wire_read_h5(path, fd);
    if (ftruncate(fd, 100) < 0)
        _exit(1);
}

/* Its own child keeps the memory mapped for writing, to change it under the parent's eyes, for
 * longer than a busy machine could make the parent wait. */
static void haunting_reader(const char *path, int fd)
{
    wire_read_h5(path, fd);
    if (mmap(NULL, sizeof(struct wire), PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED)
        _exit(1);
    if (fork() == 0) {
        sleep(60);
        _exit(0);
    }
}

static void test_trace_reader_crash_is_named(void **state)
{
    (void)state;
    expect("crashing", &generous, ERR_INPUT,
           "the HDF5 library crashed (signal 11) while reading /routing/experts; the file is "
           "damaged");
    expect("leaving", &generous, ERR_INPUT,
           "the HDF5 library gave up (status 7) while reading the file; the file is damaged");
}

static void greedy_reader(const char *path, int fd)
{
    (void)path, (void)fd;
    void *map = mmap(NULL, (size_t)16 << 30, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    _exit(map == MAP_FAILED ? 41 : 42);
}

/* Leaves with the number of files it could have: none of the program's are among them. */
static void collecting_reader(const char *path, int fd)
{
    int files = 0;
    (void)fd;
    while (open(path, O_RDONLY) >= 0)
        files++;
    _exit(files);
}

static void test_trace_reader_has_little_memory_and_few_files(void **state)
{
    (void)state;
    if (!SANITIZED)
        expect("greedy", &generous, ERR_INPUT,
               "the HDF5 library gave up (status 41) while reading the file; the file is damaged");
    int spare = open(good_path, O_RDONLY); /* would take one of the child's */
    expect("collecting", &generous, ERR_INPUT,
           "the HDF5 library gave up (status 12) while reading the file; the file is damaged");
    close(spare);
}

static void test_trace_reader_hang_ends_at_its_limit(void **state)
{
    (void)state;
    double start = now();
    expect("spinning", &(struct wire_limits){1, 30}, ERR_INPUT,
           "reading /tokens/ids did not end within 1 seconds of CPU time or 30 in all; the file is "
           "damaged or too large");
    assert_true(now() - start < 20);
    start = now();
    expect("sleeping", &(struct wire_limits){9, 1}, ERR_INPUT,
           "reading the file did not end within 9 seconds of CPU time or 1 in all; the file is "
           "damaged or too large");
    expect("stubborn", &(struct wire_limits){9, 1}, ERR_INPUT,
           "reading the file did not end within 9 seconds of CPU time or 1 in all; the file is "
           "damaged or too large");
    assert_true(now() - start < 20);
}

static void test_trace_reader_that_hands_over_nothing_is_refused(void **state)
{
    (void)state;
    expect("idle", &generous, ERR_INPUT,
           "the process that reads the file handed over nothing; the file is damaged");
    expect("shrinking", &generous, ERR_INPUT,
           "the process that reads the file handed over nothing; the file is damaged");
}

static void test_trace_reader_memory_that_can_still_change_is_refused(void **state)
{
    (void)state;
    expect("haunting", &generous, ERR_IO,
           "cannot seal what the reader handed over: Device or resource busy");
}

/* ---- cancelling ---- */

static void *raise_flag(void *flag)
{
    usleep(100000);
    atomic_store((atomic_bool *)flag, true);
    return NULL;
}

static void test_trace_reader_stops_when_cancelled(void **state)
{
    (void)state;
    struct trace t;
    struct err err = {0};
    atomic_bool cancel = false;
    pthread_t thread;
    double start = now();
    assert_int_equal(pthread_create(&thread, NULL, raise_flag, &cancel), 0);
    int rc =
        wire_load(&t, good_path, "sleeping", &generous, &(struct watch){.cancel = &cancel}, &err);
    pthread_join(thread, NULL);
    assert_int_equal(rc, ERR_CANCELLED);
    assert_string_equal(err.message, "reading was cancelled");
    assert_true(now() - start < 5);
    assert_int_equal(trace_h5_load(&t, good_path, &cancel, NULL), ERR_CANCELLED);
    assert_null(t.routed);
}

/* ---- many threads ---- */

static void *load_often(void *argument)
{
    struct err *err = argument;
    char name[160];
    snprintf(name, sizeof name, "%s/%p.h5", folder, (void *)name);
    for (int i = 0; i < 25; i++) {
        struct trace t;
        if (trace_h5_load(&t, good_path, NULL, err) < 0)
            return NULL;
        if (trace_h5_save(&t, name, err) == 0 && unlink(name) < 0)
            err_set_errno(err, ERR_IO, name, "cannot remove");
        trace_release(&t);
    }
    return NULL;
}

static void test_trace_reader_works_beside_threads_that_save(void **state)
{
    (void)state;
    struct err err[4] = {0};
    pthread_t thread[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&thread[i], NULL, load_often, &err[i]), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 4; i++)
        assert_string_equal(err[i].message, "");
}

/* ---- damaged files, and a damaged hand-over ---- */

static uint64_t random_state = 0x9e3779b97f4a7c15ULL;

static size_t draw(size_t below)
{
    return (size_t)(trace_make_random(&random_state) >> 20) % below;
}

static void mutate(unsigned char *bytes, size_t size)
{
    static const unsigned char interesting[] = {0, 1, 0x7f, 0x80, 0xfe, 0xff};
    size_t edits = 1 + draw(12);
    for (size_t i = 0; i < edits; i++) {
        size_t at = draw(size);
        switch (draw(4)) {
        case 0:
            bytes[at] ^= (unsigned char)(1u << draw(8));
            break;
        case 1:
            bytes[at] = interesting[draw(sizeof interesting)];
            break;
        case 2:
            bytes[at] = (unsigned char)draw(256);
            break;
        default:
            memset(bytes + at, interesting[draw(sizeof interesting)],
                   1 + draw(size - at < 8 ? size - at : 8));
        }
    }
}

static void check_outcome(struct trace *t, int rc, const struct err *err)
{
    if (rc == 0) {
        assert_int_equal(trace_validate(t, "mutated", NULL), 0);
    } else {
        assert_true(rc == ERR_INPUT || rc == ERR_UNSUPPORTED || rc == ERR_NOMEM);
        assert_true(err->message[0] != '\0');
        assert_null(t->routed);
    }
    trace_release(t);
}

static void write_bytes(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), size);
    close(fd);
}

static void test_trace_reader_survives_damaged_files(void **state)
{
    (void)state;
    char *text;
    size_t size, refused = 0, count = mutations();
    assert_int_equal(str_read_file(&text, &size, good_path, 1 << 24, NULL), 0);
    unsigned char *bytes = malloc(size);
    assert_non_null(bytes);
    for (size_t i = 0; i < count; i++) {
        struct trace t;
        struct err err = {0};
        memcpy(bytes, text, size);
        mutate(bytes, size);
        write_bytes(bad_path, bytes, size);
        int rc = wire_load(&t, bad_path, WIRE_READER_H5, &tight, NULL, &err);
        refused += rc < 0;
        check_outcome(&t, rc, &err);
    }
    assert_true(count < 50 || (refused > count / 20 && refused < count));
    free(bytes);
    free(text);
}

/* Reads well, then damages what it hands over; the number behind its name says how. */
static const char lying_reader_name[] = "lying-";
static void lying_reader(const char *path, int fd)
{
    wire_read_h5(path, fd);
    struct stat st;
    if (fstat(fd, &st) < 0)
        _exit(1);
    size_t size = (size_t)st.st_size;
    unsigned char *map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        _exit(1);
    switch (draw(3)) {
    case 0:
        mutate(map + offsetof(struct wire, layers), 7 * sizeof(uint64_t));
        break;
    case 1:
        mutate(map + offsetof(struct wire, array), WIRE_DATASETS * sizeof(struct wire_array));
        break;
    default:
        mutate(map, size);
    }
}

static void test_trace_reader_survives_a_damaged_hand_over(void **state)
{
    (void)state;
    size_t refused = 0, count = mutations() / 4;
    for (size_t i = 0; i < count; i++) {
        struct trace t;
        struct err err = {0};
        char lying[32];
        snprintf(lying, sizeof lying, "%s%zu", lying_reader_name, i + 1);
        int rc = wire_load(&t, good_path, lying, &generous, NULL, &err);
        refused += rc < 0;
        check_outcome(&t, rc, &err);
    }
    assert_true(count < 50 || (refused > count / 20 && refused < count));
}

static const struct {
    const char *name;
    wire_reader run;
} readers[] = {
    {"crashing", crashing_reader},     {"leaving", leaving_reader},   {"spinning", spinning_reader},
    {"sleeping", sleeping_reader},     {"stubborn", stubborn_reader}, {"idle", idle_reader},
    {"shrinking", shrinking_reader},   {"haunting", haunting_reader}, {"greedy", greedy_reader},
    {"collecting", collecting_reader},
};

/* What this process is when wire_run() has started it. */
static int be_reader(char **argv)
{
    const char *name = argv[1];
    size_t prefix = strlen(lying_reader_name);
    if (strncmp(name, lying_reader_name, prefix) == 0) {
        random_state *= 2 * strtoull(name + prefix, NULL, 10) + 1;
        wire_child_run(argv, lying_reader);
    }
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(name, readers[i].name) == 0)
            wire_child_run(argv, readers[i].run);
    return 99;
}

int main(int argc, char **argv)
{
    if (wire_child_is_one(argc, argv))
        return be_reader(argv);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trace_reader_crash_is_named),
        cmocka_unit_test(test_trace_reader_has_little_memory_and_few_files),
        cmocka_unit_test(test_trace_reader_hang_ends_at_its_limit),
        cmocka_unit_test(test_trace_reader_that_hands_over_nothing_is_refused),
        cmocka_unit_test(test_trace_reader_memory_that_can_still_change_is_refused),
        cmocka_unit_test(test_trace_reader_stops_when_cancelled),
        cmocka_unit_test(test_trace_reader_works_beside_threads_that_save),
        cmocka_unit_test(test_trace_reader_survives_damaged_files),
        cmocka_unit_test(test_trace_reader_survives_a_damaged_hand_over),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
