/*
 * A screen as SVG: text stays text, blocks, lines and braille become shapes, so that the picture
 * looks the same with any font. The background is that of the look's theme.
 */
#ifndef MOQA_UI_FIGURE_CELLS_SVG_H
#define MOQA_UI_FIGURE_CELLS_SVG_H

#include "data/base/str.h"
#include "ui/cells/cell.h"

/* The same cells give the same bytes. `title`: for those who cannot see it; may be NULL. */
ERR_CHECK int cells_svg(struct str *out, const struct cells *c, const struct style_look *look,
                        const char *title, struct err *err);

#endif
