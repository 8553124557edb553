/* What `/` finds, in a pane over or beside the chart: a list of tokens, or the card of a token or
 * an expert. Only app*.c includes this. */
#ifndef MOQA_UI_APP_APP_FIND_H
#define MOQA_UI_APP_APP_FIND_H

#include "ui/app/app_state.h"

/* Looks for a->typed, shows what there is, or says that there is nothing. */
void app_find_search(struct app *a);
/* What Enter would show, for the row in which the text is typed. */
void app_find_preview(const struct app *a, char *out, size_t size);
/* The card of what is selected: the token on Data, else the expert; closes an open one. */
void app_find_toggle(struct app *a);
/* The match after (by = 1) or before (-1) the last one, also where the pane is closed. */
void app_find_next(struct app *a, int by);

/* The keys of each pane, which go before those of the screen while it is open. */
extern const struct app_find_table {
    const char *name;
    const struct app_key *keys;
} app_find_tables[APP_PANES];
/* Those of the open one, or NULL. */
const struct app_key *app_find_keys(const struct app *a);
/* True if the mouse was over the open pane. */
bool app_find_mouse(struct app *a, const struct term_event *e);
/* Where another screen is chosen: a pane that would hide it goes. */
void app_find_leave(struct app *a);

/* Cuts the pane from the room of the charts: *chart is what is left of `r` (all of it where the
 * pane lies over the charts), the return value the pane, empty if none is open. */
struct rect app_find_place(struct app *a, struct rect r, int screen_width, struct rect *chart);
void app_find_draw(struct app *a, struct cells *c, struct rect r);
void app_find_release(struct app *a);

#endif
