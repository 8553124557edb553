/*
 * Token types by falling count (stage 1): rank 1 is the commonest type, ties go to the smaller
 * token id, types that do not occur have no rank.
 */
#ifndef MOQA_ANALYSIS_RANKS_H
#define MOQA_ANALYSIS_RANKS_H

#include <stddef.h>
#include <stdint.h>

#include "data/base/err.h"

struct ranks {
    size_t positions;      /* P */
    size_t types;          /* T */
    size_t ids;            /* largest id + 1 */
    uint32_t *id;          /* [T] token id at rank r + 1 */
    uint64_t *count;       /* [T] its occurrences, falling */
    double *log_rank;      /* [T] ln(r + 1) */
    double *log_frequency; /* [T] ln(count / P) */
    uint32_t *rank;        /* [ids] rank of an id, 0: does not occur */
};

/* `positions` must be at least 1. Release with ranks_release() also after an error. */
ERR_CHECK int ranks_init(struct ranks *r, const uint32_t *ids, size_t positions, struct err *err);
void ranks_release(struct ranks *r);

/* Rank of an id, 0 if it does not occur. */
size_t ranks_of(const struct ranks *r, uint32_t id);

#endif
