/*
 * A table of texts in cells: columns as wide as their widest text, numbers to the right. Columns
 * that do not fit are dropped, the least important first; one that may be narrower gives its room
 * to those that are more important than it is, and is never dropped.
 */
#ifndef MOQA_UI_CELLS_TABLE_H
#define MOQA_UI_CELLS_TABLE_H

#include "ui/cells/cell.h"

enum { TABLE_TEXT = 64, TABLE_COLUMNS_MAX = 24 };

struct table_column {
    const char *title;
    bool left;    /* texts to the left; else to the right, for numbers */
    int priority; /* the lowest is dropped first */
    int least;    /* columns to which its texts may be cut, in their middle; 0: it is not cut */
};

struct table {
    const struct table_column *column;
    size_t columns, rows;
    const char (*text)[TABLE_TEXT]; /* [row][column] */
    size_t first;                   /* scroll position */
    bool has_selected;
    size_t selected;
};

enum { TABLE_HEAD_ROWS = 2 }; /* titles and the line under them */

/* Draws titles, a line, and the rows from `first` on that fit. */
void table_draw(struct cells *c, struct rect r, const struct style_look *look,
                const struct table *t);

#endif
