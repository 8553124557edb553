/*
 * What `moqa open` needs before the screen can work: trace, model, analysis, plan and the host.
 * Loaded in a thread, watched by the screen (ui/app/app_host.h), or in one go without a screen.
 */
#ifndef MOQA_SRC_WORKBENCH_OPEN_LOAD_H
#define MOQA_SRC_WORKBENCH_OPEN_LOAD_H

#include "src/workbench/open_host.h"

struct open_request {
    struct open_host_options host;
    const char *plan_path;                                     /* where `w` writes */
    bool start_from_plan;                                      /* it exists: start from it */
    struct settings settings;                                  /* to start with */
    int (*settings_over)(struct settings *s, struct err *err); /* see struct app_options */
    bool no_session;
};

struct open_load;

/* Everything in `request` is borrowed. Nothing is read yet. */
ERR_CHECK int open_load_new(struct open_load **out, const struct open_request *request,
                            struct err *err);
/* Stops what still loads or runs, and waits for it. */
void open_load_free(struct open_load *l);

/* Starts loading in a thread; the loader shows how far it is. */
ERR_CHECK int open_load_start(struct open_load *l, struct app_loader *out, struct err *err);
/* Loads here and now. */
ERR_CHECK int open_load_now(struct open_load *l, const struct app_options **out, struct err *err);

#endif
