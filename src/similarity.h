/*
 * Cosine similarity of all experts of a model (stage 3), computed while the weights stream by,
 * and kept on disk under the model's fingerprint ($XDG_CACHE_HOME/moqa).
 */
#ifndef MOQA_SRC_SIMILARITY_H
#define MOQA_SRC_SIMILARITY_H

#include "data/base/parallel.h"
#include "src/model/model.h"
#include "src/progress.h"

/* *out: [MoE layers][N][N], freed by free(). A cache that cannot be read or written is no error. */
ERR_CHECK int similarity_run(double **out, const struct model *m, struct parallel *pool,
                             struct progress *progress, struct err *err);

#endif
