/*
 * The workbench over a slow line: a terminal that takes so many bytes a second, and answers as
 * terminals do, while a key is pressed ten times a second.
 *
 *     bench_line MOQA TRACE [BYTES_A_SECOND [KEYS]]        960 (9,600 baud), 50
 *
 * One line of JSON: bytes and frames behind the first screen, and for how long the screen still
 * moved after the last key.
 */
#include <poll.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { GAP_MS = 100, QUIET_MS = 1500, PIECE = 48 };

static const char question[] = "\033[5n";

struct line {
    int fd;
    double rate;
    size_t bytes, frames, matched; /* matched: of the question, at the end of what has come */
    double last;                   /* when the last byte or key had come through, in ms */
};

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Takes a piece at the speed of the line; false when the program has ended. */
static int carry(struct line *l, int wait_ms)
{
    char piece[PIECE];
    struct pollfd fd = {.fd = l->fd, .events = POLLIN};
    if (poll(&fd, 1, wait_ms) <= 0)
        return 1;
    ssize_t n = read(l->fd, piece, sizeof piece);
    if (n <= 0)
        return 0;
    struct timespec pause = {.tv_sec = 0, .tv_nsec = (long)((double)n / l->rate * 1e9)};
    nanosleep(&pause, NULL);
    l->bytes += (size_t)n;
    l->last = now_ms();
    for (ssize_t i = 0; i < n; i++) {
        l->matched = piece[i] == question[l->matched] ? l->matched + 1 : piece[i] == question[0];
        if (l->matched < sizeof question - 1)
            continue;
        l->matched = 0;
        l->frames++;
        if (write(l->fd, "\033[0n", 4) < 0)
            return 0;
    }
    return 1;
}

/* Until nothing has come for a while. */
static void settle(struct line *l)
{
    while (now_ms() - l->last < QUIET_MS)
        if (!carry(l, 20))
            exit(EXIT_FAILURE);
}

static void press(struct line *l, const char *key)
{
    if (write(l->fd, key, strlen(key)) < 0)
        exit(EXIT_FAILURE);
    l->last = now_ms();
}

int main(int argc, char **argv)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    struct line l = {.rate = argc > 3 ? atof(argv[3]) : 960};
    int keys = argc > 4 ? atoi(argv[4]) : 50;
    if (argc < 3 || l.rate <= 0) {
        fprintf(stderr, "usage: bench_line MOQA TRACE [BYTES_A_SECOND [KEYS]]\n");
        return EXIT_FAILURE;
    }
    pid_t pid = forkpty(&l.fd, NULL, NULL, &size);
    if (pid == 0) {
        setenv("TERM", "xterm-256color", 1);
        setenv("LC_ALL", "C.UTF-8", 1);
        setenv("XDG_STATE_HOME", "/nonexistent", 1);
        execl(argv[1], argv[1], "open", argv[2], (char *)NULL);
        _exit(127);
    }
    l.last = now_ms() + QUIET_MS; /* it may take its time to start */
    settle(&l);
    press(&l, "3");
    settle(&l);
    size_t first = l.bytes;
    l.frames = 0;
    double next = now_ms(), last_key = next;
    for (int i = 0; i < keys;) {
        if (now_ms() >= next) {
            press(&l, "\033[C");
            last_key = now_ms();
            next += GAP_MS;
            i++;
        }
        if (!carry(&l, 5))
            return EXIT_FAILURE;
    }
    settle(&l);
    double still = l.last - last_key;
    printf("{\"bytes_a_second\": %.0f, \"keys\": %d, \"bytes\": %zu, \"frames\": %zu, "
           "\"behind_s\": %.1f}\n",
           l.rate, keys, l.bytes - first, l.frames, still / 1e3);
    press(&l, "qy");
    while (carry(&l, 100) && now_ms() - l.last < QUIET_MS)
        continue;
    close(l.fd);
    waitpid(pid, NULL, 0);
    return EXIT_SUCCESS;
}
