/* A comparison as a table for a person or as data for a program. */
#ifndef MOQA_SRC_COMPARE_COMPARE_PRINT_H
#define MOQA_SRC_COMPARE_COMPARE_PRINT_H

#include "data/base/str.h"
#include "src/compare/compare.h"

enum compare_format { COMPARE_TEXT, COMPARE_MARKDOWN, COMPARE_CSV, COMPARE_JSON, COMPARE_FORMATS };
extern const char *const compare_format_names[COMPARE_FORMATS]; /* "text", "markdown", ... */

/* text, markdown: a line for each row, means over the draws; csv: a line for each run; json: both
 * (docs/formats.md, "Comparison"). */
ERR_CHECK int compare_print(struct str *out, const struct compare_result *r,
                            enum compare_format format, struct err *err);

/* After compare_prepare(): a line for each run, with its method, bits, seed and whether it is
 * there, and what all of them cost; or as JSON (docs/formats.md, "Comparison"). */
ERR_CHECK int compare_print_runs(struct str *out, const struct compare *c, bool json,
                                 struct err *err);

/* "{text}" in a path stands for each text's name, its picture beside the others'; without it one
 * picture has the mean over the texts (geometric). Bars are a standard deviation over the draws.
 * file_bits: over the bits in the file, not the nominal ones. The format by the path's ending. */
ERR_CHECK int compare_picture(const struct compare_result *r, const char *path, bool file_bits,
                              struct err *err);

#endif
