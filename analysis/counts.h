/*
 * How often every type was routed to every expert, for sums over types at slider speed.
 *
 * Bit-sliced: a column is one expert of one layer, a block is eight ranks, and plane j of a block
 * is a row of bytes, one a column, whose bit i is bit j of the count of the block's i-th rank.
 * Counts cannot exceed the occurrences of their type, which fall with rank: almost every block
 * has one or two planes. A comparison with min_count is a few operations on whole rows, and a sum
 * over member types looks up every byte in a table of the 256 partial sums of its eight ranks.
 */
#ifndef MOQA_ANALYSIS_COUNTS_H
#define MOQA_ANALYSIS_COUNTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "analysis/analysis.h"
#include "analysis/ranks.h"

enum { COUNTS_BLOCK = 8 /* ranks */ };

/*
 * Sums of gate values, one for every type and expert that meet in a layer, in rank order. A code is
 * the expert and, in its upper half, how many types this one is behind the entry before.
 */
struct counts_entries {
    size_t count;
    uint32_t *code;
    float *single; /* values, either in single */
    double *wide;  /* or in double precision */
};

/* Most sums are of one position, hence exact in single precision: half as much to read. */
struct counts_gates {
    struct counts_entries single, wide;
};

struct counts {
    size_t types, experts, columns; /* columns: layers * experts, layer-major */
    size_t width;                   /* bytes of a row, columns rounded up to 64 */
    size_t blocks;                  /* ceil(types / 8) */
    size_t *row;                    /* [blocks + 1] first plane row of a block */
    uint8_t *planes;                /* [row][width] */
    uint8_t *majority;              /* [block][width] bit set: among the K that got most */
    size_t *tokens;                 /* [column] positions routed to it */
    struct counts_gates *gates;     /* [layer], NULL where the trace has no gates */
};

/* `ranks` must be those of trace->ids. Layers are counted in parallel. Release with
 * counts_release() also after an error. */
ERR_CHECK int counts_init(struct counts *c, const struct trace *trace, const struct ranks *ranks,
                          const struct watch *watch, struct err *err);
void counts_release(struct counts *c);

uint64_t counts_at(const struct counts *c, size_t column, size_t type);

/* members[block][width]: bit set where the count is at least min_count (>= 1). */
void counts_members(uint8_t *members, const struct counts *c, size_t min_count);

/* sum[column] of weight[type], over the member types, with the count, or with the gate values
 * as factors. weight: [blocks * 8], zero beyond the types. sum: [width]. */
void counts_sum_members(double *sum, const struct counts *c, const uint8_t *members,
                        const double *weight);
void counts_sum_occurrences(double *sum, const struct counts *c, const double *weight);
void counts_sum_gates(double *sum, const struct counts *c, const double *weight);

/* Room for counts_intervals(). */
struct counts_workspace {
    uint8_t *popcount; /* [ceil(blocks / 8)][width] member types in 64 ranks */
};
ERR_CHECK int counts_workspace_init(struct counts_workspace *w, const struct counts *c,
                                    struct err *err);
void counts_workspace_release(struct counts_workspace *w);

/* interval[column]: lowest, 10 %, median, 90 % and highest rank of the members; a quantile q of n
 * ranks is the ceil(q n)-th smallest. */
void counts_intervals(struct analysis_interval *interval, const struct counts *c,
                      const uint8_t *members, struct counts_workspace *w);

#endif
