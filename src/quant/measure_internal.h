/* Inside of the measurement: shared by measure.c and measure_layer.c alone. */
#ifndef MOQA_SRC_QUANT_MEASURE_INTERNAL_H
#define MOQA_SRC_QUANT_MEASURE_INTERNAL_H

#include "src/quant/hessians.h"
#include "src/quant/measure.h"
#include "src/quant/quantizer.h"
#include "src/quant/slopes.h"

struct measure {
    const struct measure_options *o;
    const struct model_config *config;
    struct quantizer_rule rule;
    struct losses losses;
    size_t probe_width; /* index of the width whose errors pass the layers behind */
};

/* What calibration tokens left behind in one MoE layer. */
struct measure_layer {
    struct measure *m;
    struct model_layer *layer;
    struct hessians hessians;
    struct forward_tap from_hessians;
    struct slopes slopes;
    struct losses_layer *out; /* NULL: the layer is measured, only its probe is wanted */
};

/* Feeds both; borrows l. */
struct forward_tap measure_tap(struct measure_layer *l);

/* Quantizes all experts of the layer and puts the weights of the probe's width in place. */
ERR_CHECK int measure_layer_run(struct measure_layer *l, struct err *err);

#endif
