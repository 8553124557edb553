/*
 * The program on a real terminal's terms: `moqa open` on a pseudo-terminal under several kinds of
 * TERM. It starts, follows a resize, leaves by q, Ctrl-C, SIGTERM and on a bad file, and gives
 * the terminal back as it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
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

enum { SENT_MAX = 1 << 20, PATIENCE_MS = 20000 };

struct program {
    pid_t pid;
    int master, slave;
    struct termios before;
    char sent[SENT_MAX];
    size_t size;
};

static struct program program;
static char state_dir[] = "/tmp/moqa-terminal-XXXXXX";

static void start(struct program *p, const char *term, const char *locale, const char *file)
{
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    char path[1024];
    *p = (struct program){0};
    snprintf(path, sizeof path, "%s/%s", TEST_SAMPLE, file);
    assert_non_null(getenv("MOQA"));
    assert_int_equal(openpty(&p->master, &p->slave, NULL, NULL, &size), 0);
    assert_int_equal(tcgetattr(p->slave, &p->before), 0);
    p->pid = fork();
    assert_true(p->pid >= 0);
    if (p->pid == 0) {
        close(p->master);
        login_tty(p->slave);
        setenv("TERM", term, 1);
        setenv("LC_ALL", locale, 1);
        setenv("XDG_STATE_HOME", state_dir, 1);
        unsetenv("NO_COLOR");
        unsetenv("COLORFGBG");
        execl(getenv("MOQA"), "moqa", "open", path, (char *)NULL);
        _exit(127);
    }
}

static void listen_for(struct program *p, int ms)
{
    struct pollfd fd = {.fd = p->master, .events = POLLIN};
    if (poll(&fd, 1, ms) <= 0 || !(fd.revents & POLLIN) || p->size + 1 >= SENT_MAX)
        return;
    ssize_t n = read(p->master, p->sent + p->size, SENT_MAX - 1 - p->size);
    p->size += n > 0 ? (size_t)n : 0;
    p->sent[p->size] = '\0';
}

/* Waits until `text` was sent after `from`. */
static void await(struct program *p, size_t from, const char *text)
{
    for (int waited = 0; waited < PATIENCE_MS; waited += 10) {
        if (memmem(p->sent + from, p->size - from, text, strlen(text)))
            return;
        listen_for(p, 10);
    }
    fail_msg("\"%s\" was not sent within %d s; sent: %s", text, PATIENCE_MS / 1000, p->sent + from);
}

static void type(struct program *p, const char *keys)
{
    assert_int_equal(write(p->master, keys, strlen(keys)), (ssize_t)strlen(keys));
}

