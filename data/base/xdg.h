/*
 * The user's folders of the program, by the XDG base directory specification:
 * $XDG_STATE_HOME/moqa, else ~/.local/state/moqa, and so on.
 */
#ifndef MOQA_DATA_BASE_XDG_H
#define MOQA_DATA_BASE_XDG_H

#include "data/base/str.h"

enum xdg_kind { XDG_CONFIG, XDG_STATE, XDG_CACHE };

/* Appends the folder; nothing where neither its variable nor HOME is set. */
void xdg_folder(struct str *out, enum xdg_kind kind);

/* Makes a folder and those above it. What fails here fails at the first file in it, with a better
 * message. */
void xdg_make(const char *dir);

#endif
