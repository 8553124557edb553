/*
 * Signals while the terminal is open: they set flags that term_read() looks at, a crash gives the
 * terminal back first, and a stop keeps from the shell what the terminal still has to answer.
 * Private to the terminal; one a process, so that handlers can reach it.
 */
#ifndef MOQA_UI_CELLS_TERM_SIGNALS_H
#define MOQA_UI_CELLS_TERM_SIGNALS_H

#include <signal.h>

#include "data/base/err.h"

enum { TERM_HURRY_MS = 300 }; /* a signal to stop or to end waits for an answer that long */

struct term_signals {
    volatile sig_atomic_t quit;      /* SIGTERM or SIGHUP arrived */
    volatile sig_atomic_t gone;      /* and with SIGHUP the terminal has gone */
    volatile sig_atomic_t interrupt; /* SIGINT arrived */
    volatile sig_atomic_t resumed;   /* the program was stopped and goes on */
    volatile sig_atomic_t owed;      /* set by the terminal: an answer is on its way */
};

extern struct term_signals term_signals;

/* Remembers the modes and the handlers as they are, before curses puts its own there. ERR_USAGE
 * if the terminal's modes cannot be read. */
ERR_CHECK int term_signals_save(struct err *err);
/* Appends a capability of the terminal (NULL or -1: it has none) to what a crash sends. */
void term_signals_add_restore(const char *text);
/* Clears the flags and installs the handlers, after curses has put its own there. */
void term_signals_catch(void);
void term_signals_release(void);

#endif
