/* Similarity of a model's experts for commands: model, threads and progress around
 * src/similarity.h. */
#ifndef MOQA_SRC_CLI_CLI_SIMILARITY_H
#define MOQA_SRC_CLI_CLI_SIMILARITY_H

#include "src/cli/cli.h"

/* *out: [MoE layers][N][N], freed by free(). */
ERR_CHECK int cli_similarity(double **out, const char *model_dir, const struct cli_count *threads,
                             const char *progress, struct err *err);

#endif