/* The exit status, with the terminal as it was before. */
static int end(struct program *p)
{
    int status = -1;
    struct termios now;
    for (int waited = 0; waitpid(p->pid, &status, WNOHANG) == 0; waited += 10) {
        listen_for(p, 10);
        if (waited > PATIENCE_MS) {
            kill(p->pid, SIGKILL);
            waitpid(p->pid, &status, 0);
            fail_msg("the program did not end");
        }
    }
    for (int i = 0; i < 3; i++)
        listen_for(p, 10);
    assert_int_equal(tcgetattr(p->slave, &now), 0);
    assert_int_equal(now.c_lflag, p->before.c_lflag);
    assert_int_equal(now.c_iflag, p->before.c_iflag);
    assert_int_equal(now.c_oflag, p->before.c_oflag);
    assert_memory_equal(now.c_cc, p->before.c_cc, sizeof now.c_cc);
    close(p->master);
    close(p->slave);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int make_state(void **state)
{
    (void)state;
    strcpy(state_dir + sizeof state_dir - 7, "XXXXXX");
    return mkdtemp(state_dir) ? 0 : -1;
}

/* With the session that a signal saves. */
static int remove_state(void **state)
{
    char path[256];
    (void)state;
    snprintf(path, sizeof path, "%s/moqa", state_dir);
    DIR *d = opendir(path);
    for (struct dirent *e = d ? readdir(d) : NULL; e; e = readdir(d))
        unlinkat(dirfd(d), e->d_name, 0);
    if (d)
        closedir(d);
    rmdir(path);
    return rmdir(state_dir);
}

static bool has_terminfo(const char *term)
{
    static const char *const folders[] = {"/lib/terminfo", "/usr/share/terminfo", "/etc/terminfo"};
    for (size_t i = 0; i < sizeof folders / sizeof *folders; i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%c/%s", folders[i], term[0], term);
        if (access(path, R_OK) == 0)
            return true;
    }
    return false;
}

static const char *const terms[] = {"xterm-256color", "screen", "screen-256color",
                                    "linux",          "vt100",  "tmux",
                                    "tmux-256color",  "xterm",  "xterm-mono"};

static void test_every_kind_of_terminal_shows_follows_and_is_given_back(void **state)
{
    size_t tried = 0;
    (void)state;
    for (size_t i = 0; i < sizeof terms / sizeof *terms; i++) {
        if (!has_terminfo(terms[i]))
            continue;
        tried++;
        start(&program, terms[i], "C.UTF-8", "trace.h5");
        await(&program, 0, "Significance");
        await(&program, 0, "layer 0"); /* in the title: the trace is there */
        size_t from = program.size;
        type(&program, "3");
        await(&program, from, "min_count");
        from = program.size;
        struct winsize size = {.ws_row = 40, .ws_col = 120};
        assert_int_equal(ioctl(program.master, TIOCSWINSZ, &size), 0);
        await(&program, from, "expert"); /* the list of experts, which 24 rows have no room for */
        type(&program, "q");
        assert_int_equal(end(&program), 0);
    }
    assert_true(tried >= 4);
}

/* True if "CSI ... m" names a colour: 30 to 49, 90 to 107. */
static bool sets_colours(const char *sent)
{
    for (const char *p = strstr(sent, "\033["); p; p = strstr(p, "\033[")) {
        p += 2;
        size_t size = strspn(p, "0123456789;");
        for (const char *q = p; p[size] == 'm' && q < p + size;) {
            char *end;
            long number = strtol(q, &end, 10);
            if ((number >= 30 && number <= 49) || (number >= 90 && number <= 107))
                return true;
            q = end + 1;
        }
    }
    return false;
}

static void test_a_terminal_without_colours_gets_none(void **state)
{
    (void)state;
    static const char *const without[] = {"vt100", "xterm-mono"};
    for (size_t i = 0; i < 2; i++) {
        if (!has_terminfo(without[i]))
            continue;
        start(&program, without[i], "C.UTF-8", "trace.h5");
        await(&program, 0, "layer 0");
        type(&program, "3");
        await(&program, 0, "min_count");
        type(&program, "q");
        assert_int_equal(end(&program), 0);
        assert_false(sets_colours(program.sent));
    }
}

static void test_a_locale_without_utf8_gets_ascii(void **state)
{
    (void)state;
    start(&program, "xterm-256color", "C", "trace.h5");
    await(&program, 0, "layer 0");
    type(&program, "3");
    await(&program, 0, "min_count");
    type(&program, "q");
    assert_int_equal(end(&program), 0);
    for (size_t i = 0; i < program.size; i++)
        assert_true((unsigned char)program.sent[i] < 0x7f);
}

static void test_sigterm_and_sighup_give_the_terminal_back(void **state)
{
    static const int signals[] = {SIGTERM, SIGHUP};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start(&program, "xterm-256color", "C.UTF-8", "trace.h5");
        await(&program, 0, "layer 0");
        kill(program.pid, signals[i]);
        assert_int_equal(end(&program), 0);
        assert_non_null(strstr(program.sent, "\033[?1049l"));
    }
}

static void test_who_leaves_while_it_loads_leaves_at_once(void **state)
{
    static const char *const keys[] = {"q", "\003"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        start(&program, "xterm-256color", "C.UTF-8", "trace.h5");
        await(&program, 0, "\033[?1049h"); /* the screen is on, and takes keys from here */
        await(&program, 0, "Results");
        type(&program, keys[i]);
        if (keys[i][0] ==
            '\003') /* it may have loaded by now, and then there is nothing to cancel */
            type(&program, "q");
        assert_int_equal(end(&program), 0);
    }
}

