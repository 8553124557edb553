/* The result of an evaluation as `moqa eval --json` prints it (docs/formats.md). */
#ifndef MOQA_SRC_EVAL_EVAL_JSON_H
#define MOQA_SRC_EVAL_EVAL_JSON_H

#include <jansson.h>

#include "src/eval/eval_text.h"
#include "src/eval/perplexity.h"

#define EVAL_JSON_FILE "moqa_eval.json" /* in the folder of a checkpoint that a job evaluated */

ERR_CHECK int eval_json(json_t **out, const struct perplexity *p, const struct eval_text *text,
                        struct err *err);
ERR_CHECK int eval_json_save(const struct perplexity *p, const struct eval_text *text,
                             const char *path, struct err *err);
/* From an object that stands in another file. What older versions wrote names no text. */
ERR_CHECK int eval_json_read(struct perplexity *out, struct eval_text *text, const json_t *object,
                             const char *file, struct err *err);
ERR_CHECK int eval_json_load(struct perplexity *out, struct eval_text *text, const char *path,
                             struct err *err);

#endif
