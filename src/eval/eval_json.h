/* The result of an evaluation as `moqa eval --json` prints it (docs/formats.md). */
#ifndef MOQA_SRC_EVAL_EVAL_JSON_H
#define MOQA_SRC_EVAL_EVAL_JSON_H

#include <jansson.h>

#include "src/eval/perplexity.h"

#define EVAL_JSON_FILE "moqa_eval.json" /* in the folder of a checkpoint that a job evaluated */

ERR_CHECK int eval_json(json_t **out, const struct perplexity *p, struct err *err);
ERR_CHECK int eval_json_save(const struct perplexity *p, const char *path, struct err *err);
/* From an object that stands in another file. */
ERR_CHECK int eval_json_read(struct perplexity *out, const json_t *object, const char *file,
                             struct err *err);
ERR_CHECK int eval_json_load(struct perplexity *out, const char *path, struct err *err);

#endif
