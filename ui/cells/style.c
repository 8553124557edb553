#include "ui/cells/style.h"

#include <stddef.h>

/* One colour in the three depths; -1: the terminal's own. `attr` goes with it as a foreground;
 * as a background where the depth has no colour for it, REVERSE does. */
struct paint {
    int16_t c256, c16, c8;
    uint8_t attr;
};

static const struct paint role_dark[STYLE_ROLES] = {
    [STYLE_DEFAULT] = {-1, -1, -1, 0},
    [STYLE_TEXT_DIM] = {246, 7, -1, 0},
    [STYLE_TITLE] = {-1, -1, -1, STYLE_BOLD},
    [STYLE_AXIS] = {247, 7, -1, 0},
    [STYLE_GRID] = {239, 8, -1, STYLE_FAINT},
    [STYLE_BORDER] = {242, 7, -1, 0},
    [STYLE_BORDER_FOCUS] = {74, 14, 6, STYLE_BOLD},
    [STYLE_ACCENT] = {222, 11, 3, STYLE_BOLD},
    [STYLE_SELECT] = {24, 4, 4, 0},
    [STYLE_BAR] = {236, -1, -1, 0},
    [STYLE_KEY] = {117, 14, 6, STYLE_BOLD},
    [STYLE_GOOD] = {78, 10, 2, 0},
    [STYLE_WARN] = {214, 11, 3, 0},
    [STYLE_ERROR] = {210, 9, 1, STYLE_BOLD},
    [STYLE_MARKER] = {255, 15, 7, 0},
    [STYLE_CURVE] = {219, 13, 5, 0},
    [STYLE_CURSOR] = {210, 9, 1, STYLE_BOLD},
    [STYLE_PIN] = {227, 11, 3, STYLE_BOLD},
    [STYLE_ON_BAR] = {16, 0, 0, 0},
    [STYLE_ON_LIGHT] = {16, 0, 0, 0},
    [STYLE_ON_DARK] = {231, 15, 7, 0},
};

static const struct paint role_light[STYLE_ROLES] = {
    [STYLE_DEFAULT] = {-1, -1, -1, 0},
    [STYLE_TEXT_DIM] = {241, 8, -1, 0},
    [STYLE_TITLE] = {-1, -1, -1, STYLE_BOLD},
    [STYLE_AXIS] = {240, 8, -1, 0},
    [STYLE_GRID] = {250, 7, -1, STYLE_FAINT},
    [STYLE_BORDER] = {245, 8, -1, 0},
    [STYLE_BORDER_FOCUS] = {25, 4, 4, STYLE_BOLD},
    [STYLE_ACCENT] = {130, 5, 5, STYLE_BOLD},
    [STYLE_SELECT] = {153, 14, 6, 0},
    [STYLE_BAR] = {253, -1, -1, 0},
    [STYLE_KEY] = {25, 4, 4, STYLE_BOLD},
    [STYLE_GOOD] = {28, 2, 2, 0},
    [STYLE_WARN] = {130, 5, 5, 0},
    [STYLE_ERROR] = {160, 1, 1, STYLE_BOLD},
    [STYLE_MARKER] = {233, 0, 0, 0},
    [STYLE_CURVE] = {127, 5, 5, 0},
    [STYLE_CURSOR] = {160, 1, 1, STYLE_BOLD},
    [STYLE_PIN] = {90, 5, 5, STYLE_BOLD},
    [STYLE_ON_BAR] = {231, 15, 7, 0},
    [STYLE_ON_LIGHT] = {16, 0, 0, 0},
    [STYLE_ON_DARK] = {231, 15, 7, 0},
};

/* Without colours; as a background SELECT and BAR are reversed. */
static const uint8_t role_mono[STYLE_ROLES] = {
    [STYLE_TITLE] = STYLE_BOLD,        [STYLE_GRID] = STYLE_FAINT,
    [STYLE_BORDER_FOCUS] = STYLE_BOLD, [STYLE_ACCENT] = STYLE_BOLD,
    [STYLE_KEY] = STYLE_BOLD,          [STYLE_WARN] = STYLE_BOLD,
    [STYLE_ERROR] = STYLE_BOLD,        [STYLE_MARKER] = STYLE_BOLD,
    [STYLE_CURSOR] = STYLE_BOLD,       [STYLE_PIN] = STYLE_BOLD | STYLE_UNDERLINE,
};

