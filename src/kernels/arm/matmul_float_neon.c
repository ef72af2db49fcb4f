/* matmul_float_neon.c - matmul with float activations at this level; the body is matmul_float_vec.h. */
#include "kernels/arm/vec_neon.h"

#include "kernels/vec/matmul_float_vec.h"
