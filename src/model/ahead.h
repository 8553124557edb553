/*
 * The experts' weights of the next layer on their way to a device with memory of its own while this
 * layer is computed. A thread reads them into a few buffers; the one who drives the device takes
 * them from there between its own operations, as many as go without waiting. What is not there in
 * the end is loaded as ever, and errors are left to that, so results do not depend on how far it
 * got.
 */
#ifndef MOQA_SRC_MODEL_AHEAD_H
#define MOQA_SRC_MODEL_AHEAD_H

#include "src/model/model.h"

struct ahead;

/* Begins to read a layer. NULL where nothing is to be gained or had: tensors lie in the host's
 * memory, the layer has no experts, no memory, no thread; then the functions below do nothing.
 * Model and backend are borrowed. */
struct ahead *ahead_new(const struct model *m, struct backend *b, size_t layer);
/* Uploads what was read and does not have to wait. By the thread that uses the backend. */
void ahead_step(struct ahead *a);
/* Waits until all is read that buffers hold. */
void ahead_wait(struct ahead *a);
size_t ahead_count(const struct ahead *a); /* linears on the device so far */
/* Moves what is there into out->gate, up and down, and frees the rest. */
void ahead_take(struct ahead *a, struct model_layer *out);
void ahead_free(struct ahead *a);

#endif
