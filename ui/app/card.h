/* A card: facts, lists and words in rows, built for a width and drawn from any row on. */
#ifndef MOQA_UI_APP_CARD_H
#define MOQA_UI_APP_CARD_H

#include "ui/cells/cell.h"

enum { CARD_TEXT = 192 };

struct card_row {
    char left[CARD_TEXT], right[CARD_TEXT];
    uint16_t left_colour, right_colour;
    bool heading, marked; /* marked: a bar behind it */
};

/* `{.width = w}`; memory that is missing leaves rows out. */
struct card {
    int width;
    struct card_row *row;
    size_t count, capacity;
    bool has_focus;
    size_t focus;          /* the row to keep in sight */
    struct card_row spare; /* what is written where there is no memory */
};

void card_release(struct card *k);

/* A title, with an empty row above it unless it is the first. */
void card_heading(struct card *k, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* "name      value"; the value is cut where there is no room, never the name. */
void card_fact(struct card *k, const char *name, uint16_t colour, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* Words, wrapped. */
void card_words(struct card *k, uint16_t colour, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* An entry of a list: the left text gives way, the right one stays whole. */
struct card_row *card_item(struct card *k, uint16_t colour, const char *left, const char *right);

/* Rows from `first` on in `r`. */
void card_draw(struct cells *c, struct rect r, const struct style_look *look, const struct card *k,
               size_t first);

#endif
