/*
 * Windows of one token stream that do not overlap, and a whole model over them: in batches whose
 * hidden states take bounded memory. What evaluations of a text have in common.
 */
#ifndef MOQA_SRC_EVAL_EVAL_WINDOWS_H
#define MOQA_SRC_EVAL_EVAL_WINDOWS_H

#include "src/model/forward.h"
#include "src/progress.h"

struct eval_windows {
    struct backend *b;
    const uint32_t *ids; /* borrowed */
    size_t *starts;      /* [windows] */
    size_t windows, window;
    size_t batch; /* windows at a time */
    struct progress *progress;
};

/* At most `most` windows from the start (0: all); ERR_INPUT where there is none. */
ERR_CHECK int eval_windows_init(struct eval_windows *w, const struct model_config *config,
                                struct backend *b, const uint32_t *ids, size_t tokens,
                                size_t window, size_t most, struct progress *progress,
                                struct err *err);
void eval_windows_release(struct eval_windows *w);

/* Windows first .. first + count - 1 behind all layers of m; steps of progress: count a layer. */
ERR_CHECK int eval_windows_run(struct forward **out, const struct eval_windows *w,
                               const struct model *m, size_t first, size_t count, struct err *err);

#endif
