/* Loops that the compiler turns into vector code. */
#ifndef MOQA_DATA_BASE_SIMD_H
#define MOQA_DATA_BASE_SIMD_H

/*
 * Compiles a function for wider vector units as well and picks at run time. No variant contracts
 * products and sums into one operation, so all give the same numbers.
 * Sanitizers and coverage instrument code that runs before they are ready if it is an ifunc.
 */
#if defined(__x86_64__) && defined(__OPTIMIZE__) && !defined(__SANITIZE_ADDRESS__) && \
    !defined(__SANITIZE_THREAD__)
#define SIMD_CLONES __attribute__((target_clones("default", "arch=x86-64-v3", "arch=x86-64-v4")))
#else
#define SIMD_CLONES
#endif

#endif
