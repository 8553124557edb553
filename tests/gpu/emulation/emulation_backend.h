/* gpu/backend.h's backend_cpu_new() with the CUDA backend in the CPU's place. */
#ifndef MOQA_TESTS_EMULATION_BACKEND_H
#define MOQA_TESTS_EMULATION_BACKEND_H

#include "gpu/backend.h"

int emulation_backend_new(struct backend **out, size_t threads, struct err *err);

#endif
