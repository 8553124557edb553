/*
 * Reads a layer's weights ahead, in a thread of its own, while the layer before it is computed: the
 * bytes go to the system's page cache and no further, so that memory stays bounded by the system,
 * and what is read later does not depend on whether they got there. Errors are left to the one who
 * reads for good.
 */
#ifndef MOQA_SRC_MODEL_PREFETCH_H
#define MOQA_SRC_MODEL_PREFETCH_H

#include <stddef.h>

#include "data/checkpoint.h"

struct prefetch;

/* NULL where no thread can be had; then the functions below do nothing. The checkpoint is borrowed
 * until prefetch_free(). */
struct prefetch *prefetch_new(const struct checkpoint *c);
/* Begins to read `layer`; what is left of an earlier one is given up. */
void prefetch_layer(struct prefetch *p, size_t layer);
/* Waits until a layer that was begun is read. */
void prefetch_wait(struct prefetch *p);
size_t prefetch_bytes(struct prefetch *p); /* read so far */
void prefetch_free(struct prefetch *p);    /* NULL is legal */

#endif
