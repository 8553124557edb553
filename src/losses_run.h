/*
 * A measurement of losses (src/quant/measure.h) from model folder and calibration texts to the
 * file, for `moqa losses` and for the workbench.
 */
#ifndef MOQA_SRC_LOSSES_RUN_H
#define MOQA_SRC_LOSSES_RUN_H

#include "src/calibration.h"
#include "src/device.h"
#include "src/progress.h"

struct losses_request {
    const char *model_dir;
    struct calibration_request calibration; /* with the settings, also those of the quantization */
    const unsigned *widths;                 /* rising, of 2, 3, 4, 8 */
    size_t widths_count;
    const double *shares; /* of inputs as mixed channels, rising (losses_are_shares()) */
    size_t shares_count;  /* 0: without */
    struct device_request device;
    const char *out;
    bool resume;               /* go on with an incomplete file of the same measurement */
    struct progress *progress; /* may be NULL */
};

/* ERR_CANCELLED: the file holds the layers that are done. */
ERR_CHECK int losses_run(const struct losses_request *request, struct err *err);

#endif
