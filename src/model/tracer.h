/* `moqa trace`: runs a model over windows of text and records its routing. */
#ifndef MOQA_SRC_MODEL_TRACER_H
#define MOQA_SRC_MODEL_TRACER_H

#include "data/trace.h"
#include "src/model/model.h"
#include "src/progress.h"

/* Fills everything of `out` but `dataset` (ids, experts, gates, windows, vocabulary, hashes,
 * names, created). */
ERR_CHECK int tracer_run(struct trace *out, const struct model *m, struct backend *b,
                         const uint32_t *ids, const size_t *starts, size_t windows, size_t window,
                         struct progress *progress, struct err *err);

#endif
