#include "src/losses_run.h"

#include "src/quant/measure.h"

/* A device that fails costs the layer in work. */
static int measure(const struct losses_request *r, const struct model *model,
                   const struct calibration *c, struct err *err)
{
    struct device device = {0};
    struct measure_options o = {.model = model,
                                .ids = c->ids.data,
                                .starts = c->starts,
                                .windows = c->windows,
                                .window = c->window,
                                .settings = r->calibration.settings,
                                .widths = r->widths,
                                .widths_count = r->widths_count,
                                .shares = r->shares,
                                .shares_count = r->shares_count,
                                .out = r->out,
                                .resume = r->resume,
                                .progress = r->progress};
    int rc = device_open(&device, &r->device, err);
    if (rc == 0)
        do {
            o.backend = device.backend;
            rc = measure_run(&o, err);
            o.resume = o.resume || rc < 0; /* what is measured, is kept */
        } while (rc < 0 && device_recover(&device, rc, err));
    device_close(&device);
    return rc;
}

int losses_run(const struct losses_request *r, struct err *err)
{
    struct model model = {0};
    struct calibration calibration = {0};
    int rc = model_open(&model, r->model_dir, err);
    if (rc == 0)
        rc = calibration_load(&calibration, &model, &r->calibration, err);
    if (rc == 0)
        rc = measure(r, &model, &calibration, err);
    calibration_release(&calibration);
    model_release(&model);
    return rc;
}
