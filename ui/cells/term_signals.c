#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "ui/cells/term_signals.h"

enum {
    CRASH_SIGNALS = 5,
    STOP_SIGNALS = 3,
    RESTORE_MAX = 256,
    PIECES_MS = 20 /* from the first byte of an answer to its last */
};

static const int crash_signal[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const int stop_signal[STOP_SIGNALS] = {SIGTERM, SIGHUP, SIGINT};

struct term_signals term_signals;

static struct sigaction crash_before[CRASH_SIGNALS], stop_before[STOP_SIGNALS];
static struct sigaction resume_before, suspend_before;
static stack_t stack_before;
static volatile sig_atomic_t caught; /* there is something to restore */
static struct termios modes_before;
static char restore_text[RESTORE_MAX];
static size_t restore_size;
static char crash_stack[1 << 16];

/* Only calls that a signal handler may make. */
static void restore_raw(void)
{
    if (!caught)
        return;
    for (size_t done = 0; done < restore_size;) {
        ssize_t n = write(STDOUT_FILENO, restore_text + done, restore_size - done);
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    tcsetattr(STDIN_FILENO, TCSANOW, &modes_before);
}

static void on_crash(int number)
{
    restore_raw();
    for (int i = 0; i < CRASH_SIGNALS; i++)
        if (crash_signal[i] == number)
            sigaction(number, &crash_before[i], NULL);
    raise(number); /* delivered when this handler returns, to whoever had it before */
}

static void on_stop(int number)
{
    if (number == SIGINT)
        term_signals.interrupt = 1;
    else
        term_signals.quit = 1;
    if (number == SIGHUP)
        term_signals.gone = 1;
}

static void on_resume(int number)
{
    (void)number;
    term_signals.resumed = 1;
}

/* Keeps an answer that is still on its way from the shell, then stops as curses would. The kernel's
 * queue is all that it touches: curses may be in the midst of reading. */
static void on_suspend(int number)
{
    int saved = errno;
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    if (term_signals.owed) {
        if (poll(&fd, 1, TERM_HURRY_MS) > 0)
            poll(NULL, 0, PIECES_MS);
        tcflush(STDIN_FILENO, TCIFLUSH);
    }
    suspend_before.sa_handler(number);
    errno = saved;
}

int term_signals_save(struct err *err)
{
    restore_size = 0;
    if (tcgetattr(STDIN_FILENO, &modes_before) < 0)
        return err_set_errno(err, ERR_USAGE, NULL, "cannot read the terminal's modes");
    for (int i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signal[i], NULL, &stop_before[i]);
    return 0;
}

/* Appends a capability without its padding ("$<5>"), which only tputs() would understand. */
void term_signals_add_restore(const char *text)
{
    if (!text || text == (const char *)-1)
        return;
    while (*text && restore_size < RESTORE_MAX) {
        const char *end = strncmp(text, "$<", 2) == 0 ? strchr(text, '>') : NULL;
        if (end)
            text = end + 1;
        else
            restore_text[restore_size++] = *text++;
    }
}

/* Stopping stays with curses, which gives the terminal back meanwhile; where a shell without job
 * control has SIGTSTP ignored, it stays ignored. */
static void catch_job_control(void)
{
    struct sigaction resume = {.sa_handler = on_resume}, suspend;
    sigemptyset(&resume.sa_mask);
    sigaction(SIGCONT, &resume, &resume_before);
    sigaction(SIGTSTP, NULL, &suspend_before);
    if (suspend_before.sa_handler == SIG_IGN || suspend_before.sa_handler == SIG_DFL ||
        (suspend_before.sa_flags & SA_SIGINFO))
        return; /* not curses' own */
    suspend = suspend_before;
    suspend.sa_handler = on_suspend;
    sigaction(SIGTSTP, &suspend, NULL);
}

void term_signals_catch(void)
{
    stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};
    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    struct sigaction stop = {.sa_handler = on_stop};
    sigemptyset(&crash.sa_mask);
    sigemptyset(&stop.sa_mask);
    term_signals = (struct term_signals){0};
    caught = 1;
    sigaltstack(&stack, &stack_before);
    for (int i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signal[i], &crash, &crash_before[i]);
    for (int i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signal[i], &stop, NULL);
    catch_job_control();
}

void term_signals_release(void)
{
    for (int i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signal[i], &crash_before[i], NULL);
    for (int i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signal[i], &stop_before[i], NULL);
    sigaction(SIGCONT, &resume_before, NULL);
    sigaction(SIGTSTP, &suspend_before, NULL);
    sigaltstack(&stack_before, NULL);
    caught = 0;
}
