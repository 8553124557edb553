/* Inside of the pass: shared by pass.c, pass_check.c, pass_layer.c and pass_report.c alone. */
#ifndef MOQA_SRC_QUANT_PASS_INTERNAL_H
#define MOQA_SRC_QUANT_PASS_INTERNAL_H

#include <pthread.h>

#include "data/base/parallel.h"
#include "src/model/ahead.h"
#include "src/model/prefetch.h"
#include "src/quant/hessians.h"
#include "src/quant/journal.h"
#include "src/quant/lane.h"
#include "src/quant/learn.h"
#include "src/quant/pass.h"
#include "src/quant/quantizer.h"
#include "src/quant/writer.h"

/* Steps of progress, a layer: see pass_steps(). */
enum {
    PASS_ATTENTION_STEPS = 4,
    PASS_HESSIAN_STEPS = 12,
    PASS_ROUNDING_STEPS = 16, /* a multiple of the four kinds of Hessian */
    PASS_WRITING_STEPS = 2,
    PASS_STEPS =
        PASS_ATTENTION_STEPS + PASS_HESSIAN_STEPS + PASS_ROUNDING_STEPS + PASS_WRITING_STEPS,
    PASS_LEARNING_STEPS = 120 /* more, where the plan has `learn` */
};

struct pass {
    struct pass_options o;
    const struct model_config *config;
    const struct quantizer *quantizer; /* NULL: nothing is quantized */
    struct quantizer_rule rule;
    struct forward *forward;  /* NULL where no layer needs it */
    struct forward *original; /* the same tokens through the original, where it runs beside */
    bool needs_forward;
    struct prefetch *prefetch;  /* of the next layer's weights; may be NULL */
    struct ahead *ahead;        /* the next layer's experts on their way to a device, or NULL */
    bool ahead_fits;            /* its memory holds a layer's weights more */
    struct str note;            /* of pass_attach(), for the layer in work */
    struct journal journal;     /* the lane's while that is at work */
    struct lane *lane;          /* stores the layer before the one in work */
    struct parallel *lane_pool; /* threads of the lane's own, beside a device; may be NULL */
    double hidden_saved; /* clock_seconds() when hidden states were saved last, or the run began */
    double hidden_seconds; /* that saving took; 0: not known yet */
    size_t positions;
    size_t next; /* layer to do */
    bool finished;
    int broken; /* error of an earlier step: hidden states are unusable */
    json_t *digest;

    pthread_mutex_t lock;                 /* below */
    struct pass_expert *expert;           /* [plan layers][experts] */
    size_t layer, layers_done, fallbacks; /* fallbacks: of the finished layers */
};

/* --- pass_check.c: what the plan asks of each linear, refusals, sizes. --- */

struct pass_bits {
    unsigned bits; /* 16: left as it is */
    unsigned channel_bits;
    size_t channels;
};

/* The plan's layer for a layer of the model, or NULL where that is dense. */
const struct plan_layer *pass_plan_layer(const struct pass_options *o, size_t layer);

/* Bits of a linear; channels already dropped where the format has none. */
struct pass_bits pass_bits_of(const struct pass_options *o, size_t layer, enum model_linear linear,
                              size_t expert);

/* Linears of a layer, one after another: calls back for each that the model has. */
typedef int (*pass_visit)(void *context, size_t layer, enum model_linear linear, size_t expert,
                          struct err *err);
ERR_CHECK int pass_each_linear(const struct pass_options *o, size_t layer, pass_visit visit,
                               void *context, struct err *err);

/* Is a layer calibrated on the quantized layers before it (propagation = quant)? */
bool pass_propagates(const struct pass_options *o);
/* Do weights make up for shifts? */
bool pass_shifts(const struct pass_options *o);
/* Does the pass run the original beside the quantized model: for shifts, or to learn from it? */
bool pass_pairs(const struct pass_options *o);

/* Does any linear of the layer change? */
bool pass_layer_quantized(const struct pass_options *o, size_t layer);

/* Everything that is refused before a run, but for OUT itself. */
ERR_CHECK int pass_check(const struct pass_options *o, struct err *err);
/* OUT in, above or equal to the model's folder; a parent that is not there. */
ERR_CHECK int pass_check_out(const struct pass_options *o, struct err *err);
ERR_CHECK int pass_estimate(struct pass_estimate *out, const struct pass_options *o,
                            struct err *err);
/* Is the disk of OUT too full for what a run has not written yet? */
ERR_CHECK int pass_check_space(const struct pass_options *o, const struct pass_estimate *e,
                               const struct journal_state *written, struct err *err);
/* Does any layer from number `layer` on change? */
bool pass_quantizes_from(const struct pass_options *o, size_t layer);

/* --- pass.c --- */

/* Steps of progress, a layer. */
size_t pass_steps(const struct pass *p);
/* The forward pass runs only while some layer from p->next on changes. */
bool pass_forward_needed(const struct pass *p);

/* --- pass_store.c --- */

/* Shows an expert as done in the snapshot before its layer is; takes back what was shown. */
void pass_publish_expert(struct pass *p, size_t layer, size_t expert, const struct pass_expert *e);
void pass_withdraw(struct pass *p, size_t layer);

/* --- pass_layer.c --- */

/* What one layer's quantization says about itself. */
struct pass_layer_result {
    struct pass_expert *expert; /* [experts] */
    struct pass_expert shared, attention;
    bool learned;
    struct learn_result learn; /* unit_kept: [experts, and the shared one], owned */
};

/* Quantizes layer p->next, moves the hidden states on and fills `list` with its linears. */
ERR_CHECK int pass_layer_run(struct pass *p, struct writer_list *list,
                             struct pass_layer_result *result, struct err *err);

/* --- pass_store.c, continued --- */

/* Saves hidden states, where they are due, and hands layer p->next to the lane, which must be idle:
 * shard and journal. `list` and `result` are taken over, unless it fails. */
ERR_CHECK int pass_store(struct pass *p, struct writer_list *list, struct pass_layer_result *result,
                         struct err *err);
/* p->next and the snapshot from the journal. */
ERR_CHECK int pass_restore(struct pass *p, struct err *err);

/* --- pass_report.c --- */

/* The layer's part of moqa_report.json, also kept in the journal. */
ERR_CHECK int pass_report_layer(json_t **out, const struct pass *p, size_t layer,
                                const struct pass_layer_result *result, struct err *err);
/* Back from the journal, for the snapshot of a resumed run. */
void pass_report_restore(struct pass *p, const json_t *report);
/* moqa_report.json as a whole. */
ERR_CHECK int pass_report_save(const struct pass *p, struct err *err);
/* What must be equal for a run to go on. */
ERR_CHECK int pass_report_digest(json_t **out, const struct pass_options *o, struct err *err);

#endif
