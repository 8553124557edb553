/* Style codes as colours for paper and for dark pages. Neighbours in a family differ in lightness
 * too, so that they stay apart in grey. */
#include <math.h>

#include "ui/figure/canvas_parts.h"

struct pair {
    unsigned light, dark;
};

enum { SERIES = 8, GROUPS = 5, WIDTHS = 5, STOPS = 16 };

static const struct pair paper = {0xffffff, 0x16191d};

static const struct pair roles[STYLE_ROLES] = {
    [STYLE_DEFAULT] = {0x1f2328, 0xe3e6e1},      [STYLE_TEXT_DIM] = {0x5c646c, 0xa3aab0},
    [STYLE_TITLE] = {0x1f2328, 0xf0f2ee},        [STYLE_AXIS] = {0x41474d, 0xb4bac0},
    [STYLE_GRID] = {0xe3e6e9, 0x2d333a},         [STYLE_BORDER] = {0x8c959f, 0x6b737c},
    [STYLE_BORDER_FOCUS] = {0x0b5a94, 0x6bb2e2}, [STYLE_ACCENT] = {0x9a5b00, 0xf2c55c},
    [STYLE_SELECT] = {0xd5e6f5, 0x264a66},       [STYLE_BAR] = {0xeef0f2, 0x24292f},
    [STYLE_KEY] = {0x0b5a94, 0x8cc8f0},          [STYLE_GOOD] = {0x1a7f37, 0x6fcf86},
    [STYLE_WARN] = {0x9a5b00, 0xf2b552},         [STYLE_ERROR] = {0xc42b1c, 0xf58a80},
    [STYLE_MARKER] = {0x111418, 0xf6f6f4},       [STYLE_CURVE] = {0x8a2a8c, 0xe29be3},
    [STYLE_CURSOR] = {0xc42b1c, 0xf58a80},       [STYLE_PIN] = {0x111418, 0xf6f6f4},
    [STYLE_ON_BAR] = {0xffffff, 0x111418},       [STYLE_ON_LIGHT] = {0x111418, 0x111418},
    [STYLE_ON_DARK] = {0xffffff, 0xffffff},
};

/* After Okabe and Ito's set: darker and lighter in turn. */
static const struct pair series[SERIES] = {
    {0x0b5a94, 0x6bb2e2}, {0xdd8100, 0xf2b552}, {0x00694d, 0x43c59e}, {0xbf6b9b, 0xe09ac2},
    {0x7a5a00, 0xe8dc5a}, {0x3f9bd0, 0x9fd3f5}, {0xa83c00, 0xf08a4b}, {0x6b737c, 0xb9c0c6},
};
static const struct pair groups[GROUPS] = {
    {0x41474d, 0xb4bac0}, {0xa83c00, 0xf59a50}, {0x4a97cb, 0x4f93c4},
    {0x00694d, 0x3fb08d}, {0xc99fc0, 0x9a6f93},
};
/* 2, 3, 4, 8, 16 bits on areas: the same on any page. */
static const unsigned widths[WIDTHS] = {0xd3e3f3, 0x9cc6e2, 0x559ecb, 0x1c66ac, 0x08306b};
/* Viridis: equal steps look equal. */
static const unsigned ramp[STOPS] = {0x440154, 0x481a6c, 0x472f7d, 0x414487, 0x39568c, 0x31688e,
                                     0x2a788e, 0x23888e, 0x1f988b, 0x22a884, 0x35b779, 0x54c568,
                                     0x7ad151, 0xa5db36, 0xd2e21b, 0xfde725};

static unsigned channel(unsigned rgb, int shift)
{
    return rgb >> shift & 255;
}

static unsigned ramp_colour(unsigned position)
{
    double at = position / 255.0 * (STOPS - 1);
    int i = at < STOPS - 1 ? (int)at : STOPS - 2;
    unsigned rgb = 0;
    for (int shift = 16; shift >= 0; shift -= 8) {
        double from = channel(ramp[i], shift), to = channel(ramp[i + 1], shift);
        rgb |= (unsigned)lround(from + (to - from) * (at - i)) << shift;
    }
    return rgb;
}

static unsigned bits_colour(unsigned bits)
{
    return widths[bits <= 2 ? 0 : bits == 3 ? 1 : bits == 4 ? 2 : bits <= 8 ? 3 : 4];
}

unsigned canvas_colour(uint16_t colour, bool dark)
{
    struct pair p;
    if (colour == CANVAS_PAPER)
        p = paper;
    else if (colour >= STYLE_INDEX)
        p = roles[STYLE_DEFAULT];
    else if (colour >= STYLE_RAMP)
        return ramp_colour(colour - STYLE_RAMP);
    else if (colour >= STYLE_BITS)
        return bits_colour(colour - STYLE_BITS);
    else if (colour >= STYLE_GROUP)
        p = groups[colour - STYLE_GROUP < GROUPS ? colour - STYLE_GROUP : GROUPS - 1];
    else if (colour >= STYLE_SERIES)
        p = series[(colour - STYLE_SERIES) % SERIES];
    else
        p = roles[colour < STYLE_ROLES ? colour : STYLE_DEFAULT];
    return dark ? p.dark : p.light;
}

/* Relative luminance as WCAG 2 defines it. */
static double luminance(unsigned rgb)
{
    static const double weight[] = {0.2126, 0.7152, 0.0722};
    double sum = 0;
    for (int i = 0; i < 3; i++) {
        double v = channel(rgb, 16 - 8 * i) / 255.0;
        sum += weight[i] * (v <= 0.04045 ? v / 12.92 : pow((v + 0.055) / 1.055, 2.4));
    }
    return sum;
}

uint16_t canvas_ink_on(uint16_t colour)
{
    /* Where black and white have the same contrast. */
    return luminance(canvas_colour(colour, false)) > 0.1791 ? STYLE_ON_LIGHT : STYLE_ON_DARK;
}
