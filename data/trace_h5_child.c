/*
 * The child process that reads a file, and the parent's watch over it.
 *
 * The child is this very program, started anew under another name, so that it has neither the
 * parent's memory nor its locks, whatever the parent's threads are doing; what it has to do is
 * found in its arguments before main() begins.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifdef MOQA_COVERAGE
#include <gcov.h>
#endif

#include "data/trace_h5_wire.h"

#include "data/base/clock.h"

enum { SHARED_FD = 3, FILES_MAX = 16, SEAL_SECONDS = 2 };

/* The child's arguments. */
enum { ARG_NAME, ARG_READER, ARG_PARENT, ARG_CPU_SECONDS, ARG_WALL_SECONDS, ARG_PATH, ARGS };

static const char child_name[] = "moqa-trace-reader";

/* Address space beyond what the program has mapped already (which may be terabytes, where a
 * device driver reserves them): all arrays, and as much again for the library's own work. */
#define ADDRESS_SPACE_MORE (WIRE_BYTES_MAX + ((uint64_t)1 << 30))

static void set_limit(__rlimit_resource_t resource, uint64_t soft, uint64_t hard)
{
    struct rlimit limit;
    if (getrlimit(resource, &limit) < 0)
        return;
    if (hard < limit.rlim_max)
        limit.rlim_max = hard;
    limit.rlim_cur = soft < limit.rlim_max ? soft : limit.rlim_max;
    setrlimit(resource, &limit);
}

