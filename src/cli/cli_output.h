/*
 * What a command writes must not be what it reads: `moqa plan in.h5 ... -o in.h5` would take the
 * hours away that a trace, or a measurement, has cost.
 */
#ifndef MOQA_SRC_CLI_CLI_OUTPUT_H
#define MOQA_SRC_CLI_CLI_OUTPUT_H

#include "src/cli/cli.h"

enum { CLI_INPUT_FILES = 4, CLI_INPUT_LISTS = 2 };

/* What a command reads. Any of it may be NULL. */
struct cli_inputs {
    const char *model; /* folder; what belongs to a checkpoint is guarded, there or not */
    const char *file[CLI_INPUT_FILES];
    const struct cli_list *list[CLI_INPUT_LISTS];
};

/* ERR_USAGE where `out` (NULL: nothing is written) is one of these files, by whatever name. */
ERR_CHECK int cli_output_check(const char *out, const struct cli_inputs *inputs, struct err *err);

#endif
