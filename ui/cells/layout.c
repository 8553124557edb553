#include "ui/cells/layout.h"

enum { LAYOUT_ITEMS_MAX = 64 };

static int at_least_one(int v)
{
    return v > 1 ? v : 1;
}

static int start_of(const struct layout_item *item)
{
    int min = at_least_one(item->min);
    return item->want > min ? item->want : min;
}

/* Index of the item to give up: lowest priority, the last of equals; count if none is left. */
static size_t weakest(const struct layout_item *items, const int *size, size_t count)
{
    size_t found = count;
    for (size_t i = 0; i < count; i++)
        if (size[i] > 0 && (found == count || items[i].priority <= items[found].priority))
            found = i;
    return found;
}

/* Sets size[] to the start of what can stay with its minimum; returns the room left, which is
 * negative while the starts are too large. */
static int choose(int *size, const struct layout_item *items, size_t count, int length, int gap)
{
    for (size_t i = 0; i < count; i++)
        size[i] = start_of(&items[i]);
    for (;;) {
        int need = 0, wanted = 0, kept = 0;
        for (size_t i = 0; i < count; i++) {
            if (size[i] == 0)
                continue;
            need += at_least_one(items[i].min) + (kept ? gap : 0);
            wanted += size[i] + (kept ? gap : 0);
            kept++;
        }
        if (need <= length || kept == 0)
            return length - wanted;
        size[weakest(items, size, count)] = 0;
    }
}

/* Takes `deficit` cells from the items, the least important first, never below their minimum. */
static void shrink(int *size, const struct layout_item *items, size_t count, int deficit)
{
    int kept[LAYOUT_ITEMS_MAX];
    for (size_t i = 0; i < count; i++)
        kept[i] = size[i];
    while (deficit > 0) {
        size_t i = weakest(items, kept, count);
        if (i == count)
            return;
        int slack = size[i] - at_least_one(items[i].min);
        int taken = slack < deficit ? slack : deficit;
        size[i] -= taken;
        deficit -= taken;
        kept[i] = 0;
    }
}

static bool can_grow(const struct layout_item *item, int size)
{
    return size > 0 && item->weight > 0 && (item->max <= 0 || size < item->max);
}

/* Hands `room` cells to the items that have a weight, cell by cell to the one that is furthest
 * behind its share, so that rounding never loses or invents a cell. */
static void grow(int *size, const struct layout_item *items, size_t count, int room)
{
    int given[LAYOUT_ITEMS_MAX] = {0};
    while (room-- > 0) {
        size_t best = count;
        for (size_t i = 0; i < count; i++)
            if (can_grow(&items[i], size[i]) &&
                (best == count || (long)(given[i] + 1) * items[best].weight <
                                      (long)(given[best] + 1) * items[i].weight))
                best = i;
        if (best == count)
            return;
        size[best]++;
        given[best]++;
    }
}

static void cut(int *size, const struct layout_item *items, size_t count, int length, int gap)
{
    int left = choose(size, items, count, length, gap);
    if (left < 0)
        shrink(size, items, count, -left);
    else
        grow(size, items, count, left);
}

void layout_rows(struct rect *out, struct rect area, const struct layout_item *items, size_t count,
                 int gap)
{
    int size[LAYOUT_ITEMS_MAX], y = area.y;
    count = count < LAYOUT_ITEMS_MAX ? count : LAYOUT_ITEMS_MAX;
    cut(size, items, count, area.w > 0 ? area.h : 0, gap);
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct rect){area.x, y, size[i] ? area.w : 0, size[i]};
        y += size[i] ? size[i] + gap : 0;
    }
}

void layout_columns(struct rect *out, struct rect area, const struct layout_item *items,
                    size_t count, int gap)
{
    int size[LAYOUT_ITEMS_MAX], x = area.x;
    count = count < LAYOUT_ITEMS_MAX ? count : LAYOUT_ITEMS_MAX;
    cut(size, items, count, area.h > 0 ? area.w : 0, gap);
    for (size_t i = 0; i < count; i++) {
        out[i] = (struct rect){x, area.y, size[i], size[i] ? area.h : 0};
        x += size[i] ? size[i] + gap : 0;
    }
}

bool rect_empty(struct rect r)
{
    return r.w <= 0 || r.h <= 0;
}

struct rect rect_intersect(struct rect a, struct rect b)
{
    int left = a.x > b.x ? a.x : b.x, top = a.y > b.y ? a.y : b.y;
    int right = a.x + a.w < b.x + b.w ? a.x + a.w : b.x + b.w;
    int bottom = a.y + a.h < b.y + b.h ? a.y + a.h : b.y + b.h;
    if (right <= left || bottom <= top)
        return (struct rect){left, top, 0, 0};
    return (struct rect){left, top, right - left, bottom - top};
}

struct rect rect_inset(struct rect r, int left, int top, int right, int bottom)
{
    r.x += left;
    r.y += top;
    r.w = r.w > left + right ? r.w - left - right : 0;
    r.h = r.h > top + bottom ? r.h - top - bottom : 0;
    return r;
}

bool rect_contains(struct rect r, int x, int y)
{
    return x >= r.x && x < r.x + r.w && y >= r.y && y < r.y + r.h;
}
