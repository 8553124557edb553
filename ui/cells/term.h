/*
 * The terminal. term_curses.c is the only file that knows curses; only the UI thread may call
 * these. One terminal a process. It is restored by term_close(), and by a crash, too.
 */
#ifndef MOQA_UI_CELLS_TERM_H
#define MOQA_UI_CELLS_TERM_H

#include <stdbool.h>
#include <stdint.h>

#include "data/base/err.h"
#include "ui/cells/cell.h"
#include "ui/cells/style.h"

struct term;

/* Keys: a Unicode code point, or one of these. */
enum term_key {
    /* The timeout passed, or the program was stopped and goes on, or term_ready() may have changed;
     * present the frame again, it may have to be sent. */
    TERM_KEY_NONE = 0,
    TERM_KEY_CTRL_C = 3,
    TERM_KEY_TAB = 9,
    TERM_KEY_ENTER = 10,
    TERM_KEY_CTRL_L = 12,
    TERM_KEY_ESC = 27,
    TERM_KEY_BACKSPACE = 127,
    TERM_KEY_FIRST = 0x110000, /* above every code point */
    TERM_KEY_UP,
    TERM_KEY_DOWN,
    TERM_KEY_LEFT,
    TERM_KEY_RIGHT,
    TERM_KEY_SHIFT_UP,
    TERM_KEY_SHIFT_DOWN,
    TERM_KEY_SHIFT_LEFT,
    TERM_KEY_SHIFT_RIGHT,
    TERM_KEY_HOME,
    TERM_KEY_END,
    TERM_KEY_PAGE_UP,
    TERM_KEY_PAGE_DOWN,
    TERM_KEY_INSERT,
    TERM_KEY_DELETE,
    TERM_KEY_BACKTAB,
    TERM_KEY_F1, /* + 0..11 */
    TERM_KEY_F12 = TERM_KEY_F1 + 11,
    TERM_KEY_MOUSE,   /* see the event's mouse fields */
    TERM_KEY_RESIZE,  /* the size changed: ask term_size() */
    TERM_KEY_QUIT,    /* SIGTERM or SIGHUP arrived: save and leave, without asking */
    TERM_KEY_UNKNOWN, /* something that has no name here */
};

enum term_mouse { TERM_MOUSE_PRESS, TERM_MOUSE_DRAG, TERM_MOUSE_RELEASE, TERM_MOUSE_WHEEL };

struct term_event {
    uint32_t key; /* code point or enum term_key */
    enum term_mouse mouse;
    int button; /* 1 left, 2 middle, 3 right */
    int wheel;  /* -1 up, +1 down */
    int x, y;   /* cell of the mouse */
    bool shift;
};

/* ERR_USAGE, with what to do, if stdin or stdout is no terminal or TERM is unknown. `look` gets
 * what this terminal can show: depth (NO_COLOR and TERM respected), glyphs ASCII where the
 * locale is not UTF-8, theme mono without colours, else dark. Call setlocale() first. */
ERR_CHECK int term_open(struct term **out, struct style_look *look, struct err *err);
void term_close(struct term *t); /* NULL is legal */

void term_size(const struct term *t, int *w, int *h);

/* Shows a frame: only what differs is sent. A frame of another size is cut. */
void term_present(struct term *t, const struct cells *c, const struct style_look *look);
/* False while the last frame is on its way: over a slow line frames would queue up in buffers and
 * the screen fall behind the keys. Terminals that do not tell are always ready. */
bool term_ready(const struct term *t);
void term_redraw(struct term *t); /* the next frame is sent whole, and waits for none (Ctrl-L) */

/* Waits for a key at most `timeout_ms` (0: does not wait, negative: for ever). */
struct term_event term_read(struct term *t, int timeout_ms);
/* Is there something to read? */
bool term_waits(const struct term *t);

void term_mouse(struct term *t, bool on); /* off at first: the terminal's own selection works */
/* Text into the terminal's clipboard (OSC 52); base64, so any text is safe. */
void term_copy(struct term *t, const char *text);
/* Most colours this terminal can show. */
enum style_depth term_depth(const struct term *t);

#endif
