/* Vectors in double precision, in the widest form that the CPU has; the same numbers in any. */
#ifndef MOQA_SRC_QUANT_VECTORS_H
#define MOQA_SRC_QUANT_VECTORS_H

#include <stddef.h>

enum { VECTORS_LANES = 8 }; /* partial sums of a product: element j goes to lane j % 8 */

double vectors_dot(const double *a, const double *b, size_t count);

#endif
