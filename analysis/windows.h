/*
 * Which windows of a token stream to use for a trace or for calibration: the first ones in
 * order, random ones by seed, or drawn with a chance that follows R (the paper's selection of
 * tokens by the re-weighted distribution). Non-overlapping windows; the same seed gives the same
 * choice on every machine.
 */
#ifndef MOQA_ANALYSIS_WINDOWS_H
#define MOQA_ANALYSIS_WINDOWS_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"
#include "data/settings.h"

/*
 * starts[] (room for `samples`) gets the first positions of the chosen windows, rising; *count
 * tells how many (fewer than `samples` when the text is short). A last shorter window is left out.
 * ERR_INPUT if not even one window fits, ERR_USAGE
 * for WINDOWS_BALANCED, which needs a trace (analysis/windows_balanced.h). WINDOWS_WEIGHTED:
 * windows drawn without replacement with weight mean of R(rank) over their positions; uses fit,
 * beta, utilization, reweight and alpha of the settings with ranks of this stream, and top_k as K.
 */
ERR_CHECK int windows_choose(size_t *starts, size_t *count, size_t samples, const uint32_t *ids,
                             size_t positions, size_t window, size_t top_k,
                             const struct settings *s, struct err *err);

#endif
