/*
 * Progress of a command on stderr, and its signals. --progress: `auto` (a bar on a terminal, else
 * plain), `bar`, `plain` (a line now and then, never silence, never spam), `json` (one object a
 * line), `none`. The first INT, TERM or HUP asks the work to stop at the next safe point; a second
 * one ends the process.
 */
#ifndef MOQA_SRC_CLI_CLI_PROGRESS_H
#define MOQA_SRC_CLI_CLI_PROGRESS_H

#include "data/base/err.h"
#include "src/progress.h"

/* `style` NULL: MOQA_PROGRESS, else auto. One at a time in a process. */
ERR_CHECK int cli_progress_begin(struct progress *p, const char *style, struct err *err);
/* Clears the bar, restores the signals, releases `p`. */
void cli_progress_end(struct progress *p);

#endif
