/*
 * The windows of tokens that a model is run over: from texts (encoded, then chosen as the
 * settings say) or from a trace (its own tokens and windows).
 */
#ifndef MOQA_SRC_CALIBRATION_H
#define MOQA_SRC_CALIBRATION_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/hash.h"
#include "data/settings.h"
#include "data/tokenizer.h"
#include "data/trace.h"
#include "src/model/model.h"

enum { CALIBRATION_SAMPLES = 128, CALIBRATION_WINDOW = 2048 };

struct calibration_request {
    const char *const *paths; /* texts, joined in this order; or one trace */
    size_t count;
    size_t samples; /* 0: CALIBRATION_SAMPLES, and all windows of a trace */
    size_t window;  /* 0: CALIBRATION_WINDOW or the model's limit if smaller; a trace's own */
    const struct settings *settings; /* windows, seed, and R for weighted choice */
};

struct calibration {
    struct token_ids ids; /* the whole stream */
    size_t *starts;       /* [windows] first position of each */
    size_t windows;
    size_t window; /* tokens a window */
};

ERR_CHECK int calibration_load(struct calibration *out, const struct model *m,
                               const struct calibration_request *request, struct err *err);
/* The same from a trace that is open, without `ids`: they are the trace's. path: for messages. */
ERR_CHECK int calibration_of_trace(struct calibration *out, const struct model_config *config,
                                   const struct trace *t, const char *path,
                                   const struct calibration_request *request, struct err *err);
/* Of the windows' tokens, in order: what a calibration is known by. */
ERR_CHECK int calibration_hash(char out[HASH_HEX_SIZE], const uint32_t *ids, const size_t *starts,
                               size_t windows, size_t window, struct err *err);
void calibration_release(struct calibration *c);

/* The window length for a request of `wanted` tokens (0: default); refuses what the model cannot
 * take. */
ERR_CHECK int calibration_window(size_t *out, const struct model_config *config, size_t wanted,
                                 struct err *err);

#endif
