/*
 * The terminal on a pseudo-terminal: a child opens it and behaves as told, the parent types,
 * reads what is sent, and looks at the terminal's modes afterwards. What the child wants to say to
 * the test goes through a pipe of its own: curses sends only what differs from the last frame.
 */
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>
#include <utmp.h>

#include <cmocka.h>

#include "picture.h"
#include "ui/cells/term.h"

enum { SENT_MAX = 1 << 18, PATIENCE_MS = 5000 };

struct session {
    pid_t child;
    int master, slave; /* our own handle on the slave keeps its modes readable */
    int pipe;
    struct termios before;
    char sent[SENT_MAX], said[SENT_MAX]; /* to the terminal, to the test */
    size_t sent_size, said_size;
};

#define QUESTION "\033[5n"
#define ANSWER "\033[0n"

static int report = -1; /* the child's end of the pipe */

typedef int (*session_fn)(void); /* in the child; its exit status */

static void start(struct session *s, const char *term, const char *no_color, session_fn fn)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    *s = (struct session){0};
    int ends[2];
    assert_int_equal(openpty(&s->master, &s->slave, NULL, NULL, &size), 0);
    assert_int_equal(tcgetattr(s->slave, &s->before), 0);
    assert_int_equal(pipe(ends), 0);
    s->pipe = ends[0];
    s->child = fork();
    assert_true(s->child >= 0);
    if (s->child == 0) {
        close(s->master);
        close(ends[0]);
        report = ends[1];
        login_tty(s->slave);
        setenv("TERM", term, 1);
        unsetenv("COLORFGBG");
        unsetenv("NO_COLOR");
        if (no_color)
            setenv("NO_COLOR", no_color, 1);
        setlocale(LC_ALL, "C.UTF-8");
        _exit(fn());
    }
    close(ends[1]);
}

static void drain(int fd, char *text, size_t *size)
{
    ssize_t n = read(fd, text + *size, SENT_MAX - 1 - *size);
    *size += n > 0 ? (size_t)n : 0;
    text[*size] = '\0';
}

/* Takes what has come within a moment; false if there was nothing. */
static bool listen_once(struct session *s)
{
    struct pollfd fd[2] = {{.fd = s->master, .events = POLLIN}, {.fd = s->pipe, .events = POLLIN}};
    poll(fd, 2, 20);
    if (fd[0].revents & POLLIN)
        drain(s->master, s->sent, &s->sent_size);
    if (fd[1].revents & POLLIN)
        drain(s->pipe, s->said, &s->said_size);
    bool heard = (fd[0].revents | fd[1].revents) & POLLIN;
    if (!heard && (fd[1].revents & POLLHUP))
        usleep(20000); /* the child has let go of the pipe: poll() no longer waits */
    return heard;
}

/* Listens until `text` is in `where`; false when patience ends. */
static bool await_in(struct session *s, const char *where, const char *text)
{
    for (int waited = 0; waited < PATIENCE_MS && !strstr(where, text); waited += 20)
        listen_once(s);
    return strstr(where, text) != NULL;
}

/* Until the child has said it. */
static bool await(struct session *s, const char *text)
{
    return await_in(s, s->said, text);
}

