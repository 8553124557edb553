/* The workbench's frame while a trace is opened: what is done, what goes on, how far. */
#ifndef MOQA_UI_APP_APP_LOAD_H
#define MOQA_UI_APP_APP_LOAD_H

#include "ui/app/app_host.h"
#include "ui/cells/cell.h"

/* details: false for the first moments, so that short work does not flicker by. */
void app_load_draw(struct cells *c, const struct style_look *look, const char *trace_path,
                   const struct app_load *load, bool details);

#endif