enum { SERIES = 8, GROUPS = 5, RAMP_16 = 6, RAMP_8 = 4 };

/* After Okabe and Ito's set, nearest entries of the 256-colour cube that keep their distance on
 * the theme's background. */
static const struct paint series_dark[SERIES] = {
    {74, 14, 6, 0},  {214, 11, 3, 0}, {36, 2, 2, 0},  {175, 13, 5, 0},
    {227, 15, 7, 0}, {32, 12, 4, 0},  {166, 9, 1, 0}, {250, 7, 7, 0},
};
static const struct paint series_light[SERIES] = {
    {25, 4, 4, 0},  {166, 1, 1, 0}, {29, 2, 2, 0}, {132, 5, 5, 0},
    {136, 3, 3, 0}, {31, 6, 6, 0},  {88, 9, 1, 0}, {240, 8, 0, 0},
};
/* [group]; 0 is not a group and looks like plain text. */
static const struct paint group_dark[GROUPS] = {
    {-1, -1, -1, 0}, {214, 11, 3, 0}, {74, 14, 6, 0}, {36, 2, 2, 0}, {175, 13, 5, 0}};
static const struct paint group_light[GROUPS] = {
    {-1, -1, -1, 0}, {166, 1, 1, 0}, {25, 4, 4, 0}, {29, 2, 2, 0}, {132, 5, 5, 0}};

/* Viridis in the colour cube, rising in lightness. */
static const int16_t ramp_256[] = {53, 54, 24, 25, 30, 36, 72, 78, 113, 149, 185, 227};
static const int16_t ramp_16[RAMP_16] = {4, 12, 6, 14, 11, 15};
static const int16_t ramp_8[RAMP_8] = {4, 6, 3, 7};

static const char *const theme_names[STYLE_THEMES] = {"dark", "light", "mono"};
static const char *const glyphs_names[STYLE_GLYPHS] = {"braille", "block", "ascii"};

static struct paint bits_paint(unsigned bits, bool light)
{
    static const struct paint dark[] = {
        {74, 14, 6, 0}, {36, 2, 2, 0}, {214, 11, 3, 0}, {219, 13, 5, 0}, {255, 15, 7, 0}};
    static const struct paint bright[] = {
        {25, 4, 4, 0}, {29, 2, 2, 0}, {166, 1, 1, 0}, {127, 5, 5, 0}, {233, 0, 0, 0}};
    size_t i = bits <= 2 ? 0 : bits == 3 ? 1 : bits == 4 ? 2 : bits <= 8 ? 3 : 4;
    return light ? bright[i] : dark[i];
}

static struct paint ramp_paint(unsigned position)
{
    unsigned n = sizeof ramp_256 / sizeof *ramp_256;
    return (struct paint){ramp_256[position * n / 256], ramp_16[position * RAMP_16 / 256],
                          ramp_8[position * RAMP_8 / 256], 0};
}

static struct paint paint_of(uint16_t colour, bool light)
{
    if (colour >= STYLE_INDEX)
        return (struct paint){(int16_t)((colour - STYLE_INDEX) & 255), -1, -1, 0};
    if (colour >= STYLE_RAMP)
        return ramp_paint(colour - STYLE_RAMP);
    if (colour >= STYLE_BITS)
        return bits_paint(colour - STYLE_BITS, light);
    if (colour >= STYLE_GROUP) {
        unsigned group = colour - STYLE_GROUP < GROUPS ? colour - STYLE_GROUP : GROUPS - 1;
        return (light ? group_light : group_dark)[group];
    }
    if (colour >= STYLE_SERIES)
        return (light ? series_light : series_dark)[(colour - STYLE_SERIES) % SERIES];
    return (light ? role_light : role_dark)[colour < STYLE_ROLES ? colour : STYLE_DEFAULT];
}

static int16_t at_depth(struct paint p, enum style_depth depth)
{
    return depth == STYLE_DEPTH_256 ? p.c256 : depth == STYLE_DEPTH_16 ? p.c16 : p.c8;
}

