/* Rows of two values side by side and their difference; where they have no room, they scroll. */
#ifndef MOQA_UI_APP_COMPARE_TABLE_H
#define MOQA_UI_APP_COMPARE_TABLE_H

#include "ui/app/app_state.h"

struct compare_line {
    char name[32], left[64], right[64], difference[64];
};

struct compare_table {
    const char *left, *right; /* titles of the columns, borrowed */
    int name, value;          /* widths of the columns; the differences have the rest */
    struct compare_line *line;
    size_t lines, room;
};

/* For w columns. ERR_NOMEM leaves nothing to release. */
ERR_CHECK int compare_table_init(struct compare_table *t, int w, const char *left,
                                 const char *right);
void compare_table_release(struct compare_table *t);
/* format: the difference. Equal values are dim. */
void compare_table_row(struct compare_table *t, const char *name, const char *left,
                       const char *right, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* All rows, or those from a->prompt_scroll on, which is kept within them, with a last row that says
 * how many there are. Returns the rows of the screen that are used. */
int compare_table_draw(const struct compare_table *t, struct app *a, struct cells *c,
                       struct rect r);

#endif
