#include "ui/app/card.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/mem.h"

void card_release(struct card *k)
{
    free(k->row);
    k->row = NULL;
    k->count = k->capacity = 0;
}

static struct card_row *add(struct card *k)
{
    if (mem_grow((void **)&k->row, &k->capacity, k->count + 1, sizeof *k->row, NULL) < 0)
        return &k->spare;
    struct card_row *row = &k->row[k->count++];
    *row = (struct card_row){.left_colour = STYLE_DEFAULT, .right_colour = STYLE_DEFAULT};
    return row;
}

void card_heading(struct card *k, const char *format, ...)
{
    va_list args;
    if (k->count)
        add(k);
    struct card_row *row = add(k);
    row->heading = true;
    row->left_colour = STYLE_TITLE;
    va_start(args, format);
    vsnprintf(row->left, sizeof row->left, format, args);
    va_end(args);
}

void card_fact(struct card *k, const char *name, uint16_t colour, const char *format, ...)
{
    va_list args;
    struct card_row *row = add(k);
    snprintf(row->left, sizeof row->left, "%s", name);
    row->left_colour = STYLE_TEXT_DIM;
    row->right_colour = colour;
    va_start(args, format);
    vsnprintf(row->right, sizeof row->right, format, args);
    va_end(args);
}

void card_words(struct card *k, uint16_t colour, const char *format, ...)
{
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    struct card_row *row = NULL;
    for (char *word = text, *next; word && *word; word = next) {
        next = strchr(word, ' ');
        if (next)
            *next++ = '\0';
        if (!row || cells_width(row->left) + 1 + cells_width(word) > k->width) {
            row = add(k);
            row->left_colour = colour;
            row->left[0] = '\0';
        }
        size_t used = strlen(row->left);
        snprintf(row->left + used, sizeof row->left - used, "%s%.*s", used ? " " : "",
                 (int)(sizeof row->left - used - 2), word);
    }
}

struct card_row *card_item(struct card *k, uint16_t colour, const char *left, const char *right)
{
    struct card_row *row = add(k);
    snprintf(row->left, sizeof row->left, "%s", left);
    snprintf(row->right, sizeof row->right, "%s", right);
    row->left_colour = row->right_colour = colour;
    return row;
}

static void draw_row(struct cells *c, struct rect r, const struct style_look *look,
                     const struct card_row *row)
{
    bool fact = row->left_colour == STYLE_TEXT_DIM && row->right[0];
    int left = cells_width(row->left), right = cells_width(row->right);
    struct style text = {.fg = row->left_colour, .attr = row->heading ? STYLE_BOLD : 0};
    if (right > 0 && left + right + 1 > r.w) {
        int least = fact ? left : 8;
        left = r.w - right - 1 > least ? r.w - right - 1 : least;
        right = r.w - left - 1;
    } else {
        left = r.w - (right ? right + 1 : 0);
    }
    cells_label(c, (struct rect){r.x, r.y, left, 1}, CELLS_LEFT, row->left, look, text);
    if (right > 0)
        cells_label(c, (struct rect){r.x + r.w - right, r.y, right, 1}, CELLS_RIGHT, row->right,
                    look, STYLE(row->right_colour));
    if (row->marked)
        cells_highlight(c, r, STYLE_SELECT);
}

void card_draw(struct cells *c, struct rect r, const struct style_look *look, const struct card *k,
               size_t first)
{
    for (int y = 0; y < r.h && first + (size_t)y < k->count; y++)
        draw_row(c, (struct rect){r.x, r.y + y, r.w, 1}, look, &k->row[first + (size_t)y]);
}
