/* The result of an evaluation as `moqa eval --json` prints it (docs/formats.md). */
#ifndef MOQA_SRC_EVAL_EVAL_JSON_H
#define MOQA_SRC_EVAL_EVAL_JSON_H

#include <jansson.h>

#include "src/eval/divergence.h"
#include "src/eval/eval_text.h"
#include "src/eval/perplexity.h"

#define EVAL_JSON_FILE "moqa_eval.json" /* in the folder of a checkpoint that a job evaluated */

ERR_CHECK int eval_json(json_t **out, const struct perplexity *p, const struct eval_text *text,
                        struct err *err);
/* Of the same windows, into that object. */
ERR_CHECK int eval_json_add_divergence(json_t *object, const struct divergence *d, struct err *err);
ERR_CHECK int eval_json_save(const struct perplexity *p, const struct eval_text *text,
                             const char *path, struct err *err);
/* From an object that stands in another file. What older versions wrote names no text. */
ERR_CHECK int eval_json_read(struct perplexity *out, struct eval_text *text, const json_t *object,
                             const char *file, struct err *err);
/* *found: it has a divergence; p: eval_json_read()'s, whose windows it is of. */
ERR_CHECK int eval_json_read_divergence(struct divergence *out, bool *found,
                                        const struct perplexity *p, const json_t *object,
                                        const char *file, struct err *err);
ERR_CHECK int eval_json_load(struct perplexity *out, struct eval_text *text, const char *path,
                             struct err *err);

#endif
