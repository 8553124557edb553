#include "ui/cells/table.h"

enum { WIDE_GAP = 2, NARROW_GAP = 1 };

static const char *text_at(const struct table *t, size_t row, size_t column)
{
    return t->text[row * t->columns + column];
}

static int column_width(const struct table *t, size_t column)
{
    int width = cells_width(t->column[column].title);
    for (size_t i = 0; i < t->rows; i++) {
        int w = cells_width(text_at(t, i, column));
        width = w > width ? w : width;
    }
    return width;
}

static int total(const int *width, size_t columns, int gap)
{
    int sum = 0;
    for (size_t i = 0; i < columns; i++)
        if (width[i])
            sum += width[i] + (sum ? gap : 0);
    return sum;
}

/* The column that goes next; t->columns: none. */
static size_t find_weakest(const int *width, const struct table *t)
{
    size_t weakest = t->columns;
    for (size_t i = 0; i < t->columns; i++) {
        bool gone = !width[i] || (t->column[i].least && width[i] <= t->column[i].least);
        if (!gone &&
            (weakest == t->columns || t->column[i].priority <= t->column[weakest].priority))
            weakest = i;
    }
    return weakest;
}

/* Widths of the columns, 0 for what is dropped; returns the gap between them. */
static int fit(int *width, const struct table *t, int room)
{
    int over;
    for (size_t i = 0; i < t->columns; i++)
        width[i] = column_width(t, i);
    while ((over = total(width, t->columns, NARROW_GAP) - room) > 0) {
        size_t i = find_weakest(width, t);
        if (i == t->columns)
            break;
        int least = t->column[i].least;
        width[i] = least > 0 && width[i] - over < least ? least : least > 0 ? width[i] - over : 0;
    }
    for (size_t i = 0; i < t->columns; i++) { /* what was cut for one that is dropped */
        int left = room - total(width, t->columns, NARROW_GAP), full = column_width(t, i);
        if (t->column[i].least && left > 0)
            width[i] = width[i] + left < full ? width[i] + left : full;
    }
    return total(width, t->columns, WIDE_GAP) <= room ? WIDE_GAP : NARROW_GAP;
}

static void draw_text(struct cells *c, struct rect r, const struct table_column *column,
                      const char *text, const struct style_look *look)
{
    if (column->least)
        cells_ends(c, r, text, look, STYLE(STYLE_DEFAULT));
    else
        cells_label(c, r, column->left ? CELLS_LEFT : CELLS_RIGHT, text, look,
                    STYLE(STYLE_DEFAULT));
}

void table_draw(struct cells *c, struct rect r, const struct style_look *look,
                const struct table *t)
{
    int width[TABLE_COLUMNS_MAX], x = r.x;
    if (t->columns > TABLE_COLUMNS_MAX || rect_empty(r))
        return;
    int gap = fit(width, t, r.w), all = total(width, t->columns, gap);
    for (size_t i = 0; i < t->columns; i++) {
        const struct table_column *column = &t->column[i];
        enum cells_align align = column->left ? CELLS_LEFT : CELLS_RIGHT;
        if (!width[i])
            continue;
        cells_label(c, (struct rect){x, r.y, width[i], 1}, align, column->title, look,
                    STYLE(STYLE_TEXT_DIM));
        for (int y = TABLE_HEAD_ROWS; y < r.h; y++) {
            size_t row = t->first + (size_t)(y - TABLE_HEAD_ROWS);
            if (row < t->rows)
                draw_text(c, (struct rect){x, r.y + y, width[i], 1}, column, text_at(t, row, i),
                          look);
        }
        x += width[i] + gap;
    }
    if (r.h > 1)
        cells_fill(c, (struct rect){r.x, r.y + 1, all, 1}, style_glyph(look, STYLE_G_HLINE),
                   STYLE(STYLE_BORDER));
    if (t->has_selected && t->selected >= t->first)
        cells_highlight(
            c,
            rect_intersect(
                r,
                (struct rect){r.x, r.y + TABLE_HEAD_ROWS + (int)(t->selected - t->first), r.w, 1}),
            STYLE_SELECT);
}
