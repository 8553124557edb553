/*
 * A grid of styled cells: what a frame is before it goes to a terminal or a pipe. Everything is
 * clipped to the grid and to a clip rectangle; a wide character is drawn whole or not at all.
 */
#ifndef MOQA_UI_CELLS_CELL_H
#define MOQA_UI_CELLS_CELL_H

#include <stdbool.h>
#include <stddef.h>

#include "data/base/err.h"
#include "data/base/str.h"
#include "ui/cells/layout.h"
#include "ui/cells/style.h"

enum { CELL_GLYPH_MAX = 16 };

struct cell {
    char glyph[CELL_GLYPH_MAX]; /* NUL-terminated UTF-8; "" in the right half of a wide one */
    struct style style;
};

struct cells {
    int w, h;
    struct rect clip;  /* drawing outside changes nothing; the whole grid after init */
    struct cell *cell; /* [h][w] */
};

ERR_CHECK int cells_init(struct cells *c, int w, int h, struct err *err);
ERR_CHECK int cells_resize(struct cells *c, int w, int h, struct err *err); /* clears */
void cells_release(struct cells *c);
void cells_clear(struct cells *c);             /* spaces, default style, clip reset */
struct rect cells_area(const struct cells *c); /* 0, 0, w, h */
const struct cell *cells_at(const struct cells *c, int x, int y); /* NULL outside */

/* One glyph, at most two columns wide. */
void cells_put(struct cells *c, int x, int y, const char *glyph, struct style s);
/* Changes the style of cells and keeps their glyphs. */
void cells_restyle(struct cells *c, struct rect r, struct style s);
/* Only the background colour (and REVERSE where there is none): a selection bar. */
void cells_highlight(struct cells *c, struct rect r, uint16_t bg);
void cells_fill(struct cells *c, struct rect r, const char *glyph, struct style s);

/* Text through the sanitizer, cut at `max` columns (negative: no limit but the clip).
 * Returns the columns taken. */
int cells_text(struct cells *c, int x, int y, int max, const char *text, struct style s);
int cells_textf(struct cells *c, int x, int y, int max, struct style s, const char *format, ...)
    __attribute__((format(printf, 6, 7)));

enum cells_align { CELLS_LEFT, CELLS_CENTRE, CELLS_RIGHT };
/* In the first row of `r`, cut with an ellipsis of the look's glyph set where it is too long. */
void cells_label(struct cells *c, struct rect r, enum cells_align align, const char *text,
                 const struct style_look *look, struct style s);
/* To the left; where it is too long both of its ends, with the ellipsis between them. */
void cells_ends(struct cells *c, struct rect r, const char *text, const struct style_look *look,
                struct style s);
/* Words wrapped into `r`; returns the rows used. */
int cells_paragraph(struct cells *c, struct rect r, const char *text, struct style s);
/* Rows that it would use, at most `most`; draws nothing. */
int cells_paragraph_rows(struct cells *c, int width, int most, const char *text);

/* A frame with a title in its upper edge (NULL: none); returns the area inside. */
struct rect cells_box(struct cells *c, struct rect r, const char *title,
                      const struct style_look *look, struct style border, struct style text);

/* Columns of a text after sanitizing. */
int cells_width(const char *text);

bool cells_equal(const struct cells *a, const struct cells *b);
/* Rows ended by line feeds, trailing spaces removed. */
void cells_plain(const struct cells *c, struct str *out);
/* The same with SGR sequences for the look's depth; every row ends with its styles reset. */
void cells_sgr(const struct cells *c, const struct style_look *look, struct str *out);

#endif
