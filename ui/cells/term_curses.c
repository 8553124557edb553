#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <errno.h>
#include <langinfo.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#include "ui/cells/term.h"

#include "data/base/clock.h"

enum { CRASH_SIGNALS = 5, STOP_SIGNALS = 3, RESTORE_MAX = 256, NAP_MS = 200 };

/* After a frame the terminal is asked for its status (DSR); the answer says that the frame has
 * arrived. */
enum {
    KEY_ANSWER = KEY_MAX + 1,
    FREE_MS = 250,         /* long ways are no slow lines: so long frames follow each other */
    LOST_MS = 10000,       /* an answer that has not come by then is not waited for */
    CLOSE_MS = 5000,       /* and must not be left to the shell when the program ends */
    CLOSE_UNKNOWN_MS = 50, /* the same for a terminal that has never answered */
    ESC_MS = 25,
    ESC_ASKED_MS = 250 /* the bytes of an answer may come one by one, and are not an Esc */
};

static const int crash_signal[CRASH_SIGNALS] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
static const int stop_signal[STOP_SIGNALS] = {SIGTERM, SIGHUP, SIGINT};

struct term {
    SCREEN *screen;
    bool utf8, mouse;
    int button;       /* held down, for drags */
    bool can_ask;     /* it understands ANSI's sequences */
    bool asked;       /* and owes an answer */
    bool answered;    /* it has answered before */
    bool slow;        /* its last answer took longer than FREE_MS */
    int64_t asked_at; /* ms */
    uint64_t shown;   /* hash of the last frame; 0: none, or it must be sent again */
    enum style_depth depth;
    struct sigaction crash_before[CRASH_SIGNALS], stop_before[STOP_SIGNALS];
    stack_t stack_before;
};

/* One terminal a process: what a signal handler must reach is static. */
static struct term *open_term;
static volatile sig_atomic_t quit_wanted, interrupt_wanted, modes_saved;
static struct termios modes_before;
static char restore_text[RESTORE_MAX];
static size_t restore_size;
static char crash_stack[1 << 16];

