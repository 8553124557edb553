/*
 * The workbench without a terminal: a text of keys in, pictures of screens out. What the screen
 * can do, a command can do; documentation pictures and tests are made this way.
 *
 *     3 ] ] Tab Right*5 Enter '0.35' Enter shot:significance.svg 5 p wait
 *
 * Words are separated by blanks. A single character is that key; KEYS below names the others, in
 * any case; KEY*N is that key N times; 'text' or "text" is typed as it stands. Besides keys:
 *
 *     wait                 until nothing runs any more, a quantization pass included
 *     shot:FILE            a picture of the screen, after a wait; the ending says which kind
 *     size:WxH             another size of the screen
 *     click:X,Y            a press and release of the left button in that cell
 *     drag:X,Y,X2,Y2       a press, a move and a release
 *     wheel:X,Y,up|down    one notch
 *
 * Every step waits for what the screen itself waits for (similarity, the text of a dry run): the
 * same keys give the same screens.
 */
#ifndef MOQA_UI_APP_WALK_H
#define MOQA_UI_APP_WALK_H

#include "ui/app/app_host.h"
#include "ui/cells/cell.h"
#include "ui/cells/style.h"

enum { WALK_SIZE_MAX = 1000 };

struct walk_options {
    const char *keys; /* NULL: none */
    int w, h;
    struct style_look look;
    const char *picture; /* of the last screen; NULL: none */
};

/* "120x40". ERR_USAGE with what was expected. */
ERR_CHECK int walk_size(int *w, int *h, const char *text, struct err *err);
/* "light,16,ascii": theme, colours (256, 16, 8, 0) and glyphs, in any order; changes what is
 * named. */
ERR_CHECK int walk_look(struct style_look *look, const char *text, struct err *err);

/* Checks all of the walk before its first step. `last` gets the last screen (initialised by the
 * callee, released by the caller also after an error), `look` how it is drawn. ERR_USAGE for a
 * word that means nothing or a picture of a kind that does not exist. */
ERR_CHECK int walk_run(const struct app_options *app, const struct walk_options *options,
                       struct cells *last, struct style_look *look, struct err *err);

/* Writes a screen as .txt, .ansi (with colours) or .svg, whole or not at all. */
ERR_CHECK int walk_picture(const char *path, const struct cells *c, const struct style_look *look,
                           struct err *err);

#endif
