/*
 * Runs the kernels of gpu/cuda/ on the CPU: a grid block by block, a block's threads as coroutines
 * that change at barriers and at exchanges inside a warp. One host thread at a time.
 *
 * It is stricter than a device, so that a fault shows in the results: the order in which threads
 * run can be shuffled (a missing barrier then changes results), shared memory starts as NaN, and a
 * block whose threads wait for others that have left, or at different barriers, ends the program
 * with a message.
 */
#ifndef MOQA_TESTS_EMULATION_BLOCK_H
#define MOQA_TESTS_EMULATION_BLOCK_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    EMULATION_THREADS_MAX = 1024,
    EMULATION_SHARED_MAX = 48 << 10,
    EMULATION_WARP = 32,
    EMULATION_LANE_MAX = 24
};

struct emulation_index {
    unsigned x, y, z;
};

/* Of the thread that runs now. */
struct emulation_place {
    struct emulation_index thread, block, block_dim, grid_dim;
};
extern struct emulation_place emulation_place;

/* 0: threads run in rising order; else in orders drawn from this seed. */
void emulation_set_order(uint64_t seed);

/* Kernels run so far. */
size_t emulation_launches(void);

/* Runs body(context) once for each thread of the grid. Returns 0, or -1 where the device would
 * refuse the launch: an empty grid or block, too many threads, an index beyond the device's bounds.
 */
int emulation_run(struct emulation_index grid, struct emulation_index block,
                  void (*body)(void *context), void *context);

/* Inside of a kernel. */
void emulation_barrier(void);
/* The block's shared memory, the same for all its threads; one piece a kernel. */
void *emulation_shared(size_t size);
unsigned emulation_lane(void); /* of the warp */
/* out = `in` of the lane whose number is the own one xor mask; size at most 8. */
void emulation_exchange(void *out, const void *in, size_t size, unsigned mask);
/* all[32][size] = `in` of every lane of the warp; size at most EMULATION_LANE_MAX. */
void emulation_gather(void *all, const void *in, size_t size);
/* Ends the program with a message about the block that runs. */
__attribute__((noreturn)) void emulation_stop(const char *what);

#ifdef __cplusplus
}
#endif

#endif
