/*
 * Tensor cores with TF32 operands on the CPU: the device functions of gpu/cuda/cuda_device.h. As
 * coarse as a device may be: eight products are added at a time, and what does not fit into the
 * float32 sum is cut off.
 */
#ifndef MOQA_TESTS_EMULATION_MMA_H
#define MOQA_TESTS_EMULATION_MMA_H

#ifdef __cplusplus
extern "C" {
#endif

/* To nearest, halves away from zero; what is not finite stays. */
float emulation_tf32(float x);
/* To float32, towards zero. */
float emulation_cut(double x);

/* Inside of a kernel, by all lanes of a warp. Ends the program where an operand has more bits than
 * TF32, which a device would ignore. */
void emulation_mma(float *sum, const float *a, const float *b);

#ifdef __cplusplus
}
#endif

#endif