/* A sanitizer's shadow memory takes most of the address space: no limit can be set there. */
static void limit_address_space(void)
{
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
    char text[64];
    int fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ssize_t size = read(fd, text, sizeof text - 1);
    close(fd);
    if (size <= 0)
        return;
    text[size] = '\0';
    uint64_t used = strtoull(text, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
    set_limit(RLIMIT_AS, used + ADDRESS_SPACE_MORE, used + ADDRESS_SPACE_MORE);
#endif
}

/* --- The child --- */

/* Ctrl-C reaches the whole group: the parent decides what it means. All signals were blocked. */
static void set_signals(void)
{
    sigset_t none;
    signal(SIGINT, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

static void set_limits(const struct wire_limits *limits)
{
    set_limit(RLIMIT_NOFILE, FILES_MAX, FILES_MAX);
    set_limit(RLIMIT_CORE, 0, 0);
    set_limit(RLIMIT_CPU, limits->cpu_seconds, limits->cpu_seconds + 1);
    set_limit(RLIMIT_FSIZE, sizeof(struct wire) + WIRE_BYTES_MAX + (1 << 20), RLIM_INFINITY);
    limit_address_space();
    alarm(limits->wall_seconds);
}

static unsigned number_of(const char *text)
{
    return (unsigned)strtoul(text, NULL, 10);
}

bool wire_child_is_one(int argc, char **argv)
{
    return argc == ARGS && strcmp(argv[ARG_NAME], child_name) == 0;
}

void wire_child_run(char **argv, wire_reader reader)
{
    reader(argv[ARG_PATH], SHARED_FD);
#ifdef MOQA_COVERAGE
    __gcov_dump(); /* _exit() would lose what this process covered */
#endif
    _exit(0);
}

/* Runs before main(), in every program that loads traces; glibc passes main()'s arguments. */
__attribute__((constructor)) static void become_child(int argc, char **argv)
{
    if (!wire_child_is_one(argc, argv))
        return;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != (pid_t)strtol(argv[ARG_PARENT], NULL, 10)) /* it died before the line above */
        _exit(1);
    set_signals();
    set_limits(
        &(struct wire_limits){number_of(argv[ARG_CPU_SECONDS]), number_of(argv[ARG_WALL_SECONDS])});
    if (strcmp(argv[ARG_READER], WIRE_READER_H5) == 0)
        wire_child_run(argv, wire_read_h5);
}

/* --- The parent --- */

/* It gets none of the program's files: a dying library writes to stderr, which may be a terminal
 * in full-screen use. Nor its signal handlers, nor the mask of the thread that starts it. */
static int spawn(pid_t *child, int fd, char *const argv[])
{
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t all;
    sigfillset(&all);
    posix_spawn_file_actions_init(&files);
    posix_spawnattr_init(&attributes);
    posix_spawn_file_actions_adddup2(&files, fd, SHARED_FD);
    posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDWR, 0);
    posix_spawn_file_actions_adddup2(&files, 0, 1);
    posix_spawn_file_actions_adddup2(&files, 0, 2);
    posix_spawn_file_actions_addclosefrom_np(&files, SHARED_FD + 1);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setsigmask(&attributes, &all);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK);
    int failed = posix_spawn(child, "/proc/self/exe", &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return failed;
}

static int start(pid_t *child, int fd, const char *reader, const char *path,
                 const struct wire_limits *limits, struct err *err)
{
    char parent[24], cpu[16], wall[16];
    snprintf(parent, sizeof parent, "%ld", (long)getpid());
    snprintf(cpu, sizeof cpu, "%u", limits->cpu_seconds);
    snprintf(wall, sizeof wall, "%u", limits->wall_seconds);
    char *const argv[ARGS + 1] = {
        [ARG_NAME] = (char *)child_name, [ARG_READER] = (char *)reader, [ARG_PARENT] = parent,
        [ARG_CPU_SECONDS] = cpu,         [ARG_WALL_SECONDS] = wall,     [ARG_PATH] = (char *)path,
    };
    errno = spawn(child, fd, argv);
    return errno ? err_set_errno(err, ERR_IO, path, "cannot start a process to read the trace") : 0;
}

/* Bytes that the child has read so far, as the kernel counts them; 0 where it does not tell. */
static uint64_t bytes_read(pid_t child)
{
    char path[64], text[64];
    snprintf(path, sizeof path, "/proc/%ld/io", (long)child);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[size > 0 ? size : 0] = '\0';
    return strncmp(text, "rchar: ", 7) == 0 ? strtoull(text + 7, NULL, 10) : 0;
}

static uint64_t file_size(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void tell(const struct watch *watch, pid_t child, uint64_t size)
{
    uint64_t done = watch && watch->tell ? bytes_read(child) : 0;
    watch_tell(watch, WATCH_READ, done < size ? done : size, size);
}

/*
 * Waits until the child ends; kills it on cancel and when it outlives its own alarm. The flag can
 * only be looked at, so this looks every few milliseconds, seldomer as time goes by.
 */
static int wait_for(pid_t child, int *status, const char *path, const struct wire_limits *limits,
                    const struct watch *watch)
{
    uint64_t size = file_size(path);
    double deadline = clock_seconds() + limits->wall_seconds + 1;
    bool cancelled = false;
    long pause = 200000;
    for (;;) {
        pid_t done = waitpid(child, status, WNOHANG);
        if (done == child)
            return cancelled ? ERR_CANCELLED : 0;
        if (done < 0 && errno != EINTR)
            return ERR_IO;
        cancelled = cancelled || watch_cancelled(watch);
        tell(watch, child, size);
        if (cancelled || clock_seconds() > deadline)
            kill(child, SIGKILL);
        nanosleep(&(struct timespec){.tv_nsec = pause}, NULL);
        pause = pause < 4000000 ? pause * 5 / 4 : pause;
    }
}

/* Says how the child ended, and at what, if not as it should. */
static int check_end(int status, int fd, const char *path, const struct wire_limits *limits,
                     struct err *err)
{
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    char place[WIRE_PLACE_MAX] = "";
    if (pread(fd, place, sizeof place - 1, offsetof(struct wire, place)) <= 0 || !place[0])
        snprintf(place, sizeof place, "the file");
    int number = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    if (number == SIGXCPU || number == SIGALRM || number == SIGKILL)
        return err_set(err, ERR_INPUT, path,
                       "reading %s did not end within %u seconds of CPU time or %u in all; the "
                       "file is damaged or too large",
                       place, limits->cpu_seconds, limits->wall_seconds);
    if (number)
        return err_set(err, ERR_INPUT, path,
                       "the HDF5 library crashed (signal %d) while reading %s; the file is damaged",
                       number, place);
    return err_set(err, ERR_INPUT, path,
                   "the HDF5 library gave up (status %d) while reading %s; the file is damaged",
                   WEXITSTATUS(status), place);
}

/*
 * After this no process can change or shrink the file under the parent's eyes. The memory of a
 * child that has ended may live on for a moment where some tool looks at it (ps, a monitor), and
 * with it the mapping that forbids the seal.
 */
static int seal(int fd, const char *path, struct err *err)
{
    const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL;
    double deadline = clock_seconds() + SEAL_SECONDS;
    int rc = fcntl(fd, F_ADD_SEALS, seals);
    while (rc < 0 && errno == EBUSY && clock_seconds() < deadline) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        rc = fcntl(fd, F_ADD_SEALS, seals);
    }
    if (rc < 0)
        return err_set_errno(err, ERR_IO, path, "cannot seal what the reader handed over");
    return 0;
}

static int open_shared(int *fd, const char *path, struct err *err)
{
    *fd = memfd_create("moqa-trace", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (*fd < 0)
        return err_set_errno(err, ERR_IO, path, "cannot make shared memory to read the trace");
    if (ftruncate(*fd, sizeof(struct wire)) == 0)
        return 0;
    int rc = err_set_errno(err, ERR_IO, path, "cannot size shared memory to read the trace");
    close(*fd);
    return rc;
}

int wire_run(int *fd, const char *reader, const char *path, const struct wire_limits *limits,
             const struct watch *watch, struct err *err)
{
    pid_t child;
    int status = 0;
    int rc = open_shared(fd, path, err);
    if (rc < 0)
        return rc;
    rc = start(&child, *fd, reader, path, limits, err);
    if (rc == 0) {
        rc = wait_for(child, &status, path, limits, watch);
        if (rc == ERR_CANCELLED)
            rc = err_set(err, ERR_CANCELLED, path, "reading was cancelled");
        else if (rc == ERR_IO)
            rc = err_set_errno(err, ERR_IO, path, "lost the process that reads the trace");
    }
    if (rc == 0)
        rc = check_end(status, *fd, path, limits, err);
    if (rc == 0)
        rc = seal(*fd, path, err);
    if (rc < 0)
        close(*fd);
    return rc;
}
