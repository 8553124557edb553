/*
 * Colours and glyph sets. A cell holds a colour's meaning (a role, a series, a place on the
 * ramp), and a theme turns it into what the terminal can show: 256, 16 or 8 colours, or none,
 * where attributes take over. The background is always the terminal's own.
 */
#ifndef MOQA_UI_CELLS_STYLE_H
#define MOQA_UI_CELLS_STYLE_H

#include <stdbool.h>
#include <stdint.h>

/* Colour codes. */
enum style_colour {
    STYLE_DEFAULT,      /* the terminal's own foreground or background */
    STYLE_TEXT_DIM,     /* secondary text: hints, units */
    STYLE_TITLE,        /* title row, headings */
    STYLE_AXIS,         /* axis lines and tick labels */
    STYLE_GRID,         /* faint lines in a plot */
    STYLE_BORDER,       /* of a pane */
    STYLE_BORDER_FOCUS, /* of the pane that gets the keys */
    STYLE_ACCENT,       /* the thing to look at: a changed value, the current item */
    STYLE_SELECT,       /* background of the selected row or cell */
    STYLE_BAR,          /* background of the title and hint rows */
    STYLE_KEY,          /* a key in the hint row */
    STYLE_GOOD,
    STYLE_WARN,
    STYLE_ERROR,
    STYLE_MARKER,   /* threshold and break lines */
    STYLE_CURVE,    /* a fitted curve over data */
    STYLE_CURSOR,   /* crosshair */
    STYLE_PIN,      /* what the user pinned */
    STYLE_ON_BAR,   /* a line over a coloured bar */
    STYLE_ON_LIGHT, /* text on the light end of the ramp */
    STYLE_ON_DARK,  /* and on its dark end */
    STYLE_ROLES,
    STYLE_SERIES = 64, /* + 0..7: qualitative, told apart with any colour vision */
    STYLE_GROUP = 80,  /* + group number: 1 high class, 2, 3, 4 lower ones */
    STYLE_BITS = 96,   /* + bit width 2, 3, 4, 8, 16: little to much */
    STYLE_RAMP = 256,  /* + 0..255: sequential, low to high, rising in lightness */
    STYLE_INDEX = 512, /* + 0..255: this entry of the terminal's palette */
};

enum {
    STYLE_BOLD = 1,
    STYLE_UNDERLINE = 2,
    STYLE_REVERSE = 4,
    STYLE_FAINT = 8,
    STYLE_SOLID = 16 /* not seen: the glyph is a part of a bar, for what is drawn over it */
};

struct style {
    uint16_t fg, bg; /* colour codes above */
    uint8_t attr;
};

#define STYLE(colour) ((struct style){.fg = (uint16_t)(colour)})

enum style_theme { STYLE_DARK, STYLE_LIGHT, STYLE_MONO, STYLE_THEMES };
enum style_depth { STYLE_DEPTH_NONE, STYLE_DEPTH_8, STYLE_DEPTH_16, STYLE_DEPTH_256 };
enum style_glyphs { STYLE_BRAILLE, STYLE_BLOCK, STYLE_ASCII, STYLE_GLYPHS };

/* How everything is drawn; the user switches theme and glyphs at run time. */
struct style_look {
    enum style_theme theme;
    enum style_depth depth;
    enum style_glyphs glyphs;
};

/* What to send to the terminal: palette entry or -1 for its own colour, and attributes. */
struct style_final {
    int16_t fg, bg;
    uint8_t attr;
};
struct style_final style_resolve(const struct style_look *look, struct style s);

/* True where colours can tell things apart (else charts use glyphs). */
bool style_has_colour(const struct style_look *look);

const char *style_theme_name(enum style_theme theme);    /* "dark" */
const char *style_glyphs_name(enum style_glyphs glyphs); /* "braille" */

/* Ramp colour code for t in 0..1 (clamped). */
uint16_t style_ramp(double t);
/* A shade from ' ' to full for t in 0..1, where colour cannot show it; per glyph set. */
const char *style_shade(const struct style_look *look, double t);

/* Single glyphs that differ by set: each is one column wide. */
enum style_glyph {
    STYLE_G_HLINE,
    STYLE_G_VLINE,
    STYLE_G_CORNER_TL,
    STYLE_G_CORNER_TR,
    STYLE_G_CORNER_BL,
    STYLE_G_CORNER_BR,
    STYLE_G_TICK_LEFT,  /* axis line with a tick to its left: ┤ */
    STYLE_G_TICK_BELOW, /* axis line with a tick below: ┬ */
    STYLE_G_DASH_V,     /* marker lines: ┆ */
    STYLE_G_DASH_H,     /* ┄ */
    STYLE_G_POINT,      /* • */
    STYLE_G_FULL,       /* █ */
    STYLE_G_HALF_UP,    /* ▀ */
    STYLE_G_ELLIPSIS,   /* … */
    STYLE_G_CROSS,      /* ┼ */
    STYLE_G_ARROW_R,    /* ▸ */
    STYLE_G_ARROW_UP,
    STYLE_G_ARROW_DOWN,
    STYLE_G_CHECK,
    STYLE_G_MARKS, /* end of the list */
};
const char *style_glyph(const struct style_look *look, enum style_glyph which);

#endif
