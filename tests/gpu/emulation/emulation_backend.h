/* gpu/backend.h's backend_cpu_new() with the CUDA backend in the CPU's place. */
#ifndef MOQA_TESTS_EMULATION_BACKEND_H
#define MOQA_TESTS_EMULATION_BACKEND_H

#include "gpu/backend.h"

/* Whether the next ones may round operands of products to TF32; false at first. */
extern bool emulation_backend_tf32;

int emulation_backend_new(struct backend **out, size_t threads, struct err *err);

#endif
