#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <langinfo.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>
#include <utf8proc.h>

#include "ui/cells/term.h"
#include "ui/cells/term_signals.h"

#include "data/base/clock.h"

enum { NAP_MS = 200 };

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

struct term {
    SCREEN *screen;
    bool utf8, mouse;
    int button;       /* held down, for drags */
    bool can_ask;     /* it understands ANSI's sequences */
    bool asked;       /* and owes an answer; see set_asked() */
    bool answered;    /* it has answered before */
    bool slow;        /* its last answer took longer than FREE_MS */
    int64_t asked_at; /* ms */
    int strays;       /* answers that may still come, and that no frame waits for */
    int64_t stray_at; /* ms; when the last of them was given up */
    uint64_t shown;   /* hash of the last frame; 0: none, or it must be sent again */
    enum style_depth depth;
};

static struct term *open_term; /* one a process */

static void send_raw(const char *text)
{
    fputs(text, stdout);
    fflush(stdout);
}

static const char *capability(const char *name)
{
    char buffer[16];
    snprintf(buffer, sizeof buffer, "%s", name);
    return tigetstr(buffer);
}

static void prepare_restore(void)
{
    term_signals_add_restore("\033[?1002l\033[?1006l\033[?1000l");
    term_signals_add_restore(capability("sgr0"));
    term_signals_add_restore(capability("rmkx"));
    term_signals_add_restore(capability("cnorm"));
    term_signals_add_restore(capability("rmcup"));
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
    int rc = term_signals_save(err);
    if (rc < 0) {
        free(t);
        return rc;
    }
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
    term_signals_catch();
    find_look(t, look);
    open_term = t;
    if (!registered)
        registered = atexit(close_at_exit) == 0;
    *out = t;
    return 0;
}

static void set_asked(struct term *t, bool asked)
{
    t->asked = asked;
    term_signals.owed = asked && t->answered;
}

static bool owes_stray(const struct term *t)
{
    return t->strays > 0 && clock_ms() - t->stray_at < LOST_MS;
}

static bool owes_answer(const struct term *t)
{
    return t->asked || owes_stray(t);
}

/* Takes the answer that is still on its way, and what was typed meanwhile. */
static void await_answer(struct term *t)
{
    int64_t end = clock_ms() + (t->answered ? CLOSE_MS : CLOSE_UNKNOWN_MS);
    while (owes_answer(t) && !term_signals.gone && clock_ms() < end) {
        if ((term_signals.quit || !t->asked) && end > clock_ms() + TERM_HURRY_MS)
            end = clock_ms() + TERM_HURRY_MS;
        term_signals.quit = 0; /* which is all that term_read() would tell */
        term_read(t, (int)(end - clock_ms()));
    }
    if (owes_answer(t) && !term_signals.gone)
        tcflush(STDIN_FILENO, TCIFLUSH); /* what has come of it in this moment */
}

void term_close(struct term *t)
{
    if (!t)
        return;
    term_mouse(t, false);
    await_answer(t);
    endwin();
    term_signals_release();
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
    set_asked(t, true);
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
    if (t->asked && clock_ms() - t->asked_at > LOST_MS) {
        t->answered = false; /* another terminal may sit at the other end */
        set_asked(t, false);
    }
    ask(t);
}

void term_redraw(struct term *t)
{
    if (t->asked) {
        t->strays = owes_stray(t) ? t->strays + 1 : 1;
        t->stray_at = clock_ms();
        set_asked(t, false);
    }
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

/* Answers come in the order of the questions, so one that came for a stray lets the next frame go
 * a little early; were it not to, a lost answer would hold up every frame after Ctrl-L. */
static void take_answer(struct term *t)
{
    if (t->asked)
        t->slow = clock_ms() - t->asked_at > FREE_MS;
    else if (t->strays > 0)
        t->strays--;
    t->answered = true;
    set_asked(t, false);
}

/* After a stop: the shell has got the answer, and has written on the screen. */
static void forget_screen(struct term *t)
{
    set_asked(t, false);
    t->slow = false;
    t->strays = 0;
    term_redraw(t);
}

/* One key if there is one now. */
static bool read_now(struct term *t, struct term_event *e)
{
    wint_t code;
    *e = (struct term_event){.key = TERM_KEY_NONE};
    if (term_signals.quit) {
        e->key = TERM_KEY_QUIT;
        return true;
    }
    if (term_signals.interrupt) {
        term_signals.interrupt = 0;
        e->key = TERM_KEY_CTRL_C;
        return true;
    }
    if (term_signals.resumed) {
        term_signals.resumed = 0;
        forget_screen(t);
        return true;
    }
    bool owed = (t->asked && clock_ms() - t->asked_at < LOST_MS) || owes_stray(t);
    set_escdelay(owed ? ESC_ASKED_MS : ESC_MS);
    int got = get_wch(&code);
    if (got == ERR)
        return false;
    if (got == KEY_CODE_YES && code == KEY_ANSWER) {
        take_answer(t);
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
            term_signals.quit = term_signals.gone = 1;
        }
    }
}

bool term_waits(const struct term *t)
{
    struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};
    (void)t;
    return term_signals.quit || term_signals.interrupt || term_signals.resumed ||
           poll(&fd, 1, 0) != 0;
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
