#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/log.h"
#include "data/base/str.h"
#include "data/trace_h5.h"
#include "src/calibration.h"
#include "src/cli/cli.h"
#include "src/cli/cli_device.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_progress.h"
#include "src/model/tracer.h"

struct arguments {
    const char *model, *out, *progress;
    struct cli_list text;
    struct cli_count samples, window;
    struct cli_device device;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder of the model"},
    {"text", 't', "FILE...", CLI_LIST, offsetof(struct arguments, text), true,
     "texts, joined in this order"},
    {"output", 'o', "TRACE", CLI_TEXT, offsetof(struct arguments, out), true,
     "file to write (HDF5)"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "windows to run (128)"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "tokens a window (2048, or the model's limit if smaller)"},
    CLI_DEVICE_OPTIONS(struct arguments, device),
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {{.type = CLI_END}};

const struct cli_spec cmd_trace_spec = {
    "trace",
    "Runs a model over text and records which experts serve every token, layer by layer.",
    "  moqa trace --model OLMoE-1B-7B --text wiki.txt -o wiki.h5\n"
    "  moqa trace --model DIR --text a.txt b.txt --samples 64 --window 256 -o ab.h5\n"
    "  moqa trace --model DIR --text a.txt --windows random --seed 7 -o random.h5\n",
    options,
    positional,
    true,
};

/* "a.txt, b.txt": the names without folders, cut if too long. */
static void describe_texts(char *out, size_t size, const struct cli_list *texts)
{
    out[0] = '\0';
    for (size_t i = 0; i < texts->count; i++) {
        const char *slash = strrchr(texts->items[i], '/');
        size_t used = strlen(out);
        snprintf(out + used, size - used, "%s%s", i ? ", " : "",
                 slash ? slash + 1 : texts->items[i]);
    }
}

static int run(const struct arguments *a, const struct settings *s, struct progress *progress,
               struct err *err)
{
    struct model model = {0};
    struct calibration windows = {0};
    struct device device = {0};
    struct device_request wanted;
    struct trace trace = {0};
    struct calibration_request request = {a->text.items, a->text.count, a->samples.value,
                                          a->window.value, s};
    int rc = cli_device_request(&wanted, &a->device, err);
    if (rc == 0)
        rc = model_open(&model, a->model, err);
    if (rc == 0)
        rc = calibration_load(&windows, &model, &request, err);
    if (rc == 0)
        rc = trace_h5_check(model_config_moe_layers(model.config), windows.windows * windows.window,
                            model.config->top_k, a->out, err);
    if (rc == 0)
        rc = device_open(&device, &wanted, err);
    if (rc == 0)
        do {
            trace_release(&trace);
            rc = tracer_run(&trace, &model, device.backend, windows.ids.data, windows.starts,
                            windows.windows, windows.window, progress, err);
        } while (rc < 0 && device_recover(&device, rc, err));
    if (rc == 0) {
        describe_texts(trace.dataset, sizeof trace.dataset, &a->text);
        rc = trace_h5_save(&trace, a->out, err);
    }
    if (rc == 0)
        log_write(LOG_INFO, "wrote %s: %zu positions in %zu windows, %zu layers, %zu experts",
                  a->out, trace.positions, trace.windows, trace.layers, trace.experts);
    trace_release(&trace);
    device_close(&device);
    calibration_release(&windows);
    model_release(&model);
    return rc;
}

int cmd_trace(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct progress progress;
    int rc = cli_parse(&cmd_trace_spec, argc, argv, &a, &settings, err);
    if (rc == 0)
        rc =
            cli_output_check(a.out, &(struct cli_inputs){.model = a.model, .list = {&a.text}}, err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, a.progress, err);
    if (rc == 0) {
        rc = run(&a, &settings, &progress, err);
        cli_progress_end(&progress);
    }
    cli_list_release(&a.text);
    return rc;
}