static void send_raw(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

/* --- restoring --- */

/* Only calls that a signal handler may make. */
static void restore_raw(void)
{
    if (!modes_saved)
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
        if (crash_signal[i] == number && open_term)
            sigaction(number, &open_term->crash_before[i], NULL);
    raise(number); /* delivered when this handler returns, to whoever had it before */
}

static void on_stop(int number)
{
    if (number == SIGINT)
        interrupt_wanted = 1;
    else
        quit_wanted = 1;
}

/* Appends a capability without its padding ("$<5>"), which only tputs() would understand. */
static void add_restore(const char *text)
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

static const char *capability(const char *name)
{
    char buffer[16];
    snprintf(buffer, sizeof buffer, "%s", name);
    return tigetstr(buffer);
}

static void prepare_restore(void)
{
    restore_size = 0;
    add_restore("\033[?1002l\033[?1006l\033[?1000l");
    add_restore(capability("sgr0"));
    add_restore(capability("rmkx"));
    add_restore(capability("cnorm"));
    add_restore(capability("rmcup"));
    modes_saved = 1;
}

static void catch_signals(struct term *t)
{
    stack_t stack = {.ss_sp = crash_stack, .ss_size = sizeof crash_stack};
    struct sigaction crash = {.sa_handler = on_crash, .sa_flags = SA_ONSTACK};
    struct sigaction stop = {.sa_handler = on_stop};
    sigemptyset(&crash.sa_mask);
    sigemptyset(&stop.sa_mask);
    sigaltstack(&stack, &t->stack_before);
    for (int i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signal[i], &crash, &t->crash_before[i]);
    for (int i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signal[i], &stop, NULL);
}

static void release_signals(struct term *t)
{
    for (int i = 0; i < CRASH_SIGNALS; i++)
        sigaction(crash_signal[i], &t->crash_before[i], NULL);
    for (int i = 0; i < STOP_SIGNALS; i++)
        sigaction(stop_signal[i], &t->stop_before[i], NULL);
    sigaltstack(&t->stack_before, NULL);
}

static void close_at_exit(void)
{
    term_close(open_term);
}

/* --- opening --- */

static enum style_depth find_depth(void)
{
    const char *no_color = getenv("NO_COLOR");
    if ((no_color && *no_color) || !has_colors())
        return STYLE_DEPTH_NONE;
    if (start_color() == ERR || use_default_colors() == ERR)
        return STYLE_DEPTH_NONE;
    return COLORS >= 256  ? STYLE_DEPTH_256
           : COLORS >= 16 ? STYLE_DEPTH_16
           : COLORS >= 8  ? STYLE_DEPTH_8
                          : STYLE_DEPTH_NONE;
}

/* Some terminals say in COLORFGBG ("0;15") which of their colours is the background. */
static bool background_is_light(void)
{
    const char *value = getenv("COLORFGBG"), *last = value ? strrchr(value, ';') : NULL;
    return last && (strcmp(last, ";7") == 0 || strcmp(last, ";15") == 0);
}

static void find_look(const struct term *t, struct style_look *look)
{
    const char *name = getenv("TERM");
    look->depth = t->depth;
    look->theme = t->depth == STYLE_DEPTH_NONE ? STYLE_MONO
                  : background_is_light()      ? STYLE_LIGHT
                                               : STYLE_DARK;
    /* The console of Linux has blocks in its font, but no braille. */
    look->glyphs = !t->utf8                             ? STYLE_ASCII
                   : name && strcmp(name, "linux") == 0 ? STYLE_BLOCK
                                                        : STYLE_BRAILLE;
}

/* Sequences of xterm that many entries of terminfo leave out. */
static void define_keys(void)
{
    static const struct {
        const char *sequence;
        int code;
    } keys[] = {{"\033[1;2A", KEY_SR},    {"\033[1;2B", KEY_SF},  {"\033[1;2C", KEY_SRIGHT},
                {"\033[1;2D", KEY_SLEFT}, {"\033[1~", KEY_HOME},  {"\033[4~", KEY_END},
                {"\033[H", KEY_HOME},     {"\033[F", KEY_END},    {"\033[A", KEY_UP},
                {"\033[B", KEY_DOWN},     {"\033[C", KEY_RIGHT},  {"\033[D", KEY_LEFT},
                {"\033[5~", KEY_PPAGE},   {"\033[6~", KEY_NPAGE}, {"\033[Z", KEY_BTAB}};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        define_key(keys[i].sequence, keys[i].code);
    define_key("\033[0n", KEY_ANSWER);
}

static bool is_ansi(void)
{
    const char *move = capability("cup");
    return move && move != (const char *)-1 && strncmp(move, "\033[", 2) == 0;
}

/* Ctrl-C becomes a key, Ctrl-Z keeps stopping the program. */
static void set_modes(void)
{
    struct termios now;
    cbreak();
    noecho();
    if (tcgetattr(STDIN_FILENO, &now) == 0) {
        now.c_cc[VINTR] = _POSIX_VDISABLE;
        tcsetattr(STDIN_FILENO, TCSANOW, &now);
        def_prog_mode();
    }
    keypad(stdscr, TRUE);
    nodelay(stdscr, TRUE);
    curs_set(0);
    define_keys();
}

int term_open(struct term **out, struct style_look *look, struct err *err)
{
    static bool registered;
    const char *name = getenv("TERM");
    *out = NULL;
    if (open_term)
        return err_set(err, ERR_USAGE, NULL, "the terminal is open already");
    if (!isatty(STDIN_FILENO) || !isatty(STDOUT_FILENO))
        return err_set(err, ERR_USAGE, NULL,
                       "the workbench needs a terminal, but %s is none; "
                       "`moqa analyze` prints the same charts as text",
                       isatty(STDIN_FILENO) ? "standard output" : "standard input");
    struct term *t = calloc(1, sizeof *t);
    if (!t)
        return err_set(err, ERR_NOMEM, NULL, "no memory for the terminal");
    if (tcgetattr(STDIN_FILENO, &modes_before) < 0) {
        free(t);
        return err_set_errno(err, ERR_USAGE, NULL, "cannot read the terminal's modes");
    }
    for (int i = 0; i < STOP_SIGNALS; i++) /* before curses puts its own there */
        sigaction(stop_signal[i], NULL, &t->stop_before[i]);
    t->screen = newterm(NULL, stdout, stdin);
    if (!t->screen) {
        free(t);
        return err_set(err, ERR_USAGE, NULL,
                       "TERM is \"%s\", which this system does not know; set TERM to the "
                       "terminal's type, for most xterm-256color",
                       name ? name : "");
    }
    t->utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    t->depth = find_depth();
    t->can_ask = is_ansi();
    set_modes();
    prepare_restore();
    quit_wanted = interrupt_wanted = 0;
    catch_signals(t);
    find_look(t, look);
    open_term = t;
    if (!registered)
        registered = atexit(close_at_exit) == 0;
    *out = t;
    return 0;
}

/* Takes the answer that is still on its way, and what was typed meanwhile. */
static void await_answer(struct term *t)
{
    int64_t end = clock_ms() + (t->answered ? CLOSE_MS : CLOSE_UNKNOWN_MS);
    while (t->asked && !quit_wanted && clock_ms() < end)
        term_read(t, (int)(end - clock_ms()));
}

void term_close(struct term *t)
{
    if (!t)
        return;
    term_mouse(t, false);
    await_answer(t);
    endwin();
    release_signals(t);
    modes_saved = 0;
    delscreen(t->screen);
    open_term = NULL;
    free(t);
}

/* --- drawing --- */

void term_size(const struct term *t, int *w, int *h)
{
    (void)t;
    *w = getmaxx(stdscr);
    *h = getmaxy(stdscr);
}

static attr_t attributes(uint8_t attr)
{
    return (attr & STYLE_BOLD ? A_BOLD : 0) | (attr & STYLE_UNDERLINE ? A_UNDERLINE : 0) |
           (attr & STYLE_REVERSE ? A_REVERSE : 0) | (attr & STYLE_FAINT ? A_DIM : 0);
}

static void put_cell(const struct term *t, int x, int y, const struct cell *cell,
                     struct style_final f)
{
    utf8proc_int32_t code;
    wchar_t text[2] = {L'?', 0};
    cchar_t out;
    if (utf8proc_iterate((const utf8proc_uint8_t *)cell->glyph, -1, &code) > 0 &&
        (t->utf8 || code < 0x80))
        text[0] = (wchar_t)code;
    /* alloc_pair() is the extended way to pairs beyond 255 and recycles the oldest one. */
    int pair =
        t->depth != STYLE_DEPTH_NONE && (f.fg >= 0 || f.bg >= 0) ? alloc_pair(f.fg, f.bg) : 0;
    pair = pair < 0 ? 0 : pair;
    if (setcchar(&out, text, attributes(f.attr), 0, &pair) == OK)
        mvadd_wch(y, x, &out);
}

static uint64_t mix(uint64_t hash, uint64_t word)
{
    hash = (hash ^ word) * 0x9e3779b97f4a7c15u;
    return hash ^ hash >> 32;
}

/* Over all that a frame is made of; never 0. */
static uint64_t hash_frame(const struct cells *c, const struct style_look *look, int w, int h)
{
    uint64_t hash = mix((uint64_t)w << 32 | (uint64_t)h, (uint64_t)c->w << 32 | (uint64_t)c->h);
    hash = mix(hash, (uint64_t)look->theme << 16 | (uint64_t)look->depth << 8 | look->glyphs);
    for (size_t i = 0, n = (size_t)c->w * (size_t)c->h; i < n; i++) {
        const struct cell *cell = &c->cell[i];
        char text[CELL_GLYPH_MAX] = {0};
        uint64_t half[2];
        for (size_t k = 0; k < sizeof text && cell->glyph[k]; k++)
            text[k] = cell->glyph[k]; /* what stands behind its end is anything */
        memcpy(half, text, sizeof half);
        hash = mix(hash, half[0]);
        if (half[1])
            hash = mix(hash, half[1]);
        hash = mix(hash, (uint64_t)cell->style.fg << 32 | (uint64_t)cell->style.bg << 8 |
                             cell->style.attr);
    }
    return hash ? hash : 1;
}

static void ask(struct term *t)
{
    if (!t->can_ask || t->asked)
        return;
    t->asked = true;
    t->asked_at = clock_ms();
    send_raw("\033[5n");
}

bool term_ready(const struct term *t)
{
    int64_t age = clock_ms() - t->asked_at;
    return !t->asked || !t->answered || (age < FREE_MS && !t->slow) || age > LOST_MS;
}

void term_present(struct term *t, const struct cells *c, const struct style_look *look)
{
    int w, h;
    struct style_look used = *look;
    term_size(t, &w, &h);
    uint64_t hash = hash_frame(c, look, w, h);
    if (hash == t->shown)
        return;
    t->shown = hash;
    if (used.depth > t->depth)
        used.depth = t->depth;
    erase();
    for (int y = 0; y < h && y < c->h; y++)
        for (int x = 0; x < w && x < c->w; x++) {
            const struct cell *cell = cells_at(c, x, y);
            struct style_final f = style_resolve(&used, cell->style);
            bool blank = strcmp(cell->glyph, " ") == 0 && f.bg < 0 && f.attr == 0;
            if (cell->glyph[0] && !blank)
                put_cell(t, x, y, cell, f);
        }
    wnoutrefresh(stdscr);
    doupdate();
    if (t->asked && clock_ms() - t->asked_at > LOST_MS)
        t->answered = t->asked = false; /* another terminal may sit at the other end */
    ask(t);
}

void term_redraw(struct term *t)
{
    t->shown = 0;
    clearok(curscr, TRUE);
}

/* --- keys --- */

static uint32_t decode(int code)
{
    static const struct {
        int curses;
        uint32_t key;
    } map[] = {{KEY_UP, TERM_KEY_UP},
               {KEY_DOWN, TERM_KEY_DOWN},
               {KEY_LEFT, TERM_KEY_LEFT},
               {KEY_RIGHT, TERM_KEY_RIGHT},
               {KEY_SR, TERM_KEY_SHIFT_UP},
               {KEY_SF, TERM_KEY_SHIFT_DOWN},
               {KEY_SLEFT, TERM_KEY_SHIFT_LEFT},
               {KEY_SRIGHT, TERM_KEY_SHIFT_RIGHT},
               {KEY_HOME, TERM_KEY_HOME},
               {KEY_END, TERM_KEY_END},
               {KEY_PPAGE, TERM_KEY_PAGE_UP},
               {KEY_NPAGE, TERM_KEY_PAGE_DOWN},
               {KEY_IC, TERM_KEY_INSERT},
               {KEY_DC, TERM_KEY_DELETE},
               {KEY_BTAB, TERM_KEY_BACKTAB},
               {KEY_ENTER, TERM_KEY_ENTER},
               {KEY_BACKSPACE, TERM_KEY_BACKSPACE},
               {KEY_RESIZE, TERM_KEY_RESIZE},
               {KEY_MOUSE, TERM_KEY_MOUSE}};
    for (size_t i = 0; i < sizeof map / sizeof *map; i++)
        if (map[i].curses == code)
            return map[i].key;
    if (code >= KEY_F(1) && code <= KEY_F(12))
        return TERM_KEY_F1 + (uint32_t)(code - KEY_F(1));
    return TERM_KEY_UNKNOWN;
}

static struct term_event mouse_event(struct term *t)
{
    static const struct {
        int button;
        mmask_t press, release;
    } buttons_of[] = {{1, BUTTON1_PRESSED, BUTTON1_RELEASED},
                      {2, BUTTON2_PRESSED, BUTTON2_RELEASED},
                      {3, BUTTON3_PRESSED, BUTTON3_RELEASED}};
    struct term_event e = {.key = TERM_KEY_UNKNOWN};
    MEVENT m;
    if (getmouse(&m) != OK)
        return e;
    e.x = m.x;
    e.y = m.y;
    e.shift = (m.bstate & BUTTON_SHIFT) != 0;
    if (m.bstate & (BUTTON4_PRESSED | BUTTON5_PRESSED)) {
        e.key = TERM_KEY_MOUSE;
        e.mouse = TERM_MOUSE_WHEEL;
        e.wheel = m.bstate & BUTTON4_PRESSED ? -1 : 1;
        return e;
    }
    for (size_t i = 0; i < sizeof buttons_of / sizeof *buttons_of; i++) {
        if (!(m.bstate & (buttons_of[i].press | buttons_of[i].release)))
            continue;
        bool down = (m.bstate & buttons_of[i].press) != 0;
        e.key = TERM_KEY_MOUSE;
        e.mouse = down ? TERM_MOUSE_PRESS : TERM_MOUSE_RELEASE;
        e.button = buttons_of[i].button;
        t->button = down ? e.button : 0;
        return e;
    }
    if ((m.bstate & REPORT_MOUSE_POSITION) && t->button) {
        e.key = TERM_KEY_MOUSE;
        e.mouse = TERM_MOUSE_DRAG;
        e.button = t->button;
    }
    return e;
}

/* One key if there is one now. */
static bool read_now(struct term *t, struct term_event *e)
{
    wint_t code;
    *e = (struct term_event){.key = TERM_KEY_NONE};
    if (quit_wanted) {
        e->key = TERM_KEY_QUIT;
        return true;
    }
    if (interrupt_wanted) {
        interrupt_wanted = 0;
        e->key = TERM_KEY_CTRL_C;
        return true;
    }
    bool owed = t->asked && clock_ms() - t->asked_at < LOST_MS;
    set_escdelay(owed ? ESC_ASKED_MS : ESC_MS);
    int got = get_wch(&code);
    if (got == ERR)
        return false;
    if (got == KEY_CODE_YES && code == KEY_ANSWER) {
        t->asked = false;
        t->answered = true;
        t->slow = clock_ms() - t->asked_at > FREE_MS;
        return true;
    }
    if (got == KEY_CODE_YES && code == KEY_RESIZE)
        t->shown = 0;
    if (got == KEY_CODE_YES && code == KEY_MOUSE)
        *e = mouse_event(t);
    else if (got == KEY_CODE_YES)
        e->key = decode((int)code);
    else
        e->key = code == '\r' ? TERM_KEY_ENTER : code == '\b' ? TERM_KEY_BACKSPACE : code;
    return true;
}

struct term_event term_read(struct term *t, int timeout_ms)
{
    struct term_event e;
    int64_t end = clock_ms() + timeout_ms;
    for (;;) {
        if (read_now(t, &e))
            return e;
        int64_t left = timeout_ms < 0 ? NAP_MS : end - clock_ms();
        if (left <= 0)
            return e;
        /* Short naps: a signal that comes between the look and the wait is not lost for long. */
        struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&fd, 1, (int)(left < NAP_MS ? left : NAP_MS));
        if (ready > 0 && (fd.revents & (POLLHUP | POLLERR | POLLNVAL)) && !(fd.revents & POLLIN)) {
            quit_wanted = 1; /* the terminal is gone */
        }
    }
}

