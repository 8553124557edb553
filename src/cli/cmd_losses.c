#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/base/log.h"
#include "data/losses.h"
#include "src/cli/cli.h"
#include "src/cli/cli_device.h"
#include "src/cli/cli_output.h"
#include "src/cli/cli_progress.h"
#include "src/losses_run.h"

struct arguments {
    const char *model, *out, *progress, *widths, *channels;
    struct cli_device device;
    struct cli_list calib;
    struct cli_count samples, window;
    bool resume;
};

static const struct cli_option options[] = {
    {"model", 'm', "DIR", CLI_TEXT, offsetof(struct arguments, model), true,
     "checkpoint folder, not quantized"},
    {"calib", 'c', "FILE...", CLI_LIST, offsetof(struct arguments, calib), true,
     "calibration texts, joined in this order; or one trace, whose tokens are used"},
    {"output", 'o', "LOSSES", CLI_TEXT, offsetof(struct arguments, out), true,
     "file to write (JSON)"},
    {"widths", 0, "LIST", CLI_TEXT, offsetof(struct arguments, widths), false,
     "widths to measure, rising (2,3,4,8)"},
    {"channels", 0, "SHARES", CLI_TEXT, offsetof(struct arguments, channels), false,
     "measure with mixed channels, too: shares of the inputs at bits_channel, rising, e.g. "
     "0.125,0.25; for plan --grain channel"},
    {"samples", 'n', "N", CLI_COUNT, offsetof(struct arguments, samples), false,
     "calibration windows (128; of a trace: all)"},
    {"window", 'w', "TOKENS", CLI_COUNT, offsetof(struct arguments, window), false,
     "tokens a window (2048, or the model's limit if smaller; a trace's own)"},
    CLI_DEVICE_OPTIONS(struct arguments, device),
    {"resume", 0, NULL, CLI_FLAG, offsetof(struct arguments, resume), false,
     "go on with an interrupted measurement"},
    {"progress", 0, "STYLE", CLI_TEXT, offsetof(struct arguments, progress), false,
     "auto, bar, plain, json or none"},
    {.type = CLI_END},
};

static const struct cli_option positional[] = {
    {.type = CLI_END},
};

const struct cli_spec cmd_losses_spec = {
    "losses",
    "Measures what every expert loses at every width: what plan --method budget allocates by.",
    "  moqa losses --model OLMoE-1B-7B --calib wiki.h5 -o OLMoE.losses.json\n"
    "  moqa losses --model DIR --calib a.txt --window 512 --best-rounding -o losses.json\n"
    "  moqa losses --model DIR --calib wiki.h5 --bits-channel 4 --channels 0.125,0.25,0.5 -o "
    "losses.json\n"
    "  moqa losses --model DIR --calib wiki.h5 -o losses.json --resume\n",
    options,
    positional,
    true,
};

/* "2,3,4,8" or a rising part of it. */
static int parse_widths(unsigned out[LOSSES_WIDTHS_MAX], size_t *count, const char *text,
                        struct err *err)
{
    const char *at = text ? text : "2,3,4,8";
    *count = 0;
    while (*at) {
        char *end;
        unsigned long bits = strtoul(at, &end, 10);
        bool legal = end != at && (bits == 2 || bits == 3 || bits == 4 || bits == 8) &&
                     (*count == 0 || bits > out[*count - 1]) && (*end == ',' || *end == '\0');
        if (!legal)
            return err_set(err, ERR_USAGE, NULL,
                           "--widths: found \"%s\", expected 2, 3, 4, 8 or some of them, rising",
                           text);
        out[(*count)++] = (unsigned)bits;
        at = *end ? end + 1 : end;
    }
    return *count ? 0 : err_set(err, ERR_USAGE, NULL, "--widths: found nothing");
}

static int measure(const struct arguments *a, const struct settings *settings,
                   struct progress *progress, struct err *err)
{
    unsigned widths[LOSSES_WIDTHS_MAX];
    double shares[LOSSES_SHARES_MAX];
    struct losses_request r = {.model_dir = a->model,
                               .calibration = {a->calib.items, a->calib.count, a->samples.value,
                                               a->window.value, settings},
                               .widths = widths,
                               .shares = shares,
                               .out = a->out,
                               .resume = a->resume,
                               .progress = progress};
    int rc = cli_device_request(&r.device, &a->device, err);
    if (rc == 0)
        rc = parse_widths(widths, &r.widths_count, a->widths, err);
    if (rc == 0 && a->channels)
        rc = losses_parse_shares(shares, &r.shares_count, "--channels", a->channels, err);
    return rc == 0 ? losses_run(&r, err) : rc;
}

int cmd_losses(int argc, char **argv, struct err *err)
{
    struct arguments a = {0};
    struct settings settings;
    struct progress progress;
    int rc = cli_parse(&cmd_losses_spec, argc, argv, &a, &settings, err);
    if (rc == 0)
        rc = cli_output_check(a.out, &(struct cli_inputs){.model = a.model, .list = {&a.calib}},
                              err);
    if (rc == 0)
        rc = cli_progress_begin(&progress, a.progress, err);
    if (rc == 0) {
        rc = measure(&a, &settings, &progress, err);
        cli_progress_end(&progress);
    }
    if (rc == 0)
        log_write(LOG_INFO, "wrote %s", a.out);
    if (rc == ERR_CANCELLED)
        fprintf(stderr, "moqa: interrupted; the same command with --resume goes on\n");
    cli_list_release(&a.calib);
    return rc;
}
