/*
 * Measuring losses for budget plans: every expert's linears are quantized at every width with the
 * Hessians of a pass, on the original's activations, and the error of the layer's output is noted
 * (docs/method.md, "Budget"). Layer by layer; the file is written after each of them, so that an
 * interrupted measurement goes on.
 */
#ifndef MOQA_SRC_QUANT_MEASURE_H
#define MOQA_SRC_QUANT_MEASURE_H

#include "data/losses.h"
#include "src/model/model.h"
#include "src/progress.h"

/* The shares of channels for plans that choose them, where no others are asked for: how they were
 * chosen is in docs/benchmarks.md, "Plans within a budget". */
enum { MEASURE_SHARES = 3 };
extern const double measure_shares[MEASURE_SHARES];

struct measure_options {
    const struct model *model;
    struct backend *backend;
    const uint32_t *ids;
    const size_t *starts;
    size_t windows, window;
    const struct settings *settings;
    const unsigned *widths; /* [widths_count] rising, of 2, 3, 4, 8 */
    size_t widths_count;
    /* [shares_count] of the inputs as mixed channels, rising: routed experts are measured with each
     * of them at every width below bits_channel, too (losses_are_shares()); 0: without. */
    const double *shares;
    size_t shares_count;
    const char *out; /* the file to write */
    bool resume;     /* go on with an incomplete file of the same measurement; else OUT is new */
    enum backend_precision precision;
    struct progress *progress; /* may be NULL */
};

/* ERR_CANCELLED: the file holds the layers that are done. */
ERR_CHECK int measure_run(const struct measure_options *options, struct err *err);

#endif
