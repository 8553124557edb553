/*
 * The workbench without a terminal: events in, cells out. app_terminal.c ties it to one; tests
 * drive it by hand.
 */
#ifndef MOQA_UI_APP_APP_H
#define MOQA_UI_APP_APP_H

#include "ui/app/app_host.h"
#include "ui/cells/cell.h"
#include "ui/cells/style.h"
#include "ui/cells/term.h"

struct app;

/* `options` and what it points to are borrowed while the app lives. */
ERR_CHECK int app_new(struct app **out, const struct app_options *options,
                      const struct style_look *look, struct err *err);
void app_free(struct app *a);

/* Work that may end early asks whether an event is waiting. */
void app_ask_for_keys(struct app *a, bool (*key_waits)(void *context), void *context);

/* One key or mouse event; false when the user has left. */
bool app_event(struct app *a, const struct term_event *event);

/* Draws the whole frame into `c`, whatever its size. */
void app_draw(struct app *a, struct cells *c);

/* Asks the host what happened in the background; true if the frame may have changed. */
bool app_tick(struct app *a);
/* True while something runs whose progress is on the screen. */
bool app_busy(const struct app *a);
/* The same without a quantization pass: what ends by itself within moments or minutes. */
bool app_waiting(const struct app *a);

/* Files that keys have asked for are written meanwhile: waits for them, and says how they ended.
 * False where one could not be written. */
bool app_write_finish(struct app *a);

const struct style_look *app_look(const struct app *a);
bool app_wants_mouse(const struct app *a);
/* Text for the clipboard since the last call, or NULL; borrowed until the next event. */
const char *app_take_copy(struct app *a);

#endif
