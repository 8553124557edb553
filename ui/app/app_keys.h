/*
 * Keys of the workbench. What a key does, the hint row and the help come from the same tables,
 * so that they cannot disagree: one for all screens (app_keys.c) and one for each screen, which
 * goes first.
 */
#ifndef MOQA_UI_APP_APP_KEYS_H
#define MOQA_UI_APP_APP_KEYS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "ui/cells/style.h"
#include "ui/cells/term.h"

struct app;

enum { APP_KEY_CODES = 9, APP_KEY_NAME = 96 };

/* Steps through a list, as the argument of a key. */
enum app_move {
    APP_TO_FIRST = -3,
    APP_PAGE_BACK = -2,
    APP_BACK = -1,
    APP_ON = 1,
    APP_PAGE_ON = 2,
    APP_TO_LAST = 3
};
#define APP_KEYS_MOVE {'<', APP_BACK}, {'>', APP_ON}, APP_KEYS_ARROWS
#define APP_KEYS_ARROWS                                                                  \
    {TERM_KEY_UP, APP_BACK}, {TERM_KEY_DOWN, APP_ON}, {TERM_KEY_PAGE_UP, APP_PAGE_BACK}, \
        {TERM_KEY_PAGE_DOWN, APP_PAGE_ON}, {TERM_KEY_HOME, APP_TO_FIRST},                \
    {                                                                                    \
        TERM_KEY_END, APP_TO_LAST                                                        \
    }

#define APP_KEYS_ACROSS /* where up and down choose something else */     \
    {'<', APP_BACK}, {'>', APP_ON}, {TERM_KEY_PAGE_UP, APP_PAGE_BACK},    \
        {TERM_KEY_PAGE_DOWN, APP_PAGE_ON}, {TERM_KEY_HOME, APP_TO_FIRST}, \
    {                                                                     \
        TERM_KEY_END, APP_TO_LAST                                         \
    }

/* Keys that do one thing, or that thing with different arguments. */
struct app_key {
    struct {
        uint32_t code; /* code point or enum term_key; 0 ends the list */
        int argument;  /* for act() */
    } on[APP_KEY_CODES];
    const char *hint; /* words behind the first two keys in the hint row; NULL: not there */
    const char *help; /* what it does, a sentence without a full stop */
    void (*act)(struct app *a, int argument); /* NULL ends a table */
};

extern const struct app_key app_keys[]; /* those of all screens */

/* The entry for a key on a screen, or NULL; its argument in *argument. */
const struct app_key *app_keys_find(const struct app *a, uint32_t code, int *argument);

/* "Tab", "Shift-Left", "Ctrl-C", "w"; arrows where `glyphs` has them. */
void app_keys_name(char *out, size_t size, uint32_t code, enum style_glyphs glyphs);
/* Names of the first `max` keys of an entry, between spaces; "1-7" for a run of digits. */
void app_keys_names(char *out, size_t size, const struct app_key *key, size_t max,
                    enum style_glyphs glyphs);

/* The words for the hint row; NULL: none, or of no use on this screen as it is. */
const char *app_keys_hint(const struct app *a, const struct app_key *key);

/* First index in sight of a list of `count`, of which `rows` fit, after a move from `selected`. */
size_t app_keys_move(size_t selected, size_t count, int move, size_t page);

#endif
