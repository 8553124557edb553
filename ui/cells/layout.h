/*
 * Rows and columns into rectangles: pure arithmetic, no screen. What does not fit is dropped by
 * priority and gets an empty rectangle, never a negative or overlapping one.
 *
 *     struct layout_item rows[] = {
 *         {.want = 1, .min = 1, .priority = 9},           // title
 *         {.weight = 1, .min = 8, .priority = 10},        // plot: all that is left
 *         {.want = 6, .min = 3, .priority = 1},           // log: goes first
 *     };
 *     struct rect out[3];
 *     layout_rows(out, area, rows, 3, 0);
 */
#ifndef MOQA_UI_CELLS_LAYOUT_H
#define MOQA_UI_CELLS_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

/* Columns x .. x+w-1 and rows y .. y+h-1; empty when w or h is not positive. */
struct rect {
    int x, y, w, h;
};

struct layout_item {
    int want;     /* size it takes when there is room; for weight > 0 the size it starts from */
    int min;      /* smallest useful size (at least 1); below it the item is dropped */
    int max;      /* 0: no limit; for weight > 0 */
    int weight;   /* share of the room that is left; 0: not more than `want` */
    int priority; /* the lowest is dropped first; of equal ones the last */
};

/* Cuts `area` from top to bottom (left to right) into `count` rectangles in order, `gap` cells
 * between those that remain. Items shrink from `want` towards
 * `min`, the lowest priority first, before any is dropped. At most 64 items. */
void layout_rows(struct rect *out, struct rect area, const struct layout_item *items, size_t count,
                 int gap);
void layout_columns(struct rect *out, struct rect area, const struct layout_item *items,
                    size_t count, int gap);

bool rect_empty(struct rect r);
struct rect rect_intersect(struct rect a, struct rect b); /* w = h = 0 if they do not meet */
struct rect rect_inset(struct rect r, int left, int top, int right, int bottom);
bool rect_contains(struct rect r, int x, int y);

#endif
