/*
 * Windows of a trace for a calibration that no expert is short in: as long as some expert of some
 * layer has fewer than enough tokens, the window that serves the least served one best comes next;
 * the rest is drawn by seed, so that common experts see an ordinary choice of text.
 */
#ifndef MOQA_ANALYSIS_WINDOWS_BALANCED_H
#define MOQA_ANALYSIS_WINDOWS_BALANCED_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/trace.h"

struct windows_balanced_request {
    size_t samples; /* windows wanted */
    size_t length;  /* tokens a window; windows of another length are left out */
    size_t enough;  /* tokens of an expert beyond which more do not count */
    uint64_t seed;
};

/*
 * number[] (room for `samples`) gets the numbers of the chosen windows, rising; *count tells how
 * many (fewer than `samples` where the trace has no more). Of the least served experts the one of
 * the lower layer, then the smaller one; of windows that serve it equally the one that brings the
 * most missing tokens to all experts, then the first. ERR_INPUT if no window has the length.
 */
ERR_CHECK int windows_balanced_choose(size_t *number, size_t *count, const struct trace *t,
                                      const struct windows_balanced_request *request,
                                      struct err *err);

#endif