bool style_has_colour(const struct style_look *look)
{
    return look->theme != STYLE_MONO && look->depth != STYLE_DEPTH_NONE;
}

static struct style_final resolve_mono(struct style s)
{
    struct style_final out = {-1, -1, s.attr};
    if (s.fg < STYLE_ROLES)
        out.attr |= role_mono[s.fg];
    else if (s.fg == STYLE_GROUP + 1)
        out.attr |= STYLE_BOLD;
    if (s.bg != STYLE_DEFAULT)
        out.attr |= STYLE_REVERSE;
    return out;
}

struct style_final style_resolve(const struct style_look *look, struct style s)
{
    s.attr &= (uint8_t)~STYLE_SOLID;
    if (!style_has_colour(look))
        return resolve_mono(s);
    bool light = look->theme == STYLE_LIGHT;
    /* A coloured bar brings its own text colour: the terminal's may be too near to it. */
    bool own = s.bg == STYLE_DEFAULT || s.bg >= STYLE_ROLES ||
               (s.fg != STYLE_DEFAULT && s.fg != STYLE_TITLE);
    struct paint fg = paint_of(own ? s.fg : STYLE_MARKER, light), bg = paint_of(s.bg, light);
    fg.attr |= s.fg == STYLE_TITLE ? STYLE_BOLD : 0;
    struct style_final out = {at_depth(fg, look->depth), at_depth(bg, look->depth),
                              (uint8_t)(s.attr | fg.attr)};
    if (s.bg != STYLE_DEFAULT && out.bg < 0)
        out.attr |= STYLE_REVERSE;
    return out;
}

const char *style_theme_name(enum style_theme theme)
{
    return theme_names[theme % STYLE_THEMES];
}

const char *style_glyphs_name(enum style_glyphs glyphs)
{
    return glyphs_names[glyphs % STYLE_GLYPHS];
}

uint16_t style_ramp(double t)
{
    if (!(t > 0))
        t = 0;
    return (uint16_t)(STYLE_RAMP + (t < 1 ? (int)(t * 256) : 255));
}

const char *style_shade(const struct style_look *look, double t)
{
    static const char *const ascii[] = {" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"};
    static const char *const block[] = {" ", "\u2591", "\u2592", "\u2593", "\u2588"};
    size_t n = look->glyphs == STYLE_ASCII ? 10 : 5;
    if (!(t > 0))
        t = 0;
    size_t i = t < 1 ? (size_t)(t * (double)n) : n - 1;
    return look->glyphs == STYLE_ASCII ? ascii[i] : block[i];
}

const char *style_glyph(const struct style_look *look, enum style_glyph which)
{
    static const char *const glyph[STYLE_G_MARKS][2] = {
        [STYLE_G_HLINE] = {"\u2500", "-"},     [STYLE_G_VLINE] = {"\u2502", "|"},
        [STYLE_G_CORNER_TL] = {"\u250c", "+"}, [STYLE_G_CORNER_TR] = {"\u2510", "+"},
        [STYLE_G_CORNER_BL] = {"\u2514", "+"}, [STYLE_G_CORNER_BR] = {"\u2518", "+"},
        [STYLE_G_TICK_LEFT] = {"\u2524", "+"}, [STYLE_G_TICK_BELOW] = {"\u252c", "+"},
        [STYLE_G_DASH_V] = {"\u2506", ":"},    [STYLE_G_DASH_H] = {"\u2504", "-"},
        [STYLE_G_POINT] = {"\u2022", "o"},     [STYLE_G_FULL] = {"\u2588", "#"},
        [STYLE_G_HALF_UP] = {"\u2580", "\""},  [STYLE_G_ELLIPSIS] = {"\u2026", "~"},
        [STYLE_G_CROSS] = {"\u253c", "+"},     [STYLE_G_ARROW_R] = {"\u25b8", ">"},
        [STYLE_G_ARROW_UP] = {"\u25b4", "^"},  [STYLE_G_ARROW_DOWN] = {"\u25be", "v"},
        [STYLE_G_CHECK] = {"\u2713", "x"},
    };
    return glyph[which][look->glyphs == STYLE_ASCII];
}
