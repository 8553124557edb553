/*
 * How tests steer the CUDA runtime of this folder, and what it checks by itself.
 *
 * Every call of the runtime and of cuBLAS and every kernel launch passes emulation_gate(), where it
 * is counted and may be told to fail. Errors that break a device (illegal address, launch failure
 * and the like) stay, as on a device, until emulation_reset().
 *
 * Device memory is host memory that starts as NaN. The runtime knows each piece: a copy must lie
 * inside one, on the right side; frees must name one; what is copied to pinned host memory arrives
 * when stream, event or device are waited for, and is NaN before. Anything else ends the program
 * with a message.
 */
#ifndef MOQA_TESTS_EMULATION_RUNTIME_H
#define MOQA_TESTS_EMULATION_RUNTIME_H

#include <cuda_runtime_api.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

/* One healthy device with 1 GiB, nothing counted, nothing to fail. Ends the program if anything is
 * still allocated. */
void emulation_reset(void);

/* 0 devices: cudaErrorNoDevice. driver: as cudaDriverGetVersion() gives it; below CUDART_VERSION's
 * major version every call fails with cudaErrorInsufficientDriver; 0: no driver. */
void emulation_set_devices(int devices, int driver);
/* Calls that name this one, which is still counted, fail; -1 (at first): none. */
void emulation_set_bad_device(int device);
/* Bit i: device i was chosen, which makes a context on it. */
unsigned emulation_contexts(void);
void emulation_set_capability(int major, int minor);
void emulation_set_memory(size_t bytes);
/* Allocations in the order of a stream are announced and refused; true at first. */
void emulation_set_pools(bool work);

/* The n-th call from now on (1: the next) fails with `code`; 0: none. cuBLAS turns the code into a
 * status of its own. */
void emulation_fail(size_t n, cudaError_t code);
size_t emulation_calls(void); /* since emulation_reset() */

/* How cuBLAS rounds the operands of a product to TF32: by cutting bits off (at first, and the
 * coarsest that a device may do), to nearest, or one of them this and the other that way. */
enum emulation_rounding { EMULATION_CUT, EMULATION_NEAREST, EMULATION_MIXED };
void emulation_set_tf32(enum emulation_rounding rounding);
size_t emulation_tf32_products(void); /* so far */

/* Pieces of memory, streams, events and handles that were made and not freed. */
size_t emulation_live(void);

/* For the other parts of the emulation. */
cudaError_t emulation_gate(const char *what);
void emulation_made(int count); /* of things that live: +1, -1 */
/* Ends the program unless all of it lies inside one piece of device memory. */
void emulation_check_device(const char *what, const void *memory, size_t size);

#ifdef __cplusplus
}
#endif

#endif