/* --- small things --- */

void term_mouse(struct term *t, bool on)
{
    if (t->mouse == on)
        return;
    t->mouse = on;
    t->button = 0;
    mousemask(on ? ALL_MOUSE_EVENTS | REPORT_MOUSE_POSITION : 0, NULL);
    mouseinterval(0);
    /* curses asks for clicks only; 1002 adds moves while a button is held. */
    send_raw(on ? "\033[?1002h" : "\033[?1002l");
}

void term_copy(struct term *t, const char *text)
{
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    struct str out = {0};
    size_t n = strlen(text);
    (void)t;
    str_append(&out, "\033]52;c;");
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        unsigned v = (unsigned)(unsigned char)text[i] << 16;
        v |= left > 1 ? (unsigned)(unsigned char)text[i + 1] << 8 : 0;
        v |= left > 2 ? (unsigned)(unsigned char)text[i + 2] : 0;
        const char four[5] = {digit[v >> 18], digit[v >> 12 & 63],
                              left > 1 ? digit[v >> 6 & 63] : '=', left > 2 ? digit[v & 63] : '=',
                              '\0'};
        str_append(&out, four);
    }
    str_append(&out, "\a");
    if (str_ok(&out, NULL) == 0)
        send_raw(str_get(&out));
    str_release(&out);
}

enum style_depth term_depth(const struct term *t)
{
    return t->depth;
}
