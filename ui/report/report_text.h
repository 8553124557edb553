/* All numbers and charts of an analysis as plain text, for a pipe or a terminal without curses:
 * the same pictures as on the screen. */
#ifndef MOQA_UI_REPORT_REPORT_TEXT_H
#define MOQA_UI_REPORT_REPORT_TEXT_H

#include "analysis/analysis.h"
#include "data/base/str.h"

struct report_text_options {
    size_t width;         /* columns, at least 60 */
    bool ascii;           /* no characters outside ASCII */
    bool colour;          /* SGR sequences (256 colours) */
    const double *cosine; /* [L][N][N] or NULL */
};
ERR_CHECK int report_text_write(struct str *out, const struct trace *trace,
                                const struct analysis *a, const struct report_text_options *options,
                                struct err *err);

#endif