static void type(struct session *s, const char *keys)
{
    assert_int_equal(write(s->master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* Waits for the child's end and what it still sent; its wait status. */
static int finish(struct session *s)
{
    int status = -1;
    for (int waited = 0; waitpid(s->child, &status, WNOHANG) == 0; waited += 20) {
        listen_once(s);
        if (waited > 2 * PATIENCE_MS) {
            kill(s->child, SIGKILL);
            waitpid(s->child, &status, 0);
            fail_msg("the child did not end");
        }
    }
    while (listen_once(s))
        continue;
    return status;
}

static void hang_up(struct session *s)
{
    close(s->master);
    close(s->slave);
    close(s->pipe);
}

static void assert_restored(struct session *s)
{
    struct termios now;
    assert_int_equal(tcgetattr(s->slave, &now), 0);
    assert_int_equal(now.c_lflag & (ICANON | ECHO | ISIG),
                     s->before.c_lflag & (ICANON | ECHO | ISIG));
    assert_int_equal(now.c_cc[VINTR], s->before.c_cc[VINTR]);
    const char *leave = strstr(s->sent, "\033[?1049l"), *enter = strstr(s->sent, "\033[?1049h");
    assert_non_null(enter);
    assert_non_null(leave);
    assert_non_null(strstr(s->sent, "\033[?25h") ? s->sent : strstr(s->sent, "\033[?12l"));
    hang_up(s);
}

/* --- what children do --- */

static struct term *open_or_die(struct style_look *look)
{
    struct term *t;
    struct err err = {0};
    if (term_open(&t, look, &err) < 0) {
        dprintf(report, "refused: %s", err.message);
        _exit(9);
    }
    return t;
}

static void show(struct term *t, const struct style_look *look, const char *text)
{
    struct cells c;
    int w, h;
    term_size(t, &w, &h);
    if (cells_init(&c, w, h, NULL) < 0)
        _exit(8);
    cells_textf(&c, 0, 0, -1, STYLE(STYLE_SERIES), "%s", text);
    for (int i = 0; i < 256; i++) /* more pairs of colours than 255 */
        for (int k = 0; k < 2; k++)
            cells_put(&c, i % 80, 2 + i / 80 + 4 * k, "\u2580",
                      (struct style){(uint16_t)(STYLE_INDEX + i),
                                     (uint16_t)(STYLE_INDEX + (k ? 255 - i : i / 2)), 0});
    term_present(t, &c, look);
    cells_release(&c);
    dprintf(report, "%s\n", text);
}

/* Prints the name of every key as it comes; q ends. */
static int child_keys(void)
{
    struct style_look look;
    struct term *t = open_or_die(&look);
    char line[160];
    show(t, &look, "ready");
    for (int i = 0;; i++) {
        struct term_event e = term_read(t, 10000);
        if (e.key == 'q')
            break;
        if (e.key == 'm')
            term_mouse(t, true);
        snprintf(line, sizeof line, "<%d:%x %d%d%+d %d,%d>", i, e.key, e.mouse, e.button, e.wheel,
                 e.x, e.y);
        show(t, &look, line);
        if (e.key == TERM_KEY_QUIT)
            break;
    }
    term_close(t);
    return 0;
}

/* Redraws when it may; shows every key that comes; q ends. */
static int child_screen(void)
{
    struct style_look look;
    struct term *t = open_or_die(&look);
    char line[80] = "ready";
    show(t, &look, line);
    for (int i = 0;; i++) {
        struct term_event e = term_read(t, 10000);
        if (e.key == TERM_KEY_CTRL_L)
            term_redraw(t);
        else if (e.key != TERM_KEY_NONE)
            snprintf(line, sizeof line, "<%d:%x>", i, e.key);
        if (e.key == 'q' || e.key == TERM_KEY_QUIT)
            break;
        if (term_ready(t))
            show(t, &look, line);
        else
            dprintf(report, "waits\n");
    }
    dprintf(report, "leaves\n");
    term_close(t);
    return 0;
}

/* How many bytes wait for whoever reads the terminal next. */
static int left_on(int fd)
{
    struct termios modes;
    char left[64];
    tcgetattr(fd, &modes);
    modes.c_lflag &= (tcflag_t) ~(ICANON | ECHO);
    modes.c_cc[VMIN] = modes.c_cc[VTIME] = 0;
    tcsetattr(fd, TCSANOW, &modes);
    return (int)read(fd, left, sizeof left);
}

/* A shell with job control: it runs the screen in the foreground, and takes the terminal when
 * that has stopped. */
static int child_shell(void)
{
    int status;
    signal(SIGTTOU, SIG_IGN);
    pid_t job = fork();
    if (job == 0) {
        setpgid(0, 0);
        tcsetpgrp(STDIN_FILENO, getpid());
        signal(SIGTTOU, SIG_DFL);
        _exit(child_screen());
    }
    waitpid(job, &status, WUNTRACED);
    tcsetpgrp(STDIN_FILENO, getpid());
    dprintf(report, "%s\n", WIFSTOPPED(status) ? "stopped" : "ended");
    usleep(500000);
    dprintf(report, "left %d\n", left_on(STDIN_FILENO));
    tcsetpgrp(STDIN_FILENO, job);
    kill(-job, SIGCONT);
    waitpid(job, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 7;
}

static int child_abort(void)
{
    struct style_look look;
    struct term *t = open_or_die(&look);
    show(t, &look, "ready");
    abort();
}

static int child_segfault(void)
{
    struct style_look look;
    signal(SIGSEGV, SIG_DFL); /* cmocka's handler would run the rest of the tests here */
    struct term *t = open_or_die(&look);
    show(t, &look, "ready");
    raise(SIGSEGV);
    return 0;
}

static int child_exit(void)
{
    struct style_look look;
    struct term *t = open_or_die(&look);
    show(t, &look, "ready");
    exit(5);
}

static int child_depth(void)
{
    struct style_look look;
    struct term *t = open_or_die(&look);
    struct term *second;
    struct err err = {0};
    int again = term_open(&second, &look, &err);
    char line[80];
    snprintf(line, sizeof line, "depth%d theme%d glyphs%d again%d", look.depth, look.theme,
             look.glyphs, again);
    show(t, &look, line);
    term_close(t);
    return 0;
}

/* --- tests --- */

static void test_keys_arrive_with_their_own_names(void **state)
{
    static const struct {
        const char *typed;
        uint32_t key;
    } keys[] = {{"x", 'x'},
                {"\303\251", 0xe9},
                {"\033OA", TERM_KEY_UP},
                {"\033[B", TERM_KEY_DOWN},
                {"\033[1;2D", TERM_KEY_SHIFT_LEFT},
                {"\033[1;2C", TERM_KEY_SHIFT_RIGHT},
                {"\033[Z", TERM_KEY_BACKTAB},
                {"\033[6~", TERM_KEY_PAGE_DOWN},
                {"\003", TERM_KEY_CTRL_C},
                {"\r", TERM_KEY_ENTER},
                {"\t", TERM_KEY_TAB},
                {"\177", TERM_KEY_BACKSPACE},
                {"\033", TERM_KEY_ESC}};
    static struct session s;
    int i = 0;
    (void)state;
    start(&s, "xterm-256color", NULL, child_keys);
    assert_true(await(&s, "ready"));
    for (; i < (int)(sizeof keys / sizeof *keys); i++) {
        char wanted[32];
        snprintf(wanted, sizeof wanted, "<%d:%x ", i, keys[i].key);
        type(&s, keys[i].typed);
        if (!await(&s, wanted))
            fail_msg("key %d: expected %s in: %s", i, wanted, s.said);
    }
    type(&s, "q");
    assert_int_equal(finish(&s), 0);
    hang_up(&s);
}

static void test_mouse_is_off_until_asked_for_and_reports_drags(void **state)
{
    static struct session s;
    char wanted[64];
    (void)state;
    start(&s, "xterm-256color", NULL, child_keys);
    assert_true(await(&s, "ready"));
    assert_null(strstr(s.sent, "\033[?1000h"));
    assert_null(strstr(s.sent, "\033[?1002h"));
    type(&s, "m");
    assert_true(await(&s, "<0:6d"));
    assert_true(await_in(&s, s.sent, "\033[?1002h"));
    type(&s, "\033[<0;11;6M");
    snprintf(wanted, sizeof wanted, "%x %d1+0 10,5>", TERM_KEY_MOUSE, TERM_MOUSE_PRESS);
    if (!await(&s, wanted))
        fail_msg("no press: %s", s.said);
    type(&s, "\033[<32;15;7M");
    snprintf(wanted, sizeof wanted, "%x %d1+0 14,6>", TERM_KEY_MOUSE, TERM_MOUSE_DRAG);
    if (!await(&s, wanted))
        fail_msg("no drag: %s", s.said);
    type(&s, "\033[<0;15;7m");
    snprintf(wanted, sizeof wanted, "%x %d1+0 14,6>", TERM_KEY_MOUSE, TERM_MOUSE_RELEASE);
    if (!await(&s, wanted))
        fail_msg("no release: %s", s.said);
    type(&s, "\033[<65;20;9M");
    if (!await(&s, "+1 19,8>"))
        fail_msg("no wheel: %s", s.said);
    type(&s, "q");
    assert_int_equal(finish(&s), 0);
    assert_non_null(strstr(s.sent, "\033[?1002l"));
    assert_restored(&s);
}

static void test_resize_is_an_event(void **state)
{
    static struct session s;
    struct winsize size = {.ws_row = 30, .ws_col = 100};
    char wanted[32];
    (void)state;
    start(&s, "xterm-256color", NULL, child_keys);
    assert_true(await(&s, "ready"));
    assert_int_equal(ioctl(s.master, TIOCSWINSZ, &size), 0);
    snprintf(wanted, sizeof wanted, "<0:%x", TERM_KEY_RESIZE);
    if (!await(&s, wanted))
        fail_msg("no resize: %s", s.said);
    type(&s, "q");
    assert_int_equal(finish(&s), 0);
    assert_restored(&s);
}

static void test_terminate_signal_is_an_event_and_restores(void **state)
{
    static struct session s;
    (void)state;
    start(&s, "xterm-256color", NULL, child_keys);
    assert_true(await(&s, "ready"));
    kill(s.child, SIGTERM);
    assert_int_equal(finish(&s), 0);
    assert_restored(&s);
}

static void test_crashes_restore_the_terminal_and_stay_crashes(void **state)
{
    static struct session s;
    (void)state;
    start(&s, "xterm-256color", NULL, child_abort);
    assert_int_equal(WTERMSIG(finish(&s)), SIGABRT);
    assert_restored(&s);
    start(&s, "xterm-256color", NULL, child_segfault);
    assert_int_equal(WTERMSIG(finish(&s)), SIGSEGV);
    assert_restored(&s);
}

static void test_plain_exit_restores_the_terminal(void **state)
{
    static struct session s;
    (void)state;
    start(&s, "xterm-256color", NULL, child_exit);
    assert_int_equal(WEXITSTATUS(finish(&s)), 5);
    assert_restored(&s);
}

static void test_unknown_terminal_is_an_error_and_not_an_exit(void **state)
{
    static struct session s;
    (void)state;
    start(&s, "no-such-terminal", NULL, child_depth);
    int status = finish(&s);
    assert_int_equal(WEXITSTATUS(status), 9);
    assert_non_null(strstr(s.said, "no-such-terminal"));
    hang_up(&s);
}

static void assert_look(const char *term, const char *no_color, const char *wanted)
{
    static struct session s;
    start(&s, term, no_color, child_depth);
    if (!await(&s, wanted))
        fail_msg("%s: expected %s in: %s", term, wanted, s.said);
    assert_int_equal(finish(&s), 0);
    hang_up(&s);
}

static void test_look_follows_the_terminal_and_the_environment(void **state)
{
    char wanted[80];
    (void)state;
    snprintf(wanted, sizeof wanted, "depth%d theme%d glyphs%d again%d", STYLE_DEPTH_256, STYLE_DARK,
             STYLE_BRAILLE, ERR_USAGE);
    assert_look("xterm-256color", NULL, wanted);
    assert_look("xterm-256color", "", wanted); /* empty: as if it were not there */
    snprintf(wanted, sizeof wanted, "depth%d theme%d", STYLE_DEPTH_NONE, STYLE_MONO);
    assert_look("xterm-256color", "1", wanted);
    snprintf(wanted, sizeof wanted, "depth%d theme%d glyphs%d", STYLE_DEPTH_8, STYLE_DARK,
             STYLE_BLOCK);
    assert_look("linux", NULL, wanted);
    snprintf(wanted, sizeof wanted, "depth%d theme%d", STYLE_DEPTH_NONE, STYLE_MONO);
    assert_look("vt100", NULL, wanted);
}

static size_t count(const char *text, const char *part)
{
    size_t n = 0;
    for (const char *p = strstr(text, part); p; p = strstr(p + 1, part))
        n++;
    return n;
}

/* Listens until the terminal has been asked `n` times. */
static void await_question(struct session *s, size_t n)
{
    for (int waited = 0; waited < PATIENCE_MS && count(s->sent, QUESTION) < n; waited += 20)
        listen_once(s);
    assert_int_equal(count(s->sent, QUESTION), n);
}

static void listen_long(struct session *s, int ms)
{
    for (int waited = 0; waited < ms; waited += 20)
        listen_once(s);
}

/* A terminal that has answered before owes an answer, and the screen waits for it. */
static void start_frozen(struct session *s, session_fn fn)
{
    start(s, "xterm-256color", NULL, fn);
    await_question(s, 1);
    type(s, ANSWER);
    assert_true(await(s, "ready\nready"));
    type(s, "x");
    await_question(s, 2);
    listen_long(s, 400);
    type(s, "y");
    if (!await(s, "waits"))
        fail_msg("a frame was sent while an answer was owed: %s", s->said);
}

/* 10 s is when a lost answer is given up; PATIENCE_MS is less. */
static void test_a_stop_that_lost_an_answer_leaves_no_frozen_screen(void **state)
{
    static struct session s;
    (void)state;
    start_frozen(&s, child_screen);
    kill(s.child, SIGSTOP);
    assert_int_equal(waitpid(s.child, NULL, WUNTRACED), s.child);
    size_t from = s.sent_size;
    kill(s.child, SIGCONT);
    if (!await_in(&s, s.sent + from, QUESTION))
        fail_msg("no frame: %s", s.said);
    assert_non_null(strstr(s.sent + from, "\342\226\200")); /* all of it, not what differs */
    type(&s, ANSWER "q");
    assert_int_equal(finish(&s), 0);
    assert_restored(&s);
}

static void test_redraw_waits_for_no_answer(void **state)
{
    static struct session s;
    (void)state;
    start_frozen(&s, child_screen);
    type(&s, "\f");
    await_question(&s, 3);
    type(&s, ANSWER ANSWER "q");
    assert_int_equal(finish(&s), 0);
    assert_restored(&s);
}

static void test_ctrl_z_leaves_no_answer_to_the_shell(void **state)
{
    static struct session s;
    (void)state;
    start_frozen(&s, child_shell);
    type(&s, "\032");
    usleep(60000);
    type(&s, ANSWER);
    assert_true(await(&s, "stopped"));
    if (!await(&s, "left 0\n"))
        fail_msg("the shell has got the answer: %s", s.said);
    await_question(&s, 3);
    type(&s, ANSWER "q");
    assert_int_equal(finish(&s), 0);
    hang_up(&s);
}

static void test_sigterm_leaves_no_answer_to_the_shell(void **state)
{
    static struct session s;
    (void)state;
    start_frozen(&s, child_screen);
    kill(s.child, SIGTERM);
    assert_true(await(&s, "leaves"));
    usleep(60000);
    type(&s, ANSWER);
    assert_int_equal(finish(&s), 0);
    assert_int_equal(left_on(s.slave), 0);
    hang_up(&s);
}

static void test_pipe_is_refused_with_advice(void **state)
{
    struct term *t;
    struct style_look look;
    struct err err = {0};
    int saved = dup(STDOUT_FILENO), null = open("/dev/null", O_WRONLY);
    (void)state;
    fflush(stdout);
    dup2(null, STDOUT_FILENO);
    int rc = term_open(&t, &look, &err);
    dup2(saved, STDOUT_FILENO);
    close(saved);
    close(null);
    assert_int_equal(rc, ERR_USAGE);
    assert_null(t);
    assert_non_null(strstr(err.message, "moqa analyze"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_keys_arrive_with_their_own_names),
        cmocka_unit_test(test_mouse_is_off_until_asked_for_and_reports_drags),
        cmocka_unit_test(test_resize_is_an_event),
        cmocka_unit_test(test_terminate_signal_is_an_event_and_restores),
        cmocka_unit_test(test_crashes_restore_the_terminal_and_stay_crashes),
        cmocka_unit_test(test_plain_exit_restores_the_terminal),
        cmocka_unit_test(test_unknown_terminal_is_an_error_and_not_an_exit),
        cmocka_unit_test(test_look_follows_the_terminal_and_the_environment),
        cmocka_unit_test(test_a_stop_that_lost_an_answer_leaves_no_frozen_screen),
        cmocka_unit_test(test_redraw_waits_for_no_answer),
        cmocka_unit_test(test_ctrl_z_leaves_no_answer_to_the_shell),
        cmocka_unit_test(test_sigterm_leaves_no_answer_to_the_shell),
        cmocka_unit_test(test_pipe_is_refused_with_advice),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