static void test_a_bad_file_is_told_on_the_terminal_as_it_was(void **state)
{
    (void)state;
    start(&program, "xterm-256color", "C.UTF-8", "text/evaluation/letters-1.txt");
    await(&program, 0, "not an HDF5 file, expected a trace in HDF5");
    assert_int_equal(end(&program), 3);
    const char *left = strstr(program.sent, "\033[?1049l");
    assert_non_null(left);
    assert_non_null(strstr(left, "moqa: "));
}

/* 300 keys in one piece: they share frames instead of each sending its own. */
static void test_keys_that_come_together_share_a_frame(void **state)
{
    char keys[301];
    (void)state;
    start(&program, "xterm-256color", "C.UTF-8", "trace.h5");
    await(&program, 0, "layer 0");
    type(&program, "3");
    await(&program, 0, "min_count");
    for (int i = 0; i < 10; i++)
        listen_for(&program, 20);
    size_t from = program.size;
    for (size_t i = 0; i < 300; i++)
        keys[i] = "][LH"[i % 4];
    keys[300] = '\0';
    type(&program, keys);
    type(&program, "y");
    await(&program, from, "copied");
    size_t sent = program.size - from;
    type(&program, " q"); /* the first closes the command */
    assert_int_equal(end(&program), 0);
    if (sent > 40000)
        fail_msg("300 keys sent %zu bytes", sent);
}

/* What is typed while a frame is on its way shows in the next one, and none is sent before. */
static void test_frames_wait_for_a_slow_terminal(void **state)
{
    static const char answer[] = "\033[0n", question[] = "\033[5n";
    (void)state;
    start(&program, "xterm-256color", "C.UTF-8", "trace.h5");
    await(&program, 0, "layer 0");
    await(&program, 0, question);
    type(&program, answer);
    size_t from = program.size;
    type(&program, "3");
    await(&program, from, question);
    for (int i = 0; i < 30; i++)
        listen_for(&program, 20);
    from = program.size;
    for (int i = 0; i < 20; i++) {
        type(&program, "]");
        listen_for(&program, 20);
    }
    assert_int_equal(program.size, from);
    type(&program, answer);
    await(&program, from, "last");
    await(&program, from, question);
    type(&program, answer);
    type(&program, "q");
    assert_int_equal(end(&program), 0);
}

static void test_an_answer_in_pieces_is_no_key(void **state)
{
    (void)state;
    start(&program, "xterm-256color", "C.UTF-8", "trace.h5");
    await(&program, 0, "layer 0");
    type(&program, "?");
    await(&program, 0, "search");
    type(&program, "\033");
    for (int i = 0; i < 5; i++)
        listen_for(&program, 20);
    type(&program, "[0n");
    size_t from = program.size;
    type(&program, "zipf");
    await(&program, from, "zipf"); /* still in the search of the help, which Esc would have left */
    type(&program, "\003q");
    assert_int_equal(end(&program), 0);
}

#define WITH_STATE(name) cmocka_unit_test_setup_teardown(name, make_state, remove_state)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH_STATE(test_every_kind_of_terminal_shows_follows_and_is_given_back),
        WITH_STATE(test_a_terminal_without_colours_gets_none),
        WITH_STATE(test_a_locale_without_utf8_gets_ascii),
        WITH_STATE(test_sigterm_and_sighup_give_the_terminal_back),
        WITH_STATE(test_who_leaves_while_it_loads_leaves_at_once),
        WITH_STATE(test_a_bad_file_is_told_on_the_terminal_as_it_was),
        WITH_STATE(test_keys_that_come_together_share_a_frame),
        WITH_STATE(test_frames_wait_for_a_slow_terminal),
        WITH_STATE(test_an_answer_in_pieces_is_no_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
