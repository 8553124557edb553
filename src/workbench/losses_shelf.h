/*
 * Measured losses for the workbench: those that were given, those that lie in the folder of the
 * runs or beside it, and a thread that measures more, whose file lies in the folder of the runs.
 * All but losses_shelf_open() return at once.
 */
#ifndef MOQA_SRC_WORKBENCH_LOSSES_SHELF_H
#define MOQA_SRC_WORKBENCH_LOSSES_SHELF_H

#include "data/model_config.h"
#include "data/trace.h"
#include "ui/app/app_host.h"

struct losses_shelf_options { /* borrowed while the shelf lives */
    const char *model_dir, *runs_dir;
    const char *path; /* a file that was given; NULL: none */
    const char *const *calib;
    size_t calib_count;
    const struct trace *trace; /* that which is open, where it is the calibration; NULL: texts */
    size_t threads;
};

struct losses_shelf;

ERR_CHECK int losses_shelf_new(struct losses_shelf **out,
                               const struct losses_shelf_options *options, struct err *err);
/* Cancels a measurement and waits for it. */
void losses_shelf_free(struct losses_shelf *s);

/* Reads what there is for the model. An error is one of the file that was given; others that do not
 * fit are passed over. */
ERR_CHECK int losses_shelf_open(struct losses_shelf *s, const struct model_config *config,
                                struct err *err);

/* Those that were measured with these settings of the quantization: by this shelf, else the given
 * file's, else those on the calibration that the shelf has, else on another one; of equals those
 * that know the settings' mixed channels. NULL: none. They and their path stay valid while the
 * shelf lives. */
const struct losses *losses_shelf_find(struct losses_shelf *s, const struct settings *settings,
                                       const char **path);
/* Were losses that it found measured on other tokens than losses_shelf_start() would take with the
 * same choice of windows? */
bool losses_shelf_differ(struct losses_shelf *s, const struct losses *losses);

ERR_CHECK int losses_shelf_start(struct losses_shelf *s, const struct settings *settings,
                                 struct err *err);
void losses_shelf_poll(struct losses_shelf *s, struct app_losses *out);
void losses_shelf_cancel(struct losses_shelf *s);
bool losses_shelf_active(struct losses_shelf *s);

#endif
